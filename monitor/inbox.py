"""What other programs wrote while we run, and how we are doing, on the way into the store, and so to every sink.

    diary.sqlite, found.sqlite ─► Inbox.look ─► records ─► store ─► outbox

Rules of this module:

* A file is read when it has changed, and from where the store's newest entry of it left off: what was logged while
  nothing ran is caught up with.
* A diary that was lost and begun anew is read from its beginning.
* A file that cannot be read costs nothing but what stands in it, and is told as trouble "inbox".
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from monitor.bulletins import Bulletin, Disk, Found, Noted, Waiting, noted
from monitor.database import StoreError
from monitor.diary import DIARY, changes_after
from monitor.found import FOUND, found_after
from monitor.outbox import time_ns
from monitor.raw import FOLDER
from monitor.store import Archive, Outgoing

_PULSE_NS = 300 * 10**9


class Inbox:
    """What there is to store beside what is measured.

    Args:
        folder: the data folder; its store is open.
        sinks: names of servers.
    """

    def __init__(self, folder: Path, sinks: Sequence[str]) -> None:
        self._folder = folder
        self._sinks = sinks
        with Archive.open(folder) as archive:
            self._noted, self._found = archive.newest_number(Noted), archive.newest_number(Found)
        self._seen: dict[str, int] = {}
        self._pulse_ns: int | None = None
        self.trouble: str | None = None

    def look(self, now_ns: int) -> list[Bulletin]:
        """What is new. May wait for a disk."""
        said: list[Bulletin] = []
        try:
            said += self._if_changed(DIARY, self._logged)
            said += self._if_changed(FOUND, self._findings)
            if self._pulse_ns is None or not 0 <= now_ns - self._pulse_ns < _PULSE_NS:
                said += _pulse(self._folder, self._sinks, now_ns)
                self._pulse_ns = now_ns
        except (StoreError, OSError) as error:
            self.trouble = f"what was logged or found cannot be read: {error}"
        else:
            self.trouble = None
        return said

    def _if_changed(self, name: str, read: Callable[[], list[Bulletin]]) -> list[Bulletin]:
        path = self._folder / name
        changed_ns = path.stat().st_mtime_ns if path.is_file() else 0
        if self._seen.get(name) == changed_ns:
            return []
        said = read()
        self._seen[name] = changed_ns
        return said

    def _logged(self) -> list[Bulletin]:
        changes = changes_after(self._folder, self._noted)
        if not changes and not changes_after(self._folder, self._noted - 1):
            changes = changes_after(self._folder, 0)
        self._noted = max((change.id for change, _ in changes), default=self._noted)
        return [each for change, before in changes for each in noted(change, before)]

    def _findings(self) -> list[Bulletin]:
        said = found_after(self._folder, self._found)
        self._found = max((each.number for each in said), default=self._found)
        return said


def _pulse(folder: Path, sinks: Sequence[str], now_ns: int) -> list[Bulletin]:
    """How far the sinks are behind, and how full the disk is."""
    with Archive.open(folder) as archive:
        reached = {state.name: state.seq for state in archive.sinks()}
        end = archive.outbox_end()
        waiting: list[Bulletin] = []
        for sink in sinks:
            seq = reached.get(sink, 0)
            oldest = archive.outbox(seq, 1)
            behind_s = max((now_ns - _since_ns(oldest[0])) * 1e-9, 0.0) if oldest else 0.0
            waiting.append(Waiting(0, now_ns, sink, max(end - seq, 0), behind_s))
    stored = sum(_size(file) for file in (*folder.glob("*"), *(folder / FOLDER).glob("*")))
    return [*waiting, Disk(0, now_ns, stored, shutil.disk_usage(folder).free)]


def _since_ns(entry: Outgoing) -> int:
    """What was logged for last week waits since it was logged."""
    return entry.record.at_ns if isinstance(entry.record, Bulletin) else time_ns(entry.record)


def _size(file: Path) -> int:
    """0 for a folder, and for what went away meanwhile, as logs of SQLite do."""
    try:
        return file.stat().st_size if file.is_file() else 0
    except OSError:
        return 0
