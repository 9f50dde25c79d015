"""Devices from a description: what it can say, how it is refused, and the documented example through bleak."""

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from firmware_interface.codecs import Write
from firmware_interface.codecs.described import DescriptionError, described
from firmware_interface.codecs.families import FAMILIES, family_as_kept, family_kept_as
from firmware_interface.codecs.polar import Polar
from firmware_interface.descriptions import families
from firmware_interface.emulated.device import EmulatedDevice, Service
from firmware_interface.emulated.wearable import Channel
from firmware_interface.errors import PacketError
from firmware_interface.samples import Notification, Packet, Sensor, Status, Unit
from tests.over_bleak import LOSSY, PERFECT, CountingBody, listen

DOCUMENT = Path(__file__).parents[1] / "docs" / "describe-a-device.md"
EXAMPLE = re.search(r"```toml\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)[1]
DATA = "e95dca4b-251d-470a-a062-fa1922dfa9a8"
PERIOD = "e95dfb24-251d-470a-a062-fa1922dfa9a8"
NUMBERED = """
family = "Numbered"
service = "ff00"
battery = "2a19"
[[stream]]
name = "emg"
sensor = "emg"
rate_hz = 500
channels = ["a", "b"]
from = "ff01"
begins = "a5"
at = 7
type = "u16be"
zero = 2048
counter = { at = 1, type = "u16" }
counts = "COUNTED"
clock = { at = 3, type = "u32" }
clock_tick_us = 1000
"""
COUNTS = pytest.mark.parametrize("counted", ["samples", "packets"])


def microbit():
    return described(EXAMPLE)


def numbered(counted="samples"):
    return described(NUMBERED.replace("COUNTED", counted))("Numbered 1")


def decode(codec, data):
    return codec.decode(Notification("0000ff01-0000-1000-8000-00805f9b34fb", bytes(data), 0))


# What a description says.


def test_the_documented_example():
    family = microbit()
    (stream,) = family("BBC micro:bit [zogop]").device.streams
    assert (stream.sensor, stream.unit) == (Sensor.ACC, Unit.G)
    assert (stream.scale, stream.rate_hz) == (0.001, 100.0)
    assert list(family("").start()) == [Write(PERIOD, b"\x0a\0")]
    assert (Write(PERIOD, b"\x80\x02"),) == family.STOP
    (packet,) = family("").decode(Notification(DATA, bytes.fromhex("e803 18fc 0100"), 0))
    assert packet.counts.tolist() == [[1000], [-1000], [1]]


def test_recognised_by_name_and_service_where_both_are_said():
    """An advertisement may have room for one only."""
    both = described(NUMBERED.replace("COUNTED", "samples") + "\n").__mro__[0]
    assert both.recognises(("0000ff00-0000-1000-8000-00805f9b34fb",), None)
    assert not both.recognises((), "Numbered")
    named = described('name = "Thing"\n' + NUMBERED.replace("COUNTED", "samples"))
    assert named.recognises((), "Thing 1")
    assert named.recognises(("0000ff00-0000-1000-8000-00805f9b34fb",), "Thing 1")
    assert not named.recognises(("0000180d-0000-1000-8000-00805f9b34fb",), "Thing 1")
    assert not named.recognises(("0000ff00-0000-1000-8000-00805f9b34fb",), "Kitchen lamp")


def test_golden_numbered_packet():
    """Counter and clock little endian, samples big endian, 2048 nothing."""
    (packet,) = decode(numbered(), bytes.fromhex("a5 0201 e8030000 0800 0801 07ff 0fff"))
    assert packet.counts.tolist() == [[0, -1], [1, 2047]]
    assert (packet.index, packet.sequence, packet.device_ns) == (258, None, 1_000_000_000)


def test_what_counts_packets():
    codec = numbered("packets")
    assert (codec.counter.sequence_modulus, codec.counter.index_modulus) == (65536, 0)
    (packet,) = decode(codec, bytes.fromhex("a5 0201 e8030000 08000801"))
    assert (packet.index, packet.sequence) == (None, 258)


def test_battery():
    codec = numbered()
    assert codec.decode(Notification("00002a19-0000-1000-8000-00805f9b34fb", b"\x21", 0)) == (Status(33),)
    assert codec.decode(Notification(*codec.encode(Status(50)), 0)) == (Status(50),)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("", "begins with nothing"),
        ("b5" * 12, "begins with b5"),
        ("a500", "0 bytes"),
        ("a5" + "00" * 9, "3 bytes"),
    ],
)
def test_malformed_packets_say_why(data, words):
    with pytest.raises(PacketError, match=words):
        decode(numbered(), bytes.fromhex(data))


# What is wrong with one.


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("rate_hz = 500", "rate_hz = 0", 8, "rate_hz = 0 must be a number above 0"),
        ("rate_hz = 500", "rate_hz = true", 8, "must be a number"),
        ("rate_hz = 500", "", 5, "rate_hz is missing"),
        ("rate_hz", "rate_hertz", 5, "rate_hz is missing"),
        ("zero = 2048", "nought = 2048", 14, "unknown key nought; known here: name, channels"),
        ('"u16be"', '"u12"', 13, "must be one of i8, i8be"),
        ('sensor = "emg"', 'sensor = "EMG"', 7, "must be one of emg, acc"),
        ('"ff01"', '"ff1"', 10, "must be a UUID"),
        ('"a5"', '"a"', 11, "bytes in hexadecimal"),
        ("at = 7", "at = 6", 12, "samples begin at byte 6, but what comes before takes 7"),
        ('type = "u16" }', 'type = "i16" }', 15, "u8, u16 or u32"),
        ('type = "u16" }', 'type = "u16", of = 1 }', 15, "unknown key of"),
        ("counter = {", "counter = 3 #", 15, "must be a table"),
        ('["a", "b"]', '["a", "a"]', 9, "different labels"),
        ('service = "ff00"', "", 2, "neither name nor service"),
        ("[[stream]]", "[stream]", 5, "list of tables"),
        ("zero", "scale = 2\nzero", 14, "counts have none"),
        ("family = ", "family: ", 2, "no valid TOML"),
        ('family = "Numbered"', 'family = "a\\nb"', 2, "text of one line"),
    ],
)
def test_a_wrong_description_is_refused_with_line_and_reason(old, new, line, words):
    text = NUMBERED.replace("COUNTED", "samples")
    assert old in text
    with pytest.raises(DescriptionError) as refusal:
        described(text.replace(old, new, 1), "mine.toml")
    assert str(refusal.value).startswith("mine.toml")
    assert re.search(rf"line {line}\b", str(refusal.value))
    assert words in str(refusal.value)
    assert refusal.value.exit_code == 2


def test_streams_that_count_unlike_are_refused():
    text = NUMBERED.replace("COUNTED", "samples")
    second = text[text.index("[[stream]]") :].replace('name = "emg"', 'name = "acc"').replace('"u16" }', '"u8" }')
    with pytest.raises(DescriptionError, match="count alike"):
        described(text + second)
    with pytest.raises(DescriptionError, match="one name"):
        described(text + text[text.index("[[stream]]") :])


@given(st.text(max_size=200))
def test_any_text_is_a_description_or_refused(text):
    with pytest.raises(DescriptionError):
        described(text)


# The folder of a person's own.


def test_a_folder_of_descriptions(tmp_path):
    """They go before the built-in ones."""
    (tmp_path / "microbit.toml").write_text(EXAMPLE, encoding="utf-8")
    (tmp_path / "notes.txt").write_text("nothing", encoding="utf-8")
    own, *others = families(tmp_path)
    assert own.FAMILY == "BBC micro:bit"
    assert tuple(others) == FAMILIES == families(None)
    with pytest.raises(DescriptionError, match="no such folder"):
        families(tmp_path / "missing")


def test_a_name_that_is_taken_and_a_file_that_cannot_be_read(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(EXAMPLE.replace('family = "BBC micro:bit"', f'family = "{Polar.FAMILY}"'), encoding="utf-8")
    with pytest.raises(DescriptionError, match="two families"):
        families(tmp_path)
    path.write_bytes(b"\xff")
    with pytest.raises(DescriptionError, match="not UTF-8"):
        families(tmp_path)


def test_a_capture_keeps_the_description():
    """So that it can be replayed where there is none."""
    codec = microbit()("")
    again = family_kept_as(family_as_kept(codec))
    assert again("").device == codec.device
    assert family_kept_as(Polar.FAMILY) is Polar


# Round trips, and whatever a radio may bring.


@COUNTS
@given(
    st.integers(1, 40).flatmap(lambda n: arrays(np.int32, (2, n), elements=st.integers(-2048, 63487))),
    st.integers(0, 65535),
    st.integers(0, (1 << 32) - 1),
)
def test_round_trip(counted, counts, number, tick):
    codec = numbered(counted)
    index, sequence = (number, None) if counted == "samples" else (None, number)
    packet = Packet("emg", counts, sequence, index, tick * 1_000_000)
    (read,) = codec.decode(Notification(*codec.encode(packet), 0))
    np.testing.assert_array_equal(read.counts, counts)
    assert (read.sequence, read.index, read.device_ns) == (sequence, index, tick * 1_000_000)


@given(st.binary(max_size=60) | st.binary(max_size=40).map(lambda data: b"\xa5" + data))
def test_any_payload_gives_values_or_a_packet_error(data):
    try:
        (packet,) = decode(numbered(), data)
    except PacketError:
        return
    assert packet.counts.shape[0] == 2


# The example, emulated, through bleak.


class EmulatedMicrobit(EmulatedDevice):
    SERVICES = (Service("e95d0753-251d-470a-a062-fa1922dfa9a8", {DATA: "notify", PERIOD: "read write"}),)

    def __init__(self, flaws):
        acc = Channel("acc", 3, 100.0, 0.001, CountingBody().acc_g, 0, longest=1)
        super().__init__("BBC micro:bit", microbit()("BBC micro:bit"), (acc,), flaws, 1, 0)

    def read(self, characteristic):
        return b""

    def write(self, characteristic, data):
        if data == b"\x0a\0":
            self._begin("acc")
        else:
            self.stop()

    def _wire(self, packet):
        return (self.codec.encode(packet),)


@pytest.mark.parametrize("flaws", [PERFECT, LOSSY], ids=["whole", "lossy"])
async def test_twenty_seconds(flaws):
    heard = await listen(EmulatedMicrobit(flaws), microbit(), 20)
    assert bool(heard.assert_estimate("acc", 0.001, 1e-9, 10)) == bool(flaws.loss)
