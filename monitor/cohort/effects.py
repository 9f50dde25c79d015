"""What one person's tables say: how much each site twitched, and how it responded to each trigger.

Rule: the first of two stages is the same regression that a person's own report is made by, all triggers
jointly, at their default kernels. Only what it estimates goes on to the second; a person about whom it says
nothing is left out.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import tzinfo
from pathlib import PurePosixPath

from firmware_interface.errors import Fault
from monitor import parquet
from monitor.cohort.members import Subject
from monitor.cohort.rates import Person
from monitor.cohort.storage import Place, StorageError
from monitor.correlation.analysis import Analysis
from monitor.correlation.bins import BIN_S, Tallies, binned
from monitor.correlation.files import read_triggers
from monitor.correlation.findings import NUMBERS_FROM_DAYS, NUMBERS_FROM_EPISODES
from monitor.correlation.stored import BIN_NS, tallies_of
from monitor.correlation.triggers import Trigger, checked, kinds, questions
from monitor.diary import read_diary, triggers
from monitor.store import Archive, Stretch
from monitor.tables import MINUTES

LEAST_ERROR = 1e-4
_COLUMNS = ("source", "channel", "site", "start_ns", "observed_s", "analysable_s", "twitches")


@dataclass(frozen=True, slots=True)
class Effect:
    """One person's response to a trigger."""

    subject: str
    group: str
    trigger: str
    log_rate_ratio: float
    standard_error: float


@dataclass(frozen=True, slots=True)
class Yield:
    """One person's part in the answer of all."""

    people: tuple[Person, ...]
    """One for each site."""
    effects: tuple[Effect, ...]
    message: str = ""
    """Why there is less than there could be."""


def summarise(subject: Subject, place: Place, out: Place, zone: tzinfo | None) -> Yield:
    """What there is of a person in the tables."""
    try:
        stretches, names = _stretches(subject, out)
    except Fault as fault:
        return Yield((), (), f"{subject.name}: {fault}")
    totals: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
    for each in stretches:
        totals[each.channel][0] += each.twitches
        totals[each.channel][1] += each.analysable_s / 3600
    people = tuple(Person(subject.name, subject.group, site, *total) for site, total in sorted(totals.items()))
    told: list[str] = []
    effects: tuple[Effect, ...] = ()
    try:
        logged = [trigger for found in _logs(subject, place, told) for trigger in found]
        if logged and any(each.observed_s > BIN_S + 1 for each in stretches):
            told.append("recordings are of the same time, or have none: not related to what was logged")
        elif logged:
            tallies = tallies_of(stretches, [], names)
            effects = tuple(effects_of(subject.name, subject.group, tallies, logged, zone))
    except Fault as fault:
        told.append(str(fault))
    return Yield(people, effects, "; ".join(f"{subject.name}: {each}" for each in told))


def _stretches(subject: Subject, out: Place) -> tuple[list[Stretch], dict[int, str]]:
    """The minutes of a person, in quarters of an hour. Recordings that name no device are all of one; the axes of
    an accelerometer saw the same time, and share it. Where recordings are of the same time, or have none, there is
    more in a quarter of an hour than its length."""
    totals: dict[tuple[int, str, str, int], list[float]] = {}
    devices: dict[str, int] = {"": 0}
    for stored in out.files(f"{MINUTES.name}/subject={subject.name}"):
        member = PurePosixPath(stored.name).stem.rpartition("-")[0]
        if member not in subject.members:
            continue  # it is no longer there, or has another name now
        try:
            with out.here((stored.name,), stored.name) as path, path.open("rb") as file:
                columns = parquet.read(file, _COLUMNS)
        except parquet.ParquetError as error:
            out.remove([f"marks/subject={subject.name}/{member}.json"])
            raise StorageError(
                f"{out.url}/{stored.name} is damaged", "Run the same again: it is made anew"
            ) from error
        for source, channel, site, start_ns, *amounts in zip(*(columns[name] for name in _COLUMNS), strict=True):
            device = devices.setdefault(source if "#" in source else "", len(devices))
            total = totals.setdefault((device, channel, site, start_ns - start_ns % BIN_NS), [0.0, 0.0, 0.0])
            for n, amount in enumerate(amounts):
                total[n] += amount
    found: dict[tuple[int, str, int], Stretch] = {}
    for (device, _, site, start_ns), (observed_s, analysable_s, twitches) in totals.items():
        each = Stretch(device, site, start_ns, observed_s, analysable_s, int(twitches))
        axis = found.get((device, site, start_ns))
        found[device, site, start_ns] = axis.with_axis(each) if axis else each
    ordered = sorted(found.values(), key=lambda row: (row.start_ns, row.device_id, row.channel))
    return ordered, {number: name for name, number in devices.items()}


def _logs(subject: Subject, place: Place, told: list[str]) -> Iterator[list[Trigger]]:
    for name in subject.triggers:
        with place.here((name,), name) as path:
            read, refused = read_triggers(path)
        if refused:
            told.append(
                f"{name}, line {refused[0].place}: {refused[0].reason} ({len(refused)} such lines are not used)"
            )
        yield read
    for store in subject.stores:
        with place.here(store.files, store.name) as path:
            with closing(Archive.open(path)) as archive:
                ends = [session.last_ns for session in archive.sessions()]
            yield triggers(read_diary(path), max(ends, default=0))


def effects_of(
    subject: str, group: str, tallies: Tallies, logged: Sequence[Trigger], zone: tzinfo | None
) -> Iterator[Effect]:
    """A person's response to each trigger of hours about which there is enough to estimate anything."""
    if not len(tallies):
        return
    until_s = float((tallies.start_s + tallies.duration_s).max())
    kept, _ = checked(logged, until_s)
    bins = binned(tallies, zone)
    if not len(bins):
        return
    end_s = float(bins.clock.edges_s[-1])
    asked = [question for kind in kinds(kept) for question in questions(kept, kind, end_s)]
    fast = [question for question in asked if question.entry.testable and not question.slow]
    analysis = Analysis(bins, fast)
    if not len(analysis.bins):
        return
    for question in fast:
        amount = analysis.amount(question)
        if amount.days < NUMBERS_FROM_DAYS or amount.episodes < NUMBERS_FROM_EPISODES:
            continue
        found = analysis.estimate(question) if analysis.collision(question) is None else None
        if found is not None and found.standard_error > LEAST_ERROR:
            yield Effect(subject, group, question.trigger, found.log_rate_ratio, found.standard_error)
