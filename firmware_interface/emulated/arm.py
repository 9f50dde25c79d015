"""An arm that twitches: endless EMG and acceleration of a person, with the truth.

    firings ─► responses of motor units ─┐
    beats, movements ────────────────────┼─► contact ─► EMG, µV
    noise, mains ────────────────────────┘
    the same firings and movements ──────────────────► acceleration, g

Rules of this module:

* Parameters are from the literature (docs/emulated-arm.md), fixed before any detector was tried on them.
* Each process draws from its own generator, made from the seed and its name. Switching one contamination off,
  or changing a rate, leaves the rest of the arm's life as it was.
* EMG, acceleration and truth read the same life independently: three readers of equal processes. None waits
  for another or stores for it, so memory does not grow however far one runs ahead.
* Samples are made in fixed chunks of about a second and served from there: the cutting of calls never shows.
* Truth is what muscle and electrode do. It is not told whether a sample rate, a lift-off or noise hides it.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum, StrEnum

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from firmware_interface.emulated import contamination, firing
from firmware_interface.emulated.anatomy import NERVE_S, Anatomy, draw_anatomy, muscles
from firmware_interface.emulated.contamination import (
    ECG_POINT_HZ,
    LIFT_OFF_MAINS,
    LIFT_OFF_NOISE,
    NOISE_BLOCK_S,
)
from firmware_interface.emulated.firing import Contraction
from firmware_interface.emulated.motor_unit import POINT_HZ, POTENTIAL_S, PUSH_POINT_HZ
from firmware_interface.emulated.timeline import Firing, Ongoing, Superposition, Upcoming, converted

Floats = NDArray[np.float64]

RATE_MIN_HZ = 100.0  # below, a converter's response is longer than the nerve
ACC_RATE_MIN_HZ = 50.0  # twice the fastest resonance
TWITCHES_PER_MIN_MAX = 300.0  # beyond, refractory units cannot
LIFT_OFFS_PER_HOUR_MAX = 50.0  # of one channel; one lasts up to a minute


class _Process(IntEnum):
    """One generator each. Never renumber: an arm would change under its seed."""

    ANATOMY = 0
    TWITCHES = 1
    CONTRACTIONS = 2
    NOISE = 3
    MAINS = 4
    HEART = 5
    LEADS = 6
    MOVEMENTS = 7
    LIFT_OFFS = 8
    ACCELEROMETER = 9


@dataclass(frozen=True, slots=True)
class ArmSettings:
    """A relaxed person by default. Any rate or amplitude may be 0, which switches it off."""

    channels: tuple[str, ...] = ("biceps", "triceps", "brachioradialis", "FCR", "FCU", "ECR", "EDC", "FDI")
    """Sites of the electrode pairs, side by side around the arm; 1 to 64."""
    channel_spacing_mm: float = 30.0
    """Between neighbouring pairs: about 30 in an armband, 8 in a grid, 300 over unrelated muscles."""
    rate_hz: float = 1000.0
    """True sampling rate of the EMG."""
    acc_rate_hz: float = 100.0
    """True sampling rate of the accelerometer."""
    twitches_per_min: float = 15.0
    """In the whole arm; a doublet counts as two."""
    motor_units: int = 3
    """Units that fasciculate in each muscle, that is below each channel; 1 to 6 are described."""
    doublet_share: float = 0.07
    """Twitches that are followed by another of the same unit after 10 to 110 ms."""
    visible: bool = False
    """Whether twitches move the skin as far as those that people see."""
    voluntary_per_min: float = 0.5
    voluntary_s: float = 4.0
    """Mean duration of a contraction."""
    noise_uv: float = 2.0
    """SD of the white part of electrode noise."""
    noise_block_factor: float = 1.0
    """Noise is this much larger in every second block of 30 s."""
    mains_uv: float = 3.0
    """Amplitude of the fundamental; its peak-to-peak value is twice that."""
    mains_hz: float = 50.0
    ecg_uv: float = 5.0
    """Peak to peak."""
    movement_per_min: float = 0.3
    movement_uv: float = 550.0
    """Median step on the channel that moves most."""
    lift_off_per_hour: float = 1.0
    """Of any one electrode pair."""
    acc_noise_ug: float = 70.0
    """Noise density of the accelerometer, µg per square root of Hz."""

    def __post_init__(self) -> None:
        if not 1 <= len(self.channels) <= 64:
            raise ValueError(f"an arm of {len(self.channels)} channels, must be 1 to 64")
        if self.rate_hz < RATE_MIN_HZ or self.acc_rate_hz < ACC_RATE_MIN_HZ:
            raise ValueError(
                f"rates of {self.rate_hz:g} and {self.acc_rate_hz:g} Hz, must be at least"
                f" {RATE_MIN_HZ:g} and {ACC_RATE_MIN_HZ:g}"
            )
        if not 0 <= self.twitches_per_min <= TWITCHES_PER_MIN_MAX or self.motor_units < 1:
            raise ValueError(
                f"{self.twitches_per_min:g} twitches per minute of {self.motor_units} units a muscle,"
                f" must be 0 to {TWITCHES_PER_MIN_MAX:g} of at least 1"
            )
        if self.voluntary_s < 1 or self.voluntary_per_min * (1.5 * self.voluntary_s + 1) >= 60:
            raise ValueError(
                f"{self.voluntary_per_min:g} contractions per minute of {self.voluntary_s:g} s,"
                " must be at least 1 s and leave time between them"
            )
        if self.lift_off_per_hour > LIFT_OFFS_PER_HOUR_MAX * len(self.channels):
            raise ValueError(
                f"{self.lift_off_per_hour:g} lift-offs per hour of {len(self.channels)} channels,"
                f" must be at most {LIFT_OFFS_PER_HOUR_MAX:g} of each"
            )


@dataclass(frozen=True, slots=True)
class Discharge:
    """One twitch, as it truly is: one discharge of one fasciculating motor unit."""

    onset_s: float
    """When the potential first exceeds 2 % of its peak, on the channel where it is largest."""
    duration_s: float
    """From there to the last time that it does."""
    unit: int
    peak_to_peak_uv: tuple[float, ...]
    """On the skin, per channel."""
    doublet: bool
    """Whether it is the second of a doublet."""


class IntervalKind(StrEnum):
    """Times that are not rest."""

    VOLUNTARY = "voluntary"
    MOVEMENT = "movement"
    LIFT_OFF = "lift_off"
    NOISE = "noise"
    """A block of raised noise."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A time in which something other than twitches happens."""

    kind: IntervalKind
    channel: int | None
    """`None`: all."""
    onset_s: float
    duration_s: float


Truth = tuple[tuple[Discharge, ...], tuple[Interval, ...]]


class Arm:
    """One person's arm from time 0 on. The same settings and seed give the same arm."""

    def __init__(self, settings: ArmSettings, seed: int) -> None:
        self.settings = settings
        life = _Life(settings, seed)
        anatomy = draw_anatomy(
            life.generator(_Process.ANATOMY),
            channels=len(settings.channels),
            spacing_mm=settings.channel_spacing_mm,
            motor_units=settings.motor_units,
            visible=settings.visible,
            voluntary=settings.voluntary_per_min > 0,
        )
        self._emg = _Served(_Emg(life, anatomy))
        self._acc = _Served(_Acc(life, anatomy))
        self._truth = _Truth(life, anatomy)

    def emg_uv(self, samples: int) -> Floats:
        """The next samples of every electrode pair; shape (channels, samples), in µV."""
        return self._emg.read(samples)

    def acc_g(self, samples: int) -> Floats:
        """The next samples of the accelerometer; shape (3, samples), in g."""
        return self._acc.read(samples)

    def truth(self) -> Truth:
        """What began before the latest sample read, of EMG or acceleration, and was not taken."""
        emg_s, acc_s = self._emg.given / self.settings.rate_hz, self._acc.given / self.settings.acc_rate_hz
        self._truth.advance(max(emg_s, acc_s))
        return tuple(self._truth.discharges), tuple(self._truth.intervals)

    def take_truth(self) -> Truth:
        """The same, once: an arm that runs for days keeps no more than what was not taken."""
        truth = self.truth()
        self._truth.forget()
        return truth


class _Life:
    """What happens in the arm, as processes that anyone may read from the start."""

    def __init__(self, settings: ArmSettings, seed: int) -> None:
        self.settings = settings
        self.muscles = muscles(len(settings.channels))
        self.fasciculating = settings.motor_units * self.muscles
        self._seed = seed

    def generator(self, process: _Process) -> Generator:
        return np.random.default_rng((self._seed, process))

    def twitches(self) -> Iterator[Firing]:
        s = self.settings
        rng = self.generator(_Process.TWITCHES)
        return firing.fasciculations(rng, self.fasciculating, s.twitches_per_min / 60, s.doublet_share)

    def contractions(self) -> Iterator[Contraction]:
        s = self.settings
        rng = self.generator(_Process.CONTRACTIONS)
        return firing.contractions(rng, self.muscles, self.fasciculating, s.voluntary_per_min / 60, s.voluntary_s)

    def firings(self) -> Iterator[Firing]:
        voluntary = itertools.chain.from_iterable(c.firings() for c in self.contractions())
        return heapq.merge(self.twitches(), voluntary)

    def beats(self) -> Iterator[Firing]:
        return contamination.beats(self.generator(_Process.HEART)) if self.settings.ecg_uv else iter(())

    def movements(self) -> Iterator[contamination.Movement]:
        s = self.settings
        return contamination.movements(
            self.generator(_Process.MOVEMENTS), s.movement_per_min / 60, len(s.channels)
        )

    def lift_offs(self) -> Iterator[contamination.LiftOff]:
        s = self.settings
        return contamination.lift_offs(
            self.generator(_Process.LIFT_OFFS), s.lift_off_per_hour / 3600, len(s.channels)
        )


class _Emg:
    """Makes EMG, chunk by chunk."""

    def __init__(self, life: _Life, anatomy: Anatomy) -> None:
        s = life.settings
        self._settings = s
        self.shape = len(s.channels), round(s.rate_hz)
        self._chunks = itertools.count()
        self._firings = Upcoming(life.firings())
        responses = converted(anatomy.potentials_uv, POINT_HZ, s.rate_hz)
        self._muscle = Superposition(responses, POINT_HZ, s.rate_hz, self.shape[1])
        self._beats = Upcoming(life.beats())
        heart = life.generator(_Process.LEADS)
        ecg = contamination.ecg_responses(heart, s.ecg_uv, len(s.channels))
        self._heart = Superposition(ecg, ECG_POINT_HZ, s.rate_hz, self.shape[1])
        self._movements = Ongoing(life.movements())
        self._lift_offs = Ongoing(life.lift_offs())
        self._noise = contamination.ElectrodeNoise(
            life.generator(_Process.NOISE), s.noise_uv, s.rate_hz, self.shape
        )
        self._mains = contamination.Mains(
            life.generator(_Process.MAINS), s.mains_uv, s.mains_hz, s.rate_hz, self.shape
        )

    def next(self) -> Floats:
        """The next chunk, shape `shape`, in µV."""
        times_s, end_s = _chunk_times_s(next(self._chunks), self.shape[1], self._settings.rate_hz)
        body = self._muscle.next(self._firings.until(end_s)) + self._heart.next(self._beats.until(end_s))
        for movement in self._movements.during(times_s[0], end_s):
            body += self._settings.movement_uv * movement.per_channel[:, None] * movement.course(times_s)
        noise = self._noise.next() * contamination.noise_scale(times_s, self._settings.noise_block_factor)
        return self._through_contact(times_s, end_s, body, noise, self._mains.next())

    def _through_contact(
        self, times_s: Floats, end_s: float, body: Floats, noise: Floats, mains: Floats
    ) -> Floats:
        """The sum, but for channels that are lifted off."""
        samples = body + noise + mains
        for off in self._lift_offs.during(times_s[0], end_s):
            lifted = (times_s >= off.onset_s) & (times_s < off.onset_s + off.duration_s)
            room = LIFT_OFF_NOISE * noise[off.channel] + LIFT_OFF_MAINS * mains[off.channel]
            samples[off.channel, lifted] = 0.0 if off.flat else room[lifted]
        return samples


class _Acc:
    """Makes acceleration, chunk by chunk."""

    def __init__(self, life: _Life, anatomy: Anatomy) -> None:
        s = life.settings
        self.shape = 3, round(s.acc_rate_hz)
        self._rate_hz = s.acc_rate_hz
        self._chunks = itertools.count()
        self._firings = Upcoming(life.firings())
        self._muscle = Superposition(anatomy.pushes_g, PUSH_POINT_HZ, s.acc_rate_hz, self.shape[1])
        self._movements = Ongoing(life.movements())
        self._rng = life.generator(_Process.ACCELEROMETER)
        gravity = self._rng.normal(size=(3, 1))
        self._gravity_g = gravity / np.linalg.norm(gravity)
        self._sigma_g = s.acc_noise_ug * 1e-6 * math.sqrt(s.acc_rate_hz / 2)

    def next(self) -> Floats:
        """The next chunk, shape `shape`, in g."""
        times_s, end_s = _chunk_times_s(next(self._chunks), self.shape[1], self._rate_hz)
        samples = self._gravity_g + self._rng.normal(0, self._sigma_g, self.shape)
        samples += self._muscle.next(self._firings.until(end_s))
        for movement in self._movements.during(times_s[0], end_s):
            samples += movement.acceleration_g[:, None] * movement.course(times_s)
        return samples


def _chunk_times_s(number: int, length: int, rate_hz: float) -> tuple[Floats, float]:
    """The times of a chunk's samples, and of the sample after the last."""
    first = number * length
    return np.arange(first, first + length) / rate_hz, (first + length) / rate_hz


class _Served:
    """Serves any number of samples from fixed chunks."""

    def __init__(self, source: _Emg | _Acc) -> None:
        self._source = source
        self._left = np.empty((source.shape[0], 0))
        self.given = 0

    def read(self, samples: int) -> Floats:
        pieces, length = [self._left], self._left.shape[1]
        while length < samples:
            pieces.append(self._source.next())
            length += pieces[-1].shape[1]
        joined = np.concatenate(pieces, axis=1)
        self._left = joined[:, samples:].copy()
        self.given += samples
        return joined[:, :samples].copy()


class _Truth:
    """What happened, as far as it was asked for and not yet taken."""

    def __init__(self, life: _Life, anatomy: Anatomy) -> None:
        self._anatomy = anatomy
        self._twitches = Upcoming(life.twitches())
        self._intervals = Upcoming(_intervals(life))
        self._coming: list[Discharge] = []  # fired, but not yet on the skin
        self.discharges: list[Discharge] = []
        self.intervals: list[Interval] = []

    def advance(self, now_s: float) -> None:
        """Up to `now_s`, without it."""
        self._coming += [self._discharge(f) for f in self._twitches.until(now_s)]
        self._coming.sort(key=lambda d: d.onset_s)
        begun = sum(d.onset_s < now_s for d in self._coming)
        self.discharges += self._coming[:begun]
        del self._coming[:begun]
        self.intervals += self._intervals.until(now_s)

    def forget(self) -> None:
        self.discharges, self.intervals = [], []

    def _discharge(self, twitch: Firing) -> Discharge:
        unit = twitch.unit
        return Discharge(
            onset_s=twitch.onset_s + float(self._anatomy.onsets_s[unit]),
            duration_s=float(self._anatomy.durations_s[unit]),
            unit=unit,
            peak_to_peak_uv=tuple((twitch.gain * self._anatomy.peak_to_peak_uv[unit]).tolist()),
            doublet=twitch.doublet,
        )


def _intervals(life: _Life) -> Iterator[Interval]:
    """Everything that is not rest, in order of onset."""
    kinds = IntervalKind
    contractions = (
        Interval(kinds.VOLUNTARY, None, c.onset_s + NERVE_S, c.duration_s + POTENTIAL_S)
        for c in life.contractions()
    )
    movements = (Interval(kinds.MOVEMENT, None, m.onset_s, m.duration_s) for m in life.movements())
    lift_offs = (Interval(kinds.LIFT_OFF, o.channel, o.onset_s, o.duration_s) for o in life.lift_offs())
    blocks = (
        Interval(kinds.NOISE, None, (2 * i + 1) * NOISE_BLOCK_S, NOISE_BLOCK_S)
        for i in (itertools.count() if life.settings.noise_block_factor != 1 else ())
    )
    return heapq.merge(contractions, movements, lift_offs, blocks, key=lambda i: i.onset_s)
