"""What another program has read already, an LSL stream or a BrainFlow board: samples in their unit.

Rules:

* Info is JSON: what a Device says of itself. A payload is the number of its first sample, 64 bits, and floats of
  32 bits, all channels of one sample after the other; little endian.
* What the other program lost on its way it does not say. We number what it hands over; where its times leap, its
  link was interrupted, and the number begins anew.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Collection
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from firmware_interface.codecs import Conversation, Counter, Device, Offer, Read, Write
from firmware_interface.errors import PacketError
from firmware_interface.samples import Notification, Packet, Sensor, Status, Stream, Unit

INFO, SAMPLES = "info", "samples"
"""As if these were characteristics."""
_INDEX = struct.Struct("<Q")


class Relayed:
    """One stream of another program.

    Args:
        device: what it is, with one stream.
    """

    FAMILY: ClassVar[str] = "relayed"
    OFFERS: ClassVar[tuple[Offer, ...]] = (Offer(Sensor.EMG, Unit.MICROVOLT),)
    ADVICE: ClassVar[str] = "Start the other program first"
    NOTIFY: ClassVar[tuple[str, ...]] = (SAMPLES,)
    SAMPLES: ClassVar[str] = SAMPLES
    STOP: ClassVar[tuple[Write, ...]] = ()
    START_GRACE_S: ClassVar[float] = 3.0

    def __init__(self, device: Device) -> None:
        self.counter = Counter(0, 1 << 64, 0)
        self.device = device

    @classmethod
    def recognises(cls, services: Collection[str], name: str | None) -> bool:  # noqa: ARG003 - not on the radio
        """Never: it does not advertise."""
        return False

    @classmethod
    def introduce(cls, name: str) -> Conversation[Self]:  # noqa: ARG003 - Info says it
        """Info says all."""
        return cls(read_info((yield Read(INFO))))

    def start(self) -> Conversation[None]:
        """It runs already."""
        yield from ()

    def decode(self, notification: Notification) -> tuple[Packet, ...]:
        """Read one notification."""
        data, (stream,) = notification.data, self.device.streams
        width, rest = divmod(len(data) - _INDEX.size, 4 * len(stream.channels))
        if width <= 0 or rest:
            raise PacketError(f"{len(data)} bytes hold no whole number of samples")
        counts = np.frombuffer(data, "<f4", offset=_INDEX.size).reshape(width, -1).T
        if not np.isfinite(counts).all():
            raise PacketError("numbers that are none")
        return (Packet(stream.name, counts, index=_INDEX.unpack_from(data)[0]),)

    def encode(self, item: Packet | Status) -> tuple[str, bytes]:
        """The payload for any number of samples."""
        if isinstance(item, Status):
            raise ValueError("a relayed stream says nothing of itself")
        return SAMPLES, write_samples(item.index or 0, item.counts)


def write_samples(index: int, values: NDArray[np.floating]) -> bytes:
    """Values of shape (channels, samples)."""
    return _INDEX.pack(index % (1 << 64)) + values.T.astype("<f4").tobytes()


def write_info(device: Device) -> bytes:
    """What `read_info` reads."""
    (stream,) = device.streams
    fields = {"name": device.name, "serial": device.serial, "firmware": device.firmware}
    fields |= {"sensor": stream.sensor, "unit": stream.unit}
    return json.dumps(fields | {"rate_hz": stream.rate_hz, "channels": stream.channels}).encode()


def read_info(info: bytes) -> Device:
    """Raises PacketError."""
    try:
        told = json.loads(info)
        sensor, unit, channels = Sensor(told["sensor"]), Unit(told["unit"]), tuple(map(str, told["channels"]))
        stream = Stream(sensor.value, sensor, unit, 1.0, float(told["rate_hz"]), channels)
        return Device(str(told["name"]), str(told["serial"]), str(told["firmware"]), (stream,))
    except (ValueError, KeyError, TypeError) as error:
        raise PacketError(f"info {info[:40]!r} cannot be read") from error
