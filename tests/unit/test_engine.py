"""The recording engine itself: what it records, what it refuses, and that it agrees with the real one."""

from __future__ import annotations

import pulumi
import pulumi_aws as aws
import pulumi_kubernetes as kubernetes
import pytest

from tests.engine import UNKNOWN, Answer, InvokeFailed, Refused, Secret, attempt, deploy
from tests.real_engine import engine_run

VPC = "aws:ec2/vpc:Vpc"
READ = "aws:ssm/getParameter:getParameter"
STACK = "urn:pulumi:sandbox::kubepark::"


class Leaf(pulumi.ComponentResource):
    def __init__(self, name: str, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("kubepark:leaf:Leaf", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        self.vpc = aws.ec2.Vpc(f"{name}-vpc", cidr_block="10.20.0.0/16", opts=child)
        own = pulumi.ResourceOptions(parent=self, protect=False, retain_on_delete=False)
        self.subnet = aws.ec2.Subnet(f"{name}-subnet", vpc_id=self.vpc.id, opts=own)
        self.register_outputs({"vpc_id": self.vpc.id})


class Branch(pulumi.ComponentResource):
    def __init__(self, name: str, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("kubepark:branch:Branch", name, None, opts)
        self.leaf = Leaf(f"{name}-leaf", pulumi.ResourceOptions(parent=self))
        self.register_outputs({})


def provider() -> aws.Provider:
    return aws.Provider("aws", region="us-east-1", skip_credentials_validation=True)


def in_aws() -> pulumi.ResourceOptions:
    return pulumi.ResourceOptions(provider=provider())


def tree() -> None:
    """Options that children inherit, and a child that says otherwise."""
    made = provider()
    gate = aws.ec2.Vpc("gate", cidr_block="10.30.0.0/16", opts=pulumi.ResourceOptions(provider=made))
    opts = pulumi.ResourceOptions(provider=made, deleted_with=gate, protect=True, retain_on_delete=True)
    branch = Branch("branch", opts)
    pulumi.export("vpc_id", branch.leaf.vpc.id)


def test_inherited_options_reach_every_descendant_unless_it_says_otherwise():
    recording = deploy(tree, config={})
    vpc = recording.one(VPC, "branch-leaf-vpc")
    gate = recording.one(VPC, "gate")
    assert (vpc.protect, vpc.retain_on_delete, vpc.deleted_with) == (True, True, gate.urn)
    assert vpc.provider == recording.one("pulumi:providers:aws").urn
    subnet = recording.one("aws:ec2/subnet:Subnet")
    assert (subnet.protect, subnet.retain_on_delete, subnet.deleted_with) == (False, False, gate.urn)
    assert (gate.protect, gate.retain_on_delete, gate.deleted_with) == (None, None, "")
    assert vpc.urn == f"{STACK}kubepark:branch:Branch$kubepark:leaf:Leaf${VPC}::branch-leaf-vpc"


@pytest.mark.sandbox
def test_the_real_engine_agrees_about_urns_options_and_inputs(tmp_path):
    recording = deploy(tree, config={})
    outcome = engine_run(tmp_path, "tests.unit.test_engine:tree", "up")
    assert outcome.ok, outcome.output
    real = {item["urn"]: item for item in outcome.resources if item["type"] != "pulumi:pulumi:Stack"}
    assert real.keys() == recording.urns
    assert len(real) == 6
    for urn, item in real.items():
        ours = recording.resources[urn]
        assert item.get("protect", False) == bool(ours.protect), urn
        assert item.get("retainOnDelete", False) == bool(ours.retain_on_delete), urn
        assert item.get("deletedWith", "") == ours.deleted_with, urn
        assert item.get("provider", "").rpartition("::")[0] == ours.provider, urn
        assert tuple(sorted(item.get("dependencies", []))) == ours.depends_on, urn
        if ours.type.startswith("aws:"):
            assert item["inputs"] == ours.inputs, urn
            assert item["id"] == ours.id, urn


def test_update_knows_ids_and_preview_does_not():
    update, preview = deploy(tree, config={}), deploy(tree, config={}, preview=True)
    assert update.urns == preview.urns
    subnet = "aws:ec2/subnet:Subnet"
    assert update.one(subnet).inputs["vpcId"] == update.one(VPC, "branch-leaf-vpc").id
    assert preview.one(subnet).inputs["vpcId"] is UNKNOWN
    assert preview.one(VPC, "gate").id == ""
    assert update.outputs == {"vpc_id": update.one(VPC, "branch-leaf-vpc").id}
    assert preview.outputs == {"vpc_id": UNKNOWN}
    assert update.one("kubepark:leaf:Leaf").outputs == {"vpc_id": update.outputs["vpc_id"]}


def test_two_runs_yield_the_same_ids_and_share_nothing():
    first, second = deploy(tree, config={}), deploy(tree, config={})
    assert first.urns == second.urns
    assert first.outputs == second.outputs
    assert deploy(lambda: None, config={}).urns == frozenset()


def test_options_are_recorded():
    def program() -> None:
        made = provider()
        vpc = aws.ec2.Vpc("vpc", cidr_block="10.0.0.0/16", opts=pulumi.ResourceOptions(provider=made))
        aws.ec2.Vpc(
            "other",
            cidr_block="10.1.0.0/16",
            opts=pulumi.ResourceOptions(
                provider=made,
                depends_on=[vpc],
                ignore_changes=["tags"],
                replace_on_changes=["cidrBlock"],
                replacement_trigger={"generation": 2},
                delete_before_replace=True,
                additional_secret_outputs=["arn"],
                aliases=[pulumi.Alias(name="older")],
                custom_timeouts=pulumi.CustomTimeouts(create="5m"),
                hide_diffs=["tags"],
            ),
        )

    recording = deploy(program, config={})
    other = recording.one(VPC, "other")
    assert other.depends_on == (recording.one(VPC, "vpc").urn,)
    assert (other.ignore_changes, other.replace_on_changes) == (("tags",), ("cidrBlock",))
    assert (other.replacement_trigger, other.delete_before_replace) == ({"generation": 2}, True)
    assert (other.additional_secret_outputs, other.hide_diffs) == (("arn",), ("tags",))
    assert other.custom_timeouts == {"create": "5m"}
    [alias] = other.aliases
    assert alias["name"] == "older"
    assert recording.one(VPC, "vpc").delete_before_replace is None


def test_secrets_are_unwrapped_located_and_masked():
    def program() -> None:
        config = pulumi.Config()
        password = config.require_secret("password")
        tags: dict[str, pulumi.Input[str]] = {"plain": "x", "hidden": password}
        aws.ec2.Vpc("vpc", cidr_block="10.0.0.0/16", tags=tags, opts=in_aws())
        pulumi.export("password", password)

    recording = deploy(program, config={"password": "open sesame"}, secrets={"password"})
    vpc = recording.one(VPC)
    assert vpc.inputs["tags"]["hidden"] == "open sesame"
    assert "tags.hidden" in vpc.secret_paths or "tags" in vpc.secret_paths
    assert recording.outputs["password"] == "open sesame"
    assert recording.secret_outputs == {"password"}
    assert "open sesame" not in recording.plain_text()

    def leaking() -> None:
        aws.ec2.Vpc("vpc", cidr_block=pulumi.Config().require("password"), opts=in_aws())

    assert "open sesame" in deploy(leaking, config={"password": "open sesame"}).plain_text()


def test_answers_see_arguments_and_recording_and_may_be_secret():
    def program() -> None:
        opts = in_aws()
        vpc = aws.ec2.Vpc("vpc", cidr_block="10.0.0.0/16", opts=opts)
        invoke = pulumi.InvokeOutputOptions(provider=opts.provider)
        found = aws.ssm.get_parameter_output(name=vpc.id, opts=invoke)
        pulumi.export("value", found.value)
        reference = pulumi.StackReference("organization/kubepark/sandbox")
        pulumi.export("other", reference.get_output("open"))
        pulumi.export("hidden", reference.get_output("closed"))

    def parameter(args, recording):
        assert args["name"] == recording.one(VPC).id
        return {"name": args["name"], "value": Secret("the value")}

    answers: dict[str, Answer] = {
        READ: parameter,
        "pulumi:pulumi:StackReference": {"open": 1, "closed": Secret(2)},
    }
    recording = deploy(program, config={}, answers=answers)
    assert recording.outputs == {"value": "the value", "other": 1, "hidden": 2}
    assert recording.secret_outputs == {"value", "hidden"}
    [invoke] = recording.invokes
    assert (invoke.token, invoke.provider) == (READ, recording.one("pulumi:providers:aws").urn)


def test_a_failing_invoke_is_the_program_s_to_handle():
    caught = []

    def program() -> None:
        try:
            aws.ssm.get_parameter(name="/x", opts=pulumi.InvokeOptions(provider=provider()))
        except Exception as error:  # noqa: BLE001 the SDK raises nothing narrower
            caught.append(str(error))

    def denied(args, recording):
        raise InvokeFailed("AccessDeniedException: not yours")

    assert deploy(program, config={}, answers={READ: denied}).error is None
    assert len(caught) == 1
    assert "AccessDeniedException: not yours" in caught[0]


def test_logs_are_recorded_with_their_resource():
    def program() -> None:
        vpc = aws.ec2.Vpc("vpc", cidr_block="10.0.0.0/16", opts=in_aws())
        pulumi.log.warn("narrow", resource=vpc)
        pulumi.log.debug("chatter")

    recording = deploy(program, config={})
    [log] = recording.logs
    assert (log.severity, log.message, log.urn) == ("warning", "narrow", recording.one(VPC).urn)
    assert recording.messages("warning") == ["narrow"]


def test_the_program_s_exception_surfaces_and_what_came_before_is_kept():
    def program() -> None:
        vpc = aws.ec2.Vpc("vpc", cidr_block="10.0.0.0/16", opts=in_aws())
        vpc.id.apply(fail)

    def fail(_: str) -> None:
        raise pulumi.RunError("master1 failed")

    with pytest.raises(pulumi.RunError, match="master1 failed"):
        deploy(program, config={})
    recording = attempt(program, config={})
    assert isinstance(recording.error, pulumi.RunError)
    assert recording.one(VPC)
    assert deploy(tree, config={}).error is None


def test_one_needs_exactly_one():
    recording = deploy(tree, config={})
    with pytest.raises(AssertionError, match="2 resources are aws:ec2/vpc:Vpc"):
        recording.one(VPC)
    with pytest.raises(AssertionError, match=r"0 resources are .* other: branch-leaf-vpc, gate"):
        recording.one(VPC, "other")


def vpc(name: str = "vpc", **options) -> None:
    aws.ec2.Vpc(name, cidr_block="10.0.0.0/16", opts=pulumi.ResourceOptions(**options))


def twice() -> None:
    made = provider()
    vpc(provider=made)
    vpc(provider=made)


def foreign() -> None:
    wrong = pulumi.InvokeOutputOptions(provider=kubernetes.Provider("kubernetes"))
    aws.ssm.get_parameter_output(name="/x", opts=wrong)


class Odd(pulumi.CustomResource):
    def __init__(self, token: str, opts: pulumi.ResourceOptions) -> None:
        super().__init__(token, "odd", {}, opts)


class Misnamed(pulumi.ComponentResource):
    def __init__(self) -> None:
        super().__init__("gpuflow:Network", "odd")


def read_without_provider() -> None:
    aws.ssm.get_parameter_output(name="/x")


def read_unanswered() -> None:
    aws.ssm.get_parameter_output(name="/x", opts=pulumi.InvokeOutputOptions(provider=provider()))


def unanswered_output() -> None:
    made = aws.ec2.Vpc("vpc", cidr_block="10.0.0.0/16", opts=in_aws())
    pulumi.export("table", pulumi.Output.concat("table ", made.main_route_table_id))


class Unfinished(pulumi.ComponentResource):
    def __init__(self) -> None:
        super().__init__("kubepark:odd:Unfinished", "odd")
        self.register_outputs({"later": pulumi.Output.from_input(pulumi.UNKNOWN)})


@pytest.mark.parametrize(
    ("program", "message"),
    [
        (twice, f"duplicate URN {STACK}{VPC}::vpc"),
        (vpc, f"{VPC} 'vpc': no provider (default providers are disabled)"),
        (foreign, "is not a registered provider of aws"),
        (lambda: Odd("aws:ec2/vpc:Vpcs", in_aws()), "the installed SDKs have no such type"),
        (lambda: Odd("random:index:Pet", pulumi.ResourceOptions()), "the installed SDKs have no such type"),
        (lambda: Odd("kubernetes:x.io/v1:Pet", in_aws()), "the installed SDKs have no such type"),
        (Misnamed, "a component's type is kubepark:<file>:<Class>"),
        (read_without_provider, f"invoke {READ}: no provider (default providers are disabled)"),
        (read_unanswered, f"invoke {READ}: the test gives no answer for it"),
        (
            lambda: pulumi.StackReference("a/b/c"),
            "invoke pulumi:pulumi:StackReference: the test gives no answer",
        ),
        (unanswered_output, f"uses {VPC}.mainRouteTableId, which tests/engine_outputs.py does not answer"),
        (Unfinished, "registers an output that is still unknown"),
    ],
)
def test_what_the_real_engine_would_not_accept_is_refused(program, message):
    error = attempt(program, config={}).error
    assert isinstance(error, Refused)
    assert message in str(error)


def test_a_refusal_cannot_be_swallowed():
    def program() -> None:
        try:
            aws.ssm.get_parameter(name="/x", opts=pulumi.InvokeOptions(provider=provider()))
        except Exception:  # noqa: BLE001 what careless code does
            pulumi.log.info("never mind")

    with pytest.raises(Refused, match="no answer"):
        deploy(program, config={})


def test_a_secret_key_must_be_in_the_configuration():
    with pytest.raises(ValueError, match="kubepark:pasword"):
        deploy(lambda: None, config={"password": "x"}, secrets={"pasword"})


def test_an_output_in_a_string_is_an_error_not_help_text():
    def program() -> None:
        made = aws.ec2.Vpc("vpc", cidr_block="10.0.0.0/16", opts=in_aws())
        aws.ec2.Subnet("subnet", vpc_id=f"{made.id}", opts=in_aws())

    assert "Calling __str__ on an Output[T] is not supported." in str(attempt(program, config={}).error)
