"""The data folder: what was seen and what was not, kept for months.

    collector ─► Store ─► main.sqlite ─► Archive ─► command, page, sinks

Rules of this module:

* One writer. SQLite up to 3.51.2 can damage a file when one connection checkpoints while another commits, so
  one connection makes every commit and every checkpoint, and a lock keeps a second writer out. The lock is
  the operating system's: it goes with its process, however that ends.
* Readers open `mode=ro` and finish each SELECT at once: a reader that holds its transaction keeps the
  write-ahead log from being emptied (400 MB after 20 000 writes, against 3 MB).
* `write` is one transaction, meant for once a second with the records of all devices: one fsync. With
  `synchronous=FULL`, what `write` returned from survives a power cut.
* All or nothing. When `write` raises, nothing of it was kept and the same records can be written again. A
  checkpoint that fails is no error of `write`, whose records are safe by then.
* The same Twitch, Context or Gap twice is one row. A Minute is an increment: twice is double.
* Nothing but a repeated key is passed over. `INSERT OR IGNORE` would also drop, in silence, a record that
  breaks a constraint; hence `ON CONFLICT (key) DO NOTHING`. A broken constraint is a bug of the caller and
  raises `sqlite3.IntegrityError`: a NaN, which SQLite takes for NULL, or a device that was never introduced.
* What goes out is entered in the outbox by the schema itself; see `monitor.migrations`.
* Time comes in with every call. What is stored about a session or a stream never goes back in it.

All time of a stream is observed, or in a gap, up to `Store.accounted_ns`; both `Observed` and `Gap` move that
mark, in the transaction that keeps the tallies of the same time. **The collector writes the gaps between
sessions**: at a stream's first samples in a session it asks for `Store.absence` and writes gaps of reason
STOPPED, and DISCONNECTED for sessions without the device, like any other gap, so that they take the same way to
the page and the sinks. They move the mark to their own end: killed right after, the next session begins its gap
there, and no time is missing or counted twice.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import asdict, astuple, dataclass, fields
from operator import attrgetter
from pathlib import Path
from typing import Any, Final, Self

import numpy as np

from firmware_interface.codecs import Device
from firmware_interface.samples import Gap, GapReason, Sensor, Status, Stream, Unit
from monitor.alerts.engine import Alert, Change
from monitor.alerts.rules import Kind, Severity
from monitor.bulletins import KINDS, Bulletin
from monitor.database import (
    WAL_LIMIT,
    Connection,
    StoreError,
    checkpoint,
    connect,
    connect_to_read,
    explained,
    refuse_old_sqlite,
    transaction,
    wal_bytes,
)
from monitor.detection.events import Context, State, Twitch
from monitor.migrations import MIGRATIONS, applied, migrate
from monitor.tally import Minute

DATABASE: Final = "main.sqlite"
LOCK: Final = "lock"

_CHECKPOINT_NS = 3600 * 10**9
_MINUTE_CLOSED_NS = 75 * 10**9
"""After its start a minute is taken as closed: the detector decides within seconds."""
_DEAD_LETTERS_MAX = 100_000
"""Of a sink; older ones are counted only."""
_ASKED_S = 0.05
"""Who asks whether the lock is held has it for a moment."""
_OLDEST_SQLITE = (3, 38, 0)  # STRICT tables, JSON built in


@dataclass(frozen=True, slots=True)
class Observed:
    """A stream has been observed and tallied up to `until_ns`, the gaps apart."""

    stream: str
    """Name of the stream."""
    until_ns: int


@dataclass(frozen=True, slots=True)
class Linked:
    """A device was connected to."""

    at_ns: int
    address: str
    firmware: str
    rssi: int
    """Of the advertisement that found it, dBm."""


@dataclass(frozen=True, slots=True, eq=False)
class Learned:
    """The motor units of a stream as they are now: of all that was said before, only the last stays."""

    stream: str
    """Name of the stream."""
    at_ns: int
    units: Mapping[str, Any]
    """As `MotorUnits.snapshot` gives it."""


@dataclass(frozen=True, slots=True)
class Condition:
    """Something that a person should know of began, or is over."""

    name: str
    """"store", "raw", "wal", or the name of a sink."""
    at_ns: int
    active: bool
    detail: str


@dataclass(frozen=True, slots=True)
class Delivered:
    """A sink has all of the outbox up to `seq`, dead letters apart."""

    sink: str
    seq: int


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A sink refused an entry of the outbox for good."""

    sink: str
    seq: int
    reason: str


Record = (
    Twitch
    | Context
    | Gap
    | Minute
    | Status
    | Observed
    | Linked
    | Learned
    | Condition
    | Alert
    | Bulletin
    | Delivered
    | DeadLetter
)


@dataclass(frozen=True, slots=True)
class Opening:
    """What beginning a session says."""

    session_id: int
    previous_end_ns: int | None
    """End of the session before, of its last commit if it was killed; `None` for the first."""


@dataclass(frozen=True, slots=True)
class Session:
    """A stretch of monitoring under one set of settings."""

    id: int
    begun_ns: int
    last_ns: int
    """The last commit."""
    ended_ns: int | None
    """`None` while it runs, and after a kill until the next session begins."""
    version: str
    settings: dict[str, object]


@dataclass(frozen=True, slots=True)
class KnownDevice:
    """A device as it last introduced itself."""

    id: int
    device: Device
    address: str
    first_ns: int
    """First introduced."""
    last_ns: int
    """Last introduced."""
    accounted_ns: dict[str, int]
    """By stream: up to here all time was observed or is in a gap."""


@dataclass(frozen=True, slots=True)
class Health:
    """What a device said about itself at a time."""

    device_id: int
    at_ns: int
    status: Status


@dataclass(frozen=True, slots=True)
class Outgoing:
    """An entry of the outbox, with what it stands for as it is now."""

    seq: int
    device_id: int | None
    """`None` for what concerns the whole computer."""
    utc_offset_s: int | None
    """Of local time where it was stored; `None` where that was not kept."""
    record: Twitch | Context | Gap | Minute | Health | Linked | Condition | Alert | Bulletin


@dataclass(frozen=True, slots=True)
class SinkState:
    """How far a sink has got."""

    name: str
    seq: int
    refused: int
    """Dead letters that there ever were."""


@dataclass(frozen=True, slots=True)
class Total:
    """The sum of a channel's minutes."""

    device_id: int
    channel: str
    observed_s: float
    analysable_s: float
    twitches: int


@dataclass(frozen=True, slots=True)
class Stretch:
    """The sum of a site's minutes over a stretch of the clock."""

    device_id: int
    channel: str
    """`ACCELERATION` for the axes of an accelerometer: they see the same twitches, at the same time."""
    start_ns: int
    """A multiple of the stretch since 1970 UTC."""
    observed_s: float
    analysable_s: float
    twitches: int

    @property
    def where(self) -> tuple[int, str]:
        """Device and channel."""
        return self.device_id, self.channel

    def with_axis(self, other: Stretch) -> Stretch:
        """Two axes that were there at the same time."""
        observed_s, analysable_s = (
            max(self.observed_s, other.observed_s),
            max(self.analysable_s, other.analysable_s),
        )
        return Stretch(*self.where, self.start_ns, observed_s, analysable_s, self.twitches + other.twitches)


@dataclass(frozen=True, slots=True)
class Spent:
    """The sum of a site's contexts of one state that began in a stretch of the clock."""

    device_id: int
    channel: str
    state: State
    start_ns: int
    """A multiple of the stretch since 1970 UTC."""
    count: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Missing:
    """The sum of a stream's gaps of one reason."""

    device_id: int
    stream: str
    reason: GapReason
    count: int
    seconds: float


@dataclass(frozen=True, slots=True)
class FiringUnit:
    """What a motor unit of a channel did."""

    device_id: int
    channel: str
    motor_unit: int | None
    """`None`: twitches that were assigned to none."""
    twitches: int
    peak_to_peak: float
    """Mean."""
    unit: str
    doublets: int
    """Twitches that followed another within the detector's limit."""


@dataclass(frozen=True, slots=True)
class Summary:
    """The state of a data folder in one look."""

    session: Session | None
    """The newest."""
    devices: list[KnownDevice]
    health: list[Health]
    """The newest of each device that ever reported."""
    totals: list[Total]


class Store:
    """The one writer of a data folder.

    Used by one thread at a time, not always the same: SQLite's own check of the thread is off.
    """

    def __init__(self, connection: Connection, path: Path, lock: int, resources: ExitStack) -> None:
        self._connection = connection
        self._path = path
        self._lock = lock
        self._resources = resources
        self._session: int | None = None
        self._checkpoint_ns = 0

    @classmethod
    def open(cls, folder: Path) -> Store:
        """Take the folder, making or migrating what is there.

        Raises:
            StoreError: it is in use, cannot be written, is damaged, or is from a newer program.
        """
        path = folder / DATABASE
        with explained(path), ExitStack() as resources:
            _create(folder)
            lock = resources.enter_context(_locked(folder))
            connection = resources.enter_context(closing(connect(path)))
            _refuse_newer(path, connection)
            migrate(connection)
            return cls(connection, path, lock, resources.pop_all())

    def begin(self, *, now_ns: int, version: str, settings: Mapping[str, object]) -> Opening:
        """Start a session; one that has no end, because it was killed, ended at its last commit. The conditions
        that it left behind are over: where they are not, this session finds them anew."""
        values = now_ns, now_ns, version, _dump(settings)
        with self._transaction():
            self._connection.execute("UPDATE session SET ended_ns = last_ns WHERE ended_ns IS NULL")
            previous = "SELECT ended_ns FROM session ORDER BY id DESC LIMIT 1"
            ends = self._connection.execute(previous).fetchall()
            session = self._connection.execute(_INSERT_SESSION, values).lastrowid or 0
            self._connection.execute(_END_CONDITIONS, (now_ns,))
        self._session, self._checkpoint_ns = session, now_ns
        return Opening(session, ends[0][0] if ends else None)

    def device(self, device: Device, address: str, now_ns: int) -> int:
        """The id of a device, which is its serial number or, without one, its address and name."""
        streams = _dump([asdict(stream) for stream in device.streams])
        values = device.serial, device.name, device.firmware, address, streams, now_ns, now_ns
        with self._transaction():
            ((device_id,),) = self._connection.execute(_UPSERT_DEVICE, values).fetchall()
        return int(device_id)

    def accounted_ns(self, device_id: int, stream: str) -> int | None:
        """Up to where a stream's time was observed or is in a gap; `None` if it never was seen."""
        select = "SELECT accounted_ns FROM stream WHERE device_id = ? AND name = ?"
        with explained(self._path):
            rows = self._connection.execute(select, (device_id, stream)).fetchall()
        return rows[0][0] if rows else None

    def learned(self, device_id: int, stream: str) -> Mapping[str, Any] | None:
        """The motor units of a stream as they were last known; `None` if none ever were."""
        select = "SELECT units FROM learned WHERE device_id = ? AND stream = ?"
        with explained(self._path):
            rows = self._connection.execute(select, (device_id, stream)).fetchall()
        return json.loads(rows[0][0]) if rows else None

    def absence(self, device_id: int, stream: str) -> list[int]:
        """From `accounted_ns` on, the times at which sessions without the stream began and ended, in turns, and
        the beginning of this one; empty if it never was seen. The present session is one without it so far,
        except where it has been seen in it: then its time there ends and begins at `accounted_ns`."""
        accounted_ns = self.accounted_ns(device_id, stream)
        if accounted_ns is None:
            return []
        with explained(self._path):
            rows = self._connection.execute(_SELECT_SINCE, (accounted_ns,)).fetchall()
        edges = [edge for begun_ns, last_ns in rows for edge in (begun_ns, last_ns)][:-1]
        return [accounted_ns, *edges] if edges else [accounted_ns, accounted_ns]

    def write(self, entries: Iterable[tuple[int, Record]], now_ns: int) -> None:
        """Keep the records of (device id, record), all or none; without any it is a sign of life.

        Args:
            entries: in any order. Of two Status of a device in one call the later stays.
            now_ns: the session's last sign of life, and the time of a Status.
        """
        self._refuse_removed()
        with self._transaction():
            for device_id, record in entries:
                self._keep(device_id, record, now_ns)
            self._connection.execute(_CLOSE_MINUTES, (now_ns - _MINUTE_CLOSED_NS,))
            alive = "UPDATE session SET last_ns = max(last_ns, ?) WHERE id = ?"
            self._connection.execute(alive, (now_ns, self._session))
        due = not 0 <= now_ns - self._checkpoint_ns < _CHECKPOINT_NS
        if due or wal_bytes(self._path) > WAL_LIMIT // 4:
            checkpoint(self._connection)
            self._checkpoint_ns = now_ns

    @property
    def folder(self) -> Path:
        """The data folder."""
        return self._path.parent

    def wal_bytes(self) -> int:
        """Size of the write-ahead log, which a reader that holds on to what it read keeps from being emptied."""
        return wal_bytes(self._path)

    def close(self, now_ns: int) -> None:
        """End the session and let the folder go, which happens even where the end cannot be written."""
        end = "UPDATE session SET last_ns = max(last_ns, ?1), ended_ns = max(last_ns, ?1) WHERE id = ?2"
        with self._resources:
            with self._transaction():
                self._connection.execute(_CLOSE_MINUTES, (now_ns,))
                self._connection.execute(end, (now_ns, self._session))
            checkpoint(self._connection)

    def _refuse_removed(self) -> None:
        """A file that was deleted takes what is written to it, and keeps nothing."""
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(self._lock), (self.folder / LOCK).stat()):
                return
        raise StoreError(
            f"{self.folder} was removed or replaced: nothing more can be stored in it", "Stop, and start again"
        )

    def _keep(self, device_id: int, record: Record, now_ns: int) -> None:
        execute = self._connection.execute
        match record:
            case Twitch():
                values = _twitch_values(record)
                execute(_INSERT_TWITCH, (device_id, *values, _utc_offset_s(record.onset_ns)))
            case Context():
                execute(_INSERT_CONTEXT, (device_id, *_context_values(record)))
            case Gap():
                execute(_INSERT_GAP, (device_id, *_gap_values(record)))
                execute(_ACCOUNT, (device_id, record.stream.name, record.end_ns))
            case Minute():
                execute(_ADD_MINUTE, (device_id, *_minute_values(record), _utc_offset_s(record.start_ns)))
            case Status():
                execute(_REPLACE_STATUS, (device_id, now_ns, *_status_values(record)))
            case Observed():
                execute(_ACCOUNT, (device_id, record.stream, record.until_ns))
            case Linked():
                execute(_INSERT_LINK, (self._session, device_id, *astuple(record)))
            case Learned():
                execute(_REPLACE_LEARNED, (device_id, record.stream, record.at_ns, _dump(record.units)))
            case Condition():
                execute(_INSERT_CONDITION, astuple(record))
            case Alert():
                execute(_INSERT_ALERT, asdict(record))
            case Delivered():
                execute(_ADVANCE, (record.sink, record.seq))
            case DeadLetter():
                self._bury(record, now_ns)
            case _:
                execute(_INSERT_BULLETIN, _bulletin_values(record))

    def _bury(self, letter: DeadLetter, now_ns: int) -> None:
        added = self._connection.execute(_INSERT_DEAD_LETTER, (letter.sink, letter.seq, now_ns, letter.reason))
        if added.rowcount > 0:
            self._connection.execute(_COUNT_REFUSED, (letter.sink,))
            self._connection.execute(_FORGET_DEAD_LETTERS, (letter.sink, _DEAD_LETTERS_MAX))

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with explained(self._path), transaction(self._connection):
            yield


class Archive:
    """A reader of a data folder, also while a Store writes in this or another process.

    Every answer is one SELECT and a whole list: no cursor, and no transaction, outlives the call. Ranges are
    `since_ns` inclusive to `until_ns` exclusive, and what comes out is what went in, in the order of time.
    Used by one thread at a time, not always the same.
    """

    def __init__(self, connection: Connection, path: Path) -> None:
        self._connection = connection
        self._path = path

    @classmethod
    def open(cls, folder: Path) -> Archive:
        """Open for reading.

        Raises:
            StoreError: nothing is there, it is damaged, or it is of another version.
        """
        path = folder / DATABASE
        if not path.is_file():
            raise StoreError(f"there is no data in {folder}", "Start monitoring first, or name another folder")
        with explained(path), ExitStack() as resources:
            connection = resources.enter_context(closing(connect_to_read(path)))
            _refuse_newer(path, connection)
            _refuse_older(path, connection)
            resources.pop_all()
        return cls(connection, path)

    def close(self) -> None:
        """Let the file go."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def sessions(self) -> list[Session]:
        """Every session, oldest first."""
        return [_session(row) for row in self._rows(_SELECT_SESSIONS, limit=-1)][::-1]

    def devices(self) -> list[KnownDevice]:
        """Every device that was ever introduced, oldest first."""
        return [_known_device(row) for row in self._rows(_SELECT_DEVICES)]

    def twitches(
        self,
        since_ns: int,
        until_ns: int,
        device: int | None = None,
        channel: str | None = None,
        limit: int | None = None,
    ) -> list[tuple[int, Twitch]]:
        """(device id, twitch) with its onset in the range; at most the newest `limit`."""
        most = -1 if limit is None else limit
        rows = self._range(_SELECT_TWITCHES, since_ns, until_ns, device, channel=channel, limit=most)
        return [(device_id, _twitch(values)) for device_id, *values in reversed(rows)]

    def contexts(
        self, since_ns: int, until_ns: int, device: int | None = None, channel: str | None = None
    ) -> list[tuple[int, Context]]:
        """(device id, context) of which any part is in the range."""
        rows = self._range(_SELECT_CONTEXTS, since_ns, until_ns, device, channel=channel)
        return [(row[0], Context(State(row[1]), *row[2:])) for row in rows]

    def gaps(self, since_ns: int, until_ns: int, device: int | None = None) -> list[tuple[int, Gap]]:
        """(device id, gap) of which any part is in the range."""
        rows = self._range(_SELECT_GAPS, since_ns, until_ns, device)
        return [(device_id, _gap(values)) for device_id, *values in rows]

    def minutes(
        self, since_ns: int, until_ns: int, device: int | None = None, channel: str | None = None
    ) -> list[tuple[int, Minute]]:
        """(device id, minute) that starts in the range."""
        rows = self._range(_SELECT_MINUTES, since_ns, until_ns, device, channel=channel)
        return [(row[0], Minute(*row[1:])) for row in rows]

    def stretches(self, stretch_ns: int, since_ns: int, until_ns: int) -> list[Stretch]:
        """The minutes that start in the range, summed by SQLite: of years there are too many to list."""
        rows = self._range(_SELECT_STRETCHES, since_ns, until_ns, None, stretch=stretch_ns)
        sites, found = self._sites(), dict[tuple[int, str, int], Stretch]()
        for device, channel, *amounts in rows:
            each = Stretch(device, sites.get((device, channel), channel), *amounts)
            axis = found.get((*each.where, each.start_ns))
            found[*each.where, each.start_ns] = axis.with_axis(each) if axis else each
        return list(found.values())

    def spent(self, stretch_ns: int, since_ns: int, until_ns: int) -> list[Spent]:
        """The contexts that begin in the range, summed in the same way."""
        rows = self._range(_SELECT_SPENT, since_ns, until_ns, None, stretch=stretch_ns)
        sites, found = self._sites(), dict[tuple[int, str, str, int], Spent]()
        for device, channel, state, *rest in rows:
            each = Spent(device, sites.get((device, channel), channel), State(state), *rest)
            found.setdefault((device, each.channel, state, each.start_ns), each)
        return list(found.values())

    def _sites(self) -> dict[tuple[int, str], str]:
        """Of each (device, channel) that there is now."""
        streams = [(known, stream) for known in self.devices() for stream in known.device.streams]
        return {(known.id, name): known.device.site(name) for known, stream in streams for name in stream.channels}

    def missing(self, since_ns: int, until_ns: int) -> list[Missing]:
        """The gaps of which any part is in the range, and their time within it."""
        rows = self._range(_SELECT_MISSING, since_ns, until_ns, None)
        return [Missing(device, stream, GapReason(reason), *rest) for device, stream, reason, *rest in rows]

    def firing_units(self, since_ns: int, until_ns: int) -> list[FiringUnit]:
        """The motor units whose twitches have their onset in the range, those of a channel by number."""
        return [FiringUnit(*row) for row in self._range(_SELECT_FIRING_UNITS, since_ns, until_ns, None)]

    def health(self, since_ns: int, until_ns: int, device: int | None = None) -> list[Health]:
        """What devices said about themselves in the range."""
        return [_health(row) for row in self._range(_SELECT_STATUSES, since_ns, until_ns, device)]

    def links(self, since_ns: int, until_ns: int, device: int | None = None) -> list[tuple[int, Linked]]:
        """(device id, connection) made in the range."""
        rows = self._range(_SELECT_LINKS, since_ns, until_ns, device)
        return [(row[0], Linked(*row[1:])) for row in rows]

    def conditions(self, since_ns: int, until_ns: int) -> list[Condition]:
        """What began or ended in the range."""
        rows = self._rows(_SELECT_CONDITIONS, since=since_ns, until=until_ns)
        return [_condition(row) for row in rows]

    def troubles(self) -> list[Condition]:
        """What began and is not over."""
        return [_condition(row) for row in self._rows(_SELECT_TROUBLES)]

    def alerts(self) -> list[Alert]:
        """Every alert that is watched for, as it is now, by name."""
        return [_alert(row) for row in self._rows(_SELECT_ALERTS)]

    def alert_history(self, since_ns: int, until_ns: int) -> list[Alert]:
        """Every change of an alert in the range."""
        return [_alert(row) for row in self._rows(_SELECT_ALERT_HISTORY, since=since_ns, until=until_ns)]

    def alerts_said(self) -> int:
        """The id of the newest thing a person said that changed an alert; 0 where nobody ever did."""
        return int(self._rows("SELECT ifnull(max(said_id), 0) FROM alert")[0][0])

    def newest_number(self, kind: type[Bulletin]) -> int:
        """The highest of its kind; 0 where there is none."""
        rows = self._rows("SELECT ifnull(max(number), 0) FROM bulletin WHERE kind = :kind", kind=kind.__name__)
        return int(rows[0][0])

    def outbox(self, after: int, limit: int) -> list[Outgoing]:
        """The entries that follow the one numbered `after`, in order; at most `limit`."""
        with explained(self._path):
            rows = self._connection.execute(_SELECT_OUTBOX, (after, limit)).fetchall()
        if not rows:
            return []
        outgoing: list[Outgoing] = []
        for kind in sorted({kind for _, kind in rows}):
            columns, value = _OUTGOING[kind]
            select = f"SELECT seq, {columns} FROM outbox JOIN {kind} ON id = row_id" + _SELECT_OUTGOING  # noqa: S608
            found = self._rows(select, kind=kind, first=rows[0][0], last=rows[-1][0])
            outgoing += [Outgoing(row[0], row[1], row[2], value(row[3:])) for row in found]
        if not outgoing:  # all of them were removed from their tables, by whomever
            return self.outbox(rows[-1][0], limit)
        return sorted(outgoing, key=lambda entry: entry.seq)

    def outbox_seq(self, alert: Alert) -> int:
        """Number of the entry of an alert; 0 where there is none."""
        rows = self._rows(_SELECT_ALERT_SEQ, name=alert.name, at=alert.at_ns, change=alert.change)
        return int(rows[0][0]) if rows else 0

    def outbox_end(self) -> int:
        """Number of the newest entry of the outbox; 0 where there is none."""
        return int(self._rows("SELECT ifnull(max(seq), 0) FROM outbox")[0][0])

    def sinks(self) -> list[SinkState]:
        """Every sink that ever got something."""
        return [SinkState(*row) for row in self._rows("SELECT name, seq, refused FROM sink ORDER BY name")]

    def dead_letters(self, sink: str, limit: int) -> list[DeadLetter]:
        """The newest that a sink refused."""
        rows = self._rows(_SELECT_DEAD_LETTERS, sink=sink, limit=limit)
        return [DeadLetter(*row) for row in rows]

    def summary(self, since_ns: int, until_ns: int) -> Summary:
        """The state now; the totals are of the range."""
        newest = self._rows(_SELECT_SESSIONS, limit=1)
        return Summary(
            session=_session(newest[0]) if newest else None,
            devices=self.devices(),
            health=[_health(row) for row in self._rows(_SELECT_NEWEST_STATUSES)],
            totals=[Total(*row) for row in self._range(_SELECT_TOTALS, since_ns, until_ns, None)],
        )

    def _range(
        self, select: str, since_ns: int, until_ns: int, device: int | None, **rest: object
    ) -> list[tuple[Any, ...]]:
        return self._rows(select, since=since_ns, until=until_ns, device=device, **rest)

    def _rows(self, select: str, **parameters: object) -> list[tuple[Any, ...]]:
        with explained(self._path):
            return self._connection.execute(select, parameters).fetchall()


# ---- The folder ----


def _create(folder: Path) -> None:
    """A folder that was there keeps its mode: it may be a person's home, and the files in it are private."""
    refuse_old_sqlite()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)


@contextmanager
def _locked(folder: Path) -> Iterator[int]:
    """Keep other writers out. The file stays: if it were removed, two could each lock one of that name."""
    descriptor = os.open(folder / LOCK, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        if not _taken(descriptor):
            holder = os.read(descriptor, 20).decode("ascii", "replace").strip() or "unknown"
            remedy = "Stop it first, or name another data folder"
            raise StoreError(f"{folder} is in use by process {holder}", remedy)
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode("ascii"))
        yield descriptor
    finally:
        os.close(descriptor)


def _taken(descriptor: int) -> bool:
    if _take(descriptor):
        return True
    time.sleep(_ASKED_S)
    return _take(descriptor)


def is_written(folder: Path) -> bool:
    """Whether a process writes a data folder now. One that was killed does not, whatever it wrote last."""
    try:
        descriptor = os.open(folder / LOCK, os.O_RDWR)
    except OSError:
        return False
    try:
        return not _take(descriptor)
    finally:
        os.close(descriptor)


if sys.platform == "win32":
    import msvcrt

    def _take(descriptor: int) -> bool:
        os.lseek(descriptor, 4096, os.SEEK_SET)  # locked bytes cannot be read, and the pid must be
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except PermissionError:
            return False
        finally:
            os.lseek(descriptor, 0, os.SEEK_SET)
        return True

else:
    import fcntl

    def _take(descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def _refuse_newer(path: Path, connection: Connection) -> None:
    done = applied(connection)
    if done != tuple(step.name for step in MIGRATIONS[: len(done)]):
        raise StoreError(
            f"{path} was written by a newer fasciwatch (its schema is at {done[-1]!r})",
            "Install that version or a later one, or name another data folder",
        )


def _refuse_older(path: Path, connection: Connection) -> None:
    if len(applied(connection)) < len(MIGRATIONS):
        remedy = "Start monitoring with this version once, which brings it up to date"
        raise StoreError(f"{path} is older than this fasciwatch", remedy)


# ---- Rows and values ----


def _dump(value: object) -> str:
    """One text for one value: part of a key. Infinity and NaN are not JSON and raise ValueError."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


_minute_values = attrgetter(*(field.name for field in fields(Minute)))
"""`astuple` would copy each number deeply; of minutes there are many."""


def _twitch_values(twitch: Twitch) -> tuple[object, ...]:
    return (
        twitch.channel,
        twitch.onset_ns,
        twitch.duration_s,
        twitch.peak,
        twitch.peak_to_peak,
        twitch.unit,
        twitch.snr,
        twitch.confidence,
        _dump(twitch.amplitudes),
        twitch.waveform.astype("<f4").tobytes(),
        twitch.waveform_start_s,
        twitch.rate_hz,
        twitch.phases,
        twitch.turns,
        twitch.median_hz,
        twitch.motor_unit,
        twitch.follows_s,
    )


def _twitch(values: Sequence[Any]) -> Twitch:
    channel, onset_ns, duration_s, peak, peak_to_peak, unit, snr, confidence, *shape = values
    amplitudes, waveform, waveform_start_s, rate_hz, *measures = shape
    return Twitch(
        channel,
        onset_ns,
        duration_s,
        peak,
        peak_to_peak,
        Unit(unit),
        snr,
        confidence,
        tuple((label, amplitude) for label, amplitude in json.loads(amplitudes)),
        np.frombuffer(waveform, "<f4"),
        waveform_start_s,
        rate_hz,
        *measures,
    )


def _context_values(context: Context) -> tuple[object, ...]:
    return context.onset_ns, context.channel, context.state, context.duration_s


def _gap_values(gap: Gap) -> tuple[object, ...]:
    return _dump(asdict(gap.stream)), gap.start_ns, gap.end_ns, gap.missing, gap.reason, int(gap.exact)


def _gap(values: Sequence[Any]) -> Gap:
    stream, start_ns, end_ns, missing, reason, exact = values
    return Gap(_stream(json.loads(stream)), start_ns, end_ns, missing, GapReason(reason), bool(exact))


def _stream(fields: dict[str, Any]) -> Stream:
    kind = {"sensor": Sensor(fields["sensor"]), "unit": Unit(fields["unit"])}
    return Stream(**fields | kind | {"channels": tuple(fields["channels"])})


def _status_values(status: Status) -> tuple[object, ...]:
    contact = _dump(status.lead_off), _dump(status.impedance_ohm)
    return status.battery_percent, status.overruns, status.drops, status.temperature_c, *contact


def _health(row: Sequence[Any]) -> Health:
    device_id, at_ns, battery_percent, overruns, drops, temperature_c, lead_off, impedance_ohm = row
    off, ohm = tuple(json.loads(lead_off)), tuple(json.loads(impedance_ohm))
    return Health(device_id, at_ns, Status(battery_percent, off, overruns, drops, temperature_c, ohm))


def _session(row: tuple[Any, ...]) -> Session:
    session_id, begun_ns, last_ns, ended_ns, version, settings = row
    return Session(session_id, begun_ns, last_ns, ended_ns, version, json.loads(settings))


def _known_device(row: tuple[Any, ...]) -> KnownDevice:
    device_id, name, serial, firmware, streams, address, first_ns, last_ns, accounted = row
    device = Device(name, serial, firmware, tuple(_stream(fields) for fields in json.loads(streams)))
    return KnownDevice(device_id, device, address, first_ns, last_ns, dict(json.loads(accounted)))


def _condition(row: Sequence[Any]) -> Condition:
    name, at_ns, active, detail = row
    return Condition(name, at_ns, bool(active), detail)


def _bulletin_values(bulletin: Bulletin) -> tuple[object, ...]:
    kind, fields = type(bulletin).__name__, _dump(asdict(bulletin))
    return kind, bulletin.number, bulletin.at_ns, bulletin.key, fields


def _alert(row: Sequence[Any]) -> Alert:
    values = dict(zip(_ALERT_FIELDS, row, strict=True))
    flags = {name: bool(values[name]) for name in ("raised", "announce", "acknowledged")}
    snoozed = values["snoozed_severity"]
    return Alert(**values | flags | {
        "kind": Kind(values["kind"]),
        "change": Change(values["change"]),
        "severity": Severity(values["severity"]),
        "snoozed_severity": None if snoozed is None else Severity(snoozed),
    })  # fmt: skip


def _utc_offset_s(time_ns: int) -> int:
    """Of local time, here and at that time."""
    return time.localtime(time_ns // 10**9).tm_gmtoff


# ---- SQL ----

_INSERT_SESSION = "INSERT INTO session (begun_ns, last_ns, version, settings) VALUES (?, ?, ?, ?)"

_UPSERT_DEVICE = """
    INSERT INTO device (serial, name, firmware, address, streams, first_ns, last_ns)
    VALUES (?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (serial) WHERE serial <> '' DO UPDATE
        SET name = excluded.name, firmware = excluded.firmware, address = excluded.address,
            streams = excluded.streams, last_ns = max(last_ns, excluded.last_ns)
    ON CONFLICT (address, name) WHERE serial = '' DO UPDATE
        SET firmware = excluded.firmware, streams = excluded.streams, last_ns = max(last_ns, excluded.last_ns)
    RETURNING id
"""

_ACCOUNT = """
    INSERT INTO stream (device_id, name, accounted_ns) VALUES (?, ?, ?)
    ON CONFLICT (device_id, name) DO UPDATE SET accounted_ns = max(accounted_ns, excluded.accounted_ns)
"""

_SELECT_SINCE = "SELECT begun_ns, last_ns FROM session WHERE begun_ns >= ? ORDER BY begun_ns"

_INSERT_TWITCH = """
    INSERT INTO twitch (device_id, channel, onset_ns, duration_s, peak, peak_to_peak, unit, snr, confidence,
                        amplitudes, waveform, waveform_start_s, rate_hz, phases, turns, median_hz,
                        motor_unit, follows_s, utc_offset_s)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (onset_ns, device_id, channel) DO NOTHING
"""

_INSERT_CONTEXT = """
    INSERT INTO context (device_id, onset_ns, channel, state, duration_s) VALUES (?, ?, ?, ?, ?)
    ON CONFLICT (onset_ns, device_id, channel, state) DO NOTHING
"""

_INSERT_GAP = """
    INSERT INTO gap (device_id, stream, start_ns, end_ns, missing, reason, exact) VALUES (?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (start_ns, device_id, stream, reason) DO NOTHING
"""

_INSERT_LINK = """
    INSERT INTO link (session_id, device_id, at_ns, address, firmware, rssi) VALUES (?, ?, ?, ?, ?, ?)
    ON CONFLICT (at_ns, device_id) DO NOTHING
"""

_ADD_MINUTE = """
    INSERT INTO minute (device_id, channel, start_ns, observed_s, analysable_s, twitches, utc_offset_s, closed)
    VALUES (?, ?, ?, ?, ?, ?, ?, 0)
    ON CONFLICT (start_ns, device_id, channel) DO UPDATE
        SET observed_s = observed_s + excluded.observed_s,
            analysable_s = analysable_s + excluded.analysable_s,
            twitches = twitches + excluded.twitches,
            closed = 0
"""

_CLOSE_MINUTES = "UPDATE minute SET closed = 1 WHERE closed = 0 AND start_ns <= ?"

_INSERT_CONDITION = """
    INSERT INTO condition (name, at_ns, active, detail) VALUES (?, ?, ?, ?)
    ON CONFLICT (at_ns, name) DO NOTHING
"""

_SELECT_TROUBLES = """
    SELECT name, at_ns, active, detail FROM condition
    WHERE active AND id IN (SELECT max(id) FROM condition GROUP BY name) ORDER BY at_ns
"""

_END_CONDITIONS = """
    INSERT INTO condition (at_ns, name, active, detail)
        SELECT max(?1, at_ns + 1), name, 0, detail FROM condition
        WHERE active AND id IN (SELECT max(id) FROM condition GROUP BY name)
"""

_ALERT_FIELDS = tuple(field.name for field in fields(Alert))
_ALERT_COLUMNS = ", ".join(_ALERT_FIELDS)

_INSERT_ALERT = f"""
    INSERT INTO alert ({_ALERT_COLUMNS}) VALUES ({", ".join(f":{name}" for name in _ALERT_FIELDS)})
    ON CONFLICT (name, at_ns, change) DO NOTHING
"""  # noqa: S608  (names of fields)

_INSERT_BULLETIN = """
    INSERT INTO bulletin (kind, number, at_ns, key, fields) VALUES (?, ?, ?, ?, ?)
    ON CONFLICT (kind, number, at_ns, key) DO NOTHING
"""

_SELECT_ALERTS = f"""
    SELECT {_ALERT_COLUMNS} FROM alert
    WHERE id IN (SELECT max(id) FROM alert GROUP BY name) AND change <> 'forgotten' ORDER BY name
"""  # noqa: S608

_SELECT_ALERT_HISTORY = f"""
    SELECT {_ALERT_COLUMNS} FROM alert WHERE at_ns >= :since AND at_ns < :until ORDER BY at_ns, id
"""  # noqa: S608

_ADVANCE = """
    INSERT INTO sink (name, seq, refused) VALUES (?, ?, 0)
    ON CONFLICT (name) DO UPDATE SET seq = max(seq, excluded.seq)
"""

_INSERT_DEAD_LETTER = """
    INSERT INTO dead_letter (sink, seq, at_ns, reason) VALUES (?, ?, ?, ?)
    ON CONFLICT (sink, seq) DO NOTHING
"""

_COUNT_REFUSED = """
    INSERT INTO sink (name, seq, refused) VALUES (?, 0, 1)
    ON CONFLICT (name) DO UPDATE SET refused = refused + 1
"""

_FORGET_DEAD_LETTERS = """
    DELETE FROM dead_letter
    WHERE id <= (SELECT id FROM dead_letter WHERE sink = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2) AND sink = ?1
"""

_REPLACE_STATUS = """
    INSERT INTO status (device_id, at_ns, battery_percent, overruns, drops, temperature_c, lead_off, impedance_ohm)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (device_id, at_ns) DO UPDATE
        SET battery_percent = excluded.battery_percent, overruns = excluded.overruns, drops = excluded.drops,
            temperature_c = excluded.temperature_c, lead_off = excluded.lead_off,
            impedance_ohm = excluded.impedance_ohm
"""

_REPLACE_LEARNED = """
    INSERT INTO learned (device_id, stream, at_ns, units) VALUES (?, ?, ?, ?)
    ON CONFLICT (device_id, stream) DO UPDATE SET at_ns = excluded.at_ns, units = excluded.units
"""

_SELECT_SESSIONS = """
    SELECT id, begun_ns, last_ns, ended_ns, version, settings FROM session ORDER BY id DESC LIMIT :limit
"""

_SELECT_DEVICES = """
    SELECT id, name, serial, firmware, streams, address, first_ns, last_ns,
           (SELECT json_group_object(stream.name, accounted_ns) FROM stream WHERE device_id = device.id)
    FROM device ORDER BY id
"""

_SELECT_TWITCHES = """
    SELECT device_id, channel, onset_ns, duration_s, peak, peak_to_peak, unit, snr, confidence,
           amplitudes, waveform, waveform_start_s, rate_hz, phases, turns, median_hz,
           motor_unit, follows_s
    FROM twitch
    WHERE onset_ns >= :since AND onset_ns < :until
      AND (:device IS NULL OR device_id = :device) AND (:channel IS NULL OR channel = :channel)
    ORDER BY onset_ns DESC, device_id DESC, channel DESC
    LIMIT :limit
"""

# The unary plus keeps the planner on the index of the ends: what is asked for is nearly always recent, and
# from the ends it is found without passing over all that began before.
_SELECT_CONTEXTS = """
    SELECT device_id, state, channel, onset_ns, duration_s
    FROM context
    WHERE end_ns > :since AND +onset_ns < :until
      AND (:device IS NULL OR device_id = :device) AND (:channel IS NULL OR channel = :channel)
    ORDER BY +onset_ns, device_id, channel, state
"""

_SELECT_GAPS = """
    SELECT device_id, stream, start_ns, end_ns, missing, reason, exact
    FROM gap
    WHERE end_ns > :since AND +start_ns < :until AND (:device IS NULL OR device_id = :device)
    ORDER BY +start_ns, device_id, stream, reason
"""

_SELECT_MINUTES = """
    SELECT device_id, channel, start_ns, observed_s, analysable_s, twitches
    FROM minute
    WHERE start_ns >= :since AND start_ns < :until
      AND (:device IS NULL OR device_id = :device) AND (:channel IS NULL OR channel = :channel)
    ORDER BY start_ns, device_id, channel
"""

_SELECT_STRETCHES = """
    SELECT device_id, channel, start_ns / :stretch * :stretch AS stretch_ns,
           sum(observed_s), sum(analysable_s), sum(twitches)
    FROM minute
    WHERE start_ns >= :since AND start_ns < :until AND (:device IS NULL OR device_id = :device)
    GROUP BY device_id, channel, stretch_ns ORDER BY stretch_ns, device_id, channel
"""

_SELECT_SPENT = """
    SELECT device_id, channel, state, onset_ns / :stretch * :stretch AS stretch_ns, count(*), sum(duration_s)
    FROM context
    WHERE onset_ns >= :since AND onset_ns < :until AND (:device IS NULL OR device_id = :device)
    GROUP BY device_id, channel, state, stretch_ns ORDER BY stretch_ns, device_id, channel, state
"""

_SELECT_MISSING = """
    SELECT device_id, json_extract(stream, '$.name') AS name, reason, count(*),
           sum(min(end_ns, :until) - max(start_ns, :since)) * 1e-9
    FROM gap
    WHERE end_ns > :since AND +start_ns < :until AND (:device IS NULL OR device_id = :device)
    GROUP BY device_id, name, reason ORDER BY device_id, name, reason
"""

_SELECT_FIRING_UNITS = """
    SELECT device_id, channel, motor_unit, count(*), avg(peak_to_peak), min(unit), count(follows_s)
    FROM twitch
    WHERE onset_ns >= :since AND onset_ns < :until AND (:device IS NULL OR device_id = :device)
    GROUP BY device_id, channel, motor_unit ORDER BY device_id, channel, motor_unit IS NULL, motor_unit
"""

_SELECT_LINKS = """
    SELECT device_id, at_ns, address, firmware, rssi
    FROM link
    WHERE at_ns >= :since AND at_ns < :until AND (:device IS NULL OR device_id = :device)
    ORDER BY at_ns, device_id
"""

_SELECT_TOTALS = """
    SELECT device_id, channel, sum(observed_s), sum(analysable_s), sum(twitches)
    FROM minute
    WHERE start_ns >= :since AND start_ns < :until AND (:device IS NULL OR device_id = :device)
    GROUP BY device_id, channel ORDER BY device_id, channel
"""

# CROSS JOIN goes through the devices, which are few, and finds the times of each in the index.
_SELECT_STATUSES = """
    SELECT device_id, at_ns, battery_percent, overruns, drops, temperature_c, lead_off, impedance_ohm
    FROM device CROSS JOIN status ON device_id = device.id
    WHERE at_ns >= :since AND at_ns < :until AND (:device IS NULL OR device_id = :device)
    ORDER BY at_ns, device_id
"""

_SELECT_NEWEST_STATUSES = """
    SELECT device_id, at_ns, battery_percent, overruns, drops, temperature_c, lead_off, impedance_ohm
    FROM device CROSS JOIN status ON device_id = device.id
    WHERE at_ns = (SELECT max(at_ns) FROM status WHERE device_id = device.id)
    ORDER BY device_id
"""

_SELECT_CONDITIONS = """
    SELECT name, at_ns, active, detail FROM condition WHERE at_ns >= :since AND at_ns < :until ORDER BY at_ns, id
"""

_SELECT_ALERT_SEQ = """
    SELECT seq FROM alert JOIN outbox ON outbox.kind = 'alert' AND row_id = alert.id
    WHERE name = :name AND at_ns = :at AND change = :change
    ORDER BY seq DESC LIMIT 1
"""

_SELECT_OUTBOX = "SELECT seq, kind FROM outbox WHERE seq > ? ORDER BY seq LIMIT ?"

_SELECT_OUTGOING = " WHERE outbox.kind = :kind AND seq BETWEEN :first AND :last"

_SELECT_DEAD_LETTERS = """
    SELECT sink, seq, reason FROM dead_letter WHERE sink = :sink ORDER BY id DESC LIMIT :limit
"""

_TWITCH_COLUMNS = """
    device_id, utc_offset_s, channel, onset_ns, duration_s, peak, peak_to_peak, unit, snr, confidence,
    amplitudes, waveform, waveform_start_s, rate_hz, phases, turns, median_hz, motor_unit, follows_s
"""
_STATUS_COLUMNS = """
    device_id, NULL, device_id, at_ns, battery_percent, overruns, drops, temperature_c, lead_off, impedance_ohm
"""

_OUTGOING: Mapping[str, tuple[str, Callable[[Sequence[Any]], Any]]] = {
    "twitch": (_TWITCH_COLUMNS, _twitch),
    "context": (
        "device_id, NULL, state, channel, onset_ns, duration_s",
        lambda row: Context(State(row[0]), *row[1:]),
    ),
    "gap": ("device_id, NULL, stream, start_ns, end_ns, missing, reason, exact", _gap),
    "minute": (
        "device_id, utc_offset_s, channel, start_ns, observed_s, analysable_s, twitches",
        lambda row: Minute(*row),
    ),
    "status": (_STATUS_COLUMNS, _health),
    "link": ("device_id, NULL, at_ns, address, firmware, rssi", lambda row: Linked(*row)),
    "condition": ("NULL, NULL, name, at_ns, active, detail", _condition),
    "alert": ("NULL, NULL, " + ", ".join(f"alert.{name}" for name in _ALERT_FIELDS), _alert),
    "bulletin": ("NULL, NULL, bulletin.kind, fields", lambda row: KINDS[row[0]](**json.loads(row[1]))),
}
"""What goes out -> its columns, and the record that they make."""
