"""The operator's kubeconfig: where this machine keeps it, and for which address of the API.

Pulumi's state holds the path of the file and nothing of what is in it. Whoever may preview a stack has the
key of its secrets, and so reads whatever the state holds, encrypted or not.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from config.files import replace_file

# Valid, and of no cluster: the Kubernetes provider then compares with the state alone, and asks no server.
NOWHERE = "apiVersion: v1\nkind: Config\n"
FOLDER = ".kubepark"  # of the files, in the project's root


def file_of(cluster: str, identity: int) -> str:
    """The file of a cluster, relative to the project's root, where the CLI starts program and providers.

    Another identity is another path, so that the engine makes the provider anew before it deletes and makes
    objects in the new cluster.
    """
    return f"{FOLDER}/{cluster}.{identity}.kubeconfig"


def keep(path: str | os.PathLike[str], text: str) -> None:
    """Write the file in one step, for its owner alone. Without a text a file that is there stays, and else it
    becomes `NOWHERE`."""
    file = Path(path)
    if text or not file.exists():
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        replace_file(file, text or NOWHERE)


def kept(path: str | os.PathLike[str]) -> str:
    """What `keep` has written; "" if that is nothing."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""
    return "" if text == NOWHERE else text


def with_server(kubeconfig: str, endpoint: str) -> str:
    """A kubeconfig for this endpoint. The master publishes the one that it was made with, for life."""
    return re.sub(r"(?m)^( +server:).*$", lambda found: f"{found[1]} {endpoint}", kubeconfig)
