"""The diary keeps what was said, and every change of it."""

import multiprocessing
from contextlib import closing
from dataclasses import replace

import pytest

from monitor.database import StoreError, connect_shared
from monitor.diary import DIARY, Action, Diary, DiaryError, Entry, read_diary, triggers
from monitor.logbook import imported, log
from monitor.store import Store

HOUR_NS = 3600 * 10**9
NOW_NS = 1_770_000_000 * 10**9
COFFEE = Entry("caffeine", NOW_NS - HOUR_NS, dose=80.0, unit="mg")
STRESS = Entry("stress", NOW_NS - 2 * HOUR_NS, running=True)


@pytest.fixture
def diary(tmp_path):
    with Diary.open(tmp_path) as diary:
        yield diary


def standing(diary):
    return [each.entry for each in diary.entries()]


def test_what_is_logged_comes_back_in_order_of_time(diary, tmp_path):
    (coffee,) = diary.log([COFFEE], NOW_NS)
    (stress,) = diary.log([STRESS], NOW_NS + 1)
    assert standing(diary) == [STRESS, COFFEE]
    assert [each.id for each in read_diary(tmp_path)] == [stress.id, coffee.id]
    assert [each.logged_ns for each in read_diary(tmp_path)] == [NOW_NS + 1, NOW_NS]


def test_nothing_is_there_where_nothing_was_logged(tmp_path):
    assert read_diary(tmp_path) == []
    assert not (tmp_path / DIARY).exists()


def test_history_stays_through_edit_delete_and_undo(diary):
    (receipt,) = diary.log([COFFEE], NOW_NS)
    stronger = replace(COFFEE, dose=120.0)
    diary.edit(receipt.id, stronger, NOW_NS + 1)
    diary.delete(receipt.id, NOW_NS + 2)
    assert standing(diary) == []
    diary.undo(NOW_NS + 3)
    assert standing(diary) == [stronger]
    diary.undo(NOW_NS + 4)
    assert standing(diary) == [COFFEE]
    diary.undo(NOW_NS + 5)
    assert standing(diary) == []
    with pytest.raises(DiaryError, match="nothing to undo"):
        diary.undo(NOW_NS + 6)
    told = [(change.action, change.entry and change.entry.dose) for change in diary.history(receipt.id)]
    assert told == [
        (Action.LOGGED, 80), (Action.EDITED, 120), (Action.DELETED, None),
        (Action.UNDONE, 120), (Action.UNDONE, 80), (Action.UNDONE, None),
    ]  # fmt: skip


def test_an_act_is_undone_whole(diary):
    diary.log([STRESS], NOW_NS)
    diary.log([replace(COFFEE, occurred_ns=NOW_NS - n) for n in range(50)], NOW_NS)
    assert len(diary.undo(NOW_NS)) == 50
    assert standing(diary) == [STRESS]


def test_the_same_key_twice_is_logged_once(diary):
    (first,) = diary.log([COFFEE], NOW_NS, ["button 7"])
    (again,) = diary.log([replace(COFFEE, dose=1.0)], NOW_NS, ["button 7"])
    assert (again.id, again.entry, again.repeated) == (first.id, COFFEE, True)
    assert standing(diary) == [COFFEE]


def test_what_runs_is_ended(diary):
    diary.log([STRESS], NOW_NS)
    with pytest.raises(DiaryError, match="cannot end before"):
        diary.stop("stress", STRESS.occurred_ns - 1, NOW_NS)
    with pytest.raises(DiaryError, match="no cold is running"):
        diary.stop("cold", NOW_NS, NOW_NS)
    receipt = diary.stop("stress", NOW_NS, NOW_NS)
    assert (receipt.entry.ended_ns, receipt.entry.running) == (NOW_NS, False)
    diary.undo(NOW_NS)
    assert standing(diary) == [STRESS]


def test_entries_that_are_not_there(diary):
    for act in (lambda: diary.delete(1, 0), lambda: diary.edit(1, COFFEE, 0), lambda: diary.entry(1)):
        with pytest.raises(DiaryError, match="no entry 1"):
            act()


def test_one_logs_while_the_store_is_in_use(tmp_path):
    """`run` holds the store for days; a coffee is logged meanwhile."""
    with closing(connect_shared(tmp_path / "other")), Diary.open(tmp_path) as diary:
        store = Store.open(tmp_path)
        diary.log([COFFEE], NOW_NS)
        store.close(NOW_NS)
    assert len(read_diary(tmp_path)) == 1


def _log_some(folder, number):
    for n in range(20):
        with Diary.open(folder) as diary:
            diary.log([replace(COFFEE, note=f"{number} {n}")], NOW_NS)


def test_programs_take_turns(tmp_path):
    """From the first moment on, when none of them finds a diary."""
    processes = [multiprocessing.Process(target=_log_some, args=(tmp_path, n)) for n in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    entries = read_diary(tmp_path)
    assert len({each.entry.note for each in entries}) == len(entries) == 60


def test_a_newer_diary_is_refused(tmp_path):
    Diary.open(tmp_path).close()
    with closing(connect_shared(tmp_path / DIARY)) as connection:
        connection.execute("INSERT INTO migration (name) VALUES ('0002 from the future')")
    for opened in (Diary.open, read_diary):
        with pytest.raises(StoreError, match="newer fasciwatch"):
            opened(tmp_path)


def test_a_damaged_diary_is_one_line(tmp_path):
    (tmp_path / DIARY).write_bytes(b"no database" * 1000)
    with pytest.raises(StoreError, match="damaged"):
        read_diary(tmp_path)


def test_what_can_be_asked_of(diary):
    felt, nothing = Entry("felt", NOW_NS), Entry("nothing", NOW_NS, dose=0.0)
    ended = Entry("cold", NOW_NS - HOUR_NS, ended_ns=NOW_NS)
    diary.log([COFFEE, STRESS, felt, nothing, ended], NOW_NS)
    found = {each.kind: each for each in triggers(diary.entries(), NOW_NS)}
    assert set(found) == {"caffeine", "stress", "cold"}
    assert found["caffeine"].end_s is None
    assert found["stress"].end_s == found["cold"].end_s == NOW_NS * 1e-9


# The logbook ----------------------------------------------------------------------------------------------------


def do(diary, verb, **fields):
    return log(diary, verb, fields, NOW_NS, None)


def test_verbs(diary):
    (receipt,) = do(diary, "add", kind="caffeine", dose="80mg", occurred_at="20 min ago").receipts
    assert receipt.entry.occurred_ns == NOW_NS - HOUR_NS // 3
    (edited,) = do(diary, "edit", id=receipt.id, dose="90mg").receipts
    assert (edited.id, edited.entry.dose) == (receipt.id, 90)
    do(diary, "start", kind="stress", dose="6")
    with pytest.raises(DiaryError, match="running already"):
        do(diary, "start", kind="stress")
    assert do(diary, "stop", kind="stress").receipts[0].entry.ended_ns == NOW_NS
    (none,) = do(diary, "none", kind="alcohol").receipts
    assert (none.entry.dose, none.entry.precision) == (0, "day")
    assert do(diary, "none").receipts[0].entry.kind == "nothing"
    assert do(diary, "felt", site="left calves").receipts[0].entry.site == "left calf"
    assert do(diary, "undo").undone[0].entry.kind == "felt"
    do(diary, "delete", id=str(none.id))
    assert {each.kind for each in standing(diary)} == {"caffeine", "stress", "nothing"}


def test_templates_fill_what_is_not_said(diary):
    diary.keep_template("espresso", {"kind": "caffeine", "dose": "80mg", "note": "at the bar"})
    (receipt,) = do(diary, "add", kind="espresso", dose="95mg").receipts
    assert (receipt.entry.kind, receipt.entry.dose, receipt.entry.note) == ("caffeine", 95, "at the bar")
    diary.keep_template("espresso", None)
    with pytest.raises(DiaryError, match="'espresso' is not known"):
        do(diary, "add", kind="espresso")


def test_what_must_be_said_comes_with_the_answer(diary):
    assert do(diary, "add", kind="benzodiazepine", dose="5mg").notes == ("Do not change a dose because of this.",)
    (emergency,) = do(diary, "add", kind="organophosphate").notes
    assert "emergency number" in emergency
    assert do(diary, "add", kind="caffeine").notes == ()


@pytest.mark.parametrize(
    ("verb", "fields", "said"),
    [
        ("brew", {}, "nothing that can be done"),
        ("edit", {"id": "one"}, "no number of an entry"),
        ("delete", {}, "no number of an entry"),
        ("start", {"kind": "emg"}, "does not go on"),
    ],
)
def test_what_cannot_be_done(diary, verb, fields, said):
    with pytest.raises(DiaryError, match=said):
        do(diary, verb, **fields)


def test_import_says_what_it_would_do(diary):
    do(diary, "add", kind="caffeine", dose="80mg", occurred_at="2026-01-01T08:00Z")
    rows = [
        (2, {"occurred_at": "2026-01-02T08:00Z", "kind": "caffeine", "dose": "80"}),
        (3, {"occurred_at": "2026-01-02T08:00Z", "kind": "caffeine", "dose": "80"}),
        (4, {"occurred_at": "never", "kind": "caffeine"}),
        (5, {"occurred_at": "", "kind": "caffeine"}),
        (6, {"occurred_at": "2026-01-01T08:00Z", "kind": "caffeine", "dose": "60"}),
        (7, {"occurred_at": "2026-01-02T09:00Z", "kind": "night shift"}),
    ]
    taken, refused = imported(rows, NOW_NS, None, diary.entries())
    assert [entry.kind for entry, _ in taken] == ["caffeine", "night_shift"]
    assert [refusal.place for refusal in refused] == [3, 4, 5, 6]
    reasons = "; ".join(refusal.reason for refusal in refused)
    for said in ("the same as line 2", "is no time", "has no time", "is there already"):
        assert said in reasons
    assert len(diary.entries()) == 1
