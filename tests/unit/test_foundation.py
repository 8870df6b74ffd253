"""The project of `foundation/`: its settings, what it registers, and the policy pack on it."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import pulumi
import pytest
import yaml
from pulumi_policy import PolicyResource, StackValidationPolicy

from cli.permissions import policy
from config.problems import SettingsError
from config.settings import decoded
from foundation import documents
from foundation.settings import parse
from policies.identity import NO_WILDCARD_MUTATION
from policies.rules import POLICIES, STACK
from tests.engine import UNKNOWN as NOT_KNOWN_YET
from tests.engine import Recording
from tests.foundation import FOLDER, configuration, run
from tests.policies.support import evaluate, evaluate_stack, for_policies
from tests.policies.support import resource as of_a_stack

BUCKET, KEY, ALIAS = "aws:s3/bucket:Bucket", "aws:kms/key:Key", "aws:kms/alias:Alias"
ROLE, ROLE_POLICY = "aws:iam/role:Role", "aws:iam/rolePolicy:RolePolicy"
CLAIM = "token.actions.githubusercontent.com"
SUBJECTS = {
    "preview-dev": "repo:octo-org/octo-repo:environment:dev-preview",
    "deploy-dev": "repo:octo-org/octo-repo:environment:dev",
    "park-dev": "repo:octo-org/octo-repo:environment:dev-park",
    "drift-dev": "repo:octo-org/octo-repo:environment:dev-drift",
    "preview-prod": "repo:octo-org/octo-repo:environment:prod-preview",
    "deploy-prod": "repo:octo-org/octo-repo:environment:prod",
    "park-prod": "repo:octo-org/octo-repo:environment:prod-park",
    "drift-prod": "repo:octo-org/octo-repo:environment:prod-drift",
}
PACK_CONFIG = json.loads((FOLDER / "policies.json").read_text(encoding="utf-8"))


@cache
def recorded(preview: bool = False) -> Recording:
    recording = run(preview=preview)
    assert recording.error is None, recording.error
    return recording


# -- settings --------------------------------------------------------------------------------------


def test_everything_that_is_wrong_is_said_at_once_with_its_fix():
    wrong = {
        "repository": "octo-org/*",
        "environments": [
            {"name": "dev"},
            {"name": "dev", "clusterName": "kubepark-dev"},
            {"name": "dev-preview"},
            {"name": "a" * 20, "size": 1},
            {"name": "foundation"},
            {"name": "dev-park"},
            {"name": "dev-drift"},
        ],
        "protected": "maybe",
        "bucket": "mine",
    }
    with pytest.raises(SettingsError) as caught:
        parse("prod", configuration(**wrong))
    found = {each.key: each.wrong for each in caught.value.problems}
    assert found == {
        "kubepark:repository": '"octo-org/*" is not a repository',
        "kubepark:environments[1].name": '"dev" is there twice',
        "kubepark:environments[1].clusterName": '"kubepark-dev" is another environment\'s',
        "kubepark:environments[2].name": '"dev-preview" ends with -preview, as the environments of previews do',
        "kubepark:environments[3].clusterName": f'"kubepark-{"a" * 20}" has more than 24 characters',
        "kubepark:environments[3].size": "is not a known key",
        "kubepark:environments[4].name": '"foundation" is where this project\'s own state is',
        "kubepark:environments[5].name": '"dev-park" ends with -park, as the environments of parks do',
        "kubepark:environments[6].name": '"dev-drift" ends with -drift, as the environments of drift do',
        "kubepark:protected": '"maybe" is not one of true, false',
        "kubepark:bucket": "is not a known key",
    }
    assert all(each.fix.startswith("pulumi config ") for each in caught.value.problems)


@pytest.mark.parametrize(
    "repository", ["octo-org", "a/b/c", "octo org/x", "o/r:ref", "o/?", 5, "*/x", "/x", "o/"]
)
def test_nothing_in_a_repository_is_read_as_more_than_its_name(repository):
    with pytest.raises(SettingsError, match="kubepark:repository"):
        parse("prod", configuration(repository=repository))


def test_the_program_ends_with_the_problems_and_registers_nothing():
    recording = run(environments=[])
    assert isinstance(recording.error, pulumi.RunError)
    assert "kubepark:environments[0].name: is missing" in str(recording.error)
    assert recording.resources == {}


def test_the_files_beside_the_program_fit_it():
    project = yaml.safe_load((FOLDER / "Pulumi.yaml").read_text(encoding="utf-8"))
    clusters = yaml.safe_load((FOLDER.parent / "Pulumi.yaml").read_text(encoding="utf-8"))
    assert project["name"] != clusters["name"]
    assert project["requiredPulumiVersion"] == clusters["requiredPulumiVersion"]
    assert project["runtime"]["options"]["virtualenv"] == "../" + clusters["runtime"]["options"]["virtualenv"]
    config = yaml.safe_load((FOLDER / "Pulumi.sandbox.yaml").read_text(encoding="utf-8"))["config"]
    ours = {key.removeprefix("kubepark:"): value for key, value in config.items() if "kubepark:" in key}
    assert [each.name for each in parse("sandbox", ours).environments] == ["dev", "prod"]


# -- what is registered ----------------------------------------------------------------------------


def test_the_bucket_is_closed_versioned_and_encrypted_under_our_key():
    recording = recorded()
    assert recording.one(BUCKET).inputs["bucket"] == "kubepark-state-123456789012-us-east-1"
    block = recording.one("aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock").inputs
    assert [value for name, value in block.items() if name != "bucket"] == [True] * 4
    versioning = recording.one("aws:s3/bucketVersioning:BucketVersioning").inputs
    assert versioning["versioningConfiguration"] == {"status": "Enabled"}
    encryption = "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration"
    (rule,) = recording.one(encryption).inputs["rules"]
    key = recording.one(KEY)
    assert rule["applyServerSideEncryptionByDefault"] == {
        "sseAlgorithm": "aws:kms",
        "kmsMasterKeyId": f"arn:aws:kms:us-east-1:123456789012:key/{key.id}",
    }
    assert rule["bucketKeyEnabled"] is False, "else the context of the key is the bucket, not the object"
    assert key.inputs["enableKeyRotation"] is True


def test_the_bucket_refuses_everybody_without_tls():
    (statement,) = json.loads(recorded().one("aws:s3/bucketPolicy:BucketPolicy").inputs["policy"])[
        "Statement"
    ]
    assert (statement["Effect"], statement["Principal"], statement["Action"]) == ("Deny", "*", "s3:*")
    assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    bucket = "arn:aws:s3:::kubepark-state-123456789012-us-east-1"
    assert statement["Resource"] == [bucket, f"{bucket}/*"]


def test_bucket_and_key_are_protected_unless_the_stack_says_otherwise():
    kept = {item.type for item in recorded().resources.values() if item.protect}
    assert {BUCKET, KEY, ALIAS} <= kept
    assert [item.name for item in run(protected=False).resources.values() if item.protect] == []


def test_each_role_trusts_exactly_one_subject_and_audience():
    found = {item.name: json.loads(item.inputs["assumeRolePolicy"]) for item in recorded().of_type(ROLE)}
    assert found.keys() == SUBJECTS.keys()
    for name, document in found.items():
        (statement,) = document["Statement"]
        assert statement == {
            "Effect": "Allow",
            "Principal": {"Federated": f"arn:aws:iam::123456789012:oidc-provider/{CLAIM}"},
            "Action": "sts:AssumeRoleWithWebIdentity",
            "Condition": {
                "StringEquals": {f"{CLAIM}:aud": "sts.amazonaws.com", f"{CLAIM}:sub": SUBJECTS[name]}
            },
        }


def test_review_stacks_have_an_account_of_their_own():
    """Whoever makes nodes' roles controls the account, so what a pull request's code gets is kept apart there."""
    with pytest.raises(SettingsError, match="kubepark:reviewStacks: is true in an account with environments"):
        parse("prod", configuration(reviewStacks=True))
    recording = run(environments=[], reviewStacks=True)
    assert recording.error is None
    assert {item.inputs["name"] for item in recording.of_type(ROLE)} == {
        "kubepark-review-stack",
        "kubepark-review-sweep",
    }
    assert recording.outputs["backend_urls"].keys() == {"review"}
    found, _ = violations(recording, PACK_CONFIG)
    assert found == []


def test_no_clusters_name_gives_a_deploy_role_power_over_these_roles_or_this_key():
    """A deploy role may change the roles whose names begin with its cluster's, and keys with its tag."""
    recording = recorded()
    assert {item.inputs["path"] for item in recording.of_type(ROLE)} == {"/kubepark/"}
    assert {item.inputs["name"] for item in recording.of_type(ROLE)} == {
        f"kubepark-{use}" for use in SUBJECTS
    }
    provider = recording.one("pulumi:providers:aws").inputs
    tag = decoded(provider["defaultTags"])["tags"]["kubepark:cluster"]
    for cluster in ("kubepark", tag, "kubepark/deploy-dev"):
        with pytest.raises(SettingsError, match="clusterName"):
            parse("prod", configuration(environments=[{"name": "dev", "clusterName": cluster + "/x"}]))
    assert "/" in tag
    assert not documents.KEY_ALIAS.startswith("alias/kubepark/")


def test_a_first_preview_shows_every_document():
    found = [
        value
        for item in recorded(True).resources.values()
        for key, value in item.inputs.items()
        if key in ("policy", "assumeRolePolicy")
    ]
    assert len(found) == 2 + len(SUBJECTS) * 3  # key and bucket; each role's trust and two policies
    assert NOT_KNOWN_YET not in found


def test_the_outputs_are_what_a_stack_is_set_up_with():
    outputs = recorded().outputs
    bucket = "kubepark-state-123456789012-us-east-1"
    assert outputs["backend_urls"] == {"dev": f"s3://{bucket}/dev", "prod": f"s3://{bucket}/prod"}
    assert outputs["secrets_providers"]["dev"] == (
        "awskms://alias/kubepark-foundation?region=us-east-1&context_environment=dev"
    )
    assert outputs["roles"].keys() == SUBJECTS.keys()


# -- the policy pack -------------------------------------------------------------------------------


def violations(recording: Recording, config: dict[str, Any]) -> tuple[list[str], set[str]]:
    """What the pack finds, and the rules that had something to look at."""
    found: list[str] = []
    applied: set[str] = set()
    made: dict[str, PolicyResource] = {}
    for urn, item in recording.resources.items():
        needed = [made[each] for each in item.depends_on if each in made]
        made[urn] = of_a_stack(item.type, for_policies(item.inputs), item.name, needed)
    for rule in POLICIES:
        settings = config.get(rule.name)
        if isinstance(rule, StackValidationPolicy):
            found += evaluate_stack(rule, made.values(), config=settings).violations
            continue
        for item in recording.resources.values():
            provider = recording.resources.get(item.provider)
            result = evaluate(
                rule,
                item.type,
                for_policies(item.inputs),
                name=item.name,
                provider=for_policies(provider.inputs) if provider else None,
                config=settings,
                stack="prod",
                protect=item.protect,
            )
            assert result.unknown is None, f"{rule.name} waits for the update: {item.name}"
            found += [f"{item.name}: {each}" for each in result.violations]
            applied |= {rule.name} if result.applicable else set()
    return found, applied


@pytest.mark.parametrize("preview", [False, True], ids=["up", "preview"])
def test_the_pack_finds_nothing(preview):
    found, applied = violations(recorded(preview), PACK_CONFIG)
    assert found == []
    assert {"iam-no-wildcard-mutation", "required-tags", "kms-key-rotation"} <= applied
    assert STACK not in applied


def test_only_deploy_roles_and_what_reads_as_they_do_need_the_packs_configuration_and_all_of_it():
    """What AWS or its provider cannot narrow (cli/permissions.py, `Make`); nothing else, and nothing more."""
    found, _ = violations(recorded(), {})
    assert {each.partition(": ")[0] for each in found} == {
        f"{use}-{environment}-{use}" for use in ("deploy", "drift") for environment in ("dev", "prod")
    }
    text = json.dumps(policy("lab", "us-east-1", "123456789012"))
    needed = {
        each.split()[1] for each in evaluate(NO_WILDCARD_MUTATION, ROLE_POLICY, {"policy": text}).violations
    }
    assert {"iam-no-wildcard-mutation": {"declared": sorted(needed)}} == PACK_CONFIG


def test_an_open_bucket_would_be_found():
    recording = run()
    del recording.resources[recording.one("aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock").urn]
    found, _ = violations(recording, PACK_CONFIG)
    assert len(found) == 1
    assert "BucketPublicAccessBlock" in found[0]
