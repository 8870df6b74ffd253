#!/bin/bash
# The container toolkit, its four packages at one version. containerd's drop-in is our own file.
source /usr/local/lib/kubepark/lib.sh

source=https://nvidia.github.io/libnvidia-container
repository nvidia-container-toolkit "$source/gpgkey" "$source/stable/deb/\$(ARCH) /"
apt update
packages=(nvidia-container-toolkit nvidia-container-toolkit-base libnvidia-container-tools libnvidia-container1)
apt install --allow-downgrades --allow-change-held-packages "${packages[@]/%/=$NVIDIA_TOOLKIT}"
apt-mark hold "${packages[@]}"
