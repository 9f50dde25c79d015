"""A recording through the same detector as live data.

Rule: what `replay` says depends on the samples and the settings alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
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


class Listener:
    """A recording on its way through the detectors.

    What it has learned has no end to its memory (noise, mains, hearts, motor units), so no overlap, however long,
    would let a detector begin in the middle and say the same. Hence it can be pickled between two pieces: who goes
    on with the copy hears what the original would have said, bit for bit.

    Args:
        streams: of the recording.
        settings: of all detectors.
    """

    def __init__(self, streams: Sequence[Stream], settings: DetectorSettings) -> None:
        self.streams = tuple(streams)
        made = {s.name: detector_for(s, settings) for s in streams}
        self._detectors: dict[str, TwitchDetector] = {name: d for name, d in made.items() if d is not None}
        self._vetoes = Vetoes(streams, math.inf)
        self._hearts = {
            s.name: heart for s in streams if self._vetoes.listen_to(s) and (heart := heart_listener(s, settings))
        }
        self.analysed = tuple(s for s in streams if s.name in self._detectors)
        """Those in which twitches are looked for."""

    def feed(self, piece: Piece) -> list[Event]:
        """Take the next piece; return what has been decided of its stream."""
        stream = piece.stream
        if stream.name in self._detectors:
            if isinstance(piece, Gap):
                duration_s = (piece.end_ns - piece.start_ns) * 1e-9
                return [Context(State.GAP, label, piece.start_ns, duration_s) for label in stream.channels]
            events = self._vetoes.hear(stream, self._detectors[stream.name].feed(piece))
            veto = self._vetoes.over(stream)
            return veto.feed(events) if veto else events
        if stream.name in self._hearts and not isinstance(piece, Gap):
            self._vetoes.hear(stream, self._hearts[stream.name].feed(piece))
        return []

    def finish(self) -> Iterator[tuple[Stream, list[Event]]]:
        """The recording has ended: what is pending, stream by stream."""
        for stream in sorted(self.streams, key=turn):
            if stream.name in self._hearts:
                self._vetoes.hear(stream, self._hearts[stream.name].finish())
            if stream.name in self._detectors:
                events = self._vetoes.hear(stream, self._detectors[stream.name].finish())
                veto = self._vetoes.over(stream)
                yield stream, veto.finish(events) if veto else events


def listener(recording: Recording, settings: DetectorSettings) -> Listener:
    """What listens to `recording`.

    Raises:
        RecordingError: none of its channels can be analysed.
    """
    made = Listener(recording.streams, settings)
    if not made.analysed:
        raise RecordingError(
            f"{recording.path.name} has no EMG or acceleration that can be analysed",
            f"It takes EMG of {EMG_RATE_MIN_HZ:g} Hz or acceleration of {ACC_RATE_MIN_HZ:g} Hz at least; "
            "say --sensor emg where the file's labels mislead",
        )
    return made


def replay(
    recording: Recording, settings: DetectorSettings, heard: Callable[[float], None] = lambda _: None
) -> Replay:
    """Detect twitches in `recording`.

    Args:
        recording: one that was opened.
        settings: of the detector.
        heard: told now and then up to which second of it.

    Raises:
        RecordingError: none of its channels can be analysed, or the file was changed meanwhile.
    """
    ears = listener(recording, settings)
    tracks = {s.name: _Track(s) for s in ears.analysed}
    notes = [
        f"{', '.join(s.channels)}: {s.sensor} at {s.rate_hz:g} Hz, not analysed"
        for s in recording.streams
        if s.name not in tracks
    ]
    for piece in recording.blocks():
        events = ears.feed(piece)
        if piece.stream.name in tracks:
            tracks[piece.stream.name].note(events)
        heard(piece.end_ns * 1e-9)
    for stream, events in ears.finish():
        tracks[stream.name].note(events)
    said = [event for track in tracks.values() for event in track.events]
    summaries = [summary for track in tracks.values() for summary in track.summaries()]
    return Replay(_joined(said), summaries, [*recording.notes, *notes])


class _Track:
    """What one stream yielded."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._recorded_s = 0.0
        self._analysable_s = [0.0] * len(stream.channels)
        self.events: list[Twitch | Context] = []

    def note(self, events: list[Event]) -> None:
        for event in events:
            if isinstance(event, Analysed):
                self._recorded_s += event.observed_s
                pairs = zip(self._analysable_s, event.analysable_s, strict=True)
                self._analysable_s = [total + more for total, more in pairs]
            else:
                self.events.append(event)

    def summaries(self) -> list[ChannelSummary]:
        found = [event.channel for event in self.events if isinstance(event, Twitch)]
        return [
            ChannelSummary(label, self._recorded_s, analysable_s, found.count(label))
            for label, analysable_s in zip(self._stream.channels, self._analysable_s, strict=True)
        ]


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
