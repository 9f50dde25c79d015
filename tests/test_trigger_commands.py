"""`fasciwatch trigger` and `fasciwatch felt` as a person runs them."""

import json

import pytest

from monitor import cli, cli_diary
from tests.test_cli import ROOT


@pytest.fixture
def run(tmp_path, monkeypatch, capfd):
    """The command in this process: exit code, standard output, standard error."""

    def run(*arguments, code=0):
        monkeypatch.setattr("sys.argv", ["fasciwatch", *arguments, "--data", str(tmp_path)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capfd.readouterr()
        assert (ended.value.code or 0) == code, err
        assert "Traceback" not in err
        return out, err

    return run


def test_a_coffee_in_one_act(run):
    out, err = run("trigger", "add", "caffeine", "120mg", "--at", "20 min ago")
    assert out.startswith("logged 1: caffeine 120 mg, ")
    assert err == ""
    out, _ = run("trigger", "list", "--json")
    entry = json.loads(out)
    assert (entry["kind"], entry["dose"], entry["unit"], entry["role"]) == ("caffeine", 120, "mg", "trigger")
    assert entry["logged_at"] > entry["occurred_at"]


def test_intervals_templates_edit_delete_undo(run):
    run("trigger", "start", "stress", "7", "--at", "2026-01-01T08:00")
    out, _ = run("trigger", "stop", "stress", "--at", "2026-01-01T10:00")
    assert "stress 7 of 10, 2026-01-01 08:00:00 to 2026-01-01 10:00:00" in out
    run("trigger", "template", "espresso", "caffeine", "80mg")
    assert run("trigger", "template")[0] == "espresso: caffeine 80mg\n"
    out, _ = run("trigger", "add", "espresso", "--json", "--key", "k1")
    number = str(json.loads(out)["id"])
    assert json.loads(run("trigger", "add", "espresso", "--json", "--key", "k1")[0])["repeated"]
    run("trigger", "edit", number, "--dose", "90mg", "--reactive", "yes", "--precision", "15min")
    assert "because of twitching" in run("trigger", "history", number)[0].splitlines()[1]
    run("trigger", "delete", number)
    assert "undone" in run("trigger", "undo")[0]
    assert "90 mg" in run("trigger", "list", "--kind", "caffeine")[0]


def test_felt_and_none_and_tests(run):
    assert "felt (left calf)" in run("felt", "left calf")[0]
    assert "alcohol none" in run("trigger", "none", "alcohol")[0]
    run("trigger", "add", "emg", "--at", "2026-01-05", "--note", "normal, right arm")
    roles = [
        json.loads(line)["role"] for line in run("trigger", "list", "--since", "all", "--json")[0].splitlines()
    ]
    assert sorted(roles) == ["felt", "test", "trigger"]


def test_what_is_exported_can_be_imported_once(run, tmp_path):
    for kind in ("caffeine", "stress", "emg"):
        run("trigger", "add", kind)
    file = tmp_path / "log.csv"
    run("trigger", "export", str(file))
    _, err = run("trigger", "export", str(file), code=2)
    assert "exists" in err
    for _ in range(3):
        run("trigger", "undo")
    out, err = run("trigger", "import", str(file))
    assert "3 entries can be logged" in out
    assert "--yes" in err
    assert run("trigger", "list", "--since", "all")[0] == ""
    assert "logged 3" in run("trigger", "import", str(file), "--yes")[0]
    again = json.loads(run("trigger", "import", str(file), "--yes", "--json")[0])
    assert (again["entries"], len(again["refused"])) == (0, 3)
    assert len(run("trigger", "list", "--since", "all")[0].splitlines()) == 3


def test_each_refused_line_is_named(run, tmp_path):
    file = tmp_path / "log.csv"
    file.write_text(
        "occurred_at,kind,dose\n2026-01-01T08:00Z,caffeine,80\nnever,tea,\n2026-01-01T09:00Z,stress,12\n"
    )
    out, err = run("trigger", "import", str(file))
    assert "1 entries can be logged, 2 lines are refused" in out
    assert "line 3: 'never' is no time" in err
    assert "line 4: stress of 12 is off its scale" in err


def test_what_must_be_said_is_said(run):
    assert "Do not change a dose" in run("trigger", "add", "diuretic")[1]
    assert "emergency number" in run("trigger", "add", "organophosphate")[1]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("add", "cafeine"), "Did you mean caffeine?"),
        (("stop", "stress"), "no stress is running"),
        (("undo",), "nothing to undo"),
        (("history", "4"), "never was an entry 4"),
        (("template", "caffeine", "stress"), "a kind of trigger already"),
        (("add", "cold", "--at", "soon"), "is no time"),
    ],
)
def test_faults_are_one_line(run, arguments, said):
    out, err = run("trigger", *arguments, code=2)
    assert out == ""
    assert said in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    "command", [each.name or each.callback.__name__ for each in cli_diary.app.registered_commands]
)
def test_every_command_is_in_the_readme(run, command):
    assert f"fasciwatch trigger {command}" in (ROOT / "README.md").read_text(encoding="utf-8")
