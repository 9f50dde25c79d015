"""The radio: Bluetooth Low Energy through bleak. No other file uses bleak as a client.

    find ─► connect ─► subscribe ─► introduce ─► Connected ─► start ─► Notification | Overflow ─► Lost ─┐
      ▲                                                                                  back off  │
      └────────────────────────────────────────────────────────────────────────────────────────────┘

Rules:

* A callback of bleak stamps the time, copies the bytes, queues them and returns. It is never a coroutine:
  bleak would make a task of each notification, and their order would be lost.
* The queue is bounded. What did not fit is counted, and reported where it is missing.
* An adapter has one scanner. It runs while somebody looks for a device and pauses for each connection attempt, of
  which there is one at a time: BlueZ answers a second scan or attempt with InProgress
  (https://github.com/hbldh/bleak/issues/1689), and may break off the first. With nobody to look for it is off,
  and the links have the air to themselves.
* Every attempt ends in exactly one `Lost`, whether or not it came as far as `Connected`, and is followed by
  another, for ever. Only an adapter that was unusable from the start is an error: a person must act.
* A device that wants a bond is paired with, once an attempt. What a person must mend (a bond, a stale service
  cache, another program on the adapter, an address from another computer) is said in `Lost.detail`.
* However a link ends, STOP is sent if it still can be: a wearable that goes on sending empties its battery.
* What `handle` raises is not the radio's, and is raised.
"""

from __future__ import annotations

import asyncio
import random
import sys
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import NoReturn, TypeVar

from bleak import BleakClient, BleakScanner
from bleak.backends.characteristic import BleakGATTCharacteristic
from bleak.backends.client import BaseBleakClient
from bleak.backends.device import BLEDevice
from bleak.backends.scanner import AdvertisementData, BaseBleakScanner
from bleak.exc import (
    BleakBluetoothNotAvailableError,
    BleakCharacteristicNotFoundError,
    BleakDBusError,
    BleakError,
    BleakGATTProtocolError,
)

from firmware_interface.codecs import (
    Codec,
    Conversation,
    Device,
    Examinable,
    Examination,
    Hear,
    Read,
    Write,
)
from firmware_interface.errors import PacketError, RadioError
from firmware_interface.samples import GapReason, Notification

if sys.platform == "win32":
    # pywin32 puts the thread into a mode in which WinRT's callbacks never come and bleak hangs for ever
    # (https://github.com/hbldh/bleak/pull/1556). At import: done later, it would undo what WinRT set up.
    from bleak.backends.winrt.util import uninitialize_sta

    uninitialize_sta()

_FIND_S = 5.0
"""Devices advertise at least once a second."""
_CONNECT_S = 20.0
"""Slow but sound connections were seen to take that long (bleak-retry-connector)."""
_HANG_S = 60.0
"""bleak waits for ever for a system service that hangs, and so would every other link."""
_REPLY_S = 10.0
_PAIR_S = 30.0
"""A person may have to answer a question of the system."""
_STOP_S = 2.0
_DISCONNECT_S = 12.0
"""BlueZ gives up after 10 s, and then tidies up."""
_QUEUE = 1024
"""Notifications; 5 s of the fastest device, 200 a second."""
_STALL_S = 3.0
_STALL_PACKETS = 4
_PAYLOAD = 244
"""Bytes of a notification at the usual MTU of 247."""
_BACKOFF_MIN_S, _BACKOFF_MAX_S = 0.25, 16.0
_WANTS_BOND = (0x05, 0x08, 0x0C, 0x0F)
"""ATT errors: insufficient authentication, authorization, key size, encryption."""

_REMEDY = {
    "linux": "Run `systemctl start bluetooth` and `rfkill unblock bluetooth`",
    "darwin": "Turn Bluetooth on and allow it to this terminal in System Settings, Privacy & Security",
    "win32": "Turn Bluetooth on in Settings, Bluetooth & devices",
}.get(sys.platform, "Turn Bluetooth on")
_PLATFORM: str = sys.platform

_T = TypeVar("_T")
Backend = tuple[type[BaseBleakClient], type[BaseBleakScanner]]
"""What bleak's `backend=` takes, in place of this computer's adapter."""


class _AbsentError(Exception):
    """Not heard; another attempt may do."""


class _StrangerError(Exception):
    """It offers nothing that we know, or the system remembers the services of another time."""


_FAULTS = (
    _AbsentError,
    _StrangerError,
    PacketError,
    BleakError,
    OSError,  # TimeoutError too; D-Bus and WinRT raise it bare
    EOFError,  # D-Bus went away (https://github.com/hbldh/bleak/pull/2018)
    # bleak looks up its D-Bus connection between two awaits, and a disconnect may clear it there
    # (https://github.com/hbldh/bleak/issues/426; `assert self._bus` in bluezdbus/client.py)
    AttributeError,
    AssertionError,
)
"""What bleak raises when a link or an adapter fails, and what a device that makes no sense gives."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """A device that advertised."""

    address: str
    """A Bluetooth address; on macOS, a UUID that no other computer knows."""
    name: str | None
    rssi: int
    """Signal strength, dBm."""
    services: tuple[str, ...]
    codec: type[Codec] | None
    """The family; None where it is none that we read."""


@dataclass(frozen=True, slots=True)
class Connected:
    """A link is up, the device has said what it is and was told to send. Its notifications follow, for `codec` to
    decode: those that answered, too."""

    device: Device
    codec: Codec
    at_ns: int
    address: str
    """This computer's address for it."""
    rssi: int
    """Of the advertisement that found it, dBm; while it streams no system tells."""
    advertised: str
    """The name in its advertisement."""
    answers: tuple[bytes, ...]
    """What it said when its codec introduced itself and had it start: with them, a codec is made again."""


@dataclass(frozen=True, slots=True)
class Overflow:
    """Notifications that came while our queue was full: lost here, between those before and after this."""

    lost: int
    at_ns: int
    """Arrival of the first of them."""


@dataclass(frozen=True, slots=True)
class Lost:
    """There is no link."""

    reason: GapReason
    """STALLED or DISCONNECTED."""
    at_ns: int
    detail: str
    """For a person; one line."""


LinkItem = Connected | Notification | Overflow | Lost


class Radio:
    """This computer's Bluetooth adapter, or a virtual one.

    Args:
        codecs: the families to recognise; the first that does so reads the device.
        backend: a virtual adapter, as `virtual_radio` makes it.
    """

    def __init__(self, codecs: Sequence[type[Codec]], backend: Backend | None = None) -> None:
        self._codecs = tuple(codecs)
        self._client: type[BaseBleakClient] | None
        self._client, scanner = backend or (None, None)
        self._scanner = _Scanner(scanner)

    async def scan(self, duration_s: float) -> tuple[Sighting, ...]:
        """What advertises within `duration_s`, the nearest first.

        Raises:
            RadioError: there is no adapter that we may use.
        """
        seen: dict[str, Sighting] = {}

        def hear(device: BLEDevice, said: AdvertisementData) -> bool:
            seen[device.address] = self._sighting(device, said)
            return False

        await self._scanner.listen(hear, duration_s)
        return tuple(sorted(seen.values(), key=lambda sighting: -sighting.rssi))

    async def introduce(self, address: str) -> Device:
        """What the device at `address` says of itself; nothing is started.

        Raises:
            RadioError: it cannot be reached now, or there is no adapter that we may use.
        """
        try:
            async with self._connection(address, _Inbox()) as (_, connected):
                return connected.device
        except _FAULTS as fault:
            raise RadioError(_explain(fault, address), "Bring it near, or free it from other programs") from fault

    async def examine(self, address: str) -> Examination | None:
        """Have the device at `address` test itself; None where its family has no such test.

        Raises:
            RadioError: it cannot be reached now, or does not answer, or there is no adapter that we may use.
        """
        inbox = _Inbox()
        try:
            async with self._connection(address, inbox) as (client, connected):
                codec = connected.codec
                if not isinstance(codec, Examinable):
                    return None
                return (await _bonded(client, lambda: _converse(client, inbox, codec.examine())))[0]
        except _FAULTS as fault:
            raise RadioError(_explain(fault, address), "Bring it near, or free it from other programs") from fault

    async def follow(self, address: str, handle: Callable[[LinkItem], Awaitable[None]]) -> NoReturn:
        """Hold a link to a device, for ever, and hand over all that comes, in order.

        Args:
            address: its address, or the name that it advertises, which is the same on every computer.
            handle: takes each item; the next one waits.

        Raises:
            RadioError: there is no adapter that we may use, and never was.
        """
        failures = 0
        while True:
            async with aclosing(self._link(address)) as items:
                async for item in items:
                    if isinstance(item, Notification):
                        failures = 0
                    await handle(item)
            await asyncio.sleep(_backoff_s(failures))
            failures += 1

    async def _link(self, address: str) -> AsyncGenerator[LinkItem, None]:
        """One attempt, up to its `Lost`. A generator, so that `handle` runs outside the `try`."""
        inbox = _Inbox()
        try:
            async with self._connection(address, inbox) as (client, found):
                answers = await _bonded(client, lambda: _converse(client, inbox, found.codec.start()))
                yield replace(found, answers=(*found.answers, *answers[1]))
                grace_s, patience_s = found.codec.START_GRACE_S, _patience_s(found.device)
                heard_ns = time.monotonic_ns()
                until_ns = heard_ns + round(grace_s * 1e9)
                while item := await inbox.take(until_ns):
                    yield item
                    if isinstance(item, Lost):
                        return
                    if isinstance(item, Notification) and item.characteristic == found.codec.SAMPLES:
                        heard_ns = time.monotonic_ns()  # not when it came: we may have been late
                        until_ns = max(until_ns, heard_ns + round(patience_s * 1e9))
                now_ns = time.monotonic_ns()
                yield Lost(GapReason.STALLED, now_ns, f"no samples for {(now_ns - heard_ns) * 1e-9:.1f} s")
        except _FAULTS as fault:
            yield Lost(GapReason.DISCONNECTED, time.monotonic_ns(), _explain(fault, address))

    @asynccontextmanager
    async def _connection(self, address: str, inbox: _Inbox) -> AsyncIterator[tuple[BleakClient, Connected]]:
        device, rssi = await self._find(address)
        client = self._dial(device, inbox)
        async with self._scanner.paused(), asyncio.timeout(_HANG_S):
            await client.connect()
        stop: tuple[Write, ...] = ()
        try:
            family, name = self._family(client, device.name), device.name or ""
            stop = family.STOP
            await _bonded(client, lambda: _subscribe(client, family, inbox))
            codec, answers = await _bonded(client, lambda: _converse(client, inbox, family.introduce(name)))
            now_ns = time.monotonic_ns()
            yield client, Connected(codec.device, codec, now_ns, device.address, rssi, name, answers)
        finally:
            await _part(client, stop)

    def _dial(self, device: BLEDevice, inbox: _Inbox) -> BleakClient:
        return BleakClient(
            device,
            disconnected_callback=lambda _: inbox.end("the link went down"),
            timeout=_CONNECT_S,
            # Windows would go on using the services of an earlier firmware (https://github.com/hbldh/bleak/issues/882)
            winrt={"use_cached_services": False},
            backend=self._client,
        )

    def _family(self, client: BleakClient, name: str | None) -> type[Codec]:
        family = self._recognise(tuple(service.uuid for service in client.services), name)
        if family is None:
            raise _StrangerError(f"{name or client.address} offers no service that this program knows")
        return family

    async def _find(self, address: str) -> tuple[BLEDevice, int]:
        """Afresh each time: BlueZ forgets devices, and connecting by address would scan behind our back."""
        found: list[tuple[BLEDevice, int]] = []

        def hear(device: BLEDevice, said: AdvertisementData) -> bool:
            names = (device.address, said.local_name or device.name or "")
            if address.casefold() in (name.casefold() for name in names):
                found.append((device, said.rssi))
            return bool(found)

        await self._scanner.listen(hear, _FIND_S)
        if not found:
            raise _AbsentError(f"{address} is not in reach")
        return found[0]

    def _sighting(self, device: BLEDevice, said: AdvertisementData) -> Sighting:
        services, name = tuple(said.service_uuids), said.local_name or device.name
        return Sighting(device.address, name, said.rssi, services, self._recognise(services, name))

    def _recognise(self, services: Sequence[str], name: str | None) -> type[Codec] | None:
        return next((codec for codec in self._codecs if codec.recognises(services, name)), None)


_Hear = Callable[[BLEDevice, AdvertisementData], bool]
"""Takes an advertisement; whether it was the one that was waited for."""


class _Scanner:
    """The one scanner of an adapter: runs while somebody listens and nobody connects."""

    def __init__(self, backend: type[BaseBleakScanner] | None) -> None:
        self._backend = backend
        self._turn = asyncio.Lock()
        self._listeners: dict[asyncio.Future[None], _Hear] = {}
        self._running: BleakScanner | None = None
        self._proven = False
        self._pauses = 0

    async def listen(self, hear: _Hear, duration_s: float) -> None:
        """Until `hear` has what it wants, or `duration_s` went by without a pause.

        Raises:
            RadioError: there is no adapter that we may use, and never was.
        """
        heard: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._listeners[heard] = hear
        try:
            pauses = -1
            while not heard.done() and pauses != self._pauses:
                async with self._turn:
                    await self._run()
                    pauses = self._pauses
                await asyncio.wait((heard,), timeout=duration_s)
            if heard.done():
                heard.result()
        finally:
            del self._listeners[heard]
            async with self._turn:
                if not self._listeners or not heard.done():  # it may have gone deaf, as when BlueZ restarts
                    await self._stop()
                await self._run()

    @asynccontextmanager
    async def paused(self) -> AsyncIterator[None]:
        """Silence, for one connection attempt at a time."""
        async with self._turn:
            await self._stop()
            self._pauses += 1
            try:
                yield
            finally:
                await self._run()

    async def _run(self) -> None:
        """Scan, if somebody listens; that it fails is theirs to hear."""
        if self._running or not self._listeners:
            return
        try:
            scanner = BleakScanner(self._detected, backend=self._backend)
            async with asyncio.timeout(_REPLY_S):
                await scanner.start()
        except _FAULTS as fault:
            final = not (self._proven or _is_busy(fault))
            self._fail(_unusable(fault) if final else fault)
        else:
            self._running, self._proven = scanner, True

    async def _stop(self) -> None:
        if scanner := self._running:
            self._running = None
            with suppress(*_FAULTS):  # it may have gone with its adapter
                async with asyncio.timeout(_REPLY_S):
                    await scanner.stop()

    def _detected(self, device: BLEDevice, said: AdvertisementData) -> None:
        for heard, hear in self._listeners.items():
            if not heard.done() and hear(device, said):
                heard.set_result(None)

    def _fail(self, fault: BaseException) -> None:
        for heard in self._listeners:
            if not heard.done():
                heard.set_exception(fault)


class _Inbox:
    """What came over one link, in order."""

    def __init__(self) -> None:
        self._items: deque[Notification | Overflow | Lost] = deque()
        self._filled = asyncio.Event()
        self._unheard: deque[Notification] = deque(maxlen=_QUEUE)
        self._spoken = asyncio.Event()

    def put(self, characteristic: str, _: BleakGATTCharacteristic, data: bytearray) -> None:
        """Called by bleak."""
        now_ns = time.monotonic_ns()
        notification = Notification(characteristic, bytes(data), now_ns)
        self._unheard.append(notification)
        self._spoken.set()
        if len(self._items) < _QUEUE:
            self._items.append(notification)
        elif isinstance(last := self._items[-1], Overflow):
            self._items[-1] = replace(last, lost=last.lost + 1)
        else:
            self._items.append(Overflow(1, now_ns))
        self._filled.set()

    def end(self, detail: str) -> None:
        """Called by bleak. What came before is still delivered."""
        self._items.append(Lost(GapReason.DISCONNECTED, time.monotonic_ns(), detail))
        self._filled.set()

    async def take(self, until_ns: int) -> Notification | Overflow | Lost | None:
        """The next item; None if it does not come by then."""
        if not self._items:
            self._filled.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout((until_ns - time.monotonic_ns()) * 1e-9):
                    await self._filled.wait()
        return self._items.popleft() if self._items else None

    def listen(self) -> None:
        """A conversation begins: what came before is no answer."""
        self._unheard.clear()

    async def hear(self, wanted: Hear) -> bytes:
        """The first notification that is wanted and was not heard yet. It is taken by `take`, too."""
        while True:
            for said in self._unheard:
                if said.characteristic == wanted.characteristic and said.data.startswith(wanted.prefix):
                    self._unheard.remove(said)
                    return said.data
            self._spoken.clear()
            await self._spoken.wait()


async def _subscribe(client: BleakClient, family: type[Codec], inbox: _Inbox) -> None:
    async with asyncio.timeout(_REPLY_S):
        for characteristic in family.NOTIFY:
            if client.services.get_characteristic(characteristic):
                await client.start_notify(characteristic, partial(inbox.put, characteristic))


async def _converse(
    client: BleakClient, inbox: _Inbox, conversation: Conversation[_T]
) -> tuple[_T, tuple[bytes, ...]]:
    """Hold a codec's conversation with its device; what came of it, and the answers."""
    inbox.listen()
    answers: list[bytes] = []
    try:
        step = next(conversation)
        while True:
            async with asyncio.timeout(_REPLY_S):
                answers.append(await _perform(client, inbox, step))
            step = conversation.send(answers[-1])
    except StopIteration as end:
        result: _T = end.value
        return result, tuple(answers)


async def _perform(client: BleakClient, inbox: _Inbox, step: Read | Write | Hear) -> bytes:
    match step:
        case Read() if client.services.get_characteristic(step.characteristic):
            return bytes(await client.read_gatt_char(step.characteristic))
        case Write():
            await _write(client, (step,))
        case Hear():
            return await inbox.hear(step)
    return b""


async def _part(client: BleakClient, stop: Sequence[Write]) -> None:
    """Leave quietly and in bounded time; the link may have gone long ago."""
    try:
        with suppress(*_FAULTS):
            async with asyncio.timeout(_STOP_S):
                await _write(client, stop if client.is_connected else ())
    finally:
        with suppress(*_FAULTS):
            async with asyncio.timeout(_DISCONNECT_S):
                await client.disconnect()


async def _write(client: BleakClient, writes: Sequence[Write]) -> None:
    for write in writes:
        found = client.services.get_characteristic(write.characteristic)
        answered = found is None or "write" in found.properties
        await client.write_gatt_char(write.characteristic, write.data, response=answered)


async def _bonded(client: BleakClient, ask: Callable[[], Awaitable[_T]]) -> _T:
    """What `ask` gives; where the device wants a bond first, that is made."""
    try:
        return await ask()
    except BleakGATTProtocolError as fault:
        if fault.code not in _WANTS_BOND:
            raise
    with suppress(NotImplementedError):  # macOS pairs by itself
        async with asyncio.timeout(_PAIR_S):
            await client.pair()
    return await ask()


def _patience_s(device: Device) -> float:
    """How long a sound device may be silent: slow streams fill a packet in seconds, packed ones longer."""
    fill_s = min(_PAYLOAD / (2 * len(stream.channels) * stream.rate_hz) for stream in device.streams)
    return max(_STALL_S, _STALL_PACKETS * fill_s)


def _backoff_s(failures: int) -> float:
    """0.25 to 16 s, with jitter, so that several links do not queue for the radio in step."""
    ceiling_s = min(_BACKOFF_MIN_S * 2.0 ** min(failures + 1, 10), _BACKOFF_MAX_S)
    return random.uniform(_BACKOFF_MIN_S, ceiling_s)  # noqa: S311 - not a secret


def _is_busy(fault: BaseException) -> bool:
    """Another program scans: passes by itself (https://github.com/hbldh/bleak/issues/1689)."""
    return isinstance(fault, BleakDBusError) and fault.dbus_error == "org.bluez.Error.InProgress"


def _unusable(fault: BaseException) -> RadioError:
    where = " through D-Bus" if isinstance(fault, OSError) and sys.platform == "linux" else ""
    remedy = f"{_REMEDY}; `fasciwatch demo` needs no Bluetooth"
    return RadioError(f"Bluetooth cannot be reached{where}: {_describe(fault)}", remedy)


def _explain(fault: BaseException, address: str) -> str:
    """What happened, and what a person can do about it, if anything; one line, no full stop."""
    remedy = _remedy(fault, address)
    return f"{_describe(fault)}; {remedy}" if remedy else _describe(fault)


def _remedy(fault: BaseException, address: str) -> str:
    """For the failures that do not pass by themselves (the issues are in the comments)."""
    match fault:
        case BleakGATTProtocolError() if fault.code in _WANTS_BOND:  # bleak 1943: Polar H10 on Windows
            return _pairing(address)
        case _StrangerError() | BleakCharacteristicNotFoundError():  # bleak 882, bluez 191
            return _forgetting(address)
        case _AbsentError() if _PLATFORM == "darwin" and address.count(":") == 5:  # bleak pull 1073
            return "macOS hides addresses: use the UUID that `fasciwatch scan` shows here, or the device's name"
        case BleakError() if "callbacks are not working" in str(fault):  # bleak pull 1581
            return "run fasciwatch in a terminal of its own, not in a program with windows"
        case _ if _is_busy(fault):
            return "another program uses the adapter: close it (a browser, bluetoothctl, a second fasciwatch)"
        case _:
            return ""


def _pairing(address: str) -> str:
    where = {
        "linux": f"`bluetoothctl pair {address}`",
        "win32": "pair it in Settings, Bluetooth & devices",
        "darwin": "answer the question of macOS, or remove the device in System Settings and try again",
    }
    return f"it wants a bond with this computer: {where.get(_PLATFORM, 'pair it')}"


def _forgetting(address: str) -> str:
    where = {
        "linux": f"`bluetoothctl remove {address}`, and delete /var/lib/bluetooth/*/cache/{address}",
        "win32": "remove it in Settings, Bluetooth & devices",
        "darwin": "turn Bluetooth off and on",
    }
    return f"if its firmware was changed, let this computer forget it: {where.get(_PLATFORM, 'unpair it')}"


def _describe(fault: BaseException) -> str:
    """One line, no full stop."""
    match fault:
        case BleakBluetoothNotAvailableError():
            text = str(fault.args[0])
        case TimeoutError():
            text = "no answer in time"
        case OSError():
            text = fault.strerror or str(fault)
        case _:
            text = str(fault)
    return " ".join(text.split()).rstrip(".") or type(fault).__name__
