"""One simulated node: a small state machine around an instance.

It takes the steps of its own plan, reports each, and tries again after a failure with a higher
attempt, as its systemd unit would. Power is what the cloud wants of it.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from sandbox.errors import SandboxError
from sandbox.files import atomic_write
from sandbox.nodes import kubelet
from sandbox.nodes.api import Api, ApiError, Unavailable
from sandbox.nodes.backend import API_PORT, IDLE, SOON, Node, Power
from sandbox.nodes.cloudinit import Step
from sandbox.nodes.disk import SimulatedDisk
from sandbox.nodes.faults import Fault
from sandbox.nodes.machine import CallFailed, Machine
from sandbox.nodes.simulated import reaper, steps
from sandbox.nodes.simulated.controlplane import ControlPlane, initialised
from sandbox.record import Origin

if TYPE_CHECKING:
    from sandbox.nodes.simulated.backend import SimulatedBackend

# As the bootstrap runner reports them: a deadline, and what AWS refuses.
TIMED_OUT, NO_PERMISSION = 124, 77
_REGISTRATION = "registration.json"
FINAL = ("joined", "api-ready")
_REFRESH_SECONDS = 6 * 3600.0  # as the master's timer
_BACK_OFF = (1.0, 10.0)  # seconds before the second attempt, and the longest pause


class SimulatedNode(Node):
    """One instance that KWOK and this process emulate."""

    disk: SimulatedDisk

    def __init__(self, backend: SimulatedBackend, disk: SimulatedDisk) -> None:
        super().__init__(backend.account, disk)
        self.backend = backend
        self.machine: Machine
        self._running = False  # in this process: false after a restart of the boot
        self._kubelet_runs = False
        self._position = 0
        self._entered: tuple[int, float] = (-1, 0.0)  # position reported, and when
        self._fault: Fault | None = None  # the one that was taken at the current step
        self._waits: dict[str, float] = {}
        self._since = datetime.now(UTC)  # when the attempt began

    @property
    def kubeconfig(self) -> Path:
        return self.disk.root / "etc/kubernetes/kubelet.conf"

    # -- power -------------------------------------------------------------------------------------

    def keep_on(self) -> float:
        if not self._running:
            self._come_up()
        self._keep_kubelet()
        if self.disk.memory.phase in FINAL:
            return self._run_timers()
        return self._take_steps()

    def _come_up(self) -> None:
        """Power on, or the boot process itself was restarted under a running machine."""
        instance, data, memory = self.running_instance(), self.user_data, self.disk.memory
        self.machine = Machine(self.account, instance, data, lambda: self.on)
        resumed = memory.powered
        if self.disk.fresh:
            self.disk.write_files(data.files)
        if not resumed:
            memory.powered, memory.boot_id = True, str(uuid.uuid4())
            memory.phase, memory.attempt = "pending", 0
        if memory.phase not in FINAL:
            self._new_attempt()
        self.disk.save()
        if gpus := self.account.cloud.hardware(instance.type).gpus:
            self.backend.gpus[instance.id] = gpus
        self._start_control_plane()
        self._kubelet_runs = resumed and memory.phase in FINAL
        self._running = True

    def go_off(self) -> float:
        if self.disk.memory.powered or self._running:
            self._mark_lost(self.disk.instance_id)
            self.backend.release(self)
            self.disk.memory.powered = self._running = self._kubelet_runs = False
            self.disk.save()
        self.forget_user_data()
        if self.wanted is Power.TERMINATED:
            self.disk.wipe()
            self.backend.gpus.pop(self.disk.instance_id, None)
            self.gone = True
        return IDLE

    def _mark_lost(self, instance_id: str) -> None:
        """The kubelet falls silent; whoever is left notices, here without the 50 s that it takes."""
        plane = self.backend.control_plane
        if plane is None or self.backend.master is self or not self._running:
            return
        try:
            kubelet.set_lost(plane.api(), self.name, instance_id)
        except (Unavailable, ApiError) as error:
            self.log(f"node not marked: {error}")

    # -- what runs on the machine apart from its bootstrap -----------------------------------------

    def control_plane(self) -> ControlPlane:
        """This master's control plane. `Wait` while another machine has its place."""
        endpoint = urlsplit(str(self.user_data.node.get("apiEndpoint") or ""))
        port = endpoint.port or API_PORT
        plane = self.backend.claim(self, port)
        if plane is None:
            raise steps.Wait("another master is still there")
        return plane

    def _start_control_plane(self) -> None:
        """At every boot of a master that was initialised: its static pods start."""
        if not self.user_data.is_master or not initialised(self.disk.folder):
            return
        try:
            self.control_plane()
            self.backend.up(steps.document(self))
        except (SandboxError, steps.Wait, steps.StepFailed) as error:
            self.log(f"control plane: {error}")

    def register(self, api: Api, given: Mapping[str, Any]) -> dict[str, Any]:
        """The kubelet's registration: its Node, or the one that another machine left under the name.

        `given` is kubeadm's nodeRegistration; it is kept for later boots.
        """
        atomic_write(self.disk.folder / _REGISTRATION, json.dumps(given))
        hardware = self.account.cloud.hardware(self.machine.instance.type)
        node = kubelet.node_object(
            given,
            hardware,
            self.machine.instance.private_ip,
            str(self.user_data.node["kubernetesVersion"]),
            self.disk.memory.boot_id,
        )
        registered = kubelet.register(api, node)
        self._kubelet_runs = True
        self.backend.agent.node_appeared()
        return registered

    def reset(self, provider_id: str) -> None:
        """`kubeadm reset`: the kubelet stops, and the Node with this provider id hears of it no more."""
        self.kubeconfig.unlink()
        self._kubelet_runs = False
        self._mark_lost(provider_id.rpartition("/")[2])

    def _keep_kubelet(self) -> None:
        """A kubelet that has credentials runs at every boot and finds the API whenever it is there."""
        if self._kubelet_runs or not self.kubeconfig.exists() or self.backend.control_plane is None:
            return
        given = json.loads((self.disk.folder / _REGISTRATION).read_text(encoding="utf-8"))
        try:
            self.register(Api.from_kubeconfig(self.kubeconfig), given)
        except (Unavailable, ApiError) as error:
            self.log(f"kubelet: {error}")

    def _run_timers(self) -> float:
        """What a node does once it is done: seconds to the next look."""
        if self.user_data.is_master:
            self._refresh_join()
            if reaper.installed(self):
                reaper.run(self)
                return reaper.SECONDS
        return IDLE if self._kubelet_runs else SOON

    def _refresh_join(self) -> None:
        """The master's six-hourly timer: a token is always good for at least 18 hours."""
        if time.time() - self.disk.memory.published > _REFRESH_SECONDS:
            try:
                steps.publish(self)
            except (steps.Wait, CallFailed, SandboxError) as error:
                self.log(f"refresh-join: {error}")
            self.disk.save()

    # -- the bootstrap -----------------------------------------------------------------------------

    def _new_attempt(self) -> None:
        self.disk.memory.attempt += 1
        self.disk.save()
        self._since = datetime.now(UTC)
        self._position, self._entered, self._waits = 0, (-1, 0.0), {}

    def _take_steps(self) -> float:
        """Steps one after the other until one waits, fails, or all are done: seconds to the next look."""
        plan = self.user_data.steps
        while self._position < len(plan):
            step = plan[self._position]
            if step.once and step.name in self.disk.memory.done:
                self._position += 1
                continue
            self._enter(step)
            try:
                self._do(step)
            except steps.Wait as waiting:
                if time.monotonic() - self._entered[1] <= step.deadline:
                    return SOON
                late = f"step {step.name} was stopped after its deadline of {step.deadline:.0f} s"
                return self._fail(step, TIMED_OUT, f"{waiting}\n{late}")
            except (steps.StepFailed, CallFailed, SandboxError, ApiError, Unavailable) as error:
                code = NO_PERMISSION if "AccessDenied" in str(error) else 1
                return self._fail(step, code, str(error))
            self.disk.memory.done.append(step.name)
            self.disk.save()
            self._position += 1
        return self._finish()

    def _enter(self, step: Step) -> None:
        """Once per step and attempt: take what goes wrong here, and say where the node is."""
        if self._entered[0] != self._position:
            self._entered = (self._position, time.monotonic())
            self._waits = {}
            self._fault = self.backend.faults.take(self.name, step.name)
            self._report("running", step.name)

    def _do(self, step: Step) -> None:
        fault = self._fault
        if fault and fault.mode == "fail":
            raise steps.StepFailed(fault.message)
        if fault and self.backend.faults.present(self.name, step.name):  # hangs, or is cut off
            raise steps.Wait(fault.message)
        if fault and fault.mode == "silent":  # heard of again
            self._fault = None
            self._report("running", step.name)
        self.machine.check_power()
        action = steps.ACTIONS.get(step.name)
        if action:
            action(self)

    def waited(self, reason: str) -> float:
        """Seconds since the current step first waited for this reason."""
        return time.monotonic() - self._waits.setdefault(reason, time.monotonic())

    def _fail(self, step: Step, rc: int, message: str) -> float:
        self._report("failed", step.name, rc, message)
        pause = min(_BACK_OFF[0] * 2.0 ** (self.disk.memory.attempt - 1), _BACK_OFF[1])
        self._new_attempt()
        return pause

    def _finish(self) -> float:
        phase = "api-ready" if self.user_data.is_master else "joined"
        if not self._report(phase, "done"):
            self._new_attempt()
            return _BACK_OFF[1]
        self.disk.memory.phase = phase
        self.disk.save()
        return SOON

    def _report(self, phase: str, step: str, rc: int = 0, message: str = "") -> bool:
        if self._fault and self._fault.mode == "silent":
            return False
        origin = Origin(
            instance_id=self.disk.instance_id,
            node=self.name,
            generation=self.user_data.generation,
            boot_id=self.disk.memory.boot_id,
            attempt=self.disk.memory.attempt,
            since=self._since,
        )
        self.log(f"{phase} {step} {message}".strip())
        problem = self.machine.report(origin, phase, step, rc, message)
        if problem:
            self.log(f"not reported: {problem}")
        return problem is None
