"""Previews for tests of `kubepark review`: events as the CLI prints them, put together from a few words."""

from __future__ import annotations

import json
from typing import Any

from cli.review_preview import Preview, parse
from cli.review_summary import Review, review

STACK = "pulumi:pulumi:Stack"
DEPLOYMENT = "kubernetes:apps/v1:Deployment"
SECRET = {"4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270", "ciphertext": "abc"}


ENDED: dict[str, Any] = {"sequence": 9, "summaryEvent": {"resourceChanges": {}}}


def urn(kind: str, name: str) -> str:
    return f"urn:pulumi:dev::kubepark::{kind}::{name}"


def step(
    operation: str,
    kind: str,
    name: str,
    old: dict[str, Any] | None = None,
    new: dict[str, Any] | None = None,
    *paths: str,
    **more: Any,
) -> dict[str, Any]:
    """One step as an event; `paths`: what its detailed difference names."""
    metadata: dict[str, Any] = {"op": operation, "urn": urn(kind, name), "type": kind, "detailedDiff": None}
    for side, inputs in (("old", old), ("new", new)):
        if inputs is not None:
            metadata[side] = {"type": kind, "urn": urn(kind, name), "inputs": inputs} | more
    if paths:
        metadata["detailedDiff"] = {path: {"diffKind": "update", "inputDiff": True} for path in paths}
    return {"sequence": 1, "resourcePreEvent": {"metadata": metadata}}


def outputs(old: dict[str, Any] | None, new: dict[str, Any]) -> dict[str, Any]:
    """The stack's outputs before and after."""
    sides = {"old": old and {"outputs": old}, "new": {"outputs": new}}
    return {
        "sequence": 2,
        "resOutputsEvent": {"metadata": {"op": "same", "urn": urn(STACK, "s"), "type": STACK} | sides},
    }


def finding(level: str, message: str = "says no", policy: str = "no-ssh") -> dict[str, Any]:
    event = {"resourceUrn": urn("aws:ec2/securityGroup:SecurityGroup", "nodes"), "policyName": policy}
    return {"sequence": 3, "policyEvent": event | {"message": message, "enforcementLevel": level}}


def said(message: str, severity: str = "error") -> dict[str, Any]:
    return {"sequence": 4, "diagnosticEvent": {"message": message, "severity": severity, "color": "raw"}}


def preview(*events: dict[str, Any]) -> Preview:
    aws = json.dumps({"region": "us-east-1"})
    prelude = {"sequence": 0, "preludeEvent": {"config": {"kubepark:aws": aws}}}
    return parse("\n".join(map(json.dumps, [prelude, *events, ENDED])), "test")


def reviewed(*events: dict[str, Any], **options: Any) -> Review:
    return review("dev", preview(*events), "", **options)


def workload(name: str = "dex", replicas: int = 2, image: str = "dex:1", **labels: str) -> dict[str, Any]:
    return {
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "auth", "labels": labels},
        "spec": {"replicas": replicas, "template": {"spec": {"containers": [{"image": image}]}}},
    }
