"""The raw signal: what is read back is what was sent; damage stays where it is; the last hour stays."""

from __future__ import annotations

import sqlite3
import zlib
from contextlib import closing
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from firmware_interface.samples import SampleBlock, Sensor, Stream, Timebase, Unit
from monitor.raw import Assembler, File, Raw, RawArchive, Retention, day_files, pack, removable, unpack
from tests.test_store import fill, mounted

S = 10**9
HOUR = 3600 * S
DAY = 24 * HOUR
NOON = 20_000 * DAY + 12 * HOUR  # 2024-10-04 12:00
ALL = Retention(days=1e4, free_bytes=0)
EMG = Stream("emg", Sensor.EMG, Unit.MICROVOLT, 0.5, 500.0, ("FDI", "calf left"))
ACC = Stream("acc", Sensor.ACC, Unit.G, 0.001, 50.0, ("x", "y", "z"))


def block(first: int, length: int, start_ns: int, stream: Stream = EMG, seed: int = 1) -> SampleBlock:
    counts = np.random.default_rng((seed, first)).integers(
        -200, 200, (len(stream.channels), length), dtype=np.int16
    )
    timebase = Timebase(first, start_ns, 1e9 / stream.rate_hz)
    return SampleBlock(stream, first, timebase, counts, device_ns=first * 7, sequence=first % 256)


def seconds(start_ns: int, n: int, stream: Stream = EMG) -> list[SampleBlock]:
    """A second of signal for each of `n` seconds, from `start_ns` on."""
    rate = round(stream.rate_hz)
    return [block(k * rate, rate, start_ns + k * S, stream) for k in range(n)]


def write(raw: Raw, parts: list[SampleBlock], device: int = 1) -> None:
    """In one commit."""
    blocks = []
    for part in parts:
        assembler = Assembler(device)
        assembler.feed(part)
        blocks += assembler.take()
    raw.write(blocks, parts[-1].end_ns)


@pytest.fixture
def raw(tmp_path: Path):
    raw = Raw(tmp_path, ALL)
    yield raw
    raw.close()


# ---- A block ----


@given(
    st.one_of(
        arrays.arrays(np.int16, arrays.array_shapes(min_dims=2, max_dims=2, min_side=1)),
        arrays.arrays(np.int32, arrays.array_shapes(min_dims=2, max_dims=2, min_side=1)),
        arrays.arrays(np.uint16, arrays.array_shapes(min_dims=2, max_dims=2, min_side=1)),
        arrays.arrays(np.float32, arrays.array_shapes(min_dims=2, max_dims=2, min_side=1)),
    )
)
def test_numbers_come_back_as_they_went_in(counts) -> None:
    """To the bit, NaN included, from any integers a device has, and float32."""
    kind, data = pack(counts)
    back = unpack(kind, data, counts.shape[0])
    assert back.shape == counts.shape
    if counts.dtype == np.float32:
        assert back.tobytes() == counts.tobytes()
    else:
        assert np.array_equal(back, counts)


def test_sixteen_bits_where_they_are_enough() -> None:
    """24-bit devices at rest cost no more than others."""
    assert unpack(*pack(np.array([[1, -32768]], np.int32)), 1).dtype == np.int16
    assert unpack(*pack(np.array([[1, -32769]], np.int32)), 1).dtype == np.int32


@given(st.lists(st.integers(0, 60), max_size=60), st.integers(0, 5))
def test_cutting_changes_nothing(lengths, take_every) -> None:
    """However the samples came and whenever they are taken, all are in the blocks once, in order."""
    assembler, blocks, first = Assembler(1), [], 0
    for n, length in enumerate(lengths):
        assembler.feed(block(0, 4000, NOON).cut(first, first + length))
        first += length
        if take_every and n % take_every == 0:
            blocks += assembler.take()
    blocks += assembler.take()
    whole = np.concatenate([b.counts for b in blocks], axis=1) if blocks else np.empty((2, 0))
    assert np.array_equal(whole, block(0, 4000, NOON).counts[:, :first])
    assert all(b.end_ns - b.start_ns < 3 * S for b in blocks)
    assert all(a.first + a.counts.shape[1] == b.first for a, b in pairwise(blocks))


def test_a_block_holds_no_gap() -> None:
    """Neither of samples nor of time."""
    assembler = Assembler(1)
    for part in (block(0, 10, NOON), block(20, 10, NOON + 40 * 10**6), block(30, 10, NOON + HOUR)):
        assembler.feed(part)
    assert [b.first for b in assembler.take()] == [0, 20, 30]


# ---- Writing and reading ----


def test_a_window_is_what_was_sent(tmp_path: Path, raw: Raw) -> None:
    """With its times, indices, clocks and counters; only what was asked for; across midnight."""
    start_ns = NOON + 12 * HOUR - 5 * S
    sent = seconds(start_ns, 10)
    write(raw, sent)
    write(raw, seconds(start_ns, 10, ACC))
    write(raw, seconds(start_ns, 10), device=2)
    assert [path.name for path in RawArchive(tmp_path).days()] == ["2024-10-04.sqlite", "2024-10-05.sqlite"]
    window = RawArchive(tmp_path).window(1, "emg", start_ns + 2 * S + 1, start_ns + 8 * S)
    assert window.damaged == 0
    assert [b.start_ns for b in window.blocks] == [b.start_ns for b in sent[2:8]]
    for got, given_ in zip(window.blocks, sent[2:8], strict=True):
        assert np.array_equal(got.counts, given_.counts)
        assert (got.stream, got.first, got.device_ns, got.sequence, got.end_ns) == (
            EMG,
            given_.first,
            given_.device_ns,
            given_.sequence,
            given_.end_ns,
        )


def test_the_same_block_twice_is_one(tmp_path: Path, raw: Raw) -> None:
    """As after a kill between the store's commit and this one."""
    write(raw, seconds(NOON, 3))
    write(raw, seconds(NOON, 3))
    assert len(RawArchive(tmp_path).window(1, "emg", 0, 1 << 62).blocks) == 3


def test_none_at_all_where_none_is_wanted(tmp_path: Path) -> None:
    raw = Raw(tmp_path, replace(ALL, days=0))
    write(raw, seconds(NOON, 3))
    assert list(tmp_path.iterdir()) == []


# ---- Damage ----


def spoil(path: Path, sql: str) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(sql)


def test_a_damaged_block_costs_itself(tmp_path: Path, raw: Raw) -> None:
    """A flipped bit is seen by the checksum, counted, and skipped."""
    write(raw, seconds(NOON, 5))
    (path,) = RawArchive(tmp_path).days()
    spoil(path, "UPDATE block SET data = zeroblob(length(data)) WHERE rowid = 2")
    assert RawArchive(tmp_path).check(path) == 1
    window = RawArchive(tmp_path).window(1, "emg", 0, 1 << 62)
    assert (len(window.blocks), window.damaged) == (4, 1)


def test_bytes_that_are_no_block(tmp_path: Path, raw: Raw) -> None:
    """Even with a checksum that fits."""
    write(raw, seconds(NOON, 1))
    (path,) = RawArchive(tmp_path).days()
    for junk in (b"junk", zlib.compress(b"odd")):
        spoil(path, f"UPDATE block SET data = x'{junk.hex()}', crc32 = {zlib.crc32(junk)}")
        assert RawArchive(tmp_path).window(1, "emg", 0, 1 << 62) == ([], 1)


@pytest.mark.parametrize("keep", [0.5, 0.01])
def test_a_truncated_day_costs_that_day_and_is_moved_aside(tmp_path: Path, keep: float) -> None:
    """Monitoring goes on in another file of the day; the trouble is said."""
    before = Raw(tmp_path, ALL)
    write(before, seconds(NOON - DAY, 3))
    write(before, seconds(NOON, 200))
    before.close()
    _, path = RawArchive(tmp_path).days()
    with path.open("r+b") as file:
        file.truncate(int(path.stat().st_size * keep) // 4096 * 4096 + 100)
    after = Raw(tmp_path, ALL)
    troubles = []
    for part in seconds(NOON + 300 * S, 400):
        write(after, [part])
        troubles.append(after.trouble)
    after.close()
    assert troubles[-1] is None
    kept = len(RawArchive(tmp_path).window(1, "emg", NOON + 300 * S, 1 << 62).blocks)
    assert kept == 400 - after.dropped >= 300
    assert len(RawArchive(tmp_path).window(1, "emg", 0, NOON - HOUR).blocks) == 3
    if after.dropped:
        assert any("damaged" in trouble for trouble in troubles if trouble)
        assert list((tmp_path / "raw").glob("*.damaged-1.sqlite"))


def test_a_half_written_log_costs_what_was_not_committed(tmp_path: Path) -> None:
    """SQLite takes a write-ahead log up to its last whole commit."""
    before = Raw(tmp_path, ALL)
    for part in seconds(NOON, 20):
        write(before, [part])
    copy = tmp_path / "copy"
    (copy / "raw").mkdir(parents=True)
    for path in (tmp_path / "raw").iterdir():
        if not path.name.endswith("-shm"):
            (copy / "raw" / path.name).write_bytes(path.read_bytes())
    before.close()
    (log,) = (copy / "raw").glob("*-wal")
    with log.open("r+b") as file:
        file.truncate(log.stat().st_size - 3000)
    after = Raw(copy, ALL)
    write(after, seconds(NOON + HOUR, 3))
    assert after.trouble is None
    after.close()
    assert 20 <= len(RawArchive(copy).window(1, "emg", 0, 1 << 62).blocks) <= 22


# ---- Retention ----


def days(*sizes: int) -> list[File]:
    names = [f"2024-10-0{n}.sqlite" for n in range(5 - len(sizes), 5)]
    return [File(Path(name), size) for name, size in zip(names, sizes, strict=True)]


@pytest.mark.parametrize(
    ("retention", "gone"),
    [
        (Retention(days=30, size_bytes=100), []),
        (Retention(days=1, size_bytes=100), ["2024-10-01.sqlite", "2024-10-02.sqlite"]),
        (Retention(days=30, size_bytes=25), ["2024-10-01.sqlite", "2024-10-02.sqlite"]),
        (Retention(days=30, size_bytes=1), ["2024-10-01.sqlite", "2024-10-02.sqlite", "2024-10-03.sqlite"]),
    ],
)
def test_the_oldest_days_go_first_and_the_present_one_never(retention, gone) -> None:
    assert [path.name for path in removable(days(10, 10, 10, 10), retention, NOON)] == gone


def test_just_after_midnight_the_day_before_stays() -> None:
    """It holds most of the last hour."""
    just_after = NOON - 12 * HOUR + HOUR // 2
    assert removable(days(10, 10), Retention(size_bytes=1), just_after) == []


def test_files_are_removed_with_what_sqlite_keeps_beside_them(tmp_path: Path) -> None:
    raw = Raw(tmp_path, Retention(days=1, free_bytes=0))
    for day in range(4):
        write(raw, seconds(NOON + day * DAY, 2))
    raw.close()
    assert (
        sorted(path.name for path in (tmp_path / "raw").iterdir())
        == [
            "2024-10-05.sqlite",
            "2024-10-06.sqlite",
            "2024-10-07.sqlite",
        ][-2:]
    )


def test_a_day_that_is_too_large_alone_keeps_its_last_hour(tmp_path: Path) -> None:
    """Its file stops growing."""
    raw = Raw(tmp_path, Retention(size_bytes=1, free_bytes=0))
    sent = seconds(NOON, 2 * 3600, ACC)
    for n in range(0, len(sent), 60):
        write(raw, sent[n : n + 60])
    raw.close()
    kept = RawArchive(tmp_path).window(1, "acc", 0, 1 << 62).blocks
    assert kept[-3600].start_ns == sent[-3600].start_ns
    assert len(kept) < 5400


# ---- A full disk ----


def test_raw_leaves_room_for_events_and_resumes(tmp_path: Path) -> None:
    """It stops before the disk is full, says so once there is less than it is to leave, and goes on by itself."""
    with mounted(tmp_path / "disk", "16M") as disk:
        raw = Raw(disk, Retention(free_bytes=4 << 20))
        write(raw, seconds(NOON, 2))
        ballast = fill(disk, 2 << 20)
        write(raw, seconds(NOON + 10 * S, 3))
        assert raw.trouble is not None
        assert "4 MB are to stay free" in raw.trouble
        assert raw.dropped == 3
        ballast.unlink()
        write(raw, seconds(NOON + 20 * S, 2))
        assert raw.trouble is None
        raw.close()
        assert len(RawArchive(disk).window(1, "emg", 0, 1 << 62).blocks) == 4


@settings(max_examples=20)
@given(st.integers(0, 9), st.integers(1, 10))
def test_any_window(common_raw, since, length) -> None:
    """What overlaps the range comes, and nothing else."""
    folder, sent = common_raw
    since_ns, until_ns = NOON + since * S // 2, NOON + (since + length) * S // 2
    got = RawArchive(folder).window(1, "emg", since_ns, until_ns).blocks
    assert [b.first for b in got] == [b.first for b in sent if b.end_ns > since_ns and b.start_ns < until_ns]


@pytest.fixture(scope="module")
def common_raw(tmp_path_factory):
    folder = tmp_path_factory.mktemp("raw")
    raw, sent = Raw(folder, ALL), seconds(NOON, 5)
    write(raw, sent)
    raw.close()
    return folder, sent


def test_files_of_others_are_left_alone(tmp_path: Path) -> None:
    for name in ("2024-10-04.sqlite", "2024-10-04-2.sqlite", "2024-10-04-10.sqlite", "notes.sqlite"):
        (tmp_path / name).touch()
    names = ["2024-10-04.sqlite", "2024-10-04-2.sqlite", "2024-10-04-10.sqlite"]
    assert [path.name for path in day_files(tmp_path)] == names
