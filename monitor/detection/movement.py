"""The accelerometer's word on the EMG of the same device: while the wearer moves, nothing is a twitch.

Rules:

* What the EMG says waits until acceleration has been decided for its time, so latency is that of the slower of the
  two; `PATIENCE_S` behind the newest EMG it is passed on unheard: an accelerometer that is silent vetoes nothing.
* Order is kept. Time taken from the EMG is said to be an artefact, on every channel.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import replace

from monitor.detection.contexts import Contexts
from monitor.detection.events import Analysed, Event, State, Twitch

PATIENCE_S = 1.5
_KEPT_S = 10.0
"""Of movement, for EMG that comes late."""


class MovementVeto:
    """Between the detector of an EMG stream and those who listen to it.

    Args:
        channels: of the EMG stream.
        patience_s: how long to wait for acceleration; a recording can wait for ever.
    """

    def __init__(self, channels: tuple[str, ...], patience_s: float = PATIENCE_S) -> None:
        self._patience_ns = patience_s * 1e9
        self._contexts = Contexts(channels)
        self._waiting: deque[Event] = deque()
        self._moving: deque[tuple[int, int]] = deque()
        self._front_ns = 0
        self._newest_ns = 0

    def hear(self, acceleration: Iterable[Event]) -> None:
        """Take what the detector of the acceleration has said."""
        for event in acceleration:
            if isinstance(event, Analysed):
                self._front_ns = max(self._front_ns, event.end_ns)
                if event.moving:
                    self._moving.append((event.start_ns, event.end_ns))
        while self._moving and self._moving[0][1] < self._front_ns - _KEPT_S * 1e9:
            self._moving.popleft()

    def feed(self, events: Iterable[Event]) -> list[Event]:
        """Take what the detector of the EMG has said; return what can be passed on."""
        for event in events:
            self._waiting.append(event)
            self._newest_ns = max(self._newest_ns, _end_ns(event))
        front_ns = max(self._front_ns, self._newest_ns - self._patience_ns)
        passed: list[Event] = []
        while self._waiting and _end_ns(self._waiting[0]) <= front_ns:
            passed += self._judged(self._waiting.popleft())
        return passed

    def finish(self, events: Iterable[Event]) -> list[Event]:
        """The EMG has ended with these."""
        passed = [said for event in (*self._waiting, *events) for said in self._judged(event)]
        self._waiting.clear()
        return passed + self._contexts.close()

    def _judged(self, event: Event) -> list[Event]:
        start_ns, end_ns = event.start_ns if isinstance(event, Analysed) else event.onset_ns, _end_ns(event)
        moving = any(a < end_ns and start_ns < b for a, b in self._moving)
        match event:
            case Twitch():
                return [] if moving else [event]
            case Analysed():
                state = State.ARTEFACT if moving else None
                ended = self._contexts.feed([state] * len(event.analysable_s), start_ns, end_ns)
                still = replace(event, analysable_s=(0.0,) * len(event.analysable_s)) if moving else event
                return [*ended, still]
        return [event]


def _end_ns(event: Event) -> int:
    return event.end_ns if isinstance(event, Analysed) else event.onset_ns + round(event.duration_s * 1e9)
