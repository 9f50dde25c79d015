"""History: sums that agree with the store, on a person's clock; and views that any address gives."""

import time
from datetime import date

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.month import lived
from monitor.page.history import viewed
from monitor.page.past import Past, Sums, binned, midnight_ns, places_by_day
from monitor.store import Archive


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("past")
    lived(made, 5, 3)
    return made


def test_sums_are_those_of_the_minutes(folder):
    """However often they are asked for, and in what steps time goes on."""
    with Archive.open(folder) as archive:
        minutes = archive.minutes(0, time.time_ns())
        end_ns = minutes[-1][1].start_ns
        past = Past()
        for days in (4, 3, 1, 0):
            past.sums(archive, end_ns - days * 86400 * 10**9)
        sums = past.sums(archive, end_ns + 60 * 10**9)
    assert sums.sites == ("left calf", "right FDI")
    for number, site in enumerate(sums.sites):
        of_site = [each for _, each in minutes if each.channel == site]
        chosen = sums.of_site(number)
        assert chosen.twitches.sum() == sum(each.twitches for each in of_site)
        assert chosen.analysable_s.sum() == pytest.approx(sum(each.analysable_s for each in of_site))
    assert (np.diff(sums.start_ns) >= 0).all()


def test_a_rate_rests_on_ten_minutes():
    """Less is no rate, and never zero."""
    sums = Sums(("a",), np.array([0, 1]), np.zeros(2, np.int64), *np.array([[900.0, 900], [599, 600], [5, 5]]))
    rates = binned(sums, np.array([0, 1]), 3).rates
    assert np.isnan(rates[[0, 2]]).all()
    assert rates[1] == 0.5


def test_days_are_those_of_the_clock(monkeypatch):
    """An hour is skipped in spring, and half hours east of us are at home."""
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    try:
        assert midnight_ns(date(2026, 3, 30)) - midnight_ns(date(2026, 3, 29)) == 23 * 3600 * 10**9
        at = midnight_ns(date(2026, 3, 29)) + 2 * 3600 * 10**9
        sums = Sums(("a",), np.array([at]), np.zeros(1, np.int64), *np.zeros((3, 1)))
        days, hours = places_by_day(sums, date(2026, 3, 28))
        assert (days[0], hours[0]) == (1, 3)
    finally:
        monkeypatch.undo()
        time.tzset()


EMPTY = Sums((), np.empty(0, np.int64), np.empty(0, np.int64), *np.empty((3, 0)))


@given(st.text(max_size=12), st.text(max_size=12), st.text(max_size=12), st.text(max_size=4))
def test_any_address_gives_a_view(range_, on, site, hour):
    """What it gets wrong is as usual."""
    view = viewed(EMPTY, range_, on, site, hour)
    assert view.range in ("day", "week", "month", "all")
    assert view.until_ns > view.since_ns
    assert view.hour is None or 0 <= view.hour < 24
    assert view.link(hour=3).startswith("/history?")


def test_dates_at_the_end_of_time_are_as_usual():
    """The first and the last that Python knows."""
    for on in ("0001-01-01", "9999-12-31"):
        assert viewed(EMPTY, "month", on, "", "").days == 30
