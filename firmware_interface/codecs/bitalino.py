"""BITalino (r)evolution BLE: four channels of EMG at 1000 Hz, of 10 bits.

Sources: BITalinoWorld/revolution-python-api, `bitalino.py` (frames, CRC); OpenMuse a9be252, `bitalino.py`, and
afonsocraposo/bitalino, `BLECommunication.java` (characteristics).

Rules of the wire:

* A sample of four channels is a frame of 7 bytes; as a little-endian number it ends in four pins, a count of 4
  bits and a CRC of 4 bits (polynomial 3, over the frame with the CRC zero).
* The count tells what is missing up to a wrap of 16 samples (16 ms); how many wraps is estimated from arrivals.
* A notification holds several frames, and may cut one: drivers disagree on whether it does. Both are read.

Choices, each made here and nowhere else:

* Channels A1 to A4, of 10 bits; A5 and A6 have 6. All four are read as the vendor's EMG sensor, whose scale is
  documented; what else is plugged in has no microvolts, and what is not plugged in shows as bad contact.
* The CRC finds 15 of 16 errors; with the counts in order it finds where frames begin.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import ClassVar, Self

import numpy as np

from firmware_interface.codecs import Conversation, Counter, Device, Offer, Write, say
from firmware_interface.errors import PacketError
from firmware_interface.samples import Counts, Notification, Packet, Sensor, Status, Stream, Unit

SERVICE = "c566488a-0882-4e1b-a6d0-0b717e652234"
COMMAND = "4051eb11-bf0a-4c74-8730-a48f4193fcea"
FRAMES = "40fdba6b-672e-47c4-808a-e529adff3633"

RATE_HZ = 1000.0
SCALE_UV = 3.3e6 / 1024 / 1009
"""3.3 V, 10 bits, and a gain of 1009."""
MIDDLE = 512
CHANNELS = 4
RATE, START, STOP = b"\xc3", b"\x3d", b"\x00"
"""1000 Hz; A1 to A4; idle."""
FRAME = 7
MODULUS = 16
_SHIFTS = 34, 24, 14, 4
"""Of A1 to A4 in the number that a frame is."""


def _crc_step(state: int, byte: int) -> int:
    for bit in range(7, -1, -1):
        state <<= 1
        state = (state ^ 3 if state & 16 else state) ^ (byte >> bit & 1)
    return state & 15


_CRC = tuple(bytes(_crc_step(state, byte) for byte in range(256)) for state in range(16))


class BITalino:
    """A BITalino.

    Args:
        name: as it advertises.
    """

    FAMILY: ClassVar[str] = "BITalino (r)evolution BLE"
    OFFERS: ClassVar[tuple[Offer, ...]] = (Offer(Sensor.EMG, Unit.MICROVOLT, (RATE_HZ,), (1635.0,)),)
    ADVICE: ClassVar[str] = "Switch it on; plug EMG sensors into A1 to A4"
    NOTIFY: ClassVar[tuple[str, ...]] = (FRAMES,)
    SAMPLES: ClassVar[str] = FRAMES
    STOP: ClassVar[tuple[Write, ...]] = (Write(COMMAND, STOP),)
    START_GRACE_S: ClassVar[float] = 3.0

    def __init__(self, name: str) -> None:
        self.counter = Counter(0, MODULUS, 0)
        channels = tuple(f"A{n + 1}" for n in range(CHANNELS))
        emg = Stream("emg", Sensor.EMG, Unit.MICROVOLT, SCALE_UV, RATE_HZ, channels)
        self.device = Device(name, "", "", (emg,))
        self._cut = b""

    @classmethod
    def recognises(cls, services: Collection[str], name: str | None) -> bool:
        """By the service, or the name."""
        return SERVICE in services or (name or "").startswith("BITalino")

    @classmethod
    def introduce(cls, name: str) -> Conversation[Self]:
        """Its name is all that it tells."""
        yield from ()
        return cls(name)

    def start(self) -> Conversation[None]:
        """The rate can be set while it is idle."""
        yield from say(Write(COMMAND, STOP), Write(COMMAND, RATE), Write(COMMAND, START))

    def decode(self, notification: Notification) -> tuple[Packet, ...]:
        """Read one notification: the frames that are whole with it."""
        if notification.characteristic != FRAMES:
            return ()
        data, self._cut = self._cut + notification.data, b""
        if 0 < len(data) < FRAME:
            self._cut = data
            return ()
        for skipped in range(2 * FRAME):  # something was lost between two that were cut
            begins = range(skipped, len(data) - FRAME + 1, FRAME)
            if begins and _in_order(data, begins):
                frames = [data[at : at + FRAME] for at in begins]
                self._cut = data[begins[-1] + FRAME :]
                numbers = np.array([int.from_bytes(frame, "little") for frame in frames])
                counts = np.stack([numbers >> shift & 1023 for shift in _SHIFTS]) - MIDDLE
                return (Packet("emg", counts.astype(np.int16), index=frames[0][-1] >> 4),)
        raise PacketError(f"{len(data)} bytes without a row of sound frames")

    def encode(self, item: Packet | Status) -> tuple[str, bytes]:
        """The payload for any number of samples."""
        if isinstance(item, Status):
            raise ValueError("a BITalino says nothing of itself unasked")
        return FRAMES, b"".join(_frames(item.counts, item.index or 0))


def _in_order(data: bytes, begins: range) -> bool:
    """Whether each frame is sound and follows the one before."""
    first = data[begins[0] + FRAME - 1] >> 4
    return all(
        data[at + FRAME - 1] == _sealed(data[at : at + FRAME - 1], (first + n) % MODULUS)
        for n, at in enumerate(begins)
    )


def _frames(counts: Counts, index: int) -> Iterator[bytes]:
    for n, sample in enumerate(counts.T.tolist()):
        number = sum(value + MIDDLE << shift for value, shift in zip(sample, _SHIFTS, strict=True))
        body = number.to_bytes(FRAME - 1, "little")
        yield body + bytes((_sealed(body, (index + n) % MODULUS),))


def _sealed(body: bytes, count: int) -> int:
    """The last byte of a frame: its count, and the CRC over all of it."""
    state = 0
    for byte in body:
        state = _CRC[state][byte]
    return count << 4 | _CRC[state][count << 4]
