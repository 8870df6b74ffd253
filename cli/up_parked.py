"""`up` while part of the cluster is off: what must wait for it is neither begun nor waited for in vain.

Without the control plane that is everything in the cluster. Without any worker it is what pods must answer
for: a rollout, the end of a workload or a namespace, and objects of others' kinds, for which a controller or
a webhook runs. The rest, as what a person may do, is applied.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from cli.errors import CommandError
from cli.gpu_reasons import tolerated
from cli.pulumi import Pulumi
from cli.urns import name_of, type_of
from config.nodes import CONTROL_PLANE_TAINT, GPU_TAINT

Step = Mapping[str, Any]  # of a preview, as JSON

# Options of `pulumi up` that are about what is shown, and steps of a preview that do nothing.
_SHOWN = ("--yes", "-y", "--skip-preview", "-f", "--diff", "--json")
_NOTHING = ("same", "read", "refresh")
_KUBERNETES = "kubernetes:"
# They end when their pods have, and a pod on a machine that is off does not.
_END_WITH_PODS = ("kubernetes:core/v1:Namespace", "kubernetes:apps/v1:DaemonSet")
_ROLLED_OUT = ("Deployment", "StatefulSet", "ReplicaSet", "Job", "Pod")


def steps(cli: Pulumi, checks: Sequence[str], options: Sequence[str]) -> list[Step] | None:
    """What an update would do; None if its preview fails: the update says it in the engine's own words."""
    chosen = [option for option in options if option not in _SHOWN]
    try:
        document = json.loads(cli.read("preview", "--json", *checks, *chosen))
    except CommandError:
        return None
    return [step for step in document["steps"] if step["op"] not in _NOTHING]


def refuse_without_cluster(stack: str, found: Sequence[Step]) -> None:
    """Raises: CommandError naming what in the cluster waits for the control plane."""
    waiting = [step for step in found if type_of(step["urn"]).startswith(_KUBERNETES)]
    if waiting:
        head = (
            "the control plane is parked, and nothing was changed: in the cluster these changes wait for it:"
        )
        fix = f"fix: {_back('all', stack)}"
        raise CommandError("\n".join([head, *_listed(waiting), fix]))


def waiting_for_workers(found: Sequence[Step]) -> list[Step]:
    """Those steps that no update could finish while no worker runs."""
    return [step for step in found if _needs_worker(step)]


def excluding(waiting: Sequence[Step]) -> list[str]:
    """Options of an update that leave them, and what depends on them, as they are."""
    urns = dict.fromkeys(step["urn"] for step in waiting)
    return ["--exclude-dependents", *(word for urn in urns for word in ("--exclude", urn))] if urns else []


def left(stack: str, workers: Sequence[str], waiting: Sequence[Step]) -> str:
    """What an update says in the end of what it left."""
    head = f"no worker runs ({', '.join(workers)}); these changes, with what depends on them, wait for one:"
    return "\n".join([head, *_listed(waiting), f"to apply them: {_back('workers', stack)}"])


def _listed(waiting: Sequence[Step]) -> list[str]:
    return [f"  - {step['op']} {name_of(step['urn'])}" for step in waiting]


def _back(target: str, stack: str) -> str:
    return f"bin/kubepark unpark {target} --stack {stack}, then bin/kubepark up --stack {stack}"


def _needs_worker(step: Step) -> bool:
    kind = type_of(step["urn"])
    if not kind.startswith(_KUBERNETES):
        return False
    _, group_version, name = kind.split(":")
    group = group_version.partition("/")[0]
    if "." in group and not group.endswith(".k8s.io"):  # a custom resource
        return True
    if name in _ROLLED_OUT and "." not in group:
        return not _runs_elsewhere(step)
    return kind in _END_WITH_PODS and "delete" in step["op"]


def _runs_elsewhere(step: Step) -> bool:
    """Whether the pods tolerate what keeps pods off the other nodes. What is encrypted may not."""
    state = step.get("newState") or step.get("oldState") or {}
    spec = state.get("inputs", {}).get("spec")
    pod = spec.get("template", {}).get("spec", spec) if isinstance(spec, dict) else {}
    tolerations = pod.get("tolerations") or []
    return any(tolerated(vars(taint), tolerations) for taint in (CONTROL_PLANE_TAINT, GPU_TAINT))
