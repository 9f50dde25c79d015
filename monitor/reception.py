"""How well each device was heard, minute by minute: pure arithmetic on what is stored.

Rule: of each minute, what was observed and what is in gaps add up to the time that is accounted for.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from firmware_interface.samples import Gap, GapReason
from monitor.tally import Minute

MINUTE_NS = 60_000_000_000


@dataclass(frozen=True, slots=True)
class Heard:
    """One stream of one device in one minute."""

    device_id: int
    start_ns: int
    channel: str
    """The first of the stream."""
    observed_s: float
    missing_s: Mapping[GapReason, float]
    exact: bool
    """Whether the device counted what is missing; else it is estimated from the time."""

    @property
    def loss(self) -> float:
        """Share of the time that is missing."""
        missing_s = sum(self.missing_s.values())
        return missing_s / max(missing_s + self.observed_s, 1e-9)


@dataclass(slots=True)
class _Sum:
    observed_s: float = 0.0
    exact: bool = True
    missing_s: dict[GapReason, float] = field(default_factory=lambda: defaultdict(float))


def by_minute(
    minutes: Iterable[tuple[int, Minute]], gaps: Iterable[tuple[int, Gap]], since_ns: int, until_ns: int
) -> list[Heard]:
    """Per device, stream and minute, in the order of time, for the minutes that begin in the range.

    Args:
        minutes: (device id, minute) of the range; one channel of each stream is enough.
        gaps: (device id, gap) of which any part is in the range.
        since_ns: inclusive.
        until_ns: exclusive.
    """
    sums: dict[tuple[int, int, str], _Sum] = defaultdict(_Sum)
    firsts: dict[tuple[int, str], str] = {}
    for device, gap in gaps:
        first = gap.stream.channels[0]
        firsts |= {(device, label): first for label in gap.stream.channels}
        for start_ns, missing_s in _shares(gap, since_ns, until_ns):
            total = sums[start_ns, device, first]
            total.missing_s[gap.reason] += missing_s
            total.exact &= gap.exact
    for device, minute in minutes:
        if firsts.get((device, minute.channel), minute.channel) == minute.channel:
            sums[minute.start_ns, device, minute.channel].observed_s += minute.observed_s
    return [
        Heard(device, start_ns, channel, total.observed_s, dict(total.missing_s), total.exact)
        for (start_ns, device, channel), total in sorted(sums.items())
    ]


def _shares(gap: Gap, since_ns: int, until_ns: int) -> Iterator[tuple[int, float]]:
    """The minutes that `gap` touches, and the seconds of it in each."""
    start_ns, end_ns = max(gap.start_ns, since_ns), min(gap.end_ns, until_ns)
    minute_ns = start_ns // MINUTE_NS * MINUTE_NS
    while minute_ns < end_ns:
        yield minute_ns, (min(end_ns, minute_ns + MINUTE_NS) - max(start_ns, minute_ns)) * 1e-9
        minute_ns += MINUTE_NS
