#!/bin/sh
# /var/lib/containerd is a place of each machine's own: what an image shall bring goes to where containerd-prepare of
# the machines made from it looks. `find` and not `rm`: the folder itself may be a mount.
systemctl stop containerd
rm -rf /usr/lib/continuum/containerd
mkdir -p /usr/lib/continuum/containerd
cd /var/lib/containerd
cp -a io.containerd.metadata.v1.bolt io.containerd.snapshotter.v1.overlayfs io.containerd.content.v1.content \
  /usr/lib/continuum/containerd/
find /var/lib/containerd -mindepth 1 -delete
