"""Recordings with truth to measure the detector on: real ones, real twitches in real noise, and generated ones.

Rules:

* Real recordings are read from `DATA`; where it is absent their rows are left out, and said to be.
* Everything drawn comes from a seed; the same seed gives the same samples.
* EMG is made at 1 kHz in µV and decimated with an anti-alias filter without delay, so truth holds at any rate.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.linalg import solve_toeplitz
from scipy.signal import butter, lfilter, resample_poly, sosfiltfilt

from firmware_interface.emulated import contamination, firing
from firmware_interface.emulated.anatomy import draw_anatomy
from firmware_interface.emulated.arm import Arm, ArmSettings, IntervalKind
from firmware_interface.emulated.motor_unit import POINT_HZ
from firmware_interface.emulated.timeline import Firing, Superposition, converted
from firmware_interface.samples import SampleBlock, Sensor, Stream, Timebase, Unit
from monitor.recording import read
from monitor.score import Spans, Truth, read_truth

Floats = NDArray[np.float64]

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
RATE_HZ = 1000
SIGMA_UV = 2.6
"""Of the rest noise, 20 to 450 Hz."""
_MARGIN_S = (0.008, 0.015)
"""What is cut out around an evoked response, before and after."""
_CLEAR_UV = 50.0
"""Evoked responses from this size on are taken as shapes: their own noise is small beside them."""
_REST_SIGMA = 6.0
"""Rest with larger deflections than this is no rest: spontaneous twitches, late responses."""
_PER_MIN = 20.8
_APART_S = 0.6


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """One recording in memory, with its truth."""

    name: str
    stream: Stream
    counts: NDArray[np.generic]
    """Shape (channels, samples), in units of the stream's scale."""
    truth: Truth
    lost: NDArray[np.bool_] | None = None
    """Samples that never arrived, shape (samples,)."""

    @property
    def duration_s(self) -> float:
        return self.counts.shape[1] / self.stream.rate_hz

    @property
    def physical(self) -> Floats:
        """Shape (channels, samples), in the stream's unit."""
        return np.asarray(self.counts, np.float64) * self.stream.scale

    def blocks(self, samples: int) -> Iterator[SampleBlock]:
        """Cut into pieces of at most `samples`, without what was lost."""
        base = Timebase(0, 0, 1e9 / self.stream.rate_hz)
        for start, stop in self.runs():
            for first in range(start, stop, samples):
                yield SampleBlock(self.stream, first, base, self.counts[:, first : min(first + samples, stop)])

    def runs(self) -> list[tuple[int, int]]:
        """Stretches of samples that arrived."""
        if self.lost is None:
            return [(0, self.counts.shape[1])]
        edges = np.flatnonzero(np.diff(~self.lost, prepend=False, append=False))
        return [(int(a), int(b)) for a, b in edges.reshape(-1, 2)]


def emg_stream(rate_hz: float, channels: int = 1, unit: Unit = Unit.MICROVOLT) -> Stream:
    """An EMG stream whose counts are its unit."""
    return Stream("emg", Sensor.EMG, unit, 1.0, rate_hz, tuple(f"EMG{i + 1}" for i in range(channels)))


def no_truth() -> Truth:
    """Nothing to find."""
    return Truth(np.empty((0, 2)), np.empty((0, 2)), np.empty((0, 2)))


def recorded(path: Path) -> Case:
    """A recording of one stream with the truth beside it, if there is any."""
    recording = read(path)
    blocks = [block for block in recording.blocks() if isinstance(block, SampleBlock)]
    counts = np.concatenate([block.counts for block in blocks], axis=1)
    truth = path.with_suffix(".truth.csv")
    return Case(path.stem, blocks[0].stream, counts, read_truth(truth) if truth.exists() else no_truth())


# Real parts -----------------------------------------------------------------------------------------------------


@cache
def _evoked() -> tuple[Floats, Spans]:
    """The evoked record at 1 kHz without its mains, shape (samples,), and its twitches."""
    case = recorded(DATA / "evoked_rest_1000hz.edf")
    x = case.physical[0]
    clean = x.copy()
    rest = _resting(len(x), case.truth.twitches)
    sweep = 2 * RATE_HZ  # phases of mains are new in each
    for start in range(0, len(x), sweep):
        part = slice(start, start + sweep)
        t = np.arange(len(x[part])) / RATE_HZ
        angle = 2 * np.pi * 60 * t[:, None] * np.arange(1, 8)
        basis = np.hstack((np.cos(angle), np.sin(angle), np.ones((len(t), 1))))
        quiet = rest[part]
        weights = np.linalg.lstsq(basis[quiet], x[part][quiet], rcond=None)[0]
        clean[part] -= basis @ weights
    return clean, case.truth.twitches


def _resting(length: int, twitches: Spans) -> NDArray[np.bool_]:
    rest = np.ones(length, bool)
    for start_s, stop_s in twitches:
        rest[max(round((start_s - 0.03) * RATE_HZ), 0) : round((stop_s + 0.06) * RATE_HZ)] = False
    return rest


@cache
def shapes() -> tuple[tuple[Floats, float, float], ...]:
    """Real responses of 1 µV peak to peak at 1 kHz: samples, onset and duration within them in seconds."""
    x, twitches = _evoked()
    found = []
    for start_s, stop_s in twitches:
        first = round((start_s - _MARGIN_S[0]) * RATE_HZ)
        piece = x[first : round((stop_s + _MARGIN_S[1]) * RATE_HZ)].copy()
        piece -= np.linspace(piece[:4].mean(), piece[-4:].mean(), len(piece))
        ramp = np.sin(np.linspace(0, np.pi / 2, 7)) ** 2
        piece[:7] *= ramp
        piece[-7:] *= ramp[::-1]
        size = float(np.ptp(piece))
        if size >= _CLEAR_UV:
            found.append((piece / size, start_s - first / RATE_HZ, stop_s - start_s))
    return tuple(found)


@cache
def _rest_pieces() -> tuple[Floats, ...]:
    """Stretches of real rest noise of at least 0.5 s at 1 kHz, `SIGMA_UV` in all."""
    x, twitches = _evoked()
    rest = _resting(len(x), twitches)
    rest[:: 2 * RATE_HZ] = False  # where sweeps are joined
    edges = np.flatnonzero(np.diff(rest, prepend=False, append=False)).reshape(-1, 2)
    pieces = [x[a:b] - x[a:b].mean() for a, b in edges if b - a >= RATE_HZ // 2]
    band = butter(4, (20, 450), "bandpass", fs=RATE_HZ, output="sos")
    filtered = [sosfiltfilt(band, piece) for piece in pieces]
    sigma = float(np.concatenate(filtered).std())
    clean = [np.abs(y) < _REST_SIGMA * sigma for y in filtered]
    kept = [run for piece, mask in zip(pieces, clean, strict=True) for run in _unbroken(piece, mask)]
    return tuple(piece * SIGMA_UV / sigma for piece in kept)


def _unbroken(piece: Floats, mask: NDArray[np.bool_]) -> list[Floats]:
    """Runs of a piece where the mask holds, 30 ms away from where it does not, of at least 0.3 s."""
    safe = np.convolve(~mask, np.ones(61), "same") == 0
    edges = np.flatnonzero(np.diff(safe, prepend=False, append=False)).reshape(-1, 2)
    return [piece[a:b] for a, b in edges if b - a >= 0.3 * RATE_HZ]


def real_noise(rng: Generator, length: int) -> Floats:
    """Real rest noise, stretches in random order, faded into each other over 20 ms."""
    pieces = _rest_pieces()
    out = np.zeros(length + 4 * RATE_HZ)
    at, fade = 0, 20
    up = np.sin(np.linspace(0, np.pi / 2, fade))
    while at < length:
        piece = pieces[rng.integers(len(pieces))].copy() * rng.choice([-1.0, 1.0])
        piece[:fade] *= up
        piece[-fade:] *= up[::-1]
        out[at : at + len(piece)] += piece
        at += len(piece) - fade
    return out[:length]


@cache
def _prediction(order: int = 40) -> tuple[Floats, float]:
    """Coefficients and residual SD of an autoregressive model of the rest noise."""
    pieces = _rest_pieces()
    total = sum(len(piece) for piece in pieces)
    lags = [sum(float(p[k:] @ p[: len(p) - k]) for p in pieces) / total for k in range(order + 1)]
    weights = solve_toeplitz(lags[:order], lags[1:])
    return weights, float(np.sqrt(lags[0] - weights @ np.array(lags[1:])))


def synthetic_noise(rng: Generator, length: int) -> Floats:
    """Gaussian noise of the spectrum of the real rest noise."""
    weights, sigma = _prediction()
    settling = 2000
    white = rng.normal(0, sigma, length + settling)
    return np.asarray(lfilter([1.0], np.concatenate(([1.0], -weights)), white))[settling:]


def noise(seed: int, duration_s: float, rate_hz: int = RATE_HZ) -> Floats:
    """Rest noise of `SIGMA_UV` in the band that the rate leaves: real for even seeds, synthetic for odd ones."""
    rng = np.random.default_rng((seed, 1))
    x = decimated((synthetic_noise if seed % 2 else real_noise)(rng, round(duration_s * RATE_HZ)), rate_hz)
    band = butter(2, (20, 0.45 * rate_hz), "bandpass", fs=rate_hz, output="sos")
    return np.asarray(x * SIGMA_UV / sosfiltfilt(band, x).std())


# Planted twitches -----------------------------------------------------------------------------------------------


def onsets(rng: Generator, duration_s: float, per_min: float = _PER_MIN, keep_out: Spans | None = None) -> Floats:
    """Random times, at least `_APART_S` apart, away from the ends and from the intervals in `keep_out`."""
    wanted, times = round(per_min * duration_s / 60), np.empty(0)
    for _ in range(200 * wanted):
        t = rng.uniform(1.0, duration_s - 1.0)
        clear = keep_out is None or not ((keep_out[:, 0] < t + 0.05) & (keep_out[:, 1] > t)).any()
        if clear and not (np.abs(times - t) < _APART_S).any():
            times = np.append(times, t)
        if len(times) == wanted:
            break
    return np.sort(times)


def plant(x: Floats, rng: Generator, at_s: Floats, peak_to_peak: Floats | float, rate_hz: int = RATE_HZ) -> Spans:
    """Add real responses to `x`, shape (samples,), with their onsets near `at_s`; return their truth.

    Sizes hold at the rate of `x`: what a person would measure there.
    """
    spans, bank = [], shapes()
    step = RATE_HZ // rate_hz
    room = 20 * step  # of the anti-alias filter
    for t, size in zip(at_s, np.broadcast_to(peak_to_peak, len(at_s)), strict=True):
        shape, onset_s, duration_s = bank[rng.integers(len(bank))]
        first = round((t - onset_s) * RATE_HZ)
        lead = first % step + room
        response = decimated(np.pad(shape, (lead, room + -(lead + len(shape)) % step)), rate_hz)
        at = (first - lead) // step
        part = x[at : at + len(response)]
        part += size * rng.choice([-1.0, 1.0]) * (response / np.ptp(response))[: len(part)]
        spans.append((first / RATE_HZ + onset_s, first / RATE_HZ + onset_s + duration_s))
    return np.array(spans).reshape(-1, 2)


def decimated(x: Floats, rate_hz: int) -> Floats:
    """From 1 kHz to a rate that divides it, along the last axis."""
    return np.asarray(resample_poly(x, 1, RATE_HZ // rate_hz, axis=-1)) if rate_hz != RATE_HZ else x


def planted(rate_hz: int, peak_to_peak_uv: float, seed: int, duration_s: float = 300.0) -> Case:
    """Twitches in rest noise, one channel."""
    return _planted_in(noise(seed, duration_s, rate_hz), rate_hz, peak_to_peak_uv, seed)


def _planted_in(x: Floats, rate_hz: int, peak_to_peak_uv: float, seed: int) -> Case:
    rng = np.random.default_rng((seed, 2))
    twitches = plant(x, rng, onsets(rng, len(x) / rate_hz), peak_to_peak_uv, rate_hz)
    return Case(f"seed {seed}", emg_stream(rate_hz), x[None], replace(no_truth(), twitches=twitches))


# Contamination --------------------------------------------------------------------------------------------------

Contaminate = Callable[[Floats, Generator], Floats]
"""From (samples,) at 1 kHz to the same, spoilt."""


def ecg(peak_to_peak_uv: float) -> Contaminate:
    """Add a real ECG."""

    def spoil(x: Floats, rng: Generator) -> Floats:
        heart = recorded(DATA / "ecg_unit_peak_to_peak.edf").physical[0] * peak_to_peak_uv / 100
        start = int(rng.integers(len(heart)))
        return x + np.resize(np.roll(heart, start), len(x))

    return spoil


def mains(amplitude_uv: float, hz: float, drift_hz: float = 0.0) -> Contaminate:
    """Add mains with its harmonics 3 and 5; its frequency swings by `drift_hz` once a minute."""

    def spoil(x: Floats, rng: Generator) -> Floats:
        t = np.arange(len(x)) / RATE_HZ
        phase = 2 * np.pi * np.cumsum(hz + drift_hz * np.sin(2 * np.pi * t / 60)) / RATE_HZ
        wave = sum(
            size * np.sin(k * phase + rng.uniform(0, 2 * np.pi)) for k, size in ((1, 1.0), (3, 0.3), (5, 0.2))
        )
        return np.asarray(x + amplitude_uv * wave)

    return spoil


def movement(per_min: float, size_uv: float, rise_s: float | None = None) -> Contaminate:
    """Add damped steps of 0.5 to 6 Hz; with another rise time than a movement's, the pop of a cable."""

    def spoil(x: Floats, rng: Generator) -> Floats:
        t = np.arange(len(x)) / RATE_HZ
        y = x.copy()
        for onset_s in onsets(rng, t[-1], per_min):
            hz, damping = np.exp(rng.uniform(*np.log((0.5, 6.0)))), rng.uniform(0.2, 0.6)
            step = contamination.Movement(onset_s, float(hz), damping, np.ones(1), np.zeros(3))
            part = (t >= onset_s) & (t < onset_s + step.duration_s)
            course = step.course(t[part])
            if rise_s is not None:
                swing = t[part] - onset_s
                slow = np.maximum(1 - np.exp(-swing / contamination.MOVEMENT_RISE_S), 1e-3)
                course = course / slow * (1 - np.exp(-(swing + 1 / RATE_HZ) / rise_s))
            y[part] += size_uv * rng.choice([-1.0, 1.0]) * course
        return y

    return spoil


def offset(size_uv: float) -> Contaminate:
    """A baseline far from zero that wanders."""

    def spoil(x: Floats, rng: Generator) -> Floats:
        t = np.arange(len(x)) / RATE_HZ
        return np.asarray(x + size_uv + 0.2 * size_uv * np.sin(2 * np.pi * 0.05 * t + rng.uniform(0, 6)))

    return spoil


def contaminated(spoil: Contaminate, seed: int, rate_hz: int, duration_s: float = 300.0) -> Case:
    """40 µV twitches with something else on top."""
    clean = planted(rate_hz, 40.0, seed, duration_s)
    other = spoil(np.zeros(round(duration_s * RATE_HZ)), np.random.default_rng((seed, 3)))
    return replace(clean, counts=clean.physical + decimated(other, rate_hz))


def noise_blocks(seed: int, rate_hz: int, duration_s: float = 300.0) -> Case:
    """40 µV twitches; in every second half minute the noise is three times as large."""
    x = noise(seed, duration_s, rate_hz)
    x *= contamination.noise_scale(np.arange(len(x)) / rate_hz, 3.0)
    return _planted_in(x, rate_hz, 40.0, seed)


def dropouts(seed: int, rate_hz: int, duration_s: float = 300.0) -> Case:
    """40 µV twitches; 5 % of the samples are lost in gaps of 20 to 300 ms."""
    clean = planted(rate_hz, 40.0, seed, duration_s)
    rng = np.random.default_rng((seed, 3))
    lost = np.zeros(clean.counts.shape[1], bool)
    while lost.mean() < 0.05:
        first = rng.integers(len(lost))
        lost[first : first + round(rng.uniform(0.02, 0.3) * rate_hz)] = True
    return replace(clean, lost=lost)


def lift_off(seed: int, rate_hz: int, duration_s: float = 300.0) -> Case:
    """40 µV twitches; the electrode is off for 20 s, twice: once flat, once full of the room.

    Twitches while it is off are no part of the truth.
    """
    clean = contaminated(mains(3.0, 50.0), seed, rate_hz, duration_s)
    rng = np.random.default_rng((seed, 3))
    x = clean.physical[0]
    twitches = clean.truth.twitches
    room = decimated(mains(60.0, 50.0)(10 * synthetic_noise(rng, 20 * RATE_HZ), rng), rate_hz)
    for begin_s, seen in ((duration_s / 5, np.zeros(20 * rate_hz)), (3 * duration_s / 5, room)):
        first = round(begin_s * rate_hz)
        part = x[first : first + 20 * rate_hz]
        part[:] = seen[: len(part)]
        twitches = twitches[(twitches[:, 1] < begin_s) | (twitches[:, 0] > begin_s + 20)]
    return replace(clean, counts=x[None], truth=replace(clean.truth, twitches=twitches))


# Voluntary activity ---------------------------------------------------------------------------------------------


def voluntary(rng: Generator, excitation: Floats) -> Floats:
    """The EMG of one muscle at 1 kHz, µV, that follows an excitation (0 to 1), a value each sample."""
    anatomy = draw_anatomy(rng, channels=1, spacing_mm=30.0, motor_units=1, visible=False, voluntary=True)
    units = anatomy.potentials_uv[1:]
    coarse = excitation[::10]
    rates = firing.rates_hz(coarse[None])[0]
    firings = [
        Firing(t, unit, 1.0) for unit, rate in enumerate(rates) for t in _train(rng, rate, 10 / RATE_HZ).tolist()
    ]
    firings.sort()
    responses = converted(units, POINT_HZ, RATE_HZ)
    muscle = Superposition(responses, POINT_HZ, RATE_HZ, RATE_HZ)
    chunks, at = [], 0
    for second in range(-(-len(excitation) // RATE_HZ)):
        upto = at
        while upto < len(firings) and firings[upto].onset_s < second + 1:
            upto += 1
        chunks.append(muscle.next(firings[at:upto]))
        at = upto
    return np.concatenate(chunks, axis=1)[0, : len(excitation)]


def _train(rng: Generator, rate_hz: Floats, step_s: float) -> Floats:
    """Firing times of one unit: gamma intervals along the integral of its rate."""
    expected = np.cumsum(rate_hz * step_s)
    if expected[-1] <= 0:
        return np.empty(0)
    regularity = firing.ISI_CV**-2
    marks = np.cumsum(rng.gamma(regularity, 1 / regularity, round(1.5 * expected[-1] + 20))) - rng.uniform()
    marks = marks[(marks > 0) & (marks < expected[-1])]
    return np.asarray(np.interp(marks, expected, np.arange(1, len(expected) + 1) * step_s))


def bursts(seed: int, duration_s: float = 120.0) -> Case:
    """Trials of 6 s as in a reaction task: a twitch or two, and in every second trial a burst after 0.3 to 2 s."""
    length = round(duration_s * RATE_HZ)
    rng = np.random.default_rng((seed, 4))
    excitation, meant, at_s = np.zeros(length), [], []
    for trial in range(int(duration_s // 6)):
        at_s.append(6 * trial + rng.uniform(1.5, 2.5))
        if trial % 9 in (0, 2, 4, 6, 8):
            begin_s = at_s[-1] + rng.uniform(0.3, 2.0)
            last_s, ramp_s = rng.uniform(0.4, 1.4), rng.uniform(0.08, 0.3)
            t = np.arange(length) / RATE_HZ - begin_s
            shape = np.clip(np.minimum(t, last_s - t) / ramp_s, 0, 1)
            excitation = np.maximum(excitation, rng.uniform(0.08, 0.4) * shape)
            meant.append((begin_s, begin_s + last_s + 0.05))
    x = noise(seed, duration_s) + voluntary(rng, excitation)
    sizes_uv = rng.lognormal(np.log(120), 0.8, len(at_s)).clip(30, 550)
    twitches = plant(x, rng, np.array(at_s), sizes_uv)
    truth = replace(no_truth(), twitches=twitches, voluntary=np.array(meant))
    return Case(f"seed {seed}", emg_stream(RATE_HZ), x[None], truth)


def arm_mixed(seed: int, duration_s: float = 300.0) -> Case:
    """One channel of the emulated arm, contractions and all. Twitches within a contraction are not in the truth,
    nor any below 15 noise SD peak to peak."""
    settings = ArmSettings(channels=("FDI",), voluntary_per_min=3.0, lift_off_per_hour=0.0, twitches_per_min=12.0)
    arm = Arm(settings, seed)
    x = arm.emg_uv(round(duration_s * RATE_HZ))
    discharges, intervals = arm.truth()
    meant = np.array(
        [(i.onset_s, i.onset_s + i.duration_s) for i in intervals if i.kind is IntervalKind.VOLUNTARY]
    ).reshape(-1, 2)
    twitches = [
        (d.onset_s, d.onset_s + d.duration_s)
        for d in discharges
        if max(d.peak_to_peak_uv) >= 15 * settings.noise_uv
        and not ((meant[:, 0] < d.onset_s + d.duration_s) & (meant[:, 1] > d.onset_s)).any()
    ]
    truth = replace(no_truth(), twitches=np.array(twitches).reshape(-1, 2), voluntary=meant)
    return Case(f"seed {seed}", replace(emg_stream(settings.rate_hz), channels=settings.channels), x, truth)


def low_force(seed: int, duration_s: float = 120.0) -> Case:
    """A muscle in use throughout: a low force that wanders, with bursts on top."""
    length = round(duration_s * RATE_HZ)
    rng = np.random.default_rng((seed, 5))
    knots = np.arange(0, duration_s + 4, 4.0)
    t = np.arange(length) / RATE_HZ
    excitation = np.interp(t, knots, rng.uniform(0.05, 0.15, len(knots)))
    for begin_s in np.arange(3, duration_s, 6):
        excitation += np.where((t >= begin_s) & (t < begin_s + 0.7), rng.uniform(0.05, 0.3), 0)
    x = noise(seed, duration_s) + voluntary(rng, excitation)
    truth = replace(no_truth(), voluntary=np.array([(0.0, duration_s)]))
    return Case(f"seed {seed}", emg_stream(RATE_HZ), x[None], truth)


# The armband ----------------------------------------------------------------------------------------------------


def myo(kind: str, count: int) -> list[Case]:
    """The first `count` armband recordings, `rest` or `gesture`."""
    return [recorded(path) for path in sorted((DATA / "myo").glob(f"myo_{kind}_*.edf"))[:count]]


def myo_planted(case: Case, sigmas: float, seed: int) -> list[Case]:
    """Twitches planted in two channels of an armband at rest, each as a recording of its own.

    Sizes are in units of the channel's own noise above 20 Hz, before decimation to the armband's rate.
    """
    rate_hz = case.stream.rate_hz
    rng = np.random.default_rng((seed, 6))
    high = butter(2, 20, "highpass", fs=rate_hz, output="sos")
    out = []
    for channel in rng.choice(len(case.counts), 2, replace=False).tolist():
        rest = case.counts[channel].astype(np.float64)
        sigma = float(np.median(np.abs(sosfiltfilt(high, rest))) / 0.6745)
        track = np.zeros(round(case.duration_s * RATE_HZ))
        twitches = plant(track, rng, onsets(rng, case.duration_s), sigmas * sigma)
        low = resample_poly(track, 1, round(RATE_HZ / rate_hz))[: len(rest)]
        counts = np.clip(np.round(rest[: len(low)] + low), -128, 127)[None]
        stream = replace(case.stream, channels=(case.stream.channels[channel],))
        truth = replace(no_truth(), twitches=twitches)
        out.append(Case(f"{case.name} {stream.channels[0]}", stream, counts, truth))
    return out


# Acceleration ---------------------------------------------------------------------------------------------------


def walking(seed: int, rate_hz: float = 100.0, duration_s: float = 300.0) -> Case:
    """A walker's limb, in g: bouts of steps at 1.5 to 2.5 Hz with harmonics and impacts, turns and stands."""
    rng = np.random.default_rng((seed, 7))
    length = round(duration_s * rate_hz)
    t = np.arange(length) / rate_hz
    x = rng.normal(0, 0.001, (3, length))
    x += _gravity(rng, t)
    begin_s = 3.0
    while begin_s < duration_s - 5:
        stop_s = min(begin_s + rng.uniform(10, 60), duration_s)
        _walk(x, t, rng, begin_s, stop_s)
        begin_s = stop_s + rng.uniform(3, 15)
    stream = Stream("acc", Sensor.ACC, Unit.G, 1.0, rate_hz, ("x", "y", "z"))
    return Case(f"seed {seed}", stream, x, no_truth())


def _gravity(rng: Generator, t: Floats) -> Floats:
    """Gravity as the limb turns: 10 to 120 degrees within 0.5 to 2 s, ten times a minute."""
    angles = np.tile(rng.uniform(0, 2 * np.pi, (2, 1)), len(t))
    for begin_s in onsets(rng, float(t[-1]), 10):
        course = np.clip((t - begin_s) / rng.uniform(0.5, 2), 0, 1)
        smooth = course**3 * (10 - 15 * course + 6 * course**2)
        angles += np.deg2rad(rng.uniform(-120, 120, (2, 1))) * smooth
    tilt, turn = angles
    return np.stack((np.cos(tilt), np.sin(tilt) * np.cos(turn), np.sin(tilt) * np.sin(turn)))


def _walk(x: Floats, t: Floats, rng: Generator, begin_s: float, stop_s: float) -> None:
    """Add steps: three harmonics of the stride and step, and an impact at each step."""
    cadence_hz, size_g = rng.uniform(1.5, 2.5), rng.uniform(0.1, 0.5)
    steps = np.cumsum(rng.normal(1, 0.03, round(3 * (stop_s - begin_s)) + 3) / cadence_hz) + begin_s
    steps = steps[steps < stop_s]
    if len(steps) < 3:
        return
    inside = (t >= steps[0]) & (t < steps[-1])
    phase = 2 * np.pi * np.interp(t[inside], steps, np.arange(len(steps)))
    for axis in range(3):
        for k, share in ((0.5, 0.3), (1, 1.0), (2, 0.4), (3, 0.2)):
            size = size_g * share * rng.uniform(0.3, 1) / 2
            x[axis, inside] += size * np.cos(k * phase + rng.uniform(0, 2 * np.pi))
    hz, damping = rng.uniform(8, 20), rng.uniform(0.15, 0.4)
    axis_g = rng.normal(size=3)
    axis_g *= size_g / np.linalg.norm(axis_g)
    for step_s in steps:
        part = (t >= step_s) & (t < step_s + 0.4)
        omega = 2 * np.pi * hz
        ring = np.exp(-damping * omega * (t[part] - step_s)) * np.sin(omega * (t[part] - step_s))
        x[:, part] += rng.normal(1, 0.2) * axis_g[:, None] * ring
