"""Samples of one stream in, twitches and contexts out.

    blocks ─ door ─► frames ─ condition ─► energy ─ threshold ─► potentials ─ judge ─► Twitch | Context

Rules:

* The input is cut anew at the door, into frames of 0.2 s, so the result cannot depend on how it came.
* Causal: a frame is decided from itself, the past and `isolation_s` of future, which is the latency. What is
  learned (noise, mains) is used from the next lesson on, every 2 s.
* A gap of up to `door.BRIDGE_S` is bridged and its samples are blind; a longer one resets filter memory. The
  learned noise floor and the mains frequency survive both. A new rate, unit or channel count is a new detector.
* A *potential* is a run of energy above the noise. It is a twitch when it is short, alone, muscle-like and wholly
  received. A crowd of them is a contraction. What is neither stays unsaid.
* A tick (half a frame) of a channel has one state. Only samples received in ticks of state rest, and not under a
  beat of the heart, are analysable.
"""

from __future__ import annotations

import math
from collections import deque

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtri, gammaincinv

from firmware_interface.samples import SampleBlock, Stream, Unit
from monitor.detection.conditioning import BandPass, MainsCanceller, Signal, Whitener, frame_length
from monitor.detection.contexts import Contexts
from monitor.detection.door import Door
from monitor.detection.events import Analysed, Context, Event, State, Twitch
from monitor.detection.heart import HeartBeats
from monitor.detection.motor_units import MotorUnits
from monitor.detection.noise import FLOOR_QUANTILE, NoiseFloor
from monitor.detection.past import Past
from monitor.detection.potentials import Potential, Runs, stretches
from monitor.detection.settings import DetectorSettings
from monitor.detection.shape import measure

_WORKING_RATE_HZ = 1000.0
"""Faster streams are thinned to between this and twice it: a potential on the skin has nothing above 400 Hz, and
where there is nothing, a whitened signal is all noise."""
_LESSON_FRAMES = 10
"""From lesson to lesson: 2 s. Fewer cost speed, more let what changes wait."""
_BLIND_S = (0.010, 0.003)
"""A potential must be received from this much before it, as a bridge that ends leaves a transient, to this much
after it."""
_ENERGY_S = 0.008
"""Window of the energy: about the length of one phase of a potential. Twice and half of it found less."""
_REAL_NOISE = 0.6
"""Skin noise comes and goes: crossings need 1 + this / (samples in the window) times the energy that Gaussian
noise of the same floor asks for. The fewer samples are averaged, the more it matters (evoked and armband rest)."""
_CREST_QUANTILES = (0.8, 0.5)
"""Crests of ticks follow how restless the noise is; twitches fill fewer than a fifth of the ticks, twitches and
heart beats together fewer than half."""
_OVERLAP = 2.5
"""Overlapping windows in a stretch that count as independent, over those that just fit (by simulation)."""
_FRACTION = 0.1
"""Duration is measured where the energy exceeds this share of its peak: a third of the amplitude."""
_MERGE_S = 0.008
_PAST_S = 3.5
_DOUBLET_S = 0.11
"""Kleine 2012: a motor unit's second discharge comes after 10 to 110 ms."""
_WAKE_S, _WAKE = 0.15, 0.2
"""A potential of less than this share of the energy of one this shortly before is its late response or after-wave;
the second discharge of a doublet is about as large as the first."""
_SLOW = 0.95
"""Excursion of the baseline over that of the potential, from which it is movement. Potentials of 5 to 37 ms keep
more above the high-pass than they lose below; a step keeps as much, a slower one less."""
_SLOW_WITH_HEART = 2.5
"""The same where a heart's slower waves move the baseline with every beat."""
_SMEAR_S = 0.02
"""Around an artefact, what it may have touched."""
_BEAT_SMEAR_S = 0.05
"""Around the peak of a heart beat, its QRS complex."""
_HELD_S = 1.5
"""How long a held muscle may pause between two discharges."""
_WEAK = 2.0
"""Energy over the threshold up to which a potential is believed only where nothing else goes on."""
_CLEAR = 8.0
"""Energy over the threshold from which only a much larger contraction at the same time speaks against a potential,
as it may be heard here."""
_LARGER_NEXT_DOOR = 3.0
_FAR_APART = 4
"""From so many channels on, what all of them show alike comes from none of the muscles."""
_ALIKE, _ALIKE_SIZE = 0.8, 0.4
"""Correlation with the largest, and size over it."""
_EFFORT, _EFFORT_TICKS = 0.15, 3
"""Share of a calibrated contraction, and ticks in a row of it, from which a muscle is at work; a twitch fills
two."""
_LOGIT, _LOGIT_SLOPE = 0.65, 1.8
"""Of being right, at the threshold and by the logarithm of the energy over it: fitted to all reports of the
table in docs/detection.md, whose last rows show how well it holds."""
_FLAT = 1e-2
_QUIET = 2.0
"""Energy over the floor up to which a tick teaches the noise model."""
VISIBLE = 9.0
"""Peak-to-peak over noise sigma that is seen at the default threshold."""
_AT_WORK = 1.6
"""Crests over those of steady noise of the same floor, from which it is a muscle that hides what is small."""
_LIFT_OFF = 10.0
"""Rise of mains, in power, that says that an electrode has come off."""
_TRACE_S = 6.0
_STATES = (None, State.VOLUNTARY, State.ARTEFACT, State.BAD_CONTACT)
"""State of a tick by its code; the higher one wins."""
_VOLUNTARY, _ARTEFACT, _BAD_CONTACT = 1, 2, 3


class Detector:
    """Twitch detector of one stream of EMG.

    Args:
        stream: what the samples are; blocks of another stream need another detector.
        settings: see `DetectorSettings`.
        units: the motor units that are known from before; they go on being followed.
    """

    def __init__(
        self,
        stream: Stream,
        settings: DetectorSettings = DetectorSettings(),  # noqa: B008
        units: MotorUnits | None = None,
    ) -> None:
        channels = len(stream.channels)
        self._stream, self._settings = stream, settings
        self._factor = max(int(stream.rate_hz / _WORKING_RATE_HZ), 1)
        self._rate_hz = rate_hz = stream.rate_hz / self._factor
        self._frame = frame_length(rate_hz)
        self._tick = self._frame // 2
        self._reach, self._longest, self._merge = map(
            self._samples, (settings.isolation_s, settings.twitch_max_s, _MERGE_S)
        )
        self._remembered = self._samples(settings.tonic_s + 2 * settings.isolation_s) + self._frame
        self._doublings = max(round(math.log2(_ENERGY_S * rate_hz)), 0)
        self._over = _thresholds(settings, rate_hz, 1 << self._doublings, self._tick)
        self._door = Door(stream.rate_hz, self._frame * self._factor, _LESSON_FRAMES)
        self._band_pass = BandPass(stream.sensor, stream.rate_hz, self._factor)
        self._mains = MainsCanceller(rate_hz, channels)
        self._whitener = Whitener(channels)
        self._floor = NoiseFloor(channels, _CREST_QUANTILES)
        self._usual_mains = np.full(channels, np.nan)
        self.noise = np.full(channels, np.nan)
        """Standard deviation of the local noise, in the stream's unit, shape (channels,)."""
        per_unit = {Unit.MICROVOLT: 1.0, Unit.MILLIVOLT: 1e-3}.get(stream.unit, math.inf)
        usual = settings.smallest_uv * per_unit
        self._smallest = np.array([settings.smallest_at.get(name, usual) for name in stream.channels])
        contractions = [settings.contraction_at.get(name, math.inf) for name in stream.channels]
        self._effort = (_EFFORT * np.array(contractions)) ** 2
        self._knows_effort = bool(np.isfinite(self._effort).any())
        past = self._samples(_PAST_S + 2 * settings.isolation_s + 4 * settings.twitch_max_s)
        self._signal, self._white, self._slow, self._energy = (Past(channels, past) for _ in range(4))
        self._blind = Past(1, past)
        self._ticks, self._contact = (Past(channels, 4 * past // self._tick) for _ in range(2))
        self._levels = Past(channels, self._samples(_TRACE_S) // self._tick)
        self._runs = Runs(channels, self._merge)
        self._potentials: list[Potential] = []
        self._hearts = [HeartBeats(rate_hz) for _ in range(channels)]
        self._beats: list[deque[tuple[int, int]]] = [deque() for _ in range(channels)]
        self.units = units or MotorUnits()
        self._last_onset_ns: list[int | None] = [None] * channels
        self._contexts = Contexts(stream.channels)
        self._threshold, self._hidden_by = np.full(channels, np.nan), np.full(channels, float(_BAD_CONTACT))
        self._marked = [(0, 0)] * channels
        self._heard = self._now = self._analysed = 0
        self._events: list[Event] = []

    @property
    def trace(self) -> Signal:
        """Largest deflection in each of the last ticks (0.1 s), shape (channels, ticks), for the eye only."""
        return self._levels.last(self._samples(_TRACE_S) // self._tick)

    @property
    def states(self) -> tuple[State | None, ...]:
        """What each channel was doing when last decided; None at rest."""
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
        """End the stretch: hold the last value to a whole frame, decide everything, forget filter memory."""
        for x, blind in self._door.close(self._reach // self._frame + 2):
            self._hear(x, blind)
        if not self._heard:
            return
        self._runs.close()
        end = -(-((self._door.end or 0) - self._door.begin) // self._factor)
        self._judge(end)
        self._account(end, ending=True)
        self._events += self._contexts.close()
        self._band_pass.reset()
        self._mains.reset()
        self._potentials.clear()
        self._heard = 0

    def _drain(self) -> list[Event]:
        events, self._events = self._events, []
        return events

    # Some frames, up to a lesson --------------------------------------------------------------------------------

    def _hear(self, x: Signal, blind: NDArray[np.bool_]) -> None:
        if not self._heard:
            self._start()
        y, slow = (part[:, :: self._factor] for part in self._band_pass.feed(x))
        self._slow.append(slow)
        y = self._mains.feed(y)
        self._signal.append(y)
        self._blind.append(blind.reshape(1, -1, self._factor).any(axis=2).astype(float))
        self._white.append(self._whitener.feed(self._signal.last(y.shape[1] + Whitener.LEAD)))
        self._energy.append(self._smoothed(y.shape[1]))
        largest = np.abs(y).reshape(len(y), -1, self._tick).max(axis=2)
        self._levels.append(largest)
        contact = self._contact_of(largest)
        self._contact.append(contact.astype(float))
        self._ticks.append(np.where(contact, self._hidden_by[:, None], float(_BAD_CONTACT)))
        loudest = self._energy.last(y.shape[1]).reshape(len(y), -1, self._frame).max(axis=2)
        for loud in (loudest > self._threshold[:, None]).any(axis=0).tolist():
            self._heard += 1
            self._now += self._frame
            if loud or self._runs.running:
                self._potentials += self._runs.feed(
                    self._energy, self._now - self._frame, self._now, self._threshold
                )
            self._prolong_marks()
            if self._knows_effort:
                self._mark_effort()
            self._judge(self._now - self._reach)
            self._account(self._now - self._reach - self._longest - self._reach // 2)
        if self._door.teaches(self._heard):
            self._learn()
            self._threshold, self._hidden_by = self._learned_threshold(), self._learned_hiding()

    def _start(self) -> None:
        self._analysed = self._now = 0
        self._marked = [(0, 0)] * len(self._marked)
        for past in (self._signal, self._white, self._slow, self._energy, self._blind, self._ticks, self._contact):
            past.restart(0)
        for heart, beats in zip(self._hearts, self._beats, strict=True):
            heart.restart()
            beats.clear()

    def _smoothed(self, count: int) -> Signal:
        """Mean square over the window that ends at each sample, by doubling: the same bits for any cutting."""
        window = 1 << self._doublings
        before = self._white.last(count + window - 1)
        square = before * before
        for doubling in range(self._doublings):
            square = square[:, 1 << doubling :] + square[:, : -(1 << doubling)]
        square /= window
        return square

    def _learned_threshold(self) -> NDArray[np.float64]:
        """Of the energy; crests teach it as far up as the heart leaves them to the noise."""
        beating = [heart.beating for heart in self._hearts]
        floor, high, middle = self._over
        upper, median = self._floor.crests.T
        tail = np.maximum(upper / median * high / middle, 1.0)  # what is heavier here is more so further out
        crest = np.where(beating, middle * median, high * upper * tail)
        return np.where(self._floor.warm, np.maximum(floor * self._floor.energy, crest), np.nan)

    def _contact_of(self, largest: Signal) -> NDArray[np.bool_]:
        """Whether the electrode sees the skin: no flat line, no sudden mains; shape (channels, ticks)."""
        still = largest <= _FLAT * np.fmax(self.noise, 0.0)[:, None]
        flat = still[:, ::2] & still[:, 1::2]
        return np.asarray(~(flat | self._lifted_off()).repeat(2, axis=1))

    def _learned_hiding(self) -> NDArray[np.float64]:
        """Code of what would hide the twitches of interest, a channel each: noise, or the muscle at work."""
        hidden = self.noise * VISIBLE > self._smallest
        crests = self._over[0] / self._over[1] * self._floor.energy
        by = np.where(self._floor.crests[:, 0] > _AT_WORK * crests, _VOLUNTARY, _BAD_CONTACT)
        return np.where(self._floor.warm, np.where(hidden, by, 0), _BAD_CONTACT).astype(float)

    def _lifted_off(self) -> NDArray[np.bool_]:
        """Whether a channel is full of mains that was not there before, shape (channels, frames)."""
        return np.asarray(self._mains.powers > _LIFT_OFF * (self._usual_mains + self.noise**2)[:, None])

    def _learn(self) -> None:
        """Take what is noise in the frames since the last lesson into the noise floor and the noise model."""
        frames = 1 if self._heard <= _LESSON_FRAMES else _LESSON_FRAMES
        count = frames * self._frame
        white, energy = self._white.last(count), self._energy.last(count)
        heard = self._blind.last(count)[0].reshape(2 * frames, -1).sum(axis=1) == 0
        usable = heard & self._contact.last(2 * frames).astype(bool)
        white = white.reshape(len(white), -1, self._tick)
        means = np.einsum("cts,cts->ct", white, white) / self._tick
        quiet = usable & (means <= _QUIET * self._floor.energy[:, None])
        lead = self._signal.last(count + Whitener.LEAD)
        self._whitener.learn(lead, quiet.reshape(len(white), frames, 2).all(axis=2))
        self._floor.feed(means, usable, energy.reshape(white.shape).max(axis=2))
        learned = self._whitener.noise
        self.noise = np.where(np.isnan(learned), np.sqrt(self._floor.energy), learned)
        if self._mains.settled:
            self._learn_mains(frames)

    def _learn_mains(self, frames: int) -> None:
        power = self._mains.powers[:, -1]
        usual = np.where(np.isnan(self._usual_mains), power, self._usual_mains)
        weight = frames * np.where(self._lifted_off()[:, -1], 0.001, 0.01)
        self._usual_mains = usual + weight * (power - usual)

    # Judgement ------------------------------------------------------------------------------------------------

    def _judge(self, front: int) -> None:
        """Decide the potentials that end before `front`; mark the ticks of contractions and artefacts."""
        if not self._potentials:
            return
        running = self._runs.running
        for potential in running:
            if front - potential.start > self._longest:
                self._mark(potential, self._class_of_long(potential))
        ready = [p for p in self._potentials if not p.closed and p.stop <= front and p not in running]
        if ready:
            self._decide(ready)
        keep = front - self._remembered
        if self._potentials[0].stop < keep:
            self._potentials = [p for p in self._potentials if p.stop > keep or not p.closed]

    def _decide(self, ready: list[Potential]) -> None:
        for potential in sorted(ready, key=lambda p: p.peak):
            if not potential.closed:
                self._listen_to_heart(potential)
        for potential in ready:
            if not potential.closed and potential.stop - potential.start > self._reach:
                potential.closed = True
                self._mark(potential, self._class_of_long(potential))
        parts = [part for potential in ready if not potential.closed for part in self._split(potential)]
        largest_first = sorted(parts, key=lambda p: -p.energy / p.threshold)
        found = [p for p in largest_first if not p.closed and self._is_twitch(p)]
        self._events += [self._measure(p) for p in sorted(found, key=lambda p: p.start)]

    def _split(self, whole: Potential) -> list[Potential]:
        """A run that falls quiet in between, by the standard of its own peak, is several potentials: a doublet."""
        energy = self._energy.span(whole.start, whole.stop)[whole.channel]
        loud = stretches(energy >= _FRACTION * whole.energy)
        groups = [[loud[0]]]
        for stretch in loud[1:]:
            if stretch[0] - groups[-1][-1][1] > self._merge:
                groups.append([stretch])
            else:
                groups[-1].append(stretch)
        if len(groups) == 1:
            return [whole]
        parts = []
        for group in groups:
            first, last = group[0][0], group[-1][1]
            peak = first + int(energy[first:last].argmax())
            start, stop, at = (whole.start + i for i in (first, last, peak))
            parts.append(Potential(whole.channel, start, stop, at, float(energy[peak]), whole.threshold))
        self._potentials.remove(whole)
        self._potentials += parts
        return parts

    def _is_twitch(self, potential: Potential) -> bool:
        """Decide a potential together with those of other channels at the same time; mark what is no twitch."""
        together = [p for p in self._potentials if not p.closed and self._overlap(p, potential)]
        for p in together:
            p.closed = True
        if self._is_in_artefact(potential):
            potential.foreign = True
            return False
        code = self._class_of(potential, {p.channel for p in together})
        for p in together if code else ():
            p.foreign = code == _ARTEFACT
            self._mark(p, code)
        return not (
            code
            or self._is_blind(potential)
            or self._is_marked(potential)
            or self._is_in_a_wake(potential)
            or self._is_beside_activity(potential)
        )

    def _overlap(self, a: Potential, b: Potential) -> bool:
        return a.start <= b.stop + self._merge and b.start <= a.stop + self._merge

    def _class_of(self, potential: Potential, channels: set[int]) -> int:
        """0 for a twitch, else the code of the state that the potential proves."""
        if self._rides_on_movement(potential) or self._is_everywhere(potential, channels):
            return _ARTEFACT
        first, last = self._extent(potential)
        isolation_s = self._settings.isolation_s
        near = self._crowd(potential, isolation_s, isolation_s)
        if last - first > self._longest or near >= self._settings.crowd or self._is_held(potential, near):
            return _VOLUNTARY
        return _VOLUNTARY if self._comes_from_contraction(potential) else 0

    def _class_of_long(self, potential: Potential) -> int:
        return _ARTEFACT if self._rides_on_movement(potential) else _VOLUNTARY

    def _is_held(self, potential: Potential, near: float) -> bool:
        settings = self._settings
        return near > 0 and self._crowd(potential, settings.tonic_s, settings.isolation_s) >= settings.tonic

    def _comes_from_contraction(self, potential: Potential) -> bool:
        """Whether the channel on which the event is largest is in a contraction: a neighbour's cross-talk."""
        shapes = self._signal.span(potential.start, potential.stop)
        largest = int(np.argmax(np.ptp(shapes, axis=1)))
        first, last = self._tick_span(potential.start, potential.stop)
        return bool((self._ticks.span(first, last)[largest] == _VOLUNTARY).any())

    def _is_beside_activity(self, potential: Potential) -> bool:
        """Whether a muscle of this device is at work nearby, the nearer the clearer the potential; of a weak one,
        also whether it is not alone."""
        strength, reach = potential.energy / potential.threshold, self._reach
        if strength < _WEAK and self._crowd(
            potential, self._settings.isolation_s, self._settings.isolation_s, _DOUBLET_S
        ):
            return True
        before, after = (2 * reach, reach) if strength < _WEAK else (reach, reach) if strength < _CLEAR else (0, 0)
        first, last = self._tick_span(potential.start - before, min(potential.stop + after, self._now))
        at_work = (self._ticks.span(first, last) == _VOLUNTARY).any(axis=1)
        if strength < _CLEAR or not at_work.any():
            return bool(at_work.any())
        around = self._signal.span(potential.start - reach, potential.stop + reach)
        own = np.ptp(self._signal.span(potential.start, potential.stop)[potential.channel])
        return bool((np.ptp(around[at_work], axis=1) > _LARGER_NEXT_DOOR * own).any())

    def _is_everywhere(self, potential: Potential, channels: set[int]) -> bool:
        """Whether all of many channels show the same at once."""
        if len(self._hearts) < _FAR_APART or len(channels) < len(self._hearts):
            return False
        shapes = self._signal.span(potential.start - self._merge, potential.stop + self._merge)
        sizes = np.linalg.norm(shapes, axis=1)
        alike = np.abs(shapes @ shapes[potential.channel]) / np.maximum(sizes * sizes[potential.channel], 1e-30)
        return bool(alike.min() > _ALIKE and sizes.min() > _ALIKE_SIZE * sizes.max())

    def _extent(self, potential: Potential) -> tuple[int, int]:
        """First and last sample, plus one, whose energy exceeds a fraction of the peak."""
        energy = self._energy.span(potential.start, potential.stop)[potential.channel]
        above = np.flatnonzero(energy >= _FRACTION * potential.energy)
        lag = (1 << self._doublings) - 1  # the window ends at its sample
        first, last = potential.start + int(above[0]), potential.start + int(above[-1]) + 1
        return first, max(last - lag, potential.start + 1)

    def _crowd(self, potential: Potential, before_s: float, after_s: float, beyond_s: float = 0.0) -> float:
        """How many other potentials of comparable size surround this one; a long one counts for several."""
        beyond = self._samples(beyond_s) if beyond_s else -1
        start, stop = potential.start - self._samples(before_s), potential.stop + self._samples(after_s)
        return sum(
            max((p.stop - p.start) / self._longest, 1.0)
            for p in self._potentials
            if p.channel == potential.channel
            and p.start <= stop
            and p.stop >= start
            and p.energy > _FRACTION * potential.energy
            and p is not potential
            and abs(p.peak - potential.peak) > beyond
            and not p.foreign
        )

    def _rides_on_movement(self, potential: Potential) -> bool:
        """Whether the baseline moves as much as the potential itself, beyond where it was going."""
        margin = self._longest
        start, stop = max(potential.start - margin, self._slow.start), min(potential.stop + margin, self._now)
        slow = self._slow.span(start, stop)[potential.channel]
        fast = np.ptp(self._signal.span(start, stop)[potential.channel])
        before, after = slow[: potential.start - start - self._merge], slow[potential.stop - start + self._merge :]
        slopes = [abs(part[-1] - part[0]) / len(part) if len(part) else 0.0 for part in (before, after)]
        limit = _SLOW_WITH_HEART if self._hearts[potential.channel].beating else _SLOW
        return bool(np.ptp(slow) - min(slopes) * len(slow) > limit * fast)

    def _is_blind(self, potential: Potential) -> bool:
        first, last = self._extent(potential)
        start, stop = first - self._samples(_BLIND_S[0]), last + self._samples(_BLIND_S[1])
        return bool(self._blind.span(start, stop).any()) or any(
            start < b and a < stop for a, b in self._beats[potential.channel]
        )

    def _is_in_artefact(self, potential: Potential) -> bool:
        """Whether its time is known to be an artefact's: it tells nothing of the muscle."""
        first, last = self._tick_span(potential.start, potential.stop)
        return bool((self._ticks.span(first, last)[potential.channel] >= _ARTEFACT).all())

    def _is_marked(self, potential: Potential) -> bool:
        first, last = self._tick_span(potential.start, potential.stop)
        return bool(self._ticks.span(first, last)[potential.channel].any())

    def _is_in_a_wake(self, potential: Potential) -> bool:
        """Whether a much larger potential came just before."""
        start = potential.start - self._samples(_WAKE_S)
        return any(
            p.channel == potential.channel
            and not p.foreign
            and start < p.stop
            and p.start < potential.start
            and _WAKE * p.energy > potential.energy
            for p in self._potentials
        )

    # The heart ------------------------------------------------------------------------------------------------

    def _listen_to_heart(self, potential: Potential) -> None:
        """If this is a beat, it and what surrounds it is decided, and its time is lost."""
        c, heart = potential.channel, self._hearts[potential.channel]
        before, after = heart.reach()
        near = [
            p
            for p in self._potentials
            if p.channel == c
            and not p.foreign
            and p.stop > potential.peak - before
            and p.start < potential.peak + after
        ]
        if max(near, key=lambda p: p.energy) is not potential:
            return
        shape = self._signal.span(potential.peak - before, potential.peak + after)[c]
        if len(shape) == before + after and heart.feed(potential.peak, shape):
            for p in near:
                p.closed = p.foreign = True
            first, last = min(p.start for p in near), max(p.stop for p in near)
            smear = self._samples(_BEAT_SMEAR_S)
            self._lose_beat(c, min(first, potential.peak - smear), max(last, potential.peak + smear))

    def _lose_beat(self, channel: int, start: int, stop: int) -> None:
        """What the heart covers is no time to hear a twitch in; said beat by beat, as a tick would be too long."""
        self._beats[channel].append((start, stop))
        start_ns = self._time_ns(max(start, 0))
        duration_s = (self._time_ns(stop) - start_ns) * 1e-9
        self._events.append(Context(State.ARTEFACT, self._stream.channels[channel], start_ns, duration_s))

    # One twitch -------------------------------------------------------------------------------------------------

    def _measure(self, potential: Potential) -> Twitch:
        rate_hz, c = self._rate_hz, potential.channel
        first, last = self._extent(potential)
        onset = max(self._onset(potential, first), 0)
        margin = self._samples(0.02)
        shapes = self._signal.span(onset - margin, last + margin)
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
            confidence=1 / (1 + math.exp(-_LOGIT) * ratio**-_LOGIT_SLOPE),
            amplitudes=tuple((self._stream.channels[i], float(peaks[i])) for i in order),
            waveform=shapes[c].astype(np.float32),
            waveform_start_s=-margin / rate_hz,
            rate_hz=rate_hz,
            phases=shape.phases,
            turns=shape.turns,
            median_hz=shape.median_hz,
            motor_unit=self.units.feed(self._stream.channels[c], shapes[c], rate_hz, noise, onset_ns),
            follows_s=_follows_s(before, onset_ns),
        )

    def _onset(self, potential: Potential, first: int) -> int:
        """First sample of the potential that leaves the noise, looked for in the window of its first energy."""
        start = first - (1 << self._doublings) + 1
        y = np.abs(self._signal.span(start, potential.peak + 1)[potential.channel])
        level = max(3 * float(self.noise[potential.channel]), 0.2 * float(y.max()))
        beyond = np.flatnonzero(y > level)
        return start + int(beyond[0]) if len(beyond) else first

    # Ticks, account ---------------------------------------------------------------------------------------------

    def _tick_span(self, start: int, stop: int) -> tuple[int, int]:
        return max(start // self._tick, 0), -(-stop // self._tick)

    def _mark(self, potential: Potential, code: int) -> None:
        """Give the ticks around a potential a state."""
        settings = self._settings
        before_s, after_s = settings.isolation_s / 2, settings.hold_off_s
        if code == _ARTEFACT:
            before_s = after_s = _SMEAR_S
        elif self._is_sparse(potential):
            after_s = _HELD_S
        start, stop = potential.start - self._samples(before_s), potential.stop + self._samples(after_s)
        first, last = self._tick_span(start, min(stop, self._now))
        self._ticks.raise_to(potential.channel, first, last, code)
        if stop > max(self._now, self._marked[potential.channel][0]):
            self._marked[potential.channel] = stop, code

    def _is_sparse(self, potential: Potential) -> bool:
        """Whether a voluntary discharge stands so alone that the next may be long in coming."""
        isolation_s = self._settings.isolation_s
        short = potential.stop - potential.start <= self._longest
        return short and self._crowd(potential, isolation_s, isolation_s) < self._settings.crowd

    def _prolong_marks(self) -> None:
        """Marks that reach into the frame that has just come."""
        begin = self._now - self._frame
        for channel, (stop, code) in enumerate(self._marked):
            if stop > begin:
                first, last = self._tick_span(begin, min(stop, self._now))
                self._ticks.raise_to(channel, first, last, code)

    def _mark_effort(self) -> None:
        """Where the level of a contraction is known, a share of it that lasts is one, whatever its potentials."""
        ticks = 1 + _EFFORT_TICKS
        start = self._now - ticks * self._tick
        if start < 0:
            return
        signal = self._signal.span(start, self._now)
        loud = (signal * signal).reshape(len(signal), ticks, -1).mean(axis=2) > self._effort[:, None]
        first, _ = self._tick_span(start, self._now)
        for tick in range(2):
            for channel in np.flatnonzero(loud[:, tick : tick + _EFFORT_TICKS].all(axis=1)).tolist():
                self._ticks.raise_to(channel, first + tick, first + tick + _EFFORT_TICKS, _VOLUNTARY)

    def _account(self, front: int, *, ending: bool = False) -> None:
        """Every frame before `front` is final: say its contexts, and how much of it was analysable."""
        while self._analysed < front:
            stop = self._analysed + self._frame
            if stop > front:
                if not ending:
                    break
                stop = front
            self._settle(self._analysed, stop)
            self._analysed = stop
            self._door.forget_times(self._door.begin + (stop - 4 * self._frame) * self._factor)

    def _settle(self, start: int, stop: int) -> None:
        first, last = self._tick_span(start, stop)
        codes = self._ticks.span(first, last)
        start_ns, end_ns = self._time_ns(start), self._time_ns(stop)
        blind = self._blind.span(start, stop)[0]
        observed_s = (len(blind) - int(np.count_nonzero(blind))) / self._rate_hz
        analysable = [observed_s] * len(codes)
        if np.count_nonzero(codes) or self._contexts.any or any(self._beats):
            analysable = self._analysable_s(start, blind == 0, codes)
            for tick, states in enumerate(codes.T.astype(int).tolist()):
                edges = (start + tick * self._tick, min(start + (tick + 1) * self._tick, stop))
                times = (self._time_ns(i) for i in edges)
                self._events += self._contexts.feed([_STATES[code] for code in states], *times)
        self._events.append(Analysed(start_ns, end_ns, observed_s, tuple(analysable)))

    def _analysable_s(self, start: int, seen: NDArray[np.bool_], codes: Signal) -> list[float]:
        """Of one frame: what was received at rest and not under a beat, a number a channel."""
        usable = seen & ~codes.astype(bool).repeat(self._tick, axis=1)[:, : len(seen)]
        for row, beats in zip(usable, self._beats, strict=True):
            while beats and beats[0][1] < start - self._reach:
                beats.popleft()
            for first, last in beats:
                row[max(first - start, 0) : max(last - start, 0)] = False
        return [n / self._rate_hz for n in usable.sum(axis=1).tolist()]

    def _samples(self, seconds: float) -> int:
        return max(round(seconds * self._rate_hz), 1)

    def _time_ns(self, index: int) -> int:
        return self._door.time_ns(self._door.begin + index * self._factor)


def _follows_s(before_ns: int | None, onset_ns: int) -> float | None:
    """Seconds since the twitch before, if that makes them a doublet."""
    apart_s = math.inf if before_ns is None else (onset_ns - before_ns) * 1e-9
    return apart_s if 0 <= apart_s <= _DOUBLET_S else None


def _thresholds(settings: DetectorSettings, rate_hz: float, window: int, tick: int) -> tuple[float, ...]:
    """Of the energy: relative to the noise floor, and to the quantiles of the crests of ticks.

    The mean square of n independent samples is chi-square distributed with n degrees of freedom; the crest of a
    tick is the largest of as many as fit in it.
    """
    trials = 60 * rate_hz / window
    crossing = (1 + _REAL_NOISE / window) * chdtri(window, settings.false_alarms_per_min / trials) / window
    floor = 2 * gammaincinv(tick / 2, FLOOR_QUANTILE) / tick
    fitting = max(_OVERLAP * tick / window, 1.0)
    crests = [2 * gammaincinv(window / 2, q ** (1 / fitting)) / window for q in _CREST_QUANTILES]
    return float(crossing / floor), *(float(crossing / crest) for crest in crests)
