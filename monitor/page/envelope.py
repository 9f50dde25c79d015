"""The signal as a screen can draw it: the least and the largest value in each column of 10 ms or more.

    RawArchive.window ─► envelope ─► columns ─► Live (the last 40 s, kept) | a stretch of the past

Rules:

* Columns are counted from 1970 UTC: two browsers that look at one time draw the same, and share its cost.
* What is drawn is what the detector works on, band-passed; each block is filtered with the one before it as its
  run-up, so that a column does not depend on where a window begins.
* A column without a sample between two that have some repeats the one before; NaN is what was not received.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from firmware_interface.samples import SampleBlock, Sensor, Stream
from monitor.detection.conditioning import BandPass
from monitor.raw import RawArchive
from monitor.store import KnownDevice

COLUMN_NS = 10**7
LIVE_S = 40.0
"""How much of the present is kept ready."""

_RUN_UP_NS = 2 * 10**9
_FRESH_NS = 4 * 10**8
_JOIN_NS = 10**8
_SHOWN = frozenset({Sensor.EMG, Sensor.ACC})

Columns = NDArray[np.float32]
"""Shape (channels, columns, 2): least and largest; NaN where nothing was received."""


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """A stream in a stretch of columns."""

    device_id: int
    stream: Stream
    columns: Columns


def shown(device: KnownDevice) -> list[Stream]:
    """The streams that twitches are looked for in."""
    return [stream for stream in device.device.streams if stream.sensor in _SHOWN]


def envelope(blocks: Sequence[SampleBlock], channels: int, first: int, count: int, column_ns: int) -> Columns:
    """The columns `first` to `first + count` of a stream.

    Args:
        blocks: in order of time; those before the first column are run-up.
        channels: of the stream.
        first: number of the first column since 1970.
        count: of columns.
        column_ns: width of one.
    """
    columns = np.full((channels, count, 2), np.nan, np.float32)
    before: SampleBlock | None = None
    for block in blocks:
        if block.length and block.counts.shape[0] == channels and block.end_ns > first * column_ns:
            _enter(columns, _band(block, before), block, first, column_ns)
        before = block
    return columns


def past(raw: RawArchive, device: KnownDevice, first: int, count: int, column_ns: int) -> list[Drawn]:
    """A stretch of a device as it was kept."""
    since_ns, until_ns = first * column_ns, (first + count) * column_ns
    drawn = []
    for stream in shown(device):
        blocks = raw.window(device.id, stream.name, since_ns - _RUN_UP_NS, until_ns).blocks
        of_stream = [block for block in blocks if block.stream.channels == stream.channels]
        drawn.append(Drawn(device.id, stream, envelope(of_stream, len(stream.channels), first, count, column_ns)))
    return drawn


class Live:
    """The present, read once for all browsers. Used from any thread.

    Args:
        raw: where the signal comes to be stored, a second at a time.
    """

    def __init__(self, raw: RawArchive) -> None:
        self._raw = raw
        self._lock = Lock()
        self._read_ns = 0
        self._kept: dict[tuple[int, str], Drawn] = {}
        self._first = 0

    def columns(self, devices: Iterable[KnownDevice], first: int, count: int, now_ns: int) -> list[Drawn] | None:
        """The columns of all devices; `None` where they begin before what is kept."""
        with self._lock:
            if now_ns - self._read_ns > _FRESH_NS:
                self._read(devices, now_ns)
                self._read_ns = now_ns
            if first < self._first:
                return None
            begin = first - self._first
            return [
                Drawn(each.device_id, each.stream, _padded(each.columns[:, begin : begin + count], count))
                for each in self._kept.values()
            ]

    def _read(self, devices: Iterable[KnownDevice], now_ns: int) -> None:
        """What came since the last time, behind what is kept; a block may still follow one that was read."""
        first = int((now_ns - LIVE_S * 1e9) // COLUMN_NS)
        end = now_ns // COLUMN_NS + 1
        moved = first - self._first
        for device in devices:
            for stream in shown(device):
                key = device.id, stream.name
                known = self._kept.get(key)
                again = known is None or known.stream != stream or moved > known.columns.shape[1]
                since = first if again else end - round(_recent_s(now_ns - self._read_ns) * 1e9 / COLUMN_NS)
                blocks = self._raw.window(device.id, stream.name, since * COLUMN_NS - _RUN_UP_NS, now_ns).blocks
                fresh = envelope(blocks, len(stream.channels), since, end - since, COLUMN_NS)
                if not again and known is not None:
                    kept = known.columns[:, max(moved, 0) : max(since - self._first, 0)]
                    hole = np.full((len(stream.channels), since - first - kept.shape[1], 2), np.nan, np.float32)
                    fresh = np.concatenate([kept, hole, fresh], axis=1)
                self._kept[key] = Drawn(device.id, stream, fresh)
        self._first = first


def wider(columns: Columns, factor: int) -> Columns:
    """So many columns as one."""
    if factor == 1:
        return columns
    grouped = columns.reshape(columns.shape[0], -1, factor, 2)
    return np.stack([np.fmin.reduce(grouped[..., 0], axis=2), np.fmax.reduce(grouped[..., 1], axis=2)], axis=2)


def _padded(columns: Columns, count: int) -> Columns:
    return np.pad(columns, ((0, 0), (0, count - columns.shape[1]), (0, 0)), constant_values=np.nan)


def _recent_s(since_read_ns: int) -> float:
    """How far back a read goes that follows another: what is stored late is at most about 2 s late."""
    return min(since_read_ns * 1e-9 + 3.0, LIVE_S)


def _band(block: SampleBlock, before: SampleBlock | None) -> NDArray[np.float64]:
    joins = (
        before is not None
        and before.stream == block.stream
        and abs(block.start_ns - before.end_ns) < _JOIN_NS
        and before.first + before.length == block.first
    )
    run_up = before.physical if before is not None and joins else block.physical[:, :0]
    band, _ = BandPass(block.stream.sensor, block.stream.rate_hz).feed(
        np.concatenate([run_up, block.physical], axis=1)
    )
    return band[:, run_up.shape[1] :]


def _enter(columns: Columns, band: NDArray[np.float64], block: SampleBlock, first: int, column_ns: int) -> None:
    """Put a block into its columns; the first may hold the end of the block before."""
    at = block.start_ns + np.arange(block.length) * block.timebase.period_ns
    places = (at // column_ns).astype(np.int64) - first
    starts = np.flatnonzero(np.diff(places, prepend=places[0] - 1))
    band = band.astype(np.float32)
    low, high = np.minimum.reduceat(band, starts, axis=1), np.maximum.reduceat(band, starts, axis=1)
    held = places[starts]
    span = np.arange(max(held[0], 0), min((block.end_ns - 1) // column_ns - first + 1, columns.shape[1]))
    known = np.searchsorted(held, span, "right") - 1  # slow signals leave columns empty between two samples
    columns[:, span, 0] = np.fmin(columns[:, span, 0], low[:, known])
    columns[:, span, 1] = np.fmax(columns[:, span, 1], high[:, known])
