"""Alerts: what is raised or silent for a while, what happened, and a person's answer to it.

Rules:

* What is done here, `monitor.alerts.said` does, as the command and MQTT; the collector hears it within a second.
* Quiet at night: nothing here moves or sounds; the list says what there is when it is looked at.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence

from nicegui import ui

from firmware_interface.errors import Fault
from monitor.alerts.engine import TEST, Alert, Change, Verb
from monitor.alerts.said import said_of, say
from monitor.database import StoreError
from monitor.page import frame
from monitor.page.frame import button, card, markup, moment, notice, quiet, text
from monitor.page.reader import Reader
from monitor.store import Archive

_HISTORY_NS = 30 * 86400 * 10**9
_LISTED = 100
_SNOOZES = {"1h": "1 hour", "8h": "8 hours", "2d": "2 days"}
_CHANGES = {
    Change.RAISED: "raised",
    Change.WORSE: "got worse",
    Change.REPEATED: "goes on",
    Change.ACKNOWLEDGED: "acknowledged",
    Change.SNOOZED: "snoozed",
    Change.CANCELLED: "not snoozed any more",
    Change.CLEARED: "over",
}
"""What is told of; the other changes are of no interest to a person."""

Act = Callable[[str, Verb, str], Awaitable[None]]


def read(archive: Archive) -> tuple[list[Alert], list[Alert]]:
    """Each alert as it is, and the changes of the last month, newest first."""
    now_ns = time.time_ns()
    changes = archive.alert_history(now_ns - _HISTORY_NS, now_ns + _HISTORY_NS)
    return archive.alerts(), [each for each in changes if each.change in _CHANGES][::-1]


def tell(reader: Reader, known: Sequence[str], name: str, verb: str, lasting: str = "") -> int:
    """Keep what a person says; for a thread of the reader."""
    return say(reader.folder, said_of(name, verb, lasting, known, time.time_ns()))


def is_snoozed(alert: Alert, now_ns: int) -> bool:
    """Whether it is silent for a while."""
    return alert.snoozed_until_ns is not None and alert.snoozed_until_ns > now_ns


async def build(reader: Reader) -> None:
    """The screen."""
    with frame.screen("/alerts", "Alerts"):
        said = markup("", "said").props('role="status" aria-live="polite"')
        with card("Now"):
            active = ui.element("div")
        with card("Snoozed"):
            silent = ui.element("div")
        with card("Do they reach you?"):
            quiet("A test takes every way that is configured, such as MQTT, and ends by itself in a minute.")
            tried = ui.element("div").classes("row")
        with card("What happened, last 30 days"):
            past = ui.element("div")
        shown: list[object] = [None]

        async def act(name: str, verb: Verb, lasting: str = "") -> None:
            try:
                known = [alert.name for alert in await reader.ask(Archive.alerts)]
                await reader.do(lambda: tell(reader, known, name, verb, lasting))
            except Fault as fault:
                said.content = frame.warning("Not done", fault)
                return
            waits = "" if await reader.glance() else " It holds once watching goes on."
            said.content = f'<p class="notice info"><strong>{_DONE[verb]}</strong>{waits}</p>'

        async def renew() -> None:
            try:
                alerts, changes = await reader.ask(read)
            except StoreError as error:
                active.clear()
                with active:
                    notice(str(error))
                return
            seen = alerts, len(changes), int(time.time()) // 30
            if seen == shown[0]:
                return
            shown[0] = seen
            _fill(active, silent, past, alerts, changes, act)

        with tried:
            button("Send a test alert", lambda: act(TEST, Verb.TEST))
        await renew()
        ui.timer(1.0, renew)


_DONE = {
    Verb.ACKNOWLEDGE: "Acknowledged: no repeats until it is over or gets worse.",
    Verb.SNOOZE: "Snoozed.",
    Verb.CANCEL: "Not snoozed any more.",
    Verb.TEST: "A test alert is on its way.",
}


def _fill(
    active: ui.element,
    silent: ui.element,
    past: ui.element,
    alerts: Sequence[Alert],
    changes: Sequence[Alert],
    act: Act,
) -> None:
    now_ns = time.time_ns()
    active.clear()
    with active:
        raised = [each for each in alerts if each.raised and not is_snoozed(each, now_ns)]
        if not raised:
            quiet("Nothing is raised.")
        for each in raised:
            _raised(each, act)
    silent.clear()
    with silent:
        snoozed = [each for each in alerts if is_snoozed(each, now_ns)]
        if not snoozed:
            quiet("Nothing is snoozed.")
        for each in snoozed:
            with ui.element("div").classes("entry"):
                until = moment(each.snoozed_until_ns or 0)
                markup(f"<div><strong>{text(each.name)}</strong>, until {until}<br>{text(each.why)}</div>")
                button(
                    "End the snooze",
                    lambda each=each: act(each.name, Verb.CANCEL, ""),
                    label=f"End the snooze of {each.name}",
                )
    past.clear()
    with past:
        rows = "".join(frame.entry(_changed(each), moment(each.at_ns)) for each in changes[:_LISTED])
        markup(rows or '<p class="quiet">Nothing.</p>')


def _changed(alert: Alert) -> str:
    why = f": {text(alert.why)}" if alert.change in (Change.RAISED, Change.WORSE) else ""
    return f"<strong>{text(alert.name)}</strong> {_CHANGES[alert.change]}{why}"


def _raised(alert: Alert, act: Act) -> None:
    since = f"since {moment(alert.since_ns)}" if alert.since_ns else ""
    acknowledged = ", acknowledged" if alert.acknowledged else ""
    with ui.element("div").classes("notice warn"):
        markup(
            f"<p><strong>{text(alert.severity)}: {text(alert.name)}</strong>{acknowledged} "
            f'<span class="quiet">{since}</span><br>{text(alert.why)}</p>'
        )
        with ui.element("div").classes("row"):
            if not alert.acknowledged:
                button(
                    "Acknowledge", lambda: act(alert.name, Verb.ACKNOWLEDGE, ""), label=f"Acknowledge {alert.name}"
                )
            for lasting, words in _SNOOZES.items() if alert.name != TEST else ():  # a test ends by itself
                button(
                    f"Snooze {words}",
                    lambda lasting=lasting: act(alert.name, Verb.SNOOZE, lasting),
                    label=f"Snooze {alert.name} for {words}",
                )
