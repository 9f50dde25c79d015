"""The commands of the diary: `fasciwatch trigger …` and `fasciwatch felt`.

Rule: what they can do, `monitor.logbook` does; MQTT and HTTP say the same fields. Here they are options.
"""

from __future__ import annotations

import csv
import io
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC
from pathlib import Path
from typing import Annotated

import typer

from monitor import lines
from monitor.correlation.catalogue import CATALOGUE, Form
from monitor.correlation.files import read_rows
from monitor.correlation.triggers import Precision, Reactive, Refusal
from monitor.diary import FELT, NOTHING, Diary, DiaryError, Entry, Logged, Receipt, read_diary
from monitor.logbook import Answer, imported, known, known_from, log, notes
from monitor.phrases import FIELDS, written
from monitor.terminal import ConfigFile, DataDir, Json, Since, TimeZone, note, print_table, readable, say, since_ns
from monitor.terminal import zone as zone_named

_SHOWN = 10
_IMPORT_COLUMNS = ("occurred_at", "kind")
_EXPORT_COLUMNS = (
    "occurred_at", "kind", "ended_at", "dose", "unit", "reactive", "precision", "note", "site", "logged_at",
)  # fmt: skip

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

Kind = Annotated[str, typer.Argument(help="Such as caffeine, or a template of yours.", show_default=False)]
Dose = Annotated[str, typer.Argument(help="Such as 120mg; of stress 0 to 10.")]
At = Annotated[str, typer.Option("--at", help='When: "20 min ago", 08:30, "yesterday 22:00"; else now.')]
End = Annotated[str, typer.Option("--end", help="When it ended.")]
Site = Annotated[str, typer.Option("--site", help="Where on the body: left calf, eye, arms.")]
Known = Annotated[Precision | None, typer.Option("--precision", help="How well the time is known.")]
Because = Annotated[Reactive | None, typer.Option("--reactive", help="Logged because of twitching?")]
Note = Annotated[str, typer.Option("--note", help="Anything.")]
New = Annotated[bool, typer.Option("--new", help="It is a new kind of your own.")]
Key = Annotated[str, typer.Option("--key", help="Of the same key, only the first is logged.")]
Number = Annotated[int, typer.Argument(min=1, help="As `trigger list` shows it.", show_default=False)]


@app.command()
def add(
    kind: Kind,
    dose: Dose = "",
    at: At = "",
    end: End = "",
    site: Site = "",
    precision: Known = None,
    reactive: Because = None,
    note: Note = "",
    new: New = False,
    key: Key = "",
    timezone: TimeZone = "",
    config_file: ConfigFile = None,
    data: DataDir = None,
    json_lines: Json = False,
) -> None:
    """Log what happened, or a test or diagnosis."""
    fields = _fields(kind, dose, at, end, site, precision, reactive, note, new=new, key=key)
    _do("add", fields, timezone, config_file, data, json_lines=json_lines)


@app.command()
def start(
    kind: Kind,
    dose: Dose = "",
    at: At = "",
    reactive: Because = None,
    note: Note = "",
    new: New = False,
    key: Key = "",
    timezone: TimeZone = "",
    config_file: ConfigFile = None,
    data: DataDir = None,
    json_lines: Json = False,
) -> None:
    """Log that something begins, such as stress."""
    fields = _fields(kind, dose, at, reactive=reactive, note=note, new=new, key=key)
    _do("start", fields, timezone, config_file, data, json_lines=json_lines)


@app.command()
def stop(
    kind: Kind,
    at: At = "",
    timezone: TimeZone = "",
    config_file: ConfigFile = None,
    data: DataDir = None,
    json_lines: Json = False,
) -> None:
    """Log that it is over."""
    _do("stop", _fields(kind, at=at), timezone, config_file, data, json_lines=json_lines)


@app.command()
def none(
    kind: Annotated[str, typer.Argument(help="What there was none of; else nothing at all.")] = "",
    at: At = "",
    key: Key = "",
    timezone: TimeZone = "",
    config_file: ConfigFile = None,
    data: DataDir = None,
    json_lines: Json = False,
) -> None:
    """Confirm that there was none today, or on the day of --at."""
    _do("none", _fields(kind, at=at, key=key), timezone, config_file, data, json_lines=json_lines)


@app.command()
def edit(
    number: Number,
    kind: Annotated[str, typer.Option(help="What it was.")] = "",
    dose: Annotated[str, typer.Option(help="How much.")] = "",
    at: At = "",
    end: End = "",
    site: Site = "",
    precision: Known = None,
    reactive: Because = None,
    note: Note = "",
    new: New = False,
    timezone: TimeZone = "",
    config_file: ConfigFile = None,
    data: DataDir = None,
    json_lines: Json = False,
) -> None:
    """Say otherwise what was logged; its history stays."""
    fields = _fields(kind, dose, at, end, site, precision, reactive, note, new=new)
    _do("edit", {"id": str(number), **fields}, timezone, config_file, data, json_lines=json_lines)


@app.command()
def delete(number: Number, config_file: ConfigFile = None, data: DataDir = None, json_lines: Json = False) -> None:
    """Say that it did not happen; its history stays."""
    _do("delete", {"id": str(number)}, "", config_file, data, json_lines=json_lines)


@app.command()
def undo(config_file: ConfigFile = None, data: DataDir = None, json_lines: Json = False) -> None:
    """Take back what was logged, edited, deleted or imported last."""
    _do("undo", {}, "", config_file, data, json_lines=json_lines)


@app.command("list")
def list_(
    since: Since = "7d",
    kind: Annotated[str, typer.Option(help="Only of this kind.")] = "",
    config_file: ConfigFile = None,
    data: DataDir = None,
    json_lines: Json = False,
) -> None:
    """List what was logged, and what goes on."""
    now_ns = time.time_ns()
    from_ns = since_ns(since, now_ns)
    entries = [
        each
        for each in read_diary(readable(config_file, data))
        if (each.entry.occurred_ns >= from_ns or each.entry.running) and kind in ("", each.entry.kind)
    ]
    if json_lines:
        for each in entries:
            say(lines.as_json(_entry_fields(each)))
        return
    if not entries:
        note(f"nothing was logged in the last {since}" if from_ns else "nothing was logged")
    for each in entries:
        say(f"{each.id:5}  {lines.plain_entry(each.entry)}")


@app.command()
def history(
    number: Number, config_file: ConfigFile = None, data: DataDir = None, json_lines: Json = False
) -> None:
    """List every change of an entry."""
    with Diary.open(_folder(config_file, data)) as diary:
        changes = diary.history(number)
    if not changes:
        raise DiaryError(f"there never was an entry {number}", "See `fasciwatch trigger list`")
    for change in changes:
        if json_lines:
            told = None if change.entry is None else lines.entry(number, change.entry)
            fields = {
                "type": "change",
                "id": change.id,
                "at": lines.utc(change.at_ns),
                "action": str(change.action),
            }
            say(lines.as_json(fields | {"entry": told}))
        else:
            said = "gone" if change.entry is None else lines.plain_entry(change.entry)
            say(f"{lines.local(change.at_ns)}  {change.action}: {said}")


@app.command()
def template(
    name: Annotated[str, typer.Argument(help="What to call it; without a name all are listed.")] = "",
    kind: Annotated[str, typer.Argument(help="What is logged by it.")] = "",
    dose: Dose = "",
    site: Site = "",
    note_: Note = "",
    new: New = False,
    forget: Annotated[bool, typer.Option("--forget", help="Forget it.")] = False,
    config_file: ConfigFile = None,
    data: DataDir = None,
    json_lines: Json = False,
) -> None:
    """Keep what you log often under a name of its own."""
    with Diary.open(_folder(config_file, data)) as diary:
        if name and (forget or kind):
            fields = None if forget else _fields(kind, dose, site=site, note=note_, new=new)
            if fields is not None:
                _refuse_template(diary, name, fields)
            diary.keep_template(name, fields)
        templates = diary.templates()
    for known_name, fields in templates.items():
        if json_lines:
            say(lines.as_json({"type": "template", "name": known_name, "fields": fields}))
        else:
            say(f"{known_name}: {' '.join(fields.values())}")
    if not templates:
        note("there are no templates; make one: fasciwatch trigger template espresso caffeine 80mg")


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="CSV with occurred_at and kind.", show_default=False)],
    yes: Annotated[bool, typer.Option("--yes", help="Log them; without it you see what would be.")] = False,
    timezone: Annotated[
        str, typer.Option("--timezone", help="Where times say no offset; else UTC, as in `correlate`.")
    ] = "",
    config_file: ConfigFile = None,
    data: DataDir = None,
    json_lines: Json = False,
) -> None:
    """Show what a CSV file would log, and each line that is refused."""
    now_ns = time.time_ns()
    rows = [
        (line, {name: text for name, text in row.items() if name in FIELDS})
        for line, row in read_rows(file, _IMPORT_COLUMNS)
    ]
    with Diary.open(_folder(config_file, data)) as diary:
        there = diary.entries()
        taken, refused = imported(rows, now_ns, zone_named(timezone) or UTC, there)
        receipts: list[Receipt] = []
        if yes:
            receipts = diary.log([entry for entry, _ in taken], now_ns, [key for _, key in taken])
    own = sorted({entry.kind for entry, _ in taken} - known_from(there).kinds)
    if json_lines:
        say(lines.as_json(_import_fields([entry for entry, _ in taken], refused, receipts, own, logged=yes)))
    else:
        _print_import(file, [entry for entry, _ in taken], refused, receipts, own, logged=yes)


@app.command()
def export(
    file: Annotated[Path | None, typer.Argument(help="A new CSV file; else standard output.")] = None,
    config_file: ConfigFile = None,
    data: DataDir = None,
    json_lines: Json = False,
) -> None:
    """Write all that was logged as CSV, in UTC."""
    entries = read_diary(readable(config_file, data))
    if json_lines:
        for each in entries:
            say(lines.as_json(_entry_fields(each)))
        return
    text = io.StringIO()
    writer = csv.DictWriter(text, _EXPORT_COLUMNS, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(_entry_fields(each) for each in entries)
    if file is None:
        say(text.getvalue().rstrip("\n"))
        return
    try:
        with file.open("x", encoding="utf-8", newline="") as opened:
            opened.write(text.getvalue())
    except OSError as error:
        raise DiaryError(f"{file}: {error.strerror or error}", "Name a new file in a folder of yours") from error
    note(f"{len(entries)} entries in {file}")


def felt(
    site: Annotated[str, typer.Argument(help="Where: eye, left calf, arms.")] = "",
    at: At = "",
    key: Key = "",
    timezone: TimeZone = "",
    config_file: ConfigFile = None,
    data: DataDir = None,
    json_lines: Json = False,
) -> None:
    """Log that you felt a twitch; never counted as one."""
    fields = _fields("", at=at, site=site, key=key)
    _do("felt", fields, timezone, config_file, data, json_lines=json_lines)


# What they share ------------------------------------------------------------------------------------------------


def _fields(
    kind: str,
    dose: str = "",
    at: str = "",
    end: str = "",
    site: str = "",
    precision: Precision | None = None,
    reactive: Reactive | None = None,
    note: str = "",
    *,
    new: bool = False,
    key: str = "",
) -> dict[str, str]:
    """What is said, under the names of the logbook."""
    said = {
        "kind": kind,
        "dose": dose,
        "occurred_at": at,
        "ended_at": end,
        "site": site,
        "precision": precision or "",
        "reactive": reactive or "",
        "note": note,
        "new": "yes" if new else "",
        "key": key,
    }
    return {name: str(text) for name, text in said.items() if text}


def _do(
    verb: str,
    fields: Mapping[str, str],
    timezone: str,
    config_file: Path | None,
    data: Path | None,
    *,
    json_lines: bool,
) -> None:
    """Log it, and say what was understood."""
    zone = zone_named(timezone)
    with Diary.open(_folder(config_file, data)) as diary:
        answer = log(diary, verb, fields, time.time_ns(), zone)
    if json_lines:
        for told in lines.answer(verb, answer):
            say(lines.as_json(told))
    else:
        _print_answer(verb, answer)
    for text in answer.notes:
        note(text)


def _print_answer(verb: str, answer: Answer) -> None:
    for each in answer.receipts:
        done = "was logged already as" if each.repeated else lines.DONE.get(verb, "logged")
        say(f"{done} {each.id}: {lines.plain_entry(each.entry)}")
    if len(answer.undone) > _SHOWN:
        say(f"undone: {len(answer.undone)} entries")
        return
    for change in answer.undone:
        said = "" if change.entry is None else f": {lines.plain_entry(change.entry)}"
        say(f"undone: {change.entry_id} was {change.action}{said}")


def _folder(config_file: Path | None, data: Path | None) -> Path:
    """Where to log: as told, or as configured; never the demo's."""
    return readable(config_file, data)


def _refuse_template(diary: Diary, name: str, fields: Mapping[str, str]) -> None:
    """Refuse one that could not be logged, or that would hide a kind."""
    if name in CATALOGUE or name in (FELT, NOTHING):
        raise DiaryError(f"{name} is a kind of trigger already", "Call the template otherwise")
    written(fields, time.time_ns(), None, known(diary))


def _entry_fields(each: Logged) -> lines.Fields:
    form = CATALOGUE[each.entry.kind].form if each.entry.kind in CATALOGUE else None
    told = str(form) if form in (Form.TEST, Form.HISTORY, Form.EMERGENCY) else "trigger"
    told = "felt" if each.entry.kind == FELT else told
    return lines.entry(each.id, each.entry) | {"logged_at": lines.utc(each.logged_ns), "role": told}


def _import_fields(
    entries: Sequence[Entry],
    refused: Sequence[Refusal],
    receipts: Sequence[Receipt],
    own: Sequence[str],
    *,
    logged: bool,
) -> lines.Fields:
    return {
        "type": "import",
        "logged": logged,
        "entries": len(entries),
        "already_there": sum(each.repeated for each in receipts),
        "kinds": dict(Counter(entry.kind for entry in entries)),
        "own_kinds": list(own),
        "refused": [{"line": refusal.place, "reason": refusal.reason} for refusal in refused],
    }


def _print_import(
    file: Path,
    entries: Sequence[Entry],
    refused: Sequence[Refusal],
    receipts: Sequence[Receipt],
    own: Sequence[str],
    *,
    logged: bool,
) -> None:
    for refusal in refused:
        note(f"{file.name}: line {refusal.place}: {refusal.reason}")
    kinds = Counter(entry.kind for entry in entries)
    if kinds:
        print_table(("kind", "entries"), ((kind, str(number)) for kind, number in sorted(kinds.items())))
    for entry in entries[: 0 if logged else _SHOWN]:
        say(f"  {lines.plain_entry(entry)}")
    if own:
        note(f"kinds of your own: {', '.join(own)}; mend the file first if one is a slip")
    for text in notes([Receipt(0, entry) for entry in entries]):
        note(text)
    if logged:
        repeated = sum(each.repeated for each in receipts)
        say(f"logged {len(receipts) - repeated}, {repeated} were there already, {len(refused)} lines refused")
    else:
        say(f"{len(entries)} entries can be logged, {len(refused)} lines are refused; nothing is logged yet")
        note(f"to log them: fasciwatch trigger import {file} --yes")
