"""User data satisfies the schema of Debian's cloud-init package."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest

from tests.userdata_sample import GUARDED, ROLES, SETTINGS, SPOT, document

NAME = "schema-cloud-config-v1.json"


def cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "kubepark" / "cloud-init"


def schema() -> dict[str, Any]:
    """The schema file of the cloud-init package, kept in the cache after the first time."""
    kept = cache() / NAME
    if not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory() as folder:
            unpack(Path(folder))
            (found,) = Path(folder).rglob(NAME)
            fresh = kept.with_suffix(f".{os.getpid()}")
            fresh.write_bytes(found.read_bytes())
            fresh.replace(kept)
    loaded: dict[str, Any] = json.loads(kept.read_text())
    return loaded


def unpack(folder: Path) -> None:
    try:
        subprocess.run(["apt-get", "download", "cloud-init"], cwd=folder, check=True, capture_output=True)
        (package,) = folder.glob("cloud-init_*.deb")
        subprocess.run(["dpkg-deb", "-x", package, folder / "root"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        said = getattr(error, "stderr", b"") or b""
        pytest.fail(
            f"cannot fetch cloud-init with apt-get ({error}; {said.decode().strip()}): "
            f"run `apt-get update`, or put {NAME} of any cloud-init package into {cache()}"
        )


@pytest.mark.parametrize("settings", [SETTINGS, GUARDED, SPOT], ids=["plain", "guarded", "spot"])
@pytest.mark.parametrize("role", ROLES)
def test_schema(role, settings):
    jsonschema.Draft4Validator(schema()).validate(document(role, settings))


@pytest.mark.parametrize(
    "fault",
    [
        {"write_files": [{"path": "/x", "contents": "y"}]},
        {"write_files": [{"path": "/x", "permissions": 0o644}]},
        {"write_files": [{"content": "y"}]},
        {"runcmd": "systemctl daemon-reload"},
    ],
)
def test_a_fault_is_seen(fault):
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft4Validator(schema()).validate({**document("worker"), **fault})
