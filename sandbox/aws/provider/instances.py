"""EC2 instance, and the provider's resource that starts and stops one."""

from __future__ import annotations

import base64
import binascii
from types import MappingProxyType
from typing import Any

from sandbox.aws.provider.api import Api, first, given, tag_list, tag_map
from sandbox.aws.provider.ec2 import Ec2ResourceType, filters, instance
from sandbox.aws.provider.resource_type import Change, ResourceType, as_set, capital, capitals, paths
from sandbox.aws.provider.values import CheckFailure, Properties

_METADATA = ("httpEndpoint", "httpTokens", "httpPutResponseHopLimit")
_MARKET = paths(
    "instanceMarketOptions.marketType instanceMarketOptions.spotOptions.spotInstanceType"
    " instanceMarketOptions.spotOptions.instanceInterruptionBehavior"
)
_DISK = ("volumeSize", "volumeType", "encrypted", "kmsKeyId")
_WITH_OWN_INTERFACE = ("subnetId", "vpcSecurityGroupIds", "privateIp")
# Seconds between looks, and looks, at an instance that is starting or stopping.
_WAIT = {"Delay": 1, "MaxAttempts": 120}


class Instance(Ec2ResourceType):
    token = "aws:ec2/instance:Instance"
    resource_type = "instance"
    _nested = paths(
        " ".join(f"metadataOptions.{name}" for name in _METADATA)
        + " " + " ".join(f"rootBlockDevice.{name}" for name in _DISK)
    )  # fmt: skip
    handles = (
        _nested
        | _MARKET
        | paths(
            "ami instanceType subnetId privateIp vpcSecurityGroupIds iamInstanceProfile userDataBase64"
            " disableApiTermination primaryNetworkInterface.networkInterfaceId rootBlockDevice.tags"
            " rootBlockDevice.deleteOnTermination"
        )
    )
    fields = paths("instanceType ebsOptimized subnetId")
    force_new = paths(
        "ami subnetId privateIp primaryNetworkInterface rootBlockDevice.encrypted rootBlockDevice.kmsKeyId"
        " instanceMarketOptions"
    )
    defaults = MappingProxyType(
        {"rootBlockDevice.deleteOnTermination": True, "metadataOptions.httpEndpoint": "enabled"}
    )
    computed = _nested | paths(
        "subnetId privateIp vpcSecurityGroupIds iamInstanceProfile primaryNetworkInterface rootBlockDevice"
        " metadataOptions userDataBase64 disableApiTermination instanceMarketOptions"
    )
    same = MappingProxyType({"vpcSecurityGroupIds": as_set})
    volatile = paths("publicIp publicDns instanceState")
    choices = MappingProxyType({"metadataOptions.httpTokens": ("optional", "required")})

    def check(self, inputs: Properties) -> list[CheckFailure]:
        found = super().check(inputs)
        for name in ("ami", "instanceType"):
            if name not in inputs:
                found.append((name, "missing required property (no launch template is given)"))
        if inputs.get("primaryNetworkInterface"):
            why = "conflicts with primaryNetworkInterface"
            found += [(name, why) for name in _WITH_OWN_INTERFACE if name in inputs]
        if isinstance(inputs.get("userDataBase64"), str):
            try:
                base64.b64decode(inputs["userDataBase64"], validate=True)
            except (binascii.Error, ValueError):
                found.append(("userDataBase64", "expected base64, got text that does not decode"))
        return found

    def create(self, api: Api, inputs: Properties) -> str:
        profile = inputs.get("iamInstanceProfile")
        answer = api.ec2.run_instances(
            ImageId=inputs["ami"],
            InstanceType=inputs["instanceType"],
            MinCount=1,
            MaxCount=1,
            NetworkInterfaces=[_network(inputs)],
            BlockDeviceMappings=[_root_device(api, inputs)],
            TagSpecifications=self._all_tags(api, inputs),
            **given(
                UserData=_user_data(inputs),
                DisableApiTermination=inputs.get("disableApiTermination"),
                IamInstanceProfile=None if profile is None else {"Name": profile},
                InstanceMarketOptions=capitals(inputs.get("instanceMarketOptions") or None),
                MetadataOptions=capitals(inputs.get("metadataOptions") or None),
            ),
        )
        return str(answer["Instances"][0]["InstanceId"])

    def _all_tags(self, api: Api, inputs: Properties) -> list[dict[str, Any]]:
        specifications = list(self.specifications(inputs).get("TagSpecifications", []))
        if tags := _volume_tags(api, inputs):
            specifications.append({"ResourceType": "volume", "Tags": tag_list(tags)})
        return specifications

    def finish(self, api: Api, id: str, inputs: Properties) -> None:
        _wait(api, id, "running")

    def find(self, api: Api, id: str) -> Any:
        return instance(api, id)

    def details(self, api: Api, id: str, found: dict[str, Any], known: Properties) -> Properties:
        nics: list[Properties] = found["NetworkInterfaces"]
        nic = next((nic for nic in nics if nic["Attachment"]["DeviceIndex"] == 0), {})
        profile = (found.get("IamInstanceProfile") or {}).get("Arn", "").rpartition("/")[2]
        options = found.get("MetadataOptions", {})
        primary = {
            "networkInterfaceId": nic.get("NetworkInterfaceId"),
            "deleteOnTermination": nic.get("Attachment", {}).get("DeleteOnTermination"),
        }
        return {
            "ami": found["ImageId"],
            "instanceState": found["State"]["Name"],
            "availabilityZone": found["Placement"]["AvailabilityZone"],
            "iamInstanceProfile": profile or None,
            "privateIp": found.get("PrivateIpAddress"),
            "privateDns": found.get("PrivateDnsName", ""),
            "publicIp": found.get("PublicIpAddress", ""),
            "publicDns": found.get("PublicDnsName", ""),
            "primaryNetworkInterfaceId": nic.get("NetworkInterfaceId"),
            "primaryNetworkInterface": primary,
            "vpcSecurityGroupIds": [group["GroupId"] for group in found["SecurityGroups"]],
            "userDataBase64": _attribute(api, id, "userData"),
            "disableApiTermination": _attribute(api, id, "disableApiTermination"),
            "metadataOptions": {name: options.get(capital(name)) for name in _METADATA},
            "rootBlockDevice": _root_disk(api, found, known),
            **_spot(api, found),
        }

    def update(self, api: Api, id: str, change: Change) -> None:
        new = change.new
        if change.of("instanceType", "userDataBase64"):
            self._change_stopped(api, id, change)
        if change.of("disableApiTermination"):
            wanted = {"Value": new["disableApiTermination"]}
            api.ec2.modify_instance_attribute(InstanceId=id, DisableApiTermination=wanted)
        if change.of("iamInstanceProfile"):
            _change_profile(api, id, new.get("iamInstanceProfile"))
        if change.of("vpcSecurityGroupIds"):
            # Groups belong to the interface; through the instance the emulator changes too little.
            nic = change.old["primaryNetworkInterfaceId"]
            groups = new["vpcSecurityGroupIds"]
            api.ec2.modify_network_interface_attribute(NetworkInterfaceId=nic, Groups=groups)
        if change.of("metadataOptions"):
            options = capitals(new.get("metadataOptions") or {})
            api.ec2.modify_instance_metadata_options(InstanceId=id, **options)
        if change.of("rootBlockDevice"):
            self._change_disk(api, id, change)

    def _change_stopped(self, api: Api, id: str, change: Change) -> None:
        """Type and user data cannot change while the instance runs: stop, change, start."""
        api.ec2.stop_instances(InstanceIds=[id])
        _wait(api, id, "stopped")
        if change.of("instanceType"):
            wanted = {"Value": change.new["instanceType"]}
            api.ec2.modify_instance_attribute(InstanceId=id, InstanceType=wanted)
        if change.of("userDataBase64"):
            data = _user_data(change.new) or b""
            api.ec2.modify_instance_attribute(InstanceId=id, UserData={"Value": data})
        api.ec2.start_instances(InstanceIds=[id])
        _wait(api, id, "running")

    def _change_disk(self, api: Api, id: str, change: Change) -> None:
        volume = first(api.ec2.describe_volumes(Filters=filters(attachment__instance_id=id)), "Volumes")
        old, new = change.old.get("rootBlockDevice") or {}, change.new.get("rootBlockDevice") or {}
        grown = given(
            Size=new.get("volumeSize") if new.get("volumeSize") != old.get("volumeSize") else None,
            VolumeType=new.get("volumeType") if new.get("volumeType") != old.get("volumeType") else None,
        )
        if grown:
            api.ec2.modify_volume(VolumeId=volume["VolumeId"], **grown)
        before, tags = tag_map(volume.get("Tags")), _volume_tags(api, change.new)
        self.retag(api, volume["VolumeId"], sorted(before.keys() - tags.keys()), tags)

    def delete(self, api: Api, id: str, state: Properties) -> None:
        if request := state.get("spotInstanceRequestId"):  # it would bring another instance
            api.ec2.cancel_spot_instance_requests(SpotInstanceRequestIds=[request])
        api.ec2.terminate_instances(InstanceIds=[id])
        _wait(api, id, "terminated")


class InstanceState(ResourceType):
    """Whether an instance runs. Deleting it leaves the instance as it is."""

    token = "aws:ec2transitgateway/instanceState:InstanceState"
    handles = paths("instanceId state force")
    force_new = paths("instanceId")
    defaults = MappingProxyType({"force": False})
    local = paths("force")
    choices = MappingProxyType({"state": ("running", "stopped")})

    def create(self, api: Api, inputs: Properties) -> str:
        api.ec2.describe_instances(InstanceIds=[inputs["instanceId"]])
        return str(inputs["instanceId"])

    def finish(self, api: Api, id: str, inputs: Properties) -> None:
        if inputs["state"] == "stopped":
            api.ec2.stop_instances(InstanceIds=[id], Force=inputs["force"])
        else:
            api.ec2.start_instances(InstanceIds=[id])
        _wait(api, id, inputs["state"])

    def update(self, api: Api, id: str, change: Change) -> None:
        self.finish(api, id, change.new)

    def find(self, api: Api, id: str) -> Any:
        return instance(api, id)

    def details(self, api: Api, id: str, found: dict[str, Any], known: Properties) -> Properties:
        return {"instanceId": id, "state": found["State"]["Name"]}

    def delete(self, api: Api, id: str, state: Properties) -> None:
        """Nothing to undo."""


def _wait(api: Api, id: str, state: str) -> None:
    api.ec2.get_waiter(f"instance_{state}").wait(InstanceIds=[id], WaiterConfig=_WAIT)


def _attribute(api: Api, id: str, name: str) -> Any:
    """An attribute that DescribeInstances does not tell."""
    answer = api.ec2.describe_instance_attribute(InstanceId=id, Attribute=name)
    return (answer.get(capital(name)) or {}).get("Value")


def _user_data(inputs: Properties) -> bytes | None:
    text = inputs.get("userDataBase64")
    return None if text is None else base64.b64decode(text)


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
    )


def _root_device(api: Api, inputs: Properties) -> dict[str, Any]:
    image = api.ec2.describe_images(ImageIds=[inputs["ami"]])["Images"][0]
    disk = inputs.get("rootBlockDevice") or {}
    ebs = {"deleteOnTermination": True, **disk, "tags": None}  # tags are an argument of the call
    return {"DeviceName": image["RootDeviceName"], "Ebs": capitals(ebs)}


def _spot(api: Api, found: dict[str, Any]) -> Properties:
    """As the official provider reads it. Source: hashicorp/terraform-provider-aws, ec2_instance.go."""
    id = found.get("SpotInstanceRequestId")
    if not id:
        return {"instanceLifecycle": None, "spotInstanceRequestId": None, "instanceMarketOptions": None}
    answer = api.ec2.describe_spot_instance_requests(SpotInstanceRequestIds=[id])
    request = answer["SpotInstanceRequests"][0]
    options = {
        "instanceInterruptionBehavior": request["InstanceInterruptionBehavior"],
        "spotInstanceType": request["Type"],
    }
    return {
        "instanceLifecycle": found["InstanceLifecycle"],
        "spotInstanceRequestId": id,
        "instanceMarketOptions": {"marketType": "spot", "spotOptions": options},
    }


def _volume_tags(api: Api, inputs: Properties) -> dict[str, str]:
    return {**api.default_tags, **((inputs.get("rootBlockDevice") or {}).get("tags") or {})}


def _root_disk(api: Api, found: dict[str, Any], known: Properties) -> Properties | None:
    device = found["RootDeviceName"]
    here = filters(attachment__instance_id=found["InstanceId"], attachment__device=device)
    volume = first(api.ec2.describe_volumes(Filters=here), "Volumes")
    if volume is None:
        return None
    tags = tag_map(volume.get("Tags"))
    same = ("volumeId", "volumeType", "encrypted", "kmsKeyId", "iops", "throughput")
    return given(
        **{name: volume.get(capital(name)) for name in same},
        deviceName=device,
        volumeSize=volume["Size"],
        deleteOnTermination=volume["Attachments"][0]["DeleteOnTermination"],
        tags=api.own_tags(tags, (known.get("rootBlockDevice") or {}).get("tags")),
        tagsAll=tags,
    )


def _change_profile(api: Api, id: str, name: str | None) -> None:
    here = filters(instance_id=id)
    answer = api.ec2.describe_iam_instance_profile_associations(Filters=here)
    current = first(answer, "IamInstanceProfileAssociations")
    profile = {"Name": name}
    association = current and current["AssociationId"]
    if association and name is not None:
        replace = api.ec2.replace_iam_instance_profile_association
        replace(AssociationId=association, IamInstanceProfile=profile)
    elif association:
        api.ec2.disassociate_iam_instance_profile(AssociationId=association)
    elif name is not None:
        api.ec2.associate_iam_instance_profile(InstanceId=id, IamInstanceProfile=profile)
