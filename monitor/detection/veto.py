"""What one sensor of a device knows of the twitches that another one sees.

Rules:

* While the wearer moves, by the accelerometer, nothing in the EMG is a twitch. That time is said to be an
  artefact.
* Just after a beat, by the ECG, nothing in the acceleration is a twitch: the heart moves the chest. That time is
  not analysable; it comes every second, so it is not said each time.
* What is judged waits until the other sensor has been decided for its time, so latency is that of the slower one;
  `PATIENCE_S` behind the newest it is passed on unheard: a sensor that is silent vetoes nothing. Order is kept.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable
from dataclasses import replace

from firmware_interface.samples import Sensor, Stream
from monitor.detection.contexts import Contexts
from monitor.detection.events import Analysed, Context, Event, State, Twitch

PATIENCE_S = 1.5
_HEART_S = 0.2
"""From the R wave on: the heart sounds and the ejection, as they reach the chest wall."""
_KEPT_NS = 10 * 10**9
"""Of what the other sensor said, for those who come late."""


class Veto(ABC):
    """Between the detector of a stream and those who listen to it.

    Args:
        channels: of the stream that is judged.
        patience_s: how long to wait for the other sensor; a recording can wait for ever.
    """

    def __init__(self, channels: tuple[str, ...], patience_s: float = PATIENCE_S) -> None:
        self._contexts = Contexts(channels)
        self._patience_ns = patience_s * 1e9
        self._waiting: deque[Event] = deque()
        self._forbidden: deque[tuple[int, int]] = deque()
        self._front_ns = 0
        self._newest_ns = 0

    def hear(self, events: Iterable[Event]) -> None:
        """Take what the detector of the other sensor has said."""
        for event in events:
            span = self._forbids(event)
            if span:
                self._forbidden.append(span)
            if isinstance(event, Analysed):
                self._front_ns = max(self._front_ns, event.end_ns)
        while self._forbidden and self._forbidden[0][1] < self._front_ns - _KEPT_NS:
            self._forbidden.popleft()

    def feed(self, events: Iterable[Event]) -> list[Event]:
        """Take what the detector of the stream has said; return what can be passed on."""
        for event in events:
            self._waiting.append(event)
            self._newest_ns = max(self._newest_ns, _end_ns(event))
        front_ns = max(self._front_ns, self._newest_ns - self._patience_ns)
        passed: list[Event] = []
        while self._waiting and _end_ns(self._waiting[0]) <= front_ns:
            passed += self._judged(self._waiting.popleft())
        return passed

    def finish(self, events: Iterable[Event]) -> list[Event]:
        """The stream has ended with these."""
        passed = [said for event in (*self._waiting, *events) for said in self._judged(event)]
        self._waiting.clear()
        return passed + self._contexts.close()

    @abstractmethod
    def _forbids(self, event: Event) -> tuple[int, int] | None:
        """The time in which, by this event of the other sensor, nothing is a twitch."""

    @abstractmethod
    def _less(self, analysed: Analysed, forbidden_ns: int) -> list[Event]:
        """A stretch of which that much is forbidden."""

    def _judged(self, event: Event) -> list[Event]:
        if isinstance(event, Context):
            return [event]
        start_ns, end_ns = (event.start_ns if isinstance(event, Analysed) else event.onset_ns), _end_ns(event)
        spans = [(max(a, start_ns), min(b, end_ns)) for a, b in self._forbidden if a < end_ns and start_ns < b]
        if isinstance(event, Twitch):
            return [] if spans else [event]
        return self._less(event, sum(b - a for a, b in spans))


class MovementVeto(Veto):
    """The accelerometer's word on the EMG."""

    def _forbids(self, event: Event) -> tuple[int, int] | None:
        return (event.start_ns, event.end_ns) if isinstance(event, Analysed) and event.moving else None

    def _less(self, analysed: Analysed, forbidden_ns: int) -> list[Event]:
        channels = len(analysed.analysable_s)
        state = State.ARTEFACT if forbidden_ns else None
        ended = self._contexts.feed([state] * channels, analysed.start_ns, analysed.end_ns)
        return [*ended, replace(analysed, analysable_s=(0.0,) * channels) if forbidden_ns else analysed]


class HeartVeto(Veto):
    """The ECG's word on acceleration. The ECG goes through the detector of EMG, which knows beats."""

    def _forbids(self, event: Event) -> tuple[int, int] | None:
        if not isinstance(event, Context) or event.state is not State.ARTEFACT:
            return None
        beat_ns = event.onset_ns + round(event.duration_s * 0.5e9)
        return beat_ns, beat_ns + round(_HEART_S * 1e9)

    def _less(self, analysed: Analysed, forbidden_ns: int) -> list[Event]:
        share = max(1 - forbidden_ns / max(analysed.end_ns - analysed.start_ns, 1), 0.0)
        return [replace(analysed, analysable_s=tuple(share * a for a in analysed.analysable_s))]


class Vetoes:
    """Those of one device.

    Args:
        streams: of the device.
        patience_s: see `Veto`.
    """

    def __init__(self, streams: Iterable[Stream], patience_s: float = PATIENCE_S) -> None:
        streams = list(streams)
        there = {stream.sensor for stream in streams}
        self._by_sensor: dict[Sensor, list[Veto]] = {Sensor.ACC: [], Sensor.ECG: []}
        self._by_stream: dict[str, Veto] = {}
        for stream in streams:
            veto: Veto
            if stream.sensor is Sensor.EMG and Sensor.ACC in there:
                veto = MovementVeto(stream.channels, patience_s)
                self._by_sensor[Sensor.ACC].append(veto)
            elif stream.sensor is Sensor.ACC and Sensor.ECG in there:
                veto = HeartVeto(stream.channels, patience_s)
                self._by_sensor[Sensor.ECG].append(veto)
            else:
                continue
            self._by_stream[stream.name] = veto

    def over(self, stream: Stream) -> Veto | None:
        """Who judges the events of a stream."""
        return self._by_stream.get(stream.name)

    def listen_to(self, stream: Stream) -> bool:
        """Whether anybody wants to hear this stream."""
        return bool(self._by_sensor.get(stream.sensor))

    def hear(self, stream: Stream, events: list[Event]) -> list[Event]:
        """Pass on what the detector of a stream said; return it."""
        for veto in self._by_sensor.get(stream.sensor, ()):
            veto.hear(events)
        return events


def turn(stream: Stream) -> int:
    """The order in which the streams of a device end: acceleration waits for the ECG's word, the EMG for that of
    acceleration."""
    return {Sensor.ECG: 0, Sensor.EMG: 2}.get(stream.sensor, 1)


def _end_ns(event: Event) -> int:
    return event.end_ns if isinstance(event, Analysed) else event.onset_ns + round(event.duration_s * 1e9)
