"""The AWS account of the stack, and the tags of everything in it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from config.model import AwsSettings
from config.validation import Section, matching, shown, text

_region = matching(re.compile(r"[a-z]{2}(-[a-z]+)+-[0-9]"), "a region")
_account = matching(re.compile(r"[0-9]{12}"), "an account number")


def aws(section: Section) -> AwsSettings:
    settings = AwsSettings(
        region=section.value("region", _region, accepted="an AWS region", example="eu-central-1"),
        account_id=section.value("accountId", _account, accepted="12 digits, quoted", example="123456789012"),
        endpoint=section.value(
            "endpoint",
            _url,
            accepted="a URL",
            example="http://127.0.0.1:4566",
            default=None,
        ),
    )
    section.finish()
    return settings


def tags(section: Section) -> Mapping[str, str]:
    """Further tags for every AWS resource. The program's own prefix is refused."""
    found = {}
    for key in section.names():
        found[key] = section.value(key, text, accepted="a text of at most 256 characters", example="ml-team")
        if key.startswith(("kubepark:", "aws:", "kubernetes.io/")) or len(key) > 128 or len(found[key]) > 256:
            section.refuse(key, f"{key} cannot be a tag here", "another tag name", None)
    return found


def _url(raw: Any) -> str:
    parts = urlsplit(text(raw))
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{shown(raw)} is not a URL")
    return str(raw).rstrip("/")
