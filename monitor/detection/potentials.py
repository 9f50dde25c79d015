"""Runs of energy above the noise, one row a channel.

Rule: hysteresis. A run is known by one sample above the threshold and reaches, on both sides, to where the energy
falls below a share of it. Runs with little between them are one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from monitor.detection.past import Past

_RELEASE = 0.35
"""Share of the threshold."""


@dataclass(slots=True, eq=False)
class Potential:
    """A run of energy on one channel, in sample indices."""

    channel: int
    start: int
    stop: int
    """Last sample above the release level, plus one."""
    peak: int
    energy: float
    threshold: float
    closed: bool = False
    """Whether it was decided."""
    foreign: bool = False
    """Whether it is not of the muscle: the heart's, or an artefact."""


class Runs:
    """Finds potentials as their energy comes.

    Args:
        channels: rows of the energy.
        merge: samples of quiet that do not end a run.
    """

    def __init__(self, channels: int, merge: int) -> None:
        self._merge = merge
        self._open: list[Potential | None] = [None] * channels

    @property
    def running(self) -> list[Potential]:
        """Those that may still grow."""
        return [run for run in self._open if run]

    def close(self) -> None:
        """Nothing grows any more."""
        self._open = [None] * len(self._open)

    def feed(self, energy: Past, start: int, stop: int, threshold: NDArray[np.float64]) -> list[Potential]:
        """Look at the next samples, `start` to `stop`; return the potentials that are new.

        Args:
            energy: of all channels.
            start: first sample that was not looked at.
            stop: the one after the last.
            threshold: a number a channel; NaN where nothing shall be found.
        """
        new = energy.span(start, stop)
        loud = (new.max(axis=1) > threshold).tolist()
        found: list[Potential] = []
        for c, run in enumerate(self._open):
            if loud[c] or run:
                self._follow(c, energy, start, new[c], float(threshold[c]), found)
        return found

    def _follow(
        self,
        c: int,
        energy: Past,
        start: int,
        new: NDArray[np.float64],
        threshold: float,
        found: list[Potential],
    ) -> None:
        release = _RELEASE * threshold
        for first, last in stretches(new > release):
            run = self._open[c]
            if run is not None and start + first - run.stop > self._merge:
                self._open[c] = run = None
            peak = first + int(new[first:last].argmax())
            if run is None:
                if not new[peak] > threshold:
                    continue
                begin = start + first if first else _begin(energy, c, start, release)
                run = self._open[c] = Potential(c, begin, begin, begin, 0.0, threshold)
                found.append(run)
            if new[peak] > run.energy:
                run.energy, run.peak = float(new[peak]), start + peak
            run.stop = start + last
        run = self._open[c]
        if run is not None and start + len(new) - run.stop > self._merge:
            self._open[c] = None


def stretches(mask: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """First sample and the one after the last of each stretch that is true."""
    edges = np.flatnonzero(mask[1:] != mask[:-1]) + 1
    bounds = [*([0] if mask[0] else []), *edges.tolist(), *([len(mask)] if mask[-1] else [])]
    return list(zip(bounds[::2], bounds[1::2], strict=True))


def _begin(energy: Past, channel: int, start: int, release: float) -> int:
    """A run that is loud only now may have begun before."""
    before = energy.span(energy.start, start)[channel]
    quiet = np.flatnonzero(before <= release)
    return start - len(before) + (int(quiet[-1]) + 1 if len(quiet) else 0)
