"""When a trigger may act: kernels turn episodes into exposure, bin by bin.

Rules:

* Time is seconds since 1970 UTC; what a kernel says of itself is in hours, and becomes seconds here.
* Exposure is 1 where a typical episode acts fully, so that exp(β) is the rate ratio of a typical episode.
* Episodes that act at the same time act once (a window is capped at 1), unless the kernel is a concentration.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]

_HOUR_S = 3600.0


@dataclass(frozen=True, slots=True, eq=False)
class Episodes:
    """What was logged of one trigger, in order of start."""

    start_s: Vector
    """Shape (n,)."""
    end_s: Vector
    """Shape (n,); an instant ends where it starts."""
    amount: Vector
    """Shape (n,), in typical doses or intensities; 1 where none was logged."""

    def __len__(self) -> int:
        return len(self.start_s)

    def chosen(self, which: NDArray[np.bool_]) -> Episodes:
        """Those of them that a mask of shape (n,) names."""
        return Episodes(self.start_s[which], self.end_s[which], self.amount[which])


class Kernel(Protocol):
    """How an episode becomes exposure."""

    @property
    def lag(self) -> str:
        """In words: "0.5-3 h after"."""
        ...

    @property
    def reach_h(self) -> float:
        """How long after its end an episode is felt, about."""
        ...

    def exposure(self, episodes: Episodes, edges_s: Vector) -> Vector:
        """Mean exposure in each bin, shape (bins,), for bin edges of shape (bins + 1,)."""
        ...


@dataclass(frozen=True, slots=True)
class Window:
    """The part of a bin from `from_h` to `to_h` after an episode's start; before it where negative."""

    from_h: float
    to_h: float

    @property
    def lag(self) -> str:
        return f"{self.from_h:g}-{self.to_h:g} h after"

    @property
    def reach_h(self) -> float:
        return max(self.to_h, 0.0)

    def exposure(self, episodes: Episodes, edges_s: Vector) -> Vector:
        return covered(episodes.start_s + self.from_h * _HOUR_S, episodes.start_s + self.to_h * _HOUR_S, edges_s)


@dataclass(frozen=True, slots=True)
class During:
    """The part of a bin that lies within an episode."""

    @property
    def lag(self) -> str:
        return "during"

    @property
    def reach_h(self) -> float:
        return 0.0

    def exposure(self, episodes: Episodes, edges_s: Vector) -> Vector:
        return covered(episodes.start_s, episodes.end_s, edges_s)


@dataclass(frozen=True, slots=True)
class After:
    """The part of a bin from `from_h` to `to_h` after an episode's end."""

    from_h: float
    to_h: float

    @property
    def lag(self) -> str:
        return f"{self.from_h:g}-{self.to_h:g} h after its end"

    @property
    def reach_h(self) -> float:
        return self.to_h

    def exposure(self, episodes: Episodes, edges_s: Vector) -> Vector:
        return covered(episodes.end_s + self.from_h * _HOUR_S, episodes.end_s + self.to_h * _HOUR_S, edges_s)


@dataclass(frozen=True, slots=True)
class Bateman:
    """Concentration with first-order absorption and elimination, 1 at the peak of a typical dose."""

    half_life_h: float
    absorption_h: float
    """Half-life of absorption, shorter than that of elimination."""

    @property
    def lag(self) -> str:
        return f"concentration, half-life {self.half_life_h:g} h"

    @property
    def reach_h(self) -> float:
        return 4 * self.half_life_h

    def exposure(self, episodes: Episodes, edges_s: Vector) -> Vector:
        middles = (edges_s[:-1] + edges_s[1:]) / 2
        out, absorbed = _rates(self.half_life_h, self.absorption_h)
        peak_s = math.log(absorbed / out) / (absorbed - out)
        peak = math.exp(-out * peak_s) - math.exp(-absorbed * peak_s)
        slow = _decayed(middles, episodes.start_s, episodes.amount, out)
        return (slow - _decayed(middles, episodes.start_s, episodes.amount, absorbed)) / peak


@dataclass(frozen=True, slots=True)
class Release:
    """How far a graded strain has eased: its mean from 12 h to 1 h before, less what it is now, where positive."""

    from_h: float = 1.0
    to_h: float = 12.0

    @property
    def lag(self) -> str:
        return "as it eases"

    @property
    def reach_h(self) -> float:
        return self.to_h

    def exposure(self, episodes: Episodes, edges_s: Vector) -> Vector:
        starts, ends = np.append(episodes.start_s, np.inf), np.append(episodes.end_s, np.inf)
        order = np.argsort(np.concatenate((starts, ends)), kind="stable")
        times = np.concatenate((starts, ends))[order][: 2 * len(episodes)]
        changes = np.concatenate((episodes.amount, [0.0], -episodes.amount, [0.0]))[order][: 2 * len(episodes)]
        middles = (edges_s[:-1] + edges_s[1:]) / 2
        if not len(times):
            return np.zeros(len(middles))
        level = np.cumsum(changes)
        total = np.concatenate(([0.0], np.cumsum(level[:-1] * np.diff(times))))
        now = np.where(middles < times[0], 0.0, level[np.searchsorted(times, middles, side="right") - 1])
        before_s, just_s = middles - self.to_h * _HOUR_S, middles - self.from_h * _HOUR_S
        past = np.interp(just_s, times, total) - np.interp(before_s, times, total)
        return np.maximum(past / (just_s - before_s) - now, 0.0)


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """How far the concentration is below its own usual level, in typical doses, where it is."""

    half_life_h: float
    absorption_h: float
    memory_h: float
    """Time constant of what is usual."""

    @property
    def lag(self) -> str:
        return f"below the usual level of {self.memory_h / 24:g} days"

    @property
    def reach_h(self) -> float:
        return self.memory_h

    def exposure(self, episodes: Episodes, edges_s: Vector) -> Vector:
        level = Bateman(self.half_life_h, self.absorption_h).exposure(episodes, edges_s)
        keep = math.exp(-(edges_s[1] - edges_s[0]) / (self.memory_h * _HOUR_S))
        usual = np.zeros(len(level))
        mean = 0.0
        for place, now in enumerate(level.tolist()):
            mean = keep * mean + (1 - keep) * now
            usual[place] = mean
        return np.maximum(usual - level, 0.0)


LEAD = Window(-2.0, 0.0)
"""Before a trigger nothing of its doing can be seen; what is seen there made the person log it."""
LAG_CURVE = (Window(0.0, 1.0), Window(1.0, 3.0), Window(3.0, 6.0), Window(6.0, 12.0))
"""Columns of the exploratory curve."""


def covered(start_s: Vector, end_s: Vector, edges_s: Vector) -> Vector:
    """The share of each bin that the union of intervals covers, shape (bins,)."""
    if not len(start_s):
        return np.zeros(len(edges_s) - 1)
    order = np.argsort(start_s, kind="stable")
    starts, latest = start_s[order], np.maximum.accumulate(end_s[order])
    breaks = np.flatnonzero(starts[1:] > latest[:-1])
    opens, closes = starts[np.append(0, breaks + 1)], latest[np.append(breaks, len(latest) - 1)]
    before = np.concatenate(([0.0], np.cumsum(closes - opens)))
    times = np.stack((opens, closes), axis=1).ravel()
    lengths = np.stack((before[:-1], before[1:]), axis=1).ravel()
    return np.asarray(np.diff(np.interp(edges_s, times, lengths)) / np.diff(edges_s))


def _rates(half_life_h: float, absorption_h: float) -> tuple[float, float]:
    """Elimination and absorption, 1/s."""
    return math.log(2) / (half_life_h * _HOUR_S), math.log(2) / (absorption_h * _HOUR_S)


def _decayed(times_s: Vector, start_s: Vector, amount: Vector, rate: float) -> Vector:
    """Sum over what started before each time of amount × exp(−rate × age)."""
    total = np.zeros(len(times_s))
    for start, dose in zip(start_s.tolist(), amount.tolist(), strict=True):
        first, last = np.searchsorted(times_s, (start, start + 40 / rate))
        total[first:last] += dose * np.exp(-rate * (times_s[first:last] - start))
    return total
