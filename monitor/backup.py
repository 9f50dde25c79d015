"""Copies of a data folder, and the way back.

Rules: a backup is a data folder like any other, which every command reads. Each file in it is a consistent copy,
verified page by page, and there at once or not at all; the store comes first, so that all raw signal that it tells
of and that was kept by then is there. A day of raw signal that has not changed is not copied again. What people
wrote (the diary, answers to alerts) lies beside the store in databases of its own, and goes along.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from monitor.database import StoreError, connect_to_read, copy, explained, verify, wal_bytes
from monitor.raw import FOLDER, RawArchive, day_files
from monitor.store import DATABASE


def backed_up(folder: Path, destination: Path) -> Iterator[str]:
    """Copy what is stored; the name of each file when it is copied.

    Raises:
        StoreError: a file is damaged, or the copy cannot be written.
    """
    if (
        destination.resolve().is_relative_to((folder / FOLDER).resolve())
        or destination.resolve() == folder.resolve()
    ):
        raise StoreError(f"{destination} is the data itself", "Name a folder elsewhere, best on another disk")
    _refuse_others(folder, destination)
    with explained(destination):
        (destination / FOLDER).mkdir(mode=0o700, parents=True, exist_ok=True)
    copy(folder / DATABASE, destination / DATABASE)
    yield DATABASE
    for database in _beside(folder):
        copy(database, destination / database.name)
        yield database.name
    for day in day_files(folder / FOLDER):
        if not _is_same(day, destination / FOLDER / day.name):
            copy(day, destination / FOLDER / day.name)
            yield f"{FOLDER}/{day.name}"


def restored(source: Path, folder: Path) -> Iterator[str]:
    """Copy a backup into an empty data folder, and read every page and block of it; the name of each file then.

    Raises:
        StoreError: there is no backup, or data in `folder`, or something is damaged.
    """
    if not (source / DATABASE).is_file():
        raise StoreError(f"there is no backup in {source}", "Name a folder that `fasciwatch backup` made")
    if (folder / DATABASE).exists() or _beside(folder):
        raise StoreError(f"{folder} holds data already", "Move it away, or name another folder with --data")
    verify(source / DATABASE)
    with explained(folder):
        (folder / FOLDER).mkdir(mode=0o700, parents=True, exist_ok=True)
    for day in day_files(source / FOLDER):
        copy(day, folder / FOLDER / day.name)
        broken = RawArchive(folder).check(folder / FOLDER / day.name)
        yield f"{FOLDER}/{day.name}" + (f", with {broken} blocks that were damaged before" if broken else "")
    for database in _beside(source):
        copy(database, folder / database.name)
        yield database.name
    copy(source / DATABASE, folder / DATABASE)
    yield DATABASE


def _refuse_others(folder: Path, destination: Path) -> None:
    """An earlier backup of the same data is renewed; what else lies there is left alone, if it is no data."""
    if (destination / DATABASE).exists():
        (begun_ns, last_ns), (begun_there_ns, last_there_ns) = _span_ns(folder), _span_ns(destination)
        if begun_there_ns != begun_ns:
            raise StoreError(f"{destination} holds other data than {folder}", "Name a folder of its own")
        if last_there_ns > last_ns:
            raise StoreError(f"{destination} holds newer data than {folder}", "Name a folder of its own")
    elif _beside(destination) or day_files(destination / FOLDER):
        raise StoreError(f"{destination} holds data that is no backup", "Name a folder of its own")


def _span_ns(folder: Path) -> tuple[int, int]:
    """When the first session began, by which data is known, and the last commit."""
    with explained(folder / DATABASE), closing(connect_to_read(folder / DATABASE)) as connection:
        begun_ns, last_ns = connection.execute("SELECT min(begun_ns), max(last_ns) FROM session").fetchone()
        return begun_ns or 0, last_ns or 0


def _beside(folder: Path) -> list[Path]:
    """The databases of a data folder but the store and the raw signal."""
    return sorted(path for path in folder.glob("*.sqlite") if path.name != DATABASE)


def _is_same(day: Path, copied: Path) -> bool:
    """A day that is over does not change; what it was copied at is not older than it."""
    with explained(copied):
        return copied.exists() and not wal_bytes(day) and copied.stat().st_mtime_ns >= day.stat().st_mtime_ns
