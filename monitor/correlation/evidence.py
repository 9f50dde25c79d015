"""Evidence that stays valid however often one looks.

    estimate, standard error ─► e-value ─┬─ mean over a kernel library ─► e-BH over the questions
                             └─► interval that holds at every look

An e-value is a bet against "no link": if there is none, its mean is at most 1, so it ever reaches 20 in at most
one of 20 histories (Ville 1939). Means of e-values are e-values, hence a kernel library costs no correction.

It is valid for many days (the variance is estimated), not exactly; `benchmarks.correlation` measures it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy import special

PRIOR_SD = 0.5
"""Of the log rate ratio under the alternative; sets where the bet is best: rate ratios of 1.3 to 2.5."""
STRONG = 20.0
"""1 / 0.05."""
FALSE_DISCOVERY_RATE = 0.10


def normal_score(estimate: float, standard_error: float, degrees: float) -> float:
    """The normal deviate as improbable as the t statistic at its degrees of freedom."""
    tail = max(float(special.stdtr(degrees, -abs(estimate) / standard_error)), 1e-300)
    return math.copysign(float(-special.ndtri(tail)), estimate)


def two_sided_p(estimate: float, standard_error: float, degrees: float) -> float:
    """Of a t statistic."""
    return 2 * float(special.stdtr(degrees, -abs(estimate) / standard_error))


def e_value(estimate: float, standard_error: float, degrees: float) -> float:
    """Evidence against a log rate ratio of 0, by the normal mixture.

    Source: Robbins, Ann. Math. Statist. 1970;41(5); Johari et al., Operations Research 2022;70(3).
    """
    z, variance, prior = normal_score(estimate, standard_error, degrees), standard_error**2, PRIOR_SD**2
    shrink = variance / (variance + prior)
    return math.sqrt(shrink) * math.exp(min(z**2 / 2 * (1 - shrink), 700.0))


def always_valid_interval(estimate: float, standard_error: float, degrees: float) -> tuple[float, float]:
    """95 % interval of the log rate ratio that holds at all looks together: where the e-value stays below 20.

    Source: Robbins, Ann. Math. Statist. 1970;41(5).
    """
    variance, prior = standard_error**2, PRIOR_SD**2
    square = (variance + prior) / prior * (2 * math.log(STRONG) + math.log((variance + prior) / variance))
    tail = max(float(special.ndtr(-math.sqrt(square))), 1e-300)
    half = standard_error * -float(special.stdtrit(degrees, tail))
    return estimate - half, estimate + half


def interval95(estimate: float, standard_error: float, degrees: float) -> tuple[float, float]:
    """95 % interval of the log rate ratio, for one look only."""
    half = standard_error * float(special.stdtrit(degrees, 0.975))
    return estimate - half, estimate + half


def detectable(standard_error: float, degrees: float) -> float:
    """The log rate ratio that data like these would have shown in 4 of 5 histories at one look."""
    return standard_error * float(special.stdtrit(degrees, 0.975) + special.stdtrit(degrees, 0.80))


def averaged(default: float, others: Sequence[float]) -> float:
    """One e-value of a kernel library: the default kernel has half of the weight."""
    return (default + float(np.mean(others))) / 2 if len(others) else default


def e_bh(e_values: Sequence[float], rate: float = FALSE_DISCOVERY_RATE) -> list[bool]:
    """Which hypotheses to reject, the expected share of false ones at most `rate`, whatever their dependence.

    Source: Wang and Ramdas, J. R. Statist. Soc. B 2022;84(3).
    """
    ordered = np.sort(np.asarray(e_values, float))[::-1]
    ranks = np.arange(1, len(ordered) + 1)
    passed = np.flatnonzero(ordered >= len(ordered) / (rate * ranks))
    if not len(passed):
        return [False] * len(ordered)
    return [value >= ordered[passed[-1]] for value in e_values]
