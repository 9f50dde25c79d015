"""An emulated BITalino: rate, start and stop, thirty frames a notification, or as they come, cut anywhere."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar

from firmware_interface.codecs.bitalino import (
    CHANNELS,
    COMMAND,
    FRAMES,
    RATE,
    RATE_HZ,
    SCALE_UV,
    SERVICE,
    START,
    STOP,
    BITalino,
)
from firmware_interface.emulated.device import EmulatedDevice, Imperfection, Service, require_rate
from firmware_interface.emulated.wearable import Body, Channel
from firmware_interface.samples import Packet

_SAMPLES = 30


class EmulatedBITalino(EmulatedDevice):
    """One board.

    Args:
        body: what it is worn on; four channels of muscle.
        flaws: how it falls short.
        seed: of delays and losses.
        start_ns: host time at which it is switched on.
        cutting: whether a notification ends wherever it is full, at 200 bytes.
    """

    SERVICES: ClassVar[Sequence[Service]] = (
        Service(SERVICE, {FRAMES: "notify", COMMAND: "write-without-response"}, advertised=True),
    )

    def __init__(
        self, body: Body, flaws: Imperfection, seed: int, start_ns: int = 0, *, cutting: bool = False
    ) -> None:
        true_hz = flaws.true_hz(RATE_HZ)
        require_rate(body.settings.rate_hz, true_hz)
        emg = Channel("emg", CHANNELS, true_hz, SCALE_UV, body.emg_uv, start_ns, longest=_SAMPLES, bits=10)
        super().__init__("BITalino-5A-5A", BITalino(""), (emg,), flaws, seed, start_ns)
        self._rate_set = False
        self._full = 200 if cutting else 0
        self._waiting = b""

    def read(self, characteristic: str) -> bytes:  # noqa: ARG002 - nothing can be read
        """Nothing."""
        return b""

    def write(self, characteristic: str, data: bytes) -> None:  # noqa: ARG002 - there is but one
        """A command; without a rate it stays idle."""
        if data == RATE:
            self._rate_set = True
        elif data == START and self._rate_set:
            self._begin("emg")
        elif data == STOP:
            self.stop()

    def _wire(self, packet: Packet) -> Iterable[tuple[str, bytes]]:
        _, payload = self.codec.encode(packet)
        if not self._full:
            return ((FRAMES, payload),)
        self._waiting += payload
        whole = len(self._waiting) // self._full * self._full
        ready, self._waiting = self._waiting[:whole], self._waiting[whole:]
        return [(FRAMES, ready[at : at + self._full]) for at in range(0, whole, self._full)]
