"""What the cloud is to one machine: served from here, on sockets inside its network namespace."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from sandbox.boot.gate import Gate
from sandbox.boot.internet import internet
from sandbox.boot.metadata import metadata_service
from sandbox.boot.serve import Application, NoAnswer, Serving, serve
from sandbox.nodes.real.netns import METADATA_ADDRESS, listen

if TYPE_CHECKING:
    from sandbox.nodes.real.backend import RealBackend

INTERNET_PORT = 8080
REGISTRY_PORT = 5000
REGISTRY = f"http://{METADATA_ADDRESS}:{REGISTRY_PORT}"


def serve_cloud(
    backend: RealBackend, instance_id: str, aws_endpoint: str, cut: Callable[[], bool]
) -> list[Serving]:
    """Metadata service, AWS API, the internet as far as it is emulated, and a mirror of all registries.

    `cut`: whether AWS gives this machine no answer now.
    """
    aws = urlsplit(aws_endpoint)
    account, keys = backend.account, backend.keys
    gate = Gate(account, keys, account.cloud.endpoint, backend.calls_log)
    applications: dict[tuple[str, int], Application] = {
        (METADATA_ADDRESS, 80): metadata_service(account.cloud, keys, instance_id),
        (METADATA_ADDRESS, INTERNET_PORT): internet(account, instance_id),
        (METADATA_ADDRESS, REGISTRY_PORT): backend.registry,
        (str(aws.hostname), int(aws.port or 80)): unless(cut, gate),
    }
    namespace = backend.vpc.namespace(instance_id)
    return [serve(application, listen(namespace, *address)) for address, application in applications.items()]


def unless(cut: Callable[[], bool], application: Application) -> Application:
    """`application`, which gives no answer while `cut` says so."""

    def answer(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        if cut():
            raise NoAnswer("cut off by faults.json")
        return application(environ, start_response)

    return answer
