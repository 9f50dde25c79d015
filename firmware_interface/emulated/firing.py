"""When motor units fire: by themselves, and when the person wants them to.

Sources, as in docs/emulated-arm.md: fasciculation processes from Kleine 2012 (doublets) and JNNP and surface
counts (rates); recruitment from Fuglevand 1993. What no source gives is marked as assumed.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from firmware_interface.emulated.timeline import Firing, onsets_s

Floats = NDArray[np.float64]

DOUBLET_S = (0.010, 0.032, 0.110)  # least, most frequent, most
REFRACTORY_S = 0.120  # assumed: after a discharge only a doublet may follow
GAIN_SD = 0.05
DRIFT_SD, DRIFT_S = 0.5, 600.0  # of the log rate; assumed, rates are only known to drift
SHAPE = (0.5, 2.0)  # of the gamma intervals, clustered to somewhat regular: assumed, only known as irregular
EVEN_SHARE = 0.5  # of the twitches, spread evenly over the units; the rest falls as it may
_STEP_S = 10.0  # over which a rate is constant

POOL = 40  # units per muscle that volition can reach
RECRUITMENT_RANGE = 30.0
MIN_RATE_HZ = 8.0
PEAK_RATE_HZ = (35.0, 10.0)  # PFR = 35 - 10 RTE_i / RTE_n
ISI_CV = 0.2
EFFORT = (0.1, 0.5)  # of the greatest excitation, in the muscle meant; assumed: everyday, not maximal
CO_CONTRACTION = (0.1, 0.8)  # of that effort, in every other muscle; assumed
RAMP_S = (0.3, 1.0)
VOLUNTARY_SPAN = (0.5, 1.5)  # of the mean duration
_GRID_S = 0.005


def fasciculations(rng: Generator, units: int, per_s: float, doublet_share: float) -> Iterator[Firing]:
    """The spontaneous firings of units 0 to `units` - 1, together `per_s`, both of a doublet counted."""
    if not per_s:
        return iter(())
    shares = EVEN_SHARE / units + (1 - EVEN_SHARE) * rng.dirichlet(np.ones(units))
    starts_per_s = per_s / (1 + doublet_share) * shares
    return heapq.merge(
        *(
            _fasciculating(child, unit, float(starts_per_s[unit]), doublet_share)
            for unit, child in enumerate(rng.spawn(units))
        )
    )


def _fasciculating(rng: Generator, unit: int, per_s: float, doublet_share: float) -> Iterator[Firing]:
    """A gamma renewal process with dead time, whose log rate wanders (Ornstein-Uhlenbeck)."""
    shape = math.exp(rng.uniform(*np.log(SHAPE)))
    rate_ready = per_s / (1 - per_s * REFRACTORY_S)
    drift = rng.normal(0, DRIFT_SD)
    keep = math.exp(-_STEP_S / DRIFT_S)
    due = rng.uniform() * rng.gamma(shape + 1) / shape  # as seen by one who begins to look at any moment
    for step in itertools.count():
        rate = rate_ready * math.exp(drift - DRIFT_SD**2 / 2)
        now, end = step * _STEP_S, (step + 1) * _STEP_S
        while (onset := now + due / rate) < end:
            yield Firing(onset, unit, rng.normal(1, GAIN_SD))
            if rng.uniform() < doublet_share:
                yield Firing(onset + rng.triangular(*DOUBLET_S), unit, rng.normal(1, GAIN_SD), doublet=True)
            now, due = onset, rng.gamma(shape) / shape + REFRACTORY_S * rate
        due -= (end - now) * rate
        drift = keep * drift + rng.normal(0, DRIFT_SD * math.sqrt(1 - keep**2))


@dataclass(frozen=True, slots=True, eq=False)
class Contraction:
    """One voluntary contraction: its firings in order of time, shape (firings,) each."""

    times_s: Floats
    units: NDArray[np.int64]

    @property
    def onset_s(self) -> float:
        """Time of the first firing."""
        return float(self.times_s[0])

    @property
    def duration_s(self) -> float:
        """From the first firing to the last."""
        return float(self.times_s[-1] - self.times_s[0])

    def firings(self) -> Iterator[Firing]:
        """The same as events."""
        return (Firing(t, u, 1.0) for t, u in zip(self.times_s.tolist(), self.units.tolist(), strict=True))


def contractions(
    rng: Generator, muscles: int, first_unit: int, per_s: float, mean_s: float
) -> Iterator[Contraction]:
    """Contractions of the whole arm, one muscle meant; units are `POOL` a muscle from `first_unit` on."""
    for onset_s in onsets_s(rng, per_s, apart_s=1 + VOLUNTARY_SPAN[1] * mean_s):
        efforts = rng.uniform(*CO_CONTRACTION, muscles)
        efforts[rng.integers(muscles)] = 1.0
        excitation = rng.uniform(*EFFORT) * efforts[:, None] * _ramps(rng, mean_s)
        times_s, units = _recruited(rng, excitation)
        yield Contraction(onset_s + times_s, first_unit + units)


def _ramps(rng: Generator, mean_s: float) -> Floats:
    """Rise, hold and fall between 0 and 1, one value each `_GRID_S`."""
    duration_s = mean_s * rng.uniform(*VOLUNTARY_SPAN)
    ramp_s = min(rng.uniform(*RAMP_S), duration_s / 3)
    times_s = np.arange(0, duration_s, _GRID_S)
    return np.asarray(np.clip(np.minimum(times_s, duration_s - times_s) / ramp_s, 0, 1))


def rates_hz(excitation: Floats) -> Floats:
    """Firing rates of a pool by Fuglevand, shape (muscles, POOL, times) from (muscles, times).

    `excitation` is a fraction of that which brings the last unit to its peak rate.
    """
    threshold = np.exp(math.log(RECRUITMENT_RANGE) * np.arange(1, POOL + 1) / POOL)[:, None]
    peak = PEAK_RATE_HZ[0] - PEAK_RATE_HZ[1] * threshold / RECRUITMENT_RANGE
    greatest = RECRUITMENT_RANGE + peak[-1] - MIN_RATE_HZ
    above = excitation[:, None, :] * greatest - threshold
    return np.where(above >= 0, np.minimum(MIN_RATE_HZ + above, peak), 0)


def _recruited(rng: Generator, excitation: Floats) -> tuple[Floats, NDArray[np.int64]]:
    """Times from the start of the contraction, in order, and the unit of each, counted over all muscles.

    Intervals of mean 1 and CV 0.2 are laid out along the integral of each unit's rate.
    """
    rates = rates_hz(excitation).reshape(-1, excitation.shape[1])
    expected = np.cumsum(rates * _GRID_S, axis=1)
    grid_s = np.arange(1, rates.shape[1] + 1) * _GRID_S
    regularity = ISI_CV**-2
    intervals = rng.gamma(regularity, 1 / regularity, (len(rates), math.ceil(1.5 * expected[:, -1].max() + 10)))
    marks = np.cumsum(intervals, axis=1) - intervals[:, :1] * rng.uniform(size=(len(rates), 1))
    trains = [np.interp(m[m < e[-1]], e, grid_s) for m, e in zip(marks, expected, strict=True)]
    times_s = np.concatenate(trains)
    units = np.repeat(np.arange(len(trains)), [len(train) for train in trains])
    order = np.argsort(times_s, kind="stable")
    return times_s[order], units[order]
