"""Muse: bytes to values and back, and the emulated headband through bleak."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from firmware_interface.codecs.muse import (
    ACC,
    ACC_RATE_HZ,
    ACC_SCALE_G,
    CONTROL,
    ELECTRODES,
    RATE_HZ,
    SCALE_UV,
    SERVICE,
    TELEMETRY,
    Muse,
    command,
)
from firmware_interface.emulated.muse import EmulatedMuse
from firmware_interface.errors import PacketError
from firmware_interface.samples import Notification, Packet, Status
from tests.golden import golden
from tests.over_bleak import LOSSY, PERFECT, CountingBody, listen

TP9 = next(iter(ELECTRODES))


def decode(characteristic, data):
    return Muse("Muse").decode(Notification(characteristic, bytes(data), 0))


def body():
    return CountingBody(RATE_HZ, ACC_RATE_HZ, emg=SCALE_UV / 4, acc=ACC_SCALE_G)


# What other projects' tests say of these bytes.


def test_other_projects_electrode():
    vector = golden("muse_eeg")
    (packet,) = decode(TP9, b"\0\1" + bytes.fromhex(vector["body_hex"]))
    assert (packet.counts[0] + vector["offset"]).tolist() == vector["raw12"]
    assert vector["uv_per_count"] == SCALE_UV


def test_other_projects_acceleration():
    vector = golden("muse_acc")
    (packet,) = decode(ACC, bytes.fromhex(vector["packet_hex"]))
    np.testing.assert_allclose(packet.counts.T * ACC_SCALE_G, vector["g"], atol=1e-5)
    assert packet.sequence == vector["index"]


def test_other_projects_telemetry():
    vector = golden("muse_telemetry")
    (status,) = decode(TELEMETRY, bytes.fromhex(vector["packet_hex"]))
    assert status.battery_percent == round(vector["battery_percent"])


# Vectors of our own.


def test_golden_electrode():
    """Two values in three bytes; 2048 is nothing."""
    (packet,) = decode(TP9, bytes.fromhex("ffff" + "800fff" + "000801" * 5))
    assert packet.counts.tolist() == [[0, 2047] + [-2048, 1] * 5]
    assert (packet.stream, packet.sequence) == ("TP9", 65535)


def test_commands():
    assert command("p21").data == b"\x04p21\n"
    assert command("d").data == b"\x02d\n"


def test_answers_give_nothing():
    assert decode(CONTROL, b'{"rc":0}') == ()


@pytest.mark.parametrize("characteristic", [*ELECTRODES, ACC, TELEMETRY])
def test_malformed_packets_say_why(characteristic):
    with pytest.raises(PacketError, match="19 bytes"):
        decode(characteristic, bytes(19))


def test_recognised_by_service_or_name():
    assert Muse.recognises((SERVICE,), None)
    assert Muse.recognises((), "MuseS-1A2B")
    assert not Muse.recognises((), None)


@given(
    st.sampled_from(list(ELECTRODES.values())),
    arrays(np.int16, (1, 12), elements=st.integers(-2048, 2047)),
    st.integers(0, 65535),
)
def test_round_trip(electrode, counts, sequence):
    codec = Muse("Muse")
    (read,) = codec.decode(Notification(*codec.encode(Packet(electrode, counts, sequence)), 0))
    np.testing.assert_array_equal(read.counts, counts)
    assert (read.stream, read.sequence) == (electrode, sequence)


@given(arrays(np.int16, (3, 3)), st.integers(0, 100))
def test_acceleration_and_battery_round_trip(counts, percent):
    codec = Muse("Muse")
    (read,) = codec.decode(Notification(*codec.encode(Packet("acc", counts, 7)), 0))
    np.testing.assert_array_equal(read.counts, counts)
    status = Status(battery_percent=percent)
    assert codec.decode(Notification(*codec.encode(status), 0)) == (status,)


@given(st.sampled_from(Muse.NOTIFY), st.binary(max_size=24) | st.binary(min_size=20, max_size=20))
def test_any_payload_gives_values_or_a_packet_error(characteristic, data):
    try:
        items = decode(characteristic, data)
    except PacketError:
        return
    assert all(item.counts.shape in {(1, 12), (3, 3)} for item in items if isinstance(item, Packet))


# The emulated headband, through bleak.


@pytest.mark.parametrize("flaws", [PERFECT, LOSSY], ids=["whole", "lossy"])
async def test_twenty_seconds(flaws):
    heard = await listen(EmulatedMuse(body(), flaws, 1), Muse, 20)
    gaps = [heard.assert_account(each, SCALE_UV / 4, 0.51 * SCALE_UV, 5) for each in ELECTRODES.values()]
    gaps.append(heard.assert_account("acc", ACC_SCALE_G, 1e-9, 5))
    assert all(bool(each) == bool(flaws.loss) for each in gaps)
    assert heard.said == [Status(battery_percent=91)]


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("flaws", [PERFECT, LOSSY], ids=["whole", "lossy"])
async def test_ten_minutes(flaws):
    heard = await listen(EmulatedMuse(body(), flaws, 2), Muse, 600)
    for electrode in ELECTRODES.values():
        heard.assert_account(electrode, SCALE_UV / 4, 0.51 * SCALE_UV, 5)
    heard.assert_account("acc", ACC_SCALE_G, 1e-9, 5)
