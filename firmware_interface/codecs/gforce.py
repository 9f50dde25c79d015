"""OYMotion gForcePro and gForcePro+: an armband of eight channels of EMG at 500 Hz.

Sources: oymotion/gForceSDKPython f20dc45, `gforce.py`, `sample.py`; LibEMG, `_oymotion_streamer.py`; BrainFlow,
pull requests 105 and 270, issue 703. No captured bytes are public: all of this is read, not seen.

Rules of the wire:

* Little endian. A command is answered on the characteristic that it was written to: status, command, data.
* A notification is a kind and data; kind 8 is EMG, all channels of one sample after the other. One that is longer
  than the link comes in parts: FF, how many follow, data.
* Nothing numbers the samples: what is missing is estimated from arrivals, in packets of 8 samples (16 ms), or of
  16.

Choices, each made here and nowhere else:

* 500 Hz with 12 bits, rather than 1000 Hz with 8: beyond that the link is full, and 8 bits are coarse. Where 12
  bits are refused, 8. Of 12 bits, two bytes a number [inferred].
* No scale is documented: counts, with their offset.
* Acceleration is left off, for EMG is said to stop beside it (BrainFlow 703).
"""

from __future__ import annotations

from collections.abc import Collection
from typing import ClassVar, Self

import numpy as np

from firmware_interface.codecs import Conversation, Counter, Device, Hear, Offer, Write, say, uuid
from firmware_interface.errors import PacketError
from firmware_interface.samples import Notification, Packet, Sensor, Status, Stream, Unit

SERVICE = uuid(0xFFD0)
COMMAND, NOTIFICATION = (f"f000ffe{n}-0451-4000-b000-000000000000" for n in (1, 2))

RATE_HZ = 500.0
CHANNELS = 8
CONFIGURE, SWITCH = 0x3F, 0x4F
FINE, COARSE = bytes.fromhex("3ff401ff00800c"), bytes.fromhex("3ff401ff008008")
"""500 Hz, all eight channels, 128 bytes a packet; 12 and 8 bits."""
ON, OFF = bytes.fromhex("4f80000000"), bytes.fromhex("4f00000000")
_EMG, _PART = 0x08, 0xFF
_KINDS = range(0x01, 0x0D)
"""Acceleration to log."""
_BYTES = 128


class GForce:
    """A gForce armband.

    Args:
        name: as it advertises.
        fine: whether it sends 12 bits; else 8.
    """

    FAMILY: ClassVar[str] = "OYMotion gForce"
    OFFERS: ClassVar[tuple[Offer, ...]] = (Offer(Sensor.EMG, Unit.COUNT, (RATE_HZ,), (4096.0,)),)
    ADVICE: ClassVar[str] = "Switch it on, and close the gForce app"
    NOTIFY: ClassVar[tuple[str, ...]] = (COMMAND, NOTIFICATION)
    SAMPLES: ClassVar[str] = NOTIFICATION
    STOP: ClassVar[tuple[Write, ...]] = (Write(COMMAND, OFF),)
    START_GRACE_S: ClassVar[float] = 3.0

    def __init__(self, name: str, *, fine: bool = True) -> None:
        self.counter = Counter(0, 0, 0)
        channels = tuple(f"channel {n + 1}" for n in range(CHANNELS))
        self.device = Device(name, "", "", (Stream("emg", Sensor.EMG, Unit.COUNT, 1.0, RATE_HZ, channels),))
        self._dtype = np.dtype("<u2" if fine else "u1")
        self._parts: list[bytes] = []
        self._following = self._began_ns = 0

    @classmethod
    def recognises(cls, services: Collection[str], name: str | None) -> bool:
        """By the name; its service is one that others use, too, unless nothing is known of the name."""
        return (name or "").lower().startswith("gforce") or (not name and SERVICE in services)

    @classmethod
    def introduce(cls, name: str) -> Conversation[Self]:
        """What it can do shows when it is told to."""
        for settings in (FINE, COARSE):
            yield from say(Write(COMMAND, settings))
            answer = yield Hear(COMMAND, b"")
            if answer[:2] == bytes((0, CONFIGURE)):
                return cls(name, fine=settings == FINE)
        raise PacketError(f"{name or 'the armband'} answers {answer[:2].hex()} to what it was asked for")

    def start(self) -> Conversation[None]:
        """EMG only."""
        yield from say(Write(COMMAND, ON))

    def decode(self, notification: Notification) -> tuple[Packet, ...]:
        """Read one notification; answers, and other kinds of data, give nothing."""
        data = notification.data
        if notification.characteristic != NOTIFICATION:
            return ()
        if not data:
            raise PacketError("notification of no bytes")
        whole, began_ns = data, notification.arrival_ns
        if data[0] == _PART:
            whole, began_ns = self._together(data, notification.arrival_ns), self._began_ns
        if whole and whole[0] not in _KINDS:
            raise PacketError(f"data of kind {whole[0]}, which this program does not know")
        if not whole or whole[0] != _EMG:
            return ()
        row = CHANNELS * self._dtype.itemsize
        if len(whole) == 1 or (len(whole) - 1) % row:
            raise PacketError(f"EMG of {len(whole) - 1} bytes, which hold no whole number of samples of {row}")
        counts = np.frombuffer(whole, self._dtype, offset=1).reshape(-1, CHANNELS).T
        return (Packet("emg", counts, began_ns=began_ns),)

    def encode(self, item: Packet | Status) -> tuple[str, bytes]:
        """The payload for any number of samples, in one part."""
        if isinstance(item, Status):
            raise ValueError("a gForce says nothing of itself unasked")
        return NOTIFICATION, bytes((_EMG,)) + item.counts.T.astype(self._dtype).tobytes()

    def _together(self, data: bytes, arrival_ns: int) -> bytes:
        """The whole, once its last part is there. They count down to zero; the first may have any number."""
        if len(data) < 2:
            raise PacketError("part of a notification without a number")
        follow = data[1]
        begins = not self._parts
        if begins:
            self._began_ns = arrival_ns
        elif follow != self._following - 1:
            self._parts = []
            raise PacketError(f"part {follow} of a notification after part {self._following}")
        self._parts.append(data[2:])
        self._following = follow
        if follow:
            return b""
        whole, self._parts = b"".join(self._parts), []
        return whole


def in_parts(payload: bytes, longest: int) -> list[bytes]:
    """A notification as it comes over a link that carries `longest` bytes."""
    if len(payload) <= longest:
        return [payload]
    size = longest - 2
    pieces = [payload[at : at + size] for at in range(0, len(payload), size)]
    return [bytes((_PART, len(pieces) - 1 - n)) + piece for n, piece in enumerate(pieces)]
