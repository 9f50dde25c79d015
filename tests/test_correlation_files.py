"""Tables of tallies and triggers: what can be read is, what cannot is named by its line."""

import math

import pytest

from monitor.correlation.files import TableError, read_tallies, read_triggers
from monitor.correlation.triggers import Precision, Reactive

NOW = 1.8e9
TALLIES = "start,duration_s,analysable_s,twitches,site,session,artefacts,activity\n"
GOOD = "2026-01-01T10:00:00Z,900,850,3,calf,a,1,0.5\n"


@pytest.fixture
def table(tmp_path):
    def write(text, encoding="utf-8"):
        path = tmp_path / "table.csv"
        path.write_bytes(text.encode(encoding))
        return path

    return write


def test_tallies_are_read(table):
    tallies, refused = read_tallies(table(TALLIES + GOOD), NOW)
    assert refused == []
    assert (tallies.start_s[0], tallies.duration_s[0]) == (1767261600, 900)
    assert (tallies.analysable_s[0], tallies.twitches[0]) == (850, 3)
    assert tallies.sites == ("calf",)
    assert (tallies.artefacts[0], tallies.activity[0]) == (1, 0.5)


def test_offsets_and_none_are_understood(table):
    rows = "2026-01-01T10:00:00,900,850,3,a,,,\n2026-01-01T12:15:00+02:00,900,850,3,a,,,\n"
    tallies, refused = read_tallies(table(TALLIES + rows), NOW)
    assert refused == []
    assert tallies.start_s.tolist() == [1767261600, 1767262500]
    assert math.isnan(tallies.artefacts[0])


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("yesterday,900,850,3,calf", "'yesterday' for start"),
        ("2099-01-01T10:00:00Z,900,850,3,calf", "future"),
        ("2026-01-01T11:00:00Z,900,-1,3,calf", "'-1' for analysable_s"),
        ("2026-01-01T11:00:00Z,900,nan,3,calf", "'nan' for analysable_s"),
        ("2026-01-01T11:00:00Z,900,850,inf,calf", "'inf' for twitches"),
        ("2026-01-01T11:00:00Z,900,850,,calf", "'' for twitches"),
        ("2026-01-01T11:00:00Z,900,850,1.5,calf", "1.5 twitches"),
        ("2026-01-01T11:00:00Z,900,1000,3,calf", "1000 s analysable of 900 s"),
        ("2026-01-01T11:00:00Z,3600,1000,3,calf", "duration of 3600 s"),
        ("2026-01-01T11:00:00Z,0,0,0,calf", "duration of 0 s"),
        ("2026-01-01T11:00:00Z,900,0,3,calf", "no analysable time"),
        ("2026-01-01T11:00:00Z,900,850,3,", "no site"),
        ("2026-01-01T11:00:00Z", "'' for duration_s"),
        ("2026-01-01T10:00:00Z,900,850,3,calf", "overlaps line 2"),
        ("2026-01-01T10:10:00Z,900,850,3,calf", "overlaps line 2"),
    ],
)
def test_bad_tallies_are_named(table, row, reason):
    tallies, (refused,) = read_tallies(table(TALLIES + GOOD + row + "\n"), NOW)
    assert len(tallies) == 1
    assert refused.place == 3
    assert reason in refused.reason


def test_the_same_time_at_another_site_is_fine(table):
    _, refused = read_tallies(table(TALLIES + GOOD + GOOD.replace("calf", "arm")), NOW)
    assert refused == []


def test_triggers_are_read(table):
    text = (
        "occurred_at;kind;ended_at;dose;unit;reactive;precision;note\n"
        "2026-01-01T10:00:00Z;Sleep Loss;2026-01-01T11:00:00Z;2,5;;YES;1h;\n"
        "2026-01-01T10:00:00Z;caffeine;;120;mg;no;;two cups\n"
    )
    (trigger,), (refused,) = read_triggers(table(text))
    assert (trigger.kind, trigger.dose, trigger.reactive, trigger.place) == ("caffeine", 120, Reactive.NO, 3)
    assert "'2,5' for dose" in refused.reason
    (first, _), _ = read_triggers(table(text.replace("2,5", "2.5")))
    assert (first.kind, first.precision, first.reactive) == ("sleep_loss", Precision.HOUR, Reactive.YES)
    assert first.end_s - first.start_s == 3600


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("never,tea,,,", "'never' for occurred_at"),
        ("2026-01-01T10:00:00Z,tea,later,,", "'later' for ended_at"),
        ("2026-01-01T10:00:00Z,tea,,nan,", "'nan' for dose"),
        ("2026-01-01T10:00:00Z,tea,,-5,", "'-5' for dose"),
        ("2026-01-01T10:00:00Z,tea,,,perhaps", "'perhaps' for reactive"),
    ],
)
def test_bad_triggers_are_named(table, row, reason):
    triggers, (refused,) = read_triggers(table("occurred_at,kind,ended_at,dose,reactive\n" + row + "\n"))
    assert triggers == []
    assert (refused.place, reason in refused.reason) == (2, True)


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n", "start,duration_s\n"])
def test_other_tables_are_refused_whole(table, text):
    with pytest.raises(TableError, match="has no column"):
        read_tallies(table(text), NOW)
    with pytest.raises(TableError, match="has no column"):
        read_triggers(table(text))


def test_no_file_and_no_text_are_refused(table, tmp_path):
    with pytest.raises(TableError, match="No such file"):
        read_triggers(tmp_path / "none.csv")
    with pytest.raises(TableError, match="UTF-8"):
        read_triggers(table("ü", "utf-16"))
