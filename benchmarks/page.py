"""What the page costs, and how quick it is.

    python -m benchmarks.page load [FOLDER]       # a year of 4 channels, a million twitches: how long screens take
    python -m benchmarks.page live [--seconds S]  # 8 devices x 8 channels x 1 kHz, two windows looking on

`load` keeps the store in FOLDER, which is made where it is missing (a minute or two). `live` detects, tallies and
stores what eight devices would say, once a second, beside a page with two windows open: frames a second of each,
CPU of the page's server, and how long a second of signal took from samples to disk; then again with the page
stopped (SIGSTOP). Both print the load of the machine, for a busy one tells little.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from pathlib import Path

import numpy as np
from playwright.sync_api import Page, sync_playwright

from firmware_interface.codecs import Device
from firmware_interface.samples import SampleBlock, Sensor, Stream, Timebase, Unit
from monitor.database import connect, transaction
from monitor.detection.detector import Detector
from monitor.detection.events import Analysed
from monitor.diary import Diary, Entry
from monitor.raw import Block, Raw, Retention
from monitor.store import DATABASE, Record, Store
from monitor.tally import tally
from tests.served import Served, served

SITES = ("left calf", "right calf", "biceps", "FDI")
MINUTE_NS = 60 * 10**9
DAY_NS = 1440 * MINUTE_NS
TWITCHES = 1_000_000
DEVICES, CHANNELS, RATE_HZ = 8, 8, 1000


def main() -> None:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("load", "live"))
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--seconds", type=float, default=30.0)
    options = parser.parse_args()
    print(f"load of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    if options.what == "load":
        with tempfile.TemporaryDirectory() as temporary:
            _load(options.folder or Path(temporary))
    else:
        _live(options.seconds)


# How quick -----------------------------------------------------------------------------------------------------


def _load(folder: Path) -> None:
    if not (folder / "main.sqlite").exists():
        _year(folder)
    with served(folder) as page, _windows(page, 1) as (window,):
        time.sleep(5)  # what it reads ahead
        screens = {"Now": "/", "Log": "/log", "day": "/history?range=day", "week": "/history?range=week",
                   "month": "/history?range=month", "year": "/history?range=all"}  # fmt: skip
        window.goto("/")
        for name, path in screens.items():
            print(f"{name}: {_median(window, path):.2f} s")
        for path in ("/api/v1/minutes?since=2000-01-01T00:00:00Z", "/api/v1/twitches?limit=1000"):
            began = time.monotonic()
            with urllib.request.urlopen(page.url + path) as answer:
                answer.read()
            print(f"{path.partition('?')[0]}: {time.monotonic() - began:.2f} s")


def _median(window: object, path: str) -> float:
    """From asking to seeing it: the heading, and the last card."""
    taken = []
    for _ in range(5):
        began = time.monotonic()
        window.goto(path)  # type: ignore[attr-defined]
        window.get_by_role("heading").nth(2 if path != "/" else 1).wait_for()  # type: ignore[attr-defined]
        taken.append(time.monotonic() - began)
    return statistics.median(taken)


def _year(folder: Path) -> None:
    """By SQLite itself, which takes seconds: 16 hours worn a day, on four channels."""
    now_ns = time.time_ns() // DAY_NS * DAY_NS
    begun_ns = now_ns - 365 * DAY_NS
    stream = Stream("emg", Sensor.EMG, Unit.MICROVOLT, 0.1, 500.0, SITES)
    store = Store.open(folder)
    store.begin(now_ns=begun_ns, version="simulated", settings={})
    device = store.device(Device("band", "S-1", "1.0", (stream,)), "F0:5C:1A:00:00:01", begun_ns)
    store.close(now_ns)
    shape = (80 * np.sin(np.linspace(0, 6, 24))).astype("<f4").tobytes()
    known = {"device": device, "begun": begun_ns, "sites": json.dumps(SITES), "shape": shape, "twitches": TWITCHES}
    with closing(connect(folder / DATABASE)) as connection, transaction(connection):
        connection.execute(_TWITCHES, known)
        connection.execute(_MINUTES, known)
    rng = np.random.default_rng(1)
    with Diary.open(folder) as diary:
        at = rng.integers(begun_ns, now_ns, 1500).tolist()
        diary.log([Entry("caffeine", each, dose=80.0, unit="mg") for each in sorted(at)], now_ns)


_TWITCHES = """
    WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < :twitches)
    INSERT INTO twitch (device_id, onset_ns, channel, duration_s, peak, peak_to_peak, unit, snr, confidence,
                        amplitudes, waveform, waveform_start_s, rate_hz, phases, turns, median_hz, motor_unit)
    SELECT :device,
           :begun + abs(random()) % 365 * 86400000000000 + (21600 + abs(random()) % 57600) * 1000000000 + i,
           json_extract(:sites, '$[' || (i % 4) || ']'),
           0.012, 80.0, 150.0, 'uV', 20.0, 0.95, '[]', :shape, -0.01, 500.0, 3, 3, 90.0, 1 + i % 3
    FROM n
"""
_MINUTES = """
    WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < 365 * 960)
    INSERT INTO minute (start_ns, device_id, channel, observed_s, analysable_s, twitches, closed)
    SELECT :begun + i / 960 * 86400000000000 + (360 + i % 960) * 60000000000, :device, value, 60.0, 51.0,
           abs(random()) % 3, 1
    FROM n CROSS JOIN json_each(:sites)
"""


# What it costs -------------------------------------------------------------------------------------------------


def _live(seconds: float) -> None:
    folder = Path(tempfile.mkdtemp())
    try:
        writer = _Writer(folder)
        writer.start()
        print(f"alone: {writer.during(seconds)}")
        with served(folder) as page:
            _look(page, writer, seconds)
        writer.over.set()
        writer.join()
    finally:
        shutil.rmtree(folder)


def _look(page: Served, writer: _Writer, seconds: float) -> None:
    with _windows(page, 2) as windows:
        for window in windows:
            window.set_viewport_size({"width": 1280, "height": 900})
            window.goto("/")
            window.wait_for_function(f"document.querySelectorAll('fw-signals canvas').length == {DEVICES}")
        time.sleep(3)
        frames = [_frames(window) for window in windows]
        cpu_s, began = _cpu_s(page.process), time.monotonic()
        late = writer.during(seconds)
        took = time.monotonic() - began
        shown = [(_frames(window) - before) / took for window, before in zip(windows, frames, strict=True)]
        share = (_cpu_s(page.process) - cpu_s) / took
        print(f"two windows: {', '.join(f'{each:.1f}' for each in shown)} frames a second")
        print(f"the page's server: {100 * share:.0f} % of one core; with it {late}")
        page.process.send_signal(signal.SIGSTOP)
        print(f"the page stuck (SIGSTOP): {writer.during(seconds)}")
        page.process.send_signal(signal.SIGCONT)


class _Writer(threading.Thread):
    """Commits as the collector does, once a second, and notes how long it took."""

    def __init__(self, folder: Path) -> None:
        super().__init__(daemon=True)
        labels = tuple(f"channel {number}" for number in range(CHANNELS))
        self._stream = Stream("emg", Sensor.EMG, Unit.MICROVOLT, 0.1, float(RATE_HZ), labels)
        self._store = Store.open(folder)
        self._raw = Raw(folder, Retention())
        now_ns = time.time_ns()
        self._store.begin(now_ns=now_ns, version="benchmark", settings={})
        self._devices = [
            self._store.device(Device(f"band {n}", f"S-{n}", "1", (self._stream,)), f"F0:{n:02}", now_ns)
            for n in range(DEVICES)
        ]
        self._detectors = {device: Detector(self._stream) for device in self._devices}
        self._rng = np.random.default_rng(1)
        self._taken: list[float] = []
        self.over = threading.Event()

    def run(self) -> None:
        """Until it is over."""
        second = 0
        at = time.time()
        while not self.over.wait(max(at + second + 1 - time.time(), 0)):
            start_ns = round((at + second) * 1e9)
            blocks = [self._block(device, start_ns, second) for device in self._devices]
            began = time.monotonic()
            records = [entry for block in blocks for entry in self._detected(block)]
            self._store.write(records, time.time_ns())
            self._raw.write(blocks, time.time_ns())
            self._taken.append(time.monotonic() - began)
            second += 1
        self._raw.close()
        self._store.close(time.time_ns())

    def during(self, seconds: float) -> str:
        """How long commits took."""
        self._taken.clear()
        time.sleep(seconds)
        taken = sorted(self._taken)
        return (
            f"a second took {1e3 * statistics.median(taken):.0f} ms to disk, the longest {1e3 * taken[-1]:.0f} ms"
        )

    def _detected(self, block: Block) -> list[tuple[int, Record]]:
        timebase = Timebase(block.first, block.start_ns, 1e9 / RATE_HZ)
        events = self._detectors[block.device_id].feed(
            SampleBlock(self._stream, block.first, timebase, block.counts)
        )
        records: list[Record] = [event for event in events if not isinstance(event, Analysed)]
        return [(block.device_id, record) for record in [*records, *tally(self._stream.channels, events)]]

    def _block(self, device: int, start_ns: int, second: int) -> Block:
        counts = self._rng.normal(0, 40, (CHANNELS, RATE_HZ))
        for channel in np.flatnonzero(self._rng.random(CHANNELS) < 0.2).tolist():
            at = int(self._rng.integers(100, RATE_HZ - 100))
            counts[channel, at : at + 12] += 2000 * np.sin(np.linspace(0, 4 * np.pi, 12))
        counts = counts.astype(np.int16)
        first = second * RATE_HZ
        return Block(device, self._stream, start_ns, start_ns + 10**9, first, None, (None, None), counts)


def _frames(window: Page) -> int:
    return int(window.evaluate("document.querySelector('fw-signals').frames"))


def _cpu_s(process: subprocess.Popen[bytes]) -> float:
    """Of a process, all threads."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def _windows(page: Served, count: int) -> Iterator[list[Page]]:
    """Each in a browser of its own: one that is behind another draws once a second."""
    with sync_playwright() as started, ExitStack() as open_:
        launch = partial(started.chromium.launch, executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        browsers = [open_.enter_context(launch()) for _ in range(count)]
        yield [browser.new_page(base_url=page.url) for browser in browsers]


if __name__ == "__main__":
    main()
