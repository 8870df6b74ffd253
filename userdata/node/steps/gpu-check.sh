#!/bin/bash
# Before joining: a node whose driver is broken would look healthy without a GPU.
source /usr/local/lib/kubepark/lib.sh

modprobe nvidia
if systemctl cat nvidia-persistenced.service >/dev/null 2>&1; then
  systemctl start nvidia-persistenced.service
fi
timeout 60 nvidia-smi -L
