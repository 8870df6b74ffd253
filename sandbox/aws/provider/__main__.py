"""`python -m sandbox.aws.provider ENGINE`: the plugin process."""

from __future__ import annotations

import sys

from sandbox.aws.provider.backend import AwsBackend
from sandbox.aws.provider.serve import main

if __name__ == "__main__":
    main(AwsBackend(), sys.argv[1:])
