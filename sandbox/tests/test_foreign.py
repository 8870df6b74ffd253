"""A real account's stack file in a sandbox: what is encrypted is replaced, nothing is decrypted."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from sandbox import stackfile
from sandbox.errors import SandboxError
from sandbox.foreign import Foreign, adapted

BCRYPT = re.compile(r"\$2b\$12\$[./A-Za-z0-9]{53}")
TEXT = """\
secretsprovider: awskms://alias/pulumi
encryptedkey: AQICAHh
encryptionsalt: v1:abc
config:
  kubepark:aws:
    region: eu-central-1
    accountId: "999999999999"
  kubepark:controlPlane:
    apiEndpoint: https://127.0.0.1:7443
  kubepark:people:
    - {name: ana, email: ana@example.org}
    - {name: bo, email: bo@example.org}
  kubepark:passwordHashes:
    ana: {secure: cipher-of-ana}
    bo:
      secure: cipher-of-bo
  kubepark:oidcClientSecret:
    secure: cipher-of-client
  kubepark:connectors:
    - {id: github, type: github, clientId: {secure: cipher-of-id}}
  kubepark:connectorSecrets:
    secure: cipher-of-all
"""


def of(text: str = TEXT) -> Foreign:
    return adapted(text, "Pulumi.dev.yaml", Path("/nowhere"))


def secrets_of(text: str = TEXT) -> dict[str, str]:
    found = of(text).secrets
    assert found is not None
    return found


def dumped(found: Foreign) -> dict[str, Any]:
    return yaml.safe_load(stackfile.dump(found.document))


def test_every_encrypted_value_has_a_stand_in_of_the_right_form() -> None:
    secrets = secrets_of()
    assert set(secrets) == {
        'kubepark:passwordHashes["ana"]',
        'kubepark:passwordHashes["bo"]',
        "kubepark:oidcClientSecret",
        'kubepark:connectors[0]["clientId"]',
        'kubepark:connectorSecrets["github"]',
    }
    assert all(BCRYPT.fullmatch(value) for path, value in secrets.items() if "passwordHashes" in path)
    assert len(set(secrets.values())) == 5
    assert all(len(value) >= 32 for value in secrets.values())
    text = stackfile.dump(of().document)
    assert "secure" not in text
    assert "cipher-of" not in text + str(secrets)


def test_a_ciphertext_decides_and_nothing_else() -> None:
    one, other = secrets_of(), secrets_of(TEXT.replace("cipher-of-bo", "cipher-of-bo-again"))
    assert secrets_of(TEXT.replace("eu-central-1", "us-east-1")) == one
    assert {path for path in one if one[path] != other[path]} == {'kubepark:passwordHashes["bo"]'}


def test_hashes_that_are_encrypted_as_a_whole_are_one_for_each_person() -> None:
    start = TEXT.index("    ana: {secure")
    end = TEXT.index("  kubepark:oidcClientSecret")
    found = secrets_of(TEXT[:start] + "    secure: cipher-of-hashes\n" + TEXT[end:])
    names = [f'kubepark:passwordHashes["{name}"]' for name in ("ana", "bo")]
    assert all(BCRYPT.fullmatch(found[name]) for name in names)
    assert found[names[0]] != found[names[1]]


def test_a_sandbox_says_its_own_account_and_what_was_there_is_told() -> None:
    found = of()
    document = dumped(found)
    assert document["config"]["kubepark:aws"] == {"region": "eu-central-1", "accountId": "123456789012"}
    assert document["config"]["sandbox:nodes"] == "simulated"
    assert document["config"]["kubepark:manifests"] == {"calico": "sandbox/manifests/calico.yaml"}
    assert set(document) == {"config"}
    assert found.replaced == {
        "kubepark:aws.accountId": "999999999999",
        "kubepark:controlPlane.apiEndpoint": "https://127.0.0.1:7443",
        "kubepark:controlPlane.waitMinutes": None,
    }


def test_manifests_that_the_stack_names_stay() -> None:
    found = of(TEXT + "  kubepark:manifests: {calico: mine.yaml}\n")
    assert dumped(found)["config"]["kubepark:manifests"] == {"calico": "mine.yaml"}


def test_a_sandboxs_own_file_generates_its_secrets() -> None:
    found = of("config:\n  kubepark:aws: {endpoint: 'http://127.0.0.1:4566'}\n  sandbox:nodes: auto\n")
    assert (found.secrets, found.replaced) == (None, {})
    assert dumped(found)["config"]["sandbox:nodes"] == "simulated"


@pytest.mark.parametrize("text", ["config: {", "config: [1]\n", "config:\n  kubepark:aws: 3\n"])
def test_what_is_no_stack_file_is_refused(text: str) -> None:
    with pytest.raises(SandboxError, match=r"Pulumi\.dev\.yaml"):
        of(text)
