"""The rules engine: readings and time in, alerts out.

    Now, Reading, Said ─► Engine.tick ─► Alert, for each change

Rules of this module:

* Pure. Time comes in with every tick: lengths are by the running clock, which no one sets; UTC is what is shown
  and what outlives the process. Where UTC is set, all that was promised in it moves along: an hour of snooze is
  an hour.
* What is not known is neither well nor ill. Without a value an alert stays as it is, is not announced again, and
  `for_s` and `keep_for_s` stand still.
* What an alert is, its newest `Alert` says in full: an engine goes on from those that were stored.
* A snooze is for the alert, not for one reading: it outlives clearing and raising, and is ended by its time, by a
  person or by a worse level. An acknowledgement is for one raising.
* Urgent stays urgent until it is over: what falls to a warning needs no new word.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from monitor.alerts.rules import DEFAULTS, Kind, Rule, Severity

_S = 10**9
_TICK_MAX_NS = 5 * _S
"""Of a longer time between two ticks, as after sleep, nothing is known."""
_STEP_NS = _S // 2
_TEST_LATE_NS = 300 * _S
"""Whoever asked for a test while nothing ran waits for it no more."""
TEST = "test"
"""Name of the alert that is a test."""


class Change(StrEnum):
    """What became of an alert."""

    WATCHED = "watched"
    """It is looked at from now on, or what it is about has another name."""
    RAISED = "raised"
    WORSE = "worse"
    REPEATED = "repeated"
    """It goes on, and nobody acknowledged it."""
    ACKNOWLEDGED = "acknowledged"
    SNOOZED = "snoozed"
    CANCELLED = "cancelled"
    """Its snooze was taken back."""
    CLOCK = "clock"
    """UTC was set; its times moved along."""
    CLEARED = "cleared"
    FORGOTTEN = "forgotten"
    """Nothing watches for it any more: its device is not configured, or its rule is off."""


class Verb(StrEnum):
    """What a person may do about an alert."""

    ACKNOWLEDGE = "acknowledge"
    SNOOZE = "snooze"
    CANCEL = "cancel"
    """A snooze."""
    TEST = "test"


@dataclass(frozen=True, slots=True)
class Now:
    """The time of a tick."""

    running_ns: int
    """Counts sleep, and is never set."""
    utc_ns: int
    local_s: int
    """Seconds since local midnight."""


@dataclass(frozen=True, slots=True)
class Reading:
    """How something is now."""

    rule: Rule
    name: str
    """Of the alert: "no_data.left-arm"; part of MQTT topics."""
    value: float | None
    """`None`: not known."""
    why: str
    """For a person: what it is, with its number."""
    device: str = ""
    """Its name, "" where it concerns the whole computer."""
    site: str = ""


@dataclass(frozen=True, slots=True)
class Said:
    """What a person said of an alert."""

    id: int
    at_ns: int
    alert: str
    verb: Verb
    until_ns: int | None = None
    """Of a snooze."""


@dataclass(frozen=True, slots=True)
class Alert:
    """An alert as it is from a change on."""

    name: str
    kind: Kind
    at_ns: int
    change: Change
    raised: bool = False
    severity: Severity = Severity.WARNING
    since_ns: int | None = None
    """When it was raised."""
    value: float | None = None
    why: str = ""
    device: str = ""
    site: str = ""
    announce: bool = False
    """Whether this change is to be brought to a person's notice."""
    announced_ns: int | None = None
    """When it last was, since it was raised."""
    acknowledged: bool = False
    snoozed_until_ns: int | None = None
    snoozed_severity: Severity | None = None
    """What the snooze is for; worse breaks through."""
    said_id: int = 0
    """Of what a person said that made the change."""

    def is_snoozed(self, now_ns: int) -> bool:
        """Whether it is silent for a while."""
        return self.snoozed_until_ns is not None and now_ns < self.snoozed_until_ns

    @property
    def silence(self) -> str:
        """How to silence it."""
        return f"`fasciwatch alerts ack {self.name}`, or `fasciwatch alerts snooze {self.name} --for 1h`"


@dataclass(slots=True)
class _Watch:
    """What an engine knows of an alert beside what is stored; by the running clock."""

    last: Alert
    beyond_ns: int = 0
    below_ns: int = 0
    urgent_ns: int = 0
    seen_ns: int | None = None
    """When it last had a value; `None` after one without."""


class Engine:
    """Turns readings into alerts.

    Args:
        known: the newest of each alert that was stored.
        quiet: seconds of the local day from and to which only what is urgent is announced; the same twice: never.
    """

    def __init__(self, known: Iterable[Alert] = (), quiet: tuple[int, int] = (0, 0)) -> None:
        self._watches = {alert.name: _Watch(alert) for alert in known}
        self._quiet = quiet
        self._offset_ns: int | None = None
        self._changes: dict[tuple[str, Change], Alert] = {}

    def alerts(self) -> list[Alert]:
        """Each as it is now."""
        return [watch.last for watch in self._watches.values()]

    def tick(self, now: Now, readings: Iterable[Reading], said: Sequence[Said] = ()) -> list[Alert]:
        """What changes.

        Args:
            now: not before that of the last call, by the running clock.
            readings: of all that is watched; an alert without one stays as it is.
            said: in the order of their ids, each once.
        """
        self._changes = {}
        self._follow_clock(now)
        for reading in readings:
            self._watched(reading, now)
        for each in said:
            self._answered(each, now)
        for reading in readings:
            self._judged(self._watches[reading.name], reading, now)
        if TEST in self._watches:
            self._test(self._watches[TEST], now)
        return list(self._changes.values())

    def forget(self, names: Iterable[str], now: Now) -> list[Alert]:
        """What is not watched any more is over."""
        self._changes = {}
        for name in names:
            nothing = {"raised": False, "since_ns": None, "acknowledged": False, "why": "not watched any more"}
            self._put(self._watches.pop(name), Change.FORGOTTEN, now, **nothing, **_AWAKE)
        return list(self._changes.values())

    # ---- What happened to all ----

    def _follow_clock(self, now: Now) -> None:
        offset_ns = now.utc_ns - now.running_ns
        step_ns = offset_ns - (offset_ns if self._offset_ns is None else self._offset_ns)
        self._offset_ns = offset_ns
        if abs(step_ns) < _STEP_NS:
            return
        for watch in self._watches.values():
            last = watch.last
            times = {
                name: at_ns + step_ns
                for name in ("since_ns", "announced_ns", "snoozed_until_ns")
                if (at_ns := getattr(last, name)) is not None
            }
            if times:
                self._put(watch, Change.CLOCK, now, **times)

    def _watched(self, reading: Reading, now: Now) -> None:
        watch = self._watches.get(reading.name)
        if watch is not None:
            if watch.last.device != reading.device:  # it has introduced itself
                self._put(watch, Change.WATCHED, now, device=reading.device)
            return
        first = replace(
            Alert(reading.name, reading.rule.kind, now.utc_ns, Change.WATCHED),
            device=reading.device,
            site=reading.site,
        )
        self._watches[reading.name] = _Watch(first)
        self._changes[first.name, first.change] = first

    # ---- What a person said ----

    def _answered(self, said: Said, now: Now) -> None:
        if said.verb is Verb.TEST:
            self._begin_test(said, now)
            return
        watch = self._watches.get(said.alert)
        if watch is None:
            return
        match said.verb:
            case Verb.ACKNOWLEDGE:
                since_ns = watch.last.since_ns
                if since_ns is not None and since_ns <= said.at_ns:  # not of one that was raised later
                    self._put(watch, Change.ACKNOWLEDGED, now, acknowledged=True, said_id=said.id)
            case Verb.SNOOZE:
                until = {"snoozed_until_ns": said.until_ns, "snoozed_severity": watch.last.severity}
                self._put(watch, Change.SNOOZED, now, said_id=said.id, **until)
            case Verb.CANCEL:
                self._put(watch, Change.CANCELLED, now, said_id=said.id, **_AWAKE)

    def _begin_test(self, said: Said, now: Now) -> None:
        if now.utc_ns - said.at_ns > _TEST_LATE_NS:
            return
        last = Alert(TEST, Kind.TEST, now.utc_ns, Change.WATCHED)
        watch = self._watches.setdefault(TEST, _Watch(last))
        watch.below_ns, watch.seen_ns = 0, None
        why = "this is a test, asked for by a person; it ends by itself in a minute"
        raised = {"raised": True, "since_ns": now.utc_ns, "announced_ns": now.utc_ns, "announce": True}
        self._put(watch, Change.RAISED, now, why=why, said_id=said.id, acknowledged=False, **raised)

    def _test(self, watch: _Watch, now: Now) -> None:
        watch.below_ns += self._passed_ns(watch, now)
        if watch.last.raised and watch.below_ns >= DEFAULTS[Kind.TEST].keep_for_s * _S:
            self._clear(watch, now, "the test is over")

    # ---- What the value says ----

    def _judged(self, watch: _Watch, reading: Reading, now: Now) -> None:
        if reading.value is None:
            watch.seen_ns = None
            return
        rule, value, passed_ns = reading.rule, reading.value, self._passed_ns(watch, now)
        urgent = rule.urgent_above is not None and value > rule.urgent_above
        watch.beyond_ns = watch.beyond_ns + passed_ns if value > rule.above else 0
        watch.below_ns = watch.below_ns + passed_ns if value < rule.clear_below else 0
        watch.urgent_ns = watch.urgent_ns + passed_ns if urgent else 0
        is_urgent = urgent and watch.urgent_ns >= rule.for_s * _S
        if not watch.last.raised:
            if value > rule.above and watch.beyond_ns >= rule.for_s * _S:
                self._raise(watch, reading, now, Severity.URGENT if is_urgent else Severity.WARNING)
        elif value < rule.clear_below and watch.below_ns >= rule.keep_for_s * _S:
            self._clear(watch, now, reading.why, value)
        elif is_urgent and watch.last.severity is not Severity.URGENT:
            told = {"severity": Severity.URGENT, "value": value, "why": reading.why}
            self._announce(watch, Change.WORSE, now, acknowledged=False, announced_ns=None, **told)
        elif self._is_due(watch.last, rule, now):
            self._announce(watch, Change.REPEATED, now, value=value, why=reading.why)

    def _raise(self, watch: _Watch, reading: Reading, now: Now, severity: Severity) -> None:
        raised = {"raised": True, "severity": severity, "since_ns": now.utc_ns, "announced_ns": None}
        told = {"value": reading.value, "why": reading.why, "device": reading.device, "site": reading.site}
        self._announce(watch, Change.RAISED, now, acknowledged=False, **raised, **told)

    def _clear(self, watch: _Watch, now: Now, why: str, value: float | None = None) -> None:
        """A person who was told of the alert is told of its end; the snooze, if any, goes on."""
        watch.beyond_ns = watch.urgent_ns = 0
        told = watch.last.announced_ns is not None and not self._is_held(watch.last, now)
        over = {"raised": False, "severity": Severity.WARNING, "since_ns": None, "acknowledged": False}
        self._put(watch, Change.CLEARED, now, value=value, why=why, announce=told, announced_ns=None, **over)

    def _announce(self, watch: _Watch, change: Change, now: Now, **values: object) -> None:
        """Change it, and have a person told unless they do not want to know."""
        then = replace(watch.last, **values)  # type: ignore[arg-type]
        if then.severity is Severity.URGENT and then.snoozed_severity is Severity.WARNING:
            values |= _AWAKE
            then = replace(then, **_AWAKE)  # type: ignore[arg-type]
        if not self._is_held(then, now):
            values |= {"announce": True, "announced_ns": now.utc_ns}
        self._put(watch, change, now, **values)

    def _is_due(self, alert: Alert, rule: Rule, now: Now) -> bool:
        if alert.acknowledged or self._is_held(alert, now):
            return False
        if alert.announced_ns is None:
            return True
        if alert.snoozed_until_ns is not None and alert.announced_ns < alert.snoozed_until_ns:
            return True  # the snooze is over, and it is not
        return bool(rule.repeat_min) and now.utc_ns - alert.announced_ns >= rule.repeat_min * 60 * _S

    def _is_held(self, alert: Alert, now: Now) -> bool:
        """Whether nobody is to be told for now."""
        if alert.is_snoozed(now.utc_ns):
            return True
        begin_s, end_s = self._quiet
        inside = begin_s <= now.local_s < end_s
        if begin_s > end_s:
            inside = not end_s <= now.local_s < begin_s
        return inside and alert.severity is not Severity.URGENT

    # ---- Small steps ----

    @staticmethod
    def _passed_ns(watch: _Watch, now: Now) -> int:
        """Time since the last tick with a value, if that was the last tick."""
        seen_ns, watch.seen_ns = watch.seen_ns, now.running_ns
        passed_ns = 0 if seen_ns is None else now.running_ns - seen_ns
        return passed_ns if passed_ns <= _TICK_MAX_NS else 0

    def _put(self, watch: _Watch, change: Change, now: Now, **values: object) -> None:
        values = {"announce": False, "said_id": 0, "at_ns": now.utc_ns, "change": change} | values
        watch.last = replace(watch.last, **values)  # type: ignore[arg-type]
        self._changes[watch.last.name, change] = watch.last


_AWAKE: Mapping[str, None] = {"snoozed_until_ns": None, "snoozed_severity": None}
