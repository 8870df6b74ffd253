"""`kubepark people sync --external`: our people in the Dex of a Kubeflow that somebody else installed."""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from kubernetes import client
from kubernetes.client.exceptions import ApiException

from cli.cluster import connected, kubeconfig_of
from cli.dex_sync import Account, SyncRefused, synced
from cli.differences import difference
from cli.errors import CommandError
from cli.people_file import PeopleFile
from config import ROOT
from config.naming import CHECKSUM
from config.people import user_id

KEY = "config.yaml"
IDS = "kubepark/user-ids"  # on the ConfigMap: the userIDs that we wrote, sorted, as JSON
TRIES = 5
ROLLOUT_SECONDS = 300.0


@dataclass(frozen=True)
class DexLocation:
    """Where that Dex is."""

    namespace: str
    config_map: str
    deployment: str


def accounts(people: Sequence[Any], hashes: Mapping[str, str]) -> list[Account]:
    """One account for each active person who has a password, by name."""
    return [
        Account(email=each.email, username=each.key, user_id=user_id(each.key), hash=hashes[each.key])
        for each in sorted(people, key=lambda person: str(person.key))
        if each.active and each.key in hashes
    ]


class Sync:
    """One cluster's Dex. `core` and `apps` are the kubernetes client's APIs."""

    def __init__(self, core: Any, apps: Any, dex: DexLocation, log: Callable[[str], None]) -> None:
        self._core, self._apps, self._dex, self._log = core, apps, dex, log

    def run(self, wanted: Sequence[Account], *, dry_run: bool = False) -> bool:
        """Bring the accounts up to date and roll Dex; whether anything changed. Raises `CommandError`."""
        for _ in range(TRIES):
            found = self._config_map()
            text = self._text(found)
            new = synced(text, wanted, self._known(found))
            if dry_run:
                self._show(text, new)
                return new != text
            if self._write(found, new, wanted):
                break
        else:
            raise CommandError(f"{self._named} was changed by others {TRIES} times meanwhile; run this again")
        if new != text or self._known(found):  # also what an earlier run wrote and did not roll
            self._roll(new)
        if not wanted and self._known(found):
            self._forget()
        self._log(f"{len(wanted)} accounts of ours in {self._named}" + ("" if new != text else ": no change"))
        return new != text

    @property
    def _named(self) -> str:
        return f"ConfigMap {self._dex.namespace}/{self._dex.config_map}"

    # -- the ConfigMap -----------------------------------------------------------------------------

    def _config_map(self) -> Any:
        try:
            return self._core.read_namespaced_config_map(self._dex.config_map, self._dex.namespace)
        except ApiException as error:
            if error.status == 404:
                raise CommandError(
                    f"{self._named} does not exist: see --namespace and --config-map"
                ) from None
            raise _failed("reading", self._named, error) from None

    def _text(self, found: Any) -> str:
        text = (found.data or {}).get(KEY)
        if text is None:
            raise SyncRefused(
                [f"{self._named} has no key {KEY}; keys there: {', '.join(found.data or {}) or 'none'}"]
            )
        return str(text)

    @staticmethod
    def _known(found: Any) -> list[str]:
        try:
            ids = json.loads((found.metadata.annotations or {}).get(IDS, "[]"))
        except ValueError:
            return []
        return [str(each) for each in ids] if isinstance(ids, list) else []

    def _write(self, found: Any, text: str, wanted: Sequence[Account]) -> bool:
        """Whether it was written, or need not be. Of those who left the ids stay until Dex has rolled."""
        ids = sorted({account.user_id for account in wanted} or set(self._known(found)))
        if text == found.data[KEY] and ids == self._known(found):
            return True
        found.data[KEY] = text
        found.metadata.annotations = {**(found.metadata.annotations or {}), IDS: json.dumps(ids)}
        try:
            # With the resourceVersion that was read: whoever wrote meanwhile is not overwritten.
            self._core.replace_namespaced_config_map(self._dex.config_map, self._dex.namespace, found)
        except ApiException as error:
            if error.status == 409:
                return False
            raise _failed("writing", self._named, error) from None
        return True

    def _forget(self) -> None:
        patch = {"metadata": {"annotations": {IDS: None}}}
        self._core.patch_namespaced_config_map(self._dex.config_map, self._dex.namespace, patch)

    def _show(self, text: str, new: str) -> None:
        self._log(difference(text, new, KEY) or "no change")

    # -- the Deployment ----------------------------------------------------------------------------

    def _roll(self, text: str) -> None:
        """New pods for a new file: Dex reads it at its start only. None if they have read this one."""
        name, namespace = self._dex.deployment, self._dex.namespace
        digest = hashlib.sha256(text.encode()).hexdigest()
        try:
            found = self._apps.read_namespaced_deployment(name, namespace)
            current = (found.spec.template.metadata.annotations or {}).get(CHECKSUM)
            if current != digest:
                template = {"metadata": {"annotations": {CHECKSUM: digest}}}
                self._apps.patch_namespaced_deployment(name, namespace, {"spec": {"template": template}})
            self._await(name, namespace)
        except ApiException as error:
            raise _failed("rolling", f"Deployment {namespace}/{name}", error) from None

    def _await(self, name: str, namespace: str) -> None:
        deadline, logged = time.monotonic() + ROLLOUT_SECONDS, ""
        while True:
            found = self._apps.read_namespaced_deployment(name, namespace)
            status, wanted = found.status, found.spec.replicas
            seen = (status.observed_generation or 0) >= found.metadata.generation
            updated, ready = status.updated_replicas or 0, status.available_replicas or 0
            if seen and updated == ready == (status.replicas or 0) == wanted:
                return
            line = f"Deployment {namespace}/{name}: {updated} of {wanted} pods are new, {ready} ready"
            if line != logged:
                self._log(line)
                logged = line
            if time.monotonic() > deadline:
                raise CommandError(
                    f"{line} after {ROLLOUT_SECONDS:.0f} s; look at: kubectl -n {namespace} describe pods"
                )
            time.sleep(1.0)


def external(
    stack: str, dex: DexLocation, *, remove: bool, dry_run: bool, kubeconfig: str | None, context: str | None
) -> bool:
    """Carry `kubepark people sync --external` out; whether anything changed. Raises `CommandError`."""
    from cli.pulumi import password_hashes

    wanted: list[Account] = []
    if not remove:
        wanted = accounts(PeopleFile(ROOT, stack).settings().people, password_hashes(stack))
    log = partial(print, file=sys.stderr, flush=True)
    with connected(kubeconfig_of(stack, kubeconfig), context) as api:
        return Sync(client.CoreV1Api(api), client.AppsV1Api(api), dex, log).run(wanted, dry_run=dry_run)


def _failed(what: str, where: str, error: Any) -> CommandError:
    try:
        message = json.loads(error.body)["message"]
    except (TypeError, ValueError, KeyError):
        message = error.reason
    return CommandError(f"{what} {where} failed: {message}")
