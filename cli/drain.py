"""Eviction of pods: each PodDisruptionBudget is asked again until the deadline, and then named."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from cli.errors import CommandError
from cli.instances import Clock, Say, Sleep
from cli.power_plan import Pod, movable

_POLL_SECONDS = 2.0


class Evicting(Protocol):
    """What `drain` asks of the cluster."""

    def pods(self) -> list[dict[str, Any]]: ...

    def evict(self, pod: Pod) -> str: ...

    def delete(self, pod: Pod) -> None: ...


def drain(
    cluster: Evicting,
    nodes: Sequence[str],
    seconds: float,
    *,
    force: bool,
    retry: str,
    say: Say,
    clock: Clock = time.monotonic,
    sleep: Sleep = time.sleep,
) -> list[str]:
    """Evict whatever runs on the nodes and wait until it is gone: the pods that were there, by name.

    `force`: at the deadline, what a budget protects is deleted and nothing more is waited for.
    `retry`: the command to be run again.
    Raises: CommandError naming the pods that are still there at the deadline, each with its reason.
    """
    end = clock() + seconds
    asked: dict[str, str] = {}  # uid -> why not, "" once granted
    gone: dict[str, Pod] = {}
    while left := movable(cluster.pods(), nodes):
        for pod in left:
            gone.setdefault(pod.uid, pod)
            if asked.get(pod.uid) == "":
                continue
            why = cluster.evict(pod)
            if asked.get(pod.uid) != why:
                say(f"{pod.key}: {why or 'evicted'}")
            asked[pod.uid] = why
        if clock() >= end:
            if not force:
                raise CommandError(_late(left, asked, seconds, retry))
            for pod in left:
                if asked[pod.uid]:
                    say(f"{pod.key}: deleted, because of --force")
                    cluster.delete(pod)
            break
        sleep(min(_POLL_SECONDS, max(0.1, end - clock())))
    return [pod.key for pod in gone.values()]


def _late(left: Iterable[Pod], asked: dict[str, str], seconds: float, retry: str) -> str:
    lines = [f"  - {pod}: {asked[pod.uid] or 'it was evicted and has not ended'}" for pod in left]
    return "\n".join(
        [
            f"after {seconds:.0f} s these pods are still there, and nothing was stopped:",
            *lines,
            f"the nodes stay cordoned. To go on: {retry}; with --force, what a PodDisruptionBudget protects",
            "is deleted at the deadline. To let the nodes be used again: bin/kubepark unpark",
        ]
    )
