"""The classes of what a change does to a running cluster."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from types import MappingProxyType


class Effect(IntEnum):
    """From what nobody notices to what cannot be undone."""

    HARMLESS = 0
    POD = 1
    NODE = 2
    ACCESS = 3
    CONTROL_PLANE = 4
    DATA = 5

    @property
    def title(self) -> str:
        return _TITLES[self]

    @property
    def word(self) -> str:
        """How it is called in options and labels: `control-plane`."""
        return self.name.lower().replace("_", "-")


_TITLES: Mapping[Effect, str] = MappingProxyType(
    {
        Effect.HARMLESS: "harmless",
        Effect.POD: "restarts a pod",
        Effect.NODE: "rebuilds a node",
        Effect.ACCESS: "changes who may do what",
        Effect.CONTROL_PLANE: "touches the control plane",
        Effect.DATA: "loses data",
    }
)
Said = tuple[Effect, str]


@dataclass(frozen=True)
class Kind:
    """What operations on one type of resource do. `replace`: as `delete` where nothing else is said.

    `paths`: of an update, by a pattern that is found in the path of a changed property, the first that fits;
    `update` is for all others.
    """

    create: Said
    update: Said
    delete: Said
    replace: Said | None = None
    paths: tuple[tuple[str, Said], ...] = ()
