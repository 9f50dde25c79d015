"""Nordic Thingy:52: acceleration at 100 Hz.

Sources: NordicSemiconductor/Nordic-Thingy52-FW, `02_firmware_architecture.dox` and `ble_tms.h`.

Rules of the wire:

* Little endian. A notification of raw motion is one sample: acceleration, rotation and compass, three numbers of
  16 bits each; acceleration in 1/1024 g.
* Nothing numbers the samples: what is missing is estimated from arrivals.

Choices, each made here and nowhere else:

* 100 Hz of 200 possible: at 200 Hz a sample takes the place of another within 5 ms, and no radio is that punctual,
  so that losses could not be told.
* Rotation and compass are passed over.
"""

from __future__ import annotations

import struct
from collections.abc import Collection
from typing import ClassVar, Self

import numpy as np

from firmware_interface.codecs import BATTERY, Conversation, Counter, Device, Offer, Write, say
from firmware_interface.errors import PacketError
from firmware_interface.samples import Notification, Packet, Sensor, Status, Stream, Unit


def _uuid(short: int) -> str:
    return f"ef68{short:04x}-9b35-4933-9b10-52ffa9740042"


ADVERTISED, SERVICE, SETTINGS, RAW = (_uuid(each) for each in (0x0100, 0x0400, 0x0401, 0x0406))

RATE_HZ, SCALE_G = 100.0, 1 / 1024
_RAW = struct.Struct("<3h3h3h")
_SETTINGS = struct.Struct("<HHHHB")  # ms between steps, temperatures and compass readings; Hz; wake on motion


class Thingy52:
    """A Thingy:52.

    Args:
        name: as it advertises.
    """

    FAMILY: ClassVar[str] = "Nordic Thingy:52"
    OFFERS: ClassVar[tuple[Offer, ...]] = (Offer(Sensor.ACC, Unit.G, (RATE_HZ,), (16.0,)),)
    ADVICE: ClassVar[str] = "Switch it on; close the Thingy app"
    NOTIFY: ClassVar[tuple[str, ...]] = (RAW, BATTERY)
    SAMPLES: ClassVar[str] = RAW
    STOP: ClassVar[tuple[Write, ...]] = ()
    START_GRACE_S: ClassVar[float] = 3.0

    def __init__(self, name: str) -> None:
        self.counter = Counter(0, 0, 0)
        acc = Stream("acc", Sensor.ACC, Unit.G, SCALE_G, RATE_HZ, ("x", "y", "z"))
        self.device = Device(name, "", "", (acc,))

    @classmethod
    def recognises(cls, services: Collection[str], name: str | None) -> bool:
        """By the service that it advertises, the one that sends, or the name."""
        return ADVERTISED in services or SERVICE in services or (name or "").startswith("Thingy")

    @classmethod
    def introduce(cls, name: str) -> Conversation[Self]:
        """Its name is all that is needed."""
        yield from ()
        return cls(name)

    def start(self) -> Conversation[None]:
        """It sends to whoever subscribed, at the rate it is told."""
        yield from say(Write(SETTINGS, _SETTINGS.pack(500, 500, 500, round(RATE_HZ), 0)))

    def decode(self, notification: Notification) -> tuple[Packet | Status, ...]:
        """Read one notification."""
        data = notification.data
        if notification.characteristic == BATTERY and len(data) == 1:
            return (Status(battery_percent=min(data[0], 100)),)
        if notification.characteristic != RAW:
            return ()
        if len(data) != _RAW.size:
            raise PacketError(f"raw motion of {len(data)} bytes, must be {_RAW.size}")
        return (Packet("acc", np.array(_RAW.unpack(data)[:3], np.int16)[:, None]),)

    def encode(self, item: Packet | Status) -> tuple[str, bytes]:
        """The payload for one sample; rotation and compass are zero."""
        if isinstance(item, Status):
            return BATTERY, bytes((item.battery_percent or 0,))
        return RAW, _RAW.pack(*item.counts[:, 0].tolist(), *[0] * 6)


def asked_hz(settings: bytes) -> int:
    """The rate that a write of settings asks for; 0 where it is none."""
    return _SETTINGS.unpack(settings)[3] if len(settings) == _SETTINGS.size else 0
