#!/usr/bin/python3
"""apt-get, apt-mark and dpkg-query: packages come from a table, checked as apt checks them.

/usr/local/lib/kubepark-sandbox/packages.json: by name {"version": pattern, "host": where it comes from,
"source": pattern of what follows the host in that repository's line, "links": {path: target},
"text": {path: content}, "image": whether the image has it, "mentions": names of others in its relations}.
A repository must be configured, with the key that it is signed by, and reachable.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from sandbox.nodes.standins.record import Failed, Usage, reach, run

TABLE = Path("/usr/local/lib/kubepark-sandbox/packages.json")
STATE = Path("/var/lib/kubepark-sandbox/packages.json")
SOURCES = Path("/etc/apt/sources.list.d")
ARCHIVE = "archive.ubuntu.com"  # configured in the image
_SOURCE = re.compile(r"deb \[signed-by=(\S+)\] (https?)://([^/\s]+)(\S* \S.*)")
_PORTS = {"http": 80, "https": 443}
_CHANGE_HELD = "--allow-change-held-packages"
_WORDS = {"-y", "-q", "--allow-downgrades", _CHANGE_HELD}
_SETTINGS = {"DPkg::Lock::Timeout", "Dpkg::Options::", "APT::Update::Error-Mode"}


def table() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(TABLE.read_text())
    return found


def state() -> dict[str, Any]:
    if STATE.exists():
        found: dict[str, Any] = json.loads(STATE.read_text())
        return found
    image = {name: package["version"] for name, package in table().items() if package.get("image")}
    return {"hosts": {}, "sources": {}, "installed": image, "held": []}


def save(now: dict[str, Any]) -> None:
    STATE.parent.mkdir(parents=True, exist_ok=True)
    # In one step: half a file would outlive a power cut.
    whole = STATE.with_suffix(".new")
    whole.write_text(json.dumps(now, indent=1, sort_keys=True))
    whole.replace(STATE)


def apt_get(_: str, arguments: list[str]) -> int:
    words = options_of(arguments)
    verb, names = words[0], words[1:]
    if verb == "update" and not names:
        return update()
    if verb == "install" and names:
        return install(names, change_held=_CHANGE_HELD in arguments)
    raise Usage(" ".join(words))


def options_of(arguments: list[str]) -> list[str]:
    """The words that are no options. Options that change nothing here are known by name."""
    words, rest = [], iter(arguments)
    for word in rest:
        if word == "-o":
            setting = next(rest, "")
            if setting.partition("=")[0] not in _SETTINGS:
                raise Usage(f"-o {setting}")
        elif word.startswith("-"):
            if word not in _WORDS:
                raise Usage(word)
        else:
            words.append(word)
    if not words:
        raise Usage("no verb")
    return words


def update() -> int:
    """Read the index of every repository that is configured."""
    found, sources = {ARCHIVE: _PORTS["http"]}, {ARCHIVE: ""}
    for path in sorted(SOURCES.glob("*.list")):
        for number, line in enumerate(path.read_text().splitlines(), start=1):
            source = _SOURCE.fullmatch(line)
            if source is None:
                raise Failed(f"E: Malformed entry {number} in list file {path}", 100)
            if not Path(source[1]).exists():
                raise Failed(f"E: The repository '{source[3]}' is not signed.", 100)
            found[source[3]], sources[source[3]] = _PORTS[source[2]], source[4]
    fetch(found, found)
    save({**state(), "hosts": found, "sources": sources})
    return 0


def fetch(hosts: Iterable[str], ports: dict[str, int]) -> None:
    """From each of these. Raises `Failed` with the first reason why that cannot be."""
    for host in hosts:
        if problem := reach(host, ports[host]):
            raise Failed(f"E: Failed to fetch from {host}: {problem}", 100)


def install(names: list[str], *, change_held: bool) -> int:
    """All or nothing."""
    now, known = state(), table()
    wanted = {}
    for word in names:
        name, _, version = word.partition("=")
        package = locate(known, name, now)
        if package is None:
            raise Failed(f"E: Unable to locate package {name}", 100)
        if version and not fnmatchcase(version, package["version"]):
            raise Failed(f"E: Version '{version}' for '{name}' was not found", 100)
        wanted[name] = (version or package["version"], package)
        if name in now["held"] and now["installed"][name] != wanted[name][0] and not change_held:
            raise Failed(f"E: Held packages were changed and -y was used without {_CHANGE_HELD}.", 100)
    fetch(sorted({package["host"] for _, package in wanted.values()}), now["hosts"])
    for name, (version, package) in wanted.items():
        unpack(package)
        now["installed"][name] = version
        print(f"Setting up {name} ({version}) ...")
    save(now)
    return 0


def entry(known: dict[str, Any], name: str) -> dict[str, Any] | None:
    """A row of the table; its name may be a pattern."""
    return next((value for pattern, value in known.items() if fnmatchcase(name, pattern)), None)


def locate(known: dict[str, Any], name: str, now: dict[str, Any]) -> dict[str, Any] | None:
    """A package, if a repository that was read has it."""
    package = entry(known, name)
    if package is None or package["host"] not in now["hosts"]:
        return None
    return package if fnmatchcase(now["sources"][package["host"]], package.get("source", "*")) else None


def unpack(package: dict[str, Any]) -> None:
    for path, target in package.get("links", {}).items():
        link = Path(path)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(target)
    for path, text in package.get("text", {}).items():
        file = Path(path)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(0o755 if text.startswith("#!") else 0o644)


def apt_mark(_: str, arguments: list[str]) -> int:
    if len(arguments) < 2 or arguments[0] != "hold" or any(word.startswith("-") for word in arguments):
        raise Usage(" ".join(arguments))
    now = state()
    missing = [name for name in arguments[1:] if name not in now["installed"]]
    if missing:
        raise Failed(f"E: Unable to locate package {missing[0]}", 100)
    save({**now, "held": sorted({*now["held"], *arguments[1:]})})
    for name in arguments[1:]:
        print(f"{name} set on hold.")
    return 0


def dpkg_query(_: str, arguments: list[str]) -> int:
    """`-W -f '${db:Status-Status} ${Package}\\n' PATTERN...`; 1 if a pattern fits nothing.

    dpkg also knows names that installed packages only mention, a conflict's for one, as `dpkg -l` shows.
    """
    patterns = arguments[3:]
    if arguments[:3] != ["-W", "-f", "${db:Status-Status} ${Package}\\n"] or not patterns:
        raise Usage(" ".join(arguments))
    installed, packages = state()["installed"], table()
    mentioned = {name for each in installed for name in (entry(packages, each) or {}).get("mentions", ())}
    known = sorted({*installed, *mentioned})
    fitting = {each: [name for name in known if fnmatchcase(name, each)] for each in patterns}
    for name in sorted({name for names in fitting.values() for name in names}):
        print("installed" if name in installed else "not-installed", name)
    for pattern, names in fitting.items():
        if not names:
            print(f"dpkg-query: no packages found matching {pattern}", file=sys.stderr)
    return 0 if all(fitting.values()) else 1


COMMANDS = {"apt-get": apt_get, "apt-mark": apt_mark, "dpkg-query": dpkg_query}

if __name__ == "__main__":
    run(COMMANDS[Path(sys.argv[0]).name])
