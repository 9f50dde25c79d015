"""The commands `fasciwatch export …`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from monitor import lines, study
from monitor.export import bids, edf, tables
from monitor.export.source import Source, source_of
from monitor.store import Archive
from monitor.study import Study
from monitor.terminal import ConfigFile, DataDir, Json, Since, note, progress, readable, say, since_ns

app = typer.Typer(no_args_is_help=True)

Out = Annotated[Path, typer.Argument(help="Folder to write to.", show_default=False)]
DeviceName = Annotated[str, typer.Option("--device", help="Only of this one.")]
Subject = Annotated[str, typer.Option(help="Pseudonym; else that of the study, or P01.")]
Identified = Annotated[bool, typer.Option("--identified", help="With the names of devices and the diary's notes.")]
Heard = Callable[[float], None]


@dataclass(frozen=True, slots=True)
class _Person:
    source: Source
    part: Study | None
    folder: Path

    @property
    def seconds(self) -> float:
        """Of the range in which anything was kept."""
        held = [each for device in self.source.devices for each in self.source.holdings(device)]
        last_ns = max((each.end_ns for each in held), default=self.source.since_ns)
        return (min(last_ns, self.source.until_ns) - self.source.since_ns) * 1e-9


@contextmanager
def _person(
    config_file: Path | None, data: Path | None, since: str, device: str, subject: str, *, identified: bool
) -> Iterator[_Person]:
    now_ns = time.time_ns()
    folder = readable(config_file, data)
    part = study.part_in(folder)
    called = subject or (part.pseudonym if part else "P01")
    with Archive.open(folder) as archive:
        known = [each.first_ns for each in archive.devices()]
        first_ns = max(since_ns(since, now_ns), min(known, default=now_ns))
        source = source_of(
            folder, archive, (first_ns, now_ns), device=device, subject=called, identified=identified
        )
        yield _Person(source, part, folder)


def _tell(person: _Person, written: Iterable[Path], *, json_lines: bool) -> None:
    """Say each file once it is whole, and remember where it is."""
    paths: list[Path] = []
    for path in written:
        paths.append(path)
        study.note_exports(person.folder, [path])
        say(lines.as_json({"type": "exported", "file": str(path)}) if json_lines else str(path))
    if not paths:
        note("nothing was kept in that time")


def _signal(form: str, out: Path, person: _Person, *, json_lines: bool) -> None:
    with progress(f"{form.upper()} of {lines.length(person.seconds)}", person.seconds) as heard:
        chosen = edf.FORMS[form]
        files = edf.export(person.source, chosen, edf.plain_name(person.source, chosen, out), note, heard)
        _tell(person, (each.path for each in files), json_lines=json_lines)


@app.command("edf")
def export_edf(
    out: Out,
    since: Since = "all",
    device: DeviceName = "",
    subject: Subject = "",
    identified: Identified = False,
    config_file: ConfigFile = None,
    data: DataDir = None,
    json_lines: Json = False,
) -> None:
    """Raw signal as EDF+, with twitches, triggers and gaps."""
    with _person(config_file, data, since, device, subject, identified=identified) as person:
        _signal("edf", out, person, json_lines=json_lines)


@app.command("bdf")
def export_bdf(
    out: Out,
    since: Since = "all",
    device: DeviceName = "",
    subject: Subject = "",
    identified: Identified = False,
    config_file: ConfigFile = None,
    data: DataDir = None,
    json_lines: Json = False,
) -> None:
    """The same as BDF+, for devices of up to 24 bits."""
    with _person(config_file, data, since, device, subject, identified=identified) as person:
        _signal("bdf", out, person, json_lines=json_lines)


@app.command("bids")
def export_bids(
    out: Out,
    since: Since = "all",
    device: DeviceName = "",
    subject: Subject = "",
    identified: Identified = False,
    config_file: ConfigFile = None,
    data: DataDir = None,
    json_lines: Json = False,
) -> None:
    """Raw signal in a folder as BIDS-EMG asks for."""
    with _person(config_file, data, since, device, subject, identified=identified) as person:
        said = bids.Study(person.part.name, person.part.group) if person.part else bids.Study()
        with progress("BIDS", person.seconds) as heard:
            files = bids.export(person.source, edf.FORMS["bdf"], out, said, note, heard)
            _tell(person, files, json_lines=json_lines)


@app.command("csv")
def export_csv(
    out: Out,
    since: Since = "all",
    device: DeviceName = "",
    subject: Subject = "",
    identified: Identified = False,
    config_file: ConfigFile = None,
    data: DataDir = None,
    json_lines: Json = False,
) -> None:
    """Twitches, minutes, contexts, gaps and triggers as CSV."""
    with _person(config_file, data, since, device, subject, identified=identified) as person:
        _tell(person, tables.export_csv(person.source, out), json_lines=json_lines)


@app.command("parquet")
def export_parquet(
    out: Out,
    since: Since = "all",
    device: DeviceName = "",
    subject: Subject = "",
    identified: Identified = False,
    config_file: ConfigFile = None,
    data: DataDir = None,
    json_lines: Json = False,
) -> None:
    """The same as Parquet, and the raw signal, exactly."""
    with (
        _person(config_file, data, since, device, subject, identified=identified) as person,
        progress("Parquet", person.seconds) as heard,
    ):
        _tell(person, tables.export_parquet(person.source, out, heard), json_lines=json_lines)
