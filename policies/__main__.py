"""The policy pack. `PolicyPack` serves until it is killed, so nothing but the pack is made here."""

import sys
from pathlib import Path

from pulumi_policy import EnforcementLevel, PolicyPack

# The engine runs this file by path; the rules are the package `policies` beside the program.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from policies.rules import POLICIES

PolicyPack(name="kubepark", policies=list(POLICIES), enforcement_level=EnforcementLevel.MANDATORY)
