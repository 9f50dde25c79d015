"""uMyo of Ultimate Robotics: one channel of EMG from an armband electrode, in its BLE mode (blue light).

Sources: ultimaterobotics/uMyo d3a14b3, `uMyo_fw_v3_1/main.c` and `adc_read.c`; ultimaterobotics/uf1-tools 8779f02,
`SPEC_UF1_v2.md` section 9. No captured bytes are public: all of this is read, not seen.

Rules of the wire:

* Little endian. Nothing is to be written: it sends to whoever subscribes.
* Two generations of packets, told apart by their length. The first has no head; the second begins with a format
  byte. Both number their samples with 32 bits, so that every loss is counted, inside the device too.

Choices, each made here and nowhere else:

* The rate is nobody's to say: 1116 Hz by the firmware's comments, 1150 Hz by the specification. The nominal rate
  here is in the middle, and the decoder learns the true one from index and arrival, up to 3 % off.
* No scale is documented: counts.
* Packets of the inertial sensor (26 or 27 bytes, 25 a second) are checked and passed over: they are not numbered,
  their scale is not documented, and a twitch needs 49 Hz. So is the quaternion behind some EMG packets.
* An advertisement of a uMyo that is not in BLE mode has the same name, and cannot be connected to.
"""

from __future__ import annotations

import struct
from collections.abc import Collection
from typing import ClassVar, Self

import numpy as np

from firmware_interface.codecs import Conversation, Counter, Device, Offer, Read, Write, text
from firmware_interface.errors import PacketError
from firmware_interface.samples import Notification, Packet, Sensor, Status, Stream, Unit

SERVICE = "93375900-f229-8b49-b397-44b5899b8601"
TELEMETRY = "fc7a850d-c1a5-f61f-0da7-9995621fbd01"
NAME = "fc7a850d-c1a5-f61f-0da7-9995621fbd02"

RATE_HZ = 1133.0
"""Midway between what the firmware and the specification say."""
_INDEX = struct.Struct("<I")
_SAMPLES = {20: 8, 36: 16, 52: 24, 60: 24}
"""Length of an EMG packet of the first generation -> samples; 60 has a quaternion behind them."""
_FORMATS = {1: (61, 24), 2: (53, 24), 3: (27, 0)}
"""Format byte of the second generation -> length, samples."""
_INERTIAL = 26


class UMyo:
    """A uMyo.

    Args:
        name: as it advertises, or as its owner named it.
    """

    FAMILY: ClassVar[str] = "uMyo"
    OFFERS: ClassVar[tuple[Offer, ...]] = (Offer(Sensor.EMG, Unit.COUNT, (RATE_HZ,)),)
    ADVICE: ClassVar[str] = "Press its button until the light is blue; some USB adapters (CSR8510) cannot hold it"
    NOTIFY: ClassVar[tuple[str, ...]] = (TELEMETRY,)
    SAMPLES: ClassVar[str] = TELEMETRY
    STOP: ClassVar[tuple[Write, ...]] = ()
    START_GRACE_S: ClassVar[float] = 3.0

    def __init__(self, name: str) -> None:
        self.counter = Counter(0, 1 << 32, 0)
        self.device = Device(name, "", "", (Stream("emg", Sensor.EMG, Unit.COUNT, 1.0, RATE_HZ, ("EMG",)),))

    @classmethod
    def recognises(cls, services: Collection[str], name: str | None) -> bool:
        """By the service, or the name: both do not fit one advertisement."""
        return SERVICE in services or (name or "").startswith("uMyo")

    @classmethod
    def introduce(cls, name: str) -> Conversation[Self]:
        """All it can tell is a name."""
        return cls(text((yield Read(NAME))) or name)

    def start(self) -> Conversation[None]:
        """It sends already."""
        yield from ()

    def decode(self, notification: Notification) -> tuple[Packet, ...]:
        """Read one notification."""
        if notification.characteristic != TELEMETRY:
            return ()
        body, samples = _measure(notification.data)
        if not samples:
            return ()
        counts = np.frombuffer(body, "<i2", count=samples, offset=_INDEX.size).reshape(1, samples)
        return (Packet("emg", counts, index=_INDEX.unpack_from(body)[0]),)

    def encode(self, item: Packet | Status, *, format_byte: bool = False) -> tuple[str, bytes]:
        """The payload for a Packet of 24 samples (without `format_byte` of 8 or 16, too)."""
        if isinstance(item, Status):
            raise ValueError("a uMyo says nothing of itself")
        body = _INDEX.pack((item.index or 0) % (1 << 32)) + item.counts.astype("<i2").tobytes()
        return TELEMETRY, b"\2" + body if format_byte else body


def _measure(data: bytes) -> tuple[bytes, int]:
    """The payload without its format byte, and the samples in it; none in one of the inertial sensor."""
    if len(data) in _SAMPLES:
        return data, _SAMPLES[len(data)]
    if len(data) == _INERTIAL:
        return data, 0
    length, samples = _FORMATS.get(data[0] if data else 0, (-1, 0))
    if len(data) != length:
        raise PacketError(f"packet of {len(data)} bytes that begins with {data[:1].hex() or 'nothing'}")
    return data[1:], samples
