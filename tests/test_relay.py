"""What other programs drive: a real LSL outlet and BrainFlow's synthetic board, as the collector takes them."""

import asyncio
import time
import uuid
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from firmware_interface.ble import Connected, Lost
from firmware_interface.codecs import Device
from firmware_interface.codecs.families import family_as_kept, family_kept_as
from firmware_interface.codecs.relayed import INFO, SAMPLES, Relayed, read_info, write_info
from firmware_interface.decoder import Decoder
from firmware_interface.errors import PacketError, RadioError
from firmware_interface.relay import Chunk, Relay, SourceError, _link, source_at
from firmware_interface.samples import GapReason, Notification, Packet, SampleBlock, Sensor, Status, Stream, Unit
from tests.over_bleak import UTC_NS

DEVICE = Device("d", "s", "f", (Stream("emg", Sensor.EMG, Unit.MICROVOLT, 1.0, 1000.0, ("a", "b")),))


class Scripted:
    """A source that does as it is told."""

    def __init__(self, *steps):
        self._steps = list(steps)
        self.closed = 0

    def open(self):
        return DEVICE

    def read(self):
        step = self._steps.pop(0)
        if isinstance(step, Exception):
            raise step
        return step

    def close(self):
        self.closed += 1


def chunk(first_s, samples):
    return Chunk(np.ones((2, samples), np.float32), first_s, first_s + samples / 1000, 0.0)


async def followed(address, until, seconds=15):
    """What comes from `address`, until `until(items)`."""
    items, enough = [], asyncio.Event()

    async def take(item):
        items.append(item)
        if until(items):
            enough.set()

    link = asyncio.create_task(Relay(None).follow(address, take))
    waiting = asyncio.create_task(enough.wait())
    try:
        async with asyncio.timeout(seconds):
            await asyncio.wait((link, waiting), return_when=asyncio.FIRST_COMPLETED)
        if link.done():
            link.result()
    finally:
        for task in (link, waiting):
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
    return items


def decoded(items):
    links = [n for n, item in enumerate(items) if isinstance(item, Connected)]
    items, connected = items[links[-1] :], items[links[-1]]  # a busy machine may have had it stall before
    decoder = Decoder(connected.codec, UTC_NS)
    return [out for item in items if isinstance(item, Notification) for out in decoder.feed(item)]


# The codec.


@given(arrays(np.float32, (2, 5), elements=st.floats(-1e6, 1e6, width=32)), st.integers(0, (1 << 64) - 1))
def test_round_trip(counts, index):
    codec = Relayed(DEVICE)
    (read,) = codec.decode(Notification(*codec.encode(Packet("emg", counts, index=index)), 0))
    np.testing.assert_array_equal(read.counts, counts)
    assert read.index == index


def test_info_says_what_a_device_is():
    """And is all that a capture needs to make the codec again."""
    assert read_info(write_info(DEVICE)) == DEVICE
    assert family_kept_as(family_as_kept(Relayed(DEVICE))) is Relayed
    talk = Relayed.introduce("")
    assert next(talk).characteristic == INFO
    with pytest.raises(StopIteration) as end:
        talk.send(write_info(DEVICE))
    assert end.value.value.device == DEVICE


@given(st.binary(max_size=60))
def test_any_payload_gives_values_or_a_packet_error(data):
    with suppress(PacketError):
        (packet,) = Relayed(DEVICE).decode(Notification(SAMPLES, data, 0))
        assert packet.counts.shape[0] == 2
    with pytest.raises(PacketError):
        read_info(data)


def test_it_says_nothing_of_itself():
    with pytest.raises(ValueError, match="nothing"):
        Relayed(DEVICE).encode(Status())
    assert not Relayed.recognises((), "relayed")


# The link.


async def test_an_attempt_ends_in_one_lost_and_closes_its_source():
    source = Scripted(chunk(1.0, 100), None, SourceError("unplugged"))
    connected, samples, lost = [item async for item in _link(source, "test:1")]
    assert connected.device == DEVICE
    assert samples.characteristic == SAMPLES
    assert (lost.reason, lost.detail) == (GapReason.DISCONNECTED, "unplugged")
    assert source.closed == 1


async def test_a_leap_of_times_ends_the_attempt():
    """What lay between is a gap, for the next attempt numbers anew."""
    source = Scripted(chunk(1.0, 100), chunk(1.1, 100), chunk(4.2, 100))
    *_, lost = [item async for item in _link(source, "test:1")]
    assert isinstance(lost, Lost)
    assert lost.detail == "3.0 s are missing"


def test_an_address_of_the_radio_is_left_to_it():
    assert source_at("C0:FF:EE:00:00:01") is None
    assert source_at("Polar H10 1234") is None


# Real ones.


async def test_a_real_lsl_outlet():
    """Every sample once, in order, right in value and unit; the times true; and its end is said."""
    lsl = pytest.importorskip("mne_lsl.lsl", reason="no mne-lsl: pip install 'fasciwatch[lsl]'")
    name = f"fasciwatch {uuid.uuid4().hex[:8]}"
    info = lsl.StreamInfo(name, "EMG", 2, 500, "float32", "left arm")
    info.set_channel_names(["FDI", "biceps"])
    info.set_channel_units(["microvolts", "microvolts"])
    outlet = lsl.StreamOutlet(info)
    begin, begin_ns = lsl.local_clock() + 0.5, time.monotonic_ns() + 500_000_000
    sent = 0

    async def send():
        nonlocal sent
        while True:
            due = int((lsl.local_clock() - begin) * 500)
            if due > sent + 1:  # of one alone it warns
                values = np.stack((np.arange(sent, due), -np.arange(sent, due))).T.astype(np.float32)
                if outlet.has_consumers:
                    outlet.push_chunk(np.ascontiguousarray(values), begin + (due - 1) / 500)
                sent = due
            await asyncio.sleep(0.02)

    sending = asyncio.create_task(send())
    try:
        items = await followed(f"lsl:{name}", lambda items: len(items) > 25)
    finally:
        sending.cancel()
        with suppress(asyncio.CancelledError):
            await sending
    connected, *_ = items
    assert connected.device.serial == "left arm"
    (stream,) = connected.device.streams
    assert (stream.unit, stream.channels, stream.rate_hz) == (Unit.MICROVOLT, ("FDI", "biceps"), 500.0)
    blocks = decoded(items)
    assert all(isinstance(block, SampleBlock) for block in blocks)
    values = np.concatenate([block.physical for block in blocks], axis=1)
    assert values.shape[1] > 200
    np.testing.assert_array_equal(values[0], values[0, 0] + np.arange(values.shape[1]))
    np.testing.assert_array_equal(values[1], -values[0])
    true_ns = UTC_NS + begin_ns + values[0, -1] / 500 * 1e9
    assert abs(blocks[-1].end_ns - 2_000_000 - true_ns) < 50_000_000


async def test_a_stream_that_is_not_there_is_looked_for_again():
    pytest.importorskip("mne_lsl.lsl", reason="no mne-lsl: pip install 'fasciwatch[lsl]'")
    (lost,) = await followed("lsl:nobody sends this", bool)
    assert lost.detail == "no LSL stream 'nobody sends this' on this network"


async def test_brainflows_synthetic_board():
    """As many samples as time went by, in microvolts, without a gap."""
    pytest.importorskip("brainflow.board_shim", reason="no BrainFlow: pip install 'fasciwatch[brainflow]'")
    items = await followed("brainflow:synthetic", lambda items: len(items) > 40)
    (stream,) = items[0].device.streams
    assert (stream.unit, stream.rate_hz, len(stream.channels)) == (Unit.MICROVOLT, 250.0, 16)
    blocks = decoded(items)
    assert all(isinstance(block, SampleBlock) for block in blocks)
    samples = sum(block.length for block in blocks)
    spanned_s = (blocks[-1].end_ns - blocks[0].start_ns) * 1e-9
    assert samples == pytest.approx(250 * spanned_s, rel=0.05)
    assert 1 < np.abs(blocks[-1].physical).max() < 1e4


@pytest.mark.parametrize(
    ("address", "words"),
    [("brainflow:sintetic", "no board 'sintetic'"), ("brainflow:synthetic?port=1", "no parameter 'port'")],
)
def test_an_address_that_makes_no_sense_is_a_persons_to_correct(address, words):
    pytest.importorskip("brainflow.board_shim", reason="no BrainFlow: pip install 'fasciwatch[brainflow]'")
    with pytest.raises(RadioError, match=words):
        source_at(address)
