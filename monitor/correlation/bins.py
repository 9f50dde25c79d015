"""Bins of 15 minutes: what was counted in them, for how long, on which day and at what hour of the clock.

Rules:

* The denominator is analysable time, not clock time and not worn time. A bin with less than a fifth is left out.
* A day goes from 04:00 to 04:00 on the person's clock, so that a night out belongs to its evening.
* A group is one site on one day in one donning of the electrodes: its level says nothing of triggers. A group
  without a single twitch says nothing at all and is left out.
* Tallies coarser than a bin are refused: their time is not known well enough.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from monitor.correlation.model import Counts, Index, Matrix, Vector

BIN_S = 900
SLOTS = 96
"""Bins a day; on the day of 25 hours two bins share a slot."""
HARMONICS = 4
"""Of 24 h. With 2, a null locked to the clock was 'found' in .16 of simulated histories, with 3 and 4 in .04."""
_LEAST_SHARE = 0.2
_DAY_S = 86400
_DAY_BEGINS_S = 4 * 3600


@dataclass(frozen=True, slots=True, eq=False)
class Tallies:
    """What was counted, stretch by stretch; every array has shape (n,). NaN where a number is not known."""

    start_s: Vector
    """Seconds since 1970 UTC."""
    duration_s: Vector
    """At most 900."""
    analysable_s: Vector
    twitches: Vector
    site: Index
    """Index into `sites`."""
    sites: tuple[str, ...]
    session: Index
    """One number a donning of the electrodes; all alike where not known."""
    artefacts: Vector
    activity: Vector

    def __len__(self) -> int:
        return len(self.start_s)

    def chosen(self, which: NDArray[np.bool_] | Index) -> Tallies:
        """Those of them that a mask of shape (n,), or places in a new order, name."""
        return Tallies(
            self.start_s[which],
            self.duration_s[which],
            self.analysable_s[which],
            self.twitches[which],
            self.site[which],
            self.sites,
            self.session[which],
            self.artefacts[which],
            self.activity[which],
        )


@dataclass(frozen=True, eq=False)
class Bins:
    """Rows of the regression; every array has shape (n,), in order of day and group."""

    number: Index
    """Start of the bin in units of 900 s since 1970."""
    day: Index
    """Days since 1970 on the person's clock."""
    slot: Index
    """0 to 95 within the day."""
    group: Index
    site: Index
    sites: tuple[str, ...]
    hours: Vector
    """Analysable."""
    twitches: Vector
    artefacts: Vector
    """NaN where not known."""
    activity: Vector
    """Mean over the bin; NaN where not known."""
    clock: Clock

    def __len__(self) -> int:
        return len(self.number)

    @property
    def counts(self) -> Counts:
        """The outcome, for the regression."""
        return Counts(self.twitches, self.hours, self.group, self.day, self.number / (3600 / BIN_S))

    @property
    def days(self) -> int:
        """On which anything could be analysed."""
        return len(np.unique(self.day))

    def chosen(self, which: NDArray[np.bool_]) -> Bins:
        """Those of them that a mask of shape (n,) names."""
        return Bins(
            self.number[which],
            self.day[which],
            self.slot[which],
            self.group[which],
            self.site[which],
            self.sites,
            self.hours[which],
            self.twitches[which],
            self.artefacts[which],
            self.activity[which],
            self.clock,
        )

    def informative(self) -> Bins:
        """Without the groups in which nothing was counted."""
        if not len(self):
            return self
        counts = self.counts
        return self.chosen(counts.spread(counts.by_group(self.twitches)) > 0)

    def covariates(self) -> Matrix:
        """Clock harmonics of each site, and activity where known, shape (n, p)."""
        angle = 2 * np.pi * (self.slot + 0.5) / SLOTS
        waves = [wave(k * angle) for k in range(1, HARMONICS + 1) for wave in (np.cos, np.sin)]
        columns = [np.where(self.site == site, wave, 0.0) for site in np.unique(self.site) for wave in waves]
        known = np.isfinite(self.activity)
        if known.any() and np.ptp(self.activity[known]) > 0:
            level = np.where(known, self.activity, self.activity[known].mean())
            columns.append((level - level.mean()) / level.std())
            if not known.all():
                columns.append(known.astype(float))
        return np.stack(columns, axis=1)


@dataclass(frozen=True, eq=False)
class Clock:
    """All bins from the first to the last, worn or not, on the person's clock."""

    first: int
    """Number of the first bin."""
    local_s: Vector
    """The middle of each bin as the person's clock shows it, seconds since its 1970, shape (bins,)."""

    @cached_property
    def edges_s(self) -> Vector:
        """Seconds since 1970 UTC, shape (bins + 1,)."""
        return (self.first + np.arange(len(self.local_s) + 1.0)) * BIN_S

    @cached_property
    def day(self) -> Index:
        """Shape (bins,)."""
        return ((self.local_s - _DAY_BEGINS_S) // _DAY_S).astype(np.int64)

    @cached_property
    def slot(self) -> Index:
        """Shape (bins,)."""
        return (((self.local_s - _DAY_BEGINS_S) % _DAY_S) // BIN_S).astype(np.int64)

    def by_day(self, values: Vector) -> Matrix:
        """Values of all bins, shape (bins,), as days × slots; 0 where there is no such bin."""
        table = np.zeros((int(self.day[-1] - self.day[0]) + 1, SLOTS))
        table[self.day - self.day[0], self.slot] = values
        return table


def binned(tallies: Tallies, zone: tzinfo | None) -> Bins:
    """Sum tallies into bins, on the clock of `zone`; `None` is this computer's."""
    kept = tallies.chosen(np.isfinite(tallies.analysable_s) & np.isfinite(tallies.twitches))
    number = (kept.start_s // BIN_S).astype(np.int64)
    clock = _clock(number, zone)
    place = number - clock.first
    keys = np.stack((clock.day[place], kept.site, kept.session, number))
    order = np.lexsort(keys[::-1])
    keys, kept = keys[:, order], kept.chosen(order)
    new = np.concatenate(([True], (np.diff(keys, axis=1) != 0).any(axis=0)))[: len(order)]
    starts = np.flatnonzero(new)
    keys = keys[:, starts]
    changes = np.concatenate(([True], (np.diff(keys[:3], axis=1) != 0).any(axis=0)))[: len(starts)]

    def summed(values: Vector) -> Vector:
        return np.add.reduceat(values, starts) if len(starts) else values

    analysable_s, duration_s = summed(kept.analysable_s), summed(kept.duration_s)
    bins = Bins(
        number=keys[3],
        day=keys[0],
        slot=clock.slot[keys[3] - clock.first],
        group=np.cumsum(changes) - 1,
        site=keys[1],
        sites=kept.sites,
        hours=analysable_s / 3600,
        twitches=summed(kept.twitches),
        artefacts=summed(kept.artefacts),
        activity=summed(kept.activity * kept.duration_s) / np.maximum(duration_s, 1e-9),
        clock=clock,
    )
    return bins.chosen(analysable_s >= _LEAST_SHARE * BIN_S)


def _clock(number: Index, zone: tzinfo | None) -> Clock:
    """The clock of all bins between the first and the last; its offset from UTC is asked for once an hour."""
    if not len(number):
        return Clock(0, np.empty(0))
    first, last = int(number.min()), int(number.max())
    hours = np.arange(first * BIN_S // 3600, last * BIN_S // 3600 + 1)
    offsets = [_offset_s(hour * 3600.0, zone) for hour in hours.tolist()]
    middles = (np.arange(first, last + 1) + 0.5) * BIN_S
    return Clock(first, middles + np.array(offsets)[(middles // 3600).astype(np.int64) - hours[0]])


def _offset_s(time_s: float, zone: tzinfo | None) -> float:
    offset = datetime.fromtimestamp(time_s, UTC).astimezone(zone).utcoffset()
    return offset.total_seconds() if offset is not None else 0.0
