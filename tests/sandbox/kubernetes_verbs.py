"""The Kubernetes stand-in's verbs called directly, and manifests to call them with."""

from __future__ import annotations

import time

from sandbox.providers.kubernetes.backend import KubernetesBackend

CONFIG_MAP = "kubernetes:core/v1:ConfigMap"
NAMESPACE = "kubernetes:core/v1:Namespace"
SECRET = "kubernetes:core/v1:Secret"
DEPLOYMENT = "kubernetes:apps/v1:Deployment"
JOB = "kubernetes:batch/v1:Job"
CRD = "kubernetes:apiextensions.k8s.io/v1:CustomResourceDefinition"


def configured(apiserver, **variables):
    backend = KubernetesBackend()
    backend.configure({"kubeconfig": apiserver.text, **variables})
    return backend


def urn(typ, name="x"):
    return f"urn:pulumi:s::p::{typ}::{name}"


def create(backend, typ, inputs, *, preview=False, timeout=0.0):
    return backend.create(urn(typ), typ, inputs, preview=preview, timeout=timeout)


def update(backend, typ, made, inputs, *, preview=False, ignore=()):
    return backend.update(
        urn(typ),
        typ,
        made.id,
        {},
        made.outputs,
        inputs,
        preview=preview,
        ignore_changes=list(ignore),
        timeout=0,
    )


def read(backend, typ, id, inputs=None, outputs=None):
    return backend.read(urn(typ), typ, id, inputs or {}, outputs or {})


def delete(backend, typ, id, inputs=None, timeout=0.0):
    backend.delete(urn(typ), typ, id, inputs or {}, {}, timeout=timeout)


def config_map(namespace, data=None, **extra):
    meta = {"name": "c", "namespace": namespace}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": data or {"k": "v"}, **extra}


def deployment(namespace, replicas=1, annotations=None, **metadata):
    labels = {"app": "d"}
    container = {"name": "main", "image": "example.invalid/main:1", "resources": {"limits": {"cpu": "0.5"}}}
    meta = {"name": "d", "namespace": namespace, "annotations": annotations or {}, **metadata}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": meta,
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    }


def definition(group, kind="Thing", plural="things", scope="Namespaced"):
    schema = {
        "type": "object",
        "properties": {"spec": {"type": "object", "properties": {"size": {"type": "integer"}}}},
    }
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {
            "group": group,
            "names": {"kind": kind, "plural": plural, "singular": kind.lower(), "listKind": f"{kind}List"},
            "scope": scope,
            "versions": [version],
        },
    }


def thing(group, namespace, **spec):
    meta = {"name": "t", "namespace": namespace}
    return {"apiVersion": f"{group}/v1", "kind": "Thing", "metadata": meta, "spec": spec}


def wait_for(look, seconds=20.0):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = look()
        if found:
            return found
        time.sleep(0.1)
    raise AssertionError("waited in vain")
