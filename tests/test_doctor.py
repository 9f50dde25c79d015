"""What the doctor says of things that a test cannot switch."""

import pytest

from monitor.doctor import bleak_checked, bluez_checked, switches_checked


@pytest.mark.parametrize(
    ("version", "sound"), [("3.1.0", True), ("3.0.2", True), ("3.0.1", False), ("2.0", False)]
)
def test_a_bleak_that_loses_packets_is_to_be_replaced(version, sound):
    assert (bleak_checked(version).remedy == "") == sound


def test_bluez():
    assert bluez_checked("5.66").remedy == ""
    assert "apt install bluez" in bluez_checked(None).remedy


@pytest.mark.parametrize(
    ("soft", "hard", "words"),
    [("0", "0", ""), ("1", "0", "rfkill unblock bluetooth"), ("1", "1", "key")],
)
def test_a_bluetooth_that_is_switched_off(tmp_path, soft, hard, words):
    radio = tmp_path / "rfkill0"
    radio.mkdir()
    for name, value in (("type", "bluetooth"), ("soft", soft), ("hard", hard)):
        (radio / name).write_text(f"{value}\n")
    assert words in switches_checked(tmp_path).remedy
    assert bool(words) == bool(switches_checked(tmp_path).remedy)
