"""Discovery as Home Assistant takes it: every field is one that it publishes for that platform."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from monitor.alerts.engine import Alert, Change
from monitor.alerts.rules import Kind
from monitor.sinks.homeassistant import discovery

# Of Home Assistant's documents: mqtt (device discovery), sensor.mqtt, binary_sensor.mqtt, button.mqtt
ROOT = {
    "device", "origin", "components", "availability", "availability_mode", "availability_template",
    "availability_topic", "payload_available", "payload_not_available", "state_topic", "command_topic", "qos",
    "encoding",
}  # fmt: skip
DEVICE = {
    "identifiers", "connections", "configuration_url", "hw_version", "manufacturer", "model", "model_id", "name",
    "serial_number", "suggested_area", "sw_version", "via_device",
}  # fmt: skip
ORIGIN = {"name", "sw_version", "support_url"}
ENTITY = {
    "platform", "unique_id", "name", "availability", "availability_mode", "availability_template",
    "availability_topic", "payload_available", "payload_not_available", "device_class", "enabled_by_default",
    "encoding", "entity_category", "entity_picture", "icon", "json_attributes_template", "json_attributes_topic",
    "object_id", "default_entity_id", "qos",
}  # fmt: skip
READING = {"state_topic", "value_template", "expire_after", "force_update"}
PLATFORMS = {
    "sensor": ENTITY | READING
    | {"unit_of_measurement", "state_class", "options", "suggested_display_precision"},
    "binary_sensor": ENTITY | READING | {"off_delay", "payload_on", "payload_off"},
    "button": ENTITY | {"command_topic", "command_template", "payload_press", "retain"},
}  # fmt: skip
CLASSES = {"sensor": {"battery"}, "binary_sensor": {"battery", "problem", "connectivity"}, "button": set()}

ALERTS = [
    Alert("no_data.arm", Kind.NO_DATA, 0, Change.WATCHED, device="arm"),
    Alert("rate.arm.FDI", Kind.RATE, 0, Change.WATCHED, device="arm", site="FDI"),
    Alert("storage.raw", Kind.STORAGE, 0, Change.WATCHED),
    Alert("clock", Kind.CLOCK, 0, Change.WATCHED),
]


def payloads(devices=("arm",), alerts=ALERTS, templates=("espresso",), before=None):
    said = discovery("homeassistant", "laptop", devices, alerts, templates, before or {})
    return {topic: json.loads(message.payload) for topic, message in said.items()}


def test_every_field_is_of_the_published_list() -> None:
    for topic, payload in payloads().items():
        assert re.fullmatch(r"homeassistant/device/[A-Za-z0-9_-]+/config", topic)
        assert set(payload) <= ROOT
        assert {"device", "origin", "components"} <= set(payload)
        assert set(payload["device"]) <= DEVICE
        assert payload["device"]["identifiers"]
        assert set(payload["origin"]) <= ORIGIN
        assert payload["origin"]["name"]
        for component in payload["components"].values():
            platform = component["platform"]
            assert set(component) <= PLATFORMS[platform], set(component) - PLATFORMS[platform]
            assert component["unique_id"]
            assert component.get("device_class", "battery") in CLASSES[platform] | {"battery"}
            assert platform == "button" or component["expire_after"] > 120
            for where in component.get("availability", []):
                assert set(where) <= {"topic", "payload_available", "payload_not_available", "value_template"}


def test_there_is_all_that_was_asked_for() -> None:
    laptop, arm = payloads().values()
    assert set(arm["components"]) == {
        "twitches_per_min", "analysable", "battery", "loss", "contact", "no_data.arm", "rate.arm.FDI",
    }  # fmt: skip
    assert set(laptop["components"]) == {"storage.raw", "clock", "trigger espresso"}
    assert arm["device"]["via_device"] == laptop["device"]["identifiers"][0]
    assert json.loads(laptop["components"]["trigger espresso"]["payload_press"]) == {"kind": "espresso"}


def test_ids_are_distinct_also_of_names_that_differ_only_in_signs() -> None:
    found = payloads(devices=("left arm", "left/arm", "links_arm", "αριστερό"), alerts=[])
    assert len(found) == 5
    ids = [c["unique_id"] for payload in found.values() for c in payload["components"].values()]
    assert len(ids) == len(set(ids)) == 21


def test_what_is_gone_is_removed() -> None:
    """A component by its platform alone, as the documents have it."""
    before = discovery("homeassistant", "laptop", ["arm"], ALERTS, ["espresso"], {})
    laptop, arm = payloads(alerts=ALERTS[:1], templates=(), before=before).values()
    assert laptop["components"]["trigger espresso"] == {"platform": "button"}
    assert arm["components"]["rate.arm.FDI"] == {"platform": "binary_sensor"}
    assert "unique_id" in arm["components"]["no_data.arm"]


def test_a_device_that_is_away_for_now_is_not_removed() -> None:
    before = discovery("homeassistant", "laptop", ["arm"], ALERTS, [], {})
    assert len(payloads(devices=(), before=before)) == 1


@pytest.mark.parametrize("kind", list(Kind))
def test_every_kind_has_a_name(kind) -> None:
    (laptop,) = payloads(devices=(), alerts=[replace(ALERTS[3], kind=kind, name="x")], templates=()).values()
    assert laptop["components"]["x"]["name"]


def test_the_document_shows_what_is_said() -> None:
    """Its entities and topics exist; its automation is for topics and fields of ours."""
    text = (Path(__file__).parents[1] / "docs/home-assistant.md").read_text(encoding="utf-8")
    _, arm = payloads().values()
    for component in arm["components"].values():
        name = component["name"].replace(" FDI", "")
        assert name in text, name
