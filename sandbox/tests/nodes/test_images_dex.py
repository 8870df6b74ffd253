"""The stand-in for Dex, with the program's own configuration: as strict, and as healthy as its storage."""

from __future__ import annotations

import ssl
import threading
import urllib.error
import urllib.request
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from ipaddress import ip_address

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from components.incluster import dex_config
from sandbox.build.toolchain import ensure_programs
from sandbox.ports import free_port
from sandbox.tests.nodes.commands import eventually, once, root, running
from tests.unit.incluster_stack import settings

pytestmark = pytest.mark.sandbox
_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@pytest.fixture(scope="module")
def programs():
    return ensure_programs(["standins"])


STACK = settings()


@pytest.fixture
def variables():
    """What the program's Secrets put into Dex's environment."""
    hashes = STACK.password_hashes
    return {
        dex_config.CLIENT_ID_VARIABLE: STACK.oidc_client_id,
        dex_config.CLIENT_SECRET_VARIABLE: STACK.oidc_client_secret,
        **{dex_config.password_variable(person.key): hashes[person.key] for person in STACK.people},
    }


@pytest.fixture
def config(tmp_path):
    """The program's own file, on loopback and with storage that needs no cluster; a function changes it."""
    content = yaml.safe_load(dex_config.dex_config(STACK.people))
    content["web"]["http"] = f"127.0.0.1:{free_port()}"
    content["storage"] = {"type": "memory"}
    path = tmp_path / "config.yaml"

    def write(**changes):
        content.update(changes)
        path.write_text(yaml.safe_dump(content))
        return path

    write.content = content
    return write


def ask(url):
    """Status and body; None when nobody listens."""
    try:
        with _direct.open(url, timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except urllib.error.URLError:
        return None


def test_dex_serves_what_its_probes_and_clients_ask_for(programs, config, variables):
    telemetry = f"127.0.0.1:{free_port()}"
    path = config(telemetry={"http": telemetry})
    base = f"http://{config.content['web']['http']}/dex"
    with running(programs["dex"], "serve", path, **variables):
        eventually(lambda: ask(f"{base}/healthz"), "dex does not listen")
        assert ask(f"{base}/healthz") == (200, "Health check passed\n")
        for check in ("", "/live", "/ready"):
            assert ask(f"http://{telemetry}/healthz{check}")[0] == 200
        document = yaml.safe_load(ask(f"{base}/.well-known/openid-configuration")[1])
        assert document["issuer"] == dex_config.ISSUER
        assert document["token_endpoint"] == f"{dex_config.ISSUER}/token"
        assert yaml.safe_load(ask(f"{base}/keys")[1]) == {"keys": []}
        assert ask(f"{base}/token") == (501, "stand-in for Dex: nobody can log in\n")
        assert ask(f"{base}/nonsense")[0] == 404


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"frontend": {}}, "field frontend not found"),
        ({"issuer": "dex"}, 'issuer "dex" is not a URL'),
        ({"web": {}}, "no web.http address to listen on"),
        ({"storage": {"type": "sqlite3"}}, 'storage "sqlite3" is not known to the stand-in'),
        ({"enablePasswordDB": False}, "cannot specify static passwords without enabling password db"),
        ({"staticClients": [{"id": "a", "name": "Kubeflow", "redirectURIs": ["/"]}]}, 'client "Kubeflow" has no secret'),
        ({"storage": {"type": "kubernetes", "config": {"inCluster": True}}}, "KUBERNETES_SERVICE_HOST"),
    ],
)  # fmt: skip
def test_dex_refuses_a_configuration_that_dex_could_not_start_with(
    programs, config, variables, changes, words
):
    variables["KUBERNETES_SERVICE_HOST"] = ""
    answer = once(programs["dex"], "serve", config(**changes), **variables)
    assert answer.returncode == 1
    assert words in answer.stderr


@pytest.mark.parametrize("value", ["", "$2a$10$short"])
def test_dex_refuses_a_missing_or_malformed_hash(programs, config, variables, value):
    variables[dex_config.password_variable("ana")] = value
    answer = once(programs["dex"], "serve", config(), **variables)
    assert answer.returncode == 1
    assert "malformed bcrypt hash of ana@example.org" in answer.stderr
    assert "bob-lee" not in answer.stderr


class Version(BaseHTTPRequestHandler):
    """As much of an API server as the check of the storage asks for."""

    def do_GET(self):
        allowed = self.path == "/version" and self.headers["Authorization"] == "Bearer good"
        self.send_response(200 if allowed else 401)
        self.end_headers()

    def log_message(self, *_):
        return


def certificate(folder):
    """A self-signed one for 127.0.0.1, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "api")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "ca.crt").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    form = serialization.PrivateFormat.PKCS8
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
    )


@root
def test_dex_is_as_healthy_as_its_storage(programs, config, variables, tmp_path):
    account = tmp_path / "account"
    account.mkdir()
    certificate(account)
    (account / "token").write_text("good")
    server = HTTPServer(("127.0.0.1", 0), Version)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(account / "ca.crt", account / "key.pem")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, args=(0.1,), daemon=True).start()
    where = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(server.server_port)}
    path = config(storage={"type": "kubernetes", "config": {"inCluster": True}})
    folder = "/run/secrets/kubernetes.io/serviceaccount"
    inside = (
        f'mount -t tmpfs none /run && mkdir -p {folder} && mount --bind "{account}" {folder} && exec "$@"'
    )
    command = ["unshare", "--mount", "sh", "-c", inside, "sh", programs["dex"], "serve", path]
    url = f"http://{config.content['web']['http']}/dex/healthz"
    with running(*command, **variables, **where):
        try:
            eventually(lambda: ask(url), "dex does not listen")
            assert ask(url)[0] == 200
            (account / "token").write_text("revoked")
            assert ask(url) == (500, "Health check failed: the API server answers 401 Unauthorized\n")
        finally:
            server.shutdown()
            server.server_close()
        status, body = ask(url)
        assert status == 500
        assert "connection refused" in body
        assert ask(f"{url}/live")[0] == 200
