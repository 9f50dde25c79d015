"""Who is in a cohort: recordings and data folders, people, groups, diaries; and where they are kept."""

import pytest

from monitor import __version__
from monitor.cohort.effects import summarise
from monitor.cohort.members import NO_GROUP, members
from monitor.cohort.pieces import Job, work
from monitor.cohort.storage import Place, StorageError
from monitor.detection.settings import DetectorSettings
from monitor.simulate.cohort import TRIGGER, Design, estimates, people_of
from monitor.simulate.stores import entries_of, write_diary, write_life
from monitor.study import Study, join

pytest.importorskip("fsspec")


def touch(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def test_whose_a_recording_is(tmp_path):
    """By BIDS, by folder, by its own name; tables beside recordings are none."""
    touch(
        tmp_path,
        "sub-A1/ses-1/emg/sub-A1_ses-1_task-rest_emg.bdf", "sub-A1/triggers.csv", "b2/x.EDF", "b2/y.csv",
        "c-3.xdf", "c-3.truth.csv", "notes.txt", "c-3.edf.part",
    )  # fmt: skip
    (tmp_path / "participants.tsv").write_text("age\tparticipant_id\tgroup\n50\tsub-A1\tpatient\n")
    found, people = members(Place(str(tmp_path)))
    assert {(m.name, m.subject, m.group) for m in found} == {
        ("sub-A1/ses-1/emg/sub-A1_ses-1_task-rest_emg.bdf", "A1", "patient"),
        ("b2/x.EDF", "b2", NO_GROUP),
        ("b2/y.csv", "b2", NO_GROUP),
        ("c-3.xdf", "c-3", NO_GROUP),
    }
    assert [(p.name, p.triggers) for p in people] == [("A1", ("sub-A1/triggers.csv",)), ("b2", ()), ("c-3", ())]
    assert len({m.id for m in found}) == 4


def test_names_that_differ_stay_apart(tmp_path):
    """Whatever they are made of; a log beside a recording is its person's."""
    names = ["sub-ä ö", "sub-ö ü", "sub-P-01", "sub-P-02", "sub-P.01", "Anna B", "AnnaB", "sub-P01", "sub-P1"]
    touch(
        tmp_path,
        *(f"{name}/x.edf" for name in names),
        "lone.edf",
        "lone_triggers.csv",
        b"\xff.edf".decode(errors="surrogateescape"),
    )
    _, people = members(Place(str(tmp_path)))
    assert len({person.name for person in people}) == len(names) + 2
    assert {"P-01", "P-02", "AnnaB", "P01", "P1"} <= {person.name for person in people}
    assert next(person for person in people if person.name == "lone").triggers == ("lone_triggers.csv",)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("participant_id,group\nP01,a\n", "participant_id"),
        ("", "participant_id"),
        ("participant_id\tgroup\nP01\ta\nsub-P01\tb\n", "two groups"),
    ],
)
def test_a_list_of_people_that_cannot_be_read_is_refused(tmp_path, text, said):
    touch(tmp_path, "sub-P01/x.edf")
    (tmp_path / "participants.tsv").write_text(text)
    with pytest.raises(StorageError, match=said):
        members(Place(str(tmp_path)))


def test_a_list_of_people_from_a_spreadsheet_is_read(tmp_path):
    """With a byte order mark, and titles as people write them; one without groups is none the worse."""
    touch(tmp_path, "sub-P01/x.edf")
    for title, group in (("Group", "a"), ("age", NO_GROUP)):
        (tmp_path / "participants.tsv").write_text(f"participant_id\t{title}\nsub-P01\ta\n", encoding="utf-8-sig")
        _, (person,) = members(Place(str(tmp_path)))
        assert person.group == group


def test_a_data_folder_is_one_member_under_its_pseudonym(tmp_path):
    """With all that is in it; raw days are not members of their own."""
    touch(
        tmp_path, "anna/main.sqlite", "anna/raw/2026-01-01.sqlite", "anna/diary.sqlite", "lone/2026-01-02.sqlite"
    )
    join(tmp_path / "anna", Study("S", "P09", "drug", False, "", {}, 1))
    found, _ = members(Place(str(tmp_path)))
    store, day = sorted(found, key=lambda m: not m.is_store)
    assert (store.name, store.subject, store.group, len(store.files)) == ("anna", "P09", "drug", 4)
    assert (day.name, day.subject) == ("lone/2026-01-02.sqlite", "lone")


def test_a_file_is_there_whole_or_not_at_all(tmp_path):
    """Nothing is left of one that could not be finished; what is gone is no error to remove."""
    place = Place(str(tmp_path))
    with pytest.raises(ZeroDivisionError), place.new("a/b") as file:
        file.write(b"half" * (1 // 0))
    assert place.files() == []
    with place.new("a/b") as file:
        file.write(b"whole")
    assert place.read("a/b") == b"whole"
    assert place.read("a/c") is None
    assert [stored.name for stored in place.files()] == ["a/b"]
    assert place.files("c") == []
    place.remove(["a/b", "a/b"])
    assert place.files() == []


def test_a_place_that_is_none_is_one_line(tmp_path):
    for url in (str(tmp_path / "none"), "nonsense://x/y"):
        with pytest.raises(StorageError) as caught:
            Place(url).files()
        assert "\n" not in str(caught.value)
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError), Place(str(tmp_path / "file")).new("a") as file:
        file.write(b"x")


def test_a_person_of_the_cohort_is_who_they_are_alone(tmp_path):
    """Rates and the response to coffee from the tables are those of the person's own counts and diary."""
    pytest.importorskip("pyarrow")
    (person,) = people_of(Design(people=1, days=8, per_hour=10), 5)
    folder = tmp_path / "in" / "sub-P01"
    write_life(folder, person.life, person.seed)
    write_diary(folder, entries_of(person.life.triggers), 2_000_000_000 * 10**9)
    place, out = Place(str(tmp_path / "in")), Place(str(tmp_path / "out"))
    found, (subject,) = members(place)
    assert work(Job(found[0], place, out, DetectorSettings(), 3600.0, __version__)).state == "done"
    said = summarise(subject, place, out, None)
    calf = next(each for each in said.people if each.site == "left calf")
    assert calf.twitches == person.life.tallies.twitches.sum()
    assert calf.hours == pytest.approx(person.life.tallies.analysable_s.sum() / 3600)
    assert {effect.trigger for effect in said.effects} >= {TRIGGER}
    ((alone, *_),) = estimates([person])
    both = next(effect for effect in said.effects if effect.trigger == TRIGGER)
    assert both.log_rate_ratio == pytest.approx(alone, abs=0.3)  # two sites here, one there
