"""One module a family of wearables; this file says what each must offer. All of them: `families.py`.

An instance of a codec is one connected device: made from what the device says of itself, asked to decode each
notification. It knows bytes and nothing else: no clock, no radio, no file. `encode` is the inverse of `decode`
and is what the emulated wearables speak.

What is to be said to a device before it sends is a `Conversation`: a generator that yields what to do next and
is sent what came of it. Whoever holds it, bleak or a test, needs to know nothing of the family.

Rule: any payload gives packets or a `PacketError`, nothing else, in time linear in its length.
"""

from __future__ import annotations

from collections.abc import Collection, Generator
from dataclasses import dataclass
from typing import ClassVar, Protocol, Self, TypeVar, runtime_checkable

from firmware_interface.samples import Notification, Packet, Sensor, Started, Status, Stream, Unit

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Read:
    """Read a characteristic; comes to nothing, b"", where the device does not offer it."""

    characteristic: str


@dataclass(frozen=True, slots=True)
class Write:
    """One write to a characteristic, with response where the device gives one; comes to nothing."""

    characteristic: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Hear:
    """Wait for a notification that begins with `prefix`; of those since the conversation began, the first that
    was not heard yet. It is decoded like any other, too."""

    characteristic: str
    prefix: bytes


Conversation = Generator[Read | Write | Hear, bytes, _T]
"""Raises PacketError where the device answers what makes no sense, or refuses."""


@dataclass(frozen=True, slots=True)
class Device:
    """What a device says of itself."""

    name: str
    serial: str
    firmware: str
    streams: tuple[Stream, ...]

    def site(self, channel: str) -> str:
        """Where a channel listens: at a site of its own, but for the axes of an accelerometer."""
        return next((stream.site(channel) for stream in self.streams if channel in stream.channels), channel)


@dataclass(frozen=True, slots=True)
class Offer:
    """One kind of signal that devices of a family send; each device may offer less."""

    sensor: Sensor
    unit: Unit
    rates_hz: tuple[float, ...] = ()
    """Empty where only the device can tell."""
    ranges: tuple[float, ...] = ()
    """Largest values either way, in `unit`; empty where only the device can tell, or nobody."""


@dataclass(frozen=True, slots=True)
class Counter:
    """How a device numbers its samples on the wire; 0 where it does not.

    A stream without an index is counted by its packets, where those are numbered and all of one length; else by
    its device times; else, as where an index wraps within 0.1 s, by when it arrives, which is an estimate.
    """

    sequence_modulus: int
    index_modulus: int
    device_ns_modulus: int
    stamps_last: bool = False
    """Whether `Packet.device_ns` is of the last sample; else of the first."""


@dataclass(frozen=True, slots=True)
class Examination:
    """What a device found when it tested itself."""

    passed: bool
    found: str
    """For a person; one line, no full stop."""
    impedance_ohm: tuple[int, ...]
    """Of each channel of the first stream."""
    lead_off: tuple[bool, ...]
    """Whether that is no contact."""


class Codec(Protocol):
    """A family of wearables. Class attributes hold for every device of it; an instance is one device."""

    FAMILY: ClassVar[str]
    OFFERS: ClassVar[tuple[Offer, ...]]
    ADVICE: ClassVar[str]
    """How to make such a device ready, for a person; one line."""
    NOTIFY: ClassVar[tuple[str, ...]]
    """Characteristics to subscribe to, in this order, where the device offers them, before all else."""
    SAMPLES: ClassVar[str]
    """The characteristic that samples come on. A device that falls silent there has stalled."""
    STOP: ClassVar[tuple[Write, ...]]
    """Ends what `introduce` and `start` began, however far they came."""
    START_GRACE_S: ClassVar[float]
    """How long the first notification may take after `start`."""

    device: Device
    counter: Counter

    @classmethod
    def recognises(cls, services: Collection[str], name: str | None) -> bool:
        """Whether an advertisement with these services (lower case, 128 bit) and this name is of the family; or
        a link to a device that offers these services."""

    @classmethod
    def introduce(cls, name: str) -> Conversation[Self]:
        """Ask a device, which advertised as `name`, what it is."""

    def start(self) -> Conversation[None]:
        """Have it send."""

    def decode(self, notification: Notification) -> tuple[Packet | Started | Status, ...]:
        """Read one notification. Raises PacketError and nothing else."""

    def encode(self, item: Packet | Status) -> tuple[str, bytes]:
        """The characteristic and the payload that the device would send for `item`."""


@runtime_checkable
class Examinable(Protocol):
    """What a codec offers besides, whose devices test themselves. Nobody can be watched meanwhile."""

    def examine(self) -> Conversation[Examination]:
        """Have it measure its contact and send a test signal, and see whether that arrives whole."""


def say(*writes: Write) -> Conversation[None]:
    """One after the other."""
    for write in writes:  # noqa: UP028 - a tuple cannot be sent what comes of it
        yield write


def uuid(short: int) -> str:
    """A UUID that the Bluetooth SIG gave out, in full."""
    return f"{short:08x}-0000-1000-8000-00805f9b34fb"


def text(value: bytes) -> str:
    """What a device says in words, whatever its bytes."""
    return value.split(b"\0")[0].decode("utf-8", "replace").strip()


BATTERY, SERIAL, FIRMWARE, SOFTWARE = uuid(0x2A19), uuid(0x2A25), uuid(0x2A26), uuid(0x2A28)
