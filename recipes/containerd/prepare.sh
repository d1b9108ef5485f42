#!/bin/sh
# Before each start of containerd: its configuration for this kernel, and its data where an image brought some.
set -eu

# Without this capability (bit 24) no process may lower its oom score, and every container would fail on it.
effective=$(sed -n 's/^CapEff:[[:space:]]*//p' /proc/self/status)
high=${effective%??????}
restrict=true
case $high in
*[13579bdf]) restrict=false ;;
esac
mkdir -p /etc/containerd
sed "s/@RESTRICT@/$restrict/" /usr/local/lib/continuum/containerd.toml >/etc/containerd/config.toml.new
mv -f /etc/containerd/config.toml.new /etc/containerd/config.toml

# An image of a machine may bring unpacked container images, read-only for all machines made from it. They are linked,
# not copied: only the small databases become this machine's own. The last one written says that all is there.
baked=/usr/lib/continuum/containerd
data=/var/lib/containerd
meta=io.containerd.metadata.v1.bolt
snapshots=io.containerd.snapshotter.v1.overlayfs
blobs=io.containerd.content.v1.content/blobs/sha256
if [ -e "$baked/$meta/meta.db" ] && [ ! -e "$data/$meta/meta.db" ]; then
  mkdir -p "$data/$meta" "$data/$snapshots/snapshots" "$data/$blobs"
  find "$baked/$snapshots/snapshots" -mindepth 1 -maxdepth 1 -exec ln -sfn -t "$data/$snapshots/snapshots" {} +
  find "$baked/$blobs" -mindepth 1 -maxdepth 1 -exec ln -sfn -t "$data/$blobs" {} +
  cp "$baked/$snapshots/metadata.db" "$data/$snapshots/metadata.db"
  cp "$baked/$meta/meta.db" "$data/$meta/meta.db.new"
  mv "$data/$meta/meta.db.new" "$data/$meta/meta.db"
fi
