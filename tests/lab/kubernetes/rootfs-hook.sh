#!/bin/sh
# rootfs-hook.sh ROOT - makes an image layer out of Debian packages that were only unpacked (no maintainer script ran):
# the links those scripts would make, users, and without what no container reads (unpacking layers is what a new
# machine spends most of its time on).
set -eu
root=$1
for name in iptables iptables-save iptables-restore ip6tables ip6tables-save ip6tables-restore; do
  if [ -e "$root/usr/sbin/xtables-nft-multi" ]; then ln -sf xtables-nft-multi "$root/usr/sbin/$name"; fi
done
# Relative links: they are followed from outside too. What a package brought itself stays.
chroot "$root" /bin/busybox --list | while read -r name; do
  if [ ! -e "$root/bin/$name" ] && [ ! -e "$root/sbin/$name" ] && [ ! -e "$root/usr/bin/$name" ] && [ ! -e "$root/usr/sbin/$name" ]; then
    ln -s busybox "$root/bin/$name"
  fi
done
rm -rf "$root"/usr/share/doc "$root"/usr/share/man "$root"/usr/share/locale "$root"/usr/share/info "$root"/usr/share/lintian \
  "$root"/usr/share/bash-completion "$root"/usr/share/bug "$root"/usr/share/gcc "$root"/usr/share/nftables "$root"/usr/share/gdb \
  "$root"/usr/lib/*/gconv "$root"/lib/*/gconv "$root"/usr/lib/*/audit "$root"/usr/lib/systemd "$root"/lib/systemd "$root"/usr/share/initramfs-tools
mkdir -p "$root/tmp" "$root/root" "$root/etc" "$root/proc" "$root/sys" "$root/dev" "$root/run"
chmod 1777 "$root/tmp"
printf 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n' >"$root/etc/passwd"
printf 'root:x:0:\nnogroup:x:65534:\n' >"$root/etc/group"
printf 'hosts: files dns\n' >"$root/etc/nsswitch.conf"
