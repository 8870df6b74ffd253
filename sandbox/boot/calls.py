"""Which IAM permissions one call to Parameter Store needs: the same for every kind of node.

Source: the Systems Manager user guide ("Restricting access to Parameter Store parameters") and the KMS
developer guide ("How Systems Manager Parameter Store uses KMS"): a SecureString also needs the key, in
the encryption context of the parameter's ARN.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sandbox.boot.cloud import Cloud
from sandbox.boot.permissions import Call
from sandbox.config import ACCOUNT_ID

SECURE = "SecureString"
# Action -> the member of its request that names the parameter or path.
ACTIONS = {"GetParameter": "Name", "PutParameter": "Name", "GetParametersByPath": "Path"}


class UnknownAction(Exception):
    """A call that no node makes: nobody may make it."""


def parameter_arn(region: str, name: str) -> str:
    return f"arn:aws:ssm:{region}:{ACCOUNT_ID}:parameter{name}"


def before(cloud: Cloud, action: str, request: Mapping[str, Any]) -> list[Call]:
    """What must be allowed before the call is made. Raises `UnknownAction`."""
    if action not in ACTIONS:
        raise UnknownAction(action)
    name = str(request.get(ACTIONS[action], ""))
    region = {"aws:RequestedRegion": cloud.region}
    needed = [Call(f"ssm:{action}", parameter_arn(cloud.region, name), region)]
    if action == "PutParameter" and request.get("Type") == SECURE:
        needed.append(_key_call(cloud, "kms:Encrypt", str(request.get("KeyId", "")), name))
    return needed


def after(cloud: Cloud, action: str, request: Mapping[str, Any], answer: Mapping[str, Any]) -> list[Call]:
    """What must be allowed besides for the caller to see this answer."""
    if not request.get("WithDecryption"):
        return []
    found = answer.get("Parameters") or [answer[part] for part in ("Parameter",) if part in answer]
    secure = [each for each in found if each.get("Type") == SECURE]
    names = [str(each["Name"]) for each in secure]
    return [_key_call(cloud, "kms:Decrypt", cloud.key_of(name), name) for name in names]


def _key_call(cloud: Cloud, action: str, key: str, parameter: str) -> Call:
    context = {
        "kms:ViaService": f"ssm.{cloud.region}.amazonaws.com",
        "kms:EncryptionContext:PARAMETER_ARN": parameter_arn(cloud.region, parameter),
        "kms:CallerAccount": ACCOUNT_ID,
        "aws:RequestedRegion": cloud.region,
    }
    return Call(action, cloud.key_arn(key), context)
