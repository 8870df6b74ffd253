"""Fixtures of the tests that call the Kubernetes stand-in directly."""

from __future__ import annotations

import secrets

import pytest

from tests.sandbox.kubernetes_verbs import configured


@pytest.fixture(scope="module")
def backend(apiserver):
    return configured(apiserver, enableConfigMapMutable="true")


@pytest.fixture
def namespace(apiserver):
    """A fresh namespace, made and left by other means than the provider."""
    name = f"n{secrets.token_hex(4)}"
    apiserver.request(
        "POST", "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    )
    return name
