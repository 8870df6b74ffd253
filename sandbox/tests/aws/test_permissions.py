"""Policies evaluated by hand first: each row says why AWS answers so, by its evaluation logic."""

from __future__ import annotations

from typing import Any

import pytest

from sandbox.aws.statements import Call, applies, statements

ARN = "arn:aws:ssm:us-east-1:123456789012:parameter/lab/status/worker01"
KEYS = "kms:EncryptionContextKeys"
CALL = Call(
    "ssm:PutParameter",
    ARN,
    {
        "aws:RequestedRegion": "us-east-1",
        "aws:PrincipalArn": "arn:aws:iam::123456789012:role/lab/worker01",
        "ssm:Overwrite": "true",
        KEYS: ("PARAMETER_ARN", "Team"),
        "aws:CalledVia": None,  # AWS has no such key in this call
    },
)
EVERYTHING = {"Action": "*", "Resource": "*"}


def on(operator: str, key: str, *values: Any) -> dict[str, Any]:
    """Everything, under one condition."""
    return {**EVERYTHING, "Condition": {operator: {key: list(values)}}}


TWO = {"StringEquals": {"ssm:Overwrite": "true"}, "Bool": {"ssm:overwrite": "false"}}
NOT_KNOWN = {"StringEquals": {"ssm:Overwrite": "false", "aws:SourceVpc": "vpc-1"}}

# (why, statement, whether it speaks about the call)
CERTAIN = [
    ("the action and the resource are the call's own", {"Action": CALL.action, "Resource": ARN}, True),
    ("names of actions are compared without case", {"Action": "SSM:putparameter", "Resource": ARN}, True),
    ("ARNs are compared with case", {"Action": CALL.action, "Resource": ARN.upper()}, False),
    ("one element of a list is enough", {"Action": ["ec2:*", "ssm:Put*"], "Resource": [ARN]}, True),
    ("reading is not writing", {"Action": "ssm:GetParameter", "Resource": ARN}, False),
    ("another service's action of that name", {"Action": "kms:PutParameter", "Resource": ARN}, False),
    ("* stands for any text, none too", {"Action": "ssm:PutParameter*", "Resource": ARN}, True),
    ("? stands for exactly one character", {"Action": "*", "Resource": ARN[:-1] + "?"}, True),
    ("? does not stand for none", {"Action": "*", "Resource": ARN + "?"}, False),
    ("in a resource * goes over slashes", {"Action": "*", "Resource": ARN.replace("lab/status", "*")}, True),
    ("a dot is a dot", {"Action": "*", "Resource": ARN.replace("worker01", "worker.1")}, False),
    ("the ARN of the folder is not that of what is in it", {"Action": "*", "Resource": ARN[:-9]}, False),
    ("NotAction: everything else", {"NotAction": "ssm:GetParameter", "Resource": "*"}, True),
    ("NotAction: not this", {"NotAction": ["ssm:*"], "Resource": "*"}, False),
    ("NotResource: not this", {"Action": "*", "NotResource": ARN}, False),
    ("NotResource: every other", {"Action": "*", "NotResource": ARN + "x"}, True),
    ("a statement without a resource speaks of none", {"Action": "*"}, False),
    ("a key has the wanted value", on("StringEquals", "ssm:Overwrite", "true"), True),
    ("names of keys are compared without case", on("StringEquals", "SSM:overwrite", "true"), True),
    ("one of several", on("StringEquals", "aws:RequestedRegion", "eu-west-1", "us-east-1"), True),
    ("values are compared with case", on("StringEquals", "aws:RequestedRegion", "US-EAST-1"), False),
    ("but with IgnoreCase", on("StringEqualsIgnoreCase", "aws:RequestedRegion", "US-EAST-1"), True),
    ("StringEquals knows no wildcards", on("StringEquals", "aws:RequestedRegion", "us-*"), False),
    ("StringLike does", on("StringLike", "aws:RequestedRegion", "us-*-?"), True),
    ("none of several", on("StringNotEquals", "aws:RequestedRegion", "eu-west-1", "us-east-1"), False),
    ("negated and different", on("StringNotLike", "aws:RequestedRegion", "eu-*"), True),
    ("Bool, and JSON's own true", on("Bool", "ssm:Overwrite", True), True),
    ("Bool, the other", on("Bool", "ssm:Overwrite", "false"), False),
    ("ArnLike by parts", on("ArnLike", "aws:PrincipalArn", "arn:aws:iam::*:role/lab/*"), True),
    ("ArnEquals is the same", on("ArnEquals", "aws:PrincipalArn", "arn:aws:iam::*:role/lab/*"), True),
    ("in ArnLike * does not go over colons", on("ArnLike", "aws:PrincipalArn", "arn:*:role/lab/*"), False),
    ("ArnNotLike", on("ArnNotLike", "aws:PrincipalArn", "arn:aws:iam::*:role/admin"), True),
    ("no such key: nothing is equal", on("StringEquals", "aws:CalledVia", "athena.amazonaws.com"), False),
    ("no such key: a negated test holds", on("StringNotEquals", "aws:CalledVia", "x"), True),
    ("no such key, IfExists", on("StringEqualsIfExists", "aws:CalledVia", "x"), True),
    ("IfExists of a key that is there", on("StringEqualsIfExists", "ssm:Overwrite", "false"), False),
    ("Null true: the key must not be there", on("Null", "aws:CalledVia", "true"), True),
    ("Null true, but it is", on("Null", "ssm:Overwrite", "true"), False),
    ("Null false: the key must be there", on("Null", "ssm:Overwrite", "false"), True),
    ("all values are among the wanted", on("ForAllValues:StringLike", KEYS, "PARAM*", "Team", "Env"), True),
    ("one is not", on("ForAllValues:StringEquals", KEYS, "PARAMETER_ARN"), False),
    ("all of no values", on("ForAllValues:StringEquals", "aws:CalledVia", "x"), True),
    ("any of no values", on("ForAnyValue:StringEquals", "aws:CalledVia", "x"), False),
    ("IfExists does not help there", on("ForAnyValue:StringEqualsIfExists", "aws:CalledVia", "x"), False),
    ("one value is enough", on("ForAnyValue:StringLike", KEYS, "T*"), True),
    ("one value that is not among them", on("ForAnyValue:StringNotEquals", KEYS, "Team"), True),
    ("all conditions must hold", {**EVERYTHING, "Condition": TWO}, False),
    ("what fails for certain outweighs what is not known", {**EVERYTHING, "Condition": NOT_KNOWN}, False),
]

# (why, statement): it is not known whether AWS would say yes.
UNCERTAIN = [
    ("a key that the sandbox does not have", on("StringEquals", "aws:SourceVpc", "vpc-1")),
    ("the same, negated", on("StringNotEquals", "aws:SourceVpc", "vpc-1")),
    ("the same, IfExists", on("StringEqualsIfExists", "aws:SourceVpc", "vpc-1")),
    ("the same, Null", on("Null", "aws:SourceVpc", "true")),
    ("an operator that is not evaluated", on("NumericLessThan", "ssm:Overwrite", "3")),
    ("an operator that does not exist", on("NotBool", "ssm:Overwrite", "true")),
    ("a quantifier that does not exist", on("ForSomeValues:StringEquals", "ssm:Overwrite", "true")),
    ("several values without a quantifier", on("StringEquals", KEYS, "Team")),
    ("a policy variable in a condition", on("StringEquals", "aws:RequestedRegion", "${aws:PrincipalTag/r}")),
    ("a policy variable in the resource", {"Action": "*", "Resource": ARN[:-8] + "${aws:username}"}),
    ("a policy variable in NotResource", {"Action": "*", "NotResource": "${aws:username}"}),
]


@pytest.mark.parametrize("effect", ["Allow", "Deny"])
@pytest.mark.parametrize(("why", "body", "expected"), CERTAIN, ids=[row[0] for row in CERTAIN])
def test_what_is_certain_is_so_for_both_effects(
    why: str, body: dict[str, Any], expected: bool, effect: str
) -> None:
    assert applies({"Effect": effect, **body}, CALL) is expected, why


@pytest.mark.parametrize(("why", "body"), UNCERTAIN, ids=[row[0] for row in UNCERTAIN])
def test_in_doubt_an_allow_does_not_hold_and_a_deny_does(why: str, body: dict[str, Any]) -> None:
    assert applies({"Effect": "Allow", **body}, CALL) is False, why
    assert applies({"Effect": "Deny", **body}, CALL) is True, why


def test_a_statement_is_called_by_its_sid_or_its_place() -> None:
    found = statements("inline", {"Statement": [{"Sid": "Write", **EVERYTHING}, EVERYTHING]})
    assert [each.name for each in found] == ["Write", "inline#2"]
    (single,) = statements("inline", {"Statement": EVERYTHING})
    assert single.name == "inline#1"


def test_the_pattern_is_the_first_that_the_resource_matches() -> None:
    body = {"Action": ["ssm:Get*", "ssm:Put*"], "Resource": ["arn:aws:s3:::x", ARN[:-2] + "*", "*"]}
    (statement,) = statements("p", {"Statement": body})
    assert statement.pattern(CALL) == ARN[:-2] + "*"
