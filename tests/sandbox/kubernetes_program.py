"""A Pulumi program that is data: one Kubernetes provider and objects on it. Also one engine operation.

`python -m tests.sandbox.kubernetes_program` reads a `Job` as JSON, does it, and writes a `Run`. A
process of its own for each operation, as the sandbox's driver does it: the SDK keeps its state in
module variables, and leaves coroutines behind when an operation fails.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass, field
from typing import Any

import pulumi
import pulumi_kubernetes
from pulumi import automation as auto

from tests.quick_stack import quick_stack


@dataclass
class Program:
    """Everything may be changed between operations. Objects depend on each other in their order."""

    provider: dict[str, Any]
    objects: dict[str, dict[str, Any]]
    secrets: dict[str, dict[str, str]] = field(default_factory=dict)  # object -> plain stringData

    def __call__(self) -> None:
        provider = pulumi_kubernetes.Provider("cluster", **self.provider)
        before: list[pulumi.Resource] = []
        for name, manifest in self.objects.items():
            inputs = dict(manifest)
            if name in self.secrets:
                inputs["stringData"] = pulumi.Output.secret(self.secrets[name])
            options = pulumi.ResourceOptions(provider=provider, depends_on=list(before))
            before.append(KubernetesObject(inputs, options))


class KubernetesObject(pulumi.CustomResource):
    """Any object under the type token of the SDK's own class, as the product registers them."""

    def __init__(self, manifest: dict[str, Any], options: pulumi.ResourceOptions):
        api_version, kind, meta = manifest["apiVersion"], manifest["kind"], manifest["metadata"]
        module = api_version if "/" in api_version else f"core/{api_version}"
        name = "-".join(filter(None, (kind, meta.get("namespace"), meta["name"]))).lower()
        super().__init__(f"kubernetes:{module}:{kind}", name, manifest, options)


@dataclass
class Job:
    """One operation: a method of `automation.Stack`. `root` has `bin/pulumi`."""

    verb: str
    root: str
    environment: dict[str, str]
    program: dict[str, Any]


@dataclass
class Run:
    """What the engine said: steps as {resource name: operation}, diffs as {resource name: paths}."""

    steps: dict[str, str] = field(default_factory=dict)
    diffs: dict[str, list[str]] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)
    failed: bool = False

    @property
    def changes(self) -> dict[str, str]:
        return {name: op for name, op in self.steps.items() if op not in ("same", "refresh")}

    @property
    def text(self) -> str:
        return "\n".join(self.messages)

    def hear(self, event: auto.EngineEvent) -> None:
        if event.diagnostic_event is not None and event.diagnostic_event.severity == "error":
            self.messages.append(event.diagnostic_event.message)
        # A refresh announces each step as `refresh`; only its outcome says what was found.
        for heard in (event.resource_pre_event, event.res_outputs_event):
            if heard is None or heard.metadata.type == "pulumi:pulumi:Stack":
                continue
            name = heard.metadata.urn.rpartition("::")[2]
            self.steps[name] = str(getattr(heard.metadata.op, "value", heard.metadata.op))
            if heard.metadata.detailed_diff:
                self.diffs[name] = sorted(heard.metadata.detailed_diff)


def perform(job: Job) -> Run:
    program = Program(**job.program)
    stack = quick_stack("test", "test", program, env_vars=job.environment, command=f"{job.root}/bin/pulumi")
    run = Run()
    try:
        getattr(stack, job.verb)(on_event=run.hear)
    except auto.errors.CommandError as error:
        run.failed = True
        run.messages.append(str(error))
    return run


if __name__ == "__main__":
    print(json.dumps(asdict(perform(Job(**json.load(sys.stdin))))))
