#!/bin/bash
# renew-certs: renews the control plane's certificates once one of them has less than 60 days of its year left,
# and restarts what holds them in memory: one static pod after the other, so that the API is away for seconds.
source /usr/local/lib/kubepark/lib.sh

left=$(kubeadm certs check-expiration -o json | grep -o '"residualTime": *-\?[0-9]*' | sed 's/.*: *//' | sort -n | head -n 1)
if ((left > 60 * 24 * 3600)); then
  echo "the first certificate runs out in $((left / 86400)) days"
  exit 0
fi

# back NAME: waits until the kubelet has made the static pod anew and finds it ready.
back() {
  local container _
  for _ in {1..60}; do
    container=$(crictl ps -q --state running --name "^$1\$")
    if [[ $(kubectl --kubeconfig /etc/kubernetes/admin.conf get pod -n kube-system "$1-$NODE_NAME" -o \
      'jsonpath={.status.containerStatuses[0].ready} {.status.containerStatuses[0].containerID}') \
      == "true containerd://$container" ]]; then return 0; fi
    sleep 2
  done
  echo "$1 is not ready two minutes after its restart" >&2
  return 1
}

kubeadm certs renew all
for name in etcd kube-apiserver kube-controller-manager kube-scheduler; do
  crictl stopp "$(crictl pods -q --state ready --namespace kube-system --name "^$name-")"
  back "$name"
done
"$LIB/steps/admin"
