"""Muse 2 and Muse S: four electrodes round the head at 256 Hz, and acceleration.

Sources: urish/muse-js 4e86457, `src/muse.ts`, `src/lib/muse-parse.ts` and the values in its tests; muse-lsl
797d01c, `constants.py`.

Rules of the wire:

* Big endian. Each electrode has a characteristic of its own, and so has acceleration; each packet begins with a
  count of 16 bits and holds twelve values of 12 bits, or three samples of acceleration. The count tells every
  loss.
* A command is its length, letters and a line feed.

Choices, each made here and nowhere else:

* Each electrode is a stream of its own, for each is lost on its own.
* It is read as EMG: of the muscles under it. AF7 and AF8 lie on the forehead (frontalis), TP9 and TP10 behind the
  ears. It sees nothing but the head; brain waves are in it, too.
* Preset 21: no auxiliary electrode, no light. The gyroscope is passed over.
* `k`, which muse-lsl can send to keep it awake, is not sent, for muse-js does without.
* The Athena of 2025 speaks otherwise, over the same service; its characteristics differ, so it stays silent and is
  said to have stalled.
"""

from __future__ import annotations

import struct
from collections.abc import Collection
from typing import ClassVar, Self

import numpy as np

from firmware_interface.codecs import Conversation, Counter, Device, Offer, Write, say, uuid
from firmware_interface.errors import PacketError
from firmware_interface.samples import Counts, Notification, Packet, Sensor, Status, Stream, Unit


def _uuid(short: int) -> str:
    return f"273e{short:04x}-4c4d-454d-96be-f03bac821358"


SERVICE = uuid(0xFE8D)
CONTROL, ACC, TELEMETRY = _uuid(0x0001), _uuid(0x000A), _uuid(0x000B)
ELECTRODES = {_uuid(0x0003): "TP9", _uuid(0x0004): "AF7", _uuid(0x0005): "AF8", _uuid(0x0006): "TP10"}

RATE_HZ, ACC_RATE_HZ = 256.0, 52.0
SCALE_UV, ACC_SCALE_G = 0.48828125, 0.0000610352
EMG_SAMPLES, ACC_SAMPLES = 12, 3
_MIDDLE = 2048
_MODULUS = 1 << 16
_LENGTH = 20
_TELEMETRY = struct.Struct(">HHHHH")  # count, battery in 1/512 %, fuel gauge, converter, °C


def command(letters: str) -> Write:
    """What Control takes."""
    return Write(CONTROL, bytes((len(letters) + 1,)) + letters.encode() + b"\n")


HALT, PRESET, STREAM, RESUME = (command(each) for each in ("h", "p21", "s", "d"))


class Muse:
    """A Muse 2 or Muse S.

    Args:
        name: as it advertises.
    """

    FAMILY: ClassVar[str] = "Muse 2, Muse S"
    OFFERS: ClassVar[tuple[Offer, ...]] = (
        Offer(Sensor.EMG, Unit.MICROVOLT, (RATE_HZ,), (1000.0,)),
        Offer(Sensor.ACC, Unit.G, (ACC_RATE_HZ,), (2.0,)),
    )
    ADVICE: ClassVar[str] = "Switch it on, with clean skin under its electrodes; close the Muse app"
    NOTIFY: ClassVar[tuple[str, ...]] = (CONTROL, *ELECTRODES, ACC, TELEMETRY)
    SAMPLES: ClassVar[str] = next(iter(ELECTRODES))
    STOP: ClassVar[tuple[Write, ...]] = (HALT,)
    START_GRACE_S: ClassVar[float] = 5.0

    def __init__(self, name: str) -> None:
        self.counter = Counter(_MODULUS, 0, 0)
        emg = (Stream(e, Sensor.EMG, Unit.MICROVOLT, SCALE_UV, RATE_HZ, (e,)) for e in ELECTRODES.values())
        acc = Stream("acc", Sensor.ACC, Unit.G, ACC_SCALE_G, ACC_RATE_HZ, ("x", "y", "z"))
        self.device = Device(name, "", "", (*emg, acc))

    @classmethod
    def recognises(cls, services: Collection[str], name: str | None) -> bool:
        """By the service, or the name."""
        return SERVICE in services or (name or "").startswith("Muse")

    @classmethod
    def introduce(cls, name: str) -> Conversation[Self]:
        """Its name is all that it tells without being asked in pieces."""
        yield from ()
        return cls(name)

    def start(self) -> Conversation[None]:
        """As its own hosts do."""
        yield from say(HALT, PRESET, STREAM, RESUME)

    def decode(self, notification: Notification) -> tuple[Packet | Status, ...]:
        """Read one notification; answers to commands give nothing."""
        data = notification.data
        if notification.characteristic not in (*ELECTRODES, ACC, TELEMETRY):
            return ()
        if len(data) != _LENGTH:
            raise PacketError(f"packet of {len(data)} bytes, must be {_LENGTH}")
        sequence = int.from_bytes(data[:2], "big")
        if notification.characteristic == TELEMETRY:
            return (Status(battery_percent=min(round(_TELEMETRY.unpack_from(data)[1] / 512), 100)),)
        if notification.characteristic == ACC:
            counts = np.frombuffer(data, ">i2", offset=2).reshape(ACC_SAMPLES, 3).T.astype(np.int16)
            return (Packet("acc", counts, sequence),)
        return (Packet(ELECTRODES[notification.characteristic], _unpack(data[2:]) - _MIDDLE, sequence),)

    def encode(self, item: Packet | Status) -> tuple[str, bytes]:
        """The payload for twelve values of an electrode, three samples of acceleration, or a battery."""
        if isinstance(item, Status):
            return TELEMETRY, _TELEMETRY.pack(0, 512 * (item.battery_percent or 0), 0, 0, 0).ljust(_LENGTH, b"\0")
        head = ((item.sequence or 0) % _MODULUS).to_bytes(2, "big")
        if item.stream == "acc":
            return ACC, head + item.counts.T.astype(">i2").tobytes()
        characteristic = next(each for each, name in ELECTRODES.items() if name == item.stream)
        return characteristic, head + _pack(item.counts + _MIDDLE)


def _unpack(packed: bytes) -> Counts:
    """Twelve bits each, the most significant first: three bytes hold two."""
    first, middle, last = np.frombuffer(packed, np.uint8).reshape(-1, 3).T.astype(np.int16)
    return np.stack((first << 4 | middle >> 4, (middle & 15) << 8 | last)).T.reshape(1, -1)


def _pack(counts: Counts) -> bytes:
    even, odd = counts.reshape(-1, 2).T.astype(np.int32)
    return np.stack((even >> 4, (even & 15) << 4 | odd >> 8, odd & 255)).T.astype(np.uint8).tobytes()
