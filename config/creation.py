"""As what type a node is made, where AWS has no capacity for its first one.

The command says it to one update by an environment variable. Afterwards it is the node's type in Pulumi's
state, and updates ignore it (components/instances.py), as they do one that a start gave it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace

from config.model import NodePlan
from config.problems import Problem, SettingsError

VARIABLE = "KUBEPARK_CREATE_AS"


def dump(types: Mapping[str, str]) -> str:
    """The variable's value: node name -> type."""
    return json.dumps(types, sort_keys=True)


def made_as(stack: str, nodes: Iterable[NodePlan], text: str) -> tuple[NodePlan, ...]:
    """The nodes, of the types that the variable names for some of them.

    Raises: SettingsError for what is not one of a node's further types.
    """
    planned = {node.name: node for node in nodes}
    try:
        wanted = json.loads(text or "{}")
    except json.JSONDecodeError:
        wanted = text
    if not isinstance(wanted, dict):
        raise SettingsError(stack, [_problem(VARIABLE, "is no map of node names to types")])
    wrong = [
        _problem(f"{VARIABLE}.{name}", f"{kind} is not one of its further types")
        for name, kind in wanted.items()
        if name not in planned or kind not in planned[name].further_types
    ]
    if wrong:
        raise SettingsError(stack, wrong)
    return tuple(
        replace(node, instance_type=wanted.get(name, node.instance_type)) for name, node in planned.items()
    )


def _problem(key: str, wrong: str) -> Problem:
    return Problem(key, wrong, "what `kubepark up` says there", f"unset {VARIABLE}")
