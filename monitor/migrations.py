"""The schema of a data folder, as the list of steps that made it.

Rules of this module:

* A step that has shipped is never edited, moved or removed; the schema changes by adding a step at the end.
* Each step runs in one transaction together with the row that says it ran: after a power cut a step has
  happened or it has not.
* A folder whose steps are not a beginning of this list was written by a newer program. The caller refuses it.

Rules of the schema:

* Times are INTEGER nanoseconds since 1970 UTC.
* What is only ever added (twitch, context, gap, status) has an `id` that grows in the order of arrival, and a
  UNIQUE key made of what was measured, so that the same record arriving again is the same row.
* A table whose rows go out has a trigger that enters each new one in `outbox`, in the same transaction: no code
  can forget it. The row stays where it is; an entry is 20 bytes, and is kept for sinks that are added later.
* A minute goes out when it is closed, and again when it was closed again after an addition.
* These keys begin with the time: the same index serves "seen before?" and "what was there in this hour?".
  That of status begins with the device, because the newest of each is asked for most.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from monitor.database import Connection, undone_on_error


class Migration(NamedTuple):
    """One step: a name for ever, and one or more SQL statements."""

    name: str
    sql: str


MIGRATIONS: tuple[Migration, ...] = (
    Migration(
        "0001 sessions, devices, what was seen and what was not",
        """
        CREATE TABLE migration (
            id   INTEGER PRIMARY KEY,
            name TEXT NOT NULL UNIQUE
        ) STRICT;

        CREATE TABLE session (
            id       INTEGER PRIMARY KEY,
            begun_ns INTEGER NOT NULL,
            last_ns  INTEGER NOT NULL,  -- the last commit
            ended_ns INTEGER,           -- NULL while it runs, and after a kill until the next one begins
            version  TEXT NOT NULL,
            settings TEXT NOT NULL      -- JSON object
        ) STRICT;

        CREATE TABLE device (
            id       INTEGER PRIMARY KEY,
            serial   TEXT NOT NULL,
            name     TEXT NOT NULL,
            firmware TEXT NOT NULL,
            address  TEXT NOT NULL,
            streams  TEXT NOT NULL,     -- JSON array of stream objects
            first_ns INTEGER NOT NULL,
            last_ns  INTEGER NOT NULL
        ) STRICT;
        CREATE UNIQUE INDEX device_serial ON device (serial) WHERE serial <> '';
        CREATE UNIQUE INDEX device_address ON device (address, name) WHERE serial = '';

        CREATE TABLE stream (
            device_id    INTEGER NOT NULL REFERENCES device,
            name         TEXT NOT NULL,
            accounted_ns INTEGER NOT NULL,  -- up to here all time was observed or is in a gap
            PRIMARY KEY (device_id, name)
        ) STRICT, WITHOUT ROWID;

        CREATE TABLE twitch (
            id               INTEGER PRIMARY KEY,
            device_id        INTEGER NOT NULL REFERENCES device,
            onset_ns         INTEGER NOT NULL,
            channel          TEXT NOT NULL,
            duration_s       REAL NOT NULL,
            peak             REAL NOT NULL,
            peak_to_peak     REAL NOT NULL,
            unit             TEXT NOT NULL,
            snr              REAL NOT NULL,
            confidence       REAL NOT NULL,
            amplitudes       TEXT NOT NULL,  -- JSON array of [channel, peak to peak]
            waveform         BLOB NOT NULL,  -- float32, little endian
            waveform_start_s REAL NOT NULL,
            rate_hz          REAL NOT NULL,
            UNIQUE (onset_ns, device_id, channel)
        ) STRICT;

        CREATE TABLE context (
            id         INTEGER PRIMARY KEY,
            device_id  INTEGER NOT NULL REFERENCES device,
            onset_ns   INTEGER NOT NULL,
            channel    TEXT NOT NULL,
            state      TEXT NOT NULL,
            duration_s REAL NOT NULL,
            end_ns     INTEGER AS (onset_ns + CAST(duration_s * 1e9 AS INTEGER)) VIRTUAL,
            UNIQUE (onset_ns, device_id, channel, state)
        ) STRICT;
        CREATE INDEX context_end ON context (end_ns);

        CREATE TABLE gap (
            id        INTEGER PRIMARY KEY,
            device_id INTEGER NOT NULL REFERENCES device,
            start_ns  INTEGER NOT NULL,
            end_ns    INTEGER NOT NULL,
            stream    TEXT NOT NULL,      -- JSON object: the stream as it was then
            missing   INTEGER NOT NULL,
            reason    TEXT NOT NULL,
            exact     INTEGER NOT NULL,   -- 0 or 1
            UNIQUE (start_ns, device_id, stream, reason)
        ) STRICT;
        CREATE INDEX gap_end ON gap (end_ns);

        CREATE TABLE minute (
            start_ns     INTEGER NOT NULL,
            device_id    INTEGER NOT NULL REFERENCES device,
            channel      TEXT NOT NULL,
            observed_s   REAL NOT NULL,
            analysable_s REAL NOT NULL,
            twitches     INTEGER NOT NULL,
            PRIMARY KEY (start_ns, device_id, channel)
        ) STRICT, WITHOUT ROWID;

        CREATE TABLE status (
            id              INTEGER PRIMARY KEY,
            device_id       INTEGER NOT NULL REFERENCES device,
            at_ns           INTEGER NOT NULL,
            battery_percent INTEGER,
            lead_off        TEXT NOT NULL,  -- JSON array of booleans
            overruns        INTEGER NOT NULL,
            drops           INTEGER NOT NULL,
            temperature_c   REAL,
            UNIQUE (device_id, at_ns)
        ) STRICT;
        """,
    ),
    Migration(
        "0002 the shape and the motor unit of a twitch",
        """
        ALTER TABLE twitch ADD COLUMN phases INTEGER;
        ALTER TABLE twitch ADD COLUMN turns INTEGER;
        ALTER TABLE twitch ADD COLUMN median_hz REAL;
        ALTER TABLE twitch ADD COLUMN motor_unit INTEGER;
        ALTER TABLE twitch ADD COLUMN follows_s REAL
        """,
    ),
    Migration(
        "0003 each connection, with the firmware that was found",
        """
        CREATE TABLE link (
            id         INTEGER PRIMARY KEY,
            session_id INTEGER NOT NULL REFERENCES session,
            device_id  INTEGER NOT NULL REFERENCES device,
            at_ns      INTEGER NOT NULL,
            address    TEXT NOT NULL,
            firmware   TEXT NOT NULL,
            rssi       INTEGER NOT NULL,  -- of the advertisement, dBm
            UNIQUE (at_ns, device_id)
        ) STRICT
        """,
    ),
    Migration(
        "0004 the impedance of electrodes",
        """
        -- JSON array, of the electrode of each channel
        ALTER TABLE status ADD COLUMN impedance_ohm TEXT NOT NULL DEFAULT '[]'
        """,
    ),
    Migration(
        "0005 what goes out, and how far each sink has got",
        """
        ALTER TABLE twitch ADD COLUMN utc_offset_s INTEGER;  -- of local time where it was stored

        CREATE TABLE minute_with_id (
            id           INTEGER PRIMARY KEY,
            start_ns     INTEGER NOT NULL,
            device_id    INTEGER NOT NULL REFERENCES device,
            channel      TEXT NOT NULL,
            observed_s   REAL NOT NULL,
            analysable_s REAL NOT NULL,
            twitches     INTEGER NOT NULL,
            utc_offset_s INTEGER,           -- of local time where it was stored
            closed       INTEGER NOT NULL,  -- 0 or 1: nothing is expected to be added
            UNIQUE (start_ns, device_id, channel)
        ) STRICT;
        INSERT INTO minute_with_id (start_ns, device_id, channel, observed_s, analysable_s, twitches, closed)
            SELECT start_ns, device_id, channel, observed_s, analysable_s, twitches, 1
            FROM minute ORDER BY start_ns, device_id, channel;
        DROP TABLE minute;
        ALTER TABLE minute_with_id RENAME TO minute;
        CREATE INDEX minute_open ON minute (start_ns) WHERE closed = 0;

        CREATE TABLE condition (
            id     INTEGER PRIMARY KEY,
            at_ns  INTEGER NOT NULL,
            name   TEXT NOT NULL,
            active INTEGER NOT NULL,  -- 0 or 1
            detail TEXT NOT NULL,
            UNIQUE (at_ns, name)
        ) STRICT;

        CREATE TABLE outbox (
            seq    INTEGER PRIMARY KEY,
            kind   TEXT NOT NULL,     -- name of a table
            row_id INTEGER NOT NULL   -- of its row
        ) STRICT;
        CREATE TABLE sink (
            name    TEXT PRIMARY KEY,
            seq     INTEGER NOT NULL,  -- all up to here was delivered, or is a dead letter
            refused INTEGER NOT NULL   -- dead letters that there ever were
        ) STRICT, WITHOUT ROWID;
        CREATE TABLE dead_letter (
            id     INTEGER PRIMARY KEY,
            sink   TEXT NOT NULL,
            seq    INTEGER NOT NULL,
            at_ns  INTEGER NOT NULL,
            reason TEXT NOT NULL,
            UNIQUE (sink, seq)
        ) STRICT;

        CREATE TRIGGER twitch_out AFTER INSERT ON twitch
            BEGIN INSERT INTO outbox (kind, row_id) VALUES ('twitch', NEW.id); END;
        CREATE TRIGGER context_out AFTER INSERT ON context
            BEGIN INSERT INTO outbox (kind, row_id) VALUES ('context', NEW.id); END;
        CREATE TRIGGER gap_out AFTER INSERT ON gap
            BEGIN INSERT INTO outbox (kind, row_id) VALUES ('gap', NEW.id); END;
        CREATE TRIGGER minute_out AFTER UPDATE OF closed ON minute WHEN NEW.closed AND NOT OLD.closed
            BEGIN INSERT INTO outbox (kind, row_id) VALUES ('minute', NEW.id); END;
        CREATE TRIGGER status_out AFTER INSERT ON status
            BEGIN INSERT INTO outbox (kind, row_id) VALUES ('status', NEW.id); END;
        CREATE TRIGGER link_out AFTER INSERT ON link
            BEGIN INSERT INTO outbox (kind, row_id) VALUES ('link', NEW.id); END;
        CREATE TRIGGER condition_out AFTER INSERT ON condition
            BEGIN INSERT INTO outbox (kind, row_id) VALUES ('condition', NEW.id); END;

        INSERT INTO outbox (kind, row_id) SELECT 'twitch', id FROM twitch ORDER BY id;
        INSERT INTO outbox (kind, row_id) SELECT 'context', id FROM context ORDER BY id;
        INSERT INTO outbox (kind, row_id) SELECT 'gap', id FROM gap ORDER BY id;
        INSERT INTO outbox (kind, row_id) SELECT 'minute', id FROM minute ORDER BY id;
        INSERT INTO outbox (kind, row_id) SELECT 'status', id FROM status ORDER BY id;
        INSERT INTO outbox (kind, row_id) SELECT 'link', id FROM link ORDER BY id
        """,
    ),
    Migration(
        "0006 the motor units that are known",
        """
        CREATE TABLE learned (
            device_id INTEGER NOT NULL REFERENCES device,
            stream    TEXT NOT NULL,
            at_ns     INTEGER NOT NULL,
            units     TEXT NOT NULL,  -- JSON object, as the detector wants it back
            PRIMARY KEY (device_id, stream)
        ) STRICT, WITHOUT ROWID
        """,
    ),
    Migration(
        "0007 alerts",
        """
        CREATE TABLE alert (
            id                INTEGER PRIMARY KEY,
            at_ns             INTEGER NOT NULL,
            name              TEXT NOT NULL,
            change            TEXT NOT NULL,
            kind              TEXT NOT NULL,
            raised            INTEGER NOT NULL,  -- 0 or 1
            severity          TEXT NOT NULL,
            since_ns          INTEGER,           -- NULL while it is not raised
            value             REAL,
            why               TEXT NOT NULL,
            device            TEXT NOT NULL,
            site              TEXT NOT NULL,
            announce          INTEGER NOT NULL,  -- 0 or 1: a person is to be told of this change
            announced_ns      INTEGER,           -- when a person last was, since it was raised
            acknowledged      INTEGER NOT NULL,  -- 0 or 1
            snoozed_until_ns  INTEGER,
            snoozed_severity  TEXT,
            said_id           INTEGER NOT NULL,  -- in said.sqlite; 0: nobody said anything
            UNIQUE (name, at_ns, change)
        ) STRICT;
        CREATE INDEX alert_at ON alert (at_ns);
        CREATE TRIGGER alert_out AFTER INSERT ON alert
            BEGIN INSERT INTO outbox (kind, row_id) VALUES ('alert', NEW.id); END
        """,
    ),
    Migration(
        "0008 what goes out beside what was measured",
        """
        CREATE TABLE bulletin (
            id     INTEGER PRIMARY KEY,
            kind   TEXT NOT NULL,
            number INTEGER NOT NULL,  -- of the change of the diary, or of the analysis; else 0
            at_ns  INTEGER NOT NULL,
            key    TEXT NOT NULL,
            fields TEXT NOT NULL,     -- JSON object
            UNIQUE (kind, number, at_ns, key)
        ) STRICT;
        CREATE TRIGGER bulletin_out AFTER INSERT ON bulletin
            BEGIN INSERT INTO outbox (kind, row_id) VALUES ('bulletin', NEW.id); END
        """,
    ),
)


def applied(connection: Connection) -> tuple[str, ...]:
    """Names of the steps that ran on this database, in order."""
    known = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'migration'"
    if not connection.execute(known).fetchall():
        return ()
    return tuple(name for (name,) in connection.execute("SELECT name FROM migration ORDER BY id").fetchall())


def migrate(connection: Connection, steps: Sequence[Migration] = MIGRATIONS) -> None:
    """Run those of `steps` that have not run; `applied` must be a beginning of them."""
    for step in steps[len(applied(connection)) :]:
        _run(connection, step)


def _run(connection: Connection, step: Migration) -> None:
    # BEGIN and COMMIT are in the script, because executescript commits a transaction that it finds open.
    record = f"INSERT INTO migration (name) VALUES ('{step.name}');"  # noqa: S608  (a constant of this file)
    with undone_on_error(connection):
        connection.executescript(f"BEGIN IMMEDIATE; {step.sql}; {record} COMMIT;")
