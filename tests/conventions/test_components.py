"""How components are written, so that a reader knows one when he knows another."""

from __future__ import annotations

import ast

import pytest

from tests.configuration import HOURS, configuration
from tests.conventions.source import Class, of, resource_classes
from tests.program import run

COMPONENTS = [item for item in resource_classes() if item.base == "ComponentResource"]
# Modules whose capitalised attributes are resource classes.
SDK = ("pulumi_aws", "pulumi_kubernetes")
STACK = "urn:pulumi:dev::kubepark::pulumi:pulumi:Stack::kubepark-dev"
# Public API: the token is part of the URN of the component and of everything in it, so another token
# means another resource. It is that of the class, wherever its file lies; a new class adds a line here.
TOKENS = {
    "kubepark:index:Calico",
    "kubepark:index:Cluster",
    "kubepark:index:ControlPlane",
    "kubepark:index:Dex",
    "kubepark:index:Gpu",
    "kubepark:index:GpuSchedule",
    "kubepark:index:Iam",
    "kubepark:index:Keys",
    "kubepark:index:Manifest",
    "kubepark:index:Network",
    "kubepark:index:NodePool",
    "kubepark:index:Parameters",
    "kubepark:index:PinnedPower",
    "kubepark:index:Profiles",
    "kubepark:index:Security",
}


def ids(item: Class) -> str:
    return item.node.name


def test_type_tokens_are_frozen():
    assert {f"kubepark:index:{component.node.name}" for component in COMPONENTS} == TOKENS
    others = [item for item in resource_classes() if item.base != "ComponentResource"]
    assert [(item.node.name, item.base) for item in others] == [("KubernetesObject", "CustomResource")]


@pytest.mark.parametrize("component", COMPONENTS, ids=ids)
def test_the_first_statement_registers_it_by_its_class(component):
    token = f"kubepark:index:{component.node.name}"
    call = ast.unparse(component.init.body[0])
    assert call == f"super().__init__('{token}', name, None, opts)"


@pytest.mark.parametrize("component", COMPONENTS, ids=ids)
def test_the_last_statement_registers_its_outputs_once(component):
    calls = [node for node in ast.walk(component.node) if isinstance(node, ast.Call)]
    registering = [call for call in calls if ast.unparse(call.func) == "self.register_outputs"]
    assert len(registering) == 1
    last = component.init.body[-1]
    assert isinstance(last, ast.Expr)
    assert last.value is registering[0]


@pytest.mark.parametrize("component", COMPONENTS, ids=ids)
def test_it_says_what_it_is(component):
    assert ast.get_docstring(component.node)


@pytest.mark.parametrize("component", COMPONENTS, ids=ids)
def test_it_never_hands_its_own_options_to_a_child(component):
    names = [node for node in ast.walk(component.init) if isinstance(node, ast.Name) and node.id == "opts"]
    assert len(names) == 1


@pytest.mark.parametrize("preview", [False, True], ids=["up", "preview"])
def test_only_components_and_the_aws_provider_stand_at_the_top(preview):
    config = configuration(workers__power="stopped", gpu__schedule=HOURS)
    recording = run(preview=preview, config=config)
    assert recording.error is None
    top = {item.type for item in recording.resources.values() if item.parent == STACK}
    names = {component.node.name for component in COMPONENTS} - {"Manifest"}
    assert {token.rpartition(":")[2] for token in top} - {"Manifest"} == names | {"aws"}
    for item in recording.resources.values():
        if item.parent != STACK:
            assert not recording.resources[item.parent].custom, f"{item.urn} hangs on no component"


def test_only_the_settings_read_the_configuration():
    readers = {"Config", "get_config", "require_config", "get_config_env", "CONFIG", "is_config_secret"}
    found = {
        source.name
        for source in of("", "config", "components", "userdata", "foundation")
        if any(name.partition(".")[0] == "pulumi" for name in source.imports())
        for node in ast.walk(source.tree)
        if (isinstance(node, ast.Attribute) and node.attr in readers)
        or (isinstance(node, ast.Name) and node.id in readers)
    }
    assert found == {"config/settings.py"}


def test_only_the_main_file_exports():
    calls = [
        (source.name, ast.unparse(node.func))
        for source in of("", "config", "components", "userdata")
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Call)
    ]
    exports = [name for name, function in calls if function.rpartition(".")[2] == "export"]
    assert set(exports) == {"__main__.py"}


def resource_names(tree: ast.Module) -> set[str]:
    """How resource classes are called in a file: `ec2.Vpc` by the module's name, ours by their own."""
    modules = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules |= {alias.asname or alias.name for alias in node.names if alias.name in SDK}
        elif isinstance(node, ast.ImportFrom) and str(node.module).startswith(SDK):
            modules |= {alias.asname or alias.name for alias in node.names}
    ours = {item.node.name for item in resource_classes()}
    calls = {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    plain = ("Args", "Options")
    return {
        name
        for name in calls
        if name.rpartition(".")[2] in ours
        or (
            name.partition(".")[0] in modules
            and name.rpartition(".")[2][0].isupper()
            and not name.endswith(plain)
        )
    }


def applied(tree: ast.Module) -> list[ast.AST]:
    """What is given to `apply` in a file: lambdas and functions (by their last name)."""
    functions = {
        node.name: node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    found: list[ast.AST] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "apply":
            [given] = node.args
            name = ast.unparse(given).rpartition(".")[2]
            found.append(given if isinstance(given, ast.Lambda) else functions.get(name, given))
    return found


def made_in_apply(tree: ast.Module) -> set[str]:
    bodies = [node for given in applied(tree) for node in ast.walk(given)]
    return {ast.unparse(node.func) for node in bodies if isinstance(node, ast.Call)} & resource_names(tree)


def test_no_resource_is_made_inside_apply():
    # The last two lines: the search must find what is applied and what is made.
    for source in of("", "components"):
        assert made_in_apply(source.tree) == set(), source.name
    assert sum(len(applied(source.tree)) for source in of("", "components")) >= 4
    assert sum(len(resource_names(source.tree)) for source in of("", "components")) >= 25


@pytest.mark.parametrize(
    "text",
    [
        "from pulumi_aws import ec2\nx.apply(lambda id: ec2.Vpc('a', vpc_id=id))",
        "import pulumi_aws as aws\ndef make(id): aws.ec2.Vpc('a')\nx.apply(make)",
        "class A:\n  async def make(self, id): Dex('dex')\n  def b(self): x.apply(self.make)",
    ],
)
def test_the_search_would_find_one(text):
    assert len(made_in_apply(ast.parse(text))) == 1


def test_no_output_resource_or_configuration_at_module_level():
    inspected = 0
    for source in of("config", "components", "userdata"):
        resources = resource_names(source.tree) | {"pulumi.Config", "pulumi.Output", "pulumi.StackReference"}
        for statement in source.tree.body:
            if isinstance(statement, ast.Assign | ast.AnnAssign | ast.Expr):
                inspected += 1
                calls = {ast.unparse(node.func) for node in ast.walk(statement) if isinstance(node, ast.Call)}
                assert not any(call.startswith(tuple(resources)) for call in calls), source.name
    assert inspected >= 60, "the search must look at them"
