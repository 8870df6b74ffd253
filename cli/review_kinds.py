"""What a change does to a running cluster: a class for each step of a preview, with the reason in words.

A table has a row for each type of resource that the program registers, which a test holds. Any other type
counts as part of the control plane: what nobody knows is looked at by somebody. An update is what the worst
of its changed properties is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from types import MappingProxyType

from cli.review_effects import Effect, Kind, Said
from cli.review_preview import STACK, Step
from config.naming import PROJECT, TAG_ROLE

_H, _P, _N, _A, _C, _D = Effect
_TAGS = (r"^(tags|tagsAll|description)\b", (_H, "tags and descriptions"))
_LABELS = (r'^metadata(\.|\[")(labels|annotations)\b', (_H, "labels and annotations of the object alone"))
_NEW = (_H, "is new")
_GONE = (_H, "goes; nothing needs it")

_INSTANCE_PATHS = (
    (r"\btags\b|\btagsAll\b", (_H, "tags")),
    (r"volumeSize", (_H, "the disk grows in place, its file system at the next boot")),
    (r"disableApiTermination", (_H, "whether AWS lets anybody terminate it")),
    (r"iamInstanceProfile", (_A, "another role: what the node itself may do in AWS")),
    (r"(vpcS|s)ecurityGroup", (_A, "other security groups: who may reach the node")),
    (r"metadataOptions", (_A, "who on the node gets its role from the metadata service")),
)
_NODE = Kind(
    create=(_H, "a new node joins"),
    update=(_N, "the node may be stopped for it, and its pods end"),
    delete=(_N, "the node goes: its pods end, and what they kept on its disk is gone"),
    replace=(_N, "the node is made anew: its pods end, and what they kept on its disk is gone"),
    paths=(
        *_INSTANCE_PATHS,
        (r"instanceType", (_N, "the node is stopped and started as another type: its pods end")),
    ),
)
_MASTER = Kind(
    create=(_C, "a control plane is made"),
    update=(_C, "the master may be stopped for it, and no API server answers until it is back"),
    delete=(_D, "etcd is on its disk: everything in the cluster is lost"),
    replace=(_D, "etcd is on its disk: everything in the cluster is lost"),
    paths=(
        *_INSTANCE_PATHS,
        (r"instanceType", (_C, "the master is stopped and started: no API server answers meanwhile")),
    ),
)
_NETWORK = Kind(
    create=_NEW,
    update=(_C, "the network of the nodes changes"),
    delete=(_C, "the network of the nodes changes"),
    paths=(_TAGS,),
)
_MASTERS_ADDRESS = (_C, "the address of the API server changes")
_ADDRESS = Kind(create=_NEW, update=_MASTERS_ADDRESS, delete=_MASTERS_ADDRESS, paths=(_TAGS,))
_REACH = (_A, "who may reach the nodes and the API server")
_RULE = Kind(create=_REACH, update=_REACH, delete=_REACH, paths=(_TAGS,))
_GROUP = Kind(create=_NEW, update=_REACH, delete=_REACH, paths=(_TAGS,))
_NODES_ROLE = (_A, "what a node itself may do in AWS")
_ROLE = Kind(
    create=(_H, "the role of a new node"),
    update=_NODES_ROLE,
    delete=_GONE,
    replace=_NODES_ROLE,
    paths=(_TAGS,),
)
_FOREIGN_ROLE = Kind(create=(_A, "a role that others than EC2 may take"), update=_NODES_ROLE, delete=_GONE)
_KEY = Kind(
    create=_NEW,
    update=(_C, "disks and parameters are encrypted with it"),
    delete=(_D, "what is encrypted with the key cannot be read any more"),
    paths=(
        _TAGS,
        (r"^policy\b", (_A, "who may use the key")),
        (r"otation|^deletionWindow", (_H, "the key stays")),
    ),
)
_ALIAS = Kind(
    create=_NEW,
    update=(_C, "parameters are encrypted under this name"),
    delete=(_C, "parameters are encrypted under this name"),
)
_EXCHANGED = (_C, "how nodes join, and where the operator's kubeconfig comes from")
_SECRET_PARAMETER = Kind(create=_NEW, update=_EXCHANGED, delete=_EXCHANGED, paths=(_TAGS,))
_RECORD = Kind(create=_NEW, update=(_H, "a node's own record"), delete=_GONE, paths=(_TAGS,))
_HOSTS = Kind(
    create=_NEW,
    update=(_H, "each node takes its new rows of /etc/hosts by itself"),
    delete=_GONE,
    paths=(_TAGS,),
)
_PINNED = (_P, "a node is started or stopped as the stack file wants it, and in a stop its pods end")
_PIN = Kind(create=_PINNED, update=_PINNED, delete=(_H, "the node stays as it is"), replace=_PINNED)
_AT_TIMES = (_P, "GPU nodes are stopped at other times, and their pods end then")
_SCHEDULE = Kind(
    create=(_P, "GPU nodes are stopped at set times, and their pods end then"),
    update=_AT_TIMES,
    delete=(_H, "GPU nodes are no longer started and stopped at set times"),
    replace=_AT_TIMES,
)
_AWS_PROVIDER = Kind(
    create=_NEW,
    update=(_C, "which account is worked on, and how"),
    delete=(_D, "everything in AWS goes with its provider"),
    paths=(
        (r"^(defaultTags|maxRetries|version|skip\w+)\b", (_H, "tags, retries and the provider's version")),
    ),
)
_KUBERNETES_PROVIDER = Kind(
    create=_NEW,
    update=(_C, "which cluster is worked on, and how"),
    delete=(_D, "everything in the cluster goes with its provider"),
    paths=((r"^(version)\b", (_H, "the provider's version")),),
)
_NOTHING = Kind(create=_NEW, update=(_H, "stands for others"), delete=_GONE)

_WORKLOAD = Kind(
    create=_NEW,
    update=(_P, "its pods are replaced"),
    delete=(_P, "its pods end"),
    replace=(_P, "its pods end before new ones start"),
    paths=(
        _LABELS,
        (r"^spec\b.*\btemplate\b", (_P, "its pods are replaced")),
        (r"^spec\b.*\breplicas\b", (_P, "the number of its pods changes")),
        (
            r"^spec\b.*([sS]trategy|minReadySeconds|revisionHistoryLimit)",
            (_H, "holds from the next roll-out on"),
        ),
    ),
)
_READ = (_P, "pods that read it have it at their next start, or do not start any more")
_CONFIG_MAP = Kind(create=_NEW, update=_READ, delete=_READ, paths=(_LABELS,))
_LOGIN = (_A, "who may log in, and how")
_DEX = Kind(create=_NEW, update=_LOGIN, delete=_LOGIN, paths=(_LABELS,))
_CREDENTIAL = (_A, "a password, a token or another secret changes")
_SECRET = Kind(create=_NEW, update=_CREDENTIAL, delete=_CREDENTIAL, paths=(_LABELS,))
_WHO = (_A, "who may do what in the cluster")
_RBAC = Kind(create=_WHO, update=_WHO, delete=_WHO, paths=(_LABELS,))
_ACCOUNT = Kind(create=_NEW, update=_WHO, delete=_WHO, paths=(_LABELS,))
_CONNECTS = (_A, "who may connect to whom in the cluster")
_POLICY = Kind(create=_CONNECTS, update=_CONNECTS, delete=_CONNECTS, paths=(_LABELS,))
_NEW_PODS = (_H, "holds for new pods; those that run stay")
_PROFILE = Kind(
    create=(_A, "somebody gets a namespace and owns it"),
    update=(_A, "whose namespace it is, and what its owner may do"),
    delete=(_A, "its owner has no access any more"),
    replace=(_A, "its owner has no access meanwhile"),
    paths=(_LABELS, (r"^spec\b.*resourceQuotaSpec", _NEW_PODS)),
)
_LIMIT = Kind(create=_NEW_PODS, update=_NEW_PODS, delete=_NEW_PODS, paths=(_LABELS,))
_DRAINS = (_H, "how many pods a drain may end at once")
_DISRUPTIONS = Kind(create=_DRAINS, update=_DRAINS, delete=_DRAINS, paths=(_LABELS,))
_NAMESPACE = Kind(
    create=_NEW,
    update=(_A, "what may be in the namespace"),
    delete=(_D, "everything in the namespace is deleted, volumes as well"),
    paths=(
        (r"pod-security", (_A, "what pods in the namespace may be")),
        (r"owner", (_A, "whose namespace it is")),
        _LABELS,
    ),
)
_VOLUME = Kind(
    create=_NEW,
    update=(_P, "pods that use the volume"),
    delete=(_D, "what is on the volume is lost"),
    paths=(_LABELS,),
)
_SERVICE = Kind(
    create=_NEW, update=(_P, "its clients connect anew"), delete=(_P, "its clients lose it"), paths=(_LABELS,)
)
_CLASS = Kind(
    create=_NEW,
    update=(_P, "pods that name it start in another way"),
    delete=(_P, "pods that name it do not start meanwhile"),
    paths=(_LABELS,),
)
_DEFINITION = Kind(
    create=_NEW,
    update=(_C, "what the API takes as an object of its kind"),
    delete=(_D, "every object of its kind goes with it"),
    paths=(_LABELS,),
)
_POD_NETWORK = (_C, "the pod network of every node")
_CALICO = Kind(create=_POD_NETWORK, update=_POD_NETWORK, delete=_POD_NETWORK, paths=(_LABELS,))
_EVERY_CALL = (_C, "every call of the API that it is about")
_WEBHOOK = Kind(create=_EVERY_CALL, update=_EVERY_CALL, delete=_EVERY_CALL, paths=(_LABELS,))
UNKNOWN = (_C, "kubepark does not know what this type does")
_UNKNOWN = Kind(create=UNKNOWN, update=UNKNOWN, delete=UNKNOWN)


def _instance(step: Step) -> Kind:
    return _MASTER if (step.inputs.get("tags") or {}).get(TAG_ROLE) == "master" else _NODE


def _parameter(step: Step) -> Kind:
    """By the last parts of its path: /CLUSTER/hosts/00, /CLUSTER/status/worker01, /CLUSTER/join."""
    folder = str(step.inputs.get("name")).split("/")[2:-1]
    return {"hosts": _HOSTS, "status": _RECORD}.get("/".join(folder), _SECRET_PARAMETER)


def _role(step: Step) -> Kind:
    """One that EC2 alone may take is of use to the instance that has it, and that instance shows itself."""
    try:
        statements = json.loads(step.inputs.get("assumeRolePolicy") or "")["Statement"]
        trusted = [each["Principal"] for each in statements]
    except (
        ValueError,
        KeyError,
        TypeError,
    ):  # unknown until it is made, or in a form that nobody of us writes
        return _FOREIGN_ROLE
    return _ROLE if trusted == [{"Service": "ec2.amazonaws.com"}] else _FOREIGN_ROLE


def _config_map(step: Step) -> Kind:
    metadata = step.inputs.get("metadata") or {}
    return _DEX if (metadata.get("namespace"), metadata.get("name")) == ("auth", "dex") else _CONFIG_MAP


# By `key_of`. Of Kubernetes' own kinds also those that upstream's manifests bring, without the API's version.
KINDS: Mapping[str, Kind | Callable[[Step], Kind]] = MappingProxyType(
    {
        STACK: _NOTHING,
        "pulumi:providers:pulumi": _NOTHING,
        "pulumi:providers:aws": _AWS_PROVIDER,
        "pulumi:providers:kubernetes": _KUBERNETES_PROVIDER,
        "aws:ec2/instance:Instance": _instance,
        "aws:ec2/networkInterface:NetworkInterface": _ADDRESS,
        "aws:ec2/eip:Eip": _ADDRESS,
        "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup": _GROUP,
        "aws:ec2/securityGroup:SecurityGroup": _GROUP,
        "aws:ec2/vpcSecurityGroupRulesExclusive:VpcSecurityGroupRulesExclusive": _RULE,
        "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule": _RULE,
        "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule": _RULE,
        **dict.fromkeys(
            (
                "aws:ec2/internetGateway:InternetGateway",
                "aws:ec2/route:Route",
                "aws:ec2/routeTable:RouteTable",
                "aws:ec2/routeTableAssociation:RouteTableAssociation",
                "aws:ec2/subnet:Subnet",
                "aws:ec2/subnetCidrReservation:SubnetCidrReservation",
                "aws:ec2/vpc:Vpc",
            ),
            _NETWORK,
        ),
        "aws:ec2transitgateway/instanceState:InstanceState": _PIN,
        "aws:iam/instanceProfile:InstanceProfile": _ROLE,
        "aws:iam/role:Role": _role,
        "aws:iam/rolePolicy:RolePolicy": _ROLE,
        "aws:kms/alias:Alias": _ALIAS,
        "aws:kms/key:Key": _KEY,
        "aws:scheduler/schedule:Schedule": _SCHEDULE,
        "aws:scheduler/scheduleGroup:ScheduleGroup": Kind(create=_NEW, update=_TAGS[1], delete=_GONE),
        "aws:ssm/parameter:Parameter": _parameter,
        **dict.fromkeys(
            (
                "kubernetes:apps:DaemonSet",
                "kubernetes:apps:Deployment",
                "kubernetes:apps:ReplicaSet",
                "kubernetes:apps:StatefulSet",
                "kubernetes:batch:CronJob",
                "kubernetes:batch:Job",
                "kubernetes:core:Pod",
            ),
            _WORKLOAD,
        ),
        "kubernetes:core:ConfigMap": _config_map,
        "kubernetes:core:LimitRange": _LIMIT,
        "kubernetes:core:Namespace": _NAMESPACE,
        "kubernetes:core:PersistentVolume": _VOLUME,
        "kubernetes:core:PersistentVolumeClaim": _VOLUME,
        "kubernetes:core:ResourceQuota": _LIMIT,
        "kubernetes:core:Secret": _SECRET,
        "kubernetes:core:Service": _SERVICE,
        "kubernetes:core:ServiceAccount": _ACCOUNT,
        "kubernetes:apiextensions.k8s.io:CustomResourceDefinition": _DEFINITION,
        "kubernetes:admissionregistration.k8s.io:MutatingWebhookConfiguration": _WEBHOOK,
        "kubernetes:admissionregistration.k8s.io:ValidatingWebhookConfiguration": _WEBHOOK,
        "kubernetes:kubeflow.org:Profile": _PROFILE,
        "kubernetes:networking.k8s.io:NetworkPolicy": _POLICY,
        "kubernetes:node.k8s.io:RuntimeClass": _CLASS,
        "kubernetes:operator.tigera.io:Installation": _CALICO,
        "kubernetes:policy:PodDisruptionBudget": _DISRUPTIONS,
        "kubernetes:rbac.authorization.k8s.io:ClusterRole": _RBAC,
        "kubernetes:rbac.authorization.k8s.io:ClusterRoleBinding": _RBAC,
        "kubernetes:rbac.authorization.k8s.io:Role": _RBAC,
        "kubernetes:rbac.authorization.k8s.io:RoleBinding": _RBAC,
        "kubernetes:scheduling.k8s.io:PriorityClass": _CLASS,
        "kubernetes:security.istio.io:AuthorizationPolicy": _POLICY,
    }
)


def key_of(kind: str) -> str:
    """A resource type as the table has it: of Kubernetes' types without the API's version."""
    package, module, name = kind.split(":", 2)
    return f"{package}:{module.partition('/')[0]}:{name}" if package == "kubernetes" else kind


def is_known(kind: str) -> bool:
    """Whether the table has a resource type. Components of ours are nothing by themselves."""
    return kind.startswith(f"{PROJECT}:") or key_of(kind) in KINDS


def classify(step: Step) -> Said:
    """The class of a step that changes something, and why: create, update, delete or replace."""
    kind = _kind(step)
    if step.operation in ("create", "import"):
        return kind.create
    if step.operation == "delete":
        return (_H, "stays in AWS, and pulumi forgets it") if step.retained else kind.delete
    if step.operation == "replace":
        return kind.replace or kind.delete
    said = [_of_path(kind, path) for path in step.changed] or [kind.update]
    return max(said, key=lambda each: each[0])  # of equals the first


def _kind(step: Step) -> Kind:
    if step.type.startswith(f"{PROJECT}:"):
        return _NOTHING
    found = KINDS.get(key_of(step.type), _UNKNOWN)
    return found if isinstance(found, Kind) else found(step)


def _of_path(kind: Kind, path: str) -> Said:
    return next((said for pattern, said in kind.paths if re.search(pattern, path)), kind.update)
