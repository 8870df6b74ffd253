#!/bin/bash
# Joins with the CA pinned. At later boots only a node whose certificate has run out joins again.
source /usr/local/lib/kubepark/lib.sh

certificate=/var/lib/kubelet/pki/kubelet-client-current.pem
if [[ -s /etc/kubernetes/kubelet.conf ]] && openssl x509 -noout -checkend 3600 -in "$certificate"; then
  systemctl start kubelet.service
  exit 0
fi

# A kubelet takes up the Node that a former machine of this name left, with a provider id that cannot be
# changed. The master deletes such a Node (reap-nodes); until then this machine has not joined.
node_is_ours() {
  local found
  for _ in {1..6}; do
    found=$(kubectl --kubeconfig /etc/kubernetes/kubelet.conf get node "$NODE_NAME" -o 'jsonpath={.spec.providerID}')
    if grep -qxF "PROVIDER_ID=$found" <<<"$identity"; then return 0; fi
    echo "waiting: Node $NODE_NAME has the provider id '$found'"
    sleep 5
  done
  return 1
}

umask 077
config=/run/kubepark-join.yaml # in memory, gone when the step ends
words=/run/kubepark-join.log
trap 'rm -f "$config" "$words"' EXIT
for tried in {1..5}; do
  if [[ -e /etc/kubernetes/kubelet.conf || -e /etc/kubernetes/bootstrap-kubelet.conf ]]; then
    kubeadm reset --force
  fi
  identity=$("$LIB/kp-aws" identity)
  record=$("$LIB/await-join")
  fill /etc/kubepark/kubeadm-join.yaml.tmpl "$config" <<<"$identity"$'\n'"$record"
  # Refused as long as the former machine's Node is Ready.
  if timeout 600 kubeadm join --config "$config" 2>&1 | tee "$words" && node_is_ours; then exit 0; fi
  sed -n 's/^error: /waiting: /p' "$words" # into the record at once: the last try is minutes away
  journalctl -u kubelet --no-pager -n 10 -o cat || true
  echo "not joined, try $tried of 5"
  sleep $((15 * tried + RANDOM % 10))
done
echo "not joined after 5 tries"
sed -n 's/^error: /cause: not joined after 5 tries: /p' "$words"
exit 1
