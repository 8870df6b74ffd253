"""KMS keys: one that ends with the cluster, and one for what outlives it."""

from __future__ import annotations

import json

import pulumi
from pulumi_aws import kms

from components.iam import Document, key_policy
from config.model import AwsSettings
from config.naming import Naming


class Keys(pulumi.ComponentResource):
    """The cluster key (parameters, root disks) and the data key (volumes, snapshots, backups)."""

    cluster: kms.Key
    alias: kms.Alias  # of the cluster key
    data: kms.Key

    def __init__(
        self,
        name: str,
        settings: AwsSettings,
        naming: Naming,
        spot: bool,  # whether disks of Spot Instances are under the cluster key
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("kubepark:index:Keys", name, None, opts)
        self._naming = naming
        self.cluster, self.alias = self._key(
            f"{name}-cluster", naming.key_alias, "Parameters and root disks", key_policy(settings, spot=spot)
        )
        # Volumes, snapshots and backups outlive the cluster, and so must the key that opens them.
        self.data, _ = self._key(
            f"{name}-data", f"{naming.key_alias}-data", "Volumes and backups", key_policy(settings), keep=True
        )
        self.register_outputs({"cluster_key_arn": self.cluster.arn, "data_key_arn": self.data.arn})

    def _key(
        self, name: str, alias: str, description: str, policy: Document, *, keep: bool = False
    ) -> tuple[kms.Key, kms.Alias]:
        key = kms.Key(
            name,
            description=f"{self._naming.cluster}: {description}",
            enable_key_rotation=True,
            deletion_window_in_days=7,
            policy=json.dumps(policy),
            tags={"Name": alias.removeprefix("alias/")},
            opts=pulumi.ResourceOptions(parent=self, retain_on_delete=keep),
        )
        # The alias never stays behind: it would be in the way of the stack's next life.
        named = kms.Alias(
            name, name=alias, target_key_id=key.key_id, opts=pulumi.ResourceOptions(parent=self)
        )
        return key, named
