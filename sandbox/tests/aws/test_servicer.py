"""The servicer: values, secrets, unknowns and errors on their way between engine and backend."""

from __future__ import annotations

import asyncio
from typing import Any
from unittest.mock import Mock, create_autospec

import grpc
import pytest
from google.protobuf.json_format import MessageToDict
from google.protobuf.struct_pb2 import Struct
from pulumi.runtime import proto, rpc
from pulumi.runtime.proto import status_pb2

from sandbox.aws.provider.backend import AwsBackend
from sandbox.aws.provider.codec import Secrets, decode, encode
from sandbox.aws.provider.difference import below, differences, head, join
from sandbox.aws.provider.servicer import Servicer
from sandbox.aws.provider.values import (
    UNKNOWN,
    Created,
    DiffResult,
    PartialCreate,
    ProviderError,
    ReadResult,
    has_unknown,
)

SECRET = "hunter2-hunter2"
TYPE = "aws:x/y:Z"
URN = f"urn:pulumi:s::p::a:b:Component${TYPE}::name"


def secret(value: Any) -> dict[str, Any]:
    return {rpc._special_sig_key: rpc._special_secret_sig, "value": value}


def struct(**values: Any) -> Struct:
    message = Struct()
    message.update(values)
    return message


def plain(message: Any) -> dict[str, Any]:
    return dict(MessageToDict(message))


class Aborted(Exception):
    pass


class Context:
    """What grpc.aio hands to a handler, as far as the servicer uses it."""

    def __init__(self) -> None:
        self.metadata: Any = ()

    def set_trailing_metadata(self, metadata: Any) -> None:
        self.metadata = metadata

    async def abort(self, code: grpc.StatusCode, details: str) -> None:
        self.code, self.details = code, details
        raise Aborted(details)


def stub(**answers: Any) -> Mock:
    """A backend that records what it gets and answers with what the test gave it, or raises it."""
    backend = create_autospec(AwsBackend, instance=True, version="1.2.3")
    backend.secret_outputs.return_value = {"password"}
    for name, answer in answers.items():
        call = getattr(backend, name)
        call.side_effect = answer if isinstance(answer, Exception) else None
        call.return_value = answer
    return backend


def ask(backend: AwsBackend, method: str, request: Any, context: Context | None = None) -> Any:
    servicer = Servicer(backend)
    return asyncio.run(getattr(servicer, method)(request, context or Context()))


def refusal(backend: AwsBackend, method: str, request: Any) -> Context:
    context = Context()
    with pytest.raises(Aborted):
        ask(backend, method, request, context)
    return context


# --- values ---------------------------------------------------------------------------------------


def test_values_survive_the_way_there_and_back():
    given = {"n": 3, "f": 1.5, "b": True, "s": "x", "l": [1, {"a": "b"}], "m": {"k.e": "v"}, "none": None}
    values, secrets = decode(struct(**given))
    assert values == given
    assert [type(values[key]) for key in ("n", "f", "b")] == [int, float, bool]
    assert plain(encode(values, secrets, unknowns=False)) == {k: v for k, v in given.items() if v is not None}


def test_secrets_are_kept_by_place_and_by_text():
    values, secrets = decode(struct(a=secret({"b": SECRET}), c=["x", secret("short")], d="plain"))
    assert values == {"a": {"b": SECRET}, "c": ["x", "short"], "d": "plain"}
    out = {"a": {"b": "other"}, "c": ["x", "short"], "copy": {"of": SECRET}, "d": "short", "password": 1}
    assert plain(encode(out, secrets.declared({"password"}), unknowns=False)) == {
        "a": secret({"b": "other"}),
        "c": ["x", secret("short")],
        "copy": {"of": secret(SECRET)},
        "d": "short",  # too short to be taken for a copy
        "password": secret(1),
    }


def test_unknowns_are_a_sentinel_and_leave_only_in_a_preview():
    values, _ = decode(struct(a=rpc.UNKNOWN, b={"c": [rpc.UNKNOWN]}))
    assert values == {"a": UNKNOWN, "b": {"c": [UNKNOWN]}}
    assert has_unknown(values["b"])
    assert not has_unknown({"a": [1]})
    assert plain(encode(values, Secrets(), unknowns=True)) == {"a": rpc.UNKNOWN, "b": {"c": [rpc.UNKNOWN]}}
    with pytest.raises(ProviderError, match=r"b\.c\[0\]: unknown outside a preview"):
        encode({"b": {"c": [UNKNOWN]}}, Secrets(), unknowns=False)


def test_assets_are_refused():
    asset = {rpc._special_sig_key: rpc._special_asset_sig, "text": "x"}
    with pytest.raises(ProviderError, match="a: a StringAsset is not supported"):
        decode(struct(a=asset))


@pytest.mark.parametrize(
    ("old", "new", "changes"),
    [
        ({"a": 1}, {"a": 1.0}, {}),
        ({"a": 1}, {"a": True}, {"a": "update"}),
        ({"a": 1, "b": 2}, {"a": 1}, {"b": "delete"}),
        ({}, {"b": None}, {}),
        ({"t": {"a.b": "x"}}, {"t": {"a.b": "y", "c": "z"}}, {'t["a.b"]': "update", "t.c": "add"}),
        ({"l": [{"p": 1}, 2]}, {"l": [{"p": 2}]}, {"l[0].p": "update", "l[1]": "delete"}),
        ({"a": {"b": 1}}, {"a": "text"}, {"a": "update"}),
        ({"a": "x"}, {"a": UNKNOWN}, {"a": "update"}),
    ],
)
def test_differences(old: Any, new: Any, changes: dict[str, str]):
    assert differences(old, new) == changes


def test_paths():
    assert join("a", 'q"x') == 'a["q\\"x"]'
    assert (head("a[0].b"), head("a.b"), head("a")) == ("a", "a", "a")
    assert below("a.b", ["a"])
    assert not below("ab", ["a"])
    assert not below("a", ["a.b"])


# --- calls ----------------------------------------------------------------------------------------


def test_create_keeps_secrets_and_gives_the_backend_plain_values():
    backend = stub(create=Created("i-1", {"value": SECRET, "arn": "x", "password": "generated"}))
    request = proto.CreateRequest(urn=URN, type=TYPE, properties=struct(value=secret(SECRET)))
    answer = ask(backend, "Create", request)
    assert backend.create.call_args == ((TYPE, {"value": SECRET}), {"preview": False})
    assert answer.id == "i-1"
    assert plain(answer.properties) == {
        "value": secret(SECRET), "arn": "x", "password": secret("generated")
    }  # fmt: skip


def test_unknown_inputs_reach_a_preview_only():
    backend = stub(create=Created("ignored", {"a": UNKNOWN}))
    answer = ask(
        backend, "Create", proto.CreateRequest(urn=URN, properties=struct(a=rpc.UNKNOWN), preview=True)
    )
    assert (answer.id, plain(answer.properties)) == ("", {"a": rpc.UNKNOWN})
    context = refusal(backend, "Create", proto.CreateRequest(urn=URN, properties=struct(a=rpc.UNKNOWN)))
    assert context.details == "unknown value outside a preview: a"


def test_errors_carry_the_message_of_the_api_and_no_traceback():
    for method, request in (
        ("Create", proto.CreateRequest(urn=URN)),
        ("Update", proto.UpdateRequest(urn=URN)),
        ("Delete", proto.DeleteRequest(urn=URN)),
        ("Read", proto.ReadRequest(urn=URN)),
        ("Check", proto.CheckRequest(urn=URN)),
        ("Diff", proto.DiffRequest(urn=URN)),
        ("Invoke", proto.InvokeRequest(tok="a")),
        ("Configure", proto.ConfigureRequest()),
    ):
        backend = stub(**{method.lower(): ProviderError("InvalidParameterValue", "Value (x) is invalid")})
        context = refusal(backend, method, request)
        assert context.details == "InvalidParameterValue: Value (x) is invalid"
        assert context.code is grpc.StatusCode.UNKNOWN


def test_a_half_made_object_is_told_to_the_engine():
    half = PartialCreate("i-9", {"value": SECRET}, ["the wait timed out"])
    request = proto.CreateRequest(urn=URN, properties=struct(value=secret(SECRET)))
    context = refusal(stub(create=half), "Create", request)
    ((key, payload),) = context.metadata
    status = status_pb2.Status.FromString(payload)
    detail = proto.ErrorResourceInitFailed()
    assert key == "grpc-status-details-bin"
    assert status.details[0].Unpack(detail)
    assert (detail.id, list(detail.reasons)) == ("i-9", ["the wait timed out"])
    assert plain(detail.properties) == plain(detail.inputs) == {"value": secret(SECRET)}


def test_diff_compares_old_inputs_and_marks_replacements():
    result = DiffResult(
        {"tags.a": "delete", "disk.size": "update", "disk.kind": "update"}, ["disk.kind"], True
    )
    backend = stub(diff=result)
    request = proto.DiffRequest(
        type=TYPE,
        id="i",
        olds=struct(out=1),
        old_inputs=struct(a=1),
        news=struct(a=2),
        ignoreChanges=["tags"],
    )
    answer = ask(backend, "Diff", request)
    assert backend.diff.call_args.args == (TYPE, "i", {"a": 1}, {"out": 1}, {"a": 2})
    kinds = {path: diff.kind for path, diff in answer.detailedDiff.items()}
    assert kinds == {"disk.size": proto.PropertyDiff.UPDATE, "disk.kind": proto.PropertyDiff.UPDATE_REPLACE}
    assert (list(answer.diffs), list(answer.replaces)) == (["disk"], ["disk"])
    assert answer.deleteBeforeReplace
    assert answer.changes == proto.DiffResponse.DIFF_SOME


def test_no_difference_is_said():
    answer = ask(stub(diff=DiffResult()), "Diff", proto.DiffRequest(urn=URN))
    assert answer.changes == proto.DiffResponse.DIFF_NONE
    assert answer.hasDetailedDiff


def test_read_says_gone_and_keeps_secrets_of_inputs_and_state():
    assert ask(stub(read=None), "Read", proto.ReadRequest(urn=URN, id="i")).id == ""
    backend = stub(read=ReadResult("i", {"a": "now"}, {"a": "now", "b": "now", "c": 1}))
    request = proto.ReadRequest(
        urn=URN, id="i", inputs=struct(a=secret("was-secret")), properties=struct(b=secret("was-secret"))
    )
    answer = ask(backend, "Read", request)
    assert plain(answer.inputs) == {"a": secret("now")}
    assert plain(answer.properties) == {"a": secret("now"), "b": secret("now"), "c": 1}


def test_update_passes_old_new_and_what_is_ignored():
    backend = stub(update={"a": 2})
    request = proto.UpdateRequest(
        type=TYPE, id="i", olds=struct(o=1), old_inputs=struct(a=1), news=struct(a=2), ignoreChanges=["x"]
    )
    assert plain(ask(backend, "Update", request).properties) == {"a": 2}
    args, options = backend.update.call_args
    assert args == (TYPE, "i", {"a": 1}, {"o": 1}, {"a": 2})
    assert options == {"preview": False, "ignore_changes": ["x"]}


def test_check_returns_completed_inputs_and_failures():
    backend = stub(check=({"name": "auto", "v": UNKNOWN}, [("cidr", "bad")]))
    answer = ask(backend, "Check", proto.CheckRequest(urn=URN, news=struct(v=rpc.UNKNOWN), randomSeed=b"s"))
    assert plain(answer.inputs) == {"name": "auto", "v": rpc.UNKNOWN}
    assert [(failure.property, failure.reason) for failure in answer.failures] == [("cidr", "bad")]
    assert backend.check.call_args.args[4] == b"s"


def test_settings_come_without_the_engines_own():
    backend = stub(configure=None)
    answer = ask(backend, "Configure", proto.ConfigureRequest(args=struct(region="r", version="7")))
    assert backend.configure.call_args.args == ({"region": "r"},)
    assert answer.acceptSecrets
    assert answer.supportsPreview


def test_config_check_and_diff():
    backend = stub(check_config=[("x", "unknown")], diff_config=(True, ["region"]))
    checked = ask(backend, "CheckConfig", proto.CheckRequest(news=struct(key=secret(SECRET))))
    assert plain(checked.inputs) == {"key": secret(SECRET)}
    assert checked.failures[0].property == "x"
    answer = ask(backend, "DiffConfig", proto.DiffRequest(old_inputs=struct(a=1), news=struct(a=2)))
    assert backend.diff_config.call_args.args == ({"a": 1}, {"a": 2})
    assert (answer.changes, list(answer.replaces)) == (proto.DiffResponse.DIFF_SOME, ["region"])


def test_invoke_and_the_small_calls():
    backend = stub(invoke={"names": ["a"]})
    answer = ask(backend, "Invoke", proto.InvokeRequest(tok="t", args=struct(path="/c"), preview=True))
    assert plain(getattr(answer, "return")) == {"names": ["a"]}
    assert backend.invoke.call_args == (("t", {"path": "/c"}), {})
    assert ask(backend, "GetPluginInfo", None).version == "1.2.3"
    assert ask(backend, "Handshake", None).accept_secrets
    ask(backend, "Attach", None)
    ask(backend, "Cancel", None)
    backend.cancel.assert_called_once_with()
