"""Timers of the systemd stand-in. Time passes as it does; nothing is sped up."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path

from sandbox.nodes.standins.units import UnitError, UnitFile

STAMPS = Path("/var/lib/kubepark-sandbox/timers")
_MONTH = 30 * 86400.0  # of `OnCalendar=monthly`; the day of the month makes no difference here


class Timers:
    """The timers that were started, and when each elapses next (monotonic seconds)."""

    def __init__(self, elapse: Callable[[str], None], booted: float) -> None:
        self._elapse = elapse
        self._booted = booted
        self._units: dict[str, UnitFile] = {}
        self._due: dict[str, float] = {}

    def start(self, unit: UnitFile) -> None:
        if unit.name in self._units:
            return
        due = []
        if unit.all("OnBootSec"):
            due.append(self._booted + unit.seconds("OnBootSec", 0))
        if unit.all("OnCalendar"):
            due.append(self._calendar(unit))
        if not due:
            raise UnitError(f"{unit.name}: neither OnBootSec nor OnCalendar")
        self._units[unit.name] = unit
        self._due[unit.name] = min(due) + self._delay(unit)

    def stop(self, name: str) -> None:
        self._units.pop(name, None)
        self._due.pop(name, None)

    def active(self, name: str) -> bool:
        return name in self._units

    def next(self) -> float:
        return min(self._due.values(), default=float("inf"))

    def tick(self) -> None:
        now = time.monotonic()
        for name, due in list(self._due.items()):
            if now >= due:
                unit = self._units[name]
                self._mark(unit)
                self._due[name] = self._after(unit, now) + self._delay(unit)
                self._elapse(name.removesuffix(".timer") + ".service")

    def _after(self, unit: UnitFile, now: float) -> float:
        if unit.all("OnUnitActiveSec"):
            return now + unit.seconds("OnUnitActiveSec", 0)
        return self._calendar(unit) if unit.all("OnCalendar") else float("inf")

    def _calendar(self, unit: UnitFile) -> float:
        if unit.one("OnCalendar") != "monthly":
            raise UnitError(f"{unit.name}: OnCalendar={unit.one('OnCalendar')} is not implemented")
        stamp = self._stamp(unit)
        if not stamp.exists():  # counted from the first start on, or every boot would put it off
            self._mark(unit)
        left = stamp.stat().st_mtime + _MONTH - time.time()
        # Persistent: a run that was missed while the machine was off is made up for.
        return time.monotonic() + (max(0.0, left) if unit.yes("Persistent") else _MONTH)

    def _mark(self, unit: UnitFile) -> None:
        self._stamp(unit).parent.mkdir(parents=True, exist_ok=True)
        self._stamp(unit).touch()

    @staticmethod
    def _stamp(unit: UnitFile) -> Path:
        return STAMPS / unit.name

    @staticmethod
    def _delay(unit: UnitFile) -> float:
        return random.uniform(0, unit.seconds("RandomizedDelaySec", 0.0))
