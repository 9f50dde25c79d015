"""What was logged: triggers, checked, and the questions that can be asked of them.

Rules:

* An entry in the log that cannot be right is refused with its reason; nothing is mended in silence.
* A dose of 0 says "none", which is no episode.
* What was logged *because* of twitching would show a link that is none. It gets a column of its own in the
  regression, which is never read, so that its time is not taken for unexposed either.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from monitor.correlation.catalogue import Entry, Form, entry
from monitor.correlation.exposure import During, Episodes, Kernel

_LONGEST_FAST_H = 24.0
"""A kernel that reaches further acts on whole days, which day effects would absorb."""
_DOSE_LASTS_S = 36 * 3600.0
"""A slow trigger logged dose by dose goes on from one to the next, up to this long."""


class Reactive(StrEnum):
    """Whether it was logged because of twitching."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"


class Precision(StrEnum):
    """How well its time is known."""

    EXACT = "exact"
    QUARTER = "15min"
    HOUR = "1h"
    DAY = "day"


@dataclass(frozen=True, slots=True)
class Trigger:
    """One entry of the log."""

    kind: str
    start_s: float
    """Seconds since 1970 UTC."""
    end_s: float | None = None
    dose: float | None = None
    """In the unit of its kind, or an intensity; 0 where none was confirmed."""
    reactive: Reactive = Reactive.UNKNOWN
    precision: Precision = Precision.EXACT
    place: int = 0
    """Where it stands in the log, to name it by."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """An entry that is not used, or is used otherwise than it stands."""

    place: int
    """Of the entry in its log: a line number, or an id."""
    reason: str


@dataclass(frozen=True, slots=True)
class Question:
    """One hypothesis: a trigger, and when it may act."""

    trigger: str
    entry: Entry
    kernel: Kernel
    library: tuple[Kernel, ...]
    episodes: Episodes
    reactive: Episodes
    left_out: int
    """Entries of which only the day is known."""

    @property
    def slow(self) -> bool:
        """Whether it acts on whole days."""
        return self.entry.form is Form.SLOW or max(self.kernel.reach_h, 0.0) >= _LONGEST_FAST_H


def checked(triggers: Iterable[Trigger], until_s: float) -> tuple[list[Trigger], list[Refusal]]:
    """Sort out what cannot be right.

    Args:
        triggers: in any order.
        until_s: now, seconds since 1970 UTC; what is later has not happened.
    """
    kept: list[Trigger] = []
    refused: list[Refusal] = []
    seen: dict[tuple[str, float], Trigger] = {}
    last: dict[str, Trigger] = {}
    for trigger in sorted(triggers, key=lambda trigger: (trigger.start_s, trigger.place)):
        reason = _impossible(trigger, until_s)
        before = seen.setdefault((trigger.kind, trigger.start_s), trigger)
        if not reason and before is not trigger:
            same = (before.end_s, before.dose) == (trigger.end_s, trigger.dose)
            reason = f"says {'the same as' if same else 'something else than'} {before.place} for the same time"
        if reason:
            refused.append(Refusal(trigger.place, reason + "; left out"))
            continue
        earlier = last.get(trigger.kind)
        if earlier is not None and earlier.end_s is not None and trigger.start_s < earlier.end_s:
            refused.append(Refusal(trigger.place, f"overlaps {earlier.place}; counted as one where they overlap"))
        if earlier is None or _end_s(trigger) >= _end_s(earlier):
            last[trigger.kind] = trigger
        kept.append(trigger)
    return kept, refused


def _impossible(trigger: Trigger, until_s: float) -> str:
    if not trigger.kind:
        return "has no kind"
    if not np.isfinite(trigger.start_s):
        return "has no time"
    if trigger.start_s > until_s:
        return "is in the future"
    if trigger.end_s is not None and not trigger.end_s >= trigger.start_s:
        return "ends before it begins"
    if trigger.dose is not None and not 0 <= trigger.dose < np.inf:
        return f"has a dose of {trigger.dose:g}"
    return ""


def _end_s(trigger: Trigger) -> float:
    return trigger.start_s if trigger.end_s is None else trigger.end_s


def kind_of(text: str) -> str:
    """The id of a kind as a person writes it: `Sleep loss` is `sleep_loss`."""
    return "_".join(text.lower().split())


def kinds(triggers: Iterable[Trigger]) -> list[str]:
    """All that were logged, in order of the alphabet."""
    return sorted({trigger.kind for trigger in triggers})


def questions(triggers: Sequence[Trigger], kind: str, until_s: float) -> list[Question]:
    """What can be asked of a kind: two questions of an interval, during and after it; else one.

    Args:
        triggers: checked, of all kinds.
        kind: to ask of; of a reduction that was not logged the doses it derives from are taken.
        until_s: end of what is known; a slow trigger without an end goes on until then.
    """
    own = [trigger for trigger in triggers if trigger.kind == kind]
    known = entry(kind, lasting=any(trigger.end_s is not None for trigger in own))
    kernel, library = known.kernel, known.library
    if not own and known.derived_from is not None:
        own = [trigger for trigger in triggers if trigger.kind == known.derived_from]
        kernel, library = (library or (kernel,))[0], ()
    timed = [t for t in own if t.dose != 0 and (t.precision is not Precision.DAY or known.form is Form.SLOW)]
    left_out = sum(trigger.dose != 0 for trigger in own) - len(timed)
    lasting = known.form is Form.SLOW and isinstance(kernel, During)
    honest = _episodes([t for t in timed if t.reactive is not Reactive.YES], until_s, lasting=lasting)
    reactive = _episodes([t for t in timed if t.reactive is Reactive.YES], until_s, lasting=lasting)
    phases: list[tuple[Kernel, tuple[Kernel, ...]]] = [(kernel, library)]
    if known.form is Form.INTERVAL:
        phases = [(During(), ()), (kernel, library)]
    return [Question(kind, known, phase, others, honest, reactive, left_out) for phase, others in phases]


def _episodes(triggers: Sequence[Trigger], until_s: float, *, lasting: bool) -> Episodes:
    """Episodes of one kind, in order of start; amounts in units of their median."""
    ordered = sorted(triggers, key=lambda trigger: trigger.start_s)
    start_s = np.array([trigger.start_s for trigger in ordered])
    if lasting:
        dosed = any(trigger.end_s is None for trigger in ordered[:-1])
        open_end_s = start_s + _DOSE_LASTS_S if dosed else np.full(len(start_s), until_s)
    else:
        open_end_s = start_s
    ends = [trigger.end_s for trigger in ordered]
    end_s = np.array([b if a is None else a for a, b in zip(ends, open_end_s.tolist(), strict=True)])
    doses = np.array([np.nan if trigger.dose is None else trigger.dose for trigger in ordered])
    known = np.isfinite(doses)
    typical = float(np.median(doses[known])) if known.any() else 1.0
    return Episodes(start_s, end_s, np.where(known, doses / typical, 1.0))
