"""Copies of a data folder, and the way back.

Rules: a backup is a data folder like any other, which every command reads. Each file in it is a consistent copy,
verified page by page, and there at once or not at all; the store comes first, so that all raw signal that it tells
of and that was kept by then is there. A day of raw signal that has not changed is not copied again. What people
wrote (the diary, answers to alerts) lies beside the store in databases of its own, and goes along.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from monitor.database import StoreError, copy, explained, verify, wal_bytes
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


def _beside(folder: Path) -> list[Path]:
    """The databases of a data folder but the store and the raw signal."""
    return sorted(path for path in folder.glob("*.sqlite") if path.name != DATABASE)


def _is_same(day: Path, copied: Path) -> bool:
    """A day that is over does not change; what it was copied at is not older than it."""
    with explained(copied):
        return copied.exists() and not wal_bytes(day) and copied.stat().st_mtime_ns >= day.stat().st_mtime_ns
