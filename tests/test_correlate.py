"""`fasciwatch correlate` as a person runs it."""

import json
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from firmware_interface.codecs import Device
from firmware_interface.samples import Sensor, Stream, Unit
from monitor import cli
from monitor.diary import Diary, Entry
from monitor.simulate.lives import FIRST_S, Person, history
from monitor.store import Store
from monitor.tally import Minute

EMG = Stream("emg", Sensor.EMG, Unit.MICROVOLT, 0.1, 500.0, ("calf",))
PROGRAM = Path(sys.executable).with_name("fasciwatch")


def stamp(seconds):
    return datetime.fromtimestamp(seconds, UTC).isoformat()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("correlate")
    lived = history(Person(rate_ratios={"caffeine": 2.0}), 1)
    t = lived.tallies
    rows = zip(t.start_s, t.duration_s, t.analysable_s, t.twitches, strict=True)
    lines = [
        "start,duration_s,analysable_s,twitches,site",
        *(f"{stamp(a)},{b},{c},{d},calf" for a, b, c, d in rows),
    ]
    (folder / "T.csv").write_text("\n".join(lines) + "\n")
    log = [f"{stamp(each.start_s)},{each.kind},{each.dose or ''}" for each in lived.triggers]
    (folder / "G.csv").write_text("\n".join(["occurred_at,kind,dose", *log]) + "\n")
    return folder


@pytest.fixture
def run(folder, monkeypatch, capfd):
    """The command in this process: exit code, standard output, standard error."""

    def run(*options, where=folder, tallies="T.csv", triggers="G.csv"):
        monkeypatch.chdir(where)
        arguments = ["correlate", "--tallies", tallies, "--triggers", triggers, *options]
        monkeypatch.setattr("sys.argv", ["fasciwatch", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return ended.value.code or 0, *capfd.readouterr()

    return run


def test_as_a_program(folder):
    command = [PROGRAM, "correlate", "--tallies", "T.csv", "--triggers", "G.csv", "--questions", "caffeine"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("caffeine 0.5-3 h after (calf): linked\n    more twitches")
    assert "no proof" in done.stdout


def test_json_is_one_object(run):
    code, out, err = run("--timezone", "Europe/Berlin", "--json")
    assert (code, err) == (0, "")
    said = json.loads(out)
    verdicts = {found["trigger"]: found["verdict"] for found in said["findings"]}
    assert verdicts["caffeine"] == "linked"
    assert set(verdicts) == {"caffeine", "tea", "sugar", "random"}
    assert said["method"]["zone"] == "Europe/Berlin"
    assert said["method"]["refused"] == []


def test_bad_lines_are_named_and_the_rest_counts(run, folder, tmp_path):
    shutil.copy(folder / "T.csv", tmp_path)
    bad = "never,tea,\n2099-01-01T00:00:00Z,tea,\n2026-01-02T10:00:00Z,tea,-4\n"
    (tmp_path / "G.csv").write_text((folder / "G.csv").read_text() + bad)
    _, out, _ = run("--json", where=tmp_path)
    refused = json.loads(out)["method"]["refused"]
    assert [each["file"] for each in refused] == ["G.csv"] * 3
    assert "occurred_at" in refused[0]["reason"]
    assert "-4" in refused[1]["reason"]
    assert "future" in refused[2]["reason"]
    _, _, err = run("--questions", "tea", where=tmp_path)
    assert err.count("G.csv: line") == 3


@pytest.mark.parametrize(
    ("tallies", "triggers", "expected"),
    [
        (
            "start,duration_s,analysable_s,twitches,site\n",
            f"occurred_at,kind\n{stamp(FIRST_S)},tea\n",
            "cannot tell",
        ),
        (
            f"start,duration_s,analysable_s,twitches,site\n{stamp(FIRST_S)},900,900,3,calf\n",
            "occurred_at,kind\n",
            "",
        ),
    ],
)
def test_empty_tables_get_an_answer(run, tmp_path, tallies, triggers, expected):
    (tmp_path / "T.csv").write_text(tallies)
    (tmp_path / "G.csv").write_text(triggers)
    code, out, _ = run(where=tmp_path)
    assert code == 0
    assert expected in out


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (("--timezone", "Berlin"), 2, "is no time zone"),
        (("--tallies", "none.csv"), 1, "No such file"),
        (("--triggers", "T.csv"), 1, "has no column occurred_at, kind"),
    ],
)
def test_faults_are_one_line(run, options, code, said):
    ended, _, err = run(*options)
    assert ended == code
    assert said in err
    assert err.count("\n") == 1


def test_an_empty_store_is_no_fault(folder, tmp_path, monkeypatch, capfd):
    Store.open(tmp_path).close(0)
    arguments = ["fasciwatch", "correlate", "--triggers", str(folder / "G.csv"), "--data", str(tmp_path)]
    monkeypatch.setattr("sys.argv", arguments)
    with pytest.raises(SystemExit):
        cli.main()
    assert "no time could be analysed" in capfd.readouterr().out


def test_all_from_the_store(folder, tmp_path, monkeypatch, capfd):
    """What was counted and logged is all there: without files the answer is the same."""
    lived = history(Person(rate_ratios={"caffeine": 2.0}), 1)
    store = Store.open(tmp_path)
    device = store.device(Device("band", "1", "", (EMG,)), "AA", 0)
    t = lived.tallies
    rows = zip(t.start_s, t.analysable_s, t.twitches, strict=True)
    minutes = [(device, Minute("calf", round(a) * 10**9, 900.0, float(b), int(c))) for a, b, c in rows]
    store.write(minutes, 0)
    store.close(0)
    logged = [Entry(each.kind, round(each.start_s * 1e9), dose=each.dose) for each in lived.triggers]
    with Diary.open(tmp_path) as diary:
        diary.log([*logged, Entry("felt", round(FIRST_S * 1e9)), Entry("emg", round(FIRST_S * 1e9))], 0)
    monkeypatch.setattr(
        "sys.argv", ["fasciwatch", "correlate", "--json", "--timezone", "UTC", "--data", str(tmp_path)]
    )
    with pytest.raises(SystemExit):
        cli.main()
    said = json.loads(capfd.readouterr().out)
    verdicts = {found["trigger"]: found["verdict"] for found in said["findings"]}
    assert set(verdicts) == {"caffeine", "tea", "sugar", "random"}
    assert verdicts["caffeine"] == "linked"
    assert {found["site"] for found in said["findings"]} == {"calf"}
