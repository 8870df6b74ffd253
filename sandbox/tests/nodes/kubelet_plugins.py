"""The kubelet's side of the device plugin API (v1beta1), as far as a test of a plugin needs it.

The messages are described here by hand, field by field as the API's own definition numbers them; so
the plugin is tested against the wire and not against the code that it is made with.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent import futures
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

Field = descriptor_pb2.FieldDescriptorProto
PACKAGE = "v1beta1"
# message -> (number, name, type, repeated); another message is named by its type.
MESSAGES: dict[str, tuple[tuple[int, str, str, bool], ...]] = {
    "Empty": (),
    "DevicePluginOptions": ((1, "pre_start_required", "bool", False),),
    "RegisterRequest": (
        (1, "version", "string", False),
        (2, "endpoint", "string", False),
        (3, "resource_name", "string", False),
        (4, "options", "DevicePluginOptions", False),
    ),
    "Device": ((1, "ID", "string", False), (2, "health", "string", False)),
    "ListAndWatchResponse": ((1, "devices", "Device", True),),
    "ContainerAllocateRequest": ((1, "devices_ids", "string", True),),
    "AllocateRequest": ((1, "container_requests", "ContainerAllocateRequest", True),),
    "Pair": ((1, "key", "string", False), (2, "value", "string", False)),  # a map is this, repeated
    "ContainerAllocateResponse": ((1, "envs", "Pair", True),),
    "AllocateResponse": ((1, "container_responses", "ContainerAllocateResponse", True),),
}


def _messages() -> dict[str, Any]:
    file = descriptor_pb2.FileDescriptorProto(name="plugins.proto", package=PACKAGE, syntax="proto3")
    scalars = {"string": Field.TYPE_STRING, "bool": Field.TYPE_BOOL}
    for name, fields in MESSAGES.items():
        message = file.message_type.add(name=name)
        for number, field, kind, repeated in fields:
            added = message.field.add(name=field, number=number)
            added.label = Field.LABEL_REPEATED if repeated else Field.LABEL_OPTIONAL
            added.type = scalars.get(kind, Field.TYPE_MESSAGE)
            if kind not in scalars:
                added.type_name = f".{PACKAGE}.{kind}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{PACKAGE}.{name}"))
        for name in MESSAGES
    }


messages = _messages()


class Kubelet:
    """Listens as the kubelet does, in a folder that stands for its own, and keeps what registers."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.registered: list[Any] = []
        self._changed = threading.Condition()
        self._server: grpc.Server | None = None

    def start(self) -> None:
        """As at a kubelet's start: every socket of another is removed."""
        for socket in self.folder.glob("*.sock"):
            socket.unlink()
        self._server = grpc.server(futures.ThreadPoolExecutor(2))
        handler = grpc.unary_unary_rpc_method_handler(
            self._register,
            request_deserializer=messages["RegisterRequest"].FromString,
            response_serializer=messages["Empty"].SerializeToString,
        )
        service = grpc.method_handlers_generic_handler(f"{PACKAGE}.Registration", {"Register": handler})
        self._server.add_generic_rpc_handlers((service,))
        self._server.add_insecure_port(f"unix:{self.folder}/kubelet.sock")
        self._server.start()

    def stop(self) -> None:
        if self._server is not None:
            self._server.stop(grace=None).wait()

    def _register(self, request: Any, _: grpc.ServicerContext) -> Any:
        with self._changed:
            self.registered.append(request)
            self._changed.notify_all()
        return messages["Empty"]()

    def wait(self, number: int, seconds: float = 15) -> Any:
        """The registration of that number, from 1."""
        with self._changed:
            enough = self._changed.wait_for(lambda: len(self.registered) >= number, seconds)
            assert enough, "nothing registered"
            return self.registered[number - 1]

    def devices(self, endpoint: str) -> dict[str, str]:
        """The plugin's first list: device -> health."""
        with self._method(endpoint, "ListAndWatch", "Empty", "ListAndWatchResponse", stream=True) as call:
            answer = next(call(messages["Empty"](), timeout=10))
            return {device.ID: device.health for device in answer.devices}

    def allocate(self, endpoint: str, *names: str) -> dict[str, str]:
        """The variables that a container gets which was given the devices. Raises `grpc.RpcError`."""
        wanted = messages["ContainerAllocateRequest"](devices_ids=names)
        with self._method(endpoint, "Allocate", "AllocateRequest", "AllocateResponse") as call:
            answer = call(messages["AllocateRequest"](container_requests=[wanted]), timeout=10)
            return {pair.key: pair.value for pair in answer.container_responses[0].envs}

    @contextmanager
    def _method(self, endpoint: str, name: str, asked: str, said: str, stream: bool = False) -> Iterator[Any]:
        with grpc.insecure_channel(f"unix:{self.folder}/{endpoint}") as channel:
            yield (channel.unary_stream if stream else channel.unary_unary)(
                f"/{PACKAGE}.DevicePlugin/{name}",
                request_serializer=messages[asked].SerializeToString,
                response_deserializer=messages[said].FromString,
            )
