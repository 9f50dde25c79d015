"""The command `fasciwatch export FORM FOLDER`."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from monitor import lines, study
from monitor.export import bids, edf, tables
from monitor.export.source import ExportError, Source, source_of
from monitor.store import Archive
from monitor.study import Study
from monitor.terminal import ConfigFile, DataDir, Json, Since, note, progress, readable, say, since_ns

Heard = Callable[[float], None]

_NAME = re.compile(r"[A-Za-z0-9-]{1,64}")
_BEFORE_NS = 60 * 10**9
"""A device is introduced in the middle of its first minute, and after its first sample was taken."""


class Form(StrEnum):
    """What others read."""

    EDF = "edf"
    BDF = "bdf"
    BIDS = "bids"
    CSV = "csv"
    PARQUET = "parquet"


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
    if not _NAME.fullmatch(called):
        raise ExportError(f"{called!r} is no pseudonym", "Use letters, digits and hyphens: --subject P01")
    with Archive.open(folder) as archive:
        known = [each.first_ns - _BEFORE_NS for each in archive.devices()]
        first_ns = max(since_ns(since, now_ns), min(known, default=now_ns))
        source = source_of(
            folder, archive, (first_ns, now_ns), device=device, subject=called, identified=identified
        )
        yield _Person(source, part, folder)


def _tell(person: _Person, written: Iterable[Path], *, json_lines: bool) -> None:
    """Say each file once it is whole, and remember where it is."""
    anything = False
    for path in written:
        anything = True
        study.note_exports(person.folder, [path])
        say(lines.as_json({"type": "exported", "file": str(path)}) if json_lines else str(path))
    if not anything:
        note("nothing was kept in that time")


def export(
    form: Annotated[Form, typer.Argument(help="What to write.", show_default=False)],
    out: Annotated[Path, typer.Argument(help="Folder to write to.", show_default=False)],
    since: Since = "all",
    device: Annotated[str, typer.Option(help="Only of this one.")] = "",
    subject: Annotated[str, typer.Option(help="Pseudonym; else that of the study, or P01.")] = "",
    identified: Annotated[
        bool, typer.Option("--identified", help="With the names of devices and the diary's notes.")
    ] = False,
    config_file: ConfigFile = None,
    data: DataDir = None,
    json_lines: Json = False,
) -> None:
    """Write what is stored as files that others read.

    edf: raw signal as EDF+, with twitches, triggers and gaps.

    bdf: the same as BDF+, for devices of up to 24 bits.

    bids: raw signal in a folder as BIDS-EMG asks for.

    csv: twitches, minutes, contexts, gaps and triggers.

    parquet: the same, and the raw signal, exactly.
    """
    with (
        _person(config_file, data, since, device, subject, identified=identified) as person,
        progress(f"{form.upper()} of {lines.length(person.seconds)}", person.seconds) as heard,
    ):
        _require_room(form, person, out)
        _tell(person, _written(form, person, out, heard), json_lines=json_lines)


def _require_room(form: Form, person: _Person, out: Path) -> None:
    """What another's data folder wrote under this name is never written over."""
    called, ours = person.source.subject, study.exported(person.folder)
    there = bids.files(out, called) if form is Form.BIDS else list(out.glob(f"{called}_*.{form}"))
    for path in there:
        if path.resolve() not in ours:
            raise ExportError(
                f"{path} is no export of {person.folder}",
                "Name another folder, or another --subject, or remove it",
            )


def _written(form: Form, person: _Person, out: Path, heard: Heard) -> Iterable[Path]:
    """Each file once it is whole."""
    source, part = person.source, person.part
    match form:
        case Form.EDF | Form.BDF:
            chosen = edf.FORMS[form]
            files = edf.export(source, chosen, edf.plain_name(source, chosen, out), note, heard)
            return (each.path for each in files)
        case Form.BIDS:
            said = bids.Study(part.name, part.group) if part else bids.Study()
            return bids.export(source, edf.FORMS["bdf"], out, said, note, heard)
        case Form.CSV:
            return tables.export_csv(source, out)
        case Form.PARQUET:
            return tables.export_parquet(source, out, heard)
