#!/bin/sh
program {{ artifact.containerd }} /usr/local/bin/containerd
program {{ artifact["containerd-shim-runc-v2"] }} /usr/local/bin/containerd-shim-runc-v2
program {{ artifact.ctr }} /usr/local/bin/ctr
program {{ artifact.runc }} /usr/local/bin/runc
program {{ artifact["cni-bridge"] }} /opt/cni/bin/bridge
program {{ artifact["cni-loopback"] }} /opt/cni/bin/loopback
program {{ artifact["cni-host-local"] }} /opt/cni/bin/host-local
program {{ artifact["cni-portmap"] }} /opt/cni/bin/portmap
put containerd.toml /usr/local/lib/continuum/containerd.toml
put containerd.service /etc/systemd/system/containerd.service
put prepare.sh /usr/local/lib/continuum/containerd-prepare 0755
put import-images.sh /usr/local/lib/continuum/import-images 0755
put has-images.sh /usr/local/lib/continuum/has-images 0755
mkdir -p /etc/cni/net.d /var/lib/continuum
: >/var/lib/continuum/containerd-restart
systemctl daemon-reload
