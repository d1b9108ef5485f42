#!/bin/sh
# $1: where the operator reaches the API server, https://ADDRESS:PORT; without it the machine's own address stays.
server=${1:-}
if [ -n "$server" ]; then
  sed "s|^\( *server: \).*|\1$server|" /etc/kubernetes/admin.conf
else
  cat /etc/kubernetes/admin.conf
fi
