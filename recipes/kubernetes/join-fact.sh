#!/bin/sh
# A kubeconfig with this cluster's own CA, and a token that lives 30 minutes and may only join.
export KUBECONFIG=/etc/kubernetes/admin.conf
token=$(kubeadm token create --ttl 30m)
ca=$(base64 -w0 /etc/kubernetes/pki/ca.crt)
server={{ "https://" ~ front_ends[0].address ~ ":6443" }}
cat <<END
apiVersion: v1
kind: Config
clusters:
- name: cluster
  cluster:
    server: $server
    certificate-authority-data: $ca
users:
- name: joiner
  user:
    token: $token
contexts:
- name: join
  context:
    cluster: cluster
    user: joiner
current-context: join
END
