"""DOT: bytes to values and back, and the emulated sensor through bleak."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from firmware_interface.codecs.xsens_dot import ADVERTISED, RATE_HZ, SHORT, XsensDot
from firmware_interface.emulated.xsens_dot import EmulatedXsensDot
from firmware_interface.errors import PacketError
from firmware_interface.samples import Notification, Packet, Status
from tests.golden import golden
from tests.over_bleak import LOSSY, PERFECT, CountingBody, listen

STEP = 9.80665 / 2048
FINITE = st.floats(-1e6, 1e6, width=32)


def decode(data):
    return XsensDot("Xsens DOT").decode(Notification(SHORT, bytes(data), 0))


def body():
    return CountingBody(acc_rate_hz=RATE_HZ, acc=1 / 2048)


# What another project's tests say of these bytes.


def test_another_projects_payload():
    vector = golden("xsens_dot_free_acc")
    (packet,) = decode(bytes.fromhex(vector["packet_hex"]))
    assert packet.device_ns == 1000 * vector["timestamp_us"]
    np.testing.assert_allclose(packet.counts[:, 0], vector["acc"], rtol=1e-7)


# Vectors of our own.


def test_golden_payload():
    (packet,) = decode(bytes.fromhex("01000000" + "0000803f" + "000080bf" + "0000003f" + "00000000"))
    assert packet.counts.tolist() == [[1.0], [-1.0], [0.5]]
    assert packet.device_ns == 1000


@pytest.mark.parametrize(
    ("data", "words"), [("00" * 19, "19 bytes"), ("00" * 4 + "0000c07f" + "00" * 12, "are none")]
)
def test_malformed_packets_say_why(data, words):
    with pytest.raises(PacketError, match=words):
        decode(bytes.fromhex(data))


def test_it_says_nothing_of_itself():
    with pytest.raises(ValueError, match="nothing"):
        XsensDot("").encode(Status())


def test_recognised_by_service_or_name():
    assert XsensDot.recognises((ADVERTISED,), None)
    assert XsensDot.recognises((), "Movella DOT")
    assert not XsensDot.recognises((), None)


@given(arrays(np.float32, (3, 1), elements=FINITE), st.integers(0, (1 << 40) - 1))
def test_round_trip(counts, time_us):
    codec = XsensDot("")
    (read,) = codec.decode(Notification(*codec.encode(Packet("acc", counts, device_ns=1000 * time_us)), 0))
    np.testing.assert_array_equal(read.counts, counts)
    assert read.device_ns == 1000 * (time_us % (1 << 32))


@given(st.binary(max_size=24) | st.binary(min_size=20, max_size=20))
def test_any_payload_gives_values_or_a_packet_error(data):
    try:
        (packet,) = decode(data)
    except PacketError:
        return
    assert packet.counts.shape == (3, 1)


# The emulated sensor, through bleak. Its clock wraps meanwhile.


@pytest.mark.parametrize("flaws", [PERFECT, LOSSY], ids=["whole", "lossy"])
async def test_twenty_seconds(flaws):
    heard = await listen(EmulatedXsensDot(body(), flaws, 1), XsensDot, 20)
    assert bool(heard.assert_account("acc", STEP, 1e-5, 2, exact=False)) == bool(flaws.loss)


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("flaws", [PERFECT, LOSSY], ids=["whole", "lossy"])
async def test_ten_minutes(flaws):
    heard = await listen(EmulatedXsensDot(body(), flaws, 2), XsensDot, 600)
    heard.assert_account("acc", STEP, 1e-5, 2, exact=False)
