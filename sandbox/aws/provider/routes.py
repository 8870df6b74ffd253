"""Route table, route, association."""

from __future__ import annotations

import zlib
from typing import Any

from sandbox.aws.provider.api import Api, first, if_there
from sandbox.aws.provider.ec2 import Ec2ResourceType, filters
from sandbox.aws.provider.resource_type import Change, ResourceType, capital, paths
from sandbox.aws.provider.values import CheckFailure, Properties, ProviderError


class RouteTable(Ec2ResourceType):
    token = "aws:ec2/routeTable:RouteTable"
    resource_type = "route-table"
    # Inline `routes` are left out on purpose: they fight with Route resources.
    handles = arguments = force_new = paths("vpcId")
    fields = paths("vpcId ownerId")

    def details(self, api: Api, id: str, found: dict[str, Any], known: Properties) -> Properties:
        routes = [
            {"cidrBlock": route.get("DestinationCidrBlock", ""), "gatewayId": route.get("GatewayId", "")}
            for route in found["Routes"]
            if route.get("Origin") == "CreateRoute"
        ]
        return {"routes": routes, "propagatingVgws": []}


class Route(ResourceType):
    token = "aws:ec2/route:Route"
    handles = paths("routeTableId destinationCidrBlock gatewayId")
    force_new = paths("routeTableId destinationCidrBlock")
    cidr_blocks = ("destinationCidrBlock",)

    def check(self, inputs: Properties) -> list[CheckFailure]:
        absent = [name for name in ("destinationCidrBlock", "gatewayId") if name not in inputs]
        return super().check(inputs) + [(name, "missing required property") for name in absent]

    def create(self, api: Api, inputs: Properties) -> str:
        api.ec2.create_route(**_key(inputs), GatewayId=inputs["gatewayId"])
        return self.canonical_id(f"{inputs['routeTableId']}_{inputs['destinationCidrBlock']}")

    def canonical_id(self, id: str) -> str:
        """The provider's own id: the table and a checksum of the destination."""
        table, separator, destination = id.partition("_")
        return f"r-{table}{zlib.crc32(destination.encode())}" if separator else id

    def read(self, api: Api, id: str, known: Properties) -> Properties | None:
        table, separator, destination = id.partition("_")
        if not separator:
            table, destination = known.get("routeTableId", ""), known.get("destinationCidrBlock", "")
        if not destination:
            raise ProviderError("", f"{id}: import a route as ROUTE_TABLE_ID_DESTINATION")
        found = first(if_there(api.ec2.describe_route_tables, RouteTableIds=[table]), "RouteTables") or {}
        for route in found.get("Routes", []):
            if route.get("DestinationCidrBlock") == destination:
                same = {name: route.get(capital(name)) for name in ("gatewayId", "origin", "state")}
                return {"routeTableId": table, "destinationCidrBlock": destination, **same}
        return None

    def update(self, api: Api, id: str, change: Change) -> None:
        api.ec2.replace_route(**_key(change.new), GatewayId=change.new["gatewayId"])

    def delete(self, api: Api, id: str, state: Properties) -> None:
        api.ec2.delete_route(**_key(state))


def _key(route: Properties) -> dict[str, str]:
    return {"RouteTableId": route["routeTableId"], "DestinationCidrBlock": route["destinationCidrBlock"]}


class RouteTableAssociation(ResourceType):
    token = "aws:ec2/routeTableAssociation:RouteTableAssociation"
    # The real provider changes the table in place and takes over the new association's id, which
    # the engine's protocol has no room for: an update cannot change an id. So it is a new one here.
    handles = force_new = paths("routeTableId subnetId")

    def check(self, inputs: Properties) -> list[CheckFailure]:
        return [] if "subnetId" in inputs else [("subnetId", "one of gatewayId, subnetId must be given")]

    def create(self, api: Api, inputs: Properties) -> str:
        table, subnet = inputs["routeTableId"], inputs["subnetId"]
        return str(api.ec2.associate_route_table(RouteTableId=table, SubnetId=subnet)["AssociationId"])

    def read(self, api: Api, id: str, known: Properties) -> Properties | None:
        subnet, imported, _ = id.partition("/")
        key = "association__subnet_id" if imported else "association__route_table_association_id"
        # The filter selects tables, so their associations are matched again.
        tables = api.ec2.describe_route_tables(Filters=filters(**{key: subnet}))["RouteTables"]
        for row in (row for table in tables for row in table["Associations"]):
            if id in (row["RouteTableAssociationId"], f"{row.get('SubnetId')}/{row['RouteTableId']}"):
                return {
                    "id": row["RouteTableAssociationId"],
                    "routeTableId": row["RouteTableId"],
                    "subnetId": row["SubnetId"],
                }
        return None

    def delete(self, api: Api, id: str, state: Properties) -> None:
        api.ec2.disassociate_route_table(AssociationId=id)
