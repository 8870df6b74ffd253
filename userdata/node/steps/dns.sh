#!/bin/bash
# The cluster's two DNS servers on two nodes, before any other node joins: see coredns.yaml.
source /usr/local/lib/kubepark/lib.sh

retry 20 timeout 20 kubectl --kubeconfig /etc/kubernetes/admin.conf patch deployment coredns -n kube-system \
  --patch-file /etc/kubepark/coredns.yaml
