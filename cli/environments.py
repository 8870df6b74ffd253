"""In which environment the Pulumi CLI works on a stack: a person's own, or that of a sandbox.

A stack whose file names an emulator (`kubepark:aws.endpoint`) lives in the sandbox on this machine. What is
the same for every stack is elsewhere; nothing else in this package knows that there is a sandbox.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

from cli import pulumi_home
from cli.errors import CommandError
from cli.stackfile import config_of, setting

_RUNS_THE_ENGINE = ("up", "preview", "refresh", "destroy")


class Environment(Protocol):
    """Where and as what the CLI works on one stack."""

    asks: bool  # whether a change needs a person's consent
    kubeconfig: Path | None  # where `up` keeps it; None: nowhere

    def operation(self, verb: str) -> AbstractContextManager[Mapping[str, str]]:
        """The environment variables of `pulumi VERB`; whatever it needs is there inside the block."""

    def finished(self, outputs: Mapping[str, Any], verified: int | None, seconds: float) -> None:
        """After an `up` that succeeded. `verified`: exit code of the GPU Job, None if it did not run."""

    def described(self) -> Sequence[str]:
        """What `status` says of the place where the stack lives, beside the stack itself."""


class Account:
    """A stack in a real account: whatever the person has set up, but for the CLI's automatic log."""

    asks = True
    kubeconfig: Path | None = None

    @contextmanager
    def operation(self, verb: str) -> Iterator[Mapping[str, str]]:
        yield pulumi_home.without_log(os.environ) if verb in _RUNS_THE_ENGINE else dict(os.environ)

    def finished(self, outputs: Mapping[str, Any], verified: int | None, seconds: float) -> None:
        return

    def described(self) -> Sequence[str]:
        return ()


def of(stack: str) -> Environment:
    """The environment of a stack. `CommandError` if there is no such stack file."""
    if not is_sandbox(stack):
        return Account()
    made: Environment = sandbox().Sandbox(stack)
    return made


def is_sandbox(stack: str) -> bool:
    """Whether the stack file names an emulator: that alone decides where the stack lives."""
    return setting(config_of(stack), "kubepark:aws.endpoint") is not None


def sandbox() -> ModuleType:
    """The sandbox's side of this command. Imported late: a stack in a real account never needs it."""
    from sandbox import cli

    return cli


def known_errors() -> tuple[type[Exception], ...]:
    """What is shown to people as it is, whichever side raises it: ours, the sandbox's, and AWS's own."""
    from botocore.exceptions import BotoCoreError, ClientError

    return (CommandError, sandbox().SandboxError, BotoCoreError, ClientError)
