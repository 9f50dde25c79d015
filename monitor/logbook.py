"""Logging in one act, however it arrives: by command, MQTT or HTTP.

    verb, fields (text) ─► log ─► Diary
                            └─► Answer: what was understood, and what must be said with it

Rules:

* One function for all of them. Fields are text, as a person writes it; see `monitor.phrases`.
* An answer repeats what was understood, so that a slip is seen at once; `undo` takes it back.
* What must be said, of drugs and of emergencies, comes with every answer and is shown by whoever asked.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import tzinfo
from typing import Final

from monitor.correlation.catalogue import CATALOGUE, Form
from monitor.correlation.triggers import Precision, Refusal
from monitor.diary import FELT, NOTHING, Change, Diary, DiaryError, Entry, Logged, Receipt
from monitor.phrases import Known, amended, moment, written

VERBS: Final = ("add", "start", "stop", "none", "felt", "edit", "delete", "undo")
_MS = 10**6
_EVENTS = frozenset({Form.TEST, Form.HISTORY})


@dataclass(frozen=True, slots=True)
class Answer:
    """What was done."""

    receipts: tuple[Receipt, ...]
    notes: tuple[str, ...] = ()
    """To be shown."""
    undone: tuple[Change, ...] = ()
    """What was taken back."""


def log(diary: Diary, verb: str, fields: Mapping[str, str], now_ns: int, zone: tzinfo | None) -> Answer:
    """Do what a person asks for.

    Args:
        diary: open.
        verb: of `VERBS`.
        fields: of `monitor.phrases.FIELDS`; also `id` of the entry to edit or delete, and `key`: what comes twice
            with the same one is logged once. `kind` may be the name of a template.
        now_ns: UTC.
        zone: of the person's clock; `None` is this computer's.

    Raises:
        DiaryError: it cannot be understood.
    """
    said = {name: str(text) for name, text in fields.items() if text is not None and str(text).strip()}
    key = said.pop("key", "")
    match verb:
        case "add" | "start" | "none" | "felt":
            entry = _new(diary, verb, said, now_ns, zone)
            receipts = diary.log([entry], now_ns, [key])
        case "stop":
            template = diary.templates().get(said.get("kind", ""), {})
            kind = written({"kind": template.get("kind", said.get("kind", ""))}, now_ns, zone, known(diary)).kind
            receipts = [diary.stop(kind, moment(said.get("occurred_at", ""), now_ns, zone)[0], now_ns)]
        case "edit":
            number = _number(said)
            changed = amended(diary.entry(number), said, now_ns, zone, known(diary))
            receipts = [diary.edit(number, changed, now_ns)]
        case "delete":
            receipts = [diary.delete(_number(said), now_ns)]
        case "undo":
            return Answer((), undone=tuple(diary.undo(now_ns)))
        case _:
            raise DiaryError(f"{verb!r} is nothing that can be done", f"Say {', '.join(VERBS)}")
    return Answer(tuple(receipts), tuple(notes(receipts)))


def known(diary: Diary) -> Known:
    """What was logged before."""
    return Known(diary.units())


def known_from(entries: Sequence[Logged]) -> Known:
    """What was logged before."""
    units: dict[str, str] = {}
    for logged in entries:
        units[logged.entry.kind] = units.get(logged.entry.kind) or logged.entry.unit
    return Known(units)


def notes(receipts: Sequence[Receipt]) -> list[str]:
    """What must be said with entries: each once, an emergency first."""
    listed = [CATALOGUE[each.entry.kind] for each in receipts if each.entry.kind in CATALOGUE]
    listed.sort(key=lambda entry: entry.form is not Form.EMERGENCY)
    return list(dict.fromkeys(entry.safety for entry in listed if entry.safety))


def imported(
    rows: Sequence[tuple[int, Mapping[str, str]]], now_ns: int, zone: tzinfo | None, there: Sequence[Logged]
) -> tuple[list[tuple[Entry, str]], list[Refusal]]:
    """(entry, key) of each row that can be logged, and those that cannot; nothing is logged yet.

    Args:
        rows: (line number, fields).
        now_ns: UTC.
        zone: where times say no offset.
        there: what was logged before; kinds that are not in it or in the catalogue are taken as a person's own.
    """
    before = known_from(there)
    times = {(each.entry.kind, each.entry.occurred_ns // _MS): each.id for each in there}
    taken: list[tuple[Entry, str]] = []
    refused: list[Refusal] = []
    seen: dict[str, int] = {}
    for line, fields in rows:
        try:
            entry = written({**fields, "new": "yes"}, now_ns, zone, before)
            if not fields.get("occurred_at"):
                raise DiaryError("has no time", "Fill occurred_at")
        except DiaryError as error:
            refused.append(Refusal(line, f"{error.args[0]}; left out"))
            continue
        key = _fingerprint(entry)
        first = seen.setdefault(key, line)
        if first != line:
            refused.append(Refusal(line, f"says the same as line {first}; left out"))
            continue
        same = times.get((entry.kind, entry.occurred_ns // _MS))
        if same is not None:
            refused.append(Refusal(line, f"is there already: entry {same} is of the same kind and time; left out"))
            continue
        taken.append((entry, key))
    return taken, refused


def _new(diary: Diary, verb: str, said: dict[str, str], now_ns: int, zone: tzinfo | None) -> Entry:
    template = diary.templates().get(said.get("kind", ""), {})
    said = said | template | {name: text for name, text in said.items() if name != "kind"}
    before = known(diary)
    if verb == "felt":
        return written({**said, "kind": FELT}, now_ns, zone, before)
    if verb == "none":
        kind = said.get("kind", "") or NOTHING
        return replace(
            written({"occurred_at": "today", **said, "kind": kind, "dose": "0"}, now_ns, zone, before),
            precision=Precision.DAY,
        )
    entry = written(said, now_ns, zone, before)
    if verb == "start":
        if entry.kind in CATALOGUE and CATALOGUE[entry.kind].form in _EVENTS:
            raise DiaryError(f"{entry.kind} does not go on and end", "Log it with `add`")
        running = [each for each in diary.running() if each.entry.kind == entry.kind]
        if running:
            raise DiaryError(f"{entry.kind} is running already", f"Say stop first, or delete {running[-1].id}")
        return replace(entry, running=True, ended_ns=None)
    return entry


def _number(said: dict[str, str]) -> int:
    text = said.pop("id", "")
    if not text.isascii() or not text.isdigit():
        raise DiaryError(f"{text!r} is no number of an entry", "See `fasciwatch trigger list`")
    return int(text)


def _fingerprint(entry: Entry) -> str:
    """Of what is said, so that the same file imported twice is logged once."""
    said = entry.kind, entry.occurred_ns, entry.ended_ns, entry.dose, entry.unit, entry.site, entry.note
    return "import " + hashlib.sha256(repr(said).encode()).hexdigest()[:32]
