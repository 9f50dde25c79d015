"""An emulated uMyo: EMG packets and, between them, those of the inertial sensor; of either generation.

It sends whenever it is switched on; without a link nobody hears it, and its count runs on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

from firmware_interface.codecs.umyo import NAME, RATE_HZ, SERVICE, TELEMETRY, UMyo
from firmware_interface.emulated.device import EmulatedDevice, Imperfection, Service, require_rate
from firmware_interface.emulated.wearable import Body, Channel
from firmware_interface.samples import Packet

_SAMPLES = 24
_SCALE_UV = 0.5
"""µV a count; a real one's is not known."""
_INERTIAL_EVERY = 2
"""EMG packets, of 21 ms; at least 40 ms lie between packets of the inertial sensor."""
_INERTIAL = bytes(26)


class EmulatedUMyo(EmulatedDevice):
    """One uMyo.

    Args:
        body: what it is worn on; its first channel of muscle.
        flaws: how it falls short.
        seed: of delays and losses.
        start_ns: host time at which it is switched on.
        format_byte: whether it is of the second generation.
    """

    SERVICES: ClassVar[Sequence[Service]] = (
        Service(SERVICE, {TELEMETRY: "read notify", NAME: "read notify"}, advertised=True),
    )

    def __init__(
        self, body: Body, flaws: Imperfection, seed: int, start_ns: int = 0, *, format_byte: bool = False
    ) -> None:
        true_hz = flaws.true_hz(RATE_HZ)
        require_rate(body.settings.rate_hz, true_hz)
        emg = Channel("emg", 1, true_hz, _SCALE_UV, lambda n: body.emg_uv(n)[:1], start_ns, longest=_SAMPLES)
        self._umyo = UMyo("uMyo")
        self._format_byte = format_byte
        super().__init__("uMyo", self._umyo, (emg,), flaws, seed, start_ns)
        self._begin("emg")

    def read(self, characteristic: str) -> bytes:
        """Its name; or telemetry, which is notified only."""
        return b"uMyo left calf" if characteristic == NAME else b""

    def write(self, characteristic: str, data: bytes) -> None:
        """Nothing can be written."""

    def stop(self) -> None:
        """It cannot be told to."""

    def _wire(self, packet: Packet) -> Iterator[tuple[str, bytes]]:
        yield self._umyo.encode(packet, format_byte=self._format_byte)
        if (packet.sequence or 0) % _INERTIAL_EVERY:
            yield TELEMETRY, (b"\3" if self._format_byte else b"") + _INERTIAL
