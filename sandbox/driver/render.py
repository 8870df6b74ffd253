"""Engine events as lines for people: plain when piped, with colour and a live list on a terminal."""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any, TextIO

from sandbox.driver.events import OPERATIONS, Step, Urn, step_of

REMINDER = 30.0  # seconds after which a step that still runs is named again, where nothing is drawn live
VALUE_WIDTH = 100  # characters of a property's value that a diff shows

# Not news: the stand-ins and our own builds are on PATH on purpose.
_NOISE = re.compile(r"^using \S+ from \$PATH at |^(update|preview|refresh|destroy) failed$")
# What the engine puts before the program's last words when it says them again; the latter when the
# SDK's own clean-up after the program meets the same error in a task.
_SECOND_COPY = re.compile(r"^(an unhandled error occurred|Exception calling application): ")
# The engine's markup for colours.
_MARKUP = re.compile(r"<\{%[^%]*%\}>")
_STYLES = {"+": "green", "~": "yellow", "-": "red", "+-": "magenta", "++": "green", "--": "red"}


class Renderer:
    """Plain text: one line per finished step, messages as they come, a summary.

    `show_diff` prints values, not only property names. `quiet` prints messages and nothing else
    (the output belongs to a JSON document).
    """

    def __init__(self, stream: TextIO, *, show_diff: bool = False, quiet: bool = False) -> None:
        self.stream = stream
        self.show_diff = show_diff
        self.quiet = quiet
        self.errors: list[str] = []
        self.summary: dict[str, int] = {}  # engine's name of an operation -> count
        self.totals = ""  # what was done, in words, once there is a summary of it
        self.failed = 0
        self.running: dict[str, tuple[Step, float]] = {}
        self._done: Counter[str] = Counter()
        self._started = time.monotonic()
        self._said: set[str] = set()
        self._status: dict[str, str] = {}
        self._looked = self._started  # when `remind` last was asked

    # -- what subclasses change --------------------------------------------------------------------

    def write(self, line: str, style: str = "") -> None:
        self.stream.write(f"{line}\n")  # at once, for two threads write
        self.stream.flush()

    def close(self) -> None:
        """No more events will come."""

    def remind(self) -> None:
        """Name what has been running for long, so that a log shows what an operation waits for.

        To be called every few seconds, from any thread.
        """
        now, last = time.monotonic(), self._looked
        self._looked = now
        for step, begun in list(self.running.values()):
            periods, known = (now - begun) // REMINDER, (max(last, begun) - begun) // REMINDER
            if step.planning or not step.visible or periods == known:
                continue
            symbol, plan, _ = OPERATIONS.get(step.operation, ("", step.operation, ""))
            what = f"{symbol:>2} {self._what(step)} {plan}"
            self._line(f"{self._clock()} {what}: still at it after {now - begun:.0f} s")

    # -- events ------------------------------------------------------------------------------------

    def handle(self, event: Mapping[str, Any]) -> None:
        """Show one event."""
        moment_and_step = step_of(event)
        if moment_and_step:
            self._step(*moment_and_step)
        elif "diagnosticEvent" in event:
            self._message(event["diagnosticEvent"])
        elif "policyEvent" in event:
            self._policy(event["policyEvent"])
        elif "errorEvent" in event:
            self._error("", event["errorEvent"]["error"])
        elif "summaryEvent" in event:
            self._summary(event["summaryEvent"])
        elif "progressEvent" in event and event["progressEvent"].get("done"):
            self._line(f"      {event['progressEvent']['message']}")

    def _step(self, moment: str, step: Step) -> None:
        if moment == "begin":
            self.running[step.urn.text] = (step, time.monotonic())
            if step.planning and step.visible:
                self._plan(step)
            return
        announced, begun = self.running.pop(step.urn.text, (step, time.monotonic()))
        if step.planning and announced.operation == "refresh" and step.visible:
            self._plan(step)  # only the end of reading says what has changed
        if step.planning or not (step.visible or moment == "failed"):
            return
        symbol, plan, result = OPERATIONS.get(step.operation, ("", step.operation, step.operation))
        words = result if moment == "end" else f"FAILED to {plan}"
        if moment == "failed":
            self.failed += 1
        else:
            self._done[step.operation] += 1
        took = time.monotonic() - begun
        style = _STYLES.get(symbol, "") if moment == "end" else "bold red"
        self._line(f"{self._clock()} {symbol:>2} {self._what(step)} {words} in {took:.1f} s", style)
        if self.show_diff:
            self._diff(step)

    def _plan(self, step: Step) -> None:
        symbol, plan, _ = OPERATIONS[step.operation]
        paths = "" if self.show_diff or step.operation == "create" else _paths(step)
        self._line(f"{symbol:>2} {self._what(step)} {plan}{paths}", _STYLES.get(symbol, ""))
        if self.show_diff:
            self._diff(step)

    def _diff(self, step: Step) -> None:
        """The changed properties with their values; for a creation all that it is created with."""
        paths = step.changes or (dict.fromkeys(step.new, "add") if step.operation == "create" else {})
        for path, kind in sorted(paths.items()):
            before, after = step.values(path)
            sign = {"add": "+", "delete": "-"}.get(kind.split("-")[0], "~")
            change = {"+": _text(after), "-": _text(before)}.get(sign, f"{_text(before)} => {_text(after)}")
            forced = "  (forces replacement)" if kind.endswith("replace") else ""
            self._line(f"       {sign} {path}: {change}{forced}")

    def _message(self, diagnostic: Mapping[str, Any]) -> None:
        text = _MARKUP.sub("", diagnostic["message"]).strip()
        severity, urn = diagnostic["severity"], diagnostic.get("urn", "")
        if not text or _NOISE.match(text) or severity == "debug":
            return
        if severity == "error":
            self._error(urn, text)
        elif diagnostic.get("ephemeral"):
            self._progress(urn, text)
        elif (text := _named(urn, text)) not in self._said:
            self._said.add(text)
            label = "warning: " if severity == "warning" else ""
            self._line(f"      {label}{_indented(text)}", "yellow" if label else "", always=bool(label))

    def _progress(self, urn: str, text: str) -> None:
        """What a resource is waiting for; said once for each new state of things."""
        if self._status.get(urn) != text:
            self._status[urn] = text
            self._line(f"      {Urn(urn).name if urn else ''}: {_indented(text)}")

    def _error(self, urn: str, text: str) -> None:
        """An error, once: the SDK reports the end of the program a second time in other words."""
        text = _SECOND_COPY.sub("", _MARKUP.sub("", text).strip())
        if any(text in known for known in self.errors):
            return
        self.errors.append(text)
        self._line(f"error: {_indented(_named(urn, text))}", "bold red", always=True)

    def _policy(self, policy: Mapping[str, Any]) -> None:
        mandatory = policy["enforcementLevel"] == "mandatory"
        urn = policy.get("resourceUrn")
        where = f"{Urn(urn).type} {Urn(urn).name}: " if urn else ""
        text = f"{where}{_MARKUP.sub('', policy['message']).strip()} [{policy['policyName']}]"
        if mandatory:
            self._error("", f"policy violation: {text}")
        elif text not in self._said:
            self._said.add(text)
            self._line(f"      policy advice: {_indented(text)}", "yellow", always=True)

    def _summary(self, summary: Mapping[str, Any]) -> None:
        """Remember the counts, and say them if all went well; `totals` has them for the last word."""
        self.summary = {op: count for op, count in (summary.get("resourceChanges") or {}).items() if count}
        preview = bool(summary.get("isPreview"))
        words = [
            f"{count} to {OPERATIONS[op][1]}" if preview else f"{count} {OPERATIONS[op][2]}"
            for op, count in self.summary.items()
            if op in OPERATIONS
        ]
        words += [f"{self.failed} failed"] if self.failed else []
        totals = f"{', '.join(words) or 'no changes'}; {self.summary.get('same', 0)} unchanged"
        if not preview:  # what a failed preview would have done is of no use
            self.totals = totals
        if not self.errors:
            self._line(f"{self._clock()}    {totals}", "bold")

    # -- pieces ------------------------------------------------------------------------------------

    def _line(self, line: str, style: str = "", *, always: bool = False) -> None:
        if always or not self.quiet:
            self.write(line, style)

    def _clock(self) -> str:
        return f"{time.monotonic() - self._started:6.1f} s"

    def _what(self, step: Step) -> str:
        parent = step.parent.name if step.parent and "pulumi:pulumi:Stack" not in step.parent.text else ""
        name = f"{step.urn.name} (in {parent})" if parent else step.urn.name
        return f"{step.urn.type:<38} {name:<48}"


def _paths(step: Step) -> str:
    forced = [path for path, kind in step.changes.items() if kind.endswith("replace")]
    shown = forced or list(step.changes)
    return f" [{', '.join(sorted(shown))}]" if shown else ""


def _text(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, sort_keys=True)
    return text if len(text) <= VALUE_WIDTH else f"{text[: VALUE_WIDTH - 3]}..."


def _named(urn: str, text: str) -> str:
    """With the resource that it is said of in front, unless the text begins with it."""
    name = Urn(urn).name
    of_stack = not urn or "pulumi:pulumi:Stack" in urn
    return text if of_stack or text.startswith(name) else f"{name}: {text}"


def _indented(text: str) -> str:
    return text.replace("\n", "\n       ")
