"""The device's clock on the host's: when was this sample taken?

A radio delays, and never advances: arrivals lie on or above the line host = offset + slope * device. So the line
is fitted to the lower envelope of a sliding window, by asymmetric least squares (Newey and Powell 1987,
Econometrica 55:819) on the earliest arrival of each half second. A prior holds the slope near the nominal one
until the window can do better. What no fit can see is the constant part of the delay.

Least squares through all arrivals follows the *mean* delay instead, which moves with the load of the radio.

Rule: pure; ticks are whatever the device counts, nanoseconds or samples.
"""

from __future__ import annotations

from collections import deque

import numpy as np

_WINDOW_NS = 30_000_000_000
_BIN_NS = 500_000_000
_REFIT_NS = 1_000_000_000
_JITTER_NS = 2e6
"""Spread of the earliest arrivals of half a second; only its ratio to the slope prior matters."""
_UPPER_WEIGHT = 0.005
"""Weight of points above the line, relative to those below."""
_ITERATIONS = 12


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
        self._points.append((tick, arrival_ns))
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

    def _fit(self) -> None:
        points = np.array(self._points, np.int64) - self._origin
        ticks, host = points[:, 0].astype(float), points[:, 1].astype(float)
        residual = host - ticks * self.tick_ns
        earliest = _earliest(host, residual)
        x = ticks[earliest] * self._nominal_ns
        y = host[earliest] - x
        self._offset_ns, slope = _lower_line(x, y, self._tolerance)
        self.tick_ns = self._nominal_ns * (1 + slope)


def _earliest(host: np.ndarray, residual: np.ndarray) -> np.ndarray:
    """Positions of the smallest residual in each bin of host time. Shapes (points,) to (bins,)."""
    order = np.lexsort((residual, host // _BIN_NS))
    bins = (host // _BIN_NS)[order]
    first = np.concatenate(([True], bins[1:] != bins[:-1]))
    return order[first]


def _lower_line(x: np.ndarray, y: np.ndarray, tolerance: float) -> tuple[float, float]:
    """Expectile line through (x, y): offset at x = 0, and slope, with a prior of spread `tolerance` on it."""
    ridge = (_JITTER_NS / tolerance) ** 2
    offset, slope = float(y.min()), 0.0
    weight = np.ones_like(x)
    for _ in range(_ITERATIONS):
        mean_x, mean_y = np.average(x, weights=weight), np.average(y, weights=weight)
        dx = x - mean_x
        slope = float((weight * dx * (y - mean_y)).sum() / ((weight * dx * dx).sum() + ridge))
        offset = float(mean_y - slope * mean_x)
        weight = np.where(y > offset + slope * x, _UPPER_WEIGHT, 1.0)
    return offset, slope
