"""Rates of people, by site and group.

Rules:

* A person is one observation: a million twitches of one calf are not a million calves. The rate of a group is its
  twitches over its analysable hours, and its error comes from how people differ (quasi-Poisson: the dispersion is
  estimated, never assumed to be 1), with as many degrees of freedom as there are people less one.
* Groups may differ in how much their people differ: each has a dispersion of its own, and two are compared with
  Welch's degrees of freedom.
* The logarithm is what is nearly normal; intervals are made there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.special import stdtr, stdtrit

LEAST: Final = 3


@dataclass(frozen=True, slots=True)
class Person:
    """What one person yielded at one site."""

    subject: str
    group: str
    site: str
    twitches: float
    hours: float
    """Analysable."""


@dataclass(frozen=True, slots=True)
class Rate:
    """Of a group at a site, an analysable hour."""

    site: str
    group: str
    people: int
    twitches: int
    hours: float
    per_hour: float | None
    """`None` where nothing could be analysed."""
    interval95: tuple[float, float] | None
    """`None` of fewer than `LEAST` people, or without a twitch."""
    dispersion: float | None
    """Variance over that of Poisson."""


@dataclass(frozen=True, slots=True)
class Ratio:
    """Of the rates of two groups at a site."""

    site: str
    group: str
    against: str
    ratio: float
    interval95: tuple[float, float]
    p: float


@dataclass(frozen=True, slots=True)
class _Fit:
    log_rate: float
    variance: float
    degrees: int
    dispersion: float


def rates(people: Sequence[Person]) -> tuple[list[Rate], list[Ratio]]:
    """The rate of each group at each site, and of each two groups their ratio."""
    sites = sorted({person.site for person in people})
    found: list[Rate] = []
    ratios: list[Ratio] = []
    for site in sites:
        groups = sorted({person.group for person in people if person.site == site})
        fits: dict[str, _Fit] = {}
        for group in groups:
            members = [p for p in people if (p.site, p.group) == (site, group) and p.hours > 0]
            fit = _fit(members)
            found.append(_rate(site, group, members, fit))
            if fit is not None:
                fits[group] = fit
        names = list(fits)
        ratios += [_ratio(site, names[n], against, fits) for n in range(len(names)) for against in names[:n]]
    return found, ratios


def _fit(members: Sequence[Person]) -> _Fit | None:
    twitches = np.array([person.twitches for person in members])
    hours = np.array([person.hours for person in members])
    if len(members) < LEAST or not twitches.sum():
        return None
    rate = twitches.sum() / hours.sum()
    expected = rate * hours
    # Each person's part in the mean is taken out of their residual (HC3, nearly the jackknife): between people the
    # variance does not grow with the mean as counts' does, and few of them carry much of it.
    share = hours / hours.sum()
    squares = ((twitches - expected) / np.maximum(1 - share, 1e-9)) ** 2
    dispersion = float(((twitches - expected) ** 2 / expected).sum() / (len(members) - 1))
    return _Fit(math.log(rate), float(squares.sum() / twitches.sum() ** 2), len(members) - 1, dispersion)


def _rate(site: str, group: str, members: Sequence[Person], fit: _Fit | None) -> Rate:
    twitches, hours = sum(p.twitches for p in members), sum(p.hours for p in members)
    interval = None
    if fit is not None:
        half = float(stdtrit(fit.degrees, 0.975)) * math.sqrt(fit.variance)
        interval = math.exp(fit.log_rate - half), math.exp(fit.log_rate + half)
    return Rate(
        site,
        group,
        len(members),
        round(twitches),
        hours,
        twitches / hours if hours else None,
        interval,
        fit.dispersion if fit else None,
    )


def _ratio(site: str, group: str, against: str, fits: dict[str, _Fit]) -> Ratio:
    a, b = fits[group], fits[against]
    difference, variance = a.log_rate - b.log_rate, max(a.variance + b.variance, 1e-30)
    degrees = variance**2 / max(a.variance**2 / a.degrees + b.variance**2 / b.degrees, 1e-60)
    error = math.sqrt(variance)
    half = float(stdtrit(degrees, 0.975)) * error
    return Ratio(
        site,
        group,
        against,
        math.exp(difference),
        (math.exp(difference - half), math.exp(difference + half)),
        float(2 * stdtr(degrees, -abs(difference) / error)),
    )
