"""What machines reach of the internet: package repositories under their real names, over HTTP and TLS.

One server for all machines of a sandbox, behind the router of their network. Whether a machine's packets
arrive is decided by the emulator's routes and rules (`firewall.internet`), so that what cannot be reached is
silent.
"""

from __future__ import annotations

import ssl
from pathlib import Path

from werkzeug.exceptions import NotFound
from werkzeug.utils import safe_join, send_file
from werkzeug.wrappers import Request, Response

from sandbox.aws.serve import Application, Serving, serve
from sandbox.nodes.real import netns
from sandbox.nodes.real.netns import OUTSIDE_ADDRESS
from sandbox.nodes.real.repository import Mirrors

PORTS = (80, 443)


def mirrors(folder: Path) -> Application:
    """The files below `folder`/<host that was asked for>."""

    def answer(request: Request) -> Response:
        path = safe_join(str(folder), request.host.partition(":")[0], request.path.lstrip("/"))
        if request.method not in ("GET", "HEAD") or path is None or not Path(path).is_file():
            return NotFound().get_response(request.environ)
        return send_file(path, request.environ, mimetype="application/octet-stream", conditional=True)

    application: Application = Request.application(answer)
    return application


def start(found: Mirrors, namespace: Path) -> list[Serving]:
    """Serve on every port, inside the network namespace of the router."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(found.folder / "server.crt", found.folder / "server.key")
    application = mirrors(found.folder)
    return [
        serve(application, netns.listen(namespace, OUTSIDE_ADDRESS, port), context if port == 443 else None)
        for port in PORTS
    ]
