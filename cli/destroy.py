"""`kubepark destroy`: the stack, and what the cluster's controllers left; then a list of what is there still.

Each step can be interrupted, and the command run again: it looks at what is there, and never remembers.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

from cli import cluster, destroy_cluster, leftovers, questions, recovery
from cli.aws import client
from cli.destroy_cluster import Claimed
from cli.errors import CommandError
from cli.inventory import Account, Inventory
from cli.leftovers import Found, Plan, Report, Wanted
from cli.price_format import table_of
from cli.pulumi import Pulumi
from cli.stackfile import cluster_of, config_of, setting
from cli.sweep import Deleter, sweep
from cli.volume_policy import VolumePolicy
from config.naming import PROJECT

SECONDS = 300.0  # for controllers, and again for AWS, to let go: its load balancers take minutes
PROD = "prod"  # the stack whose end takes more than a yes
PREVIEW_ONLY = "--preview-only"


@dataclass(frozen=True, kw_only=True)
class Request:
    """What the person said. `volumes` None: not said. `seconds`: how long others may take to let go."""

    yes: bool = False
    purge: bool = False
    volumes: VolumePolicy | None = None
    seconds: float = SECONDS
    as_json: bool = False


class Destroy:
    """One run on a stack. `asks`: whether somebody is there to answer; `kept`: a sandbox's kubeconfig."""

    def __init__(self, cli: Pulumi, request: Request, *, asks: bool, kept: cluster.Kubeconfig | None) -> None:
        self._cli, self._request, self._kept = cli, request, kept
        self._asks = asks and not request.yes
        self._config = config_of(cli.stack)
        self._cluster = cluster_of(cli.stack)
        self._region = str(setting(self._config, f"{PROJECT}:aws.region"))
        self._client: Callable[[str], Any] = cache(partial(client, stack=cli.stack, variables=cli.variables))
        self._account = Account(self._client, self._cluster, table_of(self._region))
        self._kubeconfig: cluster.Kubeconfig | None = None  # None: the cluster does not answer
        self._claimed: list[Claimed] = []
        self._in_state: set[str] = set()  # ids of what pulumi knows, until it has deleted that
        self._out = sys.stderr if request.as_json else sys.stdout

    def run(self, options: Sequence[str], gone: Callable[[], None]) -> int:
        """The exit code: pulumi's if it failed, else 1 if something is left that nobody asked to stay.

        `gone`: called when the stack's own resources are.
        """
        if self._request.as_json and self._asks:
            raise CommandError(
                "--json asks no questions; fix: add --yes, and --volumes if you do not keep them"
            )
        self._require_account()
        wanted = self._wanted()
        self._ask_cluster()
        inventory = self._inventory()
        wanted = self._ask_volumes(wanted, inventory)
        self._in_state = recovery.ids(self._cli)
        planned = self._plan(inventory, wanted)
        self._say(f"cluster {self._cluster} in {self._region}, beside the stack's own resources:")
        for line in leftovers.intentions(planned, wanted) or ["  nothing to delete or to keep"]:
            self._say(line)
        for what, why in inventory.unanswered.items():
            self._say(f"  unknown: {what}: {why}")
        if PREVIEW_ONLY in options:
            return self._pulumi(options)
        self._consent()
        try:
            return self._steps(options, wanted, gone)
        except KeyboardInterrupt:
            self._say("interrupted; run it again: it goes on from what is there then")
            raise

    def _steps(self, options: Sequence[str], wanted: Wanted, gone: Callable[[], None]) -> int:
        deleter = Deleter(self._client, self._cluster, wanted.volumes, self._say)
        deleted = self._before_pulumi(deleter, wanted)
        code = self._pulumi(["--yes", *options])
        if code != 0:
            self._say("nothing else was deleted; run it again when the error above is dealt with")
            return code
        self._in_state = set()
        gone()
        self._say("sweep: what controllers left")
        more, reasons = self._sweep(deleter, self._plan(self._inventory(), wanted).delete)
        return self._report([*deleted, *more], reasons, wanted)

    # -- before anything goes ----------------------------------------------------------------------

    def _require_account(self) -> None:
        """Tags are looked for in the stack's account and in no other. Raises: CommandError."""
        wanted = setting(self._config, f"{PROJECT}:aws.accountId")
        found = self._client("sts").get_caller_identity()["Account"]
        if wanted and str(wanted) != found:
            raise CommandError(
                f"stack {self._cli.stack} is in account {wanted}, and these credentials are of {found}; "
                "nothing was destroyed. Fix: credentials of that account, by AWS_PROFILE for example"
            )

    def _ask_cluster(self) -> None:
        """Which volumes are its own, whatever their tags. One that does not answer is asked nothing else."""
        try:
            kubeconfig = self._kept or self._published()
            self._claimed = destroy_cluster.claims(kubeconfig)
        except CommandError as error:
            self._say(f"the Kubernetes API is not asked: {error}")
            return
        self._kubeconfig = kubeconfig
        self._account.claimed = [each.volume for each in self._claimed]

    def _published(self) -> cluster.Kubeconfig:
        text = cluster.published(self._cli)
        if not text:
            raise CommandError("nothing is deployed")
        return cluster.parsed(text, self._cli.stack)

    def _wanted(self) -> Wanted:
        volumes, purge = self._request.volumes, self._request.purge
        if purge and volumes not in (None, VolumePolicy.DELETE):
            raise CommandError(
                f"--volumes {volumes} keeps what --purge makes unreadable: its key is deleted; "
                "accepted with --purge: --volumes delete, or nothing"
            )
        return Wanted(volumes=VolumePolicy.DELETE if purge else volumes or VolumePolicy.KEEP, purge=purge)

    def _ask_volumes(self, wanted: Wanted, inventory: Inventory) -> Wanted:
        """Nobody is asked in prod: there they stay unless the command says otherwise."""
        volumes = [each for each in inventory.found if each.kind is leftovers.VOLUME and not each.follows]
        asked = self._request.volumes is None and not wanted.purge and self._cli.stack != PROD
        if not (volumes and asked and self._asks):
            return wanted
        for each in volumes:
            self._say(f"  {each}")
        answer = questions.choose("What becomes of these volumes?", list(VolumePolicy), VolumePolicy.KEEP)
        return Wanted(volumes=VolumePolicy(answer), purge=wanted.purge)

    def _consent(self) -> None:
        """Raises: CommandError unless the person agrees; in prod by the name of the stack."""
        if not self._asks:
            return
        if self._cli.stack != PROD:
            own = f"{len(self._in_state)} resources of its own"
            questions.confirm(f"Destroy stack {self._cli.stack} ({own}), and delete what is listed?")
        elif (
            questions.answer(f"To destroy it, type the name of the stack ({self._cli.stack})")
            != self._cli.stack
        ):
            raise CommandError("that is not the name of the stack; nothing was changed")

    # -- the steps ---------------------------------------------------------------------------------

    def _before_pulumi(self, deleter: Deleter, wanted: Wanted) -> list[str]:
        """What holds the network goes first: the provider waits 45 minutes for a subnet, and fails."""
        if self._kubeconfig is not None:
            self._say("in the cluster: load balancers and volumes of pods")
            for id in destroy_cluster.mark_volumes(self._client("ec2"), self._cluster, self._claimed):
                self._say(f"volume {id} was made for a claim; it is tagged as the cluster's")
            try:
                destroy_cluster.release(self._kubeconfig, self._say, seconds=self._request.seconds)
            except CommandError as error:
                self._say(f"left to the sweep: {error}")
        planned = self._plan(self._inventory(), wanted, before=True)
        return self._sweep(deleter, planned.delete)[0]

    def _pulumi(self, options: Sequence[str]) -> int:
        return self._cli.operate("destroy", *options, output=self._out if self._request.as_json else None)

    def _sweep(self, deleter: Deleter, found: Sequence[Found]) -> tuple[list[str], Mapping[str, str]]:
        return sweep(found, deleter.delete, self._say, seconds=self._request.seconds)

    def _report(self, deleted: Sequence[str], reasons: Mapping[str, str], wanted: Wanted) -> int:
        inventory = self._inventory()
        planned = self._plan(inventory, wanted)
        left = {each: reasons.get(each.id, "it came after the sweep") for each in planned.delete}
        report = Report(
            region=self._region,
            deleted=tuple(deleted),
            stay=planned.stay,
            remains=left | dict.fromkeys(planned.other, "this command does not delete it"),
            follows=tuple(each for each in inventory.found if each.follows),
            unanswered=inventory.unanswered,
        )
        if self._request.as_json:
            document = {"stack": self._cli.stack, "cluster": self._cluster, "region": self._region}
            print(json.dumps(document | report.document(), indent=2))
        else:
            for line in report.lines():
                self._say(line)
        return 0 if report.clean else 1

    def _inventory(self) -> Inventory:
        return self._account.inventory()

    def _plan(self, inventory: Inventory, wanted: Wanted, *, before: bool = False) -> Plan:
        return leftovers.plan(inventory.found, self._in_state, wanted, before=before)

    def _say(self, line: str) -> None:
        print(line, file=self._out, flush=True)
