"""Upside Down Labs NPG Lite: three or six channels of EMG at 500 Hz.

Sources: upsidedownlabs/Chords-Python 5f36655, `chordspy/chords_ble.py`; Chords-Web 62203d8,
`src/app/npg-lite/page.tsx`. The firmware itself was not found: what hosts expect is all that is known.

Rules of the wire:

* Big endian. A sample is a count of 8 bits and a number of 16 bits for each channel; a notification holds ten
  samples, or one. The count tells every loss shorter than half a second; longer ones are told from the time that
  passed.
* Boards that have 3CH or 6CH in their name tell their battery; older ones have three channels and do not.

Choices, each made here and nowhere else:

* Its UUIDs are those of an example that comes with every ESP32, so the name decides.
* No scale is documented, for the gain depends on the board: counts, of 12 bits.
* Notifications are subscribed to before START, which hosts do after it [inferred to make no difference].
* No STOP is known: the end of the link has to do.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import ClassVar, Self

import numpy as np

from firmware_interface.codecs import Conversation, Counter, Device, Offer, Write, say
from firmware_interface.errors import PacketError
from firmware_interface.samples import Notification, Packet, Sensor, Status, Stream, Unit

SERVICE = "4fafc201-1fb5-459e-8fcc-c5c9c331914b"
DATA = "beb5483e-36e1-4688-b7f5-ea07361b26a8"
CONTROL = "0000ff01-0000-1000-8000-00805f9b34fb"
BATTERY = "f633d0ec-46b4-43c1-a39f-1ca06d0602e1"

START = b"START"
RATE_HZ = 500.0
_MODULUS = 256


class NpgLite:
    """An NPG Lite.

    Args:
        name: as it advertises, which tells its channels.
    """

    FAMILY: ClassVar[str] = "Upside Down Labs NPG Lite"
    OFFERS: ClassVar[tuple[Offer, ...]] = (Offer(Sensor.EMG, Unit.COUNT, (RATE_HZ,), (4096.0,)),)
    ADVICE: ClassVar[str] = "Switch it on, with the firmware for BLE on it; close Chords"
    NOTIFY: ClassVar[tuple[str, ...]] = (DATA, BATTERY)
    SAMPLES: ClassVar[str] = DATA
    STOP: ClassVar[tuple[Write, ...]] = ()
    START_GRACE_S: ClassVar[float] = 3.0

    def __init__(self, name: str) -> None:
        self._width = 6 if "6CH" in name.upper() else 3
        self.counter = Counter(0, _MODULUS, 0)
        channels = tuple(f"channel {n + 1}" for n in range(self._width))
        self.device = Device(name, "", "", (Stream("emg", Sensor.EMG, Unit.COUNT, 1.0, RATE_HZ, channels),))

    @classmethod
    def recognises(cls, services: Collection[str], name: str | None) -> bool:  # noqa: ARG003 - everybody's
        """By the name."""
        return (name or "").upper().startswith("NPG")

    @classmethod
    def introduce(cls, name: str) -> Conversation[Self]:
        """Its name is all that it tells."""
        yield from ()
        return cls(name)

    def start(self) -> Conversation[None]:
        """In words."""
        yield from say(Write(CONTROL, START))

    def decode(self, notification: Notification) -> tuple[Packet | Status, ...]:
        """Read one notification."""
        data = notification.data
        if notification.characteristic == BATTERY and len(data) == 1:
            return (Status(battery_percent=min(data[0], 100)),)
        if notification.characteristic != DATA:
            return ()
        row = 1 + 2 * self._width
        if not data or len(data) % row:
            raise PacketError(f"{len(data)} bytes hold no whole number of samples of {row}")
        rows = np.frombuffer(data, np.dtype([("count", "u1"), ("values", ">i2", (self._width,))]))
        counts = rows["count"]
        if (np.diff(counts) != 1).any():  # of 8 bits, as their difference is
            raise PacketError(f"samples {counts[:4].tolist()} and so on, which do not follow each other")
        return (Packet("emg", rows["values"].T.astype(np.int16), index=int(counts[0])),)

    def encode(self, item: Packet | Status) -> tuple[str, bytes]:
        """The payload for any number of samples."""
        if isinstance(item, Status):
            return BATTERY, bytes((item.battery_percent or 0,))
        counts = (np.arange(item.counts.shape[1]) + (item.index or 0)) % _MODULUS
        rows = (bytes((n,)) + row.tobytes() for n, row in zip(counts, item.counts.T.astype(">i2"), strict=True))
        return DATA, b"".join(rows)
