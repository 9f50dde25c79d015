"""The one way of the page to what is stored: short reads, in threads of its own.

Rules:

* The event loop never waits for a disk. A thread has its own connection, which it keeps.
* What is expensive (findings, a report) is computed in another process, at low priority, once for all who ask.
* Where nothing is stored yet, an answer is a StoreError that says so; a screen shows it as words.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.pool import Pool
from pathlib import Path
from typing import Any, TypeVar

from firmware_interface.errors import Fault
from firmware_interface.samples import SampleBlock
from monitor import glance
from monitor.config import Settings
from monitor.database import StoreError
from monitor.diary import Diary
from monitor.glance import Glance
from monitor.page.envelope import Live
from monitor.raw import RawArchive
from monitor.store import Archive, KnownDevice

_THREADS = 4
_DEVICES_FRESH_NS = 5 * 10**9

T = TypeVar("T")


class Reader:
    """Reads a data folder.

    Args:
        folder: the data folder; may be empty, or not there yet.
        settings: the configuration.
        config_file: where it came from; `None` is the usual place.
    """

    def __init__(self, folder: Path, settings: Settings, config_file: Path | None) -> None:
        self.folder = folder
        self.settings = settings
        self.config_file = config_file
        self.raw = RawArchive(folder)
        self.live = Live(self.raw)
        self._pool = ThreadPoolExecutor(_THREADS, "reader")
        self._mine = threading.local()
        self._devices: tuple[int, list[KnownDevice]] = (0, [])
        self._worker: Pool | None = None

    async def ask(self, question: Callable[[Archive], T]) -> T:
        """Ask the store.

        Raises:
            StoreError: nothing is there yet, or it cannot be read.
        """
        return await self.do(lambda: question(self._archive()))

    async def write(self, act: Callable[[Diary], T]) -> T:
        """Do something with the diary, and close it."""

        def done() -> T:
            with Diary.open(self.folder) as diary:
                return act(diary)

        return await self.do(done)

    async def do(self, work: Callable[[], T]) -> T:
        """Whatever may wait for a disk."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    async def work(self, task: Callable[..., T], *arguments: object) -> T:
        """What takes seconds, in another process.

        Raises:
            Fault: as the task did.
        """
        if self._worker is None:  # a pool, whose process ends with ours however we end
            self._worker = multiprocessing.get_context("spawn").Pool(1, _step_back)
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[T | _Failed] = loop.create_future()
        self._worker.apply_async(
            _done,
            (task, arguments),
            callback=lambda found: loop.call_soon_threadsafe(_settle, answer, found, None),
            error_callback=lambda error: loop.call_soon_threadsafe(_settle, answer, None, error),
        )
        found = await answer
        if isinstance(found, _Failed):
            raise found.kind(found.message, found.remedy)
        return found

    async def glance(self) -> Glance | None:
        """What is being watched now; `None` where nothing is."""
        return await self.do(lambda: glance.read(self.folder, time.time_ns()))

    def devices(self) -> list[KnownDevice]:
        """Every device, in one of our threads; asked anew every few seconds."""
        at_ns, devices = self._devices
        now_ns = time.monotonic_ns()
        if not devices or now_ns - at_ns > _DEVICES_FRESH_NS:
            devices = self._archive().devices()
            self._devices = now_ns, devices
        return devices

    def archive(self) -> Archive:
        """Of this thread, which must be one of ours."""
        return self._archive()

    def signal(self, device_id: int, stream: str, since_ns: int, until_ns: int) -> list[SampleBlock]:
        """As it was kept."""
        return self.raw.window(device_id, stream, since_ns, until_ns).blocks

    def close(self) -> None:
        """Let all go."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        if self._worker is not None:
            self._worker.terminate()

    def _archive(self) -> Archive:
        archive: Archive | None = getattr(self._mine, "archive", None)
        if archive is None:
            archive = self._mine.archive = Archive.open(self.folder)
        return archive


@dataclass(frozen=True, slots=True)
class _Failed:
    """A fault as it comes from another process: an exception with two arguments cannot be sent."""

    kind: type[Fault]
    message: str
    remedy: str


def _done(task: Callable[..., T], arguments: Sequence[object]) -> T | _Failed:
    """In the worker."""
    try:
        return task(*arguments)
    except Fault as fault:
        return _Failed(StoreError if isinstance(fault, StoreError) else Fault, str(fault.args[0]), fault.remedy)


def _settle(answer: asyncio.Future[Any], found: object, error: BaseException | None) -> None:
    if answer.done():
        return
    if error is not None:
        answer.set_exception(error)
    else:
        answer.set_result(found)


def _step_back() -> None:
    """In the worker: everything else goes first, and Ctrl-C is for our parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with suppress(OSError, AttributeError):
        os.nice(10)
