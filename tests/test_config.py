"""Configuration: every key is checked, and the sample in the documentation is the truth."""

import dataclasses
import re
import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.config import (
    MQTT,
    Alert,
    ConfigError,
    Device,
    InfluxDB,
    Notify,
    Raw,
    Settings,
    default_path,
    load,
)
from monitor.detection.settings import DetectorSettings

SAMPLE = Path(__file__).parent.parent / "docs" / "config.sample.toml"
DETECTION = [field.name for field in dataclasses.fields(DetectorSettings)]
KEY = DETECTION[0]
"""One of them, whatever they are called."""


def given_file(tmp_path, text):
    path = tmp_path / "config.toml"
    path.write_text(text, encoding="utf-8")
    return path


def refused(path):
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert caught.value.exit_code == 2
    assert str(caught.value).isprintable()
    return str(caught.value)


def uncommented(text):
    """The sample with its commented keys and tables in force."""
    return re.sub(r"^# (?=\w+ = |\[)", "", text, flags=re.MULTILINE)


# --- the sample


def test_sample_holds_every_key():
    sample = tomllib.loads(uncommented(SAMPLE.read_text(encoding="utf-8")))
    assert set(sample) == set(Settings.model_fields)
    assert set(sample["detection"]) == set(DETECTION)
    assert set(sample["raw"]) == set(Raw.model_fields)
    assert set(sample["influxdb"][0]) == set(InfluxDB.model_fields)
    assert set(sample["mqtt"]) == set(MQTT.model_fields)
    assert set(sample["notify"]) == set(Notify.model_fields)
    assert set(sample["alerts"][0]) == set(Alert.model_fields)
    assert set(sample["devices"][0]) == set(Device.model_fields)


def test_samples_values_are_the_defaults():
    assert load(SAMPLE) == Settings()
    stated = tomllib.loads(SAMPLE.read_text(encoding="utf-8"))["detection"]
    assert stated == dataclasses.asdict(DetectorSettings())


def test_samples_examples_are_valid(tmp_path):
    settings = load(given_file(tmp_path, uncommented(SAMPLE.read_text(encoding="utf-8"))))
    assert settings.node == "laptop"
    assert settings.devices[0].sites == {"EMG1": "FDI", "EMG2": "biceps"}
    assert settings.data_dir == Path("~/.local/share/fasciwatch").expanduser()


# --- which file


def test_default_file_may_be_absent_or_present(tmp_path, monkeypatch):
    monkeypatch.setattr("platformdirs.user_config_path", lambda name: tmp_path / name)
    assert load() == Settings()
    default_path().parent.mkdir()
    default_path().write_text('node = "attic"')
    assert load().node == "attic"


def test_explicit_file_must_be_readable(tmp_path):
    assert "no such file" in refused(tmp_path / "absent.toml")
    assert "directory" in refused(tmp_path)
    (tmp_path / "latin.toml").write_bytes(b'node = "caf\xe9"')
    assert "UTF-8" in refused(tmp_path / "latin.toml")


def test_no_toml_names_the_line(tmp_path):
    assert "line 2" in refused(given_file(tmp_path, 'node = "a"\nnode\n'))


# --- what is in it


def test_defaults_need_no_file():
    settings = Settings()
    assert settings.devices == ()
    assert settings.detection == DetectorSettings()
    assert settings.data_dir.is_absolute()


@pytest.mark.parametrize(
    ("host", "node"), [("laptop", "laptop"), ("anna's mac.local", "anna-s-mac"), ("+#/", "node")]
)
def test_node_is_the_host_name_made_safe(monkeypatch, host, node):
    monkeypatch.setattr("socket.gethostname", lambda: host)
    assert Settings().node == node


def test_values_are_taken(tmp_path):
    text = f"""
        data_dir = "/srv/twitches"
        node = "attic"
        [detection]
        {KEY} = 4
        [[devices]]
        address = "C0:FF:EE:00:00:01"
        name = "left arm"
        sites = {{ EMG1 = "FDI" }}
        [[devices]]
        address = "C0:FF:EE:00:00:02"
    """
    settings = load(given_file(tmp_path, text))
    assert settings.data_dir == Path("/srv/twitches")
    assert settings.devices == (
        Device(address="C0:FF:EE:00:00:01", name="left arm", sites={"EMG1": "FDI"}),
        Device(address="C0:FF:EE:00:00:02"),
    )
    assert settings.detection == dataclasses.replace(DetectorSettings(), **{KEY: 4.0})


def test_detection_may_be_given_as_settings():
    changed = dataclasses.replace(DetectorSettings(), **{KEY: 6.0})
    assert Settings(detection=changed).detection == changed


def test_settings_are_frozen():
    with pytest.raises(ValueError, match="frozen"):
        Settings().node = "other"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('nod = "x"', ["unknown key nod", "Did you mean node?"]),
        (
            "zzz = 1",
            [
                "unknown key zzz",
                "data_dir, node, keep_awake, devices, descriptions, raw, influxdb, page, mqtt, notify, alerts, "
                "detection",
            ],
        ),
        (f"[detection]\n{KEY}z = 4", [f"detection.{KEY}z.", f"Did you mean {KEY}?"]),
        ('[[devices]]\nadress = "x"', ["devices[0].adress", "Did you mean address?"]),
        ('"a\\nb" = 1', ['unknown key "a\\nb"']),
        ('[[devices]]\nname = "x"', ["devices[0].address is missing"]),
        ('[[devices]]\naddress = " "', ["devices[0].address"]),
        ('[[devices]]\naddress = "x"\nname = "a/b"', ["devices[0].name = 'a/b'", "MQTT"]),
        ('[[devices]]\naddress = "x"\nsites = { EMG1 = 3 }', ["devices[0].sites.EMG1 = 3", "text in quotes"]),
        (
            '[[devices]]\naddress = "x"\n[[devices]]\naddress = "X"',
            ["devices:", "'x' is given to two devices"],
        ),
        ('[devices]\naddress = "x"', ["devices:", "[[...]]"]),
        ("devices = [1]", ["devices[0] = 1", "must be a table"]),
        ("detection = 1", ["detection = 1", "must be a table"]),
        ('node = "a/b"', ["node = 'a/b'", "letters"]),
        ("node = 5", ["node = 5", "text in quotes"]),
        ("data_dir = 5", ["data_dir = 5", "path in quotes"]),
        ('data_dir = ""', ["data_dir", "empty"]),
        ('data_dir = "~nobody-by-this-name/x"', ["data_dir", "home"]),
        ('[mqtt]\nhost = "far"\ntls = false', ["mqtt", "without tls", "plain_allowed_at = 'far'"]),
        ('[mqtt]\nhost = "x"\nversion = "4"', ["mqtt.version = '4'"]),
        ('[mqtt]\nhost = "x"\nkeepalive_s = 1', ["mqtt.keepalive_s = 1"]),
        ('[notify]\nquiet_hours = "22-7"', ["notify.quiet_hours = '22-7'", "22:00-07:00"]),
        ('[notify]\nheartbeat_url = "file:///etc/passwd"', ["notify.heartbeat_url"]),
        ('[[alerts]]\nkind = "als"', ["alerts[0].kind = 'als'", "no_data"]),
        ('[[alerts]]\nkind = "loss"\nabove = 2.0', ["alerts[0]", "clear_below = 5 is more than above = 2"]),
        ('[[alerts]]\nkind = "loss"\nsite = "FDI"', ["alerts[0]", "loss has no site"]),
        (f"[detection]\n{KEY} = '4'", [f"detection.{KEY} = '4'", "valid number"]),
        (f"[detection]\n{KEY} = true", [f"detection.{KEY} = true", "valid number"]),
        (f"[detection]\n{KEY} = 0", [f"detection.{KEY} = 0", "greater than 0"]),
        (f"[detection]\n{KEY} = nan", [f"detection.{KEY} = nan", "finite"]),
        (f"[detection]\n{KEY} = inf", [f"detection.{KEY} = inf", "finite"]),
    ],
)
def test_wrong_keys_and_values_are_named(tmp_path, text, words):
    message = refused(given_file(tmp_path, text))
    for word in words:
        assert word in message


@pytest.mark.parametrize("key", DETECTION)
def test_every_detection_number_must_be_positive(tmp_path, key):
    assert f"detection.{key} = -1" in refused(given_file(tmp_path, f"[detection]\n{key} = -1"))


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(["node", "data_dir", "x"]) | st.text(max_size=5), st.text(max_size=10)))
def test_any_table_is_settings_or_a_config_error(tmp_path_factory, table):
    """Written with JSON's escapes, which are TOML's too."""
    path = tmp_path_factory.getbasetemp() / "any.toml"
    lines = (f"{quoted(key)} = {quoted(value)}" for key, value in table.items())
    path.write_text("\n".join(lines), encoding="utf-8")
    message = ""
    try:
        load(path)
    except ConfigError as error:
        message = str(error)
    assert "\n" not in message


def quoted(text):
    return '"' + "".join(f"\\U{ord(c):08x}" for c in text) + '"'


# --- alerts


def test_a_rule_has_the_defaults_of_its_kind(tmp_path):
    text = '[[alerts]]\nkind = "rate"\nabove = 50.0\n[[alerts]]\nkind = "rate"\nsite = "FDI"\nof_baseline = true\n'
    fixed, own = (alert.rule for alert in load(given_file(tmp_path, text)).alerts)
    assert (fixed.on, fixed.above, fixed.clear_below, fixed.window_s) == (True, 50, 40, 900)
    assert (own.site, own.above, own.clear_below) == ("FDI", 2, 1.5)


def test_quiet_hours_are_seconds_of_the_day(tmp_path):
    assert load(given_file(tmp_path, '[notify]\nquiet_hours = "22:30-07:00"')).notify.quiet == (81000, 25200)
    assert Settings().notify.quiet == (0, 0)


def test_tls_is_needed_but_on_this_computer(tmp_path):
    for text in ('host = "localhost"\ntls = false', 'host = "far"\ntls = false\nplain_allowed_at = "far"'):
        assert load(given_file(tmp_path, f"[mqtt]\n{text}")).mqtt.port_used == 1883
    assert load(given_file(tmp_path, '[mqtt]\nhost = "far"')).mqtt.port_used == 8883
