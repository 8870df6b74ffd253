"""What machines reach of the internet: package repositories under their real names, over HTTP and TLS.

One server for all machines of a sandbox, behind the router of their network. Whether a machine's packets
arrive is decided by the emulator's routes and rules (`firewall.internet`), so that what cannot be reached is
silent. It has repositories of its own, and for some hosts asks the real ones.
"""

from __future__ import annotations

import os
import ssl
import tempfile
import threading
from pathlib import Path
from urllib.parse import quote

import urllib3
from werkzeug.exceptions import NotFound
from werkzeug.utils import safe_join, send_file
from werkzeug.wrappers import Request, Response

from sandbox.aws.serve import Application, Serving, serve
from sandbox.build.web import Web, WebError, reading
from sandbox.log import log
from sandbox.nodes.real import netns
from sandbox.nodes.real.netns import OUTSIDE_ADDRESS
from sandbox.nodes.real.repository import Mirrors

PORTS = (80, 443)
_CHUNK = 1 << 18
_BYTES = "application/octet-stream"


class Outside:
    """The files below `mirrors.folder`/<host that was asked for>, and those of `mirrors.upstream` as the real
    host has them: a package, whose name has its version, is fetched once and kept below `kept`.
    """

    def __init__(self, mirrors: Mirrors, kept: Path) -> None:
        self._mirrors, self._kept, self._web = mirrors, kept, Web()
        self._fetching = threading.Lock()  # five machines want the same packages at the same time
        self.application: Application = Request.application(self.answer)

    def answer(self, request: Request) -> Response:
        host = request.host.partition(":")[0]
        upstream = host in self._mirrors.upstream
        folder = self._kept if upstream else self._mirrors.folder
        path = safe_join(str(folder), host, request.path.lstrip("/"))
        if request.method not in ("GET", "HEAD") or path is None:
            return NotFound().get_response(request.environ)
        if upstream and not Path(path).is_file():
            url = f"https://{host}{quote(request.path, safe='/:+~')}"
            try:
                if not request.path.endswith(".deb"):
                    return self._passed_on(request, url)
                self._keep(url, Path(path))
            except WebError as error:
                log("packages", f"{url}: {error}")
                return Response(f"{error}\n", error.status or 502)
        if not Path(path).is_file():
            return NotFound().get_response(request.environ)
        return send_file(path, request.environ, mimetype=_BYTES, conditional=True)

    def _passed_on(self, request: Request, url: str) -> Response:
        with reading(self._ask(url), url) as found:
            return Response(found.read() if request.method == "GET" else b"", content_type=_BYTES)

    def _keep(self, url: str, path: Path) -> None:
        with self._fetching:
            if path.exists():
                return
            path.parent.mkdir(parents=True, exist_ok=True)
            with (
                reading(self._ask(url), url) as found,
                tempfile.NamedTemporaryFile(dir=path.parent) as file,
            ):
                for chunk in found.stream(_CHUNK, decode_content=False):
                    file.write(chunk)
                file.flush()
                os.link(file.name, path)

    def _ask(self, url: str) -> urllib3.BaseHTTPResponse:
        self._web.reach(url)
        found = self._web.ask("GET", url)
        if found.status >= 400:
            found.close()
            raise WebError(f"{url} answers {found.status}", found.status)
        return found


def start(mirrors: Mirrors, kept: Path, namespace: Path) -> list[Serving]:
    """Serve on every port, inside the network namespace of the router."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(mirrors.folder / "server.crt", mirrors.folder / "server.key")
    application = Outside(mirrors, kept).application
    return [
        serve(application, netns.listen(namespace, OUTSIDE_ADDRESS, port), context if port == 443 else None)
        for port in PORTS
    ]
