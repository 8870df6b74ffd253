#!/bin/bash
# Sourced by every step. A step says what fails and where; the runner adds deadline, log and record.
set -Eeuo pipefail
umask 022
export LIB=/usr/local/lib/kubepark
export HOME=/root DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1
trap 'echo "$0, line $LINENO: exit $?: $BASH_COMMAND" >&2' ERR
source /etc/kubepark/node.env

# retry TIMES COMMAND...: tries again with growing, jittered pauses.
retry() {
  local times=$1 tried=1
  shift
  until "$@"; do
    if ((tried >= times)); then
      echo "gave up after $times tries: $*" >&2
      return 1
    fi
    sleep $((tried * 5 + RANDOM % 10))
    tried=$((tried + 1))
  done
}

# apt ARGUMENTS...: waits for the lock, asks nothing, keeps configuration files that we wrote.
apt() { retry 5 apt_get "$@"; }

apt_get() {
  # Of what a power cut has interrupted, or apt-get refuses everything. Who holds the lock is waited for below.
  dpkg --force-confold --configure -a || true
  timeout 600 apt-get -y -q -o DPkg::Lock::Timeout=300 -o Dpkg::Options::=--force-confold \
    -o APT::Update::Error-Mode=any "$@"
}

# repository NAME KEY-URL SOURCE: an apt source that trusts its own key and no other.
repository() {
  local key=/etc/apt/keyrings/$1.asc
  install -d -m 0755 /etc/apt/keyrings
  retry 5 curl -fsSL --connect-timeout 10 --max-time 60 -o "$key.new" "$2"
  chmod 0644 "$key.new"
  mv "$key.new" "$key"
  echo "deb [signed-by=$key] $3" >"/etc/apt/sources.list.d/$1.list"
}

# off UNIT...: stops units, and nothing can start them again; one that this image does not have is fine.
# Stopped first, since a timer that is masked while it waits has failed.
off() {
  local unit
  for unit in "$@"; do
    if systemctl cat "$unit" >/dev/null 2>&1; then
      systemctl stop "$unit"
      systemctl mask --now "$unit"
    fi
  done
}

# fill TEMPLATE RESULT: puts the NAME=value lines of stdin in place of @NAME@. Builtins only: a value
# can be a token.
fill() {
  local text name value
  text=$(<"$1")
  while IFS='=' read -r name value; do
    if [[ ! $value =~ ^[A-Za-z0-9.:/_-]+$ ]]; then
      echo "unexpected characters in $name" >&2
      return 1
    fi
    text=${text//"@$name@"/$value}
  done
  if [[ $text =~ @[A-Z_]+@ ]]; then
    echo "$1: no value for ${BASH_REMATCH[0]}" >&2
    return 1
  fi
  printf '%s\n' "$text" >"$2"
}
