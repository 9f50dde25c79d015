"""What is kept is what was written, once, whatever happens to the process, the disk or the other programs."""

from __future__ import annotations

import itertools
import os
import random
import shutil
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_interface.codecs import Device
from firmware_interface.samples import Gap, GapReason, Sensor, Status, Stream, Unit
from monitor.database import StoreError
from monitor.detection.events import Context, State, Twitch
from monitor.migrations import MIGRATIONS
from monitor.store import DATABASE, LOCK, Archive, Condition, Learned, Observed, Record, Spent, Store, Stretch
from monitor.tally import Minute

S = 10**9
MINUTE = 60 * S
HOUR = 60 * MINUTE
STRANGERS = itertools.count()
EVER = (-(2**63), 2**63 - 1)
NOW = 1_800_000_000 * S

EMG = Stream("emg", Sensor.EMG, Unit.MICROVOLT, 0.5, 500.0, ("FDI", "calf left"))
ACC = Stream("acc", Sensor.ACC, Unit.G, 1 / 4096, 50.0, ("x", "y", "z"))
BOARD = Device("board", "S-1", "1.0", (EMG, ACC))
TWITCH = Twitch(
    channel="FDI",
    onset_ns=NOW,
    duration_s=0.012,
    peak=123.5,
    peak_to_peak=200.25,
    unit=Unit.MICROVOLT,
    snr=31.0,
    confidence=0.97,
    amplitudes=(("FDI", 200.25), ("calf left", 3.5)),
    waveform=np.arange(60, dtype=np.float32),
    waveform_start_s=-0.02,
    rate_hz=500.0,
    phases=3,
    turns=5,
    median_hz=92.5,
    motor_unit=2,
    follows_s=0.032,
)
CONTEXT = Context(State.VOLUNTARY, "FDI", NOW, 2.5)
GAP = Gap(EMG, NOW, NOW + S, 500, GapReason.LOST)

# Commits number `start` and on, one a time, and says so on standard output after each.
WRITER = """
import itertools, sys
from dataclasses import replace
from pathlib import Path
from monitor.store import Observed, Store
from monitor.tally import Minute
from tests.test_store import BOARD, EMG, S, TWITCH

store, start = Store.open(Path(sys.argv[1])), int(sys.argv[2])
store.begin(now_ns=start * S, version="1", settings={})
device = store.device(BOARD, "AA", start * S)
for n in itertools.count(start):
    twitch, minute = replace(TWITCH, onset_ns=n * S), Minute("FDI", 0, 1.0, 1.0, 1)
    store.write([(device, twitch), (device, minute), (device, Observed("emg", n * S))], n * S)
    print(n, flush=True)
"""


# ---- Means ----


@contextmanager
def opened(folder: Path, now_ns: int = NOW) -> Iterator[tuple[Store, int]]:
    """A store in a session, and the id of BOARD."""
    store = Store.open(folder)
    store.begin(now_ns=now_ns, version="1", settings={})
    yield store, store.device(BOARD, "AA", now_ns)
    store.close(now_ns)


@pytest.fixture(scope="module")
def common(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Store, Path]]:
    """One store for all examples of Hypothesis: each brings devices of its own, with `stranger`."""
    folder = tmp_path_factory.mktemp("common")
    with opened(folder) as (store, _):
        yield store, folder


def stranger(store: Store) -> int:
    """A device that was never seen."""
    return store.device(replace(BOARD, serial=f"stranger {next(STRANGERS)}"), "AA", NOW)


@contextmanager
def mounted(folder: Path, size: str) -> Iterator[Path]:
    """A file system of its own, which can be full or read-only for real."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("may not mount a file system here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def remount(folder: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", folder], check=True)


def fill(folder: Path, leave: int) -> Path:
    """Take all of the disk but `leave` bytes."""
    free = shutil.disk_usage(folder).free
    (folder / "ballast").write_bytes(bytes(max(free - leave, 0)))
    return folder / "ballast"


def plain(record: Record) -> Any:
    """Something that compares: a waveform as its bits."""
    if not isinstance(record, Twitch):
        return record
    values = [getattr(record, name) for name in Twitch.__slots__ if name != "waveform"]
    return *values, record.waveform.dtype.str, record.waveform.tobytes()


def kept(folder: Path, device: int | None = None) -> list[Any]:
    """All that is in a folder, in a form that compares."""
    with Archive.open(folder) as archive:
        ranges = archive.twitches, archive.contexts, archive.gaps, archive.minutes
        rows: list[Any] = []
        for select in ranges:
            rows += [(number, plain(record)) for number, record in select(*EVER, device)]
        return rows + archive.health(*EVER, device)


def write_until_full(store: Store, entries: Callable[[int], Sequence[tuple[int, Record]]]) -> int:
    """Write numbers until the disk refuses one; the number that was refused."""
    for n in range(100_000):
        try:
            store.write(entries(n), n)
        except StoreError as error:
            if "no room left" not in str(error):
                raise
            return n
    raise AssertionError("the disk was never full")


def numbered(device: int, n: int) -> list[tuple[int, Record]]:
    twitches = [replace(TWITCH, onset_ns=10 * n + k) for k in range(10)]
    return [*((device, twitch) for twitch in twitches), (device, Minute("FDI", 0, 1.0, 1.0, 10))]


def same_number_of_twitches_everywhere(archive: Archive) -> int:
    """Twitches and minutes are written together, so their numbers agree at any moment between commits."""
    onsets = [twitch.onset_ns for _, twitch in archive.twitches(*EVER)]
    assert len(set(onsets)) == len(onsets)
    assert [minute.twitches for _, minute in archive.minutes(*EVER)] == [len(onsets)]
    return len(onsets)


@pytest.fixture
def writer() -> Iterator[Any]:
    """Starts WRITER in its own process, and waits for its first commit."""
    running: list[subprocess.Popen[str]] = []

    def start(folder: Path, first: int = 0) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", WRITER, str(folder), str(first)]
        root = Path(__file__).parent.parent
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root)
        running.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == f"{first}\n"
        return process

    yield start
    for process in running:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


# ---- What goes in comes out ----

TIMES = st.integers(0, 2**62)
FLOATS = st.floats(allow_nan=False)
FINITE = st.floats(allow_nan=False, allow_infinity=False)
NAMES = st.text(max_size=8)
WAVEFORMS = st.binary(max_size=80).map(lambda data: np.frombuffer(data[: len(data) // 4 * 4], "<f4"))
STREAMS = st.builds(
    Stream,
    name=NAMES,
    sensor=st.sampled_from(Sensor),
    unit=st.sampled_from(Unit),
    scale=FINITE,
    rate_hz=FINITE,
    channels=st.lists(NAMES, max_size=3).map(tuple),
)
TWITCHES = st.builds(
    Twitch,
    channel=NAMES,
    onset_ns=TIMES,
    duration_s=FLOATS,
    peak=FLOATS,
    peak_to_peak=FLOATS,
    unit=st.sampled_from(Unit),
    snr=FLOATS,
    confidence=FLOATS,
    amplitudes=st.lists(st.tuples(NAMES, FINITE), max_size=3).map(tuple),
    waveform=WAVEFORMS,
    waveform_start_s=FLOATS,
    rate_hz=FLOATS,
    phases=st.none() | st.integers(0, 100),
    turns=st.none() | st.integers(0, 100),
    median_hz=st.none() | FINITE,
    motor_unit=st.none() | st.integers(1, 99),
    follows_s=st.none() | FINITE,
)
CONTEXTS = st.builds(Context, st.sampled_from(State), NAMES, TIMES, st.floats(0, 1e6))
GAPS = st.builds(Gap, STREAMS, TIMES, TIMES, st.integers(0, 2**62), st.sampled_from(GapReason), st.booleans())
MINUTES = st.builds(Minute, NAMES, TIMES, FLOATS, FLOATS, st.integers(0, 2**62))
STATUSES = st.builds(
    Status,
    battery_percent=st.none() | st.integers(0, 100),
    lead_off=st.lists(st.booleans(), max_size=4).map(tuple),
    overruns=st.integers(0, 2**31),
    drops=st.integers(0, 2**31),
    temperature_c=st.none() | FINITE,
)


@settings(max_examples=60, deadline=None)
@given(record=TWITCHES | CONTEXTS | GAPS | MINUTES)
def test_a_record_comes_out_as_it_went_in(common: tuple[Store, Path], record: Record) -> None:
    store, folder = common
    device = stranger(store)
    store.write([(device, record)], NOW)
    assert kept(folder, device) == [(device, plain(record))]


@settings(max_examples=60, deadline=None)
@given(status=STATUSES, streams=st.lists(STREAMS, max_size=2), names=st.tuples(NAMES, NAMES, NAMES, NAMES))
def test_a_device_comes_out_as_it_went_in(
    common: tuple[Store, Path], status: Status, streams: list[Stream], names: tuple[str, str, str, str]
) -> None:
    store, folder = common
    name, serial, firmware, address = names
    device = Device(name, f"{serial} {next(STRANGERS)}", firmware, tuple(streams))
    number = store.device(device, address, NOW)
    store.write([(number, status)], NOW + 1)
    with Archive.open(folder) as archive:
        (known,) = (known for known in archive.devices() if known.id == number)
        (health,) = archive.health(*EVER, number)
    assert (known.device, known.address) == (device, address)
    assert (known.first_ns, known.last_ns, known.accounted_ns) == (NOW, NOW, {})
    assert (health.device_id, health.at_ns, health.status) == (number, NOW + 1, status)


def test_a_waveform_keeps_its_bits(tmp_path: Path) -> None:
    odd = np.array([np.nan, -0.0, np.inf, 1e-45, 1.1], np.float32)
    signalling = np.array([0x7F800001], np.uint32).view(np.float32)
    waveform = np.concatenate([odd, signalling])
    with opened(tmp_path) as (store, device):
        store.write([(device, replace(TWITCH, waveform=waveform))], NOW)
    with Archive.open(tmp_path) as archive:
        ((_, twitch),) = archive.twitches(*EVER)
    assert twitch.waveform.dtype == np.float32
    assert twitch.waveform.view(np.uint32).tolist() == waveform.view(np.uint32).tolist()
    assert not twitch.waveform.flags.writeable


# ---- Twice is once ----

FEW_NS = st.integers(NOW, NOW + 2)
FEW_CHANNELS = st.sampled_from(["FDI", "calf left"])
FEW_RECORDS = (
    st.builds(lambda ns, channel, peak: replace(TWITCH, onset_ns=ns, channel=channel, peak=peak),
              FEW_NS, FEW_CHANNELS, st.sampled_from([1.0, 2.0]))
    | st.builds(Context, st.sampled_from(State), FEW_CHANNELS, FEW_NS, st.sampled_from([1.0, 2.0]))
    | st.builds(lambda ns, stream, reason, exact: Gap(stream, ns, NOW + S, 9, reason, exact),
                FEW_NS, st.sampled_from([EMG, ACC]), st.sampled_from(GapReason), st.booleans())
)  # fmt: skip


def key(entry: tuple[int, Record]) -> tuple[object, ...]:
    device, record = entry
    match record:
        case Twitch():
            return Twitch, device, record.onset_ns, record.channel
        case Context():
            return Context, device, record.onset_ns, record.channel, record.state
        case Gap():
            return Gap, device, record.start_ns, record.stream, record.reason
    raise AssertionError(record)


@settings(max_examples=60, deadline=None)
@given(
    entries=st.lists(st.tuples(st.sampled_from([0, 1]), FEW_RECORDS), min_size=1, max_size=12),
    cuts=st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), max_size=4),
)
def test_written_again_in_any_batches_is_written_once(
    common: tuple[Store, Path], entries: list[tuple[int, Record]], cuts: list[tuple[int, int]]
) -> None:
    store, folder = common
    devices = stranger(store), stranger(store)
    whole = [(devices[which], record) for which, record in entries]
    store.write(whole, NOW)
    once = [entry for device in devices for entry in kept(folder, device)]
    for start, stop in cuts:
        store.write(whole[start:stop], NOW)
    store.write(reversed(whole), NOW)
    assert [entry for device in devices for entry in kept(folder, device)] == once
    firsts = {key(entry): (entry[0], plain(entry[1])) for entry in reversed(whole)}
    assert sorted(map(repr, firsts.values())) == sorted(map(repr, once))


INCREMENTS = st.builds(
    Minute,
    FEW_CHANNELS,
    st.sampled_from([NOW, NOW + MINUTE]),
    st.integers(0, 240).map(lambda quarters: quarters / 4),
    st.integers(0, 240).map(lambda quarters: quarters / 4),
    st.integers(0, 50),
)


@settings(max_examples=60, deadline=None)
@given(batches=st.lists(st.lists(INCREMENTS, max_size=5), max_size=5))
def test_increments_of_a_minute_add_up(common: tuple[Store, Path], batches: list[list[Minute]]) -> None:
    store, folder = common
    device = stranger(store)
    sums: dict[tuple[int, str], Minute] = {}
    for more in (minute for batch in batches for minute in batch):
        so_far = sums.get((more.start_ns, more.channel), Minute(more.channel, more.start_ns, 0.0, 0.0, 0))
        sums[more.start_ns, more.channel] = replace(
            so_far,
            observed_s=so_far.observed_s + more.observed_s,
            analysable_s=so_far.analysable_s + more.analysable_s,
            twitches=so_far.twitches + more.twitches,
        )
    for batch in batches:
        store.write(((device, minute) for minute in batch), NOW)
    assert kept(folder, device) == [(device, sums[key]) for key in sorted(sums)]


def test_sums_over_stretches_of_the_clock(tmp_path: Path) -> None:
    quarter = 15 * MINUTE
    first = NOW // quarter * quarter
    records = [
        Minute("FDI", first, 60.0, 50.0, 2),
        Minute("FDI", first + MINUTE, 60.0, 40.0, 1),
        Minute("FDI", first + quarter, 30.0, 20.0, 4),
        Context(State.ARTEFACT, "FDI", first + S, 2.0),
        Context(State.ARTEFACT, "FDI", first + 9 * S, 3.0),
        Context(State.VOLUNTARY, "FDI", first + quarter, 1.0),
    ]
    with opened(tmp_path) as (store, device):
        store.write([(device, record) for record in records], NOW)
        with Archive.open(tmp_path) as archive:
            assert archive.stretches(quarter, *EVER) == [
                Stretch(device, "FDI", first, 120.0, 90.0, 3),
                Stretch(device, "FDI", first + quarter, 30.0, 20.0, 4),
            ]
            assert archive.spent(quarter, *EVER) == [
                Spent(device, "FDI", State.ARTEFACT, first, 2, 5.0),
                Spent(device, "FDI", State.VOLUNTARY, first + quarter, 1, 1.0),
            ]


def test_the_axes_of_an_accelerometer_are_summed_as_one_site(tmp_path: Path) -> None:
    """Seen once, whatever their number; what twitches on any of them, twitches there."""
    acc = Stream("acc", Sensor.ACC, Unit.G, 0.001, 100.0, ("x", "y", "z"))
    emg = Stream("emg", Sensor.EMG, Unit.MICROVOLT, 0.1, 500.0, ("calf",))
    minutes = [
        Minute(channel, 0, 60.0, 45.0, twitches) for channel, twitches in zip("xyz", (1, 0, 4), strict=True)
    ]
    contexts = [Context(State.ARTEFACT, channel, S, 2.0) for channel in "xyz"]
    store = Store.open(tmp_path)
    store.begin(now_ns=0, version="", settings={})
    device = store.device(Device("band", "S-1", "demo", (acc, emg)), "F0:5C:1A:00:00:01", 0)
    records = [*minutes, Minute("calf", 0, 60.0, 30.0, 2), *contexts]
    store.write([(device, record) for record in records], MINUTE)
    with Archive.open(tmp_path) as archive:
        assert archive.stretches(MINUTE, *EVER) == [
            Stretch(device, "calf", 0, 60.0, 30.0, 2),
            Stretch(device, "acceleration", 0, 60.0, 45.0, 5),
        ]
        assert archive.spent(MINUTE, *EVER) == [Spent(device, "acceleration", State.ARTEFACT, 0, 1, 2.0)]
    store.close(MINUTE)


def test_of_two_statuses_at_a_time_the_later_stays(tmp_path: Path) -> None:
    with opened(tmp_path) as (store, device):
        store.write([(device, Status(50)), (device, Status(49))], NOW)
        store.write([(device, Status(48))], NOW + S)
        with Archive.open(tmp_path) as archive:
            assert [health.status.battery_percent for health in archive.health(*EVER)] == [49, 48]
            assert [health.status.battery_percent for health in archive.summary(0, 1).health] == [48]


# ---- A bug of the caller is heard of, and costs its own batch only ----


@pytest.mark.parametrize("bad", [replace(TWITCH, peak=float("nan")), replace(CONTEXT, duration_s=float("nan"))])
def test_a_nan_is_refused_and_not_dropped_in_silence(tmp_path: Path, bad: Record) -> None:
    with opened(tmp_path) as (store, device):
        with pytest.raises(sqlite3.IntegrityError):
            store.write([(device, GAP), (device, bad)], NOW)
        assert kept(tmp_path) == []
        store.write([(device, GAP)], NOW)
        assert kept(tmp_path) == [(device, GAP)]


def test_a_device_must_be_introduced(tmp_path: Path) -> None:
    with opened(tmp_path) as (store, device):
        with pytest.raises(sqlite3.IntegrityError):
            store.write([(device, GAP), (device + 1, TWITCH)], NOW)
        assert kept(tmp_path) == []


def test_records_that_fail_while_being_made_leave_nothing(tmp_path: Path) -> None:
    def entries(device: int) -> Iterator[tuple[int, Record]]:
        yield device, GAP
        raise LookupError

    with opened(tmp_path) as (store, device):
        with pytest.raises(LookupError):
            store.write(entries(device), NOW)
        store.write([(device, CONTEXT)], NOW)
    assert kept(tmp_path) == [(device, CONTEXT)]


# ---- Sessions ----


def test_the_first_session_has_none_before_it(tmp_path: Path) -> None:
    store = Store.open(tmp_path)
    assert store.begin(now_ns=NOW, version="1", settings={"a": [1, "ü"]}).previous_end_ns is None
    with Archive.open(tmp_path) as archive:
        (session,) = archive.sessions()
        assert (session.begun_ns, session.last_ns, session.ended_ns) == (NOW, NOW, None)
        assert (session.version, session.settings) == ("1", {"a": [1, "ü"]})
    store.close(NOW + S)
    with Archive.open(tmp_path) as archive:
        assert [session.ended_ns for session in archive.sessions()] == [NOW + S]


def test_a_session_says_when_the_one_before_it_ended(tmp_path: Path) -> None:
    with opened(tmp_path) as (store, _):
        store.write([], NOW + 5)
        opening = store.begin(now_ns=NOW + 9, version="2", settings={})  # new settings, new session
        assert opening.previous_end_ns == NOW + 5
    with Archive.open(tmp_path) as archive:
        assert [(s.begun_ns, s.ended_ns, s.version) for s in archive.sessions()] == [
            (NOW, NOW + 5, "1"),
            (NOW + 9, NOW + 9, "2"),
        ]
        newest = archive.summary(0, 1).session
        assert newest is not None
        assert newest.id == opening.session_id


def test_a_session_never_goes_back_in_time(tmp_path: Path) -> None:
    store = Store.open(tmp_path)
    store.begin(now_ns=NOW, version="1", settings={})
    store.write([], NOW + 5)
    store.write([], NOW + 3)
    store.close(NOW + 4)
    with Archive.open(tmp_path) as archive:
        assert [(s.last_ns, s.ended_ns) for s in archive.sessions()] == [(NOW + 5, NOW + 5)]


def test_opening_without_a_session_does_not_end_the_one_that_was_killed(tmp_path: Path) -> None:
    killed = Store.open(tmp_path)
    killed.begin(now_ns=NOW, version="1", settings={})
    killed.write([], NOW + 5)
    killed._resources.close()  # what a kill leaves
    Store.open(tmp_path).close(NOW + HOUR)
    store = Store.open(tmp_path)
    assert store.begin(now_ns=NOW + HOUR, version="1", settings={}).previous_end_ns == NOW + 5
    store.close(NOW + HOUR)


# ---- Devices ----


def test_a_device_is_its_serial_number(tmp_path: Path) -> None:
    with opened(tmp_path) as (store, device):
        moved = Device("renamed", "S-1", "2.0", (replace(EMG, rate_hz=1000.0),))
        assert store.device(moved, "BB", NOW + S) == device
        assert store.device(replace(BOARD, serial="S-2"), "AA", NOW) != device
        with Archive.open(tmp_path) as archive:
            known = archive.devices()[0]
    assert (known.device, known.address, known.first_ns, known.last_ns) == (moved, "BB", NOW, NOW + S)


def test_a_device_without_serial_is_its_address_and_name(tmp_path: Path) -> None:
    anonymous = replace(BOARD, serial="")
    with opened(tmp_path) as (store, device):
        first = store.device(anonymous, "AA", NOW)
        assert store.device(replace(anonymous, firmware="2.0"), "AA", NOW) == first
        others = [store.device(anonymous, "BB", NOW), store.device(replace(anonymous, name="b"), "AA", NOW)]
        assert len({device, first, *others}) == 4


# ---- What is accounted for ----


def test_time_is_accounted_for_by_what_was_observed_and_by_gaps(tmp_path: Path) -> None:
    with opened(tmp_path) as (store, device):
        other = store.device(replace(BOARD, serial="S-2"), "BB", NOW)
        assert store.accounted_ns(device, "emg") is None
        store.write([(device, Observed("emg", NOW + 5)), (device, Observed("acc", NOW + 3))], NOW)
        store.write([(device, Observed("emg", NOW + 4))], NOW)
        assert (store.accounted_ns(device, "emg"), store.accounted_ns(device, "acc")) == (NOW + 5, NOW + 3)
        store.write([(device, replace(GAP, end_ns=NOW + 9))], NOW)
        assert (store.accounted_ns(device, "emg"), store.accounted_ns(device, "acc")) == (NOW + 9, NOW + 3)
        assert store.accounted_ns(other, "emg") is None
        with Archive.open(tmp_path) as archive:
            assert archive.devices()[0].accounted_ns == {"emg": NOW + 9, "acc": NOW + 3}


def test_sessions_and_stops_leave_no_time_unaccounted(tmp_path: Path) -> None:
    """As the collector does: a gap from what is accounted for to the first sample, killed after each."""
    for hour in range(4):
        first = NOW + hour * HOUR
        with opened(tmp_path, first) as (store, device):
            since = store.accounted_ns(device, "emg")
            if since is not None:
                stopped = Gap(EMG, since, first, 0, GapReason.STOPPED, exact=False)
                store.write([(device, stopped)] * 2, first)
            if hour % 2 == 0:
                store.write([(device, Observed("emg", first + MINUTE))], first + MINUTE)
    with Archive.open(tmp_path) as archive:
        stops = [(gap.start_ns - NOW, gap.end_ns - NOW) for _, gap in archive.gaps(*EVER)]
    assert stops == [(MINUTE, HOUR), (HOUR, 2 * HOUR), (2 * HOUR + MINUTE, 3 * HOUR)]


# ---- Reading ----


def test_a_range_has_its_start_and_not_its_end(tmp_path: Path) -> None:
    with opened(tmp_path) as (store, device):
        for k in range(4):
            minute, twitch = Minute("FDI", NOW + k, 1.0, 1.0, 1), replace(TWITCH, onset_ns=NOW + k)
            store.write([(device, minute), (device, twitch), (device, Status(k))], NOW + k)
        with Archive.open(tmp_path) as archive:
            span = NOW + 1, NOW + 3
            assert [minute.start_ns - NOW for _, minute in archive.minutes(*span)] == [1, 2]
            assert [twitch.onset_ns - NOW for _, twitch in archive.twitches(*span)] == [1, 2]
            assert [health.at_ns - NOW for health in archive.health(*span)] == [1, 2]
            assert [total.twitches for total in archive.summary(*span).totals] == [2]


def test_a_stretch_counts_where_any_part_is_in_the_range(tmp_path: Path) -> None:
    with opened(tmp_path) as (store, device):
        store.write([(device, Context(State.ARTEFACT, "FDI", NOW, 1.0)), (device, GAP)], NOW)
        with Archive.open(tmp_path) as archive:
            for since, until, inside in ((-9, 0, 0), (-9, 1, 1), (1, 2, 1), (S - 1, S, 1), (S, S + 9, 0)):
                assert len(archive.contexts(NOW + since, NOW + until)) == inside
                assert len(archive.gaps(NOW + since, NOW + until)) == inside


def test_reading_one_device_or_one_channel(tmp_path: Path) -> None:
    with opened(tmp_path) as (store, first):
        second = store.device(replace(BOARD, serial="S-2"), "BB", NOW)
        channels = "FDI", "calf left"
        for device in (first, second):
            for channel in channels:
                records: list[Record] = [Minute(channel, NOW, 1.0, 1.0, 1), Status(), GAP]
                records += [replace(TWITCH, channel=channel), replace(CONTEXT, channel=channel)]
                store.write([(device, record) for record in records], NOW)
        with Archive.open(tmp_path) as archive:
            for select in (archive.twitches, archive.contexts, archive.minutes):
                assert [(d, r.channel) for d, r in select(*EVER)] == [
                    (d, c) for d in (first, second) for c in channels
                ]
                assert [(d, r.channel) for d, r in select(*EVER, second, "calf left")] == [(second, "calf left")]
                assert [d for d, _ in select(*EVER, channel="FDI")] == [first, second]
            assert [d for d, _ in archive.gaps(*EVER, second)] == [second]
            assert [health.device_id for health in archive.health(*EVER, first)] == [first]


def test_a_limit_takes_the_newest_in_the_order_of_time(tmp_path: Path) -> None:
    with opened(tmp_path) as (store, device):
        store.write([(device, replace(TWITCH, onset_ns=n)) for n in (3, 1, 4, 2, 5)], NOW)
        with Archive.open(tmp_path) as archive:
            assert [twitch.onset_ns for _, twitch in archive.twitches(*EVER, limit=2)] == [4, 5]
            assert [twitch.onset_ns for _, twitch in archive.twitches(*EVER)] == [1, 2, 3, 4, 5]


def test_a_reader_cannot_write(tmp_path: Path) -> None:
    with opened(tmp_path), Archive.open(tmp_path) as archive, pytest.raises(sqlite3.Error, match="readonly"):
        archive._connection.execute("DELETE FROM device")


# ---- The log beside the file ----


def test_the_log_is_emptied_every_hour_while_readers_are_open(tmp_path: Path) -> None:
    log = tmp_path / f"{DATABASE}-wal"
    with opened(tmp_path) as (store, device), Archive.open(tmp_path) as archive:
        store.write([(device, TWITCH)], NOW + HOUR - 1)
        assert log.stat().st_size > 0
        assert len(archive.twitches(*EVER)) == 1
        store.write([(device, GAP)], NOW + HOUR)
        assert log.stat().st_size == 0
        store.write([(device, CONTEXT)], NOW + HOUR + 1)
        assert log.stat().st_size > 0
        store.write([], NOW)  # the clock was set back: a checkpoint early rather than one in years
        assert log.stat().st_size == 0
    assert not log.exists()


def test_a_reader_that_never_finishes_does_not_stop_the_writer(tmp_path: Path) -> None:
    with opened(tmp_path) as (store, device):
        store._connection.execute("PRAGMA busy_timeout = 1")
        store.write([(device, GAP)], NOW)
        with closing(sqlite3.connect(tmp_path / DATABASE)) as other:
            unfinished = other.execute("SELECT * FROM gap")
            unfinished.fetchone()
            store.write([(device, TWITCH)], NOW + HOUR)
            assert len(kept(tmp_path)) == 2


def test_the_database_is_set_up_to_last(tmp_path: Path) -> None:
    with opened(tmp_path) as (store, _):
        names = "page_size", "journal_mode", "synchronous", "foreign_keys", "busy_timeout"
        values = [store._connection.execute(f"PRAGMA {name}").fetchall()[0][0] for name in names]
    assert values == [4096, "wal", 2, 1, 5000]


# ---- One writer ----


def test_a_second_writer_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / LOCK).write_text("4194304999\n")  # left by a writer of long ago
    with opened(tmp_path) as (store, device):
        for _ in range(2):  # the refused one leaves the name of the holder in place
            with pytest.raises(StoreError, match=rf"in use by process {os.getpid()}\. Stop it first"):
                Store.open(tmp_path)
        store.write([(device, GAP)], NOW)
    Store.open(tmp_path).close(NOW)


def test_a_second_writer_is_refused_by_another_process(tmp_path: Path, writer: Any) -> None:
    process = writer(tmp_path)
    with pytest.raises(StoreError, match=rf"in use by process {process.pid}\b"):
        Store.open(tmp_path)


def test_a_reader_reads_while_another_process_writes(tmp_path: Path, writer: Any) -> None:
    process = writer(tmp_path)
    numbers = []
    end = time.monotonic() + 0.7
    with Archive.open(tmp_path) as archive:
        while time.monotonic() < end:
            (minute,) = (minute for _, minute in archive.minutes(*EVER))
            twitches = len(archive.twitches(*EVER))  # read later, so not fewer
            assert minute.twitches <= twitches
            numbers.append(twitches)
    assert process.poll() is None
    assert numbers == sorted(numbers)
    assert len(set(numbers)) > 5


def test_a_killed_writer_loses_nothing_and_leaves_nothing_behind(tmp_path: Path, writer: Any) -> None:
    total = 0
    for _ in range(4):
        process = writer(tmp_path, total)
        delay = random.uniform(0, 0.15)
        time.sleep(delay)
        process.kill()
        said = process.communicate()[0].split("\n")[:-1]  # a number cut short was not said
        acknowledged = int(said[-1]) + 1 if said else total + 1
        with Archive.open(tmp_path) as archive:
            before, total = total, same_number_of_twitches_everywhere(archive)
            (device,) = archive.devices()
            newest = archive.sessions()[-1]
            onsets = [twitch.onset_ns for _, twitch in archive.twitches(*EVER)]
        assert acknowledged <= total <= acknowledged + 1, f"killed after {delay} s"
        assert onsets == [n * S for n in range(total)]
        assert device.accounted_ns == {"emg": (total - 1) * S}
        assert (newest.begun_ns, newest.last_ns, newest.ended_ns) == (before * S, (total - 1) * S, None)
        store = Store.open(tmp_path)
        assert store.begin(now_ns=total * S, version="1", settings={}).previous_end_ns == (total - 1) * S
        store.close(total * S)
        with Archive.open(tmp_path) as archive:
            assert archive.sessions()[-2].ended_ns == (total - 1) * S
    assert total > 4


# ---- The folder and the disk ----


def test_only_the_owner_reads(tmp_path: Path) -> None:
    mask = os.umask(0)
    try:
        with opened(tmp_path / "deep" / "data") as (store, device):
            store.write([(device, TWITCH)], NOW)
            modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "deep/data").iterdir()}
    finally:
        os.umask(mask)
    assert stat.S_IMODE((tmp_path / "deep/data").stat().st_mode) == 0o700
    assert modes == dict.fromkeys((DATABASE, f"{DATABASE}-wal", f"{DATABASE}-shm", LOCK), 0o600)


def test_a_folder_name_may_have_any_character(tmp_path: Path) -> None:
    folder = tmp_path / "a?b#c%20d e&mode=ro"
    with opened(folder) as (store, device):
        store.write([(device, GAP)], NOW)
    assert kept(folder) == [(device, GAP)]
    assert (folder / DATABASE).is_file()


def test_a_full_disk_undoes_the_write_and_takes_it_once_there_is_room(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "1m") as disk:
        with opened(disk / "data") as (store, device):
            refused = write_until_full(store, lambda n: numbered(device, n))
            for _ in range(3):
                with pytest.raises(StoreError, match="no room left"):
                    store.write(numbered(device, refused), refused)
            with Archive.open(disk / "data") as archive:
                assert same_number_of_twitches_everywhere(archive) == 10 * refused > 100
            remount(disk, "size=4m")
            store.write(numbered(device, refused), refused)
            with Archive.open(disk / "data") as archive:
                assert same_number_of_twitches_everywhere(archive) == 10 * (refused + 1)
        with closing(sqlite3.connect(disk / "data" / DATABASE)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_a_full_database_undoes_the_write_and_takes_it_once_there_is_room(tmp_path: Path) -> None:
    """The same where nothing can be mounted."""
    with opened(tmp_path) as (store, device):
        store._connection.execute("PRAGMA max_page_count = 100").fetchall()
        refused = write_until_full(store, lambda n: numbered(device, n))
        store._connection.execute("PRAGMA max_page_count = 1000000").fetchall()
        store.write(numbered(device, refused), refused)
        with Archive.open(tmp_path) as archive:
            assert same_number_of_twitches_everywhere(archive) == 10 * (refused + 1) > 100


def test_a_checkpoint_that_finds_no_room_does_not_fail_the_write_before_it(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "2m") as disk:
        with opened(disk / "data") as (store, device):
            for n in range(20):
                store.write(numbered(device, n), NOW)
            ballast = fill(disk, leave=40_000)
            store.write([(device, Minute("FDI", 0, 1.0, 1.0, 0))], NOW + HOUR)
            log = disk / "data" / f"{DATABASE}-wal"
            assert log.stat().st_size > 100_000  # there was no room to empty it
            ballast.unlink()
            store.write([], NOW + 2 * HOUR)
            assert log.stat().st_size == 0
        with Archive.open(disk / "data") as archive:
            assert same_number_of_twitches_everywhere(archive) == 200
            assert [minute.observed_s for _, minute in archive.minutes(*EVER)] == [21.0]


def test_a_disk_that_is_full_when_closing_still_lets_the_folder_go(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "1m") as disk:
        store = Store.open(disk)
        store.begin(now_ns=0, version="1", settings={})
        fill(disk, leave=100_000)
        device = store.device(BOARD, "AA", 0)
        write_until_full(store, lambda n: numbered(device, n))
        refused = write_until_full(store, lambda _: [])  # to the last page
        with pytest.raises(StoreError, match="no room left"):
            store.close(NOW)
        (disk / "ballast").unlink()
        remount(disk, "size=4m")
        store = Store.open(disk)
        assert store.begin(now_ns=NOW, version="1", settings={}).previous_end_ns == refused - 1
        store.close(NOW)


@pytest.mark.parametrize("pages", [1, 2, 4, 8, 12, 16, 24])
def test_a_disk_too_small_to_begin_on(tmp_path: Path, pages: int) -> None:
    with mounted(tmp_path / "disk", f"{4 * pages}k") as disk:
        with pytest.raises(StoreError, match="no room left"):
            Store.open(disk / "data")
        remount(disk, "size=4m")
        Store.open(disk / "data").close(NOW)


def test_a_disk_that_cannot_be_written(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "1m") as disk:
        with opened(disk / "data") as (store, device):
            store.write([(device, GAP)], NOW)
        remount(disk, "ro")
        for folder in (disk / "data", disk / "new"):
            with pytest.raises(StoreError, match=r"cannot open or write .*Make its folder writable"):
                Store.open(folder)
        with pytest.raises(StoreError, match="cannot open or write"):
            Archive.open(disk / "data")  # SQLite must make its index of the log even to read
        remount(disk, "rw")
        assert kept(disk / "data") == [(device, GAP)]


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="there is no /proc")
def test_a_place_where_nothing_can_be_made() -> None:
    with pytest.raises(StoreError, match="cannot open or write /proc/fasciwatch"):
        Store.open(Path("/proc/fasciwatch"))


@pytest.mark.parametrize("below", ["", "data"])
def test_a_path_that_is_a_file(tmp_path: Path, below: str) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(StoreError, match=r"is a file.*Name another data folder"):
        Store.open(tmp_path / "file" / below)
    assert (tmp_path / "file").read_text() == "mine"


def test_a_file_that_is_not_a_database(tmp_path: Path) -> None:
    garbage = b"not a database" * 1000
    (tmp_path / DATABASE).write_bytes(garbage)
    for _ in range(2):  # the lock is let go
        with pytest.raises(StoreError, match=r"damaged or not a database.*recover"):
            Store.open(tmp_path)
    with pytest.raises(StoreError, match="damaged or not a database"):
        Archive.open(tmp_path)
    assert (tmp_path / DATABASE).read_bytes() == garbage


def test_a_file_that_was_damaged(tmp_path: Path) -> None:
    with opened(tmp_path) as (store, device):
        for n in range(20):
            store.write(numbered(device, n), NOW)
    content = (tmp_path / DATABASE).read_bytes()
    table = content.index(TWITCH.waveform.tobytes()) // 4096
    (tmp_path / DATABASE).write_bytes(content[: table * 4096] + b"\xff" * 4096 + content[(table + 1) * 4096 :])
    with Archive.open(tmp_path) as archive, pytest.raises(StoreError, match="damaged"):
        archive.twitches(*EVER)


def test_a_folder_of_a_newer_program(tmp_path: Path) -> None:
    Store.open(tmp_path).close(NOW)
    with closing(sqlite3.connect(tmp_path / DATABASE)) as connection, connection:
        connection.execute("INSERT INTO migration (name) VALUES ('9999 telepathy')")
    before = (tmp_path / DATABASE).read_bytes()
    for opener in (Store.open, Archive.open, Store.open):
        with pytest.raises(StoreError, match=r"newer fasciwatch .*9999 telepathy.*Install that version"):
            opener(tmp_path)
    assert (tmp_path / DATABASE).read_bytes() == before


def test_a_reader_finds_nothing_or_an_older_schema(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"no data in .*Start monitoring"):
        Archive.open(tmp_path)
    assert list(tmp_path.iterdir()) == []
    Store.open(tmp_path).close(NOW)
    with closing(sqlite3.connect(tmp_path / DATABASE)) as connection, connection:
        connection.execute("DELETE FROM migration WHERE name = ?", (MIGRATIONS[-1].name,))
    with pytest.raises(StoreError, match="older than this fasciwatch"):
        Archive.open(tmp_path)


def test_another_program_that_keeps_the_file_locked(tmp_path: Path) -> None:
    with opened(tmp_path) as (store, device):
        store._connection.execute("PRAGMA busy_timeout = 1")
        with closing(sqlite3.connect(tmp_path / DATABASE, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(StoreError, match=r"keeps .* locked"):
                store.write([(device, GAP)], NOW)
            other.execute("ROLLBACK")
        store.write([(device, GAP)], NOW)
    assert kept(tmp_path) == [(device, GAP)]


def test_an_sqlite_that_is_too_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 34, 1))
    with pytest.raises(StoreError, match=r"too old, 3\.38\.0 is needed\. Use a Python"):
        Store.open(tmp_path / "data")
    assert not (tmp_path / "data").exists()


def test_motor_units_are_kept_as_they_were_last_known(tmp_path: Path) -> None:
    """A device and stream each; the newest replaces what was there."""
    with opened(tmp_path) as (store, device):
        assert store.learned(device, "emg") is None
        store.write([(device, Learned("emg", NOW, {"FDI": {"born": 1}}))], NOW)
        store.write([(device, Learned("emg", NOW + S, {"FDI": {"born": 2}}))], NOW)
    with opened(tmp_path) as (store, device):
        assert store.learned(device, "emg") == {"FDI": {"born": 2}}
        assert store.learned(device, "acc") is None


def test_a_condition_lasts_until_it_is_over_or_the_session_is(tmp_path: Path) -> None:
    """A session that was killed leaves none behind; what there is goes out, and stands in `status`."""
    full, over = (Condition("raw", NOW + k, not k, "full") for k in range(2))
    store = Store.open(tmp_path)
    store.begin(now_ns=NOW, version="1", settings={})
    with Archive.open(tmp_path) as archive:
        store.write([(0, full)], NOW)
        assert archive.troubles() == [full]
        store.write([(0, over)], NOW)
        assert archive.troubles() == []
        store.write([(0, replace(full, name="wal", at_ns=NOW + 9))], NOW)
        store.begin(now_ns=NOW, version="1", settings={})
        assert archive.troubles() == []
        assert archive.conditions(*EVER)[-1] == Condition("wal", NOW + 10, active=False, detail="full")
    store.close(NOW)


def test_a_folder_that_is_removed_is_said_at_the_next_commit(tmp_path):
    """Also one that another writer has begun anew: two in one folder would be one too many."""
    with opened(tmp_path / "data") as (store, device):
        store.write([(device, TWITCH)], 1)
        (tmp_path / "data" / LOCK).unlink()
        with pytest.raises(StoreError, match="was removed or replaced"):
            store.write([(device, TWITCH)], 2)
        (tmp_path / "data" / LOCK).touch()
        with pytest.raises(StoreError, match="was removed or replaced"):
            store.write([(device, TWITCH)], 3)
