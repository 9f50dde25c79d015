"""What goes out beside what was measured: the diary, findings, and how this computer is doing.

Rules of this module:

* Pure. The same bulletin is the same text, and the text is the same bulletin.
* A bulletin has a key that is made of what it says: told again, it is the same row and the same point.
* Notes of the diary stay in the diary. What was said to oneself is not for a server.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from monitor.correlation.analysis import LagPoint
from monitor.correlation.findings import Finding
from monitor.diary import Change, Entry


@dataclass(frozen=True, slots=True)
class Noted:
    """An entry of the diary stands from a change on, or stands no more as it was."""

    number: int
    """Of the change."""
    at_ns: int
    """Of the change."""
    entry_id: int
    stands: bool
    kind: str
    occurred_ns: int
    ended_ns: int | None = None
    dose: float | None = None
    unit: str = ""
    site: str = ""

    @property
    def key(self) -> str:
        """With kind and number it is one of its kind."""
        return "stands" if self.stands else "withdrawn"


@dataclass(frozen=True, slots=True)
class Found:
    """The answer to a question, as of a time."""

    number: int
    """Of the analysis; the same for all that it found."""
    at_ns: int
    trigger: str
    site: str
    verdict: str
    rate_ratio: float | None
    low: float | None
    """Of the fixed-look interval, as `high`."""
    high: float | None
    always_low: float | None
    """Of the always-valid interval, as `always_high`."""
    always_high: float | None
    p: float | None
    e: float | None
    episodes: int
    days: int
    analysable_h: float
    lag: str
    reasons: str

    @property
    def key(self) -> str:
        """With kind and number it is one of its kind."""
        return f"{self.trigger}\n{self.site}"


@dataclass(frozen=True, slots=True)
class FoundLag:
    """One bin of the exploratory curve of an answer."""

    number: int
    at_ns: int
    trigger: str
    site: str
    from_h: float
    to_h: float
    rate_ratio: float
    low: float
    high: float

    @property
    def key(self) -> str:
        """With kind and number it is one of its kind."""
        return f"{self.trigger}\n{self.site}\n{self.from_h:g}"


@dataclass(frozen=True, slots=True)
class Waiting:
    """What a sink has not got yet."""

    number: int
    """0: of these there is one a time and sink."""
    at_ns: int
    sink: str
    entries: int
    behind_s: float
    """Age of the oldest of them; 0 where there is none."""

    @property
    def key(self) -> str:
        """With kind and time it is one of its kind."""
        return self.sink


@dataclass(frozen=True, slots=True)
class Disk:
    """What the data folder takes, and what is left."""

    number: int
    """0: of these there is one a time."""
    at_ns: int
    stored_bytes: int
    free_bytes: int

    @property
    def key(self) -> str:
        """With kind and time it is one of its kind."""
        return ""


Bulletin = Noted | Found | FoundLag | Waiting | Disk
KINDS: dict[str, type[Bulletin]] = {kind.__name__: kind for kind in (Noted, Found, FoundLag, Waiting, Disk)}


def noted(change: Change, before: Entry | None) -> Iterator[Noted]:
    """What a change of the diary makes of an entry: as it was it is withdrawn, unless the new takes its place."""
    was = None if before is None else _noted(change, before, stands=False)
    now = None if change.entry is None else _noted(change, change.entry, stands=True)
    if was is not None and (now is None or _place(was) != _place(now)):
        yield was
    if now is not None:
        yield now


def found(findings: Iterable[Finding], at_ns: int) -> list[Found | FoundLag]:
    """The findings of an analysis that was made at a time."""
    said: list[Found | FoundLag] = []
    for each in findings:
        low, high = each.interval95 or (None, None)
        always_low, always_high = each.always_valid_interval or (None, None)
        said.append(
            Found(
                at_ns, at_ns, each.trigger, each.site, str(each.verdict), each.rate_ratio, low, high, always_low,
                always_high, each.p, each.e, each.episodes, each.days, each.analysable_h, each.lag,
                "; ".join(each.reasons),
            )
        )  # fmt: skip
        said += [_lag(each, point, at_ns) for point in each.lag_curve]
    return said


def _lag(finding: Finding, point: LagPoint, at_ns: int) -> FoundLag:
    where = at_ns, at_ns, finding.trigger, finding.site
    return FoundLag(*where, point.from_h, point.to_h, point.rate_ratio, point.low, point.high)


def _noted(change: Change, entry: Entry, *, stands: bool) -> Noted:
    said = Noted(change.id, change.at_ns, change.entry_id, stands, entry.kind, entry.occurred_ns)
    return replace(said, ended_ns=entry.ended_ns, dose=entry.dose, unit=entry.unit, site=entry.site)


def _place(said: Noted) -> Sequence[object]:
    """What of it a server knows a point by."""
    return said.kind, said.site, said.occurred_ns
