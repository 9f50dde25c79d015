"""Through bleak's own API, the emulated wearable is a board with the open profile."""

import asyncio
import struct
import time

import pytest
from bleak import BleakClient, BleakScanner
from bleak.exc import BleakGATTProtocolError, BleakGATTProtocolErrorCode

from firmware_interface.codecs.open_profile import CONTROL, DATA, INFO, STATUS, TIME, Opcode, OpenProfile
from firmware_interface.emulated.peripheral import WornWearable
from firmware_interface.emulated.wearable import Wearable, WearableSettings
from firmware_interface.errors import PacketError
from firmware_interface.samples import Notification, Started, Status
from firmware_interface.virtual_radio import VirtualRadio
from tests.test_wearable import CountingBody, assert_pattern

ADDRESS = "C4:5A:00:00:00:01"
START = OpenProfile.START[0].data
STOP = OpenProfile.STOP[0].data


@pytest.fixture
async def air():
    async with VirtualRadio() as air:
        yield air


@pytest.fixture
def wearable():
    return Wearable(WearableSettings(name="armband"), CountingBody(), 1, time.monotonic_ns())


@pytest.fixture
async def worn(air, wearable):
    async with WornWearable(air, wearable, ADDRESS) as worn:
        yield worn


class Host:
    """A host that subscribed to everything."""

    def __init__(self, client):
        self.client = client
        self.received = []

    async def subscribe(self):
        for characteristic in OpenProfile.NOTIFY:
            await self.client.start_notify(characteristic, self._listener(characteristic))
        return self

    def _listener(self, characteristic):
        return lambda _, data: self.received.append(Notification(characteristic, bytes(data), 0))

    async def ask(self, request):
        """The reply from Control."""
        before = len(self.of(CONTROL))
        await self.client.write_gatt_char(CONTROL, request, response=True)
        async with asyncio.timeout(10):
            while len(self.of(CONTROL)) == before:  # noqa: ASYNC110 - a test
                await asyncio.sleep(0.01)
        return self.of(CONTROL)[-1].data

    def of(self, characteristic):
        return [each for each in self.received if each.characteristic == characteristic]


async def find(air, seconds=10):
    return await BleakScanner.find_device_by_address(ADDRESS, timeout=seconds, backend=air.backend[1])


@pytest.fixture
async def client(air, worn):
    async with BleakClient(await find(air), backend=air.backend[0]) as client:
        yield client


@pytest.fixture
async def host(client):
    return await Host(client).subscribe()


async def test_info_says_what_it_is(client, wearable):
    assert OpenProfile(bytes(await client.read_gatt_char(INFO))).device == wearable.device
    assert wearable.device.name == "armband"


async def test_it_is_silent_until_start(host):
    await asyncio.sleep(0.3)
    assert host.received == []


async def test_start_is_answered_before_the_first_data(host, wearable):
    reply = await host.ask(START)
    await asyncio.sleep(0.3)
    assert host.received[0].data == reply
    starts = {each.stream: each.index for each in wearable.codec.decode(host.received[0])}
    first = wearable.codec.decode(host.of(DATA)[0])[0]
    assert first.index == starts["emg"]
    assert_pattern(first)


async def test_status_comes_with_the_data(host, wearable):
    await host.ask(START)
    await asyncio.sleep(1.2)
    said = [item for each in host.of(STATUS) for item in wearable.codec.decode(each)]
    assert said == [Status(battery_percent=100, lead_off=(False, False))] * 2


async def test_stop_ends_the_data(host):
    await host.ask(START)
    await asyncio.sleep(0.2)
    assert (await host.ask(STOP))[2] == 0
    await asyncio.sleep(0.05)
    count = len(host.received)
    await asyncio.sleep(0.3)
    assert len(host.received) == count


@pytest.mark.parametrize(("request_", "result"), [(b"\x44\x07", 1), (bytes((Opcode.START, 7)), 2)])
async def test_errors_are_answered_with_the_reference(host, request_, result):
    assert await host.ask(request_) == bytes((request_[0] | 0x80, 7, result))


async def test_a_request_too_short_to_answer_is_refused(host):
    with pytest.raises(BleakGATTProtocolError) as caught:
        await host.client.write_gatt_char(CONTROL, b"\1", response=True)
    assert caught.value.code is BleakGATTProtocolErrorCode.INVALID_ATTRIBUTE_VALUE_LENGTH


async def test_time_reads_the_clock_at_the_last_write(client, wearable):
    before = wearable.device_us(time.monotonic_ns())
    await client.write_gatt_char(TIME, b"\0", response=True)
    after = wearable.device_us(time.monotonic_ns())
    await asyncio.sleep(0.05)
    assert before <= struct.unpack("<I", await client.read_gatt_char(TIME))[0] <= after


async def test_it_sends_in_real_time(host, wearable):
    await host.ask(START)
    ages_ns = []
    for _ in range(10):
        await asyncio.sleep(0.1)
        last = wearable.codec.decode(host.of(DATA)[-1])[0]
        ages_ns.append(time.monotonic_ns() - wearable.time_ns(last.stream, last.index + last.counts.shape[1] - 1))
    assert 0 < min(ages_ns) < 0.2e9  # a busy machine may look late, not each time


async def test_the_index_runs_on_without_a_link(air, worn, wearable, client):
    host = await Host(client).subscribe()
    await host.ask(START)
    await asyncio.sleep(0.2)
    last = wearable.codec.decode(host.of(DATA)[-1])[0]
    await worn.peripheral.disconnect()
    await asyncio.sleep(0.5)
    async with BleakClient(await find(air), backend=air.backend[0]) as again:
        host = await Host(again).subscribe()
        await asyncio.sleep(0.2)
        assert host.received == []  # the end of the link was the end of the sending
        reply = Notification(CONTROL, await host.ask(START), 0)
    emg, _ = wearable.codec.decode(reply)
    assert isinstance(emg, Started)
    assert emg.index > last.index + 700


async def test_a_power_cycle_ends_the_link_and_counts_from_zero(air, worn, wearable, client):
    await asyncio.sleep(0.3)
    before_ns = time.monotonic_ns()
    await worn.power_cycle()
    assert not client.is_connected
    async with BleakClient(await find(air), backend=air.backend[0]) as again:
        host = await Host(again).subscribe()
        emg, _ = wearable.codec.decode(Notification(CONTROL, await host.ask(START), 0))
    since_s = (time.monotonic_ns() - before_ns) / 1e9
    assert emg.index <= since_s * WearableSettings().rate_hz + 1  # not the third of a second before


async def test_it_vanishes_for_a_while(air, worn, client):
    vanishing = asyncio.create_task(worn.vanish(0.5))
    await asyncio.sleep(0.1)
    assert not client.is_connected
    assert await find(air, 0.2) is None
    await vanishing
    assert await find(air) is not None


async def test_a_stall_leaves_the_link_up_and_ends_with_start(host, worn):
    await host.ask(START)
    await asyncio.sleep(0.2)
    worn.stall()
    await asyncio.sleep(0.05)
    count = len(host.received)
    await asyncio.sleep(0.3)
    assert len(host.received) == count
    assert host.client.is_connected
    await host.ask(START)
    await asyncio.sleep(0.2)
    assert len(host.received) > count + 1


async def test_garbage_cannot_be_read(host, worn, wearable):
    await worn.send_garbage()
    await asyncio.sleep(0.1)
    with pytest.raises(PacketError):
        wearable.codec.decode(host.of(DATA)[-1])


async def test_nothing_is_left_behind(air, wearable):
    async with WornWearable(air, wearable, ADDRESS):
        names = {task.get_name() for task in asyncio.all_tasks()}
        assert "emulated wearable armband" in names
    assert await find(air, 0.2) is None
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_what_goes_wrong_inside_is_not_hidden(air, wearable, monkeypatch):
    monkeypatch.setattr(wearable, "advance", lambda _: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        async with WornWearable(air, wearable, ADDRESS):
            await asyncio.sleep(0.1)
