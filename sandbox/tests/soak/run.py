"""Carries out steps on a project, with their accidents, and counts what happened."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from random import Random

import psutil

from sandbox.tests.soak import changes, checks, observe
from sandbox.tests.soak.plan import BUILD_KILLS, INTERRUPT_SECONDS, Step, World
from sandbox.tests.stack.project import Project
from sandbox.tests.tools import engines

MOST_TYPES = 60  # bound of the kills in the first build
PATIENCE = 400.0  # seconds for one command
EARLIEST = 1.0  # seconds: before that the command is still being loaded
INTERRUPTED = 130  # before the CLI takes the signal
CANCELLED = "^C received; cancelling."  # by the CLI, which ends with 1 then


class Failed(Exception):
    """A step after which something was not as it must be."""


class Soak:
    """One project under test. `say` gets a line for each thing that is done."""

    def __init__(self, project: Project, say: Callable[[str], None]) -> None:
        self.project = project
        self.world = World()
        self.counts: Counter[str] = Counter()
        self.kills: Counter[str] = Counter()  # by type
        self._say = say
        self.types: list[str] = []  # everything that a build creates, once that is known

    def step(self, step: Step) -> None:
        """Carry out one step and check everything. Raises `Failed`."""
        began = time.monotonic()
        self.world.apply(step)
        if step.change == "rebuild":
            self._command("destroy", "--yes", "--purge")  # without it the data key stays, as it should
        if changes.apply(self.project, self.world, step):
            self._command("refresh")
        self._accident(step)
        self._command("up", "--skip-verify")
        faults = checks.converged(self.project, self.world)
        if faults:
            raise Failed("\n".join(faults))
        made = observe.resources(self.project)
        self.types = sorted({item["type"] for item in made if observe.is_real(item)})
        self.counts[step.change] += 1
        self._say(f"{time.monotonic() - began:6.1f} s  {step}: converged")

    def finish(self) -> None:
        """The GPU Job, then the end: nothing left in AWS, no process. Raises `Failed`."""
        self._command("up")
        self._command("destroy", "--yes", "--purge")
        faults = checks.nothing_live(self.project) + checks.nothing_left_over(self.project)
        self._command("down")
        left = [f"{process.name()} (pid {process.pid})" for process in observe.all_processes(self.project)]
        faults += [f"processes are left after down: {', '.join(left)}"] if left else []
        if faults:
            raise Failed("\n".join(faults))

    # -- accidents ---------------------------------------------------------------------------------

    def _accident(self, step: Step) -> None:
        if step.fault == "interrupt":
            self._interrupt(EARLIEST + step.moment * INTERRUPT_SECONDS)
        elif step.change == "build":
            # Type by type, until an `up` finds none left that was spared.
            with_engine = [True, False] if step.moment < 0.5 else [False, True]
            for turn in range(MOST_TYPES):
                if not self._kill(set(), with_engine=with_engine[turn % 2]):
                    break
        elif step.fault == "kill":
            for typ in [step.killed] if step.killed else self._victims(step.moment):
                self._kill({typ}, with_engine=step.moment < 0.5)

    def _victims(self, moment: float) -> list[str]:
        """For another build from nothing: some types, those first that were spared so far."""
        shuffled = Random(moment).sample(self.types, len(self.types))
        return sorted(shuffled, key=lambda typ: self.kills[typ])[:BUILD_KILLS]

    def _kill(self, types: set[str], *, with_engine: bool) -> bool:
        """`up`, and kill -9 of the driver while one of `types` is being created; False: too late.

        Without types: of any that was not struck yet. With the engine's CLI, or of the driver alone.
        """
        driver = self.project.start("up", "--skip-verify")
        deadline = time.monotonic() + PATIENCE
        while driver.poll() is None and time.monotonic() < deadline:
            pending = observe.creating(self.project)
            struck = pending & types if types else {typ for typ in pending if not self.kills[typ]}
            if struck:
                self._end(driver, with_engine=with_engine)
                self.counts["kill -9"] += 1
                self.kills.update(struck)
                self._say(f"          kill -9 while creating {', '.join(sorted(struck))}")
                return True
            time.sleep(0.01)
        self._end(driver, with_engine=True)
        self.counts["kill -9 too late"] += 1
        return False

    @staticmethod
    def _end(driver: subprocess.Popen[str], *, with_engine: bool) -> None:
        victims = [psutil.Process(driver.pid)] if driver.poll() is None else []
        if with_engine and victims:
            victims += engines(victims[0])
        for process in victims:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        driver.wait(30)
        if driver.stdout:
            driver.stdout.close()

    def _interrupt(self, seconds: float) -> None:
        """`up`, and Ctrl-C after a while."""
        driver = self.project.start("up", "--skip-verify")
        with contextlib.suppress(subprocess.TimeoutExpired):
            driver.wait(seconds)
        early = driver.poll() is None
        if early:
            os.killpg(driver.pid, signal.SIGINT)
        output, _ = driver.communicate(timeout=PATIENCE)
        self.counts["Ctrl-C" if early else "Ctrl-C too late"] += 1
        faults = checks.nothing_left_over(self.project)
        ended_well = driver.returncode in (0, INTERRUPTED) or (driver.returncode == 1 and CANCELLED in output)
        if not ended_well or "Traceback" in output:
            faults.append(f"an interrupted `up` ended with {driver.returncode}:\n{output}")
        if faults:
            raise Failed("\n".join(faults))

    def _command(self, *words: str) -> None:
        try:
            done = self.project.run(*words, timeout=PATIENCE)
        except subprocess.TimeoutExpired as late:
            output = (late.stdout or b"").decode(errors="replace")
            raise Failed(f"kubepark {' '.join(words)} did not end in {PATIENCE:g} s:\n{output}") from None
        self.counts[f"kubepark {words[0]}"] += 1
        if done.returncode != 0 or "Traceback" in done.stdout:
            raise Failed(f"kubepark {' '.join(words)} ended with {done.returncode}:\n{done.stdout}")
