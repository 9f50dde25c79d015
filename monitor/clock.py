"""The computer's clocks: one that runs on while it sleeps, anchored to UTC; and word when either jumps.

Rules: arrival times come from the running clock, which never steps. UTC is that clock plus an offset that is
taken once and changed only with a reason, so a time step is a recorded event and never a negative duration.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

from firmware_interface.samples import GapReason

_STEP_NS = 500_000_000
"""A difference of clocks that changes by more has jumped; NTP slews, and the readings are microseconds apart."""


@dataclass(frozen=True, slots=True)
class Reading:
    """The three clocks at one time, ns."""

    monotonic_ns: int
    """Stands still while the computer sleeps, on Linux and macOS."""
    running_ns: int
    """Counts sleep."""
    utc_ns: int


def read_clocks() -> Reading:
    """The clocks now."""
    return Reading(time.monotonic_ns(), _running_ns(), time.time_ns())


if sys.platform == "linux":

    def _running_ns() -> int:
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME)

elif sys.platform == "darwin":

    def _running_ns() -> int:
        return time.clock_gettime_ns(time.CLOCK_MONOTONIC)

else:  # time.monotonic counts sleep there

    def _running_ns() -> int:
        return time.monotonic_ns()


class HostClock:
    """Running time and its anchor to UTC.

    Args:
        read: where the clocks are read; another one in a test.
    """

    def __init__(self, read: Callable[[], Reading] = read_clocks) -> None:
        self._read = read
        now = read()
        self._asleep_ns = now.running_ns - now.monotonic_ns
        self.utc_offset_ns = now.utc_ns - now.running_ns

    def check(self) -> GapReason | None:
        """Compare the clocks: SUSPENDED where the computer slept, CLOCK where UTC was set, else None."""
        now = self._read()
        asleep_ns, utc_offset_ns = now.running_ns - now.monotonic_ns, now.utc_ns - now.running_ns
        slept = abs(asleep_ns - self._asleep_ns) > _STEP_NS
        stepped = abs(utc_offset_ns - self.utc_offset_ns) > _STEP_NS
        self._asleep_ns = asleep_ns
        if slept or stepped:
            self.utc_offset_ns = utc_offset_ns
            return GapReason.SUSPENDED if slept else GapReason.CLOCK
        return None

    def running_ns(self, monotonic_ns: int) -> int:
        """The running clock when the monotonic one showed `monotonic_ns`, since the last `check`."""
        return monotonic_ns + self._asleep_ns

    def utc_ns(self) -> int:
        """UTC now, by the anchor."""
        return self._read().running_ns + self.utc_offset_ns
