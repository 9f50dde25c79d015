"""Tests that ask what else the same days could have shown, by chance that a seed fixes.

Rules:

* A day is the unit: what happens within a day hangs together in ways that no model here claims to know.
* Draws are given, not made at each call, so that all questions of a report are asked of the same draws.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from monitor.correlation.model import Fit, Index, Matrix, Vector

Signs = NDArray[np.float64]
"""Shape (draws, days), +1 or −1."""


def signs(draws: int, days: int, seed: int) -> Signs:
    """Rademacher draws."""
    return np.random.default_rng(seed).choice((-1.0, 1.0), (draws, days))


def wild_score_p(restricted: Fit, column: Vector, draws: Signs) -> float:
    """Two-sided p of a column that `restricted` lacks: its day scores against themselves with random signs.

    Source: Kline and Santos, J. Econometric Methods 2012;1(1), with days as clusters.
    """
    score = restricted.partial(column[:, None])[:, 0] * restricted.residuals
    of_days = restricted.data.by_day(score)
    return _exceeded(draws @ of_days, float(of_days.sum()))


def simultaneous_quantile(fitted: Fit, columns: slice, draws: Signs) -> float:
    """How many standard errors hold all `columns` at once in 95 % of draws: the largest |t| among them."""
    moves = fitted.influence[:, columns]
    errors = np.sqrt(np.diag(fitted.covariance)[columns])
    largest = np.abs(draws @ moves / errors).max(axis=1)
    return float(np.quantile(largest, 0.95))


def day_permutation_p(restricted: Fit, patterns: Matrix, days: Index, slots: Index, seed: int) -> float:
    """Two-sided p of a trigger's whole-day patterns, exchanged between days.

    What the clock, other triggers and the days' levels say stays; only which day had which pattern changes.

    Args:
        restricted: a fit without the trigger.
        patterns: exposure by day and slot of the day, shape (days, slots).
        days: row of `patterns` of each row of the fit, shape (n,).
        slots: column of it, shape (n,).
        seed: of the permutations.
    """
    draws, chunk = 199, 25
    rng = np.random.default_rng(seed)
    orders = [np.arange(len(patterns)), *(rng.permutation(len(patterns)) for _ in range(draws))]
    statistics: list[float] = []
    for first in range(0, len(orders), chunk):
        exchanged = np.stack([patterns[order[days], slots] for order in orders[first : first + chunk]], axis=1)
        of_days = restricted.data.by_day(restricted.partial(exchanged) * restricted.residuals[:, None])
        scale = np.sqrt((of_days**2).sum(axis=0))
        statistics += (of_days.sum(axis=0) / np.where(scale > 0, scale, 1.0)).tolist()
    return _exceeded(np.array(statistics[1:]), statistics[0])


def _exceeded(drawn: Vector, seen: float) -> float:
    """Share of draws at least as extreme as what was seen, itself among them."""
    return float((1 + (np.abs(drawn) >= abs(seen) * (1 - 1e-12)).sum()) / (1 + len(drawn)))
