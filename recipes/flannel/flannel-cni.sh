#!/bin/sh
# What flannel knows of this node's pod network becomes a network of containerd: bridge, addresses, routes.
# Before flannel has started there is none, also after a reboot.
set -eu
conflist=/etc/cni/net.d/10-flannel.conflist
# In the folder that containerd watches: it takes no notice of a file that is moved in from outside (that is a mere
# "create"), only of one that is written or renamed there. The ending keeps it from being read half-written.
new=$conflist.new
if [ ! -s /run/flannel/subnet.env ]; then
  rm -f "$conflist"
  exit 0
fi
# shellcheck source=/dev/null
. /run/flannel/subnet.env
# flannel itself hides pod addresses from the outside if it was told so; twice would hide them from other nodes.
masquerade=true
[ "$FLANNEL_IPMASQ" != true ] || masquerade=false
# flannel writes the first address of the range for the range.
address=${FLANNEL_SUBNET%/*}
range=${address%.*}.$((${address##*.} - 1))/${FLANNEL_SUBNET#*/}
mkdir -p "$(dirname "$conflist")"
cat >"$new" <<END
{
  "cniVersion": "1.0.0",
  "name": "cbr0",
  "plugins": [
    {
      "type": "bridge", "bridge": "cni0", "mtu": $FLANNEL_MTU, "hairpinMode": true, "isGateway": true,
      "isDefaultGateway": true, "ipMasq": $masquerade,
      "ipam": {
        "type": "host-local", "dataDir": "/run/cni/addresses",
        "ranges": [[{"subnet": "$range"}]], "routes": [{"dst": "$FLANNEL_NETWORK"}]
      }
    },
    {"type": "portmap", "capabilities": {"portMappings": true}}
  ]
}
END
if cmp -s "$new" "$conflist"; then
  rm -f "$new"
else
  mv -f "$new" "$conflist"
fi
