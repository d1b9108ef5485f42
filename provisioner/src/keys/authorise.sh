# Lets the keys in $CONTINUUM_FILES/authorized log in as root beside those that may already. Repeatable.
set -eu
umask 077
mkdir -p /root/.ssh
file=/root/.ssh/authorized_keys
touch "$file"
cp "$file" "$file.new"
while read -r key; do
  if [ -n "$key" ] && ! grep -qxF -e "$key" "$file.new"; then printf '%s\n' "$key" >>"$file.new"; fi
done <"$CONTINUUM_FILES/authorized"
chmod 600 "$file.new"
mv -f "$file.new" "$file"
