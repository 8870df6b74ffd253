#!/bin/bash
# The key for Secrets in etcd is made here, once. Parameter Store keeps a copy: without it an etcd
# backup is useless.
source /usr/local/lib/kubepark/lib.sh

umask 077
key_file=/etc/kubernetes/enc/key
config=/etc/kubernetes/enc/encryption.yaml
install -d -m 0700 /etc/kubernetes/enc
if [[ ! -s $key_file ]]; then
  head -c 32 /dev/urandom | base64 -w 0 >"$key_file.new"
  mv "$key_file.new" "$key_file"
fi
retry 5 "$LIB/kp-aws" put-parameter "$ENCRYPTION_PARAMETER" --secure <"$key_file"
cat >"$config.new" <<END
apiVersion: apiserver.config.k8s.io/v1
kind: EncryptionConfiguration
resources:
  - resources: [secrets]
    providers:
      - secretbox:
          keys: [{name: key1, secret: $(<"$key_file")}]
      - identity: {}
END
mv "$config.new" "$config"
