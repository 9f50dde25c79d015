"""The heart in the EMG: potentials that come again and again, of one shape, at the pace of a pulse.

Rules:

* One channel each. A beat is known by its shape once four in a row came in turn: three intervals of 0.35 to 1.4 s,
  each within 15 % of the one before. Until then its potentials look like twitches, and are reported.
* A motor unit has one shape, too, but no pulse: what keeps coming out of turn is forgotten as a heart.
* A regular motor unit in a held muscle discharges at 4 Hz or more (detection.md 4) and is not taken for one.

What it cannot do: tell a heart from twitches of one unit that come as regularly as a heart.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

Shape = NDArray[np.float64]
"""Conditioned signal around a potential, shape (samples,)."""

SHAPE_S = 0.1
_SLACK_S = 0.015
"""By which two shapes are moved against each other: the peak of the energy may lie on another wave."""
_ALIKE = 0.75
"""Correlation of two beats; breathing turns the heart a little."""
_SIZE = 1.8
"""Largest ratio of the sizes of two beats: breathing changes it by a third."""
_INTERVAL_S = (0.35, 1.4)
_IRREGULAR = 0.15
"""Change from interval to interval."""
_OFF_BEAT = 0.25
"""Of a period, by which a beat may come too soon or too late."""
_IN_A_ROW = 4
_REMEMBERED_S = 7.0
_LOST_S = 12.0
"""A heart that was not heard for this long is no longer expected."""
_FOLLOW = 0.1
"""Weight of a new beat in the template."""
_TRUST_FIRST, _TRUST_MAX = 2.0, 8.0
_MISTRUST = 2.0
"""A beat in turn adds one to the trust, one out of turn costs this much."""


@dataclass(frozen=True, slots=True, eq=False)
class _Seen:
    at: int
    shape: Shape


class HeartBeats:
    """Recognises beats among the potentials of one channel.

    Args:
        rate_hz: samples a second.
    """

    def __init__(self, rate_hz: float) -> None:
        self._rate_hz = rate_hz
        self._slack = max(round(_SLACK_S * rate_hz), 1)
        self._seen: deque[_Seen] = deque()
        self._template: Shape | None = None
        self._last = 0
        self._is_paced = False
        self._period = 0.0
        self._trust = 0.0

    @property
    def beating(self) -> bool:
        """Whether a heart is known."""
        return self._template is not None

    def restart(self) -> None:
        """A gap: indices begin at 0. The heart is known still, but not when it beat last."""
        self._seen.clear()
        self._last, self._is_paced = 0, False

    def reach(self) -> tuple[int, int]:
        """Samples before and after a potential's peak that `feed` wants to see."""
        half = round(SHAPE_S * self._rate_hz / 2)
        return half + self._slack, half + self._slack + 1

    def feed(self, at: int, shape: Shape) -> bool:
        """Whether a potential is a beat.

        Args:
            at: index of its peak, later than the one before.
            shape: from `reach` before to `reach` after it.
        """
        if self._template is not None and at - self._last > _LOST_S * self._rate_hz:
            self._template = None
        if self._template is not None:
            return self._is_expected(at, shape, self._template)
        while self._seen and at - self._seen[0].at > _REMEMBERED_S * self._rate_hz:
            self._seen.popleft()
        row = self._row(at, shape)
        self._seen.append(_Seen(at, shape))
        if len(row) < _IN_A_ROW - 1:
            return False
        self._template = self._inner(shape)
        self._last, self._period = at, float(at - row[0])
        self._trust, self._is_paced = _TRUST_FIRST, True
        self._seen.clear()
        return True

    def _is_expected(self, at: int, shape: Shape, template: Shape) -> bool:
        lag = self._lag(template, shape)
        if lag is None:
            return False
        if self._is_paced:
            self._judge_pace(at - self._last)
        self._last, self._is_paced = at, True
        if self._trust <= 0:
            self._template = None
            return False
        self._template = template + _FOLLOW * (self._inner(shape, lag) - template)
        return True

    def _judge_pace(self, interval: int) -> None:
        beats = 2 if interval > 1.5 * self._period else 1  # one may have been missed
        if abs(interval - beats * self._period) <= _OFF_BEAT * self._period:
            self._trust = min(self._trust + 1, _TRUST_MAX)
            self._period += 0.2 * (interval / beats - self._period)
        else:
            self._trust -= _MISTRUST

    def _row(self, at: int, shape: Shape) -> list[int]:
        """When the beats before this one were, latest first, if all that look like it came in turn."""
        template = self._inner(shape)
        all_alike = (s.at for s in reversed(self._seen) if self._lag(template, s.shape) is not None)
        alike = list(islice(all_alike, _IN_A_ROW - 1))
        if len(alike) < _IN_A_ROW - 1:
            return []
        intervals = -np.diff([at, *alike]) / self._rate_hz
        shortest, longest = _INTERVAL_S
        in_pace = (shortest <= intervals) & (intervals <= longest)
        steady = np.abs(np.diff(intervals)) <= _IRREGULAR * intervals[:-1]
        return alike if in_pace.all() and steady.all() else []

    def _inner(self, shape: Shape, lag: int | None = None) -> Shape:
        first = self._slack if lag is None else lag
        return shape[first : len(shape) - 2 * self._slack + first]

    def _lag(self, template: Shape, shape: Shape) -> int | None:
        """Where in `shape` the template lies; None where it is another one."""
        products = np.correlate(shape, template, "valid")
        lag = int(products.argmax())
        there = shape[lag : lag + len(template)]
        size, other = float(template @ template), float(there @ there)
        if not 1 / _SIZE**2 <= other / max(size, 1e-30) <= _SIZE**2:
            return None
        return lag if products[lag] ** 2 >= _ALIKE**2 * size * other and products[lag] > 0 else None
