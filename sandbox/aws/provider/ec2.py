"""What the EC2 types share: calls named by what they are about, tags at creation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from sandbox.aws.provider.api import Api, Tags, first, given, if_there, tag_list, tag_map
from sandbox.aws.provider.resource_type import ResourceType, capital
from sandbox.aws.provider.values import Properties

# AWS lists a terminated instance for an hour.
_GONE = ("terminated", "shutting-down")


class Ec2ResourceType(ResourceType):
    """An EC2 object. Its `resource_type`, as in ARNs and tag specifications (`internet-gateway`), gives the
    names of its calls, of their arguments and of their answers, unless a class says otherwise."""

    resource_type: ClassVar[str]
    # Inputs that the create call takes as they are.
    arguments: ClassVar[frozenset[str]] = frozenset()

    @property
    def noun(self) -> str:
        return "".join(part.capitalize() for part in self.resource_type.split("-"))

    @property
    def id_name(self) -> str:
        return f"{self.noun}Id"

    def call(self, api: Api, verb: str, plural: str = "") -> Callable[..., Any]:
        call: Callable[..., Any] = getattr(api.ec2, f"{verb}_{self.resource_type.replace('-', '_')}{plural}")
        return call

    def create(self, api: Api, inputs: Properties) -> str:
        taken = given(**{capital(name): inputs.get(name) for name in self.arguments})
        answer = self.call(api, "create")(**taken, **self.specifications(inputs))
        return str(answer.get(self.noun, answer)[self.id_name])

    def specifications(self, inputs: Properties) -> dict[str, Any]:
        """The argument that puts tags on with the create call itself."""
        tags = inputs.get("tagsAll")
        if not tags:
            return {}
        return {"TagSpecifications": [{"ResourceType": self.resource_type, "Tags": tag_list(tags)}]}

    def find(self, api: Api, id: str) -> Any:
        answer = if_there(self.call(api, "describe", "s"), **{f"{self.id_name}s": [id]})
        return first(answer, f"{self.noun}s")

    def common(self, api: Api, id: str, found: dict[str, Any]) -> Properties:
        arn = api.arn("ec2", f"{self.resource_type}/{id}")
        return {"arn": arn, "tagsAll": tag_map(found.get("Tags", found.get("TagSet")))}

    def retag(self, api: Api, id: str, removed: list[str], tags: Tags) -> None:
        if removed:
            api.ec2.delete_tags(Resources=[id], Tags=[{"Key": key} for key in removed])
        if tags:
            api.ec2.create_tags(Resources=[id], Tags=tag_list(tags))

    def delete(self, api: Api, id: str, state: Properties) -> None:
        self.call(api, "delete")(**{self.id_name: id})


def filters(**values: str) -> list[dict[str, Any]]:
    """`vpc_id="x"` as the API's list of filters; `__` stands for a dot."""
    return [
        {"Name": name.replace("__", ".").replace("_", "-"), "Values": [value]}
        for name, value in values.items()
    ]


def instance(api: Api, id: str) -> Any:
    """An instance that still exists."""
    reservation = first(if_there(api.ec2.describe_instances, InstanceIds=[id]), "Reservations")
    found = first(reservation, "Instances")
    return None if found is None or found["State"]["Name"] in _GONE else found
