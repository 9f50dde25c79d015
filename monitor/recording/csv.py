"""CSV: a row of names, then a row of numbers a sample.

    # rate_hz: 1000                         a comment; needed where there is no column of times
    time_s,biceps [uV],forearm [uV]
    0.000,1.5,-3.25

Rules of this module:

* The first column is the time in seconds if it is called time, time_s or t; every other column is a channel.
* Fields are separated by comma, semicolon or tab, whichever the row of names has most of. Decimal point only.
* An empty field, `nan`, `inf` or a number that no sensor gives is a lost sample in all channels of its stream.
* The file is held in memory as 8 bytes a number; reading it takes some seven times its size for a moment.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from firmware_interface.samples import Timebase
from monitor.recording.channels import (
    RATES_HZ,
    Claim,
    Group,
    RecordingError,
    Wanted,
    believable,
    decoded,
    group,
    shown,
)
from monitor.recording.contents import HOLE, Recording, Track, merged, numbered, present, track

_LARGEST = 1e12
"""In any unit; beyond, arithmetic overflows."""
_CHUNK = 1 << 23
"""Bytes of text that are parsed at once."""
_RATE = re.compile(r"#\s*rate_hz\s*[:=]\s*(.*)")
_TIMES = frozenset({"time", "time_s", "t"})
_SECONDS = frozenset({"", "s", "sec", "seconds"})
_NAME = re.compile(r"(.*?)\s*(?:\[([^\]]*)\])?\s*", re.DOTALL)
_LONGEST_NAME = 200
_JITTER = 0.25
"""Periods. A step this far from a whole number of them is irregular."""
_MOST_IRREGULAR, _MOST_HOLES = 0.05, 0.2
"""Shares of all steps. With more, times are too coarse or too uneven to tell the rate, let alone a loss."""
_MOST_SAMPLES = 1e15
"""A span of more samples is a damaged time, not a recording."""
_FEWEST = 0.98
"""Periods a step, on average. With less, samples would come faster than their rate."""
_GIVE_NAMES = "Begin with a row of names, as in 'time_s,biceps [uV]'"
_GIVE_RATE = "Add a first line '# rate_hz: 1000' with the true rate"


@dataclass(frozen=True, slots=True)
class _Header:
    names: tuple[tuple[str, str], ...]
    """(label, unit) of each column."""
    delimiter: str
    rate_hz: float | None
    lines: int
    """Lines of the file up to the row of names."""

    @property
    def timed(self) -> bool:
        return self.names[0][0].casefold() in _TIMES


def read(path: Path, wanted: Wanted) -> Recording:
    """Read the CSV file at `path`.

    Raises:
        RecordingError: it cannot be read.
        OSError: it cannot be opened.
    """
    notes: list[str] = []
    with path.open("rb") as file:
        header = _header(path.name, file)
        table = np.concatenate([np.empty((0, len(header.names))), *_rows(path.name, file, header, notes)])
    if len(table) < 2:
        raise RecordingError(f"{path.name}: holds {len(table)} rows of numbers", "Export the recording again")
    rate_hz, index = _timing(path.name, header, table)
    channels = header.names[header.timed :]
    claims = [Claim(label, unit, rate_hz) for label, unit in channels]
    groups, omissions = group(path.name, claims, wanted)
    columns = np.ascontiguousarray(table[:, header.timed :].T)
    tracks, silent = _tracks(groups, columns, index, exact=not header.timed)
    if not tracks:
        raise RecordingError(f"{path.name}: no row has a number in every channel", "Leave out the empty columns")
    return Recording(
        path=path,
        streams=tuple(t.stream for t in tracks),
        duration_s=(int(index[-1]) + 1) / rate_hz,
        start=None,
        notes=(*notes, *omissions, *silent),
        pieces=merged(tracks),
    )


def _tracks(
    groups: Sequence[Group], columns: NDArray[np.float64], index: NDArray[np.int64], *, exact: bool
) -> tuple[list[Track], list[str]]:
    made = []
    for g in groups:
        timebase = Timebase(0, 0, 1e9 / g.stream.rate_hz)
        made.append(track(g.stream, index, g.counts([columns[i] for i in g.positions]), timebase, exact=exact))
    return present(groups, made)


def _header(name: str, file: BinaryIO) -> _Header:
    """Read up to the row of names."""
    rate_hz = None
    for number, raw in enumerate(iter(file.readline, b""), 1):
        line = decoded(raw).strip()
        if match := _RATE.match(line):
            rate_hz = _rate(name, match[1])
        elif line and not line.startswith("#"):
            delimiter = max(",;\t", key=line.count)
            names = tuple(_named(name, field) for field in line.split(delimiter))
            return _checked(name, _Header(names, delimiter, rate_hz, number))
    raise RecordingError(f"{name}: has no row of channel names", _GIVE_NAMES)


def _rate(name: str, text: str) -> float:
    try:
        rate_hz = float(text)
    except ValueError:
        rate_hz = 0.0
    if not believable(rate_hz):
        raise RecordingError(f"{name}: rate_hz is {shown(text)}", f"Give {RATES_HZ[0]:g} to {RATES_HZ[1]:g}")
    return rate_hz


def _named(name: str, field: str) -> tuple[str, str]:
    """The label and the unit in "biceps [uV]"."""
    match = _NAME.fullmatch(field.strip().strip('"')) if len(field) <= _LONGEST_NAME else None
    label, unit = match.groups(default="") if match else ("", "")
    if not label or not label.isprintable():
        raise RecordingError(f"{name}: {shown(field)} is no channel name", _GIVE_NAMES)
    return label, unit


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _checked(name: str, header: _Header) -> _Header:
    if all(_is_number(label) for label, _ in header.names):
        raise RecordingError(f"{name}: begins with numbers, not with a row of channel names", _GIVE_NAMES)
    if header.timed and header.names[0][1].casefold() not in _SECONDS:
        raise RecordingError(f"{name}: times are in {shown(header.names[0][1])}", "Give them in seconds")
    if not header.timed and header.rate_hz is None:
        raise RecordingError(f"{name}: has neither a first column 'time_s' nor a rate", _GIVE_RATE)
    return header


def _rows(name: str, file: BinaryIO, header: _Header, notes: list[str]) -> Iterator[NDArray[np.float64]]:
    """The numbers of the file, shape (rows, columns), some at a time."""
    done = header.lines
    while raw := file.readlines(_CHUNK):
        lines = [line.decode("latin-1").rstrip("\r\n") for line in raw]
        if _cut_off(raw[-1], header):
            notes.append(f"line {done + len(lines)}, the last, was cut off and is left out")
            lines[-1] = ""
        if any(_holds_numbers(line) for line in lines):
            yield _numbers(name, lines, done, header)
        done += len(lines)


def _holds_numbers(line: str) -> bool:
    return bool(line.strip()) and not line.startswith("#")


def _cut_off(last: bytes, header: _Header) -> bool:
    """Whether this last line of a chunk is one that a writer did not finish."""
    return not last.endswith(b"\n") and last.count(header.delimiter.encode()) < len(header.names) - 1


def _numbers(name: str, lines: list[str], done: int, header: _Header) -> NDArray[np.float64]:
    rows = [line for line in lines if _holds_numbers(line)]
    try:
        table = _parsed(rows, header.delimiter)
    except ValueError as error:
        raise _blame(name, lines, done, header) from error
    if table.shape[1] != len(header.names):
        raise _blame(name, lines, done, header)
    values = table[:, int(header.timed) :]
    values[np.abs(values) > _LARGEST] = np.nan
    return table


def _parsed(rows: list[str], delimiter: str) -> NDArray[np.float64]:
    """Shape (rows, columns). Empty fields, which numpy refuses, are looked for only if it does."""
    load = partial(np.loadtxt, dtype=np.float64, delimiter=delimiter, comments=None, quotechar='"', ndmin=2)
    try:
        return load(rows)
    except ValueError:
        empty = re.compile(rf"(?:^|(?<={delimiter})) *(?=$|{delimiter})")
        return load([empty.sub("nan", row) for row in rows])


def _blame(name: str, lines: list[str], done: int, header: _Header) -> RecordingError:
    """The error that names the first line that cannot be read."""
    for number, line in enumerate(lines, done + 1):
        fields = [field.strip().strip('"') for field in line.split(header.delimiter)]
        if not _holds_numbers(line):
            continue
        if len(fields) != len(header.names):
            found = f"line {number} has {len(fields)} fields, the row of names {len(header.names)}"
            return RecordingError(f"{name}: {found}", "Export it again with one number a channel in every line")
        for field in fields:
            if field and not _is_number(field):
                return RecordingError(f"{name}: line {number}: {shown(field)} is no number", "Use a decimal point")
    return RecordingError(f"{name}: its lines cannot be read as numbers", "Export it again as plain CSV")


def _timing(name: str, header: _Header, table: NDArray[np.float64]) -> tuple[float, NDArray[np.int64]]:
    """The rate, and the index of each row."""
    if not header.timed:
        assert header.rate_hz is not None  # noqa: S101 - `_checked` saw to it
        return header.rate_hz, np.arange(len(table))
    times_s = table[:, 0]
    bad = np.flatnonzero(~np.isfinite(times_s))
    if len(bad):
        raise RecordingError(f"{name}: row {bad[0] + 1} of numbers has no time", "Give every row its time")
    steps_s = np.diff(times_s)
    back = np.flatnonzero(steps_s < 0)
    if len(back):
        raise RecordingError(
            f"{name}: time runs backwards at row {back[0] + 2} of numbers", "Put the rows in order"
        )
    rate_hz = header.rate_hz or _measured_rate(name, steps_s)
    _check_span(name, float(times_s[-1] - times_s[0]), float(np.median(steps_s)), len(steps_s), rate_hz)
    return rate_hz, numbered(times_s, 1 / rate_hz)


def _measured_rate(name: str, steps_s: NDArray[np.float64]) -> float:
    """The rate of the steps that are no holes: their mean, because rounded times have a wrong median."""
    median_s = float(np.median(steps_s))
    if median_s <= 0:
        raise RecordingError(f"{name}: half of all times repeat the one before", _GIVE_RATE)
    period_s = float(steps_s[np.abs(steps_s / median_s - 1) < HOLE - 1].mean())
    periods = steps_s / period_s
    irregular = (np.abs(periods - np.rint(periods)) > _JITTER) | (periods < _JITTER)
    if irregular.mean() > _MOST_IRREGULAR or (periods > HOLE).mean() > _MOST_HOLES:
        raise RecordingError(f"{name}: times are too irregular to tell the sampling rate", _GIVE_RATE)
    rate_hz = round(1 / period_s, 6)
    if not believable(rate_hz):
        raise RecordingError(f"{name}: times are {period_s:g} s apart", "Give them in seconds")
    return rate_hz


def _check_span(name: str, span_s: float, median_s: float, steps: int, rate_hz: float) -> None:
    """Whether times of this span and median step can be those of a recording at `rate_hz`."""
    if span_s * rate_hz > _MOST_SAMPLES:
        raise RecordingError(f"{name}: times span {span_s:g} s", "Correct the times")
    if median_s * rate_hz > HOLE or span_s * rate_hz < _FEWEST * steps:
        raise RecordingError(f"{name}: {rate_hz:g} Hz and the column of times do not agree", "Correct one of them")
