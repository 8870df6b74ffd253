"""Functions (data sources)."""

from __future__ import annotations

from collections.abc import Callable

from sandbox.aws.provider.api import Api
from sandbox.aws.provider.values import Properties, ProviderError


def call(api: Api, token: str, args: Properties) -> Properties:
    """Answer a function whose arguments have been checked against the schema."""
    function = _FUNCTIONS.get(token)
    if function is None:
        raise ProviderError("", f"function {token} is not implemented by the stand-in provider")
    if args.get("region") not in (None, api.region):
        raise ProviderError("", f"{token}: the stand-in provider serves {api.region} only")
    return function(api, {name: value for name, value in args.items() if value is not None})


def _parameter(api: Api, args: Properties) -> Properties:
    name = _needed(args, "name")
    decrypt = args.get("withDecryption", True)
    found = api.ssm.get_parameter(Name=name, WithDecryption=decrypt)["Parameter"]
    plain = {} if found["Type"] == "SecureString" else {"insecureValue": found["Value"]}
    return {
        "id": found["Name"],
        "name": name,
        "arn": found["ARN"],
        "type": found["Type"],
        "value": found["Value"],
        **plain,
        "version": found["Version"],
        "withDecryption": decrypt,
        "region": api.region,
    }


def _parameters_by_path(api: Api, args: Properties) -> Properties:
    path = _needed(args, "path")
    decrypt, recursive = args.get("withDecryption", True), args.get("recursive", False)
    pages = api.ssm.get_paginator("get_parameters_by_path").paginate(
        Path=path, Recursive=recursive, WithDecryption=decrypt
    )
    found = [parameter for page in pages for parameter in page["Parameters"]]
    lists = {"arns": "ARN", "names": "Name", "types": "Type", "values": "Value"}
    return {
        "id": path,
        "path": path,
        "recursive": recursive,
        "withDecryption": decrypt,
        "region": api.region,
        **{name: [parameter[field] for parameter in found] for name, field in lists.items()},
    }


def _needed(args: Properties, name: str) -> str:
    # The SDK declares these optional for the sake of its output form; the function does not.
    if not args.get(name):
        raise ProviderError("", f"missing required argument {name}")
    return str(args[name])


_FUNCTIONS: dict[str, Callable[[Api, Properties], Properties]] = {
    "aws:ssm/getParameter:getParameter": _parameter,
    "aws:ssm/getParametersByPath:getParametersByPath": _parameters_by_path,
}
