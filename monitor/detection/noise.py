"""The local noise floor: what the channel looks like when nothing happens.

A floor is the lower quartile of the energy of short ticks over the last half minute. A tick is half
a frame. A contraction, a movement or a twitch fills the upper ticks and leaves it alone; ticks far above the
floor count one eighth, so that a contraction of minutes raises it late, and truly louder noise still gets its
turn. The crests of the same ticks, their largest energies, tell how restless the noise is.

Rules: causal; survives gaps; one row a channel, vectorised over channels and ticks.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_WINDOW_TICKS = 320
FLOOR_QUANTILE = 0.25
_FLOOR_QUANTILES = np.array([FLOOR_QUANTILE])
_ACTIVE = 4.0
"""Energy over the floor from which a tick is taken as active: twice the amplitude."""
_ACTIVE_ONE_IN = 8
_WARM_TICKS = 2

Ticks = NDArray[np.float64]
"""Shape (channels, ticks)."""


class NoiseFloor:
    """Running quantiles of the energy of ticks, a channel each.

    Args:
        channels: rows of ticks.
        crest_quantiles: which of the crests are wanted.
    """

    def __init__(self, channels: int, crest_quantiles: tuple[float, ...] = ()) -> None:
        self._quantiles = np.array(crest_quantiles)
        self._energies = np.full((channels, _WINDOW_TICKS), np.inf)
        self._crests = self._energies.copy()
        self._written = np.zeros(channels, int)
        self._active = 0
        self.energy = np.full(channels, np.nan)
        """Mean square of the noise, unit squared, shape (channels,)."""
        self.crests = np.full((channels, len(crest_quantiles)), np.nan)
        """Quantiles of the crests, unit squared, shape (channels, quantiles)."""

    @property
    def warm(self) -> NDArray[np.bool_]:
        """Whether a channel has been heard for long enough to judge it."""
        return self._written >= _WARM_TICKS

    def feed(self, energies: Ticks, usable: NDArray[np.bool_], crests: Ticks | None = None) -> None:
        """Learn from ticks.

        Args:
            energies: mean square of each tick.
            usable: whether the tick was wholly received with contact, same shape.
            crests: largest energy in each tick, where crests are wanted.
        """
        turn = (self._active + np.arange(energies.shape[1])) % _ACTIVE_ONE_IN == 0
        self._active += energies.shape[1]
        kept = usable & (~(energies > _ACTIVE * self.energy[:, None]) | turn)
        rows, columns = np.nonzero(kept)
        places = (self._written[:, None] + np.cumsum(kept, axis=1) - 1)[rows, columns] % _WINDOW_TICKS
        self._energies[rows, places] = energies[rows, columns]
        self._written += kept.sum(axis=1)
        heard = np.minimum(self._written, _WINDOW_TICKS)
        self.energy = _quantiles(self._energies, heard, _FLOOR_QUANTILES)[:, 0]
        if crests is not None:
            self._crests[rows, places] = crests[rows, columns]
            self.crests = _quantiles(self._crests, heard, self._quantiles)


def _quantiles(ring: Ticks, heard: NDArray[np.int_], quantiles: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of what was heard, shape (channels, quantiles); NaN before anything was."""
    rank = np.maximum((heard[:, None] * quantiles).astype(int) - 1, 0)
    values = np.sort(ring, axis=1)[np.arange(len(ring))[:, None], rank]
    return np.where(heard[:, None] > 0, values, np.nan)
