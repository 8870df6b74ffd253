"""What the emulated account holds."""

from __future__ import annotations

from typing import Any

from sandbox.tests.stack.project import Project


def live(project: Project) -> dict[str, list[Any]]:
    """Everything that still costs money or clutters the account."""
    ec2, iam, ssm, kms = (project.aws(service) for service in ("ec2", "iam", "ssm", "kms"))
    reservations = ec2.describe_instances()["Reservations"]
    instances = [
        i for group in reservations for i in group["Instances"] if i["State"]["Name"] != "terminated"
    ]
    keys = [kms.describe_key(KeyId=k["KeyId"])["KeyMetadata"] for k in kms.list_keys()["Keys"]]
    return {
        "instances": instances,
        "vpcs": [vpc for vpc in ec2.describe_vpcs()["Vpcs"] if not vpc["IsDefault"]],
        "groups": [
            g for g in ec2.describe_security_groups()["SecurityGroups"] if g["GroupName"] != "default"
        ],
        "interfaces": ec2.describe_network_interfaces()["NetworkInterfaces"],
        "addresses": ec2.describe_addresses()["Addresses"],
        "roles": [role for role in iam.list_roles()["Roles"] if role["RoleName"].startswith("kubepark")],
        "profiles": iam.list_instance_profiles()["InstanceProfiles"],
        "parameters": ssm.describe_parameters(
            ParameterFilters=[{"Key": "Path", "Option": "Recursive", "Values": ["/kubepark-sandbox"]}]
        )["Parameters"],
        "keys": [
            key for key in keys if key["KeyManager"] == "CUSTOMER" and key["KeyState"] != "PendingDeletion"
        ],
        "aliases": [a for a in kms.list_aliases()["Aliases"] if a["AliasName"].startswith("alias/kubepark")],
    }
