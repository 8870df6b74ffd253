"""A node with its own AWS client, kp-aws out of its user data."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from sandbox.nodes.cloudinit import parse
from sandbox.tests.aws.gate_node import Node
from sandbox.tests.nodes.boot_world import World

CLIENT = "/usr/local/lib/kubepark/kp-aws"


class ClientNode(Node):
    def __init__(self, lab: World, name: str, folder: Path) -> None:
        super().__init__(lab, name, folder)
        files = parse(self.account.cloud.user_data(self.instance)).files
        self.program = self._install(files["/etc/kubepark/node.json"].content, files[CLIENT].content.decode())

    def _install(self, node: bytes, text: str) -> Path:
        """kp-aws as cloud-init writes it, with node.json under our folder and without long pauses."""
        (self.folder / "node.json").write_bytes(node)
        for old, new in (
            ("/etc/kubepark/node.json", str(self.folder / "node.json")),
            ("LONGEST_PAUSE = 20", "LONGEST_PAUSE = 0.11"),
            ("ALIAS_SEEN = 300", "ALIAS_SEEN = 0"),
        ):
            assert old in text
            text = text.replace(old, new)
        program = self.folder / "kp-aws"
        program.write_text(text, encoding="utf-8")
        return program

    def kp_aws(self, *arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        cloud = {"AWS_EC2_METADATA_SERVICE_ENDPOINT": self.metadata_url, "AWS_ENDPOINT_URL": self.gate_url}
        return subprocess.run(
            [sys.executable, self.program, *arguments],
            input=given,
            env={**clean, **cloud},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def says(self, *arguments: str, given: str = "") -> str:
        """What the client prints; AssertionError with its complaint if it fails."""
        done = self.kp_aws(*arguments, given=given)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def complaint(self, *arguments: str, given: str = "") -> str:
        """The one line that the client ends with."""
        done = self.kp_aws(*arguments, given=given)
        assert (done.returncode, done.stdout) == (1, "")
        (line,) = done.stderr.splitlines()
        return line
