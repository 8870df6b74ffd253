"""The only reader of the stack configuration.

`load()` turns the configuration into a `Settings`, or raises one `SettingsError` that lists every
problem. It runs before any resource is registered, so bad input creates nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Set
from typing import Any

from config import people_checks
from config.model import PodSecurity, Settings
from config.naming import LONGEST_CLUSTER, PROJECT, Naming, default_cluster, possible_cluster
from config.problems import Problems
from config.sections import aws as aws_section
from config.sections import budget as budget_section
from config.sections import logins, nodes, quota
from config.sections import network as network_section
from config.sections import people as people_section
from config.sections import platform as platform_section
from config.validation import Section, dns_label, shown, text

SECRETS = ("passwordHashes", "oidcClientSecret", "connectorSecrets")


def load() -> Settings:
    """Read and check the configuration of the current stack.

    Raises: SettingsError naming every problem with its key, the accepted form and the fix.
    """
    import pulumi  # only here: the command reads stack files without an engine
    from pulumi.runtime import config as runtime_config

    plain = {key for key in SECRETS if not runtime_config.is_config_secret(f"{PROJECT}:{key}")}
    return parse(pulumi.get_stack(), configuration(), plain)


def configuration() -> dict[str, Any]:
    """The current stack's keys in the project's namespace, objects decoded."""
    from pulumi.runtime import config as runtime_config

    return _configuration({**runtime_config.get_config_env(), **runtime_config.CONFIG.get()})


def parse(stack: str, configuration: Mapping[str, Any], plain: Set[str] = frozenset()) -> Settings:
    """Check `configuration` (the keys of the project's namespace, decoded) and plan nothing yet.

    `plain`: keys that must be secret and were stored unencrypted.
    """
    problems = Problems(stack)
    root = Section(
        problems, f"{PROJECT}:", {key: value for key, value in configuration.items() if value != ""}
    )
    for key in sorted(plain):
        if root.has(key) and root.raw[key]:
            wrong, accepted = "is stored as plain text", "an encrypted value (--secret)"
            if key == "oidcClientSecret":
                problems.add_secret(root.key(key), wrong, accepted, logins.RANDOM)
            else:  # each value in it is then missing, and has a command of its own
                problems.add(root.key(key), wrong, accepted, None)
    cluster = _cluster(root, stack)
    aws = aws_section.aws(root.section("aws"))
    release, platform, ami = platform_section.platform(root.section("platform"))
    network = network_section.network(root.section("network"), aws.region)
    control_plane = nodes.control_plane(root.section("controlPlane"), ami)
    workers, workers_power = nodes.workers(root.section("workers"), ami)
    gpu = nodes.gpu(root.section("gpu"), ami, network)
    nodes.check_names(problems, Naming(cluster), control_plane, workers, gpu.nodes)
    nodes.check_images(problems, platform, (control_plane.node, *workers, *gpu.nodes))
    people, groups = people_section.people(root), people_section.groups(root.section("groups"))
    people_checks.check(problems, people_section.list_path(root), people, groups)
    quota.check_gpus(problems, people_section.list_path(root), people, gpu)
    connectors = logins.connectors(problems, root.key("connectors"), root.items("connectors"))
    settings = Settings(
        cluster=cluster,
        aws=aws,
        release=release,
        platform=platform,
        network=network,
        control_plane=control_plane,
        workers=workers,
        workers_power=workers_power,
        gpu=gpu,
        people=people,
        people_path=people_section.list_path(root),
        groups=groups,
        pod_security=PodSecurity(root.choice("podSecurity", PodSecurity, PodSecurity.BASELINE)),
        connectors=connectors,
        kubeflow=platform_section.kubeflow(root.section("kubeflow")),
        manifests=platform_section.manifests(root.section("manifests"), release),
        budget=budget_section.budget(root.section("budget")),
        tags=aws_section.tags(root.section("tags")),
        password_hashes=logins.password_hashes(root.section("passwordHashes"), people, connectors),
        oidc_issuer=logins.oidc_issuer(root, connectors),
        oidc_client_id=root.value(
            "oidcClientId", text, accepted="a text", example="kubepark", default="kubepark"
        ),
        oidc_client_secret=logins.oidc_client_secret(
            problems, root.key("oidcClientSecret"), root.take("oidcClientSecret")
        ),
        connector_secrets=logins.connector_secrets(root.section("connectorSecrets"), connectors),
    )
    root.finish()
    problems.raise_if_any()
    return settings


def _configuration(everything: Mapping[str, str]) -> dict[str, Any]:
    """All keys of the project's namespace, objects decoded. The SDK has no public call that lists
    them, and without the list an unknown key could not be told from a missing one."""
    prefix = f"{PROJECT}:"
    return {
        key.removeprefix(prefix): decoded(value)
        for key, value in everything.items()
        if key.startswith(prefix)
    }


def decoded(value: Any) -> Any:
    """Objects and lists arrive as JSON text; plain strings stay strings."""
    if isinstance(value, str) and value[:1] in ("{", "["):
        try:
            return json.loads(value)
        except json.JSONDecodeError:
            return value
    return value


def _cluster(root: Section, stack: str) -> str:
    """The cluster's name, given or from the stack's."""
    accepted = f"a DNS-1123 label of at most {LONGEST_CLUSTER} characters"
    derived, possible = default_cluster(stack), possible_cluster(stack)
    if not root.has("clusterName"):
        try:
            cluster_name(derived)
        except ValueError as error:
            wrong = f"the stack's name gives no cluster name: {error}"
            root.refuse("clusterName", wrong, accepted, possible)
    return root.value("clusterName", cluster_name, accepted=accepted, example=possible, default=derived)


def cluster_name(raw: Any) -> str:
    """The name of a cluster. Raises: ValueError with what is wrong."""
    name = dns_label(raw)
    if len(name) > LONGEST_CLUSTER:
        raise ValueError(f"{shown(raw)} has more than {LONGEST_CLUSTER} characters")
    # Source: the Systems Manager API, PutParameter, "Naming Constraints".
    if name.startswith(("aws", "ssm")):
        raise ValueError(f"{shown(raw)} begins with aws or ssm, which no parameter path may")
    return name
