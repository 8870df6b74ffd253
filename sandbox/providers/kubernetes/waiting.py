"""Bounded waits that say, when they fail, what the cluster says about the object."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from sandbox.providers.backend import Properties, ProviderError
from sandbox.providers.kubernetes.api import Api, Object
from sandbox.providers.kubernetes.objects import annotation, at, metadata
from sandbox.providers.kubernetes.readiness import READY, RULES, Verdict, condition, words

_T = TypeVar("_T")
# Seconds; the official provider's own deadlines. `_SERVED`: for a kind whose definition may be on its way.
_READY, _GONE, _SERVED = 600.0, 300.0, 15.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 1.0
_MOST_WORDS = 12


class NotReady(Exception):
    """The wait ended without success; `live` is the object as last seen."""

    def __init__(self, live: Object, reasons: list[str]) -> None:
        super().__init__("; ".join(reasons))
        self.live = live
        self.reasons = reasons


class Waiter:
    """Waits for one provider; `cancel` ends all of them."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._cancelled = threading.Event()

    def cancel(self) -> None:
        self._cancelled.set()

    def until_ready(self, path: str, rule: str, live: Object, timeout: float) -> Object:
        """The object when its kind's rule (a key of RULES) is content. Raises NotReady."""
        deadline = time.monotonic() + timeout
        for _ in self._pauses():
            verdict = judge(rule, live, self._api)
            if verdict.ready:
                return live
            if verdict.final:
                raise NotReady(live, self._told(live, verdict, None))
            if self._cancelled.is_set():
                raise NotReady(live, self._told(live, verdict, "the wait was cancelled"))
            if time.monotonic() > deadline:
                raise NotReady(live, self._told(live, verdict, f"not ready after {timeout:.0f} s"))
            found = self._api.find(path)
            if found is None or _uid(found) != _uid(live):
                raise NotReady(live, ["somebody deleted it while it was waited for"])
            live = found
        return live

    def until_gone(self, path: str, live: Object, timeout: float) -> None:
        """Return when the object, or another of its name, is no longer that one. Raises NotReady."""
        deadline = time.monotonic() + timeout
        for _ in self._pauses():
            found = self._api.find(path)
            if found is None or _uid(found) != _uid(live):
                return
            live = found
            late = time.monotonic() > deadline
            if late or self._cancelled.is_set():
                why = (
                    f"it still exists after {timeout:.0f} s" if late else "the wait for its end was cancelled"
                )
                raise NotReady(live, [why, *_leftovers(live)])

    def until_found(self, look: Callable[[], _T | None], timeout: float = _SERVED) -> _T | None:
        """What `look` finds, None if it finds nothing in time."""
        deadline = time.monotonic() + timeout
        for _ in self._pauses():
            found = look()
            if found is not None or self._cancelled.is_set() or time.monotonic() > deadline:
                return found
        return None

    def _pauses(self) -> Iterator[None]:
        pause = _FIRST_PAUSE
        while True:
            yield
            self._cancelled.wait(pause)
            pause = min(pause * 1.4, _LONGEST_PAUSE)

    def _told(self, live: Object, verdict: Verdict, why: str | None) -> list[str]:
        told = ([why] if why else []) + list(verdict.reasons)
        try:
            told += _explanations(live, self._api)
        except ProviderError as error:  # the API is gone: what was heard before is what there is
            told.append(str(error))
        return list(dict.fromkeys(told))[:_MOST_WORDS]


def judge(rule: str, live: Object, api: Api) -> Verdict:
    """The verdict of a kind's rule; an object that is not to be waited for is ready."""
    if rule not in RULES or annotation(live, "skipAwait") == "true":
        return READY
    return RULES[rule](live, api)


def seconds(inputs: Properties, custom: float, *, deleting: bool = False) -> float:
    """How long to wait: custom timeout of the resource, else its annotation, else the default."""
    marked = annotation(inputs, "timeoutSeconds")
    if custom:
        return custom
    return float(marked) if marked else _GONE if deleting else _READY


def _uid(live: Object) -> str | None:
    return metadata(live).get("uid")


def _leftovers(live: Object) -> list[str]:
    """Why a deletion hangs: finalizers, and a Namespace's own conditions."""
    finalizers = metadata(live).get("finalizers") or []
    told = [f"waiting for the finalizers {', '.join(finalizers)}"] if finalizers else []
    entries = at(live, "status", "conditions") or []
    if live.get("kind") == "Namespace":
        told += [words(entry) for entry in entries if entry.get("status") == "True"]
    return told


def _explanations(live: Object, api: Api) -> Iterator[str]:
    """What its pods and the events of both say."""
    yield from _events(live, api)
    labels = at(live, "spec", "selector", "matchLabels")
    if not labels or not metadata(live).get("namespace"):
        return
    selector = ",".join(f"{key}={value}" for key, value in labels.items())
    path = f"/api/v1/namespaces/{metadata(live)['namespace']}/pods"
    for pod in api.list(path, {"labelSelector": selector, "limit": "20"}):
        name = metadata(pod)["name"]
        if condition(pod, "Ready").get("status") == "True":
            continue
        for told in (*_pod_words(pod), *_events(pod, api)):
            yield f"pod {name}: {told}"


def _pod_words(pod: Object) -> Iterator[str]:
    scheduled = condition(pod, "PodScheduled")
    if scheduled.get("status") == "False":
        yield words(scheduled)
    for status in at(pod, "status", "containerStatuses") or []:
        for state in ("waiting", "terminated"):
            entry = at(status, "state", state)
            if entry and entry.get("exitCode") != 0:
                yield f"container {status['name']} {state}: {words(entry)}"


def _events(live: Object, api: Api) -> Iterator[str]:
    """Warnings about an object. Those about cluster-scoped ones are filed under `default`."""
    namespace = metadata(live).get("namespace") or "default"
    query = {"fieldSelector": f"involvedObject.uid={_uid(live)},type=Warning", "limit": "20"}
    for event in api.list(f"/api/v1/namespaces/{namespace}/events", query):
        yield words(event)
