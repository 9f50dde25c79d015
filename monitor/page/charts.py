"""Pictures of the past as SVG: rates over time with what was logged, what was worn, hours of the clock by day.

Rules:

* Colours are those of the style sheet; no line or cell is told by its colour alone: lines have their own dashes,
  marks and names, cells say their number when pointed at, what was not seen is hatched or empty.
* What comes from a person is escaped where it enters the text.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from monitor.page.frame import text, wide
from monitor.page.past import Floats
from monitor.report.facts import LEAST_S
from monitor.report.figures import nice

WIDTH = 1000
LEFT, RIGHT = 96, 18
_DASHES = ("", "7 4", "2 3", "9 3 2 3", "14 4", "4 2 1 2", "1 3", "12 3 3 3")
_LANE_PX = 15
_LANES_MAX = 7
_LITTLE = f"rests on less than {LEAST_S / 60:.0f} analysable minutes"
_REACHING_MAX = 20
"""Of so many entries each has a line down into the rates."""
Scale = Callable[[float], float]


@dataclass(frozen=True, slots=True, eq=False)
class Line:
    """The rates of a site."""

    name: str
    rates: Floats
    """Of each bin; NaN is a hole."""
    little: NDArray[np.bool_]
    """Whether it rests on little."""


@dataclass(frozen=True, slots=True)
class Tick:
    """A mark of the time axis; places are in bins."""

    at: float
    label: str


@dataclass(frozen=True, slots=True)
class Logged:
    """Something that a person logged."""

    begins: float
    ends: float | None
    name: str
    about: str


@dataclass(frozen=True, slots=True)
class Cell:
    """An hour of the clock on a day, or more days."""

    rate: float
    """NaN: none can be told."""
    little: bool
    """Whether it rests on little."""
    observed: bool
    about: str
    link: str


def rates(lines: Sequence[Line], count: int, ticks: Sequence[Tick], logged: Sequence[Logged], title: str) -> str:
    """Twitches an analysable minute over time, below a lane for each kind of what was logged."""
    lanes = _lanes(logged)
    top = 26 + _LANE_PX * len(lanes)
    bottom = top + 210
    known = [value for line in lines for value in line.rates[~np.isnan(line.rates)].tolist()]
    levels = nice(max(known, default=1.0) * 1.05)
    across = _across(count)

    def up(value: float) -> float:
        return bottom - value / levels[-1] * (bottom - top)

    parts = [_time_axis(ticks, across, top, bottom)]
    for level in levels:
        parts.append(_rule(LEFT, up(level), WIDTH - RIGHT, up(level)))
        parts.append(_words(LEFT - 8, up(level) + 4, f"{level:g}", "end"))
    parts.append(_words(LEFT - 8, top - 9, "a minute", "end"))
    reaching = bottom if len(logged) <= _REACHING_MAX else 0
    for number, (name, entries) in enumerate(lanes):
        y = _LANE_PX * number + 4
        parts.append(_words(LEFT - 8, y + 10, name, "end"))
        parts += [_mark(each, y, across, reaching) for each in entries]
    for number, line in enumerate(lines):
        parts += _drawn(line, number, across, up)
    legend = "".join(_key(number, line.name) for number, line in enumerate(lines))
    if any((line.little & ~np.isnan(line.rates)).any() for line in lines):
        legend += f'<span><svg width="12" height="12" aria-hidden="true">{_ring(6, 6)}</svg> {_LITTLE}</span>'
    return f'<div class="legend">{legend}</div>' + _svg(parts, bottom + 36, title)


def _lanes(logged: Sequence[Logged]) -> list[tuple[str, list[Logged]]]:
    """By kind, the most frequent first; what is beyond the last lane shares it."""
    counts = Counter(each.name for each in logged)
    named = [name for name, _ in counts.most_common(_LANES_MAX)]
    if len(counts) > _LANES_MAX:
        named[-1] = "others"
    lanes: dict[str, list[Logged]] = {name: [] for name in named}
    for each in logged:
        lanes[each.name if each.name in lanes else "others"].append(each)
    return [(name[:15], entries) for name, entries in lanes.items()]


def wear(names: Sequence[str], shares: Sequence[tuple[Floats, Floats]], ticks: Sequence[Tick], title: str) -> str:
    """How much of each bin was analysable, and how much excluded, of each site."""
    row = 22
    height = row * len(names) + 26
    count = len(shares[0][0]) if shares else 1
    across = _across(count)
    parts = [_time_axis(ticks, across, 0, height - 26)]
    wide = across(1) - across(0)
    for number, (name, (analysable, excluded)) in enumerate(zip(names, shares, strict=True)):
        floor = row * (number + 1) - 3
        parts.append(_words(LEFT - 8, floor - 4, name, "end"))
        parts.append(_rule(LEFT, floor, WIDTH - RIGHT, floor))
        for place in np.flatnonzero(analysable + excluded > 0).tolist():
            tall, more = (row - 6) * min(analysable[place], 1), (row - 6) * min(excluded[place], 1)
            parts.append(_box(across(place), floor - tall, wide, tall, "var(--mark)"))
            parts.append(_box(across(place), floor - tall - more, wide, more, "url(#hatch)"))
    key = _swatch("var(--mark)", "analysable") + _swatch(
        "url(#hatch)", "excluded: muscle used, movement, bad contact"
    )
    key += "<span>no bar: not worn, or not received</span>"
    return f'<div class="legend">{key}</div>' + _svg([_HATCH, *parts], height, title)


def heat(rows: Sequence[tuple[str, Sequence[Cell]]], title: str) -> str:
    """A row a day, a column an hour of the clock."""
    tall = 22 if len(rows) <= 35 else 13
    height = tall * len(rows) + 24
    wide = (WIDTH - LEFT - RIGHT) / 24
    known = [cell.rate for _, cells in rows for cell in cells if not math.isnan(cell.rate)]
    full = float(np.quantile(known, 0.97)) if known else 1.0
    parts = [_HATCH]
    for number, (name, cells) in enumerate(rows):
        y = tall * number
        if tall > 15 or number % 2 == 0:
            parts.append(_words(LEFT - 8, y + tall * 0.72, name, "end"))
        for hour, cell in enumerate(cells):
            parts.append(_cell(LEFT + hour * wide, y, wide - 1.5, tall - 1.5, cell, full))
    parts += [_words(LEFT + hour * wide + 2, height - 6, f"{hour}:00") for hour in range(0, 24, 3)]
    scale = "".join(
        f'<svg width="22" height="12" aria-hidden="true"><rect class="cell" width="22" height="12" '
        f'fill-opacity="{0.08 + 0.92 * share:.2f}"/></svg>'
        for share in (0, 0.33, 0.66, 1)
    )
    key = f'<span class="heat">0 {scale} {full:.2g} or more a minute</span>'
    if any(cell.little and not math.isnan(cell.rate) for _, cells in rows for cell in cells):
        dashed = f'<rect class="cell" x="1" y="1" width="20" height="10" fill-opacity="0.3"{_DASHED}/>'
        key += f'<span class="heat"><svg width="22" height="12" aria-hidden="true">{dashed}</svg> {_LITTLE}</span>'
    key += _swatch("url(#hatch)", "worn, but too little could be analysed") + "<span>empty: not worn</span>"
    return f'<div class="legend">{key}</div><div class="heat">{_svg(parts, height, title)}</div>'


def waveform(values: Sequence[float], start_s: float, rate_hz: float, unit: str, title: str) -> str:
    """A twitch, with its axes."""
    width, height, left, bottom, top = 560, 220, 62, 188, 12
    reach = max((abs(value) for value in values), default=1.0) or 1.0
    step = nice(reach)[1]
    span_ms = (len(values) - 1) / rate_hz * 1e3

    def across(ms: float) -> float:
        return left + (ms - start_s * 1e3) / max(span_ms, 1e-9) * (width - left - 12)

    def up(value: float) -> float:
        return (top + bottom) / 2 - value / reach * (bottom - top) / 2.1

    parts = []
    for level in np.arange(-math.floor(reach / step), math.floor(reach / step) + 1) * step:
        parts.append(_rule(left, up(level), width - 12, up(level)))
        parts.append(_words(left - 6, up(level) + 4, f"{level:g}", "end"))
    tick = nice(span_ms)[1]
    for ms in np.arange(math.ceil(start_s * 1e3 / tick), math.floor((start_s * 1e3 + span_ms) / tick) + 1) * tick:
        parts.append(_rule(across(ms), bottom, across(ms), bottom + 4))
        parts.append(_words(across(ms), bottom + 18, f"{ms:g}", "middle"))
    parts.append(_words(width - 12, height - 2, "ms from onset", "end"))
    parts.append(_words(2, height - 2, text(unit), "start", escaped=True))
    points = " ".join(
        f"{across((start_s + n / rate_hz) * 1e3):.1f},{up(value):.1f}" for n, value in enumerate(values)
    )
    parts.append(f'<polyline points="{points}" fill="none" stroke="var(--trace)" stroke-width="2"/>')
    return _svg(parts, height, title, width)


# Parts ----------------------------------------------------------------------------------------------------------

_DASHED = ' stroke="var(--ink)" stroke-dasharray="3 2"'
_HATCH = (
    '<defs><pattern id="hatch" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
    '<rect width="6" height="6" fill="var(--shade)"/><rect width="2" height="6" fill="var(--sand)"/>'
    "</pattern></defs>"
)


def _across(count: int) -> Scale:
    return lambda place: LEFT + place / max(count, 1) * (WIDTH - LEFT - RIGHT)


def _drawn(line: Line, number: int, across: Scale, up: Scale) -> list[str]:
    """In unbroken runs; a bin that stands alone is a dot."""
    parts = []
    known = np.flatnonzero(~np.isnan(line.rates))
    style = (
        f'fill="none" stroke="var(--mark)" stroke-width="2" stroke-dasharray="{_DASHES[number % len(_DASHES)]}"'
    )
    for run in np.split(known, np.flatnonzero(np.diff(known) > 1) + 1):
        points = [(across(place + 0.5), up(line.rates[place])) for place in run.tolist()]
        joined = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        parts.append(f'<polyline points="{joined}" {style}/>')
        if len(points) < 3:
            parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="var(--mark)"/>' for x, y in points]
        parts += [_ring(*at) for at, place in zip(points, run.tolist(), strict=True) if line.little[place]]
    return parts


def _ring(x: float, y: float) -> str:
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="var(--card)" stroke="var(--mark)" stroke-width="2"/>'


def _key(number: int, name: str) -> str:
    line = (
        f'<svg width="34" height="10" aria-hidden="true"><line x1="1" y1="5" x2="33" y2="5" stroke="var(--mark)" '
        f'stroke-width="2" stroke-dasharray="{_DASHES[number % len(_DASHES)]}"/></svg>'
    )
    return f"<span>{line} {text(name)}</span>"


def _mark(each: Logged, y: float, across: Scale, reaching: float) -> str:
    x = across(each.begins)
    span = "" if each.ends is None else _box(x, y + 4, max(across(each.ends) - x, 2), 5, "var(--warn)")
    diamond = f"{x:.1f},{y + 1:.1f} {x + 5:.1f},{y + 6:.1f} {x:.1f},{y + 11:.1f} {x - 5:.1f},{y + 6:.1f}"
    ends = f'x1="{x:.1f}" y1="{y + 11}" x2="{x:.1f}" y2="{reaching}"'
    below = f'<line {ends} stroke="var(--warn)" stroke-dasharray="1 3"/>' if reaching else ""
    shape = f'<polygon points="{diamond}" fill="var(--warn)"/>'
    return f'<g class="logged"><title>{text(each.about)}</title>{span}{below}{shape}</g>'


def _cell(x: float, y: float, wide: float, tall: float, cell: Cell, full: float) -> str:
    if not cell.observed:
        return ""
    if math.isnan(cell.rate):
        shape = f'<rect x="{x:.1f}" y="{y}" width="{wide:.1f}" height="{tall:.1f}" fill="url(#hatch)"/>'
    else:
        share = 0.08 + 0.92 * min(cell.rate / max(full, 1e-9), 1.0)
        shape = (
            f'<rect class="cell" x="{x:.1f}" y="{y}" width="{wide:.1f}" height="{tall:.1f}" rx="2" '
            f'fill-opacity="{share:.2f}"{_DASHED if cell.little else ""}/>'
        )
    about = text(cell.about)
    return f'<a href="{text(cell.link)}" aria-label="{about}"><title>{about}</title>{shape}</a>'


def _time_axis(ticks: Sequence[Tick], across: Scale, top: float, bottom: float) -> str:
    return "".join(
        _rule(across(tick.at), top, across(tick.at), bottom + 4)
        + _words(across(tick.at) + 3, bottom + 17, tick.label)
        for tick in ticks
    )


def _swatch(fill: str, said: str) -> str:
    pattern = _HATCH if "hatch" in fill else ""
    box = f'{pattern}<rect width="16" height="12" fill="{fill}"/>'
    return f'<span><svg width="16" height="12" aria-hidden="true">{box}</svg> {text(said)}</span>'


def _svg(parts: Sequence[str], height: float, title: str, width: int = WIDTH) -> str:
    named = f'role="group" aria-label="{text(title)}"'
    svg = f'<svg class="chart" viewBox="0 0 {width} {height:g}" {named}>{"".join(parts)}</svg>'
    return wide(svg, title)


def _rule(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="var(--line)"/>'


def _box(x: float, y: float, wide: float, tall: float, fill: str) -> str:
    if tall <= 0:
        return ""
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{wide:.1f}" height="{tall:.1f}" fill="{fill}"/>'


def _words(x: float, y: float, said: str, anchor: str = "start", *, escaped: bool = False) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{said if escaped else text(said)}</text>'
