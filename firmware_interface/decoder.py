"""From the notifications of one device to samples with a time, and gaps with a reason.

Rules:

* Every sample that the device numbered is delivered once, in order, or lies in a gap. Their sum is exact:
  received + missing = sent, up to the last packet received.
* Of a stream that is not numbered, or by a counter that wraps within 0.1 s, packets are held for 0.8 s, and what
  is missing between them is an estimate that says so. What is held when the link is lost is delivered after it.
* Sample times never run backwards and never overlap, whatever the clock fit does. A UTC that is set back is a gap
  until it is where it was; set back by more than 10 min, as after a wrong time zone, it takes the times along.
* A malformed payload is counted and skipped; what it carried shows up as a gap at the next good packet.
* Nothing here knows which family it reads: that is the codec's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from firmware_interface.clock import DeviceClock
from firmware_interface.codecs import Codec, Counter
from firmware_interface.errors import PacketError
from firmware_interface.samples import (
    Gap,
    GapReason,
    Notification,
    Packet,
    SampleBlock,
    Started,
    Status,
    Stream,
    Timebase,
)
from firmware_interface.sequence import Cadence, Pace, Step, Unwrapper

_CRYSTAL = 3e-4
"""Relative error of a device's clock; quartz is within 1e-4, cheap boards somewhat worse."""
_SENSOR_OSCILLATOR = 1e-2
"""Relative error of a sensor's own sampling clock (devices.md 2.3)."""

_UNCOUNTED_OSCILLATOR = 3e-3
"""The same where nothing is counted: what is lost could else be taken for a slower oscillator, and be lost
again."""
_PUNCTUAL_S = 0.1
"""A counter that wraps sooner cannot be told from its next turn by when a packet arrives."""

_WAIT_OUT_NS = 600 * 10**9
"""UTC that is set back by at most this is waited out."""


@dataclass(slots=True)
class Reception:
    """What has come through so far, in samples over all streams, and packets."""

    received: int = 0
    missing: int = 0
    estimated: int = 0
    """Of those missing: how many was told by the time alone."""
    packets: int = 0
    late: int = 0
    malformed: int = 0

    @property
    def loss(self) -> float:
        """Share of samples that are missing."""
        return self.missing / max(self.received + self.missing, 1)


class Decoder:
    """One device's notifications in, samples out.

    Args:
        codec: the device as its codec knows it.
        utc_offset_ns: UTC minus the arrival clock.
        streams: what to call its streams; by default as it does.
    """

    def __init__(self, codec: Codec, utc_offset_ns: int = 0, streams: Sequence[Stream] = ()) -> None:
        self._codec = codec
        said, counter = codec.device.streams, codec.counter
        clock = _Clock(counter.device_ns_modulus) if counter.device_ns_modulus else None
        self._tracks = {
            stream.name: _Track(named, counter, clock, utc_offset_ns)
            for stream, named in zip(said, streams or said, strict=True)
        }
        self.reception = Reception()

    def feed(self, notification: Notification) -> list[SampleBlock | Gap | Status]:
        """Take one notification; `arrival_ns` must not decrease."""
        try:
            items = self._codec.decode(notification)
        except PacketError:
            self.reception.malformed += 1
            return []
        out: list[SampleBlock | Gap | Status] = []
        for item in items:
            match item:
                case Status():
                    out.append(item)
                case Started():
                    self._tracks[item.stream].begin(item.index, notification.arrival_ns)
                case Packet():
                    track = self._tracks[item.stream]
                    found = track.feed(item, notification.arrival_ns)
                    out.extend(self._count(found, late=not found and not track.holds))
        return out

    def interrupt(self, reason: GapReason) -> None:
        """Say why samples that turn out to be missing at the next packet are missing, in place of "lost"."""
        for track in self._tracks.values():
            track.interrupt(reason)

    def anchor(self, utc_offset_ns: int, reason: GapReason) -> None:
        """The host's UTC was found to differ: go on with `utc_offset_ns`, and a gap that says why."""
        for track in self._tracks.values():
            track.anchor(utc_offset_ns, reason)

    def close(self, arrival_ns: int) -> list[Gap]:
        """The end: the gaps of streams that are interrupted and will not be heard again."""
        gaps = [gap for track in self._tracks.values() for gap in track.close(arrival_ns)]
        for gap in gaps:
            self._miss(gap)
        return gaps

    def resume(self, codec: Codec) -> None:
        """Go on with the same device after a reconnect. Its streams must be the same."""
        self._codec = codec

    def _miss(self, gap: Gap) -> None:
        self.reception.missing += gap.missing
        self.reception.estimated += 0 if gap.exact else gap.missing

    def _count(self, items: list[SampleBlock | Gap], *, late: bool) -> list[SampleBlock | Gap]:
        reception = self.reception
        reception.packets += 1
        reception.late += late
        for item in items:
            if isinstance(item, Gap):
                self._miss(item)
            else:
                reception.received += item.length
        return items


class _Clock:
    """The clock of a device: all its streams together say what it shows."""

    def __init__(self, modulus_ns: int) -> None:
        self._modulus_ns = modulus_ns
        self._tick = self._arrival_ns = 0
        self.reset()

    def reset(self) -> None:
        """It was set, or starts again."""
        self.fit = DeviceClock(1.0, _CRYSTAL)

    def unwrapped(self, device_ns: int, arrival_ns: int) -> int:
        """The reading with its wraps: of those that it can have, the nearest to the time that passed."""
        expected = self._tick + arrival_ns - self._arrival_ns
        tick = device_ns + round((expected - device_ns) / self._modulus_ns) * self._modulus_ns
        self._tick, self._arrival_ns = tick, arrival_ns
        return tick


class _Track:
    """One stream: where it is in the count and in time."""

    def __init__(self, stream: Stream, counter: Counter, clock: _Clock | None, utc_offset_ns: int) -> None:
        self._stream = stream
        self._counter = counter
        self._nominal_ns = 1e9 / stream.rate_hz
        self._device_clock = clock
        self._utc_offset_ns = utc_offset_ns
        self._shift = 0  # from the device's count to ours, which a restart does not set back
        self._next: int | None = None
        self._end_ns: int | None = None
        self._end_running_ns = 0  # the same by the arrival clock, which no setting of UTC changes
        self._sequence: int | None = None
        self._reason: GapReason | None = None
        self._anchored = False
        self._exact = True  # what is missing since the last packet was counted by the device
        self._index = Unwrapper(counter.index_modulus, stream.rate_hz)
        self._packets: Unwrapper | None = None
        self._pace = Pace(counter.device_ns_modulus, stream.rate_hz, stamps_last=counter.stamps_last)
        self._cadence: Cadence[Packet] | None = None
        self._broken_off: GapReason | None = None
        self._lead = 0  # of positions over the line below the arrivals
        self._sure = True  # that line can be told by the packet that is placed
        self._count_from_anew()

    @property
    def holds(self) -> bool:
        """Whether packets wait for what comes after them."""
        return self._cadence is not None

    def begin(self, index: int, arrival_ns: int) -> None:
        """The device will send from `index` on: a count to start from, and where we are beyond it, from anew."""
        step, position = self._index.feed(index, arrival_ns)
        if self._next is None:
            self._next = position
        elif step is not Step.FORWARD or position + self._shift < self._next:
            self._index = Unwrapper(self._counter.index_modulus, self._stream.rate_hz)
            _, position = self._index.feed(index, arrival_ns)
            self._recount(position + self._shift, arrival_ns)

    def interrupt(self, reason: GapReason) -> None:
        if self._cadence:
            self._broken_off = self._broken_off or reason
            self._cadence.break_off()
        else:
            self._reason = self._reason or reason

    def anchor(self, utc_offset_ns: int, reason: GapReason) -> None:
        self._utc_offset_ns, self._reason, self._anchored = utc_offset_ns, reason, True

    def feed(self, packet: Packet, arrival_ns: int) -> list[SampleBlock | Gap]:
        self._cadence = self._cadence or self._cadence_of(packet)
        if not self._cadence:
            return self._place(packet, *self._position(packet, arrival_ns), arrival_ns)
        self._cadence.hold(packet, packet.counts.shape[1], packet.index, arrival_ns)
        out: list[SampleBlock | Gap] = []
        while placed := self._cadence.release(self._rate, self._shift):
            if placed.step is Step.RESTART:
                self._reason, self._broken_off = self._broken_off, None
            self._exact, self._lead, self._sure = False, placed.lead, placed.sure
            out += self._place(placed.item, placed.step, placed.position + self._shift, placed.arrival_ns)
        return out

    def _cadence_of(self, packet: Packet) -> Cadence[Packet] | None:
        """None where packets are counted, by whatever."""
        if packet.index is None:
            counted = packet.sequence is not None or packet.device_ns is not None
            return None if counted else Cadence(0, self._stream.rate_hz)
        modulus = self._counter.index_modulus
        counted = modulus >= _PUNCTUAL_S * self._stream.rate_hz
        return None if counted else Cadence(modulus, self._stream.rate_hz)

    def _place(self, packet: Packet, step: Step, position: int, arrival_ns: int) -> list[SampleBlock | Gap]:
        length = packet.counts.shape[1]
        if step is Step.RESTART:
            position = self._recount(position, arrival_ns - round(length * self._nominal_ns))
        elif self._next is not None and position < self._next:
            return []
        running_ns, period_ns = self._time(packet, position, arrival_ns)
        start_ns = self._not_before_last(running_ns + self._utc_offset_ns, period_ns)
        if self._is_again(start_ns):
            return []
        gap = self._gap(packet, position, start_ns)
        self._next, self._end_ns = position + length, start_ns + round(length * period_ns)
        self._end_running_ns = self._end_ns - self._utc_offset_ns
        self._sequence, self._reason, self._anchored, self._exact = packet.sequence, None, False, True
        timebase = Timebase(position, start_ns, period_ns)
        block = SampleBlock(self._stream, position, timebase, packet.counts, packet.device_ns, packet.sequence)
        return [*gap, block]

    def close(self, arrival_ns: int) -> list[Gap]:
        away_ns = arrival_ns - self._end_running_ns
        reason = self._reason or self._broken_off
        if reason is None or self._end_ns is None or away_ns <= 0:
            return []
        end_ns = arrival_ns + self._utc_offset_ns
        missing = round(away_ns / self._nominal_ns)
        return [Gap(self._stream, min(self._end_ns, end_ns), end_ns, missing, reason, exact=False)]

    def _position(self, packet: Packet, arrival_ns: int) -> tuple[Step, int]:
        if packet.index is not None:
            step, position = self._index.feed(packet.index, arrival_ns)
        elif packet.sequence is not None:
            length = packet.counts.shape[1]
            self._packets = self._packets or Unwrapper(
                self._counter.sequence_modulus, self._stream.rate_hz / length
            )
            step, position = self._packets.feed(packet.sequence, arrival_ns)
            position *= length
        else:
            assert packet.device_ns is not None  # noqa: S101 - or it has a cadence
            step, position, sure = self._pace.feed(packet.device_ns, packet.counts.shape[1], arrival_ns)
            self._exact &= sure
        return step, position + self._shift

    def _recount(self, position: int, start_ns: int) -> int:
        """The device counts from anew: go on with our own count, the samples between being an estimate."""
        away_ns = 0 if self._end_ns is None else start_ns - self._end_running_ns
        resumed = (self._next or 0) + max(round(away_ns / self._nominal_ns), 0)
        self._shift += resumed - position
        self._reason, self._exact = self._reason or GapReason.RESTARTED, False
        self._count_from_anew()
        return resumed

    def _count_from_anew(self) -> None:
        oscillator = _UNCOUNTED_OSCILLATOR if self._cadence else _SENSOR_OSCILLATOR
        self._rate = DeviceClock(self._nominal_ns, oscillator)  # of the device, or else the host, a sample
        if self._device_clock:
            self._device_clock.reset()

    def _time(self, packet: Packet, position: int, arrival_ns: int) -> tuple[int, float]:
        """Of the first sample by the arrival clock, and the period. The radio delays from the *last* sample on."""
        last = packet.counts.shape[1] - 1
        rate, clock = self._rate, self._device_clock
        if clock is None or packet.device_ns is None:
            if self._sure:
                rate.feed(position - self._lead + last, arrival_ns, arrival_ns)
            return rate.at(position - self._lead), rate.tick_ns
        stamped = last if self._counter.stamps_last else 0
        tick = clock.unwrapped(packet.device_ns, arrival_ns)
        rate.feed(position + stamped, tick, arrival_ns)
        taken = tick + round((last - stamped) * rate.tick_ns)
        clock.fit.feed(taken, packet.began_ns or arrival_ns, arrival_ns)
        return clock.fit.at(tick - round(stamped * rate.tick_ns)), rate.tick_ns * clock.fit.tick_ns

    def _not_before_last(self, start_ns: int, period_ns: float) -> int:
        """At least half a period after the last sample: a fit may step back, sample times may not."""
        if self._end_ns is None or self._anchored:
            return start_ns
        return max(start_ns, self._end_ns - round(period_ns / 2))

    def _is_again(self, start_ns: int) -> bool:
        """Whether UTC was set back a little, and this is a time that was had before: left to the gap, so that no
        minute is longer than 60 s. Of hours that would be too much to lose."""
        return self._anchored and self._end_ns is not None and 0 < self._end_ns - start_ns <= _WAIT_OUT_NS

    def _gap(self, packet: Packet, position: int, start_ns: int) -> list[Gap]:
        missing = 0 if self._next is None else position - self._next
        if not missing and not self._anchored:
            return []
        reason = self._reason or (GapReason.OVERRUN if self._lost_inside(packet) else GapReason.LOST)
        end_ns = self._end_ns if self._end_ns is not None else start_ns - round(missing * self._nominal_ns)
        return [Gap(self._stream, min(end_ns, start_ns), start_ns, missing, reason, self._exact)]

    def _lost_inside(self, packet: Packet) -> bool:
        """The packet count is continuous while the sample index is not: the device lost them."""
        if packet.sequence is None or self._sequence is None:
            return packet.overrun
        return packet.sequence == (self._sequence + 1) % self._counter.sequence_modulus
