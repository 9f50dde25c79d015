"""Clinical measures of one waveform, against shapes whose measures are known."""

import numpy as np
import pytest

from monitor.detection.shape import measure

NOISE = 2.0


def shape_of(potential: np.ndarray, rate_hz: float = 1000.0, noise: float = NOISE, seed: int = 0):
    """The measures of a potential with 20 ms of baseline on both sides."""
    margin = np.zeros(round(0.02 * rate_hz))
    clean = np.concatenate((margin, potential, margin))
    return measure(clean + np.random.default_rng(seed).normal(0, noise, len(clean)), rate_hz, noise)


def waves(phases: int, rate_hz: float = 1000.0, each_s: float = 0.005, size: float = 100.0) -> np.ndarray:
    """Half-waves of alternating sign, with smooth feet, as a converter would see them."""
    wave = np.sin(np.pi * np.arange(round(phases * each_s * rate_hz)) / (each_s * rate_hz))
    return size * wave * np.abs(wave)


@pytest.mark.parametrize("phases", [1, 2, 3, 4, 5])
def test_each_half_wave_is_a_phase_and_a_turn(phases: int) -> None:
    shape = shape_of(waves(phases))
    assert (shape.phases, shape.turns) == (phases, phases)


def test_a_serration_is_a_turn_but_no_phase() -> None:
    time_s = np.arange(20) / 1000.0
    serrated = 100 * np.exp(-(((time_s - 0.006) / 0.002) ** 2)) + 80 * np.exp(-(((time_s - 0.013) / 0.002) ** 2))
    shape = shape_of(serrated)
    assert (shape.phases, shape.turns) == (1, 3)


@pytest.mark.parametrize("rate_hz", [500.0, 1000.0, 4000.0])
def test_onset_duration_and_size(rate_hz: float) -> None:
    shape = shape_of(waves(3, rate_hz), rate_hz)
    assert shape.onset_s == pytest.approx(0.020, abs=0.0025)
    assert shape.duration_s == pytest.approx(0.015, abs=0.003)
    assert shape.peak_to_peak == pytest.approx(200, rel=0.08)


def test_noise_far_from_the_potential_does_not_lengthen_it() -> None:
    clean = np.concatenate((np.zeros(20), waves(3), np.zeros(40)))
    clean[[2, 70]] += 4 * NOISE
    assert measure(clean, 1000.0, NOISE).duration_s == pytest.approx(0.015, abs=0.003)


@pytest.mark.parametrize("each_s", [0.004, 0.006, 0.008])
def test_the_median_frequency_of_a_wave_train_is_its_own(each_s: float) -> None:
    assert shape_of(waves(6, each_s=each_s)).median_hz == pytest.approx(0.5 / each_s, rel=0.1)


def test_a_peak_between_samples_is_found() -> None:
    """A 100 Hz wave at 250 Hz has two and a half samples a period."""
    time_s = np.arange(25) / 250.0 - 0.05
    wave = 100 * np.cos(2 * np.pi * 100 * (time_s - 0.001)) * np.exp(-((time_s / 0.012) ** 2))
    assert measure(wave, 250.0, NOISE).peak_to_peak > 1.1 * np.ptp(wave) * 0.95


@pytest.mark.parametrize("noise", [0.0, 1e-3, 1e6])
def test_any_waveform_has_measures(noise: float) -> None:
    shape = measure(waves(2), 1000.0, noise)
    assert shape.phases >= 1
    assert 0 <= shape.onset_s < shape.onset_s + shape.duration_s <= 0.0105
    assert np.isfinite(shape.median_hz)


def test_size_scales_and_nothing_else() -> None:
    potential = np.concatenate((np.zeros(20), waves(3), np.zeros(20)))
    one, ten = measure(potential, 1000.0, 2.0), measure(10 * potential, 1000.0, 20.0)
    assert ten.peak_to_peak == pytest.approx(10 * one.peak_to_peak)
    assert (ten.onset_s, ten.duration_s, ten.phases, ten.turns) == (
        one.onset_s,
        one.duration_s,
        one.phases,
        one.turns,
    )
