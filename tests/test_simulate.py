"""People who do not exist: the same for the same seed, with the truth beside them."""

import json
import math
from dataclasses import asdict

import numpy as np
import pytest
from scipy.special import nctdtr, stdtrit

from monitor.recording import read
from monitor.score import read_truth
from monitor.simulate.cohort import Design, people_of, planned, repeated
from monitor.store import Archive
from tests.test_cli import home, say  # noqa: F401


def test_a_cohort_is_written_with_its_truth(home, capfd, tmp_path):  # noqa: F811
    """Stores, recordings, groups, and who responds how."""
    code, _, _ = say(
        capfd, "simulate", "cohort", tmp_path / "c", "--people", "2", "--days", "2", "--signal-min", "0.2"
    )
    assert code == 0
    truth = json.loads((tmp_path / "c" / "truth.json").read_text())
    assert [each["group"] for each in truth["people"]] == ["control", "patient"]
    for place in ("stores", "recordings"):
        assert (tmp_path / "c" / place / "participants.tsv").read_text().count("\n") == 3
    (edf,) = (tmp_path / "c" / "recordings" / "sub-P01").glob("*.edf")
    assert read(edf).duration_s == pytest.approx(12)
    assert read_truth(edf.with_suffix(".truth.csv")) is not None
    with Archive.open(tmp_path / "c" / "stores" / "sub-P02") as archive:
        assert len(archive.minutes(0, 2**62)) > 100
    code, _, err = say(capfd, "simulate", "cohort", tmp_path / "c")
    assert (code, "is not empty" in err) == (1, True)


def test_an_arm_twitches_as_often_as_it_can(home, capfd, tmp_path):  # noqa: F811
    """Who twitches more in life than an arm could: the truth says how often it did."""
    rates = ("--per-hour", "50", "--group-ratio", "10")
    code, _, _ = say(
        capfd, "simulate", "cohort", tmp_path / "c", "--people", "2", "--days", "1", "--signal-min", "0.1", *rates
    )
    assert code == 0
    truth = json.loads((tmp_path / "c" / "truth.json").read_text())
    assert truth["people"][1]["per_hour"] > 300 / 2
    assert truth["people"][1]["signal_per_min"] == 300
    assert read(next(tmp_path.glob("c/recordings/sub-P02/*.edf"))).duration_s == pytest.approx(6)


def test_what_cannot_be_written_is_one_line(home, capfd, tmp_path):  # noqa: F811
    """No signal to speak of; a file where a folder should be, or above it. Nothing is left behind."""
    file = tmp_path / "file"
    file.write_text("")
    for out, options in ((tmp_path / "c", ("--signal-min", "0.001")), (file, ()), (file / "c", ())):
        code, _, err = say(capfd, "simulate", "cohort", out, "--people", "1", "--days", "1", *options)
        assert (code, len(err.splitlines())) == (1, 1)
    assert [path.name for path in tmp_path.iterdir() if path.name in "cfile"] == ["file"]


def test_the_same_seed_is_the_same_people():
    one, two, other = (people_of(Design(people=3, days=3), seed) for seed in (1, 1, 2))
    assert [p.life.tallies.twitches.tolist() for p in one] == [p.life.tallies.twitches.tolist() for p in two]
    assert [p.rate_ratio for p in one] != [p.rate_ratio for p in other]


def test_power_grows_with_people_and_effect():
    """Nothing to find is found about as often as chance allows."""
    few, many, none = (
        planned(Design(people=n, days=8, rate_ratio=ratio), 1, pilot=40)
        for n, ratio in ((8, 1.2), (80, 1.2), (40, 1.0))
    )
    assert few.power < many.power
    assert few.standard_error == pytest.approx(many.standard_error * math.sqrt(10), rel=0.2)
    assert none.power == pytest.approx(0.05, abs=0.04)
    assert few.detectable > many.detectable > 1


def test_what_no_rate_ratio_reaches_is_none():
    """Few people who differ much: the end of the search is not told as what it found."""
    found = planned(Design(people=5, days=8, rate_ratio=10.0, between=2.0), 1, pilot=20)
    assert found.power < 0.8
    assert found.detectable is None


@pytest.mark.long
def test_the_command_says_that_none_is_found(home, capfd):  # noqa: F811
    design = ("--people", "5", "--days", "8", "--between", "2", "--rate-ratio", "10")
    assert "none up to 10 is found with .80" in say(capfd, "simulate", "power", *design)[1]
    assert json.loads(say(capfd, "simulate", "power", *design, "--json")[1])["detectable"] is None


@pytest.mark.long
def test_the_command_says_what_the_function_does(home, capfd):  # noqa: F811
    code, out, _ = say(capfd, "simulate", "power", "--people", "8", "--days", "8", "--json")
    assert (code, json.loads(out)) == (0, {"type": "power", **asdict(planned(Design(people=8, days=8), 1))})


def test_a_design_that_cannot_answer_is_refused(home, capfd):  # noqa: F811
    code, out, err = say(capfd, "simulate", "power", "--people", "8", "--days", "2", "--json")
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert "fewer than 3 would give an answer" in err


def test_drawn_cohorts_keep_to_the_arithmetic_where_errors_are_true():
    """Equal errors, normal chance: the power of a t test. A pilot that leans to one side promises no more."""
    rng = np.random.default_rng(1)
    errors = np.full(2000, 0.2)
    for leaning in (0.0, 0.1):
        repeats = repeated(rng.normal(leaning, errors), errors, 0.15, 20, 1)
        away, t = 0.15 / (0.25 / math.sqrt(20)), stdtrit(19, 0.975)
        assert repeats.power(0.15) == pytest.approx(1 - nctdtr(19, away, t) + nctdtr(19, away, -t), abs=0.05)
        assert repeats.power(0.0) == pytest.approx(0.05, abs=0.02)
