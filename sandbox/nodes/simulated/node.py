"""One simulated node: its instance's power, where it is in its boot, and its Node object.

What a boot does on a machine is shown by real nodes alone. Of the plan in its user data a simulated one knows
the names, which is where a fault can be put; what others wait for it does: the master has a control plane and
publishes how to reach it, and each node registers as its kubeadm document says.
"""

from __future__ import annotations

import base64
import json
import os
import re
import uuid
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import yaml

from sandbox.aws.cloud import Instance
from sandbox.errors import SandboxError
from sandbox.files import atomic_write
from sandbox.nodes.api import ApiError, Unavailable
from sandbox.nodes.backend import IDLE, SOON, Node, Power
from sandbox.nodes.cloudinit import API_PORT
from sandbox.nodes.disk import SimulatedDisk
from sandbox.nodes.simulated import kubelet
from sandbox.nodes.simulated.controlplane import configuration, registration
from sandbox.record import encode, rfc3339

if TYPE_CHECKING:
    from sandbox.nodes.simulated.backend import SimulatedBackend

FINAL = ("joined", "api-ready")
_TOKEN_HOURS = 24
_BACK_OFF = (1.0, 10.0)  # seconds before the second attempt, and the longest pause
# As kubeadm's phase mark-control-plane gives them.
_ROLE = "node-role.kubernetes.io/control-plane"
_MASTER_LABELS = (_ROLE, "node.kubernetes.io/exclude-from-external-load-balancers")
_PLACEHOLDER = re.compile(r"@([A-Z_]+)@")


class SimulatedNode(Node):
    """One instance that KWOK and this process emulate."""

    disk: SimulatedDisk

    def __init__(self, backend: SimulatedBackend, disk: SimulatedDisk) -> None:
        super().__init__(backend.account, disk)
        self.backend = backend
        self.gpus = 0
        self._running = False  # in this process: false after a restart of the boot
        self._registered = False
        self._step = ""  # where this attempt is
        self._since = datetime.now(UTC)  # when the attempt began

    # -- power -------------------------------------------------------------------------------------

    def keep_on(self) -> float:
        if not self._running:
            self._come_up()
        try:
            if self.disk.memory.phase not in FINAL:
                return self._boot()
            if self.user_data.is_master:
                self._initialise()
            return IDLE if self._register() else SOON
        except (ApiError, Unavailable) as error:
            self.log(str(error))
            return SOON

    def _come_up(self) -> None:
        """Power on, or the boot process itself was restarted under a running machine."""
        memory = self.disk.memory
        self.gpus = self.account.cloud.hardware(self.running_instance().type).gpus
        if self.disk.fresh:
            self.disk.write_files(self.user_data.files)
        self._registered = memory.powered and memory.phase in FINAL
        if not memory.powered:
            memory.powered, memory.boot_id = True, str(uuid.uuid4())
            memory.phase, memory.attempt = "pending", 0
        if memory.phase not in FINAL:
            self._new_attempt()
        self.disk.save()
        self._running = True

    def go_off(self) -> float:
        memory = self.disk.memory
        if memory.powered or self._running:
            self.backend.went_off(self)
            memory.powered = self._running = self._registered = False
            self.disk.save()
        self.forget_user_data()
        if self.wanted is Power.TERMINATED:
            self.disk.wipe()
            self.gone = True
        return IDLE

    # -- the boot ----------------------------------------------------------------------------------

    def _new_attempt(self) -> None:
        self.disk.memory.attempt += 1
        self.disk.save()
        self._since, self._step = datetime.now(UTC), ""

    def _boot(self) -> float:
        """The plan's steps, up to one that waits or fails: seconds to the next look."""
        for step in self.user_data.steps:
            if fault := self.backend.faults.take(self.name, step):
                if fault.mode == "fail":
                    return self._fail(step, fault.message)
                if fault.mode == "hang":
                    self._enter(step)
                return SOON
        master = self.user_data.is_master
        self._enter("init" if master else "join")
        try:
            if master:
                self._initialise()
            if not self._register():
                return SOON
            if master:
                self._publish()
        except SandboxError as error:
            return self._fail(self._step, str(error))
        self.disk.memory.phase = "api-ready" if master else "joined"
        self._report(self.disk.memory.phase, "done")
        self.disk.save()
        return SOON

    def _fail(self, step: str, message: str) -> float:
        self._report("failed", step, 1, message)
        pause = min(_BACK_OFF[0] * 2.0 ** (self.disk.memory.attempt - 1), _BACK_OFF[1])
        self._new_attempt()
        return pause

    def _enter(self, step: str) -> None:
        """Say where the node is, once in each attempt."""
        if step != self._step:
            self._report("running", step)
            self._step = step

    def _report(self, phase: str, step: str, rc: int = 0, message: str = "") -> None:
        origin = {
            "instanceId": self.disk.instance_id,
            "node": self.name,
            "generation": self.user_data.generation,
            "bootId": self.disk.memory.boot_id,
            "attempt": self.disk.memory.attempt,
            "since": rfc3339(self._since),
        }
        self.log(f"{phase} {step} {message}".strip())
        self._put("status", encode(origin, phase, step, rc, message))

    def _put(self, parameter: str, value: str, **secure: str) -> None:
        """Overwrite one of the node's parameters, unless the machine was switched off meanwhile."""
        self.running_instance()
        name = self.user_data.parameter(parameter)
        given = secure or {"Type": "String"}
        self.account.cloud.ssm.put_parameter(Name=name, Value=value, Overwrite=True, **given)

    # -- the master --------------------------------------------------------------------------------

    def _initialise(self) -> None:
        """A control plane that runs, at each look: a boot or the start of one may have been cut off."""
        plane = self.backend.claim(self, self.user_data.api_port)
        if plane is None:
            raise Unavailable("another master is still there")
        text = self._document()
        if not plane.initialised:
            self._write_encryption(text)
            plane.initialise(text)
        self.backend.up(text)

    def _write_encryption(self, document: str) -> None:
        """The key for Secrets in etcd, where the API server's flag says, and its copy in Parameter Store."""
        given = configuration(document, "ClusterConfiguration").get("apiServer", {}).get("extraArgs", [])
        path = next((each["value"] for each in given if each["name"] == "encryption-provider-config"), None)
        if path is None:
            return
        key = base64.b64encode(os.urandom(32)).decode()
        self._put_secret("encryptionKey", key)
        providers = [{"secretbox": {"keys": [{"name": "key1", "secret": key}]}}, {"identity": {}}]
        config = {
            "apiVersion": "apiserver.config.k8s.io/v1",
            "kind": "EncryptionConfiguration",
            "resources": [{"resources": ["secrets"], "providers": providers}],
        }
        atomic_write(self.disk.root / str(path).lstrip("/"), yaml.safe_dump(config))

    def _publish(self) -> None:
        """The operator's kubeconfig, then the join record with a fresh token."""
        data, instance = self.user_data, self.running_instance()
        plane = self.backend.claim(self, data.api_port)
        if plane is None:
            raise Unavailable("another master is there")
        address = f"https://{instance.public_ip or instance.private_ip}:{API_PORT}"
        server = data.node.get("apiEndpoint") or address
        self._put_secret("kubeconfig", plane.operator_kubeconfig(server))
        record = {
            "schema": 1,
            "instanceId": instance.id,
            "generation": data.generation,
            "endpoint": configuration(self._document(), "ClusterConfiguration")["controlPlaneEndpoint"],
            "token": plane.mint_token(_TOKEN_HOURS),
            "caCertHashes": [plane.ca_hash()],
            "expiresAt": rfc3339(datetime.now(UTC) + timedelta(hours=_TOKEN_HOURS)),
        }
        self._put_secret("join", json.dumps(record))

    def _put_secret(self, parameter: str, value: str) -> None:
        self._put(parameter, value, Type="SecureString", KeyId=str(self.user_data.node["clusterKeyAlias"]))

    # -- the Node ----------------------------------------------------------------------------------

    def _register(self) -> bool:
        """Whether the kubelet has registered, or taken its Node up again after a boot."""
        api, memory = self.backend.api(self), self.disk.memory
        if api is None or self._registered:
            return self._registered
        instance = self.running_instance()
        given, labels = registration(self._document(instance)), {}
        if self.user_data.is_master:
            given = {"taints": [{"key": _ROLE, "effect": "NoSchedule"}], **given}
            labels = dict.fromkeys(_MASTER_LABELS, "")
        hardware = self.account.cloud.hardware(instance.type)
        version = str(self.user_data.node["kubernetesVersion"])
        node = kubelet.node_object(given, hardware, instance.private_ip, version, memory.boot_id)
        node["metadata"]["labels"] |= labels
        self._registered = kubelet.register(api, node)
        if self._registered and self.backend.master:
            memory.master = self.backend.master.disk.instance_id
            self.disk.save()
        return self._registered

    def _document(self, instance: Instance | None = None) -> str:
        """The node's kubeadm document with this machine's values in place; a token is not needed here."""
        instance = instance or self.running_instance()
        values = {
            "INSTANCE_ID": instance.id,
            "INSTANCE_TYPE": instance.type,
            "PRIVATE_IP": instance.private_ip,
            "PUBLIC_IP": instance.public_ip or instance.private_ip,  # behind a NAT gateway
            "AVAILABILITY_ZONE": instance.zone,
            "REGION": self.account.cloud.region,
            "PROVIDER_ID": instance.provider_id,
        }
        return _PLACEHOLDER.sub(lambda match: values.get(match[1], "-"), self.user_data.template)
