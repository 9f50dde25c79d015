"""A simulated person in a data folder, to look at the report and the commands.

    python -m benchmarks.month FOLDER [--days 35] [--seed 7]

Coffee has a rate ratio of 1.8; tea, sugar and the rest do nothing. Two sites share what a life does to them.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.diary import Person, history
from firmware_interface.codecs import Device
from firmware_interface.samples import Gap, GapReason, Sensor, Stream, Unit
from monitor.correlation.triggers import Precision
from monitor.detection.events import Context, State, Twitch
from monitor.diary import Diary, Entry
from monitor.store import Record, Store
from monitor.tally import Minute

SITES = ("left calf", "right FDI")
STREAM = Stream("emg", Sensor.EMG, Unit.MICROVOLT, 0.1, 500.0, SITES)
MINUTE_NS = 60 * 10**9


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
    store = Store.open(folder)
    begun_ns = round(float(life.tallies.start_s[0])) * 10**9
    end_ns = round(float(life.tallies.start_s[-1]) + 900) * 10**9
    store.begin(now_ns=begun_ns, version="simulated", settings={})
    device = store.device(Device("band", "S-1", "1.0", (STREAM,)), "F0:5C:1A:00:00:01", begun_ns)
    t = life.tallies
    quarters = zip(t.start_s.tolist(), (t.analysable_s / 900).tolist(), t.twitches.tolist(), strict=True)
    records = [(device, each) for quarter in quarters for each in _quarter(*quarter, rng)]
    store.write(records, end_ns)
    store.close(end_ns)
    entries = [Entry(each.kind, round(each.start_s * 1e9), dose=each.dose, unit="mg" if each.dose else "")
               for each in life.triggers]  # fmt: skip
    with Diary.open(folder) as diary:
        diary.log([*entries, *_felt(records, rng), *_tests(begun_ns), *_stress(begun_ns, days, rng)], end_ns)


def _quarter(start_s: float, share: float, twitches: float, rng: np.random.Generator) -> Iterator[Record]:
    """15 minutes of both sites: what was missed, what was excluded, and each twitch."""
    start_ns = round(start_s) * 10**9
    if rng.random() < 0.2:
        lost_ns = round(rng.exponential(2e9))
        yield Gap(STREAM, start_ns, start_ns + lost_ns, round(lost_ns * 5e-7), GapReason.LOST, exact=True)
    for number, site in enumerate(SITES):
        count = round(twitches) if number == 0 else int(rng.poisson(0.4 * twitches))
        shares = rng.multinomial(count, np.full(15, 1 / 15)).tolist()
        for minute, held in enumerate(shares):
            yield Minute(site, start_ns + minute * MINUTE_NS, 60.0, 60.0 * share, int(held))
        state = rng.choice([State.VOLUNTARY, State.ARTEFACT, State.BAD_CONTACT], p=[0.7, 0.2, 0.1])
        yield Context(State(str(state)), site, start_ns, 900 * (1 - share))
        for onset_ns in sorted(rng.integers(start_ns, start_ns + 900 * 10**9, count).tolist()):
            yield _twitch(site, onset_ns, int(rng.choice([1, 1, 1, 2, 2, 3])), rng)


def _twitch(site: str, onset_ns: int, unit: int, rng: np.random.Generator) -> Twitch:
    phase = np.linspace(-3, 3, 24)
    shape = 60.0 * unit * np.exp(-(phase**2)) * np.sin(phase * (0.8 + 0.5 * unit)) + rng.normal(0, 3, 24)
    size = float(np.ptp(shape))
    return Twitch(
        channel=site, onset_ns=onset_ns, duration_s=0.012, peak=size / 2, peak_to_peak=size, unit=Unit.MICROVOLT,
        snr=20.0, confidence=0.95, amplitudes=((site, size),), waveform=shape.astype(np.float32),
        waveform_start_s=-0.01, rate_hz=500.0, phases=3, turns=3, median_hz=90.0, motor_unit=unit,
        follows_s=0.05 if rng.random() < 0.03 else None,
    )  # fmt: skip


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
