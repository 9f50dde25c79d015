"""MbientLab MetaMotion: acceleration at 100 Hz.

Sources: bytes in the tests of the vendor's MetaWear-SDK-Cpp f67699e (`test_accelerometer_bmi160.py`,
`test_accelerometer_bmi270.py`); what they mean was worked out from their values. Its licence binds code to the
vendor's products: none was used.

Rules of the wire:

* Little endian. All goes by module and register, to one characteristic and from another; a read is answered under
  the same two bytes. The answer to `03 80` says which accelerometer it has.
* Packed, a notification holds three samples of 16 bits. Nothing numbers them: what is missing is estimated from
  arrivals, in steps of three samples (30 ms).

Choices, each made here and nowhere else:

* 4 g, which no limb exceeds at rest, so that a count is 0.12 mg.
* The older accelerometer (BMI160) is set up as its tests do. Of the newer (BMI270) the packed register is in a
  test, its settings are inferred from the chip's data sheet.
* The counter that the device could add to each sample is a program to be built on it, and is not used.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import ClassVar, Self

import numpy as np

from firmware_interface.codecs import (
    FIRMWARE,
    SERIAL,
    Conversation,
    Counter,
    Device,
    Hear,
    Offer,
    Read,
    Write,
    say,
    text,
)
from firmware_interface.errors import PacketError
from firmware_interface.samples import Notification, Packet, Sensor, Status, Stream, Unit

SERVICE, COMMAND, NOTIFICATION = (f"326a900{n}-85cb-9195-d9dd-464cfbbae75a" for n in (0, 1, 6))

RATE_HZ, SCALE_G = 100.0, 1 / 8192
SAMPLES = 3
WHICH = bytes.fromhex("0380")
BATTERY = bytes.fromhex("118c")
ENABLE, DISABLE = bytes.fromhex("03020100"), bytes.fromhex("03020001")
START, STOP = bytes.fromhex("030101"), bytes.fromhex("030100")
SETTINGS = {1: bytes.fromhex("03032805"), 4: bytes.fromhex("0303a801")}
"""By the number of the accelerometer: BMI160, BMI270. 100 Hz, 4 g."""
PACKED = {1: bytes.fromhex("031c"), 4: bytes.fromhex("0305")}
_SAMPLE = bytes.fromhex("0304")
"""One sample by itself, as a device sends that another host has set up."""


def _command(*payloads: bytes) -> tuple[Write, ...]:
    return tuple(Write(COMMAND, payload) for payload in payloads)


class MetaMotion:
    """A MetaMotion.

    Args:
        name: as it advertises.
        serial: its serial number.
        firmware: its version.
        accelerometer: the number of its kind.
    """

    FAMILY: ClassVar[str] = "MbientLab MetaMotion"
    OFFERS: ClassVar[tuple[Offer, ...]] = (Offer(Sensor.ACC, Unit.G, (RATE_HZ,), (4.0,)),)
    ADVICE: ClassVar[str] = "Press its button; close the MetaBase app"
    NOTIFY: ClassVar[tuple[str, ...]] = (NOTIFICATION,)
    SAMPLES: ClassVar[str] = NOTIFICATION
    STOP: ClassVar[tuple[Write, ...]] = _command(STOP, DISABLE, *(each + b"\0" for each in PACKED.values()))
    START_GRACE_S: ClassVar[float] = 3.0

    def __init__(self, name: str, serial: str, firmware: str, accelerometer: int = 1) -> None:
        self.counter = Counter(0, 0, 0)
        self._accelerometer = accelerometer
        acc = Stream("acc", Sensor.ACC, Unit.G, SCALE_G, RATE_HZ, ("x", "y", "z"))
        self.device = Device(name, serial, firmware, (acc,))

    @classmethod
    def recognises(cls, services: Collection[str], name: str | None) -> bool:
        """By the service, or the name that it has until its owner gives it another."""
        return SERVICE in services or (name or "").startswith("MetaWear")

    @classmethod
    def introduce(cls, name: str) -> Conversation[Self]:
        """Its accelerometer is asked for."""
        serial, firmware = text((yield Read(SERIAL))), text((yield Read(FIRMWARE)))
        yield from say(*_command(WHICH))
        answer = yield Hear(NOTIFICATION, WHICH)
        if len(answer) < 3 or answer[2] not in SETTINGS:
            raise PacketError(f"accelerometer {answer[2:3].hex() or 'none'}, which this program does not know")
        return cls(name, serial, firmware, answer[2])

    def start(self) -> Conversation[None]:
        """Battery first."""
        settings, packed = SETTINGS[self._accelerometer], PACKED[self._accelerometer]
        yield from say(*_command(BATTERY, settings, packed + b"\1", ENABLE, START))

    def decode(self, notification: Notification) -> tuple[Packet | Status, ...]:
        """Read one notification; answers that are not asked for here give nothing."""
        if notification.characteristic != NOTIFICATION:
            return ()
        head, body = notification.data[:2], notification.data[2:]
        if len(head) < 2:
            raise PacketError(f"notification of {len(head)} bytes, needs 2")
        if head == BATTERY:
            return (Status(battery_percent=min(body[0], 100)),) if body else ()
        samples = SAMPLES if head in PACKED.values() else int(head == _SAMPLE)
        if samples and len(body) != 6 * samples:
            raise PacketError(f"acceleration of {len(body)} bytes, must be {6 * samples}")
        return (Packet("acc", np.frombuffer(body, "<i2").reshape(samples, 3).T),) if samples else ()

    def encode(self, item: Packet | Status) -> tuple[str, bytes]:
        """The payload for one sample, or for three; for a Status, its battery."""
        if isinstance(item, Status):
            return NOTIFICATION, BATTERY + bytes((item.battery_percent or 0,)) + b"\x34\x10"
        head = PACKED[self._accelerometer] if item.counts.shape[1] == SAMPLES else _SAMPLE
        return NOTIFICATION, head + item.counts.T.astype("<i2").tobytes()
