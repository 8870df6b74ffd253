"""`python -m sandbox.providers.aws ENGINE`: the plugin process."""

from __future__ import annotations

import sys

from sandbox.providers.aws.backend import AwsBackend
from sandbox.providers.serve import main

if __name__ == "__main__":
    main(AwsBackend(), sys.argv[1:])
