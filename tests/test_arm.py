"""The emulated arm: what the literature says it should show, measured on what it gives."""

from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import welch

from firmware_interface.emulated import contamination, firing, motor_unit
from firmware_interface.emulated.anatomy import Anatomy, draw_anatomy
from firmware_interface.emulated.arm import Arm, ArmSettings

PAIR = ArmSettings(channels=("biceps", "FDI"), motor_units=1)
STILL = replace(
    PAIR,
    twitches_per_min=0,
    voluntary_per_min=0,
    noise_uv=0,
    mains_uv=0,
    ecg_uv=0,
    movement_per_min=0,
    lift_off_per_hour=0,
    acc_noise_ug=0,
)
TWITCHING = replace(STILL, twitches_per_min=30, motor_units=3)
BUSY = replace(PAIR, twitches_per_min=60, movement_per_min=10, lift_off_per_hour=80, noise_block_factor=3)
RELAXED = replace(BUSY, voluntary_per_min=0)


@pytest.fixture(scope="module")
def hour():
    """The truth of an hour of the usual number of twitches, eight channels."""
    arm = Arm(ArmSettings(voluntary_per_min=0, acc_rate_hz=50), seed=1)
    for _ in range(60):
        arm.acc_g(60 * 50)
    return arm.truth()[0]


@pytest.fixture(scope="module")
def anatomy() -> Anatomy:
    return draw_anatomy(np.random.default_rng(4), 2, 30.0, 6, visible=False, voluntary=True)


# ── streaming ──


@settings(max_examples=10, deadline=None)
@given(cuts=st.lists(st.integers(0, 900), max_size=6))
def test_signal_does_not_depend_on_how_calls_are_cut(cuts):
    whole, cut = (Arm(replace(BUSY, voluntary_per_min=0, rate_hz=250.3), seed=5) for _ in range(2))
    total = sum(cuts)
    for name in ("emg_uv", "acc_g"):
        pieces = [getattr(cut, name)(n) for n in cuts]
        np.testing.assert_array_equal(
            np.concatenate([getattr(whole, name)(0), *pieces], axis=1), getattr(whole, name)(total)
        )


def test_same_seed_is_the_same_arm_and_another_seed_another():
    first, again, other = (Arm(BUSY, seed) for seed in (3, 3, 4))
    signal = first.emg_uv(5000)
    np.testing.assert_array_equal(signal, again.emg_uv(5000))
    assert not np.allclose(signal, other.emg_uv(5000))
    assert first.truth() == again.truth() != other.truth()


def test_emg_and_acceleration_do_not_wait_for_each_other():
    alone, both = Arm(BUSY, 7), Arm(BUSY, 7)
    both.acc_g(6000)
    np.testing.assert_array_equal(alone.emg_uv(9000), both.emg_uv(9000))


def test_contaminations_and_rates_do_not_change_the_twitches():
    plain = Arm(replace(TWITCHING, rate_hz=250), 8)
    contaminated = Arm(replace(BUSY, twitches_per_min=30, motor_units=3, noise_uv=9, rate_hz=2000), 8)
    plain.emg_uv(250 * 30)
    contaminated.emg_uv(2000 * 30)
    assert plain.truth()[0] == contaminated.truth()[0] != ()


def test_truth_is_given_in_order_and_taken_once():
    arm = Arm(RELAXED, 2)
    arm.emg_uv(60_000)
    discharges, intervals = arm.take_truth()
    assert len(discharges) > 20
    assert all(e.onset_s < 60 for e in discharges + intervals)
    assert list(discharges) == sorted(discharges, key=lambda d: d.onset_s)
    assert arm.truth() == ((), ())
    whole = Arm(RELAXED, 2)
    whole.emg_uv(120_000)
    arm.emg_uv(60_000)
    assert discharges + arm.truth()[0] == whole.truth()[0]


def test_nothing_is_kept_that_grows():
    arm = Arm(replace(RELAXED, rate_hz=250), 2)
    sizes = set()
    for _ in range(20):
        arm.emg_uv(250 * 30)
        arm.take_truth()
        sizes.add((arm._emg._left.shape, arm._emg._source._muscle._sum.shape, len(arm._truth.intervals)))
        assert len(arm._emg._source._movements._begun) < 20
    assert len(sizes) == 1


# ── twitches ──


def test_twitches_come_at_the_rate_asked(hour):
    assert 0.75 * 900 < len(hour) < 1.25 * 900


def test_doublets_are_as_often_and_as_late_as_described(hour):
    last = {}
    gaps = []
    for d in hour:
        if d.doublet:
            gaps.append(d.onset_s - last[d.unit])
        last[d.unit] = d.onset_s
    assert 0.04 < len(gaps) / (len(hour) - len(gaps)) < 0.10
    assert min(gaps) >= 0.010
    assert max(gaps) <= 0.110
    assert 0.035 < np.median(gaps) < 0.065


def test_a_unit_rests_after_a_discharge_and_is_irregular(hour):
    for unit in {d.unit for d in hour}:
        intervals = np.diff([d.onset_s for d in hour if d.unit == unit and not d.doublet])
        assert intervals.min(initial=1) >= firing.REFRACTORY_S - 1e-9
        if len(intervals) > 40:
            assert 0.5 < intervals.std() / intervals.mean() < 3


def test_amplitudes_are_those_of_fasciculations_and_vary_little_in_one_unit(hour):
    largest = np.array([max(d.peak_to_peak_uv) for d in hour])
    units = np.array([d.unit for d in hour])
    assert 18 < largest.min() < largest.max() < 1800
    busiest = largest[units == np.bincount(units).argmax()]
    assert 0.03 < busiest.std() / busiest.mean() < 0.07


def test_durations_are_those_of_surface_potentials(hour):
    durations_ms = 1000 * np.array([d.duration_s for d in hour])
    assert 5 < durations_ms.min() < durations_ms.max() < 37
    assert 10 < np.median(durations_ms) < 20


def test_truth_is_where_the_potential_is():
    arm = Arm(replace(TWITCHING, rate_hz=4000), 6)
    signal = arm.emg_uv(4000 * 60)
    alone = [d for d in arm.truth()[0] if d.onset_s < 59]
    onsets = np.array([d.onset_s for d in alone])
    for d in alone:
        if np.sort(np.abs(onsets - d.onset_s))[1:2] < 0.1:
            continue  # another potential overlaps
        channel = int(np.argmax(d.peak_to_peak_uv))
        around = signal[channel, round((d.onset_s - 0.03) * 4000) : round((d.onset_s + 0.06) * 4000)]
        above = np.flatnonzero(np.abs(around) > 0.02 * np.abs(around).max())
        assert np.ptp(around) == pytest.approx(d.peak_to_peak_uv[channel], rel=0.03)
        assert above[0] / 4000 == pytest.approx(0.03, abs=0.001)
        assert above[-1] / 4000 == pytest.approx(0.03 + d.duration_s, abs=0.001)


def test_the_same_potential_at_any_rate_and_phase():
    fine, coarse = (Arm(replace(TWITCHING, rate_hz=rate), 6) for rate in (4000, 1000))
    a, b = fine.emg_uv(80_000)[:, ::4], coarse.emg_uv(20_000)
    assert np.abs(a).max() > 50
    assert np.corrcoef(a.ravel(), b.ravel())[0, 1] > 0.98


# ── motor units ──


def test_tripole_is_balanced_and_of_the_right_signs():
    strengths, positions = motor_unit.POLE_STRENGTH, motor_unit.POLE_MM
    assert np.sign(strengths).tolist() == [1, -1, 1]
    assert strengths.sum() == pytest.approx(0, abs=1e-12)
    assert strengths @ positions == pytest.approx(0, abs=1e-12)


def test_potential_ends_when_the_last_fibre_has_ended(anatomy):
    tail = anatomy.potentials_uv[:, -round(motor_unit.POINT_HZ * 0.015) :]
    assert np.abs(tail).max() < 1e-9


def test_units_at_large_are_as_large_as_measured(anatomy):
    """Median 48.2 µV, 8-327, 16 units: PMC1779696."""
    largest = anatomy.peak_to_peak_uv[12:].max(axis=1)
    assert 30 < np.median(largest) < 80


def test_median_frequency_is_that_of_surface_emg(anatomy):
    best = anatomy.peak_to_peak_uv.argmax(axis=1)
    potentials = anatomy.potentials_uv[np.arange(len(best)), :, best]
    power = np.abs(np.fft.rfft(potentials, 8192)) ** 2
    middle = (np.cumsum(power, axis=1) < power.sum(axis=1, keepdims=True) / 2).sum(axis=1)
    frequencies_hz = middle * motor_unit.POINT_HZ / 8192
    assert 55 < np.median(frequencies_hz) < 150
    assert 25 < frequencies_hz.min() < frequencies_hz.max() < 200


def test_each_channel_sees_a_unit_differently(anatomy):
    ratio = anatomy.peak_to_peak_uv.max(axis=1) / anatomy.peak_to_peak_uv.min(axis=1)
    assert np.median(ratio) > 3


# ── contractions ──


def test_firing_rates_are_those_of_fuglevand():
    rates = firing.rates_hz(np.linspace(0, 1, 500)[None])[0]
    active = rates[rates > 0]
    assert active.min() >= 8
    assert active.max() < 35
    assert rates[0].max() > rates[-1].max() == pytest.approx(25)
    recruited = (rates > 0).argmax(axis=1)
    assert (np.diff(recruited) > 0).all()


def test_trains_have_the_rate_and_regularity_of_volition():
    contraction = next(firing.contractions(np.random.default_rng(1), 1, 0, 1 / 60, 20.0))
    assert (np.diff(contraction.times_s) >= 0).all()
    for unit in range(5):
        times_s = contraction.times_s[contraction.units == unit]
        steady = np.diff(times_s[(times_s > 2) & (times_s < times_s[-1] - 2)])
        assert 8 <= 1 / steady.mean() <= 35
        assert 0.14 < steady.std() / steady.mean() < 0.26


def test_contractions_are_bursts_within_their_intervals():
    arm = Arm(replace(STILL, voluntary_per_min=4, voluntary_s=2.0), 9)
    signal = arm.emg_uv(90_000)
    times_s = np.arange(90_000) / 1000
    found = [i for i in arm.truth()[1] if i.onset_s + i.duration_s < 90]
    assert {i.kind for i in found} == {"voluntary"}
    assert 2 <= len(found) <= 12
    resting = times_s < found[-1].onset_s + found[-1].duration_s
    for i in found:
        inside = (times_s > i.onset_s) & (times_s < i.onset_s + i.duration_s)
        assert signal[:, inside].std(axis=1).max() > 10
        resting &= ~((times_s > i.onset_s - 0.005) & (times_s < i.onset_s + i.duration_s + 0.005))
    assert np.abs(signal[:, resting]).max() < 1e-9


# ── contaminations, one at a time ──


def test_nothing_but_gravity_when_all_is_off():
    arm = Arm(STILL, 1)
    assert not arm.emg_uv(3000).any()
    acc = arm.acc_g(300)
    assert np.linalg.norm(acc, axis=0) == pytest.approx(1)
    assert arm.truth() == ((), ())


def test_noise_is_white_with_a_slope_of_minus_two_below_20_hz():
    signal = Arm(replace(STILL, noise_uv=2.0), 1).emg_uv(300_000)
    frequency, power = welch(signal, 1000, nperseg=8192)
    density = power.mean(axis=0)
    white = 2 * 2.0**2 / 1000
    assert density[frequency > 150].mean() == pytest.approx(white, rel=0.05)
    assert density[(frequency > 19) & (frequency < 21)].mean() == pytest.approx(2 * white, rel=0.2)
    low = (frequency > 0.6) & (frequency < 6)
    assert np.polyfit(np.log(frequency[low]), np.log(density[low]), 1)[0] == pytest.approx(-2, abs=0.2)


def test_every_second_half_minute_is_noisier():
    arm = Arm(replace(STILL, noise_uv=2.0, noise_block_factor=3), 1)
    sigma = np.diff(arm.emg_uv(90_000)).reshape(2, -1)
    quiet, loud, after = (sigma[:, s : s + 29_000].std() for s in (500, 30_500, 60_500))
    assert loud / quiet == pytest.approx(3, rel=0.05)
    assert after / quiet == pytest.approx(1, rel=0.05)
    assert [(i.kind, i.onset_s) for i in arm.truth()[1]] == [("noise", 30.0)]


@pytest.mark.parametrize("hz", [50.0, 60.0])
def test_mains_has_its_amplitude_harmonics_and_drift(hz):
    signal = Arm(replace(STILL, mains_uv=20.0, mains_hz=hz), 2).emg_uv(60_000)
    short = signal[:, :1000] * np.hanning(1000)

    def amplitude(harmonic):
        return np.abs(short @ np.exp(-2j * np.pi * hz * harmonic * np.arange(1000) / 1000)) * 2 / 500

    for harmonic, relative in zip(contamination.MAINS_HARMONICS, contamination.MAINS_RELATIVE, strict=True):
        assert amplitude(harmonic) == pytest.approx(20 * relative, rel=contamination.MAINS_AM + 0.02)
    seconds = signal[0].reshape(60, 1000) @ np.exp(-2j * np.pi * hz * np.arange(1000) / 1000) / 500
    level = np.abs(seconds) / 20
    assert 1 - contamination.MAINS_AM - 0.02 < level.min() < level.max() < 1 + contamination.MAINS_AM + 0.02
    assert level.mean() == pytest.approx(1, abs=0.15)
    analytic = signal[0] * np.exp(-2j * np.pi * hz * np.arange(60_000) / 1000)
    phase = np.unwrap(np.angle(analytic.reshape(60, 1000).mean(axis=1)))
    deviation_hz = np.diff(phase) / (2 * np.pi)
    assert 0.002 < np.abs(deviation_hz).max() <= 0.051


def test_ecg_has_its_size_and_an_irregular_rate():
    signal = Arm(replace(STILL, ecg_uv=100.0), 2).emg_uv(60_000)
    assert np.ptp(signal, axis=1) == pytest.approx(100, rel=0.02)
    upright = signal[0] * np.sign(signal[0][np.abs(signal[0]).argmax()])
    peaks = np.flatnonzero((upright[1:-1] > 50) & (upright[1:-1] >= upright[:-2]) & (upright[1:-1] > upright[2:]))
    intervals_s = np.diff(peaks) / 1000
    assert 60 / intervals_s.mean() == pytest.approx(contamination.HEART_BPM, rel=0.05)
    assert 0.01 < intervals_s.std() < 0.08


def test_movement_is_seen_and_felt_at_the_same_time():
    arm = Arm(replace(STILL, movement_per_min=3, movement_uv=1000.0), 3)
    signal, acc = np.abs(arm.emg_uv(120_000)).max(axis=0), arm.acc_g(12_000)
    felt = np.abs(acc - acc[:, :1]).max(axis=0)
    moved = arm.truth()[1]
    assert {i.kind for i in moved} == {"movement"}
    first = moved[0]
    assert np.flatnonzero(signal > 1)[0] / 1000 == pytest.approx(first.onset_s, abs=0.005)
    assert np.flatnonzero(felt > 1e-3)[0] / 100 == pytest.approx(first.onset_s, abs=0.02)
    assert 300 < signal.max() < 4000
    assert 0.03 < felt.max() < 0.5


def test_movements_swing_between_half_and_six_hz():
    for movement in islice(contamination.movements(np.random.default_rng(1), 1.0, 2), 200):
        assert 0.5 <= movement.hz <= 6
        end_s = movement.onset_s + movement.duration_s
        assert np.abs(movement.course(np.array([movement.onset_s - 1, movement.onset_s, end_s]))).max() < 1e-3


# white x10, and the fundamental with its harmonics x20, each as differences of neighbouring samples at 1 kHz
LIFTED_SPREAD_UV = np.sqrt(
    (20 * np.sqrt(2)) ** 2
    + sum(
        (20 * 3 * r * np.sqrt(2) * np.sin(np.pi * 50 * h / 1000)) ** 2
        for h, r in zip(contamination.MAINS_HARMONICS, contamination.MAINS_RELATIVE, strict=True)
    )
)


def test_a_lifted_electrode_sees_the_room_or_nothing():
    arm = Arm(replace(STILL, noise_uv=2.0, mains_uv=3.0, lift_off_per_hour=90), 4)
    signal = arm.emg_uv(600_000)
    kinds = set()
    for i in (i for i in arm.truth()[1] if i.onset_s + i.duration_s < 600):
        inside = signal[i.channel, round(i.onset_s * 1000) + 1 : round((i.onset_s + i.duration_s) * 1000) - 1]
        spread = np.diff(inside).std()
        assert spread == 0 or spread == pytest.approx(LIFTED_SPREAD_UV, rel=0.25)
        kinds.add(spread == 0)
    assert kinds == {True, False}


# ── acceleration ──


@pytest.mark.parametrize(("visible", "low_mg", "high_mg"), [(False, 1, 3), (True, 10, 100)])
def test_a_twitch_pushes_20_ms_after_its_potential(visible, low_mg, high_mg):
    arm = Arm(replace(TWITCHING, motor_units=6, acc_rate_hz=1000, visible=visible, doublet_share=0), 11)
    acc = arm.acc_g(120_000)
    delays_s, sizes_mg = [], []
    discharges = arm.truth()[0]
    for before, d, after in zip(discharges, discharges[1:], discharges[2:], strict=False):
        if d.onset_s - before.onset_s < 1.3 or after.onset_s - d.onset_s < 1.3:
            continue
        start = round(d.onset_s * 1000)
        push = acc[:, start : start + 1200] - acc[:, start : start + 1]
        _, _, axis = np.linalg.svd(push.T, full_matrices=False)
        along = axis[0] @ push
        delays_s.append(np.flatnonzero(np.abs(along) > 0.02 * np.abs(along).max())[0] / 1000)
        sizes_mg.append(1000 * np.ptp(along))
    assert len(delays_s) > 5
    assert 0.010 <= min(delays_s) <= max(delays_s) < 0.040
    assert np.mean(delays_s) == pytest.approx(0.0205, abs=0.006)
    assert low_mg * 0.85 <= min(sizes_mg) <= max(sizes_mg) <= high_mg * 1.15


def test_acceleration_noise_has_its_density():
    arm = Arm(replace(STILL, acc_noise_ug=100.0, acc_rate_hz=200.0), 1)
    assert arm.acc_g(40_000).std(axis=1) == pytest.approx(100e-6 * np.sqrt(100), rel=0.03)


# ── settings ──


@pytest.mark.parametrize(
    "wrong",
    [
        {"channels": ()},
        {"channels": ("x",) * 65},
        {"rate_hz": 50.0},
        {"acc_rate_hz": 10.0},
        {"twitches_per_min": 1000.0},
        {"motor_units": 0},
        {"voluntary_s": 0.0},
        {"voluntary_per_min": 20.0},
        {"lift_off_per_hour": 1000.0},
    ],
)
def test_settings_that_no_arm_can_have_are_refused(wrong):
    with pytest.raises(ValueError, match="must"):
        ArmSettings(**wrong)
