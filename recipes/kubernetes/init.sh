#!/bin/sh
export KUBECONFIG=/etc/kubernetes/admin.conf
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
put coredns-patch.yaml /etc/kubernetes/patches/corednsdeployment+strategic.yaml
put init.yaml /etc/kubernetes/kubeadm.yaml 0600
# Add-ons are a step of their own: workers need not wait for them. The words about tokens stay out: what is printed here is
# kept in a log.
kubeadm init --config /etc/kubernetes/kubeadm.yaml --skip-token-print \
  --skip-phases=addon,kubelet-finalize/enable-client-cert-rotation
# The skipped phase would start the kubelet again, in the middle of everything that is starting. It has its certificate and
# renews it by itself; only its next start must find it.
rotating=/var/lib/kubelet/pki/kubelet-client-current.pem
within 60 test -s "$rotating"
sed -i -e "s|client-certificate-data: .*|client-certificate: $rotating|" -e "s|client-key-data: .*|client-key: $rotating|" \
  /etc/kubernetes/kubelet.conf
: >/var/lib/continuum/kubernetes-init
