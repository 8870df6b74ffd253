"""Which Go modules the sandbox's programs come from, and what building each one means.

`sandbox/build/tools/<module>/go.mod` pins versions and names the packages (`tool` lines), go.sum their
content. `standins` is a module of our own: its sources lie beside its go.mod.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sandbox.errors import SandboxError

TOOLS_DIR = Path(__file__).resolve().parent / "tools"


@dataclass(frozen=True)
class ToolModule:
    """A Go module under `sandbox/build/tools`. What it builds and in which version is in its go.mod.

    `versioned_by` is the required module whose version is the tools' version (None: the sources are
    ours); `stamps` are linker symbols that programs report it from; `renamed` maps a package's last
    element to a better name. Programs are static and without cgo, unless `c_library` names the Debian
    package of a static C library that they link; `tags` are Go build tags. `overlay` lays files of other
    modules beside ours: path below our module to MODULE:PATH, a file, or a folder whose Go files are meant
    where ours has none of that name (with /... all of its files, however deep), but none that `without`, a
    regular expression, finds. `seconds` is what building takes on two cores, after those before it in
    `MODULES`, whose packages it shares.
    """

    name: str
    versioned_by: str | None
    stamps: tuple[str, ...] = ()
    renamed: Mapping[str, str] | None = None
    tags: tuple[str, ...] = ()
    c_library: str | None = None
    overlay: Mapping[str, str] | None = None
    without: str = r"_test\.go$"
    seconds: int = 60


_PROVIDER = "github.com/pulumi/pulumi-kubernetes/provider/v4"
_PROVIDERS_SDK = "github.com/pulumi/pulumi-kubernetes/sdk/v4"
_TERRAFORM_AWS = "github.com/hashicorp/terraform-provider-aws"
MODULES: Mapping[str, ToolModule] = {
    module.name: module
    for module in (
        ToolModule(
            "pulumi",
            "github.com/pulumi/pulumi/pkg/v3",
            # Without it the Automation API refuses the CLI as too old.
            ("github.com/pulumi/pulumi/sdk/v3/go/common/version.Version",),
            seconds=170,
        ),
        ToolModule(
            # Not in one module with the CLI: it does not compile with the CLI's packages of that release.
            "pulumi-kubernetes",
            _PROVIDER,
            overlay={
                f"cmd/pulumi-resource-kubernetes/{name}": f"{_PROVIDER}:cmd/pulumi-resource-kubernetes/{name}"
                for name in ("schema.json", "terraform-mapping.json")
            }
            # Its SDK without the types of each kind, which are 26 MB of source and half of the program.
            | {
                f"sdk/go/kubernetes{name}": f"{_PROVIDERS_SDK}:go/kubernetes{name}"
                for name in ("", "/utilities", "/helm/v4", "/yaml/v2")
            },
            seconds=100,
        ),
        ToolModule(
            # All services' clients would take half an hour, so the lists of services are ours. The commit is
            # the one that the proxy has, of June 2026, between v6.47 and v6.48.
            "pulumi-aws",
            _TERRAFORM_AWS,
            overlay={
                f"provider/{name}": f"{_TERRAFORM_AWS}:{name}/..."
                for name in ("internal", "names", "version")
            }
            | {"smithy": "github.com/aws/smithy-go:/..."},
            without=r"(_test|/sweep[^/]*)\.go$|/testdata/",  # sweepers need a test framework
            seconds=150,
        ),
        ToolModule(
            "kubernetes",
            "k8s.io/kubernetes",
            ("k8s.io/component-base/version.gitVersion", "k8s.io/client-go/pkg/version.gitVersion"),
            seconds=230,
        ),
        ToolModule("etcd", "go.etcd.io/etcd/server/v3", renamed={"server": "etcd"}, seconds=45),
        ToolModule("kwok", "sigs.k8s.io/kwok", seconds=35),
        ToolModule("actionlint", "github.com/rhysd/actionlint", seconds=10),
        ToolModule(
            "containerd",
            "github.com/containerd/containerd/v2",
            ("github.com/containerd/containerd/v2/version.Version",),
            seconds=50,
        ),
        ToolModule(
            "runc",
            "github.com/opencontainers/runc",
            # Without seccomp it refuses every container that has a seccomp profile; the others keep
            # the C library's resolver and user lookups, which a static program cannot use, out.
            tags=("seccomp", "netgo", "osusergo"),
            c_library="libseccomp-dev",
            seconds=10,
        ),
        ToolModule(
            "cni",
            "github.com/containernetworking/plugins",
            ("github.com/containernetworking/plugins/pkg/utils/buildversion.BuildVersion",),
            seconds=5,
        ),
        ToolModule(
            "crictl", "sigs.k8s.io/cri-tools", ("sigs.k8s.io/cri-tools/pkg/version.Version",), seconds=20
        ),
        ToolModule("coredns", "github.com/coredns/coredns", seconds=20),
        # The commit of its tag v2.45.1: a module path without /v2 has no such version.
        ToolModule("dex", "github.com/dexidp/dex", seconds=45),
        ToolModule("standins", None, seconds=5),
    )
}
# What `make up` needs; linters are built where the tests ask for them.
SANDBOX_MODULES = ("pulumi", "pulumi-kubernetes", "pulumi-aws", "kubernetes", "etcd", "kwok")
# What the engine needs, whatever the nodes are.
ENGINE_MODULES = ("pulumi", "pulumi-kubernetes", "pulumi-aws", "kubernetes", "etcd")
# What real nodes need in addition.
REAL_NODE_MODULES = ("containerd", "runc", "cni", "crictl", "coredns", "dex", "standins")


@dataclass(frozen=True)
class Plan:
    """What building one module means: derived from files, no effects."""

    module: str
    version: str
    packages: Mapping[str, str]  # executable name -> Go package
    flags: tuple[str, ...]
    go: tuple[int, ...]  # the oldest Go that go.mod admits
    c_library: str | None
    overlay: Mapping[str, tuple[str, str]]  # path below our module -> MODULE@VERSION, path below it
    without: str
    digest: str

    @property
    def folder(self) -> str:
        return f"{self.module}-{self.digest}"


def plan(module: ToolModule, tools_dir: Path = TOOLS_DIR) -> Plan:
    """Read go.mod, go.sum and, where they are ours, the sources. Raises `SandboxError` for a missing pin."""
    source = tools_dir / module.name
    text = (source / "go.mod").read_text(encoding="utf-8")
    owner = module.versioned_by
    version = _required(owner, source / "go.mod", text) if owner else "of this tree"
    renamed = module.renamed or {}
    packages = {renamed.get(name := last_element(path), name): path for path in _tool_lines(text)}
    flags = _flags(module, version)
    overlay = {}
    for ours, theirs in (module.overlay or {}).items():
        name, _, path = theirs.partition(":")
        overlay[ours] = (f"{name}@{_required(name, source / 'go.mod', text)}", path)
    digest = hashlib.sha256(text.encode())
    digest.update((source / "go.sum").read_bytes())
    digest.update(repr((flags, sorted(packages.items()))).encode())
    digest.update(repr((overlay, module.without)).encode() if overlay else b"")
    for file in sorted([*source.rglob("*.go"), *source.glob("*/go.mod")]):
        digest.update(file.relative_to(source).as_posix().encode() + b"\0" + file.read_bytes())
    go = re.search(r"^go (\d+(?:\.\d+)*)", text, re.MULTILINE)
    oldest = tuple(int(part) for part in go[1].split(".")) if go else ()
    return Plan(
        module=module.name,
        version=version,
        packages=packages,
        flags=flags,
        go=oldest,
        c_library=module.c_library,
        overlay=overlay,
        without=module.without,
        digest=digest.hexdigest()[:12],
    )


def _required(name: str, go_mod: Path, text: str) -> str:
    """The version of a module that go.mod requires."""
    pin = re.search(rf"^\s*(?:require )?{re.escape(name)} (v\S+)", text, re.MULTILINE)
    if pin is None:
        raise SandboxError(f"{go_mod} does not require {name}")
    return pin[1]


def _flags(module: ToolModule, version: str) -> tuple[str, ...]:
    static = ["-linkmode", "external", "-extldflags", "-static"] if module.c_library else []
    linker = ["-s", "-w", *(f"-X {stamp}={version}" for stamp in module.stamps), *static]
    tags = ("-tags", ",".join(module.tags)) if module.tags else ()
    return ("-trimpath", *tags, "-ldflags", " ".join(linker))


def _tool_lines(go_mod: str) -> list[str]:
    """The packages of `tool PATH` lines and of `tool ( ... )` blocks."""
    single = re.findall(r"^tool ([^\s(]+)", go_mod, re.MULTILINE)
    blocks = re.findall(r"^tool \(\n(.*?)^\)", go_mod, re.MULTILINE | re.DOTALL)
    return single + [line.strip() for block in blocks for line in block.splitlines() if line.strip()]


def last_element(package: str) -> str:
    """The name that Go gives a program: the last path element that is no major version."""
    return next(part for part in reversed(package.split("/")) if not re.fullmatch(r"v\d+", part))
