"""A recording through the same detector as live data.

Rule: what `replay` says depends on the samples and the settings alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from firmware_interface.samples import Gap, Stream
from monitor.detection import ACC_RATE_MIN_HZ, EMG_RATE_MIN_HZ, TwitchDetector, detector_for, heart_listener
from monitor.detection.events import Analysed, Context, Event, State, Twitch
from monitor.detection.settings import DetectorSettings
from monitor.detection.veto import Vetoes, turn
from monitor.recording import Piece, Recording, RecordingError


@dataclass(frozen=True, slots=True)
class ChannelSummary:
    """What one channel of a recording yielded."""

    channel: str
    recorded_s: float
    analysable_s: float
    twitches: int

    @property
    def rate_per_min(self) -> float | None:
        """Twitches an analysable minute; None where nothing could be analysed."""
        return 60 * self.twitches / self.analysable_s if self.analysable_s else None


@dataclass(frozen=True, slots=True)
class Replay:
    """Everything found in a recording; times are ns from its start."""

    events: list[Twitch | Context]
    """In the order of their onset."""
    summaries: list[ChannelSummary]
    notes: list[str]
    """What was not analysed, one line each."""


def replay(recording: Recording, settings: DetectorSettings) -> Replay:
    """Detect twitches in `recording`.

    Raises:
        RecordingError: none of its channels can be analysed, or the file was changed meanwhile.
    """
    detectors = {s.name: detector_for(s, settings) for s in recording.streams}
    vetoes = Vetoes(recording.streams, math.inf)
    tracks = {s.name: _Track(s, d, vetoes) for s in recording.streams if (d := detectors[s.name])}
    hearts = {
        s.name: listener
        for s in recording.streams
        if vetoes.listen_to(s) and (listener := heart_listener(s, settings))
    }
    notes = [
        f"{', '.join(s.channels)}: {s.sensor} at {s.rate_hz:g} Hz, not analysed"
        for s in recording.streams
        if s.name not in tracks
    ]
    if not tracks:
        raise RecordingError(
            f"{recording.path.name} has no EMG or acceleration that can be analysed",
            f"It takes EMG of {EMG_RATE_MIN_HZ:g} Hz or acceleration of {ACC_RATE_MIN_HZ:g} Hz at least; "
            "say --sensor emg where the file's labels mislead",
        )
    for piece in recording.blocks():
        track, heart = tracks.get(piece.stream.name), hearts.get(piece.stream.name)
        if track is not None:
            track.feed(piece)
        elif heart is not None and not isinstance(piece, Gap):
            vetoes.hear(piece.stream, heart.feed(piece))
    for stream in sorted(recording.streams, key=turn):
        if stream.name in hearts:
            vetoes.hear(stream, hearts[stream.name].finish())
        if stream.name in tracks:
            tracks[stream.name].finish()
    events = [event for track in tracks.values() for event in track.events]
    summaries = [summary for track in tracks.values() for summary in track.summaries()]
    return Replay(_joined(events), summaries, [*recording.notes, *notes])


class _Track:
    def __init__(self, stream: Stream, detector: TwitchDetector, vetoes: Vetoes) -> None:
        self._stream = stream
        self._detector = detector
        self._recorded_s = 0.0
        self._analysable_s = [0.0] * len(stream.channels)
        self._vetoes, self._veto = vetoes, vetoes.over(stream)
        self.events: list[Twitch | Context] = []

    def feed(self, piece: Piece) -> None:
        if isinstance(piece, Gap):
            duration_s = (piece.end_ns - piece.start_ns) * 1e-9
            labels = self._stream.channels
            self.events += [Context(State.GAP, label, piece.start_ns, duration_s) for label in labels]
        else:
            events = self._vetoes.hear(self._stream, self._detector.feed(piece))
            self._note(self._veto.feed(events) if self._veto else events)

    def finish(self) -> None:
        events = self._vetoes.hear(self._stream, self._detector.finish())
        self._note(self._veto.finish(events) if self._veto else events)

    def summaries(self) -> list[ChannelSummary]:
        found = [event.channel for event in self.events if isinstance(event, Twitch)]
        return [
            ChannelSummary(label, self._recorded_s, analysable_s, found.count(label))
            for label, analysable_s in zip(self._stream.channels, self._analysable_s, strict=True)
        ]

    def _note(self, events: list[Event]) -> None:
        for event in events:
            if isinstance(event, Analysed):
                self._recorded_s += event.observed_s
                pairs = zip(self._analysable_s, event.analysable_s, strict=True)
                self._analysable_s = [total + more for total, more in pairs]
            else:
                self.events.append(event)


def _joined(events: list[Twitch | Context]) -> list[Twitch | Context]:
    """In time order, contexts that were said in pieces made whole."""
    out: list[Twitch | Context] = []
    last: dict[tuple[str, State], int] = {}
    for event in sorted(events, key=lambda event: event.onset_ns):
        if isinstance(event, Context):
            key = event.channel, event.state
            before = out[last[key]] if key in last else None
            if isinstance(before, Context) and _end_ns(before) >= event.onset_ns - 1000:
                length_s = (_end_ns(event) - before.onset_ns) * 1e-9
                out[last[key]] = replace(before, duration_s=max(length_s, before.duration_s))
                continue
            last[key] = len(out)
        out.append(event)
    return out


def _end_ns(context: Context) -> int:
    return context.onset_ns + round(context.duration_s * 1e9)
