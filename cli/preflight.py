"""What the account would refuse, asked before anything is made: quotas, offerings, images, addresses.

Everything is asked at the same time and none of it for long; an answer that does not come is one line.
Whatever is found is a warning: AWS itself has the last word.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from ipaddress import IPv4Network
from typing import Any
from urllib.parse import urlsplit

from cli import preflight_checks as checks
from cli.aws import LIVE
from cli.errors import CommandError
from cli.preflight_checks import Plan, Unanswered
from cli.stackfile import cluster_of, config_of, setting
from config.naming import PROJECT
from config.problems import Problems
from config.sections import aws as aws_section
from config.sections import network as network_section
from config.sections import nodes as node_sections
from config.sections import platform as platform_section
from config.validation import Section

SECONDS = 5.0  # for all questions together
_CALLER = "https://checkip.amazonaws.com"  # AWS's own: answers with the address that it is asked from
_DENIED = ("AccessDenied", "AccessDeniedException", "UnauthorizedOperation")


@dataclass(frozen=True)
class _Question:
    """`action`: what the caller must be allowed to do; "": nobody needs to know that it was not answered."""

    action: str
    ask: Callable[[], Any]


def warn(stack: str, variables: Mapping[str, str], pins: Mapping[str, str] | None = None) -> None:
    """Print a line for each thing that `up` would meet; what is not right in the stack file is its to say.

    `pins`: settings by path that are about to be in the file. Nothing is asked of a stack with an endpoint
    of its own: the account behind it has no quotas, and the caller's address is not what it sees.
    """
    if setting(config_of(stack), "kubepark:aws.endpoint"):
        return
    plan = plan_of(stack, pins)
    if plan is None:
        return
    from cli.aws import client

    try:
        lines = warnings(plan, partial(client, stack=stack, variables=variables, seconds=SECONDS))
    except CommandError as error:
        lines = [f"not checked: what the account has ({error})"]
    for line in lines:
        print(f"warning: {line}", file=sys.stderr, flush=True)


def plan_of(stack: str, pins: Mapping[str, str] | None = None) -> Plan | None:
    """What the stack file asks of the account; None when it does not say enough.

    With `pins`, those who may reach the API may still be missing: they are what is set next.
    """
    config = {key: value for key, value in config_of(stack).items() if key.startswith(f"{PROJECT}:")}
    for path, value in (pins or {}).items():
        top, _, field = path.partition(".")
        config[top] = {field: value} | dict(config.get(top) or {})
    problems = Problems(stack)
    root = Section(problems, f"{PROJECT}:", {key.partition(":")[2]: value for key, value in config.items()})
    aws = aws_section.aws(root.section("aws"))
    _, _, ami = platform_section.platform(root.section("platform"))
    network = network_section.network(root.section("network"), aws.region)
    control_plane = node_sections.control_plane(root.section("controlPlane"), ami)
    workers, _ = node_sections.workers(root.section("workers"), ami)
    gpu = node_sections.gpu(root.section("gpu"), ami, network)
    tolerated = "kubepark:network.adminCidrs" if pins else None
    if any(not (tolerated and problem.key.startswith(tolerated)) for problem in problems.found):
        return None
    tunneled = urlsplit(control_plane.api_endpoint or "").hostname in ("127.0.0.1", "localhost")
    return Plan(
        stack=stack,
        region=aws.region,
        cluster=cluster_of(stack),
        zone=network.availability_zone,
        nodes=(control_plane.node, *workers, *gpu.nodes),
        admin_cidrs=None if tunneled else network.admin_cidrs,
        zones={node.name: gpu.availability_zone for node in gpu.nodes},
    )


def own_address() -> str:
    """The address that AWS sees this machine at. Raises: OSError, ValueError."""
    from urllib.request import urlopen

    with urlopen(_CALLER, timeout=SECONDS) as answer:
        return str(IPv4Network(answer.read(64).decode("ascii").strip()).network_address)


def warnings(
    plan: Plan,
    client: Callable[[str], Any],
    caller: Callable[[], str] = own_address,
    seconds: float = SECONDS,
) -> list[str]:
    """A line for each thing that is in the way, then one for each reason why something was not checked."""
    answers = _ask(_questions(plan, client, caller), seconds)
    found: list[str] = []
    unchecked: dict[str, list[str]] = {}
    for check in checks.CHECKS:
        missing = [answer for name in check.needs if isinstance(answer := answers[name], Unanswered)]
        if not missing:
            found += check.evaluate(plan, answers)
        elif missing[0].reason:
            unchecked.setdefault(missing[0].reason, []).append(check.what)
    return found + [f"not checked: {', '.join(whats)} ({reason})" for reason, whats in unchecked.items()]


def _questions(
    plan: Plan, client: Callable[[str], Any], caller: Callable[[], str]
) -> Mapping[str, _Question]:
    """By the names that checks know them by. Clients are made here: to make one is not safe in threads."""
    ec2, quotas = client("ec2"), client("service-quotas")
    types = [{"Name": "instance-type", "Values": sorted({node.instance_type for node in plan.nodes})}]
    images = [{"Name": "image-id", "Values": sorted({node.ami for node in plan.nodes if node.ami})}]
    states = [{"Name": "instance-state-name", "Values": list(LIVE)}]
    found = {
        "instances": _Question(
            "ec2:DescribeInstances",
            lambda: [
                instance
                for page in ec2.get_paginator("describe_instances").paginate(Filters=states)
                for reservation in page["Reservations"]
                for instance in reservation["Instances"]
            ],
        ),
        "types": _Question(
            "ec2:DescribeInstanceTypes",
            lambda: ec2.describe_instance_types(Filters=types)["InstanceTypes"],
        ),
        "offerings": _Question(
            "ec2:DescribeInstanceTypeOfferings",
            lambda: ec2.describe_instance_type_offerings(LocationType="availability-zone", Filters=types)[
                "InstanceTypeOfferings"
            ],
        ),
        "images": _Question(
            "ec2:DescribeImages",
            lambda: ec2.describe_images(Filters=images, IncludeDeprecated=True)["Images"],
        ),
        "addresses": _Question("ec2:DescribeAddresses", lambda: ec2.describe_addresses()["Addresses"]),
        "caller": _Question("", caller),
    }
    for code in checks.QUOTAS:
        found[code] = _Question("servicequotas:GetServiceQuota", partial(_quota, quotas, code))
    return found


def _quota(quotas: Any, code: str) -> float:
    """The account's own value, else what AWS gives to everybody."""
    asked = {"ServiceCode": "ec2", "QuotaCode": code}
    try:
        answer = quotas.get_service_quota(**asked)
    except quotas.exceptions.NoSuchResourceException:
        answer = quotas.get_aws_default_service_quota(**asked)
    return float(answer["Quota"]["Value"])


def _ask(questions: Mapping[str, _Question], seconds: float) -> dict[str, Any]:
    """Every answer, or why there is none. Threads that still wait are left behind: they change nothing."""
    from concurrent.futures import ThreadPoolExecutor, wait

    pool = ThreadPoolExecutor(len(questions))
    futures = {name: pool.submit(question.ask) for name, question in questions.items()}
    wait(futures.values(), timeout=seconds)
    pool.shutdown(wait=False, cancel_futures=True)
    late = f"no answer in {seconds:g} s"
    return {
        name: _answer(question, futures[name])
        if futures[name].done()
        else Unanswered(late if question.action else "")
        for name, question in questions.items()
    }


def _answer(question: _Question, future: Any) -> Any:
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        return future.result()
    except ClientError as error:
        denied = error.response["Error"]["Code"] in _DENIED
        return Unanswered(f"no permission: {question.action}" if denied else str(error))
    except BotoCoreError as error:
        return Unanswered(str(error))
    except (OSError, ValueError):  # the caller's own address
        return Unanswered("")
