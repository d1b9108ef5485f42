#!/bin/sh
# A kubeconfig with this cluster's own CA, and a token that lives 30 minutes and may only join. Made without kubeadm, which would
# want to read secrets: whoever asks needs only the right to make one.
: "${KUBECONFIG:=/etc/kubernetes/admin.conf}"
export KUBECONFIG
random() { LC_ALL=C tr -dc a-z0-9 </dev/urandom | head -c "$1"; }
id=$(random 6)
secret=$(random 16)
kubectl create --validate=false -f - >/dev/null <<END
apiVersion: v1
kind: Secret
type: bootstrap.kubernetes.io/token
metadata:
  name: bootstrap-token-$id
  namespace: kube-system
stringData:
  token-id: "$id"
  token-secret: "$secret"
  expiration: "$(date -u -d '+30 minutes' +%Y-%m-%dT%H:%M:%SZ)"
  usage-bootstrap-authentication: "true"
  usage-bootstrap-signing: "true"
  auth-extra-groups: system:bootstrappers:kubeadm:default-node-token
END
ca=$(kubectl config view --raw --minify -o 'jsonpath={.clusters[0].cluster.certificate-authority-data}')
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
    token: $id.$secret
contexts:
- name: join
  context:
    cluster: cluster
    user: joiner
current-context: join
END
