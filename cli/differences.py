"""The change of a YAML file as it is shown to people: a unified diff without any secret.

What is secret is known by where it is in the document, not by what its line looks like: keys may be quoted,
values folded over lines, and a file may be JSON. Wherever else such a value stands, in a comment or in a URL,
it is hidden, too.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from typing import Any

# Whatever is below a key like these. Of Dex: `hash`, `secret`, `clientSecret`, `bindPW`, `password`,
# `keystonePassword`; not `hashFromEnv` and `secretEnv`, which name variables, nor `enablePasswordDB`.
# Source: dexidp/dex, cmd/dex/config.go, storage/ and connector/. Of ours: `passwordHashes`,
# `connectorSecrets`, `oidcClientSecret`.
_SECRET_KEY = re.compile(r"(?i).*(secret|password|passwd|hash|hashe|token|bindpw|privatekey)s?")
_LISTS = re.compile("staticPasswords")  # holds more than secrets
_SHORTEST = 4  # characters: less than that stands in every other word


def difference(before: str, after: str, name: str) -> str:
    """The change of a file called `name` as a unified diff; empty where there is none.

    Of secrets it says only which are new and which are not there any more.
    """
    old, new = set(_secrets(before)), set(_secrets(after))
    texts = (_masked(before, new, "[old secret]"), _masked(after, old, "[new secret]"))
    lines = difflib.unified_diff(
        texts[0].splitlines(), texts[1].splitlines(), name, f"{name} (new)", lineterm=""
    )
    return "\n".join(lines)


def _masked(text: str, others: set[str], gone: str) -> str:
    """`text` with each secret hidden: as `gone` if it is not among `others`."""
    found = sorted(_found(text))
    shown = {value: "[secret]" if value in others else gone for _, _, value in found}
    long = sorted((re.escape(value) for value in shown if len(value) >= _SHORTEST), key=len, reverse=True)
    anywhere = re.compile("|".join(long) or "(?!)")
    parts, place = [], 0
    for start, end, value in [*found, (len(text), len(text), "")]:
        if start >= place:  # an alias stands for what was hidden already
            plain = anywhere.sub(lambda match: shown[match[0]], text[place:start])
            parts += [plain, shown.get(value, "")]
            place = start + len(text[start:end].rstrip())
    return "".join(parts)


def _secrets(text: str) -> Iterator[str]:
    return (value for _, _, value in _found(text))


def _found(text: str) -> Iterator[tuple[int, int, str]]:
    """Where in `text` each secret starts and ends, and its value."""
    from ruamel.yaml import YAML

    root = YAML(typ="safe", pure=True).compose(text)
    return _below(root, secret=False) if root else iter(())


def _below(node: Any, *, secret: bool) -> Iterator[tuple[int, int, str]]:
    if node.id == "mapping":
        for key, value in node.value:
            yield from _below(value, secret=secret or _is_secret(key))
    elif node.id == "sequence":
        for each in node.value:
            yield from _below(each, secret=secret)
    elif secret and node.value:
        yield node.start_mark.index, node.end_mark.index, node.value


def _is_secret(key: Any) -> bool:
    return key.id == "scalar" and is_secret_name(key.value)


def is_secret_name(key: str) -> bool:
    """Whether what is below a key of this name is secret."""
    return bool(_SECRET_KEY.fullmatch(key)) and not _LISTS.fullmatch(key)
