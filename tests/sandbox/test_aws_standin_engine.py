"""The AWS stand-in under the real engine: one small cluster's worth of resources, start to end."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from tests.sandbox.aws_program import Program, Run
from tests.sandbox.aws_standin import ACCOUNT, IMAGE, NO_IMAGE, OTHER_IMAGE, client, server
from tests.tools import tool

pytestmark = pytest.mark.sandbox

ROOT = Path(__file__).resolve().parents[2]
RESOURCES = 18  # with the provider


class Engine:
    """One stack in its own backend; each attribute of `program` may be changed between operations."""

    def __init__(self, folder: Path) -> None:
        self.program = Program(endpoint=server().url, secret=secrets.token_urlsafe(24))
        self.backend = folder / "backend"
        shims = folder / "bin"
        for made in (self.backend, shims):
            made.mkdir()
        (shims / "pulumi").symlink_to(tool("pulumi"))
        plugin = shims / "pulumi-resource-aws"
        plugin.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m sandbox.providers.aws "$@"\n')
        plugin.chmod(0o755)
        self._environment = {
            **os.environ,
            "PATH": f"{shims}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "PULUMI_BACKEND_URL": f"file://{self.backend}",
            "PULUMI_CONFIG_PASSPHRASE": secrets.token_urlsafe(16),
            "PULUMI_HOME": str(folder / "home"),
            "TMPDIR": str(folder),  # the Automation API leaves its work folders behind
            "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
        }

    def run(self, verb: str) -> Run:
        done = subprocess.run(
            [sys.executable, "-m", "tests.sandbox.aws_program"],
            input=json.dumps({"verb": verb, "program": asdict(self.program)}),
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return Run(**json.loads(done.stdout.splitlines()[-1]))

    def id_of(self, name: str) -> str:
        """The id that the state records for a resource."""
        state = json.loads((self.backend / ".pulumi/stacks/test/test.json").read_text())
        resources = state["checkpoint"]["latest"]["resources"]
        (found,) = [item for item in resources if item["urn"].rpartition("::")[2] == name]
        return str(found["id"])


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    return Engine(tmp_path)


def everything() -> dict[str, list[Any]]:
    """What the emulator holds that a stack can leave behind."""
    ec2, tagged = client("ec2"), [{"Name": "tag:kubepark:cluster", "Values": ["engine"]}]
    reservations = ec2.describe_instances(Filters=tagged)["Reservations"]
    instances = [item for reservation in reservations for item in reservation["Instances"]]
    return {
        "vpcs": ec2.describe_vpcs(Filters=tagged)["Vpcs"],
        "instances": [i["InstanceId"] for i in instances if i["State"]["Name"] != "terminated"],
        "volumes": ec2.describe_volumes(Filters=tagged)["Volumes"],
        "addresses": ec2.describe_addresses(Filters=tagged)["Addresses"],
        "interfaces": ec2.describe_network_interfaces(Filters=tagged)["NetworkInterfaces"],
        "parameters": client("ssm").get_parameters_by_path(Path="/engine")["Parameters"],
    }


def test_from_nothing_to_nothing(engine: Engine):
    previewed = engine.run("preview")
    assert not previewed.failed, previewed.text
    made = engine.run("up")
    assert not made.failed, made.text
    assert set(previewed.changes) == set(made.changes)
    assert set(made.changes.values()) == {"create"}
    assert len(made.changes) == RESOURCES
    assert all(everything().values())

    _nothing_in_plain(engine, engine.program.secret)
    assert engine.run("preview").changes == {}
    assert engine.run("preview_refresh").changes == {}
    _drift_is_seen(engine)
    _ignored_changes_are_ignored(engine)

    gone = engine.run("destroy")
    assert not gone.failed, gone.text
    assert not any(everything().values()), everything()


def _nothing_in_plain(engine: Engine, secret: str) -> None:
    stored = [path.read_text(errors="replace") for path in engine.backend.rglob("*") if path.is_file()]
    assert any("/engine/join" in text for text in stored)
    assert not any(secret in text for text in stored)
    assert (
        client("ssm").get_parameter(Name="/engine/join", WithDecryption=True)["Parameter"]["Value"] == secret
    )


def _drift_is_seen(engine: Engine) -> None:
    ec2, node = client("ec2"), engine.id_of("node")
    ec2.create_tags(Resources=[node], Tags=[{"Key": "foo", "Value": "bar"}])
    shown = engine.run("preview_refresh")
    assert (shown.changes, shown.diffs["node"]) == ({"node": "update"}, ["tags.foo", "tagsAll.foo"])
    ec2.terminate_instances(InstanceIds=[node])
    assert engine.run("preview_refresh").changes == {"node": "delete"}
    assert engine.run("refresh").changes == {"node": "delete"}
    repaired = engine.run("up")
    assert repaired.changes == {"node": "create"}, repaired.text
    assert engine.run("preview_refresh").changes == {}


def _ignored_changes_are_ignored(engine: Engine) -> None:
    engine.program.digest, engine.program.script, engine.program.ami = (
        "bbbb",
        "#!/bin/sh -e\n",
        OTHER_IMAGE,
    )
    assert engine.run("preview").changes == {}
    ssm = client("ssm")
    ssm.put_parameter(Name="/engine/join", Value="written by a node", Type="SecureString", Overwrite=True)
    engine.program.parameter_tags, engine.program.instance_type = {"a": "b"}, "t3.xlarge"
    changed = engine.run("up")
    assert changed.changes == {"join": "update", "node": "update"}, changed.text
    assert changed.diffs == {"join": ["tags.a", "tagsAll.a"], "node": ["instanceType"]}
    live = ssm.get_parameter(Name="/engine/join", WithDecryption=True)["Parameter"]
    assert live["Value"] == "written by a node"


@pytest.mark.parametrize(
    ("knob", "value", "message"),
    [
        ("account", "999999999999", f"AWS account ID not allowed: {ACCOUNT}"),
        ("endpoint", "http://192.0.2.1:4566", "is not a loopback address"),
    ],
)
def test_a_wrong_account_or_endpoint_stops_everything(engine: Engine, knob: str, value: str, message: str):
    setattr(engine.program, knob, value)
    engine.program.look_up = False
    failed = engine.run("up")
    assert failed.failed
    assert message in failed.text
    assert "Traceback" not in failed.text
    assert not any(everything().values())


def test_a_refusal_is_shown_in_awss_words_and_the_rest_is_kept(engine: Engine):
    engine.program.ami = NO_IMAGE
    failed = engine.run("up")
    assert failed.failed
    assert f"InvalidAMIID.NotFound: The image id '[{NO_IMAGE}]' does not exist" in failed.text
    assert "Traceback" not in failed.text
    engine.program.ami = IMAGE
    assert engine.run("up").changes == {"node": "create"}
    assert not engine.run("destroy").failed
    assert not any(everything().values())
