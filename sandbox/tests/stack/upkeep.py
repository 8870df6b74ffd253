"""What happens to real nodes over the months, done to them at once."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import Any

from sandbox.nodes.real.packages import Package, kernel
from sandbox.tests.nodes.boot_world import until
from sandbox.tests.stack.machines import Machines

RELEASE = "/proc/sys/kernel/osrelease"
PODS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")
RENEW = "/usr/local/lib/kubepark/renew-certs"
ADMIN = ("--kubeconfig", "/etc/kubernetes/admin.conf", "--request-timeout=2s")
READY = ("/usr/bin/kubectl", *ADMIN, "get", "--raw", "/readyz")
LOGIND = ("org.freedesktop.login1", "/org/freedesktop/login1", "org.freedesktop.login1.Manager")


def said(machines: Machines, node: str, *command: str) -> str:
    """What a command in a machine prints; it must succeed."""
    done = machines.run(node, *command)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def shutdown_delay(machines: Machines, node: str) -> str:
    """What logind says that a shutdown may take."""
    return said(machines, node, "busctl", "get-property", *LOGIND, "InhibitDelayMaxUSec")


def static_pods(machines: Machines) -> dict[str, dict[str, Any]]:
    """The container of each of the control plane's pods, as the API knows it."""
    pods = machines.project.get("pods", "-n", "kube-system", "-l", "tier=control-plane")["items"]
    return {pod["metadata"]["labels"]["component"]: pod["status"]["containerStatuses"][0] for pod in pods}


@dataclass(frozen=True)
class Renewal:
    """What a run of the monthly timer's service did."""

    journal: str
    pods: dict[str, dict[str, Any]]  # afterwards
    away: float  # seconds without the API, at a stretch


def renew(machines: Machines, *, days: int) -> Renewal:
    """Run it with this many days as the least that a certificate must have left."""
    away, stop = [0.0], threading.Event()

    def watch() -> None:
        last = time.monotonic()
        while not stop.wait(0.2):
            done = machines.run("master1", *READY)
            now = time.monotonic()
            away.append(now - last)
            last = now if done.returncode == 0 else last

    said(machines, "master1", "/bin/sed", "-i", f"s/60 [*] 24/{days} * 24/", RENEW)
    watcher = threading.Thread(target=watch)
    watcher.start()
    machines.systemctl("master1", "start", "kubepark-certs.service")
    stop.set()
    watcher.join()
    said(machines, "master1", "/bin/sed", "-i", f"s/{days} [*] 24/60 * 24/", RENEW)
    journal = said(
        *(machines, "master1", "journalctl", "-u", "kubepark-certs", "--no-pager"),
        *("-n", "60", "-o", "cat"),
    )
    return Renewal(journal, static_pods(machines), max(away))


def archive(packages: list[Package]) -> str:
    """In sh: an apt repository of these on the machine itself, as if a mirror had them by now."""
    lines = ["set -e", "mkdir -p /srv/new", "cd /srv/new"]
    for each in packages:
        fields = {
            "Package": each.name,
            "Version": each.version,
            "Architecture": "amd64",
            "Maintainer": "nobody",
        }
        control = "".join(f"{name}: {value}\n" for name, value in {**fields, **each.relations}.items())
        files = {"DEBIAN/control": f"{control}Description: newer\n", **each.files}
        if each.configure:
            files["DEBIAN/postinst"] = f"#!/bin/sh\n{each.configure}"
        for path, text in files.items():
            target = f"{each.name}/{path.lstrip('/')}"
            lines.append(f"install -D -m 755 /dev/stdin {target} <<'END'\n{text}END")
        lines.append(f"dpkg-deb --root-owner-group --build {each.name} . >/dev/null; rm -r {each.name}")
    lines += [
        "apt-ftparchive packages . >Packages",
        "echo 'deb [trusted=yes] file:/srv/new ./' >/etc/apt/sources.list.d/new.list",
        "apt-get -q update >/dev/null",
    ]
    return "\n".join(lines)


def reboot_into(machines: Machines, node: str, release: str) -> None:
    """The archive has a newer kernel by now. Somebody installs it, which `upgrade` would not, and reboots."""
    before = said(machines, node, "cat", RELEASE)
    made = kernel(release, "99.0")
    done = machines.run(node, "sh", "-s", stdin=archive(made))
    assert done.returncode == 0, done.stderr
    apt = ("apt-get", "-y", "-q")
    said(machines, node, *apt, "upgrade")
    image = f"linux-image-{release}"
    assert machines.run(node, "dpkg-query", "-W", image).returncode == 1, "what is held is not upgraded"
    said(machines, node, *apt, "install", image)
    boot = machines.record(node)["bootId"]
    machines.systemctl(node, "reboot")
    until(
        f"{node} is back",
        lambda: machines.record(node)["bootId"] != boot and machines.record(node)["phase"] == "joined",
        120,
    )
    assert said(machines, node, "cat", RELEASE) == release != before
