"""Myo: bytes to values and back, and the emulated armband through bleak."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from firmware_interface.codecs import BATTERY
from firmware_interface.codecs.myo import (
    ACC_RATE_HZ,
    ACC_SCALE_G,
    COMMAND,
    EMG,
    IMU,
    RATE_HZ,
    SERVICE,
    STREAM,
    Myo,
)
from firmware_interface.emulated.myo import SCALE_UV, EmulatedMyo
from firmware_interface.errors import PacketError
from firmware_interface.samples import Notification, Packet, Status, Unit
from tests.golden import golden
from tests.over_bleak import LOSSY, PERFECT, CountingBody, listen


def armband():
    return Myo("Myo", "", "")


def decode(characteristic, data):
    return armband().decode(Notification(characteristic, bytes(data), 0))


def body():
    return CountingBody(RATE_HZ, ACC_RATE_HZ, width=8, acc=ACC_SCALE_G)


# What other projects' tests say of these bytes.


def test_other_projects_emg():
    for vector in golden("myo_emg"):
        (packet,) = decode(EMG[0], bytes.fromhex(vector["payload_hex"]))
        assert packet.counts.T.tolist() == vector["samples"]


def test_other_projects_acceleration():
    vector = golden("myo_imu")
    (packet,) = decode(IMU, bytes.fromhex(vector["payload_hex"]))
    assert (packet.counts[:, 0] * ACC_SCALE_G).tolist() == vector["acc_g"]


# Vectors of our own.


@pytest.mark.parametrize("turn", range(4))
def test_golden_emg(turn):
    """Two samples of eight channels; which characteristic says which two of eight."""
    (packet,) = decode(EMG[turn], bytes.fromhex("0001027f80818283" + "ff" * 8))
    assert packet.counts[:, 0].tolist() == [0, 1, 2, 127, -128, -127, -126, -125]
    assert packet.counts[:, 1].tolist() == [-1] * 8
    assert packet.index == 2 * turn


def test_golden_acceleration():
    (packet,) = decode(IMU, bytes.fromhex("11" * 8 + "0008 00f8 0100" + "11" * 6))
    assert packet.counts.tolist() == [[2048], [-2048], [1]]
    assert (packet.index, packet.sequence, packet.device_ns) == (None, None, None)


def test_battery():
    assert decode(BATTERY, b"\x40") == (Status(battery_percent=64),)


@pytest.mark.parametrize(
    ("characteristic", "data", "words"), [(EMG[1], bytes(15), "15 bytes"), (IMU, b"", "0 bytes")]
)
def test_malformed_packets_say_why(characteristic, data, words):
    with pytest.raises(PacketError, match=words):
        decode(characteristic, data)


def test_its_unit_is_unknown_and_stays_so():
    emg, _ = armband().device.streams
    assert (emg.unit, emg.scale) == (Unit.COUNT, 1.0)


def test_recognised_by_service():
    assert Myo.recognises((SERVICE,), None)
    assert not Myo.recognises((), "Myo")


@given(arrays(np.int8, (8, 2)), st.integers(0, 3))
def test_round_trip(counts, turn):
    codec = armband()
    (read,) = codec.decode(Notification(*codec.encode(Packet("emg", counts, index=2 * turn + 16)), 0))
    np.testing.assert_array_equal(read.counts, counts)
    assert read.index == 2 * turn


@given(arrays(np.int16, (3, 1)))
def test_acceleration_round_trip(counts):
    codec = armband()
    (read,) = codec.decode(Notification(*codec.encode(Packet("acc", counts)), 0))
    np.testing.assert_array_equal(read.counts, counts)


@given(st.sampled_from(Myo.NOTIFY), st.binary(max_size=24) | st.sampled_from([bytes(16), bytes(20)]))
def test_any_payload_gives_values_or_a_packet_error(characteristic, data):
    try:
        items = decode(characteristic, data)
    except PacketError:
        return
    assert all(item.counts.shape in {(8, 2), (3, 1)} for item in items if isinstance(item, Packet))


# The emulated armband, through bleak.


@pytest.mark.parametrize("flaws", [PERFECT, LOSSY], ids=["whole", "lossy"])
async def test_twenty_seconds(flaws):
    heard = await listen(EmulatedMyo(body(), flaws, 3), Myo, 20)
    assert heard.codec.device.serial == "C4:5A:5A:5A:5A:5A"
    assert heard.codec.device.firmware == "1.5.1970"
    gaps = [
        heard.assert_estimate("emg", 1 / SCALE_UV, 0.51, 5),
        heard.assert_estimate("acc", ACC_SCALE_G, 1e-6, 25),
    ]
    assert all(bool(each) == bool(flaws.loss) for each in gaps)


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("flaws", [PERFECT, LOSSY], ids=["whole", "lossy"])
async def test_ten_minutes(flaws):
    heard = await listen(EmulatedMyo(body(), flaws, 2), Myo, 600)
    heard.assert_estimate("emg", 1 / SCALE_UV, 0.51, 5)
    heard.assert_estimate("acc", ACC_SCALE_G, 1e-6, 25)


def test_it_falls_asleep_unless_told_not_to():
    device = EmulatedMyo(body(), PERFECT, 1)
    device.write(COMMAND, STREAM)
    device.advance(29 * 10**9)
    sent = device.sent["emg"]
    assert sent > 5700
    for second in range(31, 40):
        device.advance(second * 10**9)
    assert device.sent["emg"] < sent + 2 * RATE_HZ
