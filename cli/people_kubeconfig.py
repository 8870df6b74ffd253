"""`kubepark people kubeconfig`: kubectl for one person, as themselves.

A client certificate for the e-mail that the RoleBindings name, signed by the cluster on an operator's
approval (https://kubernetes.io/docs/reference/access-authn-authz/certificate-signing-requests/). It cannot
be revoked, so it is short-lived; what it may do is what the bindings of the moment give.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from kubernetes import client
from kubernetes.client.exceptions import ApiException

from cli.cluster import connected, kubeconfig_of
from cli.errors import CommandError
from cli.people_file import PeopleFile
from cli.stackfile import cluster_of
from config import ROOT
from config.model import Person
from config.people import grants

SIGNER = "kubernetes.io/kube-apiserver-client"
COMMON_NAME_CHARACTERS = 64  # RFC 5280, appendix A.1, ub-common-name
SIGN_SECONDS = 30.0  # the controller manager signs what is approved within a second
_POLL_SECONDS = 0.2


def kubeconfig(stack: str, name: str, hours: int, given: str | None) -> str:
    """A kubeconfig for somebody of the list, valid for so many hours. `given`: the operator's kubeconfig.

    Raises: CommandError, also for whoever is suspended or removed.
    """
    file = PeopleFile(ROOT, stack)
    file.person(name)  # with the nearest name for one that is not there
    settings = file.settings()
    person = next(each for each in settings.people if each.key == name)
    if not person.active:
        raise CommandError(
            f"{name} is {person.state}, and gets no kubeconfig; if that is over: "
            f"bin/kubepark people resume {name} --stack {stack}"
        )
    if len(person.email) > COMMON_NAME_CHARACTERS:
        raise CommandError(
            f"{name}'s e-mail has {len(person.email)} characters, and the name in a certificate takes "
            f"{COMMON_NAME_CHARACTERS}: {name} needs a shorter one to use kubectl"
        )
    own = [grant.namespace for grant in grants(settings.people, settings.groups) if grant.person == name]
    namespace = person.namespace or next(iter(own), "")
    with connected(kubeconfig_of(stack, given)) as api:
        key, request = _key_and_request(person.email)
        certificate = issue(client.CertificatesV1Api(api), person, request, hours)
        server, authority = api.configuration.host, Path(api.configuration.ssl_ca_cert).read_bytes()
    return _document(f"{name}@{cluster_of(stack)}", namespace, server, authority, certificate, key)


def issue(
    api: Any, person: Person, request: bytes, hours: int, sleep: Callable[[float], None] = time.sleep
) -> bytes:
    """Have the cluster sign a certificate request (PEM): posted, approved, waited for. Gives the PEM.

    `api`: the kubernetes client's CertificatesV1Api. Raises: CommandError.
    """
    body = {
        "apiVersion": "certificates.k8s.io/v1",
        "kind": "CertificateSigningRequest",
        "metadata": {"generateName": f"kubepark-{person.key}-"},
        "spec": {
            "request": _base64(request),
            "signerName": SIGNER,
            "expirationSeconds": hours * 3600,
            "usages": ["client auth"],
        },
    }
    try:
        made = api.create_certificate_signing_request(body)
        made.status.conditions = [
            client.V1CertificateSigningRequestCondition(
                type="Approved",
                status="True",
                reason="KubeparkPeople",
                message=f"{person.key} is in the list of people (kubepark people kubeconfig)",
            )
        ]
        name = made.metadata.name
        api.replace_certificate_signing_request_approval(name, made)
        for _ in range(round(SIGN_SECONDS / _POLL_SECONDS)):
            signed = api.read_certificate_signing_request_status(name).status.certificate
            if signed:
                return base64.b64decode(signed)
            sleep(_POLL_SECONDS)
    except ApiException as error:
        raise CommandError(f"the cluster refuses a certificate for {person.key}: {_reason(error)}") from None
    raise CommandError(
        f"the cluster approved {name} and signed nothing in {SIGN_SECONDS:.0f} s: does its controller "
        f"manager run? Look at: kubectl get csr {name}"
    )


def _key_and_request(common_name: str) -> tuple[bytes, bytes]:
    """A new private key and a certificate request for it, both PEM."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return private, request.public_bytes(Encoding.PEM)


def _document(
    name: str, namespace: str, server: str, authority: bytes, certificate: bytes, key: bytes
) -> str:
    person, _, cluster = name.partition("@")
    context = {"cluster": cluster, "user": person} | ({"namespace": namespace} if namespace else {})
    user = {"client-certificate-data": _base64(certificate), "client-key-data": _base64(key)}
    return yaml.safe_dump(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {
                    "name": cluster,
                    "cluster": {"server": server, "certificate-authority-data": _base64(authority)},
                }
            ],
            "users": [{"name": person, "user": user}],
            "contexts": [{"name": name, "context": context}],
            "current-context": name,
        },
        sort_keys=False,
    )


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _reason(error: ApiException) -> str:
    try:
        return str(json.loads(error.body)["message"])
    except (TypeError, ValueError, KeyError):
        return str(error.reason)
