"""Slow triggers: nothing under six switches, the right size above, and drift is not taken for a link."""

import numpy as np
import pytest

from monitor.correlation.slow import course, switches


def blocks(*lengths):
    return np.concatenate([np.full(length, number % 2, float) for number, length in enumerate(lengths)])


def test_switches_are_counted():
    assert switches(blocks(10, 5, 10)) == 2
    assert switches(np.ones(9)) == 0


@pytest.mark.parametrize("lengths", [(30, 30), (20, 20, 20), (10, 10, 10, 10, 10, 10)])
def test_under_six_switches_nothing_is_computed(lengths):
    state = blocks(*lengths)
    assert course(np.random.default_rng(1).normal(size=len(state)), state) is None


def test_size_is_right_and_seen():
    state = blocks(9, 7, 8, 6, 9, 7, 8, 6)
    level = 0.5 * state + np.random.default_rng(1).normal(0, 0.2, len(state))
    found = course(level, state)
    assert found.log_rate_ratio == pytest.approx(0.5, abs=0.15)
    assert found.p <= 0.05
    assert found.switches == 7


def test_days_unworn_are_left_out():
    state = blocks(9, 7, 8, 6, 9, 7, 8, 6)
    level = 0.5 * state
    level[::5] = np.nan
    assert course(level, state).log_rate_ratio == pytest.approx(0.5, abs=0.01)


def test_drift_is_rarely_taken_for_a_link():
    """Levels that hang together from day to day: at most a few in a hundred at 5 %."""
    rng = np.random.default_rng(1)
    state = blocks(9, 7, 8, 6, 9, 7, 8, 6)
    hits = 0
    for _ in range(300):
        level = np.zeros(len(state))
        for day in range(1, len(state)):
            level[day] = 0.6 * level[day - 1] + rng.normal()
        hits += course(level, state).p <= 0.05
    assert hits / 300 < 0.12


def test_always_on_or_unworn_says_nothing():
    assert course(np.zeros(60), np.ones(60)) is None
    assert course(np.full(60, np.nan), blocks(9, 7, 8, 6, 9, 7, 8, 6)) is None
