"""What the services behind a setting refuse: names that are composed, tags."""

from __future__ import annotations

import json
import re
import shlex
from typing import Any

import pytest

from config import settings
from config.naming import MOST_TAGS, Naming
from config.problems import Problem, SettingsError
from tests.configuration import HASH, configuration
from tests.program import run

ROLE_NAME = re.compile(r"[\w+=,.@-]{1,64}")  # IAM's model in botocore, roleNameType


def refused(config: dict[str, Any], stack: str = "dev") -> list[Problem]:
    try:
        settings.parse(stack, config)
    except SettingsError as error:
        return list(error.problems)
    return []


def wrongs(**changes: Any) -> list[str]:
    return [f"{each.key}: {each.wrong}" for each in refused(configuration(**changes))]


# -- the cluster's name ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stack", "fix"),
    [
        ("Prod", "kubepark-prod"),
        ("dev_ana", "kubepark-dev-ana"),
        ("dev.ana", "kubepark-dev-ana"),
        ("x" * 40, "kubepark-" + "x" * 15),
        ("fourteen-chars-and", "kubepark-fourteen-chars"),
        ("_", "kubepark"),
    ],
)
def test_a_name_that_comes_from_the_stack_is_checked_like_a_given_one(stack: str, fix: str) -> None:
    (problem,) = refused(configuration(clusterName=None), stack)
    assert problem.key == "kubepark:clusterName"
    assert problem.wrong.startswith("the stack's name gives no cluster name: ")
    assert shlex.split(problem.fix)[-1] == fix
    assert settings.parse(stack, configuration(clusterName=fix)).cluster == fix
    assert settings.parse(stack, configuration(clusterName="lab")).cluster == "lab"


def test_the_longest_name_that_comes_from_a_stack() -> None:
    found = settings.parse("fourteen-char-s", configuration(clusterName=None))
    assert found.cluster == "kubepark-fourteen-char-s"


def test_a_fix_of_a_given_name_is_a_name_too() -> None:
    (problem,) = refused(configuration(clusterName="My Lab"), "Prod")
    assert shlex.split(problem.fix)[-1] == "kubepark-prod"


@pytest.mark.parametrize("local", ["kube-system", "default", "-", "a" * 64, "a" * 49 + "-b", "x.y+z"])
@pytest.mark.parametrize("more", [{}, {"namespace": "Not One"}, {"name": "Not One"}])
def test_what_is_proposed_from_an_e_mail_is_accepted(local: str, more: dict[str, str]) -> None:
    entry = {"name": "ana", "email": f"{local}@example.org", **more}
    for _ in range(3):
        config = configuration(people=[entry], passwordHashes={entry["name"]: HASH})
        found = [each for each in refused(config) if each.key.startswith("kubepark:people[0].")]
        for problem in found:
            entry |= {problem.key.rpartition(".")[2]: shlex.split(problem.fix)[-1]}
    assert found == []


@pytest.mark.parametrize("name", ["aws", "awslab", "ssm-1"])
def test_parameter_paths_begin_with_nothing_that_is_reserved(name: str) -> None:
    assert wrongs(clusterName=name) == [
        f'kubepark:clusterName: "{name}" begins with aws or ssm, which no parameter path may'
    ]


# -- roles and instance profiles -------------------------------------------------------------------


def test_the_name_of_a_role_is_at_most_64_characters() -> None:
    cluster = "c" * 24
    fits, too_long = "w" * 38 + "1", "w" * 39 + "1"
    assert settings.parse("dev", configuration(clusterName=cluster, workers__nodes={fits: {}}))
    assert len(Naming(cluster).role_name(fits)) == 64
    assert wrongs(clusterName=cluster, workers__nodes={too_long: {}}, controlPlane__name=f"m{too_long}") == [
        f"kubepark:controlPlane.name: {cluster}-m{too_long}, its role's name, has 66 characters",
        f"kubepark:workers.nodes.{too_long}: {cluster}-{too_long}, its role's name, has 65 characters",
    ]


def test_every_role_and_profile_has_a_name_that_iam_takes() -> None:
    longest = "w" * 38 + "1"
    recording = run(config=configuration(clusterName="c" * 24, gpu__nodes={longest: {}}))
    assert recording.error is None, recording.error
    found = [
        item.inputs["name"]
        for kind in ("aws:iam/role:Role", "aws:iam/instanceProfile:InstanceProfile")
        for item in recording.of_type(kind)
    ]
    assert len(found) == 10
    assert [name for name in found if not ROLE_NAME.fullmatch(name)] == []


# -- tags ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["team", "a b", "Kosten/Stelle", "été", "x" * 127, "a_b.c:d/e=f+g-h@i"])
def test_a_tag_that_every_service_takes(key: str) -> None:
    assert settings.parse("dev", configuration(tags={key: "v" * 256})).tags == {key: "v" * 256}


@pytest.mark.parametrize(
    ("key", "wrong"),
    [
        ("team?", "has a character that IAM refuses in tags: ?"),
        ("a,b", "has a character that IAM refuses in tags: ,"),
        ("a\nb", "has a character that IAM refuses in tags: \n"),
        ("x" * 128, "has more than 127 characters"),
        ("aws:x", "begins with aws:, which is reserved"),
        ("AWS:x", "begins with aws:, which is reserved"),
        ("kubepark:x", "begins with kubepark:, which is reserved"),
        ("KubePark:Cluster", "begins with kubepark:, which is reserved"),
        ("kubernetes.io/x", "begins with kubernetes.io/, which is reserved"),
        ("", "is empty"),
    ],
)
def test_the_key_of_a_tag_meets_the_strictest_service(key: str, wrong: str) -> None:
    (problem,) = refused(configuration(tags={key: "v"}))
    assert problem.wrong == wrong
    assert problem.fix.startswith("edit Pulumi" if "\n" in key else "pulumi config rm"), (
        "no CLI takes a line break"
    )


@pytest.mark.parametrize("value", ["", " ", "a,b", "a*", "tab\there", "v" * 257, "price €", 7, True, ["x"]])
def test_the_value_of_a_tag_meets_the_strictest_service(value: Any) -> None:
    (problem,) = refused(configuration(tags={"team": value}))
    assert problem.key == "kubepark:tags.team"
    assert problem.fix.endswith("kubepark:tags.team ml-team")


def test_tags_that_differ_in_case_only_are_one_for_iam() -> None:
    assert wrongs(tags={"Team": "a", "team": "b"}) == [
        "kubepark:tags.team: differs from Team in case only, and IAM's tag keys have no case"
    ]


def test_the_most_tags_fit_beside_ours() -> None:
    many = {f"t{number:02d}": "v" for number in range(MOST_TAGS)}
    recording = run(config=configuration(tags=many))
    assert recording.error is None, recording.error
    (provider,) = recording.of_type("pulumi:providers:aws")
    default = json.loads(provider.inputs["defaultTags"])["tags"]
    tags = [item.inputs["tags"] for item in recording.resources.values() if "tags" in item.inputs]
    counts = [len({**default, **each}) for each in tags]
    assert max(counts) == 50, "AWS takes 50 tags for most resources"
    assert wrongs(tags={**many, "zz": "v"}) == [
        f"kubepark:tags.zz: is one too many: AWS takes 50 tags, of which {50 - MOST_TAGS} are the program's"
    ]
