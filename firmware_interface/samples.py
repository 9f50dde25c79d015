"""What a wearable says, as values.

    Notification ─ codec ─► Packet | Started | Status ─ decoder ─► SampleBlock | Gap

Rules of this module:

* Every value is frozen and made in one place; arrays inside are never written to after construction.
* Arrays are channel-planar: shape (channels, samples).
* Times are `int` nanoseconds. `arrival_ns` is a clock of the host that never steps and goes on counting while
  the host sleeps; the decoder anchors it to UTC, and every time after it is UTC since 1970.
* A sample has an *index*: its position in its stream since the device started counting, lost samples
  included. The index is exact; the time of an index is an estimate and is carried by a `Timebase`.
* Unknown calibration stays `count`. Microvolts are never invented.
* Absence is a value: what was not received is a `Gap` with a reason, never silence.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[Any]
"""Numbers as the device gave them: integers, or float32 where it converts them itself; any real dtype from a
recording."""


class Sensor(StrEnum):
    """What a stream measures."""

    EMG = "emg"
    ACC = "acc"
    ECG = "ecg"
    GYRO = "gyro"
    MAG = "mag"


class Unit(StrEnum):
    """The physical unit of a stream once multiplied by its scale."""

    MICROVOLT = "uV"
    MILLIVOLT = "mV"
    G = "g"
    METRE_PER_SECOND_SQUARED = "m/s^2"
    DEGREE_PER_SECOND = "deg/s"
    MICROTESLA = "uT"
    COUNT = "count"


class GapReason(StrEnum):
    """Why samples are missing. Every reason is shown to the person under this name."""

    LOST = "lost"
    """Sent by the device, never received: the counter jumped."""
    OVERRUN = "overrun"
    """Never sampled or dropped inside the device, which said so."""
    OVERFLOW = "overflow"
    """Received, but this computer was too busy to take it."""
    STALLED = "stalled"
    """Connected, but no notification came; the link was dropped and made again."""
    DISCONNECTED = "disconnected"
    """No link."""
    RESTARTED = "restarted"
    """The device began counting from zero again."""
    CLOCK = "clock"
    """The computer's clock was set while nothing slept."""
    SUSPENDED = "suspended"
    """The computer slept."""
    STOPPED = "stopped"
    """Monitoring was not running: stopped by a person, killed, or the computer was off."""


ACCELERATION: Final = "acceleration"
"""The site of an accelerometer: its twitches are found in all axes at once, and named for the largest."""


@dataclass(frozen=True, slots=True)
class Stream:
    """One kind of signal from one device: what its numbers mean.

    Two streams that differ in rate, unit or channels are different streams, and need different detectors.
    """

    name: str
    """Short and unique within the device: "emg", "acc"."""
    sensor: Sensor
    unit: Unit
    scale: float
    """Physical units per count."""
    rate_hz: float
    """Nominal samples a second; the true rate is estimated by the decoder."""
    channels: tuple[str, ...]
    """One label a channel, as worn: "FDI", "calf left"."""

    def site(self, channel: str) -> str:
        """Where a channel listens; the axes of an accelerometer are at one place."""
        return ACCELERATION if self.sensor is Sensor.ACC else channel


@dataclass(frozen=True, slots=True)
class Notification:
    """One payload as it came off the radio."""

    characteristic: str
    data: bytes
    arrival_ns: int


@dataclass(frozen=True, slots=True, eq=False)
class Packet:
    """Samples of one stream as the device numbered them. Counters are as on the wire, not unwrapped."""

    stream: str
    counts: Counts
    """Shape (channels, samples)."""
    sequence: int | None = None
    """Packet counter."""
    index: int | None = None
    """Counter of the first sample."""
    device_ns: int | None = None
    """The device's clock at the first sample, or at the last: `Counter.stamps_last`."""
    began_ns: int | None = None
    """Arrival of the first of several notifications that it came in."""
    overrun: bool = False
    lead_off_changed: bool = False
    clipped: bool = False


@dataclass(frozen=True, slots=True)
class Started:
    """The device began to send a stream; samples before its first packet were lost, not unsent."""

    stream: str
    index: int
    """Counter of the first sample that it sends, as on the wire."""


@dataclass(frozen=True, slots=True)
class Status:
    """What a device says about itself; `None` where it does not know."""

    battery_percent: int | None = None
    lead_off: tuple[bool, ...] = ()
    """One flag a channel of the first stream: True where the electrode has lost contact."""
    overruns: int = 0
    """Times the device's sample buffer overflowed since it started."""
    drops: int = 0
    """Packets that the device could not hand to its radio since it started."""
    temperature_c: float | None = None
    impedance_ohm: tuple[int, ...] = ()
    """Of each channel of the first stream, where the device measures it."""


@dataclass(frozen=True, slots=True)
class Timebase:
    """The straight line that gives a sample's time from its index.

    Pieces cut from one block share its timebase, so a sample's time does not depend on the cutting.
    """

    index: int
    ns: int
    period_ns: float

    def at(self, index: int) -> int:
        """The time of the sample `index`, in ns since 1970 UTC."""
        return self.ns + round((index - self.index) * self.period_ns)


@dataclass(frozen=True, slots=True, eq=False)
class SampleBlock:
    """Consecutive samples of one stream. May be empty."""

    stream: Stream
    first: int
    """Index of the first sample."""
    timebase: Timebase
    counts: Counts
    """Shape (channels, samples)."""
    device_ns: int | None = None
    """The device's clock in the packet that held them, as on the wire."""
    sequence: int | None = None
    """Counter of that packet, as on the wire."""

    @property
    def length(self) -> int:
        """Number of samples a channel."""
        return int(self.counts.shape[1])

    @property
    def start_ns(self) -> int:
        """Time of the first sample."""
        return self.timebase.at(self.first)

    @property
    def end_ns(self) -> int:
        """Time of the sample after the last."""
        return self.timebase.at(self.first + self.length)

    @property
    def physical(self) -> NDArray[np.float64]:
        """Shape (channels, samples), in the stream's unit."""
        return np.multiply(self.counts, self.stream.scale, dtype=np.float64)

    def cut(self, start: int, stop: int) -> SampleBlock:
        """The samples `start` to `stop` of this block, by position, sharing its memory."""
        counts = self.counts[:, start:stop]
        return replace(self, first=self.first + min(start, self.length), counts=counts)


@dataclass(frozen=True, slots=True)
class Gap:
    """Time in which a stream was not observed."""

    stream: Stream
    start_ns: int
    end_ns: int
    missing: int
    """Samples that were not received: exact where the device counts them, else estimated from the time."""
    reason: GapReason
    exact: bool = True
    """Whether `missing` was counted by the device."""
