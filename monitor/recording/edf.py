"""EDF, EDF+, BDF and BDF+, through edfio.

Rules of this module:

* A window of data records under the file's header is itself a valid file, and the only thing that edfio sees.
  So memory is bounded for BDF too, a file that shrinks while it is read is an error and not a crash (as it
  would be in a memory map), and the numbers of records are ours to check.
* The header is checked against the file's size here, before edfio reads it.
* edfio reads EDF+D as if it were continuous. Here each record's own onset is read, and time between records
  is a gap.
* A channel VALID, as we export it, says with 1 which samples of the channels before it were received, back to the
  VALID before that. The rest is a gap. Our scale stands in the transducer field, whole: the header rounds it.
"""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import partial
from itertools import chain, pairwise
from pathlib import Path
from typing import BinaryIO

import numpy as np
from edfio import Bdf, BdfSignal, Edf, EdfSignal, read_bdf, read_edf
from numpy.typing import NDArray

from firmware_interface.samples import Gap, GapReason, SampleBlock, Timebase
from monitor.recording.channels import Claim, Group, RecordingError, Wanted, decoded, group, one_line, shown
from monitor.recording.contents import Piece, Recording

_FIXED = 256
"""Bytes of the header before the signals', and of each signal's."""
_REPAIR = "Export the recording again, or repair its header with EDFbrowser"
_ONSET = re.compile(rb"([+-]\d{1,12}(?:\.\d{1,12})?)[\x14\x15]")
"""The time-keeping annotation that begins each record of EDF+: "+567.25" and a separator."""
_VALID = re.compile(r"VALID(?: \d+)?")
_SCALE = re.compile(r"\bscale (\d+(?:\.\d+)?(?:e[+-]?\d+)?)")
_ROUNDED = 1e-3
"""By which the header may differ from the scale that it rounds."""
_ANNOTATIONS = (b"EDF Annotations", b"BDF Annotations")
_HUGE = 1e30
"""No physical limit is larger, and products with it stay finite."""


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where the numbers are in a file, checked against its size."""

    path: Path
    header: bytes
    width: int
    """Bytes of a sample: 2 in EDF, 3 in BDF."""
    record_s: float
    sizes: tuple[int, ...]
    """Samples a record of each signal, annotations included."""
    promised: int
    """Records by the header; -1 if it was never closed."""
    records: int
    """Whole records that are there."""
    spare: int
    """Bytes of a last record that was cut off."""

    @property
    def record_bytes(self) -> int:
        return sum(self.sizes) * self.width

    @property
    def discontinuous(self) -> bool:
        return self.header[192:197] in (b"EDF+D", b"BDF+D")


@dataclass(frozen=True, slots=True)
class _Run:
    """Records without time between them."""

    first: int
    stop: int
    start_ns: int


def read(path: Path, wanted: Wanted) -> Recording:
    """Open the EDF or BDF file at `path`.

    Raises:
        RecordingError: it cannot be read.
        OSError: it cannot be opened.
    """
    with path.open("rb") as file:
        layout = _layout(path, file)
        runs = list(_runs(layout, file))
        first = _load(layout, file, 0, 1)
    kept, valid = _validity(first.signals)
    claims, doubts = _claims([first.signals[i] for i in kept], valid)
    groups, omissions = group(path.name, claims, wanted)
    sources = [_Source(g, tuple(kept[i] for i in g.positions), valid[g.positions[0]]) for g in groups]
    windows = partial(_windows, layout, runs, sources)
    last = runs[-1]
    return Recording(
        path=path,
        streams=tuple(g.stream for g in groups),
        duration_s=last.start_ns / 1e9 + (last.stop - last.first) * layout.record_s,
        start=_start(first),
        notes=(*_shortfall(layout), *doubts, *omissions),
        pieces=lambda seconds: chain.from_iterable(windows(seconds, 0)),
        windows=windows,
    )


def _layout(path: Path, file: BinaryIO) -> _Layout:
    size = path.stat().st_size
    fixed = file.read(_FIXED)
    width = _width(path.name, fixed)
    if len(fixed) < _FIXED:
        raise RecordingError(f"{path.name}: cut off within its header, after {size} bytes", "Copy it again")
    signals = _count(path.name, "number of signals", fixed[252:256])
    promised = _count(path.name, "number of records", fixed[236:244], least=-1)
    if _count(path.name, "header size", fixed[184:192]) != _FIXED * (signals + 1):
        raise RecordingError(f"{path.name}: header size and {signals} signals do not agree", _REPAIR)
    if size < _FIXED * (signals + 1):
        raise RecordingError(f"{path.name}: cut off within its header, after {size} bytes", "Copy it again")
    header = fixed + file.read(_FIXED * signals)
    sizes = _sizes(path.name, header, signals)
    records, spare = divmod(size - len(header), sum(sizes) * width)
    if records == 0:
        raise RecordingError(f"{path.name}: holds no whole data record", "Copy or export it again")
    return _Layout(path, header, width, _record_s(path.name, fixed), sizes, promised, records, spare)


def _width(name: str, fixed: bytes) -> int:
    if fixed[:8] == b"\xffBIOSEMI":
        return 3
    if fixed[:8].rstrip(b" \x00") == b"0":
        return 2
    raise RecordingError(
        f"{name}: begins with {shown(fixed[:8])}, which neither EDF nor BDF does", "Check the file"
    )


def _count(name: str, what: str, field: bytes, least: int = 1) -> int:
    try:
        value = int(field.strip(b" \x00"))
    except ValueError:
        raise RecordingError(f"{name}: {what} {shown(field)} is no number", _REPAIR) from None
    if value < least:
        raise RecordingError(f"{name}: {what} is {value}", _REPAIR)
    return value


def _sizes(name: str, header: bytes, signals: int) -> tuple[int, ...]:
    start = _FIXED + signals * 216  # after label, transducer, dimension, ranges and prefilter of all signals
    fields = (header[start + 8 * i : start + 8 * (i + 1)] for i in range(signals))
    return tuple(_count(name, "number of samples a record", field) for field in fields)


def _record_s(name: str, fixed: bytes) -> float:
    try:
        seconds = float(fixed[244:252].strip(b" \x00"))
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise RecordingError(f"{name}: duration of a record is {shown(fixed[244:252])}", _REPAIR)
    return seconds


def _shortfall(layout: _Layout) -> Iterator[str]:
    if layout.promised not in (-1, layout.records):
        yield f"the header promises {layout.promised} data records, the file holds {layout.records}"
    elif layout.promised == -1:
        yield f"the header was never closed; the file holds {layout.records} data records"
    if layout.spare:
        yield f"the last data record was cut off; its {layout.spare} bytes are left out"


def _load(layout: _Layout, file: BinaryIO, first: int, records: int) -> Edf | Bdf:
    """`records` data records from `first` on, as a file of their own."""
    size = records * layout.record_bytes
    file.seek(len(layout.header) + first * layout.record_bytes)
    data = file.read(size)
    if len(data) < size:
        raise RecordingError(
            f"{layout.path.name}: became shorter while it was read", "Read it when it is complete"
        )
    header = layout.header[:236] + b"%-8d" % records + layout.header[244:]
    reader = read_edf if layout.width == 2 else read_bdf
    try:
        return reader(header + data, header_encoding="latin-1")
    except ValueError as error:
        raise RecordingError(f"{layout.path.name}: {one_line(str(error))}", _REPAIR) from error


def _start(first: Edf | Bdf) -> datetime | None:
    """When it began. A date that is anonymous, absent or impossible is no reason to refuse samples."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # two dates that differ: edfio takes the newer field
        try:
            return first.startdatetime
        except (ValueError, LookupError, ArithmeticError):
            return None


def _validity(signals: Sequence[EdfSignal | BdfSignal]) -> tuple[list[int], list[int]]:
    """Where the channels are among the signals, and where the VALID of each is; -1 for those without one."""
    kept: list[int] = []
    valid: list[int] = []
    for i, signal in enumerate(signals):
        if _VALID.fullmatch(_text(signal.label)) and _is_flag(signal):
            covered = [n for n, v in enumerate(valid) if v == -1 and _alike(signals[kept[n]], signal)]
            for n in covered:
                valid[n] = i
        else:
            kept.append(i)
            valid.append(-1)
    return kept, valid


def _is_flag(signal: EdfSignal | BdfSignal) -> bool:
    try:
        return tuple(signal.digital_range) == (0, 1)
    except ValueError:
        return False


def _alike(signal: EdfSignal | BdfSignal, other: EdfSignal | BdfSignal) -> bool:
    return signal.samples_per_data_record == other.samples_per_data_record


def _claims(signals: Sequence[EdfSignal | BdfSignal], valid: Sequence[int]) -> tuple[list[Claim], list[str]]:
    claims, doubts = [], []
    for signal, clock in zip(signals, valid, strict=True):
        label, hint = _text(signal.label), _text(signal.transducer_type)
        calibration = _calibration(signal)
        if calibration is None:
            doubts.append(f"channel {label!r}: its header gives no usable physical range, so it is read as counts")
            claims.append(Claim(label, "", signal.sampling_frequency, hint, clock=clock))
        else:
            dimension = _text(signal.physical_dimension)
            exact = _unrounded(calibration, hint)
            claims.append(Claim(label, dimension, signal.sampling_frequency, hint, *exact, clock=clock))
    return claims, doubts


def _text(field: str) -> str:
    return decoded(field.encode("latin-1")).strip(" \x00")


def _calibration(signal: EdfSignal | BdfSignal) -> tuple[float, float] | None:
    """Physical units a count, and the counts to add before; `None` if the header has no usable ranges."""
    try:
        low, high = signal.physical_range
        bottom, top = signal.digital_range
    except ValueError:
        return None
    if low == high or bottom == top or not (abs(low) < _HUGE and abs(high) < _HUGE):
        return None
    gain = (high - low) / (top - bottom)
    offset = high / gain - top if gain else math.inf
    return (gain, offset) if abs(offset) < _HUGE else None


def _unrounded(calibration: tuple[float, float], hint: str) -> tuple[float, float]:
    """Our own scale, where the file names it and the header says the same, rounded."""
    match = _SCALE.search(hint)
    scale = float(match[1]) if match else 0.0
    return (scale, 0.0) if scale and math.isclose(scale, calibration[0], rel_tol=_ROUNDED) else calibration


def _runs(layout: _Layout, file: BinaryIO) -> Iterator[_Run]:
    """The stretches of records without time between them: one, unless the header says EDF+D or BDF+D.

    A record that begins less than half a sample of the fastest signal after the end of the one before it
    follows on it.
    """
    if not layout.discontinuous:
        yield _Run(0, layout.records, 0)
        return
    duration_ns = layout.record_s * 1e9
    hole_ns = duration_ns / max(layout.sizes) / 2
    onsets = _onsets(layout, file)
    origin = start = previous = next(onsets)
    first = 0
    for record, onset in enumerate(onsets, 1):
        if onset <= previous:
            raise RecordingError(
                f"{layout.path.name}: data record {record} begins before the one before it", _REPAIR
            )
        if onset - previous - duration_ns >= hole_ns:
            yield _Run(first, record, start - origin)
            first, start = record, onset
        previous = onset
    yield _Run(first, layout.records, start - origin)


def _onsets(layout: _Layout, file: BinaryIO) -> Iterator[int]:
    """When each record begins, in ns after the time in the header."""
    offset, size = _timekeeping(layout)
    for record in range(layout.records):
        file.seek(len(layout.header) + record * layout.record_bytes + offset)
        match = _ONSET.match(file.read(size))
        if match is None:
            raise RecordingError(f"{layout.path.name}: data record {record} does not say when it begins", _REPAIR)
        yield int(Decimal(match[1].decode()) * 10**9)


def _timekeeping(layout: _Layout) -> tuple[int, int]:
    """Place and size in bytes, within a record, of the first annotation signal."""
    for i, label in enumerate(_labels(layout)):
        if label in _ANNOTATIONS:
            return sum(layout.sizes[:i]) * layout.width, layout.sizes[i] * layout.width
    raise RecordingError(f"{layout.path.name}: has interruptions but does not say when", _REPAIR)


@dataclass(frozen=True, slots=True, eq=False)
class _Source:
    """Where the samples of a stream are among the signals of its file."""

    group: Group
    positions: tuple[int, ...]
    valid: int
    """That of its VALID; -1 without one."""


class _Cursor:
    """How far the reading of one stream has come."""

    def __init__(self, source: _Source) -> None:
        self._source = source
        self._stream = source.group.stream
        self._base = Timebase(0, 0, 1e9 / self._stream.rate_hz)
        self._next = 0

    def take(self, window: Edf | Bdf) -> Iterator[Piece]:
        """The stream's samples in the next records, and what was not received of them."""
        numbers = [window.signals[i].digital for i in self._source.positions]
        first = self._next
        self._next += len(numbers[0])
        for start, stop, received in self._runs(window, len(numbers[0])):
            if received:
                counts = self._source.group.counts([each[start:stop] for each in numbers])
                yield SampleBlock(self._stream, first + start, self._base, counts)
            else:
                ends_ns = self._base.at(first + start), self._base.at(first + stop)
                yield Gap(self._stream, *ends_ns, stop - start, GapReason.LOST)

    def _runs(self, window: Edf | Bdf, length: int) -> list[tuple[int, int, bool]]:
        """(start, stop, received) of the stretches of a window."""
        if self._source.valid < 0:
            return [(0, length, True)]
        valid: NDArray[np.bool_] = window.signals[self._source.valid].digital > 0
        edges = [0, *(np.flatnonzero(np.diff(valid)) + 1).tolist(), length]
        return [(start, stop, bool(valid[start])) for start, stop in pairwise(edges)]

    def pass_over(self, samples: int) -> None:
        """Go on behind so many samples, unread."""
        self._next += samples

    def resume(self, at_ns: int) -> Gap:
        """The time until the run that begins at `at_ns`. Nothing was lost on the way: nobody recorded."""
        start_ns = min(self._base.at(self._next), at_ns)
        missing = round((at_ns - start_ns) / self._base.period_ns)
        self._next += missing
        self._base = Timebase(self._next, at_ns, self._base.period_ns)
        return Gap(self._stream, start_ns, at_ns, missing, GapReason.STOPPED, exact=False)


def _windows(
    layout: _Layout, runs: Sequence[_Run], sources: Sequence[_Source], seconds: float, skip: int
) -> Iterator[list[Piece]]:
    """The pieces of some records at a time, the first `skip` times left out."""
    records = max(1, int(seconds / layout.record_s))
    cursors = [_Cursor(source) for source in sources]
    sizes = [layout.sizes[_placed(layout)[source.positions[0]]] for source in sources]
    try:
        with layout.path.open("rb") as file:
            for run in runs:
                gaps: list[Piece] = [cursor.resume(run.start_ns) for cursor in cursors] if run.first else []
                for first in range(run.first, run.stop, records):
                    count = min(records, run.stop - first)
                    if skip:
                        skip -= 1
                        for cursor, size in zip(cursors, sizes, strict=True):
                            cursor.pass_over(count * size)
                    else:
                        window = _load(layout, file, first, count)
                        yield [*gaps, *(piece for cursor in cursors for piece in cursor.take(window))]
                    gaps = []
    except OSError as error:
        raise RecordingError(
            f"{layout.path}: {error.strerror or error}", "Leave it in place until it is read"
        ) from error


def _placed(layout: _Layout) -> list[int]:
    """Where each ordinary signal is among all: annotations are not counted by edfio."""
    return [i for i, label in enumerate(_labels(layout)) if label not in _ANNOTATIONS]


def read_annotations(path: Path, seconds: float = 60.0) -> list[tuple[str, float, float]]:
    """What a person wrote into the file at `path`: text, onset and duration, both in seconds from its start.

    Raises:
        RecordingError: it cannot be read.
        OSError: it cannot be opened.
    """
    with path.open("rb") as file:
        layout = _layout(path, file)
        if not _has_annotations(layout):
            return []
        begins = list(_onsets(layout, file))
        records = max(1, int(seconds / layout.record_s))
        written: list[tuple[str, float, float]] = []
        for first in range(0, layout.records, records):
            window = _load(layout, file, first, min(records, layout.records - first))
            later_s = (begins[first] - begins[0]) * 1e-9  # edfio counts from the window's first record
            try:
                written += [(a.text, round(a.onset + later_s, 9), a.duration or 0.0) for a in window.annotations]
            except ValueError as error:
                raise RecordingError(f"{path.name}: its annotations are damaged", _REPAIR) from error
    return written


def _has_annotations(layout: _Layout) -> bool:
    return any(label in _ANNOTATIONS for label in _labels(layout))


def _labels(layout: _Layout) -> list[bytes]:
    return [layout.header[_FIXED + 16 * i : _FIXED + 16 * (i + 1)].rstrip() for i in range(len(layout.sizes))]
