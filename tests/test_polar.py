"""Polar: bytes to values and back, and the emulated sensors through bleak."""

import struct
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from firmware_interface.ble import Connected, Lost
from firmware_interface.codecs import BATTERY, SERIAL, Device, Hear, Read, Write, polar
from firmware_interface.codecs.polar import CONTROL, DATA, Measurement, Polar, Result, Setting, read_settings
from firmware_interface.decoder import Decoder
from firmware_interface.emulated.arm import Arm, ArmSettings
from firmware_interface.emulated.device import AttError, Imperfection
from firmware_interface.emulated.polar import H10, OH1, VERITY_SENSE, EmulatedPolar
from firmware_interface.errors import PacketError
from firmware_interface.samples import Notification, Packet, Sensor, Status, Unit
from firmware_interface.virtual_radio import VirtualRadio
from tests.golden import golden
from tests.over_bleak import LOSSY, PERFECT, CountingBody, follow, listen, packets

BOTH = {Measurement.ACC: {Setting.RATE: (200,)}, Measurement.ECG: {Setting.RATE: (130,)}}
MODELS = [H10, VERITY_SENSE, OH1]
TIME_MS = 2.0
SECONDS = {H10.name: 50, VERITY_SENSE.name: 120, OH1.name: 240}
"""They send 7, 3 and 1.4 frames a second, and their times need 250 to settle."""


def sensor(factor=1.0):
    codec = Polar(Device("Polar H10 5A5A5A5A", "", "", ()), BOTH)
    codec.factors[Measurement.ACC] = factor
    return codec


def decode(data, codec=None, characteristic=DATA):
    return (codec or sensor()).decode(Notification(characteristic, bytes(data), 0))


def body(model, ratio=1.0):
    acc = model.factor if model.scaled else 0.001
    return CountingBody(130.0 * ratio, model.rate_hz * ratio, emg=1.0, acc=acc)


def hold(conversation, answers):
    """What the codec asks for, answered from a dictionary; the steps, and what it came to."""
    steps, outcome = [], None
    try:
        while True:
            step = conversation.send(outcome)
            steps.append(step)
            outcome = answers(step)
    except StopIteration as end:
        return steps, end.value


# What other projects' tests say of these bytes.


def test_other_projects_frames_in_full():
    vector = golden("polar_acc_raw_type1")
    (packet,) = decode(bytes.fromhex(vector["header_hex"] + vector["payload_hex"]))
    assert packet.counts.T.tolist() == vector["samples"]
    assert packet.device_ns == vector["last_sample_device_ns"]


def test_other_projects_ecg():
    vector = golden("polar_ecg_type0")
    (packet,) = decode(bytes.fromhex(vector["frame_hex"]))
    assert packet.counts.tolist() == [vector["samples_uv"]]


def test_other_projects_compressed_frames():
    vector = golden("polar_acc_compressed_type1")
    (packet,) = decode(bytes.fromhex(vector["header_hex"] + vector["payload_hex"]))
    assert packet.counts.T.tolist() == vector["samples_raw"]
    assert packet.device_ns == vector["sample_device_ns"][-1]


@pytest.mark.parametrize("name", ["polar_acc_compressed_type0", "polar_acc_compressed_two_blocks"])
def test_other_projects_blocks_of_differences(name):
    vector = golden(name)
    header = struct.pack("<BQB", 2, 1, 0x80)
    (packet,) = decode(header + bytes.fromhex(vector["payload_hex"]))
    assert packet.counts.T.tolist() == vector["samples_raw"]


def test_other_projects_factor():
    vector = golden("polar_acc_compressed_type0")
    header = struct.pack("<BQB", 2, 1, 0x80)
    (packet,) = decode(header + bytes.fromhex(vector["payload_hex"]), sensor(vector["factor_g_per_count"]))
    in_mg = np.array(vector["samples_raw"]) * vector["factor_g_per_count"] * 1000
    np.testing.assert_allclose(packet.counts.T, in_mg, rtol=1e-6)


def test_other_projects_settings():
    vector = golden("polar_settings_reply")
    settings = read_settings(bytes.fromhex(vector["hex"]))
    names = ("rate_hz", "resolution_bits", "range_milli", "channels")
    assert [list(settings[setting]) for setting in (0, 1, 2, 4)] == [vector[name] for name in names]


def test_other_projects_times():
    """The decoder gives the last sample the time of its frame, and the others those before it."""
    vector = golden("polar_timestamps")
    codec = Polar(Device("", "", "", ()), {Measurement.ACC: {Setting.RATE: (1.5,)}})
    decoder = Decoder(codec)
    frames = (vector["prev_ns"], 1), (vector["frame_ns"], vector["n"])
    for device_ns, length in frames:
        packet = Packet("acc", np.zeros((3, length)), device_ns=device_ns)
        (block,) = decoder.feed(Notification(*codec.encode(packet), device_ns))
    times = [block.timebase.at(block.first + n) for n in range(vector["n"])]
    assert times == pytest.approx(vector["sample_ns"], abs=1e6)


# Vectors of our own.


def test_requests_on_the_air():
    """START of an H10 as others have sent it, each setting once; STOP of all that may run."""
    chosen = {Setting.RATE: (200,), Setting.RESOLUTION: (16,), Setting.RANGE: (8,)}
    codec = Polar(Device("", "", "", ()), {Measurement.ACC: chosen})
    steps, _ = hold(codec.start(), lambda step: b"\xf0\x02\x02\x00\x00" if isinstance(step, Hear) else b"")
    assert steps[0] == Write(CONTROL, bytes.fromhex("0202 0001c800 01011000 02010800"))
    assert steps[1] == Hear(CONTROL, b"\xf0\x02\x02")
    assert [write.data.hex() for write in Polar.STOP] == ["0302", "0300", "0309"]


def test_golden_frames():
    """Each kind, byte for byte."""
    acc = Packet("acc", np.array([[1, -2], [3, 4], [-5, 6]]), device_ns=0x0102030405060708)
    header = "02 0807060504030201"
    assert sensor().encode(acc)[1] == bytes.fromhex(header + "01 0100 0300 fbff feff 0400 0600")
    compressed = bytes.fromhex(header + "81 0100 0300 fbff 05 01 3d2c")
    assert sensor().encode(acc, compressed=True) == (DATA, compressed)
    (read,) = decode(compressed)
    assert read.counts.tolist() == acc.counts.tolist()
    ecg = Packet("ecg", np.array([[-32766, 32770]]), device_ns=1)
    assert sensor().encode(ecg)[1] == bytes.fromhex("00 0100000000000000 00 0280ff 028000")


@pytest.mark.parametrize(
    ("payload", "counts"),
    [("00 7f80ff", [[127], [-128], [-1]]), ("02 ffff7f 000080 010000", [[8388607], [-8388608], [1]])],
)
def test_golden_widths(payload, counts):
    (packet,) = decode(bytes.fromhex("02 0000000000000000" + payload))
    assert packet.counts.tolist() == counts


def test_a_block_of_no_bits_is_no_change():
    (packet,) = decode(bytes.fromhex("02 0000000000000000 81 0100 0200 0300 00 03"))
    assert packet.counts.tolist() == [[1] * 4, [2] * 4, [3] * 4]


def test_codes_keep_their_numbers():
    assert [int(each) for each in Result] == list(range(14))
    assert (Measurement.ECG, Measurement.ACC, Measurement.SDK_MODE) == (0, 2, 9)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("02 00000000000000", "8 bytes"),
        ("02 0000000000000000 03 0000", "0x03"),
        ("00 0000000000000000 80 0000", "0x80"),
        ("02 0000000000000000 01", "0 bytes"),
        ("02 0000000000000000 01 0000 0000 00", "5 bytes"),
        ("02 0000000000000000 81 0100 0200", "4 bytes"),
        ("02 0000000000000000 81 0100 0200 0300 05", "byte 6"),
        ("02 0000000000000000 81 0100 0200 0300 0500", "0 differences"),
        ("02 0000000000000000 81 0100 0200 0300 0502", "2 differences"),
        ("02 0000000000000000 81 0100 0200 0300 2101" + "00" * 20, "33 bits"),
        ("02 0000000000000000 81 0100 0200 0300" + ("2001" + "ffffff7f" * 3) * 2, "more than 32 bits"),
    ],
)
def test_malformed_frames_say_why(data, words):
    with pytest.raises(PacketError, match=words):
        decode(bytes.fromhex(data))


def test_what_was_not_asked_for_gives_nothing():
    assert decode(bytes.fromhex("01 0000000000000000 00 ffff")) == ()
    assert decode(b"\xf0\x02\x02\x00\x00", characteristic=CONTROL) == ()


def test_battery():
    assert decode(b"\x57", characteristic=BATTERY) == (Status(battery_percent=87),)
    assert sensor().encode(Status(battery_percent=87)) == (BATTERY, b"\x57")
    with pytest.raises(PacketError):
        decode(b"\x65", characteristic=BATTERY)


@pytest.mark.parametrize(
    ("services", "name", "is_one"),
    [
        ((), "Polar H10 12345678", True),
        ((), "Polar Sense 12345678", True),
        ((), "Polar OH1 12345678", True),
        ((), "Polar Vantage V3", False),
        ((polar.SERVICE,), None, True),
        ((), None, False),
    ],
)
def test_recognised_by_name(services, name, is_one):
    assert Polar.recognises(services, name) is is_one


# Round trips, and whatever a radio may bring.

INT16 = st.integers(-(1 << 15), (1 << 15) - 1)


@given(arrays(np.int16, st.tuples(st.just(3), st.integers(1, 300)), elements=INT16), st.booleans())
def test_acceleration_round_trip(counts, compressed):
    codec = sensor()
    packet = Packet("acc", counts, device_ns=7)
    (read,) = codec.decode(Notification(*codec.encode(packet, compressed=compressed), 0))
    np.testing.assert_array_equal(read.counts, counts)
    assert (read.stream, read.device_ns) == ("acc", 7)


@given(arrays(np.int16, (3, 40), elements=INT16), st.sampled_from([2.44e-4, 1.22e-4, 1 / 1024]))
def test_scaled_round_trip(raw, factor):
    codec = sensor(factor)
    packet = Packet("acc", raw * (factor / 0.001), device_ns=7)
    (read,) = codec.decode(Notification(*codec.encode(packet, compressed=True), 0))
    np.testing.assert_allclose(read.counts, packet.counts, rtol=1e-6)


@given(arrays(np.int32, (1, 73), elements=st.integers(-(1 << 23), (1 << 23) - 1)))
def test_ecg_round_trip(counts):
    codec = sensor()
    (read,) = codec.decode(Notification(*codec.encode(Packet("ecg", counts, device_ns=7)), 0))
    np.testing.assert_array_equal(read.counts, counts)


@given(
    st.sampled_from([DATA, BATTERY, CONTROL, "unknown"]),
    st.binary(max_size=260)
    | st.binary(max_size=240).map(lambda rest: bytes.fromhex("02 0100000000000000 81") + rest),
)
def test_any_payload_gives_values_or_a_packet_error(characteristic, data):
    try:
        items = decode(data, sensor(2.44e-4), characteristic)
    except PacketError:
        return
    for item in items:
        if isinstance(item, Packet):
            assert item.counts.shape[0] == {"acc": 3, "ecg": 1}[item.stream]
            assert item.counts.shape[1] >= 1
            assert np.isfinite(item.counts).all()


# Conversations.


def answers(replies, reads):
    def answer(step):
        if isinstance(step, Read):
            return reads.get(step.characteristic, b"")
        return replies[step.prefix] if isinstance(step, Hear) else b""

    return answer


H10_READS = {CONTROL: b"\x0f\x05\x00", SERIAL: b"5A5A5A5A\0", BATTERY: b"\x32"}
ACC_SETTINGS = bytes.fromhex("f001020000 0004 1900 3200 6400 c800 0101 1000 0203 0200 0400 0800")
ECG_SETTINGS = bytes.fromhex("f001000000 0001 8200 0101 0e00")


def test_introduction_of_an_h10():
    """The highest rate up to 208 Hz, the least range that holds 4 g; no SDK mode asked for."""
    replies = {b"\xf0\x01\x02": ACC_SETTINGS, b"\xf0\x01\x00": ECG_SETTINGS}
    _, codec = hold(Polar.introduce("Polar H10 5A5A5A5A"), answers(replies, H10_READS))
    acc, ecg = codec.device.streams
    assert (acc.sensor, acc.unit, acc.scale, acc.rate_hz) == (Sensor.ACC, Unit.G, 0.001, 200)
    assert (ecg.sensor, ecg.unit, ecg.scale, ecg.rate_hz) == (Sensor.ECG, Unit.MICROVOLT, 1, 130)
    assert codec.device.serial == "5A5A5A5A"
    packet = Packet("ecg", np.array([[5]]), device_ns=1)
    told = codec.decode(Notification(*codec.encode(packet), 0))
    assert told[0] == Status(battery_percent=50)
    assert len(codec.decode(Notification(*codec.encode(packet), 0))) == 1
    replies = {b"\xf0\x02\x02": b"\xf0\x02\x02\0\0", b"\xf0\x02\x00": b"\xf0\x02\x00\0\0"}
    steps, _ = hold(codec.start(), answers(replies, {}))
    writes = [step.data.hex() for step in steps if isinstance(step, Write)]
    assert writes == ["02020001c8000101100002010400", "020000018200010 10e00".replace(" ", "")]


@pytest.mark.parametrize(
    ("reads", "reply", "words"),
    [
        ({}, b"", "nothing"),
        ({CONTROL: b"\xf0\x05"}, b"", "f005"),
        ({CONTROL: b"\x0f\x02"}, b"", "neither"),
        (H10_READS, b"\xf0\x01\x02", "3 bytes"),
        (H10_READS, b"\xf0\x01\x02\x0d\x00", "CHARGING"),
        (H10_READS, b"\xf0\x01\x02\x63\x00", "99"),
        (H10_READS, b"\xf0\x01\x02\x00\x01", "goes on"),
        (H10_READS, b"\xf0\x01\x02\x00\x00\x07\x01\x00", "byte 0"),
        (H10_READS, b"\xf0\x01\x02\x00\x00\x00\x01\x00", "byte 0"),
        (H10_READS, b"\xf0\x01\x02\x00\x00\x01\x01\x10\x00", "without a rate"),
    ],
)
def test_introductions_that_fail_say_why(reads, reply, words):
    with pytest.raises(PacketError, match=words):
        hold(Polar.introduce("Polar H10"), answers(dict.fromkeys([b"\xf0\x01\x02"], reply), reads))


def test_a_stream_that_runs_already_is_begun_anew():
    """Its factor is not known otherwise."""
    heard = iter(
        [b"\xf0\x02\x02\x06\0", b"\xf0\x03\x02\0\0", b"\xf0\x02\x02\0\0\x05\x01" + struct.pack("<f", 0.5)]
    )
    codec = Polar(Device("", "", "", ()), {Measurement.ACC: {Setting.RATE: (52,)}})
    hold(codec.start(), lambda step: next(heard) if isinstance(step, Hear) else b"")
    assert codec.factors == {Measurement.ACC: 0.5}


# The emulated sensors, through bleak.


@pytest.mark.parametrize("flaws", [PERFECT, LOSSY], ids=["whole", "lossy"])
@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
async def test_seconds_enough_for_its_times_to_settle(model, flaws):
    """Every sample once, or reported missing; at the right time."""
    heard = await listen(EmulatedPolar(model, body(model), flaws, 1), Polar, SECONDS[model.name])
    assert heard.said == [Status(battery_percent=87)]
    assert heard.codec.device.streams[0].rate_hz == model.rate_hz
    check(heard, model)


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("flaws", [PERFECT, LOSSY], ids=["whole", "lossy"])
@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
async def test_ten_minutes(model, flaws):
    heard = await listen(EmulatedPolar(model, body(model), flaws, 2), Polar, 600)
    gaps = check(heard, model)
    assert bool(gaps) == bool(flaws.loss)


def check(heard, model):
    gaps = heard.assert_account("acc", model.factor if model.scaled else 0.001, 1e-6, TIME_MS)
    if Measurement.ECG in model.features:
        gaps += heard.assert_account("ecg", 1.0, 1e-6, TIME_MS)
    return gaps


async def test_a_rate_one_per_cent_off_and_overtaken_packets():
    """The period is learned, or each frame of 36 would be taken for 36 and a third."""
    flaws = Imperfection(true_rate_ratio=1.01, clock_skew_ppm=-200, loss=0.03, overtaken=0.03)
    heard = await listen(EmulatedPolar(H10, body(H10, 1.01), flaws, 3), Polar, 60)
    check(heard, H10)
    assert heard.decoder.reception.late > 0


def ask(device, request):
    device.write(CONTROL, bytes.fromhex(request))
    return device.advance(device._now_ns + 100_000_000)[-1].data.hex()


@pytest.mark.parametrize(
    ("request_", "reply"),
    [
        ("0109", "f001090300"),
        ("0101", "f001010300"),
        ("0905", "f009050300"),
        ("0202", "f002020800"),
        ("0202 0001c900 01011000 02010400", "f002020800"),
        ("0202 00013200 01011000 02010400", "f002020800"),
        ("0202 0001c800 01010e00 02010400", "f002020700"),
        ("0202 0001c800 01011000 02010500", "f002020900"),
        ("0202 0001c8", "f002020500"),
        ("0202 0001c800 01011000 02010400", "f002020000"),
        ("0302", "f003020600"),
        ("0209", "f002090300"),
        ("02", "f002ff0300"),
    ],
)
def test_an_h10_answers_with_its_error_codes(request_, reply):
    assert ask(EmulatedPolar(H10, body(H10), Imperfection(), 1), request_) == reply


def test_sdk_mode_changes_what_is_offered_and_waits_for_silence():
    device = EmulatedPolar(VERITY_SENSE, body(VERITY_SENSE), Imperfection(), 1)
    start = "0202 0001d000 01011000 02010400 040103"
    assert ask(device, start) == "f002020800"
    assert ask(device, "0209") == "f002090000"
    assert ask(device, "0209") == "f002090600"
    assert ask(device, start).startswith("f0020200000501")
    assert ask(device, "0309") == "f003090c00"
    device.stop()
    assert ask(device, "0102") == "f0010200000001340001011000020108000401" + "03"


def test_an_unbonded_h10_refuses():
    device = EmulatedPolar(H10, body(H10), Imperfection(), 1, bonded=False)
    with pytest.raises(AttError):
        device.write(CONTROL, b"\x01\x02")


async def test_an_unbonded_h10_is_lost_with_its_reason():
    """ATT error 05 reaches the person."""
    device = EmulatedPolar(H10, body(H10), Imperfection(), 1, time.monotonic_ns(), bonded=False)
    async with VirtualRadio() as air:
        items = await follow(air, device, Polar, lambda items: any(isinstance(item, Lost) for item in items))
    (lost,) = (item for item in items if isinstance(item, Lost))
    assert "authentication" in lost.detail.lower()


async def test_worn_on_an_arm_in_real_time():
    """As the collector follows it: introduced, connected, samples of gravity."""
    arm = Arm(ArmSettings(channels=("ECG",), rate_hz=130.0, acc_rate_hz=200.0, ecg_uv=900.0), seed=1)
    device = EmulatedPolar(H10, arm, Imperfection(), 1, time.monotonic_ns())
    async with VirtualRadio() as air:
        items = await follow(air, device, Polar, lambda items: len(items) > 12)
    (connected,) = (item for item in items if isinstance(item, Connected))
    assert connected.device.name == H10.name
    acc = np.concatenate([p.counts for p in packets(items) if p.stream == "acc"], axis=1)
    assert 900 < np.linalg.norm(acc, axis=0).mean() < 1100
