"""People who do not exist: sixty days of twitches, wear and a diary of triggers, with known rate ratios.

Everything that could flatter the analysis was fixed from the literature (docs/correlation.md) before it was tuned:

* The clock: an evening bump with steep flanks and a morning dip, which four harmonics cannot represent.
* The level of days: an AR(1) process, ρ .6, sd .35; within days an Ornstein-Uhlenbeck process, τ 3 h, sd .5.
* Counts: negative binomial, α .4, a mean of about `per_hour` an analysable hour.
* Wear: about 15 h a day with random gaps; one day in ten not worn; a bin is analysable in part.
* Diaries: coffee at habitual hours, tea at 18:12 ± 1 h (locked to the clock), sugar with 3 of 5 coffees within
  15 min, others at random, each person with their own habits. Some entries are late, some are missing.
* Reactive logging: an entry follows high twitching of the last hour.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from monitor.correlation.bins import BIN_S, Tallies
from monitor.correlation.exposure import Bateman, Episodes, Kernel, Window
from monitor.correlation.triggers import Trigger

Vector = NDArray[np.float64]
PER_DAY = 86400 // BIN_S
FIRST_S = 1_767_225_600.0 + 4 * 3600
"""2026-01-01T04:00Z, when a day begins; people of this generator live on UTC."""
WINDOW = Window(0.5, 3.0)
BATEMAN = Bateman(5.0, 0.25)


@dataclass(frozen=True, slots=True)
class Person:
    """How someone lives, twitches and keeps a diary."""

    days: int = 60
    per_hour: float = 6.0
    kernels: Mapping[str, Kernel] = field(default_factory=lambda: {"caffeine": WINDOW})
    """When a trigger truly acts; those not named do nothing."""
    rate_ratios: Mapping[str, float] = field(default_factory=dict)
    kinds: tuple[str, ...] = ("caffeine", "tea", "sugar", "random")
    late_min: float = 0.0
    """Mean delay of an entry."""
    missed: float = 0.0
    """Share of entries that were never made."""
    reactive: tuple[str, ...] = ()
    """Kinds that are logged because of twitching, and do nothing."""
    courses: int = 0
    """Of a supplement, 5 to 9 days each, evenly spread, that does nothing."""


TWELVE = (
    "caffeine", "tea", "sugar", "random", "fluids", "alcohol",
    "screen", "snack", "chocolate", "spice", "walk", "call",
)  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class History:
    """What was seen and logged of a person."""

    tallies: Tallies
    triggers: list[Trigger]

    def until(self, day: int) -> History:
        """What was known at the end of a day."""
        end_s = FIRST_S + day * 86400
        kept = self.tallies.chosen(self.tallies.start_s < end_s)
        return History(kept, [trigger for trigger in self.triggers if trigger.start_s < end_s])


def history(person: Person, seed: int) -> History:
    """One life of a person."""
    rng = np.random.default_rng(seed)
    bins = person.days * PER_DAY
    edges_s = FIRST_S + np.arange(bins + 1.0) * BIN_S
    diary = _diary(person.kinds, person.days, rng)
    hourly = np.log(person.per_hour * BIN_S / 3600)
    log_rate = hourly + np.tile(_clock(), person.days) + _noise(person.days, rng)
    for kind, ratio in person.rate_ratios.items():
        times_s = diary[kind]
        episodes = Episodes(times_s, times_s, np.ones(len(times_s)))
        log_rate += np.log(ratio) * person.kernels.get(kind, WINDOW).exposure(episodes, edges_s)
    share = _wear(person.days, rng)
    mean = np.exp(log_rate) * share
    twitches = rng.poisson(mean * rng.gamma(1 / 0.4, 0.4, bins)).astype(float)
    for kind in person.reactive:
        diary[kind] = _provoked(log_rate, share, rng)
    triggers = [
        Trigger(kind, float(time_s), dose=100.0 if kind == "caffeine" else None)
        for kind in person.kinds
        for time_s in _logged(diary[kind], person, rng)
    ]
    return History(_tallies(edges_s[:-1], share, twitches), [*triggers, *_courses(person, rng)])


def _clock() -> Vector:
    """Log rate over the day from 04:00: steep evening bump, morning dip."""
    hour = (4 + (np.arange(PER_DAY) + 0.5) / 4) % 24
    bump = 1.2 / (1 + np.exp(-(hour - 18.0) / 0.25)) / (1 + np.exp((hour - 21.5) / 0.4))
    return np.asarray(bump - 0.5 * np.exp(-(((hour - 9.0) / 1.2) ** 2)))


def _noise(days: int, rng: np.random.Generator) -> Vector:
    level, correlation = np.empty(days), 0.6
    level[0] = rng.normal(0, 0.35)
    for day in range(1, days):
        level[day] = correlation * level[day - 1] + rng.normal(0, 0.35 * np.sqrt(1 - correlation**2))
    keep = np.exp(-BIN_S / (3 * 3600))
    steps = rng.normal(0, 0.5 * np.sqrt(1 - keep**2), days * PER_DAY)
    within = np.empty(len(steps))
    value = rng.normal(0, 0.5)
    for place, step in enumerate(steps.tolist()):
        value = keep * value + step
        within[place] = value
    return np.repeat(level, PER_DAY) + within - 0.5**2 / 2


def _wear(days: int, rng: np.random.Generator) -> Vector:
    """Analysable share of each bin: about 15 h a day from about 07:30, with gaps and odd days off."""
    share = np.zeros((days, PER_DAY))
    for day in range(days):
        if rng.random() < 0.1:
            continue
        first = int(np.clip(rng.normal(14, 3), 0, 40))
        share[day, first : first + int(np.clip(rng.normal(64, 5), 20, PER_DAY))] = 1
        for _ in range(rng.poisson(1.5)):
            gap = int(rng.integers(0, PER_DAY))
            share[day, gap : gap + int(rng.exponential(4)) + 1] = 0
    return np.asarray(share.ravel() * rng.uniform(0.5, 1.0, days * PER_DAY))


def _diary(kinds: tuple[str, ...], days: int, rng: np.random.Generator) -> dict[str, Vector]:
    """True times of each kind, seconds since 1970."""
    made: dict[str, Vector] = {}
    day_s: Vector = np.asarray(FIRST_S + np.arange(days) * 86400.0, np.float64)
    for kind in kinds:
        if kind == "caffeine":
            cups = [(8.0, 0.75, 0.9), (11.0, 1.0, 0.6), (15.0, 1.0, 0.6)]
            times = [_habit(day_s, hour, spread, chance, rng) for hour, spread, chance in cups]
            made[kind] = np.sort(np.concatenate(times))
        elif kind == "tea":
            made[kind] = _habit(day_s, 18.2, 1.0, 0.8, rng)
        elif kind == "sugar":
            coffees = made["caffeine"]
            riding = coffees[rng.random(len(coffees)) < 0.6]
            made[kind] = np.sort(riding + rng.uniform(-900, 900, len(riding)))
        elif kind == "random":
            made[kind] = _scattered(days, 1.5, rng)
        elif rng.random() < 0.5:
            made[kind] = _habit(day_s, rng.uniform(8, 21), rng.uniform(0.5, 2.0), rng.uniform(0.4, 0.9), rng)
        else:
            made[kind] = _scattered(days, rng.uniform(0.4, 1.5), rng)
    return made


def _habit(day_s: Vector, hour: float, spread_h: float, chance: float, rng: np.random.Generator) -> Vector:
    times = day_s + (hour - 4 + rng.normal(0, spread_h, len(day_s))) * 3600
    return np.sort(times[rng.random(len(day_s)) < chance])


def _scattered(days: int, per_day: float, rng: np.random.Generator) -> Vector:
    """At waking hours."""
    number = int(rng.poisson(per_day * days))
    day = rng.integers(0, days, number)
    return np.sort(FIRST_S + day * 86400.0 + rng.uniform(3.5, 18.5, number) * 3600)


def _provoked(log_rate: Vector, share: Vector, rng: np.random.Generator) -> Vector:
    """Entries that follow high twitching of the last hour, about 1.5 a day."""
    recent = np.convolve(log_rate, np.ones(4) / 4)[: len(log_rate)]
    chance = np.where(share > 0, np.exp(1.5 * (recent - recent.mean())), 0.0)
    chance *= 1.5 * len(share) / PER_DAY / chance.sum()
    places = np.flatnonzero(rng.random(len(share)) < chance)
    return np.asarray(FIRST_S + (places + 1) * float(BIN_S) + rng.uniform(0, 300, len(places)))


def _courses(person: Person, rng: np.random.Generator) -> list[Trigger]:
    apart = person.days / max(person.courses, 1)
    firsts = [(number + rng.uniform(0.1, 0.35)) * apart for number in range(person.courses)]
    lasts = [first + min(rng.uniform(5, 9), 0.6 * apart) for first in firsts]
    return [
        Trigger("supplement", FIRST_S + round(first) * 86400.0, FIRST_S + round(last) * 86400.0)
        for first, last in zip(firsts, lasts, strict=True)
    ]


def _logged(times_s: Vector, person: Person, rng: np.random.Generator) -> Vector:
    kept = times_s[rng.random(len(times_s)) >= person.missed]
    late = rng.exponential(person.late_min * 60, len(kept)) if person.late_min else np.zeros(len(kept))
    return np.sort(kept + late)


def _tallies(start_s: Vector, share: Vector, twitches: Vector) -> Tallies:
    worn = share > 0
    number = int(worn.sum())
    return Tallies(
        start_s=start_s[worn],
        duration_s=np.full(number, float(BIN_S)),
        analysable_s=share[worn] * BIN_S,
        twitches=twitches[worn],
        site=np.zeros(number, np.int64),
        sites=("calf",),
        session=np.zeros(number, np.int64),
        artefacts=np.full(number, np.nan),
        activity=np.full(number, np.nan),
    )
