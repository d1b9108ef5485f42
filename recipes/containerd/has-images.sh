#!/bin/sh
# has-images REFERENCE...: whether all of them are there.
set -eu
there=$(ctr -n k8s.io images ls -q)
for image; do
  printf '%s\n' "$there" | grep -qxF "$image"
done
