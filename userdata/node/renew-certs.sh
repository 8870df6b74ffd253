#!/bin/bash
# renew-certs: renews the control plane's certificates and restarts what holds them in memory.
source /usr/local/lib/kubepark/lib.sh

kubeadm certs renew all
pods=$(crictl pods -q --namespace kube-system --name '^(kube-(apiserver|controller-manager|scheduler)|etcd)-')
for pod in $pods; do crictl stopp "$pod"; done # the kubelet starts static pods again
"$LIB/steps/admin"
