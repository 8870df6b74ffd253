#!/bin/bash
# Runtime and Kubernetes at exactly the row's versions, held, with background upgrades off.
source /usr/local/lib/kubepark/lib.sh

# The services, too: the first boot's run may be under way already.
off apt-daily.timer apt-daily-upgrade.timer apt-daily.service apt-daily-upgrade.service unattended-upgrades.service
apt update
apt install ca-certificates curl conntrack socat ebtables ethtool iptables openssl
repository docker https://download.docker.com/linux/ubuntu/gpg \
  "https://download.docker.com/linux/ubuntu $UBUNTU_CODENAME stable"
kubernetes=https://pkgs.k8s.io/core:/stable:/v$KUBERNETES_MINOR/deb
repository kubernetes "$kubernetes/Release.key" "$kubernetes/ /"
apt update
apt install --allow-downgrades --allow-change-held-packages "containerd.io=$CONTAINERD_PACKAGE" \
  "kubelet=$KUBERNETES_PACKAGE" "kubeadm=$KUBERNETES_PACKAGE" "kubectl=$KUBERNETES_PACKAGE" \
  cri-tools kubernetes-cni
apt-mark hold containerd.io kubelet kubeadm kubectl cri-tools kubernetes-cni
systemctl enable kubelet.service # it restarts until kubeadm has written its configuration
kubeadm version -o short
