"""The noise floor is that of the quiet times."""

import numpy as np
import pytest

from monitor.detection.noise import NoiseFloor

RNG = np.random.default_rng(1)


def ticks(count, level=1.0, channels=2):
    """Mean squares of ticks of Gaussian noise of variance `level`, two a frame; shape (frames, channels, 2)."""
    return level * RNG.chisquare(100, (count // 2, channels, 2)) / 100


def fed(floor, frames, usable=True):
    for frame in frames:
        floor.feed(frame, np.full(frame.shape, usable))
    return floor.energy.copy()


def test_it_is_unknown_until_it_was_heard():
    """NaN and cold before the first ticks, known soon after."""
    floor = NoiseFloor(2)
    assert np.isnan(floor.energy).all()
    assert not floor.warm.any()
    fed(floor, ticks(6))
    assert floor.warm.all()
    assert np.isfinite(floor.energy).all()


def test_it_is_the_lower_quartile_of_the_ticks():
    """Of stationary noise it is a little below the mean, and steady."""
    expected = np.quantile(RNG.chisquare(100, 10_000) / 100, 0.25)
    np.testing.assert_allclose(fed(NoiseFloor(2), ticks(400)), expected, rtol=0.05)


def test_a_contraction_does_not_raise_it():
    """Ten seconds at ten times the amplitude change it by less than a tenth."""
    floor = NoiseFloor(2)
    before = fed(floor, ticks(400))
    np.testing.assert_allclose(fed(floor, ticks(100, 100.0)), before, rtol=0.1)


def test_noise_that_stays_louder_gets_its_turn():
    """Ten minutes at three times the amplitude are the new floor."""
    floor = NoiseFloor(2)
    before = fed(floor, ticks(400))
    np.testing.assert_allclose(fed(floor, ticks(6000, 9.0)), 9 * before, rtol=0.1)


def test_noise_that_falls_is_followed_within_half_a_minute():
    """A quieter channel is heard more keenly soon."""
    floor = NoiseFloor(2)
    before = fed(floor, ticks(400))
    np.testing.assert_allclose(fed(floor, ticks(300, 0.1)), 0.1 * before, rtol=0.1)


def test_what_is_not_usable_teaches_nothing():
    """Ticks with gaps or without contact leave it as it is, to the bit."""
    floor = NoiseFloor(2)
    before = fed(floor, ticks(400))
    np.testing.assert_array_equal(fed(floor, ticks(400, 50.0), usable=False), before)
    np.testing.assert_array_equal(fed(floor, ticks(400, 0.0), usable=False), before)
    cold = NoiseFloor(2)
    assert np.isnan(fed(cold, ticks(400), usable=False)).all()
    assert not cold.warm.any()


def test_channels_know_nothing_of_one_another():
    """Each has the floor that it would have alone."""
    scales = np.array([1.0, 100.0, 0.01])
    frames = ticks(100, channels=3) * scales[:, None]
    together = fed(NoiseFloor(3), frames)
    alone = [fed(NoiseFloor(1), frames[:, [channel]])[0] for channel in range(3)]
    np.testing.assert_array_equal(together, alone)


@pytest.mark.parametrize("unit", [1e-12, 1e12])
def test_the_unit_does_not_matter(unit):
    """Volts or counts: the floor scales with the signal."""
    frames = ticks(100)
    np.testing.assert_allclose(fed(NoiseFloor(2), unit * frames), unit * fed(NoiseFloor(2), frames), rtol=1e-12)
