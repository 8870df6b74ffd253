#!/bin/bash
# NVIDIA's open kernel module as Canonical builds and signs it: no compiler, no nouveau conflict. At every
# boot, since another kernel needs another module.
source /usr/local/lib/kubepark/lib.sh

branch=$NVIDIA_BRANCH-server
if ! nvidia-smi -L; then
  apt update
  # The meta packages bring the newest kernel, the module that fits it, and the user space that fits both. The
  # module of the image's kernel may be gone from the archive, or left there without what it depends on.
  apt install --allow-change-held-packages linux-image-aws "linux-modules-nvidia-$branch-open-aws" \
    "nvidia-headless-no-dkms-$branch-open" "nvidia-utils-$branch"
  modprobe nvidia || true
fi
# They fit each other only: no upgrade behind our back. dpkg also knows names that others only mention.
mapfile -t fitting < <(dpkg-query -W -f '${db:Status-Status} ${Package}\n' 'linux-aws*' 'linux-image-aws*' \
  'linux-headers-aws*' 'linux-modules-nvidia-*' 'nvidia-*' 'libnvidia-*' 2>/dev/null | sed -n 's/^installed //p')
if ((${#fitting[@]})); then apt-mark hold "${fitting[@]}"; fi
if ! nvidia-smi -L; then
  echo "the driver does not answer under kernel $(</proc/sys/kernel/osrelease); a reboot is needed"
  exit 75
fi
