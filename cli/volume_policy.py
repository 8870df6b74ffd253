"""What becomes of the volumes that pods asked for, when their cluster is destroyed."""

from __future__ import annotations

from enum import StrEnum


class VolumePolicy(StrEnum):
    """`snapshot`: each volume is deleted once a snapshot of it is complete."""

    KEEP = "keep"
    SNAPSHOT = "snapshot"
    DELETE = "delete"
