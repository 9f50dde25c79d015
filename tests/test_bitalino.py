"""BITalino: bytes to values and back, and the emulated board through bleak."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from firmware_interface.codecs.bitalino import COMMAND, FRAMES, RATE_HZ, SCALE_UV, SERVICE, START, BITalino
from firmware_interface.emulated.bitalino import EmulatedBITalino
from firmware_interface.errors import PacketError
from firmware_interface.samples import Notification, Packet, Status
from tests.over_bleak import LOSSY, PERFECT, CountingBody, listen

STEP_UV = SCALE_UV / 8
"""Ten bits hold an eighth of the pattern."""
TEN_BITS = st.integers(-512, 511)


def feed(codec, data):
    return codec.decode(Notification(FRAMES, bytes(data), 0))


def decode(data):
    return feed(BITalino(""), data)


def body():
    return CountingBody(RATE_HZ, width=4, emg=STEP_UV)


def written_out(values, count):
    """A frame bit by bit, as the vendor's description has it; and its CRC by long division."""
    bits = "".join(f"{value:010b}" for value in values) + "0000"
    body = int("0000" + bits, 2).to_bytes(6, "little")
    frame = body + bytes((count << 4,))
    remainder = 0
    for bit in "".join(f"{byte:08b}" for byte in frame):
        remainder = remainder << 1
        remainder = (remainder ^ 0b0011 if remainder & 16 else remainder) ^ int(bit)
    return body + bytes((count << 4 | remainder & 15,))


# Vectors of our own: none are public.


def test_golden_frames():
    """512 is nothing; the count wraps."""
    (packet,) = decode(written_out((512, 513, 0, 1023), 15) + written_out((511, 512, 512, 512), 0))
    assert packet.counts.tolist() == [[0, -1], [1, 0], [-512, 0], [511, 0]]
    assert packet.index == 15


def test_golden_bytes():
    assert BITalino("").encode(Packet("emg", np.zeros((4, 1), int), index=3)) == (
        FRAMES,
        written_out((512, 512, 512, 512), 3),
    )
    assert written_out((512, 512, 512, 512), 3).hex() == "00208000020834"


def test_scale():
    """As the vendor's formula: (x / 1024 - 0.5) 3.3 V / 1009."""
    volts = (612 / 1024 - 0.5) * 3.3 / 1009
    assert pytest.approx(volts * 1e6) == 100 * SCALE_UV


def test_a_frame_that_is_cut_is_put_together():
    codec = BITalino("")
    _, data = codec.encode(Packet("emg", np.arange(24).reshape(4, 6), index=0))
    assert feed(codec, data[:5]) == ()
    lengths = [packet.counts.shape[1] for cut in (data[5:20], data[20:]) for packet in feed(codec, cut)]
    assert lengths == [2, 4]


def test_after_a_loss_within_a_frame_frames_are_found_again():
    codec = BITalino("")
    _, data = codec.encode(Packet("emg", np.arange(40).reshape(4, 10), index=0))
    feed(codec, data[:10])
    (packet,) = feed(codec, data[30:])
    assert (packet.index, packet.counts[0].tolist()) == (5, [5, 6, 7, 8, 9])


@pytest.mark.parametrize("data", [bytes(6) + b"\1", b"\xff" * 20])
def test_malformed_packets_say_why(data):
    with pytest.raises(PacketError, match="without a row of sound frames"):
        decode(data)


def test_it_says_nothing_of_itself():
    with pytest.raises(ValueError, match="nothing"):
        BITalino("").encode(Status())


def test_recognised_by_service_or_name():
    assert BITalino.recognises((SERVICE,), None)
    assert BITalino.recognises((), "BITalino-5A-5A")
    assert not BITalino.recognises((), None)


@given(
    st.integers(1, 30).flatmap(lambda n: arrays(np.int16, (4, n), elements=TEN_BITS)),
    st.integers(0, 100),
)
def test_round_trip(counts, index):
    codec = BITalino("")
    (read,) = codec.decode(Notification(*codec.encode(Packet("emg", counts, index=index)), 0))
    np.testing.assert_array_equal(read.counts, counts)
    assert read.index == index % 16


@given(st.lists(st.binary(max_size=60), max_size=8))
def test_any_payload_gives_values_or_a_packet_error(payloads):
    codec = BITalino("")
    for data in payloads:
        try:
            items = feed(codec, data)
        except PacketError:
            continue
        assert all(item.counts.shape[0] == 4 and 0 <= item.index < 16 for item in items)


# The emulated board, through bleak.


@pytest.mark.parametrize(("flaws", "cutting"), [(PERFECT, True), (LOSSY, False)], ids=["whole", "lossy"])
async def test_twenty_seconds(flaws, cutting):
    heard = await listen(EmulatedBITalino(body(), flaws, 1, cutting=cutting), BITalino, 20)
    gaps = heard.assert_estimate("emg", STEP_UV, 0.51 * SCALE_UV, 50 if cutting else 10, reach=400)
    assert bool(gaps) == bool(flaws.loss)


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("flaws", [PERFECT, LOSSY], ids=["whole", "lossy"])
async def test_ten_minutes(flaws):
    heard = await listen(EmulatedBITalino(body(), flaws, 2), BITalino, 600)
    heard.assert_estimate("emg", STEP_UV, 0.51 * SCALE_UV, 16, reach=400)


def test_without_a_rate_it_stays_idle():
    device = EmulatedBITalino(body(), PERFECT, 1)
    device.write(COMMAND, START)
    assert device.advance(10**9) == []
