#!/bin/bash
# The node checks itself; every finding is named, and one is enough to fail.
source /usr/local/lib/kubepark/lib.sh

findings=0
expect() { # expect WHAT COMMAND...
  local what=$1
  shift
  if ! "$@" >/dev/null 2>&1; then
    echo "not so: $what"
    findings=$((findings + 1))
  fi
}
equal() { [[ $1 == "$2" ]]; }

expect "hostname is $NODE_NAME" equal "$(hostname)" "$NODE_NAME"
expect "swap is off" equal "$(swapon --noheadings --show)" ""
expect "IPv4 forwarding is on" equal "$(sysctl -n net.ipv4.ip_forward)" 1
expect "bridged traffic meets iptables" equal "$(sysctl -n net.bridge.bridge-nf-call-iptables)" 1
expect "the API's name is known" getent hosts "$API_NAME"
expect "the runtime answers" timeout 20 crictl info
expect "the kubelet has version $KUBERNETES_VERSION" equal "$(kubelet --version)" "Kubernetes v$KUBERNETES_VERSION"
expect "the kubelet runs" retry 5 systemctl is-active --quiet kubelet.service
# Of logind itself: what its files say may be overruled by others.
delay=$(busctl get-property org.freedesktop.login1 /org/freedesktop/login1 \
  org.freedesktop.login1.Manager InhibitDelayMaxUSec) || true
expect "pods get 45 s to end before the machine does" equal "$delay" "t 45000000"
if [[ $ROLE == gpu ]]; then expect "the GPU answers" timeout 60 nvidia-smi -L; fi
if [[ $ROLE == master ]]; then
  expect "Secrets are encrypted" grep -q encryption-provider-config /etc/kubernetes/manifests/kube-apiserver.yaml
fi
if ((findings)); then exit 1; fi
echo "self-check passed"
