"""The diary, findings and how we are doing reach the servers, once, however they were written and whenever."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks.dashboards import delivered
from monitor.bulletins import Disk, Found, FoundLag, Noted, Waiting
from monitor.correlation.analysis import LagPoint
from monitor.correlation.findings import Finding, Verdict
from monitor.diary import DIARY, Diary, Entry
from monitor.found import FOUND, found_after, keep
from monitor.inbox import Inbox
from monitor.outbox import Outbox
from monitor.store import DATABASE, Archive, Store
from monitor.tally import Minute
from tests.servers import Influxd
from tests.test_cli import objects, say
from tests.test_store import BOARD, NOW, S, opened

COFFEE = Entry("caffeine", NOW, dose=80.0, unit="mg", note="with a friend who must not be named")
FINDING = Finding(
    "caffeine", "all", Verdict.LINKED, "0.5 to 3 h", ("as it is",), 1.8, (1.4, 2.3), (1.2, 2.7), 0.001, 120.0, 40,
    35, 300.0, lag_curve=(LagPoint(0.0, 1.0, 1.1, 0.8, 1.4), LagPoint(1.0, 3.0, 1.9, 1.4, 2.6)),
)  # fmt: skip
LATER = NOW + 400 * S
PAST = NOW - 300 * 86400 * S
"""NOW is in the future, which is not analysed."""


def stored(folder, inbox, now_ns=NOW):
    """What it finds, as the collector would have it stored; the new ones."""
    said = inbox.look(now_ns)
    assert inbox.trouble is None
    store = Store.open(folder)
    store.write([(0, each) for each in said], now_ns)
    store.close(now_ns)
    return said


def of(kind, said):
    return [each for each in said if isinstance(each, kind)]


def letters(folder, *kinds):
    return [letter.contents for letter in Outbox(folder, "laptop").after(0) if isinstance(letter.contents, kinds)]


@pytest.fixture
def folder(tmp_path):
    with opened(tmp_path):
        pass
    return tmp_path


def test_what_is_logged_goes_out_once_and_without_its_note(folder) -> None:
    """Also by a second program that looks, and after a start."""
    with Diary.open(folder) as diary:
        diary.log([COFFEE], NOW)
    inbox = Inbox(folder, [])
    (said,) = of(Noted, stored(folder, inbox))
    assert (said.kind, said.dose, said.stands, said.occurred_ns) == ("caffeine", 80.0, True, NOW)
    assert not of(Noted, stored(folder, inbox, NOW + S))
    assert not of(Noted, stored(folder, Inbox(folder, []), NOW + 2 * S))
    assert letters(folder, Noted) == [said]
    assert b"friend" not in (folder / DATABASE).read_bytes()


def test_an_entry_that_is_moved_or_deleted_is_withdrawn_where_it_was(folder) -> None:
    """A point cannot be taken back by a writer; it can be said that it stands no more."""
    inbox = Inbox(folder, [])
    with Diary.open(folder) as diary:
        (receipt,) = diary.log([COFFEE], NOW)
        diary.edit(receipt.id, replace(COFFEE, dose=90.0), NOW)
        diary.edit(receipt.id, replace(COFFEE, occurred_ns=NOW - S), NOW)
        diary.delete(receipt.id, NOW)
        diary.undo(NOW)
    said = [(each.stands, each.dose, each.occurred_ns - NOW) for each in of(Noted, stored(folder, inbox))]
    assert said == [
        (True, 80.0, 0),
        (True, 90.0, 0),
        (False, 90.0, 0),
        (True, 80.0, -S),
        (False, 80.0, -S),
        (True, 80.0, -S),
    ]


def test_a_diary_that_is_begun_anew_is_read_from_its_beginning(folder) -> None:
    with Diary.open(folder) as diary:
        diary.log([COFFEE, COFFEE, COFFEE], NOW)
    stored(folder, Inbox(folder, []))
    (folder / DIARY).unlink()
    with Diary.open(folder) as diary:
        diary.log([replace(COFFEE, kind="tea")], LATER)
    said = of(Noted, stored(folder, Inbox(folder, []), LATER))
    assert [each.kind for each in said] == ["tea"]


def test_findings_go_out_with_their_curve(folder) -> None:
    inbox = Inbox(folder, [])
    keep(folder, [FINDING, replace(FINDING, trigger="tea", rate_ratio=None, interval95=None, lag_curve=())], NOW)
    keep(folder, [], LATER)
    said = stored(folder, inbox)
    first, second = of(Found, said)
    assert (first.verdict, first.rate_ratio, first.low, first.always_high) == ("linked", 1.8, 1.4, 2.7)
    assert (second.trigger, second.rate_ratio, second.low) == ("tea", None, None)
    assert [(each.from_h, each.rate_ratio) for each in of(FoundLag, said)] == [(0.0, 1.1), (1.0, 1.9)]
    assert not of(Found, stored(folder, inbox, NOW + S))
    assert letters(folder, Found, FoundLag) == [*of(Found, said)[:1], *of(FoundLag, said), second]


def test_only_the_newest_analyses_are_kept_for_later(folder) -> None:
    for number in range(105):
        keep(folder, [FINDING], NOW + number)
    assert {each.number for each in found_after(folder, 0)} == set(range(NOW + 5, NOW + 105))


def test_how_far_each_server_is_behind_is_told_every_five_minutes(folder) -> None:
    """Also of one that never got anything."""
    inbox = Inbox(folder, ["a", "b"])
    first = stored(folder, inbox)
    assert [(each.sink, each.entries) for each in of(Waiting, first)] == [("a", 0), ("b", 0)]
    (disk,) = of(Disk, first)
    assert disk.stored_bytes >= (folder / DATABASE).stat().st_size > 0
    assert disk.free_bytes > 0
    assert not stored(folder, inbox, NOW + 299 * S)
    again = of(Waiting, stored(folder, inbox, NOW + 300 * S))
    assert [(each.sink, each.entries, each.behind_s) for each in again] == [("a", 3, 300.0), ("b", 3, 300.0)]


@pytest.mark.parametrize("name", [DIARY, FOUND])
def test_a_file_that_cannot_be_read_is_said_and_the_rest_goes_on(folder, name) -> None:
    inbox = Inbox(folder, [])
    (folder / name).write_bytes(b"this is no database" * 100)
    inbox.look(NOW)
    assert "cannot be read" in inbox.trouble
    (folder / name).unlink()
    keep(folder, [FINDING], NOW)
    assert of(Found, stored(folder, inbox, NOW + S))


def test_correlate_sends_what_it_found(folder, tmp_path, capfd) -> None:
    """By the command, to a server that is asked what it got."""
    store = Store.open(folder)
    device = store.device(BOARD, "AA", PAST)
    store.write(
        [(device, Minute("FDI", PAST + place * 60 * S, 60.0, 60.0, 1)) for place in range(60)], PAST + 3600 * S
    )
    store.close(PAST + 3600 * S)
    with Diary.open(folder) as diary:
        diary.log([replace(COFFEE, occurred_ns=PAST)], PAST)
    _, out, _ = say(capfd, "correlate", "--data", folder, "--json")
    (report,) = objects(out)
    assert [each["trigger"] for each in report["findings"]] == ["caffeine"]
    stored(folder, Inbox(folder, []))
    with Influxd(tmp_path / "influxd") as influxd:
        delivered(folder, influxd.url)
        (row,) = influxd.ask("SELECT verdict, trigger, site FROM finding")
        (coffee,) = influxd.ask("SELECT text, stands FROM trigger")
    assert (row["verdict"], row["trigger"], row["site"]) == ("cannot_tell", "caffeine", "FDI")
    assert (coffee["text"], coffee["stands"]) == ("caffeine 80 mg", True)


def test_what_cannot_be_stored_stays_in_its_file(folder) -> None:
    """The store knows how far it got: who looked and was killed before the commit looks again."""
    with Diary.open(folder) as diary:
        diary.log([COFFEE], NOW)
    assert of(Noted, Inbox(folder, []).look(NOW))
    assert of(Noted, stored(folder, Inbox(folder, [])))
    with Archive.open(folder) as archive:
        assert archive.newest_number(Noted) == 1
