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
