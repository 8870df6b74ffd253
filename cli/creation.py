"""What `up` does where AWS has no capacity for a node that it makes: the same update, with the next type."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from cli.pulumi import Updated
from config.creation import VARIABLE, dump
from config.naming import PROJECT

Types = Mapping[str, Sequence[str]]  # by node
# Whoever agreed to the plan agreed to the list of types.
_AGREED = ("--yes", "--skip-preview")


class Updating(Protocol):
    """The Pulumi CLI."""

    def update(self, *arguments: str, **variables: str) -> Updated: ...


def update(cli: Updating, arguments: Sequence[str], types_of: Callable[[], Types]) -> int:
    """An update, and further ones while a node that AWS has no capacity for has another type; the last code.

    `types_of`: asked when it matters, for nodes that may be of several types, the first choice first. The
    provider has tried each for minutes when it gives up (`_ATTEMPTS` in __main__.py).
    """
    done = cli.update(*arguments)
    if not done.without_capacity:
        return done.code
    types = types_of()
    place = dict.fromkeys(types, 0)
    refused: dict[str, list[str]] = {node: [] for node in types}
    while True:
        lacking = [node for node in types if node in done.without_capacity]
        for node in lacking:
            if len(refused[node]) == place[node]:  # the last type may be tried again, for another node's sake
                refused[node].append(f"{types[node][place[node]]}: {done.without_capacity[node]}")
        moving = [node for node in lacking if place[node] + 1 < len(types[node])]
        if done.ended or not moving:
            break
        for node in moving:
            place[node] += 1
            before, after = types[node][place[node] - 1 : place[node] + 1]
            print(f"{node}: AWS has no capacity for {before} now; it is made as {after}", flush=True)
        chosen = {node: types[node][number] for node, number in place.items() if number}
        done = cli.update(*arguments, *_AGREED, **{VARIABLE: dump(chosen)})
    for node in lacking:
        print(
            f"error: {node} was not made, because AWS has no capacity: {'; '.join(refused[node])}. "
            f"Everything else goes on. Try again later, or name more types ({PROJECT}:gpu.instanceTypes)",
            file=sys.stderr,
            flush=True,
        )
    return done.code
