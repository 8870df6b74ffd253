#!/bin/bash
# The runtime with our configuration; nothing goes on until it answers and uses what we wrote.
source /usr/local/lib/kubepark/lib.sh

systemctl enable containerd.service
systemctl restart containerd.service
retry 5 timeout 20 crictl info >/dev/null
effective=$(containerd config dump)
grep -q 'SystemdCgroup = true' <<<"$effective"
grep -Eq "default_runtime_name = [\"']${CONTAINER_RUNTIME}[\"']" <<<"$effective"
