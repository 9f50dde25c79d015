"""Study mode: whose data folder this is by pseudonym, in which group, under which settings; and how one leaves.

Rules:

* It stands in `study.json` in the data folder, beside the store, whose schema knows nothing of it.
* Settings are frozen by their fingerprint: with others nothing is recorded, so no person is measured by two
  yardsticks.
* Who takes part and is not to know their counts is not told them by any command. This keeps honest people
  blind; it is no lock, as the data is on their own computer.
* Whoever leaves is gone everywhere: from the data folder, from each place exports went to, and from the places
  that are named, which can be exports, cohort results and folders of several people. What is not ours is not
  touched. It can be done again, and without the data folder, as that may be gone already, or elsewhere.
* Below a named place theirs is what a cohort counts as theirs (`monitor.cohort.members`), and what begins with
  the pseudonym and `_` or `.`.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from firmware_interface.errors import Fault
from monitor.detection.settings import DetectorSettings
from monitor.diary import DIARY
from monitor.export.source import new_file
from monitor.raw import FOLDER as RAW
from monitor.store import DATABASE, LOCK, Store

FILE: Final = "study.json"
_EXPORTS: Final = "study-exports.txt"
"""Where exports went, a path a line."""
_PARTICIPANTS: Final = "participants.tsv"
PSEUDONYM: Final = re.compile(r"[A-Za-z0-9]{1,24}")
SUBJECT: Final = re.compile(r"(?:^|[/_])sub-([^/_]+?)(?=[/_]|\.[^/]*$|$)")
"""Whose a path is, as in BIDS: up to the next part of the name."""


class StudyError(Fault):
    """What a study does not allow; the person's to decide."""


@dataclass(frozen=True, slots=True)
class Study:
    """One person's part in a study."""

    name: str
    pseudonym: str
    group: str
    counts_hidden: bool
    fingerprint: str
    """Of the detector's settings."""
    settings: Mapping[str, Any]
    joined_ns: int


@dataclass(frozen=True, slots=True)
class Theirs:
    """What there is of a person: a file, a folder with all in it, or their row in a list of several people."""

    path: Path
    row: str = ""
    """How it begins; empty where all of `path` is theirs."""

    def __str__(self) -> str:
        return f"{self.path}: the row of {self.row}" if self.row else str(self.path)


def fingerprint(settings: DetectorSettings) -> str:
    """Twelve characters that differ where any setting does."""
    text = json.dumps(asdict(settings), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def part_in(folder: Path) -> Study | None:
    """The study that a data folder belongs to.

    Raises:
        StudyError: what stands there cannot be read.
    """
    path = folder / FILE
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise StudyError(f"{path}: cannot be read", "Mend its permissions, or ask who runs the study") from error
    try:
        return Study(**json.loads(text))
    except (ValueError, TypeError) as error:
        raise StudyError(f"{path}: is no part in a study", "Ask who runs the study for the right file") from error


def join(folder: Path, study: Study) -> None:
    """Write down that a data folder belongs to a study.

    Raises:
        StudyError: it belongs to one already, the study has no name, or the pseudonym is none.
    """
    if not study.name.strip():
        raise StudyError("the study has no name", "Name it, as all its people will")
    if not PSEUDONYM.fullmatch(study.pseudonym):
        raise StudyError(
            f"{study.pseudonym!r} is no pseudonym", "Use letters and digits, 24 at most; never a name or initials"
        )
    there = part_in(folder)
    if there is not None:
        raise StudyError(
            f"{folder} belongs to {there.name!r} as {there.pseudonym}",
            "Withdraw first, or name another data folder",
        )
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        (folder / FILE).write_text(json.dumps(asdict(study), indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise StudyError(f"{folder}: {error.strerror or error}", "Name a folder of yours") from error


def allow(folder: Path, settings: DetectorSettings) -> Study | None:
    """The study of a data folder, if recording with these settings is what it froze.

    Raises:
        StudyError: they are others.
    """
    study = part_in(folder)
    if study is None or study.fingerprint == fingerprint(settings):
        return study
    mine = json.loads(json.dumps(asdict(settings)))
    changed = [name for name, value in study.settings.items() if mine.get(name) != value]
    raise StudyError(
        f"the study {study.name!r} froze the settings of detection, and {', '.join(changed) or 'some'} differ",
        "Take them out of [detection] in the configuration",
    )


def reveal(folder: Path) -> Path:
    """The folder, if its person may know what was counted.

    Raises:
        StudyError: not in this study.
    """
    study = part_in(folder)
    if study is not None and study.counts_hidden:
        raise StudyError(
            f"the study {study.name!r} does not show counts while it lasts",
            "`fasciwatch link` says how well all is heard; ask who runs the study for the rest",
        )
    return folder


def note_exports(folder: Path, paths: Iterable[Path]) -> None:
    """Remember where exports went, so that whoever leaves is gone from there, and no other's are written over."""
    try:
        with (folder / _EXPORTS).open("a", encoding="utf-8") as file:
            file.writelines(f"{path.resolve()}\n" for path in paths)
    except OSError as error:  # a copy that may only be read, perhaps
        if part_in(folder) is not None:
            raise StudyError(
                f"{folder / _EXPORTS} cannot be written: {error.strerror or error}",
                "Export from where it can: whoever leaves has to be found",
            ) from error


def exported(folder: Path) -> set[Path]:
    """Where exports of a data folder went."""
    ledger = folder / _EXPORTS
    return {Path(line) for line in ledger.read_text(encoding="utf-8").splitlines()} if ledger.exists() else set()


def found_of(folder: Path, pseudonym: str, places: Sequence[Path]) -> tuple[list[Theirs], list[Path]]:
    """What there is of a person: (to be removed, in their data folder but not ours).

    Args:
        folder: a data folder; left alone where it is not theirs.
        pseudonym: of the person.
        places: folders that may hold more of them.

    Raises:
        StudyError: a place is not there, or there is neither a data folder of theirs nor a place.
    """
    if not PSEUDONYM.fullmatch(pseudonym):
        raise StudyError(f"{pseudonym!r} is no pseudonym", "Name the one that they joined with")
    for place in places:
        if not place.is_dir():
            raise StudyError(f"{place} is no folder; nothing was removed", "Correct it: --from FOLDER")
    is_theirs = _is_part_of(folder, pseudonym)
    if not is_theirs and not places:
        raise StudyError(
            f"{folder} belongs to no study",
            "Name the person's data folder with --data, or other places with --from",
        )
    copies = [each for place in places for each in copies_of(place, pseudonym)]
    inside = sorted(folder.iterdir()) if is_theirs else []
    ours = [Theirs(path) for path in inside if _is_ours(path)]
    gone = dict.fromkeys([*(_left_by_exports(folder) if is_theirs else []), *copies, *ours])
    goes_whole = any(folder.resolve().is_relative_to(each.path.resolve()) for each in copies)
    return list(gone), [path for path in inside if not _is_ours(path) and not goes_whole]


def _left_by_exports(folder: Path) -> Iterator[Theirs]:
    """What exports of a data folder left; of one as BIDS the whole person."""
    for path in sorted(exported(folder)):
        match = SUBJECT.match(path.name)
        person = next((each for each in path.parents if match and each.name == match[0]), None)
        if person is not None:
            yield from _rows(person.parent / _PARTICIPANTS, person.name)
        if (person or path).exists():
            yield Theirs(person or path)


def copies_of(place: Path, pseudonym: str) -> Iterator[Theirs]:
    """What is a person's below a place: folders as a whole, files, rows of lists, what is ours of data folders."""
    folders = {f"subject={pseudonym}", f"sub-{pseudonym}"}
    whole: set[Path] = set()
    for path in sorted(place.rglob("*")):
        if not whole.isdisjoint(path.parents):
            continue
        if path.is_dir():
            if path.name in folders or (path.name == pseudonym and path.parent == place):
                whole.add(path)
                yield Theirs(path)
            elif _is_part_of(path, pseudonym):
                yield from (Theirs(each) for each in sorted(path.iterdir()) if _is_ours(each))
        elif path.name == _PARTICIPANTS:
            yield from _rows(path, f"sub-{pseudonym}")
            yield from _rows(path, pseudonym)
        elif _is_named_for(path.name, pseudonym):
            yield Theirs(path)


def _is_named_for(name: str, pseudonym: str) -> bool:
    """P1 is neither P10 nor P1-x: after the pseudonym the next part of the name follows."""
    match = SUBJECT.search(name)
    return name.startswith((f"{pseudonym}_", f"{pseudonym}.")) or (match is not None and match[1] == pseudonym)


def _rows(path: Path, person: str) -> Iterator[Theirs]:
    try:
        lines = path.read_bytes().splitlines() if path.is_file() else []
    except OSError as error:
        raise StudyError(
            f"{path}: {error.strerror or error}; nothing was removed", "Mend its permissions"
        ) from error
    if any(_begins_with(person, line) for line in lines):
        yield Theirs(path, person)


def _begins_with(person: str, line: bytes) -> bool:
    return line.split(b"\t")[0].strip() == person.encode()


def withdraw(gone: Iterable[Theirs]) -> None:
    """Remove what `found_of` has found.

    Raises:
        StoreError: a data folder is in use.
        StudyError: something cannot be removed.
    """
    gone = list(gone)
    for each in gone:
        if each.path.name == DATABASE:
            Store.open(each.path.parent).close(0)  # refuses while it is written
    for each in gone:
        try:
            _remove(each)
        except OSError as error:
            raise StudyError(
                f"{each.path}: {error.strerror or error}", "Remove it by hand, then withdraw again"
            ) from error


def _remove(each: Theirs) -> None:
    if each.row:
        lines = each.path.read_bytes().splitlines(keepends=True)
        with new_file(each.path) as file:
            file.writelines(line for line in lines if not _begins_with(each.row, line))
    elif each.path.is_dir() and not each.path.is_symlink():
        shutil.rmtree(each.path)
    else:
        each.path.unlink(missing_ok=True)


def _is_ours(path: Path) -> bool:
    return path.name in (RAW, LOCK, FILE, _EXPORTS) or path.name.startswith((DATABASE, DIARY))


def _is_part_of(folder: Path, pseudonym: str) -> bool:
    study = part_in(folder)
    return study is not None and study.pseudonym == pseudonym
