"""Whatever the cutting, the same frames leave."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from firmware_interface.samples import SampleBlock, Sensor, Stream, Timebase, Unit
from monitor.detection.door import Door

RATE_HZ, LENGTH, LESSON = 100.0, 10, 4
STREAM = Stream("emg", Sensor.EMG, Unit.MICROVOLT, 1.0, RATE_HZ, ("a",))
BASE = Timebase(0, 0, 1e9 / RATE_HZ)


def block(first, count):
    return SampleBlock(STREAM, first, BASE, np.arange(first, first + count, dtype=np.int16)[None])


def pieces(blocks, more=0):
    door = Door(RATE_HZ, LENGTH, LESSON)
    out = []
    for one in blocks:
        if door.is_broken_by(one):
            out += door.close(more)
        out += door.take(one)
    return door, out + door.close(more)


@given(st.lists(st.integers(1, 70), min_size=1, max_size=30))
def test_frames_are_whole_in_order_and_end_at_lessons(lengths):
    starts = np.cumsum([0, *lengths])
    door, out = pieces([block(int(first), n) for first, n in zip(starts, lengths, strict=False)])
    x = np.concatenate([piece for piece, _ in out], axis=1)[0]
    total = int(starts[-1])
    np.testing.assert_array_equal(x[:total], np.arange(total))
    assert len(x) == -(-total // LENGTH) * LENGTH
    frame = 0
    for piece, blind in out:
        assert piece.shape[1] == len(blind)
        assert piece.shape[1] % LENGTH == 0
        within = range(frame + 1, frame + piece.shape[1] // LENGTH)
        assert not any(door.teaches(number) for number in within)
        frame += piece.shape[1] // LENGTH


@given(st.integers(1, 25))
def test_a_short_gap_is_a_blind_line(missing):
    _, out = pieces([block(0, 50), block(50 + missing, 50)])
    x = np.concatenate([piece for piece, _ in out], axis=1)[0]
    blind = np.concatenate([made_up for _, made_up in out])
    np.testing.assert_allclose(x[: 100 + missing], np.arange(100 + missing))
    assert blind[: 100 + missing].sum() == missing


def test_a_long_gap_and_an_index_that_runs_back_end_the_stretch():
    door = Door(RATE_HZ, LENGTH)
    door.take(block(0, 50))
    assert door.is_broken_by(block(76, 10))
    assert door.is_broken_by(block(49, 10))
    assert not door.is_broken_by(block(75, 10))
    assert not door.is_broken_by(block(200, 0))


def test_times_are_those_of_the_block_that_holds_the_sample():
    door = Door(RATE_HZ, LENGTH)
    door.take(block(0, 50))
    later = Timebase(50, 600_000_000, 1e9 / RATE_HZ)
    door.take(SampleBlock(STREAM, 50, later, np.zeros((1, 50), np.int16)))
    assert door.time_ns(49) == 490_000_000
    assert door.time_ns(50) == 600_000_000
    door.forget_times(60)
    assert door.time_ns(61) == 710_000_000
