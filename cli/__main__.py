"""`python -m cli`: the `kubepark` command."""

from __future__ import annotations

from cli.main import run

run()
