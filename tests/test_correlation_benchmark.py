"""The benchmark of correlation in short: it runs, and what it measures is not far from what the documents say."""

import pytest

from benchmarks import correlation
from monitor.correlation.findings import Verdict
from monitor.simulate.lives import FIRST_S, Person, history


def figures(row, people):
    return {figure.name: figure for figure in row(people)}


def test_one_look():
    """Of 12 people: nulls are seldom found, a true 1.5 is covered and hardly biased, naive methods fail."""
    found = figures(correlation.one_look, 12)
    assert found["type I at 5 %, null locked to the clock"].value <= 0.25
    assert found["coverage of 95 %, null, 60 days"].value >= 0.85
    assert abs(found["bias of log rate ratio, kernel right"].value) < 0.1
    assert found["peri-event histogram: tea"].value >= 0.7
    assert found["peri-event histogram: tea"].interval[1] <= 1


def test_over_time():
    """One person, looked at three times: a strong link is found and nothing beside it."""
    person = Person(rate_ratios={"caffeine": 2.2})
    looks = correlation.LOOKS
    correlation.LOOKS = (14, 30, 60)
    try:
        seen = dict(correlation.over_time(person, 5))
    finally:
        correlation.LOOKS = looks
    assert seen[60]["caffeine"] is Verdict.LINKED
    assert seen[60]["tea"] is not Verdict.LINKED


def test_lives_are_seeded_and_known_up_to_a_day():
    one, other = history(Person(), 3), history(Person(), 3)
    assert one.triggers == other.triggers
    assert (one.tallies.twitches == other.tallies.twitches).all()
    assert one.until(10).tallies.start_s.max() < FIRST_S + 10 * 86400


def test_a_figure_is_a_row_of_the_table():
    figure = correlation.share("what", 1, 20, "<= .06", lambda value: value <= 0.06)
    assert correlation.line(figure) == "| what | 0.050 (0.009 to 0.236) | 20 | <= .06 | yes |"


@pytest.mark.long
@pytest.mark.timeout(7200)
def test_all_rows_run():
    for row in correlation.ROWS:
        assert list(row.measure(4))
