"""Searching for secrets: which there are, in what forms they may show, and in what.

A secret is looked for in every document (a file, an API answer, an argument list) as it is and as
JSON, URLs and base64 would carry it. Findings name the secret and the document, never the value.
"""

from __future__ import annotations

import base64
import json
import os
import threading
import time
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from types import TracebackType
from urllib.parse import quote

import yaml

SAMPLE_SECONDS = 0.05  # a kubeadm call, the shortest-lived process with work to do, takes twice that
_LOOKS = 20  # at one process: for the first second a container's is still the runtime's
GZIP = b"\x1f\x8b"


@dataclass(frozen=True)
class Secret:
    """A value that may be read in `homes` (documents' names) and nowhere else."""

    name: str
    text: str = field(repr=False)
    homes: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Document:
    """Something to search in. `place` is its kind: `logs`, `user data`, ..."""

    place: str
    name: str
    data: bytes = field(repr=False)


@dataclass(frozen=True)
class Leak:
    """One finding."""

    secret: str
    form: str
    place: str
    document: str


# -- forms -----------------------------------------------------------------------------------------


def forms(text: str) -> dict[str, bytes]:
    """The byte strings by which `text` is recognised, one name each, without repetitions."""
    raw = text.encode()
    written = {
        "plain": raw,
        "JSON": json.dumps(text)[1:-1].encode(),
        "JSON in JSON": json.dumps(json.dumps(text))[3:-3].encode(),
        "URL": quote(text, safe="").encode(),
    }
    for shift, once in enumerate(_base64(raw)):
        written[f"base64 at {shift}"] = once
        written[f"URL-safe base64 at {shift}"] = once.replace(b"+", b"-").replace(b"/", b"_")
        written |= {f"base64 at {again} of base64 at {shift}": b for again, b in enumerate(_base64(once))}
    seen: dict[bytes, str] = {}
    for name, needle in written.items():
        seen.setdefault(needle, name)
    return {name: needle for needle, name in seen.items()}


def _base64(raw: bytes) -> list[bytes]:
    """What all base64 texts that hold `raw` have in common, for each of its three positions.

    The characters at both ends depend on the neighbours as well, so they are left out.
    """
    found = []
    for shift in range(3):
        usable = (shift + len(raw)) // 3 * 4
        encoded = base64.b64encode(b"\0" * shift + raw)
        found.append(encoded[0 if shift == 0 else 4 : usable])
    return found


def key_line(pem: str) -> str:
    """A line of a private key in PEM that holds bytes of the private number.

    A line survives indentation, JSON and every other way of writing line breaks. One holds 48 bytes;
    the number of a P-256 key starts at byte 7, or 36 with PKCS #8 around it; the private exponent of
    an RSA key is in the middle.
    """
    kind, *lines = [line.strip("-") for line in pem.strip().splitlines()]
    if len(lines) > 8:
        return lines[len(lines) // 2]
    return lines[{"BEGIN EC PRIVATE KEY": 0, "BEGIN PRIVATE KEY": 1}[kind]]


# -- search ----------------------------------------------------------------------------------------


def search(documents: Iterable[Document], secrets: Iterable[Secret]) -> list[Leak]:
    """Every secret that shows where it has no home. Compressed documents are searched inside."""
    needles = [(secret, form, text) for secret in secrets for form, text in forms(secret.text).items()]
    found = []
    for document in documents:
        data = document.data
        if data.startswith(GZIP):
            data += unpacked(data)
        found += [
            Leak(secret.name, form, document.place, document.name)
            for secret, form, needle in needles
            if document.name not in secret.homes and needle in data
        ]
    return found


def unpacked(data: bytes) -> bytes:
    """The content of gzip members; the last may be incomplete, as in a log of a process that ended."""
    found = b""
    while data.startswith(GZIP):
        member = zlib.decompressobj(wbits=31)
        found += member.decompress(data)
        data = member.unused_data
    return found


def counted(documents: Iterable[Document]) -> Counter[str]:
    """Documents by place, those without content left out."""
    return Counter(document.place for document in documents if document.data)


def places(leaks: Iterable[Leak]) -> set[str]:
    return {leak.place for leak in leaks}


# -- what a sandbox holds --------------------------------------------------------------------------

# The user agents of what nodes call with: simulated ones, and the scripts of real ones.
NODE_AGENTS = ("kubepark-boot", "Python-urllib")
# A node's file system below its folder in the state folder, by kind of node.
ROOTS = {"simulated": "nodes/{}/root", "real": "machines/{}/upper"}
NODE_WRITTEN = ("/join", "/kubeconfig", "/encryption-key")


def files(state: Path) -> Iterator[Document]:
    """Every file of a state folder, apart from the programs, which are links."""
    for path in sorted(state.rglob("*")):
        if path.is_symlink() or not path.is_file():
            continue
        name = str(path.relative_to(state))
        try:
            data = path.read_bytes()
        except FileNotFoundError:  # etcd's and the backend's temporary files
            continue
        if name == "logs/requests.jsonl":
            yield from requests(data)
        else:
            yield Document(_place(name), name, data.rstrip(b"\0"))  # etcd writes ahead of its data


def _place(name: str) -> str:
    top = name.split("/")[0]
    if "/var/lib/etcd/" in name or "/var-lib-etcd/" in name:
        return "etcd"
    if "/var/log/" in name or top == "logs":
        return "logs"
    return {"backend": "backend", "nodes": "node disks", "machines": "node disks"}.get(top, "state folder")


def requests(data: bytes) -> Iterator[Document]:
    """The emulator's record, one document a call; without the values that nodes write to SSM."""
    for number, line in enumerate(data.splitlines(), 1):
        request = json.loads(line)
        if is_node_write(request):
            request["params"].pop("Value")
        name = f"logs/requests.jsonl:{number}"
        yield Document("requests", name, json.dumps(request, ensure_ascii=False).encode())


def is_of_node(request: dict[str, object]) -> bool:
    """Whether a node asks."""
    return any(agent in str(request["userAgent"]) for agent in NODE_AGENTS)


def is_node_write(request: dict[str, object]) -> bool:
    """Whether a node stores one of the values that are its own to store."""
    params = request["params"]
    return (
        request["action"] == "PutParameter"
        and is_of_node(request)
        and isinstance(params, dict)
        and str(params["Name"]).endswith(NODE_WRITTEN)
    )


def keys_on_disks(state: Path) -> Iterator[Secret]:
    """Each private key of the master's disk: PEM files, and the client keys inside kubeconfigs.

    The administrator's kubeconfig is also in the home of the image's user.
    """
    by_text: dict[str, list[str]] = {}
    places = ("etc/kubernetes/**/*", "home/*/.kube/config")
    found = [state.glob(f"{root.format('*')}/{place}") for root in ROOTS.values() for place in places]
    for path in sorted(chain.from_iterable(found)):
        if path.suffix == ".key":
            text = key_line(path.read_text(encoding="utf-8"))
        elif path.name.endswith(("config", ".conf")) and "client-key-data" in (
            content := path.read_text(encoding="utf-8")
        ):
            text = client_key(content)  # a real kubelet's names a file elsewhere
        else:
            continue
        by_text.setdefault(text, []).append(str(path.relative_to(state)))
    for text, homes in by_text.items():
        yield Secret(f"key of {homes[0]}", text, frozenset(homes))


def client_key(kubeconfig: str) -> str:
    """The searchable line of a kubeconfig's client key."""
    user = yaml.safe_load(kubeconfig)["users"][0]["user"]
    return key_line(base64.b64decode(user["client-key-data"]).decode())


# -- argument lists --------------------------------------------------------------------------------


class Arguments:
    """The argument lists of all processes of this machine, sampled while the block runs."""

    def __init__(self) -> None:
        self.seen: dict[bytes, int] = {}  # argument list -> pid
        self.samples = 0
        self._looks: Counter[str] = Counter()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="arguments")

    def __enter__(self) -> Arguments:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def documents(self) -> list[Document]:
        return [Document("arguments", f"pid {pid}", text) for text, pid in self.seen.items()]

    def of(self, state: Path) -> set[str]:
        """The programs of one sandbox that were seen: those called by their path in its state folder."""
        folder = f"{state / 'bin'}/".encode()
        words = [text.split(b"\0")[0] for text in self.seen]
        return {word.removeprefix(folder).decode() for word in words if word.startswith(folder)}

    def wait_for(self, text: str, seconds: float = 10.0) -> None:
        """Until a sampled argument list holds `text`."""
        deadline = time.monotonic() + seconds
        while not any(text.encode() in seen for seen in list(self.seen)):
            assert time.monotonic() < deadline, "the process was not sampled"
            time.sleep(SAMPLE_SECONDS)

    def _run(self) -> None:
        while not self._stop.wait(SAMPLE_SECONDS):
            self.samples += 1
            live = [name for name in os.listdir("/proc") if name.isdigit()]  # noqa: PTH208 - often
            for pid in live:
                if self._looks[pid] >= _LOOKS:
                    continue
                self._looks[pid] += 1
                try:
                    text = Path("/proc", pid, "cmdline").read_bytes()
                except (FileNotFoundError, ProcessLookupError):
                    continue
                if text:
                    self.seen.setdefault(text, int(pid))
