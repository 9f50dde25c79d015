"""What takes seconds: findings and the report, in another process, once for all who ask.

Rule: an answer is kept while the diary is the same, and for an hour at most: by then more was counted.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from monitor.config import Settings
from monitor.correlation.findings import Report
from monitor.diary import Diary
from monitor.page.reader import Reader
from monitor.report import written

_FRESH_NS = 3600 * 10**9

_kept: dict[Path, tuple[int, int, asyncio.Task[Report]]] = {}


async def findings(reader: Reader) -> Report:
    """What twitches have to do with what was logged.

    Raises:
        StoreError: nothing is stored yet.
    """
    changes = await reader.write(Diary.changes)
    now_ns = time.time_ns()
    known = _kept.get(reader.folder)
    failed = known is not None and known[2].done() and (known[2].cancelled() or known[2].exception())
    if known is None or failed or known[0] != changes or now_ns - known[1] > _FRESH_NS:
        task = asyncio.create_task(reader.work(written.findings, reader.folder, None, now_ns), name="findings")
        known = _kept[reader.folder] = changes, now_ns, task
    return await asyncio.shield(known[2])


async def report(reader: Reader) -> str:
    """All of it on one page."""
    text: str = await reader.work(_report, reader.folder, reader.settings)
    return text


def _report(folder: Path, settings: Settings) -> str:
    return written.written(folder, settings.detection, None, 0, time.time_ns())[0]
