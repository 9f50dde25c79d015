"""A heart is known by its shape and its pulse; motor units are not."""

import numpy as np
import pytest

from monitor.detection.heart import HeartBeats

RATE_HZ = 500.0
RNG = np.random.default_rng(1)


def shape(width_s=0.012, size=50.0, noise=2.0):
    """Three phases in the middle of what a heart wants to see."""
    before, after = HeartBeats(RATE_HZ).reach()
    t = np.arange(-before, after) / RATE_HZ / width_s
    return size * (1 - t * t) * np.exp(-t * t / 2) + RNG.normal(0, noise, len(t))


def heard(times_s, shapes=None):
    heart = HeartBeats(RATE_HZ)
    shapes = shapes or [shape() for _ in times_s]
    return [heart.feed(round(t * RATE_HZ), s) for t, s in zip(times_s, shapes, strict=True)], heart


def pulse(beats, rate_bpm=70.0):
    """Regular, as breathing leaves it."""
    n = np.arange(beats)
    return 1 + (n + 0.05 * np.sin(n / 2)) * 60 / rate_bpm


@pytest.mark.parametrize("rate_bpm", [45.0, 70.0, 110.0, 160.0])
def test_a_pulse_is_known_from_the_fourth_beat_on(rate_bpm):
    said, heart = heard(pulse(40, rate_bpm))
    assert said == [False] * 3 + [True] * 37
    assert heart.beating


@pytest.mark.parametrize("seed", range(5))
def test_a_motor_unit_that_comes_at_random_is_no_heart(seed):
    """Of ten minutes at 40 a minute, next to nothing is lost."""
    times_s = np.cumsum(np.random.default_rng(seed).exponential(1.5, 400) + 0.02)
    said, _ = heard(times_s)
    assert np.mean(said) < 0.05


def test_a_held_muscle_is_no_heart():
    """8 Hz is no pulse."""
    said, _ = heard(np.arange(100) / 8)
    assert not any(said)


def test_a_twitch_among_beats_is_none_of_them():
    """Another shape between two beats, and after it the pulse goes on."""
    times_s = pulse(20)
    other = shape(width_s=0.004)
    at = float(times_s[10] + 0.4)
    everything = sorted([*((float(t), shape()) for t in times_s), (at, other)], key=lambda pair: pair[0])
    said, _ = heard([t for t, _ in everything], [s for _, s in everything])
    assert [t for (t, _), beat in zip(everything[3:], said[3:], strict=True) if not beat] == [at]


def test_a_heart_that_is_gone_is_forgotten():
    """After a quarter of a minute, the same shape once more is news."""
    times_s = [*pulse(10), 30.0]
    said, heart = heard(times_s)
    assert said[-1] is False
    assert not heart.beating
