"""`kubepark price --preview FILE`: what the changes of a `pulumi preview --json` do to the price of a month.

The form of the file: PreviewDigest in Pulumi's pkg/display/json.go, ResourceV3 in its sdk/go/common/apitype.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from cli.errors import CommandError
from cli.price_format import SPOT_NOTE, amount, new_table, notes, print_tables, rounded, table_of
from cli.stackfile import config_of, setting
from cli.urns import name_of
from config.costs import Cost, cost_of, total
from config.naming import PROJECT
from config.prices import GP3, KMS_KEY, NAT_GATEWAY, NETWORK_LOAD_BALANCER, PUBLIC_IPV4, PriceTable

State = Mapping[str, Any]  # a resource before or after
STDIN = Path("-")
# Operations, by whether what was and what will be counts. Of a replacement the engine shows `replace`, and
# its two halves besides. Source: pkg/resource/deploy/step.go.
_OPERATIONS: Mapping[str, tuple[bool, bool]] = MappingProxyType(
    {
        **dict.fromkeys(("create", "import"), (False, True)),
        "delete": (True, False),
        **dict.fromkeys(("update", "replace"), (True, True)),
        **dict.fromkeys(("create-replacement", "delete-replaced", "import-replacement"), (False, False)),
        **dict.fromkeys(("same", "refresh", "diff", "extend-parameterize"), (False, False)),
        **dict.fromkeys(("read", "read-replacement", "discard", "discard-replaced"), (False, False)),
        "remove-pending-replace": (False, False),
    }
)
# What AWS has no price of by time. Any other type without a price is unknown.
FREE = frozenset(
    {
        "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup",
        "aws:ec2/internetGateway:InternetGateway",
        "aws:ec2/networkInterface:NetworkInterface",
        "aws:ec2/route:Route",
        "aws:ec2/routeTable:RouteTable",
        "aws:ec2/routeTableAssociation:RouteTableAssociation",
        "aws:ec2/securityGroup:SecurityGroup",
        "aws:ec2/subnet:Subnet",
        "aws:ec2/subnetCidrReservation:SubnetCidrReservation",
        "aws:ec2/vpc:Vpc",
        "aws:ec2/vpcSecurityGroupRulesExclusive:VpcSecurityGroupRulesExclusive",
        "aws:ec2transitgateway/instanceState:InstanceState",
        "aws:iam/instanceProfile:InstanceProfile",
        "aws:iam/role:Role",
        "aws:iam/rolePolicy:RolePolicy",
        "aws:kms/alias:Alias",
        "aws:scheduler/schedule:Schedule",
        "aws:scheduler/scheduleGroup:ScheduleGroup",
        "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule",
        "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule",
    }
)
_FREE_PACKAGES = ("kubernetes", "pulumi", PROJECT)
_SERVICE = "kubernetes:core/v1:Service"
_PARAMETER = "aws:ssm/parameter:Parameter"


@dataclass(frozen=True, kw_only=True)
class Change:
    """One step of a preview that changes the price. `delta`: of a month."""

    operation: str
    type: str
    name: str
    delta: Cost
    spot: bool = False  # of a Spot Instance, before or after: counted is the most that it costs


def run(file: Path, stack: str, region: str | None, *, as_json: bool) -> int:
    """Print what a preview changes. `region`: where else than the preview, or the stack, says.

    Raises: CommandError.
    """
    digest = _read(file)
    table = table_of(region or region_of(digest) or str(setting(config_of(stack), f"{PROJECT}:aws.region")))
    found = changes(digest, table)
    delta = total(change.delta for change in found)
    if as_json:
        print(json.dumps(_document(table, found, delta), indent=2))
        return 0
    shown = new_table(f"Changes in {table.region}", "USD a month")
    for change in found:
        spot = " (spot: at most)" if change.spot else ""
        shown.add_row(f"  {change.operation} {change.name}{spot}", amount(change.delta, sign=True))
    shown.add_row("  all", amount(delta, sign=True))
    spot_note = [SPOT_NOTE] if any(change.spot for change in found) else []
    print_tables([shown], [*spot_note, *notes(table, delta.unknown)])
    return 0


def changes(digest: Mapping[str, Any], table: PriceTable) -> list[Change]:
    """Every step that changes the price, or may, in the order of the preview.

    Raises: CommandError for a preview that failed, and for an operation that nobody knows.
    """
    errors = [each["message"] for each in digest.get("diagnostics") or [] if each.get("severity") == "error"]
    if errors:
        raise CommandError(f"the preview failed, so its price is not known: {errors[0].strip()}")
    found = []
    for step in digest.get("steps") or []:
        operation = str(step["op"])
        before, after = counted(operation)
        old, new = step.get("oldState") or {}, step.get("newState") or {}
        if not after and old.get("retainOnDelete"):
            continue  # AWS has it still, and it is paid for
        delta = (_price(new, table) if after else Cost()) - (_price(old, table) if before else Cost())
        spot = (before and _is_spot(old), after and _is_spot(new))
        if delta != Cost() or spot[0] is not spot[1]:
            name, type_ = name_of(str(step["urn"])), (new or old)["type"]
            found.append(Change(operation=operation, type=type_, name=name, delta=delta, spot=any(spot)))
    return found


def counted(operation: str) -> tuple[bool, bool]:
    """Whether what was and what will be counts. Raises: CommandError for an operation that nobody knows."""
    if operation not in _OPERATIONS:
        raise CommandError(f"{operation} is no operation of pulumi that kubepark knows")
    return _OPERATIONS[operation]


def _price(state: State, table: PriceTable) -> Cost:
    kind, inputs = str(state["type"]), state.get("inputs") or {}
    if kind in PRICED:
        return PRICED[kind](inputs, table)
    if kind == _SERVICE and (inputs.get("spec") or {}).get("type") == "LoadBalancer":
        return _unknown(f"{kind} of type LoadBalancer")
    if kind in FREE or kind.partition(":")[0] in _FREE_PACKAGES:
        return Cost()
    return _unknown(kind)


def _unknown(what: str) -> Cost:
    return Cost(unknown=frozenset({what}))


def _instance(inputs: State, table: PriceTable) -> Cost:
    """With its root disk, and the address that the subnets give to an instance that brings no interface."""
    disk = inputs.get("rootBlockDevice") or {}
    address = cost_of(table, PUBLIC_IPV4)
    if inputs.get("primaryNetworkInterface") or inputs.get("associatePublicIpAddress") is False:
        address = Cost()
    return (
        cost_of(table, str(inputs.get("instanceType")))
        + _disk(disk.get("volumeType"), disk.get("volumeSize"), table)
        + address
    )


def _is_spot(state: State) -> bool:
    options = (state.get("inputs") or {}).get("instanceMarketOptions") or {}
    return bool(options.get("marketType") == "spot")


def _volume(inputs: State, table: PriceTable) -> Cost:
    return _disk(inputs.get("type"), inputs.get("size"), table)


def _disk(kind: Any, size: Any, table: PriceTable) -> Cost:
    if kind != GP3 or isinstance(size, bool) or not isinstance(size, int):
        return _unknown(f"a disk of type {kind} and {size} GB")
    return cost_of(table, GP3, size)


def _balancer(inputs: State, table: PriceTable) -> Cost:
    kind = inputs.get("loadBalancerType") or "application"
    return cost_of(table, NETWORK_LOAD_BALANCER) if kind == "network" else _unknown(f"{kind} load balancer")


def _parameter(inputs: State, table: PriceTable) -> Cost:
    """Standard ones are free, and advanced ones are not.

    Source: the Systems Manager User Guide, "Managing parameter tiers".
    """
    tier = inputs.get("tier") or "Standard"
    return Cost() if tier == "Standard" else _unknown(f"{tier} parameter")


def _each(item: str) -> Callable[[State, PriceTable], Cost]:
    return lambda inputs, table: cost_of(table, item)


PRICED: Mapping[str, Callable[[State, PriceTable], Cost]] = MappingProxyType(
    {
        "aws:ec2/instance:Instance": _instance,
        "aws:ec2/eip:Eip": _each(PUBLIC_IPV4),
        "aws:ec2/natGateway:NatGateway": _each(NAT_GATEWAY),
        "aws:ebs/volume:Volume": _volume,
        "aws:kms/key:Key": _each(KMS_KEY),
        "aws:lb/loadBalancer:LoadBalancer": _balancer,
        _PARAMETER: _parameter,
    }
)


def _read(file: Path) -> Mapping[str, Any]:
    name = "standard input" if file == STDIN else file.name
    try:
        text = sys.stdin.read() if file == STDIN else file.read_text(encoding="utf-8")
        digest = json.loads(text)
    except OSError as error:
        raise CommandError(f"{name} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise CommandError(f"{name} is not JSON ({error}); {_accepted()}") from None
    if not isinstance(digest, dict) or not isinstance(digest.get("changeSummary"), dict):
        raise CommandError(f"{name} is no preview; {_accepted()}")
    return digest


def _accepted() -> str:
    return "accepted: what `bin/kubepark preview --json` prints"


def region_of(digest: Mapping[str, Any]) -> str:
    """The region in the preview's configuration; "" if it is not there or secret."""
    text = (digest.get("config") or {}).get(f"{PROJECT}:aws", "")
    try:
        return str(json.loads(text).get("region") or "")
    except (ValueError, AttributeError):
        return ""


def _document(table: PriceTable, found: list[Change], delta: Cost) -> dict[str, Any]:
    return {
        "region": table.region,
        "changes": [
            {
                "operation": change.operation,
                "type": change.type,
                "name": change.name,
                "usdMonthly": rounded(change.delta),
                "spot": change.spot,
            }
            for change in found
        ],
        "usdMonthly": rounded(delta),
        "unknown": sorted(delta.unknown),
        "priceDates": list(table.dates),
    }
