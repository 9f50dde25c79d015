"""Letters as MQTT has them: topic, JSON, and whether the broker keeps it.

Rules of this module:

* Topics and fields are an interface: docs/mqtt.md. Extend, do not rename.
* Pure. The same letter is the same message, so that who gets it twice can tell, by `id`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from firmware_interface.samples import Gap
from monitor import lines
from monitor.alerts.engine import Alert, Change
from monitor.alerts.watching import Seen
from monitor.detection.events import Context, Twitch
from monitor.outbox import Letter
from monitor.store import Health
from monitor.tally import Minute

ONLINE: Final = "online"
OFFLINE: Final = "offline"
_OURS = frozenset({"state", "alert", "trigger", "request", "response"})
"""Levels below a node that are no device."""


@dataclass(frozen=True, slots=True)
class Message:
    """What is published."""

    topic: str
    payload: str
    retain: bool = False


def base(node: str) -> str:
    """What all topics of a node begin with."""
    return f"fasciwatch/{node}"


def level(device: str) -> str:
    """A device's name as one level of a topic."""
    plain = re.sub(r"[/+#\x00-\x1f]", "-", device) or "-"
    return f"{plain}-device" if plain in _OURS else plain


def message(letter: Letter) -> Message | None:
    """A letter on its own; `None` where it goes with others (a minute), or to nobody (a link)."""
    where, said = base(letter.node), letter.contents
    here = f"{where}/{level(letter.device)}"
    match said:
        case Alert():
            return Message(f"{where}/alert/{said.name}", _json(lines.alert(said), letter), retain=True)
        case Twitch():
            return Message(f"{here}/twitch", _json(lines.at_utc(said, letter.device), letter))
        case Context():
            return Message(f"{here}/context", _json(lines.at_utc(said, letter.device), letter))
        case Gap():
            return Message(f"{here}/gap", _json(lines.at_utc(said, letter.device), letter))
        case Health():
            return Message(f"{here}/health", _json(_health(said), letter))
        case _:
            return None


def forgotten(letter: Letter) -> Message | None:
    """What takes an alert that nobody watches for any more from the broker."""
    alert = letter.contents
    if isinstance(alert, Alert) and alert.change is Change.FORGOTTEN:
        return Message(f"{base(letter.node)}/alert/{alert.name}", "", retain=True)
    return None


class Minutes:
    """The newest minute of each device, all channels together."""

    def __init__(self) -> None:
        self._newest: dict[str, tuple[int, dict[str, tuple[str, Minute]]]] = {}

    def add(self, letter: Letter) -> Message:
        """The minute of a device, with a channel more."""
        minute = letter.contents
        assert isinstance(minute, Minute)  # noqa: S101 - what this is for
        start_ns, channels = self._newest.get(letter.device, (0, {}))
        if start_ns != minute.start_ns:
            channels = {}
        channels[minute.channel] = letter.id, minute
        self._newest[letter.device] = minute.start_ns, channels
        return Message(
            f"{base(letter.node)}/{level(letter.device)}/minute",
            lines.as_json(_minute(letter.device, minute.start_ns, channels)),
            retain=True,
        )


def _minute(device: str, start_ns: int, channels: Mapping[str, tuple[str, Minute]]) -> lines.Fields:
    each = [minute for _, minute in channels.values()]
    analysable_s, observed_s = sum(m.analysable_s for m in each), sum(m.observed_s for m in each)
    twitches = sum(m.twitches for m in each)
    return {
        "type": "minute",
        "device": device,
        "start": lines.utc(start_ns),
        "twitches": twitches,
        "twitches_per_min": _rate(twitches, analysable_s),
        "analysable": round(analysable_s / observed_s, 3) if observed_s else None,
        "channels": {
            channel: {
                "id": letter_id,
                "observed_s": round(minute.observed_s, 3),
                "analysable_s": round(minute.analysable_s, 3),
                "twitches": minute.twitches,
                "twitches_per_min": _rate(minute.twitches, minute.analysable_s),
            }
            for channel, (letter_id, minute) in channels.items()
        },
    }


def _rate(twitches: int, analysable_s: float) -> float | None:
    return round(60 * twitches / analysable_s, 2) if analysable_s else None


def device_state(seen: Seen) -> str:
    """What a wearable is like now."""
    return lines.as_json(
        {
            "type": "state",
            "device": seen.name,
            "battery_percent": seen.battery_percent,
            "loss_percent": round(100 * seen.loss, 1),
            "contact": all(channel.in_contact for channel in seen.channels),
            "no_contact": [channel.label for channel in seen.channels if not channel.in_contact],
        }
    )


def _health(health: Health) -> lines.Fields:
    status = health.status
    return {
        "type": "health",
        "at": lines.utc(health.at_ns),
        "battery_percent": status.battery_percent,
        "no_contact": sum(status.lead_off),
        "overruns": status.overruns,
        "drops": status.drops,
        "temperature_c": status.temperature_c,
    }


def _json(fields: lines.Fields, letter: Letter) -> str:
    return lines.as_json(fields | {"id": letter.id})
