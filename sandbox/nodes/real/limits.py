"""What the kernel lets one user have at a time, where machines need more of it than it is by default."""

from __future__ import annotations

from pathlib import Path

from sandbox.progress import note

# Five machines take 94 inotify instances (counted: kubelets 31, systemd 25, containerd 10...) of root's 128,
# which other sandboxes and the host's own services share. containerd without one serves no containers, and
# all it says is "unknown service runtime.v1.RuntimeService".
_INSTANCES = Path("/proc/sys/fs/inotify/max_user_instances")
_ENOUGH = 1024


def lift() -> None:
    """Have enough inotify instances until the next boot of this host, and say so if that is a change."""
    before = int(_INSTANCES.read_text(encoding="utf-8"))
    if before >= _ENOUGH:
        return
    setting = "fs.inotify.max_user_instances"
    why = "machines take twenty each, and root's others share them"
    try:
        _INSTANCES.write_text(f"{_ENOUGH}\n", encoding="utf-8")
    except OSError as error:
        note(
            f"{setting} is {before} here, and cannot be set ({error.strerror}): {why}; see docs/real-nodes.md"
        )
    else:
        note(f"{setting} is {_ENOUGH} until the next boot, it was {before}: {why}")
