"""What a real node's machine is made of: cgroups, disk, image and packages."""

from __future__ import annotations

import errno
import json
import os
import shutil
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import psutil
import pytest
from werkzeug.test import Client

from sandbox.nodes.disk import on_disk
from sandbox.nodes.real import cgroups, disk, image, launch, limits, outside
from sandbox.nodes.real.backend import RealBackend
from sandbox.nodes.real.packages import UPSTREAM_HOSTS, VERSIONS, packages
from sandbox.nodes.real.repository import Mirrors
from sandbox.nodes.real.rootfs import RootFs
from sandbox.nodes.standins.table import HOME, stand_ins
from sandbox.tests.build.publishers import publishers
from sandbox.tests.nodes.commands import SECONDS, until
from tests.userdata_sample import files

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


@pytest.mark.parametrize("alone", [True, False])
def test_controllers_are_handed_down_to_a_machines_group_where_v2_is_alone(tmp_path, monkeypatch, alone):
    for level in (tmp_path, tmp_path / "kubepark"):
        level.mkdir(exist_ok=True)
        (level / "cgroup.controllers").write_text("cpu memory\n")
    monkeypatch.setattr(cgroups, "ROOT", tmp_path if alone else tmp_path.parent)
    monkeypatch.setattr(cgroups, "hierarchies", lambda: (cgroups.Hierarchy(tmp_path, 2, ""),))
    cgroups.enter("kubepark/i-1")
    given = {path.parent: path.read_text() for path in tmp_path.rglob("cgroup.subtree_control")}
    assert given == (dict.fromkeys((tmp_path, tmp_path / "kubepark"), "+cpu +memory") if alone else {})
    assert (tmp_path / "kubepark/i-1/cgroup.procs").read_text() == str(os.getpid())


# -- disk and image --------------------------------------------------------------------------------


def test_the_disk_survives_a_stop_and_goes_with_the_instance(tmp_path):
    made = disk.RealDisk(tmp_path / "machines" / "i-1")
    assert made.fresh
    gpus = image.hardware("i-1", 2)
    assert gpus == image.hardware("i-1", 2) != image.hardware("i-2", 2)
    assert image.hardware("i-1", 0) == ""
    made.format(gpus)
    assert all(Path(plain).is_dir() for plain in made.plain().values())
    assert [each[:4] for each in set(made.gpus.read_text().splitlines())] == ["GPU-", "GPU-"]
    assert (made.hypervisor / "uuid").read_text().startswith("ec2"), "or cloud-init asks for no token"
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


def test_a_machine_waits_for_the_address_of_one_that_is_ending():
    """As on AWS, where an address is free once its instance has ended."""
    old, new, other = (
        SimpleNamespace(gone=False, disk=SimpleNamespace(memory=disk.RealMemory(address=address)))
        for address in ("10.0.0.10", "10.0.0.10", "10.0.0.11")
    )
    backend = SimpleNamespace(nodes={"i-1": old, "i-2": new, "i-3": other})
    assert RealBackend.is_taken(backend, "10.0.0.10", new)
    assert not RealBackend.is_taken(backend, "10.0.0.11", other)
    old.gone = True
    assert not RealBackend.is_taken(backend, "10.0.0.10", new)


def test_the_image_holds_what_the_root_file_system_does_not(tmp_path, monkeypatch):
    for name in ("ca.crt", "archive.gpg"):
        (tmp_path / name).write_text(f"our {name}\n")
    mirrors = Mirrors(tmp_path, ("archive.ubuntu.com", "pkgs.k8s.io"))
    rootfs = RootFs(tmp_path / "rootfs")
    authorities = rootfs.root / "etc/ssl/certs/ca-certificates.crt"
    authorities.parent.mkdir(parents=True)
    authorities.write_text("theirs\n")
    release = rootfs.root / "usr/lib/os-release"
    release.parent.mkdir(parents=True)
    release.write_text("NAME=Ubuntu\nID=ubuntu\n")
    assert "/etc/os-release" not in image.files(rootfs, mirrors, "i-1")
    release.write_text("NAME=Debian\nID=debian\n")
    monkeypatch.setattr(image, "synchronised", lambda: True)
    found = image.files(rootfs, mirrors, "i-1")
    assert found["/etc/ssl/certs/ca-certificates.crt"] == "theirs\nour ca.crt\n"
    assert "--config-dir=" in found["/etc/systemd/system/kubelet.service.d/20-sandbox.conf"]
    assert "192.0.2.1 archive.ubuntu.com pkgs.k8s.io\n" in found["/etc/hosts"]
    assert "VERSION_CODENAME=noble\n" in found["/etc/os-release"]
    assert "169.254.169.254:5000" in found["/etc/containerd/certs.d/_default/hosts.toml"]
    assert found["/etc/machine-id"] != image.files(rootfs, mirrors, "i-2")["/etc/machine-id"]
    assert "/usr/local/sbin/timedatectl" not in found, "the host's clock is kept by NTP"
    monkeypatch.setattr(image, "synchronised", lambda: False)
    assert "/usr/local/sbin/timedatectl" in image.files(rootfs, mirrors, "i-1")
    upper = tmp_path / "upper"
    upper.mkdir()
    image.install(upper, found)
    assert (upper / f"{HOME[1:]}/guard").stat().st_mode & 0o777 == 0o755
    assert (upper / "etc/hosts").stat().st_mode & 0o777 == 0o644
    assert (upper / "etc/systemd/system").stat().st_mode & 0o777 == 0o755
    enabled = upper / "etc/systemd/system/sysinit.target.wants/sandbox-guard.service"
    assert enabled.resolve() == upper / "etc/systemd/system/sandbox-guard.service"


@pytest.mark.parametrize(
    ("unified", "synchronised", "besides"),
    [(True, True, set()), (False, True, {"stat", "kubeadm"}), (True, False, {"timedatectl"})],
)
def test_what_a_host_has_is_not_stood_in_for(unified, synchronised, besides):
    names = {each.script for each in stand_ins(unified=unified, synchronised=synchronised)}
    assert names == {"guard", "modules", "faults.sh", "nvidia-smi", *besides}


@pytest.mark.parametrize("name", ["systemd", "ld-linux-x86-64"])
def test_process_1_is_known_once_it_is_the_machines_own(name, spawn, tmp_path):
    """A child of what the launcher became, and none of nspawn's helpers."""
    program = tmp_path / name
    shutil.copy("/bin/sleep", program)
    leader = spawn("sh", "-c", f"sh -c '{program} 60; true'; true")
    (shell,) = until("child", psutil.Process(leader.pid).children)
    (child,) = until("grandchild", shell.children)
    until("started", lambda: child.name() == name)
    found = launch.init(leader.pid)
    child.kill()
    leader.wait(timeout=SECONDS)
    assert (found and found.pid) == (child.pid if name == "systemd" else None)
    assert launch.init(leader.pid) is launch.init(None) is None


@pytest.fixture
def instances(tmp_path, monkeypatch):
    """The kernel's setting, which is 128."""
    setting = tmp_path / "max_user_instances"
    setting.write_text("128\n")
    monkeypatch.setattr(limits, "_INSTANCES", setting)
    return setting


def test_machines_have_what_the_kernel_gives_few_of(instances, capsys):
    limits.lift()
    assert instances.read_text() == "1024\n"
    said = "fs.inotify.max_user_instances is 1024 until the next boot, it was 128: "
    assert capsys.readouterr().err.startswith(said)
    instances.write_text("8192\n")
    limits.lift()
    assert (instances.read_text(), capsys.readouterr().err) == ("8192\n", "")


@pytest.mark.usefixtures("instances")
def test_a_host_whose_settings_are_not_ours_is_told(monkeypatch, capsys):
    refused = OSError(errno.EROFS, os.strerror(errno.EROFS))
    monkeypatch.setattr(Path, "write_text", Mock(side_effect=refused))
    limits.lift()
    assert "is 128 here, and cannot be set (Read-only file system): " in capsys.readouterr().err


# -- packages --------------------------------------------------------------------------------------


def test_packages_have_the_versions_that_user_data_asks_for(tmp_path):
    """The program and the sandbox know them from different places."""
    (tmp_path / VERSIONS).write_text(json.dumps({"kubernetes": "v1.36.4", "containerd": "v2.3.6"}))
    made = {each.name: each for each in packages(tmp_path)}
    asked = dict(line.split("=", 1) for line in files("gpu")["/etc/kubepark/node.env"].splitlines())
    assert made["kubelet"].version == made["kubeadm"].version == asked["KUBERNETES_PACKAGE"]
    assert made["containerd.io"].version == asked["CONTAINERD_PACKAGE"].strip("'")
    assert made["nvidia-container-toolkit"].version == asked["NVIDIA_TOOLKIT"]
    assert f"nvidia-utils-{asked['NVIDIA_BRANCH']}-server" in made
    assert made["kubelet"].repository.path == f"/core:/stable:/v{asked['KUBERNETES_MINOR']}/deb"


def getter(client, host):
    """Asks a mirror in the name of a host: status and text."""

    def get(path, host=host, **headers):
        answer = client.get(path, headers={"Host": host, **headers})
        return answer.status_code, answer.text

    return get


def test_a_mirror_serves_what_is_its_own(tmp_path):
    (tmp_path / "one.test/a b").mkdir(parents=True)
    (tmp_path / "one.test/a b/file").write_text("text")
    (tmp_path / "secret").write_text("no")
    client = Client(outside.Outside(Mirrors(tmp_path, ("one.test",)), tmp_path / "kept").application)
    get = getter(client, "one.test")
    assert get("/a%20b/file") == get("/a%20b/file", "one.test:80") == (200, "text")
    assert get("/a%20b/file", Range="bytes=2-") == (206, "xt")
    own = [(path, "one.test") for path in ("/a%20b", "/x", "/../secret")]
    for path, host in [*own, ("/secret", "..")]:
        assert get(path, host)[0] in (400, 404), (path, host)
    assert client.post("/a%20b/file", headers={"Host": "one.test"}).status_code == 404


def test_a_mirror_passes_on_what_is_another_hosts(tmp_path, monkeypatch):
    index, package = "/core:/stable:/v1.36/deb/Packages", "/core:/stable:/v1.36/deb/a_1.2+b~c_amd64.deb"
    (tmp_path / "hosts").mkdir()
    with publishers(tmp_path / "hosts", UPSTREAM_HOSTS) as hosts:
        for name, value in hosts.variables().items():
            monkeypatch.setenv(name, value)
        hosts.files |= {f"https://pkgs.k8s.io{path}": path.encode() for path in (index, package)}
        hosts.redirects["https://pkgs.k8s.io/old"] = f"https://pkgs.k8s.io{index}"
        found = outside.Outside(Mirrors(tmp_path, UPSTREAM_HOSTS, UPSTREAM_HOSTS), tmp_path / "kept")
        client = Client(found.application)
        get = getter(client, "pkgs.k8s.io")
        assert get("/old") == get(index) == get(index) == (200, index)
        assert client.head(index, headers={"Host": "pkgs.k8s.io"}).text == ""
        hosts.asked.clear()
        assert get(package) == get(package) == (200, package)
        assert get(package, Range="bytes=1-4") == (206, package[1:5])
        assert hosts.asked == [f"GET https://pkgs.k8s.io{package}"], "a package is fetched once"
        assert get("/x")[0] == get("/y.deb")[0] == 404
        hosts.cut[f"https://pkgs.k8s.io{package}2.deb"] = 5
        hosts.files[f"https://pkgs.k8s.io{package}2.deb"] = b"a whole package"
        status, said = get(f"{package}2.deb")
        assert (status, "stopped answering" in said) == (502, True)
        assert [file.name for file in (tmp_path / "kept").rglob("*.deb")] == ["a_1.2+b~c_amd64.deb"]
        hosts.asked.clear()
        assert get("/..%2f..%2fsecret")[0] == get("/x", "pkgs.k8s.io@one.test")[0] == 404
        assert hosts.asked == []
        hosts.refused.add("download.docker.com")
        status, said = get("/linux/ubuntu/gpg", "download.docker.com")
        assert (status, said.startswith("download.docker.com does not answer here: ")) == (502, True)
