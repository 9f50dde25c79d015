"""The raw signal as EDF+C or BDF+C, through edfio, as it is read.

    blocks ─► strips, one a stream, on the grid of the file ─► windows of whole records ─► file

Rules of this module:

* Every number is written as the device gave it. What does not fit (floats, more bits than the format has) is
  refused or left out with a note; nothing is scaled to fit.
* Always continuous (EDF+C): many readers ignore the times of EDF+D. What was not received holds the last value,
  VALID is 0 there, and an annotation says why. After `LONG_GAP_S` without a sample a new file begins, and wherever
  the signal's own time has left the file's, which runs at the nominal rate, by `_DRIFT_S`.
* The header has eight characters for a range. The transducer field holds the scale itself; our reader takes it.
* edfio makes the header and the data of each window. An annotation signal of one size throughout a file that is
  longer than memory it does not make: ours is an ordinary signal to it, and gets its name in the finished header.
* Annotations that find no room in their record stand in one after it, which EDF+ allows.
"""

from __future__ import annotations

import io
import math
import unicodedata
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
from edfio import Bdf, BdfSignal, Edf, EdfSignal, Patient
from edfio import Recording as Header
from numpy.typing import NDArray

import monitor
from firmware_interface.samples import Gap, SampleBlock, Sensor, Stream, Unit
from monitor.detection.door import BRIDGE_S
from monitor.diary import Entry
from monitor.export.source import ExportError, Source, new_file, stamp
from monitor.store import KnownDevice

LONG_GAP_S: Final = 300.0
_DRIFT_S = 1.0
_JITTER_S = 0.5
"""By which the time between two blocks may differ from what the device counted; beyond, it began anew."""
_LAG_S = 2.0
"""How far behind the others a stream is waited for before it counts as missing: more than it can drift."""
_WINDOW_NS = 10 * 10**9
_LONGEST_RECORD_S = 60
_NOTE_BYTES = 240
"""Room for annotations in a record: five twitches a second, of records of a second."""
_SENSORS = {
    Sensor.EMG: "EMG electrode",
    Sensor.ECG: "ECG electrode",
    Sensor.ACC: "accelerometer",
    Sensor.GYRO: "gyroscope",
    Sensor.MAG: "magnetometer",
}
_PLACEHOLDER = b"NOTES"


@dataclass(frozen=True, slots=True)
class Form:
    """EDF or BDF."""

    name: str
    width: int
    """Bytes of a sample."""
    dtype: type[np.signedinteger[Any]]
    signal: type[EdfSignal] | type[BdfSignal]
    file: type[Edf] | type[Bdf]

    @property
    def low(self) -> int:
        return -(1 << (8 * self.width - 1))

    @property
    def high(self) -> int:
        return -self.low - 1


FORMS: Final = {
    "edf": Form("EDF", 2, np.int16, EdfSignal, Edf),
    "bdf": Form("BDF", 3, np.int32, BdfSignal, Bdf),
}


@dataclass(frozen=True, slots=True)
class Written:
    """A file that is whole."""

    path: Path
    start_ns: int
    duration_s: float
    streams: tuple[Stream, ...]
    notes: tuple[tuple[str, float, float], ...]
    """Its annotations: text, onset and duration in seconds from its start."""


Named = Callable[[KnownDevice, int, int], Path]
"""(device, start, how many of its files there are already) -> what to call a file."""


def export(
    source: Source, form: Form, named: Named, told: Callable[[str], None], heard: Callable[[float], None]
) -> Iterator[Written]:
    """Write the raw signal of every device, and give each file once it is whole.

    Args:
        source: what is exported.
        form: EDF or BDF.
        named: see `Named`.
        told: of what was left out.
        heard: now and then, of how many seconds were written.

    Raises:
        ExportError: a file cannot be written, or a number does not fit.
    """
    for device in source.devices:
        streams = list(_writable(source, device, form, told))
        if streams:
            yield from _device(source, device, streams, form, named, heard)


def _writable(source: Source, device: KnownDevice, form: Form, told: Callable[[str], None]) -> Iterator[Stream]:
    """The streams that a file of this form can hold."""
    for held in source.holdings(device):
        stream = held.stream
        if held.is_float:
            told(f"{source.called(device)} {stream.name}: sends floats, which {form.name} has not; left out. "
                 "Parquet has them: fasciwatch export parquet")  # fmt: skip
        elif _record_s([stream]) is None:
            told(f"{source.called(device)} {stream.name}: no whole record of up to {_LONGEST_RECORD_S} s at "
                 f"{stream.rate_hz:g} Hz; left out. Parquet has it")  # fmt: skip
        else:
            yield stream


def _device(
    source: Source,
    device: KnownDevice,
    streams: Sequence[Stream],
    form: Form,
    named: Named,
    heard: Callable[[float], None],
) -> Iterator[Written]:
    current = {stream.name: stream for stream in reversed(streams)}
    count = 0
    with ExitStack() as resources:
        file: _File | None = None
        told_ns = until_ns = source.since_ns
        while (at_ns := source.raw.following(device.id, until_ns)) is not None and at_ns < source.until_ns:
            until_ns = min(at_ns + _WINDOW_NS, source.until_ns)
            for block in _blocks(source, device.id, current, at_ns, until_ns):
                if block.stream not in streams:
                    continue
                changed = current[block.stream.name] != block.stream
                current[block.stream.name] = block.stream
                if file is None or changed or not file.holds(block):
                    if file is not None:
                        written = file.close()
                        resources.close()
                        yield written
                    path = named(device, block.start_ns, count)
                    opened = resources.enter_context(new_file(path))
                    file = _File(opened, path, form, source, tuple(current.values()), block.start_ns)
                    count += 1
                file.take(block)
            if file is not None:
                for text, start_ns, duration_s, channel in _said(source, device, told_ns, until_ns):
                    file.note(text, start_ns, duration_s, channel)
                file.advance()
                heard((until_ns - source.since_ns) * 1e-9)
            told_ns = until_ns
        if file is not None:
            written = file.close()
            resources.close()
            yield written


def _blocks(
    source: Source, device_id: int, current: dict[str, Stream], since_ns: int, until_ns: int
) -> list[SampleBlock]:
    """Those of all streams that begin in a stretch of time."""
    blocks = [
        block
        for name in current
        for block in source.raw.window(device_id, name, since_ns, until_ns).blocks
        if since_ns <= block.start_ns < until_ns
    ]
    return sorted(blocks, key=lambda block: block.start_ns)


def _said(
    source: Source, device: KnownDevice, since_ns: int, until_ns: int
) -> Iterator[tuple[str, int, float, str]]:
    """What is to be annotated: text, start, duration, and the channel or stream that it is about."""
    for _, twitch in source.archive.twitches(since_ns, until_ns, device.id):
        yield f"twitch {twitch.channel}", twitch.onset_ns, twitch.duration_s, twitch.channel
    for _, gap in source.archive.gaps(since_ns, until_ns, device.id):
        if since_ns <= gap.start_ns < until_ns:
            yield f"gap {gap.reason} {gap.stream.name}", gap.start_ns, _length_s(gap), gap.stream.name
    for entry in source.entries:
        if since_ns <= entry.occurred_ns < until_ns:
            lasted_ns = max((entry.ended_ns or entry.occurred_ns) - entry.occurred_ns, 0)
            yield _trigger_text(entry, identified=source.identified), entry.occurred_ns, lasted_ns * 1e-9, ""


def _length_s(gap: Gap) -> float:
    return (gap.end_ns - gap.start_ns) * 1e-9


def _trigger_text(entry: Entry, *, identified: bool) -> str:
    dose = "" if entry.dose is None else f" {entry.dose:g} {entry.unit}".rstrip()
    note = f": {entry.note}" if identified and entry.note else ""
    return f"trigger {entry.kind}{dose}{note}"


def _record_s(streams: Sequence[Stream]) -> int | None:
    """The shortest record, in whole seconds, of whole samples of all streams; `None` where there is none."""
    rates = [Fraction(stream.rate_hz).limit_denominator(_LONGEST_RECORD_S) for stream in streams]
    if any(float(rate) != stream.rate_hz for rate, stream in zip(rates, streams, strict=True)):
        return None
    seconds = math.lcm(*(rate.denominator for rate in rates))
    return seconds if seconds <= _LONGEST_RECORD_S else None


class _Strip:
    """One stream on the grid of its file: what was received, and what was not.

    Args:
        stream: whose samples it holds.
        start_ns: of the file.
        form: of the file.
    """

    def __init__(self, stream: Stream, start_ns: int, form: Form) -> None:
        self.stream = stream
        self._start_ns, self._form = start_ns, form
        self._counts: list[NDArray[Any]] = []
        self._valid: list[NDArray[np.bool_]] = []
        self._last = np.zeros((len(stream.channels), 1), form.dtype)
        self._expected: tuple[int, int, int] | None = None  # index, time and place after the last sample received
        self._anchors: deque[tuple[int, int, float]] = deque(maxlen=4 * _WINDOW_NS // 10**9)
        self.filled = 0
        """Samples of the file so far, made up ones included."""
        self.waiting = 0
        """Those not yet written."""

    @property
    def received_ns(self) -> int:
        """Time after the last sample that was received."""
        return self._expected[1] if self._expected else self._start_ns

    def place(self, block: SampleBlock) -> int:
        """Where in the file a block begins: by the device's count, or where that began anew, by time."""
        rate_hz = self.stream.rate_hz
        if self._expected is None:
            return max(round((block.start_ns - self._start_ns) * 1e-9 * rate_hz), self.filled)
        index, time_ns, at = self._expected
        passed_s = (block.start_ns - time_ns) * 1e-9
        missing = block.first - index
        if missing < 0 or abs(missing / rate_hz - passed_s) > _JITTER_S:
            missing = max(round(passed_s * rate_hz), int(BRIDGE_S * rate_hz) + 1)
        return max(at + missing, self.filled)

    def is_off(self, block: SampleBlock) -> bool:
        """Whether a block's own time has left the file's."""
        file_s = self.place(block) / self.stream.rate_hz
        return abs(file_s - (block.start_ns - self._start_ns) * 1e-9) > _DRIFT_S

    def take(self, block: SampleBlock) -> None:
        """Put a block in its place."""
        counts = block.counts
        low, high = int(counts.min(initial=0)), int(counts.max(initial=0))
        if low < self._form.low or high > self._form.high:
            raise ExportError(
                f"{self.stream.name}: {low if low < self._form.low else high} does not fit into {self._form.name}",
                "Export it as bdf" if self._form.width == 2 else "Export it as parquet",
            )
        at = self.place(block)
        self.fill(at)
        self._append(counts.astype(self._form.dtype), received=True)
        self._anchors.append((block.start_ns, at, block.timebase.period_ns))
        self._expected = block.first + block.length, block.end_ns, at + block.length

    def fill(self, until: int) -> None:
        """Hold the last value up to a place."""
        if until > self.filled:
            self._append(np.repeat(self._last, until - self.filled, axis=1), received=False)

    def seconds(self, time_ns: int) -> float:
        """Where in the file a time is."""
        before = [anchor for anchor in self._anchors if anchor[0] <= time_ns]
        if not before:
            return (time_ns - self._start_ns) * 1e-9
        start_ns, at, period_ns = before[-1]
        return (at + (time_ns - start_ns) / period_ns) / self.stream.rate_hz

    def cut(self, samples: int) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Take out the oldest samples: counts of shape (channels, samples), and which were received."""
        counts, valid = np.concatenate(self._counts, axis=1), np.concatenate(self._valid)
        self._counts, self._valid = [counts[:, samples:]], [valid[samples:]]
        self.waiting -= samples
        return counts[:, :samples], valid[:samples]

    def _append(self, counts: NDArray[Any], *, received: bool) -> None:
        if counts.shape[1]:
            self._counts.append(counts)
            self._valid.append(np.full(counts.shape[1], received))
            self._last = counts[:, -1:]
            self.filled += counts.shape[1]
            self.waiting += counts.shape[1]


class _File:
    """One file, being written.

    Args:
        file: open for writing.
        path: what it will be called.
        form: EDF or BDF.
        source: whose it is.
        streams: that it holds.
        start_ns: when it begins.
    """

    def __init__(
        self, file: IO[bytes], path: Path, form: Form, source: Source, streams: tuple[Stream, ...], start_ns: int
    ) -> None:
        self._file, self._path, self._form, self._source = file, path, form, source
        self._start_ns = start_ns = start_ns // 1000 * 1000  # EDF+ is read to the microsecond
        record_s = _record_s(streams)
        if record_s is None:
            names = ", ".join(stream.name for stream in streams)
            raise ExportError(f"{names}: no whole record of all of them", "Export them as parquet")
        self._record_s = record_s
        self._strips = {stream: _Strip(stream, start_ns, form) for stream in streams}
        self._labels = _labels([label for stream in streams for label in stream.channels])
        self._records = 0
        self._pending: deque[bytes] = deque()
        self._notes: list[tuple[str, float, float]] = []

    def holds(self, block: SampleBlock) -> bool:
        """Whether a block belongs here, or into a new file."""
        latest_ns = max(strip.received_ns for strip in self._strips.values())
        gone_s = (block.start_ns - latest_ns) * 1e-9
        return gone_s <= LONG_GAP_S and not self._strips[block.stream].is_off(block)

    def take(self, block: SampleBlock) -> None:
        self._strips[block.stream].take(block)

    def note(self, text: str, start_ns: int, duration_s: float, about: str) -> None:
        """Annotate; what is before the file's beginning belongs to no file."""
        strip = next(
            (s for s in self._strips.values() if about in (*s.stream.channels, s.stream.name)),
            next(iter(self._strips.values())),
        )
        onset_s = round(strip.seconds(start_ns), 6)
        if onset_s >= 0:
            self._notes.append((text, onset_s, duration_s))
            self._pending.append(self._tal(onset_s, text, duration_s))

    def advance(self) -> None:
        """Write what is whole; a stream that stays behind the others is missing."""
        latest_ns = max(strip.received_ns for strip in self._strips.values())
        behind_s = (latest_ns - self._start_ns) * 1e-9 - _LAG_S
        for strip in self._strips.values():
            strip.fill(int(behind_s * strip.stream.rate_hz))
        self._write(min(strip.waiting // self._samples(strip) for strip in self._strips.values()))

    def close(self) -> Written:
        """Complete the last record, and the header."""
        whole = max(-(-strip.filled // self._samples(strip)) for strip in self._strips.values())
        self._fill_and_write(whole)
        while self._pending:
            self._fill_and_write(self._records + 1)
        self._file.seek(236)
        self._file.write(b"%-8d" % self._records)
        return Written(
            self._path,
            self._start_ns,
            float(self._records * self._record_s),
            tuple(self._strips),
            tuple(self._notes),
        )

    def _fill_and_write(self, records: int) -> None:
        for strip in self._strips.values():
            strip.fill(records * self._samples(strip))
        self._write(records - self._records)

    def _samples(self, strip: _Strip) -> int:
        return round(strip.stream.rate_hz * self._record_s)

    def _write(self, records: int) -> None:
        if records <= 0:
            return
        signals = [*self._signals(records), self._note_signal(records)]
        begun = datetime.fromtimestamp(self._start_ns // 10**9, UTC)
        called = "fasciwatch" if not self._source.identified else self._source.devices[0].device.name
        window = self._form.file(
            signals,  # type: ignore[arg-type]  # of the class that goes with the file
            patient=Patient(code=_ascii(self._source.subject).replace(" ", "_") or "X"),
            recording=Header(
                startdate=begun.date(),
                equipment_code=f"{_ascii(called).replace(' ', '_')}_{monitor.__version__}",
            ),
            starttime=begun.time(),
            data_record_duration=self._record_s,
        )
        written = io.BytesIO()
        window.write(written)
        header_bytes = 256 * (len(signals) + 1)
        if not self._records:
            self._file.write(self._header(written.getvalue()[:header_bytes], len(signals)))
        self._file.write(written.getbuffer()[header_bytes:])
        self._records += records

    def _header(self, header: bytes, signals: int) -> bytes:
        """The same, of a file with annotations."""
        plus = f"{self._form.name}+C".encode().ljust(44)
        label = f"{self._form.name} Annotations".encode().ljust(16)
        last = 256 + 16 * (signals - 1)
        return header[:192] + plus + header[236:last] + label + header[last + 16 :]

    def _signals(self, records: int) -> Iterator[EdfSignal | BdfSignal]:
        labels = iter(self._labels)
        for number, strip in enumerate(self._strips.values(), 1):
            stream = strip.stream
            counts, valid = strip.cut(records * self._samples(strip))
            low, high = self._form.low * stream.scale, self._form.high * stream.scale
            unit = "" if stream.unit is Unit.COUNT else str(stream.unit)
            words = f"{_SENSORS[stream.sensor]}, scale {stream.scale!r}"
            for row in counts:
                yield self._form.signal.from_digital(
                    np.ascontiguousarray(row),
                    stream.rate_hz,
                    label=next(labels),
                    transducer_type=words,
                    physical_dimension=unit,
                    physical_range=(low, high),
                )
            label = "VALID" if number == 1 else f"VALID {number}"
            flags = valid.astype(self._form.dtype)
            yield self._form.signal.from_digital(flags, stream.rate_hz, label=label, digital_range=(0, 1))

    def _note_signal(self, records: int) -> EdfSignal | BdfSignal:
        rows = b"".join(self._record_notes(self._records + n) for n in range(records))
        raw = np.frombuffer(rows, np.uint8).reshape(-1, self._form.width)
        if self._form.width == 3:  # of four bytes edfio writes the lower three; the fourth is the sign
            raw = np.concatenate((raw, np.where(raw[:, 2:] > 127, 255, 0).astype(np.uint8)), axis=1)
        numbers = np.ascontiguousarray(raw).view(np.dtype(self._form.dtype).newbyteorder("<")).ravel()
        rate_hz = _NOTE_BYTES / self._form.width / self._record_s
        return self._form.signal.from_digital(
            numbers.astype(self._form.dtype), rate_hz, label=_PLACEHOLDER.decode()
        )

    def _record_notes(self, record: int) -> bytes:
        """The time of a record, and as many annotations as fit."""
        notes = self._timing(record * self._record_s) + b"\x14\x14\x00"
        while self._pending and len(notes) + len(self._pending[0]) <= _NOTE_BYTES:
            notes += self._pending.popleft()
        return notes.ljust(_NOTE_BYTES, b"\x00")

    def _tal(self, onset_s: float, text: str, duration_s: float) -> bytes:
        lasted = f"\x15{duration_s:.6f}".encode() if duration_s else b""
        plain = "".join(c if c.isprintable() else " " for c in text).encode()[:120].decode(errors="ignore")
        return self._timing(onset_s) + lasted + b"\x14" + plain.encode() + b"\x14\x00"

    def _timing(self, seconds: float) -> bytes:
        """The header's time is in whole seconds; the rest is in every annotation."""
        micros = self._start_ns % 10**9 // 1000 + round(seconds * 1e6)
        text = f"+{micros // 10**6}.{micros % 10**6:06d}".rstrip("0").rstrip(".")
        return text.encode()


def _ascii(text: str) -> str:
    folded = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return "".join(c if c.isprintable() else " " for c in folded)


def _labels(names: Sequence[str]) -> list[str]:
    """As EDF can write them: ASCII, 16 characters, each once."""
    labels: list[str] = []
    for n, name in enumerate(names, 1):
        label = _ascii(name)[:16].strip() or f"channel {n}"
        if label in labels:
            label = f"{label[:13].strip()} {n}"
        labels.append(label)
    return labels


def plain_name(source: Source, form: Form, folder: Path) -> Named:
    """Files beside one another: P01_device1_20261122T130500Z.edf."""

    def named(device: KnownDevice, start_ns: int, _: int) -> Path:
        called = _ascii(source.called(device)).replace(" ", "-").replace("/", "-")
        return folder / f"{source.subject}_{called}_{stamp(start_ns)}.{form.name.lower()}"

    return named


def file_labels(written: Written) -> Iterator[tuple[str, Stream | None, str]]:
    """(label, its stream, channel) of each signal of a file in order; None for VALID."""
    labels = iter(_labels([label for stream in written.streams for label in stream.channels]))
    for number, stream in enumerate(written.streams, 1):
        for channel in stream.channels:
            yield next(labels), stream, channel
        yield ("VALID" if number == 1 else f"VALID {number}"), None, ""
