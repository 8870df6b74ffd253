#!/bin/bash
# /etc/hosts: now, and from here on by timer, so that a new node touches no other.
source /usr/local/lib/kubepark/lib.sh

retry 5 "$LIB/refresh-hosts"
systemctl enable --now kubepark-hosts.timer
