"""Statements of IAM policies: whether one speaks about a call.

An answer can be that it is not known: a condition on a key that the sandbox does not have, an operator
or a policy variable that it does not evaluate. In doubt an Allow does not hold and a Deny does.
Sources: "IAM JSON policy elements: Condition operators", "Multivalued context keys" in the IAM guide.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

# Condition key -> its value, the values of a multivalued key, or None: AWS has no such key in this
# call. A key that is not in the map is not known.
Context = Mapping[str, str | tuple[str, ...] | None]
_Body = Mapping[str, Any]


@dataclass(frozen=True)
class Call:
    """One AWS call to evaluate: `ssm:PutParameter` on an ARN, with the values of condition keys."""

    action: str
    resource: str
    context: Context


@dataclass(frozen=True)
class Statement:
    """One statement, and how people call it: by its Sid, else by its place in its policy."""

    policy: str
    place: int
    body: _Body

    @property
    def name(self) -> str:
        return str(self.body.get("Sid") or f"{self.policy}#{self.place}")

    def pattern(self, call: Call) -> str:
        """The resource in the statement that the call's resource matches."""
        patterns = map(str, listed(self.body.get("Resource")))
        return next((each for each in patterns if _like(each, call.resource)), call.resource)


def statements(policy: str, document: Mapping[str, Any]) -> list[Statement]:
    """The statements of one policy document."""
    found = listed(document.get("Statement"))
    return [Statement(policy, place, body) for place, body in enumerate(found, start=1)]


def applies(body: _Body, call: Call) -> bool:
    """Whether a statement speaks about this call: action, resource and every condition."""
    answers = [
        _named(body, "Action", call.action),
        _named(body, "Resource", call.resource),
        *(
            _holds(operator, key, [str(each) for each in listed(wanted)], call.context)
            for operator, pairs in body.get("Condition", {}).items()
            for key, wanted in pairs.items()
        ),
    ]
    if False in answers:
        return False
    return None not in answers or body.get("Effect") == "Deny"


def names_action(pattern: str, action: str) -> bool:
    """Whether an action is meant by what a statement says; upper and lower case are the same."""
    return _like(pattern.lower(), action.lower())


def _named(body: _Body, field: str, value: str) -> bool | None:
    """`Action`/`NotAction` and `Resource`/`NotResource`. None: a policy variable decides."""
    negated = f"Not{field}" in body
    patterns = [str(each) for each in listed(body.get(f"Not{field}" if negated else field))]
    match = names_action if field == "Action" else _like
    if any(match(each, value) for each in patterns):
        return not negated
    return None if any("${" in each for each in patterns) else negated


def _holds(operator: str, key: str, wanted: list[str], context: Context) -> bool | None:
    """One condition. None: it cannot be told."""
    known = {name.lower(): value for name, value in context.items()}
    if key.lower() not in known or any("${" in each for each in wanted):
        return None
    value = known[key.lower()]
    quantifier, _, name = operator.rpartition(":")
    plain = name.removesuffix("IfExists")
    if operator == "Null":
        return str(value is None).lower() in (each.lower() for each in wanted)
    if plain not in _OPERATORS:
        return None
    match, negated = _OPERATORS[plain]

    def meets(one: str) -> bool:
        return any(match(each, one) for each in wanted) != negated

    values = (value,) if isinstance(value, str) else value or ()
    if quantifier == "ForAllValues":
        return all(map(meets, values))
    if quantifier == "ForAnyValue":
        return any(map(meets, values))
    if quantifier or isinstance(value, tuple):  # many values and no quantifier: AWS promises nothing
        return None
    return negated or plain != name if value is None else meets(value)


def _like(pattern: str, value: str) -> bool:
    """IAM wildcards: `*` any text, `?` one character, everything else as it is."""
    expression = re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".")
    return re.fullmatch(expression, value, re.DOTALL) is not None


def _arn_like(pattern: str, value: str) -> bool:
    """As `_like`, but each of an ARN's six parts for itself."""
    wanted, found = pattern.split(":", 5), value.split(":", 5)
    return len(wanted) == len(found) == 6 and all(map(_like, wanted, found))


def _equal_in_any_case(pattern: str, value: str) -> bool:
    return pattern.lower() == value.lower()


# Operator -> how one wanted value is compared with one found, and whether none may match.
_OPERATORS: Mapping[str, tuple[Callable[[str, str], bool], bool]] = {
    "Bool": (_equal_in_any_case, False),
    **{
        f"{kind}{negation}{name}": (match, negation == "Not")
        for kind, name, match in (
            ("String", "Equals", operator.eq),
            ("String", "EqualsIgnoreCase", _equal_in_any_case),
            ("String", "Like", _like),
            ("Arn", "Equals", _arn_like),
            ("Arn", "Like", _arn_like),
        )
        for negation in ("", "Not")
    },
}


def listed(value: Any) -> list[Any]:
    """IAM allows one value where a list is meant."""
    if value is None:
        return []
    return list(value) if isinstance(value, list) else [value]
