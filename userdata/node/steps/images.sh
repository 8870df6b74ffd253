#!/bin/bash
# The kubeadm documents with this machine's values, checked, and the control plane's images.
source /usr/local/lib/kubepark/lib.sh

"$LIB/kp-aws" identity | fill /etc/kubepark/kubeadm-init.yaml.tmpl /etc/kubepark/kubeadm-init.yaml
kubeadm config validate --config /etc/kubepark/kubeadm-init.yaml
retry 5 timeout 300 kubeadm config images pull --config /etc/kubepark/kubeadm-init.yaml
