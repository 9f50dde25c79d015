"""What people write is understood, or refused with what could be."""

from contextlib import suppress
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.body import same_place, site_named
from monitor.correlation.triggers import Precision, Reactive
from monitor.diary import DiaryError
from monitor.phrases import FIELDS, Known, amended, moment, written

BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 3, 10, 0, 10, tzinfo=BERLIN)
NOW_NS = int(NOW.timestamp()) * 10**9
KNOWN = Known({"screen": "h", "chili": ""})


def say(**fields):
    return written(fields, NOW_NS, BERLIN, KNOWN)


@pytest.mark.parametrize(
    ("text", "expected", "precision"),
    [
        ("", "2026-03-10T00:10+01:00", Precision.EXACT),
        ("now", "2026-03-10T00:10+01:00", Precision.EXACT),
        ("20 min ago", "2026-03-09T23:50+01:00", Precision.EXACT),
        ("1.5 h ago", "2026-03-09T22:40+01:00", Precision.EXACT),
        ("23:30", "2026-03-09T23:30+01:00", Precision.EXACT),  # said after midnight
        ("0:05", "2026-03-10T00:05+01:00", Precision.EXACT),
        ("Yesterday 22:00", "2026-03-09T22:00+01:00", Precision.EXACT),
        ("yesterday at 8:15", "2026-03-09T08:15+01:00", Precision.EXACT),
        ("yesterday", "2026-03-09T12:00+01:00", Precision.DAY),
        ("today", "2026-03-10T00:10+01:00", Precision.DAY),  # its noon has not come
        ("2026-03-01", "2026-03-01T12:00+01:00", Precision.DAY),
        ("2026-03-01 08:30", "2026-03-01T08:30+01:00", Precision.EXACT),
        ("2026-03-01T08:30:00.250Z", "2026-03-01T08:30:00.250+00:00", Precision.EXACT),
    ],
)
def test_times(text, expected, precision):
    expected_ns = round(datetime.fromisoformat(expected).timestamp() * 1000) * 10**6
    assert moment(text, NOW_NS, BERLIN) == (expected_ns, precision)


@pytest.mark.parametrize("text", ["soon", "25:00", "2026-13-01", "in 5 min", "3 weeks ago", "12"])
def test_what_is_no_time(text):
    with pytest.raises(DiaryError, match="is no time"):
        moment(text, NOW_NS, BERLIN)


@pytest.mark.parametrize("text", ["0001-01-01", "1979-12-31", "99999999999999 d ago", "9" * 400 + " d ago"])
def test_what_is_too_long_ago(text):
    with pytest.raises(DiaryError, match=r"too long ago|is no time"):
        moment(text, NOW_NS, BERLIN)


def test_the_future_has_not_happened():
    for text in ("2026-03-11", "2026-03-10T09:00", "today 20:00"):
        with pytest.raises(DiaryError, match="in the future"):
            moment(text, NOW_NS, BERLIN)


@pytest.mark.parametrize(
    ("kind", "dose", "expected"),
    [
        ("caffeine", "120mg", (120, "mg")),
        ("caffeine", "0.1 g", (100, "mg")),
        ("caffeine", "0", (0, "mg")),
        ("fluids", "0,5 L", (500, "mL")),
        ("stress", "7", (7, "0-10")),
        ("exercise", "0", (0, "RPE 6-20")),
        ("screen", "30 min", (0.5, "h")),
        ("chili", "2 pods", (2, "pods")),
    ],
)
def test_doses(kind, dose, expected):
    entry = say(kind=kind, dose=dose)
    assert (entry.dose, entry.unit) == expected


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"kind": "caffeine", "dose": "a lot"}, "is no dose"),
        ({"kind": "caffeine", "dose": "-3"}, "is no dose"),
        ({"kind": "caffeine", "dose": "2 cups"}, "is counted in mg"),
        ({"kind": "stress", "dose": "11"}, "off its scale"),
        ({"kind": "tea", "dose": "9" * 400, "new": "yes"}, "off its scale"),
        ({"kind": ""}, "not said what happened"),
        ({"kind": "cafeine"}, "is not known"),
        ({"kind": "tea", "site": "tail"}, "is not known"),
        ({"kind": "cold", "site": "tail"}, "no place on the body"),
        ({"kind": "cold", "reactive": "maybe"}, "reactive 'maybe'"),
        ({"kind": "cold", "ended_at": "2026-03-09", "occurred_at": "2026-03-09T20:00"}, "ends before"),
        ({"kind": "cold", "colour": "red"}, "has no 'colour'"),
    ],
)
def test_what_cannot_be_meant(fields, said):
    with pytest.raises(DiaryError, match=said):
        say(**fields)


def test_a_slip_is_told_from_a_new_kind():
    with pytest.raises(DiaryError) as caught:
        say(kind="cafeine")
    assert "Did you mean caffeine?" in str(caught.value)
    assert say(kind="Night shift", new="yes").kind == "night_shift"
    assert say(kind="vitamin D").kind == "vitamin_d"
    assert say(kind="too little sleep").kind == "sleep_loss"


def test_edit_keeps_what_is_not_said():
    entry = say(kind="caffeine", dose="80mg", occurred_at="23:30", reactive="yes", note="double")
    later = amended(entry, {"dose": "60mg"}, NOW_NS, BERLIN, KNOWN)
    assert (later.dose, later.occurred_ns, later.note) == (60, entry.occurred_ns, "double")
    assert later.reactive is Reactive.YES


@settings(max_examples=60)
@given(st.dictionaries(st.sampled_from(FIELDS), st.text(max_size=20)))
def test_any_text_is_an_entry_or_an_error(fields):
    with suppress(DiaryError):
        assert written(fields, NOW_NS, UTC, KNOWN).occurred_ns <= NOW_NS


@pytest.mark.parametrize(
    ("text", "site"),
    [("Left calves", "left calf"), ("eyelid", "eye"), ("ARMS", "arms"), ("r leg", "right legs"), ("tail", None)],
)
def test_sites(text, site):
    assert site_named(text) == site


@pytest.mark.parametrize(
    ("felt", "label", "same"),
    [
        ("legs", "left gastrocnemius", True),
        ("left legs", "right calf", False),
        ("arms", "FDI", True),
        ("eye", "biceps", False),
        ("calf", "EMG1", False),
        ("", "calf", False),
    ],
)
def test_what_is_felt_meets_a_channel_at_the_same_place(felt, label, same):
    assert same_place(felt, label) is same
