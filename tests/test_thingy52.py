"""Thingy:52: bytes to values and back, and the emulated device through bleak."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from firmware_interface.codecs import BATTERY
from firmware_interface.codecs.thingy52 import ADVERTISED, RATE_HZ, RAW, SCALE_G, SERVICE, SETTINGS, Thingy52
from firmware_interface.emulated.device import AttError
from firmware_interface.emulated.thingy52 import EmulatedThingy52
from firmware_interface.errors import PacketError
from firmware_interface.samples import Notification, Packet, Status
from tests.over_bleak import LOSSY, PERFECT, CountingBody, listen


def decode(data, characteristic=RAW):
    return Thingy52("Thingy").decode(Notification(characteristic, bytes(data), 0))


def body():
    return CountingBody(acc_rate_hz=RATE_HZ, acc=SCALE_G)


# Vectors of our own: none are public.


def test_golden_sample():
    """1 g is 1024."""
    (packet,) = decode(bytes.fromhex("0004 00fc 0100" + "11" * 12))
    assert packet.counts.tolist() == [[1024], [-1024], [1]]
    assert (packet.index, packet.sequence, packet.device_ns) == (None, None, None)


def test_settings():
    """100 Hz, and no waking on motion."""
    (write,) = Thingy52("Thingy").start()
    assert (write.characteristic, write.data.hex()) == (SETTINGS, "f401f401f401640000")


def test_battery():
    assert decode(b"\x58", BATTERY) == (Status(battery_percent=88),)


@pytest.mark.parametrize("length", [0, 17, 19])
def test_malformed_packets_say_why(length):
    with pytest.raises(PacketError, match=f"{length} bytes"):
        decode(bytes(length))


def test_recognised_by_service_or_name():
    assert Thingy52.recognises((ADVERTISED,), None)
    assert Thingy52.recognises((SERVICE,), "left calf")
    assert Thingy52.recognises((), "Thingy")
    assert not Thingy52.recognises((), None)


@given(arrays(np.int16, (3, 1)))
def test_round_trip(counts):
    codec = Thingy52("Thingy")
    (read,) = codec.decode(Notification(*codec.encode(Packet("acc", counts)), 0))
    np.testing.assert_array_equal(read.counts, counts)


@given(st.sampled_from(Thingy52.NOTIFY), st.binary(max_size=24) | st.binary(min_size=18, max_size=18))
def test_any_payload_gives_values_or_a_packet_error(characteristic, data):
    try:
        items = decode(data, characteristic)
    except PacketError:
        return
    assert all(item.counts.shape == (3, 1) for item in items if isinstance(item, Packet))


# The emulated device, through bleak.


@pytest.mark.parametrize("flaws", [PERFECT, LOSSY], ids=["whole", "lossy"])
async def test_twenty_seconds(flaws):
    heard = await listen(EmulatedThingy52(body(), flaws, 1), Thingy52, 20)
    assert bool(heard.assert_estimate("acc", SCALE_G, 1e-9, 10)) == bool(flaws.loss)
    assert heard.said == [Status(battery_percent=88)]


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("flaws", [PERFECT, LOSSY], ids=["whole", "lossy"])
async def test_ten_minutes(flaws):
    heard = await listen(EmulatedThingy52(body(), flaws, 2), Thingy52, 600)
    heard.assert_estimate("acc", SCALE_G, 1e-9, 10)


def test_a_rate_that_it_cannot_have_is_refused():
    with pytest.raises(AttError):
        EmulatedThingy52(body(), PERFECT, 1).write(SETTINGS, bytes(9))
