#!/bin/bash
# kubeadm init, once and never again. An attempt that did not end is cleared away first: nobody has
# joined it, since nothing is published before this step is done.
source /usr/local/lib/kubepark/lib.sh

initialised=/var/lib/kubepark/initialised
if [[ -e $initialised ]]; then exit 0; fi
if [[ -e /etc/kubernetes/manifests/kube-apiserver.yaml ]]; then kubeadm reset --force; fi
if ! kubeadm init --config /etc/kubepark/kubeadm-init.yaml; then
  journalctl -u kubelet --no-pager -n 15 -o cat || true
  crictl ps -a || true
  for name in $(crictl ps -a --name 'kube-apiserver|etcd' -q); do crictl logs --tail 8 "$name" || true; done
  echo "kubeadm init failed" >&2
  exit 1
fi
touch "$initialised"
