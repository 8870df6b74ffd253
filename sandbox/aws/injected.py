"""Errors that a test makes AWS answer with, in place of what it would answer.

    [{"operation": "ec2:RunInstances", "arguments": {"InstanceType": "g4dn.xlarge"},
      "code": "InsufficientInstanceCapacity", "message": "no capacity", "status": 500, "times": 2}]

`arguments`: what a call must have to be meant. `times`: of how many calls (null: of all).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sandbox.aws.awswire import Refusal


@dataclass
class Injected:
    """One error and how often it is still given (None: for ever)."""

    operation: str
    code: str
    message: str
    arguments: Mapping[str, Any]
    status: int = 400
    times: int | None = None

    def refuse(self, arguments: Mapping[str, Any]) -> None:
        """Raises: Refusal, counted, unless another call is meant, or no further one."""
        if self.arguments.items() <= arguments.items() and self.times != 0:
            if self.times is not None:
                self.times -= 1
            raise Refusal(self.code, self.message, self.status)


def rows(document: Any) -> Sequence[Injected]:
    """Raises: TypeError for what is not a list of rows as above."""
    if not isinstance(document, list) or not all(isinstance(row, dict) for row in document):
        raise TypeError("a list of rows is accepted")
    return [Injected(**row) for row in document]
