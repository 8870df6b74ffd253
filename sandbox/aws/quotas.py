"""Service Quotas of EC2, which moto does not have: those of an account that has asked for more.

Nothing counts against them here; who asks whether a stack fits gets an answer that is never in its way.
Names and codes: brennerm/aws-quota-checker, aws_quota/check/ec2.py.
"""

from __future__ import annotations

import json
from typing import Any

from sandbox.aws.awswire import AwsRequest
from sandbox.config import ACCOUNT_ID

_SERVICE = "ec2"
_QUOTAS = {
    "L-1216C47A": ("Running On-Demand Standard (A, C, D, H, I, M, R, T, Z) instances", 640.0),
    "L-DB2E81BA": ("Running On-Demand G and VT instances", 640.0),
    "L-0263D0A3": ("EC2-VPC Elastic IPs", 50.0),
}


def answer(request: AwsRequest) -> bytes | None:
    """The body of the answer about a quota that is known here; None: moto answers."""
    if request.operation != "servicequotas:GetServiceQuota" or request.params.get("ServiceCode") != _SERVICE:
        return None
    code = request.params.get("QuotaCode")
    if code not in _QUOTAS:
        return None
    name, value = _QUOTAS[code]
    quota: dict[str, Any] = {
        "ServiceCode": _SERVICE,
        "ServiceName": "Amazon Elastic Compute Cloud (Amazon EC2)",
        "QuotaArn": f"arn:aws:servicequotas:{request.region}:{ACCOUNT_ID}:{_SERVICE}/{code}",
        "QuotaCode": code,
        "QuotaName": name,
        "Value": value,
        "Unit": "None",
        "Adjustable": True,
        "GlobalQuota": False,
    }
    return json.dumps({"Quota": quota}).encode()
