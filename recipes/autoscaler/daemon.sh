#!/bin/sh
# $1: the id of its ledger.
dir=/etc/continuum/autoscaler
user=continuum-autoscaler
changed=

# Once in the life of a cluster: a ledger that is missing later is never made anew, since an empty one would disown machines.
if [ ! -e "$dir/ledger-made" ]; then
  printf '%s\n' "$1" >"$dir/ledger"
  continuum-autoscaler create-ledger --config "$(file config.json)" --kubeconfig /etc/kubernetes/admin.conf
  : >"$dir/ledger-made"
  changed=yes
fi

place() { # NAME: readable by the daemon alone
  if ! same "$1" "$dir/$1"; then
    install -m 0400 -o "$user" "$(file "$1")" "$dir/$1.new"
    mv -f "$dir/$1.new" "$dir/$1"
    changed=yes
  fi
}
place token
place config.json

# After an upgrade the one that runs is another program than the one that is installed.
is_current() {
  pid=$(systemctl show -p MainPID --value continuum-autoscaler)
  [ "$(readlink -f "/proc/$pid/exe")" = "$(readlink -f /usr/local/bin/continuum-autoscaler)" ]
}
if ! systemctl -q is-active continuum-autoscaler || ! is_current; then
  systemctl -q enable continuum-autoscaler
  systemctl restart continuum-autoscaler || {
    journalctl -u continuum-autoscaler -n 15 --no-pager -o cat >&2
    exit 1
  }
  changed=yes
elif [ -n "$changed" ]; then
  systemctl reload continuum-autoscaler
fi
[ -n "$changed" ] || echo unchanged >"$CONTINUUM_RESULT"
