"""Figures as SVG text: a few plain plots, drawn by hand so that a report needs no program and no network.

Rules:

* Nothing is told by colour alone. Colours are of Okabe and Ito, which most people can tell apart, also in grey.
* What is not known is a gap in the line, never zero.
* Sizes are in CSS pixels of a figure `WIDTH` wide, which scales to the page.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

import numpy as np

WIDTH: Final = 720
INK: Final = "#222"
FAINT: Final = "#ddd"
GREY: Final = "#777"
BLUE: Final = "#0072b2"
SKY: Final = "#a6d3ee"
ORANGE: Final = "#d55e00"
SAND: Final = "#f0c987"

_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 12, 10, 30
_RATIO_MARKS = (
    (0.25, "¼"), (0.5, "½"), (1.0, "1"), (2.0, "2"), (4.0, "4"), (2 / 3, "1/1.5"), (1.5, "1.5"),
)  # fmt: skip
Scale = Callable[[float], float]
Numbers = Sequence[float | None]


@dataclass(frozen=True, slots=True)
class Tick:
    """A mark on an axis."""

    at: float
    label: str


@dataclass(frozen=True, slots=True)
class Ratio:
    """One row of a forest plot."""

    label: str
    value: float
    low: float
    high: float


def over(
    x: Sequence[float],
    y: Numbers,
    *,
    ticks: Sequence[Tick],
    title: str,
    unit: str,
    faint: Sequence[bool] = (),
    band: tuple[Numbers, Numbers] | None = None,
    height: int = 150,
) -> str:
    """A line with dots over `x`, and a band around it.

    Args:
        x: in order.
        y: from 0; `None` is a gap.
        ticks: of `x`.
        title: says what is seen, also to those who cannot.
        unit: of `y`.
        faint: dots that rest on little are hollow.
        band: low and high of each.
        height: of the figure.
    """
    known = [value for value in (*y, *(band[1] if band else ())) if value is not None]
    levels = nice(max(known, default=1.0))
    across, up = _scale(x[0] - 0.5, x[-1] + 0.5, _LEFT, WIDTH - _RIGHT), _up(levels[-1], height)
    parts = [_axes(ticks, levels, across, up, height, unit)]
    for run in _runs(y):
        if band is not None:
            upper = [(across(x[n]), up(band[1][n] or 0.0)) for n in run]
            lower = [(across(x[n]), up(band[0][n] or 0.0)) for n in reversed(run)]
            parts.append(f'<polygon points="{_points(upper + lower)}" fill="{SKY}" stroke="none"/>')
        line = [(across(x[n]), up(y[n] or 0.0)) for n in run]
        parts.append(f'<polyline points="{_points(line)}" fill="none" stroke="{BLUE}" stroke-width="1.5"/>')
        parts += [_dot(a, b, hollow=bool(faint) and faint[n]) for n, (a, b) in zip(run, line, strict=True)]
    return _svg(parts, height, title)


def stacked(
    x: Sequence[float],
    layers: Sequence[tuple[str, str, Sequence[float]]],
    *,
    ticks: Sequence[Tick],
    title: str,
    unit: str,
    top: float,
    height: int = 150,
) -> str:
    """Bars on one another; layers are (label, colour, values), the lowest first."""
    legend = 20
    levels = [top * quarter / 4 for quarter in range(5)]
    across = _scale(x[0] - 0.5, x[-1] + 0.5, _LEFT, WIDTH - _RIGHT)
    up = _scale(0.0, levels[-1], height - _BOTTOM, _TOP + legend)
    parts = [_axes(ticks, levels, across, up, height, unit)]
    wide = max((across(1.0) - across(0.0)) * 0.8, 0.5)
    base = np.zeros(len(x))
    for number, (label, colour, values) in enumerate(layers):
        for place, bottom, value in zip(x, base.tolist(), values, strict=True):
            if value > 0:
                y, tall = up(bottom + value), up(bottom) - up(bottom + value)
                parts.append(_box(across(place) - wide / 2, y, wide, tall, colour))
        base = base + np.asarray(values)
        at = _LEFT + 170 * number
        parts += [_box(at, 4, 12, 12, colour), _text(at + 17, 14, label, "start")]
    return _svg(parts, height, title)


def forest(rows: Sequence[Ratio], *, title: str) -> str:
    """Rate ratios with intervals, on a logarithmic axis; what is off the axis ends in an arrow."""
    left, each, top = 250, 24, 8
    height = top + each * len(rows) + 34
    across = _scale(math.log(0.25), math.log(4.0), left, WIDTH - 110)
    bottom = height - 28
    parts = []
    for ratio, label in _RATIO_MARKS:
        at = across(math.log(ratio))
        parts.append(_line(at, top, at, bottom, INK if ratio == 1 else FAINT))
        parts.append(_text(at, bottom + 16, label, "middle"))
    for number, row in enumerate(rows):
        y = top + each * (number + 0.5)
        low, middle, high = (across(_clipped(value)) for value in (row.low, row.value, row.high))
        parts.append(_text(left - 12, y + 4, row.label, "end"))
        parts.append(_line(low, y, high, y, BLUE, 2.0))
        for value, at, way in ((row.low, low, 1), (row.high, high, -1)):
            if not 0.25 <= value <= 4.0:
                tip = _points([(at + 6 * way, y - 4), (at, y), (at + 6 * way, y + 4)])
                parts.append(f'<polyline points="{tip}" fill="none" stroke="{BLUE}" stroke-width="2"/>')
        parts.append(_dot(middle, y, size=4))
        parts.append(_text(WIDTH, y + 4, f"{row.value:.2f} ({row.low:.2f}–{row.high:.2f})", "end"))
    return _svg(parts, height, title)


def steps(edges: Sequence[tuple[float, float]], rows: Sequence[Ratio], *, title: str) -> str:
    """A rate ratio with its band over hours, on a logarithmic axis that is the same for all."""
    width, height = 360, 130
    across = _scale(edges[0][0], edges[-1][1], _LEFT, width - 24)
    up = _scale(math.log(0.25), math.log(4.0), height - _BOTTOM, _TOP)
    bands, values = [], []
    for (begin, end), row in zip(edges, rows, strict=True):
        a, b = across(begin), across(end)
        low, middle, high = (up(_clipped(value)) for value in (row.low, row.value, row.high))
        bands.append(_box(a, high, b - a, low - high, SKY))
        values.append(_line(a, middle, b, middle, BLUE, 2.0))
    parts = bands
    for ratio, label in _RATIO_MARKS[:5]:
        y = up(math.log(ratio))
        parts.append(_line(_LEFT, y, width - 24, y, INK if ratio == 1 else FAINT, 0.75))
        parts.append(_text(_LEFT - 6, y + 4, label, "end"))
    parts += values
    named = list(dict.fromkeys(edge for pair in edges for edge in pair))
    parts += [_text(across(edge), height - _BOTTOM + 16, f"{edge:g}", "middle") for edge in named[:-1]]
    parts.append(_text(across(named[-1]), height - _BOTTOM + 16, f"{named[-1]:g} h", "middle"))
    return _svg(parts, height, title, width)


def trace(values: Sequence[float], *, title: str, width: int = 110, height: int = 34) -> str:
    """A small line without axes: the shape of a potential."""
    reach = max(1e-12, *(abs(value) for value in values))
    across, up = _scale(0, max(len(values) - 1, 1), 2, width - 2), _scale(-reach, reach, height - 2, 2)
    line = _points([(across(n), up(value)) for n, value in enumerate(values)])
    return _svg([f'<polyline points="{line}" fill="none" stroke="{INK}"/>'], height, title, width)


def nice(top: float) -> list[float]:
    """Levels from 0 to at least `top`, in steps of 1, 2 or 5."""
    step = 10.0 ** math.floor(math.log10(max(top, 1e-9) / 3))
    step *= next(factor for factor in (1, 2, 5, 10) if max(top, 1e-9) / (step * factor) <= 4)
    return [step * number for number in range(math.ceil(top / step - 1e-9) + 1)] if top > 0 else [0.0, 1.0]


# Parts ----------------------------------------------------------------------------------------------------------


def _svg(parts: Sequence[str], height: float, title: str, width: int = WIDTH) -> str:
    named = f'role="img" aria-label="{escape(title)}"><title>{escape(title)}</title>'
    return f'<svg viewBox="0 0 {width} {height:g}" {named}{"".join(parts)}</svg>'


def _axes(ticks: Sequence[Tick], levels: Sequence[float], across: Scale, up: Scale, height: int, unit: str) -> str:
    parts = []
    for level in levels:
        y = up(level)
        parts.append(_line(_LEFT, y, WIDTH - _RIGHT, y, GREY if level == 0 else FAINT))
        parts.append(_text(_LEFT - 6, y + 4, f"{level:g}", "end"))
    for tick in ticks:
        parts.append(_line(across(tick.at), up(0), across(tick.at), up(0) + 4, GREY))
        parts.append(_text(across(tick.at), height - _BOTTOM + 17, tick.label, "middle"))
    middle = (up(0) + up(levels[-1])) / 2
    parts.append(
        f'<text x="12" y="{middle:.1f}" text-anchor="middle" transform="rotate(-90 12 {middle:.1f})">'
        f"{escape(unit)}</text>"
    )
    return "".join(parts)


def _runs(y: Numbers) -> list[list[int]]:
    """Places of known values, in unbroken runs."""
    runs: list[list[int]] = []
    for place, value in enumerate(y):
        if value is None:
            continue
        if runs and runs[-1][-1] == place - 1:
            runs[-1].append(place)
        else:
            runs.append([place])
    return runs


def _scale(low: float, high: float, to_low: float, to_high: float) -> Scale:
    slope = (to_high - to_low) / (high - low)
    return lambda value: to_low + (value - low) * slope


def _up(top: float, height: int) -> Scale:
    return _scale(0.0, top, height - _BOTTOM, _TOP)


def _clipped(ratio: float) -> float:
    return math.log(min(max(ratio, 0.25), 4.0))


def _points(points: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)


def _line(x1: float, y1: float, x2: float, y2: float, colour: str, width: float = 1.0) -> str:
    ends = f'x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"'
    return f'<line {ends} stroke="{colour}" stroke-width="{width:g}"/>'


def _box(x: float, y: float, width: float, height: float, colour: str) -> str:
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" fill="{colour}"/>'


def _dot(x: float, y: float, *, hollow: bool = False, size: float = 2.5) -> str:
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{size:g}" fill="{"#fff" if hollow else BLUE}" stroke="{BLUE}"/>'


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
