"""The device's clock on the host's: when was this sample taken?

A radio delays, and never advances: arrivals lie on or above the line host = offset + slope * device. So the line
is pushed up against a sliding window of arrivals from below, until it carries the most that it can without
crossing one; a prior holds its slope near the nominal one until the window can do better. What lies well above,
seconds of congestion included, never touches it. What no fit can see is the constant part of the delay.

Least squares through all arrivals follows the *mean* delay instead, which moves with the load of the radio; an
expectile still moves by 34 ms when a fifth of the arrivals is 200 ms late (tests/test_clock.py; this: by 2 ms).

Rule: pure; ticks are whatever the device counts, nanoseconds or samples.
"""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

_WINDOW_NS = 60_000_000_000
_BIN_NS = 100_000_000
"""Of the arrivals in so short a time the earliest says it all; this bounds the memory."""
_REFIT_NS = 1_000_000_000
_DOUBT_NS = 1e6
"""How much higher a line must lie for a slope that is off by the tolerance to be believed."""
_SLOPE_MAX = 3.0
"""In units of the tolerance."""
_NARROWINGS = 40
"""Each to two thirds: to 1e-7 of the range."""


class DeviceClock:
    """Sliding fit of host time against device ticks.

    Args:
        tick_ns: nominal nanoseconds a tick.
        tolerance: relative deviation from `tick_ns` that is to be expected: 3e-4 for a crystal, 1e-2 where
            ticks are samples of a sensor's own oscillator.
    """

    def __init__(self, tick_ns: float, tolerance: float) -> None:
        self._nominal_ns = tick_ns
        self._tolerance = tolerance
        self._points: deque[tuple[int, int]] = deque()
        self._next_fit_ns = 0
        self._origin = (0, 0)
        self._offset_ns = 0.0
        self.tick_ns = tick_ns
        """Present estimate of the nanoseconds a tick."""

    def feed(self, tick: int, arrival_ns: int) -> None:
        """Note that the packet sampled at `tick` arrived at `arrival_ns`."""
        if not self._points:
            self._origin = (tick, arrival_ns)
        self._keep(tick, arrival_ns)
        while self._points[0][1] < arrival_ns - _WINDOW_NS:
            self._points.popleft()
        if arrival_ns >= self._next_fit_ns:
            self._next_fit_ns = arrival_ns + min(_REFIT_NS, max(arrival_ns - self._points[0][1], 1) // 4)
            self._fit()
        self._offset_ns = min(self._offset_ns, self._residual_ns(tick, arrival_ns))

    def at(self, tick: int) -> int:
        """Host time of `tick`, ns. Only after the first `feed`."""
        return self._origin[1] + round((tick - self._origin[0]) * self.tick_ns + self._offset_ns)

    def _residual_ns(self, tick: int, arrival_ns: int) -> float:
        return arrival_ns - self._origin[1] - (tick - self._origin[0]) * self.tick_ns

    def _keep(self, tick: int, arrival_ns: int) -> None:
        """Of each bin the earliest, relative to the line."""
        if self._points and self._bin(self._points[-1][1]) == self._bin(arrival_ns):
            if self._residual_ns(tick, arrival_ns) > self._residual_ns(*self._points[-1]):
                return
            self._points.pop()
        self._points.append((tick, arrival_ns))

    def _bin(self, arrival_ns: int) -> int:
        return (arrival_ns - self._origin[1]) // _BIN_NS

    def _fit(self) -> None:
        points = np.array(self._points, np.int64) - self._origin
        x, host = points[:, 0].astype(float) * self._nominal_ns, points[:, 1].astype(float)
        self._offset_ns, slope = _supporting_line(x, host - x, self._tolerance)
        self.tick_ns = self._nominal_ns * (1 + slope)


def _supporting_line(x: NDArray[np.float64], y: NDArray[np.float64], tolerance: float) -> tuple[float, float]:
    """The line under the points (x, y) that is highest in their middle: offset at x = 0, and slope.

    Its height is concave in its slope, so narrowing the range from both sides finds the best.
    """
    away = x - x.mean()

    def merit(slope: float) -> float:
        return float((y - slope * away).min()) - _DOUBT_NS * (slope / tolerance) ** 2

    low, high = -_SLOPE_MAX * tolerance, _SLOPE_MAX * tolerance
    for _ in range(_NARROWINGS):
        third = (high - low) / 3
        if merit(low + third) < merit(high - third):
            low += third
        else:
            high -= third
    slope = (low + high) / 2
    return float((y - slope * x).min()), slope
