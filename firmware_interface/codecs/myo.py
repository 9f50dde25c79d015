"""Thalmic Myo: an armband of eight channels of EMG at 200 Hz, and acceleration.

Sources: thalmiclabs/myo-bluetooth, `myohw.h`; iomz/dl-myo c385880, `myo/profile.py` and the values in its tests;
PerlinWarp/pyomyo, `pyomyo.py`.

Rules of the wire:

* Little endian, for the values captured by dl-myo make sense only so; the vendor's header says big.
* EMG comes two samples at a time, from four characteristics in turn. Nothing else numbers it: the turn tells what
  is missing up to a wrap of eight samples (40 ms), and how many wraps is estimated from arrivals.
* Acceleration is not numbered at all.

Choices, each made here and nowhere else:

* EMG is asked for unfiltered (mode 3): mains and movement are ours to subtract. No scale is documented: counts.
* It is told never to sleep; it is said to fall asleep after half a minute of rest, and sometimes does even so.
* Orientation and rotation, in the packets of acceleration, are passed over.
"""

from __future__ import annotations

import struct
from collections.abc import Collection
from typing import ClassVar, Self

import numpy as np

from firmware_interface.codecs import BATTERY, Conversation, Counter, Device, Offer, Read, Write, say
from firmware_interface.errors import PacketError
from firmware_interface.samples import Notification, Packet, Sensor, Status, Stream, Unit


def _uuid(short: int) -> str:
    return f"d506{short:04x}-a904-deb9-4748-2c7f4a124842"


SERVICE, INFO, FIRMWARE, COMMAND = (_uuid(each) for each in (0x0001, 0x0101, 0x0201, 0x0401))
IMU_SERVICE, IMU = _uuid(0x0002), _uuid(0x0402)
EMG_SERVICE, EMG = _uuid(0x0005), tuple(_uuid(each) for each in (0x0105, 0x0205, 0x0305, 0x0405))

STREAM, SILENCE = bytes.fromhex("0103030100"), bytes.fromhex("0103000000")
"""EMG unfiltered and the inertial sensor on, its classifier off; all off."""
NEVER_SLEEP, MAY_SLEEP = bytes.fromhex("090101"), bytes.fromhex("090100")
_CHANNELS = 8
_PER_PACKET = 2
_TURN = _PER_PACKET * len(EMG)
RATE_HZ, ACC_RATE_HZ = 200.0, 50.0
ACC_SCALE_G = 1 / 2048
_INERTIAL = struct.Struct("<4h3h3h")  # orientation, acceleration, rotation
_REVISION = struct.Struct("<4H")


class Myo:
    """A Myo.

    Args:
        name: as it advertises, or as its owner named it.
        serial: of its radio.
        firmware: its version.
    """

    FAMILY: ClassVar[str] = "Thalmic Myo"
    OFFERS: ClassVar[tuple[Offer, ...]] = (
        Offer(Sensor.EMG, Unit.COUNT, (RATE_HZ,), (128.0,)),
        Offer(Sensor.ACC, Unit.G, (ACC_RATE_HZ,), (16.0,)),
    )
    ADVICE: ClassVar[str] = "Charge it, wear it on the forearm and move: it wakes; quit Myo Connect"
    NOTIFY: ClassVar[tuple[str, ...]] = (*EMG, IMU, BATTERY)
    SAMPLES: ClassVar[str] = EMG[0]
    STOP: ClassVar[tuple[Write, ...]] = (Write(COMMAND, SILENCE), Write(COMMAND, MAY_SLEEP))
    START_GRACE_S: ClassVar[float] = 3.0

    def __init__(self, name: str, serial: str, firmware: str) -> None:
        self.counter = Counter(0, _TURN, 0)
        channels = tuple(f"pod {n + 1}" for n in range(_CHANNELS))
        emg = Stream("emg", Sensor.EMG, Unit.COUNT, 1.0, RATE_HZ, channels)
        acc = Stream("acc", Sensor.ACC, Unit.G, ACC_SCALE_G, ACC_RATE_HZ, ("x", "y", "z"))
        self.device = Device(name, serial, firmware, (emg, acc))

    @classmethod
    def recognises(cls, services: Collection[str], name: str | None) -> bool:  # noqa: ARG003 - a person's to choose
        """By the service."""
        return SERVICE in services

    @classmethod
    def introduce(cls, name: str) -> Conversation[Self]:
        """Its serial number is the address of its radio."""
        info = yield Read(INFO)
        revision = yield Read(FIRMWARE)
        version = _REVISION.unpack(revision) if len(revision) == _REVISION.size else ()
        return cls(name, info[5::-1].hex(":").upper(), ".".join(str(each) for each in version[:3]))

    def start(self) -> Conversation[None]:
        """Awake, and everything that moves."""
        yield from say(Write(COMMAND, NEVER_SLEEP), Write(COMMAND, STREAM))

    def decode(self, notification: Notification) -> tuple[Packet | Status, ...]:
        """Read one notification."""
        data = notification.data
        if notification.characteristic in EMG:
            if len(data) != _PER_PACKET * _CHANNELS:
                raise PacketError(f"EMG of {len(data)} bytes, must be {_PER_PACKET * _CHANNELS}")
            counts = np.frombuffer(data, np.int8).reshape(_PER_PACKET, _CHANNELS).T
            return (Packet("emg", counts, index=_PER_PACKET * EMG.index(notification.characteristic)),)
        if notification.characteristic == IMU:
            if len(data) != _INERTIAL.size:
                raise PacketError(f"inertial data of {len(data)} bytes, must be {_INERTIAL.size}")
            return (Packet("acc", np.array(_INERTIAL.unpack(data)[4:7], np.int16)[:, None]),)
        if notification.characteristic == BATTERY and len(data) == 1:
            return (Status(battery_percent=min(data[0], 100)),)
        return ()

    def encode(self, item: Packet | Status) -> tuple[str, bytes]:
        """The payload for a Packet of two samples of EMG, or one of acceleration."""
        if isinstance(item, Status):
            return BATTERY, bytes((item.battery_percent or 0,))
        if item.stream == "acc":
            return IMU, _INERTIAL.pack(0, 0, 0, 0, *item.counts[:, 0].tolist(), 0, 0, 0)
        return EMG[(item.index or 0) % _TURN // _PER_PACKET], item.counts.T.astype(np.int8).tobytes()
