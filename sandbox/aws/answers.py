"""What moto's answers lack of AWS's: the fields that the official AWS provider reads into its state.

A field that is missing or wrong there is a difference in every later preview. Each function gets
moto's stores and an answer as botocore gives it, and brings the answer to what AWS says of an object
that this project makes; the page of AWS's API reference is named by the operation
(https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeInstances.html).
Launch options whose outcome moto forgets are refused (`strict_ec2`), so constants are true here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from botocore.parsers import create_parser
from moto.core.serialize import get_serializer_class
from moto.core.utils import get_service_model
from moto.ec2.models.instance_types import INSTANCE_TYPES

from sandbox.aws import spot
from sandbox.aws.awswire import AwsRequest
from sandbox.aws.stores import Stores

Answer = dict[str, Any]
# MiB/s, unless the call says otherwise: https://docs.aws.amazon.com/ebs/latest/userguide/general-purpose.html
_GP3_THROUGHPUT = 125
# Days: https://docs.aws.amazon.com/kms/latest/APIReference/API_EnableKeyRotation.html
_ROTATION_PERIOD = 365


def complete(request: AwsRequest, body: bytes) -> bytes:
    """The body of a successful answer, with what AWS says and moto does not."""
    correct = _CORRECTIONS.get(request.operation)
    if correct is None:
        return body
    stores = Stores(request.region)
    if request.is_json:
        answer = json.loads(body)
        correct(stores, answer)
        return json.dumps(answer).encode()
    answer = parsed(request, body)
    correct(stores, answer)
    model = get_service_model(request.service)
    serializer = get_serializer_class(request.service, model.metadata["protocol"])
    text = serializer(model.operation_model(request.action)).serialize(answer)["body"]
    return text.encode() if isinstance(text, str) else bytes(text)


def parsed(request: AwsRequest, body: bytes) -> Answer:
    """A successful answer of the query protocol as botocore gives it."""
    model = get_service_model(request.service)
    parser, operation = create_parser(model.metadata["protocol"]), model.operation_model(request.action)
    answer: Answer = parser.parse({"status_code": 200, "headers": {}, "body": body}, operation.output_shape)
    del answer["ResponseMetadata"]
    return answer


def _instances(aws: Stores, answer: Answer) -> None:
    for reservation in answer["Reservations"]:
        for found in reservation["Instances"]:
            _instance(aws, found)


def _instance(aws: Stores, found: Answer) -> None:
    for interface in found["NetworkInterfaces"]:
        if not interface.get("Association"):
            interface.pop("Association", None)  # its presence says that there is a public address
        if interface["Attachment"]["DeviceIndex"] == 0:
            found["SecurityGroups"] = interface["Groups"]
    association = aws.ec2.iam_instance_profile_associations.get(found["InstanceId"])
    found.pop("IamInstanceProfile", None)  # moto's is the one of the launch for ever
    if association is not None:
        profile = association.iam_instance_profile
        found["IamInstanceProfile"] = {"Arn": profile.arn, "Id": profile.id}
    if request := spot.request_of(aws, found["InstanceId"]):
        found["SpotInstanceRequestId"] = request.id
    cpus = INSTANCE_TYPES[found["InstanceType"]]["VCpuInfo"]
    found |= {
        "CapacityReservationSpecification": {"CapacityReservationPreference": "open"},
        "CpuOptions": {"CoreCount": cpus["DefaultCores"], "ThreadsPerCore": cpus["DefaultThreadsPerCore"]},
        "EnclaveOptions": {"Enabled": False},
        "HibernationOptions": {"Configured": False},
        "MaintenanceOptions": {"AutoRecovery": "default", "RebootMigration": "default"},
        "PrivateDnsNameOptions": {
            "HostnameType": "ip-name",
            "EnableResourceNameDnsARecord": False,
            "EnableResourceNameDnsAAAARecord": False,
        },
    }


def _credits(aws: Stores, answer: Answer) -> None:
    """https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/burstable-performance-instances.html:
    `standard` is the default of T2 only."""
    for found in answer["InstanceCreditSpecifications"]:
        old = aws.ec2.get_instance(found["InstanceId"]).instance_type.startswith("t2.")
        found["CpuCredits"] = "standard" if old else "unlimited"


def _volumes(aws: Stores, answer: Answer) -> None:
    for found in answer["Volumes"]:
        if found["VolumeType"] == "gp3":
            found.setdefault("Throughput", _GP3_THROUGHPUT)
        for attachment in found["Attachments"]:
            devices = aws.ec2.get_instance(attachment["InstanceId"]).block_device_mapping
            attachment["DeleteOnTermination"] = devices[attachment["Device"]].delete_on_termination


def _rules(aws: Stores, answer: Answer) -> None:
    rules = {
        rule.id: rule
        for group in aws.ec2.describe_security_groups()
        for rule in (*group.ingress_rules, *group.egress_rules)
    }
    for found in answer["SecurityGroupRules"]:
        kept = rules[found["SecurityGroupRuleId"]]
        # moto keeps what a change said with the range, what the creation said with the source.
        description = kept.ip_range.get("Description", kept.source_group.get("Description"))
        if description:
            found["Description"] = description


def _addresses(aws: Stores, answer: Answer) -> None:
    for found in answer["Addresses"]:
        interface = aws.ec2.enis.get(found.get("NetworkInterfaceId"))
        found |= {"NetworkBorderGroup": aws.region, "PublicIpv4Pool": "amazon"}
        if interface is not None and interface.instance is not None and interface.attachment_id:
            found["InstanceId"] = interface.instance.id


def _rotation(aws: Stores, answer: Answer) -> None:
    if answer["KeyRotationEnabled"]:
        answer["RotationPeriodInDays"] = _ROTATION_PERIOD


_CORRECTIONS: Mapping[str, Callable[[Stores, Answer], None]] = {
    "ec2:DescribeAddresses": _addresses,
    "ec2:DescribeInstanceCreditSpecifications": _credits,
    "ec2:DescribeInstances": _instances,
    "ec2:DescribeSecurityGroupRules": _rules,
    "ec2:DescribeVolumes": _volumes,
    "kms:GetKeyRotationStatus": _rotation,
}
