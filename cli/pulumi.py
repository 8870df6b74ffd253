"""The Pulumi CLI: started the same way for every stack, in the environment of the stack.

Output, progress, questions, Ctrl-C and exit codes of an operation are the CLI's own.
"""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType, MappingProxyType
from typing import IO, Any, TextIO

from cli import engine_events, environments, private
from cli.errors import CommandError
from config import ROOT

# A node that AWS does not create stops what needs it, and nothing else.
NOT_STOPPED_BY_ONE = "--continue-on-error"
# How an operation runs unless the person has said otherwise: garbage is seldom collected
# (docs/decisions/crds.md), and the state, which goes to the backend at each step, is packed to a twelfth
# (docs/decisions/state.md).
_DEFAULTS = MappingProxyType({"GOGC": "400", "PULUMI_DIY_BACKEND_ZSTD": "true"})
# The CLI refuses two kinds of packing, and has an older name for each variable.
_PACKING = tuple(
    f"PULUMI_{old}_{kind}" for old in ("DIY_BACKEND", "SELF_MANAGED_STATE") for kind in ("GZIP", "ZSTD")
)


@dataclass(frozen=True)
class Updated:
    """How an update ended. `ended`: before its time, by us or by a signal; `without_capacity`: the nodes that
    AWS did not make for want of it, with its words."""

    code: int
    ended: bool
    without_capacity: Mapping[str, str]


class Pulumi:
    """The CLI on one stack of the project in `cwd`. `variables`: its environment."""

    def __init__(self, stack: str, variables: Mapping[str, str], *, cwd: Path = ROOT) -> None:
        self.stack = stack
        self.variables = variables
        self._cwd = cwd

    def update(self, *arguments: str, **variables: str) -> Updated:
        """`pulumi up` that goes on after an error, and ends where it cannot.

        After a failed deletion of something that is replaced, an engine told to go on waits for ever: it
        marks the failed step as failed and not the creation behind it (pulumi 3.259,
        pkg/resource/deploy/step_executor.go, executeChain). So the CLI is interrupted then.
        """
        failed: list[str] = []
        lacking: dict[str, str] = {}
        received: list[int] = []

        def watch(event: engine_events.Event) -> None:
            if name := engine_events.failed_deletion(event):
                failed.append(name)
                for process in running:
                    process.send_signal(signal.SIGINT)
            if found := engine_events.without_capacity(event):
                lacking.update([found])

        with engine_events.following(watch) as option, _signals(received) as running:
            words = ("up", *arguments, NOT_STOPPED_BY_ONE, *option)
            code = self._run(running, words, {**variables, **engine_events.VARIABLES})
        if not failed:
            return Updated(code, bool(received), lacking)
        print(
            f"error: the update was ended, because {', '.join(failed)} could not be deleted (see above), and "
            "what takes its place waits for that. Fix the cause, then run `up` again: it goes on from here",
            file=sys.stderr,
            flush=True,
        )
        return Updated(code or 1, True, lacking)

    def operate(self, verb: str, *arguments: str, output: TextIO | None = None) -> int:
        """`pulumi VERB ARGUMENTS` with our terminal; gives its exit code (128 + number of a signal).

        `output`: where it prints, instead of standard output.

        Ctrl-C in a terminal reaches the CLI by itself: it lets the steps in flight end. SIGTERM, which
        reaches us alone, is handed on as an interrupt.
        """
        with _signals() as running:
            return self._run(running, (verb, *arguments), output=output)

    def collect(self, verb: str, *arguments: str, **variables: str) -> tuple[int, str]:
        """As `operate`, but for what the CLI prints to standard output, which is given back with the code.

        Raises: KeyboardInterrupt when it was interrupted, once the CLI has ended.
        """
        received: list[int] = []
        with _signals(received) as running, tempfile.TemporaryFile() as output:
            code = self._run(running, (verb, *arguments), variables, output)
            output.seek(0)
            printed = output.read().decode()
        if received:
            raise KeyboardInterrupt
        return code, printed

    def _run(
        self,
        running: list[subprocess.Popen[bytes]],
        words: Sequence[str],
        variables: Mapping[str, str] = MappingProxyType({}),
        output: IO[bytes] | TextIO | None = None,
    ) -> int:
        command = [self._executable(), *words, "--stack", self.stack]
        with self._environment(variables) as (env, kept):
            process = subprocess.Popen(command, cwd=self._cwd, env=env, stdout=output, pass_fds=kept)
            running.append(process)
            code = process.wait()
        return code if code >= 0 else 128 - code

    @contextmanager
    def _environment(
        self, variables: Mapping[str, str] = MappingProxyType({})
    ) -> Iterator[tuple[Mapping[str, str], Sequence[int]]]:
        """With a folder for temporary files, gone afterwards, and what the CLI holds it by: the
        Kubernetes provider writes the kubeconfig, an administrator's, into another file at each start and
        leaves it there (pulumi-kubernetes 4, provider/pkg/provider/util.go)."""
        with private.folder() as temporary:
            given = {**self.variables, **variables, "TMPDIR": str(temporary.path)}
            told = given.keys() & _PACKING
            defaults = {name: value for name, value in _DEFAULTS.items() if not (told and name in _PACKING)}
            yield defaults | given, [temporary.lock]

    def read(self, *arguments: str, given: str | None = None) -> str:
        """What a short command prints. `given` is its standard input, where nobody else can read it."""
        with self._environment() as (env, kept):
            done = subprocess.run(
                [self._executable(), *arguments, "--stack", self.stack],
                cwd=self._cwd,
                env=env,
                pass_fds=kept,
                input=given,
                stdin=subprocess.DEVNULL if given is None else None,
                capture_output=True,
                text=True,
            )
        if done.returncode != 0:
            # What the engine has to say is there, under this heading.
            said = done.stderr.strip() or done.stdout.partition("Diagnostics:\n")[2].strip()
            raise CommandError(f"`pulumi {' '.join(arguments[:2])}` failed: {said}")
        return done.stdout

    def outputs(self) -> dict[str, Any]:
        """The stack's outputs."""
        found: dict[str, Any] = json.loads(self.read("stack", "output", "--json"))
        return found

    def _executable(self) -> str:
        found = shutil.which("pulumi", path=self.variables.get("PATH"))
        if found is None:
            raise CommandError(
                "a stack in a real account needs the official Pulumi CLI on PATH: "
                "https://www.pulumi.com/docs/install/ (a sandbox stack does not)"
            )
        return found


@contextmanager
def on(stack: str, verb: str) -> Iterator[Pulumi]:
    """The CLI for one operation on a stack, with all that it needs there."""
    with environments.of(stack).operation(verb) as variables:
        yield Pulumi(stack, variables)


def set_secret(stack: str, path: str, value: str) -> None:
    """Keep a secret in the stack's configuration, encrypted. `path`: `kubepark:passwordHashes["ana"]`."""
    with on(stack, "config") as pulumi:
        pulumi.read("config", "set", "--secret", "--path", path, given=value)


def password_hashes(stack: str) -> dict[str, str]:
    """The password hashes by person, decrypted."""
    with on(stack, "config") as pulumi:
        found = json.loads(pulumi.read("config", "get", "--json", "--path", "kubepark:passwordHashes"))
    return stored_hashes(found)


def stored_hashes(found: Mapping[str, Any]) -> dict[str, str]:
    """What `pulumi config get --json` says about an object: as one, or as its JSON text."""
    value = found.get("objectValue") or json.loads(found.get("value") or "{}")
    return {str(name): str(text) for name, text in value.items()}


@contextmanager
def _signals(received: list[int] | None = None) -> Iterator[list[subprocess.Popen[bytes]]]:
    """While the CLI runs, signals do not end us: it is asked to end, and we wait for it.

    `received`: takes their numbers.
    """
    running: list[subprocess.Popen[bytes]] = []
    noted = [] if received is None else received

    def note(number: int, frame: FrameType | None) -> None:
        noted.append(number)

    def hand_on(number: int, frame: FrameType | None) -> None:
        noted.append(number)
        for process in running:
            process.send_signal(signal.SIGINT)

    handlers = {signal.SIGINT: note, signal.SIGTERM: hand_on}
    previous = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield running
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
