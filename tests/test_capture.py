"""Captures: what was taken down while it came gives what live monitoring gave."""

import asyncio
import time
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_interface import ble, capture
from firmware_interface.ble import Connected, Radio
from firmware_interface.capture import Anchored, CaptureError, Ended, Entry, Introduced, Writer
from firmware_interface.codecs import ganglion, umyo
from firmware_interface.codecs.families import FAMILIES
from firmware_interface.codecs.open_profile import OpenProfile
from firmware_interface.emulated.arm import Arm, ArmSettings
from firmware_interface.emulated.device import Imperfection
from firmware_interface.emulated.ganglion import EmulatedGanglion
from firmware_interface.emulated.movesense import EmulatedMovesense
from firmware_interface.emulated.peripheral import WornDevice, WornWearable
from firmware_interface.emulated.polar import VERITY_SENSE, EmulatedPolar
from firmware_interface.emulated.umyo import EmulatedUMyo
from firmware_interface.emulated.wearable import Wearable, WearableSettings
from firmware_interface.samples import Gap, GapReason, Notification
from firmware_interface.virtual_radio import VirtualRadio
from monitor.clock import HostClock
from monitor.collector import Collector, Subject
from monitor.detection.events import Context, State, Twitch
from monitor.detection.settings import DetectorSettings
from monitor.recording import RecordingError, read
from monitor.replay import _joined, replay
from monitor.store import Archive, Store
from tests.test_collector import HOUR_NS, Clocks

FIRST, SECOND = "C4:5A:00:00:00:01", "C4:5A:00:00:00:02"
END_NS = 1 << 62


def twitching(name, seed):
    settings = WearableSettings(name=name, serial=name, loss=0.05)
    arm = Arm(ArmSettings(channels=("FDI", "biceps"), twitches_per_min=120.0), seed)
    return Wearable(settings, arm, seed, time.monotonic_ns())


async def a_bad_session(folder, path):
    """Two devices; one vanishes, stalls and sends garbage; UTC is set. What happened is stored and captured."""
    clocks, told = Clocks(), []
    clock, store, writer = HostClock(clocks), Store.open(folder), Writer(path)
    async with VirtualRadio() as air:
        left, right = twitching("left", 1), twitching("right", 2)
        radio = Radio([OpenProfile], air.backend)
        store.begin(now_ns=clock.utc_ns(), version="test", settings={})
        sites = {label: f"left {label}" for label in ("FDI", "biceps", "x", "y", "z")}
        subjects = [Subject(FIRST, sites=sites), Subject("right")]
        collector = Collector(radio, store, subjects, DetectorSettings(), clock, writer)
        async with WornWearable(air, left, FIRST) as worn, WornWearable(air, right, SECOND):
            task = asyncio.create_task(collector.run(lambda *what: told.append(what)))
            await asyncio.sleep(5)
            await worn.peripheral.disconnect()
            await asyncio.sleep(1.5)
            await worn.send_garbage()
            clocks.stepped_ns -= HOUR_NS
            await asyncio.sleep(1.5)
            worn.stall()
            await asyncio.sleep(3)
            task.cancel()
            await asyncio.wait((task,))
    assert task.cancelled()
    writer.close()
    store.close(clock.utc_ns())
    assert sum(isinstance(what, Connected) for _, what in told) >= 3


async def test_a_replayed_capture_gives_the_events_of_the_live_session(tmp_path, monkeypatch):
    """To the nanosecond and the last bit."""
    monkeypatch.setattr(ble, "_STALL_S", 1.0)
    path = tmp_path / f"bug{capture.SUFFIX}"
    await a_bad_session(tmp_path / "data", path)
    gaps = assert_replayed(tmp_path / "data", path)
    assert {gap.reason for gap in gaps} >= {GapReason.LOST, GapReason.STALLED, GapReason.CLOCK}


def arm(channels, rate_hz, acc_rate_hz=100.0):
    return Arm(ArmSettings(channels=channels, rate_hz=rate_hz, acc_rate_hz=acc_rate_hz, twitches_per_min=240.0), 1)


JERKS_S = np.array([-9, 3.7, 5.0, 6.6])


class Jerking:
    """An arm whose skin moves by 100 mg now and then, for those who see no single motor unit."""

    def __init__(self, rate_hz, acc_rate_hz):
        self._arm = arm(("ECG",), rate_hz, acc_rate_hz)
        self.settings, self.emg_uv, self._given = self._arm.settings, self._arm.emg_uv, 0

    def acc_g(self, samples):
        now_s = np.arange(self._given, self._given + samples) / self.settings.acc_rate_hz
        self._given += samples
        since_s = now_s - JERKS_S[np.searchsorted(JERKS_S, now_s, "right") - 1]
        return self._arm.acc_g(samples) + 0.1 * np.exp(-since_s / 0.03) * np.sin(2 * np.pi * 15 * since_s)


FLAWS = Imperfection(loss=0.03, jitter_s=0.03)
SPARSE = Imperfection(loss=0.05, loss_burst=1.0, jitter_s=0.03)
"""For the one that sends three packets a second; with seed 4 one is lost."""
OTHERS = {
    "Ganglion": lambda now_ns: EmulatedGanglion(arm(("a", "b", "c", "d"), ganglion.RATE_HZ), FLAWS, 1, now_ns),
    "uMyo": lambda now_ns: EmulatedUMyo(arm(("FDI",), umyo.RATE_HZ), FLAWS, 1, now_ns),
    "Verity Sense": lambda now_ns: EmulatedPolar(VERITY_SENSE, Jerking(130.0, 208.0), SPARSE, 4, now_ns),
    "Movesense": lambda now_ns: EmulatedMovesense(Jerking(200.0, 208.0), FLAWS, 1, now_ns),
}


@pytest.mark.parametrize(
    "family", ["Ganglion", *(pytest.param(each, marks=pytest.mark.long) for each in OTHERS if each != "Ganglion")]
)
async def test_a_capture_of_another_family_replays_too(tmp_path, family):
    """Some packets are lost: what its codec remembers, and how its clock was fitted, follows from the capture."""
    path = tmp_path / f"bug{capture.SUFFIX}"
    await a_lossy_session(tmp_path / "data", path, OTHERS[family](time.monotonic_ns()))
    assert GapReason.LOST in {gap.reason for gap in assert_replayed(tmp_path / "data", path)}


async def a_lossy_session(folder, path, device):
    clock, store, writer = HostClock(), Store.open(folder), Writer(path)
    store.begin(now_ns=clock.utc_ns(), version="test", settings={})
    async with VirtualRadio() as air:
        collector = Collector(
            Radio(FAMILIES, air.backend), store, [Subject(FIRST)], DetectorSettings(), clock, writer
        )
        async with WornDevice(air, device, FIRST):
            task = asyncio.create_task(collector.run(lambda *_: None))
            await asyncio.sleep(8)
            task.cancel()
            await asyncio.wait((task,))
    assert task.cancelled()
    writer.close()
    store.close(clock.utc_ns())


def assert_replayed(folder, path):
    """Each twitch and context that was stored, and no other. Returns the gaps."""
    start_ns = capture.read(path).start_ns
    replayed = replay(read(path), DetectorSettings())
    with Archive.open(folder) as archive:
        twitches = [twitch for _, twitch in archive.twitches(0, END_NS)]
        contexts = [context for _, context in archive.contexts(0, END_NS)]
        gaps = [gap for _, gap in archive.gaps(0, END_NS)]
    assert len(twitches) + len(contexts) > 2

    def from_start(event):
        return replace(event, onset_ns=event.onset_ns - start_ns)

    found = [event for event in replayed.events if isinstance(event, Twitch)]
    assert sorted(map(as_values, found)) == sorted(as_values(from_start(twitch)) for twitch in twitches)
    states = [event for event in replayed.events if isinstance(event, Context) and event.state is not State.GAP]
    assert sorted(map(str, states)) == sorted(map(str, _joined([from_start(context) for context in contexts])))
    pieces = [piece for piece in read(path).blocks() if isinstance(piece, Gap)]
    assert sum(gap.missing for gap in pieces) == sum(gap.missing for gap in gaps)
    return gaps


def as_values(twitch):
    """All of it, as what can be compared."""
    return twitch.onset_ns, twitch.channel, str(replace(twitch, waveform=())), twitch.waveform.tobytes()


# The file -------------------------------------------------------------------------------------------------------

TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), max_size=10)
NS = st.integers(-(1 << 62), 1 << 62)
WHATS = st.one_of(
    st.builds(
        Introduced,
        address=TEXT,
        family=TEXT,
        answers=st.lists(st.binary(max_size=20), max_size=3).map(tuple),
        advertised=TEXT,
        name=TEXT,
        sites=st.dictionaries(TEXT, TEXT, max_size=2),
        utc_offset_ns=NS,
        anew=st.booleans(),
    ),
    st.tuples(TEXT, st.binary(max_size=244)),
    st.sampled_from(GapReason),
    st.builds(Anchored, NS, st.sampled_from(GapReason)),
    st.just(Ended()),
)


@st.composite
def entries(draw):
    device, at_ns, what = draw(st.tuples(st.integers(0, 255), NS, WHATS))
    return Entry(device, at_ns, Notification(*what, at_ns) if isinstance(what, tuple) else what)


@given(st.lists(st.lists(entries(), max_size=4), max_size=4), st.integers(0, 400))
def test_any_entries_come_back_and_a_torn_tail_costs_its_own_second(seconds, torn):
    blocks = [capture.block(second) for second in seconds]
    whole = capture._MAGIC + b"".join(blocks)
    assert list(capture._entries(whole)) == [entry for second in seconds for entry in second]
    cut = max(len(whole) - torn, len(capture._MAGIC))
    kept, position = [], len(capture._MAGIC)
    for second, block in zip(seconds, blocks, strict=True):
        position += len(block)
        kept += second if position <= cut else []
    assert list(capture._entries(whole[:cut])) == kept


@given(st.binary(max_size=300), st.integers(0, 299), st.integers(0, 255))
def test_any_bytes_give_entries_or_a_capture_error(noise, at, value):
    good = bytearray(capture._MAGIC + capture.block([Entry(0, 1, Notification("c", noise, 1))]) + noise)
    good[len(capture._MAGIC) + at % (len(good) - len(capture._MAGIC))] = value
    with suppress(CaptureError):
        list(capture._entries(bytes(good)))


def test_what_is_no_capture_is_said(tmp_path):
    for name, data in (("other", b"EDF"), ("empty", capture._MAGIC), ("strange", strange())):
        path = tmp_path / f"{name}{capture.SUFFIX}"
        path.write_bytes(data)
        with pytest.raises(RecordingError) as caught:
            read(path)
        assert caught.value.remedy
    with pytest.raises(CaptureError, match="is there already"):
        Writer(path)


def strange():
    said = Introduced("a", "a family of the future", (b"",), "x", "x", {}, 0, anew=True)
    return capture._MAGIC + capture.block([Entry(0, 0, said)])
