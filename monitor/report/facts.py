"""What a report says: rates by site, day and hour; wear, loss and what was excluded; the diary beside them.

Rules:

* A day goes from 04:00 to 04:00 on the person's clock, as in the analysis.
* A rate that rests on less than 10 analysable minutes is not told.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo

import numpy as np

from monitor.correlation.catalogue import CATALOGUE, Form
from monitor.correlation.stored import BIN_NS, every_channel, sites_of
from monitor.detection.events import State, Twitch
from monitor.diary import FELT, Entry, Logged
from monitor.felt import AROUND_S, Agreement, Felt, agreement
from monitor.store import Archive, FiringUnit, KnownDevice, Missing, Session, Spent, Stretch

LEAST_S = 600.0
"""Analysable, of a rate that is told."""
_DAY_BEGINS = timedelta(hours=4)
_SHAPES_FROM = 500
"""Of the newest twitches, whose shapes are shown."""
_MINUTE_NS = 60 * 10**9
_HALF_S = 30.0


@dataclass(frozen=True, slots=True)
class Amount:
    """What was seen in a while."""

    observed_s: float = 0.0
    analysable_s: float = 0.0
    twitches: int = 0

    @property
    def rate_per_min(self) -> float | None:
        """`None` where it rests on too little."""
        return 60 * self.twitches / self.analysable_s if self.analysable_s >= LEAST_S else None


@dataclass(frozen=True, slots=True)
class Hour:
    """An hour of the clock, over all days."""

    total: Amount
    quartiles: tuple[float, float] | None
    """Of the rates of single days."""


@dataclass(frozen=True, slots=True)
class Site:
    """One site over the time of the report."""

    name: str
    total: Amount
    excluded_s: Mapping[State, float]
    """Observed but not analysable, by what went on."""
    days: Mapping[date, Amount]
    hours: tuple[Hour, ...]
    """24."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A motor unit, and the newest of its shapes."""

    site: str
    unit: FiringUnit
    shape: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Facts:
    """All that a report says beside findings."""

    first: date
    last: date
    sites: tuple[Site, ...]
    missing: tuple[tuple[str, Missing], ...]
    """(device, gaps)."""
    units: tuple[Shown, ...]
    felt: Agreement
    entries: tuple[Logged, ...]
    diary_days: int
    """Observed days on which anything, or "nothing", was logged."""
    devices: tuple[KnownDevice, ...]
    session: Session | None
    """The newest."""

    @property
    def days(self) -> list[date]:
        """Every day from the first to the last."""
        return [self.first + timedelta(days=n) for n in range((self.last - self.first).days + 1)]

    @property
    def observed_days(self) -> set[date]:
        return {day for site in self.sites for day, amount in site.days.items() if amount.observed_s > 0}


def gather(
    archive: Archive, entries: Sequence[Logged], zone: tzinfo | None, since_ns: int, until_ns: int
) -> Facts:
    """Read what a report says of a time."""
    devices = archive.devices()
    names = {known.id: known.device.name for known in devices}
    stretches = archive.stretches(BIN_NS, since_ns, until_ns)
    called = every_channel(sites_of((each.where for each in stretches), names), devices)
    sites = _sites(stretches, archive.spent(BIN_NS, since_ns, until_ns), called, zone)
    chosen = [each for each in entries if since_ns <= each.entry.occurred_ns < until_ns or _is_context(each.entry)]
    observed = sorted({day for site in sites for day in site.days})
    today = day_of(until_ns, zone)
    logged = {day_of(each.entry.occurred_ns, zone) for each in chosen}
    return Facts(
        first=observed[0] if observed else today,
        last=observed[-1] if observed else today,
        sites=tuple(sites),
        missing=tuple((names[each.device_id], each) for each in archive.missing(since_ns, until_ns)),
        units=tuple(_shown(archive, called, since_ns, until_ns)),
        felt=_felt(archive, chosen, called),
        entries=tuple(chosen),
        diary_days=len(logged & set(observed)),
        devices=tuple(devices),
        session=archive.summary(until_ns, until_ns).session,
    )


def day_of(time_ns: int, zone: tzinfo | None) -> date:
    """The day that a time belongs to."""
    return (datetime.fromtimestamp(time_ns * 1e-9, UTC).astimezone(zone) - _DAY_BEGINS).date()


def of_form(entries: Sequence[Logged], form: Form) -> list[Entry]:
    """Those of kinds in the catalogue of a form, in order of time."""
    listed = [each.entry for each in entries if each.entry.kind in CATALOGUE]
    return [entry for entry in listed if CATALOGUE[entry.kind].form is form]


def _is_context(entry: Entry) -> bool:
    """A test or a diagnosis of years ago still counts."""
    return entry.kind in CATALOGUE and CATALOGUE[entry.kind].form in (Form.TEST, Form.HISTORY)


def _sites(
    stretches: Sequence[Stretch],
    spent: Sequence[Spent],
    called: Mapping[tuple[int, str], str],
    zone: tzinfo | None,
) -> list[Site]:
    by_site: dict[str, list[Stretch]] = {name: [] for name in sorted(called.values())}
    for each in stretches:
        by_site[called[each.where]].append(each)
    excluded: dict[str, dict[State, float]] = {name: defaultdict(float) for name in by_site}
    for context in spent:
        name = called.get((context.device_id, context.channel))
        if name is not None:
            excluded[name][context.state] += context.seconds
    return [_site(name, found, excluded[name], zone) for name, found in by_site.items()]


def _site(name: str, stretches: Sequence[Stretch], excluded: Mapping[State, float], zone: tzinfo | None) -> Site:
    days: dict[date, list[Stretch]] = defaultdict(list)
    hours: dict[int, dict[date, list[Stretch]]] = {hour: defaultdict(list) for hour in range(24)}
    for each in stretches:
        local = datetime.fromtimestamp(each.start_ns * 1e-9, UTC).astimezone(zone)
        day = (local - _DAY_BEGINS).date()
        days[day].append(each)
        hours[local.hour][day].append(each)
    return Site(
        name,
        _summed(stretches),
        dict(excluded),
        {day: _summed(found) for day, found in days.items()},
        tuple(_hour(hours[hour]) for hour in range(24)),
    )


def _hour(days: Mapping[date, Sequence[Stretch]]) -> Hour:
    total = _summed([each for found in days.values() for each in found])
    rates = [rate for found in days.values() if (rate := _summed(found).rate_per_min) is not None]
    if len(rates) < 4:
        return Hour(total, None)
    low, high = np.quantile(rates, [0.25, 0.75]).tolist()
    return Hour(total, (low, high))


def _summed(stretches: Sequence[Stretch]) -> Amount:
    return Amount(
        sum(each.observed_s for each in stretches),
        sum(each.analysable_s for each in stretches),
        sum(each.twitches for each in stretches),
    )


def _shown(archive: Archive, called: Mapping[tuple[int, str], str], since_ns: int, until_ns: int) -> list[Shown]:
    newest: dict[tuple[int, str, int | None], Twitch] = {}
    for device, twitch in archive.twitches(since_ns, until_ns, limit=_SHAPES_FROM):
        newest[device, twitch.channel, twitch.motor_unit] = twitch
    shown = []
    for unit in archive.firing_units(since_ns, until_ns):
        twitch_of = newest.get((unit.device_id, unit.channel, unit.motor_unit))
        shape = tuple(twitch_of.waveform.tolist()) if twitch_of and unit.motor_unit is not None else ()
        shown.append(Shown(called.get((unit.device_id, unit.channel), unit.channel), unit, shape))
    return shown


def _felt(archive: Archive, entries: Sequence[Logged], called: Mapping[tuple[int, str], str]) -> Agreement:
    """Twitches are read around the entries only: of months there are too many."""
    felt = [Felt(each.entry.occurred_ns * 1e-9, each.entry.site) for each in entries if each.entry.kind == FELT]
    onsets: dict[str, list[float]] = defaultdict(list)
    minutes: dict[str, list[float]] = defaultdict(list)
    for since_s, until_s in _around(felt):
        since_ns, until_ns = round(since_s * 1e9), round(until_s * 1e9)
        for device, twitch in archive.twitches(since_ns, until_ns):
            onsets[called.get((device, twitch.channel), twitch.channel)].append(twitch.onset_ns * 1e-9)
        for device, minute in archive.minutes(since_ns // _MINUTE_NS * _MINUTE_NS, until_ns):
            if minute.analysable_s > _HALF_S:
                minutes[called.get((device, minute.channel), minute.channel)].append(minute.start_ns // 10**9)
    return agreement(felt, onsets, minutes)


def _around(felt: Sequence[Felt]) -> list[tuple[float, float]]:
    """The time around the entries, without overlaps."""
    spans: list[tuple[float, float]] = []
    for entry in sorted(felt, key=lambda entry: entry.at_s):
        begin, end = entry.at_s - AROUND_S, entry.at_s + AROUND_S
        if spans and begin <= spans[-1][1]:
            spans[-1] = spans[-1][0], end
        else:
            spans.append((begin, end))
    return spans
