"""MetaMotion: bytes to values and back, and the emulated sensor through bleak."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from firmware_interface.codecs.metamotion import (
    COMMAND,
    NOTIFICATION,
    RATE_HZ,
    SCALE_G,
    SERVICE,
    START,
    MetaMotion,
)
from firmware_interface.emulated.metamotion import EmulatedMetaMotion
from firmware_interface.errors import PacketError
from firmware_interface.samples import Notification, Packet, Status
from tests.golden import golden
from tests.over_bleak import LOSSY, PERFECT, CountingBody, listen

BOTH = pytest.mark.parametrize("accelerometer", [1, 4], ids=["BMI160", "BMI270"])


def sensor(accelerometer=1):
    return MetaMotion("MetaWear", "", "", accelerometer)


def decode(data):
    return sensor().decode(Notification(NOTIFICATION, bytes(data), 0))


def body():
    return CountingBody(acc_rate_hz=RATE_HZ, acc=SCALE_G)


# What other projects' tests say of these bytes.


def test_other_projects_sample():
    vector = golden("metamotion_acc_4g")
    (packet,) = decode(bytes.fromhex(vector["packet_hex"]))
    np.testing.assert_allclose(packet.counts[:, 0] * SCALE_G, vector["g"], atol=1e-3)


def test_other_projects_packed_samples():
    """At 8 g, so a count is twice as much."""
    vector = golden("metamotion_acc_packed_8g")
    (packet,) = decode(bytes.fromhex(vector["packet_hex"]))
    np.testing.assert_allclose(packet.counts.T * (2 * SCALE_G), vector["g"], atol=1e-3)


# Vectors of our own.


@pytest.mark.parametrize("head", ["031c", "0305"])
def test_golden_packed_samples(head):
    (packet,) = decode(bytes.fromhex(head + "0020 00e0 0100" + "0000" * 6))
    assert packet.counts.tolist() == [[8192, 0, 0], [-8192, 0, 0], [1, 0, 0]]
    assert (packet.index, packet.device_ns) == (None, None)


def test_battery_and_other_answers():
    assert decode(bytes.fromhex("118c63 3410")) == (Status(battery_percent=99),)
    assert decode(bytes.fromhex("0380 01 01")) == decode(b"\x01\x81\0") == decode(b"\x11\x8c") == ()


@pytest.mark.parametrize(
    ("data", "words"), [("", "0 bytes"), ("03", "1 bytes"), ("031c" + "00" * 17, "17 bytes"), ("0304", "0 bytes")]
)
def test_malformed_packets_say_why(data, words):
    with pytest.raises(PacketError, match=words):
        decode(bytes.fromhex(data))


def test_an_accelerometer_that_is_not_known_is_said_to_be():
    talk = MetaMotion.introduce("MetaWear")
    next(talk)
    for answer in (b"", b"", b""):
        talk.send(answer)
    with pytest.raises(PacketError, match="accelerometer 00"):
        talk.send(bytes.fromhex("03800001"))


def test_recognised_by_service_or_name():
    assert MetaMotion.recognises((SERVICE,), "left calf")
    assert MetaMotion.recognises((), "MetaWear")
    assert not MetaMotion.recognises((), None)


@BOTH
@given(st.sampled_from([1, 3]).flatmap(lambda n: arrays(np.int16, (3, n))))
def test_round_trip(accelerometer, counts):
    codec = sensor(accelerometer)
    (read,) = codec.decode(Notification(*codec.encode(Packet("acc", counts)), 0))
    np.testing.assert_array_equal(read.counts, counts)


@given(st.sampled_from([b"", b"\x03\x1c", b"\x03\x04", b"\x11\x8c"]), st.binary(max_size=24))
def test_any_payload_gives_values_or_a_packet_error(head, data):
    try:
        items = decode(head + data)
    except PacketError:
        return
    assert all(item.counts.shape in {(3, 1), (3, 3)} for item in items if isinstance(item, Packet))


# The emulated sensor, through bleak.


@pytest.mark.parametrize(("flaws", "accelerometer"), [(PERFECT, 4), (LOSSY, 1)], ids=["whole", "lossy"])
async def test_twenty_seconds(flaws, accelerometer):
    device = EmulatedMetaMotion(body(), flaws, 1, accelerometer=accelerometer)
    heard = await listen(device, MetaMotion, 20)
    assert heard.codec.device.serial == "05A5A5"
    assert heard.said == [Status(battery_percent=99)]
    assert bool(heard.assert_estimate("acc", SCALE_G, 1e-9, 5)) == bool(flaws.loss)


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("flaws", [PERFECT, LOSSY], ids=["whole", "lossy"])
async def test_ten_minutes(flaws):
    heard = await listen(EmulatedMetaMotion(body(), flaws, 2), MetaMotion, 600)
    heard.assert_estimate("acc", SCALE_G, 1e-9, 5)


def test_start_alone_starts_nothing():
    device = EmulatedMetaMotion(body(), PERFECT, 1)
    device.write(COMMAND, START)
    assert device.advance(10**9) == []
