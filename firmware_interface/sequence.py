"""Counters on the wire, unwrapped: which sample is this, and what is missing before it.

A counter that wraps is ambiguous after a silence: 70 lost samples look like 70 + 256 on an 8-bit counter. The
arrival clock is the second witness: of all readings that the counter allows, the one nearest to the time that
passed is taken. Where even that one is impossible, the device has begun to count again.

Rules: pure; a position never decreases, except for a late or repeated packet, which is said to be one.
"""

from __future__ import annotations

from enum import Enum, auto

_RESTART_TOLERANCE_S = 5.0
"""A device may hold back this much and deliver it late; a larger disagreement with the clock is a restart."""
_REORDER_S = 0.5
"""A packet may come this much after its successors; one from further back is a restart."""
_RATE_TOLERANCE = 0.03
"""True sampling rates are up to some per cent off the nominal one (devices.md 2.3)."""


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
