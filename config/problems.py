"""What is wrong with a stack's configuration, each problem with the command that fixes it."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass

# How the CLI reads what `config set --path` is given, and what it takes for a name in a path; a quote is the
# one thing that it can escape. Source: pulumi/pulumi, sdk/go/common/resource/config/value.go and
# resource/property_path.go.
_CONVERTED = re.compile(r"[+-]?[0-9]+|true|false")
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_/-]+")
_UNNAMEABLE = re.compile(r'\\"\]|[\x00-\x1f\x7f]')


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong: the key, what is wrong, what is accepted, the command that fixes it."""

    key: str
    wrong: str
    accepted: str
    fix: str

    def __str__(self) -> str:
        return f"{self.key}: {self.wrong}; accepted: {self.accepted}; fix: {self.fix}"


class SettingsError(Exception):
    """The configuration cannot be used. The text lists every problem, one a line."""

    def __init__(self, stack: str, problems: list[Problem]) -> None:
        self.problems = tuple(problems)
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        lines = "\n".join(f"  - {problem}" for problem in problems)
        super().__init__(f"the configuration of stack {stack} has {count}; nothing was changed:\n{lines}")


class Problems:
    """Collects problems of one stack and knows how to phrase the fixing command."""

    def __init__(self, stack: str) -> None:
        self.stack = stack
        self.found: list[Problem] = []

    def add(
        self, key: str, wrong: str, accepted: str, example: str | int | None, *, at: str | None = None
    ) -> None:
        """Record a problem. `example` is a value that would be accepted; None means: remove the key.

        A key that is not one of the stack's is a place in a file of the project. `at`: what the fix sets
        or removes, where that is not the key.
        """
        target = at or key
        if ":" not in key.partition(".")[0]:
            fix = f"remove {at or 'it'} there" if example is None else f"write {example} there"
        elif _UNNAMEABLE.search(target):
            fix = f"edit Pulumi.{self.stack}.yaml"
        elif example is None:
            fix = f"pulumi config rm {self._target(target)}"
        else:
            typed = " --type string" if isinstance(example, str) and _CONVERTED.fullmatch(example) else ""
            value = str(example).lower() if isinstance(example, bool) else str(example)
            fix = f"pulumi config set {self._target(target)}{typed} {shlex.quote(value)}"
        self.found.append(Problem(key, wrong, accepted, fix))

    def add_secret(self, key: str, wrong: str, accepted: str, source: str) -> None:
        """Record a problem with a secret. Its value is never quoted, and never put on a command line:
        `source` is a command whose output `pulumi config set` reads."""
        self.found.append(
            Problem(key, wrong, accepted, f"{source} | pulumi config set --secret {self._target(key)}")
        )

    def add_lookup(self, key: str, wrong: str, accepted: str, command: str) -> None:
        """Record a missing pin that a command can look up."""
        self.found.append(
            Problem(key, wrong, accepted, f'pulumi config set {self._target(key)} "$({command})"')
        )

    def add_unreadable(self, key: str) -> None:
        """Record an object or a list that is encrypted as a whole. Only where nothing is decrypted: the
        program can read it."""
        self.found.append(
            Problem(
                key,
                "is encrypted as a whole, and nothing is decrypted here",
                "an object or a list of which only values are encrypted",
                f"bin/kubepark preview --stack {self.stack} (it decrypts)",
            )
        )

    def _target(self, key: str) -> str:
        return f"--stack {self.stack} --path {shlex.quote(key)}"

    def raise_if_any(self) -> None:
        """Raises: SettingsError with all problems, in the order they were found."""
        if self.found:
            raise SettingsError(self.stack, self.found)


def joined(path: str, key: str) -> str:
    """The path of `key` in the object at `path`, as the Pulumi CLI takes it."""
    if not _PLAIN_NAME.fullmatch(key):
        quoted = key.replace('"', '\\"')
        return f'{path}["{quoted}"]'
    return f"{path}{key}" if path.endswith(":") else f"{path}.{key}"
