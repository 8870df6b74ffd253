"""What the cloud is to one machine: served from here, on sockets inside its network namespace."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from sandbox.boot.gate import Gate
from sandbox.boot.metadata import metadata_service
from sandbox.boot.outside import outside_world
from sandbox.boot.serve import Application, NoAnswer, serve
from sandbox.nodes.real.netns import METADATA_ADDRESS, listen
from sandbox.nodes.real.site import RealSite

OUTSIDE_PORT = 8080
REGISTRY_PORT = 5000
REGISTRY = f"http://{METADATA_ADDRESS}:{REGISTRY_PORT}"


class Services:
    """Metadata service, AWS API, the internet as far as it is played, and a mirror of all registries."""

    def __init__(
        self, site: RealSite, instance_id: str, namespace: Path, aws_endpoint: str, cut: Callable[[], bool]
    ) -> None:
        """`cut`: whether AWS gives this machine no answer now."""
        aws = urlsplit(aws_endpoint)
        around = site.around
        applications: dict[tuple[str, int], Application] = {
            (METADATA_ADDRESS, 80): metadata_service(around.cloud, site.keys, instance_id),
            (METADATA_ADDRESS, OUTSIDE_PORT): outside_world(around, instance_id),
            (METADATA_ADDRESS, REGISTRY_PORT): site.registry,
            (str(aws.hostname), int(aws.port or 80)): unless(
                cut, Gate(around, site.keys, site.endpoint, site.calls_log)
            ),
        }
        self._serving = [
            serve(application, listen(namespace, *address)) for address, application in applications.items()
        ]

    def close(self) -> None:
        for each in self._serving:
            each.close()


def unless(cut: Callable[[], bool], application: Application) -> Application:
    """`application`, which gives no answer while `cut` says so."""

    def answer(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        if cut():
            raise NoAnswer("cut off by faults.json")
        return application(environ, start_response)

    return answer
