"""What was felt against what was measured.

    felt (time, site), twitches ─► agreement

Rules:

* A felt twitch is never counted and never an outcome: people feel few of theirs, and more when they attend.
* It agrees where a channel at the same place had a twitch from 30 s before the entry to 5 s after it: a person
  takes out the telephone first.
* Where twitches are frequent, some agree by chance. How many would is measured too: the same window at the other
  times of the 10 min around.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from monitor.body import same_place

BEFORE_S = 30.0
AFTER_S = 5.0
AROUND_S = 600.0
"""How far around an entry twitches have to be known."""
_STEP_S = 35.0


@dataclass(frozen=True, slots=True)
class Felt:
    """A person felt one."""

    at_s: float
    """Seconds since 1970 UTC."""
    site: str


@dataclass(frozen=True, slots=True)
class Agreement:
    """How well felt and measured agree."""

    felt: int
    comparable: int
    """Of these, while a channel at the same place could be analysed."""
    measured: int
    """Of these, with a measured twitch."""
    by_chance: float
    """As many would have one at any other time around."""


def agreement(
    felt: Sequence[Felt], twitches_s: Mapping[str, Sequence[float]], analysable: Mapping[str, Sequence[float]]
) -> Agreement:
    """Compare them.

    Args:
        felt: each entry.
        twitches_s: site of a channel -> onsets, seconds since 1970 UTC, in order; `AROUND_S` around each entry.
        analysable: site of a channel -> starts of the minutes of which more than half could be analysed.
    """
    comparable = measured = 0
    by_chance = 0.0
    minutes = {site: frozenset(starts) for site, starts in analysable.items()}
    for entry in felt:
        sites = [
            site
            for site, known in minutes.items()
            if same_place(entry.site, site) and entry.at_s // 60 * 60 in known
        ]
        if not sites:
            continue
        comparable += 1
        onsets = np.sort(np.concatenate([np.asarray(twitches_s.get(site, ()), float) for site in sites]))
        measured += bool(_seen(onsets, np.array([entry.at_s]))[0])
        others = entry.at_s + np.arange(-AROUND_S + BEFORE_S, AROUND_S - AFTER_S, _STEP_S)
        others = others[np.abs(others - entry.at_s) > BEFORE_S + AFTER_S]
        known = [any(at_s // 60 * 60 in minutes[site] for site in sites) for at_s in others.tolist()]
        if any(known):
            by_chance += float(_seen(onsets, others[np.array(known)]).mean())
    return Agreement(len(felt), comparable, measured, by_chance)


def _seen(onsets: np.ndarray, at_s: np.ndarray) -> np.ndarray:
    """Whether there is an onset in the window of each time."""
    first, last = np.searchsorted(onsets, at_s - BEFORE_S), np.searchsorted(onsets, at_s + AFTER_S, "right")
    return np.asarray(last > first)
