"""What a stack may cost."""

from __future__ import annotations

from config.model import BudgetSettings
from config.validation import Encrypted, Section, whole

_MOST = 1_000_000  # USD


def budget(section: Section) -> BudgetSettings:
    settings = BudgetSettings(
        monthly_usd=_usd(section, "monthlyUsd"), acknowledged_usd=_usd(section, "acknowledgedUsd")
    )
    section.finish()
    return settings


def _usd(section: Section, key: str) -> int | None:
    if isinstance(section.raw.get(key), Encrypted):  # no stand-in: nothing may be refused because of it
        section.take(key)
        return None
    return section.value(
        key,
        whole(1, _MOST),
        accepted=f"whole USD a month from 1 to {_MOST}",
        example=1000,
        default=None,
    )
