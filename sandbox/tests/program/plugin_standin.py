"""Stands in for the AWS CLI's session-manager-plugin, and takes nothing but what the AWS CLI gives it.

It says `REMOTE` to whoever connects to the local port. `PLUGIN_LOG`: a line for each start and each end.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from pathlib import Path
from types import FrameType

VERSION = "1.2.764.0"


def main() -> None:
    if sys.argv[1:] == ["--version"]:
        print(os.environ.get("PLUGIN_VERSION", VERSION))
        return
    variable, region, operation, profile, parameters, endpoint = sys.argv[1:]
    if (variable, operation) != ("AWS_SSM_START_SESSION_RESPONSE", "StartSession"):
        raise SystemExit(f"not as the AWS CLI calls it: {sys.argv[1:]}")
    response = json.loads(os.environ[variable])
    if set(response) != {"SessionId", "TokenValue", "StreamUrl"}:
        raise SystemExit(f"not what StartSession answers: {sorted(response)}")
    if any(response["TokenValue"] in word for word in sys.argv):
        raise SystemExit("the token is in the arguments")
    asked = json.loads(parameters)
    port = int(asked["Parameters"]["localPortNumber"][0])
    note({"pid": os.getpid(), "profile": profile, "region": region, "endpoint": endpoint, **asked})
    signal.signal(signal.SIGTERM, end)
    print(f"Starting session with SessionId: {response['SessionId']}", flush=True)
    with socket.create_server(("127.0.0.1", port)) as server:
        print(f"Port {port} opened for sessionId {response['SessionId']}.", flush=True)
        while True:
            connection, _ = server.accept()
            with connection:
                connection.sendall(b"REMOTE")


def end(number: int, frame: FrameType | None) -> None:
    note({"ended": os.getpid()})
    raise SystemExit(0)


def note(line: dict[str, object]) -> None:
    with Path(os.environ["PLUGIN_LOG"]).open("a", encoding="utf-8") as log:
        log.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main()
