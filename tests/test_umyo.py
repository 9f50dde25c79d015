"""uMyo: bytes to values and back, and the emulated armband through bleak."""

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from firmware_interface.ble import Connected
from firmware_interface.codecs.umyo import NAME, RATE_HZ, SERVICE, TELEMETRY, UMyo
from firmware_interface.emulated.arm import Arm, ArmSettings
from firmware_interface.emulated.device import Imperfection
from firmware_interface.emulated.umyo import EmulatedUMyo
from firmware_interface.errors import PacketError
from firmware_interface.samples import Notification, Packet, SampleBlock, Status, Unit
from firmware_interface.virtual_radio import VirtualRadio
from tests.over_bleak import LOSSY, PERFECT, CountingBody, follow, listen, packets

INT16 = st.integers(-(1 << 15), (1 << 15) - 1)
BOTH = pytest.mark.parametrize("format_byte", [False, True], ids=["first", "second"])


def decode(data, characteristic=TELEMETRY):
    return UMyo("uMyo").decode(Notification(characteristic, bytes(data), 0))


def body(ratio=1.0):
    return CountingBody(RATE_HZ * ratio, emg=0.5)


# Vectors of our own: none are public.


@pytest.mark.parametrize(
    ("head", "samples", "tail"),
    [("", 8, ""), ("", 16, ""), ("", 24, ""), ("", 24, "11" * 8), ("01", 24, "11" * 8), ("02", 24, "")],
    ids=["8", "16", "S2", "S1", "format 1", "format 2"],
)
def test_golden_packets(head, samples, tail):
    """Each kind by its length; what is behind the samples is passed over."""
    values = "".join(f"{n:02x}80" for n in range(samples))
    (packet,) = decode(bytes.fromhex(head + "e8030000" + values + tail))
    assert packet.index == 1000
    assert packet.counts.tolist() == [[n - 32768 for n in range(samples)]]


@pytest.mark.parametrize("data", [bytes(26), b"\3" + bytes(26)])
def test_packets_of_the_inertial_sensor_are_passed_over(data):
    assert decode(data) == ()


@pytest.mark.parametrize(
    ("data", "words"),
    [(b"", "nothing"), (bytes(51), "51 bytes"), (b"\2" + bytes(60), "begins with 02"), (b"\3" + bytes(52), "03")],
)
def test_malformed_packets_say_why(data, words):
    with pytest.raises(PacketError, match=words):
        decode(data)


def test_its_unit_is_unknown_and_stays_so():
    (stream,) = UMyo("uMyo").device.streams
    assert (stream.unit, stream.scale) == (Unit.COUNT, 1.0)


def test_recognised_by_service_or_name():
    assert UMyo.recognises((SERVICE,), None)
    assert UMyo.recognises((), "uMyo v3")
    assert not UMyo.recognises((), None)


def test_it_says_nothing_of_itself():
    with pytest.raises(ValueError, match="nothing"):
        UMyo("uMyo").encode(Status())
    assert decode(b"left calf", NAME) == ()


@BOTH
@given(arrays(np.int16, (1, 24), elements=INT16), st.integers(0, (1 << 32) - 1))
def test_round_trip(format_byte, counts, index):
    codec = UMyo("uMyo")
    characteristic, data = codec.encode(Packet("emg", counts, index=index), format_byte=format_byte)
    (read,) = decode(data, characteristic)
    np.testing.assert_array_equal(read.counts, counts)
    assert read.index == index


@given(
    st.binary(max_size=80)
    | st.sampled_from([20, 26, 36, 52, 60]).flatmap(lambda n: st.binary(min_size=n, max_size=n))
)
def test_any_payload_gives_values_or_a_packet_error(data):
    try:
        items = decode(data)
    except PacketError:
        return
    assert all(item.counts.shape in {(1, 8), (1, 16), (1, 24)} for item in items)


# The emulated armband, through bleak.


@pytest.mark.parametrize(("flaws", "format_byte"), [(PERFECT, False), (LOSSY, True)], ids=["whole", "lossy"])
async def test_twenty_seconds(flaws, format_byte):
    heard = await listen(EmulatedUMyo(body(), flaws, 1, format_byte=format_byte), UMyo, 20)
    assert heard.codec.device.name == "uMyo left calf"
    gaps = heard.assert_account("emg", 1.0, 0, 5)
    assert bool(gaps) == bool(flaws.loss)


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("flaws", [PERFECT, LOSSY], ids=["whole", "lossy"])
async def test_ten_minutes(flaws):
    heard = await listen(EmulatedUMyo(body(), flaws, 2), UMyo, 600)
    heard.assert_account("emg", 1.0, 0, 5)


@pytest.mark.parametrize("true_hz", [1116.0, pytest.param(1150.0, marks=pytest.mark.long)])
async def test_its_rate_is_found_whichever_source_is_right(true_hz):
    """1.5 % off the nominal one, either way, with loss and overtaken packets."""
    flaws = Imperfection(true_rate_ratio=true_hz / RATE_HZ, loss=0.03, overtaken=0.02)
    heard = await listen(EmulatedUMyo(body(true_hz / RATE_HZ), flaws, 3), UMyo, 20)
    heard.assert_account("emg", 1.0, 0, 5)
    last = [item for item in heard.items if isinstance(item, SampleBlock)][-1]
    assert 1e9 / last.timebase.period_ns == pytest.approx(true_hz, rel=5e-4)


async def test_worn_on_an_arm_in_real_time():
    arm = Arm(ArmSettings(channels=("FDI",), rate_hz=RATE_HZ), seed=1)
    device = EmulatedUMyo(arm, Imperfection(), 1, time.monotonic_ns(), format_byte=True)
    async with VirtualRadio() as air:
        items = await follow(air, device, UMyo, lambda items: len(items) > 30)
    (connected,) = (item for item in items if isinstance(item, Connected))
    assert connected.device.name == "uMyo left calf"
    indices = [packet.index for packet in packets(items)]
    assert set(np.diff(indices)) == {24}
