#!/bin/sh
export KUBECONFIG=/etc/kubernetes/admin.conf
found=$(kubectl get node "$1" --ignore-not-found -o name)
# A node that has not registered yet was not cordoned either.
if [ -n "$found" ]; then
  kubectl uncordon "$1"
fi
