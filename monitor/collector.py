"""From the radio to the store: one task a device, one that commits, for months.

    radio.follow ─► Watch.handle ─► decoder ─► detector ─► tally ─► outgoing ─► store, once a second

Rules:

* The only module that makes tasks. Each is named after what it does.
* What is decided is committed within a second, all devices in one transaction; a twitch or an alert at once, and
  the sinks are woken. Where the store refuses (a full disk), records wait in memory, in order, and the person is
  told; too many of them end the session.
* A device is itself by its serial number; without one, by its name and this computer's address for it.
* The raw signal of the last second is handed over with each commit, and never waits: where it cannot be kept, it
  is counted and the person told, and all else goes on.
* A device that goes away, sends garbage or comes back with a new count is no error: it is a gap with a reason.
* However it ends, by a signal or a fault, the radio is told to stop, what is pending is decided and committed.
* All time of a stream ends up in the store, as samples or as a gap: the time before its first samples of a
  session too, divided where other sessions began and ended without it.
* `tell` is called in the event loop: whoever is told must neither block nor raise.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import accumulate, cycle
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from firmware_interface.ble import Connected, LinkItem, Lost, Overflow, Radio
from firmware_interface.capture import Anchored, Ended, Entry, Introduced, What, Writer
from firmware_interface.codecs.families import family_as_kept
from firmware_interface.decoder import Decoder, Reception
from firmware_interface.errors import Fault
from firmware_interface.relay import Relay
from firmware_interface.samples import (
    ACCELERATION,
    Gap,
    GapReason,
    Notification,
    SampleBlock,
    Sensor,
    Status,
    Stream,
)
from monitor.alerts.alarms import Alarms
from monitor.alerts.engine import Alert
from monitor.alerts.rules import Kind
from monitor.alerts.watching import Seen, SeenChannel
from monitor.clock import HostClock
from monitor.database import WAL_LIMIT, StoreError
from monitor.detection import detector_for, heart_listener
from monitor.detection.events import Analysed, Context, Event, State, Twitch
from monitor.detection.motor_units import MotorUnits
from monitor.detection.settings import DetectorSettings
from monitor.detection.veto import Vetoes, turn
from monitor.inbox import Inbox
from monitor.outbox import Delivery
from monitor.raw import Assembler, Block, Raw
from monitor.store import Condition, Learned, Linked, Observed, Record, Store
from monitor.tally import Minute, tally

_COMMIT_S = 0.9
"""With the commit itself, and what is still on its way: at most a second of signal is lost to a kill."""
_LEARNED_EVERY_NS = 600 * 10**9
"""Motor units change slowly; how they look is kept this often."""
_WAITING_MAX = 200_000
"""Records kept in memory while the store refuses them: hours of twitches, some hundred megabytes at worst."""
_STATUS_EVERY_NS = 60_000_000_000
_NEWS_NS = 1_000_000_000
_OBSERVED_NS = 250_000_000
_MINUTE_NS = 60_000_000_000
_ABSENT = GapReason.STOPPED, GapReason.DISCONNECTED

_OVER = {"store": "storing again, nothing was lost", "raw": "the raw signal is kept again"}

_T = TypeVar("_T")
Told = Twitch | Context | Gap | Connected | Lost | str
"""What a person may be told while it happens."""
Tell = Callable[[str, Told], None]
"""Called with the name of the device, or "" for the collector itself."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A device to follow."""

    address: str
    """Or the name that it advertises; or, with lsl: or brainflow: before it, what another program drives."""
    name: str | None = None
    """What to call it; by default as it calls itself."""
    sites: Mapping[str, str] | None = None
    """Channel label -> where it is worn."""


@dataclass(frozen=True, slots=True)
class ChannelView:
    """A channel, for the eye."""

    label: str
    unit: str
    noise: float
    state: State | None
    trace: NDArray[np.float64]
    """Largest deflection in each of the last ticks of 0.1 s."""
    twitches: int
    """In this session."""
    analysable_s: float


@dataclass(frozen=True, slots=True)
class DeviceView:
    """A device, for the eye."""

    id: int
    """In the store; 0 before it was met."""
    name: str
    link: str
    """"streaming", or why not."""
    battery_percent: int | None
    rssi: int | None
    """When it was last found, dBm."""
    loss: float
    """Share of samples that are missing, in this session."""
    loss_minute: float
    """And in the last minute."""
    loss_exact: bool
    """Whether the device counted all that is missing; else the time told."""
    malformed: int
    off: tuple[str, ...]
    """Channels whose electrodes have no contact, as the device says."""
    impedance_ohm: tuple[int, ...]
    """Of the electrode of each channel of the first stream, where the device measures it."""
    channels: tuple[ChannelView, ...]


class Collector:
    """Follows devices and stores what they show.

    Args:
        radio: the adapter.
        store: with a session begun.
        subjects: the devices to follow.
        settings: of the detector.
        clock: the computer's.
        capture: is given all that the radio brings.
        raw: keeps the signal.
        deliveries: bring what is stored to other servers.
        alive: called once a second, for whoever watches over us.
        alarms: say what a person should know now.
        inbox: what other programs wrote, to be stored too.
    """

    def __init__(
        self,
        radio: Radio,
        store: Store,
        subjects: Sequence[Subject],
        settings: DetectorSettings,
        clock: HostClock | None = None,
        capture: Writer | None = None,
        raw: Raw | None = None,
        deliveries: Sequence[Delivery] = (),
        alive: Callable[[], None] = lambda: None,
        alarms: Alarms | None = None,
        inbox: Inbox | None = None,
    ) -> None:
        self._relay = Relay(radio)
        self._store = store
        self._tell: Tell = _tell_nobody
        self.clock = clock or HostClock()
        self._executor = ThreadPoolExecutor(1, "store")  # one thread: the store is used by one at a time
        self._outgoing: deque[tuple[int, Record]] = deque()
        self.troubles: dict[str, str] = {}
        """What a person should know of, while it lasts: the name of a `Condition` and its detail."""
        self._troubled_ns: dict[str, int] = {}
        """Since when, by the running clock."""
        self._news = asyncio.Event()
        self._capture = capture
        self._raw = raw
        self._deliveries = deliveries
        self._alive = alive
        self._alarms = alarms
        self._inbox = inbox
        self._watches = [Watch(subject, settings, self, number) for number, subject in enumerate(subjects)]

    async def run(self, tell: Tell) -> None:
        """Collect until cancelled; then decide and commit what is pending.

        Args:
            tell: is told what happens, from the event loop; must neither block nor raise.

        Raises:
            RadioError: there is no adapter that may be used.
            StoreError: records could not be kept; says how many.
            CaptureError: the capture could not be written.
        """
        self._tell = tell
        try:
            async with asyncio.TaskGroup() as group:
                for watch in self._watches:
                    follow = self._relay.follow(watch.subject.address, watch.handle)
                    group.create_task(follow, name=f"device {watch.subject.address}")
                group.create_task(self._keep_committing(), name="store")
                for delivery in self._deliveries:
                    group.create_task(delivery.run(self.keep, self.notice), name=delivery.sink.name)
        except ExceptionGroup as faults:  # the first says it all to a person; a bug keeps its traceback
            raise next((f for f in faults.exceptions if isinstance(f, Fault)), faults) from None
        finally:
            try:
                for watch in self._watches:
                    watch.finish()
                try:
                    await self._commit_last()
                finally:
                    await self._write_capture()
            finally:
                self._executor.shutdown()

    def views(self) -> list[DeviceView]:
        """Each device as it is now."""
        return [watch.view() for watch in self._watches]

    def seen(self) -> list[Seen]:
        """Each device as its alerts need it."""
        return [watch.seen() for watch in self._watches]

    def keep(self, device_id: int, records: Iterable[Record]) -> None:
        """Have records committed, in order, and in one transaction."""
        entries = [(device_id, record) for record in records]
        self._outgoing.extend(entries)  # a list: at once, for the other thread
        if "store" not in self.troubles and any(isinstance(record, Twitch | Alert) for _, record in entries):
            self._news.set()

    def captured(self, device: int, at_ns: int, what: What) -> None:
        """Keep what came as it came, where that was asked for."""
        if self._capture is not None:
            self._capture.add(Entry(device, at_ns, what))

    def tell(self, device: str, what: Told) -> None:
        """Pass on what a person may want to know."""
        self._tell(device, what)

    def check_clock(self) -> None:
        """Where a clock of the computer jumped, all devices go on with the new one."""
        reason = self.clock.check()
        if reason is not None:
            for watch in self._watches:
                watch.anchor(reason)

    def notice(self, name: str, trouble: str | None) -> None:
        """Something is in trouble, or, with `None`, is not: said and stored when that changes."""
        before = self.troubles.get(name)
        if (before is None) == (trouble is None):
            return
        if trouble is None:
            self.troubles.pop(name)
            self._troubled_ns.pop(name)
        else:
            self.troubles[name] = trouble
            self._troubled_ns[name] = self._now()[0]
        self._tell("", trouble or _OVER.get(name, f"{name}: all is well again"))
        self.keep(0, [Condition(name, self.clock.utc_ns(), trouble is not None, trouble or before or "")])

    async def ask_store(self, question: Callable[[Store], _T]) -> _T:
        """Ask when all that was kept before is committed. While the store refuses, wait: what the radio brings
        meanwhile is delivered later or counted."""
        while True:
            try:
                await self._commit()
                return await self._in_store(question)
            except StoreError as error:
                self._refused(error)
            await asyncio.sleep(_COMMIT_S)

    async def _keep_committing(self) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time() + _COMMIT_S
        while True:
            if await self._is_news(due):
                await self._try_to_commit(self._commit_records)
                continue
            due = loop.time() + _COMMIT_S
            self.check_clock()
            await self._write_capture()
            await self._watch_over()
            await self._take_in()
            await self._try_to_commit(self._commit)
            self._alive()

    async def _is_news(self, due: float) -> bool:
        """Wait until then, or until something is worth a commit of its own."""
        with suppress(TimeoutError):
            async with asyncio.timeout_at(due):
                await self._news.wait()
        self._news.clear()
        return asyncio.get_running_loop().time() < due

    async def _try_to_commit(self, commit: Callable[[], Awaitable[None]]) -> None:
        try:
            await commit()
        except StoreError as error:
            self._refused(error)
            if len(self._outgoing) > _WAITING_MAX:
                raise
            await self._express()

    async def _watch_over(self) -> None:
        """Have what a person should know now kept, and said."""
        if self._alarms is None:
            return
        utc_ns = self.clock.utc_ns()
        await asyncio.get_running_loop().run_in_executor(self._executor, self._alarms.look, utc_ns)
        self.notice("said", self._alarms.trouble)
        running_ns, utc_ns = self._now()
        for alert in self._alarms.tick(running_ns, utc_ns, self.seen(), self._troubled_ns):
            self.keep(0, [alert])
            if alert.announce and alert.kind not in (Kind.STORAGE, Kind.SILENCE):  # of those `notice` told
                self._tell("", f"{alert.severity if alert.raised else 'over'}: {alert.why}")

    async def _take_in(self) -> None:
        """Have what other programs wrote kept."""
        if self._inbox is None or "store" in self.troubles:  # while nothing can be stored, their files keep it
            return
        look = partial(self._inbox.look, self.clock.utc_ns())
        self.keep(0, await asyncio.get_running_loop().run_in_executor(self._executor, look))
        self.notice("inbox", self._inbox.trouble)

    def _now(self) -> tuple[int, int]:
        """By the running clock, and UTC."""
        utc_ns = self.clock.utc_ns()
        return utc_ns - self.clock.utc_offset_ns, utc_ns

    async def _express(self) -> None:
        """What cannot be stored now must be said now: that the disk is full, first of all."""
        alerts = [record for _, record in self._outgoing if isinstance(record, Alert)]
        for delivery in self._deliveries:
            await delivery.express(alerts)

    async def _write_capture(self) -> None:
        if self._capture is not None:
            write = partial(self._capture.write, self._capture.take())
            await asyncio.get_running_loop().run_in_executor(self._executor, write)

    async def _commit(self) -> None:
        """Write all that waits in one transaction; on refusal it goes on waiting. The raw signal does not."""
        blocks = [block for watch in self._watches for block in watch.take_raw()]
        try:
            await self._in_store(partial(self._write, self.clock.utc_ns(), blocks))
        finally:
            self.notice("raw", self._raw.trouble if self._raw else None)
        self._committed()

    async def _commit_records(self) -> None:
        """At once; the raw signal comes with the next second."""
        await self._in_store(partial(self._write, self.clock.utc_ns(), ()))
        self._committed()

    def _committed(self) -> None:
        self.notice("store", None)
        self.notice("wal", _wal_trouble(self._store.wal_bytes()))
        for delivery in self._deliveries:
            delivery.wake()

    def _write(self, now_ns: int, blocks: Sequence[Block], store: Store) -> None:
        """In the store's thread to the end, even where nobody waits for it any more: increments must not be
        written twice."""
        entries = list(self._outgoing)
        try:
            store.write(entries, now_ns)
            for _ in entries:
                self._outgoing.popleft()
        finally:
            if self._raw:
                self._raw.write(blocks, now_ns)

    async def _commit_last(self) -> None:
        try:
            await self._commit()
        except StoreError as error:
            lost = f"{len(self._outgoing)} records could not be kept"
            raise StoreError(
                f"{lost}: {error.args[0]}", "Free some space or mend the disk, then start again"
            ) from error

    def _refused(self, error: StoreError) -> None:
        self.notice("store", f"not stored for now: {error}")

    async def _in_store(self, question: Callable[[Store], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._executor, question, self._store)


def _wal_trouble(size: int) -> str | None:
    if size <= WAL_LIMIT:
        return None
    return f"a program holds on to what it read: the log of the store has grown to {size >> 20} MB. Close it"


def _tell_nobody(device: str, what: Told) -> None:
    """Before the collector runs."""


class Watch:
    """One device: its decoder, its detectors, and what they have said."""

    def __init__(self, subject: Subject, settings: DetectorSettings, collector: Collector, number: int) -> None:
        self.subject = subject
        self._number = number
        self._settings = settings
        self._collector = collector
        self._clock = collector.clock
        self._name = subject.name or subject.address
        self._link = "looking for it"
        self._said = ""
        self._id = 0
        self._met: Connected | None = None
        self._decoder: Decoder | None = None
        self._tracks: dict[str, _Track] = {}
        self._status = Status()
        self._status_kept_ns = 0
        self._heard_ns: int | None = None
        self._marks: deque[tuple[int, int, int]] = deque()  # when, received, missing; of the last minute

    async def handle(self, item: LinkItem) -> None:
        """Take what the radio hands over."""
        self._collector.check_clock()
        match item:
            case Connected():
                await self._meet(item)
                self._link, self._said = "streaming", ""
                self._collector.tell(self._name, item)
            case Notification():
                arrival_ns = self._clock.running_ns(item.arrival_ns)
                self._take(Notification(item.characteristic, item.data, arrival_ns))
            case Overflow():
                self._interrupt(GapReason.OVERFLOW, item.at_ns)
            case Lost():
                self._interrupt(item.reason, item.at_ns)
                self._link = f"{item.reason}, reconnecting"
                if item.detail != self._said:  # once, not at every attempt of a night
                    self._collector.tell(self._name, item)
                self._said = item.detail

    def finish(self) -> None:
        """Decide what is pending and account for the time up to now."""
        if self._decoder is None:
            return
        for track in sorted(self._tracks.values(), key=lambda track: turn(track.stream)):
            self._say(track.finish(), track)
        now_ns = self._now_ns()
        self._capture(now_ns, Ended())
        self._collector.keep(self._id, self._decoder.close(now_ns))

    def take_raw(self) -> list[Block]:
        """The signal that came since the last time."""
        return [block for track in self._tracks.values() for block in track.raw.take()]

    def anchor(self, reason: GapReason) -> None:
        """UTC is another one from now on."""
        if self._decoder is not None:
            self._capture(self._now_ns(), Anchored(self._clock.utc_offset_ns, reason))
            self._decoder.anchor(self._clock.utc_offset_ns, reason)

    def view(self) -> DeviceView:
        """The device as it is now."""
        reception = self._decoder.reception if self._decoder else None
        return DeviceView(
            id=self._id,
            name=self._name,
            link=self._link,
            battery_percent=self._status.battery_percent,
            rssi=self._met.rssi if self._met else None,
            loss=reception.loss if reception else 0.0,
            loss_minute=self._loss_minute(),
            loss_exact=not (reception and reception.estimated),
            malformed=reception.malformed if reception else 0,
            off=self._off(),
            impedance_ohm=self._status.impedance_ohm,
            channels=tuple(view for track in self._tracks.values() for view in track.views()),
        )

    def seen(self) -> Seen:
        """The device as its alerts need it."""
        off = self._off()
        return Seen(
            key=self.subject.name or self.subject.address,
            name=self._name,
            heard_ns=self._heard_ns,
            battery_percent=self._status.battery_percent,
            loss=self._loss_minute(),
            channels=tuple(each for track in self._tracks.values() for each in track.seen(off)),
        )

    async def _meet(self, item: Connected) -> None:
        """A link is up: the device that was there before, or another one in its place."""
        device, now_ns = item.device, self._clock.utc_ns()
        self._name = self.subject.name or device.name or self.subject.address
        streams = {stream.name: self._worn(stream) for stream in device.streams}
        anew = not self._is_known(item, streams)
        if anew:
            self.finish()
        if anew or self._met is None or self._met.device != device:  # its firmware may be new
            introduced = replace(device, name=self._name, streams=tuple(streams.values()))
            ask = partial(Store.device, device=introduced, address=item.address, now_ns=now_ns)
            self._id = await self._collector.ask_store(ask)
        if anew:
            absences = {name: await self._collector.ask_store(self._absence(name)) for name in streams}
            self._decoder = Decoder(item.codec, self._clock.utc_offset_ns, tuple(streams.values()))
            learned = {name: await self._collector.ask_store(self._learned(name)) for name in streams}
            # At once: a view reads them in its own thread.
            vetoes = Vetoes(streams.values())
            self._tracks = {
                name: _Track(s, self._settings, absences[name], vetoes, Assembler(self._id), learned[name])
                for name, s in streams.items()
            }
            self._marks.clear()
            self._status = Status()
        elif self._decoder:
            self._decoder.resume(item.codec)
        self._met = item
        self._collector.keep(self._id, [Linked(now_ns, item.address, device.firmware, item.rssi)])
        self._capture(self._now_ns(), self._introduced(item, anew=anew))

    def _is_known(self, item: Connected, streams: Mapping[str, Stream]) -> bool:
        if self._met is None or {name: track.stream for name, track in self._tracks.items()} != streams:
            return False
        return _identity(item) == _identity(self._met)

    def _introduced(self, item: Connected, *, anew: bool) -> Introduced:
        return Introduced(
            address=item.address,
            family=family_as_kept(item.codec),
            answers=item.answers,
            advertised=item.advertised,
            name=self._name,
            sites=dict(self.subject.sites or {}),
            utc_offset_ns=self._clock.utc_offset_ns,
            anew=anew,
        )

    def _learned(self, stream: str) -> Callable[[Store], Mapping[str, Any] | None]:
        return lambda store: store.learned(self._id, stream)

    def _absence(self, stream: str) -> Callable[[Store], list[int]]:
        return lambda store: store.absence(self._id, stream)

    def _worn(self, stream: Stream) -> Stream:
        sites = self.subject.sites or {}
        return replace(stream, channels=tuple(sites.get(label, label) for label in stream.channels))

    def _interrupt(self, reason: GapReason, at_ns: int) -> None:
        if self._decoder is not None:
            self._capture(self._clock.running_ns(at_ns), reason)
            self._decoder.interrupt(reason)

    def _capture(self, at_ns: int, what: What) -> None:
        self._collector.captured(self._number, at_ns, what)

    def _now_ns(self) -> int:
        """By the running clock."""
        return self._clock.utc_ns() - self._clock.utc_offset_ns

    def _take(self, notification: Notification) -> None:
        if self._decoder is None:
            return
        self._capture(notification.arrival_ns, notification)
        self._mark(notification.arrival_ns, self._decoder.reception)
        for item in self._decoder.feed(notification):
            if isinstance(item, Status):
                self._note(item, notification.arrival_ns)
            else:
                if isinstance(item, SampleBlock):
                    self._heard_ns = notification.arrival_ns
                track = self._tracks[item.stream.name]
                self._say(track.feed(item), track)

    def _note(self, status: Status, at_ns: int) -> None:
        status = _completed(status, self._status)
        changed = status.lead_off != self._status.lead_off
        self._status = status
        if changed or at_ns - self._status_kept_ns >= _STATUS_EVERY_NS:
            self._status_kept_ns = at_ns
            self._collector.keep(self._id, [status])

    def _mark(self, at_ns: int, reception: Reception) -> None:
        """The account so far, once a second, for a minute."""
        if not self._marks or at_ns - self._marks[-1][0] >= _NEWS_NS:
            self._marks.append((at_ns, reception.received, reception.missing))
        while self._marks[0][0] < at_ns - _MINUTE_NS:
            self._marks.popleft()

    def _loss_minute(self) -> float:
        if not self._decoder or not self._marks:
            return 0.0
        _, received, missing = self._marks[0]
        reception = self._decoder.reception
        missed = reception.missing - missing
        return missed / max(reception.received - received + missed, 1)

    def _off(self) -> tuple[str, ...]:
        labels = next((track.stream.channels for track in self._tracks.values()), ())
        return tuple(label for label, off in zip(labels, self._status.lead_off, strict=False) if off)

    def _say(self, records: Sequence[Record], track: _Track) -> None:
        if not records:
            return
        self._collector.keep(self._id, records)
        for record in records:
            if isinstance(record, Twitch | Context) or (isinstance(record, Gap) and self._is_news(record, track)):
                self._collector.tell(self._name, record)

    def _is_news(self, gap: Gap, track: _Track) -> bool:
        """Whether a person should be told when it happens: not of a packet lost now and then, nor for each of
        the streams that stand still together."""
        return gap.end_ns - gap.start_ns > _NEWS_NS and track is next(iter(self._tracks.values()))


def _completed(status: Status, before: Status) -> Status:
    """What a device does not say each time is as it was."""
    known = {field: value for field, value in asdict(before).items() if getattr(status, field) in (None, ())}
    return replace(status, **known)


def _identity(item: Connected) -> tuple[str, ...]:
    """What tells one device from another: macOS and random addresses change, a serial number does not."""
    device = item.device
    return (device.serial,) if device.serial else (device.name, item.address)


class _Track:
    """One stream of a device: detector, gaps that wait for it, totals of the session."""

    def __init__(
        self,
        stream: Stream,
        settings: DetectorSettings,
        absence: Sequence[int],
        vetoes: Vetoes,
        raw: Assembler,
        learned: Mapping[str, Any] | None,
    ) -> None:
        self.stream = stream
        self.raw = raw
        self._vetoes, self._veto = vetoes, vetoes.over(stream)
        units = MotorUnits.restore(learned) if learned else MotorUnits()
        self._detector = detector_for(stream, settings, units)
        self._listener = heart_listener(stream, settings) if vetoes.listen_to(stream) else None
        self._units, self._units_born, self._units_kept_ns = units, units.born, 0
        self._absence = absence
        self._gaps: deque[Gap] = deque()
        self._until_ns = self._said_ns = 0
        self._twitches = dict.fromkeys(stream.channels, 0)
        self._analysable_s = dict.fromkeys(stream.channels, 0.0)

    def feed(self, item: SampleBlock | Gap) -> list[Record]:
        """Take a block, or a gap before the next one; what is to be stored of it."""
        records: list[Record] = [*self._absent(item.start_ns)] if self._absence else []
        if isinstance(item, Gap):
            self._gaps.append(item)
            return records
        self.raw.feed(item)
        if self._detector is None:
            if self._listener:
                self._vetoes.hear(self.stream, self._listener.feed(item))
            return records + self._observed(item.end_ns, _OBSERVED_NS)
        events = self._vetoes.hear(self.stream, self._detector.feed(item))
        return records + self._records(self._veto.feed(events) if self._veto else events)

    def finish(self) -> list[Record]:
        """The end of the stream: everything that waited."""
        if self._detector is None:
            return [*self._observed(self._until_ns, 1), *self._released(None)]
        events = self._vetoes.hear(self.stream, self._detector.finish())
        records = self._records(self._veto.finish(events) if self._veto else events)
        return records + self._released(None) + self._learned(0)

    def views(self) -> list[ChannelView]:
        """Each channel as it is now."""
        if self._detector is None:
            return []
        noise, trace = self._detector.noise, self._detector.trace
        return [
            ChannelView(
                label=label,
                unit=self.stream.unit,
                noise=float(noise[c]),
                state=self._detector.states[c],
                trace=trace[c].copy(),
                twitches=self._twitches[label],
                analysable_s=self._analysable_s[label],
            )
            for c, label in enumerate(self.stream.channels)
        ]

    def seen(self, off: Sequence[str]) -> list[SeenChannel]:
        """Each site as its alerts need it.

        Args:
            off: channels whose electrodes have no contact, as the device says.
        """
        if self._detector is None:
            return []
        if self.stream.sensor is Sensor.ACC:
            in_contact = State.BAD_CONTACT not in self._detector.states
            twitches, analysable_s = sum(self._twitches.values()), max(self._analysable_s.values())
            return [SeenChannel(ACCELERATION, in_contact, twitches, analysable_s)]
        return [
            SeenChannel(
                label=label,
                in_contact=label not in off and state is not State.BAD_CONTACT,
                twitches=self._twitches[label],
                analysable_s=self._analysable_s[label],
            )
            for label, state in zip(self.stream.channels, self._detector.states, strict=True)
        ]

    def _observed(self, until_ns: int, after_ns: int) -> list[Record]:
        """What is not analysed was heard up to `until_ns`; said after each gap, and else every `after_ns`."""
        self._until_ns = until_ns
        if until_ns - self._said_ns < after_ns and not self._gaps:
            return []
        self._said_ns = until_ns
        return [*self._released(until_ns), Observed(self.stream.name, until_ns)]

    def _absent(self, until_ns: int) -> Iterator[Gap]:
        """Before the first samples: monitoring was stopped, or it ran without the device, in turns."""
        edges = [min(edge, until_ns) for edge in accumulate(self._absence, max)]
        edges += [until_ns] if edges else []
        self._absence = ()
        for start_ns, end_ns, reason in zip(edges, edges[1:], cycle(_ABSENT), strict=False):
            if start_ns < end_ns:
                missing = round((end_ns - start_ns) * 1e-9 * self.stream.rate_hz)
                yield Gap(self.stream, start_ns, end_ns, missing, reason, exact=False)

    def _records(self, events: Sequence[Event]) -> list[Record]:
        minutes = tally(self.stream.channels, events)
        self._total(minutes)
        records: list[Record] = []
        for event in events:
            if isinstance(event, Analysed):
                records += self._released(event.end_ns)
                records.append(Observed(self.stream.name, event.end_ns))
            else:
                records.append(event)
        if any(isinstance(event, Twitch) for event in events):
            records += self._learned(_LEARNED_EVERY_NS)
        return _without_repetition(records) + minutes

    def _learned(self, after_ns: int) -> list[Record]:
        """The motor units that twitched, at once where one is new: a number is never given twice."""
        last_ns, born = self._units.last_ns, self._units.born
        if last_ns <= self._units_kept_ns + after_ns and born == self._units_born:
            return []
        self._units_kept_ns, self._units_born = last_ns, born
        return [Learned(self.stream.name, last_ns, self._units.snapshot())]

    def _released(self, until_ns: int | None) -> list[Record]:
        """Gaps that begin before what has been decided. Kept back until then, so that the store's account of
        a stream never runs ahead of its twitches."""
        out: list[Record] = []
        while self._gaps and (until_ns is None or self._gaps[0].start_ns <= until_ns):
            out.append(self._gaps.popleft())
        return out

    def _total(self, minutes: Iterable[Minute]) -> None:
        for minute in minutes:
            self._twitches[minute.channel] += minute.twitches
            self._analysable_s[minute.channel] += minute.analysable_s


def _without_repetition(records: list[Record]) -> list[Record]:
    """Of successive `Observed`, the last says it all."""
    after = [*records[1:], None]
    return [
        r
        for r, a in zip(records, after, strict=False)
        if not (isinstance(r, Observed) and isinstance(a, Observed))
    ]
