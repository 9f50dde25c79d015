"""The raw signal: one file a day, so that every number can be looked at, and analysed again, later.

    SampleBlock ─► Assembler ─► 1-s Block ─► Raw ─► raw/2026-11-22.sqlite ─► RawArchive.window

Rules of this module:

* Nothing is changed: what is read back is what the device said, in its numbers, with the index of each sample. A
  block is int16, int32 or float32, whichever is the least that holds it.
* A block is channel-planar, byte-shuffled and deflated at level 1: 159 MB a day for 4 channels at 500 Hz,
  within 4 % of zstd, from the standard library. Longer blocks and differences of samples are no smaller.
* A block stands alone: its times, its samples and a checksum. There is no end to write: a file is whole after
  every second. A damaged block is skipped and counted; a damaged file is moved aside, and another one begun.
* A day is a day of UTC. Retention removes whole files, the oldest first. What is younger than an hour is never
  removed to make room; within the newest file older blocks are, and their room is used again.
* Where the disk is nearly full, raw stops and events go on. Older days are not sacrificed to another program's
  appetite: what is to go then is for a person to say.
* Written by the thread that writes the store, right after it.
"""

from __future__ import annotations

import json
import re
import shutil
import zlib
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from firmware_interface.samples import Counts, SampleBlock, Sensor, Stream, Timebase, Unit
from monitor.database import (
    WAL_LIMIT,
    Connection,
    DamagedError,
    StoreError,
    checkpoint,
    connect,
    connect_to_read,
    explained,
    transaction,
    verify,
    wal_bytes,
)

FOLDER: Final = "raw"

_HOUR_NS = 3600 * 10**9
_DAY_NS = 24 * _HOUR_NS
_TIDY_NS = _HOUR_NS // 60
_CHECKPOINT_NS = 600 * 10**9
_LONGEST_NS = 2 * 10**9
"""A block is at most this long, and what one packet holds: a window is sought that much further back."""
_OVERLAP_NS = 30 * 10**9
_JOIN_NS = 10**8
"""Times of samples with successive indices that differ by more than this were set, not estimated."""
_ROOM_PAGES = 256
"""Free pages of a file, 1 MB: what was removed is room that is used before more is removed."""
_TYPES = ("<i2", "<i4", "<f4")
_NAME = re.compile(r"\d{4}-\d\d-\d\d(-\d+)?\.sqlite")

_SCHEMA = """
    CREATE TABLE IF NOT EXISTS stream (
        id     INTEGER PRIMARY KEY,
        device INTEGER NOT NULL,  -- its id in main.sqlite
        stream TEXT NOT NULL,     -- JSON object
        UNIQUE (device, stream)
    ) STRICT;
    CREATE TABLE IF NOT EXISTS block (
        start_ns    INTEGER NOT NULL,  -- of the first sample, UTC
        stream_id   INTEGER NOT NULL REFERENCES stream,
        end_ns      INTEGER NOT NULL,  -- of the sample after the last
        first       INTEGER NOT NULL,  -- index of the first sample
        samples     INTEGER NOT NULL,
        device_ns   INTEGER,           -- the device's own clock in its first packet
        sequence    INTEGER,           -- packet counter of the first packet, as on the wire
        sequence_to INTEGER,           -- and of the last
        type        INTEGER NOT NULL,  -- 0: int16, 1: int32, 2: float32
        crc32       INTEGER NOT NULL,  -- of data
        data        BLOB NOT NULL,
        UNIQUE (stream_id, start_ns, first)
    ) STRICT;
    CREATE INDEX IF NOT EXISTS block_start ON block (start_ns);
"""


# ---- Blocks ----


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """About a second of a stream, without a gap in it."""

    device_id: int
    stream: Stream
    start_ns: int
    end_ns: int
    first: int
    """Index of the first sample."""
    device_ns: int | None
    """The device's clock as its first packet has it."""
    sequences: tuple[int | None, int | None]
    """Packet counters of the first and last packet, as on the wire."""
    counts: Counts


def pack(counts: Counts) -> tuple[int, bytes]:
    """The number of a type and the deflated bytes of `counts`, shape (channels, samples)."""
    kind = _narrowest(counts)
    planar = np.ascontiguousarray(counts, dtype=_TYPES[kind])
    shuffled = planar.view(np.uint8).reshape(-1, planar.itemsize).T
    return kind, zlib.compress(np.ascontiguousarray(shuffled).tobytes(), 1)


def unpack(kind: int, data: bytes, channels: int) -> NDArray[np.int16 | np.int32 | np.float32]:
    """The inverse of `pack`.

    Raises:
        ValueError: these are no such bytes.
    """
    dtype = np.dtype(_TYPES[kind])
    try:
        shuffled = np.frombuffer(zlib.decompress(data), np.uint8).reshape(dtype.itemsize, -1)
    except zlib.error as error:
        raise ValueError(str(error)) from error
    return np.ascontiguousarray(shuffled.T).view(dtype).reshape(channels, -1)


def _narrowest(counts: Counts) -> int:
    if counts.dtype.kind == "f":
        return 2
    low, high = (int(counts.min()), int(counts.max())) if counts.size else (0, 0)
    return 0 if low >= -(2**15) and high < 2**15 else 1


class Assembler:
    """Gathers what one stream delivers into blocks: a second each, because they are taken once a second.

    Args:
        device_id: whose stream it is.
    """

    def __init__(self, device_id: int) -> None:
        self._device_id = device_id
        self._parts: list[SampleBlock] = []
        self._done: list[Block] = []
        self._start_ns = self._end_ns = self._next = 0  # of `_parts`

    def feed(self, part: SampleBlock) -> None:
        """Take what a packet held."""
        start_ns, end_ns, length = part.start_ns, part.end_ns, part.length
        if self._parts and not (
            part.first == self._next
            and abs(start_ns - self._end_ns) < _JOIN_NS
            and end_ns - self._start_ns < _LONGEST_NS
        ):
            self._end()
        if length:
            self._start_ns = self._start_ns if self._parts else start_ns
            self._next, self._end_ns = part.first + length, end_ns
            self._parts.append(part)

    def take(self) -> list[Block]:
        """All that was gathered since the last time, in blocks."""
        self._end()
        done, self._done = self._done, []
        return done

    def _end(self) -> None:
        parts, self._parts = self._parts, []
        if parts:
            head, tail = parts[0], parts[-1]
            counts = np.concatenate([part.counts for part in parts], axis=1)
            block = Block(
                device_id=self._device_id,
                stream=head.stream,
                start_ns=self._start_ns,
                end_ns=self._end_ns,
                first=head.first,
                device_ns=head.device_ns,
                sequences=(head.sequence, tail.sequence),
                counts=counts,
            )
            self._done.append(block)


# ---- Writing ----


@dataclass(frozen=True, slots=True)
class Retention:
    """How much raw signal is kept."""

    days: float = 30.0
    """0: none is kept at all."""
    size_bytes: int = 20 * 10**9
    free_bytes: int = 10**9
    """Left free on the disk for everything else."""


class Raw:
    """The one writer of the raw signal in a data folder.

    Args:
        folder: the data folder.
        retention: how much is kept.
    """

    def __init__(self, folder: Path, retention: Retention) -> None:
        self._folder = folder / FOLDER
        self._retention = retention
        self._day: _Day | None = None
        self._tidied_ns = 0
        self.trouble: str | None = None
        """Why nothing is kept, while nothing is."""
        self.dropped = 0
        """Blocks that were not kept for it."""

    def write(self, blocks: Sequence[Block], now_ns: int) -> None:
        """Keep the blocks, or count them and say in `trouble` why not. Never raises for the disk's sake: what is
        derived from the signal is more than the signal."""
        if not self._retention.days:
            return
        try:
            with explained(self._folder):
                self._tidy(now_ns)
                self._guard()
                if blocks:
                    self._keep(blocks)
            self.trouble = None
        except DamagedError as error:
            self._give_up(error, blocks)
            self._set_aside()
        except StoreError as error:
            self._give_up(error, blocks)

    def close(self) -> None:
        """Let the files go."""
        day, self._day = self._day, None
        if day is not None:
            day.close()

    def _give_up(self, error: StoreError, blocks: Sequence[Block]) -> None:
        self.trouble = str(error)
        self.dropped += len(blocks)

    def _keep(self, blocks: Sequence[Block]) -> None:
        for date in sorted({_date(block.start_ns) for block in blocks}):
            self._open(date).write([block for block in blocks if _date(block.start_ns) == date])

    def _open(self, date: str) -> _Day:
        if self._day is None or self._day.date != date:
            self.close()
            self._folder.mkdir(mode=0o700, exist_ok=True)
            names = [path for path in day_files(self._folder) if path.name.startswith(date)]
            self._day = _Day(names[-1] if names else self._folder / f"{date}.sqlite", date)
        return self._day

    def _set_aside(self) -> None:
        """The file of a damaged day stays for whoever wants to mend it; another is begun."""
        date = self._day.date if self._day else None
        with suppress(StoreError):
            self.close()
        for path in day_files(self._folder):
            if date in (None, path.name[:10]) and _is_damaged(path):
                with suppress(OSError):
                    for part in path.parent.glob(f"{path.name}*"):
                        part.rename(_free_name(part))

    def _guard(self) -> None:
        """Leave room on the disk for what matters more."""
        folder = self._folder if self._folder.exists() else self._folder.parent
        free = shutil.disk_usage(folder).free
        if free < self._retention.free_bytes:
            self.close()
            least = f"{self._retention.free_bytes / 1e6:.0f} MB are to stay free"
            raise StoreError(
                f"the raw signal is not kept for now: {free / 1e6:.0f} MB free on the disk of {folder}, {least}",
                "Free some space, or lower raw.days; twitches are stored all the same",
            )

    def _tidy(self, now_ns: int) -> None:
        """Remove what is too old or too much, once a minute."""
        if 0 <= now_ns - self._tidied_ns < _TIDY_NS:
            return
        self._tidied_ns = now_ns
        for path in removable(_sized(self._folder), self._retention, now_ns):
            if self._day and self._day.path == path:
                self.close()
            for part in (path, *(path.with_name(path.name + end) for end in ("-wal", "-shm"))):
                part.unlink(missing_ok=True)
        kept = sum(file.size_bytes for file in _sized(self._folder))
        if self._day and kept > self._retention.size_bytes:
            self._day.thin(now_ns - _HOUR_NS)


class _Day:
    """The file of a day, being written."""

    def __init__(self, path: Path, date: str) -> None:
        self.path, self.date = path, date
        with explained(path):
            self._connection = connect(path)
            self._connection.executescript(f"BEGIN; {_SCHEMA} COMMIT;")
        self._streams: dict[tuple[int, Stream], int] = {}
        self._checkpoint_ns = 0

    def write(self, blocks: Sequence[Block]) -> None:
        with explained(self.path):
            with transaction(self._connection):
                for block in blocks:
                    self._insert(block)
            now_ns = blocks[-1].end_ns
            if abs(now_ns - self._checkpoint_ns) > _CHECKPOINT_NS or wal_bytes(self.path) > WAL_LIMIT // 4:
                checkpoint(self._connection)
                self._checkpoint_ns = now_ns

    def thin(self, until_ns: int) -> None:
        """Remove the oldest blocks that began before `until_ns`, as much as is written until the next time."""
        with explained(self.path), transaction(self._connection):
            ((free,),) = self._connection.execute("PRAGMA freelist_count").fetchall()
            if free < _ROOM_PAGES:
                self._connection.execute(_DELETE_OLDEST, (until_ns,))

    def close(self) -> None:
        checkpoint(self._connection)
        self._connection.close()

    def _insert(self, block: Block) -> None:
        key = block.device_id, block.stream
        if key not in self._streams:
            ((self._streams[key],),) = self._connection.execute(_STREAM, (block.device_id, _dump(block.stream)))
        kind, data = pack(block.counts)
        values = (
            block.start_ns,
            self._streams[key],
            block.end_ns,
            block.first,
            block.counts.shape[1],
            block.device_ns,
        )
        self._connection.execute(_INSERT, (*values, *block.sequences, kind, zlib.crc32(data), data))


class File(NamedTuple):
    """A day's file, with what SQLite keeps beside it."""

    path: Path
    size_bytes: int


def day_files(folder: Path) -> list[Path]:
    """The files of all days, the oldest first; those set aside are not among them."""
    return sorted((path for path in folder.glob("*.sqlite") if _NAME.fullmatch(path.name)), key=_age)


def removable(files: Sequence[File], retention: Retention, now_ns: int) -> list[Path]:
    """Which files are to go, of those given oldest first: all that ended too long ago, then the oldest until the
    rest is small enough. One that may hold the last hour stays."""
    size = sum(file.size_bytes for file in files)
    gone: list[Path] = []
    for file in files:
        ended_ns = _day_start_ns(file.path) + _DAY_NS
        too_old = ended_ns < now_ns - retention.days * _DAY_NS
        too_much = size > retention.size_bytes and ended_ns < now_ns - _HOUR_NS
        if too_old or too_much:
            gone.append(file.path)
            size -= file.size_bytes
    return gone


def _sized(folder: Path) -> list[File]:
    return [File(path, path.stat().st_size + wal_bytes(path)) for path in day_files(folder)]


def _age(path: Path) -> tuple[str, int]:
    return path.name[:10], int(path.stem[11:] or 0)


def _date(time_ns: int) -> str:
    return datetime.fromtimestamp(time_ns // 10**9, UTC).strftime("%Y-%m-%d")


def _day_start_ns(path: Path) -> int:
    return int(datetime.strptime(path.name[:10], "%Y-%m-%d").replace(tzinfo=UTC).timestamp()) * 10**9


def _free_name(path: Path) -> Path:
    """2026-11-22.sqlite-wal -> 2026-11-22.damaged-1.sqlite-wal."""
    stem, _, end = path.name.partition(".sqlite")
    n = 1
    while (path.parent / f"{stem}.damaged-{n}.sqlite{end}").exists():
        n += 1
    return path.parent / f"{stem}.damaged-{n}.sqlite{end}"


def _is_damaged(path: Path) -> bool:
    try:
        verify(path)
    except DamagedError:
        return True
    except StoreError:
        return False
    return False


# ---- Reading ----


class Window(NamedTuple):
    """A stretch of one stream as it was kept."""

    blocks: list[SampleBlock]
    """In the order of time; where two do not join, nothing was kept between them."""
    damaged: int
    """Blocks, and files, that could not be read."""


class Holding(NamedTuple):
    """That some of a stream was kept."""

    device_id: int
    stream: Stream
    start_ns: int
    """Of its first sample."""
    end_ns: int
    is_float: bool
    """Whether the device gave other than integers."""


class RawArchive:
    """A reader of the raw signal, also while it is written. Each call opens and closes what it reads.

    Args:
        folder: the data folder.
        day: the file of one day, wherever it is, instead.
    """

    def __init__(self, folder: Path, day: Path | None = None) -> None:
        self._folder = folder / FOLDER
        self._day = day

    def holdings(self) -> list[Holding]:
        """What was kept: a row for each stream of each device, in the order of their beginning."""
        held: dict[tuple[int, str], tuple[int, int, int]] = {}
        for path in self.days():
            with explained(path), closing(connect_to_read(path)) as connection:
                rows = connection.execute(_SELECT_HOLDINGS).fetchall() if _is_begun(connection) else []
            for device, stream, start_ns, end_ns, kind in rows:
                first, last, widest = held.get((device, stream), (start_ns, end_ns, kind))
                held[device, stream] = min(first, start_ns), max(last, end_ns), max(widest, kind)
        found = [
            Holding(device, _load(stream), first, last, widest == 2)
            for (device, stream), (first, last, widest) in held.items()
        ]
        return sorted(found, key=lambda row: (row.start_ns, row.device_id, row.stream.name))

    def following(self, device_id: int, since_ns: int) -> int | None:
        """When the first block of a device at `since_ns` or later begins."""
        for path in self.days():
            if self._day is None and path.name[:10] < _date(since_ns):
                continue
            with explained(path), closing(connect_to_read(path)) as connection:
                if _is_begun(connection):
                    ((start_ns,),) = connection.execute(_SELECT_FOLLOWING, (device_id, since_ns)).fetchall()
                    if start_ns is not None:
                        return int(start_ns)
        return None

    def window(self, device_id: int, stream: str, since_ns: int, until_ns: int) -> Window:
        """The blocks of a stream of which any part is in the range, `since_ns` inclusive to `until_ns` exclusive.

        Args:
            device_id: as in the Archive.
            stream: its name.
            since_ns: UTC.
            until_ns: UTC.
        """
        blocks: list[SampleBlock] = []
        damaged = 0
        for path in self._days(since_ns, until_ns):
            try:
                rows = _rows(path, (device_id, stream, since_ns - _OVERLAP_NS, until_ns, since_ns))
            except DamagedError:
                damaged += 1
                continue
            for row in rows:
                try:
                    blocks.append(_block(row))
                except ValueError:
                    damaged += 1
        return Window(sorted(blocks, key=lambda block: block.start_ns), damaged)

    def days(self) -> list[Path]:
        """The files, oldest first."""
        return [self._day] if self._day else day_files(self._folder)

    def size_bytes(self) -> int:
        """Of all days."""
        return sum(file.size_bytes for file in _sized(self._folder))

    def check(self, path: Path) -> int:
        """Compare every block of a day with its checksum; how many are damaged.

        Raises:
            DamagedError: the file itself is.
        """
        verify(path)
        with explained(path), closing(connect_to_read(path)) as connection:
            if not _is_begun(connection):
                return 0
            rows = connection.execute("SELECT crc32, data FROM block")
            return sum(zlib.crc32(data) != crc32 for crc32, data in rows)

    def _days(self, since_ns: int, until_ns: int) -> list[Path]:
        first, last = _date(since_ns - _OVERLAP_NS), _date(until_ns)
        return [path for path in self.days() if first <= path.name[:10] <= last]


class _Row(NamedTuple):
    stream: str
    start_ns: int
    end_ns: int
    first: int
    samples: int
    device_ns: int | None
    sequence: int | None
    kind: int
    crc32: int
    data: bytes


def _rows(path: Path, values: tuple[object, ...]) -> list[_Row]:
    with explained(path), closing(connect_to_read(path)) as connection:
        if not _is_begun(connection):
            return []
        return [_Row(*row) for row in connection.execute(_SELECT_WINDOW, values)]


def _is_begun(connection: Connection) -> bool:
    """A file is there for a moment before its tables are."""
    return bool(connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'block'").fetchall())


def _block(row: _Row) -> SampleBlock:
    if zlib.crc32(row.data) != row.crc32:
        raise ValueError("the checksum is another")
    stream = _load(row.stream)
    counts = unpack(row.kind, row.data, len(stream.channels))
    timebase = Timebase(row.first, row.start_ns, (row.end_ns - row.start_ns) / row.samples)
    return SampleBlock(stream, row.first, timebase, counts, row.device_ns, row.sequence)


def _dump(stream: Stream) -> str:
    return json.dumps(asdict(stream), ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _load(text: str) -> Stream:
    fields = json.loads(text)
    plain = Stream(**fields | {"channels": tuple(fields["channels"])})
    return replace(plain, sensor=Sensor(plain.sensor), unit=Unit(plain.unit))


_STREAM = """
    INSERT INTO stream (device, stream) VALUES (?, ?)
    ON CONFLICT (device, stream) DO UPDATE SET device = device
    RETURNING id
"""

_INSERT = """
    INSERT INTO block (start_ns, stream_id, end_ns, first, samples, device_ns, sequence, sequence_to,
                       type, crc32, data)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (stream_id, start_ns, first) DO NOTHING
"""

_DELETE_OLDEST = """
    DELETE FROM block WHERE rowid IN (SELECT rowid FROM block WHERE start_ns < ? ORDER BY start_ns LIMIT 1000)
"""

_SELECT_HOLDINGS = """
    SELECT device, stream, min(start_ns), max(end_ns), max(type) FROM block JOIN stream ON stream.id = stream_id
    GROUP BY stream_id
"""

_SELECT_FOLLOWING = """
    SELECT min(start_ns) FROM stream CROSS JOIN block ON block.stream_id = stream.id
    WHERE device = ? AND start_ns >= ?
"""

_SELECT_WINDOW = """
    SELECT stream.stream, start_ns, end_ns, first, samples, device_ns, sequence, type, crc32, data
    FROM stream CROSS JOIN block ON block.stream_id = stream.id
    WHERE device = ? AND stream.stream ->> 'name' = ? AND start_ns >= ? AND start_ns < ? AND end_ns > ?
    ORDER BY start_ns
"""
