"""What people say of alerts, from any program: command, page, MQTT.

    acknowledge, snooze, cancel, test ─► said.sqlite ─► Engine, at its next tick

Rules of this module:

* A file of its own beside the store, with a rollback journal, as the diary's: anybody may write it while `run`,
  the store's one writer, is at work; and while nothing runs. Rows are only added, and their ids grow, also where
  the file was lost and begun anew: they are times.
* What cannot be meant is refused here, with a remedy: an alert that nobody watches for, a snooze without an end.
"""

from __future__ import annotations

from collections.abc import Collection
from contextlib import closing
from pathlib import Path
from typing import ClassVar, Final

from firmware_interface.errors import Fault
from monitor.alerts.engine import TEST, Said, Verb
from monitor.database import Connection, connect_shared, explained, transaction
from monitor.phrases import lasting_s

SAID: Final = "said.sqlite"
_SNOOZE_MAX_S = 30 * 86400


class AlertError(Fault):
    """What was said of an alert cannot be meant; the person's to mend."""

    exit_code: ClassVar[int] = 2


def said_of(name: str, verb: str, lasting: str, known: Collection[str], now_ns: int) -> Said:
    """What a person means, not said yet.

    Args:
        name: of the alert.
        verb: of `Verb`.
        lasting: of a snooze: "30min", "1h", "2d".
        known: names of alerts.
        now_ns: UTC.

    Raises:
        AlertError: it cannot be meant.
    """
    if verb not in set(Verb):
        raise AlertError(f"{verb!r} is nothing that can be done about an alert", f"Say {', '.join(Verb)}")
    if verb == Verb.TEST:
        return Said(0, now_ns, TEST, Verb.TEST)
    if name not in known:
        raise AlertError(f"there is no alert {name!r}", "See `fasciwatch alerts list`")
    if verb != Verb.SNOOZE:
        return Said(0, now_ns, name, Verb(verb))
    seconds = lasting_s(lasting)
    if seconds is None or not 0 < seconds <= _SNOOZE_MAX_S:
        raise AlertError(f"{lasting!r} is no time to snooze for", "Say 30min, 1h or 2d; 30d at most")
    return Said(0, now_ns, name, Verb.SNOOZE, now_ns + round(seconds * 1e9))


def say(folder: Path, said: Said) -> int:
    """Keep what a person said; its id.

    Raises:
        StoreError: it cannot be kept.
    """
    path = folder / SAID
    with explained(path), closing(connect_shared(path)) as connection:
        _make(connection)
        with transaction(connection):
            values = said.at_ns, said.alert, said.verb, said.until_ns
            return connection.execute(_INSERT, values).lastrowid or 0


def said_after(folder: Path, said_id: int) -> list[Said]:
    """What was said after that, in order.

    Raises:
        StoreError: it cannot be read.
    """
    path = folder / SAID
    if not path.is_file():
        return []
    # Not read-only: after a power cut the journal has to be rolled back first.
    with explained(path), closing(connect_shared(path)) as connection:
        _make(connection)
        rows = connection.execute(_SELECT, (said_id,)).fetchall()
    return [Said(number, at_ns, alert, Verb(verb), until_ns) for number, at_ns, alert, verb, until_ns in rows]


def _make(connection: Connection) -> None:
    connection.execute(
        """
        CREATE TABLE IF NOT EXISTS said (
            id       INTEGER PRIMARY KEY,
            at_ns    INTEGER NOT NULL,
            alert    TEXT NOT NULL,
            verb     TEXT NOT NULL,
            until_ns INTEGER
        ) STRICT
        """
    )


_INSERT = """
    INSERT INTO said (id, at_ns, alert, verb, until_ns)
    VALUES (max(?1, (SELECT ifnull(max(id), 0) + 1 FROM said)), ?1, ?2, ?3, ?4)
"""
_SELECT = "SELECT id, at_ns, alert, verb, until_ns FROM said WHERE id > ? ORDER BY id"
