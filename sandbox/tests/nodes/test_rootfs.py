"""What machines are made of: Ubuntu where its mirror answers, else the host's distribution."""

from __future__ import annotations

import functools
import http.server
import platform
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.errors import SandboxError
from sandbox.nodes.real import rootfs

DEBIAN = {"ID": "debian", "VERSION_CODENAME": "bookworm"}
UBUNTU = {"ID": "ubuntu", "VERSION_CODENAME": "jammy"}


@pytest.mark.parametrize(
    ("host", "mirror_is", "suite"),
    [
        (DEBIAN, "there", "noble"),
        (DEBIAN, "silent", "bookworm"),
        (DEBIAN, "closed", "bookworm"),  # it answers, and does not serve
        (UBUNTU, "there", "jammy"),
        (UBUNTU, "silent", "jammy"),
    ],
)
def test_ubuntus_where_its_mirror_serves_it_and_an_ubuntu_host_has_its_own(
    host: dict[str, str],
    mirror_is: str,
    suite: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    made: list[tuple[str, bool]] = []

    def make(made_of: rootfs.Distribution, cache: Path) -> rootfs.RootFs:
        if (made_of.suite, mirror_is) == ("noble", "closed"):
            raise SandboxError("403 Forbidden")
        made.append((made_of.suite, "universe" in made_of.components))
        rootfs._target(cache, made_of).mkdir()
        return rootfs.RootFs(rootfs._target(cache, made_of))

    monkeypatch.setattr(platform, "freedesktop_os_release", lambda: host)
    monkeypatch.setattr(rootfs, "_answers", lambda: mirror_is != "silent")
    monkeypatch.setattr(rootfs, "_make", make)
    (tmp_path / ".rootfs-killed").mkdir()
    first = rootfs.ensure(tmp_path)
    # Made once, and used whether the mirror answers or not.
    monkeypatch.setattr(rootfs, "_answers", lambda: False)
    assert rootfs.ensure(tmp_path).root == first.root
    assert made == [(suite, suite != "bookworm")]
    assert not (tmp_path / ".rootfs-killed").exists()
    said = "will be debian's, not Ubuntu's: 403 Forbidden" in capsys.readouterr().err
    assert said == (mirror_is == "closed")


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of a mirror on loopback."""
    (tmp_path / "mirror").mkdir()
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path / "mirror"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setattr(rootfs, "_MIRROR", f"http://127.0.0.1:{server.server_port}")
        yield tmp_path / "mirror"
        server.shutdown()


def test_a_mirror_answers_with_the_suite_or_not(mirror: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not rootfs._answers()
    (mirror / "dists/noble").mkdir(parents=True)
    (mirror / "dists/noble/InRelease").touch()
    assert rootfs._answers()
    monkeypatch.setattr(rootfs, "_MIRROR", "http://127.0.0.1:1")
    assert not rootfs._answers()


def test_a_keyring_that_is_another_is_refused(mirror: Path, tmp_path: Path) -> None:
    with pytest.raises(SandboxError, match="404"):
        rootfs._keyring(tmp_path)
    file = mirror / rootfs._KEYRING[0]
    file.parent.mkdir(parents=True)
    file.write_bytes(b"other keys")
    with pytest.raises(SandboxError, match=f"has the SHA-256 [0-9a-f]{{64}}, not {rootfs._KEYRING[1]}"):
        rootfs._keyring(tmp_path)
