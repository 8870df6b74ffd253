"""Random stack files, good and bad: as text, and as what the engine gives to the program of it."""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import yaml

from tests.configuration import HASH, SECRETS, configuration

CIPHERTEXT = "v1:c29tZXRoaW5nIGVuY3J5cHRlZA==:AAAA"
# Values by path; the first of each is right. None: the key is not there.
VALUES: dict[str, list[Any]] = {
    "clusterName": ["lab", "My Lab", "awslab", 123, True, 1.5, "x" * 40, "", None],
    "aws__region": ["us-east-1", "cn-north-1", "us-gov-west-1", "nowhere", 5, None],
    "aws__accountId": ["123456789012", 123456789012, "12", None],
    "aws__acountId": [None, "123456789012"],
    "platform__kubernetes": ["1.36", 1.36, "1.22", 1, None],
    "platform__ami": ["ami-0123456789abcdef0", "ami-0", None],
    "platform__os": ["ubuntu-24.04", "plan9", {"a": 1}],
    "network__vpcCidr": ["10.20.0.0/16", "10.20.0.1/16", "224.0.0.0/16", "192.168.0.0/16", 7, []],
    "network__adminCidrs": [
        ["203.0.113.7/32"],
        ["0.0.0.0/0", "me"],
        [],
        "203.0.113.7/32",
        ["192.168.1.0/24"],
    ],
    "network": [None, [1, 2], "text"],
    "controlPlane__name": ["master1", "Master", "w" * 60 + "1", "worker01"],
    "controlPlane__apiEndpoint": [
        "https://api.example.org:6443",
        "https://u@h",
        "https://h_h",
        "https://h:70000",
    ],
    "controlPlane__volumeGb": [40, "40", 40.0, 40.5, "big", 1, True, 1e3],
    "controlPlane__instanceType": ["m7i.large", "m7g.large", "mac1.metal", "t3.micro", 5],
    "workers__nodes": [
        {"worker01": {}},
        {"worker01": None},
        {"W1": {}},
        {"a1": {}, "b1": {}},
        {"gpu01": {}},
        [],
        5,
    ],
    "gpu__power": ["running", "absent", "off", False, None],
    "gpu__nodes": [
        {"gpu01": {}},
        {"gpu01": {"instanceType": "g4dn.12xlarge"}, "gpu02": {"instanceType": "m5.large"}},
    ],
    "gpu__labels": [
        {"team": "a"},
        {"accelerator": "b"},
        {"x.k8s.io/x": "a"},
        {"team": 5},
        {"team": True},
        "x",
    ],
    "kubeflow__profiles": ["none", "controller", "yes", True],
    "manifests__kubeflow": [
        "sandbox/manifests/kubeflow.yaml",
        "nowhere.yaml",
        "/etc/passwd",
        "../x",
        "README.md",
    ],
    "podSecurity": ["baseline", "Baseline", 5, None],
    "groups": [
        {},
        {"team": {"access": {"bo": "view"}}},
        {"Team": {}},
        {"team": {"access": {"nobody": "edit"}}},
        [],
    ],
    "budget__monthlyUsd": [5000, "5000", 100, 0, "much", None],
    "budget__acknowledgedUsd": [None, 2000, 1, -5],
    "tags": [{"team": "ml"}, {"aws:x": "a"}, {"a,b": "c"}, {"cost": 5}, {"day": "2026-01-01"}, "x"],
    "oidcClientId": ["kubepark", 5, "", {"a": "b"}],
    "passwordHashes": [{"ana": HASH, "bo": HASH}, {"ana": HASH}, {"ana": HASH, "bo": HASH, "cy": HASH}, None],
    "oidcClientSecret": ["0123456789abcdef" * 2, None],
    "netwrok": [None, {}, "x"],
}
ENTRIES: dict[str, list[Any]] = {
    "name": ["ana", "Ana", "bo", 5, None],
    "email": ["ana@example.org", "bo@example.org", "kubeflow@example.org", "nowhere", None],
    "tier": ["gpu", "huge", None],
    "role": ["member", "viewer", "boss"],
    "state": ["active", "suspended", "removed"],
    "data": [None, "keep", "purge"],
    "quota": [None, {"requests.nvidia.com/gpu": 9}, {"requests.cpu": 0.5, "pods": 20}, {"cpu": "1"}],
    "access": [{}, {"bo": "view"}, {"bo": "owner"}, {"ana": "edit"}],
    "displayName": ["Ana", 5, None],
}


@dataclass
class StackFile:
    """`text`: the file; `config`: what the engine gives of it; `secrets`: the keys that it says are secret."""

    text: str
    config: dict[str, Any]
    secrets: set[str]


def make(random: Random, people_file: Path) -> StackFile:
    """One stack file: up to five of its values are replaced, and secrets encrypted, or forgotten to be.

    What is encrypted is right: that it is not can be seen by the program only.
    """
    config = configuration()
    for path in random.sample(sorted(VALUES), random.randint(0, 5)):
        top, _, below = path.partition("__")
        if isinstance(config.get(top, {}), dict) or not below:
            _put(config.setdefault(top, {}) if below else config, below or top, _one_of(random, VALUES[path]))
    if random.random() < 0.5:
        key = random.choice(sorted(ENTRIES))
        _put(config["people"][random.randrange(2)], key, _one_of(random, ENTRIES[key]))
    written, secrets = _encrypted(random, config)
    if random.random() < 0.2 and config.get("passwordHashes") == written.get("passwordHashes"):
        moved = _people_file(random, config, people_file)
        config, written = config | moved, written | moved
        if random.random() < 0.7:
            del config["people"], written["people"]
    document = {
        "encryptionsalt": "v1:x",
        "config": {f"kubepark:{key}": value for key, value in written.items()},
    }
    text = yaml.safe_dump(document) if random.random() < 0.7 else json.dumps(document)
    return StackFile(text, {key: _by_go(value) for key, value in config.items()}, secrets)


def _one_of(random: Random, values: list[Any]) -> Any:
    return values[0] if random.random() < 0.4 else random.choice(values)


def _put(target: dict[str, Any], key: str, value: Any) -> None:
    if value is None:
        target.pop(key, None)
    else:
        target[key] = copy.deepcopy(value)


def _encrypted(random: Random, config: dict[str, Any]) -> tuple[dict[str, Any], set[str]]:
    """The configuration as it is written, and which keys hold something encrypted."""
    written, secrets = copy.deepcopy(config), set()
    for key in sorted(SECRETS & config.keys()):
        how = random.choice([*["parts"] * 6, *["whole"] * 3, "plain"])
        if how == "plain":
            continue
        secrets.add(key)
        if how == "parts" and isinstance(config[key], dict):
            written[key] = {name: {"secure": CIPHERTEXT} for name in config[key]}
        else:
            written[key] = {"secure": CIPHERTEXT}
            if key == "passwordHashes":
                names = [entry.get("name") for entry in config["people"]]
                config[key] = {name: HASH for name in names if isinstance(name, str) and name.islower()}
    return written, secrets


def _people_file(random: Random, config: dict[str, Any], file: Path) -> dict[str, Any]:
    people = yaml.safe_dump(config["people"])
    file.write_text(random.choice([people, people, people, "a: b", "[", ""]), encoding="utf-8")
    return {
        "peopleFile": random.choice([file.name, file.name, file.name, "nowhere.yaml", "../people.yaml", "/x"])
    }


def _by_go(value: Any) -> Any:
    """Numbers as Go's JSON has them: 40.0 is 40."""
    if isinstance(value, dict):
        return {key: _by_go(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_by_go(each) for each in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
