"""Study mode: a pseudonym, frozen settings, hidden counts, and one person gone everywhere."""

import json
import shutil

import pytest

from firmware_interface.emulated.arm import ArmSettings
from monitor import cli, config, study
from monitor.detection.settings import DetectorSettings
from monitor.simulate.lives import Person, history
from monitor.simulate.stores import entries_of, write_diary, write_life, write_signal
from monitor.store import Store
from tests.test_cli import home, say  # noqa: F401

SETTINGS = DetectorSettings()


@pytest.fixture
def person(tmp_path):
    """Two days of somebody, in a study."""
    folder = tmp_path / "data"
    life = history(Person(days=2), 3)
    write_life(folder, life, 3)
    write_diary(folder, entries_of(life.triggers), 2_000_000_000 * 10**9)
    return folder


def joined(folder, **changes):
    part = study.Study("Trial", "P01", "A", True, study.fingerprint(SETTINGS), json.loads(json.dumps(
        {"isolation_s": 0.5})), 1)  # fmt: skip
    study.join(folder, part)
    return part


def test_fingerprints_tell_settings_apart():
    assert study.fingerprint(SETTINGS) == study.fingerprint(DetectorSettings())
    assert study.fingerprint(DetectorSettings(crowd=4)) != study.fingerprint(SETTINGS)
    assert study.fingerprint(DetectorSettings(smallest_at={"calf": 40.0})) != study.fingerprint(SETTINGS)


def test_a_folder_is_joined_once_and_under_a_pseudonym(home, capfd, tmp_path):  # noqa: F811
    """No name with a blank in it; and who belongs to one study does not slip into another."""
    data = ("--data", tmp_path / "d")
    assert say(capfd, "study", "show", *data)[1] == "no study\n"
    assert "has no name" in say(capfd, "study", "join", "", "P01", *data)[2]
    assert "no pseudonym" in say(capfd, "study", "join", "Trial", "Anna Meier", *data)[2]
    assert say(capfd, "study", "join", "Trial", "P01", "--group", "A", "--hide-counts", *data)[0] == 0
    code, _, err = say(capfd, "study", "join", "Other", "P02", *data)
    assert (code, len(err.splitlines())) == (1, 1)
    shown = json.loads(say(capfd, "study", "show", "--json", *data)[1])
    assert (shown["pseudonym"], shown["group"], shown["settings_kept"]) == ("P01", "A", True)


def test_other_settings_are_not_recorded_with(home, capfd, tmp_path):  # noqa: F811
    """One line, before anything is watched; it names what differs."""
    data = tmp_path / "d"
    assert say(capfd, "study", "join", "Trial", "P01", "--data", data)[0] == 0
    file = tmp_path / "changed.toml"
    file.write_text("[detection]\ncrowd = 4\n")
    code, _, err = say(capfd, "run", "--for", "1", "--config", file, "--data", data)
    assert code == 1
    assert "crowd differ" in err
    assert not (data / "main.sqlite").exists()


@pytest.mark.parametrize(
    "command", [["status"], ["events"], ["correlate"], ["report", "r.html"], ["page"], ["labels"]]
)
def test_hidden_counts_are_hidden(home, capfd, person, tmp_path, command, monkeypatch):  # noqa: F811
    """By every command that would say them; `link` says how well all is heard."""
    monkeypatch.chdir(tmp_path)
    joined(person)
    code, out, err = say(capfd, *command, "--data", person)
    assert (code, out, len(err.splitlines())) == (1, "", 1)
    assert "does not show counts" in err
    assert not (tmp_path / "r.html").exists()
    assert say(capfd, "link", "--data", person)[0] == 0


def test_the_live_view_shows_no_twitch(person):
    """Lines of how things are heard, not the screen."""
    joined(person)
    view = cli._view(None, cli._Ending(), person, json_lines=False)
    assert isinstance(view, cli.LinesWithoutCounts)


def test_who_leaves_is_gone_everywhere(home, capfd, person, tmp_path):  # noqa: F811
    """Store, diary, exports, cohort results; others and what is not ours stay. First it is only said."""
    joined(person)
    out, results = tmp_path / "out", tmp_path / "results"
    assert say(capfd, "export", "csv", out, "--data", person)[0] == 0
    assert (out / "P01_twitches.csv").exists()
    for subject in ("P01", "P02"):
        folder = results / "twitches" / f"subject={subject}" / "day=2026-01-01"
        folder.mkdir(parents=True)
        (folder / "x.parquet").write_bytes(b"x")
    (out / "P02_twitches.csv").write_text("another's")
    (person / "letter.txt").write_text("theirs")
    withdraw = ("study", "withdraw", "P01", "--data", person, "--from", results)
    code, listed, err = say(capfd, *withdraw)
    assert (code, "--yes" in err) == (0, True)
    assert "stack in docker keeps" in err
    assert (person / "main.sqlite").exists()
    assert "subject=P01" in listed
    assert "P02" not in listed
    assert say(capfd, "study", "withdraw", "P02", "--data", person)[0] == 1
    code, _, err = say(capfd, *withdraw, "--yes")
    assert code == 0
    assert [path.name for path in person.iterdir()] == ["letter.txt"]
    assert "letter.txt" in err
    left = sorted(path.name for path in tmp_path.rglob("*") if path.is_file() and tmp_path in path.parents)
    assert "P02_twitches.csv" in left
    assert not [name for name in left if name.startswith("P01")]
    assert [path.name for path in (results / "twitches").iterdir()] == ["subject=P02"]


@pytest.mark.parametrize("yes", [(), ("--yes",)])
def test_a_place_that_is_not_there_is_said_before_anything_goes(home, capfd, tmp_path, yes):  # noqa: F811
    data = tmp_path / "d"
    joined(data)
    code, out, err = say(capfd, "study", "withdraw", "P01", "--data", data, "--from", tmp_path / "misspelt", *yes)
    assert (code, out, len(err.splitlines())) == (1, "", 1)
    assert "misspelt is no folder; nothing was removed" in err
    assert study.part_in(data) is not None


def test_who_leaves_needs_no_data_folder(home, capfd, tmp_path):  # noqa: F811
    """Results and exports elsewhere; done again it finds nothing; another's folder is not theirs."""
    mine, another = tmp_path / "R" / "twitches" / "subject=P1", tmp_path / "R" / "twitches" / "subject=P10"
    for folder in (mine, another):
        folder.mkdir(parents=True)
    withdraw = ("study", "withdraw", "P1", "--from", tmp_path / "R", "--yes")
    assert say(capfd, *withdraw)[:2] == (0, f"{mine}\n")
    assert (mine.exists(), another.exists()) == (False, True)
    code, out, err = say(capfd, *withdraw)
    assert (code, out, "nothing of P1 is there" in err) == (0, "", True)
    joined(tmp_path / "another")
    assert say(capfd, *withdraw, "--data", tmp_path / "another")[0] == 1
    assert say(capfd, "study", "withdraw", "", "--from", tmp_path / "R")[0] == 1
    assert say(capfd, "study", "withdraw", "P1")[0] == 1


def test_theirs_is_what_a_cohort_counts_as_theirs(tmp_path):
    """Files that lie flat, with what stands beside them; folders; nothing of who is called alike."""
    theirs = ("X9.edf", "X9.truth.csv", "X9_triggers.csv", "sub-X9.edf", "sub-X9_task-rest_emg.edf",
              "sub-X9_task-rest_emg.truth.csv", "X9/night.edf", "deep/sub-X9/a.edf",
              "deep/sub-X9_b.edf")  # fmt: skip
    others = ("sub-X9-x.edf", "sub-X9-x_task-rest_emg.edf", "sub-X9-x/night.edf",
              "X90.edf", "X90_triggers.csv", "sub-X90.edf", "sub-X90_task-rest_emg.edf", "X90/night.edf",
              "AX9.edf", "deep/X9/kept.txt", "summary.json")  # fmt: skip
    for name in (*theirs, *others):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    (tmp_path / "participants.tsv").write_text("participant_id\tage\tgroup\nsub-X9\t50\tA\nsub-X90\t60\tB\n")
    gone, left = study.found_of(tmp_path / "none", "X9", [tmp_path])
    assert left == []
    assert len(gone) == len(theirs) + 1
    study.withdraw(gone)
    files = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert files == {*others, "participants.tsv"}
    kept = (tmp_path / "participants.tsv").read_text()
    assert kept == "participant_id\tage\tgroup\nsub-X90\t60\tB\n"


def test_a_folder_of_theirs_below_a_place_keeps_what_is_not_ours(tmp_path):
    """Also where that is the data folder that is named."""
    joined(tmp_path / "deep" / "d")
    (tmp_path / "deep" / "d" / "letter.txt").write_text("theirs")
    gone, left = study.found_of(tmp_path / "deep" / "d", "P01", [tmp_path])
    study.withdraw(gone)
    assert [path.name for path in left] == [path.name for path in (tmp_path / "deep" / "d").iterdir()]


def test_a_folder_that_goes_whole_leaves_nothing_alone(tmp_path):
    """A data folder that is `sub-P01` below a place: what is said to stay would not."""
    joined(tmp_path / "sub-P01")
    (tmp_path / "sub-P01" / "letter.txt").write_text("theirs")
    gone, left = study.found_of(tmp_path / "sub-P01", "P01", [tmp_path])
    study.withdraw(gone)
    assert (left, list(tmp_path.iterdir())) == ([], [])


def test_an_export_as_bids_goes_as_a_whole(home, capfd, tmp_path):  # noqa: F811
    """Events, sidecars, scans, the row; under another name than the study's; another person stays."""
    data, out = tmp_path / "data", tmp_path / "bids"
    write_signal(data, ArmSettings(), 1, 1_790_000_000 * 10**9, 20)
    shutil.copytree(data, tmp_path / "other")
    assert say(capfd, "export", "bids", out, "--data", tmp_path / "other", "--subject", "Other")[0] == 0
    joined(data)
    for subject in ((), ("--subject", "X9")):
        assert say(capfd, "export", "bids", out, "--data", data, *subject)[0] == 0
    assert len([path for path in out.rglob("sub-P01_*") if path.is_file()]) > 4
    assert say(capfd, "study", "withdraw", "P01", "--data", data, "--yes")[0] == 0
    assert [path.name for path in out.glob("sub-*")] == ["sub-Other"]
    assert (out / "participants.tsv").read_text() == "participant_id\tgroup\nsub-Other\tn/a\n"


def test_nobody_leaves_while_they_are_watched(person):
    """The store is locked by its writer."""
    joined(person)
    store = Store.open(person)
    store.begin(now_ns=1, version="", settings={})
    try:
        with pytest.raises(Exception, match="in use"):
            study.withdraw([study.Theirs(person / "main.sqlite")])
        assert (person / "main.sqlite").exists()
    finally:
        store.close(2)


def test_a_damaged_part_is_one_line(tmp_path):
    (tmp_path / study.FILE).write_text("{]")
    with pytest.raises(study.StudyError, match="no part in a study"):
        study.part_in(tmp_path)


def test_settings_of_the_configuration_can_be_frozen():
    """What the command freezes is what `run` compares."""
    loaded = config.Settings().detection
    assert study.fingerprint(loaded) == study.fingerprint(DetectorSettings())
