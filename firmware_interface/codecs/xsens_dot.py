"""Xsens (Movella) DOT: acceleration without gravity, at 60 Hz.

Sources: adamkewley/xdc, `xdc.py`, the vendor's service specification beside it, and the values in its tests.

Rules of the wire:

* Little endian. A payload is what the mode says; free acceleration is a time in µs of 32 bits, three floats in
  m/s², and four bytes of nothing.
* The time tells every loss: a sample a packet, 60 a second.

Choices, each made here and nowhere else:

* Mode 6, free acceleration: gravity is taken out by the sensor's own filter, which a twitch passes. Its number is
  from memory of the specification.
* The rate is left as it comes, 60 Hz, the highest that it sends live.
"""

from __future__ import annotations

import struct
from collections.abc import Collection
from typing import ClassVar, Self

import numpy as np

from firmware_interface.codecs import Conversation, Counter, Device, Offer, Write, say
from firmware_interface.errors import PacketError
from firmware_interface.samples import Notification, Packet, Sensor, Status, Stream, Unit


def _uuid(short: int) -> str:
    return f"1517{short:04x}-4947-11e9-8646-d663bd873d93"


ADVERTISED, SERVICE, CONTROL, SHORT = (_uuid(each) for each in (0x1000, 0x2000, 0x2001, 0x2004))

RATE_HZ = 60.0
START, STOP = bytes.fromhex("010106"), bytes.fromhex("010006")
_PAYLOAD = struct.Struct("<I3f4x")
_US_NS = 1000
_MODULUS = 1 << 32


class XsensDot:
    """A DOT.

    Args:
        name: as it advertises.
    """

    FAMILY: ClassVar[str] = "Xsens DOT"
    OFFERS: ClassVar[tuple[Offer, ...]] = (Offer(Sensor.ACC, Unit.METRE_PER_SECOND_SQUARED, (RATE_HZ,), (157.0,)),)
    ADVICE: ClassVar[str] = "Press its button for a second; close the Movella app"
    NOTIFY: ClassVar[tuple[str, ...]] = (SHORT,)
    SAMPLES: ClassVar[str] = SHORT
    STOP: ClassVar[tuple[Write, ...]] = (Write(CONTROL, STOP),)
    START_GRACE_S: ClassVar[float] = 3.0

    def __init__(self, name: str) -> None:
        self.counter = Counter(0, 0, _MODULUS * _US_NS)
        acc = Stream("acc", Sensor.ACC, Unit.METRE_PER_SECOND_SQUARED, 1.0, RATE_HZ, ("x", "y", "z"))
        self.device = Device(name, "", "", (acc,))

    @classmethod
    def recognises(cls, services: Collection[str], name: str | None) -> bool:
        """By a service, or the name that either owner gave it."""
        known = (name or "").startswith(("Xsens DOT", "Movella DOT"))
        return known or ADVERTISED in services or SERVICE in services

    @classmethod
    def introduce(cls, name: str) -> Conversation[Self]:
        """Its name is all that is needed."""
        yield from ()
        return cls(name)

    def start(self) -> Conversation[None]:
        """Free acceleration."""
        yield from say(Write(CONTROL, START))

    def decode(self, notification: Notification) -> tuple[Packet, ...]:
        """Read one notification."""
        if notification.characteristic != SHORT:
            return ()
        if len(notification.data) != _PAYLOAD.size:
            raise PacketError(f"payload of {len(notification.data)} bytes, must be {_PAYLOAD.size}")
        time_us, *values = _PAYLOAD.unpack(notification.data)
        counts = np.array(values, np.float32)[:, None]
        if not np.isfinite(counts).all():
            raise PacketError("numbers of acceleration that are none")
        return (Packet("acc", counts, device_ns=time_us * _US_NS),)

    def encode(self, item: Packet | Status) -> tuple[str, bytes]:
        """The payload for one sample."""
        if isinstance(item, Status):
            raise ValueError("a DOT says nothing of itself here")
        time_us = (item.device_ns or 0) // _US_NS % _MODULUS
        return SHORT, _PAYLOAD.pack(time_us, *item.counts[:, 0].tolist())
