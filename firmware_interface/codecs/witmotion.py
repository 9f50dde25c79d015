"""WitMotion WT901BLE and WT9011DCL: acceleration at 100 Hz.

Source: WITMOTION/WitBluetooth_BWT901BLE5_0 9efaab0, `device_model.py`; its manual for the numbers of rates, from
memory.

Rules of the wire:

* Little endian. It sends unasked: frames of 20 bytes, 55 61 and nine numbers of 16 bits: acceleration, rotation,
  orientation. A notification may hold several, and one may be cut.
* Nothing numbers the samples, and nothing tells their time: what is missing is estimated from arrivals.
* A register is written after an unlocking, and back to what it was when switched off, unless it is saved.

Choices, each made here and nowhere else:

* 100 Hz (number 9), of 200 possible: at 200 a notification takes the place of another within 5 ms, and no radio is
  that punctual, so that losses could not be told. At the end 10 Hz, with which it comes; nothing is saved.
* The range is 16 g and cannot be chosen: a count is 0.49 mg.
* Its UUIDs end in 9a34fb, not in 9b34fb as those of the Bluetooth SIG. Models with another service (ISSC) are not
  read.
* Rotation and orientation are passed over.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import ClassVar, Self

import numpy as np

from firmware_interface.codecs import Conversation, Counter, Device, Offer, Write, say
from firmware_interface.errors import PacketError
from firmware_interface.samples import Notification, Packet, Sensor, Status, Stream, Unit

SERVICE, NOTIFICATION, COMMAND = (f"0000ffe{n}-0000-1000-8000-00805f9a34fb" for n in (5, 4, 9))

RATE_HZ, SCALE_G = 100.0, 16 / 32768
UNLOCK = bytes.fromhex("ffaa6988b5")
FAST, SLOW = bytes.fromhex("ffaa030900"), bytes.fromhex("ffaa030600")
_FRAME = 20
_SAMPLE, _REGISTER = b"\x55\x61", b"\x55\x71"


def _command(*payloads: bytes) -> tuple[Write, ...]:
    return tuple(Write(COMMAND, payload) for payload in payloads)


class WitMotion:
    """A WitMotion sensor.

    Args:
        name: as it advertises.
    """

    FAMILY: ClassVar[str] = "WitMotion WT901BLE, WT9011DCL"
    OFFERS: ClassVar[tuple[Offer, ...]] = (Offer(Sensor.ACC, Unit.G, (RATE_HZ,), (16.0,)),)
    ADVICE: ClassVar[str] = "Switch it on; close the WitMotion app"
    NOTIFY: ClassVar[tuple[str, ...]] = (NOTIFICATION,)
    SAMPLES: ClassVar[str] = NOTIFICATION
    STOP: ClassVar[tuple[Write, ...]] = _command(UNLOCK, SLOW)
    START_GRACE_S: ClassVar[float] = 3.0

    def __init__(self, name: str) -> None:
        self.counter = Counter(0, 0, 0)
        acc = Stream("acc", Sensor.ACC, Unit.G, SCALE_G, RATE_HZ, ("x", "y", "z"))
        self.device = Device(name, "", "", (acc,))
        self._cut = b""

    @classmethod
    def recognises(cls, services: Collection[str], name: str | None) -> bool:
        """By the service, or the name: WT901BLE67, WT9011DCL."""
        return SERVICE in services or (name or "").startswith("WT901")

    @classmethod
    def introduce(cls, name: str) -> Conversation[Self]:
        """Its name is all that it tells."""
        yield from ()
        return cls(name)

    def start(self) -> Conversation[None]:
        """It sends already, but slowly."""
        yield from say(*_command(UNLOCK, FAST))

    def decode(self, notification: Notification) -> tuple[Packet, ...]:
        """Read one notification: the frames that are whole with it."""
        if notification.characteristic != NOTIFICATION:
            return ()
        data, self._cut = self._cut + notification.data, b""
        frames = []
        at = data.find(b"\x55")
        while at >= 0 and at + _FRAME <= len(data):
            head = data[at : at + 2]
            if head == _SAMPLE:
                frames.append(data[at + 2 : at + 8])
            at = data.find(b"\x55", at + (_FRAME if head in (_SAMPLE, _REGISTER) else 1))
        self._cut = data[at:] if at >= 0 else b""
        if not frames:
            if self._cut or _REGISTER in data:
                return ()
            raise PacketError(f"{len(data)} bytes without a frame")
        return (Packet("acc", np.frombuffer(b"".join(frames), "<i2").reshape(-1, 3).T),)

    def encode(self, item: Packet | Status) -> tuple[str, bytes]:
        """The payload for any number of samples; rotation and orientation are zero."""
        if isinstance(item, Status):
            raise ValueError("a WitMotion says nothing of itself unasked")
        rows = item.counts.T.astype("<i2")
        return NOTIFICATION, b"".join((_SAMPLE + row.tobytes()).ljust(_FRAME, b"\0") for row in rows)
