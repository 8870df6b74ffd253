"""Everything in the account that carries a cluster's tag, asked from each service itself: AWS's index of tags
lags behind. All questions are asked at the same time; one that is not answered is named.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from cli import leftovers as kinds
from cli.inventory_items import EC2, Ec2, Item, named, service, tags_of, unknown
from cli.leftovers import Found, Rule, free, marks, owns
from config.costs import Cost, cost_of
from config.naming import TAG_CLUSTER, Naming
from config.prices import KMS_KEY, NETWORK_LOAD_BALANCER, PriceTable

_DENIED = ("AccessDenied", "AccessDeniedException", "UnauthorizedOperation")
_PER_CALL = 20  # most names in DescribeTags of both load balancing APIs (their references)


@dataclass(frozen=True)
class Inventory:
    """`found`: in no order. `unanswered`: what could not be looked at -> why."""

    found: tuple[Found, ...]
    unanswered: Mapping[str, str]


class Account:
    """Asks about one cluster. `client` makes the boto3 client of a service.

    `claimed`: volumes that were made for the cluster, as it says itself: its own, unless another has a tag on
    them.
    """

    def __init__(self, client: Callable[[str], Any], cluster: str, table: PriceTable) -> None:
        self._client, self._cluster, self._table = client, cluster, table
        self.claimed: Collection[str] = ()

    def inventory(self) -> Inventory:
        """Everything that is the cluster's now."""
        from concurrent.futures import ThreadPoolExecutor

        questions = self._questions()
        with ThreadPoolExecutor(len(questions)) as pool:
            futures = {what: pool.submit(_all, ask) for what, ask in questions.items()}
        found: list[Found] = []
        unanswered = {}
        for what, future in futures.items():
            answer = _answer(future)
            if isinstance(answer, str):
                unanswered[what] = answer
            else:
                found += answer
        return Inventory(tuple(found), unanswered)

    def _questions(self) -> Mapping[str, Callable[[], Iterable[Found]]]:
        """Clients are made here: to make one is not safe in threads."""
        ec2, balancers, classic, kms, ssm, iam, scheduler = map(
            self._client, ("ec2", "elbv2", "elb", "kms", "ssm", "iam", "scheduler")
        )
        listed = {f"{row.kind.words}s": partial(self._listed, ec2, row) for row in EC2}
        return {
            **listed,
            "security groups": partial(self._groups, ec2),
            "load balancers": partial(self._balancers, balancers),
            "target groups": partial(self._target_groups, balancers),
            "classic load balancers": partial(self._classic, classic),
            "keys": partial(self._keys, kms),
            "parameters": partial(self._parameters, ssm),
            "roles": partial(self._roles, iam),
            "instance profiles": partial(self._profiles, iam),
            "schedules": partial(self._schedules, scheduler),
        }

    # -- EC2 ---------------------------------------------------------------------------------------

    def _listed(self, ec2: Any, row: Ec2) -> Iterator[Found]:
        for item in self._ours(ec2, row):
            details = row.details(item, self._table)
            if details is not None:
                name = named(tags_of(item))
                detail = ", ".join(filter(None, (details.pop("detail", ""), name)))
                yield Found(kind=row.kind, id=item[row.id], detail=detail, **details)

    def _ours(self, ec2: Any, row: Ec2) -> list[Item]:
        """A question for each tag: EC2 takes several filters for all of them together."""
        found, claimed = {}, self.claimed if row.kind is kinds.VOLUME else ()
        filters = [{"Name": f"tag:{key}", "Values": [value]} for key, value in marks(self._cluster).items()]
        if claimed:
            filters.append({"Name": "volume-id", "Values": sorted(claimed)})
        more = {"OwnerIds": ["self"]} if row.kind is kinds.SNAPSHOT else {}
        for each in filters:
            for item in _pages(ec2, row.operation, row.items, Filters=[each], **more):
                for one in item["Instances"] if row.items == "Reservations" else [item]:
                    id, tags = one[row.id], tags_of(one)
                    if owns(self._cluster, tags) or (id in claimed and free(tags)):
                        found[id] = one
        return list(found.values())

    def _groups(self, ec2: Any) -> list[Found]:
        """With the rules, in any group of the cluster, that name them: those go first."""
        row = Ec2(kinds.GROUP, "describe_security_groups", "SecurityGroups", "GroupId")
        groups = [each for each in self._ours(ec2, row) if each["GroupName"] != "default"]
        if not groups:
            return []
        filters = [{"Name": "group-id", "Values": [each["GroupId"] for each in groups]}]
        naming: dict[str, list[Rule]] = {}
        for rule in _pages(ec2, "describe_security_group_rules", "SecurityGroupRules", Filters=filters):
            other = (rule.get("ReferencedGroupInfo") or {}).get("GroupId")
            if other and other != rule["GroupId"]:
                found = Rule(rule["GroupId"], rule["SecurityGroupRuleId"], rule["IsEgress"])
                naming.setdefault(other, []).append(found)
        return [
            Found(
                kind=kinds.GROUP,
                id=each["GroupId"],
                detail=each["GroupName"],
                rules=tuple(naming.get(each["GroupId"], ())),
            )
            for each in groups
        ]

    # -- load balancing ----------------------------------------------------------------------------

    def _balancers(self, elbv2: Any) -> list[Found]:
        found = list(_pages(elbv2, "describe_load_balancers", "LoadBalancers"))
        return [
            Found(
                kind=kinds.BALANCER,
                id=each["LoadBalancerArn"],
                detail=", ".join(filter(None, (each["LoadBalancerName"], service(tags)))),
                cost=cost_of(self._table, NETWORK_LOAD_BALANCER)
                if each["Type"] == "network"
                else unknown(f"{each['Type']} load balancer"),
            )
            for each, tags in self._tagged(elbv2, found, "LoadBalancerArn")
        ]

    def _target_groups(self, elbv2: Any) -> list[Found]:
        found = list(_pages(elbv2, "describe_target_groups", "TargetGroups"))
        return [
            Found(kind=kinds.TARGET_GROUP, id=each["TargetGroupArn"], detail=each["TargetGroupName"])
            for each, _ in self._tagged(elbv2, found, "TargetGroupArn")
        ]

    def _tagged(self, elbv2: Any, found: Sequence[Item], id: str) -> Iterator[tuple[Item, Mapping[str, str]]]:
        for few in _batches(found):
            answer = elbv2.describe_tags(ResourceArns=[each[id] for each in few])["TagDescriptions"]
            tags = {each["ResourceArn"]: tags_of(each) for each in answer}
            yield from self._of_cluster(few, tags, id)

    def _classic(self, elb: Any) -> list[Found]:
        found = list(_pages(elb, "describe_load_balancers", "LoadBalancerDescriptions"))
        result = []
        for few in _batches(found):
            names = [each["LoadBalancerName"] for each in few]
            answer = elb.describe_tags(LoadBalancerNames=names)["TagDescriptions"]
            tags = {each["LoadBalancerName"]: tags_of(each) for each in answer}
            for each, own in self._of_cluster(few, tags, "LoadBalancerName"):
                name, cost = each["LoadBalancerName"], unknown("classic load balancer")
                result.append(Found(kind=kinds.CLASSIC_BALANCER, id=name, detail=service(own), cost=cost))
        return result

    def _of_cluster(
        self, found: Iterable[Item], tags: Mapping[str, Mapping[str, str]], id: str
    ) -> Iterator[tuple[Item, Mapping[str, str]]]:
        for each in found:
            own = tags.get(each[id], {})
            if owns(self._cluster, own):
                yield each, own

    # -- the others --------------------------------------------------------------------------------

    def _keys(self, kms: Any) -> Iterator[Found]:
        """Keys have no filters. One whose own policy lets nobody look is not ours: ours leaves it to IAM."""
        from botocore.exceptions import ClientError

        for key in _pages(kms, "list_keys", "Keys"):
            id = key["KeyId"]
            try:
                metadata = kms.describe_key(KeyId=id)["KeyMetadata"]
                if metadata["KeyManager"] != "CUSTOMER":
                    continue
                tags = tags_of({"Tags": kms.list_resource_tags(KeyId=id)["Tags"]}, "Tag")
            except ClientError as error:
                if error.response["Error"]["Code"] in _DENIED:
                    continue
                raise
            if owns(self._cluster, tags):
                going = metadata["KeyState"] == "PendingDeletion"
                yield Found(
                    kind=kinds.KEY,
                    id=id,
                    detail=metadata.get("Description", ""),
                    cost=Cost() if going else cost_of(self._table, KMS_KEY),
                    follows=f"deleted on {metadata['DeletionDate']:%Y-%m-%d}" if going else "",
                )

    def _parameters(self, ssm: Any) -> list[Found]:
        filters = [{"Key": f"tag:{TAG_CLUSTER}", "Values": [self._cluster]}]
        return [
            Found(
                kind=kinds.PARAMETER,
                id=each["Name"],
                cost=Cost() if each.get("Tier", "Standard") == "Standard" else unknown("Advanced parameter"),
            )
            for each in _pages(ssm, "describe_parameters", "Parameters", ParameterFilters=filters)
        ]

    def _roles(self, iam: Any) -> Iterator[Found]:
        for each in _pages(iam, "list_roles", "Roles"):
            name = each["RoleName"]
            if name.startswith(f"{self._cluster}-"):  # others have this beginning too: the tag says it
                role = iam.get_role(RoleName=name)["Role"]
                if owns(self._cluster, tags_of(role)):
                    yield Found(kind=kinds.ROLE, id=name)

    def _profiles(self, iam: Any) -> Iterator[Found]:
        for each in _pages(iam, "list_instance_profiles", "InstanceProfiles"):
            name = each["InstanceProfileName"]
            if name.startswith(f"{self._cluster}-"):
                profile = iam.get_instance_profile(InstanceProfileName=name)["InstanceProfile"]
                if owns(self._cluster, tags_of(profile)):
                    yield Found(kind=kinds.PROFILE, id=name)

    def _schedules(self, scheduler: Any) -> Iterator[Found]:
        """Their group has the tag, and to delete it deletes them."""
        name = Naming(self._cluster).schedule_group
        try:
            group = scheduler.get_schedule_group(Name=name)
        except scheduler.exceptions.ResourceNotFoundException:
            return
        tags = tags_of(scheduler.list_tags_for_resource(ResourceArn=group["Arn"]))
        if owns(self._cluster, tags):
            going = "with its schedules" if group["State"] == "DELETING" else ""
            yield Found(kind=kinds.SCHEDULES, id=name, follows=going)


def _pages(client: Any, operation: str, items: str, **arguments: Any) -> Iterator[Any]:
    if client.can_paginate(operation):
        for page in client.get_paginator(operation).paginate(**arguments):
            yield from page[items]
    else:
        yield from getattr(client, operation)(**arguments)[items]


def _batches(found: Sequence[Item]) -> Iterator[Sequence[Item]]:
    for start in range(0, len(found), _PER_CALL):
        yield found[start : start + _PER_CALL]


def _all(ask: Callable[[], Iterable[Found]]) -> list[Found]:
    return list(ask())


def _answer(future: Any) -> list[Found] | str:
    """What was found, or why it is not known."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        found: list[Found] = future.result()
    except ClientError as error:
        if error.response["Error"]["Code"] in _DENIED:
            return f"no permission for {error.operation_name}; what is needed: bin/kubepark permissions"
        return str(error)
    except BotoCoreError as error:
        return str(error)
    return found
