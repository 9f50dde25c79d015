"""The log: what cannot be right is refused with a reason, and the rest becomes questions."""

import math

import numpy as np
import pytest

from monitor.correlation.exposure import After, During, Withdrawal
from monitor.correlation.triggers import Precision, Reactive, Trigger, checked, kinds, questions

NOW = 1e6
HOUR = 3600.0


def refusals(*triggers):
    kept, refused = checked(triggers, NOW)
    return [trigger.place for trigger in kept], [(refusal.place, refusal.reason) for refusal in refused]


@pytest.mark.parametrize(
    ("trigger", "reason"),
    [
        (Trigger("caffeine", NOW + 1), "future"),
        (Trigger("caffeine", math.nan), "no time"),
        (Trigger("", 5.0), "no kind"),
        (Trigger("stress", 50.0, 40.0), "ends before"),
        (Trigger("caffeine", 5.0, dose=-1.0), "dose of -1"),
        (Trigger("caffeine", 5.0, dose=math.nan), "dose of nan"),
        (Trigger("caffeine", 5.0, dose=math.inf), "dose of inf"),
    ],
)
def test_the_impossible_is_left_out(trigger, reason):
    kept, [(_, said)] = refusals(trigger)
    assert kept == []
    assert reason in said


def test_a_duplicate_counts_once():
    kept, [(place, said)] = refusals(Trigger("tea", 5.0, place=2), Trigger("tea", 5.0, place=3))
    assert (kept, place) == ([2], 3)
    assert "the same as 2" in said


def test_contradictions_are_named():
    kept, [(place, said)] = refusals(Trigger("tea", 5.0, dose=1, place=2), Trigger("tea", 5.0, dose=2, place=3))
    assert (kept, place) == ([2], 3)
    assert "something else than 2" in said


def test_overlaps_count_once_and_are_named():
    kept, [(place, said)] = refusals(Trigger("stress", 0.0, 50.0, place=2), Trigger("stress", 40.0, 90.0, place=3))
    assert (kept, place) == ([2, 3], 3)
    assert "overlaps 2" in said


def test_the_same_time_of_another_kind_is_fine():
    assert refusals(Trigger("tea", 5.0, place=2), Trigger("coffee", 5.0, place=3)) == ([2, 3], [])


def test_an_interval_asks_twice():
    during, after = questions([Trigger("stress", 0.0, HOUR)], "stress", NOW)
    assert isinstance(during.kernel, During)
    assert isinstance(after.kernel, After)
    assert not during.slow
    assert not after.slow


def test_none_is_no_episode():
    (question,) = questions([Trigger("caffeine", 1.0, dose=0), Trigger("caffeine", 2.0, dose=80)], "caffeine", NOW)
    assert question.episodes.start_s.tolist() == [2.0]


def test_amounts_are_in_typical_doses():
    log = [Trigger("caffeine", float(n), dose=dose) for n, dose in enumerate((50, 100, 200, None))]
    (question,) = questions(log, "caffeine", NOW)
    np.testing.assert_allclose(question.episodes.amount, [0.5, 1, 2, 1])


def test_what_was_logged_for_the_twitching_is_kept_apart():
    log = [
        Trigger("tea", 1.0, reactive=Reactive.YES),
        Trigger("tea", 2.0),
        Trigger("tea", 3.0, reactive=Reactive.NO),
    ]
    (question,) = questions(log, "tea", NOW)
    assert (len(question.episodes), len(question.reactive)) == (2, 1)


def test_a_time_known_to_the_day_is_left_out_of_hours():
    (question,) = questions([Trigger("tea", 1.0, precision=Precision.DAY), Trigger("tea", 2.0)], "tea", NOW)
    assert (len(question.episodes), question.left_out) == (1, 1)


def test_a_drug_course_is_slow_and_lasts():
    (question,) = questions([Trigger("medication", 0.0)], "medication", NOW)
    assert question.slow
    assert question.episodes.end_s.tolist() == [NOW]


def test_daily_doses_of_a_slow_trigger_join():
    log = [Trigger("magnesium", day * 86400.0, dose=300) for day in (0, 1, 2, 8, 9)]
    (question,) = questions(log, "magnesium", 20 * 86400.0)
    edges = np.arange(0, 20 * 86400.0 + 1, 900)
    days = question.kernel.exposure(question.episodes, edges).reshape(-1, 96).mean(axis=1)
    assert (days > 0.5).tolist() == [True] * 3 + [False] * 5 + [True] * 2 + [False] * 10


def test_a_reduction_that_was_not_logged_derives_from_doses():
    (question,) = questions([Trigger("caffeine", 0.0, dose=100)], "caffeine_reduction", NOW)
    assert isinstance(question.kernel, Withdrawal)
    assert question.slow


def test_kinds_in_order():
    assert kinds([Trigger("tea", 1.0), Trigger("coffee", 2.0), Trigger("tea", 3.0)]) == ["coffee", "tea"]
