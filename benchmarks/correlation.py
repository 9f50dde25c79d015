"""Findings about people whose truth is known, and what naive methods find: the table of docs/correlation.md.

    python -m benchmarks.correlation [--people N] [--only ROW ...] [--json FILE]

Every figure is a share of people with its Wilson interval. Seeds from 1 000 000 on were never used for tuning.
`--people` is for the rows at one look; those that look every 3 days take a tenth, at least 20.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from monitor.correlation import evidence
from monitor.correlation.analysis import Analysis
from monitor.correlation.bins import binned
from monitor.correlation.findings import Judged, Verdict, correlate, leaves_no_room, verdict, weighed, with_checks
from monitor.correlation.model import Counts, fit
from monitor.correlation.triggers import Question, kinds, questions
from monitor.score import wilson
from monitor.simulate.lives import BATEMAN, FIRST_S, TWELVE, History, Person, history

FIRST_SEED = 1_000_000
LOOKS = (*range(14, 60, 3), 60)
EFFECT = "caffeine"


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured share, or mean, and what it should be."""

    name: str
    value: float
    people: int
    interval: tuple[float, float] | None
    target: str
    met: bool | None
    """`None`: shown for comparison."""


@dataclass(frozen=True, slots=True)
class Row:
    """What is measured together."""

    name: str
    measure: Callable[[int], Iterator[Figure]]
    """Of this many people."""
    long: bool = False
    """Whether each person is looked at 16 times."""


def share(
    name: str, hits: int, trials: int, target: str = "", met: Callable[[float], bool] | None = None
) -> Figure:
    """A share of trials; the target is met where the point is."""
    value = hits / max(trials, 1)
    return Figure(name, value, trials, wilson(hits, trials), target, met(value) if met else None)


# What we find ---------------------------------------------------------------------------------------------------


def analysed(lived: History, day: int) -> tuple[Analysis, list[Question]]:
    """All that is known of a person at the end of a day."""
    known = lived.until(day)
    end_s = FIRST_S + day * 86400
    asked = [q for kind in kinds(known.triggers) for q in questions(known.triggers, kind, end_s)]
    return Analysis(binned(known.tallies, UTC), asked), asked


def decided(analysis: Analysis, base: list[Judged]) -> dict[str, Verdict]:
    """Verdicts of one family."""
    passed = evidence.e_bh([0.0 if each.unmet else each.e for each in base])
    said = {}
    for each, among in zip(base, passed, strict=True):
        of_interest = each.question.trigger == EFFECT and each.evidence and leaves_no_room(each.evidence)
        matters = among or each.e >= evidence.STRONG or of_interest
        judged = with_checks(analysis, each) if matters else each
        said[each.question.trigger] = verdict(judged, among=among)
    return said


# Rows -----------------------------------------------------------------------------------------------------------


def one_look(people: int) -> Iterator[Figure]:
    """Four triggers, of which coffee has a rate ratio of 1.5, after 14, 30 and 60 days."""
    rejected: dict[str, list[bool]] = defaultdict(list)
    covered: dict[tuple[int, str], list[bool]] = defaultdict(list)
    errors: list[float] = []
    for seed in range(FIRST_SEED, FIRST_SEED + people):
        lived = history(Person(rate_ratios={EFFECT: 1.5}), seed)
        for day in (14, 30, 60):
            analysis, asked = analysed(lived, day)
            for question in asked:
                found = analysis.estimate(question)
                if found is None:
                    continue
                truth = np.log(1.5) if question.trigger == EFFECT else 0.0
                low, high = found.interval95
                covered[day, "effect" if truth else "null"].append(bool(low <= truth <= high))
                if day == 60:
                    rejected[question.trigger].append(analysis.wild_p(question) <= 0.05)
                    if truth:
                        errors.append(found.log_rate_ratio - float(truth))
        for name, hit in naive(analysis):
            rejected[name].append(hit)
    nulls = {
        "tea": ("locked to the clock", 0.06),
        "sugar": ("riding on coffee", 0.065),
        "random": ("at random", 0.06),
    }
    for kind, (what, limit) in nulls.items():
        hits = rejected[kind]
        met = sum(hits) <= limit * len(hits)
        yield replace(share(f"type I at 5 %, null {what}", sum(hits), len(hits), f"<= {limit}"), met=met)
    yield share("power at one look, p <= .05, 1.5", sum(rejected[EFFECT]), len(rejected[EFFECT]))
    for name, hits in rejected.items():
        if ":" in name:
            yield share(name, sum(hits), len(hits))
    for (day, what), inside in sorted(covered.items()):
        yield share(f"coverage of 95 %, {what}, {day} days", sum(inside), len(inside), ".93-.97", in_band)
    bias, half = float(np.mean(errors)), float(1.96 * np.std(errors) / np.sqrt(len(errors)))
    interval = bias - half, bias + half
    yield Figure("bias of log rate ratio, kernel right", bias, len(errors), interval, "<= .03", abs(bias) <= 0.03)


def ever_null(people: int) -> Iterator[Figure]:
    """Twelve triggers that do nothing, looked at every 3 days."""
    linked, possible = 0, 0
    for seed in range(FIRST_SEED, FIRST_SEED + people):
        said = {each for _, found in over_time(Person(kinds=TWELVE), seed) for each in found.values()}
        linked += Verdict.LINKED in said
        possible += Verdict.POSSIBLE in said
    yield share("any false linked ever, 12 triggers", linked, people, "<= .08", lambda value: value <= 0.08)
    yield share("any false possible ever, 12 triggers", possible, people, "<= .20", lambda value: value <= 0.20)


def ever_effect(people: int) -> Iterator[Figure]:
    """Twelve triggers, of which coffee has a rate ratio of 1.5, looked at every 3 days."""
    person = Person(kinds=TWELVE, rate_ratios={EFFECT: 1.5})
    first: list[int] = []
    known = no_sign = false = 0
    for seed in range(FIRST_SEED, FIRST_SEED + people):
        looks = list(over_time(person, seed))
        days = [day for day, found in looks if found.get(EFFECT) is Verdict.LINKED]
        first += days[:1]
        known += any(found.get(f"{EFFECT} known") is Verdict.LINKED for _, found in looks)
        no_sign += any(found.get(EFFECT) is Verdict.NO_SIGN for _, found in looks)
        false += any(found.get(kind) is Verdict.LINKED for _, found in looks for kind in TWELVE if kind != EFFECT)
    yield share("linked by day 60, 1.5, default kernels", len(first), people, ">= .70", lambda v: v >= 0.70)
    yield share("linked by day 60, 1.5, kernel known", known, people, ">= .80", lambda v: v >= 0.80)
    yield share("a true 1.5 called no_sign ever", no_sign, people, "<= .05", lambda v: v <= 0.05)
    yield share("any false linked ever, beside a true 1.5", false, people, "<= .08", lambda v: v <= 0.08)
    if first:
        yield Figure("median day of linked, where it was", float(np.median(first)), len(first), None, "", None)


def ever_less(people: int) -> Iterator[Figure]:
    """The same with a rate ratio of 1/1.5."""
    person = Person(kinds=TWELVE, rate_ratios={EFFECT: 1 / 1.5})
    said = [
        {found.get(EFFECT) for _, found in over_time(person, seed)}
        for seed in range(FIRST_SEED, FIRST_SEED + people)
    ]
    no_sign = sum(Verdict.NO_SIGN in each for each in said)
    yield share("a true .67 called no_sign ever", no_sign, people, "<= .05", lambda v: v <= 0.05)
    yield share("linked by day 60, .67, default kernels", sum(Verdict.LINKED in each for each in said), people)


def over_time(person: Person, seed: int) -> Iterator[tuple[int, dict[str, Verdict]]]:
    """(day, verdicts) at each look; `caffeine known` is the verdict with its kernel known."""
    lived = history(person, seed)
    for day in LOOKS:
        analysis, asked = analysed(lived, day)
        base = [weighed(analysis, question, "calf") for question in asked]
        said = decided(analysis, base)
        if EFFECT in person.rate_ratios:
            said[f"{EFFECT} known"] = decided(analysis, [kernel_known(each) for each in base])[EFFECT]
        yield day, said


def kernel_known(judged: Judged) -> Judged:
    """With the default kernel alone."""
    found = judged.evidence
    return replace(judged, evidence=replace(found, e=found.estimate.e)) if found else judged


def strong(people: int) -> Iterator[Figure]:
    """One look at day 60: stronger, later, in part missing, of another shape."""
    cases: dict[str, tuple[Person, str]] = {
        "linked at one look, 1.8": (Person(kinds=TWELVE, rate_ratios={EFFECT: 1.8}), ">= .95"),
        "the same, 30 % missed and 30 min late": (
            Person(kinds=TWELVE, rate_ratios={EFFECT: 1.8}, missed=0.3, late_min=30.0),
            "",
        ),
        "the same, acts by concentration (half-life 5 h)": (
            Person(kinds=TWELVE, rate_ratios={EFFECT: 1.8}, kernels={EFFECT: BATEMAN}),
            "",
        ),
    }
    for name, (person, target) in cases.items():
        number = people if target else max(people // 4, 20)
        hits = wrong = 0
        for seed in range(FIRST_SEED, FIRST_SEED + number):
            analysis, asked = analysed(history(person, seed), 60)
            said = decided(analysis, [weighed(analysis, question, "calf") for question in asked])[EFFECT]
            hits += said is Verdict.LINKED
            wrong += said is Verdict.NO_SIGN
        yield share(name, hits, number, target, (lambda v: v >= 0.95) if target else None)
        if not target:
            yield share(f"{name}: called no_sign", wrong, number)


def reactive(people: int) -> Iterator[Figure]:
    """Something logged because of high twitching, which does nothing."""
    said = []
    for seed in range(FIRST_SEED, FIRST_SEED + people):
        lived = history(Person(reactive=("random",)), seed)
        analysis, asked = analysed(lived, 60)
        said.append(decided(analysis, [weighed(analysis, question, "calf") for question in asked])["random"])
    linked = sum(each is Verdict.LINKED for each in said)
    yield share("reactive logging called linked", linked, people, "<= .02", lambda v: v <= 0.02)
    yield share("reactive logging called possible", sum(each is Verdict.POSSIBLE for each in said), people)


def slow(people: int) -> Iterator[Figure]:
    """Courses of a supplement that does nothing."""
    for courses in (2, 4, 5):
        called = under = 0
        for seed in range(FIRST_SEED, FIRST_SEED + people):
            lived = history(Person(kinds=("caffeine",), courses=courses), seed)
            report = correlate(lived.tallies, lived.triggers, UTC, FIRST_S + 61 * 86400, ["supplement"])
            hit = report.findings[0].verdict in (Verdict.LINKED, Verdict.POSSIBLE)
            called += hit
            under += hit and courses < 3
        name = f"slow null, {courses} courses in 60 days, called anything"
        limit = 0.0 if courses < 3 else 0.06
        yield share(name, called, people, f"<= {limit}", lambda value, limit=limit: value <= limit)


def speed(people: int) -> Iterator[Figure]:
    """The whole report, in seconds of one core, and memory."""
    del people
    for days, limit in ((60, 5.0), (730, 60.0)):
        lived = history(Person(days=days, kinds=TWELVE, rate_ratios={EFFECT: 1.5}), FIRST_SEED)
        begun = time.process_time()
        correlate(lived.tallies, lived.triggers, UTC, FIRST_S + (days + 1) * 86400)
        taken = time.process_time() - begun
        yield Figure(f"full report, 12 triggers, {days} days, s", taken, 1, None, f"<= {limit:g}", taken <= limit)
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    yield Figure("memory of the latter, GB", used, 1, None, "<= 1", used <= 1)


def in_band(value: float) -> bool:
    """Of a 95 % interval."""
    return 0.93 <= value <= 0.97


# What others find -----------------------------------------------------------------------------------------------


def naive(analysis: Analysis) -> Iterator[tuple[str, bool]]:
    """(peer: trigger, whether it finds something) for each method and trigger, at the same look."""
    for question in analysis.questions:
        kind, times_s = question.trigger, question.episodes.start_s
        yield f"daily Spearman: {kind}", daily_spearman(analysis, times_s) <= 0.05
        yield f"3-versus-3 days: {kind}", with_and_without(analysis, times_s)
        yield f"peri-event histogram: {kind}", peri_event(analysis, times_s) <= 0.05
    yield from case_crossover(analysis)


def of_days(analysis: Analysis, times_s: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(times taken, rate an analysable hour) of each worn day."""
    bins = analysis.bins
    days, number = np.unique(bins.day, return_inverse=True)
    rate = np.bincount(number, bins.twitches) / np.bincount(number, bins.hours)
    taken = ((times_s - FIRST_S) // 86400).astype(int) + int(FIRST_S // 86400)
    return np.array([(taken == day).sum() for day in days], float), rate


def daily_spearman(analysis: Analysis, times_s: NDArray[np.float64]) -> float:
    """p of a rank correlation of days."""
    taken, rate = of_days(analysis, times_s)
    return float(stats.spearmanr(taken, rate).pvalue) if np.ptp(taken) else 1.0


def with_and_without(analysis: Analysis, times_s: NDArray[np.float64]) -> bool:
    """Whether means differ by a tenth or more, once there are 3 days with and 3 without."""
    taken, rate = of_days(analysis, times_s)
    on, off = rate[taken > 0], rate[taken == 0]
    return len(on) >= 3 and len(off) >= 3 and bool(abs(on.mean() / off.mean() - 1) >= 0.1)


def peri_event(analysis: Analysis, times_s: NDArray[np.float64]) -> float:
    """p of a paired t test of 3 h after against 3 h before."""
    bins = analysis.bins
    at_s = bins.number * 900.0

    def rates(first_s: NDArray[np.float64]) -> NDArray[np.float64]:
        count = np.concatenate(([0.0], np.cumsum(bins.twitches)))
        hours = np.concatenate(([0.0], np.cumsum(bins.hours)))
        a, b = np.searchsorted(at_s, first_s), np.searchsorted(at_s, first_s + 3 * 3600)
        with np.errstate(invalid="ignore"):
            return np.asarray((count[b] - count[a]) / (hours[b] - hours[a]))

    difference = rates(times_s) - rates(times_s - 3 * 3600)
    difference = difference[np.isfinite(difference)]
    return float(stats.ttest_1samp(difference, 0).pvalue) if len(difference) > 2 else 1.0


def case_crossover(analysis: Analysis) -> Iterator[tuple[str, bool]]:
    """Conditional Poisson by hour and fortnight, with the errors that its model claims."""
    bins = analysis.bins
    keys = np.stack(((bins.day - bins.day.min()) // 14, bins.slot // 4))
    _, stratum = np.unique(keys, axis=1, return_inverse=True)
    kept = np.bincount(stratum, bins.twitches)[stratum] > 0
    order = np.argsort(stratum[kept], kind="stable")
    labels = stratum[kept][order]
    data = Counts(bins.twitches[kept][order], bins.hours[kept][order], labels, labels, labels * 0.0)
    place = bins.number - bins.clock.first
    exposed = [q.kernel.exposure(q.episodes, bins.clock.edges_s)[place] for q in analysis.questions]
    fitted = fit(data, np.stack(exposed, axis=1)[kept][order], 0.0)
    z = fitted.coefficients / np.sqrt(np.diag(fitted.bread))
    for question, each in zip(analysis.questions, z.tolist(), strict=True):
        yield f"naive case-crossover: {question.trigger}", abs(each) >= 1.96


# The run --------------------------------------------------------------------------------------------------------

ROWS = (
    Row("one_look", one_look),
    Row("ever_null", ever_null, long=True),
    Row("ever_effect", ever_effect, long=True),
    Row("ever_less", ever_less, long=True),
    Row("strong", strong),
    Row("reactive", reactive),
    Row("slow", slow),
    Row("speed", speed),
)


def line(figure: Figure) -> str:
    """One row of the table in Markdown."""
    interval = f" ({figure.interval[0]:.3f} to {figure.interval[1]:.3f})" if figure.interval else ""
    met = {True: "yes", False: "**no**", None: ""}[figure.met]
    return f"| {figure.name} | {figure.value:.3f}{interval} | {figure.people} | {figure.target} | {met} |"


def main() -> None:
    """Measure, print, and keep as JSON what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--people", type=int, default=200)
    parser.add_argument("--only", nargs="*", choices=[row.name for row in ROWS])
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    kept = []
    print("| what | measured (95 %) | people | target | met |\n|---|---|---|---|---|")
    for row in ROWS:
        if arguments.only and row.name not in arguments.only:
            continue
        begun = time.process_time()
        for figure in row.measure(max(arguments.people // 10, 20) if row.long else arguments.people):
            print(line(figure), flush=True)
            kept.append({"row": row.name, **{name: getattr(figure, name) for name in Figure.__slots__}})
        print(f"<!-- {row.name}: {time.process_time() - begun:.0f} s -->", flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
