#!/bin/sh
export KUBECONFIG=/etc/kubernetes/admin.conf
systemctl -q enable kubelet
# On a machine that booted a moment ago it may still be starting: this returns when it answers.
systemctl start containerd

if [ -e /var/lib/continuum/kubernetes-init ]; then
  # The control plane was made here already: it is started, never made again over its data.
  systemctl start kubelet
  within 180 kubectl get --raw /readyz
  exit 0
fi

# An attempt that broke off leaves half a control plane, which nobody has joined yet.
if [ -e /etc/kubernetes/pki ] || [ -e /var/lib/etcd/member ]; then
  kubeadm reset --force
fi
put kubelet-patch.yaml /etc/kubernetes/patches/kubeletconfiguration+merge.yaml
put init.yaml /etc/kubernetes/kubeadm.yaml 0600
# Without the words about tokens: what is printed here is kept in a log.
kubeadm init --config /etc/kubernetes/kubeadm.yaml --skip-token-print
: >/var/lib/continuum/kubernetes-init
