"""From events in time to samples.

Rules of this module:

* An event has an `onset_s`, on a clock that starts at 0 with the arm and never resets.
* A process is an endless iterator of events in order of time. It is drawn from its own generator, so whoever
  reads it again from the same seed, at whatever pace, reads the same events.
* Samples are made in chunks of fixed length, each from the events that begin in it; nothing of a chunk is
  kept but what its responses add to the next.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Generic, NamedTuple, Protocol, TypeVar

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.ndimage import convolve1d

Floats = NDArray[np.float64]

_BATCH = 256  # firings superposed at once; bounds the memory of a strong contraction


class _Event(Protocol):
    @property
    def onset_s(self) -> float: ...


class _Episode(_Event, Protocol):
    @property
    def duration_s(self) -> float: ...


EventT = TypeVar("EventT", bound=_Event)
EpisodeT = TypeVar("EpisodeT", bound=_Episode)


class Firing(NamedTuple):
    """One impulse down a motor neuron, or one heart beat."""

    onset_s: float
    unit: int
    gain: float
    doublet: bool = False


def onsets_s(rng: Generator, per_s: float, apart_s: float = 0.0) -> Iterator[float]:
    """Poisson times of mean rate `per_s`, at least `apart_s` apart; none where the rate is 0."""
    time_s = -apart_s
    while per_s:
        time_s += apart_s + rng.exponential(1 / per_s - apart_s)
        yield time_s


class Upcoming(Generic[EventT]):
    """Reads a process as far as it is asked to."""

    def __init__(self, events: Iterator[EventT]) -> None:
        self._events = events
        self._next = next(events, None)

    def until(self, time_s: float) -> list[EventT]:
        """The events before `time_s` that were not given yet."""
        given: list[EventT] = []
        while self._next is not None and self._next.onset_s < time_s:
            given.append(self._next)
            self._next = next(self._events, None)
        return given


class Ongoing(Generic[EpisodeT]):
    """Reads a process of episodes and keeps those that last."""

    def __init__(self, episodes: Iterator[EpisodeT]) -> None:
        self._upcoming = Upcoming(episodes)
        self._begun: list[EpisodeT] = []

    def during(self, start_s: float, end_s: float) -> list[EpisodeT]:
        """The episodes that overlap this time; times asked for never go back."""
        self._begun += self._upcoming.until(end_s)
        self._begun = [e for e in self._begun if e.onset_s + e.duration_s > start_s]
        return self._begun


class Superposition:
    """The sum of each unit's response to each of its firings.

    Args:
        responses: shape (units, points, outputs); each begins at the firing.
        points_hz: points a second of `responses`, well above `rate_hz` or above what they contain.
        rate_hz: samples a second to make.
        chunk: samples to make at once.
    """

    def __init__(self, responses: Floats, points_hz: float, rate_hz: float, chunk: int) -> None:
        self._responses = np.pad(responses, ((0, 0), (0, 2 + math.ceil(points_hz / rate_hz)), (0, 0)))
        self._points_hz = points_hz
        self._rate_hz = rate_hz
        self._chunk = chunk
        self._steps = np.arange(math.ceil(responses.shape[1] * rate_hz / points_hz))
        self._first = 0
        self._sum = np.zeros((responses.shape[2], chunk + len(self._steps) + 1))

    def next(self, firings: list[Firing]) -> Floats:
        """The next chunk, shape (outputs, chunk), from the firings before its end that were not given yet."""
        for start in range(0, len(firings), _BATCH):
            self._add(firings[start : start + _BATCH])
        samples = self._sum[:, : self._chunk].copy()
        self._sum[:, : -self._chunk] = self._sum[:, self._chunk :]
        self._sum[:, -self._chunk :] = 0
        self._first += self._chunk
        return samples

    def _add(self, firings: list[Firing]) -> None:
        onsets, units, gains = (np.array([f[i] for f in firings]) for i in range(3))
        first = np.ceil(onsets * self._rate_hz).astype(np.int64)
        late = (first / self._rate_hz - onsets) * self._points_hz
        position = late[:, None] + self._steps * (self._points_hz / self._rate_hz)
        point = position.astype(np.int64)
        fraction = (position - point)[..., None]
        unit = units.astype(np.int64)[:, None]
        left, right = self._responses[unit, point], self._responses[unit, point + 1]
        values = (left + fraction * (right - left)) * gains[:, None, None]
        sample = (first[:, None] - self._first + self._steps).ravel()
        for output in range(len(self._sum)):
            weights = values[..., output].ravel()
            self._sum[output] += np.bincount(sample, weights, self._sum.shape[1])


def converted(responses: Floats, points_hz: float, rate_hz: float) -> Floats:
    """`responses` (units, points, outputs) as a converter of `rate_hz` averages them, without delay.

    Three averages over one sample period, the sinc^3 of sigma-delta converters (ADS129x: -3 dB at 0.26 of the
    rate). Without it a slow device would fold back what it cannot hold, which real ones do not.
    """
    period = points_hz / rate_hz
    reach = math.ceil(1.5 * period)
    u = np.abs(np.arange(-reach, reach + 1)) / period
    kernel = np.where(u < 0.5, 0.75 - u**2, 0.5 * np.maximum(1.5 - u, 0) ** 2)
    return np.asarray(convolve1d(responses, kernel / kernel.sum(), axis=1, mode="constant"))
