"""The outbox: what was stored, on its way to the sinks, each at its own pace.

    store ─► outbox ─► Letter ─► Delivery ─► Sink.deliver ─► server
                └───────── position of each sink ◄┘

Rules of this module:

* Store first, ship second. A letter is read back from the store; nothing waits in memory but one batch a sink.
* At least once, in the order of arrival. A letter has an id that is made of what was measured: the same on each
  attempt, after a kill, and from a copy of the data. Who gets it twice can tell.
* A sink has one durable position. It is moved after the server said yes, with the next commit of the store; what
  was sent in between goes out again after a kill.
* A sink whose name is new begins at the beginning: what was stored before goes there too. The name says where the
  data goes, so another server, or bucket, is another sink.
* A sink that is away costs 20 bytes an entry, in the store: there is nothing to thin out, and nothing is.
* What a server refuses for good is a dead letter, with its reason, and never blocks what follows. What it does not
  take from us (token, rights, missing database) stops the sink for an hour. All else is tried again, for ever.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol

from firmware_interface.errors import Fault
from firmware_interface.samples import Gap
from monitor.alerts.engine import Alert
from monitor.bulletins import Bulletin, Disk, Found, FoundLag, Noted, Waiting
from monitor.database import StoreError
from monitor.detection.events import Context, Twitch
from monitor.store import Archive, Condition, DeadLetter, Delivered, Health, KnownDevice, Linked, Outgoing, Record
from monitor.tally import Minute

_BATCH = 500
"""Small enough to be packed between two packets of a radio."""
_POLL_S = 1.0
_PAUSE_S = 1.0
_PAUSE_MAX_S = 300.0
_PAUSE_ASKED_MAX_S = 3600.0
_EXPRESS_S = 2.0
_SAID_AFTER_S = 30.0
"""A server that is away for less is not worth a word."""

Contents = Twitch | Context | Gap | Minute | Health | Linked | Condition | Alert | Bulletin
_KINDS: dict[type[Contents], str] = {
    Linked: "health", Condition: "health", Waiting: "health", Disk: "health",
    Noted: "trigger", Found: "finding", FoundLag: "lag",
}  # fmt: skip
Keep = Callable[[int, Sequence[Record]], None]
"""Has records committed: of a device, or 0."""
Notice = Callable[[str, str | None], None]
"""Told the name of a sink, and its trouble or `None`."""


class SinkError(Fault):
    """A sink did not take what it was given."""


class RefusedError(SinkError):
    """For what is in it: the same will never be taken."""


class DeniedError(SinkError):
    """From us: nothing will be taken until a person has done something."""

    pause_s: ClassVar[float] = 3600.0
    """Before it is tried again."""


class UnreachableError(SinkError):
    """For now.

    Args:
        message: what happened.
        retry_after_s: what the server asked for.
    """

    pause_max_s: ClassVar[float] = 300.0
    """Before it is tried again, unless the server asked for more."""

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message, "It is tried again, and nothing is lost")
        self.retry_after_s = retry_after_s


@dataclass(frozen=True, slots=True)
class Letter:
    """One thing that was stored, as it goes to every sink."""

    seq: int
    id: str
    """The same for the same thing, always; 32 hexadecimal digits."""
    node: str
    device: str
    """Its name, or that of the one that an alert is about; "" where it concerns the whole computer."""
    utc_offset_s: int
    """Of local time where it was stored."""
    contents: Contents


class Outbox:
    """What there is to send, in the order of arrival. Used in any thread: each call opens and closes the store.

    Args:
        folder: the data folder.
        node: this computer's name.
    """

    def __init__(self, folder: Path, node: str) -> None:
        self.folder = folder
        self._node = node

    def position(self, sink: str) -> int:
        """Up to where a sink has everything; 0 for one that is new."""
        with Archive.open(self.folder) as archive:
            return next((state.seq for state in archive.sinks() if state.name == sink), 0)

    def after(self, seq: int, limit: int = _BATCH) -> list[Letter]:
        """The letters that follow the one numbered `seq`."""
        with Archive.open(self.folder) as archive:
            entries = archive.outbox(seq, limit)
            devices = {known.id: known for known in archive.devices()} if entries else {}
        return [self._letter(entry, devices) for entry in entries]

    def sent(self, sink: str, since_ns: int) -> list[Letter]:
        """What a sink got last, a batch at most, of what was then or later."""
        position = self.position(sink)
        last = self.after(max(position - _BATCH, 0))
        return [letter for letter in last if letter.seq <= position and time_ns(letter.contents) >= since_ns]

    def standing(self) -> list[Letter]:
        """Every alert that is watched for, as it is now."""
        with Archive.open(self.folder) as archive:
            return [self.letter(0, alert) for alert in archive.alerts()]

    def letter(self, seq: int, alert: Alert) -> Letter:
        """An alert that was not read from the outbox, as it goes to every sink."""
        offset_s = time.localtime(alert.at_ns // 10**9).tm_gmtoff
        return Letter(seq, _id(self._node, None, alert), self._node, alert.device, offset_s, alert)

    def _letter(self, entry: Outgoing, devices: dict[int, KnownDevice]) -> Letter:
        known = devices[entry.device_id] if entry.device_id is not None else None
        offset_s = entry.utc_offset_s
        if offset_s is None:
            offset_s = time.localtime(time_ns(entry.record) // 10**9).tm_gmtoff
        if isinstance(entry.record, Alert):
            return self.letter(entry.seq, entry.record)
        name = known.device.name if known else ""
        return Letter(entry.seq, _id(self._node, known, entry.record), self._node, name, offset_s, entry.record)


def time_ns(contents: Contents) -> int:
    """When it was, or began."""
    match contents:
        case Twitch() | Context():
            return contents.onset_ns
        case Gap() | Minute():
            return contents.start_ns
        case Noted():
            return contents.occurred_ns
        case _:
            return contents.at_ns


def kind(contents: Contents) -> str:
    """What it is called in every sink."""
    return _KINDS.get(type(contents), type(contents).__name__.lower())


def _id(node: str, known: KnownDevice | None, contents: Contents) -> str:
    """Made of the keys of the store, with the device as it calls itself: its number is that of one store."""
    device = (known.device.serial or [known.device.name, known.address]) if known else node
    key = [type(contents).__name__, device, time_ns(contents), *_rest_of_key(contents)]
    return hashlib.sha256(json.dumps(key).encode()).hexdigest()[:32]


def _rest_of_key(contents: Contents) -> tuple[str, ...]:
    match contents:
        case Twitch() | Minute():
            return (contents.channel,)
        case Context():
            return contents.channel, contents.state
        case Gap():
            return contents.stream.name, contents.reason
        case Condition():
            return (contents.name,)
        case Alert():
            return contents.name, contents.change
        case Noted() | Found() | FoundLag() | Waiting() | Disk():
            return str(contents.number), contents.key
        case _:
            return ()


class Sink(Protocol):
    """A server that takes letters."""

    @property
    def name(self) -> str:
        """Which kind of server, where, and which part of it: its position is kept under this name."""

    async def deliver(self, letters: Sequence[Letter]) -> None:
        """Have all of them taken. May be given the same again.

        Raises:
            SinkError: one or more were not.
        """

    async def check(self) -> None:
        """While there is nothing to deliver: say whether something could be.

        Raises:
            SinkError: it could not.
        """

    async def close(self) -> None:
        """Let the connection go."""


class Delivery:
    """Brings one sink all that there is, for as long as it runs.

    Args:
        sink: the server.
        outbox: what there is.
    """

    def __init__(self, sink: Sink, outbox: Outbox) -> None:
        self.sink = sink
        self._outbox = outbox
        self._failed_since: float | None = None
        self._failures = 0
        self._is_ill = False
        self._more = asyncio.Event()
        self._expressed: set[str] = set()

    def wake(self) -> None:
        """There may be something to deliver."""
        self._more.set()

    async def express(self, alerts: Sequence[Alert]) -> None:
        """Deliver alerts that cannot be stored now, if that can be done at once. With the same ids they go again
        by the outbox, when they are stored."""
        letters = [self._outbox.letter(0, alert) for alert in alerts]
        unsaid = [letter for letter in letters if letter.id not in self._expressed]
        if not unsaid or self._failures:
            return
        with suppress(SinkError, TimeoutError):
            async with asyncio.timeout(_EXPRESS_S):
                await self.sink.deliver(unsaid)
            self._expressed |= {letter.id for letter in unsaid}

    async def run(self, keep: Keep, notice: Notice) -> None:
        """Deliver until cancelled.

        Args:
            keep: commits how far it got.
            notice: is told of trouble.
        """
        self._keep, self._notice = keep, notice
        try:
            seq = await self._patiently(self._begin)
            while True:
                seq = await self._patiently(lambda after=seq: self._forward(after))  # type: ignore[misc]
        finally:
            await self.sink.close()

    async def _begin(self) -> int:
        return await asyncio.to_thread(self._outbox.position, self.sink.name)

    async def _forward(self, after: int) -> int:
        """Deliver what follows `after`, or wait for something; how far it got."""
        self._more.clear()
        letters = await asyncio.to_thread(self._outbox.after, after)
        if not letters:
            await self.sink.check()
            if self._is_ill:
                self._well()
            with suppress(TimeoutError):
                async with asyncio.timeout(_POLL_S):
                    await self._more.wait()
            return after
        await self._deliver(letters)
        return letters[-1].seq

    async def _deliver(self, letters: Sequence[Letter]) -> None:
        """All of them, or, halved again and again, all but those that are refused."""
        try:
            await self.sink.deliver(letters)
        except RefusedError as error:
            if len(letters) == 1:
                self._keep(0, [DeadLetter(self.sink.name, letters[0].seq, str(error.args[0]))])
            else:
                middle = len(letters) // 2
                await self._deliver(letters[:middle])
                await self._deliver(letters[middle:])
        else:
            self._well()
        self._keep(0, [Delivered(self.sink.name, letters[-1].seq)])

    async def _patiently(self, step: Callable[[], Awaitable[int]]) -> int:
        """Try again until it succeeds."""
        while True:
            try:
                return await step()
            except DeniedError as error:
                self._is_ill = True
                self._notice(self.sink.name, str(error))
                await asyncio.sleep(error.pause_s)
            except (UnreachableError, StoreError) as error:
                await asyncio.sleep(self._pause_s(error))

    def _pause_s(self, error: Fault) -> float:
        self._is_ill = True
        now = asyncio.get_running_loop().time()
        self._failed_since = self._failed_since or now
        if now - self._failed_since >= _SAID_AFTER_S:
            self._notice(self.sink.name, str(error))
        self._failures += 1
        asked_s = getattr(error, "retry_after_s", None)
        chosen_s = pause_s(self._failures, asked_s, random.random())  # noqa: S311 - spreads attempts
        return chosen_s if asked_s else min(chosen_s, getattr(error, "pause_max_s", chosen_s))

    def _well(self) -> None:
        self._failed_since, self._failures, self._is_ill = None, 0, False
        self._notice(self.sink.name, None)


def pause_s(failures: int, asked_s: float | None, chance: float) -> float:
    """How long to wait after so many failures in a row: doubling up to 5 min, half of it left to chance, so that
    not all come back at once; or as long as the server asked, up to an hour.

    Args:
        failures: 1 and more.
        asked_s: what the server asked for.
        chance: 0 to 1.
    """
    own_s: float = min(_PAUSE_S * 2 ** min(failures - 1, 16), _PAUSE_MAX_S) * (1 + chance) / 2
    return own_s if asked_s is None else min(max(asked_s, own_s), _PAUSE_ASKED_MAX_S)
