"""A node's disk in a folder: its user data laid out, its system commands replaced by stand-ins.

The scripts run as they are in user data, with absolute paths moved below the folder. Commands that
would change the machine are small shell stand-ins that log how they were called; everything else
(bash, sed, openssl, flock, timeout, Python, kubeadm's own certificate code) is real.
"""

from __future__ import annotations

import hashlib
import json
import os
import pwd
import re
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from sandbox.tests.program import logind
from sandbox.tests.program.logind import UBUNTU_LOGIND
from sandbox.tests.program.node_world import World, create_parameters, node_world
from sandbox.tests.tools import tool
from tests.userdata_sample import files, plan

LIB = "/usr/local/lib/kubepark"
HOSTS_ROWS: list[list[Any]] = [
    ["10.20.0.10", ["master1", "api.sample.internal"]],
    ["10.20.0.11", ["worker01"]],
]
MOVED = re.compile(r"(?<![\w}.*])/(?=(?:etc|var|run|usr/local/lib/kubepark)(?:/|\b))")
HOSTS = "127.0.0.1 localhost\n\n# for IPv6\n::1 ip6-localhost ip6-loopback\nff02::1 ip6-allnodes\n"
RELEASE = 'PRETTY_NAME="Ubuntu 24.04 LTS"\nVERSION_CODENAME=noble\n'
FSTAB = "LABEL=root / ext4 defaults 0 1\n/swapfile none swap sw 0 0\n# /old none swap sw 0 0\n"
CHANGES_EACH_RUN = ("calls", "attempt", "kubepark-bootstrap.log")

QUIET = "apt-get apt-mark dpkg hostnamectl modprobe swapoff swapon journalctl sleep"
STAND_INS = {
    **dict.fromkeys(QUIET.split(), ":"),
    "busctl": f"""{sys.executable} -P - <<'END'
import os, pathlib, runpy
print("t", runpy.run_path({logind.__file__!r})["delay"](pathlib.Path(os.environ["ROOT"])))
END""",
    "containerd": "cd $ROOT/etc/containerd; cat config.toml conf.d/*.toml 2>/dev/null || true",
    "crictl": ":",
    "curl": 'while [[ $1 != -o ]]; do shift; done; echo key >"$2"',
    "dpkg-query": "echo installed linux-aws; echo not-installed nvidia-smi",
    "getent": (
        'if [[ $1 == hosts ]]; then grep -w -- "$2" $ROOT/etc/hosts; else '
        "echo $USER_NAME:x:1000:1000::$ROOT/home/$USER_NAME:/bin/bash; fi"
    ),
    "hostname": "echo $NODE",
    "kubectl": """
case "$*" in
*providerID*) echo $PROVIDER_ID ;;
*"get --raw /api/v1/nodes") cat $ROOT/nodes.json ;;
*"delete --raw"*) printf '%s %s\\n' "$5" "$(cat)" >>$ROOT/deleted ;;
*) echo ok ;;
esac""",
    "kubelet": "echo Kubernetes v1.36.4",
    "nvidia-smi": "test -e $ROOT/driver && echo 'GPU 0: Tesla T4'",
    "stat": "echo cgroup2fs",
    "sysctl": "echo 1",
    "systemctl": "case $1 in cat) exit 1 ;; reboot) touch $ROOT/driver ;; esac",
    "timedatectl": "echo yes",
    # Certificates and kubeconfigs are kubeadm's own; only what needs a cluster is a stand-in.
    "kubeadm": """
case "$1 $2" in
"config validate" | "version -o") exec $KUBEADM "$@" ;;
"kubeconfig user") exec $KUBEADM kubeconfig user --config $ROOT/run/moved.yaml "${@:5}" ;;
"init --config")
  sed "/^kind: ClusterConfiguration/a certificatesDir: $ROOT/etc/kubernetes/pki" "$3" >$ROOT/run/moved.yaml
  mkdir -p $ROOT/etc/kubernetes/manifests
  echo encryption-provider-config >$ROOT/etc/kubernetes/manifests/kube-apiserver.yaml
  $KUBEADM init phase certs ca --config $ROOT/run/moved.yaml
  echo admin >$ROOT/etc/kubernetes/admin.conf ;;
"token create") tr -dc a-z0-9 </dev/urandom | head -c 22 | sed 's/^....../&./' ;;
"reset --force") rm -rf $ROOT/etc/kubernetes/kubelet.conf $ROOT/etc/kubernetes/manifests ;;
"join --config")
  cp "$3" $ROOT/joined.yaml
  mkdir -p $ROOT/var/lib/kubelet/pki
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 365 -subj /CN=node \\
    -keyout /dev/null -out $ROOT/var/lib/kubelet/pki/kubelet-client-current.pem 2>/dev/null
  echo kubelet >$ROOT/etc/kubernetes/kubelet.conf ;;
esac""",
}


class NodeRoot:
    """One node below `root`, in the world that it talks to."""

    def __init__(self, role: str, root: Path, world: World) -> None:
        self.role, self.root, self.world = role, root, world
        self.calls_file = root / "calls"
        for folder in [
            "etc/apt/sources.list.d",
            "etc/cloud/cloud.cfg.d",
            "etc/kubernetes",
            "run",
            "var/log",
            "var/lib",
            "home",
            "bin",
        ]:
            (root / folder).mkdir(parents=True, exist_ok=True)
        (root / "etc/hosts").write_text(HOSTS)
        (root / "etc/fstab").write_text(FSTAB)
        (root / "etc/os-release").write_text(RELEASE)
        for path, text in (UBUNTU_LOGIND, *files(role).items()):
            self.put(path, text)
        self.edit("/usr/local/lib/kubepark/kp-aws", "LONGEST_PAUSE = 20", "LONGEST_PAUSE = 0.11")
        if role != "master":
            self.edit("/usr/local/lib/kubepark/await-join", "PAUSE = 10", "PAUSE = 0.1")
        for name, body in STAND_INS.items():
            self.stand_in(name, body)

    def path(self, path: str) -> Path:
        return self.root / path.lstrip("/")

    def put(self, path: str, text: str) -> None:
        """Writes a file of the node with its absolute paths moved."""
        target = self.path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        text = MOVED.sub(f"{self.root}/", text)
        target.write_text(text.replace("#!/usr/bin/python3", f"#!{sys.executable}", 1))
        target.chmod(0o755 if text.startswith("#!") else 0o644)

    def edit(self, path: str, old: str, new: str, count: int = -1) -> None:
        text = self.path(path).read_text()
        assert old in text, f"{path} has no {old!r}"
        self.path(path).write_text(text.replace(old, new, count))

    def stand_in(self, name: str, body: str) -> None:
        """Puts a command on the node's PATH; each call is logged with its arguments."""
        program = self.root / "bin" / name
        program.write_text(f'#!/bin/bash\nset -e\necho "{name} $*" >>{self.calls_file}\n{body}\n')
        program.chmod(0o755)

    @property
    def provider_id(self) -> str:
        values = self.world.values
        return f"aws:///{values['placement/availability-zone']}/{values['instance-id']}"

    @property
    def environment(self) -> dict[str, str]:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        return {
            **clean,
            **self.world.environment,
            "PATH": f"{self.root / 'bin'}:{os.environ['PATH']}",
            "ROOT": str(self.root),
            "NODE": plan(self.role).name,
            "PROVIDER_ID": self.provider_id,
            "KUBEADM": str(tool("kubeadm")),
            "USER_NAME": pwd.getpwuid(os.getuid()).pw_name,
        }

    def start(self, program: str = "bootstrap") -> subprocess.Popen[str]:
        return subprocess.Popen(
            [self.path(f"/usr/local/lib/kubepark/{program}")],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, program: str = "bootstrap") -> tuple[int, str]:
        """Exit status and output of one of the node's programs."""
        with self.running(program) as process:
            said, _ = process.communicate(timeout=120)
        return process.returncode, said

    @contextmanager
    def running(self, program: str = "bootstrap") -> Iterator[subprocess.Popen[str]]:
        """The program while it runs; afterwards nothing of it is left, however the test ended."""
        with self.start(program) as process:
            try:
                yield process
            finally:
                self.cut_power()

    def cut_power(self) -> None:
        """Kills every process of the node at once."""
        mark = f"ROOT={self.root}\0".encode()
        for environment in Path("/proc").glob("[0-9]*/environ"):
            try:
                if mark in environment.read_bytes():
                    os.kill(int(environment.parent.name), signal.SIGKILL)
            except (FileNotFoundError, ProcessLookupError, PermissionError):
                continue  # ended meanwhile, or somebody else's

    def records(self) -> list[dict[str, Any]]:
        """Every status record so far, the oldest first."""
        name = f"/sample/status/{plan(self.role).name}"
        pages = self.world.ssm.get_paginator("get_parameter_history").paginate(Name=name)
        return [json.loads(each["Value"]) for page in pages for each in page["Parameters"]]

    def calls(self, pattern: str = "") -> list[str]:
        """Calls of stand-ins that begin as the regular expression says."""
        lines = self.calls_file.read_text().splitlines() if self.calls_file.exists() else []
        return [line for line in lines if re.match(pattern, line)]

    def log(self) -> str:
        return self.path("/var/log/kubepark-bootstrap.log").read_text()

    def snapshot(self) -> dict[str, str]:
        """Hash of every file that a second run must leave alone."""
        return {
            str(path.relative_to(self.root)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(self.root.rglob("*"))
            if path.is_file() and path.name not in CHANGES_EACH_RUN
        }


def join_record(**changes: Any) -> dict[str, Any]:
    """A record that a node may use, with a token made up now; `publish_join` adds the endpoint."""
    return {
        "schema": 1,
        "instanceId": "i-master",
        "generation": 1,
        "token": f"{secrets.token_hex(3)}.{secrets.token_hex(8)}",
        "caCertHashes": [f"sha256:{secrets.token_hex(32)}"],
        "expiresAt": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 86400)),
        **changes,
    }


def publish_join(world: World, record: dict[str, Any] | str) -> None:
    """`record` as the master would publish it: its endpoint is one that takes connections."""
    there = {"endpoint": urlsplit(world.aws_url).netloc}
    value = record if isinstance(record, str) else json.dumps({**there, **record})
    world.ssm.put_parameter(Name="/sample/join", Value=value, Type="SecureString", Overwrite=True)


@contextmanager
def booting(role: str, folder: Path) -> Iterator[NodeRoot]:
    """A fresh node of `role`. Unless it is the master, a join record is there already."""
    public = "203.0.113.80" if role == "master" else None
    with node_world("i-0aaaabbbbccccdddd", plan(role).private_ip, public) as world:
        create_parameters(world, json.loads(files(role)["/etc/kubepark/node.json"]), HOSTS_ROWS)
        node = NodeRoot(role, folder, world)
        if role != "master":
            publish_join(world, join_record())
        if role == "gpu":
            (folder / "driver").touch()
        yield node
