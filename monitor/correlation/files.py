"""Tallies and triggers from CSV files.

Rules:

* A line that cannot be used is refused with its number and reason; the others count. Only a file without the
  columns that must be there is refused whole.
* A time without an offset is UTC.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

import numpy as np

from firmware_interface.errors import Fault
from monitor.correlation.bins import BIN_S, Tallies
from monitor.correlation.triggers import Precision, Reactive, Refusal, Trigger, kind_of

_TALLY_COLUMNS = ("start", "duration_s", "analysable_s", "twitches", "site")
_TRIGGER_COLUMNS = ("occurred_at", "kind")
_SLACK_S = 1.0
"""Of durations and ends, which are rounded."""

Row = dict[str, str]
Choice = TypeVar("Choice", bound=StrEnum)


class TableError(Fault):
    """A CSV file that cannot be read as tallies or triggers; the person's to mend."""


class _LineError(Exception):
    """One line that cannot be used; caught here."""


def read_tallies(path: Path, until_s: float) -> tuple[Tallies, list[Refusal]]:
    """Tallies, in order of site and time, and the lines that were refused.

    Args:
        path: CSV with at least the columns start, duration_s, analysable_s, twitches and site; also session,
            artefacts and activity.
        until_s: now, seconds since 1970 UTC.

    Raises:
        TableError: the file cannot be read as tallies.
    """
    refused: list[Refusal] = []
    parsed = list(_parsed(path, _TALLY_COLUMNS, lambda row: _tally(row, until_s), refused))
    parsed.sort(key=lambda item: (item[1][0], item[1][1]))
    kept: list[_Tally] = []
    line_before = 0
    for line, tally in parsed:
        if kept and kept[-1][0] == tally[0] and tally[1] < kept[-1][1] + kept[-1][2] - _SLACK_S:
            refused.append(Refusal(line, f"overlaps line {line_before} at the same site; left out"))
            continue
        kept.append(tally)
        line_before = line
    return _tallies(kept), sorted(refused, key=lambda refusal: refusal.place)


def read_triggers(path: Path) -> tuple[list[Trigger], list[Refusal]]:
    """Triggers, and the lines that could not be parsed; what else is wrong with them `checked` finds.

    Args:
        path: CSV with at least the columns occurred_at and kind; also ended_at, dose, unit, reactive, precision
            and note.

    Raises:
        TableError: the file cannot be read as triggers.
    """
    refused: list[Refusal] = []
    parsed = list(_parsed(path, _TRIGGER_COLUMNS, _trigger, refused))
    return [_placed(trigger, line) for line, trigger in parsed], refused


# Lines ----------------------------------------------------------------------------------------------------------

_Tally = tuple[str, float, float, float, float, str, float, float]
"""site, start_s, duration_s, analysable_s, twitches, session, artefacts, activity."""
Parsed = TypeVar("Parsed")


def _parsed(
    path: Path, columns: tuple[str, ...], parse: Callable[[Row], Parsed], refused: list[Refusal]
) -> Iterator[tuple[int, Parsed]]:
    """(line number, what it says) of each line that says something; the others go to `refused`."""
    for line, row in read_rows(path, columns):
        try:
            yield line, parse(row)
        except _LineError as error:
            refused.append(Refusal(line, f"{error}; left out"))


def read_rows(path: Path, columns: tuple[str, ...]) -> Iterator[tuple[int, Row]]:
    """(line number, cells by lower-case name) of each line that says something.

    Raises:
        TableError: the file cannot be read, or lacks a column.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise TableError(f"{path}: {error.strerror or error}", "Check the path") from error
    except UnicodeDecodeError as error:
        raise TableError(f"{path.name}: is no text in UTF-8", "Export it as CSV again") from error
    lines = text.splitlines()
    delimiter = max(",;\t", key=lines[0].count) if lines else ","
    reader = csv.reader(lines, delimiter=delimiter)
    try:
        names = [name.strip().lower() for name in next(reader, [])]
        missing = [name for name in columns if name not in names]
        if missing:
            raise TableError(f"{path.name}: has no column {', '.join(missing)}", f"It needs {','.join(columns)}")
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield reader.line_num, dict(zip(names, (cell.strip() for cell in cells), strict=False))
    except csv.Error as error:
        raise TableError(f"{path.name}: line {reader.line_num}: {error}", "Export it as CSV again") from error


def _tally(row: Row, until_s: float) -> _Tally:
    start_s = _time(row, "start")
    duration_s, analysable_s = _number(row, "duration_s"), _number(row, "analysable_s")
    twitches = _number(row, "twitches")
    artefacts, activity = _number(row, "artefacts", math.nan), _number(row, "activity", math.nan, negative=True)
    site = row.get("site", "")
    if not site:
        raise _LineError("has no site")
    if start_s > until_s:
        raise _LineError("is in the future")
    if not 0 < duration_s <= BIN_S + _SLACK_S:
        raise _LineError(f"has a duration of {duration_s:g} s; it must be more than 0 and at most {BIN_S}")
    if analysable_s > duration_s + _SLACK_S:
        raise _LineError(f"has {analysable_s:g} s analysable of {duration_s:g} s")
    if twitches != round(twitches):
        raise _LineError(f"has {twitches:g} twitches")
    if twitches and not analysable_s:
        raise _LineError(f"has {twitches:g} twitches in no analysable time")
    return site, start_s, duration_s, analysable_s, twitches, row.get("session", ""), artefacts, activity


def _trigger(row: Row) -> Trigger:
    dose = _number(row, "dose", math.nan)
    return Trigger(
        kind=kind_of(row.get("kind", "")),
        start_s=_time(row, "occurred_at"),
        end_s=_time(row, "ended_at") if row.get("ended_at") else None,
        dose=None if math.isnan(dose) else dose,
        reactive=_choice(row, "reactive", Reactive.UNKNOWN),
        precision=_choice(row, "precision", Precision.EXACT),
    )


def _placed(trigger: Trigger, line: int) -> Trigger:
    return Trigger(
        trigger.kind, trigger.start_s, trigger.end_s, trigger.dose, trigger.reactive, trigger.precision, line
    )


def _time(row: Row, name: str) -> float:
    text = row.get(name, "")
    try:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        raise _LineError(f"has {text!r} for {name}, which is no ISO 8601 time") from None


def _number(row: Row, name: str, absent: float | None = None, *, negative: bool = False) -> float:
    text = row.get(name, "")
    if not text and absent is not None:
        return absent
    try:
        number = float(text)
    except ValueError:
        raise _LineError(f"has {text!r} for {name}, which is no number") from None
    if not math.isfinite(number) or (number < 0 and not negative):
        raise _LineError(f"has {text!r} for {name}, which must be a number from 0")
    return number


def _choice(row: Row, name: str, absent: Choice) -> Choice:
    text = row.get(name, "").lower()
    try:
        return type(absent)(text) if text else absent
    except ValueError:
        known = ", ".join(type(absent))
        raise _LineError(f"has {text!r} for {name}, which is none of {known}") from None


def _tallies(kept: list[_Tally]) -> Tallies:
    sites = {name: number for number, name in enumerate(sorted({tally[0] for tally in kept}))}
    sessions = {name: number for number, name in enumerate(sorted({tally[5] for tally in kept}))}
    numbers = np.array([(*tally[1:5], *tally[6:]) for tally in kept], np.float64).reshape(-1, 6)
    return Tallies(
        start_s=numbers[:, 0],
        duration_s=numbers[:, 1],
        analysable_s=numbers[:, 2],
        twitches=numbers[:, 3],
        site=np.array([sites[tally[0]] for tally in kept], np.int64),
        sites=tuple(sites),
        session=np.array([sessions[tally[5]] for tally in kept], np.int64),
        artefacts=numbers[:, 4],
        activity=numbers[:, 5],
    )
