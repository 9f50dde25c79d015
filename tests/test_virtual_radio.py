"""bleak's own API over the virtual radio."""

import asyncio
import importlib
import sys

import pytest
from bleak import BleakClient, BleakScanner
from bleak.exc import BleakError, BleakGATTProtocolError, BleakGATTProtocolErrorCode

from firmware_interface.errors import RadioError
from firmware_interface.virtual_radio import Characteristic, RefusedError, Service, VirtualRadio

SERVICE = "6e400001-b5a3-f393-e0a9-e50e24dcca9e"
VALUE = "6e400002-b5a3-f393-e0a9-e50e24dcca9e"
TOLD = "6e400003-b5a3-f393-e0a9-e50e24dcca9e"
ASKED = "6e400004-b5a3-f393-e0a9-e50e24dcca9e"
ADDRESS = "C4:5A:00:00:00:01"


class Board:
    """Remembers what was written."""

    def __init__(self):
        self.written = []

    def write(self, data):
        if not data:
            raise RefusedError(0x0D)
        self.written.append(data)

    @property
    def service(self):
        return Service(
            SERVICE,
            (
                Characteristic(VALUE, read=lambda: bytes(range(256)) * 2, write=self.write),
                Characteristic(TOLD, notify=True),
                Characteristic(ASKED, indicate=True),
            ),
        )


@pytest.fixture
async def radio():
    async with VirtualRadio() as radio:
        yield radio
    assert {task for task in asyncio.all_tasks() if task is not asyncio.current_task()} == set()


@pytest.fixture
def board():
    return Board()


@pytest.fixture
async def peripheral(radio, board):
    return await radio.add_peripheral("board", ADDRESS, [board.service])


async def find(radio, address=ADDRESS):
    _, scanner = radio.backend
    return await BleakScanner.find_device_by_address(address, timeout=0.4, backend=scanner)


async def client_of(radio, **options):
    client, _ = radio.backend
    return BleakClient(await find(radio) or ADDRESS, backend=client, **options)


async def test_a_scan_finds_name_and_services(radio, peripheral):
    _, scanner = radio.backend
    found = await BleakScanner.discover(0.2, return_adv=True, backend=scanner)
    device, said = found[ADDRESS]
    assert (device.name, said.local_name, said.service_uuids) == ("board", "board", [SERVICE])


async def test_a_scan_can_be_limited_to_services(radio, peripheral):
    _, scanner = radio.backend
    assert await BleakScanner.discover(0.2, service_uuids=[VALUE], backend=scanner) == []
    assert len(await BleakScanner.discover(0.2, service_uuids=[SERVICE], backend=scanner)) == 1


async def test_a_second_scan_at_once_is_refused(radio):
    _, scanner = radio.backend
    async with BleakScanner(backend=scanner):
        with pytest.raises(BleakError):
            await BleakScanner(backend=scanner).start()


async def test_values_are_read_and_written(radio, peripheral, board):
    async with await client_of(radio) as client:
        assert client.mtu_size == 247
        assert await client.read_gatt_char(VALUE) == bytes(range(256)) * 2
        await client.write_gatt_char(VALUE, b"one", response=True)
        await client.write_gatt_char(VALUE, b"two", response=False)
        await client.write_gatt_char(VALUE, b"long" * 100, response=True)
    assert board.written == [b"one", b"two", b"long" * 100]


async def test_a_refused_write_is_a_gatt_error(radio, peripheral):
    async with await client_of(radio) as client:
        with pytest.raises(BleakGATTProtocolError) as caught:
            await client.write_gatt_char(VALUE, b"", response=True)
    assert caught.value.code is BleakGATTProtocolErrorCode.INVALID_ATTRIBUTE_VALUE_LENGTH


async def test_notifications_arrive_once_and_in_order(radio, peripheral):
    sent = [number.to_bytes(2, "little") + bytes(242) for number in range(500)]
    received = []
    async with await client_of(radio) as client:
        await client.start_notify(TOLD, lambda _, data: received.append(bytes(data)))
        for payload in sent:
            assert await peripheral.notify(TOLD, payload)
            await asyncio.sleep(0)
        await asyncio.sleep(0.1)
    assert received == sent


async def test_indications_arrive_too(radio, peripheral):
    received = []
    async with await client_of(radio) as client:
        await client.start_notify(ASKED, lambda _, data: received.append(bytes(data)))
        assert await peripheral.notify(ASKED, b"reply")
    assert received == [b"reply"]


async def test_nothing_is_sent_to_who_did_not_subscribe(radio, peripheral):
    received = []
    assert not await peripheral.notify(TOLD, b"nobody")
    async with await client_of(radio) as client:
        assert not await peripheral.notify(TOLD, b"too early")
        await client.start_notify(TOLD, lambda _, data: received.append(bytes(data)))
        assert await peripheral.notify(TOLD, b"now")
        await asyncio.sleep(0.05)
        await client.stop_notify(TOLD)
        assert not await peripheral.notify(TOLD, b"too late")
    assert received == [b"now"]


async def test_a_notification_that_does_not_fit_is_an_error(radio, peripheral):
    async with await client_of(radio) as client:
        await client.start_notify(TOLD, lambda *_: None)
        with pytest.raises(ValueError, match="245 bytes"):
            await peripheral.notify(TOLD, bytes(245))


async def test_an_unplanned_disconnect_is_told_and_the_board_advertises_again(radio, peripheral):
    down = asyncio.Event()
    async with await client_of(radio, disconnected_callback=lambda _: down.set()) as client:
        await peripheral.disconnect()
        async with asyncio.timeout(10):
            await down.wait()
        assert not client.is_connected
        with pytest.raises(BleakError):
            await client.read_gatt_char(VALUE)
    async with await client_of(radio) as client:
        assert client.is_connected


async def test_a_request_in_hand_when_the_link_drops_is_an_error_not_a_cancellation(radio):
    leaving = []

    def read():
        leaving.append(asyncio.get_running_loop().create_task(slow.disconnect()))
        raise TimeoutError  # Bumble logs it and never answers

    slow = await radio.add_peripheral("slow", ADDRESS, [Service(SERVICE, (Characteristic(VALUE, read=read),))])
    async with await client_of(radio) as client:
        with pytest.raises(BleakError, match="went down"):
            await client.read_gatt_char(VALUE)


async def test_an_absent_peripheral_is_a_timeout_and_nothing_connects_later(radio, peripheral):
    client = await client_of(radio, timeout=0.2)
    await peripheral.vanish()
    assert await find(radio) is None
    with pytest.raises(TimeoutError):
        await client.connect()
    await peripheral.appear()
    await asyncio.sleep(0.2)
    assert not peripheral.connected
    async with await client_of(radio) as client:
        assert peripheral.connected


async def test_a_connection_attempt_can_be_cancelled(radio, peripheral):
    client = await client_of(radio)
    await peripheral.vanish()
    attempt = asyncio.create_task(client.connect())
    await asyncio.sleep(0.05)
    attempt.cancel()
    await asyncio.wait((attempt,))
    await peripheral.appear()
    async with await client_of(radio) as client:
        assert client.is_connected


async def test_a_refusing_peripheral(radio, peripheral):
    peripheral.refusing = True
    with pytest.raises(BleakError):
        await (await client_of(radio)).connect()
    peripheral.refusing = False
    async with await client_of(radio) as client:
        assert client.is_connected


async def test_two_radios_do_not_hear_each_other(radio, peripheral):
    async with VirtualRadio() as other:
        assert await find(other) is None
        assert await find(radio) is not None


async def test_leaving_the_radio_ends_a_connection(board):
    down = asyncio.Event()
    async with VirtualRadio() as radio:
        await radio.add_peripheral("board", ADDRESS, [board.service])
        client = await client_of(radio, disconnected_callback=lambda _: down.set())
        await client.connect()
    assert down.is_set()
    assert not client.is_connected


def test_without_bumble_the_remedy_is_to_install_it(monkeypatch):
    monkeypatch.delitem(sys.modules, "firmware_interface.virtual_radio")
    monkeypatch.setitem(sys.modules, "bumble", None)
    monkeypatch.delitem(sys.modules, "bumble.colors")
    with pytest.raises(RadioError, match=r"fasciwatch\[demo\]"):
        importlib.import_module("firmware_interface.virtual_radio")
