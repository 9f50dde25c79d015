"""What people write: "120mg", "20 min ago", "yesterday 22:00", "left calf", into an entry of the diary.

    fields (text) ─► written ─► Entry

Rules:

* Pure: the time comes in. What cannot be understood is an error that says what could.
* A time without an offset is on the person's clock. One without a date is the last time the clock showed it.
* A kind that is neither in the catalogue nor in the diary is taken only when it is said to be new: "cafeine" must
  not become a second trigger.
* One unit for each kind; what can be converted is.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta, tzinfo
from datetime import time as time_of_day
from enum import StrEnum
from typing import Final, TypeVar

from monitor.body import REGIONS, site_named
from monitor.correlation.catalogue import CATALOGUE, SITES
from monitor.correlation.triggers import Precision, kind_of
from monitor.diary import FELT, NOTHING, DiaryError, Entry

FIELDS: Final = (
    "kind", "occurred_at", "ended_at", "dose", "unit", "site", "precision", "reactive", "note", "new",
)  # fmt: skip
"""What an entry may say of itself, as text; also the columns of an import."""

Choice = TypeVar("Choice", bound=StrEnum)

_UNITS_S = {"s": 1, "sec": 1, "min": 60, "h": 3600, "hour": 3600, "hours": 3600, "d": 86400, "day": 86400,
            "days": 86400}  # fmt: skip
_CONVERSIONS = {
    "mg": {"mg": 1.0, "g": 1000.0, "ug": 0.001, "µg": 0.001, "mcg": 0.001},
    "mg prednisone": {"mg": 1.0},
    "mL": {"ml": 1.0, "cl": 10.0, "dl": 100.0, "l": 1000.0},
    "g": {"g": 1.0, "mg": 0.001, "kg": 1000.0},
    "h": {"h": 1.0, "min": 1 / 60},
    "IU": {"iu": 1.0},
    "°C": {"c": 1.0, "°c": 1.0},
    "RPE 6-20": {"rpe": 1.0},
}
"""Unit of a kind -> what else may be written, in it."""
_SCALES = {"0-10": (0.0, 10.0), "RPE 6-20": (6.0, 20.0)}
_YES = {"1", "yes", "true"}
_OLDEST_NS = 315_532_800 * 10**9
"""1980."""
_MOST = 1e9
"""Of a dose; more is a slip."""


@dataclass(frozen=True, slots=True)
class Known:
    """What was logged before."""

    units: Mapping[str, str]
    """Kind -> its unit."""

    @property
    def kinds(self) -> set[str]:
        return {*CATALOGUE, *self.units, FELT, NOTHING}


def written(fields: Mapping[str, str], now_ns: int, zone: tzinfo | None, known: Known) -> Entry:
    """The entry that a person means.

    Args:
        fields: of `FIELDS`, those that are said; only `kind` must be.
        now_ns: UTC.
        zone: of the person's clock; `None` is this computer's.
        known: what was logged before.

    Raises:
        DiaryError: it cannot be understood.
    """
    said = {name: " ".join(str(text).split()) for name, text in fields.items() if str(text).strip()}
    strange = sorted(set(said) - set(FIELDS))
    if strange:
        raise DiaryError(f"an entry has no {strange[0]!r}", f"It may have {', '.join(FIELDS)}")
    kind = _kind(said.get("kind", ""), known, new=said.get("new", "").lower() in _YES)
    return _amended(Entry(kind, now_ns), said, now_ns, zone, known)


def amended(entry: Entry, fields: Mapping[str, str], now_ns: int, zone: tzinfo | None, known: Known) -> Entry:
    """The entry, said otherwise in some fields. Raises DiaryError."""
    said = {name: " ".join(str(text).split()) for name, text in fields.items() if str(text).strip()}
    if "kind" in said:
        kind = _kind(said["kind"], known, new=said.get("new", "").lower() in _YES)
        entry = replace(entry, kind=kind)
    return _amended(entry, said, now_ns, zone, known)


def moment(text: str, now_ns: int, zone: tzinfo | None) -> tuple[int, Precision]:
    """The time that a person means, and how well it is known.

    Raises:
        DiaryError: it is none, or has not come yet.
    """
    time_ns, precision = _moment(text.strip().lower(), now_ns, zone)
    if time_ns > now_ns:
        raise DiaryError(f"{text!r} is in the future", "Log what has happened")
    if time_ns < _OLDEST_NS:
        raise DiaryError(f"{text!r} is too long ago", "Log what was since 1980")
    return time_ns, precision


def lasting_s(text: str) -> float | None:
    """Seconds of a length of time such as "30 min"; `None` where it is none."""
    found = re.fullmatch(r"(\d{1,6}(?:[.,]\d{1,6})?)\s*([a-z]+)", text.strip().casefold())
    if found is None or found[2] not in _UNITS_S:
        return None
    return float(found[1].replace(",", ".")) * _UNITS_S[found[2]]


def _amended(entry: Entry, said: Mapping[str, str], now_ns: int, zone: tzinfo | None, known: Known) -> Entry:
    if "occurred_at" in said:
        occurred_ns, precision = moment(said["occurred_at"], now_ns, zone)
        entry = replace(entry, occurred_ns=occurred_ns, precision=precision)
    if "ended_at" in said:
        entry = replace(entry, ended_ns=moment(said["ended_at"], now_ns, zone)[0], running=False)
    if entry.ended_ns is not None and entry.ended_ns < entry.occurred_ns:
        raise DiaryError("it ends before it begins", "Check the two times")
    if "dose" in said:
        dose, unit = _dose(said["dose"], said.get("unit", ""), entry.kind, known)
        entry = replace(entry, dose=dose, unit=unit)
    return replace(
        entry,
        site=_site(said["site"]) if "site" in said else entry.site,
        precision=_choice(said, "precision", entry.precision),
        reactive=_choice(said, "reactive", entry.reactive),
        note=said.get("note", entry.note),
    )


def _kind(text: str, known: Known, *, new: bool) -> str:
    kind = kind_of(text)
    if not kind:
        raise DiaryError("it is not said what happened", "Name a kind, such as caffeine")
    named = {kind_of(entry.name): entry.id for entry in CATALOGUE.values()}
    if kind in known.kinds or new:
        return kind
    if kind in named:
        return named[kind]
    close = difflib.get_close_matches(kind, [*known.kinds, *named], n=1)
    meant = f"did you mean {close[0]}? " if close else ""
    raise DiaryError(
        f"{kind!r} is not known",
        f"{meant[:1].upper()}{meant[1:]}For a kind of your own say that it is new (--new)",
    )


def _dose(text: str, unit: str, kind: str, known: Known) -> tuple[float, str]:
    """(how much, in the unit of the kind)."""
    match = re.fullmatch(r"(\d+(?:[.,]\d+)?)\s*(.*)", text)
    if not match:
        raise DiaryError(f"{text!r} is no dose", "Write a number and a unit, such as 120mg; 0 for none")
    dose, written_unit = float(match[1].replace(",", ".")), match[2] or unit
    listed = CATALOGUE[kind].unit if kind in CATALOGUE else ""
    usual = listed or known.units.get(kind, "")
    if not written_unit or written_unit.lower() == usual.lower() or not usual:
        return _on_scale(dose, usual, kind), usual or written_unit
    factor = _CONVERSIONS.get(usual, {}).get(written_unit.lower())
    if factor is None:
        raise DiaryError(f"{kind} is counted in {usual}, not in {written_unit!r}", f"Write it in {usual}")
    return _on_scale(dose * factor, usual, kind), usual


def _on_scale(dose: float, unit: str, kind: str) -> float:
    low, high = _SCALES.get(unit, (0.0, _MOST))
    if dose and not low <= dose <= high:
        raise DiaryError(f"{kind} of {dose:g} is off its scale", f"Say {low:g} to {high:g}, or 0 for none")
    return dose


def _site(text: str) -> str:
    site = site_named(text)
    if site is None:
        known = ", ".join(dict.fromkeys([*REGIONS, *SITES]))
        raise DiaryError(f"{text!r} is no place on the body that is known", f"Say left or right, and {known}")
    return site


def _choice(said: Mapping[str, str], name: str, absent: Choice) -> Choice:
    try:
        return type(absent)(said[name].lower()) if name in said else absent
    except ValueError:
        raise DiaryError(f"{name} {said[name]!r} is not known", f"Say {', '.join(type(absent))}") from None


def _moment(text: str, now_ns: int, zone: tzinfo | None) -> tuple[int, Precision]:
    if text in ("", "now"):
        return now_ns, Precision.EXACT
    today = datetime.fromtimestamp(now_ns * 1e-9, UTC).astimezone(zone).date()
    ago = re.fullmatch(r"(\d+(?:[.,]\d+)?)\s*([a-z]+) ago", text)
    named = re.fullmatch(r"(today|yesterday)?\s*(?:at )?(\d{1,2}:\d{2})?", text)
    try:
        if ago and ago[2] in _UNITS_S:
            gone_ns = round(float(ago[1].replace(",", ".")) * _UNITS_S[ago[2]] * 10**9)
            return now_ns - gone_ns, Precision.EXACT
        if named and (named[1] or named[2]):
            return _on_clock(today, named[1], named[2], now_ns, zone)
        return _iso(text.upper(), now_ns, zone)
    except (ValueError, OverflowError):
        raise DiaryError(
            f"{text!r} is no time", 'Write "20 min ago", "08:30", "yesterday 22:00" or 2026-11-22T08:30'
        ) from None


def _on_clock(
    today: date, day: str | None, clock: str | None, now_ns: int, zone: tzinfo | None
) -> tuple[int, Precision]:
    if day == "yesterday":
        today -= timedelta(days=1)
    if clock is None:
        return min(_utc_ns(datetime.combine(today, time_of_day(12)), zone), now_ns), Precision.DAY
    time = time_of_day.fromisoformat(clock.zfill(5))
    time_ns = _utc_ns(datetime.combine(today, time), zone)
    if day is None and time_ns > now_ns:  # "23:30", said after midnight
        time_ns = _utc_ns(datetime.combine(today - timedelta(days=1), time), zone)
    return time_ns, Precision.EXACT


def _iso(text: str, now_ns: int, zone: tzinfo | None) -> tuple[int, Precision]:
    said = datetime.fromisoformat(text)
    if re.fullmatch(r"\d{4}-?\d{2}-?\d{2}", text):
        noon_ns = _utc_ns(said.replace(hour=12), zone)
        begun = _utc_ns(said, zone) <= now_ns
        return (min(noon_ns, now_ns) if begun else noon_ns), Precision.DAY
    return (_utc_ns(said, zone) if said.tzinfo is None else _ns(said)), Precision.EXACT


def _utc_ns(local: datetime, zone: tzinfo | None) -> int:
    return _ns(local.replace(tzinfo=zone) if zone else local.astimezone())


def _ns(moment: datetime) -> int:
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) * 1000
