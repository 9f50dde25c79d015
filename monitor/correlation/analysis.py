"""One set of rows, all fast triggers jointly, and everything that is asked of each.

    bins, questions ─► joint fit ─┬─ estimate, evidence     of each question, averaged over its kernels
                                  └─ checks                 lead, permutation, crossover, artefacts, lag curve

Rules:

* Every question is answered with all other triggers in the model, at their default kernels. One trigger at a time,
  a null that rides on coffee is 'found' in .997 of histories (statistics, 1.7).
* Checks can only take a claim away.
* A column that others foresee almost wholly leaves the model, and its question is refused.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from monitor.correlation import evidence
from monitor.correlation.bins import BIN_S, SLOTS, Bins
from monitor.correlation.bootstrap import (
    Signs,
    day_permutation_p,
    signs,
    simultaneous_quantile,
    wild_score_p,
)
from monitor.correlation.exposure import LAG_CURVE, LEAD, Kernel
from monitor.correlation.model import Counts, Fit, Matrix, Vector, extended, fit, reduced, with_spells
from monitor.correlation.triggers import Question

DRAWS = 999
SEED = 20261122
_WORST_VIF = 5.0
_UNSOLVABLE_VIF = 100.0
_SAME_EPISODE_S = 1800.0
_SAME_SHARE = 0.8
_EXPOSED = 0.05
_NO_VARIANCE = 1e-6
_DEGREES_A_DAY = 2.0
"""CR3 goes with days less one degrees of freedom (MacKinnon, Nielsen and Webb, J. Econometrics 2023;232(2)). A
trigger on few days has fewer; as CR3 errs on the safe side by itself, twice its effective days are enough: in 80
null histories of tuning any false link ever was .04 so and .03 with them once, at a power of .65 against .60."""
_STRATUM_DAYS = 14
_LARGEST_LOG_RATIO = 6.0
"""A rate ratio of 400 is not an effect but an exposure without a single twitch, or nothing but."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A log rate ratio with its error, by CR3, and degrees of freedom."""

    log_rate_ratio: float
    standard_error: float
    degrees: float

    @property
    def e(self) -> float:
        return evidence.e_value(self.log_rate_ratio, self.standard_error, self.degrees)

    @property
    def p(self) -> float:
        return evidence.two_sided_p(self.log_rate_ratio, self.standard_error, self.degrees)

    @property
    def interval95(self) -> tuple[float, float]:
        return evidence.interval95(self.log_rate_ratio, self.standard_error, self.degrees)

    @property
    def always_valid(self) -> tuple[float, float]:
        return evidence.always_valid_interval(self.log_rate_ratio, self.standard_error, self.degrees)

    @property
    def detectable(self) -> float:
        return evidence.detectable(self.standard_error, self.degrees)


@dataclass(frozen=True, slots=True)
class Amount:
    """How much was seen of a trigger."""

    episodes: int
    """With analysable time while it may act."""
    days: int
    """On which anything could be analysed."""
    analysable_h: float
    """Of all sites."""
    exposed_h: float
    """Of a site, on average."""
    matched_h: float
    """Unexposed, at the clock hours of the exposed, at most as long as these; of a site, on average."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the data say of a question."""

    estimate: Estimate
    """At the default kernel."""
    e: float
    """Averaged over the library."""
    others: tuple[float, ...]
    """Log rate ratios at the other kernels."""


@dataclass(frozen=True, slots=True)
class LagPoint:
    """One bin of the exploratory curve: rate ratio and a band that holds for the whole curve."""

    from_h: float
    to_h: float
    rate_ratio: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Checks:
    """What could speak against a link; `None` where it could not be asked."""

    lead_p: float | None
    permutation_p: float | None
    crossover_agrees: bool | None
    artefact_p: float | None


class Analysis:
    """Answers about the questions of one set of bins. Nothing is computed before it is asked for.

    Args:
        bins: of one site or more, none empty of twitches throughout a group.
        questions: fast ones, all that were logged, asked or not.
    """

    def __init__(self, bins: Bins, questions: Sequence[Question]) -> None:
        self.bins = bins.informative()
        self.questions = tuple(questions)
        self._worn_days = bins.days
        self._hours = float(bins.hours.sum())
        self._place = self.bins.number - bins.clock.first
        self._data = self.bins.counts

    # How much there is

    def amount(self, question: Question) -> Amount:
        """What was seen of a trigger."""
        exposed = self._raw(question, question.kernel) > _EXPOSED
        hours = self.bins.hours / max(len(set(self.bins.site.tolist())), 1)
        on, off = (np.bincount(self.bins.slot[which], hours[which], SLOTS) for which in (exposed, ~exposed))
        return Amount(
            self._episodes_seen(question, exposed),
            self._worn_days,
            self._hours,
            float(on.sum()),
            float(np.minimum(on, off).sum()),
        )

    def collision(self, question: Question) -> str | None:
        """The trigger that cannot be told apart from this one, if there is one."""
        column = self.questions.index(question)
        for other in self.questions:
            if other.trigger != question.trigger and _coincide(question, other):
                return other.trigger
        inflation, relation = self._inflation
        if inflation[column] <= _WORST_VIF:
            return None
        others = [n for n, other in enumerate(self.questions) if other.trigger != question.trigger]
        if not others:
            return None
        return self.questions[max(others, key=lambda n: abs(float(relation[column, n])))].trigger

    # Evidence

    def estimate(self, question: Question) -> Estimate | None:
        """At the default kernel; `None` where no rate ratio can be estimated."""
        column = self._column(question)
        return None if column is None else self._estimate(self.joint, column)

    def evidence(self, question: Question) -> Evidence | None:
        """`None` where no rate ratio can be estimated."""
        default = self.estimate(question)
        if default is None:
            return None
        others = [self._with_kernel(question, kernel) for kernel in question.library]
        # What cannot be estimated bets nothing: an e-value of 1.
        e = evidence.averaged(default.e, [1.0 if other is None else other.e for other in others])
        return Evidence(default, e, tuple(other.log_rate_ratio for other in others if other is not None))

    def wild_p(self, question: Question) -> float:
        """Two-sided p at one look, by the wild score bootstrap over days."""
        return wild_score_p(self._restricted(question), self._exposure(question, question.kernel), self._signs)

    def lag_curve(self, question: Question) -> tuple[LagPoint, ...]:
        """Rate ratios by time since the start, with a simultaneous 95 % band. For exploration."""
        restricted = self._restricted(question)
        columns = np.stack([self._exposure(question, window) for window in LAG_CURVE], axis=1)
        if not self._estimable(columns):
            return ()
        fitted = extended(restricted, columns)
        last = slice(fitted.centred.shape[1] - len(LAG_CURVE), None)
        errors = np.sqrt(np.diag(fitted.covariance)[last])
        if not fitted.converged or not (np.abs(fitted.coefficients[last]) < _LARGEST_LOG_RATIO).all():
            return ()
        half = simultaneous_quantile(fitted, last, self._signs) * errors
        return tuple(
            LagPoint(window.from_h, window.to_h, math.exp(b), math.exp(b - h), math.exp(b + h))
            for window, b, h in zip(LAG_CURVE, fitted.coefficients[last].tolist(), half.tolist(), strict=True)
        )

    # Checks

    def checks(self, question: Question) -> Checks:
        """Everything that could speak against a link."""
        return Checks(
            self.lead_p(question),
            self._permutation_p(question),
            self._crossover_agrees(question),
            self._artefact_p(question),
        )

    def lead_p(self, question: Question) -> float | None:
        """p of the 2 h before a trigger, in which it cannot have acted, changing the way it seems to change after.

        What feigns a link lasts from before to after it: 1 where it changes the other way.
        """
        seeming = self.estimate(question)
        before = self._with_column(self.joint, self._exposure(question, LEAD))
        if seeming is None or before is None:
            return None
        return before.p if before.log_rate_ratio * seeming.log_rate_ratio > 0 else 1.0

    def _permutation_p(self, question: Question) -> float:
        clock = self.bins.clock
        patterns = clock.by_day(question.kernel.exposure(question.episodes, clock.edges_s))
        days, of_row = np.unique(self.bins.day, return_inverse=True)
        worn = patterns[days - clock.day[0]]
        unusual = worn - worn.mean(axis=0)
        return day_permutation_p(self._restricted(question), unusual, of_row, self.bins.slot, SEED)

    def _crossover_agrees(self, question: Question) -> bool | None:
        """Whether a case-crossover, hour by fortnight, points the same way."""
        column = self._column(question)
        crossed = self._crossed
        if column is None or crossed is None:
            return None
        return bool(crossed[column] * self.joint.coefficients[column] > 0)

    def _artefact_p(self, question: Question) -> float | None:
        """p of the rate of artefacts, which no muscle makes: a link with it is one of the measurement."""
        column = self._column(question)
        fitted = self._artefact_fit
        if column is None or fitted is None:
            return None
        estimate = self._estimate(fitted, column)
        return None if estimate is None else estimate.p

    # Days, for slow triggers

    def day_levels(self) -> Vector:
        """Log of twitches over what clock, covariates and fast triggers foresee, of each calendar day; NaN unworn.

        Sites are weighed alike, each against its own mean. All NaN where the regression has no answer.
        """
        data, clock = self._data, self.bins.clock
        if not self.joint.converged:
            return np.full(int(clock.day[-1] - clock.day[0]) + 1, np.nan)
        shape = data.hours * np.exp(self._columns @ self.joint.coefficients)
        level = np.log((data.by_group(data.counts) + 0.5) / (data.by_group(shape) + 0.5))
        site, day = self.bins.site[data.group_starts], self.bins.day[data.group_starts] - clock.day[0]
        for each in np.unique(site):
            level[site == each] -= level[site == each].mean()
        length = int(clock.day[-1] - clock.day[0]) + 1
        number = np.bincount(day, minlength=length)
        with np.errstate(invalid="ignore"):
            return np.asarray(np.bincount(day, level, length) / np.where(number, number, np.nan))

    # Fits

    @cached_property
    def joint(self) -> Fit:
        """All triggers at their default kernels."""
        return with_spells(fit(self._data, self._columns))

    @cached_property
    def _signs(self) -> Signs:
        return signs(DRAWS, len(self._data.day_starts), SEED)

    @cached_property
    def _covariates(self) -> Matrix:
        """Harmonics, activity, and what was logged because of twitching."""
        reactive = [
            self._exposure(replace(question, episodes=question.reactive), question.kernel)
            for question in self.questions
            if len(question.reactive)
        ]
        columns = [column[:, None] for column in reactive if self._estimable(column[:, None])]
        return np.concatenate((self.bins.covariates(), *columns), axis=1)

    @cached_property
    def _exposures(self) -> Matrix:
        """Of all questions at their default kernels, shape (n, questions)."""
        columns = [self._exposure(question, question.kernel) for question in self.questions]
        return np.stack(columns, axis=1) if columns else np.empty((len(self.bins), 0))

    @cached_property
    def _inflation(self) -> tuple[Vector, Matrix]:
        """Variance inflation of each trigger by the others, and their correlations, given clock and groups."""
        null = self._null
        partial = null.partial(self._exposures)
        size = np.sqrt((partial**2).sum(axis=0))
        scaled = partial / np.where(size > _NO_VARIANCE, size, np.inf)
        relation = scaled.T @ scaled
        np.fill_diagonal(relation, 1.0)
        inverse = np.linalg.pinv(relation + 1e-6 * np.eye(len(relation)), hermitian=True)
        return np.diag(inverse), relation

    @cached_property
    def _null(self) -> Fit:
        """Without any trigger."""
        return fit(self._data, self._covariates)

    @cached_property
    def _modelled(self) -> tuple[int, ...]:
        """Which questions have a column: those that vary, and of those that say the same the first."""
        kept: list[int] = []
        for number in range(len(self.questions)):
            if not self._estimable(self._exposures[:, [number]]):
                continue
            among = [*kept, number]
            relation = self._inflation[1][np.ix_(among, among)]
            if 1 / np.linalg.eigvalsh(relation)[0].clip(1e-12) < _UNSOLVABLE_VIF:
                kept.append(number)
        return tuple(kept)

    @cached_property
    def _columns(self) -> Matrix:
        return np.concatenate((self._covariates, self._exposures[:, list(self._modelled)]), axis=1)

    @cached_property
    def _restricted_fits(self) -> dict[int, Fit]:
        return {}

    def _restricted(self, question: Question) -> Fit:
        """Without a question's column."""
        number = self.questions.index(question)
        if number not in self._restricted_fits:
            column = self._column(question)
            self._restricted_fits[number] = self.joint if column is None else reduced(self.joint, column)
        return self._restricted_fits[number]

    @cached_property
    def _crossed(self) -> Vector | None:
        """Coefficients of a conditional Poisson regression in strata of clock hour, fortnight and site.

        Source: Armstrong et al., BMC Med. Res. Methodol. 2014;14:122.
        """
        bins = self.bins
        keys = np.stack((bins.site, (bins.day - bins.day.min()) // _STRATUM_DAYS, bins.slot // 4))
        _, stratum = np.unique(keys, axis=1, return_inverse=True)
        kept = np.bincount(stratum, bins.twitches)[stratum] > 0
        order = np.argsort(stratum[kept], kind="stable")
        labels = stratum[kept][order]
        data = Counts(bins.twitches[kept][order], bins.hours[kept][order], labels, labels, np.zeros(len(labels)))
        fitted = fit(data, self._columns[kept][order], 0.0)
        return fitted.coefficients if fitted.converged else None

    @cached_property
    def _artefact_fit(self) -> Fit | None:
        """The same regression of artefacts."""
        known = np.isfinite(self.bins.artefacts)
        if not known.any() or self.bins.artefacts[known].sum() < len(self._columns.T):
            return None
        chosen = replace(self.bins.chosen(known), twitches=self.bins.artefacts[known])
        counts = chosen.counts
        kept = counts.spread(counts.by_group(counts.counts)) > 0
        fitted = fit(chosen.chosen(kept).counts, self._columns[known][kept])
        return fitted if fitted.converged else None

    # Columns

    def _raw(self, question: Question, kernel: Kernel) -> Vector:
        return kernel.exposure(question.episodes, self.bins.clock.edges_s)[self._place]

    def _exposure(self, question: Question, kernel: Kernel) -> Vector:
        """Less its mean at that time of the clock, so that no shape of the day can feign a link."""
        return self._less_habit(self._raw(question, kernel))

    def _less_habit(self, exposure: Vector) -> Vector:
        slot, hours = self.bins.slot, self.bins.hours
        usual = np.bincount(slot, hours * exposure, SLOTS) / np.maximum(np.bincount(slot, hours, SLOTS), 1e-9)
        return np.asarray(exposure - usual[slot])

    def _column(self, question: Question) -> int | None:
        """Where a question stands in the joint fit."""
        number = self.questions.index(question)
        if number not in self._modelled:
            return None
        return int(self._covariates.shape[1]) + self._modelled.index(number)

    def _with_kernel(self, question: Question, kernel: Kernel) -> Estimate | None:
        return self._with_column(self._restricted(question), self._exposure(question, kernel))

    def _with_column(self, like: Fit, exposure: Vector) -> Estimate | None:
        """The estimate of one more column."""
        if not self._estimable(exposure[:, None]):
            return None
        return self._estimate(extended(like, exposure[:, None]), -1)

    def _estimable(self, columns: Matrix) -> bool:
        """Whether each column varies within the groups of three days at least."""
        data = self._data
        means = data.by_group(columns) / data.group_sizes[:, None]
        varies = data.by_day((columns - data.spread(means)) ** 2) > 1e-9
        return bool((varies.sum(axis=0) >= 3).all())

    def _estimate(self, fitted: Fit, column: int) -> Estimate | None:
        coefficient = float(fitted.coefficients[column])
        error = fitted.standard_error(column)
        usable = fitted.converged and abs(coefficient) < _LARGEST_LOG_RATIO and 0 < error < math.inf
        if not usable:
            return None
        degrees = min(len(fitted.data.day_starts) - 1.0, _DEGREES_A_DAY * fitted.effective_days(column))
        return Estimate(coefficient, error, degrees) if degrees >= 2 else None

    def _episodes_seen(self, question: Question, exposed: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> int:
        """Episodes with an exposed bin before the kernel's reach is over."""
        times = np.append(np.unique(self.bins.number[exposed]) * float(BIN_S), math.inf)
        if math.isinf(times[0]):
            return 0
        next_s = times[np.searchsorted(times, question.episodes.start_s - BIN_S)]
        return int((next_s < question.episodes.end_s + (question.kernel.reach_h + 0.01) * 3600).sum())


def _coincide(one: Question, other: Question) -> bool:
    """Whether most episodes of each go with one of the other."""
    return min(_shared(one, other), _shared(other, one)) >= _SAME_SHARE


def _shared(one: Question, other: Question) -> float:
    if not len(one.episodes) or not len(other.episodes):
        return 0.0
    padded = np.concatenate(([-math.inf], other.episodes.start_s, [math.inf]))
    after = np.searchsorted(padded, one.episodes.start_s)
    start_s = one.episodes.start_s
    nearest = np.minimum(padded[after] - start_s, start_s - padded[after - 1])
    return float((nearest <= _SAME_EPISODE_S).mean())
