"""One person's data folder, as far as it is exported."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from firmware_interface.errors import Fault
from monitor.diary import Entry, read_diary
from monitor.raw import Holding, RawArchive
from monitor.store import Archive, KnownDevice


class ExportError(Fault):
    """Something cannot be exported as it is asked for; the person's to mend."""


@dataclass(frozen=True, slots=True)
class Source:
    """What is exported."""

    archive: Archive
    raw: RawArchive
    devices: tuple[KnownDevice, ...]
    entries: tuple[Entry, ...]
    """Of the diary."""
    since_ns: int
    until_ns: int
    subject: str
    """Pseudonym."""
    identified: bool
    """Whether names of devices, and notes, go along."""

    def called(self, device: KnownDevice) -> str:
        """What a device is called: by number, unless names go along."""
        return device.device.name if self.identified else f"device{device.id}"

    def holdings(self, device: KnownDevice) -> list[Holding]:
        """The raw signal of a device that was kept in the range."""
        return [
            held
            for held in self.raw.holdings()
            if held.device_id == device.id and held.start_ns < self.until_ns and held.end_ns > self.since_ns
        ]


def source_of(
    folder: Path, archive: Archive, span_ns: tuple[int, int], *, device: str, subject: str, identified: bool
) -> Source:
    """What is exported of a data folder.

    Args:
        folder: the data folder.
        archive: its reader.
        span_ns: from when to when.
        device: name of the only one; empty for all.
        subject: pseudonym.
        identified: see `Source`.

    Raises:
        ExportError: there is no such device.
    """
    known = archive.devices()
    chosen = [each for each in known if device in ("", each.device.name, f"device{each.id}")]
    if not chosen:
        names = ", ".join(each.device.name for each in known) or "none"
        raise ExportError(f"no device is called {device!r}", f"Known here: {names}")
    since_ns, until_ns = span_ns
    entries = [each.entry for each in read_diary(folder) if since_ns <= each.entry.occurred_ns < until_ns]
    return Source(
        archive, RawArchive(folder), tuple(chosen), tuple(entries), since_ns, until_ns, subject, identified
    )


@contextmanager
def new_file(path: Path) -> Iterator[IO[bytes]]:
    """A file that has its name only once it is whole.

    Raises:
        ExportError: it cannot be written.
    """
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb+") as file:
            yield file
        part.replace(path)
    except OSError as error:
        with suppress(OSError):
            part.unlink()
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        remedy = "Free some space, and export again" if full else "Name another folder"
        raise ExportError(f"{path} cannot be written: {error.strerror or error}", remedy) from error
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def stamp(time_ns: int) -> str:
    """A time as part of a name: 20261122T130500Z."""
    return datetime.fromtimestamp(time_ns // 10**9, UTC).strftime("%Y%m%dT%H%M%SZ")
