"""Quantities as Kubernetes writes them: CPU, memory and counts, exact and case-sensitive.

Source: k8s.io/apimachinery, pkg/api/resource/quantity.go and suffix.go.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from fractions import Fraction
from types import MappingProxyType
from typing import Any

from config.validation import shown

_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY = {"Ki": 1, "Mi": 2, "Gi": 3, "Ti": 4, "Pi": 5, "Ei": 6}
SUFFIXES: Mapping[str, Fraction] = MappingProxyType(
    {suffix: Fraction(10) ** power for suffix, power in _DECIMAL.items()}
    | {suffix: Fraction(1024) ** power for suffix, power in _BINARY.items()}
)
_LONGEST = 32  # characters: more digits than a number of 64 bits has
_MOST = 2**63 - 1  # the API cuts what has a binary suffix to this
_FORM = re.compile(
    r"(?P<number>\d+\.?\d*|\.\d+)(?:[eE](?P<exponent>[+-]?\d{1,2})|(?P<suffix>[A-Za-z]*))", re.ASCII
)

CPU_FORM = 'cores such as "2", "0.5" or "500m"'
MEMORY_FORM = 'bytes such as "16Gi", "512Mi" or "2G"'
COUNT_FORM = "a whole number such as 4"


def quantity(raw: Any) -> Fraction:
    """The exact value. Raises ValueError with what is wrong, and what was probably meant."""
    return _read(raw)[0]


def canonical(raw: Any) -> str:
    """A spelling of the value that the API server and every controller write as they read it: `500m` for
    0.5, `2Gi` for 2048Mi. They write another one anew, which is a difference at every refresh.

    Without a fraction, and with the largest suffix that leaves none: a binary one for what was written with
    a binary one and is whole and at least 1024. What is finer than a thousandth is rounded up, as the API
    does for resources. Raises ValueError as `quantity` does.
    """
    value, binary = _read(raw)
    value = Fraction(math.ceil(value * 1000), 1000)
    suffixes = ("", *_BINARY) if binary and value >= 1024 and value.denominator == 1 else _DECIMAL
    suffix = max((each for each in suffixes if not value % SUFFIXES[each]), key=SUFFIXES.__getitem__)
    return f"{value / SUFFIXES[suffix]}{suffix}" if value else "0"


def _read(raw: Any) -> tuple[Fraction, bool]:
    """The value, and whether its suffix is a binary one."""
    text = "" if isinstance(raw, bool) or not isinstance(raw, str | int | float) else str(raw)
    match = _FORM.fullmatch(text) if len(text) <= _LONGEST else None
    if match is None:
        raise ValueError(f"{shown(raw)} is not a quantity")
    suffix, exponent = match["suffix"] or "", int(match["exponent"] or 0)
    if suffix not in SUFFIXES:
        near = [known for known in SUFFIXES if known and known.lower() == suffix.lower().removesuffix("b")]
        meant = f" (did you mean {' or '.join(match['number'] + each for each in near)}?)" if near else ""
        raise ValueError(f"{shown(raw)} ends in {suffix}, which is no suffix{meant}")
    value = Fraction(match["number"]) * Fraction(10) ** exponent * SUFFIXES[suffix]
    if value > _MOST:
        raise ValueError(f"{shown(raw)} is more than {_MOST}")
    return value, suffix in _BINARY


def cpu(raw: Any) -> Fraction:
    """Cores, in whole thousandths: the API rounds finer ones up."""
    value = quantity(raw)
    if (value * 1000).denominator != 1:
        raise ValueError(f"{shown(raw)} is finer than a thousandth of a core")
    return value


def memory(raw: Any) -> Fraction:
    """Bytes. A part of one is a mistake: `100m` is a tenth of a byte, not 100 MB."""
    value = quantity(raw)
    if value.denominator != 1:
        raise ValueError(f"{shown(raw)} is not a whole number of bytes")
    return value


def count(raw: Any) -> Fraction:
    """How many of something that cannot be divided."""
    value = quantity(raw)
    if value.denominator != 1:
        raise ValueError(f"{shown(raw)} is not a whole number")
    return value
