"""An experiment on oneself: days drawn by lot, a sealed schedule, and an exact p.

    plan ─► Experiment (sealed) ─► arm of each day, on that day ─► outcome of each day ─► Result

Rules:

* Only what is of low risk and freely chosen. Drugs, supplements and all that is not listed as low risk are
  refused: stopping some of them is dangerous.
* Days, or blocks of days where an effect is slow to come and go, come in pairs, one of each arm, in an order drawn
  by lot: drift and weekdays hit both alike.
* The whole schedule is drawn before the first day from a secret; its fingerprint is told at once, the days one by
  one. At the end the secret shows that nothing was changed.
* The p is that of the lot itself, over all orders that could have been drawn: no model, no assumption.
"""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from firmware_interface.errors import Fault
from monitor.correlation.catalogue import CATALOGUE

LOW_RISK = frozenset({"caffeine", "cold", "diet", "exercise", "fluids", "sleep", "stress"})
"""Of the catalogue; of these one can have less, or none, for a day. Not alcohol: who is used to much of it must
not stop at once, and nobody should drink by lot."""
FEWEST_PAIRS = 6
"""With 5 the least possible p is 0.06."""
MOST_PAIRS = 20
"""A million orders: as many as are counted in a second or two."""

LONGEST_BLOCK_DAYS = 14


class ExperimentError(Fault):
    """An experiment that must not, or cannot, be made; the person's to change."""

    exit_code = 2


@dataclass(frozen=True, slots=True)
class Experiment:
    """A plan, sealed: whoever knows only `seal` cannot know the schedule."""

    kind: str
    arms: tuple[str, str]
    """With, without."""
    pairs: int
    secret: str
    """What the lots were drawn from; to be shown at the end only."""
    block_days: int = 1
    """How long an arm is kept to."""

    @property
    def blocks(self) -> int:
        return 2 * self.pairs

    @property
    def days(self) -> int:
        return self.blocks * self.block_days

    @property
    def seal(self) -> str:
        """Fingerprint of plan and secret, to be noted on the first day."""
        plan = "\n".join((self.kind, *self.arms, str(self.pairs), str(self.block_days), self.secret))
        return hashlib.sha256(plan.encode()).hexdigest()

    def arm(self, day: int) -> str:
        """What is to be done on a day, counted from 0. Ask for a day on that day.

        Raises:
            ExperimentError: there is no such day.
        """
        if not 0 <= day < self.days:
            raise ExperimentError(
                f"the experiment has days 0 to {self.days - 1}, not {day}", "Ask for one of these"
            )
        block = day // self.block_days
        return self.arms[(block % 2) ^ _lot(self.secret, block // 2)]


@dataclass(frozen=True, slots=True)
class Result:
    """What an experiment says."""

    pairs: int
    """With an outcome of both arms."""
    rate_ratio: float
    """With over without, geometric mean over pairs."""
    p: float
    """Two-sided, exact: the share of all orders with a difference at least as large."""


def plan(kind: str, arms: tuple[str, str], pairs: int, secret: str, block_days: int = 1) -> Experiment:
    """Draw a schedule.

    Args:
        kind: what is varied.
        arms: what to do on a day with and on a day without it.
        pairs: of days or blocks, 6 to 20.
        secret: fresh randomness, at least 32 characters; the caller's, who keeps it hidden.
        block_days: how long an arm is kept to, 1 to 14 days.

    Raises:
        ExperimentError: it is no low-risk kind, or the numbers do not allow an answer.
    """
    known = CATALOGUE.get(kind)
    if known is None or known.drug or kind not in LOW_RISK:
        told = "a drug or supplement" if known is not None and known.drug else "not on the list of low risk"
        raise ExperimentError(
            f"no experiment with {kind}: it is {told}", f"Choose one of {', '.join(sorted(LOW_RISK))}"
        )
    if not FEWEST_PAIRS <= pairs <= MOST_PAIRS:
        raise ExperimentError(
            f"{pairs} pairs of days are no experiment", f"Take {FEWEST_PAIRS} to {MOST_PAIRS}, one of each arm"
        )
    if not 1 <= block_days <= LONGEST_BLOCK_DAYS:
        raise ExperimentError(f"blocks of {block_days} days are no experiment", f"Take 1 to {LONGEST_BLOCK_DAYS}")
    if arms[0] == arms[1] or not all(arms):
        raise ExperimentError(f"the arms {arms[0]!r} and {arms[1]!r} do not differ", "Name two things to do")
    if len(secret) < 32:
        raise ExperimentError("the secret could be guessed", "Give at least 32 random characters")
    return Experiment(kind, arms, pairs, secret, block_days)


def evaluate(experiment: Experiment, rates: Sequence[float | None]) -> Result:
    """Compare the arms, as they were drawn, whatever was done: what was drawn is random, what was done is not.

    Args:
        experiment: as planned.
        rates: twitches an analysable hour of each day or block; `None` where nothing was analysable.

    Raises:
        ExperimentError: fewer than 6 pairs have an outcome of both arms, or rates are no numbers.
    """
    if len(rates) > experiment.blocks:
        raise ExperimentError(f"{len(rates)} rates of {experiment.blocks}", "Give those of the experiment only")
    if any(rate is not None and not 0 <= rate < math.inf for rate in rates):
        raise ExperimentError("a rate is no number from 0", "Leave days without one out")
    differences = []
    for pair, (one, other) in enumerate(zip(rates[::2], rates[1::2], strict=False)):
        if one is not None and other is not None:
            sign = -1 if _lot(experiment.secret, pair) else 1
            differences.append(sign * (math.log(one + _HALF) - math.log(other + _HALF)))
    if len(differences) < FEWEST_PAIRS:
        raise ExperimentError(
            f"{len(differences)} pairs have an outcome of both arms", f"{FEWEST_PAIRS} are the least"
        )
    mean = sum(differences) / len(differences)
    return Result(len(differences), math.exp(mean), _exact_p(np.array(differences)))


_HALF = 0.05
"""An hour; keeps the logarithm of a day without a twitch finite."""


def _exact_p(differences: np.ndarray[tuple[int], np.dtype[np.float64]]) -> float:
    """Over all signs, which is over all orders within pairs. The sums of two halves are enough."""
    halves = np.array_split(differences, 2)
    sums = [np.array([np.dot(signs, half) for signs in _all_signs(len(half))]) for half in halves]
    totals = np.abs(sums[0][:, None] + sums[1][None, :])
    return float((totals >= abs(differences.sum()) * (1 - 1e-9)).mean())


def _all_signs(number: int) -> list[tuple[int, ...]]:
    return list(itertools.product((-1, 1), repeat=number))


def _lot(secret: str, pair: int) -> int:
    """0 or 1: whether a pair begins without."""
    return hashlib.sha256(f"{secret}\n{pair}".encode()).digest()[0] & 1
