"""Mains goes, twitches stay."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_interface.samples import Sensor
from monitor.detection.conditioning import BandPass, MainsCanceller, frame_length

HARMONICS = {1: 1.0, 2: 0.1, 3: 0.3, 5: 0.15}
MAINS_UV = 50.0


def mains(hz, rate_hz, seconds, channels=2):
    """Hum with harmonics, of another phase on each channel, whole frames of it."""
    samples = round(seconds * rate_hz) // frame_length(rate_hz) * frame_length(rate_hz)
    time_s = np.arange(samples) / rate_hz
    phase = np.arange(channels)[:, None] + 0.3
    parts = (
        a * np.sin(n * (2 * np.pi * hz * time_s + phase)) for n, a in HARMONICS.items() if n * hz < 0.48 * rate_hz
    )
    return MAINS_UV * sum(parts)


def noise(shape, sd=2.0):
    return np.random.default_rng(1).normal(0, sd, shape)


def twitch(at_s, shape, rate_hz, peak_uv=200.0):
    """Two phases within 12 ms."""
    t = (np.arange(shape[1]) / rate_hz - at_s) / 0.003
    return np.tile(-peak_uv * t * np.exp(0.5 - t * t / 2), (shape[0], 1))


def rms(x):
    return np.sqrt((x * x).mean(axis=1))


@pytest.mark.parametrize("rate_hz", [250.0, 500.0, 1000.0, 2000.0])
@pytest.mark.parametrize("hz", [49.8, 50.0, 50.2, 59.8, 60.0, 60.2])
def test_mains_is_gone_after_three_seconds(hz, rate_hz):
    """Less than a tenth is left of it and its harmonics, wherever between ±0.2 Hz it is."""
    hum = mains(hz, rate_hz, 10)
    left = MainsCanceller(rate_hz, 2).feed(hum + noise(hum.shape))
    after = round(3 * rate_hz)
    assert (rms(left[:, after:] - noise(hum.shape)[:, after:]) < 0.1 * rms(hum)).all()


def test_what_is_subtracted_is_measured():
    """`powers` ends with the mean square of the mains, a channel each."""
    hum = mains(50.0, 1000.0, 6)
    hum[1] *= 2
    canceller = MainsCanceller(1000.0, 2)
    canceller.feed(hum + noise(hum.shape))
    np.testing.assert_allclose(canceller.powers[:, -1], rms(hum) ** 2, rtol=0.1)


def passed(hz, at_s):
    """A twitch in mains and noise: its true shape, and what the canceller makes of it."""
    hum = mains(hz, 1000.0, 8)
    shape = twitch(at_s, hum.shape, 1000.0)
    with_it, without = (MainsCanceller(1000.0, 2).feed(hum + noise(hum.shape) + x) for x in (shape, 0 * shape))
    return shape, with_it - without


@pytest.mark.parametrize("hz", [50.1, 60.0])
@pytest.mark.parametrize("at_s", [5.0, 5.1, 5.197])
def test_a_twitch_passes_unchanged_while_mains_is_there(hz, at_s):
    """Within 5 % of its peak, wherever it lies in a frame."""
    shape, found = passed(hz, at_s)
    around = slice(round(at_s * 1000) - 15, round(at_s * 1000) + 15)
    assert np.abs(found - shape)[:, around].max() < 0.05 * np.abs(shape).max()


@pytest.mark.parametrize("hz", [50.1, 60.0])
def test_a_twitch_does_not_ring(hz):
    """In the second after it, nowhere more than 5 % of its peak, and 2 % in the mean square."""
    for at_s in (5.0, 5.06, 5.1, 5.197):
        shape, found = passed(hz, at_s)
        after = found[:, round(at_s * 1000) + 15 : round(at_s * 1000) + 1015]
        assert np.abs(after).max() < 0.05 * np.abs(shape).max()
        assert (rms(after) < 0.02 * np.abs(shape).max()).all()


def test_without_mains_nothing_is_subtracted():
    """Noise alone is left as it was, but for what little may look like mains."""
    signal = noise((2, 20_000))
    left = MainsCanceller(1000.0, 2).feed(signal)
    assert (rms(left - signal) < 0.15 * rms(signal)).all()


@settings(max_examples=15, deadline=None)
@given(cuts=st.lists(st.integers(0, 50), max_size=8))
def test_frames_at_once_or_one_by_one_give_the_same_bits(cuts):
    """Band-pass and mains, cut anywhere between frames, empty pieces too."""
    length = frame_length(500.0)
    signal = mains(50.2, 500.0, 10) + noise((2, 50 * length))

    def conditioned(edges):
        band_pass, canceller = BandPass(Sensor.EMG, 500.0), MainsCanceller(500.0, 2)
        pieces = (signal[:, a * length : b * length] for a, b in edges)
        return np.concatenate([canceller.feed(band_pass.feed(piece)[0]) for piece in pieces if piece.size], axis=1)

    edges = sorted([0, *cuts, 50])
    np.testing.assert_array_equal(conditioned(pairwise(edges)), conditioned([(0, 50)]))


def test_after_a_gap_the_phase_is_learned_anew_and_the_frequency_kept():
    """Mains of another phase behind a gap is gone within a second."""
    hum = mains(50.2, 1000.0, 10)
    canceller = MainsCanceller(1000.0, 2)
    canceller.feed(hum + noise(hum.shape))
    canceller.reset()
    left = canceller.feed(-hum[:, 137:4137] + noise((2, 4000)))
    assert (rms(left[:, 1000:]) < 0.1 * rms(hum) + 3).all()


def test_the_band_pass_takes_the_baseline_and_leaves_the_muscle():
    """1 Hz is gone and 100 Hz is whole, from the first sample on, however far the baseline is."""
    time_s = np.arange(4000) / 1000
    slow, fast = 1000 + 50 * np.sin(2 * np.pi * time_s), np.sin(2 * np.pi * 100 * time_s)
    y, below = BandPass(Sensor.EMG, 1000.0).feed(np.array([slow, fast]))
    assert np.abs(y[0]).max() < 2
    np.testing.assert_allclose(np.abs(y[1, 1000:]).max(), 1, rtol=0.03)
    np.testing.assert_allclose(y + below, [slow, fast], atol=1e-9)


@pytest.mark.parametrize("rate_hz", [100.0, 200.0, 250.0])
def test_slow_devices_are_conditioned_too(rate_hz):
    """Where the rate leaves no upper edge, or no room for mains, what is left is finite and bounded."""
    signal = noise((2, frame_length(rate_hz) * 50))
    y = MainsCanceller(rate_hz, 2).feed(BandPass(Sensor.EMG, rate_hz).feed(signal)[0])
    assert np.isfinite(y).all()
    assert (rms(y) < 1.1 * rms(signal)).all()


def test_a_frame_is_two_ticks():
    """Its length is even at every rate, and 0.2 s within a sample."""
    for rate_hz in (50.0, 99.0, 200.0, 250.3, 1000.0, 1111.1, 4000.0):
        assert frame_length(rate_hz) % 2 == 0
        assert frame_length(rate_hz) == pytest.approx(0.2 * rate_hz, abs=1)
