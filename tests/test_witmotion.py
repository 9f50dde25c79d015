"""WitMotion: bytes to values and back, and the emulated sensor through bleak."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from firmware_interface.codecs.witmotion import COMMAND, FAST, NOTIFICATION, RATE_HZ, SCALE_G, SERVICE, WitMotion
from firmware_interface.emulated.witmotion import EmulatedWitMotion
from firmware_interface.errors import PacketError
from firmware_interface.samples import Notification, Packet, Status
from tests.over_bleak import LOSSY, PERFECT, CountingBody, listen

FRAME = "5561 0008 00f8 0100" + "77" * 12


def feed(codec, data):
    return codec.decode(Notification(NOTIFICATION, bytes(data), 0))


def decode(data):
    return feed(WitMotion("WT901BLE67"), data)


def body():
    return CountingBody(acc_rate_hz=RATE_HZ, acc=SCALE_G)


# Vectors of our own: none are public.


def test_golden_frames():
    """1 g is 2048; of several frames, one packet."""
    (packet,) = decode(bytes.fromhex(FRAME + "5561" + "ffff" * 9))
    assert packet.counts.tolist() == [[2048, -1], [-2048, -1], [1, -1]]
    assert SCALE_G == 1 / 2048


def test_a_frame_that_is_cut_is_put_together():
    codec = WitMotion("")
    data = bytes.fromhex(FRAME * 2)
    assert feed(codec, data[:7]) == ()
    assert [p.counts.shape[1] for p in (*feed(codec, data[7:30]), *feed(codec, data[30:]))] == [1, 1]


def test_registers_and_rubbish_before_a_frame_are_passed_over():
    assert decode(bytes.fromhex("5571" + "00" * 18)) == ()
    (packet,) = decode(bytes.fromhex("5571" + "55" * 18 + "0155" + FRAME))
    assert packet.counts.tolist() == [[2048], [-2048], [1]]


@pytest.mark.parametrize("data", [b"", bytes(40), b"\x54" * 20])
def test_malformed_packets_say_why(data):
    with pytest.raises(PacketError, match=f"{len(data)} bytes without a frame"):
        decode(data)


def test_it_says_nothing_of_itself():
    with pytest.raises(ValueError, match="nothing"):
        WitMotion("").encode(Status())


def test_recognised_by_service_or_name():
    assert WitMotion.recognises((SERVICE,), None)
    assert WitMotion.recognises((), "WT901BLE67")
    assert not WitMotion.recognises(("0000ffe5-0000-1000-8000-00805f9b34fb",), None)


@given(st.integers(1, 12).flatmap(lambda n: arrays(np.int16, (3, n))), st.lists(st.integers(0, 240)))
def test_round_trip_however_it_is_cut(counts, cuts):
    codec = WitMotion("")
    _, data = codec.encode(Packet("acc", counts))
    edges = [0, *sorted(cut for cut in cuts if cut < len(data)), len(data)]
    pieces = [data[a:b] for a, b in pairwise(edges) if a < b]
    read = [packet.counts for piece in pieces for packet in feed(codec, piece)]
    np.testing.assert_array_equal(np.concatenate(read, axis=1), counts)


@given(st.lists(st.binary(max_size=60) | st.just(bytes.fromhex(FRAME)), max_size=8))
def test_any_payload_gives_values_or_a_packet_error(payloads):
    codec = WitMotion("")
    for data in payloads:
        try:
            items = feed(codec, data)
        except PacketError:
            continue
        assert all(item.counts.shape[0] == 3 and item.counts.shape[1] for item in items)


# The emulated sensor, through bleak.


@pytest.mark.parametrize("flaws", [PERFECT, LOSSY], ids=["whole", "lossy"])
async def test_twenty_seconds(flaws):
    heard = await listen(EmulatedWitMotion(body(), flaws, 1), WitMotion, 20)
    assert bool(heard.assert_estimate("acc", SCALE_G, 1e-9, 10)) == bool(flaws.loss)


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("flaws", [PERFECT, LOSSY], ids=["whole", "lossy"])
async def test_ten_minutes(flaws):
    heard = await listen(EmulatedWitMotion(body(), flaws, 2, samples=2), WitMotion, 600)
    heard.assert_estimate("acc", SCALE_G, 1e-9, 16 if flaws.loss else 5)


def test_it_obeys_only_what_follows_an_unlocking():
    device = EmulatedWitMotion(body(), PERFECT, 1)
    device.write(COMMAND, FAST)
    assert device.advance(10**9) == []
