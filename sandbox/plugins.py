"""Which provider plugins the engine will meet: the official ones where Pulumi finds them, else ours.

`KUBEPARK_PROVIDERS=official|standin` decides for all; by default each plugin is looked for where
Pulumi itself looks: on PATH, in its plugin cache, in a download.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
import urllib.error
import urllib.request
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Literal

from sandbox.config import SandboxConfig
from sandbox.errors import SandboxError
from sandbox.progress import step

VARIABLE = "KUBEPARK_PROVIDERS"
PROVIDERS = ("aws", "kubernetes")
STAND_IN_MARK = "# kubepark stand-in"
# Where the engine downloads plugins from when a repository's releases do not answer; asked only
# whether anything answers, so that a machine without internet does not wait for time-outs.
DOWNLOAD_SITE = "https://get.pulumi.com/"
PROBE_SECONDS = 4.0
INSTALL_SECONDS = 600.0

Kind = Literal["official", "standin"]


@dataclass(frozen=True)
class Plugin:
    """A provider plugin in the version that the installed SDK asks for."""

    name: str
    version: str

    @property
    def executable(self) -> str:
        return f"pulumi-resource-{self.name}"

    @property
    def folder(self) -> str:
        """Its name in Pulumi's plugin cache."""
        return f"resource-{self.name}-v{self.version}"


def wanted() -> list[Plugin]:
    return [Plugin(name, version(f"pulumi-{name}")) for name in PROVIDERS]


def choose(config: SandboxConfig, pulumi: Path) -> dict[str, Kind]:
    """Provider name -> kind. Installs official plugins if they can be downloaded.

    Raises `SandboxError` for an unknown choice, or for official plugins that cannot be had.
    """
    choice = os.environ.get(VARIABLE, "")
    if choice not in ("", "official", "standin"):
        raise SandboxError(f'{VARIABLE}="{choice}": accepted are official and standin, or unset for either')
    if choice == "standin":
        return dict.fromkeys(PROVIDERS, "standin")
    share_plugin_cache(config)
    missing = [plugin for plugin in wanted() if not _present(plugin, config)]
    if missing and site_answers(DOWNLOAD_SITE, PROBE_SECONDS):
        missing = [plugin for plugin in missing if not _install(plugin, config, pulumi)]
    if missing and choice == "official":
        commands = "; ".join(f"pulumi plugin install resource {p.name} v{p.version}" for p in missing)
        names = " and ".join(plugin.name for plugin in missing)
        raise SandboxError(
            f"{VARIABLE}=official, but the {names} plugin is not on PATH, not in Pulumi's cache and "
            f"cannot be downloaded; fix: {commands}"
        )
    kinds: dict[str, Kind] = dict.fromkeys(PROVIDERS, "official")
    return kinds | dict.fromkeys((plugin.name for plugin in missing), "standin")


def share_plugin_cache(config: SandboxConfig) -> None:
    """Let the sandbox's own Pulumi home use the person's plugin cache. The folder itself is linked:
    the engine follows no links inside it."""
    link = config.pulumi_home / "plugins"
    cache = Path(os.environ.get("PULUMI_HOME") or Path.home() / ".pulumi") / "plugins"
    if link.exists() or cache.resolve() == link.resolve() or not cache.is_dir():
        return
    config.pulumi_home.mkdir(parents=True, exist_ok=True)
    link.symlink_to(cache.resolve())


def _present(plugin: Plugin, config: SandboxConfig) -> bool:
    """Whether the engine finds it on PATH (not our stand-in) or complete in its cache."""
    folders = [f for f in os.get_exec_path() if Path(f) != config.bin_dir]
    found = shutil.which(plugin.executable, path=os.pathsep.join(folders))
    if found and not is_stand_in(Path(found)):
        return True
    cache = config.pulumi_home / "plugins"
    complete = not (cache / f"{plugin.folder}.partial").exists()
    return complete and os.access(cache / plugin.folder / plugin.executable, os.X_OK)


def is_stand_in(executable: Path) -> bool:
    """Whether an executable is a shim of some kubepark sandbox."""
    with executable.open("rb") as file:
        return STAND_IN_MARK.encode() in file.read(200)


def site_answers(url: str, seconds: float) -> bool:
    """Whether an HTTP server answers, whatever it says, within `seconds`. Proxy settings are honoured.

    In a thread, because looking a name up has no time limit of its own.
    """
    answered = threading.Event()

    def ask() -> None:
        request = urllib.request.Request(url, method="HEAD")
        try:
            with urllib.request.urlopen(request, timeout=seconds):
                answered.set()
        except urllib.error.HTTPError:
            answered.set()
        except OSError:
            return

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(seconds)
    return answered.is_set()


def _install(plugin: Plugin, config: SandboxConfig, pulumi: Path) -> bool:
    """`pulumi plugin install`; False if it fails, which only means that the stand-in is used."""
    what = f"the official {plugin.name} provider v{plugin.version}"
    command = [str(pulumi), "plugin", "install", "resource", plugin.name, f"v{plugin.version}"]
    environment = {
        **os.environ,
        "PULUMI_HOME": str(config.pulumi_home),
        "PULUMI_SKIP_UPDATE_CHECK": "true",
    }
    try:
        with step(f"downloading {what}", f"downloaded {what}"):
            subprocess.run(command, env=environment, capture_output=True, timeout=INSTALL_SECONDS, check=True)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
        return False
    return _present(plugin, config)
