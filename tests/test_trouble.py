"""A scripted stretch of trouble: every minute of it is in the store, as data or as a gap with its reason.

It runs in virtual time (`virtual_time.py`): the real collector, link, decoder, detector and store, bleak and the
virtual radio; only the clocks are moved. Ten minutes of eight devices at once are of real time.
"""

import asyncio
import itertools
import time
from contextlib import AsyncExitStack

import pytest

from firmware_interface.ble import Connected, Radio
from firmware_interface.codecs.open_profile import OpenProfile
from firmware_interface.emulated.peripheral import WornWearable
from firmware_interface.samples import GapReason
from firmware_interface.virtual_radio import VirtualRadio
from monitor.clock import HostClock
from monitor.collector import Collector, Subject
from monitor.detection.settings import DetectorSettings
from monitor.store import Archive, Store
from tests import virtual_time
from tests.test_collector import FIRST, RATE, Setting, Wearing

MINUTE_NS = 60 * 10**9
END_NS = 1 << 62


class Wrist:
    """What is at one address: a wearable, until another one is worn in its place."""

    def __init__(self, air):
        self._air = air
        self._stack = AsyncExitStack()

    async def wear(self, name, **settings):
        await self.bare()
        self.wearable = Wearing(name, **settings)
        self.worn = await self._stack.enter_async_context(WornWearable(self._air, self.wearable, FIRST))

    async def bare(self):
        await self._stack.aclose()


async def disconnects(wrist):
    for _ in range(3):
        await wrist.worn.peripheral.disconnect()
        await asyncio.sleep(7)


async def stalls(wrist):
    for _ in range(2):
        wrist.worn.stall()
        await asyncio.sleep(9)


async def refuses(wrist):
    wrist.worn.peripheral.refusing = True
    await wrist.worn.peripheral.disconnect()
    await asyncio.sleep(25)
    wrist.worn.peripheral.refusing = False
    await asyncio.sleep(17)  # the longest that it may wait before it tries again


async def sends_garbage(wrist):
    for _ in range(20):
        await wrist.worn.send_garbage()
        await asyncio.sleep(0.2)


async def walks_away(wrist):
    await wrist.worn.vanish(40)


async def gets_a_new_battery(wrist):
    await wrist.worn.peripheral.vanish()
    await asyncio.sleep(20)
    await wrist.worn.power_cycle()
    await wrist.worn.peripheral.appear()


async def is_swapped(wrist):
    await wrist.wear("spare", seed=2, loss=0.02)
    await asyncio.sleep(45)
    await wrist.wear("armband", loss=0.02)


TROUBLE = (disconnects, stalls, refuses, sends_garbage, walks_away, gets_a_new_battery, is_swapped)


async def session(loop, folder, calm_s, rounds):
    """(begin, end, what was told); the trouble in turns, with calm before each and after the last."""
    told, clock = [], HostClock(loop.reading)
    store = Store.open(folder)
    store.begin(now_ns=clock.utc_ns(), version="trouble", settings={})
    begun_ns = clock.utc_ns()
    async with VirtualRadio() as air:
        wrist = Wrist(air)
        await wrist.wear("armband", loss=0.02)
        radio = Radio([OpenProfile], air.backend)
        collector = Collector(radio, store, [Subject(FIRST)], DetectorSettings(), clock)
        task = asyncio.create_task(collector.run(lambda *what: told.append(what)))
        for trouble in TROUBLE * rounds:
            await asyncio.sleep(calm_s)
            await trouble(wrist)
        await asyncio.sleep(calm_s)
        ended_ns = clock.utc_ns()
        task.cancel()
        await asyncio.wait((task,))
        assert task.cancelled(), task.exception()
        await wrist.bare()
    store.close(clock.utc_ns())
    return begun_ns, ended_ns, told


def spans(folder, name, stream):
    """(start, end, what) of a stream, in order: observed minutes cannot be placed more finely than a minute."""
    with Archive.open(folder) as archive:
        (known,) = [known for known in archive.devices() if known.device.name == name]
        gaps = [gap for _, gap in archive.gaps(0, END_NS, known.id) if gap.stream.name == stream]
        minutes = [minute for _, minute in archive.minutes(0, END_NS, known.id)]
    return gaps, minutes, known


def check_account(folder, name, begun_ns, ended_ns):
    """Minute by minute: what was observed and what is in gaps make up the minute, less what lies at the ends."""
    gaps, minutes, known = spans(folder, name, "emg")
    assert all(a.end_ns <= b.start_ns for a, b in itertools.pairwise(gaps))
    observed_s = {minute.start_ns: minute.observed_s for minute in minutes if minute.channel == "FDI"}
    first_ns, last_ns = min(observed_s), known.accounted_ns["emg"]
    for start_ns in range(first_ns + MINUTE_NS, last_ns - MINUTE_NS, MINUTE_NS):
        end_ns = start_ns + MINUTE_NS
        gap_s = sum(max(min(g.end_ns, end_ns) - max(g.start_ns, start_ns), 0) for g in gaps) * 1e-9
        whole_s = observed_s.get(start_ns, 0.0) + gap_s
        assert whole_s == pytest.approx(60, abs=0.2), (start_ns, observed_s.get(start_ns), gap_s)
    total_s = sum(observed_s.values()) + sum(gap.end_ns - gap.start_ns for gap in gaps) * 1e-9
    assert total_s == pytest.approx((last_ns - first_ns + first_ns % 1) * 1e-9, abs=61)
    return gaps, last_ns


def trouble(monkeypatch, folder, calm_s, rounds, minutes):
    result = {}

    async def scenario(loop):
        result["span"] = await session(loop, folder, calm_s, rounds)

    virtual_time.run(monkeypatch, scenario)
    begun_ns, ended_ns, told = result["span"]
    assert ended_ns - begun_ns >= minutes * MINUTE_NS
    gaps, last_ns = check_account(folder, "armband", begun_ns, ended_ns)
    assert ended_ns - last_ns < 2e9
    reasons = {gap.reason for gap in gaps}
    assert reasons >= {GapReason.LOST, GapReason.DISCONNECTED, GapReason.STALLED}
    assert sum(isinstance(what, Connected) for _, what in told) >= 10 * rounds
    for device in ("armband", "spare"):
        assert spans(folder, device, "emg")[1], device


def test_minutes_of_trouble(monkeypatch, tmp_path):
    trouble(monkeypatch, tmp_path, calm_s=4, rounds=1, minutes=3)


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_an_hour_of_trouble(monkeypatch, tmp_path):
    trouble(monkeypatch, tmp_path, calm_s=40, rounds=8, minutes=60)


# Eight at once --------------------------------------------------------------------------------------------------

EIGHT = [f"C4:5A:00:00:01:{number:02X}" for number in range(8)]


async def eight(folder, seconds, read=None):
    """None is starved: each delivers what it sends, and every sample is in the account."""
    async with VirtualRadio() as air, AsyncExitStack() as stack:
        wearables = [Wearing(f"device {n}", seed=n) for n in range(8)]
        for wearable, address in zip(wearables, EIGHT, strict=True):
            await stack.enter_async_context(WornWearable(air, wearable, address))
        setting = Setting(folder, air)
        setting.clocks = read or setting.clocks
        async with setting.collecting(*EIGHT) as collector:
            async with asyncio.timeout(60):
                while any(view.link != "streaming" for view in collector.views()):  # noqa: ASYNC110
                    await asyncio.sleep(0.1)
            before, began_ns = heard(setting), time.monotonic_ns()
            await asyncio.sleep(seconds)
            took_s = (time.monotonic_ns() - began_ns) * 1e-9
            received = [after - first for after, first in zip(heard(setting), before, strict=True)]
            assert all(view.loss < 0.001 for view in collector.views())
    expected = took_s * (RATE["emg"] / 58 + RATE["acc"] / 38)
    assert min(received) > 0.95 * expected - 5, (received, expected)
    for wearable, address in zip(wearables, EIGHT, strict=True):
        setting.account(wearable.device.name).has_all(setting.radio, address)


def heard(setting):
    return [len(setting.radio._data(address)) for address in EIGHT]


def test_eight_devices_at_once(monkeypatch, tmp_path):
    """In virtual time: who is served, and not how fast."""
    virtual_time.run(monkeypatch, lambda loop: eight(tmp_path, 5, loop.reading))


@pytest.mark.long
@pytest.mark.timeout(900)
async def test_eight_devices_at_once_for_ten_minutes(tmp_path):
    """In real time, on what this computer has."""
    await eight(tmp_path, 600)
