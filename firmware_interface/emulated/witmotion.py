"""An emulated WitMotion sensor: registers, and frames from when it is switched on.

Its quirks: it is slow until it is told otherwise, and obeys only what follows an unlocking. At its slow rate it
sends frames, too, which this one leaves out: nobody listens then.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar

from firmware_interface.codecs.witmotion import (
    COMMAND,
    FAST,
    NOTIFICATION,
    RATE_HZ,
    SCALE_G,
    SERVICE,
    SLOW,
    UNLOCK,
    WitMotion,
)
from firmware_interface.emulated.device import EmulatedDevice, Imperfection, Service, require_rate
from firmware_interface.emulated.wearable import Body, Channel
from firmware_interface.samples import Packet


class EmulatedWitMotion(EmulatedDevice):
    """One sensor.

    Args:
        body: what it is worn on.
        flaws: how it falls short.
        seed: of delays and losses.
        start_ns: host time at which it is switched on.
        samples: frames in a notification.
    """

    SERVICES: ClassVar[Sequence[Service]] = (
        Service(SERVICE, {NOTIFICATION: "notify", COMMAND: "write-without-response"}, advertised=True),
    )

    def __init__(self, body: Body, flaws: Imperfection, seed: int, start_ns: int = 0, *, samples: int = 1) -> None:
        true_hz = flaws.true_hz(RATE_HZ)
        require_rate(body.settings.acc_rate_hz, true_hz)
        acc = Channel("acc", 3, true_hz, SCALE_G, body.acc_g, start_ns, longest=samples)
        super().__init__("WT901BLE67", WitMotion("WT901BLE67"), (acc,), flaws, seed, start_ns)
        self._unlocked = False

    def read(self, characteristic: str) -> bytes:  # noqa: ARG002 - nothing can be read
        """Nothing."""
        return b""

    def write(self, characteristic: str, data: bytes) -> None:  # noqa: ARG002 - there is but one
        """A register."""
        if self._unlocked and data == FAST:
            self._begin("acc")
        elif self._unlocked and data == SLOW:
            self.stop()
        self._unlocked = data == UNLOCK

    def _wire(self, packet: Packet) -> Iterable[tuple[str, bytes]]:
        return (self.codec.encode(packet),)
