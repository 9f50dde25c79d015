"""The commands of alerts: `fasciwatch alerts …`.

Rule: they write what a person says beside the store and read what became of it, so they work while `run` is at
work and while it is not.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from monitor import lines
from monitor.alerts.engine import TEST, Alert, Change, Said, Verb
from monitor.alerts.said import AlertError, said_of, say
from monitor.store import Archive, is_written
from monitor.terminal import ConfigFile, DataDir, Json, note, print_table, readable, since_ns
from monitor.terminal import say as print_line

_WAIT_S = 15.0

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

Name = Annotated[str, typer.Argument(help="As `alerts list` shows it.", show_default=False)]


@app.command("list")
def list_(
    everything: Annotated[bool, typer.Option("--all", help="Also those that are well.")] = False,
    history: Annotated[str, typer.Option(help="Every change, this far back: 12h, 7d, all.")] = "",
    config_file: ConfigFile = None,
    data: DataDir = None,
    json_lines: Json = False,
) -> None:
    """List what is raised or snoozed, or what happened."""
    now_ns = time.time_ns()
    folder = readable(config_file, data)
    with Archive.open(folder) as archive:
        if history:
            found = archive.alert_history(since_ns(history, now_ns), now_ns)
        else:
            found = [a for a in archive.alerts() if everything or a.raised or a.is_snoozed(now_ns)]
    if json_lines:
        for alert in found:
            print_line(lines.as_json(lines.alert(alert)))
        return
    if not found:
        note("no alert was raised" if history else "no alert is raised or snoozed")
        return
    print_table(
        ("alert", "state", "since", "snoozed until", "why"), [_row(alert, now_ns, history) for alert in found]
    )
    if not is_written(folder):
        note("nothing is being watched now: this is how it was")
    raised = [alert for alert in found if alert.raised and not alert.acknowledged]
    if raised and not history:
        note(f"to silence the first: {raised[0].silence}")


@app.command()
def ack(name: Name, config_file: ConfigFile = None, data: DataDir = None, json_lines: Json = False) -> None:
    """Acknowledge it: no repeats until it is over or gets worse."""
    _say(name, Verb.ACKNOWLEDGE, "", config_file, data, json_lines=json_lines)


@app.command()
def snooze(
    name: Name,
    lasting: Annotated[str, typer.Option("--for", help="How long: 30min, 1h, 2d.")] = "1h",
    cancel: Annotated[bool, typer.Option("--cancel", help="End the snooze now.")] = False,
    config_file: ConfigFile = None,
    data: DataDir = None,
    json_lines: Json = False,
) -> None:
    """Silence it for a while, raised or not; worse breaks through."""
    verb = Verb.CANCEL if cancel else Verb.SNOOZE
    _say(name, verb, lasting, config_file, data, json_lines=json_lines)


@app.command("test")
def try_out(config_file: ConfigFile = None, data: DataDir = None, json_lines: Json = False) -> None:
    """Send a test alert every way there is, and see it arrive."""
    folder = readable(config_file, data)
    _refuse_idle(folder)
    said_id = say(folder, said_of(TEST, Verb.TEST, "", (), time.time_ns()))
    alert = _awaited(folder, said_id)
    if alert is None:
        raise AlertError("nobody took the test alert up", "See `fasciwatch status`")
    waiting = _delivered(folder, alert)
    if json_lines:
        print_line(lines.as_json(lines.alert(alert) | {"waiting": waiting}))
    for name in waiting:
        note(f"{name} has not got it; see `fasciwatch sinks` and `fasciwatch alerts list`")
    if waiting:
        raise typer.Exit(1)
    with Archive.open(folder) as archive:
        sent = (
            "every configured server took it"
            if archive.sinks()
            else "it shows here only, for no server is configured"
        )
    note(f"a test alert was raised, and {sent}; it ends by itself in a minute")


def _say(
    name: str, verb: Verb, lasting: str, config_file: Path | None, data: Path | None, *, json_lines: bool
) -> None:
    folder = readable(config_file, data)
    with Archive.open(folder) as archive:
        known = [alert.name for alert in archive.alerts()]
    said = said_of(name, verb, lasting, known, time.time_ns())
    say(folder, said)
    if json_lines:
        print_line(lines.as_json(_fields(said)))
        return
    until = "" if said.until_ns is None else f" until {lines.local(said.until_ns)}"
    note(
        f"{name}: {_DONE[verb]}{until}" + ("" if is_written(folder) else "; it holds once `run` is at work again")
    )


def _fields(said: Said) -> lines.Fields:
    until = None if said.until_ns is None else lines.utc(said.until_ns)
    return {"type": "said", "alert": said.alert, "action": str(said.verb), "until": until}


def _row(alert: Alert, now_ns: int, history: str) -> Sequence[str]:
    state = str(alert.change) if history else _state(alert)
    since = alert.at_ns if history else alert.since_ns
    snoozed = lines.local(alert.snoozed_until_ns or 0) if alert.is_snoozed(now_ns) else ""
    return alert.name, state, lines.local(since) if since else "", snoozed, alert.why


def _state(alert: Alert) -> str:
    if not alert.raised:
        return "well"
    return f"{alert.severity}, acknowledged" if alert.acknowledged else str(alert.severity)


def _refuse_idle(folder: Path) -> None:
    if not is_written(folder):
        raise AlertError("nothing is being watched now, so nothing sends alerts", "Start `fasciwatch run` first")


def _awaited(folder: Path, said_id: int) -> Alert | None:
    """The alert that was raised by what was said."""
    deadline = time.monotonic() + _WAIT_S
    while time.monotonic() < deadline:
        with Archive.open(folder) as archive:
            for alert in archive.alert_history(time.time_ns() - 300 * 10**9, 1 << 62):
                if alert.said_id == said_id and alert.change is Change.RAISED:
                    return alert
        time.sleep(0.2)
    return None


def _delivered(folder: Path, alert: Alert) -> list[str]:
    """Servers that have not got it after a while."""
    deadline, waiting = time.monotonic() + _WAIT_S, ["the outbox"]
    while waiting and time.monotonic() < deadline:
        time.sleep(0.2)
        with Archive.open(folder) as archive:
            seq = archive.outbox_seq(alert)
            waiting = [sink.name for sink in archive.sinks() if sink.seq < seq]
    return waiting


_DONE = {Verb.ACKNOWLEDGE: "acknowledged", Verb.SNOOZE: "snoozed", Verb.CANCEL: "not snoozed any more"}
