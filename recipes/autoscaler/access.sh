#!/bin/sh
export KUBECONFIG=/etc/kubernetes/admin.conf
dir=/etc/continuum/autoscaler
user=continuum-autoscaler
# Not private as a whole: each file says who may read it.
install -d -m 0755 "$dir"
within 60 kubectl apply --server-side --force-conflicts --validate=false -f "$(file access.yaml)"
has_token() { [ -n "$(kubectl -n continuum-system get secret continuum-autoscaler -o 'jsonpath={.data.token}')" ]; }
within 60 has_token

umask 077
kubectl -n continuum-system get secret continuum-autoscaler -o 'jsonpath={.data.token}' |
  base64 -d >"$dir/kubernetes-token.new"
# What stands in admin.conf: where this machine's API server is, and whom to believe.
of_cluster() { kubectl config view --raw --minify -o "jsonpath={.clusters[0].cluster.$1}"; }
cat >"$dir/kubeconfig.new" <<END
apiVersion: v1
kind: Config
clusters:
- name: cluster
  cluster:
    server: $(of_cluster server)
    certificate-authority-data: $(of_cluster certificate-authority-data)
users:
- name: $user
  user:
    tokenFile: $dir/kubernetes-token
contexts:
- name: autoscaler
  context:
    cluster: cluster
    user: $user
current-context: autoscaler
END
for name in kubernetes-token kubeconfig; do
  chown "$user" "$dir/$name.new"
  mv -f "$dir/$name.new" "$dir/$name"
done
put access.yaml "$dir/access.yaml"
