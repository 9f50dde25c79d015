"""A life as a data folder, and minutes of an emulated arm as another, with the raw signal and the truth.

Rules:

* A life is counts and events, no signal: months in a second. Signal is minutes: it is detected as if it had been
  heard, and kept as it would have been.
* What is written is what a collector writes; nothing here is known to the store.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np

import monitor
from firmware_interface.codecs import Device
from firmware_interface.emulated.arm import Arm, ArmSettings
from firmware_interface.samples import Gap, GapReason, SampleBlock, Sensor, Stream, Timebase, Unit
from monitor.correlation.triggers import Trigger
from monitor.detection import detector_for
from monitor.detection.events import Context, Event, State, Twitch
from monitor.detection.settings import DetectorSettings
from monitor.diary import Diary, Entry
from monitor.raw import Assembler, Raw, Retention
from monitor.simulate.lives import History
from monitor.store import Observed, Record, Store
from monitor.tally import Minute, tally

SITES: Final = ("left calf", "right FDI")
LIFE: Final = Stream("emg", Sensor.EMG, Unit.MICROVOLT, 0.1, 500.0, SITES)
_MINUTE_NS: Final = 60 * 10**9
_QUARTER_S: Final = 900
_KEPT_S: Final = 30
_ADDRESS: Final = "F0:5C:1A:00:00:01"
_KEEP_ALL: Final = Retention(days=1e6, size_bytes=10**15, free_bytes=0)


def write_life(folder: Path, life: History, seed: int) -> list[tuple[int, Record]]:
    """Keep a life in a new data folder, without its diary; what was kept."""
    rng = np.random.default_rng(seed)
    t = life.tallies
    begun_ns = round(float(t.start_s[0])) * 10**9
    end_ns = round(float(t.start_s[-1]) + _QUARTER_S) * 10**9
    store = Store.open(folder)
    store.begin(now_ns=begun_ns, version="simulated", settings={})
    device = store.device(Device("band", "S-1", "1.0", (LIFE,)), _ADDRESS, begun_ns)
    quarters = zip(t.start_s.tolist(), (t.analysable_s / _QUARTER_S).tolist(), t.twitches.tolist(), strict=True)
    records = [(device, each) for quarter in quarters for each in _quarter(*quarter, rng)]
    store.write(records, end_ns)
    store.close(end_ns)
    return records


def write_diary(folder: Path, entries: Sequence[Entry], now_ns: int) -> None:
    """Log into a data folder's diary."""
    with Diary.open(folder) as diary:
        diary.log(entries, now_ns)


def entries_of(logged: Sequence[Trigger]) -> list[Entry]:
    """A simulated diary, as a person would have logged it."""
    return [
        Entry(each.kind, round(each.start_s * 1e9), dose=each.dose, unit="mg" if each.dose else "")
        for each in logged
    ]


def _quarter(start_s: float, share: float, twitches: float, rng: np.random.Generator) -> Iterator[Record]:
    """15 minutes of both sites: what was missed, what was excluded, and each twitch."""
    start_ns = round(start_s) * 10**9
    if rng.random() < 0.2:
        lost_ns = round(rng.exponential(2e9))
        yield Gap(LIFE, start_ns, start_ns + lost_ns, round(lost_ns * 5e-7), GapReason.LOST, exact=True)
    for number, site in enumerate(SITES):
        count = round(twitches) if number == 0 else int(rng.poisson(0.4 * twitches))
        shares = rng.multinomial(count, np.full(15, 1 / 15)).tolist()
        for minute, held in enumerate(shares):
            yield Minute(site, start_ns + minute * _MINUTE_NS, 60.0, 60.0 * share, int(held))
        state = rng.choice([State.VOLUNTARY, State.ARTEFACT, State.BAD_CONTACT], p=[0.7, 0.2, 0.1])
        yield Context(State(str(state)), site, start_ns, _QUARTER_S * (1 - share))
        for onset_ns in sorted(rng.integers(start_ns, start_ns + _QUARTER_S * 10**9, count).tolist()):
            yield _twitch(site, onset_ns, int(rng.choice([1, 1, 1, 2, 2, 3])), rng)


def _twitch(site: str, onset_ns: int, unit: int, rng: np.random.Generator) -> Twitch:
    phase = np.linspace(-3, 3, 24)
    shape = 60.0 * unit * np.exp(-(phase**2)) * np.sin(phase * (0.8 + 0.5 * unit)) + rng.normal(0, 3, 24)
    size = float(np.ptp(shape))
    return Twitch(
        channel=site, onset_ns=onset_ns, duration_s=0.012, peak=size / 2, peak_to_peak=size, unit=Unit.MICROVOLT,
        snr=20.0, confidence=0.95, amplitudes=((site, size),), waveform=shape.astype(np.float32),
        waveform_start_s=-0.01, rate_hz=500.0, phases=3, turns=3, median_hz=90.0, motor_unit=unit,
        follows_s=0.05 if rng.random() < 0.03 else None,
    )  # fmt: skip


def write_signal(
    folder: Path,
    settings: ArmSettings,
    seed: int,
    start_ns: int,
    seconds: float,
    lost: Sequence[tuple[float, float]] = (),
) -> None:
    """Keep an emulated arm in a new data folder: raw signal, what is detected in it, and `truth.csv`.

    Args:
        folder: the data folder.
        settings: of the arm; with acceleration where its twitches are visible.
        seed: of the arm.
        start_ns: when it begins, UTC.
        seconds: of signal.
        lost: (from, to) in seconds of what was not received.
    """
    arm = Arm(settings, seed)
    streams = [Stream("emg", Sensor.EMG, Unit.MICROVOLT, 0.1, settings.rate_hz, settings.channels)]
    if settings.visible:
        streams.append(Stream("acc", Sensor.ACC, Unit.G, 0.000061, settings.acc_rate_hz, ("x", "y", "z")))
    end_ns = start_ns + round(seconds * 1e9)
    store = Store.open(folder)
    raw = Raw(folder, _KEEP_ALL)
    store.begin(now_ns=start_ns, version=monitor.__version__, settings={})
    device = store.device(Device("emulated", "E-1", "1.0", tuple(streams)), _ADDRESS, start_ns)
    for stream in streams:
        _hear(store, raw, device, arm, stream, start_ns, seconds, lost)
    raw.close()
    store.close(end_ns)
    _write_truth(folder / "truth.csv", arm)


def _hear(
    store: Store,
    raw: Raw,
    device: int,
    arm: Arm,
    stream: Stream,
    start_ns: int,
    seconds: float,
    lost: Sequence[tuple[float, float]],
) -> None:
    """One stream as a collector would have it, in packets of a second; kept every half minute."""
    detector = detector_for(stream, DetectorSettings())
    assembler = Assembler(device)
    base = Timebase(0, start_ns, 1e9 / stream.rate_hz)
    step = round(stream.rate_hz)
    events: list[Event] = []
    now_ns = start_ns
    for second in range(round(seconds)):
        block = SampleBlock(stream, second * step, base, _counts(arm, stream, step))
        now_ns = block.end_ns
        if not any(a <= second < b for a, b in lost):
            assembler.feed(block)
            events += detector.feed(block) if detector else []
        if second % _KEPT_S == _KEPT_S - 1:
            raw.write(assembler.take(), now_ns)
            _keep(store, device, stream, events, now_ns)
            events = []
    raw.write(assembler.take(), now_ns)
    _keep(store, device, stream, [*events, *(detector.finish() if detector else [])], now_ns)
    for a, b in lost:
        ends = start_ns + round(a * 1e9), start_ns + round(b * 1e9)
        missing = round((b - a) * stream.rate_hz)
        store.write([(device, Gap(stream, *ends, missing, GapReason.LOST))], now_ns)


def _counts(arm: Arm, stream: Stream, samples: int) -> np.ndarray[tuple[int, ...], np.dtype[np.int16]]:
    values = arm.emg_uv(samples) if stream.sensor is Sensor.EMG else arm.acc_g(samples)
    return np.clip(np.rint(values / stream.scale), -(2**15), 2**15 - 1).astype(np.int16)


def _keep(store: Store, device: int, stream: Stream, events: Sequence[Event], now_ns: int) -> None:
    records: list[tuple[int, Record]] = [(device, e) for e in events if isinstance(e, Twitch | Context)]
    records += [(device, minute) for minute in tally(stream.channels, events)]
    if records:
        store.write([*records, (device, Observed(stream.name, now_ns))], now_ns)


def _write_truth(path: Path, arm: Arm) -> None:
    discharges, _ = arm.truth()
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("kind", "onset_s", "duration_s"))
        writer.writerows(("twitch", f"{d.onset_s:.6f}", f"{d.duration_s:.6f}") for d in discharges)
