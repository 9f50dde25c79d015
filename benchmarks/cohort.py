"""Whether a cohort's statistics keep what they promise, on simulated people.

    python -m benchmarks.cohort [--cohorts 500] [--people 40] [--days 14] [--only groups second power null]

Each cohort is people from `monitor.simulate.cohort` (levels log-normal, responses normal, habits, AR(1) days,
overdispersed counts), each put through the regression of a person's own report, then pooled. Null: a rate ratio
of 1 that differs between people by .15, and tea, which does nothing to anyone. Planned: the rate ratio that
`simulate power` promises to find with .80. Rates of groups are of people with log-normal levels (sd .5) and 50
to 150 analysable hours.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from dataclasses import asdict, dataclass, replace
from datetime import UTC
from pathlib import Path

import numpy as np

from monitor.cohort.effects import effects_of
from monitor.cohort.meta import Pooled, pooled
from monitor.cohort.rates import Person, rates
from monitor.score import wilson
from monitor.simulate.cohort import PILOT, TRIGGER, Design, people_of, planned, repeated

FIRST_SEED = 2_000_000


@dataclass(frozen=True, slots=True)
class Figure:
    """A share of simulated cohorts, with what it should be."""

    name: str
    value: float
    interval: tuple[float, float]
    cohorts: int
    target: str
    met: bool


def share(name: str, hits: int, number: int, target: str, low: float, high: float) -> Figure:
    """One row of the table."""
    value = hits / number
    return Figure(name, value, wilson(hits, number), number, target, low <= value <= high)


def planned_for(name: str, hits: int, number: int, promised: float) -> Figure:
    """The same of power."""
    return share(name, hits, number, "within .05", promised - 0.05, promised + 0.05)


def pooled_of(design: Design, seed: int) -> dict[str, Pooled]:
    """The answer of a simulated cohort to each trigger."""
    found: dict[str, list[tuple[float, float]]] = {}
    for each in people_of(design, seed):
        for effect in effects_of(each.subject, each.group, each.life.tallies, each.life.triggers, UTC):
            found.setdefault(effect.trigger, []).append((effect.log_rate_ratio, effect.standard_error))
    answers = {kind: pooled(*zip(*pairs, strict=True)) for kind, pairs in found.items()}
    return {kind: answer for kind, answer in answers.items() if answer is not None}


def null(design: Design, cohorts: int) -> list[Figure]:
    """Nothing to find on average."""
    false = covered = ahead = tests = 0
    rng = np.random.default_rng(FIRST_SEED)
    for seed in range(FIRST_SEED, FIRST_SEED + cohorts):
        for kind, answer in pooled_of(replace(design, rate_ratio=1.0), seed).items():
            tests += 1
            false += answer.p <= 0.05
            covered += answer.interval95[0] <= 0 <= answer.interval95[1]
            next_one = rng.normal(0, design.between if kind == TRIGGER else 0.0)
            ahead += answer.prediction95[0] <= next_one <= answer.prediction95[1]
    return [
        share("trigger, type I", false, tests, "<= .06", 0.0, 0.06),
        share("trigger, coverage of the mean", covered, tests, ".93 to .97", 0.93, 0.97),
        share("trigger, the next person in the prediction interval", ahead, tests, "", 0.0, 1.0),
    ]


def second(people: int, cohorts: int) -> list[Figure]:
    """The second stage alone: what each person knows is drawn, not estimated; thousands in a second."""
    rng = np.random.default_rng(FIRST_SEED)
    between, effect = 0.15, 0.09
    false = covered = ahead = found = 0
    pilot = rng.uniform(0.07, 0.25, PILOT)
    promised = repeated(rng.normal(0, pilot), pilot, between, people, FIRST_SEED).power(effect)
    for _ in range(cohorts):
        errors = rng.uniform(0.07, 0.25, people)
        chance = rng.normal(0, between, people) + rng.normal(0, 1, people) * errors
        answer, other = pooled(chance, errors), pooled(chance + effect, errors)
        assert answer is not None
        assert other is not None
        false += answer.p <= 0.05
        covered += answer.interval95[0] <= 0 <= answer.interval95[1]
        ahead += answer.prediction95[0] <= rng.normal(0, between) <= answer.prediction95[1]
        found += other.p <= 0.05
    return [
        share("second stage alone, type I", false, cohorts, "<= .06", 0.0, 0.06),
        share("the same, coverage of the mean", covered, cohorts, ".93 to .97", 0.93, 0.97),
        share("the same, the next person in the prediction interval", ahead, cohorts, "", 0.0, 1.0),
        planned_for(f"the same, power, planned {promised:.3f}", found, cohorts, promised),
    ]


def power(design: Design, cohorts: int) -> list[Figure]:
    """What was planned, and what is found."""
    promised = planned(design, 1)
    assert promised is not None
    assert promised.detectable is not None
    chosen = replace(design, rate_ratio=promised.detectable)
    again = planned(chosen, 2)
    assert again is not None
    expected = again.power
    found = covered = number = 0
    for seed in range(2 * FIRST_SEED, 2 * FIRST_SEED + cohorts):
        answer = pooled_of(chosen, seed).get(TRIGGER)
        number += 1
        if answer is not None:
            found += answer.p <= 0.05
            low, high = answer.interval95
            covered += low <= math.log(chosen.rate_ratio) <= high
    name = f"power, planned {expected:.2f} for a rate ratio of {chosen.rate_ratio:.3f}"
    return [
        planned_for(name, found, number, expected),
        share("the same, coverage of the mean", covered, number, ".93 to .97", 0.93, 0.97),
    ]


def groups(people: int, cohorts: int) -> list[Figure]:
    """Two groups that do not differ."""
    rng = np.random.default_rng(FIRST_SEED)
    false = covered = covered_ratio = 0
    truth = 6 * math.exp(0.5**2 / 2)
    for _ in range(cohorts):
        members = []
        for number in range(people):
            hours = rng.uniform(50, 150)
            mean = 6 * math.exp(rng.normal(0, 0.5)) * hours
            twitches = float(rng.poisson(rng.gamma(5.0, mean / 5.0)))
            members.append(Person(f"P{number}", "AB"[number % 2], "calf", twitches, hours))
        found, (ratio,) = rates(members)
        false += ratio.p <= 0.05
        covered_ratio += ratio.interval95[0] <= 1 <= ratio.interval95[1]
        interval = found[0].interval95 or (0.0, 0.0)
        covered += interval[0] <= truth <= interval[1]
    return [
        share("groups, type I", false, cohorts, "<= .06", 0.0, 0.06),
        share("groups, coverage of the ratio", covered_ratio, cohorts, ".93 to .97", 0.93, 0.97),
        share("groups, coverage of a rate", covered, cohorts, ".93 to .97", 0.93, 0.97),
    ]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cohorts", type=int, default=500)
    parser.add_argument("--people", type=int, default=40)
    parser.add_argument("--days", type=int, default=14)
    parser.add_argument("--only", nargs="*", choices=["groups", "second", "power", "null"])
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    design = Design(chosen.people, chosen.days)
    print("| what | measured (95 %) | tests | target | met |\n|---|---|---|---|---|")
    kept: list[Figure] = []
    begun = time.process_time()
    rows = {
        "groups": lambda: groups(chosen.people, 20 * chosen.cohorts),
        "second": lambda: second(chosen.people, 20 * chosen.cohorts),
        "power": lambda: power(design, chosen.cohorts),
        "null": lambda: null(design, chosen.cohorts),
    }
    for figures in (rows[name] for name in chosen.only or rows):
        for each in figures():
            low, high = each.interval
            met = "yes" if each.met else "**no**"
            row = f"{each.value:.3f} ({low:.3f} to {high:.3f}) | {each.cohorts} | {each.target} | {met} |"
            print(f"| {each.name} | {row}", flush=True)
            kept.append(each)
    print(f"<!-- {chosen.people} people, {chosen.days} days: {time.process_time() - begun:.0f} s -->")
    if chosen.json:
        chosen.json.write_text(json.dumps([asdict(each) for each in kept], indent=1) + "\n")


if __name__ == "__main__":
    main()
