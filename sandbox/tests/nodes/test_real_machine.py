"""What a real node's machine is made of: cgroups, disk and image."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import shutil
from pathlib import Path

import pytest

from sandbox.nodes.disk import on_disk
from sandbox.nodes.real import cgroups, disk, image
from sandbox.nodes.real.packages import VERSIONS
from tests.userdata_sample import text

needs_root = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("ip") is None, reason="needs root and iproute2"
)


_MOUNT = "{number} 1 0:{number} / {path} rw,nosuid shared:9 - {kind} {kind} {options}\n"


def mounts(*rows):
    lines = [
        _MOUNT.format(number=30 + number, path=path, kind=kind, options=options)
        for number, (path, kind, options) in enumerate(rows)
    ]
    return "22 1 8:1 / / rw - ext4 /dev/root rw\n" + "".join(lines) + "90 1 0:9 / /proc rw - proc proc rw\n"


CPU = ("/sys/fs/cgroup/cpu,cpuacct", "cgroup", "rw,cpu,cpuacct")
NAMED = ("/sys/fs/cgroup/systemd", "cgroup", "rw,xattr,name=systemd")


@pytest.mark.parametrize(
    ("rows", "wanted", "unified"),
    [
        ([("/sys/fs/cgroup", "cgroup2", "rw,nsdelegate")], [("", 2, "")], True),
        ([CPU, NAMED], [("cpu,cpuacct", 1, "cpu,cpuacct"), ("systemd", 1, "xattr,name=systemd")], False),
        (
            [CPU, ("/sys/fs/cgroup/unified", "cgroup2", "rw")],
            [("cpu,cpuacct", 1, "cpu,cpuacct"), ("unified", 2, "")],
            False,
        ),
        ([("/mnt/cgroup2", "cgroup2", "rw"), ("/mnt/cpu", "cgroup", "rw,cpu")], [], False),
        ([("/sys/fs/cgroup", "tmpfs", "rw")], [], False),
    ],
)
def test_hierarchies_of_v1_v2_and_both(rows, wanted, unified, monkeypatch):
    found = cgroups.hierarchies(mounts(*rows))
    assert found == tuple(
        cgroups.Hierarchy(cgroups.ROOT / path, version, options) for path, version, options in wanted
    )
    monkeypatch.setattr(cgroups, "hierarchies", lambda: found)
    assert cgroups.unified() is unified


# -- disk and image --------------------------------------------------------------------------------


@needs_root
def test_the_disk_hides_what_is_the_hosts_and_holds_what_an_image_holds(tmp_path):
    made = disk.RealDisk(tmp_path / "machines" / "i-1")
    assert made.fresh
    made.format({"/etc/containerd/x.toml": "text\n", "/etc/hostname": "image\n"})
    for name in disk._EMPTY:
        folder = made.upper / name
        assert os.getxattr(folder, "trusted.overlay.opaque") == b"y", name
        assert folder.stat().st_mode & 0o777 == 0o755, name
    assert [path.name for path in (made.upper / "etc/containerd").iterdir()] == ["x.toml"]
    assert (made.upper / "etc/hostname").read_text() == "image\n", "the image's own comes last"
    assert (made.upper / "etc/hosts").read_text().startswith("127.0.0.1 localhost\n")
    assert (made.upper / "etc/machine-id").read_text() == hashlib.sha256(b"i-1").hexdigest()[:32] + "\n"
    users = [line.split(":") for line in (made.upper / "etc/passwd").read_text().splitlines()]
    assert [row[2] for row in users].count("1000") == 1
    assert (made.upper / "home/ubuntu").stat().st_uid == 1000
    assert all(Path(plain).is_dir() for plain in made.plain().values())
    assert made.folder.stat().st_mode & 0o777 == 0o700
    assert made.console.stat().st_mode & 0o777 == 0o600
    assert on_disk(tmp_path / "machines") == [], "it never booted"
    made.memory.name = "worker01"
    made.memory.powered = True
    made.save()
    (name,) = on_disk(tmp_path / "machines")
    again = disk.RealDisk(tmp_path / "machines" / name)
    assert (again.instance_id, again.memory, again.fresh) == ("i-1", made.memory, False)
    again.wipe()
    assert on_disk(tmp_path / "machines") == []
    assert not made.folder.exists()


def test_files_of_the_image(tmp_path):
    (tmp_path / VERSIONS).write_text(json.dumps({"kubernetes": "v1.36.4", "containerd": "v2.3.0"}))
    plain = text("worker").encode()
    for raw in (plain, gzip.compress(plain)):
        found = image.files(tmp_path, raw)
        handed = json.loads(found["/usr/local/lib/kubepark-sandbox/user-data.json"])
        assert handed["sha256"] == hashlib.sha256(raw).hexdigest()
        assert handed["config"]["hostname"] == "worker01"
    table = json.loads(found["/usr/local/lib/kubepark-sandbox/packages.json"])
    assert (table["kubelet"]["version"], table["containerd.io"]["version"]) == ("1.36.4-*", "2.3.0-*")
    assert "169.254.169.254:5000" in found["/etc/containerd/certs.d/_default/hosts.toml"]


def test_hardware():
    assert image.hardware("i-1", 0) == {}
    lines = image.hardware("i-1", 2)["/run/nvidia/gpus"].splitlines()
    assert len(set(lines)) == 2
    assert all(line.startswith("GPU-") for line in lines)
    assert image.hardware("i-1", 2) == image.hardware("i-1", 2) != image.hardware("i-2", 2)
