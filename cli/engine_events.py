"""Events of the engine while the CLI works: for what its exit code says too late, or never.

They come through a port of this machine's loopback, as the Automation API has them, so that nothing of a
resource is written to a disk, and a CLI whose `kubepark` was killed goes on: it would wait for ever for
somebody to read a pipe, which it keeps open itself (pulumi 3.259, pkg/backend/display/display.go). The option
is there where PULUMI_DEBUG_COMMANDS is set (pkg/cmd/pulumi/operations/up.go).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from cli.instances import NO_CAPACITY, NOT_OFFERED
from cli.urns import name_of, type_of

Event = Mapping[str, Any]

VARIABLES = {"PULUMI_DEBUG_COMMANDS": "true"}
_LAST_SECONDS = 5.0  # for events that are on their way when the CLI has ended
_STREAMS = 2  # at a time: the CLI's preview and its update have one each
_INSTANCE = "aws:ec2/instance:Instance"
_NO_CAPACITY = re.compile(rf"\b({NO_CAPACITY}|{NOT_OFFERED}): [^\n]*")


@contextmanager
def following(react: Callable[[Event], None]) -> Iterator[tuple[str, ...]]:
    """Call `react` with each event, in a thread. Gives the option for the CLI, which needs `VARIABLES`."""
    import grpc  # a quarter of a second with the SDK's messages, and seldom needed
    from google.protobuf.empty_pb2 import Empty
    from pulumi.runtime.proto import events_pb2_grpc

    class Events(events_pb2_grpc.EventsServicer):
        def StreamEvents(self, requests: Iterator[Any], context: Any) -> Any:
            for request in requests:
                react(json.loads(request.event))
            return Empty()

    server = grpc.server(ThreadPoolExecutor(_STREAMS), options=[("grpc.max_receive_message_length", -1)])
    events_pb2_grpc.add_EventsServicer_to_server(Events(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield ("--event-log", f"tcp://127.0.0.1:{port}")
    finally:
        server.stop(_LAST_SECONDS).wait()


def failed_deletion(event: Event) -> str:
    """The name of a resource that is to be replaced and whose deletion failed; "" for other events.

    Source: apitype.ResOpFailedEvent and StepEventMetadata of the SDK, sdk/go/common/apitype/events.go.
    """
    step = (event.get("resOpFailedEvent") or {}).get("metadata") or {}
    return name_of(str(step["urn"])) if step.get("op") == "delete-replaced" else ""


def without_capacity(event: Event) -> tuple[str, str] | None:
    """The name of an instance that AWS did not make for want of capacity, and AWS's words; None otherwise.

    Source: apitype.DiagnosticEvent of the SDK, sdk/go/common/apitype/events.go.
    """
    said = event.get("diagnosticEvent") or {}
    if said.get("severity") != "error" or not str(said.get("urn")).partition("::")[2]:
        return None
    urn, found = str(said["urn"]), _NO_CAPACITY.search(str(said.get("message")))
    if found is None or type_of(urn) != _INSTANCE:
        return None
    return name_of(urn), " ".join(found[0].split()).removesuffix(".")
