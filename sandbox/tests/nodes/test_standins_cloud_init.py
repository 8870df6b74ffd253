"""The stand-in for cloud-init at a machine's first boot, with a metadata service that wants a token."""

from __future__ import annotations

import hashlib
import json

import pytest

from sandbox.nodes.standins.table import HOME
from sandbox.tests.nodes.standins_machine import SCRIPTS, Machine, needs_namespaces

pytestmark = needs_namespaces

RAW = b"as the instance has it, packed or not"
METADATA = """\
from http.server import BaseHTTPRequestHandler
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
        return self.answer(200, Path("/run/metadata", self.path.rpartition("/")[2]).read_bytes())
"""
CONFIG = {
    "hostname": "worker01",
    "manage_etc_hosts": False,
    "ssh_pwauth": False,
    "write_files": [
        {"path": "/usr/local/bootstrap", "permissions": "0755", "content": "#!/bin/sh\necho up >>/run/ran\n"}
    ],
    "runcmd": [["/bin/sh", "-c", "echo no >&2; exit 3"], ["/usr/local/bootstrap"]],
}


@pytest.fixture
def machine(tmp_path):
    with Machine(tmp_path) as made:
        made.put("/run/metadata/instance-id", "i-1")
        made.put("/run/metadata/user-data", RAW.decode())
        yield made.serve(METADATA, 80)


def boot(machine, config, raw=RAW):
    given = {"sha256": hashlib.sha256(raw).hexdigest(), "config": config}
    machine.put(f"{HOME}/user-data.json", json.dumps(given))
    return machine.run(f"{SCRIPTS}/cloud_init.py").returncode


def test_the_first_boot_does_what_the_user_data_says_and_the_next_one_only_names_the_machine(machine):
    assert boot(machine, CONFIG) == 0
    assert machine.path("/usr/local/bootstrap").stat().st_mode & 0o777 == 0o755
    assert machine.run("hostname").stdout == "worker01\n"
    assert machine.text("/run/ran") == "up\n", "a command that fails does not end the list"
    assert "exit 3: no" in machine.text("/var/log/cloud-init.log")
    machine.put("/etc/hostname", "renamed\n")
    assert boot(machine, CONFIG) == 0
    assert machine.run("hostname").stdout == "renamed\n"
    assert machine.text("/run/ran") == "up\n"
    machine.put("/run/metadata/instance-id", "i-2")
    assert boot(machine, CONFIG) == 0
    assert machine.text("/run/ran") == "up\nup\n", "another instance"


@pytest.mark.parametrize(
    ("changes", "raw", "words"),
    [
        ({"packages": ["jq"]}, RAW, "cloud-config that this stand-in does not know: packages"),
        ({"ssh_pwauth": True}, RAW, "cloud-config that this stand-in does not know: {"),
        (
            {"write_files": [{"path": "/x", "content": "", "owner": "ada"}]},
            RAW,
            "write_files: ['content', 'owner'",
        ),
        ({}, b"other", "the metadata service has other user data than the host has read"),
    ],
)
def test_what_is_not_known_is_refused(machine, changes, raw, words):
    assert boot(machine, {**CONFIG, **changes}, raw) == 1
    assert words in machine.text("/var/log/cloud-init.log").splitlines()[-1]
    assert not machine.path("/run/ran").exists()
    assert not machine.path("/var/lib/cloud/instances/i-1/boot-finished").exists()
