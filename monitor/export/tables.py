"""What was found, as CSV or Parquet: twitches, minutes, contexts, gaps, triggers; and the raw signal as Parquet.

Rule: a day at a time goes from the store to the files, so that memory does not grow with the years.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Final

import numpy as np

from monitor import parquet
from monitor.export.source import Source, new_file
from monitor.raw import Holding
from monitor.tables import (
    CONTEXTS,
    GAPS,
    MINUTES,
    TRIGGERS,
    TWITCHES,
    Row,
    Table,
    Value,
    context_row,
    gap_row,
    minute_row,
    trigger_row,
    twitch_row,
)

_DAY_NS: Final = 86400 * 10**9
_WINDOW_NS: Final = 60 * 10**9

Batches = Iterator[list[Row]]


def _days(source: Source) -> Iterator[tuple[int, int]]:
    """The stretches that are read at once: days of UTC."""
    for start_ns in range(source.since_ns - source.since_ns % _DAY_NS, source.until_ns, _DAY_NS):
        yield max(start_ns, source.since_ns), min(start_ns + _DAY_NS, source.until_ns)


def _found(source: Source, table: Table) -> Batches:
    """The rows of a table, a day at a time."""
    called = {device.id: source.called(device) for device in source.devices}
    site_of = {known.id: known.device.site for known in source.devices}
    archive = source.archive
    for start_ns, end_ns in _days(source):
        match table.name:
            case "twitches":
                twitches = archive.twitches(start_ns, end_ns)
                yield [twitch_row(called[d], each) for d, each in twitches if d in called]
            case "minutes":
                minutes = archive.minutes(start_ns, end_ns)
                yield [minute_row(called[d], each, site_of[d](each.channel)) for d, each in minutes if d in called]
            case "contexts":
                contexts = archive.contexts(start_ns, end_ns)
                yield [
                    context_row(called[d], each)
                    for d, each in contexts
                    if d in called and each.onset_ns >= start_ns
                ]
            case _:
                gaps = archive.gaps(start_ns, end_ns)
                yield [gap_row(called[d], each) for d, each in gaps if d in called and each.start_ns >= start_ns]


def _tables(source: Source) -> Iterator[tuple[Table, Batches]]:
    for table in (TWITCHES, MINUTES, CONTEXTS, GAPS):
        yield table, _found(source, table)
    yield TRIGGERS, iter([[trigger_row(each, with_note=source.identified) for each in source.entries]])


def export_csv(source: Source, folder: Path) -> Iterator[Path]:
    """Write a file for each table, and give it once it is whole.

    Raises:
        ExportError: one cannot be written.
    """
    for table, batches in _tables(source):
        path = folder / f"{source.subject}_{table.name}.csv"
        with new_file(path) as file:
            _write_csv(file, table, batches)
        yield path


def _write_csv(file: IO[bytes], table: Table, batches: Batches) -> None:
    text = io.TextIOWrapper(file, encoding="utf-8", newline="")
    writer = csv.writer(text)
    times = [name.endswith("_ns") for name in table.columns]
    writer.writerow(_titled(name, is_time) for name, is_time in zip(table.columns, times, strict=True))
    for rows in batches:
        for row in rows:
            writer.writerow(_cell(value, is_time) for value, is_time in zip(row, times, strict=True))
    text.flush()
    text.detach()


def _titled(name: str, is_time: bool) -> str:
    """The diary's own words for times, so that its triggers can be imported again."""
    if not is_time:
        return name
    return {"occurred_ns": "occurred_at", "ended_ns": "ended_at"}.get(name, name.removesuffix("_ns"))


def _cell(value: Value, is_time: bool) -> Value:
    if not is_time or not isinstance(value, int):
        return "" if value is None else value
    moment = datetime.fromtimestamp(value // 10**9, UTC).replace(tzinfo=None)
    return f"{moment.isoformat()}.{value % 10**9:09d}Z"


def export_parquet(source: Source, folder: Path, heard: Callable[[float], None]) -> Iterator[Path]:
    """Write a file for each table and for each stream of raw signal, and give it once it is whole.

    Raises:
        ExportError: one cannot be written.
        ParquetError: pyarrow is not installed.
    """
    for table, batches in _tables(source):
        path = folder / f"{source.subject}_{table.name}.parquet"
        with new_file(path) as file:
            parquet.write(file, table, batches)
        yield path
    for device in source.devices:
        for number, held in enumerate(source.holdings(device), 1):
            name = f"{source.subject}_{source.called(device)}_{held.stream.name}_{number}.parquet"
            path = folder / name.replace(" ", "-").replace("/", "-")
            with new_file(path) as file:
                _write_signal(source, file, held, heard)
            yield path


def _write_signal(source: Source, file: IO[bytes], held: Holding, heard: Callable[[float], None]) -> None:
    """Index, time and count of every sample that was kept, a minute at a time."""
    stream = held.stream
    channels = [f"{n} {label}" for n, label in enumerate(stream.channels, 1)]
    kind = "float32" if held.is_float else "int32"
    columns = {"index": "int64", "time_ns": "int64"} | dict.fromkeys(channels, kind)
    said = {
        "sensor": str(stream.sensor),
        "unit": str(stream.unit),
        "scale": repr(stream.scale),
        "rate_hz": repr(stream.rate_hz),
    }
    since_ns, until_ns = max(held.start_ns, source.since_ns), min(held.end_ns, source.until_ns)
    with parquet.signal_writer(file, columns, said) as put:
        for start_ns in range(since_ns, until_ns, _WINDOW_NS):
            end_ns = min(start_ns + _WINDOW_NS, until_ns)
            for block in source.raw.window(held.device_id, stream.name, start_ns, end_ns).blocks:
                if block.stream == stream and start_ns <= block.start_ns < end_ns:
                    places = block.first + np.arange(block.length)
                    times = np.array([block.timebase.at(i) for i in places.tolist()], np.int64)
                    put([places, times, *(row.astype(kind) for row in block.counts)])
            heard((end_ns - source.since_ns) * 1e-9)
