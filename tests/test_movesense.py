"""Movesense: bytes to values and back, and the emulated sensor through bleak."""

import struct
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from firmware_interface.ble import Connected
from firmware_interface.codecs import Hear, Write
from firmware_interface.codecs.movesense import COMMAND, NOTIFICATION, SERVICE, Measurement, Movesense, write_data
from firmware_interface.emulated.arm import Arm, ArmSettings
from firmware_interface.emulated.device import Imperfection
from firmware_interface.emulated.movesense import EmulatedMovesense
from firmware_interface.errors import PacketError
from firmware_interface.samples import Notification, Packet, Sensor, Status, Unit
from firmware_interface.virtual_radio import VirtualRadio
from tests.golden import golden
from tests.over_bleak import LOSSY, PERFECT, CountingBody, follow, listen, packets

ACC_SCALE_G = 1 / 8192
ACC_SCALE = ACC_SCALE_G * 9.80665
IMU9 = "/Meas/IMU9/52"
ECG = "/Meas/ECG/200/mV"
SECOND = 1_000_000_000
FLAWS = pytest.mark.parametrize("flaws", [PERFECT, LOSSY], ids=["whole", "lossy"])


def sensor(*paths):
    return Movesense("Movesense 000000005A5A", "", "", paths or (IMU9, ECG))


def said(codec, data, at_ns=0):
    return codec.decode(Notification(NOTIFICATION, bytes(data), at_ns))


def whole(codec, data):
    """A packet in one part: a stream's first ones are kept back until the third."""
    return said(codec, data) + said(codec, data) + said(codec, data)


def body(acc_hz=208.0, ratio=1.0):
    return CountingBody(200.0 * ratio, acc_hz * ratio, acc=ACC_SCALE_G)


# What other projects' tests say of these bytes.


def test_other_projects_imu():
    vector = golden("movesense_imu9_52")
    acc, gyro, mag, *_ = whole(sensor(), b"\2\x10" + bytes.fromhex(vector["payload_hex"]))
    for packet, name in ((acc, "acc_m_s2"), (gyro, "gyro_dps"), (mag, "mag_ut")):
        assert packet.counts.T.tolist() == vector[name]
        assert packet.device_ns == vector["timestamp_ms"] * 1_000_000


def test_other_projects_ecg():
    vector = golden("movesense_ecg_mV")
    packet, *_ = whole(sensor(), b"\2\x11" + bytes.fromhex(vector["payload_hex"]))
    assert packet.counts.tolist() == [vector["uv"]]
    assert packet.device_ns == vector["timestamp_ms"] * 1_000_000


def test_other_projects_rates():
    info = bytes.fromhex(golden("movesense_acc_info")["hex"])
    codec, steps = hold({b"/Meas/Acc/Info": info})
    assert [stream.rate_hz for stream in codec.device.streams] == [208.0]
    assert len(steps) == 4


# Vectors of our own.


def test_golden_requests():
    assert [write.data.hex() for write in Movesense.STOP] == ["0210", "0211", "0212"]
    steps = []
    conversation = sensor("/Meas/Acc/208").start()
    steps.append(next(conversation))
    steps.append(conversation.send(b""))
    with pytest.raises(StopIteration):
        conversation.send(b"\1\x10\xc8\0")
    assert steps == [Write(COMMAND, b"\1\x10/Meas/Acc/208\0"), Hear(NOTIFICATION, b"\1\x10")]


def test_golden_data():
    """Array after array; time in ms."""
    counts = np.array([[1.0, 2.0], [-1.0, 0.5], [9.5, 9.25]], np.float32)
    packet = Packet("acc", counts, device_ns=0x01020304 * 1_000_000)
    _, data = sensor("/Meas/IMU6/104").encode(packet)
    values = "0000803f 000080bf 00001841 00000040 0000003f 00001441"
    assert data == bytes.fromhex("02 10 04030201" + values) + bytes(24)
    acc, gyro, *_ = whole(sensor("/Meas/IMU6/104"), data)
    assert acc.counts.tolist() == counts.tolist()
    assert not gyro.counts.any()


@pytest.mark.parametrize(
    ("path", "sensors", "unit", "rate_hz"),
    [
        ("/Meas/Acc/13", [Sensor.ACC], Unit.METRE_PER_SECOND_SQUARED, 13),
        ("/Meas/Gyro/52", [Sensor.GYRO], Unit.DEGREE_PER_SECOND, 52),
        ("/Meas/Magn/52", [Sensor.MAG], Unit.MICROTESLA, 52),
        ("/Meas/IMU9/104", [Sensor.ACC, Sensor.GYRO, Sensor.MAG], Unit.METRE_PER_SECOND_SQUARED, 104),
        ("/Meas/ECG/512", [Sensor.ECG], Unit.MICROVOLT, 512),
    ],
)
def test_a_path_says_what_comes(path, sensors, unit, rate_hz):
    streams = sensor(path).device.streams
    assert [stream.sensor for stream in streams] == sensors
    assert (streams[0].unit, streams[0].rate_hz) == (unit, rate_hz)


def test_raw_ecg_has_its_own_scale():
    (stream,) = sensor("/Meas/ECG/200").device.streams
    assert stream.scale == 0.381469726563


@pytest.mark.parametrize("path", ["/Info", "/Meas/Acc/0", "/Meas/HR", "/Meas/Acc/208/mV/x"])
def test_other_paths_are_refused(path):
    with pytest.raises(ValueError, match=path):
        Measurement.at(path)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("", "0 bytes"),
        ("02", "1 bytes"),
        ("04 10", "kind 4"),
        ("03 10 00", "first part"),
    ],
)
def test_malformed_notifications_say_why(data, words):
    with pytest.raises(PacketError, match=words):
        said(sensor(), bytes.fromhex(data))


@pytest.mark.parametrize(
    ("data", "words"),
    [("0210", "0 bytes"), ("0210 00000000", "4 bytes"), ("0210 00000000" + "0000c07f" * 9, "none")],
)
def test_malformed_packets_say_why(data, words):
    codec = sensor()
    assert said(codec, bytes.fromhex(data)) + said(codec, bytes.fromhex(data)) == ()
    with pytest.raises(PacketError, match=words):
        said(codec, bytes.fromhex(data))


@pytest.mark.parametrize("data", ["01 10 c800", "02 44 00", "03 44 00"])
def test_answers_and_what_was_not_asked_for_give_nothing(data):
    assert said(sensor(), bytes.fromhex(data)) == ()


def test_recognised_by_name():
    assert Movesense.recognises((), "Movesense 000000005A5A")
    assert Movesense.recognises((SERVICE,), None)
    assert not Movesense.recognises((), None)


# Parts.


def parts(codec, at_ns, cut=100):
    data = codec.encode(Packet("acc", np.full((3, 4), 1.5), device_ns=at_ns))[1]
    return data[:cut], b"\3\x10" + data[cut:]


def test_two_parts_are_one_packet():
    """Wherever it is cut, from the first on."""
    for cut in range(2, 150):
        codec = sensor(IMU9)
        first, second = parts(codec, SECOND, cut)
        assert said(codec, first, 0) == ()
        packets = said(codec, second, 30_000_000)
        assert [packet.counts.shape for packet in packets] == [(3, 4)] * 3


def test_parts_of_different_packets_are_not_put_together():
    """One part of each was lost: the second comes later than it could. Nor is a first part read without."""
    codec = sensor(IMU9)
    first, second = parts(codec, SECOND)
    assert said(codec, first, 0) == ()
    with pytest.raises(PacketError, match="did not come before it"):
        said(codec, second, 77_000_000)
    assert said(codec, first, 154_000_000) == ()
    assert said(codec, first, 231_000_000) == ()
    assert len(said(codec, second, 232_000_000)) == 3


# Round trips, and whatever a radio may bring.

FLOATS = st.floats(-1e6, 1e6, width=32)


@given(
    arrays(np.float32, st.tuples(st.just(3), st.integers(1, 20)), elements=FLOATS), st.integers(0, (1 << 32) - 1)
)
def test_acceleration_round_trip(counts, ms):
    codec = sensor("/Meas/Acc/208")
    packet, *_ = whole(codec, codec.encode(Packet("acc", counts, device_ns=ms * 1_000_000))[1])
    np.testing.assert_array_equal(packet.counts, counts)
    assert packet.device_ns == ms * 1_000_000


@given(
    arrays(np.int16, (1, 16), elements=st.integers(-(1 << 15), (1 << 15) - 1)), st.sampled_from([ECG, ECG[:-3]])
)
def test_ecg_round_trip(counts, path):
    codec = sensor(path)
    packet, *_ = whole(codec, codec.encode(Packet("ecg", counts, device_ns=0))[1])
    np.testing.assert_array_equal(packet.counts, counts)


@given(st.lists(st.binary(max_size=120) | st.tuples(st.sampled_from([b"\2\x10", b"\3\x10", b"\2\x11"]), st.binary(max_size=160)).map(b"".join), max_size=12))  # fmt: skip # noqa: E501
def test_any_payloads_give_values_or_a_packet_error(payloads):
    codec = sensor()
    channels = {stream.name: len(stream.channels) for stream in codec.device.streams}
    for at, data in enumerate(payloads):
        try:
            items = said(codec, data, at * 10_000_000)
        except PacketError:
            continue
        for item in items:
            assert item.counts.shape[0] == channels[item.stream]
            assert item.counts.shape[1] >= 1
            assert np.isfinite(item.counts).all()


# Conversations.

HELLO = b"\1\0\1" + b"\0".join([b"5A5A", b"Movesense", b"0C:8C", b"app", b"1.0"]) + b"\0"


def hold(resources, hello=HELLO, status=200):
    """Introduce a sensor that has these resources; the codec, and what was asked for."""
    conversation, steps = Movesense.introduce("Movesense 5A5A"), []
    try:
        step = next(conversation)
        while True:
            steps.append(step)
            conversation.send(b"")
            path = step.data[2:-1]
            found = path in resources
            answer = struct.pack("<BBH", 1, 4, status if found else 404) + (resources[path] if found else b"")
            step = conversation.send(hello if step.data[0] == 0 else answer)
    except StopIteration as end:
        return end.value, steps


ACC_INFO = bytes.fromhex("03 6800 d000 a001")


def test_introduction():
    """The highest rate up to 208 Hz; no ECG where there is none; never /Info."""
    codec, steps = hold({b"/Meas/Acc/Info": ACC_INFO, b"/System/Energy/Level": b"\x40"})
    assert (codec.device.serial, codec.device.firmware) == ("5A5A", "app 1.0")
    assert [(stream.name, stream.rate_hz) for stream in codec.device.streams] == [("acc", 208.0)]
    assert not any(step.data[2:] == b"/Info\0" for step in steps)
    told = whole(codec, codec.encode(Packet("acc", np.ones((3, 8)), device_ns=0))[1])
    assert told[0] == Status(battery_percent=64)


@pytest.mark.parametrize(
    ("resources", "status", "words"),
    [
        ({}, 200, "neither"),
        ({b"/Meas/Acc/Info": b"\3\0"}, 200, "cut short"),
        ({b"/Meas/Acc/Info": b""}, 429, "slot"),
    ],
)
def test_introductions_that_fail_say_why(resources, status, words):
    with pytest.raises(PacketError, match=words):
        hold(resources, status=status)


def test_a_refused_subscription_says_why():
    conversation = sensor("/Meas/Acc/208").start()
    next(conversation)
    conversation.send(b"")
    with pytest.raises(PacketError, match="404"):
        conversation.send(b"\1\x10\x94\1")


# The emulated sensor, through bleak.


@FLAWS
async def test_forty_seconds(flaws):
    heard = await listen(EmulatedMovesense(body(), flaws, 1), Movesense, 40)
    check(heard, flaws)


@FLAWS
@pytest.mark.parametrize("payload_max", [244, 100], ids=["one part", "two parts"])
async def test_forty_seconds_of_the_imu(flaws, payload_max):
    """In two parts, each of which may be lost. What came first counts for the times."""
    device = EmulatedMovesense(body(52.0), flaws, 1, paths=(IMU9,), payload_max=payload_max)
    heard = await listen(device, Movesense, 40, codec=sensor(IMU9))
    gaps = heard.assert_account("acc", ACC_SCALE, 1e-4, 2)
    assert bool(gaps) == bool(flaws.loss)
    assert {item.stream.name for item in heard.items} == {"acc", "gyro", "mag"}


@pytest.mark.long
@pytest.mark.timeout(1800)
@FLAWS
async def test_ten_minutes(flaws):
    check(await listen(EmulatedMovesense(body(), flaws, 2), Movesense, 600), flaws)


def check(heard, flaws):
    assert heard.said == [Status(battery_percent=64)]
    gaps = heard.assert_account("acc", ACC_SCALE, 1e-4, 2) + heard.assert_account("ecg", 1.0, 1e-6, 2)
    assert bool(gaps) == bool(flaws.loss)


async def test_a_rate_one_per_cent_off_and_overtaken_packets():
    flaws = Imperfection(true_rate_ratio=0.99, clock_skew_ppm=-200, loss=0.03, overtaken=0.02)
    heard = await listen(EmulatedMovesense(body(ratio=0.99), flaws, 3), Movesense, 40)
    heard.assert_account("acc", ACC_SCALE, 1e-4, 2)
    assert heard.decoder.reception.late > 0


def ask(device, request):
    device.write(COMMAND, request)
    return [n.data for n in device.advance(device._now_ns + 50_000_000)]


def test_its_answers():
    device = EmulatedMovesense(body(), Imperfection(), 1)
    assert ask(device, b"\4\7/System/Energy/Level\0") == [b"\1\7\xc8\0\x40"]
    assert ask(device, b"\4\7/Meas/Temp/Info\0") == [b"\1\7\x94\1"]
    assert ask(device, b"\1\7/Meas/Acc/13\0") == [b"\1\7\x94\1"]
    assert ask(device, b"\1\7/Meas/Acc/208\0")[0] == b"\1\7\xc8\0"
    assert b"\1\7\xc8\0" in ask(device, b"\2\7")
    assert ask(device, b"\2\7")[-1] == b"\1\7\x94\1"
    assert ask(device, b"\4") == []


def test_a_reference_in_use_is_a_conflict():
    device = EmulatedMovesense(body(), Imperfection(), 1)
    ask(device, b"\1\7/Meas/Acc/208\0")
    assert b"\1\7\x99\1" in ask(device, b"\1\7/Meas/ECG/200/mV\0")


def test_requests_to_info_use_up_its_slots():
    device = EmulatedMovesense(body(), Imperfection(), 1)
    assert ask(device, b"\4\7/Info\0") + ask(device, b"\4\7/Info\0") == []
    device.stop()
    assert ask(device, b"\0\7") == [b"\1\7\xad\1"]


async def test_worn_on_an_arm_in_real_time():
    arm = Arm(ArmSettings(channels=("ECG",), rate_hz=200.0, acc_rate_hz=208.0), seed=1)
    device = EmulatedMovesense(arm, Imperfection(), 1, time.monotonic_ns())
    async with VirtualRadio() as air:
        items = await follow(air, device, Movesense, lambda items: len(items) > 40)
    (connected,) = (item for item in items if isinstance(item, Connected))
    assert connected.device.serial == "000000005A5A"
    acc = np.concatenate([p.counts for p in packets(items) if p.stream == "acc"], axis=1)
    assert 9 < np.linalg.norm(acc, axis=0).mean() < 10.5


def test_written_data_fills_up_with_zeros():
    data = write_data(0x10, Measurement.at(IMU9), 0, (np.ones((3, 1)),))
    assert len(data) == 2 + 4 + 36
