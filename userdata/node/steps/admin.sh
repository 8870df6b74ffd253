#!/bin/bash
# kubectl for root and for the image's own user.
source /usr/local/lib/kubepark/lib.sh

user=$(getent passwd 1000 | cut -d : -f 1)
home=$(getent passwd 1000 | cut -d : -f 6)
install -d -o "$user" -g "$user" -m 0700 "$home/.kube"
install -o "$user" -g "$user" -m 0600 /etc/kubernetes/admin.conf "$home/.kube/config"
