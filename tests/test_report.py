"""The report: one page that says what was stored, asks nobody for anything, and tells its own limits."""

import io
import json
import re
from contextlib import redirect_stdout
from datetime import UTC, date
from html.parser import HTMLParser

import numpy as np
import pytest

from benchmarks.month import SITES, lived
from firmware_interface.codecs import Device
from monitor import cli
from monitor.diary import Diary, Entry, read_diary
from monitor.redflags import ADVICE, NOT_A_DEVICE
from monitor.report import figures
from monitor.report.facts import day_of, gather
from monitor.store import Archive, Store
from monitor.tally import Minute
from tests.test_store import EMG

EVER = (0, 2**62)
HOUR_NS = 3600 * 10**9
NOON_NS = 1_780_315_200 * 10**9
"""2026-06-01T12:00Z."""
VOID = {"meta", "rect", "line", "circle", "polyline", "polygon", "text", "br"}


class Reader(HTMLParser):
    """Checks that what is opened is closed, and collects words and attributes."""

    def __init__(self):
        super().__init__()
        self.open, self.words, self.attributes, self.tags = [], [], [], []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += attributes
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self):
        return " ".join(self.words)


def opened(text):
    reader = Reader()
    reader.feed(text)
    assert reader.open == []
    return reader


@pytest.fixture(scope="module")
def month(tmp_path_factory):
    folder = tmp_path_factory.mktemp("month")
    lived(folder, 30, 7)
    return folder


@pytest.fixture(scope="module")
def report(month):
    """The page, and what the command said."""
    file = month / "report.html"
    command = ["fasciwatch", "report", str(file), "--data", str(month), "--timezone", "UTC", "--json"]
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(io.StringIO()) as out:
        patch.setattr("sys.argv", command)
        with pytest.raises(SystemExit) as ended:
            cli.main()
    assert not ended.value.code
    return file.read_text(encoding="utf-8"), json.loads(out.getvalue())


@pytest.fixture
def run(monkeypatch, capfd):
    def run(*arguments, code=0):
        monkeypatch.setattr("sys.argv", ["fasciwatch", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capfd.readouterr()
        assert (ended.value.code or 0) == code, err
        return out, err

    return run


def test_a_month_on_one_page(report):
    text, told = report
    assert {each["trigger"]: each["verdict"] for each in told["findings"]}["caffeine"] == "linked"
    page = opened(text)
    for said in (
        *SITES, "Linked: 0.5-3 h after caffeine", "By hour of the clock", "What was not received",
        "electromyography", "nerve conduction study", "not logged", "cervical spondylosis", "Felt and measured",
        "Motor units",
        "Do not change a dose because of this", NOT_A_DEVICE, "false discovery rate", "smallest uv",
        *(sign for advice in ADVICE for sign in advice.signs),
    ):  # fmt: skip
        assert said in page.text, said
    assert page.tags.count("svg") > 10


def test_nothing_leaves_the_machine(report):
    """No script, no address, and a policy that would stop both."""
    text, _ = report
    assert "://" not in text
    assert "default-src 'none'" in text
    page = opened(text)
    assert not {"script", "img", "iframe", "link"} & set(page.tags)
    assert {name for name, _ in page.attributes if name.startswith("on") or name in ("src", "srcset")} == set()


def test_what_a_person_wrote_is_text(run, tmp_path):
    """Names and notes cannot become markup."""
    bad = '<script>alert("1")</script>&'
    store = Store.open(tmp_path)
    device = store.device(Device(bad, "S", "1", (EMG,)), "AA", 0)
    store.write([(device, Minute(bad, NOON_NS, 60.0, 60.0, 3))], NOON_NS)
    store.close(NOON_NS)
    with Diary.open(tmp_path) as diary:
        diary.log([Entry("emg", NOON_NS, note=bad), Entry(bad, NOON_NS, dose=1.0, unit=bad)], NOON_NS)
    run("report", tmp_path / "r.html", "--data", tmp_path)
    text = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "<script" not in text
    assert opened(text).text.count(bad) >= 3


def test_an_empty_store_is_a_short_report(run, tmp_path):
    Store.open(tmp_path).close(0)
    run("report", tmp_path / "r.html", "--data", tmp_path)
    text = opened((tmp_path / "r.html").read_text(encoding="utf-8")).text
    assert "Nothing was observed in this time." in text
    assert "Call the emergency number now" in text


def test_an_emergency_is_said_first(run, tmp_path):
    Store.open(tmp_path).close(0)
    run("trigger", "add", "organophosphate", "--data", tmp_path)
    run("report", tmp_path / "r.html", "--data", tmp_path)
    text = opened((tmp_path / "r.html").read_text(encoding="utf-8")).text
    assert text.index("poison centre") < text.index("In short")
    assert "agent: cannot tell" not in text
    out, err = run("correlate", "--data", tmp_path)
    assert "poison centre" in err
    assert "organophosphate" not in out


def test_faults_are_one_line(run, tmp_path):
    _, err = run("report", "--data", tmp_path, code=1)
    assert "there is no data" in err
    Store.open(tmp_path).close(0)
    _, err = run("report", tmp_path / "no" / "r.html", "--data", tmp_path, code=1)
    assert "No such file" in err
    assert err.count("\n") == 1


def test_facts_add_up(month):
    """By site, by day and by hour the same twitches are told."""
    with Archive.open(month) as archive:
        facts = gather(archive, read_diary(month), UTC, *EVER)
        stored = archive.summary(*EVER).totals
    by_site = {site.name: site for site in facts.sites}
    for total in stored:
        site = by_site[total.channel]
        assert site.total.twitches == total.twitches
        assert sum(amount.twitches for amount in site.days.values()) == total.twitches
        assert sum(hour.total.twitches for hour in site.hours) == total.twitches
        assert site.total.analysable_s == pytest.approx(total.analysable_s)
        assert sum(site.excluded_s.values()) == pytest.approx(total.observed_s - total.analysable_s, rel=1e-6)
    assert sum(shown.unit.twitches for shown in facts.units) == sum(total.twitches for total in stored)
    assert facts.diary_days <= len(facts.observed_days) <= len(facts.days)
    assert facts.felt.measured > 3 * facts.felt.by_chance


def test_a_day_begins_at_four():
    midnight_ns = NOON_NS + 12 * HOUR_NS
    assert day_of(midnight_ns + 3 * HOUR_NS, UTC) == date(2026, 6, 1)
    assert day_of(midnight_ns + 4 * HOUR_NS, UTC) == date(2026, 6, 2)


def test_red_flags_are_always_in_reach(run):
    out, _ = run("redflags")
    for advice in ADVICE:
        assert advice.what in out
    assert json.loads(run("redflags", "--json")[0])["advice"][0]["what"] == "Call the emergency number now"


# Figures --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("top", [0.0, 1e-4, 0.03, 0.9, 1.0, 3.7, 11, 480, 99999])
def test_axes_hold_their_values(top):
    levels = figures.nice(top)
    assert levels[0] == 0
    assert levels[-1] >= top
    assert 2 <= len(levels) <= 7


def test_what_is_not_known_is_a_gap():
    """Two runs of a line, and no dot where nothing was seen."""
    values = [1.0, 2.0, None, 3.0, None]
    svg = figures.over(range(5), values, ticks=[], title="t", unit="a minute")
    assert svg.count("<polyline") == 2
    assert svg.count("<circle") == 3
    assert "nan" not in svg


def test_an_interval_off_the_axis_stays_inside():
    svg = figures.forest([figures.Ratio("x", 1.0, 1e-9, 1e9)], title="t")
    xs = [float(x) for x in re.findall(r'x[12]="([-\d.]+)"', svg)]
    assert min(xs) >= 0
    assert max(xs) <= figures.WIDTH
    assert svg.count("<polyline") == 2


def test_steps_and_traces_are_drawn():
    rows = [figures.Ratio("", 1.2, 0.8, 1.9), figures.Ratio("", 0.9, 0.01, 90.0)]
    assert figures.steps([(0, 1), (1, 3)], rows, title="t").count("<rect") == 2
    opened(figures.trace(np.zeros(5).tolist(), title="flat & quiet"))
