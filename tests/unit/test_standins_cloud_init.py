"""The stand-in for cloud-init at a machine's first boot, with a metadata service that wants a token."""

from __future__ import annotations

import hashlib
import json

import pytest

from sandbox.standins.table import HOME
from tests.unit.standins_machine import SCRIPTS, Machine, needs_namespaces, wait_for

pytestmark = needs_namespaces

RAW = b"as the instance has it, packed or not"
SERVER = """\
import subprocess
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path


class Handler(BaseHTTPRequestHandler):
    def answer(self, status, body):
        self.send_response(status)
        self.end_headers()
        self.wfile.write(body)

    def do_PUT(self):
        known = self.path == "/latest/api/token" and self.headers["X-aws-ec2-metadata-token-ttl-seconds"]
        self.answer(200 if known else 400, b"a-token")

    def do_GET(self):
        if self.headers["X-aws-ec2-metadata-token"] != "a-token":
            return self.answer(401, b"")
        file = Path("/run/metadata", self.path.rpartition("/")[2])
        return self.answer(200, file.read_bytes()) if file.exists() else self.answer(404, b"")

    def log_message(self, *_):
        pass


subprocess.run(["ip", "addr", "add", "169.254.169.254/32", "dev", "lo"], check=True)
HTTPServer(("169.254.169.254", 80), Handler).serve_forever()
"""
CONFIG = {
    "hostname": "worker01",
    "manage_etc_hosts": False,
    "ssh_pwauth": False,
    "write_files": [
        {"path": "/etc/kubepark/node.json", "permissions": "0644", "content": "{}\n"},
        {
            "path": "/usr/local/lib/kubepark/bootstrap",
            "permissions": "0755",
            "content": "#!/bin/sh\necho up >>/run/ran\n",
        },
    ],
    "runcmd": [
        ["/usr/local/lib/kubepark/bootstrap"],
        ["/bin/sh", "-c", "echo no >&2; exit 3"],
        ["touch", "/run/last"],
    ],
}


@pytest.fixture
def machine(tmp_path):
    with Machine(tmp_path) as made:
        made.put("/usr/local/bin/metadata", SERVER)
        made.put("/run/metadata/instance-id", "i-1")
        made.put("/run/metadata/user-data", RAW.decode())
        made.start("/usr/bin/python3", "/usr/local/bin/metadata")
        wait_for("its port", lambda: ":0050 " in made.run("cat", "/proc/net/tcp").stdout)
        yield made


def boot(machine, config, raw=RAW):
    machine.put(
        f"{HOME}/user-data.json", json.dumps({"sha256": hashlib.sha256(raw).hexdigest(), "config": config})
    )
    return machine.run(f"{SCRIPTS}/cloud_init.py").returncode


def log(machine):
    """What it said, without the times."""
    return [line.split(" ", 1)[1] for line in machine.text("/var/log/cloud-init.log").splitlines()]


def test_the_first_boot_does_what_the_user_data_says_and_the_next_one_only_names_the_machine(machine):
    assert boot(machine, CONFIG) == 0
    assert machine.text("/etc/kubepark/node.json") == "{}\n"
    assert machine.path("/usr/local/lib/kubepark/bootstrap").stat().st_mode & 0o777 == 0o755
    assert machine.run("hostname").stdout == "worker01\n"
    assert machine.text("/run/ran") == "up\n"
    assert machine.path("/run/last").exists(), "a command that fails does not end the list"
    assert log(machine) == [
        "runcmd: /usr/local/lib/kubepark/bootstrap",
        "runcmd: /bin/sh -c echo no >&2; exit 3",
        "exit 3: no",
        "runcmd: touch /run/last",
    ]
    machine.put("/etc/hostname", "renamed\n")
    machine.put("/etc/kubepark/node.json", "changed\n")
    assert boot(machine, CONFIG) == 0
    assert machine.run("hostname").stdout == "renamed\n"
    assert machine.text("/etc/kubepark/node.json") == "changed\n"
    assert machine.text("/run/ran") == "up\n"
    machine.put("/run/metadata/instance-id", "i-2")
    assert boot(machine, CONFIG) == 0
    assert machine.text("/run/ran") == "up\nup\n", "another instance"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"packages": ["jq"]}, "cloud-config that this stand-in does not know: packages"),
        ({"ssh_pwauth": True}, "cloud-config that this stand-in does not know: {"),
        (
            {"write_files": [{"path": "/x", "content": "", "owner": "ada"}]},
            "write_files: ['content', 'owner', 'path']",
        ),
    ],
)
def test_what_is_not_known_is_refused(machine, changes, words):
    assert boot(machine, {**CONFIG, **changes}) == 1
    assert log(machine)[-1].startswith(words)
    assert not machine.path("/run/ran").exists()
    assert not machine.path("/var/lib/cloud/instances/i-1/boot-finished").exists()


def test_other_user_data_than_the_host_has_read(machine):
    assert boot(machine, CONFIG, b"other") == 1
    assert log(machine) == ["the metadata service has other user data than the host has read"]
    assert not machine.path("/run/ran").exists()
