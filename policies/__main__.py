"""The policy pack. `PolicyPack` serves until it is killed, so nothing but the pack is made here."""

import gc
import sys
from pathlib import Path

# What is imported below lives to the end: looking through it for garbage takes a fifth of the start.
gc.set_threshold(1_000_000)

from pulumi_policy import EnforcementLevel, PolicyPack  # noqa: E402

# The engine runs this file by path; the rules are the package `policies` beside the program.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from policies.conversion import convert_once  # noqa: E402
from policies.rules import POLICIES  # noqa: E402

convert_once()

PolicyPack(name="kubepark", policies=list(POLICIES), enforcement_level=EnforcementLevel.MANDATORY)
