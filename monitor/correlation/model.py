"""Counts of twitches as a negative binomial regression with absorbed group effects, and its day-clustered variance.

    y ~ NB2(μ, α),  Var y = μ + α μ²,   log μ = log hours + δ(group) + X β

Rules:

* Rows are in order of day, and of group within the day; a group (site, day, donning) lies within one day.
* Group effects are never columns: each step eliminates them exactly, so a year costs no more than its rows.
* α only sets weights. It is estimated by moments and then held: what is claimed rests on the variance between days.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]
Index = NDArray[np.int64]

_STEPS = 40
_TOLERANCE = 1e-6
_LONGEST_STEP = 3.0
"""Of a linear predictor in one step: IRLS overshoots where a mean starts near 0."""


@dataclass(frozen=True, eq=False)
class Counts:
    """What was counted, row by row, and how rows hang together.

    Raises:
        ValueError: days or groups are not in order.
    """

    counts: Vector
    """Twitches, shape (n,)."""
    hours: Vector
    """Analysable time, shape (n,), > 0."""
    groups: Index
    """Which group effect, shape (n,), in order; a group without any twitch does not belong here."""
    days: Index
    """Which day, shape (n,), in order."""

    def __post_init__(self) -> None:
        if (np.diff(self.groups) < 0).any() or (np.diff(self.days) < 0).any():
            raise ValueError("rows must be in order of day and group")

    @cached_property
    def group_starts(self) -> Index:
        return _starts(self.groups)

    @cached_property
    def group_sizes(self) -> Index:
        return np.diff(np.append(self.group_starts, len(self.groups)))

    @cached_property
    def day_starts(self) -> Index:
        return _starts(self.days)

    @cached_property
    def day_number(self) -> Index:
        """0, 1, … of each row's day, shape (n,)."""
        return np.cumsum(np.concatenate(([False], np.diff(self.days) > 0))) if len(self.days) else self.days

    @cached_property
    def place_in_day(self) -> Index:
        """0, 1, … of each row within its day, shape (n,)."""
        return np.arange(len(self.days)) - self.day_starts[self.day_number]

    def by_group(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Sums over the rows of each group; first axis n becomes the number of groups."""
        return np.add.reduceat(values, self.group_starts, axis=0)

    def by_day(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Sums over the rows of each day; first axis n becomes the number of days."""
        return np.add.reduceat(values, self.day_starts, axis=0)

    def spread(self, of_groups: NDArray[np.float64]) -> NDArray[np.float64]:
        """Each group's value at each of its rows."""
        return np.repeat(of_groups, self.group_sizes, axis=0)


@dataclass(frozen=True, eq=False)
class Fit:
    """A fitted regression. Arrays over columns have shape (p,), over rows (n,)."""

    data: Counts
    coefficients: Vector
    mean: Vector
    """μ of each row."""
    dispersion: float
    """α."""
    centred: Matrix
    """X less its weighted mean in each group, shape (n, p)."""
    converged: bool

    @cached_property
    def weights(self) -> Vector:
        return self.mean / (1 + self.dispersion * self.mean)

    @cached_property
    def residuals(self) -> Vector:
        """(y − μ) / (1 + αμ): what is multiplied with a centred column gives its score."""
        return (self.data.counts - self.mean) / (1 + self.dispersion * self.mean)

    @cached_property
    def information(self) -> Matrix:
        """X̃'WX̃, shape (p, p)."""
        return self.centred.T @ (self.weights[:, None] * self.centred)

    @cached_property
    def bread(self) -> Matrix:
        """Its inverse; the pseudo-inverse where columns say the same."""
        return np.asarray(np.linalg.pinv(self.information, hermitian=True))

    @cached_property
    def day_scores(self) -> Matrix:
        """Score of each day, shape (days, p)."""
        return self.data.by_day(self.residuals[:, None] * self.centred)

    @cached_property
    def influence(self) -> Matrix:
        """How far the coefficients move when a day is left out, (I − H_d A)⁻¹ s_d A, shape (days, p)."""
        data, p = self.data, self.centred.shape[1]
        padded = np.zeros((len(data.day_starts), int(data.place_in_day.max()) + 1, p))
        padded[data.day_number, data.place_in_day] = np.sqrt(self.weights)[:, None] * self.centred
        of_days = padded.transpose(0, 2, 1) @ padded
        left = (1 + 1e-9) * np.eye(p) - of_days @ self.bread
        adjusted = np.linalg.solve(left, self.day_scores[:, :, None])[:, :, 0]
        return np.asarray(adjusted @ self.bread)

    @cached_property
    def covariance(self) -> Matrix:
        """CR3, which leaves each day out in turn: unlike CR1 it does not claim too much for few days.

        Source: Bell and McCaffrey, Survey Methodology 2002;28(2); Pustejovsky and Tipton, JBES 2018;36(4).
        """
        days = len(self.data.day_starts)
        return (days - 1) / days * self.influence.T @ self.influence

    def standard_error(self, column: int) -> float:
        """Of one coefficient, by CR3."""
        return float(np.sqrt(self.covariance[column, column]))

    def effective_days(self, column: int) -> float:
        """How many days of equal weight tell as much of a coefficient: (Σq)² / Σq², q a day's information on it.

        With a trigger on every day that is about the number of days, with one on few days about that few.
        """
        direction = self.centred @ self.bread[:, column]
        of_days = self.data.by_day(self.weights * direction**2)
        return float(of_days.sum() ** 2 / (of_days**2).sum())

    def centre(self, columns: NDArray[np.float64]) -> NDArray[np.float64]:
        """Other columns, shape (n, k), less their weighted mean in each group."""
        return _centred(self.data, columns, self.weights)

    def partial(self, columns: NDArray[np.float64]) -> NDArray[np.float64]:
        """Other columns, shape (n, k), less what groups and the fitted columns say of them."""
        centred = self.centre(columns)
        explained = self.bread @ (self.centred.T @ (self.weights[:, None] * centred))
        return np.asarray(centred - self.centred @ explained)


def fit(data: Counts, columns: Matrix, like: Fit | None = None, *, dispersion: float | None = None) -> Fit:
    """Maximum likelihood in β for a given α, by iteratively reweighted least squares.

    Args:
        data: n rows.
        columns: X, shape (n, p).
        like: a fit of the same rows, whose α is taken and where the search begins.
        dispersion: α; without it and `like` a Poisson fit gives it by moments, twice refined.
    """
    if like is not None:
        return _irls(data, columns, like.dispersion, like.mean)
    rates = data.by_group(data.counts) / data.by_group(data.hours)
    fitted = _irls(data, columns, dispersion or 0.0, data.spread(rates) * data.hours)
    for _ in range(2 if dispersion is None else 0):
        fitted = _irls(data, columns, _moment_dispersion(data, fitted.mean), fitted.mean)
    return fitted


def _irls(data: Counts, columns: Matrix, dispersion: float, mean: Vector) -> Fit:
    """From the means of another model to those of this one.

    The weights are of the observed information: with the log link those of the expected converge at half the pace.
    """
    offset = np.log(data.hours)
    predictor = np.log(mean) - offset
    coefficients = np.zeros(columns.shape[1])
    converged = False
    for _ in range(_STEPS):
        mean = np.exp(offset + predictor)
        variance = 1 + dispersion * mean
        weights = mean * (1 + dispersion * data.counts) / variance**2
        working = weights * predictor + (data.counts - mean) / variance
        weighted = weights[:, None] * columns
        weight_sums, sums, working_sums = data.by_group(weights), data.by_group(weighted), data.by_group(working)
        means = sums / weight_sums[:, None]
        coefficients = _solved(columns.T @ weighted - means.T @ sums, columns.T @ working - means.T @ working_sums)
        effects = working_sums / weight_sums - means @ coefficients
        move = data.spread(effects) + columns @ coefficients - predictor
        longest = np.abs(move).max(initial=0.0)
        predictor = predictor + move * min(1.0, _LONGEST_STEP / max(longest, 1e-9))
        if longest < _TOLERANCE:
            converged = True
            break
    mean = np.exp(offset + predictor)
    centred = _centred(data, columns, mean / (1 + dispersion * mean))
    return Fit(data, coefficients, mean, dispersion, centred, converged)


def _moment_dispersion(data: Counts, mean: Vector) -> float:
    excess = (data.counts - mean) ** 2 - mean
    return max(float(excess.sum() / (mean**2).sum()), 0.0)


def _solved(information: Matrix, score: Vector) -> Vector:
    try:
        return np.asarray(np.linalg.solve(information, score))
    except np.linalg.LinAlgError:  # columns that say the same
        return np.asarray(np.linalg.pinv(information, hermitian=True) @ score)


def _centred(data: Counts, columns: NDArray[np.float64], weights: Vector) -> NDArray[np.float64]:
    means = data.by_group(weights[:, None] * columns) / data.by_group(weights)[:, None]
    return np.asarray(columns - data.spread(means))


def _starts(labels: Index) -> Index:
    if not len(labels):
        return labels
    return np.concatenate(([0], np.flatnonzero(np.diff(labels)) + 1)).astype(np.int64)
