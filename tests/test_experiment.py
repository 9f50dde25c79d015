"""Experiments: only what is safe, fair lots, a seal that holds, an exact p."""

import itertools
import math

import numpy as np
import pytest

from monitor.correlation.catalogue import ENTRIES
from monitor.correlation.experiment import LOW_RISK, Experiment, ExperimentError, evaluate, plan

SECRET = "0123456789abcdef0123456789abcdef"
ARMS = ("coffee", "decaf")


@pytest.mark.parametrize(
    "kind", [each.id for each in ENTRIES if each.drug] + ["organophosphate", "emg", "alcohol", "xanax"]
)
def test_no_experiment_with_drugs_or_what_is_not_listed(kind):
    with pytest.raises(ExperimentError, match=f"no experiment with {kind}"):
        plan(kind, ARMS, 10, SECRET)


def test_low_risk_kinds_are_no_drugs():
    assert not any(each.drug for each in ENTRIES if each.id in LOW_RISK)


@pytest.mark.parametrize(
    ("arms", "pairs", "secret"), [(ARMS, 5, SECRET), (ARMS, 21, SECRET), (("a", "a"), 8, SECRET), (ARMS, 8, "x")]
)
def test_what_gives_no_answer_is_refused(arms, pairs, secret):
    with pytest.raises(ExperimentError):
        plan("caffeine", arms, pairs, secret)


def test_each_pair_has_both_arms_in_an_order_by_lot():
    orders = []
    for number in range(200):
        experiment = plan("caffeine", ARMS, 10, f"{number:032d}")
        days = [experiment.arm(day) for day in range(experiment.days)]
        assert all({days[2 * n], days[2 * n + 1]} == set(ARMS) for n in range(10))
        orders += [days[2 * n] == "coffee" for n in range(10)]
    assert 0.45 < np.mean(orders) < 0.55


def test_blocks_keep_to_an_arm():
    """Drawn as days are, each several days long."""
    days, blocks = plan("caffeine", ARMS, 6, SECRET), plan("caffeine", ARMS, 6, SECRET, block_days=3)
    assert blocks.days == 3 * days.days
    assert [blocks.arm(day) for day in range(blocks.days)] == [days.arm(day // 3) for day in range(blocks.days)]
    with pytest.raises(ExperimentError, match="blocks of 15 days"):
        plan("caffeine", ARMS, 6, SECRET, block_days=15)


def test_the_seal_holds_the_whole_plan():
    one = plan("caffeine", ARMS, 10, SECRET)
    others = [
        plan("caffeine", ARMS, 11, SECRET),
        plan("caffeine", ("decaf", "coffee"), 10, SECRET),
        plan("caffeine", ARMS, 10, SECRET[::-1]),
        plan("caffeine", ARMS, 10, SECRET, block_days=2),
    ]
    assert len({one.seal, *(other.seal for other in others)}) == 5
    assert one.seal == plan("caffeine", ARMS, 10, SECRET).seal


def test_days_outside_are_refused():
    with pytest.raises(ExperimentError):
        plan("caffeine", ARMS, 6, SECRET).arm(12)


def rates_of(experiment: Experiment, ratio, rng, noise):
    base = np.exp(rng.normal(math.log(6), noise, experiment.days))
    return [
        float(rate * (ratio if experiment.arm(day) == experiment.arms[0] else 1)) for day, rate in enumerate(base)
    ]


def test_p_is_that_of_all_orders():
    """By writing all of them down."""
    experiment = plan("caffeine", ARMS, 7, SECRET)
    rates = rates_of(experiment, 1.3, np.random.default_rng(1), 0.3)
    signs = np.array([1 if experiment.arm(day) == "coffee" else -1 for day in range(0, 14, 2)])
    differences = signs * np.diff(-np.log(np.array(rates).reshape(-1, 2) + 0.05), axis=1)[:, 0]
    orders = np.array(list(itertools.product((1, -1), repeat=7))) @ differences
    result = evaluate(experiment, rates)
    assert result.p == pytest.approx((np.abs(orders) >= abs(differences.sum()) - 1e-9).mean())
    assert result.rate_ratio == pytest.approx(math.exp(differences.mean()))


def test_an_effect_is_found_and_a_null_is_not():
    rng = np.random.default_rng(2)
    experiments = [plan("caffeine", ARMS, 12, f"{number:032d}") for number in range(100)]
    found = [evaluate(each, rates_of(each, 1.8, rng, 0.3)).p <= 0.05 for each in experiments]
    false = [evaluate(each, rates_of(each, 1.0, rng, 0.3)).p <= 0.05 for each in experiments]
    assert np.mean(found) > 0.9
    assert np.mean(false) < 0.12


def test_days_without_an_outcome_leave_their_pair_out():
    experiment = plan("caffeine", ARMS, 8, SECRET)
    rates = [6.0] * 16
    rates[3] = None
    assert evaluate(experiment, rates).pairs == 7


@pytest.mark.parametrize("rates", [[1.0] * 10, [1.0] * 17, [math.nan] * 16, [-1.0] * 16])
def test_too_few_too_many_or_no_numbers(rates):
    with pytest.raises(ExperimentError):
        evaluate(plan("caffeine", ARMS, 8, SECRET), rates)


def test_most_pairs_are_quick():
    experiment = plan("caffeine", ARMS, 20, SECRET)
    assert 0 < evaluate(experiment, rates_of(experiment, 1.1, np.random.default_rng(1), 0.3)).p <= 1
