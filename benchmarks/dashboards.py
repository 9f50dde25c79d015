"""Every query of every dashboard, annotation, variable and alert, against influxd with a person's months.

    .venv/bin/python -m benchmarks.dashboards              # a month and a year: time of each query; needs influxd
    .venv/bin/python -m benchmarks.dashboards --days 35    # a month only

The data takes the real way: store, outbox, sink; `correlate` of the last day is what was found. The best of three
counts: what else the computer does is not the query's doing.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import tempfile
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path

import numpy as np

from benchmarks.month import lived
from dashboards.alerts import RULES
from dashboards.boards import BOARDS
from dashboards.grafana import Board, Panel
from dashboards.influxql import CHOSEN, WHERE
from firmware_interface.samples import Status
from monitor.alerts.engine import Alert, Change
from monitor.alerts.rules import Kind
from monitor.bulletins import Disk, Waiting
from monitor.correlation.findings import ALL_SITES, correlate
from monitor.correlation.stored import BIN_NS, tallies_of
from monitor.diary import read_diary, triggers
from monitor.found import keep
from monitor.inbox import Inbox
from monitor.outbox import Delivery, Outbox
from monitor.sinks.influx import Influx1, Place
from monitor.store import Archive, Condition, Linked, Record, Store
from tests.servers import Influxd

S = 10**9
EVER_NS = 0, 2**62
SINK = "influxdb"
LIMIT_S = {35: 0.3, 365: 2.0}
_STEPS_S = (60, 120, 300, 600, 900, 1800, 3600, 7200, 21600, 43200, 86400)
_PIXELS = 1000


@dataclass(frozen=True, slots=True)
class Asked:
    """A query, and whose it is."""

    board: str
    what: str
    """"panel Rate by site", "annotation Triggers", "variable site", "alert ..."."""
    query: str
    """With Grafana's variables in it."""
    interval: str = ""
    panel: Panel | None = None
    range_s: int = 0
    """Of an alert, its own; else what is looked at."""


def every_query() -> Iterator[Asked]:
    """All that Grafana would ask."""
    for board in BOARDS:
        yield from _of_board(board)
    for rule in RULES:
        yield Asked("alerts", f"alert {rule.title}", rule.query.text, "5m", range_s=rule.since_s)


def _of_board(board: Board) -> Iterator[Asked]:
    for panel in board.panels:
        for query in panel.queries:
            yield Asked(board.title, f"panel {panel.title}", query.text, panel.interval, panel)
    for annotation in board.annotations:
        yield Asked(board.title, f"annotation {annotation.name}", annotation.query)
    for variable in board.variables:
        yield Asked(board.title, f"variable {variable.name}", variable.query)


def in_full(asked: Asked, since_ns: int, until_ns: int) -> str:
    """The query as Grafana sends it, a panel being 1000 pixels wide. The one place that knows its macros."""
    values = {CHOSEN: "caffeine", WHERE: ALL_SITES}
    since_ns = until_ns - asked.range_s * S if asked.range_s else since_ns
    range_s = (until_ns - since_ns) / S
    shortest_s = _seconds(asked.interval) if asked.interval else 60
    wanted_s = max(range_s / _PIXELS, shortest_s)
    step_s = next((step for step in _STEPS_S if step >= wanted_s), _STEPS_S[-1])
    text = asked.query.replace("$__interval_ms", str(step_s * 1000)).replace("$__interval", f"{step_s}s")
    text = text.replace("$timeFilter", f"time >= {since_ns // 10**6}ms and time <= {until_ns // 10**6}ms")
    text = re.sub(r"/\^\$(\w+)\$/", lambda found: f"/^{values.get(found[1], '.*')}$/", text)
    assert not re.search(r"\$\w", text), text
    return text


def _seconds(interval: str) -> int:
    return int(interval[:-1]) * {"m": 60, "h": 3600, "d": 86400}[interval[-1]]


def answers(url: str, query: str) -> list[dict[str, object]]:
    """The series that influxd gives."""
    where = urllib.parse.urlencode({"db": "fasciwatch", "q": query, "epoch": "ms"})
    with urllib.request.urlopen(f"{url}/query", data=where.encode(), timeout=120) as answer:
        (result,) = json.load(answer)["results"]
    assert "error" not in result, f"{result['error']}: {query}"
    return list(result.get("series", []))


# ---- A person's months ----


def made(folder: Path, days: int) -> tuple[int, int]:
    """All that a store can hold of so many days, in a data folder; from when to when, ns UTC."""
    lived(folder, days, 7)
    with Archive.open(folder) as archive:
        (session,) = archive.sessions()
        (device,) = archive.devices()
        since_ns, until_ns = session.begun_ns, session.last_ns
        counted = tallies_of(
            archive.stretches(BIN_NS, *EVER_NS), archive.spent(BIN_NS, *EVER_NS), {device.id: "band"}
        )
    findings = correlate(counted, triggers(read_diary(folder), until_ns), None, until_ns * 1e-9).findings
    keep(folder, findings, until_ns)
    store = Store.open(folder)
    store.begin(now_ns=until_ns, version="simulated", settings={})
    rng = np.random.default_rng(days)
    beside: list[tuple[int, Record]] = []
    for hour_ns in range(since_ns, until_ns, 3600 * S):
        beside += _hour(device.id, hour_ns, rng)
        if hour_ns // (3600 * S) % 4 == 0:  # a status is of the time of its commit
            status = Status(
                battery_percent=100 - hour_ns // (3600 * S) % 90, lead_off=(rng.random() < 0.05, False)
            )
            store.write([*beside, (device.id, status)], hour_ns)
            beside = []
    store.write(beside, until_ns)
    store.write([(0, each) for each in Inbox(folder, [SINK]).look(until_ns)], until_ns)
    store.close(until_ns)
    return since_ns, until_ns


def _hour(device: int, at_ns: int, rng: np.random.Generator) -> Iterator[tuple[int, Record]]:
    for place in range(12):
        now_ns = at_ns + place * 300 * S
        entries = int(rng.poisson(20))
        yield 0, Waiting(0, now_ns, SINK, entries, entries * 1.5)
        yield 0, Disk(0, now_ns, 10**9 + at_ns // 10**9, 200 * 10**9)
    if rng.random() < 0.2:
        yield device, Linked(at_ns, "F0:5C:1A:00:00:01", "1.0", -50 - int(rng.integers(30)))
    if rng.random() < 0.05:
        name = f"no_data.band{int(rng.integers(3))}"
        raised = Alert(
            name, Kind.NO_DATA, at_ns, Change.RAISED, raised=True, why="nothing for 3 min", device="band"
        )
        yield 0, raised
        yield 0, Alert(name, Kind.NO_DATA, at_ns + 600 * S, Change.CLEARED, why="heard again", device="band")
        yield 0, Condition(SINK, at_ns, True, "cannot be reached")
        yield 0, Condition(SINK, at_ns + 900 * S, False, "cannot be reached")


def delivered(folder: Path, url: str) -> float:
    """Have influxd get all that is stored, as it would after being added later; seconds."""
    store, begun = Store.open(folder), time.monotonic()
    with Archive.open(folder) as archive:
        end = archive.outbox_end()

    async def deliver() -> None:
        done = asyncio.Event()

        def kept(device: int, records: list[Record]) -> None:
            store.write([(device, record) for record in records], until_ns)
            if any(getattr(record, "seq", 0) >= end for record in records):
                done.set()

        delivery = Delivery(Influx1(Place(url, "fasciwatch")), Outbox(folder, "laptop"))
        running = asyncio.create_task(delivery.run(kept, lambda *_: None))
        await done.wait()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    until_ns = max(session.last_ns for session in Archive.open(folder).sessions())
    try:
        asyncio.run(deliver())
    finally:
        store.close(until_ns)
    return time.monotonic() - begun


def main() -> None:
    """Print the time of each query."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--days", type=int, choices=LIMIT_S, action="append")
    for days in parser.parse_args().days or LIMIT_S:
        with tempfile.TemporaryDirectory() as name:
            _measured(Path(name), days)


def _measured(folder: Path, days: int) -> None:
    since_ns, until_ns = made(folder / "data", days)
    with Influxd(folder / "influxd") as influxd:
        took_s = delivered(folder / "data", influxd.url)
        print(f"{days} days, delivered in {took_s:.0f} s", flush=True)
        slowest = 0.0
        for asked in every_query():
            query = in_full(asked, since_ns, until_ns)
            took_s, series = min((_timed(influxd.url, query) for _ in range(3)), key=itemgetter(0))
            slowest = max(slowest, took_s)
            rows = sum(len(each["values"]) for each in series)  # type: ignore[arg-type]
            print(f"{took_s * 1e3:7.0f} ms {rows:7d} rows {len(series):3d} series  {asked.board}: {asked.what}")
        print(f"slowest {slowest * 1e3:.0f} ms; at most {LIMIT_S[days] * 1e3:.0f} ms is wanted")


def _timed(url: str, query: str) -> tuple[float, list[dict[str, object]]]:
    begun = time.monotonic()
    series = answers(url, query)
    return time.monotonic() - begun, series


if __name__ == "__main__":
    main()
