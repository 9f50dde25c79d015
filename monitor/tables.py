"""What leaves as tables: the columns of each, and a row of each from what was found.

Rules:

* Times are ns since 1970 UTC in Parquet and ISO 8601 in CSV; both come from the same rows.
* A column holds one type. What is not known is `None`, never 0.
* The waveform of a twitch stays in the store: here is what was measured of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from firmware_interface.samples import Gap
from monitor.detection.events import Context, Twitch
from monitor.diary import Entry
from monitor.tally import Minute

Value = str | int | float | bool | None
Row = tuple[Value, ...]
Kind = type[str] | type[int] | type[float] | type[bool]


@dataclass(frozen=True, slots=True)
class Table:
    """A name, and the type of each column in order."""

    name: str
    columns: dict[str, Kind]


TWITCHES: Final = Table(
    "twitches",
    {
        "source": str,
        "channel": str,
        "onset_ns": int,
        "duration_s": float,
        "peak": float,
        "peak_to_peak": float,
        "unit": str,
        "snr": float,
        "confidence": float,
        "phases": int,
        "turns": int,
        "median_hz": float,
        "motor_unit": int,
        "follows_s": float,
    },
)
MINUTES: Final = Table(
    "minutes",
    {
        "source": str,
        "channel": str,
        "start_ns": int,
        "observed_s": float,
        "analysable_s": float,
        "twitches": int,
        "site": str,
    },
)
CONTEXTS: Final = Table(
    "contexts", {"source": str, "channel": str, "state": str, "onset_ns": int, "duration_s": float}
)
GAPS: Final = Table(
    "gaps",
    {
        "source": str,
        "stream": str,
        "reason": str,
        "start_ns": int,
        "end_ns": int,
        "missing": int,
        "exact": bool,
    },
)
TRIGGERS: Final = Table(
    "triggers",
    {
        "kind": str,
        "occurred_ns": int,
        "ended_ns": int,
        "dose": float,
        "unit": str,
        "site": str,
        "precision": str,
        "reactive": str,
        "note": str,
    },
)


def twitch_row(source: str, event: Twitch) -> Row:
    """Of `TWITCHES`."""
    return (
        source,
        event.channel,
        event.onset_ns,
        event.duration_s,
        event.peak,
        event.peak_to_peak,
        str(event.unit),
        event.snr,
        event.confidence,
        event.phases,
        event.turns,
        event.median_hz,
        event.motor_unit,
        event.follows_s,
    )


def minute_row(source: str, minute: Minute, site: str) -> Row:
    """Of `MINUTES`. Channels of one site, the axes of an accelerometer, saw the same time."""
    return (
        source,
        minute.channel,
        minute.start_ns,
        minute.observed_s,
        minute.analysable_s,
        minute.twitches,
        site,
    )


def context_row(source: str, event: Context) -> Row:
    """Of `CONTEXTS`."""
    return source, event.channel, str(event.state), event.onset_ns, event.duration_s


def gap_row(source: str, gap: Gap) -> Row:
    """Of `GAPS`."""
    return source, gap.stream.name, str(gap.reason), gap.start_ns, gap.end_ns, gap.missing, gap.exact


def trigger_row(entry: Entry, *, with_note: bool) -> Row:
    """Of `TRIGGERS`. What a person wrote in words may name people, so it goes only where that is wanted."""
    return (
        entry.kind,
        entry.occurred_ns,
        entry.ended_ns,
        entry.dose,
        entry.unit,
        entry.site,
        str(entry.precision),
        str(entry.reactive),
        entry.note if with_note else "",
    )
