"""From instances to a cluster: waits for the nodes' records, reads the kubeconfig, owns the provider.

Waiting happens inside `apply` of an async function: a preview reads once; `up` polls until the nodes have
said how they are. The kubeconfig comes from the master alone, so replacing another node leaves everything
in the cluster untouched. It goes into a file, whose path is all that the provider is told: so a preview is
the same whether there is a cluster or not, and whether one may read its kubeconfig or not.
"""

from __future__ import annotations

import math
from asyncio import Task, create_task, open_connection, sleep, wait_for
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

import pulumi
import pulumi_aws as aws
import pulumi_kubernetes as kubernetes
from pulumi_aws import ec2

from components import waiting
from components.parameters import PENDING
from config import kubeconfig, new_cluster
from config.model import NodePlan, Power, Settings
from config.naming import Naming

NEXT = "A node goes on trying by itself: fix the cause, then run `up` again. Nothing needs to be replaced."
NOT_CREATED = (
    "it was not created; whatever does not need it goes on, and the next `up` tries again. Without capacity "
    "(InsufficientInstanceCapacity): wait, or another instance type or, for GPU nodes, another zone "
    "(kubepark:gpu.availabilityZone). Over a quota (VcpuLimitExceeded): ask AWS for more vCPU first"
)
_BY_STATE = "what is in the cluster is compared with the last update's state alone"
_CONNECT_SECONDS = 3.0
# Of the Kubernetes provider to the API server, which sees to its own load (priority and fairness). By default
# 50, and a preview asks once for each object.
_QUERIES_PER_SECOND = 400
_GATHER_SECONDS = 0.2  # how long a call is held back for others that want the same answer
# A quarter of what Parameter Store answers to an account by default; a call gives ten parameters.
# Source: AWS Systems Manager quotas (General Reference), GetParametersByPath.
_CALLS_PER_SECOND, _PER_CALL = 10, 10


class Cluster(pulumi.ComponentResource):
    """The cluster as the rest of the program sees it: a Kubernetes provider."""

    provider: kubernetes.Provider

    def __init__(
        self,
        name: str,
        settings: Settings,
        nodes: Sequence[NodePlan],  # the master first
        instances: Mapping[str, ec2.Instance],
        running_master: pulumi.Output[str],  # its instance id, once it is as its setting `power` says
        endpoint: pulumi.Output[str],  # where operators reach the API
        aws_provider: aws.Provider,
        known_master: str,  # its instance id at the last update; "" if this update makes the cluster
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("kubepark:index:Cluster", name, None, opts)
        self._settings, self._known_master = settings, known_master
        self._naming = Naming(settings.cluster)
        self._seconds = settings.control_plane.wait_minutes * 60.0
        self._instances = instances
        self._provider = aws_provider
        self._master, *self._others = nodes
        self._round: Task[Mapping[str, waiting.Record]] | None = None
        self._file = kubeconfig.file_of(settings.cluster, settings.control_plane.identity)
        # Awaiting a call's future drops its secretness, so it is put back here, outside.
        published: pulumi.Output[str] = pulumi.Output.secret(
            running_master.apply(self._await_master, run_with_unknowns=True)
        )
        kept: pulumi.Output[str] = pulumi.Output.all(published, endpoint).apply(
            self._keep, run_with_unknowns=True
        )
        # Each node is listened to from its own first second, however long another's creation takes.
        self._joined: pulumi.Output[dict[str, Any]] = pulumi.Output.all(
            **{
                node.name: instances[node.name].id.apply(partial(self._await, node), run_with_unknowns=True)
                for node in self._others
            }
        )
        self.provider = kubernetes.Provider(
            f"{name}-kubernetes",
            kubeconfig=pulumi.Output.unsecret(kept),  # a path
            # Never another one: a provider that is replaced deletes its objects in the old cluster, with old
            # credentials. Objects follow the identity by themselves, see `inside`.
            cluster_identifier=f"{settings.cluster}/1",
            enable_server_side_apply=True,
            # What the program sets it keeps: a hand edit is put back by `up`, not a conflict for ever.
            enable_patch_force=True,
            enable_config_map_mutable=True,
            enable_secret_mutable=True,
            kube_client_settings={"qps": _QUERIES_PER_SECOND, "burst": 2 * _QUERIES_PER_SECOND},
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.register_outputs({})

    def inside(self, master: ec2.Instance) -> pulumi.ResourceOptions:
        """Options of what lives in the cluster: made with it, gone with it.

        When the master goes in `destroy`, so does everything in the cluster: no call to a dead API. When
        the cluster is made anew, each object is deleted before it is made again: the provider speaks to the
        new API by then, which does not know it, or its kind. The other way round it would lose the new one.
        """
        identity = self._settings.control_plane.identity
        anew = pulumi.ResourceOptions(replacement_trigger=identity, delete_before_replace=True)

        def transform(args: pulumi.ResourceTransformationArgs) -> pulumi.ResourceTransformationResult | None:
            if not args.type_.startswith("kubernetes:"):
                return None
            return pulumi.ResourceTransformationResult(
                args.props, pulumi.ResourceOptions.merge(args.opts, anew)
            )

        return pulumi.ResourceOptions(
            provider=self.provider, deleted_with=master, transformations=[transform]
        )

    def once_joined(self, value: pulumi.Output[str]) -> pulumi.Output[str]:
        """The value, once every node has joined or is known to have failed."""
        return pulumi.Output.all(value, self._joined).apply(lambda both: str(both[0]))

    def fail_for_missing_nodes(self, after: Sequence[pulumi.Resource]) -> None:
        """Fail the update if a node other than the master did not come, once `after` is done.

        So a dead GPU node never holds up what does not need it, and still the update is not green. For one
        that was not created the engine fails the update itself, after the deletions of this update.
        """
        done = pulumi.Output.all(*[resource.urn for resource in after])
        pulumi.Output.all(self._joined, done).apply(lambda both: _raise_for(both[0]))

    async def _await_master(self, instance_id: str) -> str:
        """The kubeconfig as the master published it; in a preview "" where it cannot be had."""
        name = self._master.name
        if pulumi.runtime.is_dry_run():
            return await self._peek(instance_id)
        if pulumi.contains_unknowns(instance_id):
            raise pulumi.RunError(f"the control plane was not created: see the error of {name}")
        if self._known_master not in ("", instance_id):
            stack = pulumi.get_stack()
            raise pulumi.RunError(
                new_cluster.other_master(stack, self._settings, self._known_master, instance_id)
            )
        error = await self._await(self._master, instance_id)
        if error:
            raise pulumi.RunError(f"the control plane did not come up: {name}: {error}\n{NEXT}")
        return await self._read_kubeconfig()

    async def _peek(self, instance_id: str) -> str:
        if pulumi.contains_unknowns(instance_id):
            return ""
        expected = self._expected(self._master, instance_id)
        record = waiting.owned(expected, (await self._fetch()).get(expected.name))
        if record is None or record.get("phase") not in waiting.READY_PHASES:
            return ""
        try:
            return await self._read_kubeconfig()
        except pulumi.RunError as error:
            pulumi.log.info(f"{error}; {_BY_STATE}")
            return ""

    async def _keep(self, found: Any) -> str:
        """The path of the file, once the kubeconfig is in it."""
        text, endpoint = ("", "") if pulumi.contains_unknowns(found) else found
        if pulumi.runtime.is_dry_run():
            if text and not await _listens(endpoint):
                pulumi.log.info(f"the API server does not answer at {endpoint}; {_BY_STATE}")
                text = kubeconfig.NOWHERE  # with the address the provider would try for half a minute
        elif self._settings.control_plane.power is Power.RUNNING:
            await self._until_it_listens(endpoint)  # this update may have started the master
        kubeconfig.keep(self._file, kubeconfig.with_server(text, endpoint))
        return self._file

    async def _await(self, node: NodePlan, instance_id: str) -> Any:
        """What went wrong with the node, or None."""
        if pulumi.runtime.is_dry_run():
            return None
        if pulumi.contains_unknowns(instance_id):
            self._log(node.name, "error", NOT_CREATED)
            return None
        return await waiting.wait(
            self._expected(node, instance_id),
            self._read,
            sleep=sleep,
            clock=monotonic,
            today=partial(datetime.now, UTC),
            seconds=self._seconds,
            log=partial(self._log, node.name),
        )

    async def _until_it_listens(self, endpoint: str) -> None:
        """The master's record may be of before it was stopped. Raises: pulumi.RunError at the deadline."""
        end = monotonic() + self._seconds
        while not await _listens(endpoint):
            if monotonic() > end:
                raise pulumi.RunError(f"the API server does not answer at {endpoint}")
            await sleep(waiting.POLL_SECONDS)

    @staticmethod
    def _expected(node: NodePlan, instance_id: str) -> waiting.Expected:
        return waiting.Expected(name=node.name, instance_id=instance_id, generation=node.generation)

    def _log(self, node: str, level: str, message: str) -> None:
        if level == "error" and node == self._master.name:
            return  # the same message is raised in the same moment
        log = {"info": pulumi.log.info, "warning": pulumi.log.warn, "error": pulumi.log.error}[level]
        log(message, resource=self._instances[node])

    async def _read(self) -> Mapping[str, waiting.Record]:
        """Every node's record, asked for after this call began; those who ask together share the answer."""
        if self._round is None:
            self._round = create_task(self._gather())
        return await self._round

    async def _gather(self) -> Mapping[str, waiting.Record]:
        await sleep(_gather_seconds(1 + len(self._others)))
        self._round = None
        return await self._fetch()

    async def _fetch(self) -> Mapping[str, waiting.Record]:
        """One call for all records. One that fails is a round without news."""
        try:
            found = await self._call(
                "getParametersByPath", {"path": self._naming.status_path, "withDecryption": False}
            )
        except pulumi.RunError as error:
            pulumi.log.debug(f"reading the nodes' records failed: {error}")
            return {}
        records = {}
        for path, value in zip(found.get("names") or [], found.get("values") or [], strict=True):
            record = waiting.parse_record(value)
            if record is not None:
                records[path.rpartition("/")[2]] = record
        return records

    async def _read_kubeconfig(self) -> str:
        """Raises: pulumi.RunError if it cannot be read, or was not published."""
        name = self._naming.kubeconfig_parameter
        try:
            found = await self._call("getParameter", {"name": name, "withDecryption": True})
        except pulumi.RunError as error:
            raise pulumi.RunError(f"the kubeconfig ({name}) cannot be read: {error}") from None
        if found.get("value") in (None, PENDING):
            raise pulumi.RunError(f"the kubeconfig ({name}) was not published")
        return str(found["value"])

    async def _call(self, function: str, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """A call of SSM, secrets unwrapped. Raises: pulumi.RunError.

        Not by the SDK's `*_output` form: an Output that failed fails the whole update, whoever caught that.
        """
        options = pulumi.InvokeOptions(provider=self._provider)
        try:
            found = await pulumi.runtime.invoke_async(f"aws:ssm/{function}:{function}", arguments, options)
        except Exception as error:  # noqa: BLE001 - the SDK raises bare Exception for a failed call
            one_line = " ".join(str(error).split())  # the provider's is a list
            raise pulumi.RunError(one_line) from None
        return found or {}


def _gather_seconds(nodes: int) -> float:
    """How long a call for the records of so many nodes is held back: a large cluster's take many calls."""
    return max(_GATHER_SECONDS, math.ceil(nodes / _PER_CALL) / _CALLS_PER_SECOND)


async def _listens(endpoint: str) -> bool:
    """Whether somebody takes connections at a URL."""
    parts = urlsplit(endpoint)
    try:
        attempt = open_connection(parts.hostname, parts.port or 443)
        _, writer = await wait_for(attempt, _CONNECT_SECONDS)
    except OSError:  # and what wait_for raises, which is one
        return False
    writer.close()
    return True


def _raise_for(errors: Mapping[str, str | None]) -> None:
    failed = [f"  - {name}: {error}" for name, error in errors.items() if error]
    if failed:
        listed = "\n".join(failed)
        raise pulumi.RunError(f"{len(failed)} of {len(errors)} nodes did not come up:\n{listed}\n{NEXT}")
