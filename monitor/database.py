"""SQLite as we use it: the door to it, and what a disk can do to a file, in words.

Rules of this module:

* Nothing else imports sqlite3. What a table means is not known here.
* One connection writes a file, and it makes every commit and every checkpoint: SQLite up to 3.51.2 can damage a
  file when one connection checkpoints while another commits. A file that several programs write a few times a day
  (`connect_shared`) has a rollback journal, without checkpoints, and SQLite's own locks make them take turns.
* Readers open `mode=ro` and finish each SELECT at once: a reader that holds its transaction keeps the
  write-ahead log from being emptied (400 MB after 20 000 writes, against 3 MB).
* A checkpoint waits for nobody. With the usual busy timeout a reader would hold it, and the next commit, for 5 s.
* `synchronous=FULL`: what COMMIT returned from survives a power cut, by SQLite's word.
"""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Final

from firmware_interface.errors import Fault

Connection = sqlite3.Connection
DatabaseError = sqlite3.DatabaseError

WAL_LIMIT: Final = 64 << 20
"""Bytes of a write-ahead log beyond which something keeps it from being emptied."""

_BUSY_S = 5.0
_OLDEST_SQLITE = (3, 38, 0)  # STRICT tables, JSON built in
_PRAGMAS = """
    PRAGMA page_size = 4096;
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = FULL;
    PRAGMA foreign_keys = ON;
"""
# EXTRA: with a rollback journal, FULL alone may take back the last commit after a power cut.
_SHARED_PRAGMAS = """
    PRAGMA journal_mode = DELETE;
    PRAGMA synchronous = EXTRA;
    PRAGMA foreign_keys = ON;
"""


class StoreError(Fault):
    """The data folder cannot be used: in use, read-only, full, damaged or from a newer program."""


class DamagedError(StoreError):
    """A file of the data folder is damaged, or no database at all."""


def database_version() -> str:
    """Of SQLite, as linked into this Python."""
    return sqlite3.sqlite_version


def refuse_old_sqlite() -> None:
    """Raise StoreError where SQLite lacks what we need."""
    if sqlite3.sqlite_version_info < _OLDEST_SQLITE:
        needed = ".".join(map(str, _OLDEST_SQLITE))
        remedy = "Use a Python from python.org, uv or conda, which bring their own"
        raise StoreError(f"SQLite {sqlite3.sqlite_version} is too old, {needed} is needed", remedy)


def connect(path: Path) -> Connection:
    """For the one writer of a file, which is made where it is missing."""
    return _connect_to_write(path, _PRAGMAS)


def connect_shared(path: Path) -> Connection:
    """For one of several writers, which is to close it soon; the file is made where it is missing."""
    return _connect_to_write(path, _SHARED_PRAGMAS)


def _connect_to_write(path: Path, pragmas: str) -> Connection:
    _touch(path)
    connection = _connect(path.absolute().as_uri())
    with ExitStack() as on_error:
        on_error.callback(connection.close)
        connection.executescript(pragmas)
        on_error.pop_all()
    return connection


def connect_to_read(path: Path) -> Connection:
    """For a reader; one more for each thread is best."""
    return _connect(path.absolute().as_uri() + "?mode=ro")


def _connect(uri: str) -> Connection:
    """Without Python's own transactions, which begin where no one wrote BEGIN."""
    return sqlite3.connect(uri, uri=True, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)


def _touch(path: Path) -> None:
    """Make the file with its mode before SQLite does, which gives the same mode to all it puts beside it.

    Never opens a file that is there: closing it would drop the POSIX locks of a reader in this process.
    """
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))


@contextmanager
def transaction(connection: Connection) -> Iterator[None]:
    """All of the block or none of it. IMMEDIATE: a wait for another program is at the start or never."""
    connection.execute("BEGIN IMMEDIATE")
    with undone_on_error(connection):
        yield
        connection.execute("COMMIT")


@contextmanager
def undone_on_error(connection: Connection) -> Iterator[None]:
    """A transaction that is open when the block fails is taken back."""
    try:
        yield
    except BaseException:
        if connection.in_transaction:  # after a full disk SQLite may have rolled back by itself
            connection.execute("ROLLBACK")
        raise


def checkpoint(connection: Connection) -> None:
    """Empty the write-ahead log into the file, where no reader and no full disk is in the way."""
    with suppress(sqlite3.DatabaseError):
        connection.execute("PRAGMA busy_timeout = 0")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    connection.execute(f"PRAGMA busy_timeout = {round(_BUSY_S * 1000)}")


def wal_bytes(path: Path) -> int:
    """Size of the write-ahead log of a file."""
    try:
        return path.with_name(path.name + "-wal").stat().st_size
    except OSError:
        return 0


def verify(path: Path) -> None:
    """Read every page of a file and compare it with the rest.

    Raises:
        DamagedError: with the first thing that is wrong.
    """
    with explained(path), closing(connect_to_read(path)) as connection:
        ((first, *_), *_) = connection.execute("PRAGMA integrity_check(1)").fetchall()
    if first != "ok":
        raise damaged(path, first)


def copy(source: Path, target: Path) -> None:
    """A consistent copy of a file that may be written meanwhile, verified; at `target` at once or not at all."""
    unfinished = target.with_name(target.name + ".unfinished")
    with explained(target):
        for left in unfinished.parent.glob(f"{unfinished.name}*"):
            left.unlink()
        with closing(connect_to_read(source)) as read, closing(connect(unfinished)) as written:
            read.backup(written)  # at one go: in steps it would begin anew with each commit
            written.execute("PRAGMA journal_mode = DELETE")  # one file, no companions, also on read-only media
    verify(unfinished)
    with explained(target):
        with unfinished.open("rb") as file:
            os.fsync(file.fileno())
        unfinished.replace(target)


# ---- Errors, in words ----

_FULL = "no room left on the disk of {}", "Free some space: what is not yet written is written then"
_READ_ONLY = "cannot open or write {}", "Make its folder writable by you, or name another data folder"
_DAMAGED = (
    "{} is damaged or not a database",
    "Move it away to start afresh, or put back a backup; `sqlite3 FILE .recover` saves what can be read",
)
_LOCKED = "another program keeps {} locked", "Close the program that has it open; nothing is lost meanwhile"
_NOT_A_FOLDER = "{} cannot be made: a part of its path is a file", "Name another data folder"
_DISK = "the disk failed on {}", "Check the disk and its free space, or name another data folder"

_BY_SQLITE_CODE = {
    sqlite3.SQLITE_FULL: _FULL,
    sqlite3.SQLITE_IOERR_SHMSIZE: _FULL,
    sqlite3.SQLITE_READONLY: _READ_ONLY,
    sqlite3.SQLITE_PERM: _READ_ONLY,
    sqlite3.SQLITE_CANTOPEN: _READ_ONLY,
    sqlite3.SQLITE_CORRUPT: _DAMAGED,
    sqlite3.SQLITE_NOTADB: _DAMAGED,
    sqlite3.SQLITE_BUSY: _LOCKED,
    sqlite3.SQLITE_IOERR: _DISK,
}
_BY_ERRNO = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.EROFS: _READ_ONLY,
    errno.EACCES: _READ_ONLY,
    errno.EPERM: _READ_ONLY,
    errno.EEXIST: _NOT_A_FOLDER,
    errno.ENOTDIR: _NOT_A_FOLDER,
}


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn what a disk can do to us into a StoreError; what only a bug can do stays as it is."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)  # Python's own errors have none
        words = _BY_SQLITE_CODE.get(code) or _BY_SQLITE_CODE.get(code & 0xFF)
        if words is None:
            raise
        raise _store_error(words, path, f"{error}, {error.sqlite_errorname}") from error
    except OSError as error:
        words = _BY_ERRNO.get(error.errno or 0, _READ_ONLY)
        raise _store_error(words, path, error.strerror or type(error).__name__) from error


def damaged(path: Path, detail: str) -> DamagedError:
    """The error to raise where the contents of a file are wrong."""
    message, remedy = _DAMAGED
    return DamagedError(f"{message.format(path)} ({detail})", remedy)


def _store_error(words: tuple[str, str], path: Path, detail: str) -> StoreError:
    if words is _DAMAGED:
        return damaged(path, detail)
    message, remedy = words
    return StoreError(f"{message.format(path)} ({detail})", remedy)
