#!/bin/sh
# Certificates are not valid before they were made: a clock that is years behind would only show much later.
if [ "$(date +%Y)" -lt 2026 ]; then
  echo "the clock of this machine says $(date): set it right first" >&2
  exit 1
fi
if [ "$(wc -l </proc/swaps)" -gt 1 ]; then
  echo "note: this machine has swap; pods get none of it"
fi

name={{ host.name }}
[ "$(cat /proc/sys/kernel/hostname)" = "$name" ] || hostname "$name"
printf '%s\n' "$name" >/etc/hostname
# The machine finds itself under its name without asking anybody.
if ! getent hosts "$name" >/dev/null; then
  printf '%s %s\n' {{ host.address }} "$name" >>/etc/hosts
fi

# Without any name server the cluster's DNS does not even start. One that refuses is enough for the names inside.
if ! grep -q '^nameserver' /etc/resolv.conf 2>/dev/null; then
  echo "note: this machine knows no name server, so pods will find no names outside the cluster"
  printf 'nameserver %s\n' {{ host.address }} >>/etc/resolv.conf
fi

# Where they are built into the kernel there is nothing to load.
while read -r module; do
  modprobe -q "$module" 2>/dev/null || true
done </etc/modules-load.d/continuum.conf
sysctl -q -e -p /etc/sysctl.d/60-continuum.conf
