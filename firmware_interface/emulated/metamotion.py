"""An emulated MetaMotion: registers, battery, packed acceleration.

Its quirks: it sends nothing unless settings, subscription, enabling and start all came; the end of a link ends
none of these, so that it goes on emptying its battery unless it is told to stop.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar

from firmware_interface.codecs import FIRMWARE, SERIAL, uuid
from firmware_interface.codecs.metamotion import (
    BATTERY,
    COMMAND,
    DISABLE,
    ENABLE,
    NOTIFICATION,
    PACKED,
    RATE_HZ,
    SAMPLES,
    SCALE_G,
    SERVICE,
    SETTINGS,
    START,
    STOP,
    WHICH,
    MetaMotion,
)
from firmware_interface.emulated.device import EmulatedDevice, Imperfection, Service, require_rate
from firmware_interface.emulated.wearable import Body, Channel
from firmware_interface.samples import Packet, Status


class EmulatedMetaMotion(EmulatedDevice):
    """One sensor.

    Args:
        body: what it is worn on.
        flaws: how it falls short.
        seed: of delays and losses.
        start_ns: host time at which it is switched on.
        accelerometer: the number of its kind: 1 or 4.
    """

    SERVICES: ClassVar[Sequence[Service]] = (
        Service(SERVICE, {COMMAND: "write", NOTIFICATION: "notify"}, advertised=True),
        Service(uuid(0x180A), {SERIAL: "read", FIRMWARE: "read"}),
    )

    def __init__(
        self, body: Body, flaws: Imperfection, seed: int, start_ns: int = 0, *, accelerometer: int = 1
    ) -> None:
        true_hz = flaws.true_hz(RATE_HZ)
        require_rate(body.settings.acc_rate_hz, true_hz)
        acc = Channel("acc", 3, true_hz, SCALE_G, body.acc_g, start_ns, longest=SAMPLES)
        codec = MetaMotion("MetaWear", "", "", accelerometer)
        super().__init__("MetaWear", codec, (acc,), flaws, seed, start_ns)
        self._accelerometer = accelerometer
        self._wanted = {SETTINGS[accelerometer], PACKED[accelerometer] + b"\1", ENABLE}
        self._told: set[bytes] = set()

    def read(self, characteristic: str) -> bytes:
        """What any device tells."""
        return b"05A5A5" if characteristic == SERIAL else b"1.7.3"

    def write(self, characteristic: str, data: bytes) -> None:  # noqa: ARG002 - there is but one
        """A register; those that it does not know do nothing."""
        if data == WHICH:
            self._reply(NOTIFICATION, WHICH + bytes((self._accelerometer, 1)))
        elif data == BATTERY:
            self._reply(*self.codec.encode(Status(battery_percent=99)))
        elif data == START and self._told >= self._wanted:
            self._begin("acc")
        elif data == STOP:
            super().stop()
        elif data == DISABLE:
            self._told.clear()
        self._told.add(data)

    def stop(self) -> None:
        """The end of a link stops nothing."""

    def _wire(self, packet: Packet) -> Iterable[tuple[str, bytes]]:
        return (self.codec.encode(packet),)
