"""Makes docs/dashboard-*.svg: what the dashboards' queries answer, drawn by ourselves. It is not Grafana.

.venv/bin/python -m benchmarks.pictures     # needs influxd; a simulated person's month, a minute or two
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from html import escape
from itertools import groupby
from pathlib import Path

from benchmarks.dashboards import Asked, answers, delivered, in_full, made
from dashboards.boards import BOARDS
from dashboards.grafana import Board, Json, Panel
from tests.servers import Influxd

_COLUMN, _ROW, _GAP, _HEAD, _FOOT = 50, 30, 8, 46, 40
_INKS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#888888")
_SAYS = (
    "Drawn by benchmarks/pictures.py from the answers to this dashboard's queries for a simulated person's month. "
    "This is not Grafana, which lays out the same panels in its own way."
)
_DOCS = Path(__file__).parents[1] / "docs"
_MARGIN, _DAY_MS = 44, 86_400_000
_UNITS = {"cpm": "/min", "percent": "%", "decbytes": "B", "none": "", "short": "", "dateTimeFromNow": ""}
Series = tuple[str, list[str], list[list[object]]]


class Picture:
    """Of one panel, at its place."""

    def __init__(self, panel: Panel, place: Json, since_ms: int, until_ms: int) -> None:
        self._panel = panel
        self._span = since_ms, until_ms
        self.x, self.y = place["x"] * _COLUMN + _GAP / 2, place["y"] * _ROW + _HEAD
        self.width, self.height = place["w"] * _COLUMN - _GAP, place["h"] * _ROW - _GAP

    def drawn(self, series: Sequence[Series]) -> Iterator[str]:
        """Its frame, and what is in it."""
        yield f'<rect x="{self.x}" y="{self.y}" width="{self.width}" height="{self.height}" class="panel"/>'
        title = self._panel.title.replace("${trigger}", "caffeine")
        unit = _UNITS.get(self._panel.unit, self._panel.unit)
        yield _text(self.x + 8, self.y + 17, f"{title}{f' [{unit}]' if unit else ''}", "title")
        if not any(values for *_, values in series):
            yield _text(self.x + 8, self.y + 40, self._panel.empty, "faint")
            return
        draw = {
            "stat": self._stat, "table": self._table, "heatmap": self._heatmap, "trend": self._trend,
            "state-timeline": self._states,
        }.get(self._panel.kind, self._lines)  # fmt: skip
        yield from draw(series)

    def marked(self, times_ms: Sequence[float], ink: str) -> Iterator[str]:
        """What happened, below what is drawn."""
        for at_ms in times_ms:
            yield _box(self._across(at_ms), self.y + self.height - 40, 1, 5, ink)

    def _stat(self, series: Sequence[Series]) -> Iterator[str]:
        at_ms, value = series[0][2][-1]
        shown = _number(value)
        if self._panel.unit == "dateTimeFromNow":
            shown = f"{_day(at_ms)} {datetime.fromtimestamp(at_ms / 1000, UTC):%H:%M}"
        yield _text(self.x + self.width / 2, self.y + self.height / 2 + 18, shown, "stat")

    def _table(self, series: Sequence[Series]) -> Iterator[str]:
        columns = [column for column in series[0][1] if column not in ("from", "to")]
        keep = [series[0][1].index(column) for column in columns]
        body = [
            [*tags.split("|"), *(row[n] for n in keep)] if tags else [row[n] for n in keep]
            for tags, _, rows in series
            for row in rows
        ]
        extra = len(body[0]) - len(columns)
        named = [*[""] * extra, *columns]
        wide = self.width / len(named)
        for place, column in enumerate(named):
            text = self._panel.columns.get(column, {}).get("displayName", column)
            yield _text(self.x + 8 + place * wide, self.y + 36, _cut(text, wide), "faint")
        for number, row in enumerate(body[: int((self.height - 44) // 18)]):
            for place, value in enumerate(row):
                shown = (
                    f"{_day(value)} {datetime.fromtimestamp(value / 1000, UTC):%H:%M}"
                    if named[place] == "time"
                    else _number(value)
                )
                yield _text(self.x + 8 + place * wide, self.y + 54 + number * 18, _cut(shown, wide), "cell")

    def _heatmap(self, series: Sequence[Series]) -> Iterator[str]:
        days = (self._span[1] - self._span[0]) // _DAY_MS + 1
        highest = max(float(row[1]) for *_, rows in series for row in rows)
        wide, tall = (self.width - _MARGIN - 8) / days, (self.height - 48) / 24
        for hour, _, rows in series:
            y = self.y + 26 + (23 - int(hour)) * tall
            for at_ms, value in rows:
                x = self.x + _MARGIN + (at_ms // _DAY_MS - self._span[0] // _DAY_MS) * wide
                shade = 0.06 + 0.94 * float(value) / highest
                yield _box(x, y, wide - 1, tall - 1, _INKS[0], shade)
        for hour in (0, 6, 12, 18):
            yield _text(self.x + _MARGIN - 6, self.y + 34 + (23 - hour) * tall, f"{hour:02d} h", "axis end")
        yield from self._days()

    def _trend(self, series: Sequence[Series]) -> Iterator[str]:
        """Steps; the last stretch is drawn as long as the one before."""
        rows = sorted(row for *_, rows in series for row in rows)
        rows = sorted(([float(x) for x in row[1:]] for row in rows), key=lambda row: row[0])
        ends = [row[0] for row in rows[1:]] + [2 * rows[-1][0]]
        across = (self.width - _MARGIN - 16) / ends[-1]
        up = (self.height - 70) / max(row[3] for row in rows)
        floor = self.y + self.height - 36
        for level in (0.0, 1.0, 2.0):
            yield _polyline(
                [(self.x + _MARGIN, floor - level * up), (self.x + self.width - 8, floor - level * up)], "#ddd"
            )
            yield _text(self.x + _MARGIN - 8, floor - level * up + 4, f"{level:g}", "axis end")
        for part, label in enumerate(("Rate ratio", "From", "To")):
            steps = [
                (self.x + _MARGIN + hours * across, floor - row[part + 1] * up)
                for row, end in zip(rows, ends, strict=True)
                for hours in (row[0], end)
            ]
            yield _polyline(steps, _INKS[part])
            yield _box(self.x + 10 + part * 130, self.y + self.height - 14, 9, 9, _INKS[part])
            yield _text(self.x + 23 + part * 130, self.y + self.height - 6, label, "axis")
        for hours, *_ in rows:
            yield _text(self.x + _MARGIN + hours * across, floor + 16, f"{hours:g} h", "axis middle")

    def _states(self, series: Sequence[Series]) -> Iterator[str]:
        tall = (self.height - 52) / len(series)
        for place, (label, _, rows) in enumerate(series):
            y = self.y + 26 + place * tall
            changes = [row for before, row in zip([[0, None], *rows], rows, strict=False) if row[1] != before[1]]
            for (at_ms, on), (then_ms, _) in zip(changes, [*changes[1:], [self._span[1], None]], strict=True):
                x, end = self._across(at_ms), self._across(min(then_ms, self._span[1]))
                if on is not None:
                    yield _box(x, y, max(end - x, 0.6), tall - 6, _INKS[1] if on else "#b9dccd")
            yield _text(self.x + _MARGIN + 4, y + tall / 2, label, "cell")
        yield from self._days()

    def _lines(self, series: Sequence[Series]) -> Iterator[str]:
        curves = [
            (
                f"{label} {column}".strip() if len(columns) > 2 else label or column,
                [(row[0], row[n + 1]) for row in rows],
            )
            for label, columns, rows in series
            for n, column in enumerate(columns[1:])
        ]
        known = [float(value) for _, curve in curves for _, value in curve if value is not None]
        low, high = min(0.0, *known), max(known) or 1.0
        floor, roof = self.y + self.height - 40, self.y + 28
        for level in (low, (low + high) / 2, high):
            y = floor - (level - low) / (high - low) * (floor - roof)
            yield _polyline([(self.x + _MARGIN, y), (self.x + self.width - 8, y)], "#e5e5e5")
            yield _text(self.x + _MARGIN - 6, y + 4, _number(level), "axis end")
        up = (floor - roof) / (high - low)
        for number, (label, curve) in enumerate(curves):
            ink = _INKS[number % len(_INKS)]
            points = [
                (
                    self._across(at_ms),
                    None if value is None else floor - (float(value) - low) * up,
                )
                for at_ms, value in curve
            ]
            yield from self._curve(points, floor, ink)
            yield _box(self.x + 10 + number * 130, self.y + self.height - 14, 9, 9, ink)
            yield _text(self.x + 23 + number * 130, self.y + self.height - 6, _cut(label, 110), "axis")
        yield from self._days(lift=14)

    def _curve(self, points: Sequence[tuple[float, float | None]], floor: float, ink: str) -> Iterator[str]:
        style = self._panel.custom.get("drawStyle")
        known = [(x, y) for x, y in points if y is not None]
        if style == "bars":
            yield from (_box(x, y, 1.2, floor - y, ink) for x, y in known if y < floor)
        elif style == "points" or len(known) == 1:
            yield from (f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2" fill="{ink}"/>' for x, y in known)
        elif self._panel.custom.get("spanNulls"):
            yield _polyline(known, ink)
        else:
            for is_known, run in groupby(points, lambda point: point[1] is not None):
                if is_known:
                    yield _polyline(list(run), ink)

    def _across(self, at_ms: float) -> float:
        first, last = self._span
        return self.x + _MARGIN + (max(at_ms, first) - first) / (last - first) * (self.width - _MARGIN - 8)

    def _days(self, lift: int = 0) -> Iterator[str]:
        first = self._span[0] // _DAY_MS + 1
        for day in range(first, self._span[1] // _DAY_MS + 1, 7):
            yield _text(self._across(day * _DAY_MS), self.y + self.height - 8 - lift, _day(day * _DAY_MS), "axis")


def picture(board: Board, url: str, since_ns: int, until_ns: int) -> str:
    """A dashboard's panels, as its queries are answered."""
    panels = list(zip(board.panels, board.json()["panels"], strict=True))
    tall = max(each["gridPos"]["y"] + each["gridPos"]["h"] for _, each in panels) * _ROW + _HEAD + _FOOT
    parts = [_text(8, 30, board.title, "board")]
    for panel, placed in panels:
        series: list[Series] = []
        for query in panel.queries:
            asked = Asked(board.title, panel.title, query.text, panel.interval, panel)
            for each in answers(url, in_full(asked, since_ns, until_ns)):
                label = "|".join(map(str, each.get("tags", {}).values()))  # type: ignore[attr-defined]
                series.append((label, each["columns"], each["values"]))  # type: ignore[arg-type]
        parts += Picture(panel, placed["gridPos"], since_ns // 10**6, until_ns // 10**6).drawn(series)
    parts += _marks(board, panels, url, since_ns, until_ns)
    parts.append(_text(8, tall - 14, _SAYS, "faint"))
    about = escape(f"{board.title}: {board.about} {_SAYS}")
    size = f'viewBox="0 0 {24 * _COLUMN} {tall}" width="{24 * _COLUMN}" height="{tall}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label="{about}">'
    return f"{head}{_STYLE}{chr(10).join(parts)}</svg>\n"


def _marks(
    board: Board, panels: Sequence[tuple[Panel, Json]], url: str, since_ns: int, until_ns: int
) -> Iterator[str]:
    """The annotations, as ticks below every panel over time."""
    for annotation in board.annotations:
        asked = Asked(board.title, annotation.name, annotation.query)
        times = [row[0] for each in answers(url, in_full(asked, since_ns, until_ns)) for row in each["values"]]  # type: ignore[attr-defined]
        for panel, placed in panels:
            if panel.kind == "timeseries":
                drawn = Picture(panel, placed["gridPos"], since_ns // 10**6, until_ns // 10**6)
                yield from drawn.marked(times, annotation.colour)


_STYLE = """<style>
svg { background: #f4f5f5 } text { font: 12px sans-serif; fill: #222 } .panel { fill: #fff; stroke: #ddd }
.board { font-size: 20px } .title { font-weight: bold } .stat { font-size: 28px; text-anchor: middle }
.faint, .axis { fill: #777 } .end { text-anchor: end } .middle { text-anchor: middle }
</style>"""


def _text(x: float, y: float, text: str, kind: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}">{escape(text)}</text>'


def _box(x: float, y: float, width: float, height: float, ink: str, shade: float = 1.0) -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"'
    return f'<rect {place} fill="{ink}" fill-opacity="{shade:.2f}"/>'


def _polyline(points: Sequence[tuple[float, float]], ink: str) -> str:
    drawn = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline points="{drawn}" fill="none" stroke="{ink}" stroke-width="1.2"/>'


def _number(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "" if value is None else str(value)
    for limit, letter in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= limit:
            return f"{value / {'G': 1e9, 'M': 1e6, 'k': 1e3}[letter]:.3g} {letter}"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _cut(text: str, width: float) -> str:
    most = max(int(width / 6.3), 3)
    return text if len(text) <= most else text[: most - 1] + "…"


def _day(at_ms: float) -> str:
    return f"{datetime.fromtimestamp(at_ms / 1000, UTC):%b %d}"


def main() -> None:
    """Draw all of them."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        since_ns, until_ns = made(folder / "data", 35)
        with Influxd(folder / "influxd") as influxd:
            delivered(folder / "data", influxd.url)
            for board in BOARDS:
                path = _DOCS / (f"{board.uid.replace('fasciwatch', 'dashboard')}.svg")
                path.write_text(picture(board, influxd.url, since_ns, until_ns), encoding="utf-8")


if __name__ == "__main__":
    main()
