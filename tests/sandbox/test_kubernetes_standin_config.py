"""The Kubernetes stand-in's configuration: kubeconfig, settings, what replaces the provider."""

from __future__ import annotations

import base64

import pytest
import yaml

from sandbox.providers.backend import UNKNOWN, ProviderError
from sandbox.providers.kubernetes import kubeconfig, sdk, settings


def kubeconfig_text(server="https://127.0.0.1:6443", name="one", **user):
    data = base64.b64encode(b"pem").decode()
    credentials = user or {"client-certificate-data": data, "client-key-data": data}
    document = {
        "clusters": [{"name": name, "cluster": {"server": server, "certificate-authority-data": data}}],
        "contexts": [{"name": "c", "context": {"cluster": name, "user": "u"}}],
        "users": [{"name": "u", "user": credentials}],
        "current-context": "c",
    }
    return yaml.safe_dump(document)


# -- kubeconfig ------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "localhost", "[::1]"])
def test_a_loopback_server_is_accepted(host):
    assert kubeconfig.parse(kubeconfig_text(f"https://{host}:6443")).server == f"https://{host}:6443"


@pytest.mark.parametrize(
    "server",
    [
        "https://10.20.0.10:6443",
        "https://cluster.example.com",
        "https://127.0.0.1.example.com:6443",
        "https://localhost@203.0.113.5:6443",
        "http://127.0.0.1:8080",
        "",
    ],
)
def test_any_other_server_is_refused(server):
    with pytest.raises(ProviderError, match="loopback addresses only"):
        kubeconfig.parse(kubeconfig_text(server))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("just words", "expected the contents of a kubeconfig"),
        ("{unbalanced", "expected the contents of a kubeconfig"),
        ("{}", "no current-context"),
        (kubeconfig_text(exec={"command": "aws"}), "client-certificate-data and client-key-data, or a token"),
        (kubeconfig_text(**{"client-certificate-data": "%%", "client-key-data": "%%"}), "is not base64"),
    ],
)
def test_an_unusable_kubeconfig_is_one_clean_error(text, message):
    with pytest.raises(ProviderError, match=message):
        kubeconfig.parse(text)


def test_credentials_do_not_show_in_the_representation():
    target = kubeconfig.parse(kubeconfig_text(token="s3cr3t-token"))
    assert "s3cr3t-token" not in repr(target)


# -- settings --------------------------------------------------------------------------------------


def test_the_settings_are_those_of_the_installed_sdk():
    assert {
        "kubeconfig",
        "clusterIdentifier",
        "enableConfigMapMutable",
        "kubeClientSettings",
    } <= sdk.settings()


@pytest.mark.parametrize(
    ("variables", "property_", "reason"),
    [
        ({"kubeConfig": "x"}, "kubeConfig", "unknown setting"),
        ({"deleteUnreachable": "yes"}, "deleteUnreachable", "expected true or false"),
        ({"namespace": 3}, "namespace", "expected a string"),
        ({"enableServerSideApply": "false"}, "enableServerSideApply", "enabled only"),
        ({"skipUpdateUnreachable": "true"}, "skipUpdateUnreachable", "disabled only"),
        ({"renderYamlToDirectory": "out"}, "renderYamlToDirectory", "not supported"),
    ],
)
def test_a_setting_that_cannot_be_honoured_is_refused(variables, property_, reason):
    ((found, text),) = settings.problems(variables)
    assert found == property_
    assert reason in text


def test_known_and_unknown_values_pass_the_check():
    variables = {"kubeconfig": UNKNOWN, "clusterIdentifier": "a/1", "enableSecretMutable": "true"}
    assert settings.problems(variables) == []


def test_flags_come_from_the_setting_else_from_the_environment(monkeypatch):
    text = kubeconfig_text(token="t")
    monkeypatch.setattr(kubeconfig, "_data", lambda entry, key: b"pem")
    monkeypatch.setenv("PULUMI_K8S_DELETE_UNREACHABLE", "true")
    assert settings.load({"kubeconfig": text}).delete_unreachable is True
    assert settings.load({"kubeconfig": text, "deleteUnreachable": "false"}).delete_unreachable is False


ONE, OTHER = kubeconfig_text(), kubeconfig_text("https://127.0.0.1:7000")


@pytest.mark.parametrize(
    ("old", "new", "changed", "replaces"),
    [
        ({"kubeconfig": ONE}, {"kubeconfig": ONE}, False, []),
        ({"kubeconfig": ONE}, {"kubeconfig": OTHER}, True, ["kubeconfig"]),
        ({"kubeconfig": ONE}, {"kubeconfig": UNKNOWN}, True, ["kubeconfig"]),
        ({"kubeconfig": ONE}, {"kubeconfig": kubeconfig_text(token="rotated")}, True, []),
        ({"kubeconfig": ONE}, {"kubeconfig": ONE, "namespace": "x"}, True, []),
        (
            {"kubeconfig": ONE, "clusterIdentifier": "a"},
            {"kubeconfig": UNKNOWN, "clusterIdentifier": "a"},
            True,
            [],
        ),
        (
            {"kubeconfig": ONE, "clusterIdentifier": "a"},
            {"kubeconfig": OTHER, "clusterIdentifier": "a"},
            True,
            [],
        ),
        (
            {"kubeconfig": ONE, "clusterIdentifier": "a"},
            {"kubeconfig": ONE, "clusterIdentifier": "b"},
            True,
            ["clusterIdentifier"],
        ),
        ({"kubeconfig": ONE}, {"kubeconfig": ONE, "clusterIdentifier": "a"}, True, []),
    ],
)
def test_what_replaces_the_provider(old, new, changed, replaces):
    assert settings.replacing(old, new) == (changed, replaces)
