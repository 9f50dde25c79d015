"""Rates of people: a person is one observation."""

import math

import numpy as np
import pytest

from monitor.cohort.rates import Person, rates


def people(rng, group, number=20, spread=0.5, mean=6.0, site="calf"):
    made = []
    for n in range(number):
        hours = rng.uniform(50, 150)
        made.append(
            Person(f"{group}{n}", group, site, rng.poisson(mean * math.exp(rng.normal(0, spread)) * hours), hours)
        )
    return made


def test_the_rate_is_twitches_over_hours():
    members = [
        Person("a", "A", "calf", 10, 1.0),
        Person("b", "A", "calf", 20, 2.0),
        Person("c", "A", "calf", 6, 1.0),
    ]
    (rate,), ratios = rates(members)
    assert (rate.people, rate.twitches, rate.hours, rate.per_hour) == (3, 36, 4.0, 9.0)
    assert rate.interval95[0] < 9 < rate.interval95[1]
    assert ratios == []


def test_more_twitches_of_the_same_people_make_nobody_surer():
    """Ten times the hours at the same rates: the interval stays; ten times the people, it shrinks."""
    rng = np.random.default_rng(1)
    some = people(rng, "A")
    longer = [Person(p.subject, p.group, p.site, 10 * p.twitches, 10 * p.hours) for p in some]
    many = [Person(f"{n}{p.subject}", p.group, p.site, p.twitches, p.hours) for n in range(10) for p in some]

    def width(members):
        low, high = rates(members)[0][0].interval95
        return math.log(high / low)

    assert width(longer) == pytest.approx(width(some))
    assert width(many) < width(some) / 2.5


def test_dispersion_tells_poisson_from_people():
    rng = np.random.default_rng(2)
    assert rates(people(rng, "A", spread=0.0))[0][0].dispersion == pytest.approx(1, abs=0.7)
    assert rates(people(rng, "A", spread=0.5))[0][0].dispersion > 20


def test_groups_that_differ_are_told_apart_and_others_are_not():
    """Over repeated groups; benchmarks/cohort.py has more of them."""
    rng = np.random.default_rng(3)
    false = found = 0
    for _ in range(200):
        _, (null,) = rates([*people(rng, "A"), *people(rng, "B")])
        _, (real,) = rates([*people(rng, "A"), *people(rng, "B", mean=12.0)])
        false += null.p <= 0.05
        found += real.p <= 0.05
        assert (real.group, real.against) == ("B", "A")
    assert false <= 22
    assert found >= 180


def test_little_is_said_of_little():
    """Two people, or no twitch at all: a rate without an interval; no time: no rate."""
    two = [Person("a", "A", "calf", 5, 1.0), Person("b", "A", "calf", 7, 1.0)]
    still = [Person(str(n), "B", "calf", 0, 1.0) for n in range(5)]
    never = [Person("n", "C", "calf", 0, 0.0)]
    (a, b, c), ratios = rates([*two, *still, *never])
    assert (a.per_hour, a.interval95) == (6.0, None)
    assert (b.per_hour, b.interval95) == (0.0, None)
    assert c.per_hour is None
    assert ratios == []
