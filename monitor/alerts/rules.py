"""What an alert is about, and the numbers that make it one.

Rules of this module:

* Worse is more: each kind has a value that grows with the trouble, so that one engine serves all.
* The instruments are watched by default, the person is not: `rate`, `burst` and `trigger_reminder` are off.
* `NO_DATA` comes first: it inhibits what could be said of a device only with data, and depends on none itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

_MINUTE_S = 60.0
_HOUR_S = 3600.0


class Kind(StrEnum):
    """What an alert is about, and what its value is."""

    NO_DATA = "no_data"
    """A device: seconds since it was last heard."""
    CONTACT = "contact"
    """A device: channels without contact."""
    BATTERY = "battery"
    """A device: percent that is used up."""
    LOSS = "loss"
    """A device: percent of the samples of the last minute that are missing."""
    RATE = "rate"
    """A site: twitches an analysable minute; or that, as a multiple of the usual at this hour."""
    BURST = "burst"
    """A site: twitches within the window."""
    SILENCE = "silence"
    """A server: seconds since it was told that it takes nothing, which is 30 s after it began, or at once where a
    person must do something."""
    STORAGE = "storage"
    """A part of the data folder: seconds for which it has been in trouble."""
    CLOCK = "clock"
    """This computer: seconds by which its clock was set."""
    TRIGGER_REMINDER = "trigger_reminder"
    """The diary: hours since something was logged."""
    TEST = "test"
    """Asked for by a person, to see that alerts arrive."""


class Severity(StrEnum):
    """How soon a person should look."""

    WARNING = "warning"
    URGENT = "urgent"
    """Breaks through snoozes that were for less, and through quiet hours."""


@dataclass(frozen=True, slots=True)
class Rule:
    """When a value is an alert."""

    kind: Kind
    above: float
    """Beyond it the alert is raised."""
    clear_below: float
    """Below it the alert is over; between the two it stays what it is."""
    on: bool = True
    site: str = ""
    """Of `RATE` and `BURST`: a channel; "" is each of them."""
    urgent_above: float | None = None
    """Beyond it the alert is urgent."""
    for_s: float = 0.0
    """How long the value must be beyond, in time that was observed: a gap counts for nothing."""
    keep_for_s: float = 0.0
    """How long it must be below again, likewise."""
    repeat_min: float = 60.0
    """While nobody acknowledged it, it is announced again this often; 0: never."""
    window_s: float = 0.0
    """Of `RATE` and `BURST`: how far back is counted."""
    of_baseline: bool = False
    """Of `RATE`: compared with the person's own usual rate at this hour of the clock."""

    @property
    def key(self) -> tuple[Kind, str]:
        """A later rule with the same one takes the place of an earlier."""
        return self.kind, self.site


def _listed(*rules: Rule) -> Mapping[Kind, Rule]:
    return {rule.kind: rule for rule in rules}


DEFAULTS: Final = _listed(
    Rule(Kind.NO_DATA, above=120, clear_below=10, urgent_above=1800, repeat_min=15),
    Rule(Kind.CONTACT, above=0.5, clear_below=0.5, for_s=_MINUTE_S, keep_for_s=10),
    Rule(Kind.BATTERY, above=85, clear_below=80, urgent_above=95, repeat_min=240),
    Rule(Kind.LOSS, above=10, clear_below=5, for_s=2 * _MINUTE_S, keep_for_s=_MINUTE_S),
    Rule(Kind.RATE, above=60, clear_below=40, on=False, for_s=_MINUTE_S, keep_for_s=5 * _MINUTE_S, window_s=900),
    Rule(Kind.BURST, above=20, clear_below=5, on=False, keep_for_s=5 * _MINUTE_S, window_s=_MINUTE_S),
    Rule(Kind.SILENCE, above=0.5, clear_below=0.5, repeat_min=240),
    Rule(Kind.STORAGE, above=0.5, clear_below=0.5, urgent_above=600, keep_for_s=10),
    Rule(Kind.CLOCK, above=60, clear_below=60, keep_for_s=600, repeat_min=0),
    Rule(Kind.TRIGGER_REMINDER, above=24, clear_below=1, on=False, repeat_min=24 * 60),
    Rule(Kind.TEST, above=0, clear_below=1, keep_for_s=_MINUTE_S, repeat_min=0),
)
"""By kind, in the order of importance."""
