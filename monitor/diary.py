"""The diary: what a person logs, and every change of it.

    command, MQTT, HTTP ─► logbook ─► Diary ─► diary.sqlite ─► correlation, report, sinks

Rules of this module:

* A file of its own beside the store, with a rollback journal: a coffee is logged while `run`, the store's one
  writer, is at work, and by any number of programs.
* Nothing is overwritten. What an entry is, its latest change says; edit, delete and undo are changes. Their ids
  grow in the order of arrival: a sink follows the diary by them.
* What was done in one act, such as an import, is undone as one.
* The same key twice is logged once.
* Time comes in with every call. `occurred_ns` is when it was, `at_ns` of its first change when it was logged.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, ClassVar, Final, Self

from firmware_interface.errors import Fault
from monitor.correlation.triggers import Precision, Reactive, Trigger
from monitor.database import (
    Connection,
    DatabaseError,
    StoreError,
    connect_shared,
    explained,
    refuse_old_sqlite,
    transaction,
)
from monitor.migrations import Migration, applied, migrate

DIARY: Final = "diary.sqlite"
FELT: Final = "felt"
"""Kind of an entry that says "I felt one": never a trigger, never an outcome."""
NOTHING: Final = "nothing"
"""Kind of an entry that says that on its day nothing at all happened that would have been logged."""

_ALWAYS_NS = 2**63 - 1


class DiaryError(Fault):
    """An entry that cannot be understood or found; the person's to mend."""

    exit_code: ClassVar[int] = 2


class Label(StrEnum):
    """What a person says of a twitch that was reported."""

    REAL = "real"
    ARTEFACT = "artefact"


@dataclass(frozen=True, slots=True)
class Labelled:
    """A twitch, by its key in the store, and what a person says of it."""

    device_id: int
    channel: str
    onset_ns: int
    label: Label


class Action(StrEnum):
    """What was done to an entry."""

    LOGGED = "logged"
    EDITED = "edited"
    DELETED = "deleted"
    UNDONE = "undone"


@dataclass(frozen=True, slots=True)
class Entry:
    """What a person says happened."""

    kind: str
    occurred_ns: int
    ended_ns: int | None = None
    running: bool = False
    """Begun, and not ended yet."""
    dose: float | None = None
    """Or an intensity; 0 where none was confirmed."""
    unit: str = ""
    site: str = ""
    """On the body, where it matters."""
    precision: Precision = Precision.EXACT
    reactive: Reactive = Reactive.UNKNOWN
    note: str = ""


@dataclass(frozen=True, slots=True)
class Logged:
    """An entry as it stands."""

    id: int
    logged_ns: int
    """First."""
    entry: Entry


@dataclass(frozen=True, slots=True)
class Change:
    """One step in the history of an entry."""

    id: int
    entry_id: int
    at_ns: int
    action: Action
    entry: Entry | None
    """As it was from then on; `None`: it is gone."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of an entry that was to be logged."""

    id: int
    entry: Entry
    repeated: bool = field(default=False)
    """Its key was seen before; nothing was added."""


class Diary:
    """A diary that is open for writing; to be closed soon."""

    def __init__(self, connection: Connection, path: Path) -> None:
        self._connection = connection
        self._path = path

    @classmethod
    def open(cls, folder: Path) -> Diary:
        """The diary of a data folder, made where it is missing.

        Raises:
            StoreError: it cannot be written, is damaged, or is from a newer program.
        """
        path = folder / DIARY
        with explained(path), ExitStack() as on_error:
            refuse_old_sqlite()
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            connection = on_error.enter_context(closing(connect_shared(path)))
            _refuse_newer(path, connection)
            _bring_up_to_date(connection)
            on_error.pop_all()
        return cls(connection, path)

    def close(self) -> None:
        """Let the file go."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def entries(self) -> list[Logged]:
        """All as they stand, in order of when they occurred."""
        with explained(self._path):
            return _entries(self._connection, _SELECT_ENTRIES)

    def running(self) -> list[Logged]:
        """Those that have begun and not ended, in order of when they began."""
        with explained(self._path):
            return _entries(self._connection, _SELECT_ENTRIES + " AND json_extract(last.fields, '$.running')")

    def units(self) -> dict[str, str]:
        """Kind -> its unit, of all that stands. By SQLite: reading years of entries would be felt."""
        with explained(self._path):
            return dict(self._connection.execute(_SELECT_UNITS).fetchall())

    def entry(self, entry_id: int) -> Entry:
        """One as it stands.

        Raises:
            DiaryError: there is none.
        """
        with explained(self._path):
            return self._entry(entry_id)

    def history(self, entry_id: int) -> list[Change]:
        """Every change of an entry, oldest first."""
        with explained(self._path):
            return [_change(row) for row in self._connection.execute(_SELECT_HISTORY, (entry_id,)).fetchall()]

    def log(self, entries: Sequence[Entry], now_ns: int, keys: Sequence[str] = ()) -> list[Receipt]:
        """Keep new entries, in one act.

        Args:
            entries: all or none are kept.
            now_ns: when they are logged.
            keys: one for each entry, or none: of the same key only the first is kept.
        """
        receipts: list[Receipt] = []
        with self._act() as act:
            for entry, key in zip(entries, keys or [""] * len(entries), strict=True):
                known = self._connection.execute(_SELECT_KEY, (key,)).fetchall() if key else []
                if known:
                    receipts.append(Receipt(known[0][0], _entry(known[0][1]), repeated=True))
                else:
                    receipts.append(Receipt(act.change(None, Action.LOGGED, entry, now_ns, key), entry))
        return receipts

    def stop(self, kind: str, ended_ns: int, now_ns: int) -> Receipt:
        """End the newest running entry of a kind.

        Raises:
            DiaryError: none is running, or it began later than it is to end.
        """
        with self._act() as act:
            running = self.running()
            ours = [each for each in running if each.entry.kind == kind]
            if not ours:
                others = ", ".join(sorted({each.entry.kind for each in running})) or "nothing"
                raise DiaryError(f"no {kind} is running", f"Running: {others}; see `fasciwatch trigger list`")
            last = ours[-1]
            if ended_ns < last.entry.occurred_ns:
                raise DiaryError(f"{kind} cannot end before it began", "Say a later --at")
            ended = replace(last.entry, ended_ns=ended_ns, running=False)
            act.change(last.id, Action.EDITED, ended, now_ns)
        return Receipt(last.id, ended)

    def edit(self, entry_id: int, entry: Entry, now_ns: int) -> Receipt:
        """Say otherwise what happened.

        Raises:
            DiaryError: there is no such entry.
        """
        with self._act() as act:
            self._entry(entry_id)
            act.change(entry_id, Action.EDITED, entry, now_ns)
        return Receipt(entry_id, entry)

    def delete(self, entry_id: int, now_ns: int) -> Receipt:
        """Say that it did not happen; its history stays.

        Raises:
            DiaryError: there is no such entry.
        """
        with self._act() as act:
            gone = self._entry(entry_id)
            act.change(entry_id, Action.DELETED, None, now_ns)
        return Receipt(entry_id, gone)

    def undo(self, now_ns: int) -> list[Change]:
        """Take back the last act that was not taken back yet.

        Raises:
            DiaryError: there is none.
        """
        with self._act() as act:
            undone = self._connection.execute(_SELECT_LAST_ACT).fetchall()
            if not undone:
                raise DiaryError("there is nothing to undo", "See `fasciwatch trigger list`")
            changes = [_change(row) for row in undone]
            for change in reversed(changes):
                before = self._connection.execute(_SELECT_BEFORE, (change.entry_id, change.id)).fetchall()
                entry = _entry(before[0][0]) if before and before[0][0] else None
                act.change(change.entry_id, Action.UNDONE, entry, now_ns, undoes=change.id)
        return changes

    def templates(self) -> dict[str, dict[str, str]]:
        """Name -> what is logged by it, as a person would write it."""
        with explained(self._path):
            rows = self._connection.execute("SELECT name, fields FROM template ORDER BY name").fetchall()
        return {name: json.loads(fields) for name, fields in rows}

    def keep_template(self, name: str, fields: Mapping[str, str] | None) -> None:
        """Keep what is logged by a name; `None` forgets it."""
        with explained(self._path), transaction(self._connection):
            self._connection.execute("DELETE FROM template WHERE name = ?", (name,))
            if fields is not None:
                self._connection.execute("INSERT INTO template VALUES (?, ?)", (name, _dump(dict(fields))))

    def label(self, device_id: int, channel: str, onset_ns: int, label: Label | None, now_ns: int) -> None:
        """Say what a twitch is; `None` takes back what was said. All that was ever said stays."""
        values = device_id, channel, onset_ns, now_ns, label or ""
        with explained(self._path), transaction(self._connection):
            self._connection.execute(_INSERT_LABEL, values)

    def labels(self, since_ns: int = 0, until_ns: int = _ALWAYS_NS) -> list[Labelled]:
        """Of the twitches with their onset in the range, what was said last."""
        with explained(self._path):
            rows = self._connection.execute(_SELECT_LABELS, (since_ns, until_ns)).fetchall()
        return [Labelled(device, channel, onset_ns, Label(label)) for device, channel, onset_ns, label in rows]

    def changes(self) -> int:
        """How many there ever were: another number is another diary."""
        with explained(self._path):
            ((count,),) = self._connection.execute("SELECT ifnull(max(id), 0) FROM change").fetchall()
        return int(count)

    def experiments(self) -> list[tuple[int, int, dict[str, Any]]]:
        """(number, when it was planned, plan) of each, oldest first."""
        with explained(self._path):
            rows = self._connection.execute("SELECT id, at_ns, plan FROM experiment ORDER BY id").fetchall()
        return [(number, at_ns, json.loads(plan)) for number, at_ns, plan in rows]

    def keep_experiment(self, plan: Mapping[str, object], now_ns: int) -> int:
        """Keep a plan, its secret with it; the number of the experiment."""
        with explained(self._path), transaction(self._connection):
            values = now_ns, _dump(dict(plan))
            inserted = self._connection.execute("INSERT INTO experiment (at_ns, plan) VALUES (?, ?)", values)
            return inserted.lastrowid or 0

    def _entry(self, entry_id: int) -> Entry:
        rows = self._connection.execute(_SELECT_STANDING, (entry_id,)).fetchall()
        if not rows or rows[0][0] is None:
            raise DiaryError(f"there is no entry {entry_id}", "See `fasciwatch trigger list`")
        return _entry(rows[0][0])

    @contextmanager
    def _act(self) -> Iterator[_Act]:
        with explained(self._path), transaction(self._connection):
            yield _Act(self._connection)


class _Act:
    """Changes that are made, and undone, together."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        ((self._number,),) = connection.execute("SELECT ifnull(max(id), 0) + 1 FROM change").fetchall()

    def change(
        self,
        entry_id: int | None,
        action: Action,
        entry: Entry | None,
        now_ns: int,
        key: str = "",
        undoes: int | None = None,
    ) -> int:
        """Add a change; the id of its entry, which is that of its first change."""
        fields = None if entry is None else _dump(asdict(entry))
        values = entry_id, self._number, now_ns, action, fields, key or None, undoes
        added = self._connection.execute(_INSERT_CHANGE, values).lastrowid or 0
        if entry_id is None:
            self._connection.execute("UPDATE change SET entry_id = id WHERE id = ?", (added,))
        return entry_id or added


def read_diary(folder: Path) -> list[Logged]:
    """All entries as they stand, in order of when they occurred; none where nothing was ever logged.

    Raises:
        StoreError: it is damaged or from a newer program.
    """
    path = folder / DIARY
    if not path.is_file():
        return []
    # Not read-only: after a power cut the journal has to be rolled back first.
    with explained(path), closing(connect_shared(path)) as connection:
        _refuse_newer(path, connection)
        return _entries(connection, _SELECT_ENTRIES) if applied(connection) else []


def changes_after(folder: Path, change_id: int) -> list[tuple[Change, Entry | None]]:
    """Every change after that one, in order, each with its entry as it was before; none where nothing was logged.

    Raises:
        StoreError: it is damaged or from a newer program.
    """
    path = folder / DIARY
    if not path.is_file():
        return []
    with explained(path), closing(connect_shared(path)) as connection:
        _refuse_newer(path, connection)
        rows = connection.execute(_SELECT_AFTER, (change_id,)).fetchall() if applied(connection) else []
    return [(_change(row), _entry(before) if before else None) for *row, before in rows]


def triggers(entries: Sequence[Logged], now_ns: int) -> list[Trigger]:
    """What can be asked of; what runs on has lasted until now."""
    return [
        Trigger(
            kind=entry.kind,
            start_s=entry.occurred_ns * 1e-9,
            end_s=(now_ns if entry.running else entry.ended_ns or 0) * 1e-9 if _lasts(entry) else None,
            dose=entry.dose,
            reactive=entry.reactive,
            precision=entry.precision,
            place=logged.id,
        )
        for logged in entries
        if (entry := logged.entry).kind not in (FELT, NOTHING)
    ]


def _lasts(entry: Entry) -> bool:
    return entry.running or entry.ended_ns is not None


def _refuse_newer(path: Path, connection: Connection) -> None:
    done = applied(connection)
    if done != tuple(step.name for step in STEPS[: len(done)]):
        raise StoreError(
            f"{path} was written by a newer fasciwatch (its schema is at {done[-1]!r})",
            "Install that version or a later one, or name another data folder",
        )


def _bring_up_to_date(connection: Connection) -> None:
    """Two programs may both find a new diary without tables; the second one's step fails, and it is done."""
    try:
        migrate(connection, STEPS)
    except DatabaseError:
        if len(applied(connection)) < len(STEPS):
            raise


def _entries(connection: Connection, select: str) -> list[Logged]:
    rows = connection.execute(select).fetchall()
    logged = [Logged(entry_id, logged_ns, _entry(fields)) for entry_id, logged_ns, fields in rows]
    return sorted(logged, key=lambda each: (each.entry.occurred_ns, each.id))


def _entry(fields: str) -> Entry:
    values = json.loads(fields)
    choices = {"precision": Precision(values["precision"]), "reactive": Reactive(values["reactive"])}
    return Entry(**values | choices)


def _change(row: Sequence[Any]) -> Change:
    change_id, entry_id, at_ns, action, fields = row
    return Change(change_id, entry_id, at_ns, Action(action), None if fields is None else _entry(fields))


def _dump(fields: Mapping[str, object]) -> str:
    return json.dumps(fields, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


# ---- SQL ----

STEPS: Final = (
    Migration(
        "0001 changes, templates, experiments",
        """
        CREATE TABLE migration (
            id   INTEGER PRIMARY KEY,
            name TEXT NOT NULL UNIQUE
        ) STRICT;

        CREATE TABLE change (
            id       INTEGER PRIMARY KEY,
            entry_id INTEGER,           -- the id of its first change
            act      INTEGER NOT NULL,  -- what has the same was done together
            at_ns    INTEGER NOT NULL,
            action   TEXT NOT NULL,
            fields   TEXT,              -- JSON object: the entry from then on; NULL: gone
            key      TEXT UNIQUE,       -- of whoever logged it
            undoes   INTEGER UNIQUE REFERENCES change
        ) STRICT;
        CREATE INDEX change_entry ON change (entry_id, id);

        CREATE TABLE template (
            name   TEXT PRIMARY KEY,
            fields TEXT NOT NULL        -- JSON object, as a person would write it
        ) STRICT, WITHOUT ROWID;

        CREATE TABLE experiment (
            id    INTEGER PRIMARY KEY,
            at_ns INTEGER NOT NULL,
            plan  TEXT NOT NULL         -- JSON object, the secret with it
        ) STRICT
        """,
    ),
    Migration(
        "0002 what a person says of single twitches",
        """
        CREATE TABLE label (
            id        INTEGER PRIMARY KEY,
            device_id INTEGER NOT NULL,  -- with the next two, the key of a twitch in main.sqlite
            channel   TEXT NOT NULL,
            onset_ns  INTEGER NOT NULL,
            at_ns     INTEGER NOT NULL,
            label     TEXT NOT NULL      -- the last one counts; empty: taken back
        ) STRICT;
        CREATE INDEX label_twitch ON label (onset_ns, device_id, channel, id)
        """,
    ),
)

_INSERT_LABEL = "INSERT INTO label (device_id, channel, onset_ns, at_ns, label) VALUES (?, ?, ?, ?, ?)"

_SELECT_LABELS = """
    SELECT device_id, channel, onset_ns, label FROM label
    WHERE onset_ns >= ? AND onset_ns < ? AND label <> '' AND id IN (
        SELECT max(id) FROM label GROUP BY onset_ns, device_id, channel
    )
    ORDER BY onset_ns, device_id, channel
"""

_INSERT_CHANGE = """
    INSERT INTO change (entry_id, act, at_ns, action, fields, key, undoes) VALUES (?, ?, ?, ?, ?, ?, ?)
"""

_SELECT_ENTRIES = """
    SELECT last.entry_id, first.at_ns, last.fields
    FROM (SELECT max(id) AS id FROM change GROUP BY entry_id) AS newest
    JOIN change AS last ON last.id = newest.id
    JOIN change AS first ON first.id = last.entry_id
    WHERE last.fields IS NOT NULL
"""

_SELECT_UNITS = """
    SELECT json_extract(fields, '$.kind') AS kind, max(json_extract(fields, '$.unit'))
    FROM change
    WHERE id IN (SELECT max(id) FROM change GROUP BY entry_id) AND fields IS NOT NULL
    GROUP BY kind
"""

_SELECT_STANDING = "SELECT fields FROM change WHERE entry_id = ? ORDER BY id DESC LIMIT 1"

_SELECT_BEFORE = "SELECT fields FROM change WHERE entry_id = ? AND id < ? ORDER BY id DESC LIMIT 1"

_SELECT_AFTER = """
    SELECT id, entry_id, at_ns, action, fields,
           (SELECT fields FROM change AS earlier
            WHERE earlier.entry_id = change.entry_id AND earlier.id < change.id ORDER BY id DESC LIMIT 1)
    FROM change WHERE id > ? ORDER BY id
"""

_SELECT_HISTORY = "SELECT id, entry_id, at_ns, action, fields FROM change WHERE entry_id = ? ORDER BY id"

_SELECT_KEY = "SELECT entry_id, fields FROM change WHERE key = ?"

_SELECT_LAST_ACT = """
    SELECT id, entry_id, at_ns, action, fields
    FROM change
    WHERE act = (
        SELECT max(act) FROM change
        WHERE undoes IS NULL AND id NOT IN (SELECT undoes FROM change WHERE undoes IS NOT NULL)
    )
    ORDER BY id
"""
