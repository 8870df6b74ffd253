"""The stand-in for Dex, with the program's own configuration: as strict, and as healthy as its storage."""

from __future__ import annotations

import shutil
import urllib.error
import urllib.request
from dataclasses import replace

import pytest
import yaml

from components.incluster import dex_config
from components.incluster.dex import plan_dex
from config.model import Connector
from sandbox.ports import free_port
from sandbox.tests.nodes.commands import once, root, running, until
from sandbox.tests.program.apiserver import start_apiserver
from tests.unit.incluster_stack import person, settings

pytestmark = pytest.mark.sandbox
_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))


PUBLIC = "https://kubeflow.acme.org/dex"
CONNECTORS = (
    Connector(type="github", id="gh", name="GitHub", config={"clientID": "a", "orgs": [{"name": "acme"}]}),
    Connector(type="google", id="g", name="g", config={"clientID": "b", "hostedDomains": ["acme.org"]}),
    Connector(
        type="oidc", id="corp", name="corp", config={"clientID": "c", "issuer": "https://login.acme.org"}
    ),
)
STACK = settings(
    people=(replace(person("ana"), groups=("research",)), person("bob-lee")),
    connectors=CONNECTORS,
    connector_secrets={each.id: "planted" for each in CONNECTORS},
    oidc_issuer=PUBLIC,
)
IN_CLUSTER = {"type": "kubernetes", "config": {"inCluster": True, "crdHandling": "check"}}


@pytest.fixture
def apiserver(tmp_path_factory):
    with start_apiserver(tmp_path_factory.mktemp("dex")) as server:
        yield server


@pytest.fixture
def variables():
    """What the program's Secrets put into Dex's environment."""
    hashes = STACK.password_hashes
    return {
        dex_config.CLIENT_ID_VARIABLE: STACK.oidc_client_id,
        dex_config.CLIENT_SECRET_VARIABLE: STACK.oidc_client_secret,
        **{dex_config.password_variable(person.key): hashes[person.key] for person in STACK.people},
        **{dex_config.connector_variable(name): secret for name, secret in STACK.connector_secrets.items()},
    }


@pytest.fixture
def config(tmp_path):
    """The program's own file, on loopback and with storage that needs no cluster; a function changes it."""
    content = yaml.safe_load(dex_config.dex_config(STACK.people, STACK.connectors, PUBLIC))
    content["storage"] = {"type": "memory"}

    def write(name="config", **changes):
        content["web"]["http"] = f"127.0.0.1:{free_port()}"
        content.update(changes)
        path = tmp_path / f"{name}.yaml"
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
        until("dex listens", lambda: ask(f"{base}/healthz"))
        assert ask(f"{base}/healthz") == (200, "Health check passed")
        for check in ("live", "ready"):
            assert ask(f"{base}/healthz/{check}")[0] == 404, "the real one has them on the other address only"
        for check in ("", "/live", "/ready"):
            assert ask(f"http://{telemetry}/healthz{check}")[0] == 200
        document = yaml.safe_load(ask(f"{base}/.well-known/openid-configuration")[1])
        assert document["issuer"] == PUBLIC
        assert document["token_endpoint"] == f"{PUBLIC}/token"
        assert document["grant_types_supported"] == ["authorization_code", "refresh_token"]
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
        ({"storage": IN_CLUSTER}, "KUBERNETES_SERVICE_HOST"),
        ({"storage": {"type": "memory", "config": {"crdHandling": "never"}}}, 'invalid crdHandling value "never"'),
        ({"oauth2": {"grantTypes": ["magic"]}}, 'grant type "magic" is not known'),
        ({"issuer": dex_config.ISSUER}, f'expected callback URL "{dex_config.ISSUER}/callback" did not match the URL in the config "{PUBLIC}/callback"'),
        ({"connectors": [{"type": "saml", "id": "a", "name": "a", "config": {}}]}, 'unknown connector type "saml"'),
        ({"connectors": [{"type": "oidc", "id": "a", "name": "a"}]}, 'no config field for connector "a"'),
        ({"connectors": [{"type": "oidc", "id": "a", "config": {"issuers": ""}}]}, "field issuers not found"),
    ],
)  # fmt: skip
def test_dex_refuses_a_configuration_that_dex_could_not_start_with(
    programs, config, variables, changes, words
):
    variables["KUBERNETES_SERVICE_HOST"] = ""
    answer = once(programs["dex"], "serve", config(**changes), **variables)
    assert answer.returncode == 2
    assert words in answer.stderr


@pytest.mark.parametrize("value", ["", "$2a$10$short"])
def test_dex_refuses_a_missing_or_malformed_hash(programs, config, variables, value):
    variables[dex_config.password_variable("ana")] = value
    answer = once(programs["dex"], "serve", config(), **variables)
    assert answer.returncode == 2
    assert "malformed bcrypt hash of ana@example.org" in answer.stderr
    assert "bob-lee" not in answer.stderr


@root
def test_two_of_dex_start_together_where_the_program_has_made_what_they_need(
    programs, config, variables, apiserver, account
):
    """Its definitions, and no right to make any; the storage is looked at from time to time."""
    paths = [config(storage=IN_CLUSTER), config(storage=IN_CLUSTER, name="other")]
    urls = [f"http://{yaml.safe_load(path.read_text())['web']['http']}/dex/healthz" for path in paths]
    planned = plan_dex(STACK)
    needed = [item for item in planned if item["kind"] not in ("Deployment", "Secret", "ConfigMap")]
    apiserver.kubectl("create", "namespace", "auth")
    apiserver.kubectl("create", "serviceaccount", "dex", "-n", "auth")
    where = variables | {
        "KUBERNETES_SERVICE_HOST": "127.0.0.1",
        "KUBERNETES_SERVICE_PORT": str(apiserver.port),
        "KUBERNETES_POD_NAMESPACE": "auth",
        "STANDIN_HEALTH_PERIOD": "200ms",
    }
    commands = [[*account(), programs["dex"], "serve", path] for path in paths]
    answer = once(*commands[0], **where)
    assert (answer.returncode, "failed to list connectors" in answer.stderr) == (2, True)
    applied = apiserver.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", manifests=needed)
    assert applied.returncode == 0, applied.stderr
    names = [item["metadata"]["name"] for item in needed if item["kind"] == "CustomResourceDefinition"]
    crds = [f"crd/{name}" for name in names]
    apiserver.kubectl("wait", "--for=condition=Established", "--timeout=30s", *crds)
    # For a moment the server answers 429, which kubectl waits for and Dex does not.
    served = apiserver.kubectl("get", "connectors.dex.coreos.com,authrequests.dex.coreos.com", "-n", "auth")
    assert served.returncode == 0, served.stderr
    with running(*commands[0], **where), running(*commands[1], **where):
        for url in urls:
            until("dex is healthy", lambda url=url: ask(url) == (200, "Health check passed"))
        apiserver.kubectl("delete", "rolebinding", "dex", "-n", "auth")
        for url in urls:
            until("dex has looked", lambda url=url: ask(url) == (500, "Health check failed.\n"))
        apiserver.kubectl("apply", "--server-side", "-f", "-", manifests=needed)
        until("dex has looked again", lambda: ask(urls[0])[0] == 200)
        apiserver.stop()
        until("dex has seen its storage go", lambda: ask(urls[0])[0] == 500)


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
