"""What the cache lacks: downloaded where the projects' hosts answer, built where they do not, side by side.

A module's programs lie in `<cache>/<module>-<12 hex>/bin`, where the digits come from all that they are
built from, or from where they were downloaded; nothing is ever changed in place. Each is made in a folder
beside its place and renamed, under a lock: an interrupted run leaves nothing that counts, and two runs at
once wait for each other.
"""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from pathlib import Path

from sandbox.build import download
from sandbox.build.gobuild import Commands, build
from sandbox.build.gomodules import MODULES, TOOLS_DIR, Plan
from sandbox.build.releases import RELEASES, Asset, assets, available
from sandbox.build.staged import make_once
from sandbox.progress import board, note, step

BUILD_VARIABLE = "KUBEPARK_BUILD"  # "1": never download what can be built
DOWNLOAD_SECONDS = 20  # for the share of a module in the whole, and for what a run says it will take
_AT_ONCE = 4  # downloads, and builds of which one compiles


def programs(item: Plan, cache: Path) -> Path | None:
    """The folder with the programs of a module if they are there."""
    folders = [cache / item.folder]
    if found := _published(item):
        folders.insert(0, _downloaded(item, found, cache))
    return next((folder / "bin" for folder in folders if folder.exists()), None)


def obtain(items: Sequence[Plan], beside: Sequence[Callable[[], object]], cache: Path) -> None:
    """Put the programs of every module into the cache, and do other work that there is meanwhile.

    Says first what it will do and how long that takes. Raises `SandboxError` for the first that cannot be
    had; the others are stopped, as by Ctrl-C, and what is whole stays.
    """
    missing = [item for item in items if programs(item, cache) is None]
    if not missing and not beside:
        return
    offered = {item.module: found for item in missing if (found := _published(item))}
    silent = download.unreachable(asset for found in offered.values() for asset in found)
    offered = {
        module: found for module, found in offered.items() if not any(asset.host in silent for asset in found)
    }
    weights = {
        item.module: DOWNLOAD_SECONDS if item.module in offered else _seconds(item) for item in missing
    }
    _announce(missing, offered, silent, weights)
    try:
        with board("first run", sum(weights.values())), _Workers() as workers:
            for work in beside:
                workers.beside(work)
            # The small first: the others' modules are downloaded meanwhile.
            for item in sorted(missing, key=lambda item: weights[item.module]):
                if item.module in offered:
                    workers.download(item, offered[item.module], cache)
                else:
                    workers.build(item, cache)
            workers.join()
    except KeyboardInterrupt:
        note("interrupted: what is whole stays, run the same command again for the rest")
        raise


class _Workers:
    """Downloads and builds beside one another."""

    def __init__(self) -> None:
        self._commands = Commands()
        self._fetchers = ThreadPoolExecutor(_AT_ONCE)
        self._builders = ThreadPoolExecutor(_AT_ONCE)
        self._futures: list[Future[object]] = []

    def __enter__(self) -> _Workers:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is not None:
            self._commands.stop()
        for pool in (self._fetchers, self._builders):
            pool.shutdown(cancel_futures=kind is not None)

    def beside(self, work: Callable[[], object]) -> None:
        self._futures.append(self._fetchers.submit(work))

    def build(self, item: Plan, cache: Path) -> None:
        self._futures.append(self._builders.submit(ensure_built, item, cache, TOOLS_DIR, self._commands))

    def download(self, item: Plan, found: Sequence[Asset], cache: Path) -> None:
        def work() -> None:
            try:
                _download(item, found, cache, self._commands)
            except download.DownloadError as error:
                if self._commands.stopped.is_set():
                    raise
                note(f"{error}; building {item.module} instead")
                self.build(item, cache)

        self.beside(work)

    def join(self) -> None:
        """Wait for all, those as well that one of them brings. Raises what one of them raised."""
        seen = 0
        while seen < len(self._futures):
            batch = self._futures[seen:]
            seen += len(batch)
            for future in wait(batch, return_when=FIRST_EXCEPTION).done:
                future.result()


def ensure_built(
    item: Plan, cache: Path, tools_dir: Path = TOOLS_DIR, commands: Commands | None = None
) -> Path:
    """The `bin` folder of a module, built if need be."""
    target, what = cache / item.folder, f"{item.module} {item.version}"

    def fill(staged: Path) -> None:
        with step(f"building {what}", f"built {what}", weight=_seconds(item)) as report:
            build(item, staged, cache, tools_dir / item.module, commands or Commands(), report)

    _make(target, item, fill)
    return target / "bin"


def _download(item: Plan, found: Sequence[Asset], cache: Path, commands: Commands) -> None:
    what = f"{item.module} {item.version}"

    def fill(staged: Path) -> None:
        (staged / "bin").mkdir(parents=True)
        with step(f"downloading {what}", f"downloaded {what}", weight=DOWNLOAD_SECONDS) as report:
            for number, asset in enumerate(found):

                def share(part: float, before: int = number) -> None:
                    report((before + part) / len(found))

                download.fetch(asset, staged / "bin", share, commands.stopped)

    _make(_downloaded(item, found, cache), item, fill)


def _make(target: Path, item: Plan, fill: Callable[[Path], None]) -> None:
    # The dot, for the name of a module may begin with that of another.
    make_once(target, item.module, f".{item.module}.", fill)


def _published(item: Plan) -> list[Asset]:
    if os.environ.get(BUILD_VARIABLE) == "1" or item.module not in RELEASES or not available():
        return []
    return assets(item, RELEASES[item.module], platform.machine())


def _downloaded(item: Plan, found: Sequence[Asset], cache: Path) -> Path:
    return cache / f"{item.module}-{hashlib.sha256(repr(found).encode()).hexdigest()[:12]}"


def _seconds(item: Plan) -> int:
    return MODULES[item.module].seconds if item.module in MODULES else 1


def _announce(
    missing: Sequence[Plan],
    offered: Mapping[str, Sequence[Asset]],
    silent: Mapping[str, str],
    seconds: Mapping[str, int],
) -> None:
    """What will be done, why not otherwise, and how long it takes on two cores."""
    built = [item.module for item in missing if item.module not in offered]
    parts = list(silent.values())
    if offered:
        parts.append(f"downloading {', '.join(offered)}")
    if built:
        parts.append(f"building {', '.join(built)}")
    minutes = max(1, round(sum(seconds.values()) / 60))
    note(f"first run: {'; '.join(parts)}: about {minutes} min, once" if parts else "first run")
