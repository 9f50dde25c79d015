"""What each channel is doing, tick by tick, joined to contexts.

Rule: a context is said when it ends; one that lasts is said in pieces of `_PIECE_S`, so that a night without
contact is known before the morning.
"""

from __future__ import annotations

from collections.abc import Sequence

from monitor.detection.events import Context, State

_PIECE_S = 60.0


class Contexts:
    """The open context of each channel.

    Args:
        channels: their labels.
    """

    def __init__(self, channels: Sequence[str]) -> None:
        self._channels = channels
        self._open: list[Context | None] = [None] * len(channels)

    @property
    def states(self) -> tuple[State | None, ...]:
        """What each channel was doing when last told; None at rest."""
        return tuple(context.state if context else None for context in self._open)

    @property
    def any(self) -> bool:
        """Whether a context is open."""
        return any(self._open)

    def feed(self, states: Sequence[State | None], start_ns: int, end_ns: int) -> list[Context]:
        """Take the next tick, a state for each channel; return the contexts that have ended with it."""
        ended = []
        for c, state in enumerate(states):
            context = self._open[c]
            if context and (context.state is not state or context.duration_s >= _PIECE_S):
                ended.append(context)
                self._open[c] = context = None
            if state is not None:
                onset_ns = context.onset_ns if context else start_ns
                self._open[c] = Context(state, self._channels[c], onset_ns, (end_ns - onset_ns) * 1e-9)
        return ended

    def close(self) -> list[Context]:
        """The stretch has ended, and every context with it."""
        ended = [context for context in self._open if context]
        self._open = [None] * len(self._open)
        return ended
