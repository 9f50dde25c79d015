"""Which recordings there are, and whose.

Rules:

* A data folder (with `main.sqlite`) is one member, whatever is in it. Any other recording is one by its name.
* Whose it is: `sub-P01` anywhere in its path, as in BIDS; else the pseudonym of the data folder's study; else the
  first folder; else its own name. Names that differ stay apart, whatever they are made of. Group:
  `participants.tsv` at the top, else the study's.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

from firmware_interface.capture import SUFFIX
from monitor import study
from monitor.cohort.storage import Place, StorageError, Stored
from monitor.store import DATABASE

TRIGGERS: Final = "triggers.csv"
_SUFFIXES: Final = (".edf", ".bdf", ".xdf", ".csv", SUFFIX)
_DAY = re.compile(r"\d{4}-\d\d-\d\d(-\d+)?\.sqlite")
NO_GROUP: Final = "n/a"


@dataclass(frozen=True, slots=True)
class Member:
    """A recording, or a data folder."""

    name: str
    """From the place on; of a data folder the folder's, "." for the place itself."""
    subject: str
    group: str
    files: tuple[str, ...]
    size: int
    version: str
    is_store: bool

    @property
    def id(self) -> str:
        """A name for files about it."""
        stem = re.sub(r"[^A-Za-z0-9.-]+", "-", PurePosixPath(self.name).name)[:40] or "store"
        return f"{stem}-{hashlib.sha256(self.name.encode(errors='surrogateescape')).hexdigest()[:8]}"


@dataclass(frozen=True, slots=True)
class Subject:
    """A person, with what was logged of them."""

    name: str
    group: str
    stores: tuple[Member, ...]
    triggers: tuple[str, ...]
    """CSV files."""
    members: tuple[str, ...] = ()
    """Their ids."""


def members(place: Place) -> tuple[list[Member], list[Subject]]:
    """Everything in a place that can be detected in, and the people.

    Raises:
        StorageError: it cannot be read.
    """
    files = place.files()
    groups = dict(_groups(place, files))
    folders = {str(PurePosixPath(f.name).parent) for f in files if PurePosixPath(f.name).name == DATABASE}
    found = [_store(place, folder, files, groups) for folder in sorted(folders)]
    inside = {name for member in found for name in member.files}
    found += [_recording(f, groups) for f in files if f.name not in inside and _is_recording(f.name)]
    return found, _people(found, files, groups)


def _is_recording(name: str) -> bool:
    path = PurePosixPath(name)
    if path.name in (TRIGGERS, "participants.csv") or path.name.endswith((".truth.csv", "_triggers.csv")):
        return False
    return path.suffix.lower() in _SUFFIXES or bool(_DAY.fullmatch(path.name))


def _groups(place: Place, files: Iterable[Stored]) -> Iterator[tuple[str, str]]:
    if not any(f.name == "participants.tsv" for f in files):
        return
    text = (place.read("participants.tsv") or b"").decode("utf-8-sig", errors="replace")
    rows = [line.split("\t") for line in text.splitlines() if line]
    titles = [title.strip().lower() for title in rows[0]] if rows else []
    if "participant_id" not in titles:
        raise StorageError(
            "participants.tsv: has no column participant_id",
            "Write it as UTF-8 with tabs between columns, or remove it",
        )
    if "group" not in titles:
        return
    who, which = titles.index("participant_id"), titles.index("group")
    told: dict[str, str] = {}
    for row in (row for row in rows[1:] if len(row) > max(who, which)):
        subject = _named(row[who].removeprefix("sub-"))
        if told.setdefault(subject, row[which]) != row[which]:
            raise StorageError(f"participants.tsv: {row[who]} is in two groups", "Leave one line of each person")
        yield subject, row[which]


def _store(place: Place, folder: str, files: Iterable[Stored], groups: dict[str, str]) -> Member:
    inside = [f for f in files if folder == "." or f.name.startswith(f"{folder}/")]
    part = _part(place, f"{folder}/{study.FILE}" if folder != "." else study.FILE)
    subject = _subject(f"{folder}/", part.get("pseudonym", ""))
    versions = "".join(f.version for f in inside)
    return Member(
        folder,
        subject,
        groups.get(subject, part.get("group", NO_GROUP)),
        tuple(f.name for f in inside),
        sum(f.size for f in inside),
        hashlib.sha256(versions.encode()).hexdigest()[:16],
        is_store=True,
    )


def _part(place: Place, name: str) -> dict[str, str]:
    try:
        fields = json.loads(place.read(name) or b"{}")
    except ValueError:
        return {}
    return {key: str(fields[key]) for key in ("pseudonym", "group") if key in fields}


def _recording(file: Stored, groups: dict[str, str]) -> Member:
    subject = _subject(file.name)
    return Member(
        file.name, subject, groups.get(subject, NO_GROUP), (file.name,), file.size, file.version, is_store=False
    )


def _subject(name: str, pseudonym: str = "") -> str:
    match = study.SUBJECT.search(name)
    if match or pseudonym:
        return _named(match[1] if match else pseudonym)
    path = PurePosixPath(name)
    return _named(path.parts[0] if len(path.parts) > 1 else path.stem.removesuffix("_triggers"))


def _named(text: str) -> str:
    """A name for folders; what it cannot hold is told apart by its hash."""
    plain = re.sub(r"[^A-Za-z0-9-]+", "", text)
    if plain == text:
        return text
    return f"{plain or 'unnamed'}-{hashlib.sha256(text.encode(errors='surrogateescape')).hexdigest()[:6]}"


def _people(found: Iterable[Member], files: Iterable[Stored], groups: dict[str, str]) -> list[Subject]:
    found = list(found)
    logs: dict[str, list[str]] = {}
    for file in files:
        if PurePosixPath(file.name).name.endswith(TRIGGERS):
            logs.setdefault(_subject(file.name), []).append(file.name)
    people = []
    for name in sorted({member.subject for member in found}):
        mine = [member for member in found if member.subject == name]
        group = groups.get(name, next((m.group for m in mine if m.group != NO_GROUP), NO_GROUP))
        stores = tuple(member for member in mine if member.is_store)
        people.append(Subject(name, group, stores, tuple(logs.get(name, ())), tuple(m.id for m in mine)))
    return people
