"""The AWS account of the stack, and the tags of everything in it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from typing import Any
from unicodedata import category

from config.model import AwsSettings
from config.naming import MOST_TAGS, PROJECT
from config.urls import url
from config.validation import Section, matching, shown, text

_REGION = re.compile(r"[a-z]{2}(-gov)?-[a-z]+-[0-9]+")
# China, Europe's sovereign cloud, and the isolated ones. Source: botocore, data/partitions.json (dnsSuffix).
_OTHER_DOMAIN = re.compile(r"(cn|eusc-[a-z]+|[a-z]{2}-iso[a-z]?)-[a-z]+-[0-9]+")
_TAG_FORM = "letters, digits, spaces and _.:/=+-@"
_account = matching(re.compile(r"[0-9]{12}"), "an account number")


def aws(section: Section) -> AwsSettings:
    settings = AwsSettings(
        region=section.value(
            "region", _region, accepted="a region of AWS or of GovCloud", example="eu-central-1"
        ),
        account_id=section.value("accountId", _account, accepted="12 digits, quoted", example="123456789012"),
        endpoint=section.value(
            "endpoint",
            partial(url, schemes=("http", "https")),
            accepted="a URL",
            example="http://127.0.0.1:4566",
            default=None,
        ),
    )
    section.finish()
    return settings


def _region(raw: Any) -> str:
    """The partitions `aws` and `aws-us-gov`: nodes and policies name services below amazonaws.com."""
    if isinstance(raw, str) and _OTHER_DOMAIN.fullmatch(raw):
        raise ValueError(f"{shown(raw)} has services outside amazonaws.com, where nodes look for them")
    if not isinstance(raw, str) or not _REGION.fullmatch(raw):
        raise ValueError(f"{shown(raw)} is not a region")
    return raw


def tags(section: Section) -> Mapping[str, str]:
    """Further tags for every AWS resource, as the strictest service that gets them takes them."""
    found: dict[str, str] = {}
    spelled: dict[str, str] = {}
    for place, key in enumerate(section.names()):
        found[key] = section.value(
            key, _tag_value, accepted=f"a text of at most 256 characters: {_TAG_FORM}", example="ml-team"
        )
        same = spelled.setdefault(key.lower(), key)
        wrong = _wrong_tag_key(key)
        if same != key:
            wrong = f"differs from {same} in case only, and IAM's tag keys have no case"
        elif place >= MOST_TAGS:
            wrong = f"is one too many: AWS takes 50 tags, of which {50 - MOST_TAGS} are the program's"
        if wrong:
            accepted = f"at most {MOST_TAGS} tags of at most 127 characters: {_TAG_FORM}"
            section.refuse(key, wrong, accepted, None)
    return found


def _tag_value(raw: Any) -> str:
    if len(text(raw)) > 256:
        raise ValueError("has more than 256 characters")
    if refused := _refused_in_tags(raw):
        raise ValueError(f"has a character that IAM refuses in tags: {refused}")
    return str(raw)


def _wrong_tag_key(key: str) -> str:
    """What is wrong with the key of a tag; empty if nothing is."""
    if not key.strip():
        return "is empty"
    if len(key) > 127:  # source: the EC2 API, Tag; IAM and SSM take one more
        return "has more than 127 characters"
    for prefix in ("aws:", f"{PROJECT}:", "kubernetes.io/"):
        if key.lower().startswith(prefix):
            return f"begins with {prefix}, which is reserved"
    refused = _refused_in_tags(key)
    return f"has a character that IAM refuses in tags: {refused}" if refused else ""


def _refused_in_tags(raw: str) -> str:
    """The first character that IAM refuses. Source: the IAM API, Tag; the SSM API has the same pattern."""
    return next((each for each in raw if category(each)[0] not in "LZN" and each not in "_.:/=+-@"), "")
