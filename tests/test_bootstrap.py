"""Tests by chance: the same seed says the same, nulls are found as often as they say, effects are found."""

import numpy as np

from monitor.correlation.bootstrap import day_permutation_p, signs, simultaneous_quantile, wild_score_p
from monitor.correlation.model import Counts, fit

DAYS, ROWS = 30, 40


def lived(seed, effect=0.0):
    rng = np.random.default_rng(seed)
    day = np.repeat(np.arange(DAYS), ROWS)
    x = (rng.random(DAYS * ROWS) < 0.2).astype(float)
    level = rng.normal(0, 0.3, DAYS)[day] + rng.normal(0, 0.3, DAYS)[day] * x
    counts = rng.poisson(2 * np.exp(level + effect * x)).astype(float)
    rows = Counts(counts, np.ones(len(x)), day, day, np.tile(np.arange(ROWS) / 4, DAYS))
    nuisance = np.tile(np.sin(np.arange(ROWS)), DAYS)[:, None]
    return fit(rows, nuisance), x


def test_wild_score_keeps_its_level_and_finds():
    """Though each day has an effect of its own, which model errors take for a link."""
    draws = signs(199, DAYS, 1)
    p = [wild_score_p(*lived(seed), draws) for seed in range(120)]
    assert np.mean(np.array(p) <= 0.05) < 0.12
    assert all(wild_score_p(*lived(seed, 0.6), draws) <= 0.05 for seed in range(5))


def test_same_draws_say_the_same():
    restricted, x = lived(1)
    assert wild_score_p(restricted, x, signs(99, DAYS, 7)) == wild_score_p(restricted, x, signs(99, DAYS, 7))


def test_permutation_finds_and_is_seeded():
    slots = np.tile(np.arange(ROWS), DAYS)
    restricted, x = lived(3, 0.8)
    patterns = x.reshape(DAYS, ROWS)
    p = day_permutation_p(restricted, patterns, restricted.data.days, slots, 5)
    assert p <= 0.02
    assert p == day_permutation_p(restricted, patterns, restricted.data.days, slots, 5)


def test_a_pattern_that_is_the_same_every_day_says_nothing():
    slots = np.tile(np.arange(ROWS), DAYS)
    restricted, _ = lived(3)
    patterns = np.tile(np.arange(ROWS) < 10, (DAYS, 1)).astype(float)
    assert day_permutation_p(restricted, patterns, restricted.data.days, slots, 5) == 1


def test_band_of_several_is_wider_than_of_one():
    restricted, x = lived(1)
    rng = np.random.default_rng(2)
    columns = np.stack((x, *(rng.normal(size=(3, len(x))))), axis=1)
    fitted = fit(restricted.data, columns)
    draws = signs(999, DAYS, 1)
    one = simultaneous_quantile(fitted, slice(0, 1), draws)
    assert 1.6 < one < simultaneous_quantile(fitted, slice(0, 4), draws) < 4
