"""`fasciwatch experiment` as a person runs it: sealed, day by day, and an answer at the end."""

import json
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from firmware_interface.codecs import Device
from monitor import cli, cli_experiment
from monitor.correlation.experiment import plan
from monitor.diary import Diary
from monitor.store import Store
from monitor.tally import Minute
from tests.test_cli import ROOT
from tests.test_store import EMG

SECRET = "0123456789abcdef" * 4
ARMS = ["two cups", "decaf"]


@pytest.fixture
def run(tmp_path, monkeypatch, capfd):
    def run(*arguments, code=0):
        monkeypatch.setattr("sys.argv", ["fasciwatch", "experiment", *arguments, "--data", str(tmp_path)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capfd.readouterr()
        assert (ended.value.code or 0) == code, err
        return out, err

    return run


def begun(folder, days_ago, pairs=8, **more):
    """An experiment that began some days ago."""
    begins = datetime.now(UTC).date() - timedelta(days=days_ago)
    kept = {"kind": "caffeine", "arms": ARMS, "pairs": pairs, "block_days": 1, "secret": SECRET}
    with Diary.open(folder) as diary:
        diary.keep_experiment(kept | {"begins": begins.isoformat(), "site": "", "timezone": "UTC"} | more, 0)
    return begins


def twitched(folder, begins, ratio, pairs=8):
    """A store in which one arm has more twitches."""
    rng, experiment = np.random.default_rng(1), plan("caffeine", tuple(ARMS), pairs, SECRET)
    store = Store.open(folder)
    device = store.device(Device("band", "S", "1", (EMG,)), "AA", 0)
    for day in range(experiment.days):
        noon = datetime(begins.year, begins.month, begins.day, 12, tzinfo=UTC) + timedelta(days=day)
        rate = 1.0 * (ratio if experiment.arm(day) == ARMS[0] else 1.0)
        at_ns = round(noon.timestamp()) * 10**9
        minutes = [Minute("FDI", at_ns + n * 60 * 10**9, 60.0, 60.0, int(rng.poisson(rate))) for n in range(120)]
        store.write([(device, minute) for minute in minutes], at_ns)
    store.close(0)


def test_a_plan_is_sealed_and_hides_what_is_to_come(run):
    planned = json.loads(run("new", "caffeine", "--without", "decaf", "--json")[0])
    shown = json.loads(run("show", "--json")[0])
    assert shown["days"] == []
    assert shown["seal"] == planned["seal"]
    assert len(planned["seal"]) == 64
    assert "secret" not in planned | shown
    assert "It begins on" in run("show")[0]


def test_today_is_told_and_not_tomorrow(run, tmp_path):
    begins = begun(tmp_path, days_ago=3)
    told = json.loads(run("show", "--json")[0])["days"]
    assert told[0]["day"] == begins.isoformat()
    assert 3 <= len(told) <= 4  # a day begins at four
    experiment = plan("caffeine", tuple(ARMS), 8, SECRET)
    assert [each["arm"] for each in told] == [experiment.arm(day) for day in range(len(told))]
    assert "Today, day" in run("show")[0]
    assert "goes on to" in run("result", code=2)[1]


def test_the_result_is_exact_and_shows_the_secret(run, tmp_path):
    twitched(tmp_path, begun(tmp_path, days_ago=20), 2.0)
    told = json.loads(run("result", "--json")[0])
    assert told["p"] == 2 / 2**8
    assert told["rate_ratio"] == pytest.approx(2.0, rel=0.15)
    assert (told["complete_pairs"], told["secret"]) == (8, SECRET)
    assert "p 0.00781, 8 pairs" in run("result")[0]


def test_an_unseen_site_has_no_result(run, tmp_path):
    twitched(tmp_path, begun(tmp_path, days_ago=20, site="calf"), 2.0)
    assert "0 pairs have an outcome" in run("result", code=2)[1]


@pytest.mark.parametrize("kind", ["benzodiazepine", "magnesium", "alcohol", "organophosphate"])
def test_drugs_are_refused(run, kind):
    out, err = run("new", kind, code=2)
    assert out == ""
    assert f"no experiment with {kind}" in err


def test_what_is_not_there(run):
    assert "there is no experiment." in run("show", code=2)[1]
    run("new", "cold")
    assert "there is no experiment 7" in run("result", "7", code=2)[1]


def test_every_command_is_in_the_readme():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for command in cli_experiment.app.registered_commands:
        assert f"fasciwatch experiment {command.callback.__name__}" in text
