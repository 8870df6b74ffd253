"""The stack configuration as plain `Settings`, and what the whole program is named by."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]  # of the project
