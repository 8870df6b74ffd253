"""Waivers: one resource, one rule, until a day. In general, for all rules alike."""

from __future__ import annotations

from datetime import date

import pytest

from policies import waivers
from policies.cluster import ONE_MASTER
from policies.compute import INSTANCE, VOLUME, VOLUMES_ENCRYPTED, VOLUMES_GP3
from policies.rules import POLICIES, STACK, WAIVERS_IN_FORCE
from policies.waivers import Waiver
from tests.policies.support import evaluate, evaluate_stack, resource

TODAY = date(2026, 11, 28)
PLAIN = {"type": "gp2"}
WAIVER = Waiver(
    rule="volumes-encrypted",
    resource="aws:ebs:Volume: scratch",
    reason="measured: encryption costs a tenth of the speed here",
    expires=TODAY,
)


@pytest.fixture(autouse=True)
def _today(monkeypatch):
    monkeypatch.setattr(waivers, "today", lambda: TODAY)


def grant(monkeypatch, *given):
    monkeypatch.setattr(waivers, "WAIVERS", given)


def test_a_waiver_is_for_one_resource_and_one_rule(monkeypatch):
    grant(monkeypatch, WAIVER)
    assert evaluate(VOLUMES_ENCRYPTED, VOLUME, PLAIN, name="scratch").violations == ()
    assert len(evaluate(VOLUMES_ENCRYPTED, VOLUME, PLAIN, name="scratch2").violations) == 1
    assert len(evaluate(VOLUMES_GP3, VOLUME, PLAIN, name="scratch").violations) == 1


def test_the_day_after_the_last_one_the_violation_is_back(monkeypatch):
    grant(monkeypatch, WAIVER)
    monkeypatch.setattr(waivers, "today", lambda: date(2026, 11, 29))
    result = evaluate(VOLUMES_ENCRYPTED, VOLUME, PLAIN, name="scratch")
    assert result.violations == ("The volume is not encrypted. Its waiver ended on 2026-11-28.",)


def test_of_two_waivers_the_longer_one_counts(monkeypatch):
    old = Waiver(rule=WAIVER.rule, resource=WAIVER.resource, reason="before", expires=date(2026, 1, 1))
    grant(monkeypatch, old, WAIVER)
    assert evaluate(VOLUMES_ENCRYPTED, VOLUME, PLAIN, name="scratch").violations == ()


@pytest.mark.parametrize(
    ("type_", "shown"),
    [
        ("aws:ebs/volume:Volume", "aws:ebs:Volume"),
        ("aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule", "aws:vpc:SecurityGroupIngressRule"),
        ("kubernetes:apps/v1:DaemonSet", "kubernetes:apps/v1:DaemonSet"),
        ("kubernetes:rbac.authorization.k8s.io/v1:Role", "kubernetes:rbac.authorization.k8s.io/v1:Role"),
        ("pulumi:pulumi:Stack", "pulumi:pulumi:Stack"),
    ],
)
def test_a_resource_is_named_as_the_cli_shows_it(type_, shown):
    assert waivers.shown(type_) == shown


def test_rules_for_stacks_know_them_too(monkeypatch):
    masters = [resource(INSTANCE, {"tags": {"kubepark:role": "master"}}, name) for name in ("m1", "m2", "m3")]
    grant(
        monkeypatch,
        Waiver(rule=ONE_MASTER.name, resource="aws:ec2:Instance: m2", reason="moving", expires=TODAY),
    )
    assert evaluate_stack(ONE_MASTER, masters).violations == ("m3: m3 is a second master beside m1.",)


def test_a_waiver_that_ended_is_an_error_with_or_without_its_resource(monkeypatch):
    grant(monkeypatch, WAIVER)
    assert evaluate(WAIVERS_IN_FORCE, STACK, {}).violations == ()
    monkeypatch.setattr(waivers, "today", lambda: date(2026, 11, 29))
    assert evaluate(WAIVERS_IN_FORCE, STACK, {}).violations == (
        f"The waiver of aws:ebs:Volume: scratch from volumes-encrypted ended on 2026-11-28: {WAIVER.reason}",
    )


def test_a_waiver_from_no_rule_is_an_error(monkeypatch):
    grant(monkeypatch, Waiver(rule="volumes-encripted", resource=VOLUME, reason="typo", expires=TODAY))
    assert evaluate(WAIVERS_IN_FORCE, STACK, {}).violations == (
        f"The waiver of {VOLUME} from volumes-encripted is from no rule of ours.",
    )


def test_our_own_waivers_name_rules_and_reasons():
    assert {waiver.rule for waiver in waivers.WAIVERS} <= {policy.name for policy in POLICIES}
    assert all(waiver.reason and ": " in waiver.resource for waiver in waivers.WAIVERS)
