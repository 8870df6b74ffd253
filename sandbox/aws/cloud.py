"""The emulator as the boot sees it: instances, their user data and the hardware of their types."""

from __future__ import annotations

import base64
import json
import urllib.request
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar, cast

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, EndpointConnectionError

from sandbox import config

# Errors of a call to the emulator: no answer, and an answer that is an error.
CloudError = (BotoCoreError, ClientError)
RUNNING = "running"
T = TypeVar("T")


class Versioned(Generic[T]):
    """Answers that are read again only when the version of what they are read from has changed."""

    def __init__(self, version: Callable[[], Hashable]) -> None:
        self._version = version
        self._answers: dict[Hashable, tuple[Hashable, T]] = {}

    def get(self, key: Hashable, read: Callable[[], T]) -> T:
        version = self._version()  # before the answer: a change in between is then seen next time
        if key not in self._answers or self._answers[key][0] != version:
            self._answers[key] = (version, read())
        return self._answers[key][1]


@dataclass(frozen=True, kw_only=True)
class Instance:
    """An instance as DescribeInstances shows it; the metadata service tells the node the same."""

    id: str
    state: str
    type: str
    private_ip: str
    public_ip: str | None
    zone: str
    subnet_id: str
    vpc_id: str
    groups: frozenset[str]
    profile: str | None  # name of the instance profile
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)  # the whole answer

    @property
    def provider_id(self) -> str:
        return f"aws:///{self.zone}/{self.id}"


@dataclass(frozen=True)
class Hardware:
    """What an instance type has, from DescribeInstanceTypes."""

    vcpus: int
    memory_mib: int
    gpus: int


class Cloud:
    """Clients of one emulator. They are safe to share between threads."""

    def __init__(self, endpoint: str, region: str = config.REGION) -> None:
        self.region = region
        session = boto3.session.Session(
            aws_access_key_id=config.ACCESS_KEY_ID,
            aws_secret_access_key=config.SECRET_ACCESS_KEY,
            region_name=region,
        )
        settings = Config(
            user_agent_extra="kubepark-boot",
            connect_timeout=5,
            read_timeout=30,
            max_pool_connections=16,
            retries={"total_max_attempts": 1},
        )
        self.ec2, self.iam, self.ssm, self.kms = (
            session.client(name, endpoint_url=endpoint, config=settings)
            for name in ("ec2", "iam", "ssm", "kms")
        )
        self.endpoint = endpoint
        self._direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        self._seen: Versioned[dict[str, Instance]] = Versioned(lambda: self.version("ec2"))
        self._hardware: dict[str, Hardware] = {}
        self._roles: Versioned[str | None] = Versioned(lambda: self.version("iam"))

    def version(self, service: str) -> Hashable:
        """Another value whenever something of the service may have changed. Raises a `CloudError`."""
        changes = self._control(config.CHANGES_PATH)
        return changes["epoch"], changes.get(service, 0)

    def _control(self, path: str) -> Mapping[str, Any]:
        """What the emulator says beside AWS's API. Raises a `CloudError`."""
        url = self.endpoint.rstrip("/") + path
        try:
            with self._direct.open(url, timeout=5) as answer:
                return cast(Mapping[str, Any], json.load(answer))
        except OSError as error:
            raise EndpointConnectionError(endpoint_url=url, error=error) from error

    def instances(self) -> dict[str, Instance]:
        """Every instance that the emulator knows, terminated ones too. Raises a `CloudError`."""
        return self._seen.get("", self._list_instances)

    def _list_instances(self, **wanted: Any) -> dict[str, Instance]:
        found = self.ec2.get_paginator("describe_instances").paginate(**wanted)
        return {each["InstanceId"]: _instance(each) for each in found.search("Reservations[].Instances[]")}

    def instance(self, instance_id: str) -> Instance | None:
        """One instance now; None if the emulator does not know it. Raises a `CloudError`."""
        this = [{"Name": "instance-id", "Values": [instance_id]}]
        return self._seen.get(instance_id, lambda: self._list_instances(Filters=this)).get(instance_id)

    def running(self, instance_id: str) -> Instance | None:
        """One instance if it runs at this moment. Raises a `CloudError`."""
        found = self.instance(instance_id)
        return found if found and found.state == RUNNING else None

    def user_data(self, instance_id: str) -> bytes:
        """The bytes that the metadata service would give; empty when there are none."""
        answer = self.ec2.describe_instance_attribute(InstanceId=instance_id, Attribute="userData")
        return base64.b64decode(answer.get("UserData", {}).get("Value", ""))

    def interruption(self, instance_id: str) -> dict[str, str] | None:
        """The notice of a Spot Instance that EC2 is about to stop. Raises a `CloudError`."""
        return self._control(config.INTERRUPTIONS_PATH).get(instance_id)

    def role(self, profile: str) -> str | None:
        """Name of the role behind an instance profile; None if there is none. Raises a `CloudError`."""
        return self._roles.get(profile, lambda: self._read_role(profile))

    def _read_role(self, profile: str) -> str | None:
        try:
            roles = self.iam.get_instance_profile(InstanceProfileName=profile)["InstanceProfile"]["Roles"]
        except self.iam.exceptions.NoSuchEntityException:
            return None
        return str(roles[0]["RoleName"]) if roles else None

    def key_arn(self, key: str) -> str:
        """ARN of a KMS key by its id, ARN or alias. Raises a `ClientError` for an unknown one."""
        return str(self.kms.describe_key(KeyId=key)["KeyMetadata"]["Arn"])

    def key_aliases(self, arn: str) -> tuple[str, ...]:
        """Names of a key's aliases, `alias/...`. Raises a `CloudError`."""
        pages = self.kms.get_paginator("list_aliases").paginate(KeyId=arn)
        return tuple(alias["AliasName"] for page in pages for alias in page["Aliases"])

    def hardware(self, instance_type: str) -> Hardware:
        """Processors, memory and GPUs of a type. A `ClientError` for a type that EC2 does not have."""
        if instance_type not in self._hardware:
            answer = self.ec2.describe_instance_types(InstanceTypes=[instance_type])
            info = answer["InstanceTypes"][0]
            gpus = sum(gpu["Count"] for gpu in info.get("GpuInfo", {}).get("Gpus", []))
            self._hardware[instance_type] = Hardware(
                info["VCpuInfo"]["DefaultVCpus"], info["MemoryInfo"]["SizeInMiB"], gpus
            )
        return self._hardware[instance_type]


def _instance(data: Mapping[str, Any]) -> Instance:
    profile = data.get("IamInstanceProfile")
    return Instance(
        id=data["InstanceId"],
        state=data["State"]["Name"],
        type=data["InstanceType"],
        private_ip=data.get("PrivateIpAddress", ""),
        public_ip=data.get("PublicIpAddress") or None,
        zone=data["Placement"]["AvailabilityZone"],
        subnet_id=data.get("SubnetId", ""),
        vpc_id=data.get("VpcId", ""),
        groups=frozenset(
            group["GroupId"] for each in data.get("NetworkInterfaces", []) for group in each["Groups"]
        ),
        profile=profile["Arn"].rsplit("/", 1)[-1] if profile else None,
        raw=data,
    )
