"""Events as lines, for programs (JSON) and for people.

Rule: the JSON objects are an interface that others rely on: extend, do not rename. Recordings have times in
seconds from their start (`onset_s`); live and stored events have UTC (`onset`, ISO 8601).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from firmware_interface.samples import Gap
from monitor.alerts.engine import Alert
from monitor.correlation.triggers import Precision, Reactive
from monitor.detection.events import Context, Twitch
from monitor.diary import Entry
from monitor.logbook import Answer
from monitor.replay import ChannelSummary

Fields = dict[str, object]


def utc(time_ns: int) -> str:
    """ISO 8601 with milliseconds: 2026-11-22T13:05:00.123Z."""
    moment = datetime.fromtimestamp(time_ns // 1_000_000 / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def local(time_ns: int) -> str:
    """Date and time of day where the reader is, to the second."""
    return datetime.fromtimestamp(time_ns // 1_000_000_000, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def length(seconds: float) -> str:
    """A length of time for a person, in the unit that suits it."""
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} s"


def battery(percent: int | None) -> str:
    """The charge of a device for a person."""
    return "battery ?" if percent is None else f"battery {percent} %"


def impedance(ohm: Sequence[int]) -> str:
    """That of the electrodes for a person, channel by channel."""
    return "/".join(f"{each / 1e3:.0f}" for each in ohm) + " kΩ"


def as_json(fields: Fields) -> str:
    """One line; no number that JSON does not know."""
    return json.dumps(fields, ensure_ascii=False, allow_nan=False)


def twitch(event: Twitch) -> Fields:
    """A twitch without its time."""
    return {
        "type": "twitch",
        "channel": event.channel,
        "duration_s": round(event.duration_s, 6),
        "peak": round(event.peak, 4),
        "peak_to_peak": round(event.peak_to_peak, 4),
        "unit": str(event.unit),
        "snr": round(event.snr, 2),
        "confidence": round(event.confidence, 3),
        "phases": event.phases,
        "turns": event.turns,
        "median_hz": None if event.median_hz is None else round(event.median_hz, 1),
        "motor_unit": event.motor_unit,
        "follows_s": None if event.follows_s is None else round(event.follows_s, 6),
        "amplitudes": {channel: round(amplitude, 4) for channel, amplitude in event.amplitudes},
    }


def context(event: Context) -> Fields:
    """A context without its time."""
    duration_s = round(event.duration_s, 6)
    return {"type": "context", "state": str(event.state), "channel": event.channel, "duration_s": duration_s}


def gap(event: Gap) -> Fields:
    """A gap, with its time."""
    return {
        "type": "gap",
        "reason": str(event.reason),
        "stream": event.stream.name,
        "onset": utc(event.start_ns),
        "duration_s": round((event.end_ns - event.start_ns) * 1e-9, 6),
        "missing": event.missing,
        "exact": event.exact,
    }


def from_start(event: Twitch | Context) -> Fields:
    """An event of a recording."""
    fields = twitch(event) if isinstance(event, Twitch) else context(event)
    return _with_time(fields, "onset_s", round(event.onset_ns * 1e-9, 6))


def at_utc(event: Twitch | Context | Gap, device: str) -> Fields:
    """A live or stored event of `device`."""
    if isinstance(event, Gap):
        fields = gap(event)
    else:
        shape = twitch(event) if isinstance(event, Twitch) else context(event)
        fields = _with_time(shape, "onset", utc(event.onset_ns))
    return {"type": fields.pop("type"), "device": device, **fields}


def summary(channel: ChannelSummary) -> Fields:
    """What a channel of a recording yielded."""
    rate = channel.rate_per_min
    return {
        "type": "summary",
        "channel": channel.channel,
        "recorded_s": round(channel.recorded_s, 3),
        "analysable_s": round(channel.analysable_s, 3),
        "twitches": channel.twitches,
        "rate_per_min": None if rate is None else round(rate, 3),
    }


def entry(number: int, said: Entry) -> Fields:
    """An entry of the diary."""
    return {
        "type": "entry",
        "id": number,
        "kind": said.kind,
        "occurred_at": utc(said.occurred_ns),
        "ended_at": None if said.ended_ns is None else utc(said.ended_ns),
        "running": said.running,
        "dose": said.dose,
        "unit": said.unit,
        "site": said.site,
        "precision": str(said.precision),
        "reactive": str(said.reactive),
        "note": said.note,
    }


def alert(event: Alert) -> Fields:
    """A change of an alert, and how it is from then on."""
    return {
        "type": "alert",
        "name": event.name,
        "kind": str(event.kind),
        "at": utc(event.at_ns),
        "change": str(event.change),
        "raised": event.raised,
        "severity": str(event.severity),
        "since": None if event.since_ns is None else utc(event.since_ns),
        "why": event.why,
        "silence": event.silence,
        "value": event.value,
        "device": event.device,
        "site": event.site,
        "announce": event.announce,
        "acknowledged": event.acknowledged,
        "snoozed_until": None if event.snoozed_until_ns is None else utc(event.snoozed_until_ns),
    }


DONE: Final = {"edit": "edited", "delete": "deleted", "stop": "ended"}
"""Verb -> what was done by it; "logged" by the others."""


def answer(verb: str, said: Answer) -> list[Fields]:
    """What was understood of an act of logging, what must be said with it, and what was taken back."""
    done = [
        entry(each.id, each.entry)
        | {"action": DONE.get(verb, "logged"), "repeated": each.repeated, "notes": list(said.notes)}
        for each in said.receipts
    ]
    undone: list[Fields] = [
        {"type": "undone", "id": change.entry_id, "action": str(change.action)} for change in said.undone
    ]
    return done + undone


def plain_entry(said: Entry) -> str:
    """An entry of the diary for a person, with its time."""
    unit = "of 10" if said.unit == "0-10" else said.unit
    amount = "" if said.dose is None else f" {said.dose:g} {unit}".rstrip()
    if said.dose == 0:
        amount = " none"
    when = local(said.occurred_ns)
    if said.precision is Precision.DAY:
        when = when[:10]
    elif said.precision is not Precision.EXACT:
        when += f" ± {said.precision}"
    end = " and running" if said.running else ""
    if said.ended_ns is not None:
        end = f" to {local(said.ended_ns)}"
    site = f" ({said.site})" if said.site else ""
    because = ", because of twitching" if said.reactive is Reactive.YES else ""
    return f"{said.kind}{amount}{site}, {when}{end}{because}" + (f": {said.note}" if said.note else "")


def three_digits(value: float) -> str:
    """At least as many, and no power of ten: "0.0123", "46.4", "1061"."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def plain(event: Twitch | Context | Gap) -> str:
    """One event for a person, without its time."""
    match event:
        case Twitch():
            size = f"{three_digits(event.peak_to_peak)} {event.unit}"
            shape = f"{size} peak to peak, {event.duration_s * 1e3:.0f} ms, SNR {event.snr:.0f}"
            return f"twitch on {event.channel}: {shape}"
        case Context():
            return f"{event.state.replace('_', ' ')} on {event.channel} for {event.duration_s:.1f} s"
        case Gap():
            gone = length((event.end_ns - event.start_ns) * 1e-9)
            return f"gap of {gone} on {event.stream.name}: {event.reason}"


def _with_time(fields: Fields, key: str, value: object) -> Fields:
    head = {"type": fields["type"], "channel": fields["channel"], key: value}
    return head | {name: field for name, field in fields.items() if name not in head}
