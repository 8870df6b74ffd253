#!/bin/bash
# What kubeadm and Calico expect of the operating system.
source /usr/local/lib/kubepark/lib.sh

# 78: trying again does not help (EX_CONFIG).
if ! grep -qx "VERSION_CODENAME=$UBUNTU_CODENAME" /etc/os-release; then
  echo "cause: this image is $(sed -n 's/^PRETTY_NAME=//p' /etc/os-release), not Ubuntu $UBUNTU_CODENAME: change its ami"
  exit 78
fi
if [[ $(stat -fc %T /sys/fs/cgroup) != cgroup2fs ]]; then
  echo "this image has cgroup v1; the kubelet needs v2" >&2
  exit 78
fi

swapoff -a
sed -Ei '/^[^#]\S*\s+\S+\s+swap\s/s/^/#/' /etc/fstab
for unit in $(systemctl list-units --type swap --all --plain --no-legend | cut -d ' ' -f 1); do
  systemctl mask --now "$unit"
done

off firewalld.service ufw.service
if command -v setenforce >/dev/null && [[ $(getenforce) == Enforcing ]]; then
  setenforce 0
fi
if [[ -f /etc/selinux/config ]]; then
  sed -i 's/^SELINUX=enforcing/SELINUX=permissive/' /etc/selinux/config
fi

modprobe -a overlay br_netfilter # the bridge settings exist only once the module is loaded
sysctl --system
systemctl try-restart systemd-networkd.service # takes networkd.conf.d: it leaves CNI routes alone
systemctl try-reload-or-restart systemd-logind.service # takes logind.conf.d: time to shut pods down
