"""gForce: bytes to values and back, and the emulated armband through bleak."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from firmware_interface.codecs.gforce import COMMAND, NOTIFICATION, RATE_HZ, SERVICE, GForce, in_parts
from firmware_interface.emulated.gforce import SCALE_UV, EmulatedGForce
from firmware_interface.errors import PacketError
from firmware_interface.samples import Notification, Packet, SampleBlock, Status, Unit
from tests.over_bleak import LOSSY, PERFECT, CountingBody, listen

FINENESS = pytest.mark.parametrize("fine", [True, False], ids=["12 bits", "8 bits"])


def feed(codec, data, arrival_ns=0):
    return codec.decode(Notification(NOTIFICATION, bytes(data), arrival_ns))


def offset(fine):
    """Of the pattern, which is measured about the middle."""
    return 2048 if fine else 128


def body():
    return CountingBody(RATE_HZ, width=8)


# Vectors of our own: none are public.


def test_golden_twelve_bits():
    """Two bytes a number; channel after channel, sample after sample."""
    row = "0000 0100 ff0f 0008 0000 0000 0000 0700"
    (packet,) = feed(GForce(""), bytes.fromhex("08" + row * 8))
    assert packet.counts.shape == (8, 8)
    assert packet.counts[:, 0].tolist() == [0, 1, 4095, 2048, 0, 0, 0, 7]


def test_golden_eight_bits():
    (packet,) = feed(GForce("", fine=False), bytes.fromhex("08" + "000102807fff0809" * 16))
    assert packet.counts.shape == (8, 16)
    assert packet.counts[:, 15].tolist() == [0, 1, 2, 128, 127, 255, 8, 9]


def test_a_packet_in_parts_is_one_from_its_first_arrival_on():
    codec = GForce("")
    payload = bytes.fromhex("08" + "0102" * 64)
    first, *middle, last = in_parts(payload, 20)
    assert first[:2] == b"\xff\x07"
    assert last[:2] == b"\xff\x00"
    assert feed(codec, first, 5) == ()
    assert all(feed(codec, part, 6) == () for part in middle)
    (packet,) = feed(codec, last, 9)
    assert packet.began_ns == 5
    assert (packet.counts == 0x0201).all()


def test_after_a_part_is_lost_the_next_whole_is_read():
    codec = GForce("")
    parts = in_parts(b"\x08" + bytes(128), 50)
    feed(codec, parts[0])
    with pytest.raises(PacketError, match="part 0 of a notification after part 2"):
        feed(codec, parts[2])
    assert [len(feed(codec, part)) for part in parts] == [0, 0, 1]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("", "no bytes"),
        ("ff", "without a number"),
        ("08" + "00" * 15, "15 bytes"),
        ("08", "0 bytes"),
        ("0d", "kind 13"),
    ],
)
def test_malformed_packets_say_why(data, words):
    with pytest.raises(PacketError, match=words):
        feed(GForce(""), bytes.fromhex(data))


def test_other_kinds_and_answers_give_nothing():
    assert feed(GForce(""), b"\1" + bytes(12)) == ()
    assert GForce("").decode(Notification(COMMAND, b"\0\x4f", 0)) == ()


def test_its_unit_is_unknown_and_stays_so():
    (stream,) = GForce("").device.streams
    assert (stream.unit, stream.scale) == (Unit.COUNT, 1.0)
    with pytest.raises(ValueError, match="nothing"):
        GForce("").encode(Status())


def test_what_refuses_everything_is_said_to():
    talk = GForce.introduce("gForce")
    next(talk)
    talk.send(b"")
    talk.send(b"\1\x3f")
    talk.send(b"")
    with pytest.raises(PacketError, match="answers 013f"):
        talk.send(b"\1\x3f")


def test_recognised_by_name():
    """Of what has no name, by the service."""
    assert GForce.recognises((), "gForcePro+ 5A5A")
    assert GForce.recognises((SERVICE,), None)
    assert not GForce.recognises((SERVICE,), "Kitchen lamp")


@FINENESS
@given(st.data())
def test_round_trip(fine, data):
    dtype, top = (np.uint16, 4095) if fine else (np.uint8, 255)
    counts = data.draw(arrays(dtype, (8, data.draw(st.integers(1, 16))), elements=st.integers(0, top)))
    codec = GForce("", fine=fine)
    _, payload = codec.encode(Packet("emg", counts))
    for part in in_parts(payload, data.draw(st.integers(4, 300))):
        read = feed(codec, part)
    np.testing.assert_array_equal(read[0].counts, counts)


@given(st.lists(st.binary(max_size=130) | st.binary(max_size=40).map(lambda b: b"\xff\0" + b), max_size=6))
def test_any_payload_gives_values_or_a_packet_error(payloads):
    codec = GForce("")
    for data in payloads:
        try:
            items = feed(codec, data)
        except PacketError:
            continue
        assert all(item.counts.shape[0] == 8 and item.counts.shape[1] for item in items)


# The emulated armband, through bleak.


@pytest.mark.parametrize(("flaws", "fine"), [(PERFECT, False), (LOSSY, True)], ids=["whole", "lossy"])
async def test_twenty_seconds(flaws, fine):
    heard = await listen(EmulatedGForce(body(), flaws, 1, fine=fine), GForce, 20)
    gaps = heard.assert_estimate("emg", 1 / SCALE_UV[fine], 0.51, 5, middle=offset(fine))
    assert bool(gaps) == bool(flaws.loss)


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("flaws", [PERFECT, LOSSY], ids=["whole", "lossy"])
async def test_ten_minutes(flaws):
    heard = await listen(EmulatedGForce(body(), flaws, 2), GForce, 600)
    heard.assert_estimate("emg", 1 / SCALE_UV[True], 0.51, 16, middle=offset(True))


async def test_in_parts_over_a_narrow_link():
    """Each part is lost on its own, and takes the others with it."""
    heard = await listen(EmulatedGForce(body(), PERFECT, 1, payload_max=50), GForce, 5)
    assert all(isinstance(item, SampleBlock) for item in heard.items)
    assert sum(item.length for item in heard.items) > 2000
