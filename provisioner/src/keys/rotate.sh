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

# Connections that are open stay open: a reload replaces only the listener.
if systemctl is-active --quiet ssh.service; then
  systemctl reload ssh.service
elif systemctl is-active --quiet sshd.service; then
  systemctl reload sshd.service
elif systemctl is-active --quiet ssh.socket || systemctl is-active --quiet sshd.socket; then
  : # each connection starts an sshd of its own, which reads the key
else
  kill -HUP "$(cat /run/sshd.pid)"
fi
rm -f "$key.first"
if [ "$changed" = 0 ]; then echo unchanged >"$CONTINUUM_RESULT"; fi
