"""The findings of the last analyses, from whichever program made them, on their way into the store.

    correlate, report ─► found.sqlite ─► Inbox ─► store ─► sinks

Rules of this module:

* A file of its own beside the store, with a rollback journal, as the diary's: who correlates is not the store's
  one writer. The newest are kept, for whoever sends them once monitoring runs again.
* The number of an analysis is its time, so that it grows also where the file was lost and begun anew.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Final

from monitor.bulletins import KINDS, Bulletin, found
from monitor.correlation.findings import Finding
from monitor.database import Connection, connect_shared, explained, transaction

FOUND: Final = "found.sqlite"
_KEPT = 100


def keep(folder: Path, findings: Iterable[Finding], now_ns: int) -> None:
    """Have findings sent; nothing, where none are.

    Raises:
        StoreError: they cannot be kept.
    """
    said = [[type(each).__name__, asdict(each)] for each in found(findings, now_ns)]
    path = folder / FOUND
    if not said:
        return
    with explained(path), closing(connect_shared(path)) as connection:
        _make(connection)
        with transaction(connection):
            text = json.dumps(said, ensure_ascii=False, allow_nan=False)
            connection.execute("INSERT OR REPLACE INTO found VALUES (?, ?)", (now_ns, text))
            connection.execute(_FORGET, (_KEPT,))


def found_after(folder: Path, number: int) -> list[Bulletin]:
    """What was found in analyses after that one, in order.

    Raises:
        StoreError: it cannot be read.
    """
    path = folder / FOUND
    if not path.is_file():
        return []
    with explained(path), closing(connect_shared(path)) as connection:  # after a power cut it must be rolled back
        _make(connection)
        rows = connection.execute("SELECT said FROM found WHERE number > ? ORDER BY number", (number,)).fetchall()
    return [KINDS[kind](**fields) for (said,) in rows for kind, fields in json.loads(said)]


def _make(connection: Connection) -> None:
    connection.execute(
        """
        CREATE TABLE IF NOT EXISTS found (
            number INTEGER PRIMARY KEY,
            said   TEXT NOT NULL  -- JSON array of [kind, fields]
        ) STRICT
        """
    )


_FORGET = "DELETE FROM found WHERE number NOT IN (SELECT number FROM found ORDER BY number DESC LIMIT ?)"
