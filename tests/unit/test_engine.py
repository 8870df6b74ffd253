"""The recording engine itself: what it records and what it refuses."""

from __future__ import annotations

import pulumi
import pulumi_aws as aws
import pulumi_kubernetes as kubernetes
import pytest
from pulumi.runtime.rpc import wrap_rpc_secret

from tests.engine import UNKNOWN, Answer, Refused, attempt, deploy

VPC = "aws:ec2/vpc:Vpc"
READ = "aws:ssm/getParameter:getParameter"


def in_aws() -> pulumi.ResourceOptions:
    return pulumi.ResourceOptions(provider=aws.Provider("aws", region="us-east-1"))


def make_vpc(name: str = "vpc", opts: pulumi.ResourceOptions | None = None) -> aws.ec2.Vpc:
    return aws.ec2.Vpc(name, cidr_block="10.0.0.0/16", opts=opts or in_aws())


def read(provider: pulumi.ProviderResource | None) -> pulumi.Output[str]:
    opts = pulumi.InvokeOutputOptions(provider=provider)
    return aws.ssm.get_parameter_output(name="/x", opts=opts).value


def test_update_knows_ids_and_preview_does_not():
    def program() -> None:
        opts = in_aws()
        vpc = make_vpc(opts=opts)
        aws.ec2.Subnet("subnet", vpc_id=vpc.id, opts=opts)
        pulumi.export("vpc_id", vpc.id)
        pulumi.log.info("preview" if pulumi.runtime.is_dry_run() else "update")

    update, again, preview = (deploy(program, config={}, preview=way) for way in (False, False, True))
    assert update.urns == again.urns == preview.urns
    assert update.outputs == again.outputs == {"vpc_id": update.one(VPC).id}
    assert update.one("aws:ec2/subnet:Subnet").inputs["vpcId"] == update.one(VPC).id != ""
    assert preview.one("aws:ec2/subnet:Subnet").inputs["vpcId"] is UNKNOWN
    assert (preview.one(VPC).id, preview.outputs) == ("", {"vpc_id": UNKNOWN})
    assert (update.messages("info"), preview.messages("info")) == (["update"], ["preview"])


def test_options_are_recorded():
    def program() -> None:
        opts = in_aws()
        own = pulumi.ResourceOptions(
            depends_on=[make_vpc(opts=opts)],
            protect=True,
            retain_on_delete=True,
            ignore_changes=["tags"],
            replacement_trigger={"generation": 2},
            delete_before_replace=True,
            additional_secret_outputs=["arn"],
        )
        make_vpc("other", pulumi.ResourceOptions.merge(opts, own))

    recording = deploy(program, config={})
    vpc, other = recording.one(VPC, "vpc"), recording.one(VPC, "other")
    assert (other.depends_on, other.ignore_changes) == ((vpc.urn,), ("tags",))
    assert (other.protect, other.retain_on_delete) == (True, True)
    assert (other.replacement_trigger, other.delete_before_replace) == ({"generation": 2}, True)
    assert other.additional_secret_outputs == ("arn",)
    assert other.provider == vpc.provider == recording.one("pulumi:providers:aws").urn
    assert (vpc.depends_on, vpc.protect, vpc.retain_on_delete, vpc.replacement_trigger) == (
        (),
        False,
        False,
        None,
    )
    with pytest.raises(AssertionError, match="2 resources are aws:ec2/vpc:Vpc"):
        recording.one(VPC)


def test_secrets_are_unwrapped_located_and_masked():
    class Keeper(pulumi.ComponentResource):
        def __init__(self, value: pulumi.Output[str]) -> None:
            super().__init__("kubepark:keeper:Keeper", "keeper")
            self.register_outputs({"value": value})

    def program() -> None:
        config = pulumi.Config()
        password = config.require_secret("password")
        aws.ec2.Vpc("vpc", cidr_block="10.0.0.0/16", tags={"plain": "x", "hidden": password}, opts=in_aws())
        Keeper(password)
        pulumi.export("password", password)

    recording = deploy(program, config={"password": "open sesame"}, secrets={"password"})
    assert recording.one(VPC).inputs["tags"] == {"plain": "x", "hidden": "open sesame"}
    assert recording.one(VPC).secret_paths == {"tags.hidden"}
    assert recording.outputs == {"password": "open sesame"}
    assert recording.secret_outputs == {"password"}
    assert "open sesame" not in recording.plain_text()

    def leaking() -> None:
        aws.ec2.Vpc("vpc", cidr_block=pulumi.Config().require("password"), opts=in_aws())

    assert "open sesame" in deploy(leaking, config={"password": "open sesame"}).plain_text()


def test_answers_see_arguments_and_recording_and_may_be_secret():
    def program() -> None:
        pulumi.export("value", read(in_aws().provider))
        pulumi.export(
            "before", pulumi.runtime.invoke("pulumi:pulumi:readStackOutputs", {"name": "dev"}).value
        )

    def parameter(args, recording):
        [made] = recording.resources.values()
        return {"value": wrap_rpc_secret(f"{args['name']} read with {made.name}")}

    answers: dict[str, Answer] = {READ: parameter, "pulumi:pulumi:readStackOutputs": {"outputs": {"open": 1}}}
    recording = deploy(program, config={}, answers=answers)
    assert recording.outputs == {"value": "/x read with aws", "before": {"outputs": {"open": 1}}}
    assert recording.secret_outputs == {"value"}


def test_what_the_program_logs_and_how_it_fails_is_kept():
    def fail(_: str) -> None:
        pulumi.log.warn("narrow")
        pulumi.log.debug("chatter")
        raise pulumi.RunError("master1 failed")

    def program() -> None:
        make_vpc().id.apply(fail)

    with pytest.raises(pulumi.RunError, match="master1 failed"):
        deploy(program, config={})
    recording = attempt(program, config={})
    assert isinstance(recording.error, pulumi.RunError)
    assert recording.messages("warning") == ["narrow"]
    assert "chatter" not in str(recording.logs)
    assert recording.one(VPC)
    assert deploy(lambda: None, config={}).urns == frozenset(), "nothing is left for the next run"


def twice() -> None:
    opts = in_aws()
    make_vpc(opts=opts)
    make_vpc(opts=opts)


class Odd(pulumi.CustomResource):
    def __init__(self, token: str) -> None:
        super().__init__(token, "odd", {}, in_aws())


def unanswered_output() -> None:
    pulumi.export("table", pulumi.Output.concat("table ", make_vpc().main_route_table_id))


def foreign_provider() -> None:
    read(kubernetes.Provider("kubernetes"))


def swallowing() -> None:
    async def careless() -> str:
        try:
            return str(await read(in_aws().provider).future())
        except Exception:  # noqa: BLE001 what careless code does
            return ""

    pulumi.export("value", pulumi.Output.from_input(careless()))


@pytest.mark.parametrize(
    ("program", "message"),
    [
        (twice, f"duplicate URN urn:pulumi:sandbox::kubepark::{VPC}::vpc"),
        (lambda: Odd("aws:ec2/vpc:Vpcs"), "neither the installed SDKs nor the program have such a type"),
        (lambda: Odd("random:index:Pet"), "neither the installed SDKs nor the program have such a type"),
        (
            lambda: Odd("kubernetes:x.io/v1:Pet"),
            "neither the installed SDKs nor the program have such a type",
        ),
        (
            lambda: pulumi.ComponentResource("park:index:Network", "odd"),
            "neither the installed SDKs nor the program have such a type",
        ),
        (lambda: make_vpc(opts=pulumi.ResourceOptions()), "needs a registered provider of aws, has none"),
        (lambda: read(None), f"invoke {READ}: needs a registered provider of aws, has none"),
        (foreign_provider, "needs a registered provider of aws, has urn:pulumi:sandbox"),
        (lambda: read(in_aws().provider), f"invoke {READ}: the test gives no answer for it"),
        (swallowing, f"invoke {READ}: the test gives no answer for it"),
        (lambda: pulumi.StackReference("a/b/c"), "'a/b/c' is read; nothing here answers that"),
        (unanswered_output, f"{VPC}.mainRouteTableId': add it to COMPUTED in tests/engine_outputs.py"),
        (
            lambda: pulumi.export("later", pulumi.Output.from_input(pulumi.UNKNOWN)),
            "later is unknown in an update",
        ),
    ],
)
def test_what_the_real_engine_would_not_accept_is_refused(program, message):
    error = attempt(program, config={}).error
    assert isinstance(error, Refused)
    assert message in str(error)
