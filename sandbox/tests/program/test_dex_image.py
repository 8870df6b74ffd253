"""The real Dex with the program's own configuration: who gets in, and what it needs to start."""

from __future__ import annotations

import base64
import shutil
from dataclasses import replace

import bcrypt
import pytest
import urllib3
import yaml

from components.incluster import dex_config
from components.incluster.dex import plan_dex
from config.model import Connector
from config.people import user_id
from sandbox.ports import free_port
from sandbox.tests.nodes.commands import once, root, running, until
from sandbox.tests.program.apiserver import start_apiserver
from sandbox.tests.program.dex_login import login, request
from sandbox.workspace import BCRYPT_COST
from tests.unit.incluster_stack import person, settings

pytestmark = pytest.mark.sandbox
# Of the three types of connectors the one that asks nobody when Dex starts.
GITHUB = Connector(
    type="github", id="gh", name="GitHub", config={"clientID": "a", "orgs": [{"name": "acme"}]}
)
STACK = settings(
    people=(replace(person("ana"), groups=("research",)), person("bob-lee")),
    connectors=(GITHUB,),
    connector_secrets={GITHUB.id: "planted"},
)
CLIENT = (STACK.oidc_client_id, STACK.oidc_client_secret)
PASSWORDS = {"ana": "the password of ana", "bob-lee": "another password"}
ENDED = 2  # its exit code after each error, which SIGTERM is to it
IN_CLUSTER = {"type": "kubernetes", "config": {"inCluster": True, "crdHandling": "check"}}


@pytest.fixture
def apiserver(tmp_path_factory):
    with start_apiserver(tmp_path_factory.mktemp("dex")) as server:
        yield server


@pytest.fixture
def variables():
    """What the program's Secrets put into Dex's environment."""
    salted = {
        name: bcrypt.hashpw(each.encode(), bcrypt.gensalt(BCRYPT_COST)) for name, each in PASSWORDS.items()
    }
    return {
        **dict(zip((dex_config.CLIENT_ID_VARIABLE, dex_config.CLIENT_SECRET_VARIABLE), CLIENT, strict=True)),
        **{dex_config.password_variable(name): hashed.decode() for name, hashed in salted.items()},
        dex_config.connector_variable(GITHUB.id): "planted",
    }


@pytest.fixture
def start(programs, tmp_path, variables):
    """Dex with the program's own file, on loopback and with storage that needs no cluster: its command, and
    where it listens. `changes`: of the file."""

    def command(**changes):
        address = f"127.0.0.1:{free_port()}"
        content = yaml.safe_load(
            dex_config.dex_config(STACK.people, STACK.connectors, f"http://{address}/dex")
        )
        content |= {"storage": {"type": "memory"}, "web": {"http": address}, **changes}
        path = tmp_path / f"{address}.yaml"
        path.write_text(yaml.safe_dump(content))
        return [programs["dex"], "serve", path], f"http://{address}/dex"

    return command


def ask(url, method="GET"):
    """Status, body and where it leads; None when nobody listens."""
    try:
        answer = request(method, url)
    except urllib3.exceptions.HTTPError:
        return None
    return answer.status, answer.data.decode(), answer.headers.get("Location", "")


def healthy(base):
    return ask(f"{base}/healthz") == (200, "Health check passed", "")


def failing(base):
    status, page, _ = ask(f"{base}/healthz")
    return status == 500 and "Health check failed." in page


def test_people_get_in_with_their_own_password_and_with_no_other(start, variables):
    command, base = start()
    with running(*command, code=ENDED, **variables):
        until("dex is healthy", lambda: healthy(base))
        for each in STACK.people:
            claims = login(base, CLIENT, each.email, PASSWORDS[each.key])
            assert claims is not None
            assert (claims["iss"], claims["aud"], claims["email"]) == (base, CLIENT[0], each.email)
            assert (claims["name"], tuple(claims.get("groups", ()))) == (each.display_name, each.groups)
            assert user_id(each.key).encode() in base64.b64decode(claims["sub"] + "==")
        ana, bob = STACK.people
        assert login(base, CLIENT, bob.email, PASSWORDS[ana.key]) is None
        assert login(base, CLIENT, "carol@example.org", PASSWORDS[ana.key]) is None


def test_dex_serves_what_its_probes_and_clients_ask_for(start, variables):
    telemetry = f"127.0.0.1:{free_port()}"
    command, base = start(telemetry={"http": telemetry})
    with running(*command, code=ENDED, **variables):
        until("dex is healthy", lambda: healthy(base))
        for check in ("live", "ready"):
            assert ask(f"{base}/healthz/{check}")[0] == 404, "they are on the other address only"
        for check in ("", "/live", "/ready"):
            assert ask(f"http://{telemetry}/healthz{check}")[0] == 200
        document = yaml.safe_load(ask(f"{base}/.well-known/openid-configuration")[1])
        assert (document["issuer"], document["token_endpoint"]) == (base, f"{base}/token")
        assert ask(f"{base}/nonsense")[0] == 404


def test_dex_sends_people_to_a_connector_and_offers_no_grant_but_ours(start, variables):
    command, base = start()
    asked = f"client_id={CLIENT[0]}&redirect_uri=/oauth2/callback&response_type=code&scope=openid"
    with running(*command, code=ENDED, **variables):
        until("dex is healthy", lambda: healthy(base))
        status, _, there = ask(f"{base}/auth/{GITHUB.id}?{asked}")
        assert (status, there.partition("?")[0]) == (302, "https://github.com/login/oauth/authorize")
        document = yaml.safe_load(ask(f"{base}/.well-known/openid-configuration")[1])
        assert document["grant_types_supported"] == ["authorization_code", "refresh_token"]
        assert "unsupported_grant_type" in ask(f"{base}/token?grant_type=password", "POST")[1]
    command, base = start(issuer="http://elsewhere/dex")
    with running(*command, code=ENDED, **variables):
        until("dex is healthy", lambda: healthy(base))
        assert ask(f"{base}/auth/{GITHUB.id}?{asked}")[0] == 500, "its callback is its issuer's"


@pytest.mark.parametrize(
    ("value", "words"), [("", "no password hash provided"), ("$2a$10$short", "malformed bcrypt hash")]
)
def test_dex_refuses_a_missing_or_malformed_hash(start, variables, value, words):
    variables[dex_config.password_variable("ana")] = value
    answer = once(*start()[0], **variables)
    assert answer.returncode == ENDED
    assert words in answer.stderr
    assert "bob-lee" not in answer.stderr
    assert variables[dex_config.password_variable("bob-lee")] not in answer.stderr


@root
def test_two_of_dex_start_together_where_the_program_has_made_what_they_need(
    start, variables, apiserver, account
):
    """Its definitions, and no right to make any. Both sign with the same keys."""
    started = [start(storage=IN_CLUSTER), start(storage=IN_CLUSTER)]
    planned = plan_dex(STACK)
    needed = [item for item in planned if item["kind"] not in ("Deployment", "Secret", "ConfigMap")]
    apiserver.kubectl("create", "namespace", "auth")
    apiserver.kubectl("create", "serviceaccount", "dex", "-n", "auth")
    where = variables | {
        "KUBERNETES_SERVICE_HOST": "127.0.0.1",
        "KUBERNETES_SERVICE_PORT": str(apiserver.port),
        "KUBERNETES_POD_NAMESPACE": "auth",
    }
    commands = [[*account(), *command] for command, _ in started]
    answer = once(*commands[0], **where)
    assert (answer.returncode, "failed to list connectors" in answer.stderr) == (ENDED, True)
    applied = apiserver.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", manifests=needed)
    assert applied.returncode == 0, applied.stderr
    names = [item["metadata"]["name"] for item in needed if item["kind"] == "CustomResourceDefinition"]
    crds = [f"crd/{name}" for name in names]
    apiserver.kubectl("wait", "--for=condition=Established", "--timeout=30s", *crds)
    # For a moment the server answers 429, which kubectl waits for and Dex does not.
    served = apiserver.kubectl("get", "connectors.dex.coreos.com,authrequests.dex.coreos.com", "-n", "auth")
    assert served.returncode == 0, served.stderr
    with running(*commands[0], code=ENDED, **where), running(*commands[1], code=ENDED, **where):
        ana = STACK.people[0]
        for _, base in started:
            until("dex is healthy", lambda base=base: healthy(base))
            assert login(base, CLIENT, ana.email, PASSWORDS[ana.key])
        keys = [yaml.safe_load(ask(f"{base}/keys")[1])["keys"] for _, base in started]
        assert keys[0] == keys[1] != []
        apiserver.kubectl("delete", "rolebinding", "dex", "-n", "auth")
        for _, base in started:  # it looks every 15 s
            until("dex has looked", lambda base=base: failing(base), 40)
        apiserver.kubectl("apply", "--server-side", "-f", "-", manifests=needed)
        until("dex has looked again", lambda: healthy(started[0][1]), 40)
        apiserver.stop()
        until("dex has seen its storage go", lambda: failing(started[0][1]), 40)


@pytest.fixture
def account(apiserver, tmp_path):
    """The words before a command that see the service account `dex` where pods do."""

    def words():
        token = apiserver.kubectl("create", "token", "dex", "-n", "auth").stdout.strip()
        (tmp_path / "token").write_text(token)
        shutil.copy(apiserver.kubeconfig.parent / "pki" / "ca.crt", tmp_path / "ca.crt")
        folder = "/run/secrets/kubernetes.io/serviceaccount"
        inside = f'mount -t tmpfs none /run && mkdir -p {folder} && mount --bind "{tmp_path}" {folder} && exec "$@"'
        return ["unshare", "--mount", "sh", "-c", inside, "sh"]

    return words
