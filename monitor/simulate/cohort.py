"""Cohorts that do not exist, and the power of a design.

    design ─► people: level, response, diary ─► lives ─┬─ stores and recordings, to try things with
                                                       └─ estimates of each ─► cohorts drawn from them ─► power

Rules:

* People differ in how much they twitch (`_LEVELS`, log-normal) and in how they respond (`between`, normal).
  Both are what a design has to allow for; that chance alone separates people is never assumed.
* Power is planned from a pilot of simulated people: cohorts are drawn from them again and again, and pooled as
  real ones are. A formula would trust people's own errors, which are estimates as well. Whether repeated cohorts
  of other people keep the promise: benchmarks/cohort.py.
"""

from __future__ import annotations

import csv
import json
import math
import tempfile
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from datetime import UTC
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from firmware_interface.emulated.arm import TWITCHES_PER_MIN_MAX, ArmSettings
from monitor.cohort.effects import effects_of
from monitor.cohort.meta import LEAST, pooled
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
PILOT: Final = 300
"""People whose answers stand for those of all: power is known to .04 then."""
_COHORTS: Final = 200, 2000
"""Drawn from them, at least and at most."""
_DRAWN: Final = 400_000
"""People in all of those."""
_WANTED: Final = 0.8
"""Power at which a rate ratio counts as detectable."""
RATE_RATIO_MAX: Final = 10.0
"""Planned for; also the end of the search for what is detectable."""
SIGNAL_MIN: Final = 0.1
"""Minutes of signal, at least: six packets."""
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

    @property
    def signal_per_min(self) -> float:
        """Twitches in the signal: 120 times as many as in the life, up to what an arm can."""
        return min(2 * self.per_hour, TWITCHES_PER_MIN_MAX)


@dataclass(frozen=True, slots=True)
class Power:
    """Of a design."""

    power: float
    """Chance to find the trigger at p <= .05."""
    standard_error: float
    """Of the average log rate ratio."""
    person_error: float
    """Median of people's own."""
    detectable: float | None
    """Rate ratio that is found with a power of .8; `None` where none up to `RATE_RATIO_MAX` is."""


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


@dataclass(frozen=True, slots=True, eq=False)
class Repeats:
    """What cohorts of a design would answer if there were nothing to find, one row each."""

    means: NDArray[np.float64]
    """Average log rate ratio, shape (n,)."""
    errors: NDArray[np.float64]
    """Its standard error, shape (n,)."""
    people: int

    def power(self, log_rate_ratio: float) -> float:
        """Share of them that find it at p <= .05; an effect shifts each mean, and no error."""
        t = float(stdtrit(self.people - 1, 0.975))
        return float((np.abs(self.means + log_rate_ratio) >= t * self.errors).mean())


def estimates(people: list[Simulated], told: Callable[[int], None] = lambda _: None) -> NDArray[np.float64]:
    """(log rate ratio, standard error, truth) of the trigger of each person who can be estimated, shape (n, 3).

    Args:
        people: each with a life.
        told: after each person.
    """
    found = []
    for number, each in enumerate(people, 1):
        found += [
            (effect.log_rate_ratio, effect.standard_error, math.log(each.rate_ratio))
            for effect in effects_of(each.subject, each.group, each.life.tallies, each.life.triggers, UTC)
            if effect.trigger == TRIGGER
        ]
        told(number)
    return np.array(found).reshape(-1, 3)


def planned(
    design: Design, seed: int, pilot: int = PILOT, told: Callable[[int], None] = lambda _: None
) -> Power | None:
    """The power that a pilot promises; `None` where fewer than `LEAST` people would give an answer.

    Args:
        design: what is planned.
        seed: of the pilot and of what is drawn from it.
        pilot: people in it.
        told: after each of them.
    """
    found = estimates(people_of(replace(design, people=pilot), seed), told)
    known = round(design.people * len(found) / pilot)
    if known < LEAST:
        return None
    estimated, errors, truth = found.T
    repeats = repeated(estimated - truth, errors, design.between, known, seed)
    return Power(
        repeats.power(math.log(design.rate_ratio)),
        float(np.median(repeats.errors)),
        float(np.median(errors)),
        _detectable(repeats),
    )


def _detectable(repeats: Repeats) -> float | None:
    low, high = 1.0, RATE_RATIO_MAX
    if repeats.power(math.log(high)) < _WANTED:
        return None
    for _ in range(60):
        middle = math.sqrt(low * high)
        enough = repeats.power(math.log(middle)) >= _WANTED
        low, high = (low, middle) if enough else (middle, high)
    return high


def repeated(
    chance: NDArray[np.float64], errors: NDArray[np.float64], between: float, people: int, seed: int
) -> Repeats:
    """Cohorts drawn, with replacement, from what is known of some people.

    Args:
        chance: how far each was estimated from the truth, shape (n,); their average is taken away.
        errors: the standard errors that they said, shape (n,).
        between: standard deviation between people, of the log rate ratio.
        people: in a cohort, at least `LEAST`.
        seed: of the draws.
    """
    rng = np.random.default_rng(seed)
    fair = chance - np.average(chance, weights=1 / (errors**2 + between**2))
    answers = []
    for _ in range(int(np.clip(_DRAWN // people, *_COHORTS))):
        chosen = rng.integers(len(errors), size=people)
        answer = pooled(fair[chosen] + rng.normal(0, between, people), errors[chosen])
        if answer is not None:
            answers.append((answer.mean, answer.standard_error))
    means, of_means = np.array(answers).T
    return Repeats(means, of_means, people)


def write(
    folder: Path, design: Design, seed: int, signal_min: float, told: Callable[[int], None] = lambda _: None
) -> None:
    """Write a cohort with its truth: `stores/` of lives and, with `signal_min`, `recordings/` as EDF.

    Args:
        folder: a new one.
        design: who takes part.
        seed: of everything.
        signal_min: minutes of signal a person, 0 or at least `SIGNAL_MIN`.
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
            **({"signal_per_min": each.signal_per_min} if signal_min else {}),
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
    """Two channels of an arm, as EDF+, and its truth."""
    start_ns = round(float(each.life.tallies.start_s[0])) * 10**9
    settings = ArmSettings(channels=stores.SITES, twitches_per_min=each.signal_per_min)
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
