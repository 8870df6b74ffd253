"""`python -m sandbox.build.usage`: what stays in the user's cache, how large it is, and how to remove it."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from pathlib import Path

from sandbox.build.images.pulled import FOLDER
from sandbox.files import cache_dir

_KINDS = {"tools/images": "images", f"tools/{FOLDER}": "pulled images"}  # all else is tools


def sizes(cache: Path) -> dict[str, int]:
    """The bytes on disk of tools, images and pulled images. A file with several names counts once."""
    seen: set[tuple[int, int]] = set()
    found = dict.fromkeys(("tools", "images", "pulled images"), 0)
    for path in cache.rglob("*"):
        status = path.lstat()
        if (status.st_dev, status.st_ino) in seen:
            continue
        seen.add((status.st_dev, status.st_ino))
        folder = "/".join(path.relative_to(cache).parts[:2])
        found[_KINDS.get(folder, "tools")] += status.st_blocks * 512
    return found


def human(size: float) -> str:
    """`1.5 GiB`."""
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.0f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"


def lines(cache: Path) -> Iterable[str]:
    """What there is to say; nothing if there is no cache."""
    if not cache.exists():
        return []
    found = sizes(cache)
    parts = ", ".join(f"{name} {human(size)}" for name, size in found.items() if size)
    return [
        f"{cache} stays, {human(sum(found.values()))}: {parts}",
        f"to remove it too (building the tools again takes twenty minutes): rm -rf {shlex.quote(str(cache))}",
    ]


def main() -> None:
    for line in lines(cache_dir().parent):
        print(line)


if __name__ == "__main__":
    main()
