"""The last samples of a signal, addressed by index. Bounded; moves its content once in a while."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_ROOM = 4
"""Times as much is held as is kept, so that content moves seldom."""


class Past:
    """The last samples of some rows, at least `keep` of them.

    Args:
        rows: of the signal.
        keep: samples that can be asked for.
    """

    def __init__(self, rows: int, keep: int) -> None:
        self._data = np.zeros((rows, _ROOM * keep))
        self._keep = keep
        self.restart(0)

    @property
    def end(self) -> int:
        """Index after the newest sample."""
        return self._first + self._used

    @property
    def start(self) -> int:
        """Index of the oldest sample that is surely kept."""
        return self.end - self._keep

    def restart(self, index: int) -> None:
        """The next sample is `index`; before it there was nothing but zeros."""
        self._first = index - self._keep
        self._used = self._keep
        self._data[:, : self._keep] = 0

    def append(self, x: NDArray[np.float64]) -> None:
        """Add the next samples, shape (rows, samples)."""
        length = x.shape[1]
        if self._used + length > self._data.shape[1]:
            self._data[:, : self._keep] = self._data[:, self._used - self._keep : self._used]
            self._first += self._used - self._keep
            self._used = self._keep
        self._data[:, self._used : self._used + length] = x
        self._used += length

    def span(self, start: int, stop: int) -> NDArray[np.float64]:
        """Samples `start` to `stop`, cut to what is kept; a view."""
        return self._data[:, max(start - self._first, 0) : min(max(stop - self._first, 0), self._used)]

    def last(self, count: int) -> NDArray[np.float64]:
        """The newest samples; a view."""
        return self._data[:, self._used - count : self._used]

    def raise_to(self, row: int, start: int, stop: int, value: float) -> None:
        """No sample of the span stays below `value`."""
        part = self.span(start, stop)[row]
        np.maximum(part, value, out=part)
