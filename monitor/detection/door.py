"""The door of a detector: blocks of any length in, whole frames out, gaps bridged or told, times remembered.

Rules:

* What leaves depends on the samples only, never on how they were cut: pieces of whole frames that do not reach
  over a *lesson*. Between lessons a detector learns nothing, so how many frames come at once cannot matter.
* A gap of up to `BRIDGE_S` is bridged by a straight line whose samples are blind; a longer one ends the stretch,
  as does an index that runs backwards.
"""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

from firmware_interface.samples import SampleBlock, Timebase

BRIDGE_S = 0.25
"""A lost packet or two; longer, and a straight line says nothing about the signal."""

Piece = tuple[NDArray[np.float64], NDArray[np.bool_]]
"""Samples of whole frames, shape (channels, frames * length), and which of them are made up, shape (samples,)."""


class Door:
    """Cuts blocks into frames, bridges short gaps, and knows the times.

    Args:
        rate_hz: samples a second.
        length: samples in a frame.
        lesson: frames from lesson to lesson; the first `lesson` frames of a stretch are a lesson each, so that
            little is missed of its beginning.
    """

    def __init__(self, rate_hz: float, length: int, lesson: int = 1) -> None:
        self._bridge = BRIDGE_S * rate_hz
        self._length = length
        self._lesson = lesson
        self._times: deque[tuple[int, Timebase]] = deque()
        self._waiting: list[NDArray[np.float64]] = []
        self._blind: list[NDArray[np.bool_]] = []
        self._last: NDArray[np.float64] = np.zeros(0)
        self._open = False
        self._next = 0
        self._given = 0
        self.begin = 0
        """Index of the stretch's first sample."""
        self.end: int | None = None
        """Index after its last one, once that is known."""

    def is_broken_by(self, block: SampleBlock) -> bool:
        """Whether the stretch must be closed before this block can be taken."""
        missing = block.first - self._next
        return self._open and block.length > 0 and not 0 <= missing <= self._bridge

    def take(self, block: SampleBlock) -> list[Piece]:
        """The frames that are now whole."""
        if not block.length:
            return []
        x = block.physical
        if not self._open:
            self._clear(block.first)
        elif missing := block.first - self._next:
            share = np.arange(1, missing + 1) / (missing + 1)
            before, after = self._last[:, None], x[:, :1]
            self._append(before + (after - before) * share, blind=True)
        if not self._times or self._times[-1][1] is not block.timebase:
            self._times.append((block.first, block.timebase))
        self._append(x, blind=False)
        return self._pieces()

    def close(self, more: int) -> list[Piece]:
        """The stretch has ended: what is left, with the last value held for `more` further frames."""
        if not self._open:
            return []
        self._open, self.end = False, self._next
        hold = -sum(map(len, self._blind)) % self._length + more * self._length
        self._append(np.repeat(self._last[:, None], hold, axis=1), blind=True)
        return self._pieces()

    def teaches(self, frame: int) -> bool:
        """Whether a lesson follows upon the `frame`-th frame of a stretch, counted from 1."""
        return frame < self._lesson or frame % self._lesson == 0

    def time_ns(self, index: int) -> int:
        """The time of a sample of the open stretch."""
        for first, timebase in reversed(self._times):
            if first <= index:
                return timebase.at(index)
        return self._times[0][1].at(index)

    def forget_times(self, index: int) -> None:
        """No time before `index` will be asked for."""
        while len(self._times) > 1 and self._times[1][0] <= index:
            self._times.popleft()

    def _clear(self, begin: int) -> None:
        self._open = True
        self.begin = self._next = begin
        self.end = None
        self._given = 0
        self._waiting, self._blind = [], []

    def _append(self, x: NDArray[np.float64], *, blind: bool) -> None:
        self._waiting.append(x)
        self._blind.append(np.full(x.shape[1], blind))
        self._next += x.shape[1]
        if x.shape[1]:
            self._last = x[:, -1]

    def _pieces(self) -> list[Piece]:
        frames = sum(map(len, self._blind)) // self._length
        if not frames:
            return []
        x, blind = np.concatenate(self._waiting, axis=1), np.concatenate(self._blind)
        whole = frames * self._length
        self._waiting, self._blind = [x[:, whole:]], [blind[whole:]]
        pieces, done = [], 0
        while done < frames:
            count = 1
            while done + count < frames and not self.teaches(self._given + count):
                count += 1
            part = slice(done * self._length, (done + count) * self._length)
            pieces.append((x[:, part], blind[part]))
            done += count
            self._given += count
        return pieces
