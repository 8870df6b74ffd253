"""Any list of people is planned consistently or refused in words; big ones are planned fast."""

from __future__ import annotations

import gc
import time
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from components.incluster.dex import plan_dex
from components.incluster.objects import resource_names
from components.incluster.profiles import plan_profiles
from config import last_update
from config import settings as stack_settings
from config.people import grants, matrix
from config.problems import SettingsError
from tests import dex_schema
from tests.unit.people_settings import people_config, person
from tests.unit.test_people_plans import dex_of

NAMES = ["ana", "bo", "chris", "dana", "eve"]
GROUPS = {"research": {"access": {"ana": "edit"}}, "guests": {"access": {"bo": "view"}}}
JUNK: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 99),
    st.text(max_size=9),
    st.lists(st.text(max_size=3), max_size=2),
)
FIELDS = {
    "name": st.sampled_from([*NAMES, "Ana", "kube-x", "-", ""]),
    "email": st.sampled_from(
        [
            *(f"{name}@example.org" for name in NAMES),
            "ANA@example.org",
            "a.na@example.org",
            "a-na@example.org",
            "x",
        ]
    ),
    "displayName": st.sampled_from(["Ana", "Bö", " "]),
    "role": st.sampled_from(["admin", "member", "viewer", "boss"]),
    "groups": st.lists(st.sampled_from(["research", "guests", "none"]), max_size=2),
    "tier": st.sampled_from(["small", "medium", "gpu", "huge"]),
    "quota": st.dictionaries(
        st.sampled_from(["requests.cpu", "limits.cpu", "requests.memory", "requests.nvidia.com/gpu", "cpu"]),
        st.sampled_from(["1", "2", "500m", "16Gi", "1g", 1, 0.5]),
        max_size=3,
    ),
    "access": st.dictionaries(st.sampled_from(NAMES), st.sampled_from(["view", "edit", "own"]), max_size=3),
    "state": st.sampled_from(["active", "suspended", "removed"]),
    "data": st.sampled_from(["keep", "purge"]),
    "namespace": st.sampled_from([*NAMES, "kubeflow", "Ana"]),
    "formerEmail": st.sampled_from(["old@example.org", "?"]),
    "unknown": st.just(1),
}


@st.composite
def usual(draw: st.DrawFn, name: str) -> dict[str, Any]:
    """An entry that is probably right."""
    entry: dict[str, Any] = {"name": name, "email": f"{name}@example.org"}
    for field in draw(
        st.sets(st.sampled_from(["role", "groups", "tier", "access", "displayName"]), max_size=3)
    ):
        entry[field] = draw(FIELDS[field].filter(lambda value: value not in ("boss", "huge", " ")))
    if draw(st.integers(0, 4)) == 0:
        entry |= draw(st.sampled_from([{"state": "suspended"}, {"state": "removed", "data": "keep"}]))
    return entry


@st.composite
def odd(draw: st.DrawFn) -> Any:
    """Anything."""
    fields = draw(st.sets(st.sampled_from(sorted(FIELDS)), max_size=6))
    entry = {field: draw(st.one_of(FIELDS[field], JUNK)) for field in sorted(fields)}
    return draw(st.one_of(st.just(entry), JUNK))


@st.composite
def lists(draw: st.DrawFn) -> list[Any]:
    known = draw(st.lists(st.sampled_from(NAMES), unique=True, max_size=5))
    listed = [draw(usual(name)) for name in known]
    return listed + draw(st.one_of(st.just([]), st.just([]), st.lists(odd(), max_size=2)))


def outcome(listed: list[Any]) -> Any:
    """The settings, or the text of the refusal."""
    usable = [each for each in listed if isinstance(each, dict) and isinstance(each.get("name"), str)]
    there = {each["name"] for each in usable}
    groups = {name: group for name, group in GROUPS.items() if there >= set(group["access"])}
    config = people_config(usable, people=listed, groups=groups)
    try:
        return stack_settings.parse("dev", config)
    except SettingsError as error:
        return str(error)


def test_any_list_is_planned_consistently_or_refused_with_a_message() -> None:
    counts = {"planned": 0, "refused": 0}

    @settings(max_examples=400, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
    @given(lists())
    def check(listed: list[Any]) -> None:
        found = outcome(listed)
        assert str(outcome(listed)) == str(found), "the same list gives the same plan"
        if isinstance(found, str):
            counts["refused"] += 1
            assert found.startswith("the configuration of stack dev has ")
        else:
            counts["planned"] += 1
            check_plan(found)

    check()
    assert min(counts.values()) >= 60, f"both kinds must be there often: {counts}"


def check_plan(found: Any) -> None:
    planned = [*plan_profiles(found), *plan_dex(found)]
    names = [*resource_names(plan_profiles(found)), *resource_names(plan_dex(found))]
    assert len(set(names)) == len(names)
    namespaces = {item["metadata"]["name"] for item in planned if item["kind"] == "Namespace"}
    assert {
        item["metadata"]["namespace"] for item in planned if "namespace" in item["metadata"]
    } <= namespaces
    active = {each.email for each in found.people if each.active}
    for item in planned:
        if item["kind"] == "RoleBinding" and "annotations" in item["metadata"]:
            assert item["metadata"]["annotations"]["user"] in active
            assert len(item["subjects"]) == 1
    assert {row.email for row in grants(found.people, found.groups)} <= active
    text, environment = dex_of(found)
    assert dex_schema.faults(text, environment) == []
    assert {each["email"] for each in yaml.safe_load(text)["staticPasswords"]} == active


def test_two_hundred_people_are_planned_within_a_second() -> None:
    listed = [person(f"p{number:03d}", groups=["research"]) for number in range(200)]
    config = people_config([*listed, person("ana")], groups={"research": {"access": {"ana": "view"}}})
    gc.disable()  # a collection would look through everything that all tests of this process have left
    began = time.process_time()  # what others do on this machine meanwhile does not count
    found = stack_settings.parse("dev", config)
    planned = [*plan_profiles(found), *plan_dex(found)]
    assert len(matrix(found.people, found.groups)) == 401
    assert len(last_update.outputs(found)["people"]) == 201
    seconds = time.process_time() - began
    gc.enable()
    assert len(planned) > 1000
    assert seconds < 1.0


@pytest.mark.parametrize("count", [10, 200])
def test_the_plan_grows_with_people_and_not_faster(count: int) -> None:
    found = stack_settings.parse("dev", people_config([person(f"p{n:03d}") for n in range(count)]))
    assert len(plan_profiles(found)) == 3 * count
