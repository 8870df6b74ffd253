"""`kubepark status`: what runs, who is parked since when, what that costs now, and how long GPUs ran."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cli import api_server, cluster, environments, power, price
from cli.aws import client
from cli.errors import CommandError
from cli.park import say, stack_nodes
from cli.power_history import DAYS, History, Version
from cli.power_plan import Object
from cli.price_format import rounded
from cli.stackfile import cluster_of
from cli.status_plan import ANSWERS, PARKED, SILENT, UNKNOWN, ControlPlane, Found, PoolCost, plan
from config import power as record
from config.files import replace_file
from config.naming import Naming

_SECONDS = 10.0  # for one call of AWS


def run(stack: str, *, as_json: bool, chart: Path | None) -> int:
    """Print it, or draw it; gives the exit code. Raises: CommandError."""
    if as_json and chart:
        raise CommandError("--json and --chart are asked for one at a time")
    environment = environments.of(stack)
    for line in environment.described():
        say(line, as_json or chart is not None)
    with environment.operation("status") as variables:
        found = look(stack, variables, datetime.now(UTC))
    if chart:
        from cli import status_chart

        try:
            replace_file(chart, status_chart.draw(found), mode=0o644)
        except OSError as error:
            raise CommandError(f"{chart} cannot be written: {error.strerror}") from None
        print(f"wrote {chart}")
    elif as_json:
        print(json.dumps(document(found), indent=2))
    else:
        from cli import status_text

        status_text.show(found)
    return 0


def look(stack: str, variables: Mapping[str, str], now: datetime) -> Found:
    """Ask account and cluster. Raises: CommandError, and the errors of AWS."""
    cost = price.cost_of(stack_nodes(stack))
    ec2, ssm = (client(name, stack, variables, seconds=_SECONDS) for name in ("ec2", "ssm"))
    name = cluster_of(stack)
    known = power.read(ec2, ssm, name)
    history = read_history(ssm, Naming(name).power_parameter)
    control_plane, nodes = _ask_cluster(stack, known, now)
    return Found(
        stack=stack,
        region=cost.table.region,
        control_plane=control_plane,
        status=plan(cost, known.machines, history, known.keep_on, nodes, now),
        differences=tuple(power.differences(stack, known, power.pins(stack))),
        now=now,
    )


def read_history(ssm: Any, name: str) -> History:
    """The versions of the record that Parameter Store keeps."""
    try:
        pages = list(ssm.get_paginator("get_parameter_history").paginate(Name=name))
    except ssm.exceptions.ParameterNotFound:
        return History((), whole=True)
    found = sorted((each for page in pages for each in page["Parameters"]), key=lambda each: each["Version"])
    versions = tuple(
        Version(at=each["LastModifiedDate"], by=_who(each), parked=_parked(each["Value"])) for each in found
    )
    return History(versions, whole=not found or found[0]["Version"] == 1)


def _who(version: Mapping[str, Any]) -> str:
    """The last part of an ARN: a user, or a role's session. An emulator names nobody."""
    name = str(version.get("LastModifiedUser") or "").rpartition("/")[2]
    return "" if name == "N/A" else name


def _parked(text: str) -> frozenset[str] | None:
    try:
        return record.load(text)
    except record.PowerRecordError:
        return None


def _ask_cluster(
    stack: str, known: power.Known, now: datetime
) -> tuple[ControlPlane, Mapping[str, Object] | None]:
    """How the control plane is, and its Nodes; None where it could not be asked."""
    from cli.kube_nodes import KubeNodes  # the Kubernetes client takes a second to import

    if not known.machines or known.control_plane_off:
        return ControlPlane(state=PARKED if known.machines else UNKNOWN), None
    try:
        kubeconfig = cluster.kubeconfig_of(stack)
        if not api_server.listens(kubeconfig):
            return ControlPlane(state=SILENT), None
        with cluster.connected(kubeconfig) as api:
            nodes = KubeNodes(api).nodes()
        return ControlPlane(state=ANSWERS, notes=(api_server.certificate(kubeconfig, now),)), nodes
    except CommandError as error:
        return ControlPlane(state=UNKNOWN, notes=(" ".join(str(error).split()),)), None


# -- as data -----------------------------------------------------------------------------------------


def document(found: Found) -> dict[str, Any]:
    """The same as data; null is unknown."""
    status = found.status
    return {
        "stack": found.stack,
        "region": found.region,
        "at": _time(found.now),
        "controlPlane": {"state": found.control_plane.state, "notes": list(found.control_plane.notes)},
        "nodes": [
            {
                "name": node.name,
                "pool": price.camel(node.pool),
                "instanceId": node.machine and node.machine.instance_id,
                "type": node.machine and node.machine.type,
                "spot": bool(node.machine and node.machine.spot),
                "state": node.state,
                "recordedParked": node.recorded,
                "parkedAt": _time(node.parked.at if node.parked else None),
                "parkedBy": (node.parked and node.parked.by) or None,
                "keptOnUntil": _time(node.kept),
                "kubernetes": node.kubernetes,
                "usdHourly": {
                    "now": rounded(node.present_cost.hourly, 4),
                    "running": rounded(node.running_cost.hourly, 4),
                    "parked": rounded(node.parked_cost.hourly, 4),
                },
            }
            for node in status.nodes
        ],
        "usdMonthly": {price.camel(pool): _pool(cost) for pool, cost in status.pools.items()}
        | {"all": _pool(status.sum)},
        "gpuNodeHours": _gpu_node_hours(found),
        "differences": list(found.differences),
    }


def _gpu_node_hours(found: Found) -> dict[str, Any]:
    status = found.status
    return {
        "source": "power record",
        "days": DAYS,
        "recordSince": _time(status.history.since),
        "daily": [each if each is None else round(each, 2) for each in status.daily],
        "nodes": {
            node.name: {
                "since": _time(node.hours.since),
                "hours": round(node.hours.total, 2),
                "usd": rounded(node.cost_of_hours),
            }
            for node in status.gpus
            if node.hours
        },
    }


def _pool(cost: PoolCost) -> dict[str, float | None]:
    return {
        "running": rounded(cost.running),
        "parked": rounded(cost.parked),
        "now": rounded(cost.present),
    }


def _time(at: datetime | None) -> str | None:
    return record.spelled(at) if at else None
