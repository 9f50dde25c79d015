"""Exposure: what each kernel makes of episodes, by hand and against a fine sum."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.correlation.exposure import After, Bateman, During, Episodes, Release, Window, Withdrawal, covered

HOUR = 3600.0
EDGES = np.arange(0, 48 * HOUR + 1, 900)


def episodes(*spans, amount=1.0):
    starts, ends = np.array(spans, float).reshape(-1, 2).T * HOUR
    return Episodes(starts, ends, np.full(len(starts), amount))


def instants(*hours):
    return episodes(*((hour, hour) for hour in hours))


def at(exposure, hour):
    return exposure[int(hour * 4)]


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(0, 40), st.floats(0, 5)), max_size=8))
def test_covered_is_the_union(spans):
    """Against a count at a fine grid; whatever overlaps, touches or is empty."""
    starts = np.array([a for a, _ in spans]) * HOUR
    ends = np.array([a + b for a, b in spans]) * HOUR
    share = covered(starts, ends, EDGES)
    fine = np.arange(0, 48 * HOUR, 30) + 15
    inside = np.zeros(len(fine), bool)
    for a, b in zip(starts, ends, strict=True):
        inside |= (fine > a) & (fine < b)
    np.testing.assert_allclose(share, inside.reshape(-1, 30).mean(axis=1), atol=0.15)
    assert (share >= 0).all()
    assert (share <= 1 + 1e-9).all()


def test_window_is_where_it_says():
    exposure = Window(0.5, 3.0).exposure(instants(10), EDGES)
    assert exposure.sum() == pytest.approx(10)  # 2.5 h in quarters
    assert at(exposure, 10.25) == 0
    assert at(exposure, 10.5) == 1
    assert at(exposure, 12.75) == 1
    assert at(exposure, 13) == 0


def test_window_of_two_at_once_is_capped():
    once = Window(0.5, 3.0).exposure(instants(10), EDGES)
    np.testing.assert_allclose(Window(0.5, 3.0).exposure(instants(10, 10), EDGES), once)


def test_during_and_after_do_not_mix():
    strain = episodes((10, 12))
    during, after = During().exposure(strain, EDGES), After(0.0, 6.0).exposure(strain, EDGES)
    assert at(during, 11) == 1
    assert at(after, 11) == 0
    assert at(during, 12) == 0
    assert at(after, 12) == 1
    assert at(after, 18) == 0


def test_bateman_peaks_at_one_and_falls_by_half():
    """Against its closed form; two doses add up."""
    kernel = Bateman(5.0, 0.25)
    one = kernel.exposure(instants(10), EDGES)
    assert one.max() == pytest.approx(1, abs=0.02)
    assert at(one, 20) / at(one, 15) == pytest.approx(0.5, abs=0.01)
    assert one[:40].sum() == 0
    two = kernel.exposure(instants(10, 10), EDGES)
    np.testing.assert_allclose(two, 2 * one)


def test_release_is_felt_when_it_eases():
    exposure = Release().exposure(episodes((2, 12)), EDGES)
    assert at(exposure, 6) == 0
    assert at(exposure, 13) > 0.5
    assert at(exposure, 30) == 0


def test_withdrawal_follows_a_habit_that_stops():
    week = np.arange(0, 24 * 7 * HOUR + 1, 900)
    kernel = Withdrawal(5.0, 0.25, 48.0)
    exposure = kernel.exposure(instants(*range(8, 80, 4)), week)
    assert exposure[75 * 4 : 76 * 4].max() < 0.2
    assert exposure[100 * 4] > 0.5


@pytest.mark.parametrize(
    "kernel",
    [Window(0.5, 3), During(), After(0, 6), Bateman(5, 0.25), Release(), Withdrawal(5, 0.25, 168)],
)
def test_nothing_logged_is_no_exposure(kernel):
    assert (kernel.exposure(instants(), EDGES) == 0).all()
    assert kernel.lag
    assert kernel.reach_h >= 0
