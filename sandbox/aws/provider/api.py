"""The AWS API of the emulator: clients, errors with the API's code and message, tags."""

from __future__ import annotations

import contextlib
import functools
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import botocore.session  # not boto3: its transfer manager is as long in the loading as all the rest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from sandbox.aws.provider.values import ProviderError

SERVICES = ("ec2", "iam", "kms", "ssm", "sts")  # others only where a program has what is theirs
Tags = dict[str, str]
# No proxies: every endpoint is loopback. Few retries: the emulator is there or it is not.
_CONFIG = Config(
    proxies={},
    connect_timeout=5,
    read_timeout=60,
    retries={"total_max_attempts": 2},
    max_pool_connections=32,
)
_ABSENT = re.compile(r"NotFound|NoSuch|\.Malformed$|^404$")  # 404: of S3's HEAD requests, which have no body


class AwsError(ProviderError):
    """An error answer of the API, or the stand-in refusing with a code of AWS."""

    @property
    def absent(self) -> bool:
        """Whether it says that the resource asked for does not exist."""
        return bool(_ABSENT.search(self.code))


@dataclass
class Api:
    """What the resource types call. `account` is known once `identify` has been called."""

    endpoints: Mapping[str, str]
    region: str
    credentials: Mapping[str, str]
    default_tags: Tags = field(default_factory=dict)
    account: str = ""
    _clients: dict[str, Any] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @functools.cached_property
    def _session(self) -> botocore.session.Session:
        return botocore.session.Session()

    ec2 = property(lambda self: self._client("ec2"))
    iam = property(lambda self: self._client("iam"))
    kms = property(lambda self: self._client("kms"))
    s3 = property(lambda self: self._client("s3"))
    scheduler = property(lambda self: self._client("scheduler"))
    ssm = property(lambda self: self._client("ssm"))
    sts = property(lambda self: self._client("sts"))

    def _client(self, service: str) -> Any:
        """Made on first use: most runs need few of them. Sessions are not thread-safe."""
        if service not in self.endpoints:
            raise ProviderError(
                "", f"no endpoint for {service}: the stand-in provider never calls AWS itself"
            )
        where = {"region_name": self.region, "endpoint_url": self.endpoints[service]}
        with self._lock:
            if service not in self._clients:
                make = self._session.create_client
                self._clients[service] = make(service, **where, **self.credentials, config=_CONFIG)
            return self._clients[service]

    def identify(self) -> None:
        """Ask STS whose account this is."""
        self.account = self.sts.get_caller_identity()["Account"]

    def own_tags(self, tags: Tags, declared: Any) -> Tags:
        """Tags that are not just the provider's default ones."""
        ours, defaults = declared if isinstance(declared, dict) else {}, self.default_tags
        return {key: value for key, value in tags.items() if key in ours or defaults.get(key) != value}

    def arn(self, service: str, resource: str) -> str:
        return f"arn:aws:{service}:{self.region}:{self.account}:{resource}"


@contextlib.contextmanager
def aws_errors() -> Iterator[None]:
    """Turn what botocore raises into a ProviderError with the API's own code and message."""
    try:
        yield
    except ClientError as error:
        answer = error.response.get("Error", {})
        message = f"{answer.get('Message', '')} (calling {error.operation_name})"
        raise AwsError(str(answer.get("Code", "")), message) from None
    except (BotoCoreError, ResponseParserError) as error:
        raise ProviderError("", " ".join(str(error).split())[:400]) from None


def if_there(call: Callable[..., Any], **arguments: Any) -> Any:
    """The answer of a call, or None when AWS says that the resource does not exist."""
    try:
        with aws_errors():
            return call(**arguments)
    except AwsError as error:
        if error.absent:
            return None
        raise


def first(answer: Any, key: str) -> Any:
    """The only element of a Describe answer; None for no answer or an empty one."""
    return answer[key][0] if answer and answer[key] else None


def tag_list(tags: Mapping[str, str], key: str = "Key", value: str = "Value") -> list[dict[str, str]]:
    return [{key: name, value: text} for name, text in sorted(tags.items())]


def tag_map(tags: Iterable[Mapping[str, str]] | None, key: str = "Key", value: str = "Value") -> Tags:
    """Tags as a map, without those that AWS itself sets."""
    return {tag[key]: tag[value] for tag in tags or () if not tag[key].startswith("aws:")}


def given(**arguments: Any) -> dict[str, Any]:
    """Call arguments without those that are None: botocore refuses nulls."""
    return {name: value for name, value in arguments.items() if value is not None}
