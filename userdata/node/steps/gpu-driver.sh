#!/bin/bash
# NVIDIA's open kernel module as Canonical builds and signs it: no compiler, no nouveau conflict.
source /usr/local/lib/kubepark/lib.sh

branch=$NVIDIA_BRANCH-server
if ! nvidia-smi -L; then
  apt update
  module=linux-modules-nvidia-$branch-open-$(uname -r)
  if ! apt-cache show "$module" >/dev/null 2>&1; then
    module=linux-modules-nvidia-$branch-open-aws # brings the newest kernel that has the module
  fi
  apt install "$module" "nvidia-headless-no-dkms-$branch-open" "nvidia-utils-$branch"
  modprobe nvidia || true
fi
if ! nvidia-smi -L; then
  echo "the driver does not answer under kernel $(uname -r); a reboot is needed"
  exit 75
fi
# The module fits this kernel only: no upgrade behind our back.
mapfile -t kernel < <(dpkg-query -W -f '${Package}\n' 'linux-aws*' 'linux-image-aws*' 'linux-headers-aws*' 2>/dev/null)
if ((${#kernel[@]})); then apt-mark hold "${kernel[@]}"; fi
