"""A simulated person in a data folder, to look at the report and the commands.

    python -m benchmarks.month FOLDER [--days 35] [--seed 7]

Coffee has a rate ratio of 1.8; tea, sugar and the rest do nothing. Two sites share what a life does to them.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from monitor.correlation.triggers import Precision
from monitor.detection.events import Twitch
from monitor.diary import Entry
from monitor.simulate.lives import Person, history
from monitor.simulate.stores import SITES, entries_of, write_diary, write_life
from monitor.store import Record


def main() -> None:
    """Write what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--days", type=int, default=35)
    parser.add_argument("--seed", type=int, default=7)
    arguments = parser.parse_args()
    lived(arguments.folder, arguments.days, arguments.seed)


def lived(folder: Path, days: int, seed: int) -> None:
    """A person's months, in a data folder."""
    kinds = "caffeine", "tea", "sugar", "random", "alcohol"
    life = history(Person(days=days, rate_ratios={"caffeine": 1.8}, kinds=kinds, per_hour=12.0), seed)
    rng = np.random.default_rng(seed)
    begun_ns = round(float(life.tallies.start_s[0])) * 10**9
    end_ns = round(float(life.tallies.start_s[-1]) + 900) * 10**9
    records = write_life(folder, life, seed)
    entries = [*entries_of(life.triggers), *_felt(records, rng), *_tests(begun_ns), *_stress(begun_ns, days, rng)]
    write_diary(folder, entries, end_ns)


def _felt(records: list[tuple[int, Record]], rng: np.random.Generator) -> list[Entry]:
    """One in a hundred is felt and said 12 s later; some are felt where none was measured."""
    onsets = [each.onset_ns for _, each in records if isinstance(each, Twitch) and each.channel == SITES[0]]
    felt = [onset for onset in onsets if rng.random() < 0.01]
    return [Entry("felt", onset + 12 * 10**9, site="left calf") for onset in felt] + [
        Entry("felt", onset + 400 * 10**9, site="eye") for onset in felt[:3]
    ]


def _tests(begun_ns: int) -> list[Entry]:
    return [
        Entry("emg", begun_ns - 90 * 86400 * 10**9, precision=Precision.DAY, note="normal"),
        Entry(
            "blood_test",
            begun_ns + 5 * 86400 * 10**9,
            precision=Precision.DAY,
            note="electrolytes, TSH, CK: normal",
        ),
        Entry("cervical_spondylosis", begun_ns - 900 * 86400 * 10**9, precision=Precision.DAY),
        Entry("magnesium", begun_ns + 9 * 86400 * 10**9, dose=300.0, unit="mg", precision=Precision.DAY),
    ]


def _stress(begun_ns: int, days: int, rng: np.random.Generator) -> list[Entry]:
    hours_ns = [(24 * day + rng.uniform(5, 12)) * 3600e9 for day in range(days) if rng.random() < 0.4]
    return [
        Entry("stress", begun_ns + round(at), ended_ns=begun_ns + round(at + 5.4e12), dose=6.0, unit="0-10")
        for at in hours_ns
    ]


if __name__ == "__main__":
    main()
