"""`python -m sandbox.providers.kubernetes ENGINE`: the plugin process."""

from __future__ import annotations

import sys

from sandbox.providers.kubernetes.backend import KubernetesBackend
from sandbox.providers.serve import main

if __name__ == "__main__":
    main(KubernetesBackend(), sys.argv[1:])
