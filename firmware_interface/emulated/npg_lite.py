"""An emulated NPG Lite: ten samples a notification, of three or six channels, from START on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar

from firmware_interface.codecs.npg_lite import BATTERY, CONTROL, DATA, RATE_HZ, SERVICE, START, NpgLite
from firmware_interface.emulated.device import EmulatedDevice, Imperfection, Service, require_rate
from firmware_interface.emulated.wearable import Body, Channel
from firmware_interface.samples import Packet

SCALE_UV = 2.0
"""µV a count; a real one's is not known."""
_SAMPLES = 10


class EmulatedNpgLite(EmulatedDevice):
    """One board.

    Args:
        body: what it is worn on; three or six channels of muscle.
        flaws: how it falls short.
        seed: of delays and losses.
        start_ns: host time at which it is switched on.
    """

    SERVICES: ClassVar[Sequence[Service]] = (
        Service(SERVICE, {DATA: "notify", CONTROL: "write", BATTERY: "notify"}, advertised=True),
    )

    def __init__(self, body: Body, flaws: Imperfection, seed: int, start_ns: int = 0) -> None:
        width, true_hz = len(body.settings.channels), flaws.true_hz(RATE_HZ)
        require_rate(body.settings.rate_hz, true_hz)
        emg = Channel("emg", width, true_hz, SCALE_UV, body.emg_uv, start_ns, longest=_SAMPLES)
        name = f"NPG-{width}CH-5A5A"
        super().__init__(name, NpgLite(name), (emg,), flaws, seed, start_ns)

    def read(self, characteristic: str) -> bytes:  # noqa: ARG002 - nothing can be read
        """Nothing."""
        return b""

    def write(self, characteristic: str, data: bytes) -> None:  # noqa: ARG002 - there is but one
        """What it does not know does nothing."""
        if data == START:
            self._begin("emg")
            self._reply(BATTERY, b"\x4b")

    def _wire(self, packet: Packet) -> Iterable[tuple[str, bytes]]:
        return (self.codec.encode(packet),)
