"""What AWS answers and moto does not: quotas of EC2, sessions of Session Manager, Canonical's parameters.

Quotas are those of an account that has asked for more; nothing counts against them here, so that who asks
whether a stack fits gets an answer that is never in its way. A session begins and ends as AWS's does; the
data channel that its token opens does not exist here. Names and codes of quotas: brennerm/aws-quota-checker,
aws_quota/check/ec2.py. Sessions: the Systems Manager API reference, StartSession and TerminateSession.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable, Mapping
from typing import Any

from sandbox.aws.awswire import AwsRequest, Refusal
from sandbox.aws.stores import Stores
from sandbox.config import ACCOUNT_ID

_QUOTAS = {
    "L-1216C47A": ("Running On-Demand Standard (A, C, D, H, I, M, R, T, Z) instances", 640.0),
    "L-DB2E81BA": ("Running On-Demand G and VT instances", 640.0),
    "L-0263D0A3": ("EC2-VPC Elastic IPs", 50.0),
}
# https://documentation.ubuntu.com/aws/aws-how-to/instances/find-ubuntu-images/
_UBUNTU = re.compile(r"/aws/service/canonical/ubuntu/server/24\.04/stable/current/amd64/hvm/ebs-gp3/ami-id")
_NEWEST_UBUNTU = "ami-0a1b2c3d4e5f60718"
_FORWARDING = "AWS-StartPortForwardingSession"
_PORTS = {"portNumber", "localPortNumber"}

Answer = dict[str, Any]


class Additions:
    """Answers of one emulator; the caller holds its lock.

    `register` makes an image exist, by its id and region.
    """

    def __init__(self, register: Callable[[str, str], None]) -> None:
        self._register = register
        self._sessions: set[str] = set()
        self._known: Mapping[str, Callable[[AwsRequest, Mapping[str, Any]], Answer | None]] = {
            "servicequotas:GetServiceQuota": self._quota,
            "ssm:GetParameter": self._parameter,
            "ssm:StartSession": self._start_session,
            "ssm:TerminateSession": self._terminate_session,
        }

    def answer(self, request: AwsRequest) -> bytes | None:
        """The body of the answer; None: moto answers. Raises: Refusal."""
        known = self._known.get(request.operation)
        answer = known(request, request.params) if known else None
        return None if answer is None else json.dumps(answer).encode()

    @staticmethod
    def _quota(request: AwsRequest, call: Mapping[str, Any]) -> Answer:
        service, code = call.get("ServiceCode"), call.get("QuotaCode")
        if service != "ec2" or code not in _QUOTAS:
            raise Refusal("NoSuchResourceException", f"not emulated: the quota {code} of {service}")
        name, value = _QUOTAS[code]
        quota = {
            "ServiceCode": service,
            "ServiceName": "Amazon Elastic Compute Cloud (Amazon EC2)",
            "QuotaArn": f"arn:aws:servicequotas:{request.region}:{ACCOUNT_ID}:{service}/{code}",
            "QuotaCode": code,
            "QuotaName": name,
            "Value": value,
            "Unit": "None",
            "Adjustable": True,
            "GlobalQuota": False,
        }
        return {"Quota": quota}

    def _parameter(self, request: AwsRequest, call: Mapping[str, Any]) -> Answer | None:
        name = str(call.get("Name"))
        if not _UBUNTU.fullmatch(name):
            return None
        self._register(_NEWEST_UBUNTU, request.region)
        found = {"Name": name, "Type": "String", "Value": _NEWEST_UBUNTU, "Version": 1}
        arn = f"arn:aws:ssm:{request.region}::parameter{name}"
        return {"Parameter": {**found, "DataType": "aws:ec2:image", "ARN": arn}}

    def _start_session(self, request: AwsRequest, call: Mapping[str, Any]) -> Answer:
        document, ports = call.get("DocumentName"), call.get("Parameters") or {}
        if document != _FORWARDING:
            raise Refusal("InvalidDocument", f"not emulated: {document}")
        if not ports.keys() <= _PORTS or not all(_is_port(value) for value in ports.values()):
            raise Refusal(
                "ValidationException", f"Parameters of {document} are ports, each in a list: {ports}"
            )
        found = Stores(request.region).ec2.get_instance_by_id(call["Target"])
        if found is None or found.state != "running":
            raise Refusal("TargetNotConnected", f"{call['Target']} is not connected.")
        session = f"kubepark-{secrets.token_hex(9)[:17]}"
        self._sessions.add(session)
        channel = f"wss://ssmmessages.{request.region}.amazonaws.com/v1/data-channel/{session}"
        return {
            "SessionId": session,
            "TokenValue": secrets.token_urlsafe(96),
            "StreamUrl": f"{channel}?role=publish_subscribe",
        }

    def _terminate_session(self, request: AwsRequest, call: Mapping[str, Any]) -> Answer:
        if call.get("SessionId") not in self._sessions:
            raise Refusal("DoesNotExistException", f"Session {call.get('SessionId')} does not exist")
        self._sessions.remove(call["SessionId"])
        return {"SessionId": call["SessionId"]}


def _is_port(value: Any) -> bool:
    texts = value if isinstance(value, list) else []
    return len(texts) == 1 and str(texts[0]).isdecimal() and 0 < int(texts[0]) < 65536
