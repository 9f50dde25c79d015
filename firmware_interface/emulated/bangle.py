"""An emulated Bangle.js 2: a console that is typed to, and the script's packets once it has it all.

Its quirks: it types back what it does not understand, in between frames; a notification holds at most 61 bytes, so
that each frame comes in two.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar

from firmware_interface.codecs.bangle import RATE_HZ, RECEIVE, SAMPLES, SCALE_G, SEND, SERVICE, START, STOP, Bangle
from firmware_interface.emulated.device import EmulatedDevice, Imperfection, Service, require_rate
from firmware_interface.emulated.wearable import Body, Channel
from firmware_interface.samples import Packet

_PAYLOAD = 61


class EmulatedBangle(EmulatedDevice):
    """One watch.

    Args:
        body: what it is worn on.
        flaws: how it falls short.
        seed: of delays and losses.
        start_ns: host time at which it is switched on.
    """

    SERVICES: ClassVar[Sequence[Service]] = (
        Service(SERVICE, {RECEIVE: "write-without-response", SEND: "notify"}, advertised=True),
    )

    def __init__(self, body: Body, flaws: Imperfection, seed: int, start_ns: int = 0) -> None:
        true_hz = flaws.true_hz(RATE_HZ)
        require_rate(body.settings.acc_rate_hz, true_hz)
        acc = Channel("acc", 3, true_hz, SCALE_G, body.acc_g, start_ns, longest=SAMPLES)
        super().__init__("Bangle.js 5a5a", Bangle("Bangle.js 5a5a"), (acc,), flaws, seed, start_ns)
        self._typed = b""

    def read(self, characteristic: str) -> bytes:  # noqa: ARG002 - nothing can be read
        """Nothing."""
        return b""

    def write(self, characteristic: str, data: bytes) -> None:  # noqa: ARG002 - there is but one
        """A piece of a line."""
        self._typed += data
        while b"\n" in self._typed:
            line, _, self._typed = self._typed.partition(b"\n")
            if line + b"\n" == START:
                self._begin("acc")
            elif line + b"\n" == STOP:
                self.stop()
            self._reply(SEND, b"=undefined\r\n>")

    def _wire(self, packet: Packet) -> Iterable[tuple[str, bytes]]:
        _, frame = self.codec.encode(packet)
        return ((SEND, frame[:_PAYLOAD]), (SEND, frame[_PAYLOAD:]))
