"""Acceleration in, visible twitches and movement out.

    blocks ─ door ─► frames ─ gravity off ─► whitened ─ fit of a damped oscillation ─► judge ─► Twitch | Context

A muscle that twitches under the skin kicks the sensor once: the tissue answers with a damped oscillation of 8 to
25 Hz that is gone after 0.1 to 0.3 s (reference/detection.md, 4). That shape, and not its size, is what sets it
apart from the small movements of a person who sits still, which are as large.

Rules:

* The input is cut anew at the door, into frames of 0.1 s, so the result cannot depend on how it came.
* Causal: an onset is decided with about `_FUTURE_S` of what follows, and one frame. No sample is looked at twice
  in Python; per frame the cost is a few small matrix products.
* Orientation-free: turning the sensor changes no decision. A kick has one direction, which is free; noise has
  three and is whitened over time (autoregression, learned at rest) and between axes (covariance around the
  event). What is thresholded is the adaptive coherence estimator (Kelly 1986, IEEE T-AES 22:115; Kraut & Scharf
  1999, IEEE T-SP 47:2538): the energy along the best template over what it leaves unexplained around it. A
  shape that is no twitch raises its own noise.
* Where the wearer moves (walks, turns, trembles), the state is artefact and nothing is said. `voluntary` is never
  said: an accelerometer does not know why it moves.
* What repeats with the same shape at 0.8 to 2.5 Hz is a heart or a gait, not a twitch. Of emulated heart beats,
  1 to 3 in 100 slip through at most.
* Gaps as in `Detector`: short ones are bridged and blind, longer ones reset filter memory; learned noise stays.

What it cannot do: a single motor unit moves the skin by 1 to 3 mg and is not seen; on a free wrist, 40 mg are seen
and 20 mg often (the resting hand itself is at 4 to 10 mg). Twitches as regular as a heart are taken for one.
A knock on the table under the limb may pass for a twitch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_toeplitz
from scipy.signal import lfilter

from firmware_interface.samples import SampleBlock, Stream, Unit
from monitor.detection.conditioning import BandPass, Signal
from monitor.detection.contexts import Contexts
from monitor.detection.door import Door
from monitor.detection.events import Analysed, Event, State, Twitch
from monitor.detection.noise import NoiseFloor
from monitor.detection.settings import DetectorSettings

FRAME_S = 0.1
_WORKING_RATE_HZ = 100.0
"""Faster streams are thinned to between this and twice it: the answer of the tissue lies below 40 Hz."""
_RESONANCES_HZ = (8.0, 10.0, 12.5, 16.0, 20.0)
_DAMPINGS = (0.15, 0.25, 0.4)
"""Of skin over muscle: detection.md 4. A finer bank found no more on the wrist."""
_TEMPLATE_S = 0.2
_LEAD_S = 0.1
"""A kick comes out of rest: what happens just before it counts as unexplained, too."""
_BEFORE_S = 0.8
_AFTER_S = 0.4
"""Where the local noise is taken from. Longer, and it is no longer local; much shorter, and it is not known."""
_EVENT_WEIGHT = 20.0
"""Of what is unexplained within the event itself, over what is around it: shape against size."""
_THRESHOLD = 75.0
"""Energy along the template over local noise. In ten minutes, noise like that of a hand at rest reached 33, white
noise 73; small movements go beyond."""
_APART_S = 0.12
"""Of two onsets closer than this, the better fit is the event: one kick fits a little beside its onset, too."""
_FUTURE_S = _TEMPLATE_S + _AFTER_S + _APART_S
_AROUND_S = 0.5
"""How far around a frame movement is looked for."""

_ORDER = 8
"""Of the autoregression: 0.08 s, the shortest of the periods sought."""
_PRIOR = 0.96
"""Correlation from sample to sample before anything is learned: the rest of a hand falls with frequency."""
_PRIOR_FRAMES = 50
_LEARN_S = 20.0
_RETUNE_FRAMES = 10
_LEAST_NOISE_G = 0.0005
"""What wearable sensors have of their own: 25 to 200 µg per root Hz."""
_CORRELATION_FLOOR = 1e-3
"""White noise, as a share of all, that is always assumed: no axis and no frequency is perfectly known."""

_MOVING = 6.0
"""Amplitude over the floor, for half of the second around, from which the wearer moves. A twitch lasts a third."""
_MOVING_G = (0.01, 0.03)
"""The same, absolute: nobody who is heard at 10 mg walks, and after a long walk the floor itself is walking."""
_TURN_G = 0.15
"""Change of gravity's direction within half a second: 9 degrees."""
_SMALLEST_G = 0.005
"""Peak below which nothing is said where the unit is known: visible twitches have 10 to 100 mg, one motor unit
1 to 3 mg, and the table that a lorry shakes is in between."""
_QUIET = 4.0
"""Energy over the floor up to which a frame teaches how noise is coloured."""
_SETTLE_S = 1.4
"""After a start: filters settle, the noise before is not known, nor is one heart beat."""
_STUCK_FRAMES = 20
"""A worn sensor that gives the very same number for this long is broken."""

_SHORTEST_PERIOD_S, _LONGEST_PERIOD_S = 0.38, 1.3
"""Heart beats and steps: 0.8 to 2.5 Hz."""
_IRREGULAR_S = 0.2
"""Two periods in succession differ by less: breathing alone moves the heart by 10 %."""
_ALIKE = 0.35
"""Correlation of an event with those one and two periods before it, less where those are smaller."""

_SAME = 0.5
_BEAT_S = 10.0
"""A beat that comes out of turn is known by its shape, from the last one that was in turn."""

_BLIND_S = 0.1
"""Around a bridged gap, where the straight line ends."""
_FRACTION = 1 / 3
"""Of the peak, for the duration, as in `Detector`."""
_MARGIN_S = 0.05
_LONGEST_S = 0.3
_FLOOR_OF_MEAN = 0.48
"""Lower quartile over mean of the energy of frames: chi-square with 4 degrees of freedom, 20 Hz for 0.1 s."""
_PAST_S = 4.5
_TRACE_S = 6.0
_PER_G = {Unit.G: 1.0, Unit.METRE_PER_SECOND_SQUARED: 9.80665}
_STATES = (None, State.ARTEFACT, State.BAD_CONTACT)
_ARTEFACT, _BAD_CONTACT = 1, 2


class AccelerationDetector:
    """Detector of visible twitches in one stream of acceleration, of any number of axes.

    Args:
        stream: what the samples are; blocks of another stream need another detector.
        settings: those of `Detector`, so that both are made alike; none of them concerns acceleration.
    """

    def __init__(self, stream: Stream, settings: DetectorSettings = DetectorSettings()) -> None:  # noqa: ARG002, B008
        axes = len(stream.channels)
        factor = max(int(stream.rate_hz / _WORKING_RATE_HZ), 1)
        self._stream, self._factor = stream, factor
        self._grid = _Grid(stream.rate_hz / factor)
        self._door = Door(stream.rate_hz, self._grid.frame * factor)
        self._band_pass = BandPass(stream.sensor, stream.rate_hz)
        self._floor = NoiseFloor(axes)
        self._fit = _Fit(stream, factor, self._grid)
        self._per_g = _PER_G.get(stream.unit)
        self._least_noise = axes * _least_noise(stream)
        self._around = self._grid.frames(_AROUND_S)
        self._decided = self._grid.frames(_FUTURE_S)
        samples, frames = self._grid.frames(_PAST_S) * self._grid.frame, self._grid.frames(_PAST_S)
        self._signal, self._blind = np.zeros((axes, samples)), np.zeros((1, samples))
        self._score = np.zeros((1, samples))
        self._energy, self._state, self._seen = (np.zeros((1, frames)) for _ in range(3))
        self._gravity = np.zeros((axes, frames))
        self._levels = np.zeros((axes, self._grid.frames(_TRACE_S)))
        self._heard = 0
        self._stuck = 0
        self._beat = np.zeros((axes, self._grid.samples(_TEMPLATE_S)))
        self._beat_until = 0
        self._contexts = Contexts(stream.channels)
        self._events: list[Event] = []

    @property
    def noise(self) -> NDArray[np.float64]:
        """Standard deviation of the local noise, in the stream's unit, shape (axes,)."""
        return np.sqrt(self._floor.energy / _FLOOR_OF_MEAN)

    @property
    def trace(self) -> Signal:
        """Largest deflection in each of the last frames (0.1 s), shape (axes, frames), for the eye only."""
        return self._levels.copy()

    @property
    def states(self) -> tuple[State | None, ...]:
        """What the wearer was doing when last decided, the same for each axis; None at rest."""
        return self._contexts.states

    def feed(self, block: SampleBlock) -> list[Event]:
        """Take the next block; return what has been decided. Indices that are left out are lost samples."""
        if self._door.is_broken_by(block):
            self._break()
        for x, blind in self._door.take(block):
            self._hear(x, blind)
        return self._drain()

    def finish(self) -> list[Event]:
        """The stream has ended: decide what is pending."""
        self._break()
        return self._drain()

    def _break(self) -> None:
        """End the stretch: hold the last value until everything is decided, then forget all but the noise."""
        for x, blind in self._door.close(self._decided):
            self._hear(x, blind)
        self._events += self._contexts.close()
        self._band_pass.reset()
        self._heard = self._stuck = self._beat_until = 0
        for past in (self._signal, self._blind, self._score, self._energy, self._state, self._seen, self._gravity):
            past.fill(0)

    def _drain(self) -> list[Event]:
        events, self._events = self._events, []
        return events

    # One frame ------------------------------------------------------------------------------------------------

    def _hear(self, x: Signal, blind: NDArray[np.bool_]) -> None:
        y = self._band_pass.feed(x)[0][:, :: self._factor]
        energies = (y * y).mean(axis=1)
        whole = not blind.any()
        self._stuck = self._stuck + 1 if whole and not np.ptp(x, axis=1).any() else 0
        _push(self._signal, y)
        _push(self._blind, blind[None, :: self._factor].astype(float))
        _push(self._gravity, x.mean(axis=1)[:, None])
        _push(self._levels, np.abs(y).max(axis=1)[:, None])
        _push(self._seen, float(np.count_nonzero(~blind)))
        _push(self._energy, energies.sum() if whole else self._energy[0, -1])  # unseen, it moved as before
        self._learn(energies[:, None], whole and self._stuck < _STUCK_FRAMES)
        _push(self._score, self._fit.score(self._signal))
        self._heard += 1
        _push(self._state, self._judged())
        self._find()
        self._settle()

    def _learn(self, energies: Signal, usable: bool) -> None:
        self._floor.feed(energies, np.full(energies.shape, usable))
        if usable and energies.sum() < _QUIET * self._floor.energy.sum():
            self._fit.learn(self._signal)

    def _judged(self) -> int:
        """Code of the state of the newest frame of which enough of the future is known."""
        if self._heard - self._around <= self._grid.frames(_SETTLE_S) or self._stuck >= _STUCK_FRAMES:
            return _BAD_CONTACT
        return _ARTEFACT if self._moves() or self._turns() else 0

    def _moves(self) -> bool:
        energy = float(np.median(self._energy[0, -1 - 2 * self._around :]))
        limit = _MOVING**2 * max(float(self._floor.energy.sum()) / _FLOOR_OF_MEAN, self._least_noise)
        if self._per_g:
            least, most = ((g * self._per_g) ** 2 for g in _MOVING_G)
            limit = min(max(limit, least), most)
        return energy > limit

    def _turns(self) -> bool:
        if not self._per_g:
            return False
        half = self._around // 2
        before, after = self._gravity[:, -1 - self._around - half], self._gravity[:, -1 - self._around + half]
        return bool(np.linalg.norm(after - before) > _TURN_G * self._per_g)

    # Events ---------------------------------------------------------------------------------------------------

    def _find(self) -> None:
        """Peaks of the score among the onsets whose neighbourhood is now known, one frame of them."""
        apart, frame = self._grid.samples(_APART_S), self._grid.frame
        around = self._score[0, -frame - 2 * apart :]
        candidates = around[apart:-apart]
        if candidates.max() < _THRESHOLD:
            return
        best = np.lib.stride_tricks.sliding_window_view(around, 2 * apart + 1).max(axis=1)
        first = self._signal.shape[1] - self._fit.future - apart - frame
        for i in np.flatnonzero((candidates == best) & (candidates >= _THRESHOLD)):
            if self._is_twitch(first + int(i)):
                self._events.append(self._measured(first + int(i), float(candidates[i])))

    def _is_twitch(self, onset: int) -> bool:
        margin, length = self._grid.samples(_BLIND_S), self._grid.samples(_TEMPLATE_S)
        smallest = _SMALLEST_G * (self._per_g or 0.0)
        return (
            not self._state_at(onset)
            and not self._blind[0, onset - margin : onset + length].any()
            and np.abs(self._signal[:, onset : onset + length]).max() >= smallest
            and not self._repeats(onset)
        )

    def _state_at(self, onset: int) -> int:
        frames_ago = (self._signal.shape[1] - 1 - onset) // self._grid.frame
        return int(self._state[0, -1 - frames_ago + self._around])

    def _repeats(self, onset: int) -> bool:
        """Whether this is a beat: in turn, or of the shape of the last one."""
        now = self._signal[:, onset : onset + self._beat.shape[1]]
        if self._in_turn(onset, now):
            self._beat, self._beat_until = now.copy(), self._heard + self._grid.frames(_BEAT_S)
            return True
        energy = max(float((now * now).sum()), float((self._beat * self._beat).sum()))
        return self._heard < self._beat_until and float((now * self._beat).sum()) > _SAME * energy

    def _in_turn(self, onset: int, now: Signal) -> bool:
        """Whether the same was there one and two periods ago; right after a start, one period ago."""
        length = now.shape[1]
        shortest, longest = self._grid.samples(_SHORTEST_PERIOD_S), self._grid.samples(_LONGEST_PERIOD_S)
        slack = self._grid.samples(_IRREGULAR_S)
        past = self._signal[:, onset - 2 * longest - slack : onset + length]
        windows = np.lib.stride_tricks.sliding_window_view(past, length, axis=1)[:, ::-1]  # by their lag
        product = np.einsum("ilk,ik->l", windows, now)
        energy = np.einsum("ilk,ilk->l", windows, windows)
        alike = product / np.maximum(np.sqrt(energy * energy[0]), energy[0])
        nearby = np.lib.stride_tricks.sliding_window_view(alike, 2 * slack + 1).max(axis=1)  # of lag slack and on
        once = np.arange(shortest, longest + 1)
        twice = nearby[2 * once - slack]
        known = self._heard * self._grid.frame - (self._signal.shape[1] - onset)
        twice[2 * once > known] = 1.0
        return bool((np.minimum(alike[once], twice) > _ALIKE).any())

    def _measured(self, onset: int, score: float) -> Twitch:
        grid, labels = self._grid, self._stream.channels
        margin = grid.samples(_MARGIN_S)
        start, stop = onset - margin, onset + grid.samples(_LONGEST_S)
        shapes = self._signal[:, start:stop]
        event = shapes[:, margin:]
        size = np.linalg.norm(event, axis=0)
        duration = int(np.flatnonzero(size >= _FRACTION * size.max())[-1]) + 1
        peaks = np.ptp(event, axis=1)
        order = np.argsort(-peaks, kind="stable")
        axis = int(order[0])
        peak = float(np.abs(event[axis]).max())
        index = (self._heard * grid.frame - self._signal.shape[1] + onset) * self._factor
        return Twitch(
            channel=labels[axis],
            onset_ns=self._door.time_ns(self._door.begin + index),
            duration_s=duration / grid.rate_hz,
            peak=peak,
            peak_to_peak=float(peaks[axis]),
            unit=self._stream.unit,
            snr=peak / max(float(self.noise[axis]), self._stream.scale),
            confidence=1 - 0.5 * _THRESHOLD / score,
            amplitudes=tuple((labels[i], float(peaks[i])) for i in order),
            waveform=shapes[axis].astype(np.float32),
            waveform_start_s=-margin / grid.rate_hz,
            rate_hz=grid.rate_hz,
            phases=None,
            turns=None,
            median_hz=None,
            motor_unit=None,
            follows_s=None,
        )

    # Contexts, account ----------------------------------------------------------------------------------------

    def _settle(self) -> None:
        """One more frame is final: say its context, and how much of it was analysable."""
        frame = self._heard - 1 - self._decided
        start = self._door.begin + frame * self._grid.frame * self._factor
        stop = start + self._grid.frame * self._factor
        if self._door.end is not None:
            stop = min(stop, self._door.end)
        if frame < 0 or stop <= start:
            return
        start_ns, end_ns = self._door.time_ns(start), self._door.time_ns(stop)
        code = int(self._state[0, -1 - self._decided + self._around])
        axes = len(self._stream.channels)
        self._events += self._contexts.feed([_STATES[code]] * axes, start_ns, end_ns)
        observed_s = float(self._seen[0, -1 - self._decided]) / self._stream.rate_hz
        analysable_s = 0.0 if code else observed_s
        moving = code == _ARTEFACT
        self._events.append(Analysed(start_ns, end_ns, observed_s, (analysable_s,) * axes, moving))
        self._door.forget_times(start)


@dataclass(frozen=True, slots=True)
class _Grid:
    """Seconds to thinned samples and to frames."""

    rate_hz: float

    @property
    def frame(self) -> int:
        """Thinned samples in a frame."""
        return self.samples(FRAME_S)

    def samples(self, seconds: float) -> int:
        return max(round(seconds * self.rate_hz), 1)

    def frames(self, seconds: float) -> int:
        """Whole frames that hold `seconds`."""
        return math.ceil(self.samples(seconds) / self.frame)


class _Fit:
    """How well a kick fits at each onset, against noise that is coloured in time and between axes."""

    def __init__(self, stream: Stream, factor: int, grid: _Grid) -> None:
        self._before, self._lead = grid.samples(_BEFORE_S), grid.samples(_LEAD_S)
        self._length, self._after = grid.samples(_TEMPLATE_S), grid.samples(_AFTER_S)
        self.future = self._length + self._after
        """Samples from an onset on that its score needs."""
        self._frame = grid.frame
        self._least_noise = _least_noise(stream)
        self._kicks = _kicks(stream, factor, self._length)
        around = self._before + self._after + _EVENT_WEIGHT * (self._lead + self._length)
        self._share = _EVENT_WEIGHT / around
        self._weight = grid.frame / grid.rate_hz / _LEARN_S
        # From sample to sample at 100 Hz; the same course in time at any rate.
        self._correlation = _PRIOR ** (np.arange(_ORDER + 1) * _WORKING_RATE_HZ / grid.rate_hz)
        self._learned = 0
        self._tune()

    def learn(self, y: Signal) -> None:
        """Take the newest frame, of a wearer at rest, into the colour of the noise."""
        frame = self._frame
        lagged = np.lib.stride_tricks.sliding_window_view(y[:, -frame - _ORDER :], frame, axis=1)[:, ::-1]
        products = np.einsum("ilk,ik->l", lagged, lagged[:, 0])
        if products[0] <= 0:
            return
        weight = max(1 / (self._learned + _PRIOR_FRAMES), self._weight)
        self._correlation += weight * (products / products[0] - self._correlation)
        self._learned += 1
        if self._learned % _RETUNE_FRAMES == 0:
            self._tune()

    def score(self, y: Signal) -> Signal:
        """Scores of one frame of onsets, `future` samples ago, shape (1, onsets)."""
        count, lead = self._frame, self._before + self._lead
        span = y[:, -(_ORDER + lead + count + self.future - 1) - 1 :]
        white = lfilter(self._whitener, 1.0, span, axis=1)[:, _ORDER:]
        inverse = np.linalg.inv(self._noise(white, count))
        events = np.lib.stride_tricks.sliding_window_view(white[:, lead:], self._length, axis=1)[:, :count]
        along = (events @ self._bank).transpose(1, 0, 2)  # (onsets, axes, kicks)
        best = (along * (inverse @ along)).sum(axis=1).max(axis=1)
        return np.asarray(best / (1 - self._share * best))[None]

    def _noise(self, white: Signal, count: int) -> NDArray[np.float64]:
        """Covariance between the axes around each onset, the event itself included, shape (onsets, axes, axes)."""
        powers = np.cumsum(white[:, None] * white[None], axis=2)
        powers = np.concatenate((np.zeros((*powers.shape[:2], 1)), powers), axis=2).transpose(2, 0, 1)
        onsets = np.arange(count)
        around = powers[onsets + self._before + self._lead + self.future] - powers[onsets]
        stop = onsets + self._before + self._lead + self._length
        event = powers[stop] - powers[onsets + self._before]
        total = (around + (_EVENT_WEIGHT - 1) * event) * (self._share / _EVENT_WEIGHT)
        white_noise = _CORRELATION_FLOOR * np.trace(total, axis1=1, axis2=2) + self._least_noise
        return np.asarray(total + white_noise[:, None, None] * np.eye(len(white)))

    def _tune(self) -> None:
        """Make the whitening filter anew, and what it makes of the kicks."""
        correlation = self._correlation.copy()
        correlation[0] *= 1 + _CORRELATION_FLOOR
        self._whitener = np.concatenate(([1.0], -solve_toeplitz(correlation[:-1], correlation[1:])))
        bank = lfilter(self._whitener, 1.0, self._kicks, axis=1)
        self._bank = (bank / np.linalg.norm(bank, axis=1, keepdims=True)).T


def _least_noise(stream: Stream) -> float:
    """Mean square that every axis has: the sensor's own, or that of rounding to counts."""
    per_g = _PER_G.get(stream.unit)
    return (_LEAST_NOISE_G * per_g) ** 2 if per_g else stream.scale**2 / 12


def _kicks(stream: Stream, factor: int, length: int) -> Signal:
    """Damped oscillations as they look after the band-pass, shape (kicks, samples)."""
    time_s = np.arange(length * factor) / stream.rate_hz
    hz, damping = (grid.reshape(-1, 1) for grid in np.meshgrid(_RESONANCES_HZ, _DAMPINGS))
    angular = 2 * np.pi * hz
    wave = np.exp(-damping * angular * time_s) * np.sin(angular * np.sqrt(1 - damping**2) * time_s)
    return BandPass(stream.sensor, stream.rate_hz).feed(wave)[0][:, ::factor]


def _push(past: Signal, new: Signal | float) -> None:
    """Move `past` on by the columns of `new`."""
    count = np.shape(new)[1] if np.ndim(new) else 1
    past[:, :-count] = past[:, count:]
    past[:, -count:] = new
