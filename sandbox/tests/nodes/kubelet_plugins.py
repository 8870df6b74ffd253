"""The kubelet's side of the device plugin API (v1beta1), as far as a test of a plugin needs it.

The messages are described here by hand, as the API's own definition numbers their fields; so the plugin is
tested against the wire and not against the code that it is made with.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent import futures
from contextlib import contextmanager
from pathlib import Path
from queue import Queue
from typing import Any

import grpc
from google.protobuf import descriptor_pb2, message_factory

Field = descriptor_pb2.FieldDescriptorProto
PACKAGE = "v1beta1"
# message -> its fields in the order of their numbers, from 1; "*": repeated
MESSAGES: dict[str, dict[str, str]] = {
    "RegisterRequest": {"version": "string", "endpoint": "string", "resource_name": "string"},
    "Device": {"ID": "string", "health": "string"},
    "ListAndWatchResponse": {"devices": "*Device"},
    "ContainerAllocateRequest": {"devices_ids": "*string"},
    "AllocateRequest": {"container_requests": "*ContainerAllocateRequest"},
    "Pair": {"key": "string", "value": "string"},  # a map is this, repeated
    "ContainerAllocateResponse": {"envs": "*Pair"},
    "AllocateResponse": {"container_responses": "*ContainerAllocateResponse"},
}


def _messages() -> dict[str, Any]:
    file = descriptor_pb2.FileDescriptorProto(name="plugins.proto", syntax="proto3")
    for name, fields in MESSAGES.items():
        message = file.message_type.add(name=name)
        for number, (field, kind) in enumerate(fields.items(), 1):
            added = message.field.add(name=field, number=number, type=Field.TYPE_STRING)
            added.label = Field.LABEL_REPEATED if kind.startswith("*") else Field.LABEL_OPTIONAL
            if not kind.endswith("string"):
                added.type, added.type_name = Field.TYPE_MESSAGE, kind.lstrip("*")
    return dict(message_factory.GetMessages([file]))


messages = _messages()


class Kubelet:
    """Listens as the kubelet does, in a folder that stands for its own, and keeps what registers."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.registered: Queue[Any] = Queue()
        self.plugin = folder  # the socket of the one that `wait` has seen last

    @contextmanager
    def running(self) -> Iterator[None]:
        """From a kubelet's start, at which every socket of another is removed, to its end."""
        for socket in self.folder.glob("*.sock"):
            socket.unlink()
        server = grpc.server(futures.ThreadPoolExecutor(2))
        methods = {"Register": grpc.unary_unary_rpc_method_handler(self._register)}
        service = grpc.method_handlers_generic_handler(f"{PACKAGE}.Registration", methods)
        server.add_generic_rpc_handlers((service,))
        server.add_insecure_port(f"unix:{self.folder}/kubelet.sock")
        server.start()
        try:
            yield
        finally:
            server.stop(grace=None).wait()

    def _register(self, request: bytes, _: grpc.ServicerContext) -> bytes:
        self.registered.put(messages["RegisterRequest"].FromString(request))
        return b""

    def wait(self) -> str:
        """The resource of the next plugin that registers. It is the one to talk to from now on."""
        request = self.registered.get(timeout=15)
        assert request.version == PACKAGE
        self.plugin = self.folder / request.endpoint
        return str(request.resource_name)

    def devices(self) -> dict[str, str]:
        """The plugin's first list: device -> health."""
        answer = messages["ListAndWatchResponse"].FromString(self._answer("ListAndWatch", b""))
        return {device.ID: device.health for device in answer.devices}

    def allocate(self, *names: str) -> dict[str, str]:
        """The variables that a container gets which was given the devices. Raises `grpc.RpcError`."""
        wanted = messages["ContainerAllocateRequest"](devices_ids=names)
        request = messages["AllocateRequest"](container_requests=[wanted])
        answer = messages["AllocateResponse"].FromString(
            self._answer("Allocate", request.SerializeToString())
        )
        return {pair.key: pair.value for pair in answer.container_responses[0].envs}

    def _answer(self, method: str, request: bytes) -> bytes:
        """The first message of an answer, which of most is the only one."""
        with grpc.insecure_channel(f"unix:{self.plugin}") as channel:
            call = channel.unary_stream(f"/{PACKAGE}.DevicePlugin/{method}")
            return bytes(next(call(request, timeout=10)))
