"""Ganglion: bytes to values and back, and the emulated board through bleak."""

import re
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from firmware_interface.ble import Connected, Radio
from firmware_interface.codecs import Hear, ganglion, umyo
from firmware_interface.codecs.ganglion import (
    COMMAND,
    DISCONNECT,
    NOTIFICATION,
    RATE_HZ,
    SCALE_UV,
    SERVICE,
    Ganglion,
)
from firmware_interface.codecs.umyo import UMyo
from firmware_interface.emulated.arm import Arm, ArmSettings
from firmware_interface.emulated.device import Imperfection
from firmware_interface.emulated.ganglion import EmulatedGanglion
from firmware_interface.emulated.peripheral import WornDevice
from firmware_interface.emulated.umyo import EmulatedUMyo
from firmware_interface.errors import PacketError
from firmware_interface.samples import Notification, Packet, SampleBlock, Status
from firmware_interface.virtual_radio import VirtualRadio
from tests.golden import golden
from tests.over_bleak import ADDRESS, LOSSY, PERFECT, SECOND, CountingBody, follow, listen, packets

COUNT = 64
"""Of the 24 bits that a value stands for, what 19 can say."""
STEP_UV = SCALE_UV * COUNT
FIRMWARES = pytest.mark.parametrize("firmware", ["2.0.1", "3.0.2"])
INT24 = st.integers(-(1 << 23), (1 << 23) - 1)


def board(firmware="3.0.2"):
    return Ganglion("Ganglion-5a5a", firmware)


def decode(codec, data):
    return codec.decode(Notification(NOTIFICATION, bytes(data), 0))


def body(ratio=1.0):
    return CountingBody(RATE_HZ * ratio, width=4, emg=STEP_UV)


def differences(number, payload):
    """What firmware 2 says in packet `number`, which comes after a whole cycle up to it."""
    codec = board("2")
    decode(codec, bytes(20))
    first = 101 if number > 100 else 1
    for before in range(first, number):
        decode(codec, bytes((before,)) + bytes(19))
    (packet,) = decode(codec, bytes((number,)) + payload)
    return -np.diff(packet.counts, axis=1, prepend=0).T.ravel(), packet.index


# What other projects' tests say of these bytes.


@pytest.mark.parametrize(("name", "number"), [("ganglion_18bit", 1), ("ganglion_19bit", 101)])
def test_other_projects_differences(name, number):
    for vector in golden(name):
        read, index = differences(number, bytes.fromhex(vector["payload_hex"]).ljust(19, b"\0"))
        assert read.tolist() == vector["values"]
        assert index == 1


def test_other_projects_captured_packet():
    vector = golden("ganglion_captured_fw2")
    packet = bytes.fromhex(vector["packet_hex"])
    read, index = differences(packet[0], packet[1:])
    assert packet[0] == vector["id"]
    assert read.tolist() == vector["deltas"]
    assert index == 11


def test_other_projects_impedance():
    vector = golden("ganglion_impedance")
    codec = board()
    for prefix in ("c9", "cb", "cc"):
        assert decode(codec, bytes.fromhex(prefix) + b"5Z") == ()
    (status,) = decode(codec, bytes.fromhex(vector["packet_prefix_hex"]).ljust(20, b"\0"))
    assert status.impedance_ohm[vector["channel"] - 1] == vector["ohm"]


# Vectors of our own.


def test_golden_19_bits():
    """Firmware 3: each value shifted up by 5, its last bit passed over."""
    counts = np.array([[64, -64], [128, -128], [0, 8388544], [-8388608, 1]])
    characteristic, data = board().encode(Packet("emg", counts, index=4))
    assert (characteristic, data.hex()) == (NOTIFICATION, "660000400010000040001fffffffff5ffff00000")
    (packet,) = decode(board(), data)
    assert packet.counts.tolist() == [[64, -64], [128, -128], [0, 8388544], [-8388608, 0]]
    assert packet.index == 4


def test_golden_18_bits():
    counts = np.array([[128, -128], [256, -256], [0, 8388480], [-8388608, 0]])
    _, data = board().encode(Packet("emg", counts, index=198), bits=18)
    assert data.hex() == "63000080004000020001ffffffffd7fff8000000"
    (packet,) = decode(board(), data)
    assert packet.counts.tolist() == counts.tolist()
    assert packet.index == 198


def test_golden_whole_sample():
    """Firmware 2: 24 bits of each channel."""
    codec = board("2")
    counts = np.array([[1], [-1], [8388607], [-8388608]])
    _, data = codec.encode(Packet("emg", counts, index=402))
    assert data.hex() == "00000001ffffff7fffff800000" + "00" * 7
    (packet,) = decode(codec, data)
    assert packet.counts.tolist() == counts.tolist()
    assert packet.index == 0


@pytest.mark.parametrize(
    ("firmware", "data", "words"),
    [
        ("3", "", "no bytes"),
        ("3", "01" + "00" * 18, "19 bytes"),
        ("3", "c8" + "00" * 19, "packet 200"),
        ("3", "fe" + "00" * 19, "packet 254"),
        ("3", "c9 313233", "impedance"),
        ("3", "c9 5a", "impedance"),
        ("3", "ca 2d315a", "impedance"),
        ("3", "ca" + "31" * 10 + "5a", "impedance"),
        ("2", "00" * 21, "21 bytes"),
    ],
)
def test_malformed_packets_say_why(firmware, data, words):
    with pytest.raises(PacketError, match=words):
        decode(board(firmware), bytes.fromhex(data))


@pytest.mark.parametrize("data", [b"\xceaccelerometer enabl", b"\xcfed\n", b"\xff" + bytes(19)])
def test_text_and_nonsense_give_nothing(data):
    assert decode(board(), data) == ()


def test_after_a_loss_firmware_2_is_silent_until_a_whole_sample():
    """What differences without a beginning say is nothing."""
    codec = board("2")
    assert decode(codec, b"\1" + bytes(19)) == ()
    assert len(decode(codec, bytes(20))) == 1
    assert len(decode(codec, b"\1" + bytes(19))) == 1
    assert decode(codec, b"\3" + bytes(19)) == ()
    assert decode(codec, b"\4" + bytes(19)) == ()
    assert len(decode(codec, bytes(20))) == 1


def test_a_difference_that_overflows_keeps_its_sign():
    """By its last bit: 19 bits reach twice as far as their two's complement does."""
    codec = board("2")
    whole = codec.encode(Packet("emg", np.full((4, 1), 400_000), index=0))[1]
    (first,) = decode(codec, whole)
    (packet,) = decode(codec, codec.encode(Packet("emg", np.full((4, 2), -50_000), index=1))[1])
    assert first.counts[0, 0] == 400_000
    assert abs(packet.counts + 50_000).max() <= 1


def test_contact():
    """Above a million ohms an electrode is off."""
    codec = board()
    for number, ohm in zip(b"\xc9\xca\xcb", (b"1000000Z", b"1000001Z", b"0Z"), strict=True):
        assert decode(codec, bytes((number,)) + ohm) == ()
    assert decode(codec, b"\xcd5Z") == ()
    told = Status(lead_off=(False, True, False, False), impedance_ohm=(1000000, 1000001, 0, 7))
    assert decode(codec, b"\xcc7Z") == (told,)


def test_recognised_by_service_or_name():
    assert Ganglion.recognises((SERVICE,), "Simblee")
    assert Ganglion.recognises((), "Ganglion-1a2b")
    assert not Ganglion.recognises((), None)


# Round trips, and whatever a radio may bring.


@given(arrays(np.int32, (4, 2), elements=INT24), st.integers(0, 99), st.sampled_from([18, 19]))
def test_round_trip(counts, number, bits):
    """To the bits that are left."""
    codec = board()
    (read,) = codec.decode(Notification(*codec.encode(Packet("emg", counts, index=2 * number), bits=bits), 0))
    lost = counts - read.counts
    assert ((lost >= 0) & (lost < 1 << (25 - bits))).all()
    assert read.index == 2 * number


@given(
    st.lists(arrays(np.int32, (4, 2), elements=st.integers(-60_000, 60_000)), max_size=100),
    st.sampled_from([18, 19]),
)
def test_differences_round_trip(pairs, bits):
    """Never more than one count off, for the error of one is taken into the next."""
    codec = board("2")
    decode(codec, codec.encode(Packet("emg", np.zeros((4, 1), int), index=0))[1])
    for n, counts in enumerate(pairs):
        (read,) = decode(codec, codec.encode(Packet("emg", counts, index=1 + 2 * n), bits=bits)[1])
        assert np.abs(read.counts - counts).max() <= 1
        assert read.index == 1 + 2 * n


@FIRMWARES
@given(st.lists(st.binary(max_size=22) | st.binary(min_size=20, max_size=20), max_size=20))
def test_any_payload_gives_values_or_a_packet_error(firmware, payloads):
    codec = board(firmware)
    for data in payloads:
        try:
            items = decode(codec, data)
        except PacketError:
            continue
        for item in items:
            if isinstance(item, Packet):
                assert item.counts.shape in {(4, 1), (4, 2)}
                assert 0 <= item.index < codec.counter.index_modulus


# The emulated board, through bleak.


@FIRMWARES
@pytest.mark.parametrize("flaws", [PERFECT, LOSSY], ids=["whole", "lossy"])
async def test_twenty_seconds(firmware, flaws):
    heard = await listen(EmulatedGanglion(body(), flaws, 1, firmware=firmware), Ganglion, 20)
    assert heard.codec.device.firmware == firmware
    gaps = heard.assert_account("emg", STEP_UV, 1.01 * SCALE_UV, 5)
    assert bool(gaps) == bool(flaws.loss)


@pytest.mark.long
@pytest.mark.timeout(1800)
@FIRMWARES
@pytest.mark.parametrize("flaws", [PERFECT, LOSSY], ids=["whole", "lossy"])
async def test_ten_minutes(firmware, flaws):
    heard = await listen(EmulatedGanglion(body(), flaws, 2, firmware=firmware), Ganglion, 600)
    heard.assert_account("emg", STEP_UV, 1.01 * SCALE_UV, 5)


async def test_an_overwritten_sample_is_a_lower_rate():
    """One in 201 is not there and nothing tells: the clock finds 199 Hz."""
    heard = await listen(EmulatedGanglion(body(), PERFECT, 3, overwriting=True), Ganglion, 30)
    blocks = [item for item in heard.items if isinstance(item, SampleBlock)]
    assert len(blocks) == len(heard.items)
    assert 1e9 / blocks[-1].timebase.period_ns == pytest.approx(200 * 200 / 201, rel=5e-4)


async def examined(device):
    async with VirtualRadio() as air, WornDevice(air, device, ADDRESS):
        return await Radio([Ganglion], air.backend).examine(ADDRESS)


@FIRMWARES
async def test_it_tests_itself_and_its_contact(firmware):
    device = EmulatedGanglion(body(), PERFECT, 1, time.monotonic_ns(), firmware=firmware)
    found = await examined(device)
    assert (found.passed, found.impedance_ohm) == (True, (12_000, 48_000, 9_000, 2_400_000))
    assert found.lead_off == (False, False, False, True)
    assert re.fullmatch(r"3\d\d samples of the test signal came as they should on 4 channels", found.found)
    sent = dict(device.sent)
    device.advance(device._now_ns + SECOND)
    assert device.sent == sent, "it was told to stop"


async def test_a_test_signal_that_is_none_fails():
    """As of a board that does not know the command: what it sends is its electrodes."""

    class Plain(EmulatedGanglion):
        def write(self, characteristic, data):
            if data != ganglion.SQUARE_ON:
                super().write(characteristic, data)

    found = await examined(Plain(body(), PERFECT, 1, time.monotonic_ns()))
    assert (found.passed, found.found) == (False, "the test signal is no square wave on channel 1, 2, 3, 4")


async def test_a_family_without_a_test_says_so():
    other = EmulatedUMyo(CountingBody(umyo.RATE_HZ, emg=0.5), PERFECT, 1, time.monotonic_ns())
    async with VirtualRadio() as air, WornDevice(air, other, ADDRESS):
        assert await Radio([UMyo], air.backend).examine(ADDRESS) is None


def test_what_is_asked_of_it():
    told = [*(ganglion.write_impedance(n, 9) for n in range(4)), *[b"\xff"] * 200]
    found, letters = held(board().examine(), told)
    assert letters == [b"s", b"z", b"Z", b"[", b"N", b"b", b"s", b"]"]
    assert (found.passed, found.found) == (False, "nothing came of the test signal")


def held(conversation, told):
    letters, said = [], None
    while True:
        try:
            step = conversation.send(said)
        except StopIteration as end:
            return end.value, letters
        said = told.pop(0) if isinstance(step, Hear) else b""
        letters += [] if isinstance(step, Hear) else [step.data]


def advanced(device, *letters, ns=2_000_000_000):
    for letter in letters:
        device.write(COMMAND, letter)
    return [n.data for n in device.advance(device._now_ns + ns)]


def test_its_self_test_is_a_square_wave():
    device = EmulatedGanglion(body(), PERFECT, 1)
    said = advanced(device, b"[", b"N", b"b")
    values = {v for data in said if data[0] < 200 for (p,) in [decode(board(), data)] for v in p.counts.ravel()}
    assert values == {960, -1024}
    assert advanced(device, b"]")


def test_it_answers_in_text_and_begins_with_nonsense():
    said = advanced(EmulatedGanglion(body(), PERFECT, 1), b"n", b"b", b"?")
    assert b"".join(data[1:] for data in said[:2]) == b"accelerometer enabled\n"
    assert said[2][0] == 255
    assert {data[0] < 100 for data in said[3:]} == {True}


def test_a_write_to_disconnect_ends_it():
    device = EmulatedGanglion(body(), PERFECT, 1)
    assert advanced(device, b"b")
    device.write(DISCONNECT, b"x")
    advanced(device)
    assert advanced(device) == []


async def test_worn_on_an_arm_in_real_time():
    arm = Arm(ArmSettings(channels=("a", "b", "c", "d"), rate_hz=RATE_HZ), seed=1)
    device = EmulatedGanglion(arm, Imperfection(), 1, time.monotonic_ns())
    async with VirtualRadio() as air:
        items = await follow(air, device, Ganglion, lambda items: len(items) > 60)
    assert any(isinstance(item, Connected) for item in items)
    numbers = [packet.index // 2 for packet in packets(items)]
    assert set(np.diff(numbers) % 100) == {1}
