"""History: sums that agree with the store, on a person's clock; and views that any address gives."""

import time
from datetime import date

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.month import lived
from firmware_interface.codecs import Device
from firmware_interface.samples import Sensor, Stream, Unit
from monitor.page.history import viewed
from monitor.page.past import Past, Sums, binned, midnight_ns, places_by_day
from monitor.store import Archive, Store
from monitor.tally import Minute


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
    """Less is said to be little, less than one is no rate, and never zero."""
    sums = Sums(("a",), np.arange(3), np.zeros(3, np.int64), *np.array([[900.0] * 3, [59, 599, 600], [5, 5, 5]]))
    found = binned(sums, np.array([0, 1, 2]), 4)
    assert np.isnan(found.rates[[0, 3]]).all()
    assert found.rates[1:3] == pytest.approx([300 / 599, 0.5])
    assert found.little.tolist() == [True, True, False, True]


def test_many_channels_make_time_no_longer():
    """Eight channels worn for half an hour were worn for half an hour, and three minutes of them are little."""
    eight = np.arange(8)
    names = tuple("abcdefgh")
    sums = Sums(names, np.zeros(8, np.int64), eight, *np.repeat([[1800.0], [180], [6]], 8, axis=1))
    found = binned(sums, np.zeros(8, np.int64), 1)
    assert (sums.worn_s, found.rates[0], found.little[0]) == (1800, 2, True)


def test_the_axes_of_an_accelerometer_are_one_site(tmp_path):
    """Seen once, whatever their number; what twitches on any of them, twitches there."""
    acc = Stream("acc", Sensor.ACC, Unit.G, 0.001, 100.0, ("x", "y", "z"))
    emg = Stream("emg", Sensor.EMG, Unit.MICROVOLT, 0.1, 500.0, ("calf",))
    store = Store.open(tmp_path)
    store.begin(now_ns=0, version="", settings={})
    device = store.device(Device("band", "S-1", "demo", (acc, emg)), "F0:5C:1A:00:00:01", 0)
    minutes = [Minute(channel, 0, 60.0, 45.0, 1) for channel in ("x", "y", "z", "calf")]
    store.write([(device, each) for each in minutes], 120 * 10**9)
    store.close(120 * 10**9)
    with Archive.open(tmp_path) as archive:
        sums = Past().sums(archive, 3600 * 10**9)
    assert sums.sites == ("acceleration", "calf")
    assert sums.of_site(0).observed_s.sum() == pytest.approx(60)
    assert sums.of_site(0).analysable_s.sum() == pytest.approx(45)
    assert sums.of_electrodes().observed_s.sum() == pytest.approx(60)
    assert sums.channels("acceleration") == {(1, "x"), (1, "y"), (1, "z"), (1, "acceleration")}


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
