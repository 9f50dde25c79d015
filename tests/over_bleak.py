"""Emulated devices read through bleak on the virtual radio, faster than time passes: what tests of codecs share.

The bytes go the real way, through the code that holds a link. Only the arrival times are the emulated ones,
which come along in the order in which the radio keeps the notifications.
"""

import asyncio
from collections import deque
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from bleak import BleakClient, BleakScanner

from firmware_interface import ble
from firmware_interface.ble import Connected, Radio
from firmware_interface.decoder import Decoder
from firmware_interface.emulated.device import Imperfection
from firmware_interface.emulated.peripheral import WornDevice, services
from firmware_interface.samples import Gap, Notification, Packet, SampleBlock, Status
from firmware_interface.virtual_radio import VirtualRadio

ADDRESS = "C4:5A:00:00:00:07"
SECOND = 1_000_000_000
UTC_NS = 1_800_000_000 * SECOND
MODULUS = 8001
PERFECT = Imperfection(clock_skew_ppm=200)
LOSSY = Imperfection(clock_skew_ppm=200, loss=0.03)
_STEP_NS = SECOND // 4
_SETTLED_NS = 15 * SECOND
_SETTLED = 250
"""Times hold once so many notifications came, and so long went by: 15 s of most devices, 3 min of an OH1."""
_UNSETTLED_MS = 200
_UNDER_WAY_S = 0.02
"""For writes that nobody answers."""


def pattern(index, width):
    """What is measured at each `index`: no two within 8001 alike, on no two channels the same."""
    return np.array([(np.asarray(index) * 37 + channel * 101) % MODULUS - 4000 for channel in range(width)])


@dataclass(frozen=True)
class CountingSettings:
    rate_hz: float
    channels: tuple[str, ...]
    acc_rate_hz: float


class CountingBody:
    """Every value tells which sample it is; `emg` and `acc` are what one count stands for."""

    def __init__(self, rate_hz=1000.0, acc_rate_hz=100.0, width=1, emg=1.0, acc=0.001):
        self.settings = CountingSettings(rate_hz, tuple(f"c{n}" for n in range(width)), acc_rate_hz)
        self._width, self._emg_scale, self._acc_scale = width, emg, acc
        self._emg = self._acc = 0

    def emg_uv(self, samples):
        self._emg += samples
        return pattern(np.arange(self._emg - samples, self._emg), self._width) * self._emg_scale

    def acc_g(self, samples):
        self._acc += samples
        return pattern(np.arange(self._acc - samples, self._acc), 3) * self._acc_scale


@dataclass
class Heard:
    """What came out of the decoder, of one device."""

    device: object
    codec: object
    decoder: Decoder
    items: list
    notifications: int = 0
    settled_ns: int = _SETTLED_NS

    def of(self, stream):
        return [item for item in self.items if isinstance(item, SampleBlock | Gap) and item.stream.name == stream]

    @property
    def said(self):
        return [item for item in self.items if isinstance(item, Status)]

    def assert_account(self, stream, scale, tolerance, time_ms, *, exact=True):
        """Each sample once, in order, right in value, or reported missing; the times true. Returns the gaps."""
        items = self.of(stream)
        blocks = [item for item in items if isinstance(item, SampleBlock)]
        offset = self.offset(blocks[0], scale)
        position, received = blocks[0].first, 0
        for item in items:
            if isinstance(item, Gap):
                position += item.missing
                assert item.exact or not exact
                continue
            assert item.first == position
            index = np.arange(position, position + item.length) + offset
            wanted = pattern(index, len(item.stream.channels)) * scale
            np.testing.assert_allclose(item.physical, wanted, rtol=1e-6, atol=tolerance)
            self._assert_times(item, offset, time_ms)
            position += item.length
            received += item.length
        assert all(a.end_ns <= b.start_ns + 0.51e9 / b.stream.rate_hz for a, b in pairwise(items))
        gaps = [item for item in items if isinstance(item, Gap)]
        missing = sum(gap.missing for gap in gaps)
        unheard = self.device.sent[stream] - received - missing
        assert 0 <= unheard <= 0.06 * self.device.sent[stream] + 200  # before the first that came, after the last
        return gaps

    def assert_estimate(self, stream, scale, tolerance, time_ms, *, middle=0.0, reach=100):
        """Each sample once, in order, right in value; what is missing said to be an estimate, and within 1 % of
        what was sent; of the times 19 of 20 true. Returns the gaps."""
        items = self.of(stream)
        blocks = [item for item in items if isinstance(item, SampleBlock)]
        indices = [block.first + self.offset(block, scale, reach, middle) for block in blocks]
        for block, index in zip(blocks, indices, strict=True):
            wanted = pattern(index + np.arange(block.length), len(block.stream.channels)) * scale + middle
            np.testing.assert_allclose(block.physical, wanted, rtol=1e-6, atol=tolerance)
        ends = [index + block.length for block, index in zip(blocks, indices, strict=True)]
        assert all(end <= index for end, index in zip(ends, indices[1:], strict=False))
        gaps = [item for item in items if isinstance(item, Gap)]
        assert not any(gap.exact for gap in gaps)
        lost = ends[-1] - indices[0] - sum(block.length for block in blocks)
        assert abs(sum(gap.missing for gap in gaps) - lost) <= 0.01 * self.device.sent[stream]
        assert all(a.end_ns <= b.start_ns + 0.51e9 / b.stream.rate_hz for a, b in pairwise(items))
        true_ns = np.array([self.device.time_ns(stream, index) for index in indices])
        errors_ms = np.abs([b.start_ns - UTC_NS for b in blocks] - true_ns) * 1e-6
        settled = true_ns > self.settled_ns
        assert settled.any(), f"times hold after {_SETTLED} notifications: listen for longer"
        assert np.quantile(errors_ms[settled], 0.95) < time_ms, np.quantile(
            errors_ms[settled], [0.5, 0.9, 0.95, 1]
        )
        return gaps

    def offset(self, block, scale, reach=400, middle=0.0):
        """The device's index less ours: times tell it roughly, values exactly."""
        true_hz = self.device._channels[block.stream.name]._rate_hz
        about = round((block.start_ns - UTC_NS) * 1e-9 * true_hz)
        near = np.arange(max(about - reach, 0), about + reach)
        errors = np.abs(pattern(near, len(block.stream.channels)) * scale + middle - block.physical[:, :1]).max(
            axis=0
        )
        return int(near[errors.argmin()]) - block.first

    def _assert_times(self, block, offset, time_ms):
        for index in (block.first, block.first + block.length - 1):
            true_ns = self.device.time_ns(block.stream.name, index + offset)
            error_ms = (block.timebase.at(index) - UTC_NS - true_ns) * 1e-6
            assert abs(error_ms) < (time_ms if true_ns > self.settled_ns else _UNSETTLED_MS), (true_ns, error_ms)


async def listen(device, family, seconds, codec=None):
    """Scan, recognise, connect, introduce, start, hear for so long, stop."""
    async with VirtualRadio() as air:
        peripheral = await air.add_peripheral(device.name, ADDRESS, services(device))
        assert await sighted(Radio([family], air.backend)) is family
        found = await BleakScanner.find_device_by_address(ADDRESS, timeout=1, backend=air.backend[1])
        async with BleakClient(found, backend=air.backend[0]) as client:
            return await _Session(device, peripheral, client).run(family, seconds, codec)


async def sighted(radio):
    """The family of the only device in reach. It advertises now and then, and a busy machine may miss it."""
    async with asyncio.timeout(5):
        while not (sightings := await radio.scan(0.2)):
            pass
    (sighting,) = sightings
    return sighting.codec


class _Session:
    def __init__(self, device, peripheral, client):
        self._device, self._peripheral, self._client = device, peripheral, client
        self._inbox = ble._Inbox()
        self._arrivals = deque()
        self._now_ns = 0

    async def run(self, family, seconds, codec):
        await ble._subscribe(self._client, family, self._inbox)
        codec = codec or await self.converse(family.introduce(self._device.name))
        await self.converse(codec.start())
        heard = Heard(self._device, codec, Decoder(codec, UTC_NS), [])
        while self._now_ns < seconds * SECOND:
            await self._play(_STEP_NS)
            await self._hear(heard)
        await ble._write(self._client, family.STOP)
        await asyncio.sleep(_UNDER_WAY_S)
        await self._play(_STEP_NS)
        sent = dict(self._device.sent)
        await self._play(4 * _STEP_NS)
        assert not family.STOP or self._device.sent == sent
        await self._hear(heard)
        return heard

    async def converse(self, conversation):
        """Time passes meanwhile."""
        talk = asyncio.create_task(ble._converse(self._client, self._inbox, conversation))
        while not talk.done():
            await self._play(SECOND // 200)
            await asyncio.sleep(0.001)
        said, _ = await talk
        await asyncio.sleep(_UNDER_WAY_S)
        return said

    async def _play(self, step_ns):
        self._now_ns += step_ns
        for each in self._device.advance(self._now_ns):
            if await self._peripheral.notify(each.characteristic, each.data):
                self._arrivals.append(each.arrival_ns)

    async def _hear(self, heard):
        async with asyncio.timeout(5):
            while len(self._inbox._items) < len(self._arrivals):  # noqa: ASYNC110 - a test
                await asyncio.sleep(0)
        while self._inbox._items:
            item = replace(self._inbox._items.popleft(), arrival_ns=self._arrivals.popleft())
            heard.items += heard.decoder.feed(item)
            heard.notifications += 1
            if heard.notifications <= _SETTLED:
                heard.settled_ns = max(_SETTLED_NS, item.arrival_ns)


async def follow(air, device, family, until, seconds=8):
    """The device as the collector has it, in real time, until `until(link items)`; these."""
    items = []
    changed = asyncio.Event()

    async def take(item):
        items.append(item)
        changed.set()

    async with WornDevice(air, device, ADDRESS):
        link = asyncio.create_task(Radio([family], air.backend).follow(ADDRESS, take))
        try:
            async with asyncio.timeout(seconds):
                while not until(items):
                    changed.clear()
                    await changed.wait()
        finally:
            link.cancel()
            await asyncio.wait((link,))
    return items


def packets(items):
    """Those that a link handed over, read by the codec that it made."""
    connected = [item for item in items if isinstance(item, Connected)]
    codec = connected[0].codec if connected else None
    said = [item for item in items if isinstance(item, Notification)]
    return [item for each in said for item in codec.decode(each) if isinstance(item, Packet)]
