"""The node's side of `kubeadm join`: discovery with a pinned CA, then TLS bootstrap.

The same checks as kubeadm's, against the live API server: cluster-info is read without trust, its
signature is verified with the token, its CA is compared with the pin, and only then a certificate is
asked for with the token. Source: kubeadm's implementation details, "discovery cluster-info" and
"TLS Bootstrap".
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from typing import Any

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from sandbox.nodes.api import Api, ApiError, Unavailable, blind, trusting
from sandbox.nodes.kubelet import is_ready
from sandbox.nodes.simulated.controlplane import pin

CLUSTER_INFO = "/api/v1/namespaces/kube-public/configmaps/cluster-info"
UNPROVEN = "couldn't validate the identity of the API Server: "
_REQUESTS = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
_SIGN_SECONDS = 15.0


class JoinRefused(Exception):
    """The join cannot go on. The text is what `kubeadm join` would say."""


class NotSigned(JoinRefused):
    """cluster-info carries no signature of this token: it is very new, or it has expired."""


class NameTaken(JoinRefused):
    """A Ready Node of this name is there: another machine's, dead or alive."""


def discover(server: str, shown: str, token: str, pins: list[str]) -> str:
    """The cluster's CA (PEM), proven by token and pin. `shown` is the endpoint as the node knows it."""
    token_id, _, secret = token.partition(".")
    try:
        data = Api(server, blind()).get(CLUSTER_INFO)["data"]
    except Unavailable as error:
        url = f"https://{shown}{CLUSTER_INFO}?timeout=10s"
        raise JoinRefused(f'{UNPROVEN}Get "{url}": {error}') from None
    kubeconfig, signature = data["kubeconfig"], data.get(f"jws-kubeconfig-{token_id}")
    if signature is None:
        raise NotSigned(
            f"{UNPROVEN}could not find a JWS signature in the cluster-info ConfigMap for token ID "
            f'"{token_id}"'
        )
    if not _signed(kubeconfig, signature, token_id, secret):
        raise JoinRefused(
            f"{UNPROVEN}failed to verify JWS signature of received cluster info object for token ID "
            f'"{token_id}"'
        )
    cluster = yaml.safe_load(kubeconfig)["clusters"][0]["cluster"]
    authority = base64.b64decode(cluster["certificate-authority-data"])
    if pin(authority) not in pins:
        raise JoinRefused(
            f"{UNPROVEN}cluster CA found in cluster-info ConfigMap is invalid: public key "
            f'{pin(authority)} not in the pinned set "{" ".join(pins)}"'
        )
    return authority.decode()


def _signed(content: str, signature: str, token_id: str, secret: str) -> bool:
    """Detached JWS with HS256: `header..signature` over `header.payload`."""
    header, _, given = signature.rpartition("..")
    padded = header + "=" * (-len(header) % 4)
    if json.loads(base64.urlsafe_b64decode(padded)).get("kid") != token_id:
        return False
    payload = base64.urlsafe_b64encode(content.encode()).rstrip(b"=")
    computed = hmac.new(secret.encode(), header.encode() + b"." + payload, hashlib.sha256).digest()
    return hmac.compare_digest(base64.urlsafe_b64encode(computed).rstrip(b"=").decode(), given)


def bootstrap(server: str, authority: str, token: str, node: str) -> str:
    """A kubeconfig (secret) for `system:node:<node>`, signed by the cluster on the token's authority."""
    api = Api(server, trusting(authority), token)
    _refuse_ready_namesake(api, node)
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = _request_certificate(api, key, node)
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    cluster = {"server": server, "certificate-authority-data": _b64(authority.encode())}
    user = {"client-certificate-data": certificate, "client-key-data": _b64(secret)}
    kubeconfig = {
        "apiVersion": "v1",
        "kind": "Config",
        # As a kubelet names them after its bootstrap. (kubectl reads YAML 1.1, where a bare `n` is false.)
        "clusters": [{"name": "default-cluster", "cluster": cluster}],
        "users": [{"name": "default-auth", "user": user}],
        "contexts": [
            {"name": "default-context", "context": {"cluster": "default-cluster", "user": "default-auth"}}
        ],
        "current-context": "default-context",
    }
    return yaml.safe_dump(kubeconfig)


def _refuse_ready_namesake(api: Api, node: str) -> None:
    """kubeadm's own check before it starts the kubelet."""
    try:
        existing = api.find(f"/api/v1/nodes/{node}")
    except ApiError as error:
        if error.code == 401:
            raise JoinRefused(f"failed to get the node {node}: Unauthorized") from None
        raise JoinRefused(f'cannot get Node "{node}": {error}') from None
    if existing and is_ready(existing):
        raise NameTaken(
            f'a Node with name "{node}" and status "Ready" already exists in the cluster. You must delete '
            "the existing Node or change the name of this new joining Node"
        )


def _request_certificate(api: Api, key: ec.EllipticCurvePrivateKey, node: str) -> str:
    """The signed certificate (base64 PEM). Approval and signing are the controller manager's."""
    names = {NameOID.ORGANIZATION_NAME: "system:nodes", NameOID.COMMON_NAME: f"system:node:{node}"}
    subject = x509.Name([x509.NameAttribute(oid, text) for oid, text in names.items()])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    body: dict[str, Any] = {
        "apiVersion": "certificates.k8s.io/v1",
        "kind": "CertificateSigningRequest",
        "metadata": {"generateName": "csr-"},
        "spec": {
            "request": _b64(request.public_bytes(Encoding.PEM)),
            "signerName": "kubernetes.io/kube-apiserver-client-kubelet",
            "usages": ["digital signature", "client auth"],
        },
    }
    name = api.post(_REQUESTS, body)["metadata"]["name"]
    deadline = time.monotonic() + _SIGN_SECONDS
    while time.monotonic() < deadline:
        status = api.get(f"{_REQUESTS}/{name}")["status"]
        if certificate := status.get("certificate"):
            return str(certificate)
        time.sleep(0.1)
    raise JoinRefused(f"timed out waiting for the certificate signing request {name} to be signed")


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()
