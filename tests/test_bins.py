"""Bins: sums, days that begin at four, clocks that change, and what is left out."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from monitor.correlation.bins import Tallies, binned

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC).timestamp()
BERLIN = ZoneInfo("Europe/Berlin")


def tallies(start_s, twitches=1.0, analysable_s=900.0, duration_s=900.0, site=0, session=0, activity=np.nan):
    n = len(start_s)

    def column(value):
        return np.broadcast_to(np.asarray(value, float), n).copy()

    return Tallies(
        np.asarray(start_s, float),
        column(duration_s),
        column(analysable_s),
        column(twitches),
        np.broadcast_to(np.asarray(site, np.int64), n).copy(),
        ("calf", "arm"),
        np.broadcast_to(np.asarray(session, np.int64), n).copy(),
        column(np.nan),
        column(activity),
    )


def test_minutes_become_quarters():
    minutes = NOON + 60 * np.arange(60)
    bins = binned(tallies(minutes, 2, 30, 60), UTC)
    assert bins.twitches.tolist() == [30] * 4
    np.testing.assert_allclose(bins.hours, 30 * 15 / 3600)


def test_order_of_lines_does_not_matter():
    minutes = NOON + 60 * np.arange(600)
    counts = np.arange(600) % 7
    order = np.random.default_rng(1).permutation(600)
    one, other = binned(tallies(minutes, counts), UTC), binned(tallies(minutes[order], counts[order]), UTC)
    np.testing.assert_array_equal(one.twitches, other.twitches)


def test_a_bin_with_little_analysable_time_is_left_out():
    bins = binned(tallies(NOON + 900 * np.arange(3), analysable_s=[179, 180, 0]), UTC)
    assert len(bins) == 1


def test_a_day_begins_at_four_on_the_persons_clock():
    four = datetime(2026, 6, 2, 4, tzinfo=BERLIN).timestamp()
    bins = binned(tallies([four - 900, four]), BERLIN)
    assert np.diff(bins.day).tolist() == [1]
    assert bins.slot.tolist() == [95, 0]
    assert len(set(binned(tallies([four - 900, four]), UTC).day.tolist())) == 1


@pytest.mark.parametrize(("day", "hours"), [((2026, 3, 29), 23), ((2026, 10, 25), 25)])
def test_clock_changes(day, hours):
    """A day of 23 or 25 hours is one day; noon is at the same slot on both sides."""
    start = datetime(*day, tzinfo=BERLIN).timestamp() - 20 * 3600
    bins = binned(tallies(start + 900 * np.arange(4 * 24 * 3)), BERLIN)
    assert hours * 4 in np.bincount(bins.day - bins.day[0]).tolist()
    noons = [datetime.fromtimestamp(n * 900, BERLIN).hour for n in bins.number[bins.slot == 32].tolist()]
    assert set(noons) == {12}
    assert bins.clock.by_day(np.ones(len(bins.clock.day))).shape[1] == 96


def test_groups_are_site_day_and_donning():
    times = NOON + 900 * np.arange(8)
    bins = binned(tallies(times, site=[0, 0, 0, 0, 1, 1, 1, 1], session=[0, 0, 1, 1, 0, 0, 0, 0]), UTC)
    assert bins.group.tolist() == [0, 0, 1, 1, 2, 2, 2, 2]


def test_groups_without_a_twitch_say_nothing():
    times = np.concatenate((NOON + 900 * np.arange(4), NOON + 86400 + 900 * np.arange(4)))
    bins = binned(tallies(times, [0, 0, 0, 0, 1, 0, 0, 0]), UTC)
    assert (bins.days, len(bins.informative())) == (2, 4)


def test_harmonics_are_of_each_site():
    times = np.concatenate([NOON + 900 * np.arange(96)] * 2)
    bins = binned(tallies(times, site=np.repeat([0, 1], 96)), UTC)
    assert bins.covariates().shape == (192, 16)


def test_activity_is_standardised_and_gaps_in_it_are_told():
    activity = np.arange(96.0)
    activity[:10] = np.nan
    columns = binned(tallies(NOON + 900 * np.arange(96), activity=activity), UTC).covariates()
    assert columns.shape == (96, 10)
    assert columns[:, 8].mean() == pytest.approx(0)


def test_nothing_is_no_bins():
    bins = binned(tallies([]), UTC)
    assert len(bins) == 0
    assert bins.days == 0
    assert len(bins.informative()) == 0
