#!/bin/sh
[ "$(cat /proc/sys/net/ipv4/ip_forward)" = 1 ]
[ "$(cat /proc/sys/kernel/hostname)" = {{ host.name }} ]
grep -qx {{ host.name }} /etc/hostname
getent hosts {{ host.name }} >/dev/null
grep -q '^nameserver' /etc/resolv.conf
