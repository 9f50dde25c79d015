"""Cohorts that do not exist, and the power of a design.

    design ─► people: level, response, diary ─► lives ─┬─ stores and recordings, to try things with
                                                       └─ estimates of each person ─► power

Rules:

* People differ in how much they twitch (`_LEVELS`, log-normal) and in how they respond (`between`, normal).
  Both are what a design has to allow for; that chance alone separates people is never assumed.
* Power is planned from the errors of some simulated people and the arithmetic of the meta-analysis, and is then
  what repeated cohorts show: benchmarks/cohort.py.
"""

from __future__ import annotations

import csv
import json
import math
import tempfile
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import UTC
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import nctdtr, stdtrit

from firmware_interface.emulated.arm import ArmSettings
from monitor.cohort.effects import effects_of
from monitor.correlation.bins import BIN_S
from monitor.export import edf
from monitor.export.source import source_of
from monitor.simulate import lives, stores
from monitor.simulate.lives import History
from monitor.store import Archive

TRIGGER: Final = "caffeine"
GROUPS: Final = ("control", "patient")
_LEVELS: Final = 0.5
"""Standard deviation of the logarithm of people's rates."""
_PILOT: Final = 40
"""People whose errors stand for those of all."""
_WANTED: Final = 0.8
"""Power at which a rate ratio counts as detectable."""
_SURE: Final = 12.0
"""Standard errors beyond the critical value; further out SciPy's distribution has no answer."""
_NULL_KINDS: Final = ("caffeine", "tea")


@dataclass(frozen=True, slots=True)
class Design:
    """A study that is planned."""

    people: int = 40
    days: int = 28
    rate_ratio: float = 1.25
    """Of the trigger, of the average person."""
    between: float = 0.15
    """Standard deviation between people, of its logarithm."""
    per_hour: float = 6.0
    group_ratio: float = 1.0
    """Of the rates of the two groups."""


@dataclass(frozen=True, slots=True, eq=False)
class Simulated:
    """A person, with the truth."""

    subject: str
    group: str
    per_hour: float
    rate_ratio: float
    seed: int
    life: History


@dataclass(frozen=True, slots=True)
class Power:
    """Of a design."""

    power: float
    """Chance to find the trigger at p <= .05."""
    standard_error: float
    """Of the average log rate ratio."""
    person_error: float
    """Median of people's own."""
    detectable: float
    """Rate ratio that is found with a power of .8."""


def people_of(design: Design, seed: int) -> list[Simulated]:
    """All people of a design."""
    rng = np.random.default_rng(seed)
    return [_person(design, number, rng) for number in range(design.people)]


def _person(design: Design, number: int, rng: np.random.Generator) -> Simulated:
    group = GROUPS[number % 2]
    level = design.per_hour * (design.group_ratio if group == GROUPS[1] else 1.0)
    per_hour = level * math.exp(rng.normal(0, _LEVELS))
    ratio = design.rate_ratio * math.exp(rng.normal(0, design.between))
    seed = int(rng.integers(2**31))
    person = lives.Person(days=design.days, per_hour=per_hour, rate_ratios={TRIGGER: ratio}, kinds=_NULL_KINDS)
    return Simulated(f"P{number + 1:02d}", group, per_hour, ratio, seed, lives.history(person, seed))


def estimates(people: list[Simulated]) -> NDArray[np.float64]:
    """(log rate ratio, standard error) of the trigger of each person who can be estimated, shape (n, 2)."""
    found = [
        (effect.log_rate_ratio, effect.standard_error)
        for each in people
        for effect in effects_of(each.subject, each.group, each.life.tallies, each.life.triggers, UTC)
        if effect.trigger == TRIGGER
    ]
    return np.array(found).reshape(-1, 2)


def planned(design: Design, seed: int) -> Power:
    """The power that the errors of a pilot promise."""
    pilot = Design(_PILOT, design.days, design.rate_ratio, design.between, design.per_hour, design.group_ratio)
    found = estimates(people_of(pilot, seed))
    if not len(found):
        return Power(0.0, math.inf, math.inf, math.inf)
    errors = found[:, 1]
    known = design.people * len(found) / _PILOT
    low, high = 1.0, 10.0
    for _ in range(60):
        middle = math.sqrt(low * high)
        enough = power_of(errors, design.between, known, math.log(middle)) >= _WANTED
        low, high = (low, middle) if enough else (middle, high)
    return Power(
        power_of(errors, design.between, known, math.log(design.rate_ratio)),
        _mean_error(errors, design.between, known),
        float(np.median(errors)),
        high,
    )


def power_of(errors: NDArray[np.float64], between: float, people: float, effect: float) -> float:
    """Chance of p <= .05.

    Args:
        errors: standard errors of people like them.
        between: standard deviation between people.
        people: how many.
        effect: logarithm of the rate ratio.
    """
    degrees = max(people - 1, 1.0)
    t = float(stdtrit(degrees, 0.975))
    away = abs(effect) / _mean_error(errors, between, people)
    if away > t + _SURE:
        return 1.0
    return float(1 - nctdtr(degrees, away, t) + nctdtr(degrees, away, -t))


def _mean_error(errors: NDArray[np.float64], between: float, people: float) -> float:
    """Standard error of the mean of all; each person counts by their own."""
    return 1 / math.sqrt(people * float((1 / (errors**2 + between**2)).mean()))


def write(
    folder: Path, design: Design, seed: int, signal_min: float, told: Callable[[int], None] = lambda _: None
) -> None:
    """Write a cohort with its truth: `stores/` of lives and, with `signal_min`, `recordings/` as EDF.

    Args:
        folder: a new one.
        design: who takes part.
        seed: of everything.
        signal_min: minutes of signal a person.
        told: after each person.
    """
    people = people_of(design, seed)
    parts = ["stores", *(["recordings"] if signal_min else [])]
    for part in parts:
        _write_participants(folder / part, people)
    for number, each in enumerate(people, 1):
        _write_store(folder / "stores" / f"sub-{each.subject}", each)
        if signal_min:
            _write_recording(folder / "recordings" / f"sub-{each.subject}", each, signal_min)
        told(number)
    truth = [
        {
            "subject": each.subject,
            "group": each.group,
            "per_hour": each.per_hour,
            "rate_ratio": each.rate_ratio,
            "seed": each.seed,
        }
        for each in people
    ]
    text = json.dumps({"design": asdict(design), "seed": seed, "trigger": TRIGGER, "people": truth}, indent=1)
    (folder / "truth.json").write_text(text + "\n", encoding="utf-8")


def _write_participants(folder: Path, people: list[Simulated]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "participants.tsv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter="\t", lineterminator="\n")
        writer.writerow(("participant_id", "group"))
        writer.writerows((f"sub-{each.subject}", each.group) for each in people)


def _write_store(folder: Path, each: Simulated) -> None:
    stores.write_life(folder, each.life, each.seed)
    end_ns = round(float(each.life.tallies.start_s[-1]) + BIN_S) * 10**9
    stores.write_diary(folder, stores.entries_of(each.life.triggers), end_ns)


def _write_recording(folder: Path, each: Simulated, minutes: float) -> None:
    """Two channels of an arm that twitches 120 times as often as the person does, as EDF+, and its truth."""
    start_ns = round(float(each.life.tallies.start_s[0])) * 10**9
    settings = ArmSettings(channels=stores.SITES, twitches_per_min=2 * each.per_hour)
    with tempfile.TemporaryDirectory() as made:
        data = Path(made)
        stores.write_signal(data, settings, each.seed, start_ns, 60 * minutes)
        with closing(Archive.open(data)) as archive:
            span_ns = start_ns, start_ns + round((60 * minutes + 60) * 1e9)
            source = source_of(data, archive, span_ns, device="", subject=each.subject, identified=False)
            form = edf.FORMS["edf"]
            (written,) = edf.export(source, form, edf.plain_name(source, form, folder), print, lambda _: None)
        truth = (data / "truth.csv").read_bytes()
    written.path.with_suffix(".truth.csv").write_bytes(truth)
