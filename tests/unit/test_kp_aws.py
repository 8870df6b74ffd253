"""A node's AWS client while KMS does not see the key's alias yet."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from userdata.node import kp_aws

NODE = {"region": "eu-central-1", "awsEndpoint": None}
GOOD = (200, '{"Parameter": {"Value": "x"}}')
OF_KMS = (
    400,
    '{"__type": "AccessDeniedException", "message": "... to perform: kms:Decrypt on resource: ..."}',
)
# As Parameter Store passes it on where KMS does not say which permission is missing.
OF_KMS_OLD = (
    400,
    '{"__type": "AccessDeniedException", "message": "The ciphertext ... (Service: AWSKMS; ..."}',
)
OF_SSM = (400, '{"__type": "AccessDeniedException", "message": "... to perform: ssm:GetParameter on ..."}')


class Clock:
    def __init__(self, since_boot: float) -> None:
        self.now = since_boot

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def called(
    monkeypatch: pytest.MonkeyPatch, clock: Clock, answers: list[tuple[int, str]]
) -> tuple[dict[str, Any] | str, int]:
    """What came of a call, and how many answers are left; the last one is given for ever."""
    left: Iterator[tuple[int, str]] = iter(answers)
    last = answers[-1]
    seen: list[tuple[int, str]] = []

    def answer(*_: Any, **__: Any) -> tuple[int, str]:
        seen.append(next(left, last))
        return seen[-1]

    monkeypatch.setattr(kp_aws, "http", answer)
    monkeypatch.setattr(
        kp_aws, "credentials", lambda: {"Token": "t", "SecretAccessKey": "s", "AccessKeyId": "a"}
    )
    monkeypatch.setattr(kp_aws.time, "monotonic", lambda: clock.now)
    monkeypatch.setattr(kp_aws.time, "sleep", clock.sleep)
    try:
        return kp_aws.ssm(NODE, "GetParameter", Name="/lab/join"), len(seen)
    except SystemExit as error:
        return str(error), len(seen)


@pytest.mark.parametrize("refusal", [OF_KMS, OF_KMS_OLD])
def test_a_refusal_by_kms_is_waited_out_after_a_boot(monkeypatch, capsys, refusal):
    found, calls = called(monkeypatch, Clock(100), [refusal, refusal, GOOD])
    assert found == {"Parameter": {"Value": "x"}}
    assert calls == 3
    assert capsys.readouterr().err == "waiting: KMS refuses GetParameter as yet\n" * 2


def test_the_wait_ends_when_every_alias_is_seen(monkeypatch):
    clock = Clock(100)
    found, calls = called(monkeypatch, clock, [OF_KMS])
    assert "AccessDenied" in str(found)
    assert 300 < clock.now <= 320
    assert calls == 12


@pytest.mark.parametrize(("since_boot", "refusal"), [(301, OF_KMS), (100, OF_SSM)])
def test_any_other_refusal_is_final(monkeypatch, since_boot, refusal):
    clock = Clock(since_boot)
    found, calls = called(monkeypatch, clock, [refusal, GOOD])
    assert "AccessDenied" in str(found)
    assert (calls, clock.now) == (1, since_boot)
