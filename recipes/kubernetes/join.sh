#!/bin/sh
# On a machine that booted a moment ago it may still be starting: this returns when it answers.
systemctl start containerd
# What an earlier attempt left is in the way; a machine that its cluster has forgotten joins anew.
if [ -e /etc/kubernetes/kubelet.conf ] || [ -e /etc/kubernetes/bootstrap-kubelet.conf ]; then
  kubeadm reset --force
fi
put kubelet-patch.yaml /etc/kubernetes/patches/kubeletconfiguration+merge.yaml
config=$(mktemp -p "$CONTINUUM_FILES")
sed "s|@DISCOVERY@|$(fact kubernetes.join)|" "$(file join.yaml)" >"$config"
kubeadm join --config "$config"
within 60 kubectl --kubeconfig /etc/kubernetes/kubelet.conf get --raw {{ "/api/v1/nodes/" ~ host.name }}
: >"$(file joined)"
