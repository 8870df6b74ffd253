"""The rules about secrets. What looks like a secret here is made at run time and opens nothing."""

from __future__ import annotations

import base64
import secrets

import bcrypt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from policies.secrecy import CONFIG_MAPS, NO_SECRET_IN_CONFIG_MAP, PARAMETER, SECURE_STRING_FOR_SECRETS
from tests.policies.support import UNKNOWN, evaluate

SECURE = {
    "type": "SecureString",
    "keyId": "arn:aws:kms:us-east-1:123456789012:key/0b6c8b7e",
    "value": "pending",
}
CONFIG_MAP = "kubernetes:core/v1:ConfigMap"
SECRET_NAMES = ["/lab/join", "/lab/kubeconfig", "/lab/encryption-key", "/lab/dex/client_secret", "api.token"]
PLAIN_NAMES = ["/lab/hosts/00", "/lab/status/master1", "/lab/status/key", "/lab/power", "/lab/monkey"]


def bcrypt_hash():
    return bcrypt.hashpw(secrets.token_bytes(12), bcrypt.gensalt(rounds=4)).decode()


def bootstrap_token():
    return f"{secrets.token_hex(3)}.{secrets.token_hex(8)}"


def private_key():
    key = ec.generate_private_key(ec.SECP256R1())
    form = serialization.PrivateFormat.TraditionalOpenSSL
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode()


def jwt():
    parts = (b'{"alg":"ES256"}', b'{"sub":"system:serviceaccount"}', secrets.token_bytes(32))
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts)


MAKERS = {
    "a bcrypt hash": bcrypt_hash,
    "a kubeadm bootstrap token": bootstrap_token,
    "a private key": private_key,
    "a signed token (JWT)": jwt,
}


@pytest.mark.parametrize("name", SECRET_NAMES)
def test_a_secure_string_under_our_key_is_compliant(name):
    assert evaluate(SECURE_STRING_FOR_SECRETS, PARAMETER, SECURE | {"name": name}).violations == ()


@pytest.mark.parametrize("name", PLAIN_NAMES)
def test_a_plain_parameter_without_a_secret_is_compliant(name):
    plain = {"name": name, "type": "String", "value": '{"schema": 1}'}
    assert evaluate(SECURE_STRING_FOR_SECRETS, PARAMETER, plain).violations == ()
    encrypted = {"name": name, "type": "SecureString", "value": bootstrap_token()}
    assert not evaluate(SECURE_STRING_FOR_SECRETS, PARAMETER, encrypted).applicable


@pytest.mark.parametrize("key", ["value", "insecureValue"])
def test_a_secret_under_a_plain_name_is_found_and_not_shown(key):
    token = bootstrap_token()
    other = {"value", "insecureValue"} - {key}
    props = {"name": "/lab/hosts/00", "type": "String", key: f"x {token}", other.pop(): UNKNOWN}
    result = evaluate(SECURE_STRING_FOR_SECRETS, PARAMETER, props)
    assert result.violations == (f"The {key} of /lab/hosts/00 holds a kubeadm bootstrap token.",)
    assert result.unknown is not None


def test_the_account_s_default_key_is_none_of_ours():
    props = SECURE | {"name": "/lab/join", "keyId": "alias/aws/ssm"}
    [message] = evaluate(SECURE_STRING_FOR_SECRETS, PARAMETER, props).violations
    assert message.startswith("/lab/join has no key of ours:")


@pytest.mark.parametrize("name", SECRET_NAMES)
def test_a_plain_secret_is_a_violation(name):
    props = SECURE | {"name": name, "type": "String"}
    result = evaluate(SECURE_STRING_FOR_SECRETS, PARAMETER, props)
    assert result.violations == (f"{name} holds a secret and is of type String.",)


def test_missing_type_and_key_are_violations():
    result = evaluate(SECURE_STRING_FOR_SECRETS, PARAMETER, {"name": "/lab/join"})
    assert [message.split(" ", 1)[1].split(";")[0].split(":")[0] for message in result.violations] == [
        "holds a secret and is of type not set.",
        "has no key of ours",
    ]


def test_a_value_in_plain_state_is_a_violation_even_while_it_is_unknown():
    props = {key: value for key, value in SECURE.items() if key != "value"} | {"name": "/lab/join"}
    result = evaluate(SECURE_STRING_FOR_SECRETS, PARAMETER, props | {"insecureValue": UNKNOWN})
    assert result.violations == ("/lab/join is given as insecureValue, which is kept in plain state.",)


def test_without_a_name_the_resource_s_own_name_counts():
    result = evaluate(SECURE_STRING_FOR_SECRETS, PARAMETER, {"type": "String", "keyId": "k"}, name="join")
    assert len(result.violations) == 1


def test_an_unknown_key_does_not_hide_the_wrong_type():
    props = {"name": "/lab/join", "type": "String", "keyId": UNKNOWN}
    result = evaluate(SECURE_STRING_FOR_SECRETS, PARAMETER, props)
    assert len(result.violations) == 1
    assert result.unknown == "keyId"
    assert evaluate(SECURE_STRING_FOR_SECRETS, PARAMETER, {"name": UNKNOWN}).unknown == "name"


@pytest.mark.parametrize("type_", sorted(CONFIG_MAPS))
@pytest.mark.parametrize(
    "props",
    [
        {},
        {"data": {}},
        {
            "data": {
                "config.yaml": "issuer: http://dex.auth.svc.cluster.local:5556/dex\nhashFromEnv: HASH_ANA\n"
            }
        },
        {"data": {"a": "v1.2", "b": "-----BEGIN CERTIFICATE-----\n", "c": "$2b$ is how bcrypt hashes start"}},
        {"binaryData": {"logo": base64.b64encode(b"\x00\xff").decode()}},
    ],
)
def test_plain_configuration_is_compliant(type_, props):
    assert evaluate(NO_SECRET_IN_CONFIG_MAP, type_, props).violations == ()


@pytest.mark.parametrize("what", sorted(MAKERS))
def test_a_secret_is_found_wherever_it_is_and_never_shown(what):
    secret = MAKERS[what]()
    encoded = base64.b64encode(secret.encode()).decode()
    for section, props in (
        ("data['x']", {"data": {"fine": "1", "x": f"value: {secret}\n"}}),
        ("binaryData['x']", {"binaryData": {"x": encoded}}),
        ("metadata.annotations['x']", {"metadata": {"annotations": {"x": secret}}}),
    ):
        [message] = evaluate(NO_SECRET_IN_CONFIG_MAP, CONFIG_MAP, props).violations
        assert message == f"{section} holds {what}."
        assert secret.strip() not in message


def test_an_unknown_entry_does_not_hide_a_secret():
    props = {"data": {"a": UNKNOWN, "b": bcrypt_hash()}}
    result = evaluate(NO_SECRET_IN_CONFIG_MAP, CONFIG_MAP, props)
    assert result.violations == ("data['b'] holds a bcrypt hash.",)
    assert result.unknown == "data.a"


def test_a_secret_is_the_place_for_it():
    assert not evaluate(
        NO_SECRET_IN_CONFIG_MAP, "kubernetes:core/v1:Secret", {"data": {"x": jwt()}}
    ).applicable
