"""What acts for simulated kubelets: it ends when a master does, also in the middle of its own work."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sandbox.nodes.simulated import agent as module
from sandbox.nodes.simulated.agent import Agent


class Supervisor:
    def start(self, *arguments: Any, **options: Any) -> None:
        pass

    stop = start


class Plugins:
    """Counts what is asked of it."""

    def __init__(self, *arguments: Any) -> None:
        self.asked: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return lambda: self.asked.append(name)


class Stopping:
    """An API server whose master is terminated while it answers."""

    def __init__(self, agent: Agent) -> None:
        self.agent = agent

    def get(self, path: str, **query: str) -> dict[str, Any]:
        self.agent.stop()
        return {"items": []}


def test_a_master_that_ends_beside_a_look_at_its_nodes_ends_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Plugins] = []
    agent = Agent(tmp_path, tmp_path, Supervisor())  # type: ignore[arg-type]  # starts nothing
    monkeypatch.setattr(module, "DevicePlugins", lambda *given: made.append(Plugins()) or made[-1])
    monkeypatch.setattr(module.Api, "from_kubeconfig", lambda path: Stopping(agent))
    agent.start(tmp_path / "kubeconfig", "192.168.0.0/16", {})
    agent.tick()
    agent.tick()
    assert made[0].asked == ["start", "stop", "reconcile"], "the second tick finds nobody to act for"
