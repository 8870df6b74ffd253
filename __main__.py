"""Composition only: settings, components, outputs. See docs/architecture.md."""

from __future__ import annotations

import pulumi
import pulumi_aws as aws

from components import preflight, stack_traces
from components.cluster import Cluster
from components.iam import Iam
from components.incluster.components import Calico, Dex, Gpu, Profiles
from components.incluster.manifest import Manifest
from components.instances import ControlPlane, Foundation, NodePool, created, outdated_nodes
from components.keys import Keys
from components.network import Network
from components.parameters import Parameters
from components.power import pin
from components.schedule import GpuSchedule
from components.security import Security
from config import costs, last_update, people
from config.model import Market, NodeRole, Power, Settings
from config.naming import API_PORT, TAG_CLUSTER, Naming


def main() -> None:
    plan = preflight.run()  # every check; nothing is registered before it
    settings, naming = plan.settings, Naming(plan.settings.cluster)
    provider = aws_provider(settings)
    in_aws = pulumi.ResourceOptions(provider=provider)

    network = Network("network", settings.network, naming, in_aws)
    security = Security("security", network.vpc_id, settings.network.admin_cidrs, naming, in_aws)
    spot = any(node.market is Market.SPOT for node in settings.gpu.nodes)
    keys = Keys("keys", settings.aws, naming, spot, in_aws)
    iam = Iam("iam", plan.nodes, settings.aws, naming, settings.gpu.guarded, in_aws)
    parameters = Parameters("parameters", plan.nodes, naming, keys.alias.name, settings.gpu, in_aws)
    foundation = Foundation(
        naming=naming,
        user_data=plan.user_data,
        network=network,
        security=security,
        keys=keys,
        iam=iam,
        parameters=parameters,
    )
    protected = settings.control_plane.protected
    master = ControlPlane("control-plane", plan.master, foundation, protected, in_aws)
    workers = NodePool("workers", plan.of(NodeRole.WORKER), foundation, in_aws)
    gpu_nodes = NodePool("gpu", plan.of(NodeRole.GPU), foundation, in_aws)
    instances = {plan.master.name: master.instance, **workers.instances, **gpu_nodes.instances}

    ids = {name: instance.id for name, instance in instances.items()}
    if settings.gpu.schedule:
        theirs = {name: ids[name] for name in gpu_nodes.instances}
        GpuSchedule("gpu-schedule", settings.gpu.schedule, theirs, settings.aws, naming, in_aws)
    running = {**ids, **pin(Power.RUNNING, settings, plan.nodes, ids, opts=in_aws)}

    api, running_master = endpoint(settings, master), running[plan.master.name]
    cluster = Cluster(
        "cluster", settings, plan.nodes, instances, running_master, api, provider, plan.known_master
    )
    in_cluster = cluster.inside(master.instance)
    calico = Calico("calico", settings, plan.manifests["calico"], in_cluster)
    gpu = Gpu("gpu-support", settings, list(gpu_nodes.instances.values()), in_cluster)
    dex = Dex("dex", settings, in_cluster)
    # Its pods need the network, and its large CRDs would keep the network waiting.
    networked = pulumi.ResourceOptions(depends_on=calico.objects[-1:])
    kubeflow = Manifest(
        "kubeflow", plan.manifests["kubeflow"], pulumi.ResourceOptions.merge(in_cluster, networked)
    )
    profiles = Profiles(
        "profiles",
        settings,
        pulumi.ResourceOptions.merge(in_cluster, pulumi.ResourceOptions(depends_on=kubeflow.objects)),
    )
    independent = (calico, gpu, dex, kubeflow, profiles)
    objects = [made for component in independent for made in component.objects]
    joined = {name: cluster.once_joined(instance_id) for name, instance_id in ids.items()}
    pin(Power.STOPPED, settings, plan.nodes, joined, after=objects, opts=in_aws)
    cluster.fail_for_missing_nodes(after=objects)

    pulumi.export("api_endpoint", api)
    pulumi.export(
        "nodes",
        [
            {
                "name": node.name,
                "role": node.role.value,
                "private_ip": node.private_ip,
                "instance_id": created(instances[node.name].id),
            }
            for node in plan.nodes
        ],
    )
    pulumi.export("outdated_nodes", outdated_nodes(plan.nodes, plan.user_data, instances))
    pulumi.export("dex_issuer", dex.issuer)
    pulumi.export("profiles", profiles.namespaces)
    pulumi.export("access", people.matrix(settings.people, settings.groups))
    pulumi.export("data_key_id", keys.data.key_id)
    for name, value in {**costs.outputs(plan.cost), **last_update.outputs(settings)}.items():
        pulumi.export(name, value)


# The provider tries again after InsufficientInstanceCapacity as after throttling, by default 25 times, which
# takes up to an hour (hashicorp/terraform-provider-aws, service/ec2/service_package.go and issue 43193).
# Pauses double, from a second on: nine attempts take four minutes at most.
_ATTEMPTS = 9


def aws_provider(settings: Settings) -> aws.Provider:
    """The one AWS provider: it refuses another account, and tags whatever it makes."""
    url = settings.aws.endpoint
    everywhere = aws.ProviderEndpointArgs(ec2=url, iam=url, kms=url, scheduler=url, ssm=url, sts=url)
    return aws.Provider(
        "aws",
        region=settings.aws.region,
        allowed_account_ids=[settings.aws.account_id],
        endpoints=[everywhere] if url else None,
        max_retries=_ATTEMPTS,
        default_tags=aws.ProviderDefaultTagsArgs(tags={**settings.tags, TAG_CLUSTER: settings.cluster}),
    )


def endpoint(settings: Settings, master: ControlPlane) -> pulumi.Output[str]:
    """Where operators reach the API."""
    named = settings.control_plane.api_endpoint
    return pulumi.Output.from_input(
        named or pulumi.Output.concat("https://", master.public_ip, f":{API_PORT}")
    )


with stack_traces.limited():
    main()
