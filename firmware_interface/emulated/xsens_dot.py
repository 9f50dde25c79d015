"""An emulated DOT: start and stop of one mode, one sample a packet, a clock of 32 bits that wraps within the
hour."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import ClassVar

from firmware_interface.codecs.xsens_dot import ADVERTISED, CONTROL, RATE_HZ, SERVICE, SHORT, START, STOP, XsensDot
from firmware_interface.emulated.device import EmulatedDevice, Imperfection, Service, require_rate
from firmware_interface.emulated.wearable import Body, Channel
from firmware_interface.samples import Packet

_G = 9.80665
_SCALE_G = 1 / 2048
"""Of its converter, before it becomes m/s²."""
_CLOCK_NS = 4_290_000_000_000
"""What its clock shows when it is switched on: 5 s before it wraps."""


class EmulatedXsensDot(EmulatedDevice):
    """One sensor.

    Args:
        body: what it is worn on.
        flaws: how it falls short.
        seed: of delays and losses.
        start_ns: host time at which it is switched on.
    """

    SERVICES: ClassVar[Sequence[Service]] = (
        Service(ADVERTISED, {}, advertised=True),
        Service(SERVICE, {CONTROL: "write", SHORT: "notify"}),
    )

    def __init__(self, body: Body, flaws: Imperfection, seed: int, start_ns: int = 0) -> None:
        true_hz = flaws.true_hz(RATE_HZ)
        require_rate(body.settings.acc_rate_hz, true_hz)
        acc = Channel("acc", 3, true_hz, _SCALE_G, body.acc_g, start_ns, longest=1)
        super().__init__("Xsens DOT", XsensDot("Xsens DOT"), (acc,), flaws, seed, start_ns)

    def read(self, characteristic: str) -> bytes:  # noqa: ARG002 - nothing can be read
        """Nothing."""
        return b""

    def write(self, characteristic: str, data: bytes) -> None:  # noqa: ARG002 - there is but one
        """Start or stop; other modes do nothing."""
        if data == START:
            self._begin("acc")
        elif data == STOP:
            self.stop()

    def _wire(self, packet: Packet) -> Iterable[tuple[str, bytes]]:
        counts = packet.counts * (_SCALE_G * _G)
        return (self.codec.encode(replace(packet, counts=counts, device_ns=(packet.device_ns or 0) + _CLOCK_NS)),)
