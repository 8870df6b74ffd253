#!/bin/bash
# The node keeps its planned name, whatever the cloud calls it.
source /usr/local/lib/kubepark/lib.sh

hostnamectl set-hostname "$NODE_NAME"
echo 'preserve_hostname: true' >/etc/cloud/cloud.cfg.d/99-kubepark.cfg
