"""History: rates by site over a day, a week, a month or all, with what was logged and what was worn; each twitch.

Rules:

* Rates are per analysable minute; what was excluded and what was not worn is seen as such.
* A day is one of the clock. Where it was not worn nothing is drawn, and never a zero.
* What a person says of a twitch (real, artefact) is kept beside the diary; it changes no count.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any
from urllib.parse import urlencode

import numpy as np
from nicegui import ui

from monitor import lines
from monitor.database import StoreError
from monitor.detection.events import State, Twitch
from monitor.diary import FELT, NOTHING, Diary, Label
from monitor.diary import Logged as InDiary
from monitor.page import charts, frame
from monitor.page.frame import button, card, local, local_now, markup, moment, quiet, size_said, text
from monitor.page.log import entry_said
from monitor.page.now import overlay
from monitor.page.past import Binned, Past, Sums, binned, midnight_ns, places_by_day
from monitor.page.reader import Reader
from monitor.store import Archive, Spent

RANGES = {"day": 1, "week": 7, "month": 30, "all": 0}
_BINS_A_DAY = {"day": 48, "week": 12, "month": 4, "all": 1}
_HALF_HOURS_A_DAY = 48
_HOUR_NS = 3600 * 10**9
_DAY_S = 86400.0
_LISTED = 12
_SHOWN = 60
_WEEKS_FROM = 70
"""Days from which a row of the heat map is a week."""
_EXCLUDED = {
    State.VOLUNTARY: "the muscle was used",
    State.ARTEFACT: "movement or cable",
    State.BAD_CONTACT: "bad contact",
}

_past: dict[Reader, Past] = {}
_warming: list[asyncio.Task[None]] = []
"""Kept, so that they are not forgotten half-way."""


@dataclass(frozen=True, slots=True)
class View:
    """What is asked for."""

    range: str
    first: date
    days: int
    site: str
    """Empty: all together."""
    hour: int | None

    def link(self, **changed: object) -> str:
        """To the same with something changed."""
        said = {"range": self.range, "on": self.last.isoformat(), "site": self.site, "hour": self.hour} | changed
        return "/history?" + urlencode({name: value for name, value in said.items() if value not in ("", None)})

    @property
    def last(self) -> date:
        return self.first + timedelta(days=self.days - 1)

    @property
    def since_ns(self) -> int:
        return midnight_ns(self.first)

    @property
    def until_ns(self) -> int:
        return midnight_ns(self.first + timedelta(days=self.days))


@dataclass(frozen=True, slots=True, eq=False)
class _Read:
    sums: Sums
    spent: list[Spent]
    twitches: list[tuple[int, Twitch]]


def warm(reader: Reader) -> None:
    """Read the years before anyone asks."""
    past = _past.setdefault(reader, Past())

    async def read() -> None:
        with suppress(StoreError):
            await reader.ask(lambda archive: past.sums(archive, time.time_ns()))

    _warming.append(asyncio.create_task(read(), name="warm"))


def screen_of(reader: Reader) -> Callable[..., Coroutine[Any, Any, None]]:
    """The screen, for what its address asks."""

    async def screen(range: str = "day", on: str = "", site: str = "", hour: str = "") -> None:  # noqa: A002
        await build(reader, range, on, site, hour)

    return screen


async def build(reader: Reader, range_: str, on: str, site: str, hour: str) -> None:
    """The screen."""
    with frame.screen("/history", "History"):
        past = _past.setdefault(reader, Past())
        try:
            sums = await reader.ask(lambda archive: past.sums(archive, time.time_ns()))
        except StoreError as error:
            quiet(f"{error.args[0]}. {error.remedy}.")
            return
        view = viewed(sums, range_, on, site, hour)
        seen = await reader.ask(lambda archive: _read(archive, sums, view))
        entries = await reader.write(Diary.entries)
        _choices(view, sums)
        logged = [
            each for each in entries
            if view.since_ns <= each.entry.occurred_ns < view.until_ns and each.entry.kind != NOTHING
        ]  # fmt: skip
        with card("Twitches an analysable minute"):
            markup(_rates(view, seen.sums, logged))
        with card("Worn, and what could be analysed"):
            markup(_wear(view, seen.sums))
            markup(_excluded(view, seen.spent, seen.sums))
        with card("By hour of the clock"):
            markup(_heat(view, seen.sums))
            whose = "" if view.site or len(sums.sites) < 2 else "The mean of all sites with electrodes. "
            quiet(f"{whose}Choose an hour to see its twitches.")
        if view.range == "day":
            await _twitches(reader, view, seen)
        _logged(logged)


def viewed(sums: Sums, range_: str, on: str, site: str, hour: str) -> View:
    """What an address asks for; what it gets wrong is as usual."""
    chosen = range_ if range_ in RANGES else "day"
    today = local_now().date()
    newest = local(int(sums.start_ns[-1])).date() if len(sums.start_ns) else today
    try:
        last = min(date.fromisoformat(on), today)
        midnight_ns(last - timedelta(days=40))
    except (ValueError, OverflowError, OSError):
        last = min(newest, today)
    if chosen == "all":
        first = local(int(sums.start_ns[0])).date() if len(sums.start_ns) else today
        first = min(first, last)
        days = (last - first).days + 1
    else:
        days = RANGES[chosen]
        first = last - timedelta(days=days - 1)
    kept_hour = int(hour) if hour.isascii() and hour.isdigit() and int(hour) < 24 else None
    return View(chosen, first, days, site if site in sums.sites else "", kept_hour)


def _read(archive: Archive, sums: Sums, view: View) -> _Read:
    twitches: list[tuple[int, Twitch]] = []
    if view.range == "day":
        since_ns, until_ns = view.since_ns, view.until_ns
        if view.hour is not None:
            since_ns += view.hour * _HOUR_NS
            until_ns = since_ns + _HOUR_NS
        twitches = archive.twitches(since_ns, until_ns, channel=None, limit=_SHOWN)
    spent = archive.spent(400 * 86400 * 10**9, view.since_ns, view.until_ns)
    return _Read(sums.within(view.since_ns, view.until_ns), spent, twitches)


# Choosing -------------------------------------------------------------------------------------------------------


def _choices(view: View, sums: Sums) -> None:
    ranges = "".join(
        _choice(view.link(range=name, hour=None), name.capitalize(), chosen=name == view.range) for name in RANGES
    )
    sites = "".join(
        _choice(view.link(site=name), name or "All sites", chosen=name == view.site) for name in ("", *sums.sites)
    )
    step = timedelta(days=view.days)
    span = _day(view.last) if view.days == 1 else f"{_day(view.first)} to {_day(view.last)}"
    turning = ""
    if view.range != "all":
        earlier = view.link(on=(view.last - step).isoformat(), hour=None)
        later = view.link(on=(view.last + step).isoformat(), hour=None)
        today = view.last >= local_now().date()
        turning = _choice(earlier, "Earlier") + ("" if today else _choice(later, "Later"))
    zone = text(frame.zone_name())
    markup(
        f'<div class="row" role="group" aria-label="How much">{ranges}{turning}<strong>{span}</strong>'
        f'<span class="quiet">times in {zone}</span></div>'
    )
    if len(sums.sites) > 1:
        markup(f'<div class="row" role="group" aria-label="Where">{sites}</div>')


def _choice(link: str, said: str, *, chosen: bool = False) -> str:
    current = ' aria-current="true"' if chosen else ""
    return f'<a class="button" href="{text(link)}"{current}>{text(said)}</a>'


def _day(day: date) -> str:
    return f"{day.day} {day:%b %Y}"


# Figures --------------------------------------------------------------------------------------------------------


def _bins(view: View, sums: Sums) -> tuple[np.ndarray, int]:
    """Place of each half hour in the bins of the screen, and how many there are."""
    a_day = _BINS_A_DAY[view.range] if view.days <= 366 else 1
    days, _ = places_by_day(sums, view.first)
    begins = np.array([midnight_ns(view.first + timedelta(days=n)) for n in range(view.days + 1)])
    inside = (sums.start_ns - begins[np.clip(days, 0, view.days - 1)]) / (_DAY_S * 1e9)
    return days * a_day + np.clip((inside * a_day).astype(np.int64), 0, a_day - 1), view.days * a_day


def _rates(view: View, sums: Sums, logged: Sequence[InDiary]) -> str:
    places, count = _bins(view, sums)
    chosen = [n for n, name in enumerate(sums.sites) if view.site in ("", name)]
    drawn = []
    for number in chosen:
        of_site = sums.site == number
        if of_site.any():
            found = binned(sums.of_site(number), places[of_site], count)
            drawn.append(charts.Line(sums.sites[number], found.rates, found.little))
    if not drawn:
        return '<p class="quiet">Nothing was recorded in this time.</p>'
    none = all(np.isnan(line.rates).all() for line in drawn)
    said = '<p class="quiet">No rate yet: a site needs a minute in which it could be analysed.</p>' if none else ""
    a_bin_ns = (view.until_ns - view.since_ns) / count
    marks = [_mark(view, each, a_bin_ns) for each in logged]
    title = f"Twitches an analysable minute by site, {_day(view.first)} to {_day(view.last)}"
    return said + charts.rates(drawn, count, _ticks(view, count), marks, title)


def _mark(view: View, logged: InDiary, a_bin_ns: float) -> charts.Logged:
    entry = logged.entry
    ended_ns = time.time_ns() if entry.running else entry.ended_ns
    ends = None if ended_ns is None else (min(ended_ns, view.until_ns) - view.since_ns) / a_bin_ns
    name = "felt" if entry.kind == FELT else entry.kind.replace("_", " ")
    about = f"{entry_said(entry)}, {moment(entry.occurred_ns)}"
    return charts.Logged((entry.occurred_ns - view.since_ns) / a_bin_ns, ends, name, about)


def _ticks(view: View, count: int) -> list[charts.Tick]:
    a_day = count / view.days
    if view.days == 1:
        return [charts.Tick(hour / 24 * a_day, f"{hour}:00") for hour in range(0, 24, 3)]
    apart = next(step for step in (1, 2, 4, 7, 14, 28, 61, 122, 244, 10**6) if view.days / step <= 9)
    days = range(0, view.days, apart)
    return [charts.Tick(n * a_day, f"{(at := view.first + timedelta(days=n)).day} {at:%b}") for n in days]


def _wear(view: View, sums: Sums) -> str:
    places, count = _bins(view, sums)
    a_bin_s = view.days * _DAY_S / count
    names, shares = [], []
    for number, name in enumerate(sums.sites):
        of_site = sums.site == number
        if view.site in ("", name) and of_site.any():
            found = binned(sums.of_site(number), places[of_site], count)
            names.append(name)
            shares.append((found.analysable_s / a_bin_s, (found.observed_s - found.analysable_s) / a_bin_s))
    if not names:
        return '<p class="quiet">Not worn in this time.</p>'
    return charts.wear(names, shares, _ticks(view, count), "How much could be analysed, by site")


def _excluded(view: View, spent: Sequence[Spent], everywhere: Sums) -> str:
    """Worn, by the clock; what came of it as shares of what the channels heard, which differ."""
    sums = everywhere.of_site(everywhere.sites.index(view.site)) if view.site else everywhere
    channels, observed_s = sums.channels(view.site), sums.observed_s.sum()
    if not observed_s:
        return ""
    said = [f"{_percent(sums.analysable_s.sum() / observed_s)} could be analysed"]
    for state, words in _EXCLUDED.items():
        seconds = sum(
            each.seconds for each in spent if each.state is state and (each.device_id, each.channel) in channels
        )
        if seconds:
            said.append(f"{words} {_percent(seconds / observed_s)}")
    told = f"Worn {lines.length(sums.worn_s)}. Of what was heard {', '.join(said)}."
    return f'<p class="quiet">{text(told)}</p>'


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.01 else "under 1 %"


def _heat(view: View, sums: Sums) -> str:
    number = sums.sites.index(view.site) if view.site else None
    chosen = sums.of_electrodes() if number is None else sums.of_site(number)
    days, hours = places_by_day(chosen, view.first)
    a_row = 7 if view.days > _WEEKS_FROM else 1
    rows = -(-view.days // a_row)
    found = binned(chosen, (days // a_row) * 24 + hours, rows * 24)
    rates, observed = found.rates, found.observed_s
    drawn = []
    for row in range(rows):
        day = view.first + timedelta(days=row * a_row)
        name = f"{day.day} {day:%b}" + (" on" if a_row > 1 else "")
        cells = [_cell(view, found, rates, observed, row * 24 + hour, day, hour, a_row) for hour in range(24)]
        drawn.append((name, cells))
    return charts.heat(drawn, "Twitches an analysable minute, by hour of the clock and day")


def _cell(
    view: View,
    found: Binned,
    rates: np.ndarray,
    observed: np.ndarray,
    place: int,
    day: date,
    hour: int,
    a_row: int,
) -> charts.Cell:
    rate, little, minutes = float(rates[place]), bool(found.little[place]), found.rests_on_s[place] / 60
    told = (
        "too little could be analysed"
        if math.isnan(rate)
        else f"{rate:.2f} a minute, which rests on {'only ' if little else ''}{minutes:.0f} analysable min"
    )
    link = (
        view.link(range="day", on=day.isoformat(), hour=hour)
        if a_row == 1
        else view.link(range="week", on=(day + timedelta(days=6)).isoformat(), hour=None)
    )
    return charts.Cell(rate, little, bool(observed[place] > 0), f"{day.day} {day:%b} {hour}:00: {told}", link)


# Single twitches ------------------------------------------------------------------------------------------------


async def _twitches(reader: Reader, view: View, seen: _Read) -> None:
    when = _day(view.last) if view.hour is None else f"{_day(view.last)}, {view.hour}:00 to {view.hour + 1}:00"
    labels = await reader.write(lambda diary: diary.labels(view.since_ns, view.until_ns))
    said = {(each.device_id, each.channel, each.onset_ns): each.label for each in labels}
    with card(f"Twitches, {when}"):
        shown = [
            (device, each)
            for device, each in seen.twitches
            if not view.site or (device, each.channel) in seen.sums.channels(view.site)
        ]
        if not shown:
            quiet("None were reported.")
            return
        quiet("The newest. Open one for its features and neighbours, and to say whether it was real.")
        with ui.element("div").classes("shapes"):
            for device, twitch in reversed(shown):
                _thumbnail(reader, device, twitch, said.get((device, twitch.channel, twitch.onset_ns)))


def _thumbnail(reader: Reader, device: int, twitch: Twitch, label: Label | None) -> None:
    at = f"{local(twitch.onset_ns):%H:%M:%S}"
    named = f"{twitch.channel} {at}"
    made = ui.element("button").classes("thumbnail").props(f'type="button" aria-label="Open twitch {text(named)}"')
    with made:
        size = size_said(twitch.peak_to_peak, twitch.unit)
        about = f"<span><strong>{text(twitch.channel)}</strong> {at}<br>{size}</span>"
        markup(overlay([twitch.waveform.tolist()], named) + about)
        marked = ui.label(f"label: {label}" if label else "").classes("quiet")
    made.on("click", lambda: _opened(reader, device, twitch, marked))


async def _opened(reader: Reader, device: int, twitch: Twitch, marked: ui.label) -> None:
    near = await reader.ask(lambda archive: _near(archive, device, twitch))
    labels = await reader.write(lambda diary: diary.labels(twitch.onset_ns, twitch.onset_ns + 1))
    said = next((e.label for e in labels if (e.device_id, e.channel) == (device, twitch.channel)), None)
    at = local(twitch.onset_ns)
    named = f"Twitch on {twitch.channel}, {at.day} {at:%b} {at:%H:%M:%S}"
    with ui.dialog() as dialog, card("", "dialog"):
        dialog.props(f'aria-label="{text(named)}"')
        frame.heading(named)
        unit = frame.unit_said(twitch.unit)
        markup(charts.waveform(twitch.waveform.tolist(), twitch.waveform_start_s, twitch.rate_hz, unit, named))
        markup(frame.facts(_features(twitch)))
        markup(f"<p>{near}</p>")
        frame.heading("Was it a twitch?", 3)
        quiet("What you say is kept for benchmarks. It changes no count.")
        choices: dict[Label | None, ui.button] = {}

        async def tell(label: Label | None) -> None:
            key = device, twitch.channel, twitch.onset_ns
            await reader.write(lambda diary: diary.label(*key, label, time.time_ns()))
            marked.text = f"label: {label}" if label else ""
            for each, made in choices.items():
                made.props(f'aria-pressed="{str(each is label).lower()}"')

        with ui.element("div").classes("row"):
            for label, words in ((Label.REAL, "Real"), (Label.ARTEFACT, "Artefact"), (None, "Not said")):
                choices[label] = button(words, lambda label=label: tell(label))
                choices[label].props(f'aria-pressed="{str(label is said).lower()}"')
            button("Close", dialog.close)
    dialog.on("hide", dialog.delete)
    dialog.open()


def _features(twitch: Twitch) -> list[tuple[str, str]]:
    unit = frame.unit_said(twitch.unit)
    told = [
        ("Peak to peak", f"{twitch.peak_to_peak:.3g} {unit}"),
        ("Duration", f"{twitch.duration_s * 1e3:.1f} ms"),
        ("Over the noise", f"{twitch.snr:.0f} times"),
        ("Detector's confidence", f"{twitch.confidence:.2f} of 1"),
        ("Motor unit", str(twitch.motor_unit or "none")),
    ]
    if twitch.phases is not None:
        told.append(("Phases, turns", f"{twitch.phases}, {twitch.turns}"))
    if twitch.median_hz is not None:
        told.append(("Median frequency", f"{twitch.median_hz:.0f} Hz"))
    if twitch.follows_s is not None:
        told.append(("Follows another by", f"{twitch.follows_s * 1e3:.0f} ms"))
    others = [f"{channel} {size:.3g}" for channel, size in twitch.amplitudes if channel != twitch.channel]
    if others:
        told.append((f"On other channels, {unit}", ", ".join(others[:7])))
    return told


def _near(archive: Archive, device: int, twitch: Twitch) -> str:
    """The one before and the one after on its channel."""
    day_ns = 24 * _HOUR_NS
    before = archive.twitches(twitch.onset_ns - day_ns, twitch.onset_ns, device, twitch.channel, limit=1)
    after = archive.twitches(twitch.onset_ns + 1, twitch.onset_ns + 600 * 10**9, device, twitch.channel)
    told = []
    if before:
        told.append(f"the one before was {(twitch.onset_ns - before[0][1].onset_ns) * 1e-9:.1f} s earlier")
    if after:
        told.append(f"the next came {(after[0][1].onset_ns - twitch.onset_ns) * 1e-9:.1f} s later")
    return f"On this channel {' and '.join(told)}." if told else "None before or after it on this channel."


def _logged(logged: Sequence[InDiary]) -> None:
    with card("Logged in this time"):
        if not logged:
            quiet("Nothing.")
        rows = [frame.entry(text(entry_said(each.entry)), moment(each.entry.occurred_ns)) for each in logged[::-1]]
        more = f"<details><summary>{len(rows) - _LISTED} more</summary>{''.join(rows[_LISTED:500])}</details>"
        markup("".join(rows[:_LISTED]) + (more if len(rows) > _LISTED else ""))
