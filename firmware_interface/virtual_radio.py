"""A radio inside this process: bleak on one side, emulated peripherals on the other, Bumble's link between.

    Radio ─ bleak ─ VirtualClient, VirtualScanner ─ central ─ LocalLink ─ Peripheral
                                     (one Bumble device)                (one each)

The only file that imports Bumble. Part of the product: `fasciwatch demo` runs the real path through it.

Rules:

* No kernel, no D-Bus, no root, no file. Two `VirtualRadio` do not hear each other.
* Stricter than real adapters where they misbehave: a second scan at once, and a notification that does not
  fit the link, are errors.
* What real radios have and this one has not: connection intervals, loss, signal strength, supervision
  timeouts. The emulated wearables add delay and loss.
* When `VirtualRadio` is left, no task, timer or connection is left behind.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, ClassVar, Self
from uuid import UUID

from bleak.args import SizedBuffer
from bleak.assigned_numbers import gatt_char_props_to_strs
from bleak.backends.characteristic import BleakGATTCharacteristic
from bleak.backends.client import BaseBleakClient, NotifyCallback
from bleak.backends.descriptor import BleakGATTDescriptor
from bleak.backends.device import BLEDevice
from bleak.backends.scanner import AdvertisementData, AdvertisementDataCallback, BaseBleakScanner
from bleak.backends.service import BleakGATTService, BleakGATTServiceCollection
from bleak.exc import BleakError, BleakGATTProtocolError
from bleak.uuids import normalize_uuid_str

from firmware_interface.ble import Backend
from firmware_interface.errors import RadioError

try:
    import bumble.colors
except ModuleNotFoundError as missing:
    raise RadioError(
        "the virtual radio needs Bumble, which is not installed", 'Run `pip install "fasciwatch[demo]"`'
    ) from missing
# Bumble formats a coloured line for every packet, logged or not: 870 notifications a second with, 1045 without.
# Before its other modules are imported, which take the function by name.
bumble.colors.color = lambda text, *_, **__: text

import bumble.device  # noqa: E402
import bumble.gatt_client  # noqa: E402
from bumble import att, core, gatt  # noqa: E402
from bumble.controller import Controller  # noqa: E402
from bumble.hci import Address  # noqa: E402
from bumble.host import Host  # noqa: E402
from bumble.link import LocalLink  # noqa: E402
from bumble.transport.common import AsyncPipeSink  # noqa: E402

MTU = 247
"""What current phones and boards agree on: 244 bytes a notification."""
_CENTRAL = "F0:F0:F0:F0:F0:F0"
_ACL_BYTES = 251
"""Bumble's default of 27 cuts a notification into ten, and costs half of the throughput."""
_ADVERTISE_MS = 50
_ANSWER_S = 1.0
_SETTLE_TURNS = 10
"""Turns of the event loop after which the last disconnection has gone through all of Bumble's layers."""


class RefusedError(Exception):
    """Raised by a handler of `Characteristic` to answer a request with an ATT error."""

    def __init__(self, code: int) -> None:
        super().__init__(f"ATT error 0x{code:02X}")
        self.code = code


@dataclass(frozen=True, slots=True)
class Characteristic:
    """One value that a peripheral offers; a handler that is None is not offered."""

    uuid: str
    read: Callable[[], bytes] | None = None
    write: Callable[[bytes], None] | None = None
    notify: bool = False
    indicate: bool = False
    unanswered: bool = False
    """Whether it can be written without a response only."""
    bonded: bool = False
    """Whether a host must have paired before it reads or writes."""


@dataclass(frozen=True, slots=True)
class Service:
    """A group of values."""

    uuid: str
    characteristics: tuple[Characteristic, ...]
    advertised: bool = True


class VirtualRadio:
    """Air, the adapter of this computer, and any number of peripherals in reach of it."""

    def __init__(self) -> None:
        self._link = LocalLink()  # type: ignore[no-untyped-call]
        self._peripherals: list[Peripheral] = []

    async def __aenter__(self) -> Self:
        self._adapter, self.central = self._make("this computer", _CENTRAL)
        await self.central.power_on()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for peripheral in self._peripherals:
            await peripheral.vanish()
        await self.central.power_off()
        await _settle()
        self._link.controllers.clear()

    @property
    def backend(self) -> Backend:
        """What bleak, or `Radio`, takes in place of a real adapter."""
        air = self

        class VirtualClient(_Client):
            radio = air

        class VirtualScanner(_Scanner):
            radio = air

        return VirtualClient, VirtualScanner

    async def add_peripheral(self, name: str, address: str, services: Sequence[Service]) -> Peripheral:
        """A peripheral that advertises its services, and does so again after each connection."""
        _, device = self._make(name, address)
        peripheral = Peripheral(device, services)
        self._peripherals.append(peripheral)
        await device.power_on()
        await peripheral.appear()
        return peripheral

    async def dial(self, address: str) -> bumble.device.Connection:
        """Wait until the peripheral advertises, and connect. For the backend; others use bleak."""
        if self.central.is_le_connecting:
            raise BleakError("a connection is already being made")
        try:
            with _bumble():
                return await self.central.connect(Address(address))
        except BaseException:
            # Bumble's controller confirms that it was told to stop connecting, and does not stop.
            self._adapter.pending_le_connection = None
            await _settle()
            if connection := self.central.find_connection_by_bd_addr(Address(address)):
                await _hang_up(connection)
            raise

    def _make(self, name: str, address: str) -> tuple[Controller, bumble.device.Device]:
        controller = Controller(name, link=self._link, public_address=address)
        controller.le_acl_data_packet_length = _ACL_BYTES
        host = Host(controller, AsyncPipeSink(controller))
        return controller, bumble.device.Device(name=name, address=Address(address), host=host)


class Peripheral:
    """One peripheral, as its firmware sees it. Made by `VirtualRadio.add_peripheral`."""

    def __init__(self, device: bumble.device.Device, services: Sequence[Service]) -> None:
        self._device = device
        self._values: dict[str, gatt.Characteristic[bytes]] = {}
        self._visible = False
        self._changing = asyncio.Lock()
        self._chores: set[asyncio.Task[None]] = set()
        self.refusing = False
        """Whether links are dropped as soon as they are made."""
        device.add_services([self._build(service) for service in services])
        device.advertising_data = _advertisement(device.name, services)
        device.on(device.EVENT_CONNECTION, self._on_connection)

    @property
    def name(self) -> str:
        return self._device.name

    @property
    def address(self) -> str:
        return self._device.random_address.to_string(False)

    @property
    def connected(self) -> bool:
        return bool(self._device.connections)

    async def notify(self, uuid: str, data: bytes) -> bool:
        """Send `data` to whoever subscribed, by indication if that was asked for; whether anybody did.

        Raises:
            ValueError: it does not fit the link. A real stack would cut it short or send nothing.
        """
        value = self._values[normalize_uuid_str(uuid)]
        wanted = tuple(self._device.gatt_server.subscribers.items())
        subscribers = [(host, bits[value.handle][0]) for host, bits in wanted if any(bits.get(value.handle, b""))]
        for host, bits in subscribers:
            if len(data) > host.att_mtu - 3:
                raise ValueError(f"{len(data)} bytes do not fit a link of MTU {host.att_mtu}")
            await self._tell(host, value, data, bits)
        return bool(subscribers)

    async def _tell(self, host: att.Bearer, value: gatt.Characteristic[bytes], data: bytes, bits: int) -> None:
        if bits & gatt.ClientCharacteristicConfigurationBits.NOTIFICATION:
            await self._device.gatt_server.notify_subscriber(host, value, data)
            return
        with suppress(TimeoutError), _bumble():  # the host may leave without confirming
            async with asyncio.timeout(_ANSWER_S):
                await self._device.gatt_server.indicate_subscriber(host, value, data)

    async def disconnect(self) -> None:
        """Drop the link, and advertise again."""
        for connection in tuple(self._device.connections.values()):
            await _hang_up(connection)

    async def appear(self) -> None:
        """Advertise, from now on and after each connection."""
        self._visible = True
        await self._advertise()

    async def vanish(self) -> None:
        """Drop the link and stop advertising: out of reach, or out of battery."""
        self._visible = False
        async with self._changing:
            with _bumble():
                await self._device.stop_advertising()
        await self.disconnect()
        while self._chores:
            await asyncio.wait(self._chores)

    async def _advertise(self) -> None:
        async with self._changing:
            if self._visible and not self._device.connections:
                with _bumble():
                    await self._device.start_advertising(
                        advertising_interval_min=_ADVERTISE_MS, advertising_interval_max=_ADVERTISE_MS
                    )

    def _on_connection(self, connection: bumble.device.Connection) -> None:
        connection.on(connection.EVENT_DISCONNECTION, lambda _: self._soon("advertise", self._advertise()))
        if self.refusing:
            self._soon("refuse", _hang_up(connection))

    def _soon(self, what: str, chore: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(chore, name=f"{what} {self.name}")
        self._chores.add(task)
        task.add_done_callback(self._chores.discard)

    def _build(self, service: Service) -> gatt.Service:
        values = {normalize_uuid_str(value.uuid): _build(value) for value in service.characteristics}
        self._values |= values
        return gatt.Service(service.uuid, list(values.values()))


class _Client(BaseBleakClient):
    """bleak's view of one connection."""

    radio: ClassVar[VirtualRadio]

    def __init__(
        self,
        device: BLEDevice | str,
        *,
        services: set[str] | None,
        disconnected_callback: Callable[[], None] | None,
        timeout: float,
        **_: object,
    ) -> None:
        super().__init__(device, disconnected_callback=disconnected_callback, timeout=timeout)
        self._wanted = services
        self._connection: bumble.device.Connection | None = None
        self._gatt: bumble.gatt_client.Client | None = None
        self._callbacks: dict[int, Callable[[bytes], None]] = {}

    @property
    def name(self) -> str:
        return self.address

    @property
    def mtu_size(self) -> int:
        return int(self._gatt.mtu) if self._gatt else 23

    @property
    def is_connected(self) -> bool:
        return self._connection is not None

    async def connect(self, pair: bool, **_: object) -> None:
        if pair:
            raise BleakError("the virtual radio does not pair")
        async with asyncio.timeout(self._timeout):
            self._connection = await self.radio.dial(self.address)
            try:
                await self._discover(self._connection)
            except BaseException:
                await self.disconnect()
                raise

    async def _discover(self, connection: bumble.device.Connection) -> None:
        connection.on(connection.EVENT_DISCONNECTION, self._on_down)
        peer = bumble.device.Peer(connection)
        with _bumble():
            await peer.request_mtu(MTU)
            await peer.discover_all()  # type: ignore[no-untyped-call]
        self._gatt = peer.gatt_client
        self.services = BleakGATTServiceCollection()
        for service in peer.services:
            if not self._wanted or _uuid(service.uuid) in self._wanted:
                self._list(self.services, service)

    def _list(self, services: BleakGATTServiceCollection, found: bumble.gatt_client.ServiceProxy) -> None:
        service = BleakGATTService(found, found.handle, _uuid(found.uuid))
        services.add_service(service)
        for value in found.characteristics:
            properties = list(gatt_char_props_to_strs(int(value.properties)))
            characteristic = BleakGATTCharacteristic(
                value, value.handle, _uuid(value.uuid), properties, lambda: self.mtu_size - 3, service
            )
            services.add_characteristic(characteristic)
            for entry in value.descriptors:
                descriptor = BleakGATTDescriptor(entry, entry.handle, _uuid(entry.type), characteristic)
                services.add_descriptor(descriptor)

    async def disconnect(self) -> None:
        if self._connection:
            await _hang_up(self._connection)
            self._on_down(0)

    def _on_down(self, _: int) -> None:
        if self._connection is None:
            return
        self._connection = self._gatt = self.services = None
        self._callbacks.clear()
        if self._disconnected_callback:
            self._disconnected_callback()

    async def pair(self, *_: object, **__: object) -> None:
        if self._connection is None:
            raise BleakError("not connected")
        with _bumble():
            await self._connection.pair()

    async def unpair(self) -> None:
        raise NotImplementedError

    async def read_gatt_char(self, characteristic: BleakGATTCharacteristic, **_: object) -> bytearray:
        with _bumble():
            return bytearray(await self._up().read_value(characteristic.obj))

    async def read_gatt_descriptor(self, descriptor: BleakGATTDescriptor, **_: object) -> bytearray:
        with _bumble():
            return bytearray(await self._up().read_value(descriptor.obj))

    async def write_gatt_char(
        self, characteristic: BleakGATTCharacteristic, data: SizedBuffer, response: bool
    ) -> None:
        with _bumble():
            await self._up().write_value(characteristic.obj, bytes(data), response)

    async def write_gatt_descriptor(self, descriptor: BleakGATTDescriptor, data: SizedBuffer) -> None:
        with _bumble():
            await self._up().write_value(descriptor.obj, bytes(data), True)

    async def start_notify(
        self, characteristic: BleakGATTCharacteristic, callback: NotifyCallback, **_: object
    ) -> None:
        def on_value(value: bytes) -> None:
            callback(bytearray(value))

        with _bumble():
            await self._up().subscribe(characteristic.obj, on_value, "notify" in characteristic.properties)
        self._callbacks[characteristic.handle] = on_value

    async def stop_notify(self, characteristic: BleakGATTCharacteristic) -> None:
        with _bumble():
            await self._up().unsubscribe(characteristic.obj, self._callbacks.pop(characteristic.handle))

    def _up(self) -> bumble.gatt_client.Client:
        if self._gatt is None:
            raise BleakError("not connected")
        return self._gatt


class _Scanner(BaseBleakScanner):
    """bleak's view of the adapter."""

    radio: ClassVar[VirtualRadio]

    def __init__(
        self,
        detection_callback: AdvertisementDataCallback | None,
        service_uuids: list[str] | None,
        scanning_mode: str,
        **_: object,
    ) -> None:
        super().__init__(detection_callback, service_uuids)
        self._active = scanning_mode == "active"

    async def start(self) -> None:
        central = self.radio.central
        if central.is_scanning:
            raise BleakError("a scan is already running")
        self.seen_devices = {}
        central.on(central.EVENT_ADVERTISEMENT, self._on_advertisement)
        with _bumble():
            await central.start_scanning(active=self._active)

    async def stop(self) -> None:
        central = self.radio.central
        central.remove_listener(central.EVENT_ADVERTISEMENT, self._on_advertisement)
        with _bumble():
            await central.stop_scanning()

    def _on_advertisement(self, heard: bumble.device.Advertisement) -> None:
        name = heard.data.get(core.AdvertisingData.COMPLETE_LOCAL_NAME)
        listed = heard.data.get_all(core.AdvertisingData.COMPLETE_LIST_OF_128_BIT_SERVICE_CLASS_UUIDS)
        services = list(dict.fromkeys(_uuid(uuid) for uuids in listed for uuid in uuids))
        if self.is_allowed_uuid(services):
            address = heard.address.to_string(False)
            said = AdvertisementData(name, {}, {}, services, None, heard.rssi, (heard,))
            device = self.create_or_update_device(address, address, name, heard, said)
            self.call_detection_callbacks(device, said)


def _build(value: Characteristic) -> gatt.Characteristic[bytes]:
    kinds, rights = gatt.Characteristic.Properties, gatt.Characteristic.Permissions
    offered = (
        (value.read, kinds.READ, rights.READABLE),
        (value.write, kinds.WRITE_WITHOUT_RESPONSE if value.unanswered else kinds.WRITE, rights.WRITEABLE),
        (value.notify, kinds.NOTIFY, rights(0)),
        (value.indicate, kinds.INDICATE, rights(0)),
    )
    properties, permissions = kinds(0), rights(0)
    for offer, kind, right in offered:
        if offer:
            properties, permissions = properties | kind, permissions | right
    if value.bonded:
        permissions |= rights.READ_REQUIRES_AUTHENTICATION | rights.WRITE_REQUIRES_AUTHENTICATION
    return gatt.Characteristic(value.uuid, properties, permissions, _handlers(value))


def _handlers(value: Characteristic) -> gatt.CharacteristicValue[bytes]:
    def read(_: bumble.device.Connection) -> bytes:
        with _att_errors():
            return value.read() if value.read else b""

    def write(_: bumble.device.Connection, data: bytes) -> None:
        with _att_errors():
            if value.write:
                value.write(bytes(data))

    return gatt.CharacteristicValue(read, write)


def _advertisement(name: str, services: Sequence[Service]) -> bytes:
    kinds = core.AdvertisingData.Type
    fields: list[tuple[int, bytes]] = [(kinds.FLAGS, b"\x06"), (kinds.COMPLETE_LOCAL_NAME, name.encode())]
    uuids = b"".join(
        core.UUID(service.uuid).to_bytes(force_128=True) for service in services if service.advertised
    )
    return bytes(core.AdvertisingData([*fields, (kinds.COMPLETE_LIST_OF_128_BIT_SERVICE_CLASS_UUIDS, uuids)]))


def _uuid(uuid: core.UUID) -> str:
    return normalize_uuid_str(str(UUID(bytes=uuid.to_bytes(force_128=True)[::-1])))


async def _hang_up(connection: bumble.device.Connection) -> None:
    """Bounded: Bumble waits for ever for the end of a connection that the other side has just ended."""
    with suppress(BleakError, TimeoutError), _bumble():
        async with asyncio.timeout(_ANSWER_S):
            await connection.disconnect()


async def _settle() -> None:
    for _ in range(_SETTLE_TURNS):
        await asyncio.sleep(0)


@contextmanager
def _att_errors() -> Iterator[None]:
    try:
        yield
    except RefusedError as refused:
        raise att.ATT_Error(att.ErrorCode(refused.code)) from refused


@contextmanager
def _bumble() -> Iterator[None]:
    """Around all that awaits Bumble: its errors become bleak's, and a cancellation is ours or none.

    Bumble cancels the request in hand when a link goes down. And it uses `wait_for`, which before Python 3.12
    swallows a cancellation that meets the answer (https://github.com/python/cpython/issues/86296).
    """
    task = asyncio.current_task()
    before = task.cancelling() if task else 0
    try:
        yield
    except core.ProtocolError as error:
        raise BleakGATTProtocolError(error.error_code or 0) from error
    except core.BaseBumbleError as error:
        raise BleakError(str(error) or type(error).__name__) from error
    except asyncio.CancelledError as error:
        raise BleakError("the link went down") from error
    finally:
        if task and task.cancelling() > before:
            raise asyncio.CancelledError
