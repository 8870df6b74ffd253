"""Further labels of GPU nodes: what the kubelet takes, and what is not the stack's to say."""

from __future__ import annotations

import pytest

from config import settings
from config.nodes import PLANNED_LABELS
from config.problems import Problems
from config.sections.labels import labels
from config.validation import Section
from tests.configuration import configuration
from tests.node_labels import ACCEPTED, REFUSED
from tests.userdata_sample import files


def wrongs(key: str, value: str = "v") -> list[str]:
    problems = Problems("dev")
    labels(Section(problems, "kubepark:gpu.labels", {key: value}))
    return [each.wrong for each in problems.found]


@pytest.mark.parametrize("key", ACCEPTED)
def test_a_label_that_a_kubelet_takes(key: str) -> None:
    found = settings.parse("dev", configuration(gpu__labels={key: "shared"}))
    assert found.gpu.labels == {key: "shared"}


@pytest.mark.parametrize(("key", "wrong"), REFUSED)
def test_a_label_that_a_kubelet_refuses_or_that_is_not_for_the_stack(key: str, wrong: str) -> None:
    (found,) = wrongs(key)
    assert found.startswith(wrong)


@pytest.mark.parametrize("value", ["", "x", "x" * 63, "A_b.c-1"])
def test_a_value_that_a_kubelet_takes(value: str) -> None:
    assert wrongs("team", value) == []


@pytest.mark.parametrize("value", ["x" * 64, "-x", "x.", "a b", "a=b", "a,b", "é"])
def test_a_value_that_a_kubelet_refuses(value: str) -> None:
    (found,) = wrongs("team", value)
    assert found.endswith("is not a label value")


def test_the_labels_that_are_planned_are_those_that_nodes_register_with() -> None:
    template = files("gpu")["/etc/kubepark/kubeadm-join.yaml.tmpl"]
    (line,) = [line for line in template.splitlines() if "accelerator=" in line]
    keys = {pair.partition("=")[0] for pair in line.partition("value: ")[2].split(",")}
    assert keys - {"team"} == PLANNED_LABELS, "team is the sample's own"
