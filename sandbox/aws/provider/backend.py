"""The AWS stand-in: what all resource types have in common."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sandbox.aws.provider import compare, config, invokes, schema
from sandbox.aws.provider.api import Api, AwsError, aws_errors
from sandbox.aws.provider.difference import below, differences, head, join
from sandbox.aws.provider.resource_type import Change, ResourceType
from sandbox.aws.provider.resource_types import RESOURCE_TYPES
from sandbox.aws.provider.values import (
    UNKNOWN,
    CheckFailure,
    Created,
    DiffResult,
    PartialCreate,
    Properties,
    ProviderError,
    ReadResult,
    has_unknown,
)

# Bookkeeping key of bridged providers: which inputs were filled in by the provider.
_DEFAULTED = "__defaults"
_NAME_DIGITS = 7
_IN_USE = ("DependencyViolation", "DeleteConflict")
# Seconds. The real provider waits up to twenty minutes; what is being deleted here goes at once.
_DELETE_TIMEOUT = 30.0
_PAUSE = 0.5


class AwsBackend:
    """What the servicer calls, over `RESOURCE_TYPES`. All state is in AWS and in the engine.

    The engine calls `check_config`, `diff_config`, `configure`, then the rest at will, several at a time in
    threads. Each method raises `ProviderError` for what AWS or the provider's schema refuses.
    """

    name = "aws"
    version = "7.51.1"

    def __init__(self, delete_timeout: float = _DELETE_TIMEOUT) -> None:
        """`delete_timeout`: seconds that a delete waits for others to let go of the object."""
        self._connected: Api | None = None
        self._delete_timeout = delete_timeout
        self._cancelled = threading.Event()

    @property
    def _api(self) -> Api:
        if self._connected is None:
            raise ProviderError("", "the provider has not been configured")
        return self._connected

    # --- configuration ----------------------------------------------------------------------------

    def check_config(self, variables: Mapping[str, Any]) -> list[CheckFailure]:
        """Settings are as the SDKs send them: nested ones as JSON text; UNKNOWN at preview."""
        return config.failures(config.parse(variables))

    def diff_config(self, old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[bool, list[str]]:
        """(anything changed, settings whose change replaces the provider and all its resources)."""
        changed = {head(path) for path in differences(dict(old), dict(new))}
        return bool(changed), sorted(changed & {"region"})

    def configure(self, variables: Mapping[str, Any]) -> None:
        self._connected = config.connect(config.parse(variables))

    def cancel(self) -> None:
        """Calls that wait end soon with an error."""
        self._cancelled.set()

    # --- resources --------------------------------------------------------------------------------

    def secret_outputs(self, typ: str) -> Collection[str]:
        return _resource_type(typ).secrets

    def check(
        self, urn: str, typ: str, old_inputs: Properties, inputs: Properties, seed: bytes
    ) -> tuple[Properties, list[CheckFailure]]:
        type_, known = _resource_type(typ), schema.resource(typ)
        declared = {name: value for name, value in inputs.items() if value is not None}
        failures = list(known.inputs.failures(declared))
        unhandled = _unhandled(type_, known.inputs, declared)
        failures += [(path, "not implemented by the stand-in provider") for path in unhandled]
        region = declared.get("region")
        if region not in (None, UNKNOWN, self._api.region):
            failures.append(("region", f"the stand-in provider serves {self._api.region} only, not {region}"))
        if failures:
            return declared, failures
        checked = _named(type_, urn, old_inputs, declared, seed)
        if "tagsAll" in known.outputs.fields:
            checked |= self._tags_all(checked.get("tags"))
        return checked, type_.check(checked)

    def _tags_all(self, tags: Any) -> Properties:
        if tags is UNKNOWN:
            return {"tagsAll": UNKNOWN}
        merged = {**self._api.default_tags, **(tags or {})}
        return {"tagsAll": merged} if merged else {}

    def diff(
        self, typ: str, id: str, old_inputs: Properties, old_outputs: Properties, inputs: Properties
    ) -> DiffResult:
        type_ = _resource_type(typ)
        old, new = _plain(old_inputs), _plain(inputs)
        changes = compare.changes(type_, schema.resource(typ).inputs, old, new, old_outputs)
        # Two objects cannot have one name: where the program chose it, the old one goes first.
        chosen = type_.name_prefix is not None and "name" not in inputs.get(_DEFAULTED, [])
        return DiffResult(changes, type_.force_new, chosen and "name" not in changes)

    def create(self, typ: str, inputs: Properties, *, preview: bool) -> Created:
        type_, declared = _resource_type(typ), _plain(inputs)
        if preview:
            return Created("", _predicted(type_, declared))
        full = type_.with_defaults(declared)
        with aws_errors():
            id = type_.create(self._api, full)
        try:
            with aws_errors():
                type_.finish(self._api, id, full)
        except ProviderError as error:
            outputs = self._outputs(type_, id, full) or {"id": id, **full}
            raise PartialCreate(id, outputs, [str(error)]) from None
        return Created(id, self._read_back(type_, id, full))

    def read(self, typ: str, id: str, inputs: Properties, outputs: Properties) -> ReadResult | None:
        type_, known = _resource_type(typ), schema.resource(typ)
        declared = _plain(inputs)
        live = self._outputs(type_, id, {**outputs, **declared})
        if live is None:
            return None
        if not inputs and not outputs:
            return ReadResult(live["id"], compare.imported(type_, known.inputs, live) | _kept(live), live)
        rebuilt = compare.rebuilt(type_, known.inputs, declared, live)
        marks = {_DEFAULTED: inputs[_DEFAULTED]} if _DEFAULTED in inputs else {}
        return ReadResult(live["id"], rebuilt | (_kept(live) if "tagsAll" in declared else {}) | marks, live)

    def update(
        self,
        typ: str,
        id: str,
        old_inputs: Properties,
        old_outputs: Properties,
        inputs: Properties,
        *,
        preview: bool,
        ignore_changes: Sequence[str],
    ) -> Properties:
        type_ = _resource_type(typ)
        old, new = _plain(old_inputs), _plain(inputs)
        changes = compare.changes(type_, schema.resource(typ).inputs, old, new, old_outputs)
        names = {head(path) for path in changes if not below(path, ignore_changes)}
        if preview:
            moving = dict.fromkeys(type_.volatile, UNKNOWN) if names - {"tags", "tagsAll"} else {}
            kept = {name: value for name, value in new.items() if name not in type_.write_only}
            return {**old_outputs, **kept, **moving}
        with aws_errors():
            if "tagsAll" in names:
                before, after = old_outputs.get("tagsAll") or {}, new.get("tagsAll") or {}
                changed = {key: value for key, value in after.items() if before.get(key) != value}
                type_.retag(self._api, id, sorted(before.keys() - after.keys()), changed)
            change = Change(
                type_.with_defaults({**old_outputs, **old}), type_.with_defaults(new), frozenset(names)
            )
            if names - {"tags", "tagsAll"}:
                type_.update(self._api, id, change)
        return self._read_back(type_, id, {**_keep_local(type_, old_outputs), **type_.with_defaults(new)})

    def delete(self, typ: str, id: str, inputs: Properties, outputs: Properties) -> None:
        type_, state = _resource_type(typ), {**outputs, **_plain(inputs)}
        deadline = time.monotonic() + self._delete_timeout
        while True:
            try:
                with aws_errors():
                    if type_.read(self._api, id, state) is not None:
                        type_.delete(self._api, id, state)
                return
            except AwsError as error:
                # Others may be about to go in the same run; the real provider waits for them too.
                late = time.monotonic() > deadline or self._cancelled.is_set()
                if error.code not in _IN_USE or late:
                    raise
            self._cancelled.wait(_PAUSE)

    def invoke(self, token: str, args: Properties) -> Properties:
        failures = list(schema.function(token).failures(args))
        if failures:
            raise ProviderError("", f"{token}: " + "; ".join(f"{path}: {why}" for path, why in failures))
        if has_unknown(args):
            raise ProviderError("", f"{token}: unknown argument")
        with aws_errors():
            return invokes.call(self._api, token, args)

    # --- state ------------------------------------------------------------------------------------

    def _outputs(self, type_: ResourceType, id: str, known: Properties) -> Properties | None:
        """The whole state of an object, as AWS has it."""
        with aws_errors():
            live = type_.read(self._api, id, known)
        if live is None:
            return None
        state = {"id": type_.canonical_id(id), **_keep_local(type_, known), **live}
        if "region" in schema.resource(type_.token).outputs.fields:
            state["region"] = self._api.region
        if "tagsAll" in state:
            state["tags"] = self._api.own_tags(state["tagsAll"], known.get("tags"))
        return {name: value for name, value in state.items() if value is not None}

    def _read_back(self, type_: ResourceType, id: str, known: Properties) -> Properties:
        state = self._outputs(type_, id, known)
        if state is None:
            raise ProviderError("", f"{type_.token} {id} vanished while it was being changed")
        return state


def _resource_type(typ: str) -> ResourceType:
    type_ = RESOURCE_TYPES.get(typ)
    if type_ is None:
        schema.resource(typ)  # a type that the SDK does not know is another error
        raise ProviderError("", f"resource type {typ} is not implemented by the stand-in provider")
    return type_


def _plain(inputs: Properties) -> Properties:
    return {name: value for name, value in inputs.items() if name != _DEFAULTED and value is not None}


def _unhandled(type_: ResourceType, shape: schema.Shape, declared: Properties, path: str = "") -> list[str]:
    """Declared properties that the schema knows and the type does not act on."""
    names: list[str] = []
    for name, value in declared.items():
        where, field = join(path, name), shape.fields.get(name)
        if field is None or where in ("tags", "region") or where in type_.handles:
            continue
        if any(handled.startswith(f"{where}.") for handled in type_.handles) and isinstance(value, dict):
            names += _unhandled(type_, field, value, where)
        elif value is not UNKNOWN:
            names.append(where)
    return names


def _named(type_: ResourceType, urn: str, old: Properties, declared: Properties, seed: bytes) -> Properties:
    """With an automatic name where the type has one and the program gave none."""
    if (
        type_.name_prefix is None
        or declared.get("name") is not None
        or declared.get("namePrefix") is not None
    ):
        return dict(declared)
    if "name" in old.get(_DEFAULTED, []):
        name = old["name"]
    else:
        digits = hashlib.sha256(seed + urn.encode()).hexdigest()[:_NAME_DIGITS]
        name = f"{type_.name_prefix}{urn.rpartition('::')[2]}-{digits}"
    return {**declared, "name": name, _DEFAULTED: ["name"]}


def _keep_local(type_: ResourceType, known: Properties) -> Properties:
    return {name: known.get(name, type_.defaults.get(name)) for name in type_.local}


def _kept(live: Properties) -> Properties:
    return {"tagsAll": live["tagsAll"]} if live.get("tagsAll") else {}


def _predicted(type_: ResourceType, declared: Properties) -> Properties:
    """Outputs at preview: what is declared, and everything else yet to be known."""
    names = schema.resource(type_.token).outputs.fields
    unsettled = {name: UNKNOWN for name in names if name not in declared and name not in type_.defaults}
    full = type_.with_defaults(declared)
    settled = {name: value for name, value in full.items() if name in names.keys() - type_.write_only}
    return {**unsettled, **settled}
