#!/bin/sh
# import-images ARCHIVE...: OCI archives become images that the kubelet sees, unpacked.
set -eu
for archive; do
  ctr -n k8s.io images import --local --snapshotter overlayfs "$archive" >/dev/null
done
