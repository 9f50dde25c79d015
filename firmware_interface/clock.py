"""The device's clock on the host's: when was this sample taken?

A radio delays, and never advances: arrivals lie on or above the line host = offset + slope * device. Of all lines
below a sliding window of arrivals, the mean is taken, weighed by how likely each is: of n delays of which half
are below d, the least is exponential with a mean of 2 d / n. A prior holds the slope near the nominal one until
the window can do better. What lies well above, seconds of congestion included, hardly touches it. What no fit can
see is the constant part of the delay.

With waits of up to 30 ms times are within 3 ms after 120 arrivals (95 of 100; 6 ms at worst) and within 2 ms after
250, in a window of 600 (measured, 80 seeds): 15 s of most devices, 3 minutes of one that sends 1.4 a second.

The one line that is pushed up from below until it carries the most that it can is off by twice as much where a
device sends few frames, and mostly late. Least squares through all arrivals follows the *mean* delay instead,
which moves with the load of the radio; an expectile still moves by 34 ms when a fifth of the arrivals is 200 ms
late (tests/test_clock.py; this: by 2 ms).

Rule: pure; ticks are whatever the device counts, nanoseconds or samples.
"""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

_WINDOW = 600
"""Arrivals. What a fit can tell depends on how many there are: a minute of most devices, seven of one that sends
1.4 frames a second, as do some armbands."""
_WINDOW_NS = 600_000_000_000
"""A crystal's rate moves by a millionth in so long, with its temperature."""
_BIN_NS = 100_000_000
"""Of the arrivals in so short a time the earliest says it all."""
_REFIT_NS = 4_000_000_000
_REFIT_SHARE = 16
"""Of the time heard so far, while that is short: a new fit would find much the same."""
_SLOPE_MAX = 3.0
"""In units of the tolerance."""
_SLOPES = 17
"""Compared at a time."""
_NARROWINGS = 12
"""At most; each at least halves the range."""
_UNLIKELY = -8.0
"""Logarithm of a likelihood, relative to the best, that may be left out."""


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
        self._points: deque[tuple[int, int]] = deque(maxlen=_WINDOW)
        self._bin = -1
        self._least_ns = 0.0
        self._next_fit_ns = 0
        self._origin = (0, 0)
        self._offset_ns = 0.0
        self.tick_ns = tick_ns
        """Present estimate of the nanoseconds a tick."""

    def feed(self, tick: int, arrival_ns: int, now_ns: int) -> None:
        """Note that the packet sampled at `tick` arrived at `arrival_ns`. By `now_ns`, which is another time where
        the host's part is played by a device's clock, fits are made no oftener than they are of use."""
        if not self._points:
            self._origin = (tick, arrival_ns)
        waited_ns = self._residual_ns(tick, arrival_ns)
        self._keep(tick, arrival_ns, waited_ns)
        if now_ns >= self._next_fit_ns:
            heard_ns = arrival_ns - self._points[0][1]
            self._next_fit_ns = now_ns + min(max(heard_ns // _REFIT_SHARE, _BIN_NS), _REFIT_NS)
            self._fit()
            waited_ns = self._residual_ns(tick, arrival_ns)
        self._offset_ns = min(self._offset_ns, waited_ns)

    def at(self, tick: int) -> int:
        """Host time of `tick`, ns. Only after the first `feed`."""
        return self._origin[1] + round((tick - self._origin[0]) * self.tick_ns + self._offset_ns)

    def _residual_ns(self, tick: int, arrival_ns: int) -> float:
        return arrival_ns - self._origin[1] - (tick - self._origin[0]) * self.tick_ns

    def _keep(self, tick: int, arrival_ns: int, waited_ns: float) -> None:
        """Of each bin the earliest, relative to the line."""
        bin_ = (arrival_ns - self._origin[1]) // _BIN_NS
        if bin_ != self._bin:
            self._bin = bin_
            self._points.append((tick, arrival_ns))
            while self._points[0][1] < arrival_ns - _WINDOW_NS:
                self._points.popleft()
        elif waited_ns <= self._least_ns:
            self._points[-1] = (tick, arrival_ns)
        else:
            return
        self._least_ns = waited_ns

    def _fit(self) -> None:
        points = np.array(self._points, np.int64) - self._origin
        x, host = points[:, 0].astype(float) * self._nominal_ns, points[:, 1].astype(float)
        self._offset_ns, slope = _line_below(x, host - x, self._tolerance)
        self.tick_ns = self._nominal_ns * (1 + slope)
        self._least_ns = self._residual_ns(*self._points[-1])


def _line_below(x: NDArray[np.float64], y: NDArray[np.float64], tolerance: float) -> tuple[float, float]:
    """The mean of the lines that may lie under the points (x, y): offset at x = 0, and slope.

    Likelihood is concave in the slope, so narrowing the range from both sides finds where it is.
    """
    away = x - x.mean()
    low, high = -_SLOPE_MAX * tolerance, _SLOPE_MAX * tolerance
    for _ in range(_NARROWINGS):
        slopes = np.linspace(low, high, _SLOPES)
        above = y - slopes[:, None] * away
        heights = above.min(axis=1)
        best = heights.argmax()
        half = np.partition(above[best], len(x) // 2)[len(x) // 2]
        least = 2 * max(half - heights[best], 1.0) / len(x)
        likelihood = heights / least - (slopes / tolerance) ** 2 / 2
        likelihood -= likelihood.max()
        likely = np.flatnonzero(likelihood > _UNLIKELY)
        first, last = max(likely[0] - 1, 0), min(likely[-1] + 1, _SLOPES - 1)
        if 2 * (last - first) >= _SLOPES:
            break
        low, high = slopes[first], slopes[last]
    weights = np.exp(likelihood)
    slope, height = np.stack((slopes, heights)) @ (weights / weights.sum())
    return float(height - least - slope * x.mean()), float(slope)
