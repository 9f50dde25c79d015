"""Pooling people: the arithmetic against statsmodels, and what must hold of any."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.meta_analysis import combine_effects

from monitor.cohort.meta import pooled


def simulated(seed, people=12, between=0.3):
    rng = np.random.default_rng(seed)
    errors = rng.uniform(0.05, 0.4, people)
    return rng.normal(0.2, between, people) + rng.normal(0, 1, people) * errors, errors


@pytest.mark.parametrize("seed", [0, 1, 4])
def test_it_is_what_statsmodels_gives(seed):
    """Paule and Mandel's tau, Hartung and Knapp's error or the robust one, Cochran's Q and I squared.

    Of seeds 2 and 3 its iteration ends at a tau of 0 that does not solve the equation; see the next test.
    """
    effects, errors = simulated(seed)
    theirs = combine_effects(effects, errors**2, method_re="iterated", use_t=True, atol=1e-12)
    ours = pooled(effects, errors)
    assert ours.tau**2 == pytest.approx(theirs.tau2, abs=1e-6)
    assert ours.mean == pytest.approx(theirs.mean_effect_re, abs=1e-6)
    weight = theirs.weights_re / theirs.weights_re.sum()
    robust = math.sqrt((weight**2 * (effects - theirs.mean_effect_re) ** 2 / (1 - weight)).sum())
    assert ours.standard_error == pytest.approx(max(theirs.sd_eff_w_re_hksj, robust), rel=1e-4)
    assert ours.q == pytest.approx(theirs.q)
    assert ours.i_squared == pytest.approx(max(theirs.i2, 0), abs=1e-9)


def test_weights_that_are_wrong_make_no_mean_surer():
    """People whose errors are mere estimates, some of them far too small: of a mean of nothing, 5 % are found."""
    rng, found = np.random.default_rng(1), 0
    for _ in range(1000):
        errors = 0.2 * rng.lognormal(0, 0.4, 40)
        found += pooled(rng.normal(0, 0.2, 40), errors).p <= 0.05
    assert found <= 70


@pytest.mark.parametrize("seed", range(8))
def test_tau_solves_its_equation(seed):
    """With it the weighted squares are as many as degrees of freedom."""
    effects, errors = simulated(seed)
    found = pooled(effects, errors)
    weight = 1 / (errors**2 + found.tau**2)
    squares = (weight * (effects - found.mean) ** 2).sum()
    assert found.tau > 0
    assert squares == pytest.approx(len(effects) - 1, rel=1e-6)


def test_alike_people_have_no_tau():
    """And the whole variation is chance."""
    found = pooled([0.1, 0.11, 0.09, 0.1], [0.2] * 4)
    assert (found.tau, found.i_squared) == (0.0, 0.0)
    assert found.q_p > 0.9


def test_two_people_say_nothing_of_others():
    assert pooled([0.1, 0.2], [0.1, 0.1]) is None
    assert pooled([], []) is None


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.floats(-3, 3), st.floats(0.01, 3)), min_size=3, max_size=40))
def test_any_people_give_finite_numbers_that_hang_together(people):
    """The prediction interval holds the mean's estimate, and moving everybody moves the answer."""
    effects, errors = zip(*people, strict=True)
    found = pooled(effects, errors)
    assert found.interval95[0] <= found.mean <= found.interval95[1]
    assert found.prediction95[0] <= found.mean <= found.prediction95[1]
    assert all(map(math.isfinite, (*found.interval95, *found.prediction95, found.tau, found.p)))
    assert 0 <= found.p <= 1
    moved = pooled([each + 1 for each in effects], errors)
    assert moved.mean == pytest.approx(found.mean + 1, abs=1e-6)


def test_who_knows_nothing_changes_nothing():
    effects, errors = simulated(3)
    more = pooled([*effects, 9.0], [*errors, 1e4])
    assert more.mean == pytest.approx(pooled(effects, errors).mean, abs=1e-3)
