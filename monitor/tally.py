"""Minutes: how long each channel was observed, how much of it could be analysed, how many twitches it held.

Rule: a rate is twitches per *analysable* minute. What is not analysable is no evidence of rest.
"""

from __future__ import annotations

from dataclasses import dataclass


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
