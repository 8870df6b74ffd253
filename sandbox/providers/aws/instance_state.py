"""An instance as AWS has it, in the provider's properties."""

from __future__ import annotations

import base64
from typing import Any

from sandbox.providers.aws.api import Api, first
from sandbox.providers.aws.ec2 import filters, instance, tags_of
from sandbox.providers.backend import Properties


def instance_state(api: Api, id: str, known: Properties) -> Properties | None:
    found = instance(api, id)
    if found is None:
        return None
    nic = _primary(found)
    return {
        "arn": api.arn("ec2", f"instance/{id}"),
        "ami": found["ImageId"],
        "instanceType": found["InstanceType"],
        "instanceState": found["State"]["Name"],
        "availabilityZone": found["Placement"]["AvailabilityZone"],
        "tenancy": found["Placement"].get("Tenancy", "default"),
        "ebsOptimized": found.get("EbsOptimized", False),
        "keyName": found.get("KeyName"),
        "iamInstanceProfile": _profile(api, id),
        "sourceDestCheck": _attribute(api, id, "sourceDestCheck"),
        "disableApiTermination": _attribute(api, id, "disableApiTermination"),
        **_addresses(found, nic),
        **_user_data(api, id, known),
        "metadataOptions": _metadata(found),
        **_root_disk(api, found, known),
        "tagsAll": tags_of(found),
    }


def _profile(api: Api, id: str) -> str | None:
    """From the association: the emulator's instance itself shows for ever what it was launched with."""
    answer = api.ec2.describe_iam_instance_profile_associations(Filters=filters(instance_id=id))
    found = first(answer, "IamInstanceProfileAssociations")
    return None if found is None else str(found["IamInstanceProfile"]["Arn"].rpartition("/")[2])


def _primary(found: dict[str, Any]) -> dict[str, Any]:
    nics = [nic for nic in found["NetworkInterfaces"] if nic["Attachment"]["DeviceIndex"] == 0]
    return nics[0] if nics else {}


def _addresses(found: dict[str, Any], nic: dict[str, Any]) -> Properties:
    public = found.get("PublicIpAddress", "")
    own = nic.get("Attachment", {}).get("DeleteOnTermination", False)
    return {
        "subnetId": found.get("SubnetId"),
        "privateIp": found.get("PrivateIpAddress"),
        "privateDns": found.get("PrivateDnsName", ""),
        "publicIp": public,
        "publicDns": found.get("PublicDnsName", "") if public else "",
        "associatePublicIpAddress": bool(public) and own,
        "primaryNetworkInterfaceId": nic.get("NetworkInterfaceId"),
        "primaryNetworkInterface": {
            "networkInterfaceId": nic.get("NetworkInterfaceId"),
            "deleteOnTermination": own,
        },
        "vpcSecurityGroupIds": [group["GroupId"] for group in nic.get("Groups", [])],
    }


def _attribute(api: Api, id: str, name: str) -> bool:
    answer = api.ec2.describe_instance_attribute(InstanceId=id, Attribute=name)
    return bool(answer[name[0].upper() + name[1:]]["Value"])


def _user_data(api: Api, id: str, known: Properties) -> Properties:
    """User data in the property that the program used."""
    answer = api.ec2.describe_instance_attribute(InstanceId=id, Attribute="userData")
    text = (answer.get("UserData") or {}).get("Value")
    if not text:
        return {}
    if known.get("userData") is not None:
        return {"userData": base64.b64decode(text).decode(errors="replace")}
    return {"userDataBase64": text}


def _metadata(found: dict[str, Any]) -> Properties:
    options = found.get("MetadataOptions", {})
    names = (
        "HttpEndpoint",
        "HttpTokens",
        "HttpPutResponseHopLimit",
        "HttpProtocolIpv6",
        "InstanceMetadataTags",
    )
    return {name[0].lower() + name[1:]: options[name] for name in names if name in options}


def _root_disk(api: Api, found: dict[str, Any], known: Properties) -> Properties:
    device = found["RootDeviceName"]
    here = filters(attachment__instance_id=found["InstanceId"], attachment__device=device)
    volume = first(api.ec2.describe_volumes(Filters=here), "Volumes")
    if volume is None:
        return {}
    mappings = {item["DeviceName"]: item["Ebs"] for item in found["BlockDeviceMappings"]}
    declared = known.get("rootBlockDevice") or {}
    tags = tags_of(volume)
    if known.get("volumeTags") is not None:
        return {"volumeTags": tags, "rootBlockDevice": _disk(volume, mappings[device], device, declared)}
    extra = declared.get("tags") or {}
    own = {key: value for key, value in tags.items() if key in extra or api.default_tags.get(key) != value}
    disk = _disk(volume, mappings[device], device, declared)
    return {"rootBlockDevice": {**disk, "tags": own, "tagsAll": tags}}


def _disk(volume: Any, mapping: Any, device: str, declared: Properties) -> Properties:
    disk = {
        "deviceName": device,
        "volumeId": volume["VolumeId"],
        "volumeSize": volume["Size"],
        "volumeType": volume["VolumeType"],
        "encrypted": volume["Encrypted"],
        "kmsKeyId": volume.get("KmsKeyId"),
        "iops": volume.get("Iops"),
        # The emulator does not keep the throughput.
        "throughput": volume.get("Throughput", declared.get("throughput")),
        "deleteOnTermination": mapping["DeleteOnTermination"],
    }
    return {name: value for name, value in disk.items() if value is not None}
