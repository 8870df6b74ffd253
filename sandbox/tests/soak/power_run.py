"""Carries out a sequence of power commands on two checkouts of one stack, and looks after each step."""

from __future__ import annotations

import json
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

import psutil

from sandbox.tests.soak import checks, observe
from sandbox.tests.soak.power_plan import TARGETS, Step, World, outcome, sequence, torn
from sandbox.tests.soak.run import Failed
from sandbox.tests.stack.project import QUICK, Project

PATIENCE = 300.0  # seconds for one command
READY = 60.0  # seconds: a node may be late on a busy machine
_ENGINE = 120.0  # seconds for a CLI whose `kubepark` was killed
_RECORD = "/kubepark-sandbox/power"
# Kinds of which no command of these may delete anything, or make it anew.
_LASTING = (
    "nodes,namespaces,configmaps,services,deployments,daemonsets,serviceaccounts,clusterroles,"
    "customresourcedefinitions,profiles.kubeflow.org"
)
_TOLERATION = {"key": "nvidia.com/gpu", "operator": "Exists"}


def _deployment(name: str, limits: Mapping[str, int]) -> dict[str, Any]:
    container = {"name": name, "image": f"team/{name}:1", "resources": {"limits": limits}}
    spec = {"automountServiceAccountToken": False, "tolerations": [_TOLERATION], "containers": [container]}
    labels = {"app": name}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "ana"},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": spec},
        },
    }


# What people have in the cluster. One of the pods holds the GPU.
OBJECTS = (
    {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "notes", "namespace": "ana"}},
    _deployment("web", {}),
    _deployment("train", {"nvidia.com/gpu": 1}),
)


class PowerRun:
    """Two checkouts of one stack, deployed as both declare it: everything runs, nobody is suspended.

    `say` gets a line for each step. What is not as it must be is `Failed`.
    """

    def __init__(self, first: Project, second: Project, say: Callable[[str], None]) -> None:
        self.checkouts = (first, second)
        self.first = first
        self.counts: Counter[str] = Counter()
        self._say = say
        self._file = first.stack_file.read_text(encoding="utf-8")  # as both have it, as by git
        self._took = {"park": 4.0, "unpark": 8.0, "up": 6.0, "preview": 5.0}  # seconds, of the last time
        self.world = World()
        for each in OBJECTS:
            file = first.root / "object.json"
            file.write_text(json.dumps(each), encoding="utf-8")
            first.kubectl("apply", "-f", str(file))
        self.machines = self._machines()
        self.uids = self._uids()

    def run(self, seed: int) -> None:
        """A whole sequence, which ends with everything running and deployed."""
        for number, step in enumerate(sequence(seed), start=1):
            began = time.monotonic()
            try:
                self.step(step)
            except Failed as failed:
                raise Failed(f"step {number} ({step}):\n{failed}") from None
            self._say(f"{time.monotonic() - began:6.1f} s  {step}")
        one_of_each = checks.one_of_each(observe.live(self.first), observe.resources(self.first))
        self._require(one_of_each + checks.nothing_left_over(self.first))

    def step(self, step: Step) -> None:
        """One command, killed and run again if the step says so."""
        checkout = self.checkouts[step.checkout]
        words = self._words(step)
        after, succeeds = outcome(self.world, step)
        if step.killed is not None:
            self._kill(checkout, step, words)
            self._require(torn(self.world, after, self._off(), self._recorded()))
            if step.colleague:
                self._meanwhile(self.checkouts[1 - step.checkout])
                after, succeeds = outcome(self.world, step)
        began = time.monotonic()
        code, said = self._command(checkout, words)
        self._took[step.verb] = time.monotonic() - began
        self.counts[step.verb] += 1
        if succeeds is not None and succeeds is not (code == 0):
            raise Failed(f"exit code {code}:\n{said}")
        self.world = after
        if step.verb == "person":
            self._file = checkout.stack_file.read_text(encoding="utf-8")
        self._require(self._faults())

    def _words(self, step: Step) -> tuple[str, ...]:
        if step.verb == "person":
            verb = "resume" if step.target in self.world.declared else "suspend"
            return ("people", verb, step.target, "--yes", "--no-preview")
        more = {
            "park": ("--yes",),
            "unpark": ("--skip-verify",),
            "up": QUICK,
            "preview": ("--expect-no-changes",),
        }
        return (step.verb, *filter(None, (step.target,)), *more[step.verb])

    def _command(self, checkout: Project, words: tuple[str, ...]) -> tuple[int, str]:
        checkout.stack_file.write_text(self._file, encoding="utf-8")
        try:
            done = checkout.run(*words, timeout=PATIENCE)
        except subprocess.TimeoutExpired as late:
            output = (late.stdout or b"").decode(errors="replace")
            raise Failed(f"kubepark {' '.join(words)} did not end in {PATIENCE:g} s:\n{output}") from None
        if "Traceback" in done.stdout:
            raise Failed(f"kubepark {' '.join(words)} ended with {done.returncode}:\n{done.stdout}")
        return done.returncode, done.stdout

    # -- accidents -------------------------------------------------------------------------------------

    def _kill(self, checkout: Project, step: Step, words: tuple[str, ...]) -> None:
        """kill -9 of the command at its moment; its engine goes with it, or must come to an end by itself."""
        checkout.stack_file.write_text(self._file, encoding="utf-8")
        driver = checkout.start(*words)
        with suppress(subprocess.TimeoutExpired):
            driver.wait((step.killed or 0.0) * self._took[step.verb])
        self.counts["kill -9" if driver.poll() is None else "kill -9 too late"] += 1
        victims = [psutil.Process(driver.pid)] if driver.poll() is None else []
        victims += observe.engine_processes(self.first) if step.engine else []
        for process in victims:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        try:
            driver.communicate(timeout=_ENGINE)  # the engine has its output as well, as on a terminal
        except subprocess.TimeoutExpired:
            raise Failed(f"{checks.nothing_left_over(self.first)}, {_ENGINE:g} s after the kill") from None

    def _meanwhile(self, colleague: Project) -> None:
        """`up` by who knows nothing of the accident: where the control plane is not there it may fail, and it
        never changes who runs."""
        before = self._off(), self._recorded()
        code, said = self._command(colleague, ("up", *QUICK))
        self.counts["up after a kill"] += 1
        self._require(
            [f"`up` changed the power from {before}:\n{said}"]
            if before != (self._off(), self._recorded())
            else []
        )
        if self.world.deployed != self.world.declared or code != 0:  # who was off meanwhile is not known
            self.world = replace(self.world, deployed=None)

    # -- what must be so -------------------------------------------------------------------------------

    def _faults(self) -> list[str]:
        """All of it that can be seen now: without the control plane, only the account's part."""
        faults = self._differing("stopped", self._off()) + self._differing("recorded", self._recorded())
        machines = self._machines()
        if machines != self.machines:
            faults.append(f"instances were {self.machines} and are {machines}")
        if faults or self.world.control_plane_off:
            return faults
        faults = checks.settled(lambda: self._nodes(), READY)
        uids = self._uids()
        lost = [name for name, uid in self.uids.items() if uids.get(name) != uid]
        faults += [f"lost, or made anew: {', '.join(lost)}"] if lost else []
        return faults + checks.objects(self.first, observe.resources(self.first))

    def _differing(self, what: str, found: frozenset[str]) -> list[str]:
        wanted = self.world.parked
        return [f"{what}: {sorted(found)}, not {sorted(wanted)}"] if found != wanted else []

    def _nodes(self) -> list[str]:
        """Each node has its address; those that run are Ready and take pods."""
        faults = []
        for node in self.first.get("nodes")["items"]:
            name, status = node["metadata"]["name"], node["status"]
            address = [each["address"] for each in status["addresses"] if each["type"] == "InternalIP"]
            if address != [self.machines[name][1]]:
                faults.append(f"{name} has the InternalIP {address}")
            ready = {each["type"]: each["status"] for each in status["conditions"]}["Ready"] == "True"
            if name not in self.world.parked and not (ready and not node["spec"].get("unschedulable")):
                faults.append(f"{name} runs, and is not Ready or is cordoned")
        return faults

    @staticmethod
    def _require(faults: list[str]) -> None:
        if faults:
            raise Failed("\n".join(faults))

    # -- looks -----------------------------------------------------------------------------------------

    def _instances(self) -> Iterator[tuple[str, dict[str, Any]]]:
        names = sorted(TARGETS["all"])
        for name in names:
            yield name, self.first.instance(name)

    def _machines(self) -> dict[str, tuple[str, str]]:
        """Instance id and private address by node."""
        return {name: (each["InstanceId"], each["PrivateIpAddress"]) for name, each in self._instances()}

    def _off(self) -> frozenset[str]:
        off = ("stopping", "stopped")
        return frozenset(name for name, each in self._instances() if each["State"]["Name"] in off)

    def _recorded(self) -> frozenset[str]:
        value = self.first.aws("ssm").get_parameter(Name=_RECORD)["Parameter"]["Value"]
        return frozenset(json.loads(value)["stopped"])

    def _uids(self) -> dict[str, str]:
        """Of everything in the cluster that is to last, by kind, namespace and name."""
        items = self.first.get(_LASTING, "--all-namespaces")["items"]
        return {
            "/".join([each["kind"], each["metadata"].get("namespace", ""), each["metadata"]["name"]]): str(
                each["metadata"]["uid"]
            )
            for each in items
        }
