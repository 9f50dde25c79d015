"""From what the collector sees to readings of every rule.

Rules of this module:

* Pure: time comes in. What was seen before is remembered here, as far back as a rule looks.
* A device that was not heard for 10 s says nothing of its contact, battery, loss or rate: those are not known
  then, and the silence is the alert.
* After a start, and after the computer slept, data has a chance to come before anybody is told that it does not.
* A name is one level of an MQTT topic, the same in every session: that of the configuration, or the address.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from monitor.alerts.engine import Now, Reading
from monitor.alerts.rules import DEFAULTS, Kind, Rule

_S = 10**9
_HEARD_NS = 10 * _S
_ASLEEP_NS = 20 * _S
"""Between two ticks, a second apart: the computer slept."""
_CHANCE_NS = 120 * _S
"""For a wearable to be found and connected again."""
_STEPS = 60
"""In which a window moves on."""
_ANALYSED_MIN_S = 30.0
_USUAL_MIN = 0.5
"""Twitches a minute; a multiple of less is a matter of chance."""
STORAGE = ("store", "raw", "wal", "said")


@dataclass(frozen=True, slots=True)
class SeenChannel:
    """A channel at a tick, with what its session counted so far."""

    label: str
    in_contact: bool
    twitches: int
    analysable_s: float


@dataclass(frozen=True, slots=True)
class Seen:
    """A device at a tick."""

    key: str
    """The same in every session."""
    name: str
    heard_ns: int | None
    """When samples last came, by the running clock."""
    battery_percent: int | None
    loss: float
    """In the last minute."""
    channels: tuple[SeenChannel, ...]


class Watching:
    """What is watched, as readings.

    Args:
        rules: later ones take the place of those with the same kind and site before, or of the defaults.
        sinks: names of servers.
    """

    def __init__(self, rules: Sequence[Rule], sinks: Sequence[str]) -> None:
        self._rules = {rule.key: rule for rule in (*DEFAULTS.values(), *rules)}
        self._sinks = sinks
        self._slugs: dict[str, str] = {}
        self._pasts: dict[str, _Past] = {}
        self._begun_ns = self._woke_ns = self._tick_ns = 0
        self._offset_ns: int | None = None
        self.usual: Mapping[tuple[str, str], float] = {}
        """(device, site) -> twitches an analysable minute that are usual at this hour."""
        self.logged_ns: int | None = None
        """When something was last logged, UTC."""

    def readings(self, now: Now, seen: Iterable[Seen], troubles: Mapping[str, float]) -> list[Reading]:
        """How everything is.

        Args:
            now: a second or so after the last call.
            seen: every device that is to be heard.
            troubles: name of a `Condition` -> seconds for which it has lasted.
        """
        if now.running_ns - self._tick_ns > _ASLEEP_NS:
            self._woke_ns = now.running_ns
            self._begun_ns = self._begun_ns or now.running_ns
        self._tick_ns = now.running_ns
        found = [reading for each in seen for reading in self._device(each, now)]
        found += [reading for name in self._sinks for reading in self._silence(name, troubles)]
        found += [reading for name in STORAGE for reading in self._storage(name, troubles)]
        return [*found, *self._clock(now), *self._reminder(now)]

    def is_watched(self, name: str) -> bool:
        """Whether the alert of this name has a place in this session."""
        kind, _, rest = name.partition(".")
        about = rest.split(".")[0]
        on = any(rule.on for rule in self._rules.values() if rule.kind == kind)
        return on and (not about or about in STORAGE or about in self._slugs.values())

    # ---- Devices ----

    def _device(self, seen: Seen, now: Now) -> Iterator[Reading]:
        about = self._slug(seen.key)
        heard = seen.heard_ns is not None and now.running_ns - seen.heard_ns < _HEARD_NS
        for rule in self._of(Kind.NO_DATA):
            yield Reading(rule, f"no_data.{about}", *self._no_data(seen, now), seen.name)
        off = [channel.label for channel in seen.channels if not channel.in_contact]
        for rule in self._of(Kind.CONTACT):
            why = f"{seen.name}: no contact at {', '.join(off)}" if off else f"{seen.name}: contact everywhere"
            yield Reading(rule, f"contact.{about}", len(off) if heard else None, why, seen.name)
        percent = seen.battery_percent
        for rule in self._of(Kind.BATTERY):
            used = None if percent is None or not heard else float(100 - percent)
            yield Reading(rule, f"battery.{about}", used, f"{seen.name}: battery at {percent} %", seen.name)
        for rule in self._of(Kind.LOSS):
            why = f"{seen.name}: {100 * seen.loss:.0f} % of the last minute was lost on the way"
            yield Reading(rule, f"loss.{about}", 100 * seen.loss if heard else None, why, seen.name)
        for channel in seen.channels:
            yield from self._counted(seen, channel, about, now, heard=heard)

    def _no_data(self, seen: Seen, now: Now) -> tuple[float | None, str]:
        last_ns = max(seen.heard_ns or self._begun_ns, self._woke_ns)
        silent_s = (now.running_ns - last_ns) / _S
        came = seen.heard_ns is not None and seen.heard_ns >= self._woke_ns
        known = came or now.running_ns - self._woke_ns >= _CHANCE_NS
        if silent_s * _S < _HEARD_NS:
            return (silent_s if known else None), f"{seen.name}: data comes"
        never = "" if seen.heard_ns is not None else ", nor any since monitoring began"
        return (silent_s if known else None), f"no data from {seen.name} for {_length(silent_s)}{never}"

    def _counted(
        self, seen: Seen, channel: SeenChannel, about: str, now: Now, *, heard: bool
    ) -> Iterator[Reading]:
        site = channel.label
        for kind in (Kind.RATE, Kind.BURST):
            rule = self._rules.get((kind, site)) or self._rules[kind, ""]
            if not rule.on:
                continue
            name = f"{kind}.{about}.{self._slug(site)}"
            past = self._pasts.setdefault(name, _Past(rule.window_s))
            past.add(now.running_ns, channel)
            value, why = _burst(rule, past) if kind is Kind.BURST else self._rate(rule, past, seen.name, site)
            yield Reading(rule, name, value if heard else None, f"{site}: {why}", seen.name, site)

    def _rate(self, rule: Rule, past: _Past, device: str, site: str) -> tuple[float | None, str]:
        if past.analysable_s < max(_ANALYSED_MIN_S, 0.1 * rule.window_s):
            return None, "too little could be analysed"
        rate = 60 * past.twitches / past.analysable_s
        why = f"{rate:.1f} twitches an analysable minute in the last {_length(rule.window_s)}"
        if not rule.of_baseline:
            return rate, why
        usual = self.usual.get((device, site))
        if usual is None:
            return None, "what is usual at this hour is not known yet"
        times = rate / max(usual, _USUAL_MIN)
        return times, f"{why}, {times:.1f} times what is usual for you at this hour"

    # ---- The rest ----

    def _silence(self, sink: str, troubles: Mapping[str, float]) -> Iterator[Reading]:
        for rule in self._of(Kind.SILENCE):
            seconds = troubles.get(sink, 0.0)
            why = f"{sink} has not taken anything for {_length(seconds)}" if sink in troubles else f"{sink}: well"
            yield Reading(rule, f"silence.{self._slug(sink)}", float(seconds), why)

    def _storage(self, part: str, troubles: Mapping[str, float]) -> Iterator[Reading]:
        for rule in self._of(Kind.STORAGE):
            seconds = troubles.get(part, 0.0)
            why = f"{_STORAGE_WHY[part]} for {_length(seconds)}" if part in troubles else f"{part}: well"
            yield Reading(rule, f"storage.{part}", float(seconds), why)

    def _clock(self, now: Now) -> Iterator[Reading]:
        offset_ns = now.utc_ns - now.running_ns
        step_s = (offset_ns - (offset_ns if self._offset_ns is None else self._offset_ns)) / _S
        self._offset_ns = offset_ns
        for rule in self._of(Kind.CLOCK):
            direction = "forward" if step_s > 0 else "back"
            why = f"the clock was set {direction} by {_length(abs(step_s))}" if step_s else "the clock runs evenly"
            yield Reading(rule, "clock", abs(step_s), why)

    def _reminder(self, now: Now) -> Iterator[Reading]:
        for rule in self._of(Kind.TRIGGER_REMINDER):
            begun_ns = now.utc_ns - now.running_ns + self._begun_ns
            since_ns = begun_ns if self.logged_ns is None else self.logged_ns
            hours = (now.utc_ns - since_ns) / _S / 3600
            yield Reading(rule, "trigger_reminder", hours, f"nothing was logged for {_length(hours * 3600)}")

    def _of(self, kind: Kind) -> Iterator[Rule]:
        if self._rules[kind, ""].on:
            yield self._rules[kind, ""]

    def _slug(self, name: str) -> str:
        """One for each name: what cannot stand in a topic may have been all that told two apart."""
        if name not in self._slugs:
            plain = re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-") or "x"
            taken = sum(slug == plain or slug.startswith(f"{plain}--") for slug in self._slugs.values())
            self._slugs[name] = f"{plain}--{taken + 1}" if taken else plain
        return self._slugs[name]


class _Past:
    """What a channel counted, as far back as a window looks."""

    def __init__(self, window_s: float) -> None:
        self._window_ns = round(window_s * _S)
        self._marks: deque[tuple[int, int, float]] = deque()
        self._last = (0, 0, 0.0)

    def add(self, at_ns: int, channel: SeenChannel) -> None:
        """What it counted so far."""
        now = at_ns, channel.twitches, channel.analysable_s
        if channel.twitches < self._last[1] or channel.analysable_s < self._last[2]:
            self._marks.clear()  # another session of the device counts from nought
        self._last = now
        if not self._marks or at_ns - self._marks[-1][0] >= self._window_ns // _STEPS:
            self._marks.append(now)
        while len(self._marks) > 1 and self._marks[1][0] <= at_ns - self._window_ns:
            self._marks.popleft()

    @property
    def twitches(self) -> int:
        return self._last[1] - self._marks[0][1]

    @property
    def analysable_s(self) -> float:
        return self._last[2] - self._marks[0][2]


_STORAGE_WHY = {
    "store": "nothing could be stored",
    "raw": "the raw signal could not be kept",
    "wal": "a program has held on to what it read, so that the store's log grows,",
    "said": "what is said of alerts could not be read",
}


def _burst(rule: Rule, past: _Past) -> tuple[float, str]:
    return float(past.twitches), f"{past.twitches} twitches in the last {_length(rule.window_s)}"


def _length(seconds: float) -> str:
    """For a person, in the unit that suits it."""
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
