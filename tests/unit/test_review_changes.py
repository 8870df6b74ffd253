"""What a review says of changes that were made and previewed in the sandbox (sandbox/tests/stack/review_changes.py)."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import NamedTuple

import pytest

from cli import review_text
from cli.review_effects import Effect
from cli.review_preview import parse
from cli.review_summary import Review, review

FOLDER = Path(__file__).parents[1] / "golden" / "review"
ALL_NODES = ("gpu01", "master1", "worker01", "worker02", "worker03")
_H, _P, _N, _A, _C, _D = Effect


class Expected(NamedTuple):
    """`code`: with which the command ends; `classes`: how many changes of each there are; `outdated`: nodes;
    `usd`: what a month costs more; `access`: what is said of people; `told`: words of the comment."""

    code: int
    classes: dict[Effect, int]
    outdated: tuple[str, ...] = ()
    usd: float = 0
    access: tuple[str, ...] = ()
    told: tuple[str, ...] = ()


EXPECTED = {
    "nothing": Expected(0, {}, told=("nothing changes",)),
    "node-label-added": Expected(0, {}, ("gpu01",)),
    "label-added": Expected(0, {_H: 33}),
    "tag-added": Expected(0, {_H: 45}),
    "worker-type-changed": Expected(
        12, {_N: 1}, usd=133.15, told=("Instance worker02", "instanceType: m7i.xlarge -> m6i.2xlarge")
    ),
    "master-type-changed": Expected(14, {_C: 1}, usd=73.58, told=("no API server answers meanwhile",)),
    "worker-added": Expected(0, {_H: 6}, usd=158.82, told=("a new node joins",)),
    "worker-removed": Expected(12, {_N: 1, _H: 5}, usd=-158.82, told=("Instance worker03",)),
    "disk-grown": Expected(0, {_H: 1}, usd=8),
    "node-script-changed": Expected(0, {}, ALL_NODES),
    "generation-bumped": Expected(12, {_N: 1}, told=("`Instance worker01` replace: the node is made anew",)),
    "new-cluster": Expected(
        15, {_D: 19, _C: 2, _A: 13, _N: 4, _P: 5, _H: 4}, told=("etcd is on its disk", "Namespace chris")
    ),
    "master-protected": Expected(0, {_H: 1}),
    "gpu-taint-changed": Expected(0, {}, ("gpu01",)),
    "gpu-absent": Expected(12, {_N: 1, _P: 2, _H: 5}, usd=-395.63, told=("Instance gpu01",)),
    "gpu-shared": Expected(0, {_P: 1, _H: 1}),
    "person-added": Expected(
        13, {_A: 3, _P: 1, _H: 2}, access=("dora: not in the list -> active", "+ dora: owner in dora")
    ),
    "person-removed": Expected(
        13, {_A: 4, _P: 1, _H: 1}, access=("chris: active -> removed", "- chris: owner in chris")
    ),
    "person-purged": Expected(
        15,
        {_D: 1, _A: 3, _P: 1, _H: 1},
        access=("chris: active -> removed", "- chris: owner in chris"),
        told=("`Namespace chris` delete: everything in the namespace is deleted",),
    ),
    "person-suspended": Expected(13, {_A: 3, _P: 1}, access=("bo: active -> suspended", "- bo: owner in bo")),
    "access-given": Expected(13, {_A: 2}, access=("+ ana: edit in bo",)),
    "quota-changed": Expected(0, {_H: 1}, told=("those that run stay",)),
    "pod-security-lowered": Expected(13, {_A: 3}, told=("baseline -> privileged",)),
    "admin-address-added": Expected(13, {_A: 2}, told=("api-from-198.51.100.0-24",)),
    "create-only-setting-changed": Expected(
        1, {}, told=("the preview failed", "kubepark:network.podCidr: was 192.168.0.0/16")
    ),
    "dex-image-changed": Expected(0, {_P: 1}, told=("dexidp/dex:v2.45.1 -> ghcr.io/dexidp/dex:v2.45.2",)),
    "node-role-widened": Expected(13, {_A: 4}, told=("ssm:GetParameter, ssm:GetParameterHistory",)),
    "key-renamed": Expected(15, {_D: 2, _C: 1, _N: 4, _H: 2}, told=("known later",)),
    "policy-violated": Expected(
        1, {_A: 5}, told=("a policy is violated", "metadataOptions.httpPutResponseHopLimit is 2; at most 1.")
    ),
    "dex-hash-changed": Expected(13, {_A: 1, _P: 1}, told=("data.DEX_PW_ANA: [secret] (changed)",)),
}
FAILED = ("create-only-setting-changed", "policy-violated")


def recorded(name: str) -> Review:
    text = (FOLDER / f"{name}.jsonl").read_text(encoding="utf-8")
    return review("sandbox", parse(text, name), "")


def test_every_recorded_change_has_an_expected_result() -> None:
    assert {path.stem for path in FOLDER.glob("*.jsonl")} == set(EXPECTED)
    assert len(EXPECTED) >= 25


@pytest.mark.parametrize("name", EXPECTED)
def test_a_recorded_change(name: str) -> None:
    found, expected = recorded(name), EXPECTED[name]
    classes = {effect: len(found.of(effect)) for effect in Effect if found.of(effect)}
    assert (found.exit_code, classes) == (expected.code, expected.classes)
    if name not in FAILED:
        assert found.outdated == expected.outdated
        assert found.access == expected.access
        assert found.price.delta is not None
        assert found.price.delta.known is not None
        assert float(found.price.delta.known) == pytest.approx(expected.usd, abs=0.005)
    body = review_text.markdown(found)
    assert [words for words in expected.told if words not in body] == []
    assert found.not_comparable == 0


@pytest.mark.parametrize("name", EXPECTED)
def test_no_comment_has_a_secret_or_something_of_one_run(name: str) -> None:
    body = review_text.markdown(recorded(name))
    assert not re.search(r"\$2[aby]\$|PRIVATE KEY|[A-Za-z0-9+/]{60,}|ciphertext", body)
    assert len(body) < 60_000


@pytest.mark.parametrize("name", ["person-purged", "worker-type-changed", "policy-violated"])
def test_comments_are_golden(name: str) -> None:
    file, body = FOLDER / f"{name}.md", review_text.markdown(recorded(name))
    if os.environ.get("UPDATE_GOLDEN"):
        file.write_text(body, encoding="utf-8")
    assert body == file.read_text(encoding="utf-8")
