#!/bin/sh
# Name, status of the Ready condition, boot and the condition's message, tab-separated, become a JSON list. An API server
# that does not answer is a failure, not an empty list: hence not one pipe.
found=$(kubectl --kubeconfig /etc/kubernetes/admin.conf --request-timeout=10s get nodes -o jsonpath='{range .items[*]}{.metadata.name}{"\t"}{.status.conditions[?(@.type=="Ready")].status}{"\t"}{.status.nodeInfo.bootID}{"\t"}{.status.conditions[?(@.type=="Ready")].message}{"\n"}{end}')
printf '%s\n' "$found" |
  awk -F '\t' '
    NF >= 2 {
      reason = $4
      gsub(/\\/, "\\\\", reason); gsub(/"/, "\\\"", reason); gsub(/[[:cntrl:]]/, " ", reason)
      printf "%s{\"name\": \"%s\", \"ready\": %s, \"boot\": \"%s\", \"reason\": \"%s\"}", (n++ ? ", " : "["), $1, ($2 == "True" ? "true" : "false"), $3, reason
    }
    END { print (n ? "]" : "[]") }'
