"""The configuration of `foundation/`, checked like the clusters': every problem in one error."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from config.model import AwsSettings
from config.naming import LONGEST_CLUSTER, PROJECT, default_cluster
from config.problems import Problems
from config.sections import aws as aws_section
from config.settings import cluster_name
from config.validation import Section, boolean, dns_label, matching, shown

# Both are part of the `sub` claim, which a trust policy compares as text: nothing in them may be a wildcard
# or a separator. Source: GitHub's documentation, "OpenID Connect reference", "Example subject claims".
_REPOSITORY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*/[A-Za-z0-9._-]+")
# What the GitHub environments of previews, parks and drift have behind the name of the deploys'.
PREVIEW, PARK, DRIFT = "-preview", "-park", "-drift"
OWN_STATE = "foundation"  # this project's state, beside the environments' in the bucket
# Source: the IAM API, CreateRole: 64 characters.
_LONGEST_ENVIRONMENT = 64 - len("kubepark-preview-")


@dataclass(frozen=True, kw_only=True)
class Environment:
    """One cluster's stack: `name` is that of the stack and of the GitHub environment."""

    name: str
    cluster: str


@dataclass(frozen=True, kw_only=True)
class Settings:
    """`protected`: Pulumi refuses to delete bucket and key. `review_stacks`: the account is for them."""

    aws: AwsSettings
    repository: str
    environments: tuple[Environment, ...]
    review_stacks: bool
    protected: bool


def parse(stack: str, configuration: Mapping[str, Any]) -> Settings:
    """Check `configuration`: the keys of the namespace, decoded.

    Raises: SettingsError naming every problem with its key, the accepted form and the fix.
    """
    problems = Problems(stack)
    root = Section(
        problems, f"{PROJECT}:", {key: value for key, value in configuration.items() if value != ""}
    )
    review_stacks = root.value("reviewStacks", boolean, accepted="true, false", example="true", default=False)
    settings = Settings(
        aws=aws_section.aws(root.section("aws")),
        repository=root.value(
            "repository",
            matching(_REPOSITORY, "a repository"),
            accepted="OWNER/NAME, as GitHub spells it",
            example="octo-org/octo-repo",
        ),
        environments=_environments(problems, root, review_stacks),
        review_stacks=review_stacks,
        protected=root.value("protected", boolean, accepted="true, false", example="true", default=True),
    )
    root.finish()
    problems.raise_if_any()
    return settings


def _environments(problems: Problems, root: Section, review_stacks: bool) -> tuple[Environment, ...]:
    key = root.key("environments")
    raw = root.items("environments")
    if raw and review_stacks:
        problems.add(
            root.key("reviewStacks"),
            "is true in an account with environments; whoever makes roles of nodes controls their account",
            "false; true in the account of review stacks alone",
            "false",
        )
    if not raw and not review_stacks:
        problems.add(f"{key}[0].name", "is missing", "the name of a stack", "dev")
    found: list[Environment] = []
    for index, item in enumerate(raw):
        if isinstance(item, dict) and isinstance(item.get("name"), str):
            item = {"clusterName": default_cluster(item["name"]), **item}
        section = Section(problems, f"{key}[{index}]", item)
        name = section.value(
            "name",
            partial(_unlike, taken=[each.name for each in found]),
            accepted=f"a DNS-1123 label of at most {_LONGEST_ENVIRONMENT} characters that no other has",
            example=f"environment-{index}",
        )
        cluster = section.value(
            "clusterName",
            partial(_own_cluster, taken=[each.cluster for each in found]),
            accepted=f"a DNS-1123 label of at most {LONGEST_CLUSTER} characters that no other has",
            example=f"cluster-{index}",
            default=default_cluster(name),
        )
        section.finish()
        found.append(Environment(name=name, cluster=cluster))
    return tuple(found)


def _unlike(raw: Any, taken: list[str]) -> str:
    """A name by which no other environment's role can be assumed."""
    name = dns_label(raw)
    if len(name) > _LONGEST_ENVIRONMENT:
        raise ValueError(f"{shown(raw)} has more than {_LONGEST_ENVIRONMENT} characters")
    if name in taken:
        raise ValueError(f"{shown(raw)} is there twice")
    if name == OWN_STATE:
        raise ValueError(f"{shown(raw)} is where this project's own state is")
    for suffix, whose in ((PREVIEW, "previews"), (PARK, "parks"), (DRIFT, "drift")):
        if name.endswith(suffix):
            raise ValueError(f"{shown(raw)} ends with {suffix}, as the environments of {whose} do")
    return name


def _own_cluster(raw: Any, taken: list[str]) -> str:
    if raw in taken:
        raise ValueError(f"{shown(raw)} is another environment's")
    return cluster_name(raw)
