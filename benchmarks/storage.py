"""What storing costs: a simulated day of 4 channels at 500 Hz, and twitches a second through to InfluxDB.

    .venv/bin/python -m benchmarks.storage day            # MB, CPU, commits, memory, reading; about 3 min
    .venv/bin/python -m benchmarks.storage throughput     # beside influxdb-client's batching API; needs influxd

A commit is what the collector makes each second: the records of that second, then the block of raw signal. The
signal is that of infrastructure.md 5.1: noise of 4 µV, 50 Hz, drift, contractions, twitches, 0.2 µV a count.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import random
import resource
import shutil
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from influxdb_client import InfluxDBClient, WriteOptions

from firmware_interface.codecs import Device
from firmware_interface.samples import SampleBlock, Sensor, Stream, Timebase, Unit
from monitor.detection.events import Twitch
from monitor.outbox import Delivery, Letter, Outbox
from monitor.raw import Assembler, Raw, RawArchive, Retention
from monitor.sinks.influx import Influx1, Place
from monitor.sinks.line_protocol import line
from monitor.store import Archive, Observed, Store
from monitor.tally import Minute
from tests.servers import Influxd, Victoria

RATE, CHANNELS = 500, ("FDI", "biceps", "FCR", "triceps")
EMG = Stream("emg", Sensor.EMG, Unit.MICROVOLT, 0.2, float(RATE), CHANNELS)
START_NS = 1_790_000_000 * 10**9 // (86400 * 10**9) * 86400 * 10**9
PARTS = 25
"""Packets a second."""


def twitch(onset_ns: int, channel: str = "FDI") -> Twitch:
    wave = np.random.default_rng(onset_ns % 2**32).normal(0, 30, 120).astype(np.float32)
    amplitudes = tuple((name, 50.0) for name in CHANNELS)
    return Twitch(
        channel, onset_ns, 0.012, 120.5, 200.25, Unit.MICROVOLT, 30.5, 0.97, amplitudes, wave, -0.05, 500.0,
        3, 5, 92.5, 2, None,
    )  # fmt: skip


class Muscles:
    """A second of signal after the other, counts."""

    def __init__(self) -> None:
        self._rng = np.random.default_rng(1)
        self._time = np.arange(RATE) / RATE

    def second(self, n: int) -> np.ndarray:
        noise = self._rng.normal(0, 4.0, (4, RATE))
        mains = 3.0 * np.sin(2 * np.pi * 50 * self._time)
        drift = 20.0 * np.sin(2 * np.pi * (n + self._time) / 40)
        contraction = 40.0 if n % 600 < 12 else 0.0
        uv = noise + mains + drift + self._rng.normal(0, 1, (4, RATE)) * contraction
        if n % 76 == 0:
            uv[0, 100:106] += 150 * np.hanning(6)
        return np.round(uv / 0.2).astype(np.int16)


def memory_mb() -> float:
    """Resident now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def day(hours: int) -> None:
    folder = Path(tempfile.mkdtemp(prefix="storage-"))
    try:
        _write_day(folder, hours)
        _read_day(folder, hours)
    finally:
        shutil.rmtree(folder)


def _write_day(folder: Path, hours: int) -> None:
    store, raw = Store.open(folder), Raw(folder, Retention(free_bytes=0))
    store.begin(now_ns=START_NS, version="benchmark", settings={})
    device = store.device(Device("arm", "S-1", "1", (EMG,)), "AA", START_NS)
    muscles, gather = Muscles(), Assembler(device)
    commits, cpu, memory = np.zeros(hours * 3600), 0.0, {}
    for n in range(hours * 3600):
        now_ns, counts = START_NS + n * 10**9, muscles.second(n)
        begun_cpu = time.process_time()
        for part in range(PARTS):
            first, size = n * RATE + part * RATE // PARTS, RATE // PARTS
            piece = counts[:, part * size : (part + 1) * size]
            timebase = Timebase(first, now_ns + part * 10**9 // PARTS, 1e9 / RATE)
            gather.feed(SampleBlock(EMG, first, timebase, piece, device_ns=first, sequence=first % 65536))
        entries = [(device, Minute(name, now_ns - now_ns % (60 * 10**9), 1.0, 1.0, 0)) for name in CHANNELS]
        entries += [(device, Observed("emg", now_ns + 10**9))]
        entries += [(device, twitch(now_ns))] if n % 76 == 0 else []
        begun = time.perf_counter()
        store.write(entries, now_ns)
        raw.write(gather.take(), now_ns)
        commits[n] = time.perf_counter() - begun
        cpu += time.process_time() - begun_cpu
        if n + 1 in (3600, hours * 3600):
            memory[(n + 1) // 3600] = memory_mb()
    assert raw.trouble is None
    raw.close()
    store.close(START_NS + hours * 3600 * 10**9)
    raw_mb = RawArchive(folder).size_bytes() / 1e6
    main_mb = (folder / "main.sqlite").stat().st_size / 1e6
    scale = 24 / hours
    print(f"size        raw {raw_mb * scale:.0f} MB a day, store {main_mb * scale:.1f} MB a day")
    print(f"CPU         {cpu * scale:.0f} s a day")
    p50, p99, worst = np.percentile(commits, [50, 99, 100]) * 1e3
    print(f"commit      p50 {p50:.2f}, p99 {p99:.1f}, longest {worst:.0f} ms (both files)")
    print("memory      " + ", ".join(f"{mb:.1f} MB at hour {hour}" for hour, mb in memory.items()))


def _read_day(folder: Path, hours: int) -> None:
    archive, rng, times = RawArchive(folder), random.Random(1), []
    for _ in range(300):
        since_ns = START_NS + rng.randrange((hours * 3600 - 10) * 10**9)
        begun = time.perf_counter()
        window = archive.window(1, "emg", since_ns, since_ns + 10 * 10**9)
        times.append(time.perf_counter() - begun)
        assert 5000 <= sum(block.length for block in window.blocks) <= 5500
    p50, p99 = np.percentile(times, [50, 99]) * 1e3
    print(f"10-s window p50 {p50:.1f}, p99 {p99:.1f} ms")
    begun, samples = time.perf_counter(), 0
    for hour in range(hours):
        since_ns = START_NS + hour * 3600 * 10**9
        samples += sum(b.length for b in archive.window(1, "emg", since_ns, since_ns + 3600 * 10**9).blocks)
    print(f"day scan    {(time.perf_counter() - begun) * 24 / hours:.1f} s, every sample decoded")
    assert samples >= hours * 3600 * RATE


def throughput(count: int) -> None:
    folder = Path(tempfile.mkdtemp(prefix="storage-"))
    try:
        seconds = _commit_all(folder / "data", count)
        print(f"detector's records to SQLite commit   {count / seconds:8.0f} twitches a second")
        with Influxd(folder / "influxd") as influxd:
            _delivered(folder / "data", influxd)
        with Victoria(folder / "victoria") as victoria:
            _batched(victoria, count)
    finally:
        shutil.rmtree(folder)


def _commit_all(folder: Path, count: int) -> float:
    """A hundred a commit."""
    store = Store.open(folder)
    store.begin(now_ns=START_NS, version="benchmark", settings={})
    device = store.device(Device("arm", "S-1", "1", (EMG,)), "AA", START_NS)
    events = [replace(twitch(START_NS), onset_ns=START_NS + n * 10**6) for n in range(count)]
    begun = time.perf_counter()
    for n in range(0, count, 100):
        store.write([(device, event) for event in events[n : n + 100]], START_NS)
    seconds = time.perf_counter() - begun
    store.close(START_NS)
    return seconds


def _delivered(folder: Path, influxd) -> None:
    """Killed and started again after a third."""
    sink, keep = Influx1(Place(influxd.url, "fasciwatch")), []
    with Archive.open(folder) as archive:
        end = archive.outbox_end()

    async def main() -> float:
        task = asyncio.create_task(
            Delivery(sink, Outbox(folder, "laptop")).run(lambda _, r: keep.extend(r), lambda *_: None)
        )
        begun, down_s = time.perf_counter(), 0.0
        while not (keep and keep[-1].seq == end):
            await asyncio.sleep(0.01)
            if not down_s and keep and keep[-1].seq > end / 3:
                stopped = time.perf_counter()
                influxd.kill()
                await asyncio.sleep(4)
                await asyncio.to_thread(influxd.start)
                down_s = time.perf_counter() - stopped
        task.cancel()
        await asyncio.wait((task,))
        return time.perf_counter() - begun - down_s

    seconds = asyncio.run(main())
    stored = influxd.ask("SELECT count(peak) FROM twitch")[0]["count"]
    print(f"outbox to influxd, killed for 4 s     {end / seconds:8.0f} a second, {end - stored} of {end} lost")


def _batched(victoria, count: int) -> None:
    """influxdb-client's own way, the same points, the same 4 s without a server."""
    now_ns = time.time_ns() // 10**6 * 10**6 - 3600 * 10**9
    logging.getLogger("influxdb_client").setLevel(logging.CRITICAL)  # each loss is counted below
    for words, options, process in (
        ("max_retries=0", WriteOptions(batch_size=2000, max_retries=0), "a"),
        ("its defaults", WriteOptions(batch_size=2000), "b"),
    ):
        lines = [line(Letter(n, f"{n:032x}", process, "arm", 0, twitch(now_ns + n * 10**6))) for n in range(count)]
        begun = time.perf_counter()
        with (
            InfluxDBClient(victoria.url, "t", org="o") as client,
            client.write_api(write_options=options) as api,
        ):
            for n, each in enumerate(lines):
                api.write("fasciwatch", record=each)
                if n == count // 3:
                    time.sleep(1.5)
                    victoria.kill()
                    stopped = time.perf_counter()
                if n == 2 * count // 3:
                    time.sleep(max(0.0, 4 - (time.perf_counter() - stopped)))
                    victoria.start()
        seconds = time.perf_counter() - begun - 5.5
        stored = victoria.samples('twitch_peak{node="' + process + '"}')
        peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
        print(
            f"influxdb-client, batching, {words:13} {count / seconds:6.0f} a second, {count - stored} of {count} "
            f"lost (peak memory {peak_mb:.0f} MB)"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("day", "throughput"))
    parser.add_argument("--hours", type=int, default=24)
    parser.add_argument("--count", type=int, default=60_000)
    arguments = parser.parse_args()
    print(f"Python {sys.version.split()[0]}, {os.cpu_count()} cores, shared")
    day(arguments.hours) if arguments.what == "day" else throughput(arguments.count)


if __name__ == "__main__":
    main()
