"""Minutes: how long each channel was observed, how much of it could be analysed, how many twitches it held.

Rule: a rate is twitches per *analysable* minute. What is not analysable is no evidence of rest.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from monitor.detection.events import Analysed, Event, Twitch

MINUTE_NS = 60_000_000_000


@dataclass(frozen=True, slots=True)
class Minute:
    """What one channel yielded in one clock minute, or an increment to it: increments add up."""

    channel: str
    start_ns: int
    """Start of the minute, a multiple of 60 s since 1970 UTC."""
    observed_s: float
    """Time with samples."""
    analysable_s: float
    """Time with samples in which a twitch would have been reported."""
    twitches: int


def tally(channels: Sequence[str], events: Iterable[Event]) -> list[Minute]:
    """What `events` of one stream add to its minutes. A stretch counts in the minute it starts in.

    Args:
        channels: the stream's, in order.
        events: as the detector gave them.
    """
    totals: dict[tuple[str, int], list[float]] = defaultdict(lambda: [0.0, 0.0, 0])
    for event in events:
        match event:
            case Analysed():
                for channel, analysable_s in zip(channels, event.analysable_s, strict=True):
                    total = totals[channel, _minute(event.start_ns)]
                    total[0] += event.observed_s
                    total[1] += analysable_s
            case Twitch():
                totals[event.channel, _minute(event.onset_ns)][2] += 1
    return [
        Minute(channel, start_ns, observed_s, analysable_s, int(twitches))
        for (channel, start_ns), (observed_s, analysable_s, twitches) in totals.items()
    ]


def _minute(time_ns: int) -> int:
    return time_ns - time_ns % MINUTE_NS
