"""Which changes cannot be made in place: the table of the official provider (its diff.go, v4).

Facts of the Kubernetes API: fields that the server refuses to change. ConfigMaps and Secrets are a
choice of the official provider: replaced when their data changes, unless the settings say otherwise.
"""

from __future__ import annotations

from sandbox.providers.backend import Properties
from sandbox.providers.kubernetes.kinds import Kind

_IDENTITY = ("apiVersion", "kind", "metadata.name", "metadata.namespace")
_BINDING = ("roleRef",)


def _below(prefix: str, names: str) -> tuple[str, ...]:
    return tuple(f"{prefix}.{name}" for name in names.split())


_CONTAINER = """
    args command env image imagePullPolicy lifecycle livenessProbe ports readinessProbe resources
    securityContext stdin stdinOnce terminationMessagePath terminationMessagePolicy tty volumeDevices
    volumeMounts workingDir
"""
_POD = """
    affinity automountServiceAccountToken dnsConfig dnsPolicy enableServiceLinks hostAliases hostIPC
    hostNetwork hostPID hostname imagePullSecrets nodeName nodeSelector overhead preemptionPolicy priority
    priorityClassName readinessGates restartPolicy runtimeClassName schedulerName securityContext
    serviceAccount serviceAccountName shareProcessNamespace subdomain terminationGracePeriodSeconds volumes
"""
_VOLUME_SOURCES = """
    awsElasticBlockStore azureDisk azureFile cephfs cinder csi fc flexVolume flocker gcePersistentDisk
    glusterfs hostPath iscsi local nfs photonPersistentDisk portworxVolume quobyte rbd scaleIO storageos
    vsphereVolume
"""
_STATEFUL_SET = "podManagementPolicy revisionHistoryLimit selector serviceName volumeClaimTemplates"

_FIXED: dict[str, tuple[str, ...]] = {
    "apps/v1/DaemonSet": ("spec.selector",),
    "apps/v1/Deployment": ("spec.selector",),
    "apps/v1/StatefulSet": _below("spec", _STATEFUL_SET),
    "batch/v1/Job": _below("spec", "completions parallelism selector template"),
    "rbac.authorization.k8s.io/v1/ClusterRoleBinding": _BINDING,
    "rbac.authorization.k8s.io/v1/RoleBinding": _BINDING,
    "storage.k8s.io/v1/StorageClass": ("parameters", "provisioner"),
    "v1/PersistentVolume": _below("spec", _VOLUME_SOURCES),
    "v1/PersistentVolumeClaim": _below("spec", "accessModes selector storageClassName volumeName"),
    "v1/Pod": (
        *_below("spec", _POD),
        *_below("spec.containers[*]", _CONTAINER),
        *_below("spec.initContainers[*]", _CONTAINER),
    ),
    "v1/ResourceQuota": ("spec.scopes",),
    "v1/Secret": ("type",),
    "v1/Service": ("spec.clusterIP",),
}
_CONTENT = {"v1/ConfigMap": ("data", "binaryData"), "v1/Secret": ("data", "stringData")}


def fixed_paths(kind: Kind, old: Properties, new: Properties, *, mutable: bool) -> tuple[str, ...]:
    """Property paths (`[*]`: any element) whose change replaces the object.

    `mutable`: the setting for this kind (ConfigMap, Secret) that lets its content change in place.
    """
    paths = _IDENTITY + _FIXED.get(str(kind), ())
    content = _CONTENT.get(str(kind), ())
    if old.get("immutable") is True:
        return paths + content + ("immutable",)
    return paths + (() if mutable and new.get("immutable") is not True else content)
