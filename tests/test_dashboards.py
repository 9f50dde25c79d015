"""Dashboards: every query runs on a real server, gives rows, and no name in it is anybody's but the sink's."""

from __future__ import annotations

import ast
import json
import re
import shutil
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from benchmarks.dashboards import EVER_NS, LIMIT_S, Asked, answers, delivered, every_query, in_full, made
from dashboards.alerts import RULES, SOURCE_UID
from dashboards.boards import BOARDS
from dashboards.generate import FOLDER, files
from dashboards.grafana import SCHEMA_VERSION
from dashboards.influxql import Query, name
from monitor.diary import read_diary
from monitor.sinks.line_protocol import COMMON, SCHEMA, Field, Measurement, Tag
from monitor.store import Archive
from tests.servers import Influxd

ROOT = Path(__file__).parents[1]
QUERIES = list(every_query())
NAMES = {str(each) for each in (*Tag, *Field)}
UNITS = {"_s": "s", "_bytes": "decbytes", "_percent": "percent", "_dbm": "dBm"}
PLAIN = r'^(?:sum|max|last|mean)\("(\w+)"\)'


class Loaded:
    """A server with what a person's days made of it."""

    def __init__(self, folder: Path, days: int) -> None:
        self.folder = folder / "data"
        self.since_ns, self.until_ns = made(self.folder, days)
        self.influxd = Influxd(folder / "influxd")

    def __enter__(self) -> Loaded:
        self.influxd.start()
        delivered(self.folder, self.influxd.url)
        return self

    def __exit__(self, *_: object) -> None:
        self.influxd.kill()

    def ask(self, asked):
        return answers(self.influxd.url, in_full(asked, self.since_ns, self.until_ns))


@pytest.fixture(scope="module")
def days(tmp_path_factory):
    """Short, for speed: the least of which something can be said."""
    with Loaded(tmp_path_factory.mktemp("days"), 16) as loaded:
        yield loaded


@pytest.mark.parametrize("asked", QUERIES, ids=lambda asked: f"{asked.board}: {asked.what}")
def test_every_query_gives_rows_with_the_columns_that_are_shown(asked, days) -> None:
    series = days.ask(asked)
    assert sum(len(each["values"]) for each in series) > 0
    columns = {column for each in series for column in each["columns"]} | {
        t for s in series for t in s.get("tags", {})
    }
    assert any(value is not None for each in series for row in each["values"] for value in row[1:])
    if asked.panel is not None:
        assert set(asked.panel.columns) <= columns


def rows(days, board, title):
    (asked,) = [each for each in QUERIES if (each.board, each.what) == (board, f"panel {title}")]
    return days.ask(asked)


def test_what_is_shown_is_what_was_stored(days) -> None:
    """By the store's own sums."""
    with Archive.open(days.folder) as archive:
        totals = archive.summary(*EVER_NS).totals
        gaps_s = sum((gap.end_ns - gap.start_ns) * 1e-9 for _, gap in archive.gaps(*EVER_NS))
    twitches, analysable_s = (sum(getattr(t, key) for t in totals) for key in ("twitches", "analysable_s"))
    ((_, shown),) = rows(days, "Overview", "Twitches")[0]["values"]
    assert shown == twitches
    ((_, rate),) = rows(days, "Overview", "Rate")[0]["values"]
    assert rate == pytest.approx(60 * twitches / analysable_s)
    lost = rows(days, "Signal and devices", "Gaps by reason")
    assert sum(row[1] for each in lost for row in each["values"]) == pytest.approx(gaps_s)
    share = rows(days, "Signal and devices", "Analysable share")
    assert all(0 <= row[1] <= 100 for each in share for row in each["values"] if row[1] is not None)
    by_hour = rows(days, "Overview", "Twitches by hour of the clock")
    assert {each["tags"][Tag.HOUR] for each in by_hour} <= {f"{hour:02d}" for hour in range(24)}


def test_what_was_stored_before_the_server_was_there_is_all_there(days) -> None:
    """It was added after the last day, and got each entry once."""
    with Archive.open(days.folder) as archive:
        counts = {
            f'count("{Field.PEAK}") FROM "{Measurement.TWITCH}"': len(archive.twitches(*EVER_NS)),
            f'count("{Field.TWITCHES}") FROM "{Measurement.MINUTE}"': len(archive.minutes(*EVER_NS)),
            f'count("{Field.MISSING}") FROM "{Measurement.GAP}"': len(archive.gaps(*EVER_NS)),
            f'count("{Field.DURATION_S}") FROM "{Measurement.CONTEXT}"': len(archive.contexts(*EVER_NS)),
            f'count("{Field.NO_CONTACT}") FROM "{Measurement.HEALTH}"': len(archive.health(*EVER_NS)),
            f'count("{Field.RAISED}") FROM "{Measurement.ALERT}"': len(archive.alert_history(*EVER_NS)),
        }
        (sink,) = archive.sinks()
        assert (sink.seq, sink.refused) == (archive.outbox_end(), 0)
    counts[f'count("{Field.ENTRY}") FROM "{Measurement.TRIGGER}"'] = len(read_diary(days.folder))
    for query, number in counts.items():
        ((_, counted),) = answers(days.influxd.url, f"SELECT {query}")[0]["values"]
        assert counted == number > 0, query


def test_where_nothing_was_analysable_there_is_no_rate(days) -> None:
    """To InfluxQL, x / 0 is 0: the worst lie that a monitor can tell."""
    observed = rows(days, "Overview", "Rate by site")
    assert any(row[1] is None for each in observed for row in each["values"])
    (rate,) = [query for panel in BOARDS[0].panels if panel.title == "Rate" for query in panel.queries]
    worst = b"minute,node=idle observed_s=60,analysable_s=0,twitches=0i 60000000000"
    urllib.request.urlopen(f"{days.influxd.url}/write?db=fasciwatch", data=worst).close()
    asked = in_full(Asked("", "", rate.text), 0, 120 * 10**9)
    assert answers(days.influxd.url, asked) == []
    (naive,) = answers(days.influxd.url, asked.replace(' AND "analysable_s" > 0', ""))
    assert naive["values"][0][1] == 0


def test_what_was_felt_is_marked_apart(days) -> None:
    (marks,) = [each for each in QUERIES if (each.board, each.what) == ("Overview", "annotation Triggers")]
    shown = [row[1] for each in days.ask(marks) for row in each["values"]]
    assert any("caffeine 100 mg" in text for text in shown)
    assert not any(text.startswith(("felt", "nothing")) for text in shown)
    (stands,) = answers(days.influxd.url, 'SELECT count("entry") FROM "trigger" WHERE "stands" = false') or [None]
    assert stands is None


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("number", LIMIT_S)
def test_every_query_is_fast(number, tmp_path) -> None:
    """The best of three: what else the computer does is not the query's doing."""
    with Loaded(tmp_path, number) as loaded:
        for asked in QUERIES:
            took_s = []
            for _ in range(3):
                begun = time.monotonic()
                assert loaded.ask(asked)
                took_s.append(time.monotonic() - begun)
            assert min(took_s) < LIMIT_S[number], asked


# ---- Names ----


def test_every_name_in_a_query_is_one_that_its_measurement_has() -> None:
    for asked in QUERIES:
        measurement = Measurement(re.search(r'FROM (?:\(SELECT .*? FROM )?"(\w+)"', asked.query)[1])
        shape = SCHEMA[measurement]
        has = {*map(str, (*shape.tags, *COMMON.tags)), *map(str, (*shape.fields, *COMMON.fields))}
        made_here = set(re.findall(r'AS "(\w+)"', asked.query))
        assert set(re.findall(r'"(\w+)"', asked.query)) <= has | made_here | {str(measurement)}, asked


def test_no_name_of_the_schema_is_written_again() -> None:
    """Neither as a string nor within one: then a name that changes would stay here as it was."""
    for path in sorted((ROOT / "dashboards").glob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        documents = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documents:
                quoted = set(re.findall(r'"(\w+)"', node.value))
                assert not quoted & NAMES, (path.name, node.value)
                assert "_" not in node.value or node.value not in NAMES, (path.name, node.value)


def test_a_name_that_changes_changes_what_is_generated(tmp_path) -> None:
    """And so what is checked in is found out, before Grafana shows nothing."""
    for package in ("monitor", "firmware_interface", "dashboards"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    schema = tmp_path / "monitor/sinks/line_protocol.py"
    text = schema.read_text(encoding="utf-8")
    for renamed in ("analysable_s", "site", "behind_s"):
        assert text.count(f'= "{renamed}"\n') == 1
        text = text.replace(f'= "{renamed}"\n', f'= "{renamed}_other"\n')
    schema.write_text(text, encoding="utf-8")
    subprocess.run([sys.executable, "-m", "dashboards.generate"], cwd=tmp_path, check=True)
    before, after = (sorted((folder / "json").rglob("*.json")) for folder in (FOLDER, tmp_path / "dashboards"))
    assert all(a.read_bytes() != b.read_bytes() for a, b in zip(before, after, strict=True))
    assert not [
        path for path in after if re.search(r'\\"(analysable_s|site|behind_s)\\"', path.read_text("utf-8"))
    ]


def test_a_name_that_a_measurement_does_not_have_is_refused() -> None:
    with pytest.raises(KeyError, match="gap has no battery_percent"):
        name(Measurement.GAP, Field.BATTERY_PERCENT)


def test_what_is_checked_in_is_what_is_generated() -> None:
    """`python -m dashboards.generate` was run after the last change."""
    made_now = {FOLDER / path: text for path, text in files().items()}
    there = [*(FOLDER / "json").rglob("*.json"), *(FOLDER / "provisioning").rglob("*.yaml")]
    assert set(made_now) == set(there)
    for path, text in made_now.items():
        assert path.read_text(encoding="utf-8") == text, path


# ---- Grafana's side ----


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.uid)
def test_every_dashboard_is_sound(board) -> None:
    """Unique ids, nothing that overlaps or sticks out, the data source by variable, nothing left unsaid."""
    made_of = board.json()
    panels, variables = made_of["panels"], made_of["templating"]["list"]
    assert made_of["schemaVersion"] == SCHEMA_VERSION
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert len({each.uid for each in BOARDS}) == len({each.title for each in BOARDS}) == 4
    cells = set()
    for panel in panels:
        x, y, w, h = (panel["gridPos"][key] for key in "xywh")
        covered = {(column, row) for column in range(x, x + w) for row in range(y, y + h)}
        assert not covered & cells
        assert x + w <= 24
        cells |= covered
        assert w >= 6, "on a tablet, narrower panels cannot be read"
        defaults = panel["fieldConfig"]["defaults"]
        assert defaults["unit"]
        assert defaults["noValue"].strip()
        assert panel["description"].endswith(".")
        for part in (panel, *panel["targets"]):
            assert part["datasource"] == {"type": "influxdb", "uid": "${datasource}"}
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])
    for each in (*variables[1:], *made_of["annotations"]["list"]):
        assert each["datasource"]["uid"] == "${datasource}"
    names = [variable["name"] for variable in variables]
    assert names[0] == "datasource"
    assert len(set(names)) == len(names)
    used = {v for target in json.dumps(panels).split('"query"')[1:] for v in re.findall(r"\^\$(\w+)\$", target)}
    assert used <= set(names)
    assert made_of["links"][0]["tags"] == made_of["tags"]


def test_the_unit_is_that_of_the_field() -> None:
    for board in BOARDS:
        for panel in board.panels:
            for query in panel.queries:
                plain = re.match(PLAIN + "(?: AS|$|,)", query.select)
                ending = next((end for end in UNITS if plain and plain[1].endswith(end)), None)
                if ending and panel.unit != "dateTimeFromNow":
                    assert panel.unit == UNITS[ending], panel.title


def test_every_query_is_bounded_in_time_and_by_what_was_chosen() -> None:
    for board in BOARDS:
        for query in (query for panel in board.panels for query in panel.queries):
            assert "$timeFilter" in query.text
            assert '"node" =~ /^$node$/' in query.text
    assert "$timeFilter" in Query("x", Measurement.GAP).text


def test_alerts_ask_the_source_that_is_provisioned() -> None:
    """They know no variables, and silence is the alarm."""
    made_of = files()
    (source,) = json.loads(made_of[Path("provisioning/datasources/fasciwatch.yaml")])["datasources"]
    assert source["uid"] == SOURCE_UID
    alive, silent = RULES
    assert (alive.without_data, silent.without_data) == ("Alerting", "OK")
    text = made_of[Path("provisioning/alerting/fasciwatch.yaml")]
    (group,) = json.loads(text)["groups"]
    for rule in group["rules"]:
        asked, last, compared = rule["data"]
        assert asked["datasourceUid"] == SOURCE_UID
        assert re.findall(r"\$(\w+)", asked["model"]["query"]) == ["timeFilter"]
        assert (last["model"]["expression"], compared["model"]["expression"], rule["condition"]) == ("A", "B", "C")


def test_the_alert_of_silence_sees_silence(days) -> None:
    """Of a day of which the last half hour is missing: its newest stretch is 0, the one before the gap is not."""
    (asked,) = [each for each in QUERIES if each.what == "alert No data from fasciwatch"]
    text = in_full(asked, days.since_ns, days.until_ns + 1800 * 10**9)
    (series,) = answers(days.influxd.url, text)
    counts = [row[1] for row in series["values"]]
    assert counts[-1] == 0
    assert max(counts) > 0


CHECKED = """
import type {{ Dashboard, AnnotationQuery }} from "@grafana/schema";
// JSON has no enums: those of strings are their strings.
type Plain<T> = T extends string ? `${{T}}` : T extends number | boolean | null | undefined ? T
    : T extends (infer U)[] ? Plain<U>[] : T extends object ? {{ [K in keyof T]: Plain<T[K]> }} : T;
// What the InfluxDB data source reads of an annotation beside what all have.
type Marked = Plain<AnnotationQuery> & {{ query: string; textColumn: string; tagsColumn: string }};
type Board = Omit<Plain<Dashboard>, "annotations"> & {{ annotations: {{ list: Marked[] }} }};
export const board: Board = {json};
"""


@pytest.mark.long
@pytest.mark.timeout(900)
def test_every_dashboard_is_of_grafanas_own_type(tmp_path) -> None:
    """And a wrong type is found: what passes has been looked at."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is not here: apt install nodejs npm")
    (tmp_path / "package.json").write_text("{}")
    installing = [npm, "install", "--no-audit", "--no-fund", "@grafana/schema@13.2.3", "typescript@5"]
    if subprocess.run(installing, cwd=tmp_path, capture_output=True, timeout=600, check=False).returncode:
        pytest.skip("npm cannot install @grafana/schema: is there a network?")
    for board in BOARDS:
        sound = board.json()
        (tmp_path / f"{board.uid}.ts").write_text(CHECKED.format(json=json.dumps(sound)), encoding="utf-8")
    wrong = BOARDS[0].json()
    wrong["panels"][0]["gridPos"]["x"] = "left"
    (tmp_path / "wrong.ts").write_text(CHECKED.format(json=json.dumps(wrong)), encoding="utf-8")
    compiler = ["node_modules/.bin/tsc", "--noEmit", "--strict", "--skipLibCheck", "--module", "nodenext"]
    boards = [f"{board.uid}.ts" for board in BOARDS]
    done = subprocess.run([*compiler, *boards], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert subprocess.run([*compiler, "wrong.ts"], cwd=tmp_path, capture_output=True, check=False).returncode
