"""Route table, route, association."""

from __future__ import annotations

import zlib
from typing import Any

from sandbox.providers.aws.api import Api, AwsError, first, given, if_there
from sandbox.providers.aws.ec2 import Ec2Row, filters, tags_of
from sandbox.providers.aws.network import cidr_failures
from sandbox.providers.aws.table import Change, Row, paths
from sandbox.providers.backend import CheckFailure, Properties, ProviderError

# Property of a route's target, argument of the API, field of its answer.
_TARGETS = {
    "gatewayId": "GatewayId",
    "natGatewayId": "NatGatewayId",
    "networkInterfaceId": "NetworkInterfaceId",
}


class RouteTable(Ec2Row):
    token = "aws:ec2/routeTable:RouteTable"
    resource_type = "route-table"
    # Inline `routes` are left out on purpose: they fight with Route resources.
    handles = paths("vpcId")
    force_new = paths("vpcId")

    def create(self, api: Api, inputs: Properties) -> str:
        answer = api.ec2.create_route_table(VpcId=inputs["vpcId"], **self.specifications(inputs))
        return str(answer["RouteTable"]["RouteTableId"])

    def read(self, api: Api, id: str, known: Properties) -> Properties | None:
        table = _table(api, id)
        if table is None:
            return None
        return {
            "arn": api.arn("ec2", f"route-table/{id}"),
            "vpcId": table["VpcId"],
            "ownerId": table["OwnerId"],
            "routes": [_inline(route) for route in table["Routes"] if route.get("Origin") == "CreateRoute"],
            "propagatingVgws": [],
            "tagsAll": tags_of(table),
        }

    def delete(self, api: Api, id: str, state: Properties) -> None:
        for row in (_table(api, id) or {}).get("Associations", []):
            if not row["Main"]:
                api.ec2.disassociate_route_table(AssociationId=row["RouteTableAssociationId"])
        api.ec2.delete_route_table(RouteTableId=id)


class Route(Row):
    token = "aws:ec2/route:Route"
    handles = paths("routeTableId destinationCidrBlock gatewayId natGatewayId networkInterfaceId")
    force_new = paths("routeTableId destinationCidrBlock")

    def check(self, inputs: Properties) -> list[CheckFailure]:
        found = cidr_failures(inputs, "destinationCidrBlock")
        if "destinationCidrBlock" not in inputs:
            found.append(("destinationCidrBlock", "one of the destination properties must be given"))
        if sum(name in inputs for name in _TARGETS) != 1:
            found.append(("gatewayId", f"exactly one of {', '.join(_TARGETS)} must be given"))
        return found

    def create(self, api: Api, inputs: Properties) -> str:
        table, destination = inputs["routeTableId"], inputs["destinationCidrBlock"]
        api.ec2.create_route(RouteTableId=table, DestinationCidrBlock=destination, **_target(inputs))
        return self.canonical_id(f"{table}_{destination}")

    def canonical_id(self, id: str) -> str:
        """The provider's own id: the table and a checksum of the destination."""
        table, separator, destination = id.partition("_")
        return f"r-{table}{zlib.crc32(destination.encode())}" if separator else id

    def read(self, api: Api, id: str, known: Properties) -> Properties | None:
        table_id, separator, destination = id.partition("_")
        if not separator:
            table_id, destination = known.get("routeTableId", ""), known.get("destinationCidrBlock", "")
        if not destination:
            raise ProviderError("", f"{id}: import a route as ROUTE_TABLE_ID_DESTINATION")
        routes = (_table(api, table_id) or {}).get("Routes", [])
        found = [route for route in routes if route.get("DestinationCidrBlock") == destination]
        if not found:
            return None
        route = found[0]
        targets = {name: route.get(field) or None for name, field in _TARGETS.items()}
        return {
            "routeTableId": table_id,
            "destinationCidrBlock": destination,
            **targets,
            "origin": route.get("Origin"),
            "state": route.get("State"),
        }

    def update(self, api: Api, id: str, change: Change) -> None:
        new = change.new
        api.ec2.replace_route(
            RouteTableId=new["routeTableId"], DestinationCidrBlock=new["destinationCidrBlock"], **_target(new)
        )

    def delete(self, api: Api, id: str, state: Properties) -> None:
        api.ec2.delete_route(
            RouteTableId=state["routeTableId"], DestinationCidrBlock=state["destinationCidrBlock"]
        )


class RouteTableAssociation(Row):
    token = "aws:ec2/routeTableAssociation:RouteTableAssociation"
    handles = paths("routeTableId subnetId")
    # The real provider changes the table in place and takes over the new association's id, which
    # the engine's protocol has no room for: an update cannot change an id. So it is a new one here.
    force_new = handles

    def check(self, inputs: Properties) -> list[CheckFailure]:
        return [] if "subnetId" in inputs else [("subnetId", "one of gatewayId, subnetId must be given")]

    def create(self, api: Api, inputs: Properties) -> str:
        table, subnet = inputs["routeTableId"], inputs["subnetId"]
        if _associations(api, association__subnet_id=subnet):
            message = (
                f"the specified association for route table {table} conflicts with an existing association"
            )
            raise AwsError("Resource.AlreadyAssociated", message)
        return str(api.ec2.associate_route_table(RouteTableId=table, SubnetId=subnet)["AssociationId"])

    def read(self, api: Api, id: str, known: Properties) -> Properties | None:
        subnet, slash, table = id.partition("/")
        key = {"association__subnet_id": subnet} if slash else {
            "association__route_table_association_id": id
        }  # fmt: skip
        for row in _associations(api, **key):
            if not slash or row["RouteTableId"] == table:
                return {
                    "id": row["RouteTableAssociationId"],
                    "routeTableId": row["RouteTableId"],
                    "subnetId": row["SubnetId"],
                }
        return None

    def delete(self, api: Api, id: str, state: Properties) -> None:
        api.ec2.disassociate_route_table(AssociationId=id)


def _table(api: Api, id: str) -> dict[str, Any] | None:
    table: dict[str, Any] | None = first(
        if_there(api.ec2.describe_route_tables, RouteTableIds=[id]), "RouteTables"
    )
    return table


def _associations(api: Api, **key: str) -> list[dict[str, Any]]:
    """Explicit associations that match; the filter selects tables, so rows are matched again."""
    ((name, wanted),) = key.items()
    field = "SubnetId" if name.endswith("subnet_id") else "RouteTableAssociationId"
    tables = api.ec2.describe_route_tables(Filters=filters(**{name: wanted}))["RouteTables"]
    return [
        row
        for table in tables
        for row in table["Associations"]
        if not row["Main"] and row.get(field) == wanted
    ]


def _target(inputs: Properties) -> dict[str, str]:
    return {field: inputs[name] for name, field in _TARGETS.items() if inputs.get(name)}


def _inline(route: Any) -> Properties:
    shown = given(**{name: route.get(field) for name, field in _TARGETS.items()})
    return {"cidrBlock": route.get("DestinationCidrBlock", ""), **shown}
