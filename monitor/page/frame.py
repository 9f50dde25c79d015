"""What every screen shares: head, navigation, words and how they are set.

Rules:

* What comes from a person or a device is set as text, never as markup: `text` escapes, NiceGUI's labels do.
* Markup is made in this package alone, of constants and escaped text, and says so by `markup`.
* Times are on this computer's clock, which is the person's. Every number has its unit. Nothing is told by colour
  alone.
* Calm: at night (22:00 to 7:00) counts are put away until they are asked for, and nothing pops up. By day they can
  be put away too; a browser remembers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from html import escape
from importlib.resources import files
from typing import Final

from nicegui import ui

from monitor.report import figures

ASSETS: Final = {
    "style.css": "text/css",
    "signals.js": "text/javascript",
    "calm.js": "text/javascript",
    "icon.svg": "image/svg+xml",
    "icon-192.png": "image/png",
    "icon-512.png": "image/png",
    "manifest.webmanifest": "application/manifest+json",
}
SCREENS: Final = (
    ("/", "Now", "monitor_heart"),
    ("/log", "Log", "edit_note"),
    ("/history", "History", "calendar_month"),
    ("/answers", "Answers", "help_outline"),
    ("/alerts", "Alerts", "notifications_none"),
    ("/setup", "Set-up", "tune"),
)
_NIGHT_FROM, _NIGHT_TO = 22, 7
_THEMED = {
    figures.INK: "var(--ink)",
    figures.FAINT: "var(--line)",
    figures.GREY: "var(--quiet)",
    figures.BLUE: "var(--mark)",
    figures.SKY: "var(--band)",
    figures.ORANGE: "var(--warn)",
    figures.SAND: "var(--sand)",
    '"#fff"': '"var(--card)"',
}
_HEAD = """
<link rel="stylesheet" href="/assets/style.css">
<link rel="manifest" href="/assets/manifest.webmanifest">
<link rel="apple-touch-icon" href="/assets/icon-192.png">
<meta name="theme-color" content="#f6f6f3" media="(prefers-color-scheme: light)">
<meta name="theme-color" content="#13181a" media="(prefers-color-scheme: dark)">
<meta name="mobile-web-app-capable" content="yes">
<script src="/assets/calm.js"></script>
"""


def asset(name: str) -> bytes:
    """A file of ours; the names are those of `ASSETS`, and no request makes one."""
    return files("monitor.page").joinpath("static", name).read_bytes()


def notice_page(title: str, said: str) -> str:
    """A page of its own, for what cannot be shown as a screen."""
    links = "".join(f'<a class="button" href="{to}">{name}</a>' for to, name, _ in SCREENS)
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)} · fasciwatch</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<link rel="stylesheet" href="/assets/style.css"><link rel="icon" href="/assets/icon.svg"></head>'
        f'<body class="way-in"><main class="card"><h1>{escape(title)}</h1><p>{escape(said)}</p>'
        f'<div class="row" role="navigation" aria-label="Screens">{links}</div></main></body></html>'
    )


@contextmanager
def screen(path: str, title: str) -> Iterator[None]:
    """A screen with its navigation; what is in the block is its content."""
    ui.page_title(f"{title} · fasciwatch")
    ui.add_head_html(_HEAD)
    night = " night" if is_night(local_now()) else ""
    with ui.element("div").classes(f"shell{night}"):
        _navigation(path)
        with ui.element("main").classes("main").props('id="main" tabindex="-1"'):
            with ui.element("header").classes("top"):
                heading(title, 1)
                markup('<button type="button" class="quiet-button" data-calm>Hide counts</button>')
            yield


def _navigation(path: str) -> None:
    items = "".join(
        f'<a href="{to}"{" aria-current=page" if to == path else ""}>'
        f'<span class="material-icons" aria-hidden="true">{icon}</span><span>{name}</span></a>'
        for to, name, icon in SCREENS
    )
    skip = '<a class="skip" href="#main">Skip to the content</a>'
    brand = '<span class="brand"><img src="/assets/icon.svg" alt="" width="26" height="26">fasciwatch</span>'
    markup(f'{skip}<nav aria-label="Screens">{brand}{items}</nav>')


def is_night(clock: datetime) -> bool:
    """Whether people sleep."""
    return clock.hour >= _NIGHT_FROM or clock.hour < _NIGHT_TO


def local_now() -> datetime:
    """On this computer's clock."""
    return datetime.now(UTC).astimezone()


def local(time_ns: int) -> datetime:
    """On this computer's clock."""
    return datetime.fromtimestamp(time_ns // 10**9, UTC).astimezone()


def zone_name() -> str:
    """Of this computer's clock."""
    return local_now().tzname() or "local time"


def moment(time_ns: int) -> str:
    """Time of day, with the date where it is not today."""
    at, now = local(time_ns), local_now()
    if at.date() == now.date():
        return f"{at:%H:%M}"
    return f"{at.day} {at:%b} {at:%H:%M}" if at.year == now.year else f"{at.day} {at:%b %Y}"


def unit_said(unit: str) -> str:
    """As people write it."""
    return unit.replace("uV", "µV").replace("m/s^2", "m/s²")


def size_said(size: float, unit: str) -> str:
    """An amplitude with its unit."""
    if unit == "g":
        size, unit = size * 1e3, "mg"
    number = f"{size:.0f}" if size >= 100 else f"{size:.3g}"
    return f"{number} {text(unit_said(unit))}"


def text(said: object) -> str:
    """Whatever was said, for use in markup."""
    return escape(str(said))


def markup(html: str, classes: str = "") -> ui.html:
    """Markup of ours. Whoever calls has escaped what is not."""
    return ui.html(html, sanitize=False).classes(classes)


def heading(said: str, level: int = 2) -> None:
    """A heading."""
    markup(f"<h{level}>{text(said)}</h{level}>")


def quiet(said: str) -> None:
    """An explanation."""
    markup(f'<p class="quiet">{text(said)}</p>')


def notice(said: str, kind: str = "info") -> None:
    """Something that a person should read: info or warn."""
    word = {"warn": "Attention", "info": "Note"}[kind]
    markup(f'<p class="notice {kind}"><strong>{word}:</strong> {text(said)}</p>')


def facts(told: Iterable[tuple[str, str]]) -> str:
    """Names and what they are, as markup; both are escaped here."""
    listed = "".join(f"<div><dt>{text(name)}</dt><dd>{text(said)}</dd></div>" for name, said in told)
    return f'<dl class="facts">{listed}</dl>'


def table(
    heads: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    numbers: Sequence[int] = (),
    counts: Sequence[int] = (),
) -> str:
    """A table as markup; the first cell of a row names it.

    Args:
        heads: of the columns.
        rows: cells, which are markup: whoever calls has escaped what is not.
        numbers: columns that are set to the right.
        counts: columns that can be hidden.
    """

    def kind(column: int) -> str:
        classes = " ".join(["n"] * (column in numbers) + ["count"] * (column in counts))
        return f' class="{classes}"' if classes else ""

    titles = "".join(f'<th scope="col"{kind(n)}>{text(each)}</th>' for n, each in enumerate(heads))
    lines = "".join(
        f'<tr><th scope="row">{row[0]}</th>'
        + "".join(f"<td{kind(n)}>{cell}</td>" for n, cell in enumerate(row[1:], 1))
        + "</tr>"
        for row in rows
    )
    return wide(f"<table><thead><tr>{titles}</tr></thead><tbody>{lines}</tbody></table>", ", ".join(heads))


def wide(html: str, about: str) -> str:
    """What scrolls sideways where it does not fit; with the keyboard too."""
    return f'<div class="wide" tabindex="0" role="group" aria-label="{text(about)}">{html}</div>'


def entry(said: str, when: str) -> str:
    """A line of a list, with its time; both are markup."""
    return f'<div class="entry"><span>{said}</span><span class="when">{when}</span></div>'


def warning(begins: str, said: object) -> str:
    """What went wrong, as markup."""
    return f'<p class="notice warn"><strong>{begins}:</strong> {text(said)}</p>'


def progress(percent: int) -> str:
    """How much is over, as markup."""
    about = f'role="img" aria-label="{percent} % over"'
    return f'<div class="bar" {about}><span style="width:{percent}%"></span></div>'


@contextmanager
def card(title: str = "", classes: str = "") -> Iterator[ui.element]:
    """A block of a screen."""
    with ui.element("section").classes(f"card {classes}") as element:
        if title:
            heading(title)
        yield element


def button(said: str, act: object, *, primary: bool = False, label: str = "") -> ui.button:
    """A button that does something here."""
    made = ui.button(said, on_click=act, color=None)  # type: ignore[arg-type]
    made.props("no-caps unelevated" + (f' aria-label="{text(label)}"' if label else ""))
    return made.classes("button primary" if primary else "button")


def themed(svg: str) -> str:
    """A figure of the report in the colours of the screen, light or dark."""
    for colour, name in _THEMED.items():
        svg = svg.replace(colour, name)
    return svg
