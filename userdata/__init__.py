"""User data: what turns a plain Ubuntu machine into a node, as one compressed cloud-config.

Pure: the same plan and settings give the same bytes, and nothing in them is secret or unknown
before the node exists.
"""

from __future__ import annotations

import gzip
import hashlib
from functools import cache
from typing import Any

import yaml

from config.model import NodePlan, Settings
from userdata.files import NodeFile, extra_programs, node_files

# EC2 takes 16,384 bytes before base64, and what is measured here is what is sent. The rest is for machines
# whose zlib packs a little worse: the same stack should be accepted there, too.
# Source: EC2 user guide, "Run commands when you launch an EC2 instance with user data input".
MAX_BYTES = 16_300


def render(node: NodePlan, settings: Settings) -> bytes:
    """The user data of one node, gzip-compressed; cloud-init unpacks it. See `oversize`."""
    return gzip.compress(cloud_config(node, settings).encode(), compresslevel=9, mtime=0)


def digest(data: bytes) -> str:
    """16 hex digits that change when the content does.

    Taken from the unpacked text, so that another zlib on another machine gives the same digest.
    """
    return hashlib.sha256(gzip.decompress(data)).hexdigest()[:16]


def oversize(data: bytes) -> int:
    """By how many bytes the user data is too long; 0 if it fits."""
    return max(0, len(data) - MAX_BYTES)


def biggest(node: NodePlan, settings: Settings, count: int = 4) -> list[tuple[str, int]]:
    """The files that take most of the user data: path on the node, and bytes after compression.

    A file takes what it adds to those before it: the same text once more costs next to nothing.
    """
    text, before, sizes = "", 0, []
    for file in node_files(node, settings):
        text += _entry(file)
        after = len(gzip.compress(text.encode(), compresslevel=9, mtime=0))
        sizes.append((file.path, after - before))
        before = after
    return sorted(sizes, key=lambda each: -each[1])[:count]


def cloud_config(node: NodePlan, settings: Settings) -> str:
    """The cloud-config in plain text."""
    before: dict[str, Any] = {
        "hostname": node.name,
        "manage_etc_hosts": False,  # the block in /etc/hosts is kept by refresh-hosts
        "ssh_pwauth": False,
    }
    units = ["kubepark-bootstrap.service", *extra_programs(node, settings).values()]
    after: dict[str, Any] = {
        # --no-block: the unit must not wait for cloud-init, which waits for this command.
        "runcmd": [
            ["systemctl", "daemon-reload"],
            ["systemctl", "enable", "--now", "--no-block", *units],
        ],
    }
    files = "".join(_entry(file) for file in node_files(node, settings))
    return f"#cloud-config\n{_yaml(before)}write_files:\n{files}{_yaml(after)}"


@cache
def _entry(file: NodeFile) -> str:
    """One item of `write_files`. Nodes share most of them, and to write one takes PyYAML long."""
    return _yaml([{"path": file.path, "permissions": file.mode, "content": file.content}])


def _yaml(value: object) -> str:
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, width=1000)


class _Dumper(yaml.SafeDumper):
    """Writes text of several lines as a block, which is what people read and gzip packs best."""


def _text(dumper: _Dumper, value: str) -> yaml.ScalarNode:
    style = "|" if "\n" in value else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Dumper.add_representer(str, _text)
