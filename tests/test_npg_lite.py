"""NPG Lite: bytes to values and back, and the emulated board through bleak."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from firmware_interface.codecs.npg_lite import BATTERY, DATA, RATE_HZ, SERVICE, NpgLite
from firmware_interface.emulated.npg_lite import SCALE_UV, EmulatedNpgLite
from firmware_interface.errors import PacketError
from firmware_interface.samples import Notification, Packet, Status, Unit
from tests.over_bleak import LOSSY, PERFECT, CountingBody, listen

WIDTHS = pytest.mark.parametrize("width", [3, 6])


def board(width=3):
    return NpgLite(f"NPG-{width}CH")


def decode(data, width=3, characteristic=DATA):
    return board(width).decode(Notification(characteristic, bytes(data), 0))


# Vectors of our own: none are public.


def test_golden_samples():
    """A count, and numbers that begin with their high byte; the count wraps."""
    (packet,) = decode(bytes.fromhex("ff 0001 0800 0fff 00 fffe 0000 7fff"))
    assert packet.counts.tolist() == [[1, -2], [2048, 0], [4095, 32767]]
    assert packet.index == 255


def test_one_sample_of_six_channels():
    (packet,) = decode(bytes.fromhex("07" + "0102" * 6), 6)
    assert packet.counts.tolist() == [[258]] * 6


def test_channels_by_name():
    """Three where it does not say."""
    streams = {name: NpgLite(name).device.streams[0] for name in ("NPG Lite", "NPG-3CH-1", "NPG-6CH:1")}
    assert [len(stream.channels) for stream in streams.values()] == [3, 3, 6]
    assert streams["NPG Lite"].unit is Unit.COUNT


def test_battery():
    assert decode(b"\x4b", characteristic=BATTERY) == (Status(battery_percent=75),)


@pytest.mark.parametrize(
    ("data", "words"), [("", "0 bytes"), ("01" * 8, "8 bytes"), ("01" + "00" * 6 + "03" + "00" * 6, r"\[1, 3\]")]
)
def test_malformed_packets_say_why(data, words):
    with pytest.raises(PacketError, match=words):
        decode(bytes.fromhex(data))


def test_recognised_by_name_alone():
    """Its service is that of the example on every other ESP32."""
    assert NpgLite.recognises((), "NPG-3CH-5a5a")
    assert not NpgLite.recognises((SERVICE,), "MyESP32")
    assert not NpgLite.recognises((SERVICE,), None)


@WIDTHS
@given(st.data())
def test_round_trip(width, data):
    shape = data.draw(array_shapes(min_dims=1, max_dims=1, max_side=18))
    counts, index = data.draw(arrays(np.int16, (width, *shape))), data.draw(st.integers(0, 5000))
    codec = board(width)
    (read,) = codec.decode(Notification(*codec.encode(Packet("emg", counts, index=index)), 0))
    np.testing.assert_array_equal(read.counts, counts)
    assert read.index == index % 256


@WIDTHS
@given(st.binary(max_size=80))
def test_any_payload_gives_values_or_a_packet_error(width, data):
    try:
        (packet,) = decode(data, width)
    except PacketError:
        return
    assert packet.counts.shape == (width, len(data) // (1 + 2 * width))


# The emulated board, through bleak.


@pytest.mark.parametrize(("flaws", "width"), [(PERFECT, 6), (LOSSY, 3)], ids=["whole", "lossy"])
async def test_twenty_seconds(flaws, width):
    body = CountingBody(RATE_HZ, width=width, emg=SCALE_UV)
    heard = await listen(EmulatedNpgLite(body, flaws, 1), NpgLite, 20)
    assert bool(heard.assert_account("emg", 1.0, 0, 5)) == bool(flaws.loss)
    assert heard.said == [Status(battery_percent=75)]


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("flaws", [PERFECT, LOSSY], ids=["whole", "lossy"])
async def test_ten_minutes(flaws):
    body = CountingBody(RATE_HZ, width=3, emg=SCALE_UV)
    heard = await listen(EmulatedNpgLite(body, flaws, 2), NpgLite, 600)
    heard.assert_account("emg", 1.0, 0, 5)
