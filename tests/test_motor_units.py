"""Units found by waveform, against the units of the emulated arm that truly discharged."""

import json
from collections import Counter
from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest

from firmware_interface.emulated.arm import Arm, ArmSettings, Discharge
from firmware_interface.samples import Sensor
from monitor.detection.conditioning import BandPass
from monitor.detection.motor_units import _SEEDS_MAX, _UNITS_MAX, MotorUnits

HOUR_NS = 3_600_000_000_000
MARGIN_S = 0.020
NOISE = 2.0


@dataclass(frozen=True)
class Seen:
    """One twitch on the channel where it is largest."""

    channel: str
    unit: int
    waveform: np.ndarray
    noise: float
    snr: float
    at_ns: int


@cache
def twitches(rate_hz: float, motor_units: int, seed: int, noise_uv: float = NOISE) -> tuple[Seen, ...]:
    """Five minutes of a resting arm, cut at the truth."""
    settings = ArmSettings(
        channels=("biceps", "triceps", "FCR", "FDI"),
        rate_hz=rate_hz,
        motor_units=motor_units,
        noise_uv=noise_uv,
        twitches_per_min=150.0,
        doublet_share=0.0,
        voluntary_per_min=0.0,
        mains_uv=0.0,
        ecg_uv=0.0,
        movement_per_min=0.0,
        lift_off_per_hour=0.0,
    )
    arm = Arm(settings, seed)
    signal, _ = BandPass(Sensor.EMG, rate_hz).feed(arm.emg_uv(round(300 * rate_hz)))
    noise = 1.4826 * np.median(np.abs(signal), axis=1)
    return tuple(_cut(signal, noise, d, rate_hz) for d in _alone(arm.truth()[0]))


def _alone(discharges: tuple[Discharge, ...]) -> list[Discharge]:
    """In order; without those that another runs into, and those at the ends of the record."""
    ordered = sorted(discharges, key=lambda d: d.onset_s)
    triples = zip(ordered, ordered[1:], ordered[2:], strict=False)
    return [d for a, d, b in triples if d.onset_s - a.onset_s > 0.06 and b.onset_s - d.onset_s > 0.06]


def _cut(signal: np.ndarray, noise: np.ndarray, d: Discharge, rate_hz: float) -> Seen:
    channel = int(np.argmax(d.peak_to_peak_uv))
    start, stop = (round(t * rate_hz) for t in (d.onset_s - MARGIN_S, d.onset_s + d.duration_s + MARGIN_S))
    sigma = float(noise[channel])
    snr = d.peak_to_peak_uv[channel] / max(sigma, 1e-9)
    return Seen(str(channel), d.unit, signal[channel, max(start, 0) : stop], sigma, snr, round(d.onset_s * 1e9))


def assigned(units: MotorUnits, seen: tuple[Seen, ...], rate_hz: float) -> np.ndarray:
    """The id of each, 0 for none, on one scale over channels."""
    ids = [units.feed(s.channel, s.waveform, rate_hz, s.noise, s.at_ns) for s in seen]
    return np.array([100 * int(s.channel) + i if i else 0 for s, i in zip(seen, ids, strict=True)])


@dataclass(frozen=True)
class Score:
    purity: float
    ids_per_unit: float
    unassigned: float
    rand: float


def score(truth: np.ndarray, ids: np.ndarray) -> Score:
    """An id counts for a unit where it holds a twentieth of it; two or more, or it would be chance."""
    known = ids > 0
    table = np.array(
        [[np.sum((truth == u) & (ids == i)) for i in np.unique(ids[known])] for u in np.unique(truth)]
    )
    held = (table >= 2) & (table >= 0.05 * table.sum(axis=1, keepdims=True))
    return Score(
        purity=table.max(axis=0).sum() / table.sum(),
        ids_per_unit=float(held.sum(axis=1).mean()),
        unassigned=float(1 - known.mean()),
        rand=adjusted_rand(table),
    )


def adjusted_rand(table: np.ndarray) -> float:
    """Hubert and Arabie 1985: 1 where two partitions agree, 0 by chance."""

    def pairs(n: np.ndarray) -> float:
        return float((n * (n - 1) / 2).sum())

    rows, columns, total = pairs(table.sum(axis=1)), pairs(table.sum(axis=0)), pairs(table.sum(keepdims=True))
    chance = rows * columns / total
    return (pairs(table) - chance) / ((rows + columns) / 2 - chance)


def visible(seen: tuple[Seen, ...], least: float, most: float = np.inf) -> tuple[Seen, ...]:
    return tuple(s for s in seen if least <= s.snr < most)


# (least purity, most ids a unit, least adjusted Rand index), a little below what was measured
GOALS = {1000.0: (0.97, 1.3, 0.95), 500.0: (0.96, 1.3, 0.95), 250.0: (0.95, 1.4, 0.9), 200.0: (0.93, 1.5, 0.9)}


@pytest.mark.parametrize("rate_hz", GOALS)
def test_units_of_the_arm_are_told_apart(rate_hz: float) -> None:
    """One to four units a muscle, twitches of 20 noise deviations and more."""
    truth: list[int] = []
    ids: list[int] = []
    for motor_units in (1, 2, 3, 4):
        seen = visible(twitches(rate_hz, motor_units, motor_units), 20)
        truth += [1000 * motor_units + s.unit for s in seen]
        found = assigned(MotorUnits(), seen, rate_hz)
        ids += np.where(found, 10_000 * motor_units + found, 0).tolist()
    result = score(np.array(truth), np.array(ids))
    purity, fragments, rand = GOALS[rate_hz]
    assert result.purity >= purity, result
    assert result.ids_per_unit <= fragments, result
    assert result.unassigned < 0.15, result
    assert result.rand >= rand, result


def days(rate_hz: float, seed: int, per_hour: float = 4.0) -> list[Seen]:
    """Three days, six hours off each night; amplitudes drift by 30 % over hours, each unit by its own."""
    rng = np.random.default_rng(seed)
    clean = [s for s in twitches(rate_hz, 2, seed, 0.0) if np.ptp(s.waveform) > 20 * NOISE]
    seen = []
    for unit in sorted({s.unit for s in clean}):
        mine = [s for s in clean if s.unit == unit]
        phase = rng.uniform(0, 2 * np.pi)
        for hour in np.sort(rng.uniform(0, 72, round(72 * per_hour))):
            if hour % 24 < 18:
                s = mine[rng.integers(len(mine))]
                gain = np.exp(0.3 * np.sin(2 * np.pi * hour / 8 + phase))
                waveform = gain * s.waveform + rng.normal(0, NOISE, len(s.waveform))
                seen.append(Seen(s.channel, unit, waveform, NOISE, 0.0, round(hour * HOUR_NS)))
    return sorted(seen, key=lambda s: s.at_ns)


def test_identities_last_over_days_of_drift() -> None:
    seen = tuple(days(1000.0, 5))
    result = score(np.array([s.unit for s in seen]), assigned(MotorUnits(), seen, 1000.0))
    assert result.purity >= 0.95, result
    assert result.ids_per_unit < 1.5, result
    assert result.unassigned < 0.05, result


def test_coinciding_units_are_not_one_unit() -> None:
    """Random pairs of units at random lags, each different: unassigned, or apart from the single units."""
    rng = np.random.default_rng(3)
    clean = [s for s in twitches(1000.0, 3, 3, 0.0) if np.ptp(s.waveform) > 40 * NOISE]
    units = MotorUnits()
    ids = []
    for n in range(200):
        one, two = (clean[rng.integers(len(clean))].waveform for _ in range(2))
        both = np.zeros(160)
        for part, at in ((one, 20), (two, 20 + rng.integers(4, 20))):
            size = min(len(part), 160 - at)
            both[at : at + size] += 150 * rng.uniform(0.5, 2) * part[:size] / np.ptp(part)
        ids.append(units.feed("1", both + rng.normal(0, NOISE, 160), 1000.0, NOISE, n * HOUR_NS // 60))
    assert np.mean([i is None for i in ids]) > 0.5
    assert max(Counter(i for i in ids if i).values(), default=0) < 0.15 * len(ids)


def test_a_restart_changes_nothing() -> None:
    seen = visible(twitches(1000.0, 2, 2), 15)
    whole, parts = MotorUnits(), MotorUnits()
    half = len(seen) // 2
    expected = assigned(whole, seen, 1000.0)
    before = assigned(parts, seen[:half], 1000.0)
    parts = MotorUnits.restore(json.loads(json.dumps(parts.snapshot())))
    after = assigned(parts, seen[half:], 1000.0)
    assert np.array_equal(np.concatenate((before, after)), expected)
    assert parts.snapshot() == whole.snapshot()


def shape(width_s: float, size: float = 100.0, late_s: float = 0.0) -> np.ndarray:
    time_s = np.arange(60) / 1000.0 - 0.03 - late_s
    return size * np.sin(2 * np.pi * time_s / (4 * width_s)) * np.exp(-((time_s / width_s) ** 2))


def test_a_unit_is_born_at_the_third_alike_wherever_the_samples_fall() -> None:
    units = MotorUnits()
    lags_s = (0.0, 0.0004, -0.0003, 0.0025)
    assert [units.feed("a", shape(0.004, late_s=lag), 1000.0, 2.0, 0) for lag in lags_s] == [None, None, 1, 1]


def test_amplitude_may_vary_but_not_double() -> None:
    units = MotorUnits()
    sizes = (100, 108, 93, 85, 115, 220)
    ids = [units.feed("a", shape(0.004, size), 1000.0, 2.0, 0) for size in sizes]
    assert ids == [None, None, 1, 1, 1, None]


def test_memory_is_bounded_and_ids_are_never_used_again() -> None:
    rng = np.random.default_rng(0)
    units = MotorUnits()
    born = []
    for n in range(60):
        waveform = np.convolve(rng.normal(0, 60, 60), np.hanning(7), "same") * np.hanning(60)
        born += [units.feed("a", waveform, 1000.0, 2.0, n * 6 * HOUR_NS) for _ in range(3)]
    known = [i for i in born if i]
    assert known == sorted(known)
    assert max(known) > _UNITS_MAX
    kept = units.snapshot()["a"]
    assert len(kept["units"]) <= _UNITS_MAX
    assert len(kept["seeds"]) <= _SEEDS_MAX


def test_another_rate_is_another_device() -> None:
    units = MotorUnits()
    assert [units.feed("a", shape(0.004), 1000.0, 2.0, 0) for _ in range(3)][-1] == 1
    assert [units.feed("a", shape(0.004)[::4], 250.0, 2.0, 0) for _ in range(3)][-1] == 2


def test_statistics_tell_how_a_unit_discharges() -> None:
    units = MotorUnits()
    for n in range(100):
        units.feed("a", shape(0.004), 1000.0, 2.0, n * 2_000_000_000)
    (unit,) = units.statistics("a")
    assert (unit.unit, unit.count, unit.last_ns) == (1, 100, 198_000_000_000)
    assert unit.median_interval_s == pytest.approx(2.0)
    assert unit.interval_cv == pytest.approx(0.0, abs=1e-9)
    assert units.statistics("b") == ()


@pytest.mark.parametrize("waveform", [np.zeros(60), np.zeros(1), np.full(60, 1e6), shape(0.004, 1e-12)])
@pytest.mark.parametrize("noise", [0.0, 2.0])
def test_any_waveform_is_taken(waveform: np.ndarray, noise: float) -> None:
    units = MotorUnits()
    for _ in range(4):
        units.feed("a", waveform, 1000.0, noise, 0)
