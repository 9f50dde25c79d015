"""One answer from many people's: the second of two stages.

Each person gives a log rate ratio with its standard error. People differ in truth as well: τ is how much.

Rules:

* τ² by Paule and Mandel (1982), which needs no shape of distribution and was among the best of 16 estimators
  for few studies (Veroniki et al., Res. Synth. Methods 2016;7:55).
* The error of the mean by Hartung and Knapp (Stat. Med. 2001;20:3875), with k - 1 degrees of freedom: with few
  people the normal interval is far too short.
* Where the weights are wrong, for people's own errors are estimates too, that is too short as well: the error is
  never less than the robust one of Sidik and Jonkman (Comput. Stat. Data Anal. 2006;50:3681), which takes each
  person's distance from the mean for what it is.
* The prediction interval is for the next person, and goes with k - 2 degrees (Higgins et al., J. R. Stat. Soc.
  A 2009;172:137). It is what matters to one person; the mean is about nobody.
* One person who knows nearly nothing changes nearly nothing; fewer than three say nothing about others.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtrc, stdtr, stdtrit

Vector = NDArray[np.float64]
LEAST: Final = 3
_STEPS: Final = 200
_LEAST_VARIANCE: Final = 1e-12


@dataclass(frozen=True, slots=True)
class Pooled:
    """What people have in common, and how they differ; logarithms of rate ratios."""

    people: int
    mean: float
    standard_error: float
    interval95: tuple[float, float]
    p: float
    tau: float
    """Standard deviation between people."""
    q: float
    """Cochran's, of homogeneity."""
    q_p: float
    i_squared: float
    """Share of the variation that is not chance, 0 to 1."""
    prediction95: tuple[float, float]
    """In which the next person's would lie."""


def pooled(effects: Sequence[float] | Vector, errors: Sequence[float] | Vector) -> Pooled | None:
    """The answer of all; `None` of fewer than `LEAST`.

    Args:
        effects: log rate ratios, one a person.
        errors: their standard errors, positive.
    """
    y, variance = np.asarray(effects, float), np.asarray(errors, float) ** 2
    k = len(y)
    if k < LEAST:
        return None
    tau2 = _tau2(y, variance)
    weight = 1 / (variance + tau2)
    mean = float((weight * y).sum() / weight.sum())
    share = weight / weight.sum()
    spread = float((share * (y - mean) ** 2).sum()) / (k - 1)
    robust = float((share**2 * (y - mean) ** 2 / (1 - share)).sum())
    error = math.sqrt(max(spread, robust, _LEAST_VARIANCE))
    q = _q(y, variance, 0.0)
    t = float(stdtrit(k - 1, 0.975))
    ahead = float(stdtrit(k - 2, 0.975)) * math.sqrt(tau2 + error**2)
    return Pooled(
        people=k,
        mean=mean,
        standard_error=error,
        interval95=(mean - t * error, mean + t * error),
        p=float(2 * stdtr(k - 1, -abs(mean) / error)),
        tau=math.sqrt(tau2),
        q=q,
        q_p=float(chdtrc(k - 1, q)),
        i_squared=max(0.0, 1 - (k - 1) / q) if q else 0.0,
        prediction95=(mean - ahead, mean + ahead),
    )


def _q(y: Vector, variance: Vector, tau2: float) -> float:
    weight = 1 / (variance + tau2)
    mean = (weight * y).sum() / weight.sum()
    return float((weight * (y - mean) ** 2).sum())


def _tau2(y: Vector, variance: Vector) -> float:
    """Where the weighted squares are what chance makes them: they fall with τ², so halving finds it."""
    target = len(y) - 1
    if _q(y, variance, 0.0) <= target:
        return 0.0
    low, high = 0.0, float(np.ptp(y) ** 2 + variance.max())
    while _q(y, variance, high) > target:
        high *= 2
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if _q(y, variance, middle) > target else (low, middle)
        if high - low <= 1e-12 * high:
            break
    return (low + high) / 2
