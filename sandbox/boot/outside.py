"""The public internet, as far as it is played for a machine: whether a host could be reached."""

from __future__ import annotations

from werkzeug.wrappers import Request, Response

from sandbox.boot.machine import Surroundings
from sandbox.boot.serve import Application


def outside_world(around: Surroundings, instance_id: str) -> Application:
    """`GET /reach?host=H&port=P`: 200, or 504 with curl's words, by the emulator's routes and rules."""

    def answer(request: Request) -> Response:
        host, port = request.args.get("host", ""), request.args.get("port", "")
        if request.path != "/reach" or not host or not port.isdigit():
            return Response("GET /reach?host=H&port=P", status=400, content_type="text/plain")
        instance = around.cloud.instance(instance_id)
        if instance and around.network.reaches_internet(instance, int(port)):
            return Response("reached", content_type="text/plain")
        words = f"curl: (28) Failed to connect to {host} port {port}: Could not connect to server"
        return Response(words, status=504, content_type="text/plain")

    application: Application = Request.application(answer)
    return application
