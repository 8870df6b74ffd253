"""The AWS of the sandbox: moto's server behind a front that records, refuses and corrects.

`python -m sandbox.aws.emulator --port N --log FILE` serves on 127.0.0.1 until it is ended. Its state is
in memory; `/kubepark/epoch` answers with an id that is new whenever that state is new, so that
others can tell that what they remember is gone, and `/kubepark/changes` with how often each service
was written to, so that they can tell that what they remember is still so.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import re
import secrets
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any

# moto reads these while it is imported: it knows AMIs and instance types, and checks them if asked.
MOTO_SETTINGS: Mapping[str, str] = {
    "MOTO_ENABLE_AMI_VALIDATION": "true",
    "MOTO_EC2_ENABLE_INSTANCE_TYPE_VALIDATION": "true",
}
os.environ.update(MOTO_SETTINGS)

from moto.ec2.models.amis import Ami  # noqa: E402
from moto.moto_server.werkzeug_app import (  # noqa: E402
    DomainDispatcherApplication,
    MotoRequestHandler,
    create_backend_app,
)
from werkzeug.serving import run_simple  # noqa: E402
from werkzeug.wrappers import Response  # noqa: E402

from sandbox.aws import answers, injected, spot, strict  # noqa: E402
from sandbox.aws.additions import Additions  # noqa: E402
from sandbox.aws.awswire import AwsRequest, Refusal, parse, render_error  # noqa: E402
from sandbox.aws.stores import Stores  # noqa: E402
from sandbox.config import (  # noqa: E402
    CHANGES_PATH,
    EPOCH_PATH,
    HEALTH_PATH,
    IMAGES_PATH,
    INTERRUPTIONS_PATH,
    REFUSALS_PATH,
    REGION,
    is_loopback,
)

RESET_PATH = "/moto-api/reset"
READS = ("Describe", "Get", "Head", "List")  # actions that change nothing
MAKES = ("Allocate", "Authorize", "Create", "Run")  # actions whose answers name what they made
# Ids as EC2 and KMS give them out, and the ARNs that are the ids of load balancing.
_IDS = re.compile(
    r"\b[a-z]+-[0-9a-f]{8}(?:[0-9a-f]{9})?\b|\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b"
    r"|\barn:aws:elasticloadbalancing:[\w:/-]+"
)


class Recorder:
    """Every AWS request as one JSON line, with the ids of what it made.

    The file starts empty: it tells about one epoch.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._file = os.fdopen(descriptor, "w", encoding="utf-8")

    def write(self, request: AwsRequest, status: int, seconds: float, answer: bytes) -> None:
        line: dict[str, Any] = {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "service": request.service,
            "action": request.action,
            "region": request.region,
            "accessKey": request.access_key,
            "userAgent": request.user_agent,
            "status": status,
            "seconds": round(seconds, 4),
            "params": request.params,
        }
        if status < 300 and request.action.startswith(MAKES):
            line["made"] = sorted(set(_IDS.findall(answer.decode())) - set(_IDS.findall(str(request.params))))
        self._file.write(json.dumps(line, ensure_ascii=False, default=str) + "\n")
        self._file.flush()


class Front:
    """A WSGI application: control paths of ours, else record, refuse, or pass to moto and correct its answer.

    One request at a time: moto's stores are plain dicts that its own threads change while others
    iterate over them, and a check must hold until the call that it allowed is done.
    """

    def __init__(self, recorder: Recorder, region: str = REGION) -> None:
        self._recorder = recorder
        self._region = region
        self._moto = DomainDispatcherApplication(create_backend_app)
        # It lists the folder that moto is installed in at each request, to tell which service is meant.
        self._moto.get_backend_for_host = functools.cache(self._moto.get_backend_for_host)
        self._lock = threading.Lock()
        self._additions = Additions(self._register)
        self._images: set[str] = set()
        self._injected: Sequence[injected.Injected] = ()
        self._interruptions = spot.Interruptions()
        self._epoch = secrets.token_hex(8)
        self._changes: Counter[str] = Counter()
        self._control: Mapping[str, Callable[[dict[str, Any], bytes], Response]] = {
            CHANGES_PATH: self._get_changes,
            EPOCH_PATH: lambda environ, body: _text(self._epoch),
            HEALTH_PATH: lambda environ, body: _text("ok"),
            IMAGES_PATH: self._put_images,
            INTERRUPTIONS_PATH: self._interrupt,
            REFUSALS_PATH: self._put_refusals,
            RESET_PATH: self._reset,
        }

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = BytesIO(body)
        control = self._control.get(environ.get("PATH_INFO", ""))
        with self._lock:
            self._changes["ec2"] += self._interruptions.act(Stores(self._region))
            response = control(environ, body) if control else self._aws(environ, body)
        answer: Iterable[bytes] = response(environ, start_response)
        return answer

    def _aws(self, environ: dict[str, Any], body: bytes) -> Response:
        request = parse(environ, body)
        begin = time.monotonic()
        try:
            strict.refuse(request)
            self._refuse(request)
            response = self._answer(request, environ, body)
        except Refusal as refusal:
            content_type, answer = render_error(request, refusal)
            response = Response(answer, status=refusal.status, content_type=content_type)
        if response.status_code < 300:
            strict.after(request, response.get_data())
            response.set_data(answers.complete(request, response.get_data()))
            self._changes[request.service] += not request.action.startswith(READS)
        self._recorder.write(request, response.status_code, time.monotonic() - begin, response.get_data())
        return response

    def _answer(self, request: AwsRequest, environ: dict[str, Any], body: bytes) -> Response:
        """moto's answer, or ours to what it does not know. Raises: Refusal."""
        if answer := self._additions.answer(request):
            return Response(answer, content_type="application/x-amz-json-1.1")
        sent = strict.for_moto(request, body)
        passed = {**environ, "wsgi.input": BytesIO(sent), "CONTENT_LENGTH": str(len(sent))}
        return Response.from_app(self._moto, passed, buffered=True)

    def _refuse(self, request: AwsRequest) -> None:
        """What a test has injected for this call. Raises: Refusal."""
        meant = [row for row in self._injected if row.operation == request.operation]
        call = strict.arguments_of(request) if meant or request.service == "ec2" else {}
        for row in meant:
            row.refuse(call)
        self._interruptions.refuse(request.operation, call)

    def _get_changes(self, environ: dict[str, Any], body: bytes) -> Response:
        """Who polls asks this first: to list instances costs the emulator fifty times as much."""
        counts = {"epoch": self._epoch, **self._changes}
        return Response(json.dumps(counts), content_type="application/json")

    def _put_images(self, environ: dict[str, Any], body: bytes) -> Response:
        """PUT a JSON list of AMI ids: they exist from now on, until the end of the process."""
        if environ.get("REQUEST_METHOD") != "PUT":
            return _text("PUT a JSON list of AMI ids", 405)
        for image in sorted(set(json.loads(body)) - self._images):
            self._register(image)
            self._images.add(image)
        return Response(status=204)

    def _put_refusals(self, environ: dict[str, Any], body: bytes) -> Response:
        """PUT the rows of `sandbox.aws.injected` in place of those that are there."""
        if environ.get("REQUEST_METHOD") != "PUT":
            return _text("PUT a JSON list of errors", 405)
        try:
            self._injected = injected.rows(json.loads(body))
        except (TypeError, ValueError) as error:
            return _text(str(error), 400)
        return Response(status=204)

    def _interrupt(self, environ: dict[str, Any], body: bytes) -> Response:
        """GET the notices by instance; PUT rows of `sandbox.aws.spot` in place of those that are there."""
        if environ.get("REQUEST_METHOD") == "PUT":
            try:
                self._interruptions.announce(json.loads(body))
            except (TypeError, KeyError, ValueError) as error:
                return _text(f"not a list of rows: {error}", 400)
        return Response(json.dumps(self._interruptions.notices), content_type="application/json")

    def _register(self, image: str, region: str = "") -> None:
        """An image with a given id; AWS's own API only gives out random ones."""
        region = region or self._region
        backend = Stores(region).ec2
        backend.amis[image] = Ami(
            backend,
            image,
            name=f"sandbox/{image}",
            description="Known to the sandbox because the stack file pins it.",
            public=True,
            architecture="x86_64",
            virtualization_type="hvm",
            hypervisor="xen",
            root_device_type="ebs",
            region_name=f"{region}a",
        )

    def _reset(self, environ: dict[str, Any], body: bytes) -> Response:
        """moto's own way of forgetting everything: another epoch for whoever remembers this one."""
        response = Response.from_app(self._moto, environ, buffered=True)
        self._epoch, self._injected = secrets.token_hex(8), ()
        self._interruptions = spot.Interruptions()
        for image in self._images:
            self._register(image)
        return response


def _text(text: str, status: int = 200) -> Response:
    return Response(text, status=status, content_type="text/plain")


class QuietHandler(MotoRequestHandler):  # type: ignore[misc]  # moto has no types
    """Requests are in the recorder's file; only errors belong into the process log."""

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        return


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="sandbox.aws.emulator", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--region", default=REGION)
    parser.add_argument("--log", type=Path, required=True, help="file for recorded requests")
    options = parser.parse_args(arguments)
    if not is_loopback(options.host):
        parser.error(f"{options.host} is not a loopback address")
    front = Front(Recorder(options.log), options.region)
    run_simple(options.host, options.port, front, threaded=True, request_handler=QuietHandler)


if __name__ == "__main__":
    main(sys.argv[1:])
