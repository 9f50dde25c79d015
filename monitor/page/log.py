"""Log: what may have to do with twitching, with one tap; and what was felt.

Rules:

* What is done, `monitor.logbook.log` does; what it understood, and what must be said of it, is shown at once, with
  the way to take it back.
* A tap logs. Nothing asks "are you sure?"; everything can be undone.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from nicegui import ui

from firmware_interface.errors import Fault
from monitor import lines
from monitor.body import REGIONS
from monitor.correlation.catalogue import CATALOGUE, SITES, Form, entry
from monitor.diary import FELT, NOTHING, Diary, Entry, Logged
from monitor.logbook import Answer, log
from monitor.page import frame
from monitor.page.frame import button, card, markup, moment, quiet, text
from monitor.page.reader import Reader

_SHOWN = 20
_SUGGESTED: Mapping[str, Mapping[str, str]] = {
    "coffee": {"kind": "caffeine", "dose": "80mg"},
    "tea": {"kind": "caffeine", "dose": "40mg"},
    "water": {"kind": "fluids", "dose": "250mL"},
    "alcoholic drink": {"kind": "alcohol", "dose": "12g"},
}
"""Offered until a person has templates of their own."""
_LASTING = tuple(each.id for each in CATALOGUE.values() if each.form is Form.INTERVAL)
_BECAUSE = {"unknown": "not known", "no": "no", "yes": "yes"}
_PLACES = tuple(dict.fromkeys([*(f"{side} {site}" for site in SITES for side in ("left", "right")), *REGIONS]))
_KINDS = tuple(each.id.replace("_", " ") for each in CATALOGUE.values() if each.form is not Form.EMERGENCY)


@dataclass(frozen=True, slots=True)
class _Seen:
    """The diary as the screen shows it."""

    templates: Mapping[str, Mapping[str, str]]
    running: list[Logged]
    entries: list[Logged]


async def build(reader: Reader) -> None:
    """The screen."""
    with frame.screen("/log", "Log"):
        said = markup(_notice("A tap logs, and can be taken back"), "said").props(
            'role="status" aria-live="polite"'
        )
        seen = await reader.write(_look)

        def bring_into_view() -> None:
            """On a phone it may be far above what was tapped."""
            ui.run_javascript(f"getHtmlElement({said.id}).scrollIntoView({{block: 'nearest'}})")

        async def act(verb: str, fields: Mapping[str, str]) -> bool:
            try:
                answer = await reader.write(lambda diary: log(diary, verb, fields, time.time_ns(), None))
            except Fault as fault:
                said.content = frame.warning("Not done" if verb == "undo" else "Not logged", fault)
                bring_into_view()
                return False
            said.content = _told(verb, answer)
            bring_into_view()
            await renew()
            return True

        with ui.element("div").classes("columns"):
            with ui.element("div"):
                taps = _section("One tap")
                felt = _section("I felt one")
                lasting = _section("Begins and ends")
            with ui.element("div"):
                with card("Anything else", "spaced"):
                    _form(act, reader)
                entries = _section("Logged lately")

        async def renew() -> None:
            fresh = await reader.write(_look)
            _fill(taps, lambda: _taps(fresh, act))
            _fill(lasting, lambda: _lasting(fresh, act))
            _fill(entries, lambda: _entries(fresh, act))

        _fill(taps, lambda: _taps(seen, act))
        _fill(felt, lambda: _felt(act))
        _fill(lasting, lambda: _lasting(seen, act))
        _fill(entries, lambda: _entries(seen, act))


Act = Callable[[str, Mapping[str, str]], Awaitable[bool]]


def _look(diary: Diary) -> _Seen:
    entries = diary.entries()
    return _Seen(diary.templates(), diary.running(), entries[-_SHOWN:][::-1])


def _section(title: str) -> ui.element:
    with card(title, "spaced"):
        return ui.element("div")


def _fill(place: ui.element, what: Callable[[], None]) -> None:
    place.clear()
    with place:
        what()


def _taps(seen: _Seen, act: Act) -> None:
    offered = seen.templates or _SUGGESTED
    with ui.element("div").classes("taps"):
        for name, fields in offered.items():
            amount = fields.get("dose", "")
            button(f"{name} {amount}".strip(), lambda fields=fields: act("add", fields))
        button("nothing today", lambda: act("none", {}), label="nothing today, confirmed")
    if not seen.templates:
        quiet("These are suggestions. Under “Anything else” you can keep buttons of your own instead.")


def _lasting(seen: _Seen, act: Act) -> None:
    running = {each.entry.kind: each.entry for each in seen.running}
    with ui.element("div").classes("taps"):
        for kind in dict.fromkeys([*running, *_LASTING]):
            name = entry(kind).name
            if kind in running:
                since = moment(running[kind].occurred_ns)
                stop = button(f"{name}: end (since {since})", lambda kind=kind: act("stop", {"kind": kind}))
                stop.props('aria-pressed="true"')
            else:
                button(f"{name}: begin", lambda kind=kind: act("start", {"kind": kind}))


def _felt(act: Act) -> None:
    quiet("What you feel is compared with what was measured there, and never counted.")
    where: list[str] = [""]
    with ui.element("div").classes("row"):
        site = ui.input("Where", placeholder="left calf", autocomplete=list(_PLACES)).props("outlined dense")
        site.on_value_change(lambda event: where.__setitem__(0, event.value or ""))
        button("felt one", lambda: act("felt", {"site": where[0]}), primary=True)


def _form(act: Act, reader: Reader) -> None:
    fields: dict[str, ui.input] = {}
    with ui.element("div").classes("form"):
        for name, label, hint in (
            ("kind", "What", "caffeine, stress, a drug, anything"),
            ("dose", "How much", "120mg; of stress 0 to 10"),
            ("occurred_at", "When", "now, 20 min ago, 08:30"),
            ("ended_at", "Until", "only if it lasted"),
            ("site", "Where", "only if it matters: left calf"),
            ("note", "Note", "anything"),
        ):
            known = {"kind": list(_KINDS), "site": list(_PLACES)}.get(name)
            fields[name] = ui.input(label, autocomplete=known).props(f'outlined dense hint="{hint}"')
    markup("<p>Logged because I was twitching?</p>")
    because = ui.radio(_BECAUSE, value="unknown").props("inline")
    new = ui.checkbox("It is a new kind of my own")

    def filled() -> dict[str, str]:
        said = {name: str(field.value or "") for name, field in fields.items()}
        return said | {"reactive": str(because.value)} | ({"new": "yes"} if new.value else {})

    async def add() -> None:
        if await act("add", filled()):
            for field in fields.values():
                field.value = ""

    async def keep() -> None:
        said = filled()
        name = f"{said['kind']} {said['dose']}".strip() if said["kind"] in CATALOGUE else said["kind"]
        kept = {field: value for field, value in said.items() if value and field in ("kind", "dose", "site")}
        if said["kind"]:
            await reader.write(lambda diary: diary.keep_template(name, kept))
            ui.navigate.reload()

    with ui.element("div").classes("row"):
        button("Log it", add, primary=True)
        button("Keep as a button", keep)


def _entries(seen: _Seen, act: Act) -> None:
    with ui.element("div").classes("row"):  # away from the taps, where a second touch would hit it
        button("undo the last", lambda: act("undo", {}))
    if not seen.entries:
        quiet("Nothing yet.")
    for each in seen.entries:
        with ui.element("div").classes("entry"):
            markup(
                f"<div>{text(entry_said(each.entry))}<br><span class='when'>{text(_when(each.entry))}</span></div>"
            )
            about = f"Delete {entry_said(each.entry)}, {_when(each.entry)}"
            number = {"id": str(each.id)}
            button("Delete", lambda number=number: act("delete", number), label=about)


def entry_said(said: Entry) -> str:
    """An entry without its time."""
    if said.kind == NOTHING:
        return "nothing happened that day"
    name = "felt one" if said.kind == FELT else entry(said.kind).name
    unit = "of 10" if said.unit == "0-10" else said.unit
    amount = "" if said.dose is None else " none" if said.dose == 0 else f" {said.dose:g} {unit}".rstrip()
    site = f", {said.site}" if said.site else ""
    because = ", because of twitching" if said.reactive == "yes" else ""
    return f"{name}{amount}{site}{because}" + (f": {said.note}" if said.note else "")


def _when(said: Entry) -> str:
    if said.running:
        return f"since {moment(said.occurred_ns)}"
    end = f" to {moment(said.ended_ns)}" if said.ended_ns is not None else ""
    return moment(said.occurred_ns) + end


def _told(verb: str, answer: Answer) -> str:
    if verb == "undo":
        told = f"Undone: {len(answer.undone)} " + ("change" if len(answer.undone) == 1 else "changes")
    else:
        done = lines.DONE.get(verb, "logged").capitalize()
        told = "; ".join(f"{done}: {entry_said(each.entry)}, {_when(each.entry)}" for each in answer.receipts)
    notes = "".join(frame.warning("Attention", note) for note in answer.notes)
    return _notice(told) + notes


def _notice(told: str) -> str:
    """Always there, so that the first tap moves nothing away from under the finger."""
    return f'<p class="notice info"><strong>{text(told)}</strong></p>'
