"""One module a family of wearables; this file says what each must offer.

An instance of a codec is one connected device: made from what the device says of itself, asked to decode each
notification. It knows bytes and nothing else: no clock, no radio, no file. `encode` is the inverse of `decode`
and is what the emulated wearables speak.

Rule: any payload gives packets or a `PacketError`, nothing else, in time linear in its length.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import ClassVar, Protocol

from firmware_interface.samples import Notification, Packet, Started, Status, Stream


@dataclass(frozen=True, slots=True)
class Write:
    """One write to a characteristic, with response."""

    characteristic: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Device:
    """What a device says of itself."""

    name: str
    serial: str
    firmware: str
    streams: tuple[Stream, ...]


@dataclass(frozen=True, slots=True)
class Counter:
    """How a family numbers its samples on the wire; 0 where it does not."""

    sequence_modulus: int
    index_modulus: int
    device_ns_modulus: int


class Codec(Protocol):
    """A family of wearables. Class attributes hold for every device of it; an instance is one device."""

    FAMILY: ClassVar[str]
    SERVICE: ClassVar[str]
    """Advertised service UUID, lower case, 128 bit."""
    INFO: ClassVar[str]
    """Characteristic that is read after connecting; its value makes the instance."""
    NOTIFY: ClassVar[tuple[str, ...]]
    """Characteristics to subscribe to, in this order, before `START`."""
    START: ClassVar[tuple[Write, ...]]
    STOP: ClassVar[tuple[Write, ...]]
    START_GRACE_S: ClassVar[float]
    """How long the first notification may take after `START`."""
    COUNTER: ClassVar[Counter]

    device: Device

    def __init__(self, info: bytes) -> None:
        """Raises PacketError where `info` cannot be read."""

    @classmethod
    def recognises(cls, services: Collection[str], name: str | None) -> bool:
        """Whether an advertisement with these services and this name is of the family."""

    def decode(self, notification: Notification) -> tuple[Packet | Started | Status, ...]:
        """Read one notification. Raises PacketError and nothing else."""

    def encode(self, item: Packet | Status) -> tuple[str, bytes]:
        """The characteristic and the payload that the device would send for `item`."""
