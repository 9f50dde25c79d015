"""What an electrode picks up besides muscle: its own noise, mains, the heart, movement, and nothing at all.

Rules of this module:

* Amplitudes are exact and equal on all channels where a benchmark would sweep them (noise, mains, ECG); phase
  and polarity differ. Movement differs in size from one channel to the next.
* Everything is made in the arm's chunks of about a second; slow wandering moves once a chunk.

Sources, as in docs/emulated-arm.md; "assumed" marks what no source gives.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.signal import lfilter

from firmware_interface.emulated.timeline import Firing, onsets_s

Floats = NDArray[np.float64]

NOISE_CORNER_HZ = 20.0  # below which 1/f^2 exceeds white
NOISE_FLOOR_HZ = 0.1  # below which it rises no more: an amplifier's high pass; assumed
NOISE_BLOCK_S = 30.0

MAINS_HARMONICS = np.array([1.0, 2.0, 3.0, 5.0])
MAINS_RELATIVE = np.array([1.0, 0.1, 0.3, 0.15])  # assumed: odd above even, falling
MAINS_DRIFT_HZ = 0.05
MAINS_AM = 0.2  # assumed

HEART_BPM = 70.0
HEART_RATE_VARIABILITY = {0.25: 0.04, 0.1: 0.03}  # breathing and Mayer waves: Hz, relative size
HEART_JITTER = 0.01
ECG_WAVES = {  # centre s after the R peak, SD s, relative size (McSharry 2003, rounded)
    "P": (-0.17, 0.025, 0.12),
    "Q": (-0.030, 0.010, -0.10),
    "R": (0.0, 0.011, 1.0),
    "S": (0.030, 0.011, -0.22),
    "T": (0.25, 0.045, 0.28),
}
ECG_POINT_HZ = 1000.0
ECG_R_S, ECG_S = 0.30, 0.75  # R peak and end, from the beat's beginning

MOVEMENT_HZ = (0.5, 6.0)
MOVEMENT_DAMPING = (0.2, 0.6)  # assumed
MOVEMENT_RISE_S = 0.010  # assumed
MOVEMENT_SIZE_SD = 0.5  # of the log: 95 % of 550 µV are then 0.2-1.5 mV
MOVEMENT_CHANNELS = (0.2, 1.0)  # of the size, with either sign
MOVEMENT_G = 0.1  # acceleration of a movement of size 1; assumed
_MOVEMENT_DECAYS = 7.0  # time constants until it is over: 0.1 %

LIFT_OFF_S = (5.0, 60.0)
LIFT_OFF_NOISE, LIFT_OFF_MAINS = 10.0, 20.0
LIFT_OFF_FLAT_SHARE = 0.5  # assumed


class ElectrodeNoise:
    """White noise of SD `sigma_uv` a sample, and noise of 1/f^2 that equals it at 20 Hz."""

    def __init__(self, rng: Generator, sigma_uv: float, rate_hz: float, shape: tuple[int, int]) -> None:
        self._rng = rng
        self._sigma_uv = sigma_uv
        self._shape = shape
        self._pole = math.exp(-2 * math.pi * NOISE_FLOOR_HZ / rate_hz)
        self._step = 2 * math.pi * NOISE_CORNER_HZ / rate_hz
        spread = self._step / math.sqrt(1 - self._pole**2)
        self._memory = self._pole * rng.normal(0, sigma_uv * spread, (shape[0], 1))

    def next(self) -> Floats:
        """The next chunk, shape (channels, chunk), in µV."""
        white, steps = self._rng.normal(0, self._sigma_uv, (2, *self._shape))
        slow, self._memory = lfilter([self._step], [1, -self._pole], steps, zi=self._memory)
        return np.asarray(white + slow)


def noise_scale(times_s: Floats, factor: float) -> Floats:
    """1 and `factor` in turns of `NOISE_BLOCK_S`."""
    return np.where(times_s // NOISE_BLOCK_S % 2 == 1, factor, 1.0)


class Mains:
    """Hum whose fundamental has the amplitude `amplitude_uv`; phases differ from channel to channel."""

    def __init__(
        self, rng: Generator, amplitude_uv: float, hz: float, rate_hz: float, shape: tuple[int, int]
    ) -> None:
        self._rng = rng
        self._hz = hz
        self._rate_hz = rate_hz
        self._chunk = shape[1]
        phases = rng.uniform(0, 2 * math.pi, (shape[0], len(MAINS_HARMONICS)))
        below_nyquist = hz * MAINS_HARMONICS < rate_hz / 2
        self._weights = amplitude_uv * MAINS_RELATIVE * below_nyquist * np.exp(1j * phases)
        self._phase = 0.0
        self._wander = rng.uniform(-1, 1, 2)  # of frequency and amplitude, within -1 to 1

    def next(self) -> Floats:
        """The next chunk, shape (channels, chunk), in µV."""
        before = self._wander
        self._wander = np.clip(before + self._rng.normal(0, 0.1, 2), -1, 1)
        drift, level = np.linspace(before, self._wander, self._chunk, endpoint=False).T
        turns = np.cumsum(self._hz + MAINS_DRIFT_HZ * drift) / self._rate_hz
        phase = self._phase + 2 * math.pi * turns
        self._phase = float(phase[-1] % (2 * math.pi))
        harmonics = np.exp(1j * MAINS_HARMONICS[:, None] * phase)
        return np.asarray((1 + MAINS_AM * level) * (self._weights @ harmonics).real)


def beats(rng: Generator) -> Iterator[Firing]:
    """Heart beats from the first P wave on; breathing and Mayer waves make the rate vary."""
    time_s = rng.uniform(0, 60 / HEART_BPM)
    phases = dict(
        zip(HEART_RATE_VARIABILITY, rng.uniform(0, 2 * math.pi, len(HEART_RATE_VARIABILITY)), strict=True)
    )
    for _ in itertools.count():
        yield Firing(time_s, 0, 1.0)
        waves = sum(
            a * math.sin(2 * math.pi * hz * time_s + phases[hz]) for hz, a in HEART_RATE_VARIABILITY.items()
        )
        time_s += 60 / HEART_BPM * (1 + waves + rng.normal(0, HEART_JITTER))


def ecg_responses(rng: Generator, peak_to_peak_uv: float, channels: int) -> Floats:
    """One beat on each channel, of either polarity; shape (1, points, channels), in µV."""
    times_s = np.arange(round(ECG_S * ECG_POINT_HZ)) / ECG_POINT_HZ - ECG_R_S
    beat = sum(
        (size * np.exp(-0.5 * ((times_s - centre_s) / sd_s) ** 2) for centre_s, sd_s, size in ECG_WAVES.values()),
        start=np.zeros_like(times_s),
    )
    polarity = rng.choice([-1.0, 1.0], channels)
    return np.asarray(peak_to_peak_uv / np.ptp(beat) * beat[None, :, None] * polarity)


@dataclass(frozen=True, slots=True, eq=False)
class Movement:
    """A knock: the electrodes jump and swing back, and the accelerometer feels it."""

    onset_s: float
    hz: float
    damping: float
    per_channel: Floats
    """Sizes relative to the usual movement, signed; shape (channels,)."""
    acceleration_g: Floats
    """Shape (3,)."""

    @property
    def duration_s(self) -> float:
        """Until 0.1 % is left."""
        return _MOVEMENT_DECAYS / (self.damping * 2 * math.pi * self.hz)

    def course(self, times_s: Floats) -> Floats:
        """The movement over time, rising to about 1; shape of `times_s`."""
        t = np.maximum(times_s - self.onset_s, 0)
        omega = 2 * math.pi * self.hz
        swing = np.exp(-self.damping * omega * t) * np.cos(omega * math.sqrt(1 - self.damping**2) * t)
        return np.asarray(swing * (1 - np.exp(-t / MOVEMENT_RISE_S)) * (t < self.duration_s))


def movements(rng: Generator, per_s: float, channels: int) -> Iterator[Movement]:
    """Movements at random times."""
    for onset_s in onsets_s(rng, per_s):
        size = rng.lognormal(0, MOVEMENT_SIZE_SD)
        axis = rng.normal(size=3)
        yield Movement(
            onset_s=onset_s,
            hz=math.exp(rng.uniform(*np.log(MOVEMENT_HZ))),
            damping=rng.uniform(*MOVEMENT_DAMPING),
            per_channel=size * rng.uniform(*MOVEMENT_CHANNELS, channels) * rng.choice([-1.0, 1.0], channels),
            acceleration_g=MOVEMENT_G * size * axis / np.linalg.norm(axis),
        )


@dataclass(frozen=True, slots=True)
class LiftOff:
    """An electrode without skin: it sees the room, or nothing."""

    onset_s: float
    duration_s: float
    channel: int
    flat: bool


def lift_offs(rng: Generator, per_s: float, channels: int) -> Iterator[LiftOff]:
    """Lift-offs of one channel each, at random times, together `per_s`; one at a time on a channel."""
    return heapq.merge(
        *(_lift_offs(child, per_s / channels, channel) for channel, child in enumerate(rng.spawn(channels))),
        key=lambda off: off.onset_s,
    )


def _lift_offs(rng: Generator, per_s: float, channel: int) -> Iterator[LiftOff]:
    for onset_s in onsets_s(rng, per_s, apart_s=LIFT_OFF_S[1]):
        flat = bool(rng.uniform() < LIFT_OFF_FLAT_SHARE)
        yield LiftOff(onset_s, rng.uniform(*LIFT_OFF_S), channel, flat)
