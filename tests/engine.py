"""The recording engine: runs a Pulumi program on the SDK's mock monitor and keeps what it registered.

    recording = deploy(program, config={"cluster": "lab"})
    assert recording.one("aws:ec2/vpc:Vpc").inputs["cidrBlock"] == "10.20.0.0/16"

Tests assert on the recorded plain data, never inside `apply`. On top of the SDK's mocks it resolves URNs
and inherited options as the engine does, and refuses (`Refused`) what mocks let pass: a duplicate URN, an
unknown type, a missing or foreign provider, an invoke or output that nobody answers, a value that is
unknown in an update.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

import grpc
import pulumi
from google.protobuf.json_format import MessageToDict
from pulumi.runtime import mocks, rpc
from pulumi.runtime.config import set_all_config
from pulumi.runtime.proto import engine_pb2, resource_pb2
from pulumi.runtime.settings import Settings, configure, get_project, get_stack
from pulumi.runtime.stack import run_in_stack

from tests.engine_outputs import SDKS, UNANSWERED, compute, known_type

UNKNOWN = pulumi.UNKNOWN  # stands for a value that a preview cannot know
STACK_TYPE = "pulumi:pulumi:Stack"


class CallFailed(grpc.RpcError):  # type: ignore[misc]  # no types
    """What an answer of `attempt` raises where the provider refuses the call, as the engine passes it on."""

    def __init__(self, details: str) -> None:
        super().__init__(details)
        self._details = details

    def code(self) -> grpc.StatusCode:
        return grpc.StatusCode.UNKNOWN

    def details(self) -> str:
        return self._details


class Refused(Exception):
    """The program did what the real engine or provider would not accept.

    Raised into the program, and out of the run even where the program swallows it: the SDK keeps the first
    failure of a call to the engine.
    """


@dataclass(kw_only=True)
class Resource:
    """One registration; URNs stand for resources. Options are the effective ones, after inheritance."""

    urn: str
    type: str
    name: str
    custom: bool
    parent: str
    inputs: dict[str, Any]  # plain, secrets unwrapped; UNKNOWN where a preview cannot know the value
    secret_paths: frozenset[str]  # dotted paths into the inputs
    provider: str
    depends_on: tuple[str, ...]  # explicit ones and those behind inputs, sorted
    protect: bool
    retain_on_delete: bool
    deleted_with: str
    delete_before_replace: bool
    ignore_changes: tuple[str, ...]
    replace_on_changes: tuple[str, ...]
    replacement_trigger: Any
    additional_secret_outputs: tuple[str, ...]
    stack: tuple[str, ...]  # the files that asked for it, the innermost first; URIs
    id: str = ""  # empty in preview
    outputs: dict[str, Any] = field(default_factory=dict)  # of register_outputs, secrets masked

    @property
    def package(self) -> str:
        return self.type.split(":", 1)[0]


@dataclass
class Recording:
    """What a run left behind. `error` is set only by `attempt`."""

    preview: bool
    resources: dict[str, Resource] = field(default_factory=dict)  # by URN; without the stack
    logs: list[tuple[str, str]] = field(default_factory=list)  # severity and message; no debug messages
    outputs: dict[str, Any] = field(default_factory=dict)  # stack outputs, secrets unwrapped
    secret_outputs: frozenset[str] = frozenset()  # dotted paths
    files: dict[str, str] = field(default_factory=dict)  # what the program wrote, by path in its folder
    error: BaseException | None = None

    @property
    def urns(self) -> frozenset[str]:
        return frozenset(self.resources)

    def of_type(self, token: str) -> list[Resource]:
        """All resources of a type, by name."""
        return sorted((r for r in self.resources.values() if r.type == token), key=lambda r: r.name)

    def one(self, token: str, name: str | None = None) -> Resource:
        """The only resource of a type (and name); anything else fails the test."""
        names = [item.name for item in self.of_type(token)]
        found = [item for item in self.of_type(token) if name in (None, item.name)]
        assert len(found) == 1, f"{len(found)} resources are {token} {name or ''}, of that type: {names}"
        return found[0]

    def children(self, parent: Resource) -> list[Resource]:
        return [item for item in self.resources.values() if item.parent == parent.urn]

    def messages(self, severity: str) -> list[str]:
        """What the program logged as `info`, `warning` or `error`."""
        return [message for level, message in self.logs if level == severity]

    def plain_text(self) -> str:
        """Everything that is not secret, as one text to search for leaks."""
        parts: list[Any] = [_mask(self.outputs, self.secret_outputs), self.logs]
        for item in self.resources.values():
            parts.append([item.name, _mask(item.inputs, item.secret_paths), item.outputs])
        return json.dumps(parts, default=repr, sort_keys=True)


Answer = Mapping[str, Any] | Callable[[dict[str, Any], Recording], Mapping[str, Any]]


def deploy(program: Callable[[], Any], **options: Any) -> Recording:
    """Like `attempt`, but the program's exception (a `RunError`, too) or the refusal is raised."""
    recording = attempt(program, **options)
    if recording.error is not None:
        raise recording.error
    return recording


def attempt(
    program: Callable[[], Any],
    *,
    config: Mapping[str, Any],
    secrets: Iterable[str] = (),
    stack: str = "sandbox",
    preview: bool = False,
    answers: Mapping[str, Answer] | None = None,
    uncreated: Iterable[str] = (),
) -> Recording:
    """Runs the program and returns what it registered; why it failed, if it did, is in `error`.

    `config`: values by key in the namespace `kubepark`; objects become JSON. `secrets`: the keys whose
    values are secret. `answers`: invokes by token (`aws:ssm/getParameter:getParameter`, for stack outputs
    `pulumi:pulumi:readStackOutputs`), as plain data or as a function of the arguments and the recording so
    far; what `pulumi.runtime.rpc.wrap_rpc_secret` wraps is secret. `uncreated`: names of resources whose
    creation the provider refuses; with `--continue-on-error` the engine skips what depends on them.
    """
    recording = Recording(preview)
    engine = _Engine(recording, answers or {}, frozenset(uncreated))

    async def run() -> None:
        # Background failures surface through run_in_stack; the loop's own report would be a second copy.
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
        texts = {f"kubepark:{k}": v if isinstance(v, str) else json.dumps(v) for k, v in config.items()}
        set_all_config(texts, [f"kubepark:{key}" for key in secrets])
        configure(Settings("kubepark", stack, engine, engine, dry_run=preview))
        await run_in_stack(program)

    try:
        asyncio.run(run())  # in a context of its own; the SDK keeps its state in context variables
    except Exception as error:  # noqa: BLE001 whatever the program raises is the result
        recording.error = error
    return recording


class _Engine(mocks.MockMonitor, mocks.Mocks):
    """The SDK's mock monitor, the mocks that it asks and the log in one. Called from several threads."""

    def __init__(
        self, recording: Recording, answers: Mapping[str, Answer], uncreated: frozenset[str]
    ) -> None:
        super().__init__(self)
        self.recording, self.answers = recording, answers
        self.refused, self.missing = uncreated, set[str]()  # names; URNs of those and of what needs them
        self.lock = threading.Lock()

    def make_urn(self, parent: str, type_: str, name: str) -> str:
        """The URN with the whole chain of parent types, the stack left out (`NewURN` in the engine)."""
        chain = parent.split("::")[2] if parent else STACK_TYPE
        qualified = type_ if chain == STACK_TYPE else f"{chain}${type_}"
        return f"urn:pulumi:{get_stack()}::{get_project()}::{qualified}::{name}"

    def RegisterResource(self, request: Any) -> Any:
        urn = self.make_urn(request.parent, request.type, request.name)
        response = resource_pb2.RegisterResourceResponse(urn=urn, object=request.object)
        if request.type == STACK_TYPE:
            return response
        with self.lock:
            resource = self._resource(urn, request)
            if urn in self.recording.resources:
                raise Refused(f"duplicate URN {urn}")
            if not (known_type(resource.type) if resource.custom else resource.package == get_project()):
                raise Refused(f"{urn}: neither the installed SDKs nor the program have such a type")
            self._check_provider(urn, resource.package, resource.provider)
            needed = {resource.parent, resource.deleted_with, *resource.depends_on}
            if resource.name in self.refused or not self.missing.isdisjoint(needed):
                response.result = resource_pb2.Result.FAIL
                self.missing.add(urn)
            elif resource.custom and not self.recording.preview:
                resource.id, outputs = compute(resource.type, urn, resource.inputs)
                response.id = resource.id
                response.object.update(outputs)
            self.recording.resources[urn] = resource
        return response

    def _resource(self, urn: str, request: Any) -> Resource:
        """The registration, with what it inherits from its parent (`inheritFromParent` in the engine)."""
        parent = self.recording.resources.get(request.parent)
        own = {key: getattr(request, key) for key in ("protect", "retainOnDelete") if request.HasField(key)}
        secrets: set[str] = set()
        return Resource(
            urn=urn,
            type=request.type,
            name=request.name,
            custom=request.custom,
            parent=request.parent,
            inputs=self._plain(MessageToDict(request.object), urn, secrets),
            secret_paths=frozenset(secrets),
            provider=request.provider.rpartition("::")[0],
            depends_on=tuple(sorted(request.dependencies)),
            protect=own.get("protect", bool(parent and parent.protect)),
            retain_on_delete=own.get("retainOnDelete", bool(parent and parent.retain_on_delete)),
            deleted_with=request.deletedWith or (parent.deleted_with if parent else ""),
            delete_before_replace=request.deleteBeforeReplace,
            ignore_changes=tuple(request.ignoreChanges),
            replace_on_changes=tuple(request.replaceOnChanges),
            replacement_trigger=self._plain(MessageToDict(request.replacement_trigger), urn, set()),
            additional_secret_outputs=tuple(request.additionalSecretOutputs),
            stack=tuple(frame.pc.uri for frame in request.stackTrace.frames),
        )

    def RegisterResourceOutputs(self, request: Any) -> Any:
        secrets: set[str] = set()
        outputs = self._plain(MessageToDict(request.outputs), f"outputs of {request.urn}", secrets)
        if request.urn.split("::")[2] == STACK_TYPE:
            self.recording.outputs, self.recording.secret_outputs = outputs, frozenset(secrets)
        else:
            self.recording.resources[request.urn].outputs = _mask(outputs, frozenset(secrets))
        return super().RegisterResourceOutputs(request)

    def call(self, args: mocks.MockCallArgs) -> Any:
        """Answers an invoke."""
        what = f"invoke {args.token}"
        with self.lock:
            self._check_provider(what, args.token.split(":", 1)[0], args.provider.rpartition("::")[0])
            if args.token not in self.answers:
                raise Refused(f"{what}: the test gives no answer for it")
            answer, plain = self.answers[args.token], self._plain(args.args, what, set())
            return answer(plain, self.recording) if callable(answer) else answer

    def new_resource(self, args: mocks.MockResourceArgs) -> NoReturn:
        """Asked only for a resource that the program reads instead of making it."""
        raise Refused(f"{args.typ} {args.name!r} is read; nothing here answers that")

    def Log(self, request: Any) -> None:
        if request.severity != engine_pb2.DEBUG:  # those are the SDK's own
            severity = engine_pb2.LogSeverity.Name(request.severity).lower()
            self.recording.logs.append((severity, request.message))

    def _check_provider(self, what: str, package: str, provider: str) -> None:
        """Default providers are disabled, so whatever a package answers for names a provider of it."""
        found = self.recording.resources.get(provider)
        if package in SDKS and (found is None or found.type != f"pulumi:providers:{package}"):
            raise Refused(f"{what}: needs a registered provider of {package}, has {provider or 'none'}")

    def _plain(self, value: Any, what: str, secrets: set[str], path: str = "") -> Any:
        """A property value without its wrapping; the dotted paths of secret parts go into `secrets`."""
        if isinstance(value, list):
            return [self._plain(item, what, secrets, f"{path}.{i}") for i, item in enumerate(value)]
        if isinstance(value, dict) and rpc.is_rpc_secret(value):
            secrets.add(path.removeprefix("."))
            return self._plain(rpc.unwrap_rpc_secret(value), what, secrets, path)
        if isinstance(value, dict):
            return {key: self._plain(item, what, secrets, f"{path}.{key}") for key, item in value.items()}
        if isinstance(value, float) and value.is_integer():
            return int(value)
        if isinstance(value, str) and UNANSWERED in value:
            raise Refused(f"{what} uses {value!r}: add it to COMPUTED in tests/engine_outputs.py")
        if value == rpc.UNKNOWN and not self.recording.preview:
            raise Refused(f"{what}: {path.removeprefix('.')} is unknown in an update")
        return UNKNOWN if value == rpc.UNKNOWN else value


def _mask(value: Any, secret_paths: frozenset[str], path: str = "") -> Any:
    """The value as plain state shows it: each secret part replaced."""
    if path.removeprefix(".") in secret_paths:
        return "[secret]"
    if isinstance(value, dict):
        return {key: _mask(item, secret_paths, f"{path}.{key}") for key, item in value.items()}
    if isinstance(value, list):
        return [_mask(item, secret_paths, f"{path}.{index}") for index, item in enumerate(value)]
    return value
