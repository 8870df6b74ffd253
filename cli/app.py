"""The `kubepark` command line's frame: its groups of commands, and the options that many of them share."""

from __future__ import annotations

from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from cli import environments

# Sub-commands in modules of their own, imported when they are named: one line of help.
_GROUPS = {
    "verify": "Check the running cluster.",
    "people": "People who may log in.",
    "manifests": "Upstream manifests.",
    "review-stack": "A cluster for one pull request.",
}
# Verbs that only a sandbox stack has; they live with the sandbox.
_SANDBOX = ("down", "reset", "env")


class _Groups(TyperGroup):
    """A command group that loads the commands of `_GROUPS` and `_SANDBOX` on first use."""

    def list_commands(self, ctx: Any) -> list[str]:
        return [*super().list_commands(ctx), *_GROUPS, *_SANDBOX]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name in _SANDBOX:
            return typer.main.get_group(environments.sandbox().app).get_command(ctx, cmd_name)
        if cmd_name not in _GROUPS:
            return super().get_command(ctx, cmd_name)
        command = typer.main.get_command(import_module(f"cli.{cmd_name.replace('-', '_')}").app)
        command.help = _GROUPS[cmd_name]
        return command


app = typer.Typer(
    cls=_Groups,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    help=(
        "A kubeadm Kubernetes cluster with a GPU node on EC2, and a sandbox that runs all of it "
        "on this machine.\n\nExit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted at a question; "
        "those of an operation are pulumi's."
    ),
)

Stack = Annotated[
    str, typer.Option("--stack", "-s", envvar="STACK", help="The stack: sandbox, dev, prod, ...")
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")]
# What we do not know is for pulumi, which has its own --help.
PASS_ON = {"allow_extra_args": True, "ignore_unknown_options": True}


def options(context: typer.Context) -> list[str]:
    """What is passed on to pulumi."""
    if context.args and not context.args[0].startswith("-"):
        context.fail(f"Got unexpected extra argument ({context.args[0]}); a stack is named by --stack")
    return context.args
