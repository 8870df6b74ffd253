"""`foundation/` on the real engine, in the sandbox's emulator: up, an empty preview, destroy."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from botocore.exceptions import ClientError

from sandbox.tests.aws.emulator_server import ROOT, Emulator
from sandbox.tests.program.engine_project import EngineProject
from sandbox.tests.tools import tool

FOLDER = ROOT / "foundation"
PROGRAM = f"import runpy\nrunpy.run_path({str(FOLDER / '__main__.py')!r}, run_name='__main__')\n"
PACK = ("--policy-pack", str(ROOT / "policies"), "--policy-pack-config", str(FOLDER / "policies.json"))

pytestmark = pytest.mark.sandbox


@pytest.fixture
def emulator(tmp_path):
    made = Emulator(tmp_path)
    yield made
    made.stop()


@pytest.fixture
def project(tmp_path: Path, emulator: Emulator) -> EngineProject:
    """The stack file of the sandbox, at this emulator."""
    keys = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing"}
    made = EngineProject(
        tmp_path, PROGRAM, {"aws": tool("pulumi-resource-aws")}, "kubepark-foundation", **keys
    )
    kept = yaml.safe_load(made.stack_file.read_text(encoding="utf-8")) or {}
    stack = yaml.safe_load((FOLDER / "Pulumi.sandbox.yaml").read_text(encoding="utf-8"))
    stack["config"]["kubepark:aws"]["endpoint"] = emulator.url
    made.stack_file.write_text(yaml.safe_dump({**kept, **stack}), encoding="utf-8")
    return made


@pytest.mark.slow
def test_up_an_empty_preview_a_refresh_without_drift_and_destroy(project, emulator):
    first = project.ok("preview", *PACK)
    assert "can't run policy" not in first, "the first preview leaves no policy to the update"
    project.up(*PACK)
    made = [each["type"] for each in project.resources() if each["type"].startswith("aws:")]
    assert len(made) == 8 + 8 * 3  # bucket with four settings, key, alias, provider; roles with two policies
    project.ok("preview", "--expect-no-changes", *PACK)
    project.ok("refresh", "--yes", "--skip-preview", "--expect-no-changes")
    outputs = json.loads(project.ok("stack", "output", "--json"))
    s3, kms, iam = (emulator.client(name) for name in ("s3", "kms", "iam"))
    (rule,) = s3.get_bucket_encryption(Bucket=outputs["bucket"])["ServerSideEncryptionConfiguration"]["Rules"]
    assert rule["ApplyServerSideEncryptionByDefault"]["KMSMasterKeyID"] == outputs["key_arn"]
    assert iam.get_role(RoleName="kubepark-deploy-dev")["Role"]["Arn"] == outputs["roles"]["deploy-dev"]
    assert outputs["roles"]["deploy-dev"].endswith(":role/kubepark/kubepark-deploy-dev")

    project.ok("destroy", "--yes", "--skip-preview")
    assert project.names() == []
    with pytest.raises(ClientError, match="404"):
        s3.head_bucket(Bucket=outputs["bucket"])
    assert iam.list_roles()["Roles"] == []
    assert iam.list_open_id_connect_providers()["OpenIDConnectProviderList"] == []
    assert kms.describe_key(KeyId=outputs["key_arn"])["KeyMetadata"]["KeyState"] == "PendingDeletion"


def test_bad_settings_end_in_one_clean_error(project):
    stack = yaml.safe_load(project.stack_file.read_text(encoding="utf-8"))
    project.stack_file.write_text(yaml.safe_dump({**stack, "config": {}}), encoding="utf-8")
    code, output = project.run("preview")
    assert code != 0
    for key in ("aws.region", "aws.accountId", "repository", "environments[0].name"):
        assert f"kubepark:{key}: is missing" in output
    assert "Traceback" not in output
