"""Property names, types and required ones, as the installed SDK declares them.

Nothing is listed by hand: input classes (`VpcArgs`), resource classes and invoke functions of
`pulumi_aws` carry it all in their annotations. Reading them loads the whole SDK, so what was read
is cached (see `cache`).
"""

from __future__ import annotations

import functools
import importlib
import inspect
import re
import threading
import typing
from collections.abc import Awaitable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import Enum
from typing import Any

import pulumi
from pulumi import _types
from pulumi.provider.experimental.util import camel_case

from sandbox.aws.provider.cache import cached
from sandbox.aws.provider.difference import join
from sandbox.aws.provider.values import UNKNOWN, CheckFailure, ProviderError

# The SDK imports its modules on first use, and a second thread would find them half done.
_ONE_AT_A_TIME = threading.Lock()
_SCALARS: dict[type, str] = {str: "string", bool: "boolean", int: "integer", float: "number"}
_VALUES: dict[str, Any] = {"string": str, "boolean": bool, "integer": int, "number": int | float}


@dataclass(frozen=True, eq=False)  # compared by identity: `_shape` makes one per annotation
class Shape:
    """What a value must be: a scalar by name, a `list` or `map` of `item`, or an `object`."""

    kind: str
    item: Shape | None = None
    fields: Mapping[str, Shape] = field(default_factory=dict)
    required: tuple[str, ...] = ()

    def member(self, name: str) -> Shape:
        """The shape of a property; of one that is not known, any."""
        return self.fields.get(name, ANY)

    def failures(self, value: Any, path: str = "") -> Iterator[CheckFailure]:
        """Every place where a value is not of this shape. An unknown value may be anything."""
        if value is UNKNOWN or value is None:
            return
        if self.kind == "object":
            yield from self._object_failures(value, path)
        elif self.kind == "map":
            yield from self._members(value, dict, path)
        elif self.kind == "list":
            yield from self._members(value, list, path)
        elif not isinstance(value, _VALUES.get(self.kind, object)) or (
            isinstance(value, bool) and self.kind in ("integer", "number")  # to Python True is an int
        ):
            yield (path, f"expected {_article(self.kind)}, got {_name(value)}")

    def _members(self, value: Any, kind: type[Any], path: str) -> Iterator[CheckFailure]:
        assert self.item is not None
        if not isinstance(value, kind):
            yield (path, f"expected {_article(self.kind)}, got {_name(value)}")
            return
        members = value if isinstance(value, dict) else dict(enumerate(value))
        for key, member in members.items():
            yield from self.item.failures(member, join(path, key))

    def _object_failures(self, value: Any, path: str) -> Iterator[CheckFailure]:
        if not isinstance(value, dict):
            yield (path, f"expected an object, got {_name(value)}")
            return
        for name in sorted(set(self.required) - {key for key, item in value.items() if item is not None}):
            yield (join(path, name), "missing required property")
        for name, item in value.items():
            if name not in self.fields:
                yield (join(path, name), f"unknown property; known: {', '.join(sorted(self.fields))}")
            else:
                yield from self.fields[name].failures(item, join(path, name))


ANY = Shape("any")


def shape_of(plain: Mapping[str, Any]) -> Shape:
    """The shape of which `asdict` made JSON values."""
    item = None if plain["item"] is None else shape_of(plain["item"])
    fields = {name: shape_of(value) for name, value in plain["fields"].items()}
    return Shape(plain["kind"], item, fields, tuple(plain["required"]))


@dataclass(frozen=True)
class ResourceSchema:
    """A resource type: its inputs, and everything that its state may hold."""

    inputs: Shape
    outputs: Shape


def resource(token: str) -> ResourceSchema:
    """The schema of `aws:ec2/vpc:Vpc`. Raises ProviderError if the SDK has no such type."""
    with _ONE_AT_A_TIME:
        return _resource(token)


def function(token: str) -> Shape:
    """The arguments of an invoke. Raises ProviderError if the SDK has no such function."""
    with _ONE_AT_A_TIME:
        return _function(token)


def provider() -> Shape:
    """The provider's own settings."""
    with _ONE_AT_A_TIME:
        return _provider()


@functools.cache
def _resource(token: str) -> ResourceSchema:
    shapes = cached(f"resource-{token}", lambda: _read_resource(token))
    return ResourceSchema(shape_of(shapes["inputs"]), shape_of(shapes["outputs"]))


@functools.cache
def _function(token: str) -> Shape:
    return shape_of(cached(f"function-{token}", lambda: _read_function(token)))


@functools.cache
def _provider() -> Shape:
    return shape_of(cached("provider", lambda: asdict(_object(_sdk().ProviderArgs))))


def _sdk() -> Any:
    return importlib.import_module("pulumi_aws")


def _read_resource(token: str) -> dict[str, Any]:
    cls = _find(token)
    if not inspect.isclass(cls) or not issubclass(cls, pulumi.CustomResource):
        raise ProviderError("", f"unknown resource type {token}")
    module = importlib.import_module(cls.__module__)
    # `InitArgs` where the name is a nested type's already: BucketVersioningArgs is a part of Bucket.
    args = getattr(module, f"{cls.__name__}InitArgs", None) or getattr(module, f"{cls.__name__}Args")
    outputs = {name: _shape(typ) for name, typ in _types.resource_types(cls).items()}
    return {"inputs": asdict(_object(args)), "outputs": asdict(Shape("object", fields=outputs))}


def _read_function(token: str) -> dict[str, Any]:
    target = _find(token)
    if not inspect.isfunction(target):
        raise ProviderError("", f"unknown function {token}")
    module = importlib.import_module(target.__module__)
    hints = typing.get_type_hints(target, vars(module))
    fields = {camel_case(name): _shape(hints[name]) for name in hints if name not in ("opts", "return")}
    required = tuple(camel_case(name) for name in _without_default(target))
    return asdict(Shape("object", fields=fields, required=required))


def _find(token: str) -> Any:
    """The SDK object of a token: `aws:ssm/getParameter:getParameter` is `pulumi_aws.ssm.get_parameter`."""
    package, _, rest = token.partition(":")
    module, _, name = rest.rpartition(":")
    folder = module.partition("/")[0] if "/" in module else ""
    if package != "aws" or not name.isidentifier() or (folder and not folder.isidentifier()):
        return None
    if folder in ("", "index"):
        holder = _sdk()
    else:
        try:
            holder = importlib.import_module(f"pulumi_aws.{folder}")
        except ModuleNotFoundError:
            return None
    found = getattr(holder, name if name[0].isupper() else _snake(name), None)
    return None if inspect.ismodule(found) else found


def _object(args: Any) -> Shape:
    fields = {name: _shape(typ) for name, typ in _types.input_type_types(args).items()}
    names = _types.input_type_py_to_pulumi_names(args)
    required = (names.get(name, name) for name in _without_default(args.__init__) if name != "__self__")
    return Shape("object", fields=fields, required=tuple(required))


def _without_default(function: Any) -> list[str]:
    parameters = inspect.signature(function).parameters.values()
    return [each.name for each in parameters if each.default is inspect.Parameter.empty]


@functools.cache
def _shape(typ: Any) -> Shape:
    """The shape of an annotation, with the wrappings of inputs and outputs taken off."""
    if typ in _SCALARS:
        return Shape(_SCALARS[typ])
    origin = typing.get_origin(typ)
    if origin is Sequence or origin is list:
        return Shape("list", item=_shape(typing.get_args(typ)[0]))
    if origin is Mapping or origin is dict:
        return Shape("map", item=_shape(typing.get_args(typ)[1]))
    if origin is not None:  # a Union of the same thing in several guises
        return _of_union(typing.get_args(typ))
    if inspect.isclass(typ) and issubclass(typ, Enum):
        return Shape("string")
    if inspect.isclass(typ) and _types.is_input_type(typ):
        return _object(typ)
    if inspect.isclass(typ) and _types.is_output_type(typ):
        fields = {name: _shape(item) for name, item in _types.output_type_types(typ).items()}
        return Shape("object", fields=fields)
    return ANY


def _of_union(members: tuple[Any, ...]) -> Shape:
    shapes = [_shape(member) for member in members if not _is_wrapping(member)]
    # `Union[str, PolicyDocument]`: the string is what goes over the wire; the SDK turns the other into it.
    scalars = [shape for shape in shapes if shape.kind in _SCALARS.values()]
    return (scalars + shapes)[0]


def _is_wrapping(member: Any) -> bool:
    return (
        member is type(None)
        or typing.get_origin(member) in (Awaitable, pulumi.Output)
        or typing.is_typeddict(member)
    )


def _name(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a string", bool: "a boolean"}
    return names.get(type(value), f"the number {value}")


def _article(kind: str) -> str:
    return f"an {kind}" if kind[0] in "aio" else f"a {kind}"


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
