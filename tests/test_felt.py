"""What was felt is compared with what was measured, and with chance."""

import numpy as np
import pytest

from monitor.felt import Agreement, Felt, agreement

HOUR = np.arange(0, 3600, 60.0)


def test_a_twitch_just_before_agrees():
    found = agreement([Felt(1800, "calf"), Felt(2400, "calf")], {"left calf": [1785]}, {"left calf": HOUR})
    assert (found.felt, found.comparable, found.measured) == (2, 2, 1)
    assert found.by_chance < 0.1


def test_only_the_same_place_at_analysable_times_is_compared():
    felt = [Felt(1800, "eye"), Felt(1800, "right calf"), Felt(9000, "calf"), Felt(1800, "")]
    assert agreement(felt, {"left calf": [1790]}, {"left calf": HOUR}) == Agreement(4, 0, 0, 0.0)


def test_frequent_twitches_agree_by_chance():
    """And that is said: 100 of 100 agree, and about as many would anyway."""
    rng = np.random.default_rng(1)
    onsets = np.sort(rng.uniform(0, 36000, 6000))
    felt = [Felt(at_s, "legs") for at_s in rng.uniform(700, 35000, 100)]
    found = agreement(felt, {"calf": onsets}, {"calf": np.arange(0, 36000, 60.0)})
    assert found.measured == pytest.approx(found.by_chance, abs=3)
    assert found.measured > 95


def test_rare_ones_agree_by_chance_as_often_as_they_would():
    rng = np.random.default_rng(2)
    onsets = np.sort(rng.uniform(0, 360000, 1000))
    felt = [Felt(at_s, "legs") for at_s in rng.uniform(700, 350000, 1000)]
    found = agreement(felt, {"calf": onsets}, {"calf": np.arange(0, 360000, 60.0)})
    assert found.by_chance == pytest.approx(1000 * (1 - np.exp(-35 / 360)), rel=0.1)
    assert found.measured == pytest.approx(found.by_chance, rel=0.3)
