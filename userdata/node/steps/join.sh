#!/bin/bash
# Joins with the CA pinned. At later boots only a node whose certificate has run out joins again.
source /usr/local/lib/kubepark/lib.sh

certificate=/var/lib/kubelet/pki/kubelet-client-current.pem
if [[ -s /etc/kubernetes/kubelet.conf ]] && openssl x509 -noout -checkend 3600 -in "$certificate"; then
  systemctl start kubelet.service
  exit 0
fi

umask 077
config=/run/kubepark-join.yaml # in memory, gone when the step ends
trap 'rm -f "$config"' EXIT
for tried in {1..5}; do
  if [[ -e /etc/kubernetes/kubelet.conf || -e /etc/kubernetes/bootstrap-kubelet.conf ]]; then
    kubeadm reset --force
  fi
  identity=$("$LIB/kp-aws" identity)
  record=$("$LIB/await-join")
  fill /etc/kubepark/kubeadm-join.yaml.tmpl "$config" <<<"$identity"$'\n'"$record"
  if timeout 600 kubeadm join --config "$config"; then exit 0; fi
  journalctl -u kubelet --no-pager -n 10 -o cat || true
  echo "kubeadm join failed, try $tried of 5"
  sleep $((15 * tried + RANDOM % 10))
done
echo "kubeadm join failed 5 times" >&2
exit 1
