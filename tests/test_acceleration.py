"""The detector of acceleration: what it finds, what it leaves alone, and that the cutting never shows."""

import csv
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import butter, sosfilt

from firmware_interface.samples import SampleBlock, Sensor, Stream, Timebase, Unit
from monitor.detection.acceleration import AccelerationDetector
from monitor.detection.events import Analysed, Context, State, Twitch

RATE_HZ = 100.0
MATCH_S = 0.05
AXES = ("x", "y", "z")
DATA = Path(__file__).parents[2] / "shared" / "data"


# ── signals, in g ──


def rest(seconds, rate_hz=RATE_HZ, seed=0, mg=5.0):
    """A hand at rest: noise that falls with frequency, and gravity."""
    rng = np.random.default_rng(seed)
    noise = sosfilt(
        butter(1, 3.0, fs=rate_hz, output="sos"), rng.normal(size=(3, round(seconds * rate_hz))), axis=1
    )
    noise *= 0.001 * mg / noise.std() * np.array([[0.5], [1.0], [0.7]])
    return noise + rng.normal(0, 0.0005, noise.shape) + np.array([[0.2], [-0.6], [0.77]])


def kick(rate_hz, hz, damping, seconds=0.4):
    time_s = np.arange(0, seconds, 1 / rate_hz)
    wave = np.exp(-damping * 2 * np.pi * hz * time_s) * np.sin(2 * np.pi * hz * time_s)
    return wave / np.abs(wave).max()


def plant(x, onsets_s, mg, rate_hz=RATE_HZ, seed=0, direction=None):
    rng = np.random.default_rng(seed)
    out = x.copy()
    for onset_s in onsets_s:
        wave = kick(rate_hz, rng.uniform(8, 20), rng.uniform(0.15, 0.4))
        where = rng.normal(size=3) if direction is None else np.array(direction, float)
        start = round(onset_s * rate_hz)
        out[:, start : start + len(wave)] += 0.001 * mg * np.outer(where / np.linalg.norm(where), wave)
    return out


def walk(seconds, rate_hz=RATE_HZ, seed=0, steps_hz=1.9, g=0.3):
    """Swing and bounce with harmonics, a heel impact each step, no two steps alike."""
    rng = np.random.default_rng(seed)
    time_s = np.arange(round(seconds * rate_hz)) / rate_hz
    wander = sosfilt(butter(1, 0.3, fs=rate_hz, output="sos"), rng.normal(0, 0.4, len(time_s)))
    phase = 2 * np.pi * np.cumsum(steps_hz * (1 + wander)) / rate_hz
    harmonics = np.arange(1, 7)
    size = g * rng.uniform(0.3, 1, (3, 6)) / harmonics
    turn = rng.uniform(0, 2 * np.pi, (3, 6))
    x = (size[..., None] * np.sin(harmonics[:, None] * phase + turn[..., None])).sum(axis=1)
    heels = np.flatnonzero(np.diff(np.floor(phase / (2 * np.pi)))) / rate_hz
    for heel_s in heels:
        wave = kick(rate_hz, rng.uniform(10, 25), rng.uniform(0.2, 0.4)) * g * rng.uniform(0.4, 1.5)
        start = round(heel_s * rate_hz)
        part = x[:, start : start + len(wave)]
        part += np.outer(rng.normal(size=3) * 0.4 + [0, 1, 0], wave)[:, : part.shape[1]]
    return x * np.clip(time_s, 0, 1)  # one starts to walk; nothing jumps


def turns(seconds, rate_hz=RATE_HZ, seed=0):
    """Gravity turned by 20 to 120 degrees in 0.5 to 3 s, every 4 s, around changing axes."""
    rng = np.random.default_rng(seed)
    time_s = np.arange(round(seconds * rate_hz)) / rate_hz
    angle = np.zeros((2, len(time_s)))
    for start_s in np.arange(3, seconds - 4, 4):
        share = np.clip((time_s - start_s) / rng.uniform(0.5, 3), 0, 1)
        angle += rng.normal(size=(2, 1)) * rng.uniform(0.35, 2) * (0.5 - 0.5 * np.cos(np.pi * share))
    (a, b) = angle
    gravity = np.array([np.sin(a) * np.cos(b), np.sin(b), np.cos(a) * np.cos(b)])
    still = rest(seconds, rate_hz, seed)
    return still - still.mean(axis=1, keepdims=True) + gravity


def chest(seconds, rate_hz=RATE_HZ, seed=0, mg=20.0, beats_hz=1.2):
    """Heart beats of one shape, two sounds each, on a chest that breathes."""
    rng = np.random.default_rng(seed)
    x = rest(seconds, rate_hz, seed, mg=3)
    time_s = np.arange(x.shape[1]) / rate_hz
    x += np.array([[0.02], [0.0], [0.04]]) * np.sin(2 * np.pi * 0.25 * time_s)
    onsets = np.cumsum(rng.normal(1 / beats_hz, 0.04 / beats_hz, round(seconds * beats_hz) + 9))
    for onset_s in onsets[onsets < seconds - 1]:
        gain = 0.001 * mg * rng.normal(1, 0.1)
        for delay_s, hz, size, where in ((0, 14, 1, (0.2, 0.3, 1)), (0.3, 18, 0.5, (0.5, 0.1, 0.8))):
            wave = kick(rate_hz, hz, 0.25) * gain * size
            start = round((onset_s + delay_s) * rate_hz)
            x[:, start : start + len(wave)] += np.outer(where, wave)
    return x


# ── running ──


def stream_of(x, rate_hz=RATE_HZ, unit=Unit.G):
    return Stream("acc", Sensor.ACC, unit, 1.0, rate_hz, AXES[: len(x)])


def block(stream, x, start, stop):
    return SampleBlock(stream, start, Timebase(0, 0, 1e9 / stream.rate_hz), x[:, start:stop])


def detect(x, rate_hz=RATE_HZ, unit=Unit.G, pieces=None):
    """Events of `x`, given in the pieces (start, stop)."""
    stream = stream_of(x, rate_hz, unit)
    detector = AccelerationDetector(stream)
    events = [
        e for start, stop in pieces or [(0, x.shape[1])] for e in detector.feed(block(stream, x, start, stop))
    ]
    return events + detector.finish()


def onsets(events):
    return [e.onset_ns * 1e-9 for e in events if isinstance(e, Twitch)]


def score(found, true, counts=lambda _: True):
    """Hits and false positives, one to one."""
    left = list(found)
    for onset_s in true:
        near = [t for t in left if abs(t - onset_s) <= MATCH_S]
        left = [t for t in left if not near or t != near[0]]
    return len(found) - len(left), sum(map(counts, left))


def analysable_share(events):
    ends = [e for e in events if isinstance(e, Analysed)]
    return sum(e.analysable_s[0] for e in ends) / sum(e.observed_s for e in ends)


def told(events):
    """Events as values that compare bit by bit."""
    return [
        (e.channel, e.onset_ns, e.duration_s, e.amplitudes, e.snr, e.confidence, e.waveform.tobytes())
        if isinstance(e, Twitch)
        else e
        for e in events
    ]


EVERY_3_S = np.arange(3.05, 57, 3.01)


# ── twitches ──


@pytest.mark.parametrize("rate_hz", [50.0, 99.7, 208.0, 1000.0])
def test_visible_twitches_are_found_at_every_rate(rate_hz):
    events = detect(plant(rest(60, rate_hz), EVERY_3_S, 60, rate_hz), rate_hz)
    hits, false = score(onsets(events), EVERY_3_S)
    assert hits >= len(EVERY_3_S) - 1
    assert false == 0
    assert analysable_share(events) > 0.95


@pytest.mark.parametrize(("unit", "per_g"), [(Unit.METRE_PER_SECOND_SQUARED, 9.80665), (Unit.COUNT, 2048.0)])
def test_any_unit_gives_the_same_twitches(unit, per_g):
    x = plant(rest(60), EVERY_3_S, 50)
    in_g, other = (onsets(detect(x * k, unit=u)) for k, u in ((1.0, Unit.G), (per_g, unit)))
    assert score(other, EVERY_3_S) == score(in_g, EVERY_3_S)


def test_one_axis_is_enough():
    x = plant(rest(60), EVERY_3_S, 60, direction=(0, 1, 0))[1:2]
    assert score(onsets(detect(x)), EVERY_3_S) >= (len(EVERY_3_S) - 1, 0)


def test_turning_the_sensor_changes_nothing():
    x = plant(rest(60), EVERY_3_S, 30)
    turned = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))[0] @ x
    assert onsets(detect(turned)) == onsets(detect(x))


def test_amplitudes_are_those_of_the_axes_largest_first():
    x = plant(rest(20, mg=1), [10.0], 80, direction=(0.1, 0.3, 0.9))
    (twitch,) = [e for e in detect(x) if isinstance(e, Twitch)]
    assert twitch.channel == "z"
    assert [axis for axis, _ in twitch.amplitudes] == ["z", "y", "x"]
    assert twitch.peak_to_peak == twitch.amplitudes[0][1]
    assert 0.05 < twitch.peak < 0.09
    assert twitch.duration_s < 0.3
    assert abs(twitch.onset_ns * 1e-9 - 10) <= 0.02


def test_latency_is_below_a_second():
    x = plant(rest(60), EVERY_3_S, 60)
    stream, late_s = stream_of(x), []
    detector = AccelerationDetector(stream)
    for stop in range(5, x.shape[1], 5):
        late_s += [stop / RATE_HZ - t for t in onsets(detector.feed(block(stream, x, stop - 5, stop)))]
    assert len(late_s) >= len(EVERY_3_S) - 1
    assert max(late_s) <= 1.0


# ── not twitches ──


@pytest.mark.long
def test_rest_is_silent():
    assert onsets(detect(rest(600))) == []


@pytest.mark.long
def test_coarse_counts_at_rest_are_silent():
    steps = np.round(rest(300) / 0.004) * 0.004
    assert onsets(detect(steps)) == []


def test_a_single_motor_unit_is_not_claimed():
    assert onsets(detect(plant(rest(60, mg=0.1), EVERY_3_S, 3))) == []


@pytest.mark.parametrize(
    ("steps_hz", "g"),
    [
        (2.0, 0.25),
        *(
            pytest.param(hz, g, marks=pytest.mark.long)
            for hz, g in ((1.5, 0.1), (1.5, 0.5), (2.0, 0.5), (2.5, 0.1), (2.5, 0.5))
        ),
    ],
)
def test_walking_is_movement_and_no_twitches(steps_hz, g):
    x = np.concatenate((rest(10), rest(120) + walk(120, seed=round(100 * g), steps_hz=steps_hz, g=g)), axis=1)
    events = detect(x)
    walked = [t for t in onsets(events) if t > 9.5]
    assert len(walked) <= 0.3 * 2
    states = {e.state for e in events if isinstance(e, Context)}
    assert State.ARTEFACT in states
    assert State.VOLUNTARY not in states


@pytest.mark.long
def test_a_long_walk_is_not_taken_for_rest():
    events = detect(rest(600) + walk(600, g=0.3))
    assert len(onsets(events)) <= 0.3 * 10
    assert analysable_share(events) < 0.2


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.long)])
def test_turning_is_no_twitch(seed):
    events = detect(turns(200, seed=seed))
    assert len(onsets(events)) <= 0.3 * 200 / 60


@pytest.mark.parametrize(
    ("beats_hz", "mg"),
    [
        (1.2, 10),
        *(pytest.param(hz, mg, marks=pytest.mark.long) for hz, mg in ((0.9, 10), (0.9, 30), (1.2, 30), (2.0, 30))),
    ],
)
def test_heart_and_breathing_are_no_twitches(beats_hz, mg):
    assert len(onsets(detect(chest(200, mg=mg, beats_hz=beats_hz)))) <= 0.03 * 200 * beats_hz


def test_twitches_between_heart_beats_are_found():
    events = detect(plant(chest(60, mg=8), EVERY_3_S, 60))
    hits, _ = score(onsets(events), EVERY_3_S)
    assert hits >= 0.7 * len(EVERY_3_S)


# ── streaming ──


@cache
def eventful():
    x = np.concatenate((plant(rest(20), [4.0, 7.1, 11.3, 15.2], 60), rest(8) + walk(8), rest(12)), axis=1)
    return x, told(detect(x))


@settings(max_examples=10, deadline=None)
@given(st.lists(st.integers(0, 4000), max_size=40))
def test_the_cutting_does_not_show(cuts):
    x, whole = eventful()
    edges = [0, *sorted(cuts), x.shape[1]]
    assert told(detect(x, pieces=list(pairwise(edges)))) == whole


def test_sample_by_sample_is_the_same():
    x, whole = eventful()
    assert told(detect(x, pieces=[(i, i + 1) for i in range(x.shape[1])])) == whole


def test_a_short_gap_is_bridged_and_blind():
    x = plant(rest(30), [6.0, 15.0, 24.0], 60)
    events = detect(x, pieces=[(0, 1505), (1520, 3000)])
    assert score(onsets(events), [6.0, 24.0]) == (2, 0)
    observed_s = sum(e.observed_s for e in events if isinstance(e, Analysed))
    assert observed_s == pytest.approx(29.85)


def test_a_long_gap_starts_anew_but_keeps_the_noise():
    x = plant(rest(30), [6.0, 24.0], 60)
    stream = stream_of(x)
    detector = AccelerationDetector(stream)
    events = detector.feed(block(stream, x, 0, 1200))
    before = detector.noise
    events += detector.feed(block(stream, x, 1800, 1815))
    np.testing.assert_allclose(detector.noise, before, rtol=0.5)
    events += detector.feed(block(stream, x, 1815, 3000)) + detector.finish()
    assert score(onsets(events), [6.0, 24.0]) == (2, 0)
    ends = [e for e in events if isinstance(e, Analysed)]
    assert sum(e.observed_s for e in ends) == pytest.approx(24.0)
    assert not any(12e9 <= e.start_ns < 18e9 for e in ends)


def test_analysed_time_is_whole_and_in_order():
    x, _ = eventful()
    ends = [e for e in detect(x) if isinstance(e, Analysed)]
    assert ends[0].start_ns == 0
    assert ends[-1].end_ns == x.shape[1] * 10**7
    assert all(a.end_ns == b.start_ns for a, b in pairwise(ends))
    assert all(len(set(e.analysable_s)) == 1 for e in ends)


def test_a_sensor_that_is_stuck_is_not_analysable():
    x = rest(30)
    x[:, 1000:] = x[:, 1000:1001]
    bad = [e for e in detect(x) if isinstance(e, Context) and e.state is State.BAD_CONTACT]
    assert sum(e.duration_s for e in bad if e.channel == "x") > 17


def test_properties_have_a_number_for_each_axis():
    x = rest(20)
    detector = AccelerationDetector(stream_of(x))
    detector.feed(block(stream_of(x), x, 0, x.shape[1]))
    assert detector.noise.shape == (3,)
    assert detector.trace.shape[0] == 3
    assert detector.states == (None, None, None)


# ── the wrist, free living ──


@pytest.mark.parametrize(
    ("mg", "target"),
    [(40, 0.85), *(pytest.param(mg, target, marks=pytest.mark.long) for mg, target in ((20, 0.25), (80, 0.97)))],
)
def test_planted_in_a_free_living_wrist(mg, target):
    path = DATA / f"wrist_acc_planted_{mg}mg.edf"
    if not path.exists():
        pytest.skip(f"{path} is absent")
    edfio = pytest.importorskip("edfio")
    x = np.array([signal.data for signal in edfio.read_edf(path).signals])
    with path.with_suffix(".truth.csv").open() as file:
        rows = [(row["kind"], float(row["onset_s"]), float(row["duration_s"])) for row in csv.DictReader(file)]
    true = [onset_s for kind, onset_s, _ in rows if kind == "twitch"]
    quiet = [(start, start + length) for kind, start, length in rows if kind == "quiet"]
    found = onsets(detect(x))
    hits, false = score(found, true, lambda t: any(a <= t < b for a, b in quiet))
    assert hits >= target * len(true)
    assert false <= sum(b - a for a, b in quiet) / 60
