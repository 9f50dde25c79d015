"""All that was counted, in half hours, kept in memory: a year is asked for as fast as a day.

Rules:

* Minutes are summed by SQLite, once; what is older than two days does not change any more and is not read again.
* Half hours, because there are clocks that differ from UTC by one.
* A rate rests on ten analysable minutes of a site, as in the report. From one minute on it is told with the word
  that it rests on little; with less there is none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from firmware_interface.samples import ACCELERATION
from monitor.correlation.stored import every_channel, sites_of
from monitor.report.facts import LEAST_S
from monitor.store import Archive, Stretch

HALF_HOUR_NS = 1800 * 10**9
_SETTLED_NS = 2 * 86400 * 10**9
_SOME_S = 60.0
"""Analysable, from which on a rate can be told at all."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Sums:
    """Half hours of all channels, in order of time."""

    sites: tuple[str, ...]
    start_ns: NDArray[np.int64]
    site: NDArray[np.int64]
    """Which of `sites`."""
    observed_s: Floats
    analysable_s: Floats
    twitches: Floats
    places: Mapping[tuple[int, str], str] = field(default_factory=dict)
    """The site of each (device, channel)."""

    @property
    def worn_s(self) -> float:
        """By the clock: what was observed at once, on many channels, was worn once."""
        starts, places = np.unique(self.start_ns, return_inverse=True)
        by_site = np.bincount(self.site * len(starts) + places, self.observed_s, len(self.sites) * len(starts))
        return float(by_site.reshape(len(self.sites), len(starts)).max(axis=0, initial=0).sum())

    def of_electrodes(self) -> Sums:
        """Without accelerometers, which see other twitches; all where there is nothing else."""
        others = [self.sites.index(site) for (_, channel), site in self.places.items() if channel == ACCELERATION]
        kept = ~np.isin(self.site, others)
        return self._chosen(kept) if kept.any() else self

    def channels(self, site: str) -> set[tuple[int, str]]:
        """Each (device, channel) of a site; all where it is empty."""
        return {key for key, place in self.places.items() if site in ("", place)}

    def within(self, since_ns: int, until_ns: int) -> Sums:
        """Those that begin in a range."""
        first, last = np.searchsorted(self.start_ns, [since_ns, until_ns]).tolist()
        return self._chosen(slice(first, last))

    def _chosen(self, kept: slice | NDArray[np.bool_]) -> Sums:
        return Sums(
            self.sites, self.start_ns[kept], self.site[kept], self.observed_s[kept], self.analysable_s[kept],
            self.twitches[kept], self.places,
        )  # fmt: skip

    def of_site(self, number: int) -> Sums:
        """Those of one site."""
        return self._chosen(self.site == number)


@dataclass(frozen=True, slots=True, eq=False)
class Binned:
    """Sums in bins of a screen."""

    observed_s: Floats
    analysable_s: Floats
    twitches: Floats
    rests_on_s: Floats
    """Analysable at the site that was seen longest: ten channels do not make a minute longer."""

    @property
    def rates(self) -> Floats:
        """A minute; NaN where there is none."""
        some = self.rests_on_s >= _SOME_S
        return np.where(some, 60 * self.twitches / np.maximum(self.analysable_s, 1), np.nan)

    @property
    def little(self) -> NDArray[np.bool_]:
        """Whether a rate rests on little."""
        return self.rests_on_s < LEAST_S


def binned(sums: Sums, places: NDArray[np.int64], count: int) -> Binned:
    """Add up what has the same place."""
    inside = (places >= 0) & (places < count)
    chosen = places[inside]
    added = (
        np.bincount(chosen, values[inside], count)
        for values in (sums.observed_s, sums.analysable_s, sums.twitches)
    )
    by_site = np.bincount(sums.site[inside] * count + chosen, sums.analysable_s[inside], len(sums.sites) * count)
    rests_on_s = by_site.reshape(len(sums.sites), count).max(axis=0, initial=0)
    return Binned(*(each.astype(float) for each in (*added, rests_on_s)))


class Past:
    """Keeps the sums. Used from any thread."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._keys: dict[tuple[int, str], int] = {}
        self._settled = np.empty((5, 0))
        self._until_ns = 0

    def sums(self, archive: Archive, now_ns: int) -> Sums:
        """All up to now."""
        with self._lock:
            settled_ns = (now_ns - _SETTLED_NS) // HALF_HOUR_NS * HALF_HOUR_NS
            if settled_ns - self._until_ns > _SETTLED_NS:
                rows = self._rows(archive.stretches(HALF_HOUR_NS, self._until_ns, settled_ns))
                self._settled = np.concatenate([self._settled, rows], axis=1)
                self._until_ns = settled_ns
            fresh = self._rows(archive.stretches(HALF_HOUR_NS, self._until_ns, now_ns))
            devices = archive.devices()
            places = sites_of(self._keys, {known.id: known.device.name for known in devices})
            sites = tuple(sorted(set(places.values())))
            site_of = np.array([sites.index(places[key]) for key in self._keys], np.int64)
        half_hours, keys, observed_s, analysable_s, twitches = np.concatenate([self._settled, fresh], axis=1)
        site = site_of[keys.astype(np.int64)]
        start_ns = half_hours.astype(np.int64) * HALF_HOUR_NS
        return Sums(sites, start_ns, site, observed_s, analysable_s, twitches, every_channel(places, devices))

    def _rows(self, stretches: Sequence[Stretch]) -> Floats:
        rows = [
            (
                each.start_ns // HALF_HOUR_NS,
                self._keys.setdefault((each.device_id, each.channel), len(self._keys)),
                each.observed_s,
                each.analysable_s,
                each.twitches,
            )
            for each in stretches
        ]
        return np.array(rows, float).reshape(-1, 5).T


def places_by_day(sums: Sums, first: date) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(days since `first`, hour of the clock) of each half hour, on this computer's clock."""
    days, hours = np.empty(len(sums.start_ns), np.int64), np.empty(len(sums.start_ns), np.int64)
    unique, back = np.unique(sums.start_ns, return_inverse=True)
    local = [datetime.fromtimestamp(at // 10**9, UTC).astimezone() for at in unique.tolist()]
    days[:] = np.array([(at.date() - first).days for at in local], np.int64)[back] if len(unique) else 0
    hours[:] = np.array([at.hour for at in local], np.int64)[back] if len(unique) else 0
    return days, hours


def midnight_ns(day: date) -> int:
    """When a day begins on this computer's clock."""
    return round(datetime(day.year, day.month, day.day).astimezone().timestamp()) * 10**9
