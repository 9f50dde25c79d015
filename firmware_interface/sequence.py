"""Counters on the wire, unwrapped: which sample is this, and what is missing before it.

A counter that wraps is ambiguous after a silence: 70 lost samples look like 70 + 256 on an 8-bit counter. The
arrival clock is the second witness: of all readings that the counter allows, the one nearest to the time that
passed is taken. Where even that one is impossible, the device has begun to count again.

A stream without any counter is counted by the times that the device writes into its packets: see `Pace`. One that
has neither is counted by when its packets arrive: see `Cadence`.

Rules: pure; a position never decreases, except for a late or repeated packet, which is said to be one.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from enum import Enum, auto
from typing import Generic, TypeVar

from firmware_interface.clock import DeviceClock

_RESTART_TOLERANCE_S = 5.0
"""A device may hold back this much and deliver it late; a larger disagreement with the clock is a restart."""
_REORDER_S = 0.5
"""A packet may come this much after its successors; one from further back is a restart."""
_RATE_TOLERANCE = 0.03
"""True sampling rates are up to some per cent off the nominal one (devices.md 2.3)."""

_HALF_SAMPLE = 0.5
_PRIOR_S = 0.1
"""The nominal rate counts as much as this long a measurement: a time in whole milliseconds is off by a per cent of
it, like the nominal rate."""
_MEMORY_S = 60.0
"""An oscillator's rate moves with its temperature, over minutes."""


_HOLD_NS = 800_000_000
"""Within so long some packet comes with hardly any delay."""
_STARTING_NS, _STARTING_LAG_NS = 2_000_000_000, 30_000_000
"""At first the line is where the first packets happened to be: what is late by less than a radio may be, is
late."""
_SLACK_NS, _SLACK = 500_000, 0.1
"""What the line may be off by, and this share of the smallest number of samples that can be missing. With more, a
packet would be said to have come before it was sampled; with less, what was overlooked once would be for ever."""

_T = TypeVar("_T")


class Step(Enum):
    """What one reading of a counter means."""

    FORWARD = auto()
    LATE = auto()
    """Before what was last taken: a reordered packet, or an old one repeated."""
    RESTART = auto()
    """The device counts from anew."""


class Unwrapper:
    """Absolute position from a counter of finite width.

    Args:
        modulus: the counter takes values 0 to modulus - 1.
        rate_hz: nominal increments a second.
    """

    def __init__(self, modulus: int, rate_hz: float) -> None:
        self._modulus = modulus
        self._rate_hz = rate_hz
        self._position: int | None = None
        self._arrival_ns = 0

    def feed(self, value: int, arrival_ns: int) -> tuple[Step, int]:
        """Take one reading.

        Returns:
            How it relates to the one before, and its absolute position: comparable with earlier ones unless
            the step is a restart, which begins a new count at `value`.
        """
        if self._position is None:
            return Step.FORWARD, self._accept(value, arrival_ns)
        expected = (arrival_ns - self._arrival_ns) * 1e-9 * self._rate_hz
        ahead = (value - self._position) % self._modulus
        wraps = round((expected - ahead) / self._modulus)
        distance = ahead + wraps * self._modulus
        slack = _RESTART_TOLERANCE_S * self._rate_hz + _RATE_TOLERANCE * abs(expected)
        if abs(distance - expected) > slack and ahead > slack:
            return Step.RESTART, self._accept(value, arrival_ns)
        if abs(distance - expected) > slack:  # a burst held back for long: continuous, though the clock disagrees
            distance = ahead
        if distance < -_REORDER_S * self._rate_hz:
            return Step.RESTART, self._accept(value, arrival_ns)
        if distance < 0:
            return Step.LATE, self._position + distance
        return Step.FORWARD, self._accept(self._position + distance, arrival_ns)

    def _accept(self, position: int, arrival_ns: int) -> int:
        self._position, self._arrival_ns = position, arrival_ns
        return position


class Pace:
    """Position in a stream whose packets carry a time of the device instead of a count.

    The time from packet to packet, in sample periods, is how many samples lie between. Sensors run up to some per
    cent off their nominal rate, so the period is learned, from packets that follow each other; the lengths of
    those say exactly how many periods their times are apart.

    Args:
        modulus_ns: the device's clock takes values 0 to modulus - 1.
        rate_hz: nominal samples a second.
        stamps_last: whether the time is of the last sample of its packet; else of the first.
    """

    def __init__(self, modulus_ns: int, rate_hz: float, *, stamps_last: bool) -> None:
        self._ticks = Unwrapper(modulus_ns, 1e9)
        self._stamps_last = stamps_last
        self._nominal_ns = 1e9 / rate_hz
        self._prior = _PRIOR_S * rate_hz
        self._memory = _MEMORY_S * rate_hz
        self._first = self._tick = self._length = 0
        self._learned = self._learned_ns = 0.0
        self._period_ns = self._nominal_ns

    def feed(self, device_ns: int, length: int, arrival_ns: int) -> tuple[Step, int, bool]:
        """Take one packet of `length` samples.

        Returns:
            How it relates to the one before; the position of its first sample, which begins at 0 and, after a
            restart, does so again; and whether what is missing before it is sure to the sample.
        """
        step, tick = self._ticks.feed(device_ns, arrival_ns)
        if step is Step.RESTART or not self._length:
            self._begin(tick, length)
            return step, 0, step is Step.FORWARD
        elapsed_ns = tick - self._tick
        apart = elapsed_ns / self._period_ns
        if step is Step.LATE or apart <= 0:
            return Step.LATE, self._first + min(round(apart), 0), True
        adjoining = length if self._stamps_last else self._length
        tolerance = max(_HALF_SAMPLE, _RATE_TOLERANCE * adjoining)
        missing = 0 if apart <= adjoining + tolerance else round(apart) - adjoining
        sure = missing <= self._learned
        if abs(apart - adjoining) <= tolerance:
            self._learn(elapsed_ns, adjoining)
        self._first, self._tick, self._length = self._first + self._length + missing, tick, length
        return step, self._first, sure

    def _begin(self, tick: int, length: int) -> None:
        self._first, self._tick, self._length = 0, tick, length
        self._learned = self._learned_ns = 0.0
        self._period_ns = self._nominal_ns

    def _learn(self, elapsed_ns: int, samples: int) -> None:
        if self._learned > self._memory:
            self._learned, self._learned_ns = self._learned / 2, self._learned_ns / 2
        self._learned += samples
        self._learned_ns += elapsed_ns
        total_ns = self._learned_ns + self._prior * self._nominal_ns
        self._period_ns = total_ns / (self._learned + self._prior)


@dataclass(frozen=True, slots=True)
class Placed(Generic[_T]):
    """A packet that was held, and where it belongs."""

    item: _T
    step: Step
    position: int
    lead: int
    """By how many samples too many were said to be missing before, so that the line below the arrivals is at
    `position` less this."""
    sure: bool
    """Whether its arrival says where that line is: not where samples are found to be missing."""
    arrival_ns: int


@dataclass(frozen=True, slots=True)
class _Held(Generic[_T]):
    item: _T
    step: Step
    first: int  # if nothing is missing but what the counter tells
    length: int
    arrival_ns: int


class Cadence(Generic[_T]):
    """Position in a stream whose packets carry no number, or one that wraps faster than a radio is punctual.

    A radio delays, and sooner or later does so hardly at all. Packets are held for 0.8 s: if even the most
    punctual of those after a moment is late against the line below all arrivals, samples are missing at that
    moment, as many as it is late. Where one comes before it can have been sampled, too many were said to be
    missing; as positions never decrease, the next that are found pay for it.

    Args:
        modulus: the number takes values 0 to modulus - 1; 0 where there is none, and packets are lost whole.
        rate_hz: nominal samples a second.
    """

    def __init__(self, modulus: int, rate_hz: float) -> None:
        self._modulus = modulus
        self._nominal_ns = 1e9 / rate_hz
        self._held: deque[_Held[_T]] = deque()
        self._next = self._missing = self._lead = 0
        self._began_ns = 0
        self._step = Step.RESTART

    def break_off(self) -> None:
        """The link is lost: what is held tells nothing of what comes after, and the next packet begins anew."""
        self._step = Step.RESTART

    def hold(self, item: _T, length: int, number: int | None, arrival_ns: int) -> None:
        """Take one packet of `length` samples, the first of which has `number`, if any."""
        if number is not None and self._modulus:
            self._next += (number - self._next) % self._modulus
        self._held.append(_Held(item, self._step, self._next, length, arrival_ns))
        self._next += length
        self._step = Step.FORWARD

    def release(self, line: DeviceClock, shift: int) -> Placed[_T] | None:
        """The next packet that can be placed, if any. Its time is to be fed to `line`, at its position less its
        lead and with `shift` added, before the one after it is asked for."""
        if not self._held:
            return None
        due, over = self._held[0], self._step is Step.RESTART
        lost = 0
        if due.step is Step.RESTART:
            self._missing = self._lead = 0
            self._began_ns = due.arrival_ns
        else:
            lag_ns, ended = self._lag_ns(line, shift + self._missing)
            if not ended and not over and self._held[-1].arrival_ns < due.arrival_ns + _HOLD_NS:
                return None
            lost = self._lost(due, lag_ns)
        self._held.popleft()
        self._missing += lost
        self._lead = max(self._lead - lost, 0)
        position = due.first + self._missing + self._lead
        return Placed(due.item, due.step, position, self._lead, not lost, due.arrival_ns)

    def _lag_ns(self, line: DeviceClock, shift: int) -> tuple[float, bool]:
        """How late the most punctual packet is; and whether a new beginning follows."""
        least, origin = math.inf, self._held[0].first
        origin_ns, tick_ns = line.at(origin + shift), line.tick_ns
        for held in self._held:
            if held.step is Step.RESTART:
                return least, True
            expected_ns = origin_ns + (held.first + held.length - 1 - origin) * tick_ns
            least = min(least, held.arrival_ns - expected_ns)
        return least, False

    def _lost(self, due: _Held[_T], lag_ns: float) -> int:
        """Samples that are missing before a packet; less than none where too many were said to be."""
        unit = self._modulus or due.length
        unit_ns = unit * self._nominal_ns
        if due.arrival_ns < self._began_ns + _STARTING_NS and lag_ns < _STARTING_LAG_NS:
            return 0
        units = int((lag_ns + _SLACK_NS + _SLACK * unit_ns) // unit_ns)
        if units < 0:
            units = -min(round(-lag_ns / unit_ns), self._missing // unit)
        return units * unit
