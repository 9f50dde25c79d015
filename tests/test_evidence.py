"""Evidence: e-values bet fairly, intervals agree with them, e-BH controls what it says."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from monitor.correlation import evidence


def test_mean_of_an_e_value_under_no_link_is_one():
    """By integration over the normal, known variance."""
    error = 0.1
    estimates = np.linspace(-2.5, 2.5, 4001)
    density = stats.norm.pdf(estimates, 0, error)
    e = np.array([evidence.e_value(b, error, 1e9) for b in estimates.tolist()])
    assert np.trapezoid(e * density, estimates) == pytest.approx(1, abs=1e-3)


def test_ever_reaching_twenty_is_rare():
    """Looking 100 times at a growing sample: at most 1 in 20 histories, give or take."""
    rng = np.random.default_rng(1)
    sums = np.cumsum(rng.normal(size=(500, 100)), axis=1)
    n = np.arange(1, 101)
    found = 0
    for history in sums:
        e = [evidence.e_value(s / k, 1 / math.sqrt(k), 1e9) for s, k in zip(history, n, strict=True)]
        found += max(e) >= evidence.STRONG
    assert found <= 500 * 0.05 + 3 * math.sqrt(500 * 0.05 * 0.95)


@settings(deadline=None)
@given(st.floats(-2, 2), st.floats(0.01, 1), st.floats(4, 1e6))
def test_interval_excludes_zero_where_e_is_twenty(estimate, error, degrees):
    """Two ways to say the same."""
    low, high = evidence.always_valid_interval(estimate, error, degrees)
    e = evidence.e_value(estimate, error, degrees)
    if abs(e / evidence.STRONG - 1) > 1e-3:
        assert (e >= evidence.STRONG) == (not low <= 0 <= high)


@settings(deadline=None)
@given(st.floats(-2, 2), st.floats(0.01, 1), st.floats(2, 1e6))
def test_always_valid_is_wider(estimate, error, degrees):
    low, high = evidence.interval95(estimate, error, degrees)
    always_low, always_high = evidence.always_valid_interval(estimate, error, degrees)
    assert always_low < low < high < always_high


def test_few_days_weaken_the_same_t():
    assert evidence.e_value(0.4, 0.1, 8) < 0.1 * evidence.e_value(0.4, 0.1, 60)


def test_default_kernel_has_half_of_the_weight():
    assert evidence.averaged(100, [1, 2, 3]) == 51
    assert evidence.averaged(100, []) == 100


@pytest.mark.parametrize(
    ("e_values", "rejected"),
    [
        ([], []),
        ([9.9], [False]),
        ([10.0], [True]),
        ([50, 1, 1], [True, False, False]),
        ([16, 1, 16], [True, False, True]),
        ([14, 1, 16], [False, False, False]),
    ],
)
def test_e_bh(e_values, rejected):
    """The k largest, where the k-th is at least m / (0.10 k)."""
    assert evidence.e_bh(e_values) == rejected


def test_detectable_has_the_power_it_says():
    """80 % of estimates at that truth are beyond 5 %."""
    error, degrees = 0.1, 1e6
    truth = evidence.detectable(error, degrees)
    assert stats.norm.sf((1.96 * error - truth) / error) == pytest.approx(0.8, abs=1e-3)


def test_absurdly_strong_is_finite():
    assert math.isfinite(evidence.e_value(5, 0.001, 60))
