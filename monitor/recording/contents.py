"""What a recording holds: blocks and gaps in time order.

Rules of this module:

* Times are ns from the file's start. The index of a sample counts the lost ones, as it does for live data.
* A sample is lost where time says so and goes on saying so: a timestamp that is late, once, is no loss.
* A sample without a number in every channel of its stream is a lost sample.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import chain, islice, pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from firmware_interface.samples import Counts, Gap, GapReason, SampleBlock, Stream, Timebase
from monitor.recording.channels import Group

Piece = SampleBlock | Gap

HOLE = 1.5
"""Periods. A longer step between timestamps is a hole, in which samples may have been lost."""
_WINDOW_S = 0.25
"""How long a step must be looked at to tell lateness from loss. Longer than the hiccups of a radio, and short
enough for a nominal rate that is off by 0.1 % to drift by much less than a sample."""


@dataclass(frozen=True, slots=True)
class Recording:
    """A recording that was opened."""

    path: Path
    streams: tuple[Stream, ...]
    duration_s: float
    """From the first sample to the end of the last, gaps included."""
    start: datetime | None
    """When it began, by the file: without a time zone, as in EDF and BDF. `None` where it does not say."""
    notes: tuple[str, ...]
    """What was left out or doubtful, one line each, for the person."""
    pieces: Callable[[float], Iterator[Piece]] = field(repr=False, compare=False)
    """How `blocks` gets at the samples."""
    windows: Callable[[float, int], Iterator[list[Piece]]] | None = field(default=None, repr=False, compare=False)
    """How `batches` does, of a format that can begin anywhere."""

    def batches(self, seconds: float = 10.0, skip: int = 0) -> Iterator[list[Piece]]:
        """What `blocks` gives, in the same order, a few at a time: where one may stop and go on later.

        Args:
            seconds: as for `blocks`.
            skip: how many to leave out at the beginning; in EDF and BDF they are not read.
        """
        if self.windows is not None:
            return self.windows(seconds, skip)
        return islice(([piece] for piece in self.pieces(seconds)), skip, None)

    def blocks(self, seconds: float = 10.0) -> Iterator[Piece]:
        """All samples and gaps of all streams in the order of their start, from the beginning at each call.

        Args:
            seconds: length of a block, at least one sample, in EDF and BDF at least one data record.

        Raises:
            RecordingError: the file was changed since it was opened.
        """
        return chain.from_iterable(self.batches(seconds))


@dataclass(frozen=True, slots=True, eq=False)
class Track:
    """One stream in memory, with the place of each sample."""

    stream: Stream
    index: NDArray[np.int64]
    """Shape (samples,), rising."""
    counts: Counts
    """Shape (channels, samples)."""
    end: int
    """Index after the last sample, present or lost."""
    timebase: Timebase
    exact: bool
    """Whether lost samples were counted, not inferred from time."""

    def pieces(self, seconds: float) -> Iterator[Piece]:
        """Blocks of at most `seconds`, and the gaps between them, in order."""
        step = max(1, round(seconds * self.stream.rate_hz))
        expected = 0
        for start, stop in self._runs():
            yield from self._gap(expected, int(self.index[start]))
            for at in range(start, stop, step):
                counts = self.counts[:, at : min(at + step, stop)]
                yield SampleBlock(self.stream, int(self.index[at]), self.timebase, counts)
            expected = int(self.index[stop - 1]) + 1
        yield from self._gap(expected, self.end)

    def _runs(self) -> Iterator[tuple[int, int]]:
        """Positions (start, stop) of samples without a loss between them."""
        breaks = np.flatnonzero(np.diff(self.index) != 1) + 1
        return pairwise([0, *breaks.tolist(), len(self.index)])

    def _gap(self, first: int, stop: int) -> Iterator[Gap]:
        if stop > first:
            start_ns, end_ns = self.timebase.at(first), self.timebase.at(stop)
            yield Gap(self.stream, start_ns, end_ns, stop - first, GapReason.LOST, self.exact)


def track(
    stream: Stream, index: NDArray[np.int64], counts: Counts, timebase: Timebase, *, exact: bool
) -> Track | None:
    """A track of the samples that have a number in every channel; `None` if there is none.

    Args:
        index: shape (samples,).
        counts: shape (channels, samples).
    """
    whole = np.isfinite(counts).all(axis=0)
    if not whole.any():
        return None
    end = int(index[-1]) + 1
    if not whole.all():
        index, counts = index[whole], counts[:, whole]
    return Track(stream, index, counts, end, timebase, exact)


def present(groups: Sequence[Group], made: Sequence[Track | None]) -> tuple[list[Track], list[str]]:
    """The tracks that hold samples, and a note on each that holds none."""
    empty = [g.stream for g, t in zip(groups, made, strict=True) if t is None]
    notes = [f"stream {s.name} ({', '.join(s.channels)}): no sample is complete; left out" for s in empty]
    return [t for t in made if t is not None], notes


def merged(tracks: Sequence[Track]) -> Callable[[float], Iterator[Piece]]:
    """The pieces of all `tracks` in the order of their start."""

    def pieces(seconds: float) -> Iterator[Piece]:
        return heapq.merge(*(t.pieces(seconds) for t in tracks), key=lambda piece: piece.start_ns)

    return pieces


def numbered(times_s: NDArray[np.float64], period_s: float) -> NDArray[np.int64]:
    """The index of each sample, from timestamps that may be late but are never early by much.

    Each step longer than `HOLE` periods is a suspect: samples may be lost there, or the sample after it came
    late, as over a radio that sends in bursts. Lateness passes within `_WINDOW_S`, loss does not: what the
    most punctual samples after the step are later than those before it was lost.
    """
    n, window = len(times_s), max(1, round(_WINDOW_S / period_s))
    late_s = times_s - times_s[0] - period_s * np.arange(n)
    lost = np.zeros(n, np.int64)
    done, total = 0, 0
    for at in (np.flatnonzero(np.diff(times_s) > HOLE * period_s) + 1).tolist():
        lost[done:at] = total
        start = max(0, at - window)
        before_s = (late_s[start:at] - period_s * lost[start:at]).min()
        after_s = late_s[at : at + window].min() - period_s * total
        total += max(0, round((after_s - before_s) / period_s))
        done = at
    lost[done:] = total
    return np.arange(n) + lost
