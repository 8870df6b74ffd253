"""EC2 instance, and the provider's resource that starts and stops one."""

from __future__ import annotations

import base64
from types import MappingProxyType
from typing import Any

from sandbox.providers.aws import instance_rules
from sandbox.providers.aws.api import Api, first, given, tag_list
from sandbox.providers.aws.ec2 import Ec2Row, filters, instance
from sandbox.providers.aws.instance_state import instance_state
from sandbox.providers.aws.table import Change, Row, as_set, paths
from sandbox.providers.backend import CheckFailure, Properties

_METADATA = {
    "httpEndpoint": "HttpEndpoint",
    "httpTokens": "HttpTokens",
    "httpPutResponseHopLimit": "HttpPutResponseHopLimit",
    "httpProtocolIpv6": "HttpProtocolIpv6",
    "instanceMetadataTags": "InstanceMetadataTags",
}
_DISK = {
    "volumeSize": "VolumeSize",
    "volumeType": "VolumeType",
    "encrypted": "Encrypted",
    "kmsKeyId": "KmsKeyId",
    "iops": "Iops",
    "throughput": "Throughput",
}
# Seconds between looks, and looks, at an instance that is starting or stopping.
_WAIT = {"Delay": 1, "MaxAttempts": 120}


class Instance(Ec2Row):
    token = "aws:ec2/instance:Instance"
    resource_type = "instance"
    handles = paths(
        "ami instanceType subnetId availabilityZone privateIp associatePublicIpAddress vpcSecurityGroupIds"
        " keyName iamInstanceProfile userData userDataBase64 userDataReplaceOnChange sourceDestCheck"
        " disableApiTermination forceDestroy primaryNetworkInterface.networkInterfaceId volumeTags"
        " rootBlockDevice.tags rootBlockDevice.deleteOnTermination"
        " " + " ".join(f"metadataOptions.{name}" for name in _METADATA)
        + " " + " ".join(f"rootBlockDevice.{name}" for name in _DISK)
    )  # fmt: skip
    force_new = paths(
        "ami subnetId availabilityZone privateIp associatePublicIpAddress keyName primaryNetworkInterface"
        " rootBlockDevice.encrypted rootBlockDevice.kmsKeyId"
    )
    defaults = MappingProxyType(
        {
            "sourceDestCheck": True,
            "disableApiTermination": False,
            "forceDestroy": False,
            "userDataReplaceOnChange": False,
            "rootBlockDevice.deleteOnTermination": True,
            "metadataOptions.httpEndpoint": "enabled",
        }
    )
    computed = paths(
        "availabilityZone subnetId privateIp associatePublicIpAddress vpcSecurityGroupIds iamInstanceProfile"
        " primaryNetworkInterface rootBlockDevice metadataOptions keyName userData userDataBase64"
        " " + " ".join(f"metadataOptions.{name}" for name in _METADATA)
        + " " + " ".join(f"rootBlockDevice.{name}" for name in _DISK)
    )  # fmt: skip
    local = paths("userDataReplaceOnChange forceDestroy")
    same = MappingProxyType({"vpcSecurityGroupIds": as_set})
    volatile = paths("publicIp publicDns instanceState")

    def check(self, inputs: Properties) -> list[CheckFailure]:
        return instance_rules.conflicts(inputs)

    def replaces(self, inputs: Properties) -> frozenset[str]:
        return self.force_new | (
            paths("userData userDataBase64") if inputs.get("userDataReplaceOnChange") is True else frozenset()
        )

    def create(self, api: Api, inputs: Properties) -> str:
        image = instance_rules.require_launchable(api, inputs)
        answer = api.ec2.run_instances(
            ImageId=inputs["ami"],
            InstanceType=inputs["instanceType"],
            MinCount=1,
            MaxCount=1,
            DisableApiTermination=inputs["disableApiTermination"],
            NetworkInterfaces=[_network(inputs)],
            BlockDeviceMappings=[_root_device(image, inputs)],
            TagSpecifications=self._all_tags(api, inputs),
            **given(
                KeyName=inputs.get("keyName"),
                UserData=instance_rules.user_data(inputs),
                IamInstanceProfile={"Name": inputs["iamInstanceProfile"]}
                if "iamInstanceProfile" in inputs
                else None,
                MetadataOptions=_renamed(inputs.get("metadataOptions"), _METADATA) or None,
                Placement=given(AvailabilityZone=inputs.get("availabilityZone")) or None,
            ),
        )
        return str(answer["Instances"][0]["InstanceId"])

    def _all_tags(self, api: Api, inputs: Properties) -> list[dict[str, Any]]:
        specifications = self.specifications(inputs).get("TagSpecifications", [])
        volume = _volume_tags(api, inputs)
        if volume:
            specifications.append({"ResourceType": "volume", "Tags": tag_list(volume)})
        return list(specifications)

    def finish(self, api: Api, id: str, inputs: Properties) -> None:
        api.ec2.get_waiter("instance_running").wait(InstanceIds=[id], WaiterConfig=_WAIT)
        if not inputs["sourceDestCheck"]:
            self._set(api, id, SourceDestCheck={"Value": False})
        if inputs["disableApiTermination"]:  # the emulator ignores it at launch
            self._set(api, id, DisableApiTermination={"Value": True})

    def read(self, api: Api, id: str, known: Properties) -> Properties | None:
        return instance_state(api, id, known)

    def update(self, api: Api, id: str, change: Change) -> None:
        new = change.new
        if change.of("instanceType", "userData", "userDataBase64"):
            self._change_stopped(api, id, change)
        if change.of("iamInstanceProfile"):
            _change_profile(api, id, new.get("iamInstanceProfile"))
        if change.of("vpcSecurityGroupIds"):
            # Groups belong to the interface; through the instance the emulator changes too little.
            nic = change.old["primaryNetworkInterfaceId"]
            groups = new["vpcSecurityGroupIds"]
            api.ec2.modify_network_interface_attribute(NetworkInterfaceId=nic, Groups=groups)
        if change.of("sourceDestCheck"):
            self._set(api, id, SourceDestCheck={"Value": new["sourceDestCheck"]})
        if change.of("disableApiTermination"):
            self._set(api, id, DisableApiTermination={"Value": new["disableApiTermination"]})
        if change.of("metadataOptions"):
            options = _renamed(new.get("metadataOptions"), _METADATA)
            api.ec2.modify_instance_metadata_options(InstanceId=id, **options)
        if change.of("rootBlockDevice", "volumeTags"):
            self._change_disk(api, id, change)

    def _set(self, api: Api, id: str, **attribute: Any) -> None:
        api.ec2.modify_instance_attribute(InstanceId=id, **attribute)

    def _change_stopped(self, api: Api, id: str, change: Change) -> None:
        """Type and user data cannot change while the instance runs: stop, change, start."""
        new = change.new
        instance_rules.require_type(api, new["instanceType"], change.old.get("availabilityZone"))
        data = instance_rules.user_data(new)
        instance_rules.require_small(data)
        api.ec2.stop_instances(InstanceIds=[id])
        api.ec2.get_waiter("instance_stopped").wait(InstanceIds=[id], WaiterConfig=_WAIT)
        if change.of("instanceType"):
            self._set(api, id, InstanceType={"Value": new["instanceType"]})
        if change.of("userData", "userDataBase64"):
            self._set(api, id, UserData={"Value": base64.b64encode(data or b"")})
        api.ec2.start_instances(InstanceIds=[id])
        api.ec2.get_waiter("instance_running").wait(InstanceIds=[id], WaiterConfig=_WAIT)

    def _change_disk(self, api: Api, id: str, change: Change) -> None:
        volume = first(api.ec2.describe_volumes(Filters=filters(attachment__instance_id=id)), "Volumes")
        old, new = change.old.get("rootBlockDevice") or {}, change.new.get("rootBlockDevice") or {}
        instance_rules.require_growth(volume["Size"], new.get("volumeSize"))
        wanted = {
            "VolumeSize": "Size",
            "VolumeType": "VolumeType",
            "Iops": "Iops",
            "Throughput": "Throughput",
        }
        settings = {
            wanted[field]: new[name]
            for name, field in _DISK.items()
            if field in wanted and new.get(name) is not None and new.get(name) != old.get(name)
        }
        if settings:
            api.ec2.modify_volume(VolumeId=volume["VolumeId"], **settings)
        before = {tag["Key"] for tag in volume.get("Tags", [])}
        tags = _volume_tags(api, change.new)
        self.retag(api, volume["VolumeId"], sorted(before - tags.keys()), tags)

    def delete(self, api: Api, id: str, state: Properties) -> None:
        if state.get("forceDestroy"):
            self._set(api, id, DisableApiTermination={"Value": False})
        api.ec2.terminate_instances(InstanceIds=[id])
        api.ec2.get_waiter("instance_terminated").wait(InstanceIds=[id], WaiterConfig=_WAIT)


class InstanceState(Row):
    """Whether an instance runs. Deleting it leaves the instance as it is."""

    token = "aws:ec2transitgateway/instanceState:InstanceState"
    handles = paths("instanceId state force")
    force_new = paths("instanceId")
    defaults = MappingProxyType({"force": False})
    local = paths("force")

    def check(self, inputs: Properties) -> list[CheckFailure]:
        if isinstance(inputs["state"], str) and inputs["state"] not in ("running", "stopped"):
            return [("state", "expected state to be one of: running, stopped")]
        return []

    def create(self, api: Api, inputs: Properties) -> str:
        api.ec2.describe_instances(InstanceIds=[inputs["instanceId"]])
        return str(inputs["instanceId"])

    def finish(self, api: Api, id: str, inputs: Properties) -> None:
        if inputs["state"] == "stopped":
            api.ec2.stop_instances(InstanceIds=[id], Force=inputs["force"])
        else:
            api.ec2.start_instances(InstanceIds=[id])
        api.ec2.get_waiter(f"instance_{inputs['state']}").wait(InstanceIds=[id], WaiterConfig=_WAIT)

    def update(self, api: Api, id: str, change: Change) -> None:
        self.finish(api, id, change.new)

    def read(self, api: Api, id: str, known: Properties) -> Properties | None:
        found = instance(api, id)
        return None if found is None else {"instanceId": id, "state": found["State"]["Name"]}

    def delete(self, api: Api, id: str, state: Properties) -> None:
        """Nothing to undo."""


def _network(inputs: Properties) -> dict[str, Any]:
    """The primary interface: an existing one, or one that lives and dies with the instance."""
    primary = inputs.get("primaryNetworkInterface")
    if primary:
        return {"DeviceIndex": 0, "NetworkInterfaceId": primary["networkInterfaceId"]}
    return given(
        DeviceIndex=0,
        DeleteOnTermination=True,
        SubnetId=inputs.get("subnetId"),
        PrivateIpAddress=inputs.get("privateIp"),
        Groups=inputs.get("vpcSecurityGroupIds"),
        AssociatePublicIpAddress=inputs.get("associatePublicIpAddress"),
    )


def _root_device(image: dict[str, Any], inputs: Properties) -> dict[str, Any]:
    disk = inputs.get("rootBlockDevice") or {}
    ebs = _renamed(disk, _DISK)
    ebs["DeleteOnTermination"] = disk.get("deleteOnTermination", True)
    return {"DeviceName": image["RootDeviceName"], "Ebs": ebs}


def _volume_tags(api: Api, inputs: Properties) -> dict[str, str]:
    if inputs.get("volumeTags"):
        return dict(inputs["volumeTags"])
    return {**api.default_tags, **((inputs.get("rootBlockDevice") or {}).get("tags") or {})}


def _renamed(values: Properties | None, names: dict[str, str]) -> dict[str, Any]:
    return {names[name]: value for name, value in (values or {}).items() if name in names}


def _change_profile(api: Api, id: str, name: str | None) -> None:
    here = filters(instance_id=id)
    current = api.ec2.describe_iam_instance_profile_associations(Filters=here)[
        "IamInstanceProfileAssociations"
    ]
    if name is not None:
        instance_rules.require_profile(api, name)
    if current and name is not None:
        api.ec2.replace_iam_instance_profile_association(
            AssociationId=current[0]["AssociationId"], IamInstanceProfile={"Name": name}
        )
    elif current:
        api.ec2.disassociate_iam_instance_profile(AssociationId=current[0]["AssociationId"])
    elif name is not None:
        api.ec2.associate_iam_instance_profile(InstanceId=id, IamInstanceProfile={"Name": name})
