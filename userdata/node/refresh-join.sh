#!/bin/bash
# refresh-join: the master publishes the operator's kubeconfig and a fresh join token.
#
# Run after `kubeadm init`, at every boot and every six hours. The token lives 24 hours, so what
# nodes read is good for at least 18. The kubeconfig is issued anew only when it nears its end or its
# address changed. Secrets pass through pipes and builtins alone, never through arguments.
source /usr/local/lib/kubepark/lib.sh

umask 077
exec 9>/run/kubepark-join.lock
flock 9

kubernetes=/etc/kubernetes
operator=$kubernetes/kubepark-operator.conf
identity=$("$LIB/kp-aws" identity)
instance=$(sed -n 's/^INSTANCE_ID=//p' <<<"$identity")
address=$(sed -n 's/^PUBLIC_IP=//p' <<<"$identity")
server=${API_ENDPOINT:-https://$address:6443}

usable() { # the kept kubeconfig has this server and 60 days left
  grep -qsxF "    server: $server" "$operator" &&
    sed -n 's/.*client-certificate-data: //p' "$operator" | base64 -d |
    openssl x509 -noout -checkend $((60 * 24 * 3600)) >/dev/null
}

if ! usable; then
  kubeadm kubeconfig user --config /etc/kubepark/kubeadm-init.yaml \
    --client-name kubepark-operator --org kubeadm:cluster-admins |
    sed "s|^    server: .*|    server: $server|" >"$operator.new"
  mv "$operator.new" "$operator"
fi
"$LIB/kp-aws" put-parameter "$KUBECONFIG_PARAMETER" --secure <"$operator"

hash=$(openssl x509 -pubkey -noout -in $kubernetes/pki/ca.crt |
  openssl pkey -pubin -outform der | sha256sum | cut -d ' ' -f 1)
expires=$(date -u -d '+24 hours' +%FT%TZ)
token=$(kubeadm token create --kubeconfig $kubernetes/admin.conf --ttl 24h --description kubepark)
{
  printf '{"schema": 1, "instanceId": "%s", "generation": %d, ' "$instance" "$GENERATION"
  printf '"endpoint": "%s:6443", "token": "%s", ' "$API_NAME" "$token"
  printf '"caCertHashes": ["sha256:%s"], "expiresAt": "%s"}' "$hash" "$expires"
} | "$LIB/kp-aws" put-parameter "$JOIN_PARAMETER" --secure
echo "published the kubeconfig and a join token until $expires"
