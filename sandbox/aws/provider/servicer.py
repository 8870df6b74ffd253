"""The provider plugin on the engine's own protocol.

The SDK's experimental `Provider` class is not used: it answers every error with a traceback, drops
the old inputs (so that a removed property shows no difference) and cannot report an object that was
made by halves.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import grpc
from google.protobuf.empty_pb2 import Empty
from pulumi.runtime import proto
from pulumi.runtime.proto import status_pb2

from sandbox.aws.provider import difference
from sandbox.aws.provider.backend import AwsBackend
from sandbox.aws.provider.codec import Secrets, decode, encode
from sandbox.aws.provider.values import (
    ChangeKind,
    CheckFailure,
    DiffResult,
    PartialCreate,
    Properties,
    ProviderError,
    has_unknown,
)

_Answer = TypeVar("_Answer")
_Handler = Callable[["Servicer", Any, Any], Awaitable[Any]]
# Calls that wait (an instance becoming ready) must not starve the others: the engine itself allows
# 4 x cores at a time.
_THREADS = 64


def _refusals_as_status(handler: _Handler) -> _Handler:
    """Turn a ProviderError into a gRPC status that carries its message and nothing else."""

    async def answer(self: Servicer, request: Any, context: Any) -> Any:
        try:
            return await handler(self, request, context)
        except ProviderError as error:
            # The engine treats UNAVAILABLE and UNIMPLEMENTED specially; UNKNOWN is a plain failure.
            await context.abort(grpc.StatusCode.UNKNOWN, str(error))

    return answer


class Servicer(proto.ResourceProviderServicer):  # type: ignore[misc]  # the stubs are untyped
    """Translates requests: values, secrets, unknowns, errors. Knows nothing of any cloud."""

    def __init__(self, backend: AwsBackend) -> None:
        self._backend = backend
        self._executor = ThreadPoolExecutor(_THREADS, thread_name_prefix=backend.name)

    async def _run(self, call: Callable[..., _Answer], *args: Any, **options: Any) -> _Answer:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, lambda: call(*args, **options))

    # --- the plugin -------------------------------------------------------------------------------

    async def Handshake(self, request: Any, context: Any) -> Any:
        return proto.ProviderHandshakeResponse(accept_secrets=True)

    async def Attach(self, request: Any, context: Any) -> Any:
        return Empty()

    async def GetPluginInfo(self, request: Any, context: Any) -> Any:
        return proto.PluginInfo(version=self._backend.version)

    async def Cancel(self, request: Any, context: Any) -> Any:
        self._backend.cancel()
        return Empty()

    # --- configuration ----------------------------------------------------------------------------

    @_refusals_as_status
    async def CheckConfig(self, request: Any, context: Any) -> Any:
        variables, secrets = decode(request.news)
        failures = await self._run(self._backend.check_config, _settings(variables))
        return _check_response(variables, secrets, failures)

    @_refusals_as_status
    async def DiffConfig(self, request: Any, context: Any) -> Any:
        old, _ = decode(request.old_inputs)
        new, _ = decode(request.news)
        changed, replaces = await self._run(self._backend.diff_config, _settings(old), _settings(new))
        changes = proto.DiffResponse.DIFF_SOME if changed else proto.DiffResponse.DIFF_NONE
        return proto.DiffResponse(changes=changes, replaces=replaces, diffs=replaces)

    @_refusals_as_status
    async def Configure(self, request: Any, context: Any) -> Any:
        variables, _ = decode(request.args)
        await self._run(self._backend.configure, _settings(variables))
        return proto.ConfigureResponse(acceptSecrets=True, supportsPreview=True)

    # --- resources --------------------------------------------------------------------------------

    @_refusals_as_status
    async def Check(self, request: Any, context: Any) -> Any:
        old, _ = decode(request.olds)
        new, secrets = decode(request.news)
        check, typ = self._backend.check, request.type
        inputs, failures = await self._run(check, request.urn, typ, old, new, request.randomSeed)
        return _check_response(inputs, secrets, failures)

    @_refusals_as_status
    async def Diff(self, request: Any, context: Any) -> Any:
        outputs, _ = decode(request.olds)
        old, _ = decode(request.old_inputs)
        new, _ = decode(request.news)
        result = await self._run(self._backend.diff, request.type, request.id, old, outputs, new)
        return _diff_response(result, list(request.ignoreChanges))

    @_refusals_as_status
    async def Create(self, request: Any, context: Any) -> Any:
        typ = request.type
        inputs, secrets = decode(request.properties)
        secrets = secrets.declared(self._backend.secret_outputs(typ))
        _require_known(inputs, request.preview)
        try:
            created = await self._run(self._backend.create, typ, inputs, preview=request.preview)
        except PartialCreate as partial:
            return await _abort_partial(context, partial, inputs, secrets)
        return proto.CreateResponse(
            id="" if request.preview else created.id,
            properties=encode(created.outputs, secrets, unknowns=request.preview),
        )

    @_refusals_as_status
    async def Read(self, request: Any, context: Any) -> Any:
        typ = request.type
        inputs, input_secrets = decode(request.inputs)
        outputs, output_secrets = decode(request.properties)
        secrets = (input_secrets | output_secrets).declared(self._backend.secret_outputs(typ))
        found = await self._run(self._backend.read, typ, request.id, inputs, outputs)
        if found is None:
            return proto.ReadResponse()
        return proto.ReadResponse(
            id=found.id,
            inputs=encode(found.inputs, secrets, unknowns=False),
            properties=encode(found.outputs, secrets, unknowns=False),
        )

    @_refusals_as_status
    async def Update(self, request: Any, context: Any) -> Any:
        typ = request.type
        outputs, _ = decode(request.olds)
        old, _ = decode(request.old_inputs)
        new, secrets = decode(request.news)
        secrets = secrets.declared(self._backend.secret_outputs(typ))
        _require_known(new, request.preview)
        options = {"preview": request.preview, "ignore_changes": list(request.ignoreChanges)}
        updated = await self._run(self._backend.update, typ, request.id, old, outputs, new, **options)
        return proto.UpdateResponse(properties=encode(updated, secrets, unknowns=request.preview))

    @_refusals_as_status
    async def Delete(self, request: Any, context: Any) -> Any:
        outputs, _ = decode(request.properties)
        inputs, _ = decode(request.old_inputs)
        await self._run(self._backend.delete, request.type, request.id, inputs, outputs)
        return Empty()

    @_refusals_as_status
    async def Invoke(self, request: Any, context: Any) -> Any:
        """Results carry no secret marks, like those of bridged providers: callers wrap them."""
        args, _ = decode(request.args)
        result = await self._run(self._backend.invoke, request.tok, args)
        # `return` is a keyword of Python, so it cannot be written as an argument.
        return proto.InvokeResponse(**{"return": encode(result, Secrets(), unknowns=False)})


def _settings(variables: Mapping[str, Any]) -> Properties:
    """Provider settings without what the engine adds for itself."""
    own = ("version", "pluginDownloadURL", "__internal", "__pulumi-go-provider-infer")
    return {key: value for key, value in variables.items() if key not in own}


def _check_response(inputs: Properties, secrets: Secrets, failures: list[CheckFailure]) -> Any:
    failed = [proto.CheckFailure(property=path, reason=reason) for path, reason in failures]
    return proto.CheckResponse(inputs=encode(inputs, secrets, unknowns=True), failures=failed)


def _require_known(inputs: Properties, preview: bool) -> None:
    unknown = sorted(name for name, value in inputs.items() if has_unknown(value))
    if unknown and not preview:
        raise ProviderError("", f"unknown value outside a preview: {', '.join(unknown)}")


def _diff_response(result: DiffResult, ignored: list[str]) -> Any:
    changes = {p: kind for p, kind in result.changes.items() if not difference.below(p, ignored)}
    detailed = {
        path: proto.PropertyDiff(kind=_kind(kind, difference.below(path, result.replaces)), inputDiff=True)
        for path, kind in changes.items()
    }
    replaces = sorted({difference.head(p) for p in changes if difference.below(p, result.replaces)})
    return proto.DiffResponse(
        changes=proto.DiffResponse.DIFF_SOME if changes else proto.DiffResponse.DIFF_NONE,
        diffs=sorted({difference.head(path) for path in changes}),
        replaces=replaces,
        deleteBeforeReplace=bool(replaces) and result.delete_before_replace,
        hasDetailedDiff=True,
        detailedDiff=detailed,
    )


def _kind(change: ChangeKind, replaces: bool) -> Any:
    name = f"{change.upper()}_REPLACE" if replaces else change.upper()
    return proto.PropertyDiff.Kind.Value(name)


async def _abort_partial(context: Any, partial: PartialCreate, inputs: Properties, secrets: Secrets) -> Any:
    """Tell the engine about an object that exists in spite of the error."""
    detail = proto.ErrorResourceInitFailed(
        id=partial.id,
        properties=encode(partial.outputs, secrets, unknowns=False),
        inputs=encode(inputs, secrets, unknowns=False),
        reasons=partial.reasons,
    )
    status = status_pb2.Status(code=grpc.StatusCode.UNKNOWN.value[0], message=str(partial))
    status.details.add().Pack(detail)
    context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
    await context.abort(grpc.StatusCode.UNKNOWN, str(partial))
