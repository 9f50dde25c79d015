"""Letters as InfluxDB takes them: one line each, `measurement,tags fields time`.

Rules of this module:

* Measurements, tags and fields are an interface: docs/influxdb.md. Extend, do not rename.
* Pure. The same letter is the same line, so that a line that is sent twice is one point.
* A tag names something that has few values; everything else is a field. A field always has the same type.
* What the protocol cannot say is not said: a backslash in a tag becomes a slash, control characters become spaces,
  an empty tag and a number that is none are left out.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from firmware_interface.samples import Gap
from monitor.alerts.engine import Alert
from monitor.detection.events import Context, Twitch
from monitor.outbox import Contents, Letter, kind, time_ns
from monitor.store import Condition, Health, Linked
from monitor.tally import Minute

Tags = Mapping[str, str]
Fields = Mapping[str, bool | int | float | str | None]

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def line(letter: Letter) -> bytes:
    """The point that a letter is."""
    where = {"node": letter.node, "device": letter.device}
    tags = where | _tags(letter.contents) | _hour(letter)
    return point(
        kind(letter.contents), tags, _fields(letter.contents) | {"id": letter.id}, time_ns(letter.contents)
    )


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


def _hour(letter: Letter) -> dict[str, str]:
    """Of the local clock: InfluxQL knows no hour of the day."""
    if not isinstance(letter.contents, Twitch | Minute):
        return {}
    local_s = time_ns(letter.contents) // 10**9 + letter.utc_offset_s
    return {"hour": f"{local_s // 3600 % 24:02d}"}


def _tags(contents: Contents) -> dict[str, str]:
    match contents:
        case Twitch() | Minute():
            return {"channel": contents.channel, "site": contents.channel}
        case Context():
            return {"channel": contents.channel, "site": contents.channel, "state": str(contents.state)}
        case Gap():
            return {"stream": contents.stream.name, "reason": str(contents.reason)}
        case Condition():
            return {"condition": contents.name}
        case Alert():
            about = {"alert": contents.name, "kind": contents.kind, "change": contents.change}
            return about | {"site": contents.site}
        case _:
            return {}


def _fields(contents: Contents) -> dict[str, bool | int | float | str | None]:
    match contents:
        case Twitch():
            return _twitch(contents)
        case Minute():
            return {
                "observed_s": float(contents.observed_s),
                "analysable_s": float(contents.analysable_s),
                "twitches": contents.twitches,
            }
        case Context():
            return {"duration_s": float(contents.duration_s)}
        case Gap():
            duration_s = (contents.end_ns - contents.start_ns) * 1e-9
            return {"duration_s": duration_s, "missing": contents.missing, "exact": contents.exact}
        case Health():
            return _health(contents)
        case Linked():
            return {"rssi_dbm": contents.rssi, "firmware": contents.firmware, "address": contents.address}
        case Condition():
            return {"active": contents.active, "detail": contents.detail}
        case Alert():
            return _alert(contents)


def _twitch(twitch: Twitch) -> dict[str, bool | int | float | str | None]:
    return {
        "duration_s": float(twitch.duration_s),
        "peak": float(twitch.peak),
        "peak_to_peak": float(twitch.peak_to_peak),
        "unit": str(twitch.unit),
        "snr": float(twitch.snr),
        "confidence": float(twitch.confidence),
        "phases": twitch.phases,
        "turns": twitch.turns,
        "median_hz": None if twitch.median_hz is None else float(twitch.median_hz),
        "motor_unit": twitch.motor_unit,
        "follows_s": None if twitch.follows_s is None else float(twitch.follows_s),
    }


def _alert(alert: Alert) -> dict[str, bool | int | float | str | None]:
    return {
        "raised": alert.raised,
        "severity": str(alert.severity),
        "acknowledged": alert.acknowledged,
        "announce": alert.announce,
        "value": None if alert.value is None else float(alert.value),
        "why": alert.why,
        "since_ns": alert.since_ns,
        "snoozed_until_ns": alert.snoozed_until_ns,
    }


def _health(health: Health) -> dict[str, bool | int | float | str | None]:
    status = health.status
    return {
        "battery_percent": status.battery_percent,
        "no_contact": sum(status.lead_off),
        "overruns": status.overruns,
        "drops": status.drops,
        "temperature_c": None if status.temperature_c is None else float(status.temperature_c),
    }
