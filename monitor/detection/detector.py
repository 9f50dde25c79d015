"""Samples of one stream in, twitches and contexts out.

    blocks ─ door ─► frames ─ condition ─► energy ─ threshold ─► potentials ─ judge ─► Twitch | Context

Rules:

* The input is cut anew at the door, into frames of 0.2 s, so the result cannot depend on how it came.
* Causal: a frame is decided from itself, the past and `isolation_s` of future, which is the latency.
* A gap of up to `_BRIDGE_S` is bridged and its samples are blind; a longer one resets filter memory. The learned
  noise floor and the mains frequency survive both. A new rate, unit or channel count is a new detector.
* A *potential* is a run of energy above the noise. It is a twitch when it is short, alone, muscle-like and wholly
  received. A crowd of them is a contraction. What is neither stays unsaid.
* A tick (half a frame) of a channel has one state. Only samples received in ticks of state rest are analysable.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtri, gammaincinv

from firmware_interface.samples import SampleBlock, Sensor, Stream, Timebase, Unit
from monitor.detection.conditioning import BandPass, MainsCanceller, Signal, Whitener, frame_length
from monitor.detection.events import Analysed, Context, Event, State, Twitch
from monitor.detection.motor_units import MotorUnits
from monitor.detection.noise import FLOOR_QUANTILE, NoiseFloor
from monitor.detection.settings import DetectorSettings
from monitor.detection.shape import measure

_BRIDGE_S = 0.25
"""A lost packet or two; longer, and a straight line says nothing about the signal."""
_BLIND_S = (0.010, 0.003)
"""A potential must be received from this much before it, as a bridge that ends leaves a transient, to this much
after it."""
_ENERGY_S = {Sensor.EMG: 0.016, Sensor.ECG: 0.016, Sensor.ACC: 0.08}
"""Window of the energy: about the length of one phase of what is sought."""
_REAL_NOISE = 1.8
"""Skin noise over a Gaussian one of the same floor, in energy: it comes and goes (evoked and armband rest)."""
_CREST_QUANTILE = 0.8
"""Crests of ticks follow how restless the noise is; twitches fill fewer than a fifth of the ticks."""
_OVERLAP = 2.5
"""Overlapping windows in a stretch that count as independent, over those that just fit (by simulation)."""
_RELEASE = 0.35
"""A run ends where the energy falls below this share of the threshold: hysteresis."""
_FRACTION = 0.1
"""Duration is measured where the energy exceeds this share of its peak: a third of the amplitude."""
_MERGE_S = 0.008
_PAST_S = 2.0
_DOUBLET_S = 0.11
"""Kleine 2012: a motor unit's second discharge comes after 10 to 110 ms."""
_SLOW = 2.5
"""Excursion of the baseline over that of the potential, from which it is movement. Potentials of 5 to 37 ms lose
at most as much below the high-pass as they keep."""
_STEP = 0.4
"""Change of the baseline from before to after, over the potential, from which it is a step and not a potential."""
_FLAT = 1e-2
_QUIET = 2.0
"""Energy over the floor up to which a tick teaches the noise model."""
_VISIBLE = 9.0
"""Peak-to-peak over noise sigma that is seen at the default threshold."""
_LIFT_OFF = 10.0
"""Rise of mains, in power, that says that an electrode has come off."""
_CONTEXT_MAX_S = 60.0
"""A longer context is said in pieces, so that a night without contact is known before the morning."""
_TRACE_S = 6.0
_STATES = (None, State.VOLUNTARY, State.ARTEFACT, State.BAD_CONTACT)
"""State of a tick by its code; the higher one wins."""
_VOLUNTARY, _ARTEFACT, _BAD_CONTACT = 1, 2, 3


@dataclass(slots=True, eq=False)
class _Potential:
    """A run of energy on one channel, in sample indices."""

    channel: int
    start: int
    stop: int
    """Last sample above the release level, plus one."""
    peak: int
    energy: float
    threshold: float
    closed: bool = False


class Detector:
    """Twitch detector of one stream.

    Args:
        stream: what the samples are; blocks of another stream need another detector.
        settings: see `DetectorSettings`.
    """

    def __init__(self, stream: Stream, settings: DetectorSettings = DetectorSettings()) -> None:  # noqa: B008
        self._stream = stream
        self._settings = settings
        channels, rate_hz = len(stream.channels), stream.rate_hz
        self._frame = frame_length(rate_hz)
        self._tick = self._frame // 2
        self._smooth = max(round(math.log2(_ENERGY_S[stream.sensor] * rate_hz)), 0)
        self._over_floor, self._over_crests = _thresholds(settings, stream, 1 << self._smooth, self._tick)
        self._band_pass = BandPass(stream.sensor, rate_hz)
        self._mains = MainsCanceller(rate_hz, channels) if stream.sensor is not Sensor.ACC else None
        self._whitener = Whitener(channels)
        self._floor = NoiseFloor(channels)
        self._crests = NoiseFloor(channels, _CREST_QUANTILE)
        self._usual_mains = np.full(channels, np.nan)
        per_unit = {Unit.MICROVOLT: 1.0, Unit.MILLIVOLT: 1e-3}.get(stream.unit, math.inf)
        self._smallest = settings.smallest_uv * per_unit
        past = _samples(_PAST_S + 2 * settings.isolation_s + 4 * settings.twitch_max_s, rate_hz)
        self._signal, self._white, self._slow, self._energy = (_Past(channels, past) for _ in range(4))
        self._blind = _Past(1, past)
        self._ticks = _Past(channels, 4 * past // self._tick)
        self._levels = _Past(channels, _samples(_TRACE_S, rate_hz) // self._tick)
        self._units = MotorUnits()
        self._last_onset_ns: list[int | None] = [None] * channels
        self._potentials: list[_Potential] = []
        self._open: list[_Potential | None] = [None] * channels
        self._contexts: list[Context | None] = [None] * channels
        self._times: deque[tuple[int, Timebase]] = deque()
        self._waiting: list[Signal] = []
        self._waiting_blind: list[NDArray[np.bool_]] = []
        self._last = np.zeros(channels)
        self._begin: int | None = None
        self._next = 0
        self._analysed = 0
        self._events: list[Event] = []

    @property
    def noise(self) -> NDArray[np.float64]:
        """Standard deviation of the local noise, in the stream's unit, shape (channels,)."""
        return self._whitener.noise

    @property
    def trace(self) -> Signal:
        """Largest deflection in each of the last ticks (0.1 s), shape (channels, ticks), for the eye only."""
        return self._levels.last(_samples(_TRACE_S, self._stream.rate_hz) // self._tick)

    @property
    def states(self) -> tuple[State | None, ...]:
        """What each channel was doing when last decided; None at rest."""
        return tuple(context.state if context else None for context in self._contexts)

    def feed(self, block: SampleBlock) -> list[Event]:
        """Take the next block; return what has been decided. Indices that are left out are lost samples."""
        self._take(block)
        self._run()
        return self._drain()

    def finish(self) -> list[Event]:
        """The stream has ended: decide what is pending."""
        self._break()
        return self._drain()

    # The door: blocks to frames -----------------------------------------------------------------------------

    def _take(self, block: SampleBlock) -> None:
        if not block.length:
            return
        missing = block.first - self._next
        if self._begin is None or missing < 0 or missing > _BRIDGE_S * self._stream.rate_hz:
            self._break()
            self._start(block.first)
        elif missing:
            self._bridge(missing, block.physical[:, 0])
        if not self._times or self._times[-1][1] is not block.timebase:
            self._times.append((block.first, block.timebase))
        self._append(block.physical, blind=False)

    def _append(self, x: Signal, *, blind: bool) -> None:
        self._waiting.append(x)
        self._waiting_blind.append(np.full(x.shape[1], blind))
        self._next += x.shape[1]
        if x.shape[1]:
            self._last = x[:, -1]

    def _bridge(self, missing: int, after: NDArray[np.float64]) -> None:
        before = self._last
        share = np.arange(1, missing + 1) / (missing + 1)
        self._append(before[:, None] + (after - before)[:, None] * share, blind=True)

    def _start(self, index: int) -> None:
        self._begin = self._next = self._analysed = index
        for past in (self._signal, self._white, self._slow, self._energy, self._blind):
            past.restart(index)
        self._ticks.restart(0)

    def _run(self) -> None:
        waiting = sum(x.shape[1] for x in self._waiting)
        whole = waiting - waiting % self._frame
        if not whole:
            return
        x, blind = np.concatenate(self._waiting, axis=1), np.concatenate(self._waiting_blind)
        self._waiting, self._waiting_blind = [x[:, whole:]], [blind[whole:]]
        for start in range(0, whole, self._frame):
            self._hear(x[:, start : start + self._frame], blind[start : start + self._frame])

    def _break(self) -> None:
        """End the stretch: hold the last value to a whole frame, decide everything, forget filter memory."""
        if self._begin is None:
            return
        waiting = sum(x.shape[1] for x in self._waiting)
        end = self._next
        quiet = _samples(self._settings.isolation_s, self._stream.rate_hz) + 2 * self._frame
        hold = -waiting % self._frame + quiet // self._frame * self._frame
        self._append(np.repeat(self._last[:, None], hold, axis=1), blind=True)
        self._run()
        self._close_runs()
        self._judge(end)
        self._account(end, ending=True)
        for channel in range(len(self._contexts)):
            self._end_context(channel)
        self._band_pass.reset()
        if self._mains:
            self._mains.reset()
        self._potentials.clear()
        self._waiting, self._waiting_blind, self._begin = [], [], None

    # One frame ------------------------------------------------------------------------------------------------

    def _hear(self, x: Signal, blind: NDArray[np.bool_]) -> None:
        y = self._band_pass.feed(x)
        slow = x - y
        if self._mains:
            y = self._mains.feed(y)
        self._signal.append(y)
        self._slow.append(slow)
        self._blind.append(blind[None, :].astype(float))
        lead = self._signal.last(self._frame + Whitener.LEAD)
        white = self._whitener.feed(lead)
        self._white.append(white)
        self._energy.append(self._smoothed(white))
        self._levels.append(np.abs(y).reshape(len(y), 2, -1).max(axis=2))
        off = self._without_contact(y)
        self._learn(lead, white, ~blind, ~off)
        hidden = self.noise * _VISIBLE > self._smallest
        self._ticks.append(
            np.repeat(np.where(off | hidden | ~self._floor.warm, _BAD_CONTACT, 0)[:, None], 2, axis=1)
        )
        self._find()
        reach = _samples(self._settings.isolation_s, self._stream.rate_hz)
        front = self._signal.end - reach
        self._judge(front)
        self._account(front - self._longest - reach // 2)

    def _learn(self, lead: Signal, white: Signal, heard: NDArray[np.bool_], contact: NDArray[np.bool_]) -> None:
        """Take what is noise in this frame into the noise floor and the noise model."""
        ticks = (white * white).reshape(len(white), 2, -1).mean(axis=2)
        quiet = ~(ticks > _QUIET * self._floor.energy[:, None]).any(axis=1)
        self._whitener.learn(lead, quiet & heard.all() & contact)
        usable = heard.reshape(2, -1).all(axis=1) & contact[:, None]
        self._floor.feed(ticks, usable)
        self._crests.feed(self._energy.last(self._frame).reshape(len(white), 2, -1).max(axis=2), usable)

    def _smoothed(self, white: Signal) -> Signal:
        """Mean square over the window that ends at each sample, by doubling: the same bits for any cutting."""
        window = 1 << self._smooth
        before = self._white.last(white.shape[1] + window - 1)
        square = before * before
        for doubling in range(self._smooth):
            square = square[:, 1 << doubling :] + square[:, : -(1 << doubling)]
        return square / window

    def _without_contact(self, y: Signal) -> NDArray[np.bool_]:
        """Whether each channel is a flat line, or full of mains that was not there before."""
        noise = np.nan_to_num(self.noise, nan=0.0)
        flat = np.abs(y).max(axis=1) <= _FLAT * noise
        if self._mains is None:
            return np.asarray(flat)
        power, usual = self._mains.power, np.nan_to_num(self._usual_mains)
        risen = np.isfinite(self._usual_mains) & (power > _LIFT_OFF * (usual + noise**2))
        if self._mains.settled:
            learn = np.where(np.isnan(self._usual_mains), 1.0, np.where(risen, 0.001, 0.01))
            self._usual_mains = usual + learn * (power - usual)
        return np.asarray(flat | risen)

    # Potentials -----------------------------------------------------------------------------------------------

    def _find(self) -> None:
        """Runs of energy over the threshold, down to the release level on both sides, in the newest frame."""
        start = self._signal.end - self._frame
        energy = self._energy.last(self._frame)
        threshold = np.maximum(self._floor.energy * self._over_floor, self._crests.energy * self._over_crests)
        loud = (energy > threshold[:, None]) & self._floor.warm[:, None]
        running = np.array([run is not None for run in self._open])
        for channel in np.flatnonzero(loud.any(axis=1) | running):
            self._follow(int(channel), start, energy[channel], loud[channel], float(threshold[channel]))

    def _follow(self, c: int, start: int, energy: Signal, loud: NDArray[np.bool_], threshold: float) -> None:
        above = energy > _RELEASE * threshold
        edges = np.flatnonzero(np.diff(above, prepend=False, append=False)).reshape(-1, 2)
        for first, last in edges:
            open_run = self._open[c]
            if open_run is not None and first > 0 and start + first - open_run.stop > self._merge:
                self._open[c] = open_run = None
            if open_run is None:
                if not loud[first:last].any():
                    continue
                begin = start + int(first)
                if first == 0:
                    begin = self._trace_back(c, start, _RELEASE * threshold)
                open_run = self._open[c] = _Potential(c, begin, begin, begin, 0.0, threshold)
                self._potentials.append(open_run)
            peak = first + int(np.argmax(energy[first:last]))
            if energy[peak] > open_run.energy:
                open_run.energy, open_run.peak = float(energy[peak]), start + int(peak)
            open_run.stop = start + int(last)
        open_run = self._open[c]
        if open_run is not None and self._signal.end - open_run.stop > self._merge:
            self._open[c] = None

    @property
    def _merge(self) -> int:
        return _samples(_MERGE_S, self._stream.rate_hz)

    def _trace_back(self, channel: int, start: int, release: float) -> int:
        """A run that was loud only now may have begun in the frame before."""
        before = self._energy.span(start - self._frame, start)[channel]
        quiet = np.flatnonzero(before <= release)
        return start - self._frame + (int(quiet[-1]) + 1 if len(quiet) else 0)

    def _close_runs(self) -> None:
        self._open = [None] * len(self._open)

    # Judgement ------------------------------------------------------------------------------------------------

    def _judge(self, front: int) -> None:
        """Decide the potentials that end before `front`; mark the ticks of contractions and artefacts."""
        reach = _samples(self._settings.isolation_s, self._stream.rate_hz)
        ready = [p for p in self._potentials if not p.closed and p.stop <= front and p not in self._open]
        running = [p for p in self._open if p is not None and front - p.start > self._longest]
        for potential in running:
            self._mark(potential, self._class_of_long(potential))
        for potential in [p for p in ready if p.stop - p.start > reach]:
            potential.closed = True
            self._mark(potential, self._class_of_long(potential))
        ready = [p for p in ready if not p.closed]
        ready = [part for potential in ready for part in self._split(potential)]
        largest_first = sorted(ready, key=lambda p: -p.energy / p.threshold)
        found = [p for p in largest_first if not p.closed and self._is_twitch(p)]
        self._events += [self._measure(p) for p in sorted(found, key=lambda p: p.start)]
        past_s = self._settings.tonic_s + 2 * self._settings.isolation_s
        keep = front - _samples(past_s, self._stream.rate_hz) - self._frame
        self._potentials = [p for p in self._potentials if p.stop > keep or not p.closed]

    @property
    def _longest(self) -> int:
        return _samples(self._settings.twitch_max_s, self._stream.rate_hz)

    def _split(self, whole: _Potential) -> list[_Potential]:
        """A run that falls quiet in between, by the standard of its own peak, is several potentials: a doublet."""
        energy = self._energy.span(whole.start, whole.stop)[whole.channel]
        edges = np.flatnonzero(np.diff(energy >= _FRACTION * whole.energy, prepend=False, append=False)).reshape(
            -1, 2
        )
        apart = np.flatnonzero(edges[1:, 0] - edges[:-1, 1] > self._merge) + 1
        if not len(apart):
            return [whole]
        parts = []
        for group in np.split(edges, apart):
            first, last = int(group[0, 0]), int(group[-1, 1])
            peak = first + int(np.argmax(energy[first:last]))
            start = whole.start + first
            part = _Potential(
                whole.channel, start, whole.start + last, whole.start + peak, float(energy[peak]), 0.0
            )
            part.threshold = whole.threshold
            parts.append(part)
        self._potentials.remove(whole)
        self._potentials += parts
        return parts

    def _is_twitch(self, potential: _Potential) -> bool:
        """Decide a potential together with those of other channels at the same time; mark what is no twitch."""
        together = [p for p in self._potentials if not p.closed and self._overlap(p, potential)]
        for p in together:
            p.closed = True
        code = self._class_of(potential)
        if code:
            for p in together:
                self._mark(p, code)
        return not code and not self._is_blind(potential) and not self._is_marked(potential)

    def _overlap(self, a: _Potential, b: _Potential) -> bool:
        return a.start <= b.stop + self._merge and b.start <= a.stop + self._merge

    def _class_of(self, potential: _Potential) -> int:
        """0 for a twitch, else the code of the state that the potential proves."""
        if self._rides_on_movement(potential):
            return _ARTEFACT
        first, last = self._extent(potential)
        isolation_s, tonic_s = self._settings.isolation_s, self._settings.tonic_s
        near = self._crowd(potential, isolation_s, isolation_s)
        held = near and self._crowd(potential, tonic_s, isolation_s) >= self._settings.tonic
        if last - first > self._longest or near >= self._settings.crowd or held:
            return _VOLUNTARY
        return _VOLUNTARY if self._comes_from_contraction(potential) else 0

    def _comes_from_contraction(self, potential: _Potential) -> bool:
        """Whether the channel on which the event is largest is in a contraction: a neighbour's cross-talk."""
        shapes = self._signal.span(potential.start, potential.stop)
        largest = int(np.argmax(np.ptp(shapes, axis=1)))
        first, last = self._tick_span(potential.start, potential.stop)
        return bool((self._ticks.span(first, last)[largest] == _VOLUNTARY).any())

    def _class_of_long(self, potential: _Potential) -> int:
        return _ARTEFACT if self._rides_on_movement(potential) else _VOLUNTARY

    def _extent(self, potential: _Potential) -> tuple[int, int]:
        """First and last sample, plus one, whose energy exceeds a fraction of the peak."""
        energy = self._energy.span(potential.start, potential.stop)[potential.channel]
        above = np.flatnonzero(energy >= _FRACTION * potential.energy)
        lag = (1 << self._smooth) - 1  # the window ends at its sample
        return potential.start + int(above[0]), max(
            potential.start + int(above[-1]) + 1 - lag, potential.start + 1
        )

    def _crowd(self, potential: _Potential, before_s: float, after_s: float) -> float:
        """How many other potentials of comparable size surround this one; a long one counts for several."""
        start = potential.start - _samples(before_s, self._stream.rate_hz)
        stop = potential.stop + _samples(after_s, self._stream.rate_hz)
        near = [
            p
            for p in self._potentials
            if p is not potential
            and p.channel == potential.channel
            and p.start <= stop
            and p.stop >= start
            and p.energy > _FRACTION * potential.energy
        ]
        return sum(max((p.stop - p.start) / self._longest, 1.0) for p in near)

    def _rides_on_movement(self, potential: _Potential) -> bool:
        """Whether the baseline moves more than the potential itself."""
        margin = self._longest
        start, stop = (
            max(potential.start, self._signal.end - self._slow.keep + margin) - margin,
            potential.stop + margin,
        )
        slow = self._slow.span(start, stop)[potential.channel]
        fast = self._signal.span(start, stop)[potential.channel]
        moved, stepped = np.ptp(slow), abs(slow[-1] - slow[0])
        return bool(moved > _SLOW * np.ptp(fast) or stepped > _STEP * np.ptp(fast))

    def _is_blind(self, potential: _Potential) -> bool:
        before, after = (_samples(seconds, self._stream.rate_hz) for seconds in _BLIND_S)
        first, last = self._extent(potential)
        return bool(self._blind.span(first - before, last + after).any())

    def _is_marked(self, potential: _Potential) -> bool:
        first, last = self._tick_span(potential.start, potential.stop)
        return bool(self._ticks.span(first, last)[potential.channel].any())

    def _measure(self, potential: _Potential) -> Twitch:
        rate_hz, c = self._stream.rate_hz, potential.channel
        first, last = self._extent(potential)
        onset = max(self._onset(potential, first), self._begin or 0)
        margin = _samples(0.02, rate_hz)
        start, stop = onset - margin, last + margin
        shapes = self._signal.span(start, stop)
        peaks = np.ptp(shapes[:, margin:], axis=1)
        order = np.argsort(-peaks)
        peak = float(np.abs(shapes[c, margin:]).max())
        ratio = potential.energy / potential.threshold
        noise = float(self.noise[c])
        shape = measure(shapes[c], rate_hz, noise)
        onset_ns = self._time_ns(onset)
        before = self._last_onset_ns[c]
        self._last_onset_ns[c] = onset_ns
        return Twitch(
            channel=self._stream.channels[c],
            onset_ns=onset_ns,
            duration_s=(last - onset) / rate_hz,
            peak=peak,
            peak_to_peak=float(peaks[c]),
            unit=self._stream.unit,
            snr=peak / noise,
            confidence=float(1 - 0.5 / max(ratio, 1.0)),
            amplitudes=tuple((self._stream.channels[i], float(peaks[i])) for i in order),
            waveform=shapes[c].astype(np.float32),
            waveform_start_s=-margin / rate_hz,
            rate_hz=rate_hz,
            phases=shape.phases,
            turns=shape.turns,
            median_hz=shape.median_hz,
            motor_unit=self._units.feed(self._stream.channels[c], shapes[c], rate_hz, noise, onset_ns),
            follows_s=_follows_s(before, onset_ns),
        )

    def _onset(self, potential: _Potential, first: int) -> int:
        """First sample of the potential that leaves the noise, looked for in the window of its first energy."""
        window = 1 << self._smooth
        start = first - window + 1
        y = np.abs(self._signal.span(start, potential.peak + 1)[potential.channel])
        level = max(3 * float(self.noise[potential.channel]), 0.1 * float(y.max()))
        beyond = np.flatnonzero(y > level)
        return start + int(beyond[0]) if len(beyond) else first

    # Ticks, contexts, account -----------------------------------------------------------------------------------

    def _tick_span(self, start: int, stop: int) -> tuple[int, int]:
        begin = self._begin or 0
        return max((start - begin) // self._tick, 0), -((begin - stop) // self._tick)

    def _mark(self, potential: _Potential, code: int) -> None:
        """Give the ticks around a potential a state."""
        before = _samples(self._settings.isolation_s / 2, self._stream.rate_hz)
        after = _samples(self._settings.hold_off_s, self._stream.rate_hz)
        first, last = self._tick_span(potential.start - before, potential.stop + after)
        self._ticks.raise_to(potential.channel, first, last, code)

    def _account(self, front: int, *, ending: bool = False) -> None:
        """Every tick before `front` is final: say its contexts, and how much of it was analysable."""
        begin = self._begin or 0
        while self._analysed < front:
            tick = (self._analysed - begin) // self._tick
            stop = begin + (tick + 1) * self._tick
            if stop > front and not ending:
                break
            self._settle(tick, self._analysed, min(stop, front))
            self._analysed = stop
        while len(self._times) > 1 and self._times[1][0] <= self._analysed - 4 * self._frame:
            self._times.popleft()

    def _settle(self, tick: int, start: int, stop: int) -> None:
        codes = self._ticks.span(tick, tick + 1)[:, 0].astype(int)
        seen = (stop - start) - int(self._blind.span(start, stop).sum())
        start_ns, end_ns = self._time_ns(start), self._time_ns(stop)
        for channel, code in enumerate(codes):
            self._say(channel, _STATES[code], start_ns, end_ns)
        observed_s = seen / self._stream.rate_hz
        analysable = tuple(0.0 if code else observed_s for code in codes)
        self._events.append(Analysed(start_ns, end_ns, observed_s, analysable))

    def _say(self, channel: int, state: State | None, start_ns: int, end_ns: int) -> None:
        context = self._contexts[channel]
        if context and (context.state is not state or context.duration_s >= _CONTEXT_MAX_S):
            self._end_context(channel)
            context = None
        if state is None:
            return
        onset_ns = context.onset_ns if context else start_ns
        duration_s = (end_ns - onset_ns) * 1e-9
        self._contexts[channel] = Context(state, self._stream.channels[channel], onset_ns, duration_s)

    def _end_context(self, channel: int) -> None:
        context = self._contexts[channel]
        if context is not None:
            self._events.append(context)
        self._contexts[channel] = None

    def _time_ns(self, index: int) -> int:
        for first, timebase in reversed(self._times):
            if first <= index:
                return timebase.at(index)
        return self._times[0][1].at(index)

    def _drain(self) -> list[Event]:
        events, self._events = self._events, []
        return events


class _Past:
    """The last samples of a signal, addressed by index. Bounded; moves its content once in a while."""

    def __init__(self, rows: int, keep: int) -> None:
        self._data = np.zeros((rows, 4 * keep))
        self.keep = keep
        self.restart(0)

    @property
    def end(self) -> int:
        """Index after the newest sample."""
        return self._first + self._used

    def restart(self, index: int) -> None:
        self._first = index - self.keep
        self._used = self.keep
        self._data[:, : self.keep] = 0

    def append(self, x: Signal) -> None:
        length = x.shape[1]
        if self._used + length > self._data.shape[1]:
            self._data[:, : self.keep] = self._data[:, self._used - self.keep : self._used]
            self._first += self._used - self.keep
            self._used = self.keep
        self._data[:, self._used : self._used + length] = x
        self._used += length

    def span(self, start: int, stop: int) -> Signal:
        """Samples `start` to `stop`, cut to what is kept."""
        return self._data[:, max(start - self._first, 0) : min(max(stop - self._first, 0), self._used)]

    def last(self, count: int) -> Signal:
        return self._data[:, self._used - count : self._used]

    def raise_to(self, row: int, start: int, stop: int, value: float) -> None:
        part = self.span(start, stop)[row]
        np.maximum(part, value, out=part)


def _follows_s(before_ns: int | None, onset_ns: int) -> float | None:
    """Seconds since the twitch before, if that makes them a doublet."""
    apart_s = math.inf if before_ns is None else (onset_ns - before_ns) * 1e-9
    return apart_s if 0 <= apart_s <= _DOUBLET_S else None


def _samples(seconds: float, rate_hz: float) -> int:
    return max(round(seconds * rate_hz), 1)


def _thresholds(settings: DetectorSettings, stream: Stream, window: int, tick: int) -> tuple[float, float]:
    """Of the energy: relative to the noise floor, and to the usual crests of ticks.

    The mean square of n independent samples is chi-square distributed with n degrees of freedom; the crest of a
    tick is the largest of as many as fit in it.
    """
    trials = 60 * stream.rate_hz / window
    crossing = _REAL_NOISE * chdtri(window, settings.false_alarms_per_min / trials) / window
    floor = 2 * gammaincinv(tick / 2, FLOOR_QUANTILE) / tick
    fitting = max(_OVERLAP * tick / window, 1.0)
    crest = 2 * gammaincinv(window / 2, _CREST_QUANTILE ** (1 / fitting)) / window
    return float(crossing / floor), float(crossing / crest)
