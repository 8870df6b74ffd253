"""What happens to real nodes over the months, done to them at once."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass
from typing import Any

from sandbox.nodes.standins.kernel import KERNELS, RELEASE
from sandbox.nodes.standins.packages import TABLE
from sandbox.tests.nodes.boot_world import until
from sandbox.tests.stack.machines import Machines

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
    return said(machines, node, "/usr/local/sbin/busctl", "get-property", *LOGIND, "InhibitDelayMaxUSec")


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
        *(machines, "master1", "/usr/local/sbin/journalctl", "-u", "kubepark-certs", "--no-pager"),
        *("-n", "60", "-o", "cat"),
    )
    return Renewal(journal, static_pods(machines), max(away))


def reboot_into(machines: Machines, node: str, release: str) -> None:
    """Somebody installs this kernel, which is the newest that the archive has by now, and reboots."""
    table = TABLE.as_posix()
    said(machines, node, "/bin/sed", "-i", f"s/{os.uname().release}/{release}/g", table)
    said(machines, node, "/usr/bin/touch", f"{KERNELS}/{release}")
    boot = machines.record(node)["bootId"]
    machines.systemctl(node, "reboot")
    until(
        f"{node} is back",
        lambda: machines.record(node)["bootId"] != boot and machines.record(node)["phase"] == "joined",
        120,
    )
    assert said(machines, node, "/bin/cat", str(RELEASE)) == release
