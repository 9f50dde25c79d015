"""An emulated Thingy:52: settings, one sample a notification.

Its quirks: it sends as soon as it is subscribed to, which here it is told by the settings that follow; a rate out
of 5 to 200 Hz is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar

from firmware_interface.codecs import BATTERY, uuid
from firmware_interface.codecs.thingy52 import (
    ADVERTISED,
    RATE_HZ,
    RAW,
    SCALE_G,
    SERVICE,
    SETTINGS,
    Thingy52,
    asked_hz,
)
from firmware_interface.emulated.device import AttError, EmulatedDevice, Imperfection, Service, require_rate
from firmware_interface.emulated.wearable import Body, Channel
from firmware_interface.samples import Packet, Status

_OUT_OF_RANGE = 0xFF


class EmulatedThingy52(EmulatedDevice):
    """One Thingy.

    Args:
        body: what it is worn on.
        flaws: how it falls short.
        seed: of delays and losses.
        start_ns: host time at which it is switched on.
    """

    SERVICES: ClassVar[Sequence[Service]] = (
        Service(ADVERTISED, {}, advertised=True),
        Service(SERVICE, {SETTINGS: "read write", RAW: "notify"}),
        Service(uuid(0x180F), {BATTERY: "read notify"}),
    )

    def __init__(self, body: Body, flaws: Imperfection, seed: int, start_ns: int = 0) -> None:
        true_hz = flaws.true_hz(RATE_HZ)
        require_rate(body.settings.acc_rate_hz, true_hz)
        acc = Channel("acc", 3, true_hz, SCALE_G, body.acc_g, start_ns, longest=1)
        super().__init__("Thingy", Thingy52("Thingy"), (acc,), flaws, seed, start_ns)

    def read(self, characteristic: str) -> bytes:  # noqa: ARG002 - nothing else is asked for
        """Its battery."""
        return b"\x58"

    def write(self, characteristic: str, data: bytes) -> None:  # noqa: ARG002 - there is but one
        """Settings."""
        if not 5 <= asked_hz(data) <= 200:
            raise AttError(_OUT_OF_RANGE)
        if asked_hz(data) == round(RATE_HZ):  # no body is sampled otherwise
            self._begin("acc")
            self._reply(*self.codec.encode(Status(battery_percent=88)))

    def _wire(self, packet: Packet) -> Iterable[tuple[str, bytes]]:
        return (self.codec.encode(packet),)
