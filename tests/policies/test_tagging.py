"""The rule about tags: on the resource, or as the provider's default tags."""

from __future__ import annotations

import json

import pytest

from policies.tagging import INSTANCE, REQUIRED_TAGS, TAGGABLE
from tests.policies.support import UNKNOWN, evaluate

VPC = "aws:ec2/vpc:Vpc"
OURS = {"kubepark:cluster": "lab"}
NODE = {"Name": "gpu01", "kubepark:node": "gpu01", "kubepark:role": "gpu"}
# Nested settings of a provider are JSON text on their way through the engine.
DEFAULT = {"defaultTags": json.dumps({"tags": OURS})}


@pytest.mark.parametrize(
    ("props", "provider"),
    [
        ({"tags": OURS}, None),
        ({"tagsAll": OURS}, {}),
        ({}, DEFAULT),
        ({}, {"defaultTags": {"tags": OURS}}),
        ({"tags": {"Name": "lab"}}, DEFAULT),
    ],
)
def test_a_cluster_tag_from_any_source_is_compliant(props, provider):
    result = evaluate(REQUIRED_TAGS, VPC, props, provider=provider)
    assert result.violations == ()
    assert result.unknown is None


@pytest.mark.parametrize(
    ("props", "provider"),
    [
        ({}, None),
        ({}, {}),
        ({"tags": {"kubepark:cluster": ""}}, {}),
        ({"tags": {"Name": "lab"}}, {"defaultTags": json.dumps({"tags": {"team": "ml"}})}),
        ({"tags": {"kubepark:Cluster": "lab"}}, {"defaultTags": "{}"}),
    ],
)
@pytest.mark.parametrize("type_", sorted(TAGGABLE - {INSTANCE}))
def test_a_missing_cluster_tag_is_a_violation(type_, props, provider):
    result = evaluate(REQUIRED_TAGS, type_, props, provider=provider)
    assert result.violations == ("The tag kubepark:cluster is missing.",)


def test_an_instance_also_says_which_node_it_is():
    assert evaluate(REQUIRED_TAGS, INSTANCE, {"tags": NODE}, provider=DEFAULT).violations == ()
    for tag in NODE:
        rest = {key: value for key, value in NODE.items() if key != tag}
        result = evaluate(REQUIRED_TAGS, INSTANCE, {"tags": rest}, provider=DEFAULT)
        assert result.violations == (f"The tag {tag} is missing.",)


def test_unknown_tags_are_reported_unless_the_provider_has_them():
    assert evaluate(REQUIRED_TAGS, VPC, {"tags": UNKNOWN}, provider={}).unknown == "tags"
    assert evaluate(REQUIRED_TAGS, VPC, {"tags": UNKNOWN}, provider=DEFAULT).unknown is None
    partly = {"tags": NODE | {"Name": UNKNOWN, "kubepark:role": ""}}
    result = evaluate(REQUIRED_TAGS, INSTANCE, partly, provider=DEFAULT)
    assert result.violations == ("The tag kubepark:role is missing.",)
    assert result.unknown == "tags.Name"


def test_types_without_tags_are_not_evaluated():
    assert not evaluate(REQUIRED_TAGS, "aws:ec2/route:Route", {}).applicable
