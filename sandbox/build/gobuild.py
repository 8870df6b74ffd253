"""One Go module built: what its programs consist of is downloaded, compiled, and the programs are linked."""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from sandbox.build.debian import unpacked
from sandbox.build.golang import ensure_go, environment, linking
from sandbox.build.gomodules import Plan, last_element
from sandbox.errors import SandboxError
from sandbox.progress import Report

_TAIL_LINES = 20


class Commands:
    """The `go` commands of several threads, all of which `stop` ends.

    Compiling keeps all cores busy, so one does at a time, which spares the others what it has compiled that
    they need as well; downloading, which waits, and linking, which keeps one core busy, go on beside it.
    """

    def __init__(self) -> None:
        self.stopped = threading.Event()
        self.compiling = threading.Lock()
        self._running: set[subprocess.Popen[str]] = set()
        self._lock = threading.Lock()

    def stop(self) -> None:
        """End what runs and refuse what comes."""
        with self._lock:
            self.stopped.set()
            for process in self._running:
                process.terminate()

    def run(
        self,
        command: list[str],
        what: str,
        source: Path,
        variables: Mapping[str, str],
        seen: Callable[[str], bool],
    ) -> str:
        """Standard output. `seen` takes each line of standard error and says whether it is no error's.

        Raises `SandboxError` with the end of its errors.
        """
        with tempfile.TemporaryFile("w+") as file:
            with self._lock:
                if self.stopped.is_set():
                    raise SandboxError(f"{what}: stopped")
                process = subprocess.Popen(
                    command,
                    cwd=source,
                    env=variables,
                    stdin=subprocess.DEVNULL,
                    stdout=file,
                    stderr=subprocess.PIPE,
                    text=True,
                )
                self._running.add(process)
            with process:
                lines = map(str.rstrip, process.stderr or ())
                errors = deque((line for line in lines if not seen(line)), maxlen=_TAIL_LINES)
            file.seek(0)
            printed = file.read()
        with self._lock:
            self._running.remove(process)
        if self.stopped.is_set():
            raise SandboxError(f"{what}: stopped")
        if process.returncode != 0:
            tail = "\n".join(f"  {line}" for line in errors)
            raise SandboxError(
                f"{what} failed:\n{tail}\n"
                "The first build downloads Go modules: check that the Go module proxy is reachable "
                "(GOPROXY), then run the same command again."
            )
        return printed


def build(item: Plan, staged: Path, cache: Path, source: Path, commands: Commands, report: Report) -> None:
    """Build every program of the module into `staged/bin`. Raises `SandboxError`."""
    go = str(ensure_go(cache, item.go))
    variables = environment(linking(unpacked([item.c_library], cache), cache) if item.c_library else {})
    packages = list(item.packages.values())

    def run(*arguments: str, seen: Callable[[str], bool] = lambda line: False) -> str:
        what = f"building {item.module} {item.version}"
        return commands.run([go, *arguments], what, source, variables, seen)

    flags = [*item.flags]
    if item.overlay:
        replace = _overlay(item, source, lambda module: run("mod", "download", "-json", module))
        file = staged.parent / "overlay.json"
        file.write_text(json.dumps({"Replace": replace}), encoding="utf-8")
        flags += ["-overlay", str(file)]
    run("list", "-deps", *flags, *packages)  # downloads
    with commands.compiling:
        _compile(flags, packages, run, report)
    (staged / "bin").mkdir(parents=True)
    run("build", *flags, "-o", f"{staged / 'bin'}/", *packages)
    for name, package in item.packages.items():
        made = staged / "bin" / last_element(package)
        if made.name != name:
            made.rename(made.with_name(name))


def _compile(flags: Sequence[str], packages: Sequence[str], run: Callable[..., str], report: Report) -> None:
    """All that the cache lacks but the programs themselves, which only linking makes."""
    stale = '{{if and .Stale (not .Standard) (ne .Name "main")}}{{.ImportPath}}{{end}}'
    needed = run("list", "-deps", *flags, "-f", stale, *packages).split()
    awaited, total = set(needed), len(needed)

    def seen(line: str) -> bool:
        if line not in awaited:
            return False
        awaited.discard(line)
        report(1 - len(awaited) / total)
        return True

    if needed:
        run("build", "-v", *flags, *needed, seen=seen)


def _overlay(item: Plan, source: Path, download: Callable[[str], str]) -> dict[str, str]:
    """Which file of a downloaded module the compiler finds under which name below `source`."""
    modules = {module for module, _ in item.overlay.values()}
    folders = {module: Path(json.loads(download(module))["Dir"]) for module in modules}
    replace = {}
    for ours, (module, path) in item.overlay.items():
        theirs = folders[module] / path.removesuffix("/...").lstrip("/")
        pattern = "**/*" if path.endswith("/...") else "*.go"
        found = [file for file in theirs.glob(pattern) if file.is_file()] if theirs.is_dir() else [theirs]
        for file in sorted(found):
            own = source / ours / file.relative_to(theirs)
            if not own.exists() and not re.search(item.without, file.as_posix()):
                replace[str(own)] = str(file)
    return replace
