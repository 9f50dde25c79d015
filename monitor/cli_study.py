"""The commands `fasciwatch study …`."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from monitor import config, lines, study
from monitor.store import DATABASE, Archive
from monitor.study import Study
from monitor.terminal import ConfigFile, DataDir, Json, note, say

app = typer.Typer(no_args_is_help=True)

Place = Annotated[
    list[Path] | None, typer.Option("--from", help="Also exports and cohort results below this folder.")
]


@app.command()
def join(
    name: Annotated[str, typer.Argument(help="Of the study.", show_default=False)],
    pseudonym: Annotated[str, typer.Argument(help="Letters and digits; never a name.", show_default=False)],
    group: Annotated[str, typer.Option(help="That the person was put into.")] = "n/a",
    hide_counts: Annotated[bool, typer.Option("--hide-counts", help="Do not tell the person.")] = False,
    config_file: ConfigFile = None,
    data: DataDir = None,
) -> None:
    """Make this data folder one person's part in a study."""
    settings = config.load(config_file)
    folder = data or settings.data_dir
    frozen = study.fingerprint(settings.detection)
    joined_ns = time.time_ns()
    study.join(folder, Study(name, pseudonym, group, hide_counts, frozen, asdict(settings.detection), joined_ns))
    note(f"{folder} is {pseudonym} of {name!r} from now on, with the detector's settings frozen ({frozen})")


@app.command()
def show(config_file: ConfigFile = None, data: DataDir = None, json_lines: Json = False) -> None:
    """Say which study this data folder belongs to."""
    settings = config.load(config_file)
    part = study.part_in(data or settings.data_dir)
    same = part is not None and part.fingerprint == study.fingerprint(settings.detection)
    if json_lines:
        fields = {} if part is None else asdict(part) | {"settings_kept": same}
        say(lines.as_json({"type": "study", "member": part is not None, **fields}))
    elif part is None:
        say("no study")
    else:
        hidden = "counts hidden" if part.counts_hidden else "counts shown"
        kept = "kept" if same else "CHANGED: nothing can be recorded until they are as they were"
        say(f"{part.name}: {part.pseudonym}, group {part.group}, {hidden}")
        say(f"joined {lines.local(part.joined_ns)}; settings {part.fingerprint}, {kept}")


@app.command()
def withdraw(
    pseudonym: Annotated[str, typer.Argument(help="Whose, to be sure.", show_default=False)],
    places: Place = None,
    yes: Annotated[bool, typer.Option("--yes", help="Remove it. Without, only say what would be.")] = False,
    config_file: ConfigFile = None,
    data: DataDir = None,
    json_lines: Json = False,
) -> None:
    """Remove one person: store, raw signal, diary, exports, results."""
    folder = data or config.load(config_file).data_dir
    part = study.part_in(folder)
    is_theirs = part is not None and part.pseudonym == pseudonym
    if part is not None and not is_theirs and (data or not places):
        raise study.StudyError(
            f"{folder} is {part.pseudonym}, not {pseudonym}", "Name the right folder with --data"
        )
    gone, others = study.found_of(folder, pseudonym, places or [])
    sent_to = _sent_to(folder) if is_theirs else []
    if yes:
        study.withdraw(gone)
    for each in gone:
        fields: dict[str, object] = {
            "type": "removed" if yes else "found",
            "path": str(each.path),
            "row": each.row,
        }
        say(lines.as_json(fields) if json_lines else str(each))
    for path in others:
        note(f"not ours, left alone: {path}")
    if sent_to:
        note(f"sent away, and still there: what {', '.join(sent_to)} took. Have it deleted where it is kept")
    note("a stack in docker keeps what it was sent in its folder `volumes`, and backups keep all: both are yours")
    if not gone:
        note(f"nothing of {pseudonym} is there")
    elif yes:
        note(f"{pseudonym} is gone from here. Summaries were of all: run the cohort again")
    else:
        note("nothing was removed; --yes removes all of these")


def _sent_to(folder: Path) -> list[str]:
    """Servers that were sent records."""
    if not (folder / DATABASE).exists():
        return []
    with Archive.open(folder) as archive:
        return [sink.name for sink in archive.sinks()]
