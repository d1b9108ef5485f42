#!/bin/sh
dir=/etc/continuum/autoscaler
same access.yaml "$dir/access.yaml"
test -s "$dir/kubernetes-token"
KUBECONFIG="$dir/kubeconfig" kubectl --request-timeout=10s get --raw '/api/v1/nodes?limit=1' >/dev/null
