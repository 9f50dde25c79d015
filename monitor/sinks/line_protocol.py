"""Letters as InfluxDB takes them: one line each, `measurement,tags fields time`.

Rules of this module:

* Measurements, tags and fields are an interface: docs/influxdb.md. Extend, do not rename. Their names stand in
  `Measurement`, `Tag` and `Field` and nowhere else; what each measurement has, in `SCHEMA`. Dashboards are made of
  these.
* Pure. The same letter is the same line, so that a line that is sent twice is one point.
* A tag names something that has few values; everything else is a field. A field always has the same type.
* What the protocol cannot say is not said: a backslash in a tag becomes a slash, control characters become spaces,
  an empty tag and a number that is none are left out.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from firmware_interface.samples import Gap
from monitor.alerts.engine import Alert
from monitor.bulletins import Disk, Found, FoundLag, Noted, Waiting
from monitor.detection.events import Context, Twitch
from monitor.outbox import Contents, Letter, kind, time_ns
from monitor.store import Condition, Health, Linked
from monitor.tally import Minute


class Measurement(StrEnum):
    """What a point tells of."""

    TWITCH = "twitch"
    MINUTE = "minute"
    CONTEXT = "context"
    GAP = "gap"
    HEALTH = "health"
    TRIGGER = "trigger"
    ALERT = "alert"
    FINDING = "finding"
    LAG = "lag"


class Tag(StrEnum):
    """What has few values, and is grouped by."""

    NODE = "node"
    DEVICE = "device"
    CHANNEL = "channel"
    SITE = "site"
    HOUR = "hour"
    STATE = "state"
    STREAM = "stream"
    REASON = "reason"
    CONDITION = "condition"
    SINK = "sink"
    ALERT = "alert"
    KIND = "kind"
    CHANGE = "change"
    TRIGGER = "trigger"
    FROM_H = "from_h"


class Field(StrEnum):
    """A value."""

    ID = "id"
    DURATION_S = "duration_s"
    PEAK = "peak"
    PEAK_TO_PEAK = "peak_to_peak"
    UNIT = "unit"
    SNR = "snr"
    CONFIDENCE = "confidence"
    PHASES = "phases"
    TURNS = "turns"
    MEDIAN_HZ = "median_hz"
    MOTOR_UNIT = "motor_unit"
    FOLLOWS_S = "follows_s"
    OBSERVED_S = "observed_s"
    ANALYSABLE_S = "analysable_s"
    TWITCHES = "twitches"
    MISSING = "missing"
    EXACT = "exact"
    BATTERY_PERCENT = "battery_percent"
    NO_CONTACT = "no_contact"
    OVERRUNS = "overruns"
    DROPS = "drops"
    TEMPERATURE_C = "temperature_c"
    RSSI_DBM = "rssi_dbm"
    FIRMWARE = "firmware"
    ADDRESS = "address"
    ACTIVE = "active"
    DETAIL = "detail"
    WAITING = "waiting"
    BEHIND_S = "behind_s"
    STORED_BYTES = "stored_bytes"
    FREE_BYTES = "free_bytes"
    RAISED = "raised"
    SEVERITY = "severity"
    ACKNOWLEDGED = "acknowledged"
    ANNOUNCE = "announce"
    VALUE = "value"
    WHY = "why"
    SINCE_NS = "since_ns"
    SNOOZED_UNTIL_NS = "snoozed_until_ns"
    STANDS = "stands"
    ENTRY = "entry"
    DOSE = "dose"
    TEXT = "text"
    AT_MS = "at_ms"
    VERDICT = "verdict"
    RATE_RATIO = "rate_ratio"
    LOW = "low"
    HIGH = "high"
    ALWAYS_LOW = "always_low"
    ALWAYS_HIGH = "always_high"
    P = "p"
    E = "e"
    EPISODES = "episodes"
    DAYS = "days"
    ANALYSABLE_H = "analysable_h"
    ACTS = "acts"
    REASONS = "reasons"
    AFTER_H = "after_h"
    TO_H = "to_h"


@dataclass(frozen=True, slots=True)
class Shape:
    """What points of a measurement have, beside what all have; not each has all."""

    tags: tuple[Tag, ...]
    fields: Mapping[Field, type[bool | int | float | str]]


COMMON: Final = Shape((Tag.NODE, Tag.DEVICE), {Field.ID: str})
"""What every point has; the device where it is about one."""
SCHEMA: Final[Mapping[Measurement, Shape]] = {
    Measurement.TWITCH: Shape(
        (Tag.CHANNEL, Tag.SITE, Tag.HOUR),
        {
            Field.DURATION_S: float, Field.PEAK: float, Field.PEAK_TO_PEAK: float, Field.UNIT: str,
            Field.SNR: float, Field.CONFIDENCE: float, Field.PHASES: int, Field.TURNS: int,
            Field.MEDIAN_HZ: float, Field.MOTOR_UNIT: int, Field.FOLLOWS_S: float,
        },
    ),
    Measurement.MINUTE: Shape(
        (Tag.CHANNEL, Tag.SITE, Tag.HOUR),
        {Field.OBSERVED_S: float, Field.ANALYSABLE_S: float, Field.TWITCHES: int},
    ),
    Measurement.CONTEXT: Shape((Tag.CHANNEL, Tag.SITE, Tag.STATE), {Field.DURATION_S: float}),
    Measurement.GAP: Shape(
        (Tag.STREAM, Tag.REASON), {Field.DURATION_S: float, Field.MISSING: int, Field.EXACT: bool}
    ),
    Measurement.HEALTH: Shape(
        (Tag.CONDITION, Tag.SINK),
        {
            Field.BATTERY_PERCENT: int, Field.NO_CONTACT: int, Field.OVERRUNS: int, Field.DROPS: int,
            Field.TEMPERATURE_C: float, Field.RSSI_DBM: int, Field.FIRMWARE: str, Field.ADDRESS: str,
            Field.ACTIVE: bool, Field.DETAIL: str, Field.WAITING: int, Field.BEHIND_S: float,
            Field.STORED_BYTES: int, Field.FREE_BYTES: int,
        },
    ),
    Measurement.TRIGGER: Shape(
        (Tag.TRIGGER, Tag.SITE),
        {
            Field.STANDS: bool, Field.ENTRY: int, Field.DOSE: float, Field.UNIT: str, Field.TEXT: str,
            Field.DURATION_S: float, Field.AT_MS: int,
        },
    ),
    Measurement.ALERT: Shape(
        (Tag.ALERT, Tag.KIND, Tag.CHANGE, Tag.SITE),
        {
            Field.RAISED: bool, Field.SEVERITY: str, Field.ACKNOWLEDGED: bool, Field.ANNOUNCE: bool,
            Field.VALUE: float, Field.WHY: str, Field.SINCE_NS: int, Field.SNOOZED_UNTIL_NS: int,
        },
    ),
    Measurement.FINDING: Shape(
        (Tag.TRIGGER, Tag.SITE),
        {
            Field.VERDICT: str, Field.RATE_RATIO: float, Field.LOW: float, Field.HIGH: float,
            Field.ALWAYS_LOW: float, Field.ALWAYS_HIGH: float, Field.P: float, Field.E: float,
            Field.EPISODES: int, Field.DAYS: int, Field.ANALYSABLE_H: float, Field.ACTS: str, Field.REASONS: str,
        },
    ),
    Measurement.LAG: Shape(
        (Tag.TRIGGER, Tag.SITE, Tag.FROM_H),
        {
            Field.AFTER_H: float, Field.TO_H: float, Field.RATE_RATIO: float, Field.LOW: float, Field.HIGH: float,
        },
    ),
}  # fmt: skip

Tags = Mapping[str, str]
Value = bool | int | float | str | None
Fields = Mapping[str, Value]

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def line(letter: Letter) -> bytes:
    """The point that a letter is."""
    where: dict[str, str] = {Tag.NODE: letter.node, Tag.DEVICE: letter.device}
    tags = where | _tags(letter.contents) | _hour(letter)
    fields = _fields(letter.contents)
    fields[Field.ID] = letter.id
    return point(kind(letter.contents), tags, fields, _time_ns(letter.contents))


def point(measurement: str, tags: Tags, fields: Fields, at_ns: int) -> bytes:
    """One line.

    Args:
        measurement: a name of letters.
        tags: keys of letters; any text.
        fields: at least one that is not `None`.
        at_ns: since 1970 UTC.
    """
    series = "".join(f",{key}={_tag(value)}" for key, value in sorted(tags.items()) if _tag(value))
    values = ",".join(f"{key}={text}" for key, value in fields.items() if (text := _field(value)))
    return f"{measurement}{series} {values} {at_ns}".encode()


def _tag(value: str) -> str:
    plain = _CONTROL.sub(" ", value).replace("\\", "/").strip()
    return re.sub(r"([,= ])", r"\\\1", plain)


def _field(value: bool | float | str | None) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case int():
            return f"{value}i"
        case float():
            return repr(value) if math.isfinite(value) else ""
        case str():
            return '"' + re.sub(r'(["\\])', r"\\\1", _CONTROL.sub(" ", value)) + '"'


def _time_ns(contents: Contents) -> int:
    """When it was. The last digits of a trigger's are its number: two coffees of one time are two points."""
    return time_ns(contents) + (contents.entry_id % 1000 if isinstance(contents, Noted) else 0)


def _hour(letter: Letter) -> dict[str, str]:
    """Of the local clock: InfluxQL knows no hour of the day."""
    if not isinstance(letter.contents, Twitch | Minute):
        return {}
    local_s = time_ns(letter.contents) // 10**9 + letter.utc_offset_s
    return {Tag.HOUR: f"{local_s // 3600 % 24:02d}"}


def _tags(contents: Contents) -> dict[str, str]:
    match contents:
        case Twitch() | Minute():
            return {Tag.CHANNEL: contents.channel, Tag.SITE: contents.channel}
        case Context():
            return {Tag.CHANNEL: contents.channel, Tag.SITE: contents.channel, Tag.STATE: str(contents.state)}
        case Gap():
            return {Tag.STREAM: contents.stream.name, Tag.REASON: str(contents.reason)}
        case Condition():
            return {Tag.CONDITION: contents.name}
        case Waiting():
            return {Tag.SINK: contents.sink}
        case Alert():
            return {
                Tag.ALERT: contents.name,
                Tag.KIND: contents.kind,
                Tag.CHANGE: contents.change,
                Tag.SITE: contents.site,
            }
        case Noted():
            return {Tag.TRIGGER: contents.kind, Tag.SITE: contents.site}
        case Found():
            return {Tag.TRIGGER: contents.trigger, Tag.SITE: contents.site}
        case FoundLag():
            return {Tag.TRIGGER: contents.trigger, Tag.SITE: contents.site, Tag.FROM_H: f"{contents.from_h:g}"}
        case _:
            return {}


def _fields(contents: Contents) -> dict[str, Value]:
    match contents:
        case Twitch():
            return _twitch(contents)
        case Minute():
            return {
                Field.OBSERVED_S: float(contents.observed_s),
                Field.ANALYSABLE_S: float(contents.analysable_s),
                Field.TWITCHES: contents.twitches,
            }
        case Context():
            return {Field.DURATION_S: float(contents.duration_s)}
        case Gap():
            duration_s = (contents.end_ns - contents.start_ns) * 1e-9
            return {Field.DURATION_S: duration_s, Field.MISSING: contents.missing, Field.EXACT: contents.exact}
        case Health():
            return _health(contents)
        case Linked():
            return {
                Field.RSSI_DBM: contents.rssi,
                Field.FIRMWARE: contents.firmware,
                Field.ADDRESS: contents.address,
            }
        case Condition():
            return {Field.ACTIVE: contents.active, Field.DETAIL: contents.detail}
        case Waiting():
            return {Field.WAITING: contents.entries, Field.BEHIND_S: float(contents.behind_s)}
        case Disk():
            return {Field.STORED_BYTES: contents.stored_bytes, Field.FREE_BYTES: contents.free_bytes}
        case Alert():
            return _alert(contents)
        case Noted():
            return _noted(contents)
        case Found():
            return _found(contents)
        case FoundLag():
            return {
                Field.AFTER_H: float(contents.from_h),
                Field.TO_H: float(contents.to_h),
                Field.RATE_RATIO: float(contents.rate_ratio),
                Field.LOW: float(contents.low),
                Field.HIGH: float(contents.high),
            }


def _twitch(twitch: Twitch) -> dict[str, Value]:
    return {
        Field.DURATION_S: float(twitch.duration_s),
        Field.PEAK: float(twitch.peak),
        Field.PEAK_TO_PEAK: float(twitch.peak_to_peak),
        Field.UNIT: str(twitch.unit),
        Field.SNR: float(twitch.snr),
        Field.CONFIDENCE: float(twitch.confidence),
        Field.PHASES: twitch.phases,
        Field.TURNS: twitch.turns,
        Field.MEDIAN_HZ: _float(twitch.median_hz),
        Field.MOTOR_UNIT: twitch.motor_unit,
        Field.FOLLOWS_S: _float(twitch.follows_s),
    }


def _alert(alert: Alert) -> dict[str, Value]:
    return {
        Field.RAISED: alert.raised,
        Field.SEVERITY: str(alert.severity),
        Field.ACKNOWLEDGED: alert.acknowledged,
        Field.ANNOUNCE: alert.announce,
        Field.VALUE: _float(alert.value),
        Field.WHY: alert.why,
        Field.SINCE_NS: alert.since_ns,
        Field.SNOOZED_UNTIL_NS: alert.snoozed_until_ns,
    }


def _health(health: Health) -> dict[str, Value]:
    status = health.status
    return {
        Field.BATTERY_PERCENT: status.battery_percent,
        Field.NO_CONTACT: sum(status.lead_off),
        Field.OVERRUNS: status.overruns,
        Field.DROPS: status.drops,
        Field.TEMPERATURE_C: _float(status.temperature_c),
    }


def _noted(noted: Noted) -> dict[str, Value]:
    dose = "" if noted.dose is None else f" {noted.dose:g} {noted.unit}".rstrip()
    lasted_ns = None if noted.ended_ns is None else noted.ended_ns - noted.occurred_ns
    return {
        Field.STANDS: noted.stands,
        Field.ENTRY: noted.entry_id,
        Field.DOSE: _float(noted.dose),
        Field.UNIT: noted.unit,
        Field.TEXT: f"{noted.kind}{dose}",
        Field.DURATION_S: None if lasted_ns is None else lasted_ns * 1e-9,
        Field.AT_MS: noted.occurred_ns // 10**6,
    }


def _found(found: Found) -> dict[str, Value]:
    return {
        Field.VERDICT: found.verdict,
        Field.RATE_RATIO: _float(found.rate_ratio),
        Field.LOW: _float(found.low),
        Field.HIGH: _float(found.high),
        Field.ALWAYS_LOW: _float(found.always_low),
        Field.ALWAYS_HIGH: _float(found.always_high),
        Field.P: _float(found.p),
        Field.E: _float(found.e),
        Field.EPISODES: found.episodes,
        Field.DAYS: found.days,
        Field.ANALYSABLE_H: float(found.analysable_h),
        Field.ACTS: found.lag,
        Field.REASONS: found.reasons,
    }


def _float(value: float | None) -> float | None:
    return None if value is None else float(value)
