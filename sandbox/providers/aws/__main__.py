"""`python -m sandbox.providers.aws ENGINE`: the plugin process."""

from __future__ import annotations

import gc
import sys

if __name__ == "__main__":
    gc.set_threshold(100_000)  # what is imported lives to the end: looking for garbage is a waste

    from sandbox.providers.aws.backend import AwsBackend
    from sandbox.providers.serve import main

    main(AwsBackend(), sys.argv[1:])
