"""What Home Assistant needs to know to show us: one message for each wearable, and one for this computer.

Rules of this module:

* The device-based form of MQTT discovery (Home Assistant 2024.11 and later), with full names, not abbreviations.
* Pure. The same facts are the same messages.
* Every sensor expires: what we do not say again is unknown, not as it was.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final

import monitor
from monitor.alerts.engine import Alert
from monitor.alerts.rules import Kind
from monitor.sinks.topics import OFFLINE, ONLINE, Message, base, level

BIRTH: Final = "status"
"""Topic below the prefix on which Home Assistant says `online`."""
EXPIRE_S: Final = 240
"""After that much silence a state is unknown. All are said again every minute; a minute of a wearable once it is
closed, 75 s after its start."""

_Component = dict[str, Any]
_CLASSES = {
    Kind.BATTERY: "battery",
    Kind.NO_DATA: "problem",
    Kind.CONTACT: "problem",
    Kind.LOSS: "problem",
    Kind.SILENCE: "problem",
    Kind.STORAGE: "problem",
    Kind.CLOCK: "problem",
}
_NAMES = {
    Kind.NO_DATA: "No data",
    Kind.CONTACT: "No contact",
    Kind.BATTERY: "Battery low",
    Kind.LOSS: "Signal lost",
    Kind.RATE: "Twitch rate",
    Kind.BURST: "Burst of twitches",
    Kind.SILENCE: "Server silent",
    Kind.STORAGE: "Storage in trouble",
    Kind.CLOCK: "Clock was set",
    Kind.TRIGGER_REMINDER: "Nothing was logged",
    Kind.TEST: "Test alert",
}


def discovery(
    prefix: str,
    node: str,
    devices: Sequence[str],
    alerts: Sequence[Alert],
    templates: Iterable[str],
    before: Mapping[str, Message],
) -> dict[str, Message]:
    """Topic -> what to say there.

    Args:
        prefix: of discovery, "homeassistant".
        node: this computer's name.
        devices: names of wearables.
        alerts: those that are watched.
        templates: names of what can be logged with one press.
        before: what was said last; what was there and is no more is removed.
    """
    ours = [alert for alert in alerts if alert.device not in devices]
    components = {**_alerts(node, ours), **_buttons(node, templates)}
    said = {_topic(prefix, node, ""): _payload(node, "", components)}
    for device in devices:
        about = [alert for alert in alerts if alert.device == device]
        said[_topic(prefix, node, device)] = _payload(
            node, device, {**_sensors(node, device), **_alerts(node, about)}
        )
    for topic, message in before.items():
        _remove(json.loads(message.payload)["components"], said.get(topic, {}).get("components", {}))
    return {
        topic: Message(topic, json.dumps(payload, ensure_ascii=False), retain=True)
        for topic, payload in said.items()
    }


def _remove(before: Mapping[str, _Component], now: dict[str, _Component]) -> None:
    """A component is removed by its platform alone."""
    for key, component in before.items():
        if key not in now:
            now[key] = {"platform": component["platform"]}


def _topic(prefix: str, node: str, device: str) -> str:
    return f"{prefix}/device/{_key(node, device)}/config"


def _payload(node: str, device: str, components: dict[str, _Component]) -> dict[str, Any]:
    about: dict[str, Any] = {"identifiers": [_key(node, device)], "name": device or f"fasciwatch on {node}"}
    about |= {"manufacturer": "fasciwatch", "sw_version": monitor.__version__}
    if device:
        about["via_device"] = _key(node, "")
    return {
        "device": about,
        "origin": {"name": "fasciwatch", "sw_version": monitor.__version__},
        "availability": [_available(f"{base(node)}/state")],
        "qos": 1,
        "components": components,
    }


def _sensors(node: str, device: str) -> dict[str, _Component]:
    here = f"{base(node)}/{level(device)}"
    minute, state = f"{here}/minute", f"{here}/state"
    available = [_available(f"{base(node)}/state"), _available(f"{here}/availability")]
    rest = {"availability": available, "availability_mode": "all", "expire_after": EXPIRE_S}
    measured = {"state_class": "measurement", **rest}
    found: dict[str, _Component] = {
        "twitches_per_min": {
            "name": "Twitches a minute",
            "state_topic": minute,
            "value_template": "{{ value_json.twitches_per_min }}",
            "unit_of_measurement": "1/min",
            "icon": "mdi:pulse",
            "json_attributes_topic": minute,
            **measured,
        },
        "analysable": {
            "name": "Analysable",
            "state_topic": minute,
            "value_template": "{{ (100 * (value_json.analysable or 0)) | round(1) }}",
            "unit_of_measurement": "%",
            "icon": "mdi:chart-arc",
            **measured,
        },
        "battery": {
            "name": "Battery",
            "state_topic": state,
            "value_template": "{{ value_json.battery_percent }}",
            "unit_of_measurement": "%",
            "device_class": "battery",
            "entity_category": "diagnostic",
            **measured,
        },
        "loss": {
            "name": "Loss",
            "state_topic": state,
            "value_template": "{{ value_json.loss_percent }}",
            "unit_of_measurement": "%",
            "icon": "mdi:wifi-alert",
            "entity_category": "diagnostic",
            **measured,
        },
        "contact": {
            "platform": "binary_sensor",
            "name": "Contact",
            "state_topic": state,
            "value_template": "{{ 'ON' if value_json.contact else 'OFF' }}",
            "device_class": "connectivity",
            "entity_category": "diagnostic",
            **rest,
        },
    }
    return {
        key: {"platform": "sensor", "unique_id": f"{_key(node, device)}_{key}", **component}
        for key, component in found.items()
    }


def _available(topic: str) -> dict[str, str]:
    return {"topic": topic, "payload_available": ONLINE, "payload_not_available": OFFLINE}


def _alerts(node: str, alerts: Collection[Alert]) -> dict[str, _Component]:
    found: dict[str, _Component] = {}
    for alert in alerts:
        topic = f"{base(node)}/alert/{alert.name}"
        about = f" {alert.site}" if alert.site else ""
        if alert.kind in (Kind.SILENCE, Kind.STORAGE):
            about = f": {alert.name.partition('.')[2]}"
        found[alert.name] = {
            "platform": "binary_sensor",
            "unique_id": f"{_key(node, '')}_{alert.name}",
            "name": f"{_NAMES[alert.kind]}{about}",
            "state_topic": topic,
            "value_template": "{{ 'ON' if value_json.raised else 'OFF' }}",
            "json_attributes_topic": topic,
            "expire_after": EXPIRE_S,
        }
        if alert.kind in _CLASSES:
            found[alert.name]["device_class"] = _CLASSES[alert.kind]
    return found


def _buttons(node: str, templates: Iterable[str]) -> dict[str, _Component]:
    return {
        f"trigger {name}": {
            "platform": "button",
            "unique_id": f"{_key(node, '')}_trigger_{name}",
            "name": f"Log {name}",
            "command_topic": f"{base(node)}/trigger/set",
            "payload_press": json.dumps({"kind": name}, ensure_ascii=False),
            "icon": "mdi:pencil-plus",
            "qos": 1,
        }
        for name in templates
    }


def _key(node: str, device: str) -> str:
    """Letters, digits, - and _ only; of two devices that differ in the rest, one would hide the other."""
    plain = "".join(c if c.isascii() and (c.isalnum() or c in "-_") else f"-{ord(c):x}-" for c in device)
    return f"fasciwatch_{node}_{plain}" if device else f"fasciwatch_{node}"
