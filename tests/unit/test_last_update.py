"""What an update may not do to a cluster or to somebody's data, and what the fix is."""

from __future__ import annotations

import pytest

from config import last_update
from config.problems import SettingsError
from tests.unit.people_settings import load, person

KEEP = {"state": "removed", "data": "keep"}
PURGE = {"state": "removed", "data": "purge"}


def refused(before, now, **changes):
    """The problems of going from one list to the other, and from the base configuration to its changes."""
    try:
        last_update.check("dev", load(now, **changes), last_update.outputs(load(before)))
    except SettingsError as error:
        return [str(problem) for problem in error.problems]
    return []


FORMER = {"formerEmail": "ana@example.org"}
ANA, BO = person("ana"), person("bo")


@pytest.mark.parametrize(
    ("before", "now"),
    [
        ([ANA], [ANA]),
        ([ANA], [BO, ANA]),
        ([ANA, BO], [BO, ANA]),
        ([ANA], [{**ANA, "state": "suspended"}]),
        ([ANA], [{**ANA, **KEEP}]),
        ([ANA], [{**ANA, **PURGE}]),
        ([{**ANA, **KEEP}], [{**ANA, **PURGE}]),
        ([{**ANA, **KEEP}], [ANA]),
        ([{**ANA, **PURGE}], []),
        ([{**ANA, **PURGE}], [{**ANA, "email": "other@example.org"}]),
        ([person("vi", role="viewer")], []),
        ([ANA], [{**ANA, "email": "New@example.org", "namespace": "ana", "formerEmail": "Ana@example.org"}]),
        ([ANA], [{**ANA, "role": "admin", "tier": "gpu"}]),
        ([{**ANA, **KEEP}], [{**ANA, **KEEP, "email": "new@example.org", "namespace": "ana", **FORMER}]),
        ([ANA], [{**ANA, **KEEP, **FORMER}]),
    ],
)
def test_changes_that_lose_nothing_or_say_so(before, now):
    assert refused(before, now) == []


def test_whoever_vanishes_is_named_with_the_way():
    assert refused([ANA, {**BO, **KEEP}], []) == [
        f"kubepark:people: {name} is gone from the list and has the namespace {name}; accepted: the line with "
        "`state: removed`, and `data: keep` (the namespace stays) or `data: purge`; fix: put the line back, then "
        f"bin/kubepark people remove {name} --data keep --stack dev (or purge; after an update with purge the line may go)"
        for name in ("ana", "bo")
    ]


def test_a_renamed_key_is_somebody_who_vanished():
    found = refused([ANA], [{**ANA, "name": "anna"}])
    assert len(found) == 1
    assert "ana is gone from the list" in found[0]


def test_a_namespace_is_not_renamed():
    assert refused([ANA], [{**ANA, "namespace": "lab"}]) == [
        "kubepark:people[0].namespace: ana has the namespace ana, and a namespace cannot be renamed; accepted: "
        "ana; fix: pulumi config set --stack dev --path 'kubepark:people[0].namespace' ana"
    ]


def test_a_member_does_not_become_a_viewer_by_losing_the_namespace():
    found = refused([ANA], [person("ana", role="viewer")])
    assert len(found) == 1
    assert "people[0].role: ana has the namespace ana, and a viewer has none" in found[0]
    assert found[0].endswith("'kubepark:people[0].role' member")


def test_another_e_mail_is_another_owner_and_needs_the_manual_order():
    (found,) = refused([ANA], [{**ANA, "email": "new@example.org", "namespace": "ana"}])
    assert found == (
        "kubepark:people[0].email: ana was ana@example.org, and Kubeflow knows the owner of ana by that; accepted: "
        "ana@example.org; or another one, with `formerEmail: ana@example.org` beside it, and what docs/people.md "
        "says about a new e-mail; fix: pulumi config set --stack dev --path 'kubepark:people[0].email' "
        "ana@example.org"
    )


@pytest.mark.parametrize("former", [{}, FORMER])
@pytest.mark.parametrize(("gone", "changes"), [(KEEP, {}), (PURGE, {}), ({}, {"kubeflow__profiles": "none"})])
def test_a_new_e_mail_and_the_end_of_the_profile_are_two_updates(former, gone, changes):
    """The controller compares the namespace's owner, which has changed by then, before it lets a Profile go."""
    found = refused(
        [ANA], [{**ANA, "email": "new@example.org", "namespace": "ana", **former, **gone}], **changes
    )
    assert found == [
        "kubepark:people[0].email: ana was ana@example.org at the last update, and Kubeflow removes a Profile only "
        "under that e-mail; accepted: ana@example.org; another one in an update of its own, before this one or "
        "after it; fix: pulumi config set --stack dev --path 'kubepark:people[0].email' ana@example.org"
    ]


def test_a_new_e_mail_where_no_profile_was_needs_none_to_end():
    new = {**ANA, "email": "new@example.org", "namespace": "ana", **FORMER}
    before = last_update.outputs(load([ANA], kubeflow__profiles="none"))
    for now in (new, {**new, **KEEP}):
        last_update.check("dev", load([now], kubeflow__profiles="none"), before)


def test_outputs_of_before_profiles_were_noted_are_understood():
    before = last_update.outputs(load([ANA]))
    for row in before["people"]:
        del row["profile"]
    now = load([{**ANA, "email": "new@example.org", "namespace": "ana", **FORMER, **KEEP}])
    with pytest.raises(SettingsError, match="removes a Profile only under that e-mail"):
        last_update.check("dev", now, before)


def test_all_that_is_refused_is_in_one_error():
    before = last_update.outputs(load([ANA]))
    with pytest.raises(SettingsError) as refusal:
        last_update.check("dev", load([BO], network__podCidr="172.16.0.0/16"), before)
    assert [problem.key for problem in refusal.value.problems] == [
        "kubepark:network.podCidr",
        "kubepark:people",
    ]
