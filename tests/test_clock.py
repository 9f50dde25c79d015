"""The time of a sample, from arrivals that are only ever late."""

import tracemalloc

import numpy as np
import pytest

from firmware_interface.clock import DeviceClock

SECOND = 1_000_000_000
SAMPLES = (1e6, 1e-2)
"""Ticks of a 1000-Hz sensor with its own oscillator."""
CRYSTAL = (1.0, 3e-4)
"""Ticks of a device's clock in ns."""
DEVICES = [
    (SAMPLES, 0.99),
    (SAMPLES, 1.0),
    (SAMPLES, 1.01),
    (CRYSTAL, 1 - 2e-4),
    (CRYSTAL, 1.0),
    (CRYSTAL, 1 + 2e-4),
]
ALL = pytest.mark.parametrize(("ticks", "ratio"), DEVICES)


def uniform(rng, due_s):
    return rng.uniform(0, 0.030, len(due_s))


def exponential(rng, due_s):
    return rng.exponential(0.030, len(due_s))


def congested(rng, due_s):
    """Five of every twenty seconds have 200 ms more."""
    return uniform(rng, due_s) + 0.2 * (due_s % 20 > 15)


def errors_ms(ticks, ratio, delay, *, seed=1, duration_s=60.0, period_s=0.058, first_tick=0, start_ns=0):
    """Time since the start (s), and estimated minus true time of each packet's tick just after it came (ms)."""
    rng = np.random.default_rng(seed)
    due_s = np.arange(0, duration_s, period_s)
    tick_ns = ticks[0] / ratio
    count = np.rint(due_s * 1e9 / tick_ns).astype(np.int64)
    true_ns = count * tick_ns
    arrival_ns = np.maximum.accumulate(true_ns + delay(rng, due_s) * 1e9).astype(np.int64)
    clock = DeviceClock(*ticks)
    found = []
    for tick, arrival in zip(count.tolist(), arrival_ns.tolist(), strict=True):
        clock.feed(first_tick + tick, start_ns + arrival, start_ns + arrival)
        found.append(clock.at(first_tick + tick) - start_ns)
    return due_s, (np.array(found) - true_ns) * 1e-6


@ALL
@pytest.mark.parametrize("delay", [uniform, congested])
def test_after_ten_seconds_every_time_is_within_two_milliseconds(ticks, ratio, delay):
    """A rate 1 % or 200 ppm off, waits of up to 30 ms, seconds of congestion: 2 ms, once 10 s were heard."""
    due_s, error_ms = errors_ms(ticks, ratio, delay)
    assert np.abs(error_ms[due_s > 10]).max() < 2


@ALL
def test_long_tails_of_delay_take_thirty_seconds_to_settle(ticks, ratio):
    """Exponential delays of 30 ms: 3.5 ms after ten seconds, 2 ms after thirty."""
    due_s, error_ms = errors_ms(ticks, ratio, exponential)
    assert np.abs(error_ms[due_s > 10]).max() < 3.5
    assert np.abs(error_ms[due_s > 30]).max() < 2


@ALL
def test_before_it_settles_a_time_is_wrong_by_no_more_than_the_radio_delays(ticks, ratio):
    """From the first packet on, the error is at most the longest delay: nothing is extrapolated wildly."""
    _, error_ms = errors_ms(ticks, ratio, uniform, duration_s=10)
    assert error_ms.min() > -10
    assert error_ms.max() < 30


def test_without_delay_times_are_exact():
    """A radio that does not delay leaves the rounding, and what the prior on the rate does in so short a time."""
    for ticks, ratio in DEVICES:
        due_s, error_ms = errors_ms(ticks, ratio, lambda _, due_s: np.zeros(len(due_s)))
        assert np.abs(error_ms[due_s > 10]).max() < 0.2
        assert np.abs(error_ms[due_s > 50]).max() < 0.001


@ALL
def test_the_rate_is_learned(ticks, ratio):
    """After a minute the length of a tick is known to 50 ppm, through congestion."""
    rng = np.random.default_rng(3)
    due_s = np.arange(0, 60, 0.058)
    clock = DeviceClock(*ticks)
    tick_ns = ticks[0] / ratio
    count = np.rint(due_s * 1e9 / tick_ns).astype(int)
    arrivals = np.maximum.accumulate(count * tick_ns + congested(rng, due_s) * 1e9).astype(int)
    for tick, arrival in zip(count.tolist(), arrivals.tolist(), strict=True):
        clock.feed(tick, arrival, arrival)
    assert clock.tick_ns == pytest.approx(tick_ns, rel=50e-6)


def test_a_constant_delay_is_kept():
    """What delays every packet cannot be seen, and is said in the module header."""
    due_s, error_ms = errors_ms(CRYSTAL, 1.0, lambda rng, due_s: 0.020 + uniform(rng, due_s))
    np.testing.assert_allclose(error_ms[due_s > 10], 20, atol=2)


@pytest.mark.parametrize(("ticks", "first_tick"), [(SAMPLES, 10**11), (CRYSTAL, 10**18)])
def test_the_origin_of_neither_clock_matters(ticks, first_tick):
    """Ticks and arrivals that begin anywhere give the same times, to the nanosecond."""
    near = errors_ms(ticks, 1.0, uniform, duration_s=40)[1]
    far = errors_ms(ticks, 1.0, uniform, duration_s=40, first_tick=first_tick, start_ns=1_800_000_000 * SECOND)[1]
    np.testing.assert_array_equal(near, far)


def test_after_hours_it_is_as_good_as_after_a_minute():
    """Nothing is lost in the digits of a long run: packets of a minute, three hundred hours in."""
    clock = DeviceClock(*CRYSTAL)
    rng = np.random.default_rng(1)
    clock.feed(0, 0, 0)
    worst_ns = 0
    for i in range(1000):
        true_ns = 300 * 3600 * SECOND + i * 58_000_000
        arrival_ns = true_ns + int(rng.uniform(0, 30e6))
        clock.feed(round(true_ns * 1.0001), arrival_ns, arrival_ns)
        if i > 200:
            worst_ns = max(worst_ns, abs(clock.at(round(true_ns * 1.0001)) - true_ns))
    assert worst_ns < 2_000_000


def test_memory_is_bounded_however_many_packets_come():
    """Two minutes at a hundred packets a second hold no more than one minute did."""

    def held_after(clock, first, last):
        for tick in range(first, last):
            clock.feed(10 * tick, tick * 10_000_000, tick * 10_000_000)
        return tracemalloc.get_traced_memory()[0]

    clock = DeviceClock(*SAMPLES)
    tracemalloc.start()
    try:
        after_one = held_after(clock, 0, 7_000)
        after_two = held_after(clock, 7_000, 14_000)
    finally:
        tracemalloc.stop()
    assert after_two - after_one < 5_000
    assert after_one < 500_000
