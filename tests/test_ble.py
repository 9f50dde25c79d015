"""Links as the collector sees them, through the real bleak API, over the virtual radio."""

import asyncio
import sys
import time
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from bleak.exc import (
    BleakBluetoothNotAvailableError,
    BleakBluetoothNotAvailableReason,
    BleakCharacteristicNotFoundError,
    BleakDBusError,
    BleakError,
    BleakGATTProtocolError,
)

from firmware_interface import ble
from firmware_interface.ble import Connected, Lost, Overflow, Radio
from firmware_interface.codecs import Device
from firmware_interface.codecs.open_profile import CONTROL, DATA, INFO, STATUS, Opcode, OpenProfile
from firmware_interface.codecs.open_profile import SERVICE as OPEN_PROFILE
from firmware_interface.emulated.peripheral import WornWearable
from firmware_interface.emulated.wearable import Wearable, WearableSettings
from firmware_interface.errors import RadioError
from firmware_interface.samples import GapReason, Notification, Packet, Sensor, Stream, Unit
from firmware_interface.virtual_radio import Characteristic, Service, VirtualRadio
from tests.test_wearable import CountingBody, assert_pattern

FIRST, SECOND = "C4:5A:00:00:00:01", "C4:5A:00:00:00:02"


@pytest.fixture
async def air():
    async with VirtualRadio() as air:
        yield air
    assert {task for task in asyncio.all_tasks() if task is not asyncio.current_task()} == set()


@pytest.fixture
def radio(air):
    return Radio([OpenProfile], air.backend)


def emulate(**settings):
    return Wearable(WearableSettings(**settings), CountingBody(), 1, time.monotonic_ns())


@pytest.fixture
def wearable():
    return emulate()


@pytest.fixture
async def worn(air, wearable):
    async with WornWearable(air, wearable, FIRST) as worn:
        yield worn


class Log:
    """Takes what a link hands over, and waits for what a test expects."""

    def __init__(self):
        self.items = []
        self._more = asyncio.Event()

    async def take(self, item):
        self.items.append(item)
        self._more.set()

    def of(self, kind):
        return [item for item in self.items if isinstance(item, kind)]

    def packets(self, stream="emg"):
        if not self.of(Connected):
            return []
        codec = self.of(Connected)[0].codec
        decoded = [item for each in self.of(Notification) for item in codec.decode(each)]
        return [item for item in decoded if isinstance(item, Packet) and item.stream == stream]

    async def until(self, condition, seconds=8):
        async with asyncio.timeout(seconds):
            while not condition(self):
                self._more.clear()
                await self._more.wait()


@asynccontextmanager
async def following(radio, handle, address=FIRST):
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(radio.follow(address, handle))
        yield task
        task.cancel()


class Board:
    """A board of the open profile that sends what a test makes it send."""

    def __init__(self, info, bonded=False):
        self.info = info
        self.bonded = bonded
        self.requests = []
        self.started = asyncio.Event()

    def write(self, request):
        self.requests.append(request)
        self.started.set()

    @property
    def service(self):
        return Service(
            OPEN_PROFILE,
            (
                Characteristic(INFO, read=lambda: self.info, bonded=self.bonded),
                Characteristic(CONTROL, write=self.write, indicate=True),
                Characteristic(DATA, notify=True),
                Characteristic(STATUS, notify=True),
            ),
        )


async def test_a_scan_names_the_device_and_its_family(air, radio, worn):
    await air.add_peripheral("stranger", SECOND, [Service("0000180f-0000-1000-8000-00805f9b34fb", ())])
    found = {sighting.address: sighting for sighting in await radio.scan(1)}
    assert (found[FIRST].name, found[FIRST].codec) == ("fasciwatch demo", OpenProfile)
    assert found[FIRST].services == (OPEN_PROFILE,)
    assert found[FIRST].rssi < 0
    assert found[SECOND].codec is None


async def test_every_sample_is_delivered_once_in_order_and_right(radio, worn, wearable):
    log = Log()
    began_ns = time.monotonic_ns()
    async with following(radio, log.take, FIRST.lower()):
        await log.until(lambda log: len(log.packets()) > 20 and len(log.packets("acc")) > 3)
    connected = log.items[0]
    assert isinstance(connected, Connected)
    assert connected.device == wearable.device
    assert not log.of(Lost) + log.of(Overflow)
    for stream, rate in (("emg", 1000), ("acc", 100)):
        received = log.packets(stream)
        position = received[0].index
        for packet in received:
            assert packet.index == position
            assert_pattern(packet)
            position += packet.counts.shape[1]
        assert position - received[0].index > 1.0 * rate
    arrivals = [item.arrival_ns for item in log.of(Notification)]
    assert began_ns < connected.at_ns < arrivals[0]
    assert arrivals == sorted(arrivals)


async def test_lost_packets_are_exactly_accounted_for_by_the_index(air, radio):
    wearable = emulate(loss=0.2)
    log = Log()
    async with WornWearable(air, wearable, FIRST), following(radio, log.take):
        await log.until(lambda log: len(log.of(Notification)) > 30)
    started = next(item for each in log.of(Notification) for item in wearable.codec.decode(each))
    packets = log.packets()
    received = sum(packet.counts.shape[1] for packet in packets)
    end = packets[-1].index + packets[-1].counts.shape[1]
    lost = packets[-1].sequence + 1 - len(packets)
    assert lost > 0
    assert received + lost * packets[0].counts.shape[1] == end - started.index <= wearable.sent["emg"]


async def test_after_an_unplanned_disconnect_the_index_continues(radio, worn, wearable):
    log = Log()
    async with following(radio, log.take):
        await log.until(lambda log: len(log.packets()) > 5)
        await worn.peripheral.disconnect()
        await log.until(lambda log: len(log.of(Connected)) == 2)
        again = len(log.items)
        await log.until(lambda log: len(log.items) > again + 10)
    lost, *others = log.of(Lost)
    assert (lost.reason, others) == (GapReason.DISCONNECTED, [])
    assert isinstance(log.items[log.items.index(lost) + 1], Connected)
    steps = [b.index - a.index for a, b in zip(log.packets(), log.packets()[1:], strict=False)]
    assert min(steps) == 58
    assert sum(step != 58 for step in steps) == 1  # the time without a link, and nothing else
    for packet in log.packets():
        assert_pattern(packet)


async def test_a_device_that_vanishes_is_found_again(monkeypatch, radio, worn):
    monkeypatch.setattr(ble, "_FIND_S", 0.2)
    log = Log()
    async with following(radio, log.take):
        await log.until(lambda log: log.of(Notification))
        await worn.vanish(1.5)
        await log.until(lambda log: len(log.of(Connected)) == 2)
    assert "not in reach" in log.of(Lost)[1].detail


async def test_a_stalled_device_is_noticed_and_connected_anew(monkeypatch, radio, worn):
    monkeypatch.setattr(ble, "_STALL_S", 1.5)
    log = Log()
    async with following(radio, log.take):
        await log.until(lambda log: log.of(Notification))
        worn.stall()
        await log.until(lambda log: log.of(Lost))
        last = log.of(Notification)[-1]
        await log.until(lambda log: log.of(Connected)[1:] and log.items[-1].__class__ is Notification)
    lost = log.of(Lost)[0]
    assert lost.reason is GapReason.STALLED
    assert 1.5e9 <= lost.at_ns - last.arrival_ns < 2.5e9


async def test_a_device_that_sends_only_its_status_stalls(monkeypatch, air, radio):
    monkeypatch.setattr(ble, "_STALL_S", 2.5)

    class Deaf(Wearable):
        """Its converter stands still after twenty packets; the rest of it goes on."""

        packets = 0

        def advance(self, until_ns):
            heard = []
            for each in super().advance(until_ns):
                self.packets += each.characteristic == DATA
                if each.characteristic == STATUS or self.packets <= 20:
                    heard.append(each)
            return heard

    log = Log()
    wearable = Deaf(WearableSettings(), CountingBody(), 1, time.monotonic_ns())
    async with WornWearable(air, wearable, FIRST), following(radio, log.take):
        await log.until(lambda log: log.of(Lost))
    lost, said = log.of(Lost)[0], log.of(Notification)
    last = next(each for each in reversed(said) if each.characteristic == DATA)
    assert lost.reason is GapReason.STALLED
    assert lost.detail.startswith("no samples for 2.")
    assert 2.5e9 <= lost.at_ns - last.arrival_ns < 3.5e9
    assert sum(each.characteristic == STATUS and each.arrival_ns > last.arrival_ns for each in said) >= 2


async def test_a_device_that_never_sends_stalls_after_its_grace(air, radio, wearable):
    await air.add_peripheral("mute", FIRST, [Board(wearable.info).service])
    log = Log()
    async with following(radio, log.take):
        await log.until(lambda log: log.of(Lost))
    assert log.of(Lost)[0].reason is GapReason.STALLED
    assert 2e9 <= log.of(Lost)[0].at_ns - log.of(Connected)[0].at_ns < 3e9


async def test_garbage_passes_untouched(radio, worn):
    log = Log()
    async with following(radio, log.take):
        await log.until(lambda log: log.of(Notification))
        await worn.send_garbage()
        await log.until(lambda log: any(item.data == b"\xff" * 20 for item in log.of(Notification)))
        await asyncio.sleep(0.3)
    assert not log.of(Lost)


async def test_refused_connections_are_tried_again(radio, worn):
    worn.peripheral.refusing = True
    log = Log()
    async with following(radio, log.take):
        await log.until(lambda log: len(log.of(Lost)) == 2)
        worn.peripheral.refusing = False
        await log.until(lambda log: log.of(Notification))
    assert not log.of(Connected)[1:]
    assert {lost.reason for lost in log.of(Lost)} == {GapReason.DISCONNECTED}


async def test_malformed_info_is_told_and_tried_again(air, radio, wearable):
    board = Board(b"\x01\x10")
    await air.add_peripheral("bad", FIRST, [board.service])
    log = Log()
    async with following(radio, log.take):
        await log.until(lambda log: len(log.of(Lost)) == 2)
        board.info = wearable.info
        await log.until(lambda log: log.of(Connected))
    assert "cut short" in log.of(Lost)[0].detail


async def test_a_device_of_no_family_is_told(air, radio):
    await air.add_peripheral("stranger", FIRST, [Service("0000180f-0000-1000-8000-00805f9b34fb", ())])
    log = Log()
    async with following(radio, log.take):
        await log.until(lambda log: log.of(Lost))
    assert log.of(Lost)[0].detail.startswith("stranger offers no service that this program knows; if its firmware")


async def test_overflow_is_counted_where_it_happened(monkeypatch, air, radio, wearable):
    """The handler hangs on the first of 300 notifications; the queue takes 256; then 10 more come."""
    monkeypatch.setattr(ble, "_QUEUE", 256)
    fast = Board(wearable.info)
    board = await air.add_peripheral("fast", FIRST, [fast.service])
    log, go_on = Log(), asyncio.Event()

    async def handle(item):
        await log.take(item)
        if isinstance(item, Notification):
            await go_on.wait()

    async def send(numbers):
        for number in numbers:
            await board.notify(DATA, number.to_bytes(2, "little"))
            await asyncio.sleep(0)

    async with following(radio, handle):
        await fast.started.wait()
        await send(range(300))
        await log.until(lambda log: log.of(Notification))
        await asyncio.sleep(0.1)
        go_on.set()
        await log.until(lambda log: len(log.of(Notification)) == 257)
        await send(range(300, 310))
        await log.until(lambda log: len(log.of(Notification)) == 267)
    (overflow,) = log.of(Overflow)
    at = log.items.index(overflow)
    numbers = [int.from_bytes(item.data, "little") for item in log.of(Notification)]
    assert overflow.lost == 300 - 257
    assert numbers == [*range(257), *range(300, 310)]
    assert log.items[at - 1].data == (256).to_bytes(2, "little")
    assert log.items[at - 1].arrival_ns < overflow.at_ns < log.items[at + 1].arrival_ns


@pytest.fixture
async def board(air, wearable):
    board = Board(wearable.info)
    board.peripheral = await air.add_peripheral("board", FIRST, [board.service])
    return board


def opcodes(board):
    return [request[0] for request in board.requests]


async def test_stop_is_sent_on_cancellation(board, radio):
    log = Log()
    async with following(radio, log.take):
        await board.started.wait()
        assert opcodes(board) == [Opcode.START]
    assert opcodes(board) == [Opcode.START, Opcode.STOP]
    assert not board.peripheral.connected


async def test_what_the_handler_raises_is_raised_and_stop_is_sent(board, radio):
    """An OSError too, though the radio raises those and retries: a full disk is not a lost link."""

    async def handle(item):
        if isinstance(item, Notification):
            raise OSError("disk full")

    async def talk():
        while True:
            await board.peripheral.notify(DATA, b"x")
            await asyncio.sleep(0.01)

    talking = asyncio.create_task(talk())
    with pytest.raises(OSError, match="disk full"):
        await radio.follow(FIRST, handle)
    talking.cancel()
    await asyncio.wait((talking,))
    assert opcodes(board) == [Opcode.START, Opcode.STOP]
    assert not board.peripheral.connected


async def test_two_devices_at_once(air, radio):
    first, second = emulate(name="left"), emulate(name="right")
    left, right = Log(), Log()
    async with (
        WornWearable(air, first, FIRST),
        WornWearable(air, second, SECOND),
        following(radio, left.take),
        following(radio, right.take, SECOND),
    ):
        for log in (left, right):
            await log.until(lambda log: len(log.packets()) > 20)
    for log, name in ((left, "left"), (right, "right")):
        assert log.of(Connected)[0].device.name == name
        assert not log.of(Lost) + log.of(Overflow)
        for packet in log.packets():
            assert_pattern(packet)


async def test_scans_and_connections_take_turns(monkeypatch, radio, worn):
    """The virtual radio refuses a second scan; none is made, however many ask."""
    monkeypatch.setattr(ble, "_FIND_S", 0.2)
    monkeypatch.setattr(ble, "_CONNECT_S", 0.5)
    log = Log()
    async with following(radio, log.take), following(radio, log.take), asyncio.TaskGroup() as scans:
        for _ in range(3):
            scans.create_task(radio.scan(0.1))
        await log.until(lambda log: log.of(Connected))
    assert not [lost for lost in log.of(Lost) if "scan" in lost.detail]


def failing(air, faults):
    """A backend whose scans fail with `faults`, one after the other, and then work."""
    client, scanner = air.backend

    class Failing(scanner):
        async def start(self):
            if faults:
                raise faults.pop(0)
            await super().start()

    return client, Failing


OFF = BleakBluetoothNotAvailableError("No powered adapters.", BleakBluetoothNotAvailableReason.POWERED_OFF)
NO_SERVICE = BleakDBusError("org.freedesktop.DBus.Error.ServiceUnknown", ["org.bluez was not provided"])
BUSY = BleakDBusError("org.bluez.Error.InProgress", ["Operation already in progress"])


@pytest.mark.parametrize("fault", [OFF, NO_SERVICE, BleakError("Unsupported platform"), ConnectionRefusedError()])
@pytest.mark.parametrize("attempt", [lambda radio: radio.follow(FIRST, Log().take), lambda radio: radio.scan(0.1)])
async def test_no_adapter_at_first_is_an_error_of_one_line_with_a_remedy(air, fault, attempt):
    with pytest.raises(RadioError) as caught:
        await attempt(Radio([OpenProfile], failing(air, [fault])))
    assert "\n" not in str(caught.value)
    assert ".." not in str(caught.value)
    assert "fasciwatch demo" in caught.value.remedy


async def test_a_busy_adapter_is_tried_again_even_at_first(air, worn):
    radio, log = Radio([OpenProfile], failing(air, [BUSY])), Log()
    async with following(radio, log.take):
        await log.until(lambda log: log.of(Connected))
    assert "InProgress" in log.items[0].detail


async def test_an_adapter_lost_later_is_waited_for(air, worn):
    faults = []
    radio, log = Radio([OpenProfile], failing(air, faults)), Log()
    async with following(radio, log.take):
        await log.until(lambda log: log.of(Notification))
        faults += [OFF, OFF]
        await worn.peripheral.disconnect()
        await log.until(lambda log: len(log.of(Connected)) == 2)
    assert [lost.detail for lost in log.of(Lost)[1:]] == ["No powered adapters"] * 2


@pytest.mark.skipif(sys.platform != "linux", reason="D-Bus")
async def test_no_d_bus_is_an_error_of_one_line(monkeypatch):
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nonexistent")
    with pytest.raises(RadioError) as caught:
        await Radio([OpenProfile]).scan(0.1)
    assert str(caught.value) == (
        "Bluetooth cannot be reached through D-Bus: No such file or directory."
        " Run `systemctl start bluetooth` and `rfkill unblock bluetooth`;"
        " `fasciwatch demo` needs no Bluetooth"
    )


def test_back_off_grows_to_16_s_and_no_further():
    for failures, ceiling in ((0, 0.5), (1, 1), (5, 16), (6, 16), (1_000_000, 16)):
        delays = [ble._backoff_s(failures) for _ in range(300)]
        assert 0.25 <= min(delays) < 0.25 + 0.1 * ceiling
        assert 0.9 * ceiling < max(delays) <= ceiling


def test_a_device_may_be_silent_for_3_s_or_4_packets():
    slow = Stream("acc", Sensor.ACC, Unit.G, 1.0, 10.0, ("x", "y", "z"))
    fast = replace(slow, name="emg", rate_hz=1000.0)
    assert ble._patience_s(Device("", "", "", (fast,))) == 3
    assert ble._patience_s(Device("", "", "", (slow,))) == pytest.approx(4 * 244 / 60)


# What a person must mend -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "platform", "said"),
    [
        (BleakGATTProtocolError(0x05), "linux", f"bluetoothctl pair {FIRST}"),
        (BleakGATTProtocolError(0x0F), "win32", "pair it in Settings"),
        (ble._StrangerError("x"), "linux", "delete /var/lib/bluetooth/*/cache/"),
        (BleakCharacteristicNotFoundError(INFO), "darwin", "turn Bluetooth off and on"),
        (ble._AbsentError("x"), "darwin", "the UUID that `fasciwatch scan` shows"),
        (BleakError("Thread is configured for Windows GUI but callbacks are not working."), "win32", "terminal"),
        (BUSY, "linux", "close it"),
    ],
)
def test_what_a_person_must_mend_is_said(monkeypatch, fault, platform, said):
    monkeypatch.setattr(ble, "_PLATFORM", platform)
    told = ble._explain(fault, FIRST)
    assert said in told
    assert "\n" not in told


async def test_a_device_that_wants_a_bond_is_paired_with(air, radio, wearable):
    board = Board(wearable.info, bonded=True)
    await air.add_peripheral("board", FIRST, [board.service])
    log = Log()
    async with following(radio, log.take):
        await log.until(lambda log: log.of(Connected))
        await board.started.wait()
    assert not log.of(Lost)


async def test_a_device_can_be_followed_by_the_name_that_it_advertises(radio, worn):
    """An address is this computer's alone: macOS hides the true one."""
    log = Log()
    async with following(radio, log.take, "Fasciwatch Demo"):
        await log.until(lambda log: log.of(Connected))
    assert log.of(Connected)[0].address == FIRST
    assert log.of(Connected)[0].rssi < 0


async def test_a_device_introduces_itself_and_nothing_is_started(monkeypatch, board, radio, wearable):
    monkeypatch.setattr(ble, "_FIND_S", 0.3)
    assert await radio.introduce(FIRST) == wearable.device
    assert Opcode.START not in opcodes(board)
    with pytest.raises(RadioError, match="not in reach"):
        await radio.introduce(SECOND)


async def test_a_device_that_is_away_holds_up_nobody(monkeypatch, air, radio):
    """The one scanner listens for both: the other is connected long before the search is given up."""
    monkeypatch.setattr(ble, "_FIND_S", 5.0)
    log, away = Log(), Log()
    async with following(radio, away.take, SECOND), WornWearable(air, emulate(), FIRST):
        await asyncio.sleep(0.2)
        async with following(radio, log.take):
            await log.until(lambda log: log.of(Notification), seconds=3)
    assert not away.items
