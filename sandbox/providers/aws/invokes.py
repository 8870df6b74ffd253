"""Functions (data sources)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sandbox.providers.aws.api import Api
from sandbox.providers.backend import Properties, ProviderError


def call(api: Api, token: str, args: Properties) -> Properties:
    """Answer a function whose arguments have been checked against the schema."""
    function = _FUNCTIONS.get(token)
    if function is None:
        raise ProviderError("", f"function {token} is not implemented by the stand-in provider")
    if args.get("region") not in (None, api.region):
        raise ProviderError("", f"{token}: the stand-in provider serves {api.region} only")
    return function(api, {name: value for name, value in args.items() if value is not None})


def _caller_identity(api: Api, args: Properties) -> Properties:
    who = api.sts.get_caller_identity()
    return {"id": who["Account"], "accountId": who["Account"], "arn": who["Arn"], "userId": who["UserId"]}


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
    return {
        "id": path,
        "path": path,
        "recursive": recursive,
        "withDecryption": decrypt,
        "region": api.region,
        "arns": [parameter["ARN"] for parameter in found],
        "names": [parameter["Name"] for parameter in found],
        "types": [parameter["Type"] for parameter in found],
        "values": [parameter["Value"] for parameter in found],
    }


def _offerings(api: Api, args: Properties) -> list[Any]:
    wanted = [{"Name": item["name"], "Values": item["values"]} for item in args.get("filters", [])]
    pages = api.ec2.get_paginator("describe_instance_type_offerings").paginate(
        LocationType=args.get("locationType", "region"), Filters=wanted
    )
    found = [item for page in pages for item in page["InstanceTypeOfferings"]]
    return sorted(found, key=lambda item: (item["InstanceType"], item["Location"]))


def _instance_type_offerings(api: Api, args: Properties) -> Properties:
    found = _offerings(api, args)
    return {
        "id": api.region,
        **args,
        "region": api.region,
        "instanceTypes": [item["InstanceType"] for item in found],
        "locations": [item["Location"] for item in found],
        "locationTypes": [item["LocationType"] for item in found],
    }


def _instance_type_offering(api: Api, args: Properties) -> Properties:
    found = _offerings(api, args)
    names = {item["InstanceType"]: item for item in found}
    preferred = [name for name in args.get("preferredInstanceTypes", []) if name in names]
    if not found:
        raise ProviderError(
            "", "no EC2 Instance Type Offerings found matching criteria; try different search"
        )
    if not preferred and len(found) > 1:
        raise ProviderError("", "multiple EC2 Instance Offerings found; use additional constraints")
    chosen = names[preferred[0]] if preferred else found[0]
    return {
        "id": chosen["InstanceType"],
        **args,
        "region": api.region,
        "instanceType": chosen["InstanceType"],
        "location": chosen["Location"],
        "locationType": chosen["LocationType"],
    }


def _needed(args: Properties, name: str) -> str:
    # The SDK declares these optional for the sake of its output form; the function does not.
    if not args.get(name):
        raise ProviderError("", f"missing required argument {name}")
    return str(args[name])


_FUNCTIONS: dict[str, Callable[[Api, Properties], Properties]] = {
    "aws:index/getCallerIdentity:getCallerIdentity": _caller_identity,
    "aws:ssm/getParameter:getParameter": _parameter,
    "aws:ssm/getParametersByPath:getParametersByPath": _parameters_by_path,
    "aws:ec2/getInstanceTypeOffering:getInstanceTypeOffering": _instance_type_offering,
    "aws:ec2/getInstanceTypeOfferings:getInstanceTypeOfferings": _instance_type_offerings,
}
