"""Events of the engine while the CLI works: for what its exit code says too late, or never.

They come through a pipe with a name, so that nothing of a resource is written to a disk. The option is the
Automation API's way; the CLI has it where PULUMI_DEBUG_COMMANDS is set (`pkg/cmd/pulumi/operations/up.go`).
"""

from __future__ import annotations

import json
import os
import re
import select
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cli.instances import NO_CAPACITY, NOT_OFFERED
from cli.urns import name_of, type_of

Event = Mapping[str, Any]

VARIABLES = {"PULUMI_DEBUG_COMMANDS": "true"}
_READ_BYTES = 1 << 16
_POLL_SECONDS = 0.5
_INSTANCE = "aws:ec2/instance:Instance"
_NO_CAPACITY = re.compile(rf"\b({NO_CAPACITY}|{NOT_OFFERED}): [^\n]*")


@contextmanager
def following(react: Callable[[Event], None]) -> Iterator[tuple[str, ...]]:
    """Call `react` with each event, in a thread. Gives the option for the CLI, which needs `VARIABLES`."""
    with tempfile.TemporaryDirectory(prefix="kubepark-") as folder:
        path = Path(folder) / "events"
        os.mkfifo(path, 0o600)
        # For writing as well: so there is no end of it between the CLI's preview and its update.
        pipe = os.open(path, os.O_RDWR | os.O_NONBLOCK)
        ended = threading.Event()
        reader = threading.Thread(target=_read, args=(pipe, ended, react), name="events", daemon=True)
        reader.start()
        try:
            yield ("--event-log", str(path))
        finally:
            ended.set()
            reader.join()
            os.close(pipe)


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
    return (name_of(urn), " ".join(found[0].split())) if found and type_of(urn) == _INSTANCE else None


def _read(pipe: int, ended: threading.Event, react: Callable[[Event], None]) -> None:
    """Until nothing is left after the end: an event that nobody reads would stop the CLI."""
    kept = b""
    while True:
        last = ended.is_set()
        if select.select([pipe], [], [], 0 if last else _POLL_SECONDS)[0]:
            *lines, kept = (kept + os.read(pipe, _READ_BYTES)).split(b"\n")
            for line in lines:
                react(json.loads(line))
        elif last:
            return
