# Replaces the host key that came with user-data by the one beside this script. Repeatable: a key that is there
# already is only loaded again.
set -eu
new=$CONTINUUM_FILES/host_key
sshd=$(command -v sshd || echo /usr/sbin/sshd)
key=$("$sshd" -T 2>/dev/null | sed -n 's/^hostkey \(.*ed25519.*\)$/\1/p' | head -n 1)
key=${key:-/etc/ssh/ssh_host_ed25519_key}

changed=1
if cmp -s "$new" "$key"; then
  changed=0
else
  umask 077
  if [ -f "$key" ] && ! [ -f "$key.first" ]; then cp -p "$key" "$key.first"; fi
  cp "$new" "$key.new"
  cp "$new.pub" "$key.pub.new"
  chmod 600 "$key.new"
  chmod 644 "$key.pub.new"
  mv -f "$key.new" "$key"
  mv -f "$key.pub.new" "$key.pub"
fi
if ! "$sshd" -t; then
  echo "sshd does not accept the new host key: the first one stays" >&2
  if [ -f "$key.first" ]; then mv -f "$key.first" "$key"; fi
  exit 1
fi

# The sockets that listen on sshd's port: a reload makes new ones.
port=$("$sshd" -T 2>/dev/null | sed -n 's/^port //p' | head -n 1)
port=$(printf ':%04X' "${port:-22}")
listeners() {
  cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | while read -r _ local _ state _ _ _ _ _ inode _; do
    case $state$local in 0A*"$port") echo "$inode" ;; esac
  done
}
before=$(listeners)

# Connections that are open stay open: a reload replaces only the listener.
if systemctl is-active --quiet ssh.service; then
  systemctl reload ssh.service
elif systemctl is-active --quiet sshd.service; then
  systemctl reload sshd.service
elif [ -f /run/sshd.pid ]; then
  kill -HUP "$(cat /run/sshd.pid)"
fi
# A socket of systemd's stays as it is, and each connection through it starts an sshd that reads the key.
if systemctl is-active --quiet ssh.socket || systemctl is-active --quiet sshd.socket; then before=; fi
# For a moment nobody listens: who connects next should not meet it.
tries=0
while [ -n "$before" ] && [ "$tries" -lt 50 ]; do
  after=$(listeners)
  if [ -n "$after" ] && [ "$after" != "$before" ]; then break; fi
  tries=$((tries + 1))
  sleep 0.1
done
rm -f "$key.first"
if [ "$changed" = 0 ]; then echo unchanged >"$CONTINUUM_RESULT"; fi
