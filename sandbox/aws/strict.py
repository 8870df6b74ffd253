"""What AWS refuses and moto accepts, and what AWS cleans up and moto does not.

Only rules that a caller of this project can meet. Each names AWS's own error code, so that a
program sees here what it would see there. (moto validates AMI ids itself when asked to: see
`emulator.MOTO_SETTINGS`.) The caller holds the emulator's lock.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from contextlib import suppress
from urllib.parse import urlencode

from moto.core.exceptions import ServiceException
from moto.core.parse import PROTOCOL_PARSERS
from moto.core.utils import get_service_model

from sandbox.aws import answers, policy_documents, strict_ec2, strict_scheduler
from sandbox.aws.awswire import S3_CONTROL, AwsRequest, Refusal
from sandbox.aws.stores import Stores
from sandbox.aws.strict_ec2 import Arguments, Check

# https://docs.aws.amazon.com/general/latest/gr/ssm.html (service quotas, characters)
PARAMETER_LIMITS = {"Standard": 4096, "Advanced": 8192, "Intelligent-Tiering": 8192}
# https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_PutParameter.html
_PARAMETER_NAME = re.compile(r"/?[\w.-]+(/[\w.-]+)*", re.ASCII)
_PARAMETER_LEVELS = 15

# Two APIs have the name elasticloadbalancing, and botocore names of its own for them.
_MODELS: Mapping[tuple[str, str], str] = {
    ("elasticloadbalancing", "2012-06-01"): "elb",
    ("elasticloadbalancing", "2015-12-01"): "elbv2",
}


def arguments_of(request: AwsRequest) -> Arguments:
    """The arguments of a call, named and nested as in the API's reference."""
    if request.is_json or request.service in ("s3", "scheduler"):
        return dict(request.params)
    model = get_service_model(_MODELS.get((request.service, request.params["Version"]), request.service))
    parser = PROTOCOL_PARSERS[model.metadata["protocol"]](model.operation_model(request.action))
    return dict(parser.parse({"values": request.params}))


def refuse(request: AwsRequest) -> None:
    """Raises: Refusal with the error that AWS would give."""
    if request.service == "s3" and S3_CONTROL in request.action:
        # In a region without it, which the provider takes as a reason to ask for a bucket's tags by name.
        raise Refusal("MethodNotAllowed", f"not emulated: {request.action}", 405)
    unknown = request.service == "scheduler" and " " in request.action
    if unknown or (request.service == "s3" and "Bucket" not in request.params):
        raise Refusal("NotImplemented", f"not emulated: {request.action}", 501)
    check = _CHECKS.get(request.operation)
    if check is not None and isinstance(request.params, dict):
        with suppress(ServiceException):  # of something that does not exist: moto says so itself
            check(Stores(request.region), arguments_of(request))


def for_moto(request: AwsRequest, body: bytes) -> bytes:
    """The body as moto wants it. It decodes the user data of ModifyInstanceAttribute twice, and wants ports
    of a rule for all protocols, which has none."""
    if not isinstance(request.params, dict):
        return body
    changes = {}
    if request.operation == "ec2:ModifyInstanceAttribute" and (data := request.params.get("UserData.Value")):
        changes["UserData.Value"] = base64.b64encode(data.encode()).decode()
    if request.operation == "ec2:ModifySecurityGroupRules":
        for name in [name for name, value in request.params.items() if name.endswith(".IpProtocol")]:
            if request.params[name] == "-1":
                changes |= dict.fromkeys(
                    (name.replace("IpProtocol", f"{end}Port") for end in ("From", "To")), "-1"
                )
    return urlencode({**request.params, **changes}).encode() if changes else body


def after(request: AwsRequest, answer: bytes) -> None:
    """Bring moto's state to where AWS's would be after a call that succeeded with `answer`."""
    if request.operation == "s3:CreateBucket":
        _tag_bucket(Stores(request.region), request.params)
    if effect := strict_ec2.EFFECTS.get(request.operation):
        effect(Stores(request.region), arguments_of(request), answers.parsed(request, answer))


def _tag_bucket(aws: Stores, call: Arguments) -> None:
    """Tags can be given at creation since August 2025, which moto does not read."""
    if tags := call.get("CreateBucketConfiguration", {}).get("Tags"):
        aws.s3.put_bucket_tagging(call["Bucket"], {each["Key"]: each["Value"] for each in tags})


def _put_parameter(aws: Stores, call: Arguments) -> None:
    # The messages never show the value: it may be a secret.
    name, value, tier = call["Name"], call.get("Value", ""), call.get("Tier") or "Standard"
    limit = PARAMETER_LIMITS.get(tier, PARAMETER_LIMITS["Standard"])
    if not _PARAMETER_NAME.fullmatch(name) or ("/" in name and not name.startswith("/")):
        message = (
            "Parameter name must be a fully qualified name of letters, digits and _.-, parts separated by /"
        )
        raise Refusal("ValidationException", message)
    if name.count("/") > _PARAMETER_LEVELS:
        message = f"A hierarchy can have a maximum of {_PARAMETER_LEVELS} levels: {name}"
        raise Refusal("HierarchyLevelLimitExceededException", message)
    if "{{" in value:
        raise Refusal("ValidationException", "Parameter value can't nest another parameter: {{ }}.")
    if len(value) > limit:
        message = f"{tier} tier parameters support a maximum parameter value of {limit} characters."
        raise Refusal("ValidationException", message)
    before = aws.ssm._parameters.get(name)
    if before and before[-1].tier == "Advanced" and tier == "Standard":
        message = "You can't downgrade a parameter from the advanced to the standard tier."
        raise Refusal("ValidationException", message)
    if call.get("Type") == "SecureString" and call.get("KeyId"):
        _require_key(aws, call["KeyId"])


def _require_key(aws: Stores, name: str) -> None:
    alias = aws.kms.get_alias_name(name)
    found = aws.kms.get_key_id_from_alias(alias) if alias.startswith("alias/") else name
    key = aws.kms.keys.get(aws.kms.get_key_id(found)) if found else None
    if key is None:
        raise Refusal("InvalidKeyId", f"Invalid keyId {name}")
    if key.key_state != "Enabled":
        raise Refusal("InvalidKeyId", f"{key.arn} is not enabled.")


_CHECKS: Mapping[str, Check] = {
    **strict_ec2.CHECKS,
    **strict_scheduler.CHECKS,
    **policy_documents.CHECKS,
    "ssm:PutParameter": _put_parameter,
}
