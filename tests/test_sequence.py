"""Counters that wrap become positions that do not."""

from itertools import accumulate

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from firmware_interface.clock import DeviceClock
from firmware_interface.emulated.device import Imperfection
from firmware_interface.emulated.wearable import Path
from firmware_interface.sequence import Cadence, Pace, Step, Unwrapper

SECOND = 1_000_000_000
COUNTERS = {  # name: (modulus, counts a second, counts a packet)
    "u8 of packets": (1 << 8, 17.0, 1),
    "u8 of many packets": (1 << 8, 100.0, 1),
    "u16 of packets": (1 << 16, 71.0, 1),
    "u16 of samples": (1 << 16, 1000.0, 58),
    "u32 of samples": (1 << 32, 1000.0, 58),
    "u32 of microseconds": ((1 << 32) * 1000, 1e9, 58_000_000),
}
ALL = pytest.mark.parametrize("counter", COUNTERS)


def fed(unwrapper, modulus, readings):
    """What each (true position, arrival in s) reads as."""
    return [unwrapper.feed(position % modulus, round(at_s * SECOND)) for position, at_s in readings]


@ALL
def test_a_counter_that_wraps_goes_on_counting(counter):
    """Positions grow by exactly what was sent across three wraps, from the value that was read first."""
    modulus, rate_hz, step = COUNTERS[counter]
    stride = max(step, modulus // 40)  # losses in between, so that the wide ones wrap too
    sent = [modulus - 3 * step + i * stride for i in range(140)]
    assert sent[-1] > 4 * modulus - 3 * step
    steps = fed(Unwrapper(modulus, rate_hz), modulus, [(p, p / rate_hz) for p in sent])
    assert steps == [(Step.FORWARD, p) for p in sent]


@ALL
@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_any_loss_with_realistic_arrivals_gives_the_exact_positions(counter, data):
    """Rate 1 % off, packets up to 0.3 s late, any of them lost, from any count: every position is exact."""
    modulus, rate_hz, step = COUNTERS[counter]
    true_hz = rate_hz * data.draw(st.floats(0.99, 1.01), "true rate over nominal")
    first = data.draw(st.integers(0, modulus - 1), "first")
    packets = st.tuples(st.integers(1, 40) | st.integers(1, 1000), st.floats(0, 0.3))
    drawn = data.draw(st.lists(packets, min_size=1, max_size=40), "packets from one to the next, delay")
    # 1 % of the silence and twice the jitter must stay within half a turn: else nobody could tell.
    assume(all(0.01 * n * step + 0.6 * rate_hz < modulus / 2 for n, _ in drawn))
    positions = list(accumulate((n * step for n, _ in drawn), initial=first))
    due_s = [100 + (p - first) / true_hz for p in positions]
    arrivals = accumulate((t + late for t, late in zip(due_s, [0, *(d for _, d in drawn)], strict=True)), max)
    steps = fed(Unwrapper(modulus, rate_hz), modulus, zip(positions, arrivals, strict=True))
    assert steps == [(Step.FORWARD, p) for p in positions]


@pytest.mark.parametrize("turns", [1, 2, 30, 1000])
@pytest.mark.parametrize("ratio", [0.99, 1.0, 1.01])
def test_the_arrival_clock_tells_how_often_it_wrapped_in_a_silence(turns, ratio):
    """An 8-bit counter is resolved after many silent turns, while the rate's error is less than half a one."""
    unwrapper = Unwrapper(256, 17.0)
    unwrapper.feed(250, 0)
    position = 250 + turns * 256 + 9
    arrival_ns = round((position - 250) / (17.0 * ratio) * SECOND)
    step, found = unwrapper.feed(position % 256, arrival_ns)
    assert (step, found == position) == (Step.FORWARD, turns < 50 or ratio == 1)


@ALL
def test_a_repeated_packet_changes_nothing(counter):
    """A reading that comes again has the same position, and what follows is as if it had not come."""
    modulus, rate_hz, step = COUNTERS[counter]
    a, b = modulus - step, modulus + step
    due_s = 2 * step / rate_hz
    readings = [(a, 0), (a, due_s / 3), (b, due_s), (b, due_s + 0.01), (b + step, due_s * 1.5)]
    first, again, second, repeated, third = fed(Unwrapper(modulus, rate_hz), modulus, readings)
    assert (first, second, third) == tuple((Step.FORWARD, p) for p in (a, b, b + step))
    assert again[1] == a
    assert repeated[1] == b


@pytest.mark.parametrize("counter", [name for name in COUNTERS if name != "u8 of many packets"])
def test_a_packet_that_was_overtaken_is_late_at_its_own_position(counter):
    """Two packets swapped, across the wrap: the first is late by name and by position."""
    modulus, rate_hz, step = COUNTERS[counter]
    sent = [modulus - 2 * step, modulus, modulus - step, modulus + step]
    due_s = [0, 2 * step / rate_hz, 2.05 * step / rate_hz, 3 * step / rate_hz]
    steps = fed(Unwrapper(modulus, rate_hz), modulus, zip(sent, due_s, strict=True))
    assert steps[2] == (Step.LATE, sent[2])
    assert steps[3] == (Step.FORWARD, sent[3])


@settings(max_examples=100, deadline=None)
@given(
    on_s=st.floats(0.6, 1e6),
    away_s=st.floats(0, 1000),
    again_s=st.floats(0, 20),
    rate_hz=st.sampled_from([100.0, 1000.0]),
)
@example(on_s=0.6, away_s=0.0, again_s=0.0, rate_hz=1000.0)
@example(on_s=3.0, away_s=1.0, again_s=1.0, rate_hz=1000.0)
@example(on_s=4.9, away_s=60.0, again_s=0.5, rate_hz=1000.0)
def test_a_count_that_begins_again_is_a_restart(on_s, away_s, again_s, rate_hz):
    """Counting from zero is seen whatever the device had counted, five seconds after it was switched on too."""
    before, after = round(on_s * rate_hz), round(again_s * rate_hz)
    assume(after < before - 0.5 * rate_hz)  # less could be a reordered packet
    unwrapper = Unwrapper(1 << 32, rate_hz)
    unwrapper.feed(before, 0)
    now_ns = round((away_s + again_s) * SECOND)
    assert unwrapper.feed(after, now_ns) == (Step.RESTART, after)
    assert unwrapper.feed(after + 58, now_ns + 58_000_000) == (Step.FORWARD, after + 58)


def test_a_device_that_jumps_ahead_of_time_has_restarted():
    """A count that runs an hour ahead in a second cannot be the same count."""
    unwrapper = Unwrapper(1 << 32, 1000.0)
    unwrapper.feed(1000, 0)
    assert unwrapper.feed(3_600_000, SECOND) == (Step.RESTART, 3_600_000)


@pytest.mark.parametrize("counter", ["u16 of samples", "u32 of samples", "u32 of microseconds"])
def test_what_was_held_back_for_seconds_is_no_restart(counter):
    """Four seconds of packets that come at once, late, are continuous."""
    modulus, rate_hz, step = COUNTERS[counter]
    first = modulus - 20 * step
    sent = [first + i * step for i in range(round(4 * rate_hz / step))]
    readings = [(sent[0], 0.0)] + [(p, 4.0 + i * 1e-4) for i, p in enumerate(sent[1:])]
    steps = fed(Unwrapper(modulus, rate_hz), modulus, readings)
    assert steps == [(Step.FORWARD, p) for p in sent]


def test_what_was_held_back_for_long_is_continuous_where_the_next_reading_is_near():
    """Eight seconds of silence, and then the very next packet: nothing was lost in between."""
    unwrapper = Unwrapper(1 << 32, 1000.0)
    unwrapper.feed(7000, 0)
    assert unwrapper.feed(7058, 8 * SECOND) == (Step.FORWARD, 7058)


def test_positions_never_decrease_without_saying_so():
    """Whatever is read, a step forward is forward."""
    rng = np.random.default_rng(1)
    unwrapper = Unwrapper(256, 17.0)
    last, at_ns = -1, 0
    for value in rng.integers(0, 256, 5000):
        at_ns += int(rng.integers(0, 20 * SECOND))
        step, position = unwrapper.feed(int(value), at_ns)
        if step is Step.FORWARD:
            assert position >= last
        if step is not Step.LATE:
            last = position


# ── streams that carry times instead of counts ──


def paced(rate_hz, ratio, lost, *, stamps_last, length=8, resolution_ns=1, packets=400):
    """What `Pace` makes of packets of `length` samples, some lost; the positions it gives and the true ones."""
    pace = Pace(1 << 64, rate_hz, stamps_last=stamps_last)
    got, true = [], []
    for packet in (p for p in range(packets) if p not in lost):
        first = packet * length
        stamped = first + (length - 1 if stamps_last else 0)
        device_ns = round(stamped * 1e9 / (rate_hz * ratio)) // resolution_ns * resolution_ns
        got.append(pace.feed(device_ns, length, device_ns + 5_000_000))
        true.append(first)
    return got, true


@pytest.mark.parametrize("stamps_last", [False, True])
@pytest.mark.parametrize("ratio", [0.98, 1.0, 1.02])
@pytest.mark.parametrize(("rate_hz", "length", "resolution_ns"), [(208.0, 8, 1_000_000), (200.0, 36, 1)])
def test_times_count_samples(rate_hz, length, resolution_ns, ratio, stamps_last):
    """Whole milliseconds, two per cent off the nominal rate: to the sample, once some were heard."""
    lost = {60, 90, 91, 92, 200, *range(250, 300)}
    got, true = paced(rate_hz, ratio, lost, stamps_last=stamps_last, length=length, resolution_ns=resolution_ns)
    assert [position for _, position, _ in got] == true
    assert all(step is Step.FORWARD and sure for step, _, sure in got)


def test_more_missing_than_the_period_was_learned_from_is_not_sure():
    got, _ = paced(200.0, 1.0, set(range(10, 90)), stamps_last=True, packets=100)
    assert [sure for _, _, sure in got] == [True] * 10 + [False] + [True] * 9


def test_a_packet_that_comes_again_or_late_is_late():
    pace = Pace(1 << 64, 200.0, stamps_last=False)
    times = [0, 40, 40, 120, 80, 160]
    steps = [pace.feed(ms * 1_000_000, 8, ms * 1_000_000)[0] for ms in times]
    assert steps == [Step.FORWARD, Step.FORWARD, Step.LATE, Step.FORWARD, Step.LATE, Step.FORWARD]


def test_a_clock_that_is_set_begins_anew():
    """The H10 that leaves its strap."""
    pace = Pace(1 << 64, 200.0, stamps_last=True)
    for packet in range(10):
        pace.feed(10**18 + packet * 40_000_000, 8, packet * 40_000_000)
    assert pace.feed(5 * 10**17, 8, 440_000_000) == (Step.RESTART, 0, False)
    assert pace.feed(5 * 10**17 + 40_000_000, 8, 480_000_000) == (Step.FORWARD, 8, True)


def test_a_clock_wraps_without_a_seam():
    """32 bits of milliseconds, after 49 days."""
    modulus = (1 << 32) * 1_000_000
    pace = Pace(modulus, 200.0, stamps_last=False)
    begin = modulus - 200_000_000
    positions = [pace.feed((begin + p * 40_000_000) % modulus, 8, p * 40_000_000)[1] for p in range(20)]
    assert positions == [8 * p for p in range(20)]


# What nothing numbers.

CADENCES = {  # name: (rate, samples a packet, modulus)
    "single samples": (100.0, 1, 0),
    "three at a time": (100.0, 3, 0),
    "sixteen milliseconds": (500.0, 8, 0),
    "a count of four bits": (1000.0, 30, 16),
    "turns of four characteristics": (200.0, 2, 8),
}
EVERY_CADENCE = pytest.mark.parametrize("cadence", CADENCES)


class Timed:
    """Packets over a radio that is late by up to 30 ms, placed; the line below them is fed as it must be."""

    def __init__(self, cadence, ratio=1.0):
        self.rate_hz, self.length, self.modulus = CADENCES[cadence]
        self.true_hz = self.rate_hz * ratio
        self.cadence = Cadence(self.modulus, self.rate_hz)
        self.line = DeviceClock(SECOND / self.rate_hz, 3e-3)
        self.placed = []
        self.shift = self.next = 0

    def send(self, packets, seed, loss=0.0, start=0):
        """So many packets; numbers of the first samples of those that came."""
        path = Path(Imperfection(loss=loss), seed)
        for packet in range(start, start + packets):
            first = packet * self.length
            last_ns = round((first + self.length - 1) * SECOND / self.true_hz)
            if not path.loses():
                path.send("", first.to_bytes(8, "big"), last_ns)
        return [self.hear(int.from_bytes(n.data, "big"), n.arrival_ns) for n in path.arrived(1 << 62)]

    def hear(self, first, arrival_ns):
        number = first % self.modulus if self.modulus else None
        self.cadence.hold(first, self.length, number, arrival_ns)
        while placed := self.cadence.release(self.line, self.shift):
            if placed.step is Step.RESTART:
                self.shift = self.next - placed.position
                self.line = DeviceClock(SECOND / self.rate_hz, 3e-3)
            position = placed.position + self.shift
            assert position >= self.next
            self.next = position + self.length
            if placed.sure:
                self.line.feed(position - placed.lead + self.length - 1, placed.arrival_ns, placed.arrival_ns)
            self.placed.append((placed.item, position))
        return first


@EVERY_CADENCE
@pytest.mark.parametrize("ratio", [0.997, 1.0, 1.003])
def test_where_all_comes_nothing_is_said_to_be_missing(cadence, ratio):
    """However late a radio is, and whatever the true rate."""
    timed = Timed(cadence, ratio)
    sent = timed.send(600, 1)
    placed, positions = zip(*timed.placed, strict=True)
    assert list(placed) == sent[: len(placed)]
    assert set(np.diff(positions)) == {timed.length}


@EVERY_CADENCE
@pytest.mark.parametrize("seed", [1, 2])
def test_what_is_missing_is_estimated_within_a_hundredth(cadence, seed):
    """Of what was sent, at 3 % loss; each packet once, in order."""
    timed = Timed(cadence)
    sent = timed.send(1500, seed, loss=0.03)
    placed, positions = zip(*timed.placed, strict=True)
    assert list(placed) == sent[: len(placed)]
    true = placed[-1] - placed[0]
    assert sent[-1] > 0.97 * 1500 * timed.length - 200
    assert abs(positions[-1] - positions[0] - true) <= 0.01 * true


def test_what_is_held_is_placed_before_what_comes_after_a_break():
    """And with the break all begins anew."""
    timed = Timed("three at a time")
    before = timed.send(20, 1)
    assert len(before) - len(timed.placed) > 0
    timed.cadence.break_off()
    after = timed.send(100, 1, start=1000)
    assert [item for item, _ in timed.placed] == [*before, *after][: len(timed.placed)]
    assert len(timed.placed) > len(before)


def test_a_silence_is_missing_samples():
    """Ten seconds without a packet."""
    timed = Timed("sixteen milliseconds")
    timed.send(625, 1)
    timed.send(625, 2, start=1250)
    jumps = np.diff([position for _, position in timed.placed])
    assert sorted(set(jumps)) == [8, 8 + 5000]
