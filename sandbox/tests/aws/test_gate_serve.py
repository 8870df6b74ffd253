"""A WSGI application on a socket that is bound already: here, or in another network namespace."""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from werkzeug.wrappers import Request, Response

from sandbox.aws.serve import NoAnswer, serve
from sandbox.nodes.real.netns import inside, listen
from sandbox.tests.aws.gate_node import fetch


def answer(request: Request) -> Response:
    match request.path:
        case "/silence":
            raise NoAnswer("no route")
        case "/broken":
            raise ZeroDivisionError("of the application")
    return Response(f"{request.method} {request.get_data(as_text=True)}")


application = Request.application(answer)


@pytest.fixture
def port() -> Iterator[int]:
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    running = serve(application, listener)
    yield port
    running.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=5)


def ask(port: int, path: str, body: bytes | None = None) -> tuple[int, bytes]:
    return fetch(f"http://127.0.0.1:{port}{path}", "POST" if body else "GET", body=body)


def test_it_answers(port: int, capfd: pytest.CaptureFixture[str]) -> None:
    assert ask(port, "/x") == (200, b"GET ")
    assert ask(port, "/x", b"body") == (200, b"POST body")
    assert capfd.readouterr() == ("", "")


def test_silence_ends_the_connection_without_a_byte(port: int, capfd: pytest.CaptureFixture[str]) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(b"GET /silence HTTP/1.1\r\nHost: x\r\n\r\n")
        assert connection.recv(100) == b""
    with pytest.raises(http.client.RemoteDisconnected):
        ask(port, "/silence")
    assert capfd.readouterr() == ("", "")
    assert ask(port, "/x") == (200, b"GET ")


def test_a_fault_of_the_application_is_in_the_log_and_not_on_stderr(
    port: int, capfd: pytest.CaptureFixture[str]
) -> None:
    assert ask(port, "/broken")[0] == 500
    out = err = ""
    deadline = time.monotonic() + 5  # it is said after the answer
    while "ZeroDivisionError" not in out and time.monotonic() < deadline:
        said = capfd.readouterr()
        out, err = out + said.out, err + said.err
        time.sleep(0.02)
    assert "ZeroDivisionError: of the application" in out
    assert err == ""


def test_a_socket_that_others_can_reach_is_refused() -> None:
    with socket.create_server(("0.0.0.0", 0)) as listener, pytest.raises(ValueError, match="neither a loopb"):
        serve(application, listener)


@pytest.fixture
def namespace() -> Iterator[Path]:
    """A network namespace that lives as long as a process in it, with an address of its own."""
    script = "ip link set lo up && ip addr add 169.254.169.254/32 dev lo && echo up && exec sleep 60"
    command = ["unshare", "--net", "sh", "-c", script]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "up\n"
            yield Path(f"/proc/{process.pid}/ns/net")
        finally:
            process.kill()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes network namespaces")
def test_inside_another_namespace_every_address_is_the_nodes_own(namespace: Path) -> None:
    running = serve(application, listen(namespace, "169.254.169.254", 80))
    try:

        def read() -> str:
            connection = http.client.HTTPConnection("169.254.169.254", 80, timeout=5)
            connection.request("GET", "/latest/")
            return connection.getresponse().read().decode()

        assert inside(namespace, read) == "GET "
    finally:
        running.close()
