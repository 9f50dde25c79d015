"""What is said of each question: a verdict, its numbers and its reasons.

    linked         passes e-BH over the declared questions, every gate and every check
    possible       an averaged e-value of 20 without e-BH; or linked, but for a check
    no_sign        gates met, and the always-valid interval lies within a rate ratio of 1/1.5 to 1.5
    cannot_tell    otherwise

Rules:

* A gate asks whether there is enough to say anything; unmet, nothing is said. A check asks what else could have
  made a link; failed, a link is no more than possible.
* A link is never called more than a link: this is observation, not experiment.
* A number that cannot be estimated is absent. It is never 0, 1 or infinite instead.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import tzinfo
from enum import StrEnum

from monitor.correlation import evidence
from monitor.correlation.analysis import (
    DRAWS,
    SEED,
    Amount,
    Analysis,
    Checks,
    Estimate,
    Evidence,
    LagPoint,
)
from monitor.correlation.bins import BIN_S, HARMONICS, Bins, Tallies, binned
from monitor.correlation.catalogue import Form, entry
from monitor.correlation.slow import LEAST_SWITCHES, course, switches
from monitor.correlation.triggers import Question, Refusal, Trigger, checked, kinds, questions

ALL_SITES = "all"
LEAST_DAYS = 14
LEAST_EPISODES = 10
LEAST_HOURS = 20.0
LEAST_DAYS_OF_EACH = 5
"""On and off, of a slow trigger."""
NUMBERS_FROM_DAYS = 7
NUMBERS_FROM_EPISODES = 5
"""Below, an estimate would mean nothing."""
MATTERS = 1.5
"""The rate ratio that `no_sign` excludes."""
CHECK_P = 0.05
"""Of every check. For the 2 h before, statistics.md has .10: it cost 14 of 250 true links, .05 costs 10, and
neither stopped more of 300 reactive diaries, whose e-values seldom reach a link (seeds 5 000 000 to 7 000 149)."""
_LOGGED_FOR_TWITCHING = "the rate had changed before it was logged: it may have been logged for the twitching"


class Verdict(StrEnum):
    """What can be said."""

    LINKED = "linked"
    POSSIBLE = "possible"
    NO_SIGN = "no_sign"
    CANNOT_TELL = "cannot_tell"


@dataclass(frozen=True, slots=True)
class Finding:
    """The answer to one question at one site, or at all. Ratios are of rates per analysable time."""

    trigger: str
    site: str
    verdict: Verdict
    lag: str
    reasons: tuple[str, ...]
    rate_ratio: float | None = None
    interval95: tuple[float, float] | None = None
    """For one look only."""
    always_valid_interval: tuple[float, float] | None = None
    p: float | None = None
    e: float | None = None
    episodes: int = 0
    days: int = 0
    analysable_h: float = 0.0
    lead_p: float | None = None
    min_detectable_rr: float | None = None
    lag_curve: tuple[LagPoint, ...] = ()
    """Exploration, never a verdict."""

    def fields(self) -> dict[str, object]:
        """As JSON can hold it; what is not known is `None`."""
        return asdict(self) | {"verdict": str(self.verdict)}


@dataclass(frozen=True, slots=True)
class Method:
    """How it was done, to be printed beside the findings."""

    questions: tuple[str, ...]
    """Declared; together they pay for being many."""
    hypotheses: int
    adjusted_for: tuple[str, ...]
    days: int
    analysable_h: float
    refused: tuple[Refusal, ...]
    """Entries of the log that were left out, or counted otherwise than they stand."""
    zone: str
    bin_s: int = BIN_S
    harmonics: int = HARMONICS
    false_discovery_rate: float = evidence.FALSE_DISCOVERY_RATE
    draws: int = DRAWS
    seed: int = SEED
    model: str = "negative binomial regression, day effects, variance between days (CR3), normal-mixture e-values"
    caution: str = "A link is no proof of what brings it about. Late and missing entries make links look weaker."


@dataclass(frozen=True, slots=True)
class Report:
    """Findings in the order of the questions, all sites first."""

    findings: tuple[Finding, ...]
    method: Method


@dataclass(frozen=True, slots=True)
class Judged:
    """A question with what the data say of it, before it is compared with the other questions."""

    question: Question
    site: str
    amount: Amount
    evidence: Evidence | None
    p: float | None = None
    unmet: tuple[str, ...] = ()
    """Gates, in words."""
    failed: tuple[str, ...] = ()
    """Checks, in words."""
    checks: Checks | None = None
    lag_curve: tuple[LagPoint, ...] = ()

    @property
    def e(self) -> float:
        """1, which bets nothing, where there is no evidence."""
        return 1.0 if self.evidence is None else self.evidence.e


def correlate(
    tallies: Tallies,
    triggers: Sequence[Trigger],
    zone: tzinfo | None,
    until_s: float,
    asked: Sequence[str] | None = None,
) -> Report:
    """Relate twitches to what was logged.

    Args:
        tallies: what was counted.
        triggers: what was logged, right or wrong; `Method.refused` says what could not be used.
        zone: of the person's clock; `None` is this computer's.
        until_s: now, seconds since 1970 UTC.
        asked: kinds to ask of; all that were logged without it. Asking of fewer makes each easier to find.
    """
    kept, refused = checked(triggers, until_s)
    bins = binned(tallies, zone)
    logged = [kind for kind in kinds(kept) if entry(kind).testable]
    wanted = tuple(dict.fromkeys(_askable(kept) if asked is None else asked))
    end_s = float(bins.clock.edges_s[-1]) if len(bins) else until_s
    modelled = [q for kind in dict.fromkeys([*logged, *wanted]) for q in questions(kept, kind, end_s)]
    modelled = [question for question in modelled if question.entry.testable]
    present = [bins.sites[number] for number in sorted(set(bins.site.tolist()))]
    of_sites = [(ALL_SITES, bins)] if len(present) != 1 else [(present[0], bins)]
    if len(present) > 1:
        of_sites += [(site, bins.chosen(bins.site == bins.sites.index(site))) for site in present]
    families = [list(judged(rows, modelled, wanted, site)) for site, rows in of_sites]
    findings = [*_verdicts(families[0]), *_verdicts([each for family in families[1:] for each in family])]
    method = Method(
        questions=wanted,
        hypotheses=len(families[0]),
        adjusted_for=_adjusted_for(bins, modelled),
        days=bins.days,
        analysable_h=float(bins.hours.sum()),
        refused=tuple(refused),
        zone=str(zone) if zone is not None else "this computer's",
    )
    return Report((*findings, *(_untested(kind) for kind in wanted if not entry(kind).testable)), method)


def judged(bins: Bins, modelled: Sequence[Question], wanted: Sequence[str], site: str) -> Iterator[Judged]:
    """What the bins say of the wanted among the modelled questions."""
    analysis = Analysis(bins, [question for question in modelled if not question.slow])
    for question in modelled:
        if question.trigger not in wanted:
            continue
        if not len(analysis.bins):
            nothing = Amount(0, bins.days, float(bins.hours.sum()), 0.0, 0.0)
            reason = "not a twitch was counted" if len(bins) else "no time could be analysed"
            yield Judged(question, site, nothing, None, unmet=(reason,))
        elif question.slow:
            yield _judged_slow(analysis, question, site)
        else:
            yield judged_fast(analysis, question, site)


# Gates and checks -----------------------------------------------------------------------------------------------


def judged_fast(analysis: Analysis, question: Question, site: str) -> Judged:
    """A question about hours, with all its checks."""
    return with_checks(analysis, weighed(analysis, question, site))


def with_checks(analysis: Analysis, judged: Judged) -> Judged:
    """The same with all that could speak against a link, and a curve."""
    if judged.evidence is None:
        return judged
    checks = analysis.checks(judged.question)
    return replace(
        judged,
        p=analysis.wild_p(judged.question),
        checks=checks,
        failed=tuple(_failed(checks)),
        lag_curve=analysis.lag_curve(judged.question),
    )


def weighed(analysis: Analysis, question: Question, site: str) -> Judged:
    """The same without checks."""
    amount = analysis.amount(question)
    unmet = tuple(_unmet(amount))
    if amount.days < NUMBERS_FROM_DAYS or amount.episodes < NUMBERS_FROM_EPISODES:
        return Judged(question, site, amount, None, unmet=unmet)
    other = analysis.collision(question)
    if other is not None:
        told = f"it goes with {other} so often that the two cannot be told apart; an experiment could"
        return Judged(question, site, amount, None, unmet=(*unmet, told))
    found = analysis.evidence(question)
    if found is None:
        unmet = (
            *unmet,
            "no rate ratio can be estimated: at the time in question nothing varies, or nothing twitched",
        )
    return Judged(question, site, amount, found, unmet=unmet)


def _judged_slow(analysis: Analysis, question: Question, site: str) -> Judged:
    """A question about days, by circular shift."""
    amount = replace(analysis.amount(question), episodes=len(question.episodes))
    if amount.days < LEAST_DAYS:
        return Judged(question, site, amount, None, unmet=(_too_few_days(amount),))
    clock = analysis.bins.clock
    level = analysis.day_levels()
    exposure = question.kernel.exposure(question.episodes, clock.edges_s)
    of_days = clock.by_day(exposure).sum(axis=1) / clock.by_day(exposure * 0 + 1).sum(axis=1)
    worn = level == level
    on, off = int((worn & (of_days > 0.5)).sum()), int((worn & (of_days <= 0.5)).sum())
    unmet: list[str] = []
    count = switches(of_days)
    if count < LEAST_SWITCHES:
        unmet.append(f"it went on or off {_times(count)}; {LEAST_SWITCHES} times are needed to tell it from drift")
    if min(on, off) < LEAST_DAYS_OF_EACH:
        unmet.append(f"{on} days with it and {off} without; {LEAST_DAYS_OF_EACH} of each are needed")
    found = None if unmet else course(level, of_days)
    if found is None:
        return Judged(question, site, amount, None, unmet=tuple(unmet or ["there is nothing to compare"]))
    estimate = Estimate(found.log_rate_ratio, found.standard_error, found.degrees)
    failed = () if found.p <= CHECK_P else ("other days would have shown as much, by circular shift",)
    return Judged(question, site, amount, Evidence(estimate, estimate.e, ()), found.p, failed=failed)


def _unmet(amount: Amount) -> Iterator[str]:
    if amount.days < LEAST_DAYS:
        yield _too_few_days(amount)
    if amount.episodes < LEAST_EPISODES:
        yield f"{amount.episodes} episodes fell into analysable time; {LEAST_EPISODES} are needed"
    if amount.exposed_h < LEAST_HOURS:
        yield f"{amount.exposed_h:.0f} analysable hours in which it could act; {LEAST_HOURS:.0f} are needed"
    elif amount.matched_h < LEAST_HOURS:
        yield (
            f"{amount.matched_h:.0f} analysable hours without it at the same time of day; {LEAST_HOURS:.0f} are "
            "needed: leave it out on some days, or vary the hour"
        )


def _failed(checks: Checks) -> Iterator[str]:
    if checks.lead_p is not None and checks.lead_p <= CHECK_P:
        yield _LOGGED_FOR_TWITCHING
    if checks.permutation_p is not None and checks.permutation_p > CHECK_P:
        yield "other days would have shown as much, by permutation of days"
    if checks.crossover_agrees is False:
        yield "a case-crossover by hour and fortnight points the other way"
    if checks.artefact_p is not None and checks.artefact_p <= CHECK_P:
        yield "artefacts change with it too: it may be the measurement that changes"


# Verdicts -------------------------------------------------------------------------------------------------------


def _verdicts(family: Sequence[Judged]) -> list[Finding]:
    """Findings of one family of questions, which pay for one another."""
    rejected = evidence.e_bh([0.0 if each.unmet else each.e for each in family]) if family else []
    return [finding(each, among=passed) for each, passed in zip(family, rejected, strict=True)]


def verdict(judged: Judged, *, among: bool) -> Verdict:
    """What is said of a question with its checks; `among` is whether it passes e-BH among the questions."""
    if judged.unmet or judged.evidence is None:
        return Verdict.CANNOT_TELL
    if among and not judged.failed:
        return Verdict.LINKED
    if among or judged.e >= evidence.STRONG:
        return Verdict.POSSIBLE
    if leaves_no_room(judged.evidence) and not _reactive(judged):
        return Verdict.NO_SIGN
    return Verdict.CANNOT_TELL


def finding(judged: Judged, *, among: bool) -> Finding:
    """A verdict with its numbers and reasons."""
    said = verdict(judged, among=among)
    question, amount, found = judged.question, judged.amount, judged.evidence
    plain = Finding(
        trigger=question.trigger,
        site=judged.site,
        verdict=said,
        lag=question.kernel.lag,
        reasons=tuple(_reasons(judged, said, among=among)),
        episodes=amount.episodes,
        days=amount.days,
        analysable_h=amount.analysable_h,
    )
    if found is None:
        return plain
    return replace(
        plain,
        rate_ratio=math.exp(found.estimate.log_rate_ratio),
        interval95=_ratios(found.estimate.interval95),
        always_valid_interval=_ratios(found.estimate.always_valid),
        p=judged.p,
        e=found.e,
        lead_p=judged.checks.lead_p if judged.checks else None,
        min_detectable_rr=math.exp(found.estimate.detectable),
        lag_curve=judged.lag_curve,
    )


def leaves_no_room(found: Evidence) -> bool:
    """Whether the default kernel leaves no room for a ratio that matters, and no other kernel points at one."""
    low, high = found.estimate.always_valid
    limit = math.log(MATTERS)
    return -limit <= low and high <= limit and all(abs(other) < limit for other in found.others)


def _reactive(judged: Judged) -> bool:
    return judged.checks is not None and judged.checks.lead_p is not None and judged.checks.lead_p <= CHECK_P


def _ratios(interval: tuple[float, float]) -> tuple[float, float]:
    low, high = (math.exp(min(max(bound, -700.0), 700.0)) for bound in interval)
    return low, high


# Words ----------------------------------------------------------------------------------------------------------


def _reasons(judged: Judged, said: Verdict, *, among: bool) -> Iterator[str]:
    question, found = judged.question, judged.evidence
    yield from judged.unmet
    if found is not None and not judged.unmet:
        yield _said(question, found, said)
        if said is Verdict.POSSIBLE and not among:
            yield "not strong enough for as many questions as were asked"
        if said is Verdict.POSSIBLE:
            yield from judged.failed
        if said is Verdict.CANNOT_TELL and _reactive(judged):
            yield _LOGGED_FOR_TWITCHING
    if found is not None and said in (Verdict.POSSIBLE, Verdict.CANNOT_TELL):
        yield from _more(judged, found.estimate)
    if question.left_out:
        yield f"{question.left_out} entries of which only the day is known were left out"
    if len(question.reactive):
        yield f"{_entries(len(question.reactive))} logged for the twitching left out of the comparison"
    if question.entry.safety:
        yield question.entry.safety


def _said(question: Question, found: Evidence, said: Verdict) -> str:
    low, high = _ratios(found.estimate.always_valid)
    numbers = f"rate ratio {math.exp(found.estimate.log_rate_ratio):.2f}, {low:.2f} to {high:.2f} at every look"
    when = f"{question.kernel.lag} {question.entry.name}".replace("its end", "the end of")
    if said is Verdict.NO_SIGN:
        return f"no rate ratio of {MATTERS:g} or more, or 1/{MATTERS:g} or less, {when}: {numbers}"
    if said is Verdict.CANNOT_TELL:
        return f"the data fit a link and none, {when}: {numbers}"
    direction = "more" if found.estimate.log_rate_ratio > 0 else "fewer"
    return f"{direction} twitches {when}: {numbers}"


def _more(judged: Judged, estimate: Estimate) -> Iterator[str]:
    """How much more of the same would show a ratio that matters."""
    factor = (estimate.detectable / math.log(MATTERS)) ** 2 - 1
    if factor > 0:
        episodes, days = (math.ceil(factor * number) for number in (judged.amount.episodes, judged.amount.days))
        more = f"{_many(episodes, 'more episode')}, {_many(days, 'day')} at this pace,"
        yield f"about {more} would show a rate ratio of {MATTERS:g}"


def _adjusted_for(bins: Bins, modelled: Sequence[Question]) -> tuple[str, ...]:
    names = ["the day", "the hour of the clock"]
    if len(set(bins.site.tolist())) > 1:
        names.append("the site")
    if (bins.activity == bins.activity).any():
        names.append("activity")
    return (*names, *dict.fromkeys(question.trigger for question in modelled if not question.slow))


def _askable(triggers: Sequence[Trigger]) -> list[str]:
    """Tests and history are not asked about; an emergency is answered, not computed."""
    return [kind for kind in kinds(triggers) if entry(kind).form not in (Form.TEST, Form.HISTORY)]


def _untested(kind: str) -> Finding:
    known = entry(kind)
    reason = known.note or f"{known.name} is part of the history or a test, not a trigger"
    return Finding(kind, ALL_SITES, Verdict.CANNOT_TELL, "", (reason,))


def _too_few_days(amount: Amount) -> str:
    return f"{amount.days} days could be analysed; {LEAST_DAYS} are needed"


def _times(count: int) -> str:
    return {0: "never", 1: "once", 2: "twice"}.get(count, f"{count} times")


def _entries(count: int) -> str:
    return "1 entry" if count == 1 else f"{count} entries"


def _many(count: int, one: str) -> str:
    return f"{count} {one}" if count == 1 else f"{count} {one}s"
