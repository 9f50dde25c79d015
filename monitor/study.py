"""Study mode: whose data folder this is by pseudonym, in which group, under which settings; and how one leaves.

Rules:

* It stands in `study.json` in the data folder, beside the store, whose schema knows nothing of it.
* Settings are frozen by their fingerprint: with others nothing is recorded, so no person is measured by two
  yardsticks.
* Who takes part and is not to know their counts is not told them by any command. This keeps honest people
  blind; it is no lock, as the data is on their own computer.
* Whoever leaves is gone everywhere: from the data folder, from each place exports went to, and from the places
  that are named, which can be exports, cohort results and folders of several people. What is not ours is not
  touched.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from firmware_interface.errors import Fault
from monitor.detection.settings import DetectorSettings
from monitor.diary import DIARY
from monitor.export import bids
from monitor.raw import FOLDER as RAW
from monitor.store import DATABASE, LOCK, Store

FILE: Final = "study.json"
_EXPORTS: Final = "study-exports.txt"
"""Where exports went, a path a line."""
PSEUDONYM: Final = re.compile(r"[A-Za-z0-9]{1,24}")


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
        StudyError: it belongs to one already, or the pseudonym is none.
    """
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


def found_of(folder: Path, places: Iterable[Path]) -> tuple[list[Path], list[Path]]:
    """What there is of the person of a data folder: (to be removed, in the folder but not ours).

    Raises:
        StudyError: the folder is no part in a study.
    """
    study = part_in(folder)
    if study is None:
        raise StudyError(f"{folder} belongs to no study", "Name the person's data folder with --data")
    ours = [path for path in sorted(folder.iterdir()) if _is_ours(path)]
    others = [path for path in sorted(folder.iterdir()) if not _is_ours(path)]
    ledger = folder / _EXPORTS
    exported = [Path(line) for line in ledger.read_text(encoding="utf-8").splitlines()] if ledger.exists() else []
    copies = [path for place in places for path in copies_of(place, study.pseudonym)]
    gone = dict.fromkeys([*(path for path in exported if path.exists()), *copies, *ours])
    return list(gone), others


def copies_of(place: Path, pseudonym: str) -> Iterator[Path]:
    """What holds a person's data below a place, each the whole of it."""
    names = {f"subject={pseudonym}", f"sub-{pseudonym}"}
    for path in sorted(place.rglob("*")):
        if (path.name in names and path.is_dir()) or (path.is_file() and path.name.startswith(f"{pseudonym}_")):
            yield path
        elif path.name == FILE and path.parent != place and _is_part_of(path.parent, pseudonym):
            yield path.parent


def withdraw(folder: Path, paths: Iterable[Path]) -> None:
    """Remove what `found_of` has found.

    Raises:
        StoreError: the folder is in use.
        StudyError: something cannot be removed.
    """
    if (folder / DATABASE).exists():
        Store.open(folder).close(0)  # refuses while it is written
    for path in paths:
        try:
            if path.is_dir() and path.name.startswith("sub-"):
                bids.without(path.parent, path.name.removeprefix("sub-"))
            elif path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        except OSError as error:
            raise StudyError(
                f"{path}: {error.strerror or error}", "Remove it by hand, then withdraw again"
            ) from error


def _is_ours(path: Path) -> bool:
    return path.name in (RAW, LOCK, FILE, _EXPORTS) or path.name.startswith((DATABASE, DIARY))


def _is_part_of(folder: Path, pseudonym: str) -> bool:
    study = part_in(folder)
    return study is not None and study.pseudonym == pseudonym
