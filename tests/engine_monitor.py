"""The monitor and log behind tests/engine.py: they answer the SDK in the engine's place.

On top of the SDK's mock monitor it resolves inherited options and qualified URNs as the engine does
(`inheritFromParent` and `NewURN` in pulumi/pkg v3.259), and it refuses what mocks let pass.
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from google.protobuf import empty_pb2
from pulumi.runtime import mocks
from pulumi.runtime.proto import engine_pb2, provider_pb2, resource_pb2
from pulumi.runtime.settings import get_project, get_stack

from tests.engine_outputs import MISSING, SDKS, compute, known_type
from tests.engine_recording import Invoke, Log, Recording, Resource
from tests.engine_wire import Secret, decode, decode_value, encode, has_unknown, mask, strings

STACK_TYPE = "pulumi:pulumi:Stack"
COMPONENT_TYPE = re.compile(r"kubepark:[a-z_]+:[A-Z][A-Za-z]+")
GET_RESOURCE = "pulumi:pulumi:getResource"


Answer = Mapping[str, Any] | Callable[[dict[str, Any], Recording], Mapping[str, Any]]


class Refused(Exception):
    """The program did what the real engine or provider would not accept."""


class InvokeFailed(Exception):
    """Raised by an answer: the invoke fails, as an AWS error would make it."""


class NoMocks(mocks.Mocks):
    """The monitor answers everything itself; the SDK only wants an object here."""

    def call(self, args: mocks.MockCallArgs) -> Any:
        raise NotImplementedError

    def new_resource(self, args: mocks.MockResourceArgs) -> Any:
        raise NotImplementedError


class RecordingLog(mocks.MockEngine):
    """Keeps what the program logs (debug messages are the SDK's own)."""

    def __init__(self, recording: Recording) -> None:
        super().__init__(logging.getLogger(__name__))
        self.recording = recording

    def Log(self, request: Any) -> None:
        if request.severity != engine_pb2.DEBUG:
            severity = engine_pb2.LogSeverity.Name(request.severity).lower()
            self.recording.logs.append(Log(severity, request.message, request.urn))

    def RequirePulumiVersion(self, request: Any) -> Any:
        return empty_pb2.Empty()


class RecordingMonitor(mocks.MockMonitor):
    """Answers the SDK in the engine's place. Called from several threads at once."""

    def __init__(self, recording: Recording, answers: Mapping[str, Answer]) -> None:
        super().__init__(NoMocks())
        self.recording = recording
        self.answers = answers
        self.refusal: Refused | None = None
        self.lock = threading.RLock()

    def make_urn(self, parent: str, type_: str, name: str) -> str:
        """The URN with the whole chain of parent types; the stack is left out of it."""
        chain = parent.split("::")[2] if parent else STACK_TYPE
        qualified = type_ if chain == STACK_TYPE else f"{chain}${type_}"
        return f"urn:pulumi:{get_stack()}::{get_project()}::{qualified}::{name}"

    def RegisterResource(self, request: Any) -> Any:
        urn = self.make_urn(request.parent, request.type, request.name)
        if request.type == STACK_TYPE:
            return resource_pb2.RegisterResourceResponse(urn=urn)
        with self.lock:
            resource = self._resource(urn, request)
            self._check(resource)
            response = resource_pb2.RegisterResourceResponse(urn=urn, object=request.object)
            if resource.custom and not self.recording.preview:
                id_, outputs = compute(resource.type, urn, resource.inputs)
                response.id = id_
                response.object.MergeFrom(encode(outputs))
                resource = replace(resource, id=id_)
            self.recording.resources[urn] = resource
            return response

    def ReadResource(self, request: Any) -> Any:
        """Only stack references are read; the answer is the outputs of the stack."""
        if request.type != "pulumi:pulumi:StackReference":
            self._refuse(f"{request.type} {request.name!r} is read; nothing here answers that")
        outputs = self._answer(request.type, {"name": request.id})
        secret = [name for name, value in outputs.items() if isinstance(value, Secret)]
        properties = {"name": request.id, "outputs": outputs, "secretOutputNames": secret}
        urn = self.make_urn(request.parent, request.type, request.name)
        return resource_pb2.ReadResourceResponse(urn=urn, properties=encode(properties))

    def Invoke(self, request: Any) -> Any:
        args = decode(request.args).value
        self._refuse_missing(f"invoke {request.tok}", args)
        if request.tok == GET_RESOURCE:
            self._refuse(
                f"{GET_RESOURCE}: a resource reference is rehydrated; register outputs, not resources"
            )
        if request.tok.split(":", 1)[0] in SDKS:
            self._check_provider(f"invoke {request.tok}", request.tok, request.provider.rpartition("::")[0])
        self.recording.invokes.append(Invoke(request.tok, args, request.provider.rpartition("::")[0]))
        try:
            answer = self._answer(request.tok, args)
        except InvokeFailed as failure:
            reason = provider_pb2.CheckFailure(reason=str(failure))
            return resource_pb2.ResourceInvokeResponse(failures=[reason])
        return resource_pb2.ResourceInvokeResponse(**{"return": encode(answer)})

    def RegisterResourceOutputs(self, request: Any) -> Any:
        decoded = decode(request.outputs)
        self._refuse_missing(f"outputs of {request.urn}", decoded.value)
        if not self.recording.preview and has_unknown(decoded.value):
            self._refuse(f"{request.urn} registers an output that is still unknown: {decoded.value}")
        with self.lock:
            if request.urn.split("::")[2] == STACK_TYPE:
                self.recording.outputs = decoded.value
                self.recording.secret_outputs = decoded.secret_paths
            else:
                self.recording.resources[request.urn].outputs.update(
                    mask(decoded.value, decoded.secret_paths)
                )
        return empty_pb2.Empty()

    def _resource(self, urn: str, request: Any) -> Resource:
        """The registration with options inherited from the parent, the engine's way."""
        parent = self.recording.resources.get(request.parent)
        protect = request.protect if request.HasField("protect") else None
        retain = request.retainOnDelete if request.HasField("retainOnDelete") else None
        provider = _without_id(request.provider)
        deleted_with = request.deletedWith
        if parent is not None:
            protect = parent.protect if protect is None else protect
            retain = parent.retain_on_delete if retain is None else retain
            deleted_with = deleted_with or parent.deleted_with
            if not provider and _provider_package(parent.provider) == request.type.split(":", 1)[0]:
                provider = parent.provider
        decoded = decode(request.object)
        edges = request.propertyDependencies.items()
        return Resource(
            urn=urn,
            type=request.type,
            name=request.name,
            custom=request.custom,
            id="",
            parent=request.parent,
            inputs=decoded.value,
            secret_paths=decoded.secret_paths,
            provider=provider,
            providers={package: _without_id(ref) for package, ref in request.providers.items()},
            depends_on=tuple(sorted(request.dependencies)),
            property_dependencies={key: tuple(sorted(item.urns)) for key, item in edges},
            protect=protect,
            retain_on_delete=retain,
            deleted_with=deleted_with,
            delete_before_replace=request.deleteBeforeReplace if request.deleteBeforeReplaceDefined else None,
            ignore_changes=tuple(request.ignoreChanges),
            replace_on_changes=tuple(request.replaceOnChanges),
            replacement_trigger=decode_value(request.replacement_trigger),
            additional_secret_outputs=tuple(request.additionalSecretOutputs),
            aliases=tuple(_alias(item) for item in request.aliases),
            custom_timeouts={item.name: value for item, value in request.customTimeouts.ListFields()},
            hide_diffs=tuple(request.hideDiffs),
            import_id=request.importId,
        )

    def _check(self, resource: Resource) -> None:
        what = f"{resource.type} {resource.name!r}"
        if resource.urn in self.recording.resources:
            self._refuse(f"duplicate URN {resource.urn}")
        if resource.custom and resource.package == "pulumi":
            if resource.type.removeprefix("pulumi:providers:") not in SDKS:
                self._refuse(f"{what}: no such provider")
        elif resource.custom and not known_type(resource.type):
            self._refuse(f"{what}: the installed SDKs have no such type")
        elif not resource.custom and not COMPONENT_TYPE.fullmatch(resource.type):
            self._refuse(f"{what}: a component's type is kubepark:<file>:<Class>")
        elif resource.custom:
            self._check_provider(what, resource.type, resource.provider)
        for urn in (*resource.depends_on, resource.deleted_with):
            if urn and urn not in self.recording.resources:
                self._refuse(f"{what} names {urn}, which is not registered")
        self._refuse_missing(what, resource.inputs)

    def _check_provider(self, what: str, token: str, provider: str) -> None:
        package = token.split(":", 1)[0]
        if not provider:
            self._refuse(f"{what}: no provider (default providers are disabled)")
        if provider not in self.recording.resources or _provider_package(provider) != package:
            self._refuse(f"{what}: {provider} is not a registered provider of {package}")

    def _answer(self, token: str, args: dict[str, Any]) -> Mapping[str, Any]:
        if token not in self.answers:
            self._refuse(f"invoke {token}: the test gives no answer for it")
        answer = self.answers[token]
        with self.lock:
            return answer(args, self.recording) if callable(answer) else answer

    def _refuse_missing(self, what: str, value: Any) -> None:
        for text in strings(value):
            if MISSING in text:
                output = text.split(MISSING, 1)[1].split()[0]
                self._refuse(f"{what} uses {output}, which tests/engine_outputs.py does not answer")

    def _refuse(self, message: str) -> None:
        """The first refusal fails the run, even where the program swallows exceptions."""
        refusal = Refused(message)
        self.refusal = self.refusal or refusal
        raise refusal


def _without_id(reference: str) -> str:
    return reference.rpartition("::")[0]


def _provider_package(urn: str) -> str:
    return urn.split("::")[2].rpartition(":")[2] if urn else ""


def _alias(alias: Any) -> dict[str, str]:
    if alias.urn:
        return {"urn": alias.urn}
    return {item.name: str(value) for item, value in alias.spec.ListFields()}
