"""The local noise floor: what the channel looks like when nothing happens.

A floor is the lower quartile of the energy of short ticks over the last half minute. A tick is half
a frame. A contraction, a movement or a twitch fills the upper ticks and leaves it alone; ticks far above the
floor count one eighth, so that a contraction of minutes raises it late, and truly louder noise still gets its
turn.

Rules: causal; survives gaps; one row a channel, vectorised over channels.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_WINDOW_TICKS = 320
FLOOR_QUANTILE = 0.25
_ACTIVE = 4.0
"""Energy over the floor from which a tick is taken as active: twice the amplitude."""
_ACTIVE_ONE_IN = 8
_WARM_TICKS = 2


class NoiseFloor:
    """Running quantile of tick energy, a channel each; the lower quartile unless told otherwise."""

    def __init__(self, channels: int, quantile: float = FLOOR_QUANTILE) -> None:
        self._quantile = quantile
        self._ring = np.full((channels, _WINDOW_TICKS), np.inf)
        self._written = np.zeros(channels, int)
        self._active = np.zeros(channels, int)
        self.energy = np.full(channels, np.nan)
        """Mean square of the noise, unit squared, shape (channels,)."""

    @property
    def warm(self) -> NDArray[np.bool_]:
        """Whether a channel has been heard for long enough to judge it."""
        return self._written >= _WARM_TICKS

    def feed(self, ticks: NDArray[np.float64], usable: NDArray[np.bool_]) -> None:
        """Learn from the ticks of one frame.

        Args:
            ticks: mean square of each tick, shape (channels, ticks).
            usable: whether the tick was wholly received with contact, same shape.
        """
        for tick, use in zip(ticks.T, usable.T, strict=True):
            self._active = np.where(tick > _ACTIVE * self.energy, self._active + 1, 0)
            rows = np.flatnonzero(use & (self._active % _ACTIVE_ONE_IN == 0))
            self._ring[rows, self._written[rows] % _WINDOW_TICKS] = tick[rows]
            self._written[rows] += 1
        heard = np.minimum(self._written, _WINDOW_TICKS)
        rank = np.maximum((heard * self._quantile).astype(int) - 1, 0)
        self.energy = np.sort(self._ring, axis=1)[np.arange(len(rank)), rank]
        self.energy[heard == 0] = np.nan
