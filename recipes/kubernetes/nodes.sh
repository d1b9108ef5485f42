#!/bin/sh
# Name, status of the Ready condition and its message, tab-separated, become a JSON list.
kubectl --kubeconfig /etc/kubernetes/admin.conf --request-timeout=10s get nodes -o jsonpath='{range .items[*]}{.metadata.name}{"\t"}{.status.conditions[?(@.type=="Ready")].status}{"\t"}{.status.conditions[?(@.type=="Ready")].message}{"\n"}{end}' |
  awk -F '\t' '
    NF >= 2 {
      reason = $3
      gsub(/\\/, "\\\\", reason); gsub(/"/, "\\\"", reason); gsub(/[[:cntrl:]]/, " ", reason)
      printf "%s{\"name\": \"%s\", \"ready\": %s, \"reason\": \"%s\"}", (n++ ? ", " : "["), $1, ($2 == "True" ? "true" : "false"), reason
    }
    END { print (n ? "]" : "[]") }'
