"""From instances to a cluster: waits for the nodes' records, reads the kubeconfig, owns the provider.

Waiting happens inside `apply` of an async function: a preview reads once and says "unknown" when the
cluster is not there yet; `up` polls until the nodes have said how they are. The kubeconfig comes from
the master alone, so replacing another node leaves everything in the cluster untouched.
"""

from __future__ import annotations

from asyncio import sleep
from collections.abc import Mapping, Sequence
from time import monotonic
from typing import Any

import pulumi
import pulumi_aws as aws
import pulumi_kubernetes as kubernetes
from pulumi_aws import ec2, ssm

from components import waiting
from components.access import PENDING
from components.model import NodePlan, Role, Settings
from components.naming import Naming


class Cluster(pulumi.ComponentResource):
    """The cluster as the rest of the program sees it: a kubeconfig and a Kubernetes provider."""

    kubeconfig: pulumi.Output[str]
    provider: kubernetes.Provider

    def __init__(
        self,
        name: str,
        settings: Settings,
        nodes: Sequence[NodePlan],
        instances: Mapping[str, ec2.Instance],
        aws_provider: aws.Provider,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("kubepark:cluster:Cluster", name, None, opts)
        self._naming = Naming(settings.cluster)
        self._seconds = settings.control_plane.wait_minutes * 60.0
        self._instances = instances
        self._invoke = pulumi.InvokeOutputOptions(provider=aws_provider)
        self._master = next(node for node in nodes if node.role is Role.MASTER)
        self._others = [node for node in nodes if node.role is not Role.MASTER]
        # Awaiting a call's future drops its secretness, so it is put back here, outside.
        self.kubeconfig = pulumi.Output.secret(instances[self._master.name].id.apply(self._await_master))
        self._joined: pulumi.Output[dict[str, str | None]] = pulumi.Output.all(
            *[instances[node.name].id for node in self._others]
        ).apply(self._await_others)
        self.provider = kubernetes.Provider(
            f"{name}-kubernetes",
            kubeconfig=self.kubeconfig,
            # Plain on purpose: an instance's id here would replace every object with the master.
            cluster_identifier=f"{settings.cluster}/{settings.control_plane.identity}",
            enable_server_side_apply=True,
            enable_config_map_mutable=True,
            enable_secret_mutable=True,
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.register_outputs({"kubeconfig": self.kubeconfig})

    def fail_for_missing_nodes(self, after: Sequence[pulumi.Resource]) -> None:
        """Fail the update if a node other than the master did not come, once `after` is done.

        So a dead GPU node never holds up what does not need it, and still the update is not green.
        """
        done = pulumi.Output.all(*[resource.urn for resource in after])
        pulumi.Output.all(self._joined, done).apply(lambda both: _raise_for(both[0]))

    async def _await_master(self, instance_id: str) -> Any:  # the kubeconfig, or pulumi.UNKNOWN
        expected = self._expected(self._master, instance_id)
        if pulumi.runtime.is_dry_run():
            record = waiting.owned(expected, (await self._read()).get(expected.name))
            ready = record is not None and record.get("phase") in waiting.READY_PHASES
            return await self._read_kubeconfig() if ready else pulumi.UNKNOWN
        verdict = (await self._wait((expected,)))[expected.name]
        if verdict.error:
            raise pulumi.RunError(f"the control plane did not come up: {verdict.error}")
        return await self._read_kubeconfig()

    async def _await_others(self, instance_ids: list[Any]) -> Any:
        """By node name: what went wrong with it, or None."""
        if pulumi.runtime.is_dry_run():
            return {}
        pairs = zip(self._others, instance_ids, strict=True)
        verdicts = await self._wait(tuple(self._expected(node, iid) for node, iid in pairs))
        return {name: verdict.error for name, verdict in verdicts.items()}

    @staticmethod
    def _expected(node: NodePlan, instance_id: str) -> waiting.Expected:
        return waiting.Expected(name=node.name, instance_id=instance_id, generation=node.generation)

    async def _wait(self, expected: tuple[waiting.Expected, ...]) -> dict[str, waiting.Verdict]:
        return await waiting.wait(
            expected,
            self._read,
            sleep=sleep,
            clock=monotonic,
            seconds=self._seconds,
            say=self._say,
        )

    def _say(self, level: str, node: str, text: str) -> None:
        say = {"info": pulumi.log.info, "warning": pulumi.log.warn, "error": pulumi.log.error}[level]
        say(text, resource=self._instances[node])

    async def _read(self) -> Mapping[str, waiting.Record]:
        """One round: every node's record. A call that fails is a round without news."""
        call = ssm.get_parameters_by_path_output(
            path=self._naming.status_path, with_decryption=False, opts=self._invoke
        )
        try:
            found: Any = await call.future()
        except Exception as error:  # noqa: BLE001 - the SDK raises bare Exception for a failed call
            if pulumi.runtime.is_dry_run():
                return {}
            pulumi.log.debug(f"reading the nodes' records failed, trying again: {error}")
            return {}
        if found is None:
            return {}
        records = {}
        for path, value in zip(found.names or [], found.values or [], strict=True):
            record = waiting.parse_record(value)
            if record is not None:
                records[path.rpartition("/")[2]] = record
        return records

    async def _read_kubeconfig(self) -> Any:
        call = ssm.get_parameter_output(
            name=self._naming.kubeconfig_parameter, with_decryption=True, opts=self._invoke
        )
        found: Any = await call.future()
        if found is None or found.value == PENDING:
            return pulumi.UNKNOWN
        return str(found.value)


def _raise_for(errors: Mapping[str, str | None]) -> None:
    failed = [error for error in errors.values() if error]
    if failed:
        listed = "\n".join(f"  - {error}" for error in failed)
        raise pulumi.RunError(f"{len(failed)} of {len(errors)} nodes did not come up:\n{listed}")
