"""Throughput of the collector in notifications a second of one core, beside bare bleak on the same virtual radio.

    python -m benchmarks.link

A board of the open profile sends as fast as it is heard: a window of notifications is on its way, never more. Bare
bleak counts them in its callback; the collector queues, decodes and stores them. An ECG is not analysed: its row
is what the link costs. That of EMG has the detector's work in it, which grows with the samples. The two take
turns, the median of the rounds stands, and seconds are of CPU time, since the machine is shared.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median

import numpy as np
from bleak import BleakClient, BleakScanner

from firmware_interface.ble import Radio
from firmware_interface.codecs import Device
from firmware_interface.codecs.open_profile import CONTROL, DATA, INFO, SERVICE, STATUS, OpenProfile, describe
from firmware_interface.samples import Notification, Packet, Sensor, Stream, Unit
from firmware_interface.virtual_radio import Characteristic, Service, VirtualRadio
from monitor.clock import HostClock
from monitor.collector import Collector, Subject
from monitor.detection.settings import DetectorSettings
from monitor.store import Store

ADDRESS = "C4:5A:00:00:00:01"
ROUNDS = 3
NOTIFICATIONS = 2000
WARM_UP = 300
WINDOW = 256
CASES = {
    "ECG, 2 channels at 1500 Hz, 1 sample a packet (16 bytes), about real time": (Sensor.ECG, 1500.0, 2, 1),
    "ECG, 2 channels at 1000 Hz, 58 samples a packet (244 bytes)": (Sensor.ECG, 1000.0, 2, 58),
    "ECG, 4 channels at 200 Hz, 2 samples a packet (28 bytes)": (Sensor.ECG, 200.0, 4, 2),
    "EMG, 2 channels at 1000 Hz, 58 samples a packet (244 bytes)": (Sensor.EMG, 1000.0, 2, 58),
    "EMG, 4 channels at 200 Hz, 2 samples a packet (28 bytes)": (Sensor.EMG, 200.0, 4, 2),
}


class Board:
    """Sends packets of noise."""

    def __init__(self, sensor: Sensor, rate_hz: float, channels: int, samples: int) -> None:
        labels = tuple(f"c{n}" for n in range(channels))
        stream = Stream("s", sensor, Unit.MICROVOLT, 0.1, rate_hz, labels)
        self.info = describe(Device("board", "board", "1", (stream,)))
        codec, rng = OpenProfile(self.info), np.random.default_rng(1)
        noise = rng.normal(0, 40, (WARM_UP + NOTIFICATIONS, channels, samples)).astype(np.int16)
        times_ns = (np.arange(len(noise)) * samples / rate_hz * 1e9).astype(int).tolist()
        packets = (
            Packet("s", counts, n, n * samples, at_ns)
            for n, (counts, at_ns) in enumerate(zip(noise, times_ns, strict=True))
        )
        self.payloads = [codec.encode(packet)[1] for packet in packets]
        self.started = asyncio.Event()

    @asynccontextmanager
    async def on(self, air):
        value = Characteristic
        control = value(CONTROL, write=lambda _: self.started.set(), indicate=True)
        values = value(INFO, read=lambda: self.info), control, value(DATA, notify=True), value(STATUS, notify=True)
        self._peripheral = await air.add_peripheral("board", ADDRESS, [Service(SERVICE, values)])
        yield

    async def send(self, heard) -> float:
        """Notifications a second of CPU, from the end of the warm-up to when the last one is `heard`."""
        await self.started.wait()
        began_s = 0.0
        for sent, payload in enumerate(self.payloads):
            while sent - heard() > WINDOW:  # noqa: ASYNC110
                await asyncio.sleep(0)
            if sent == WARM_UP:
                began_s = time.process_time()
            await self._peripheral.notify(DATA, payload)
        while heard() < len(self.payloads):  # noqa: ASYNC110
            await asyncio.sleep(0)
        return NOTIFICATIONS / (time.process_time() - began_s)


async def bare(case) -> float:
    board, count = Board(*case), 0

    def heard(_, __) -> None:
        nonlocal count
        count += 1

    async with VirtualRadio() as air, board.on(air):
        client, scanner = air.backend
        device = await BleakScanner.find_device_by_address(ADDRESS, backend=scanner)
        async with BleakClient(device, backend=client) as link:
            await link.start_notify(DATA, heard)
            await link.write_gatt_char(CONTROL, OpenProfile.START[0].data, response=True)
            return await board.send(lambda: count)


class Counted(Radio):
    """The radio, and how much of what it brought was taken."""

    count = 0

    async def follow(self, address, handle):
        async def counted(item):
            await handle(item)
            self.count += isinstance(item, Notification)

        await super().follow(address, counted)


async def collected(case, folder: Path) -> float:
    board, clock = Board(*case), HostClock()
    store = Store.open(folder)
    store.begin(now_ns=clock.utc_ns(), version="benchmark", settings={})
    async with VirtualRadio() as air, board.on(air):
        radio = Counted([OpenProfile], air.backend)
        collector = Collector(radio, store, [Subject(ADDRESS)], DetectorSettings(), clock)
        task = asyncio.create_task(collector.run(lambda *_: None))
        rate = await board.send(lambda: radio.count)
        task.cancel()
        await asyncio.wait((task,))
    store.close(clock.utc_ns())
    return rate


def main() -> None:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    for name, case in CASES.items():
        alone, ours = [], []
        for _ in range(ROUNDS):
            alone.append(asyncio.run(bare(case)))
            with tempfile.TemporaryDirectory() as folder:
                ours.append(asyncio.run(collected(case, Path(folder))))
        ratio = median(ours) / median(alone)
        print(f"{name}: collector {median(ours):.0f}/s, bare bleak {median(alone):.0f}/s, ratio {ratio:.2f}")


if __name__ == "__main__":
    main()
