#!/bin/sh
is_program {{ artifact.containerd }} /usr/local/bin/containerd
is_program {{ artifact["containerd-shim-runc-v2"] }} /usr/local/bin/containerd-shim-runc-v2
is_program {{ artifact.ctr }} /usr/local/bin/ctr
is_program {{ artifact.runc }} /usr/local/bin/runc
is_program {{ artifact["cni-bridge"] }} /opt/cni/bin/bridge
is_program {{ artifact["cni-loopback"] }} /opt/cni/bin/loopback
is_program {{ artifact["cni-host-local"] }} /opt/cni/bin/host-local
is_program {{ artifact["cni-portmap"] }} /opt/cni/bin/portmap
same containerd.toml /usr/local/lib/continuum/containerd.toml
same containerd.service /etc/systemd/system/containerd.service
same prepare.sh /usr/local/lib/continuum/containerd-prepare
same import-images.sh /usr/local/lib/continuum/import-images
same has-images.sh /usr/local/lib/continuum/has-images
