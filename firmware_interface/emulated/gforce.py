"""An emulated gForce: settings and their answers, EMG in packets of 128 bytes, in parts on a narrow link.

Its quirks: what it does not offer is refused with a status; a link of 23 bytes cuts each packet in seven.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar

import numpy as np

from firmware_interface.codecs.gforce import (
    CHANNELS,
    COARSE,
    COMMAND,
    FINE,
    NOTIFICATION,
    OFF,
    ON,
    RATE_HZ,
    SERVICE,
    GForce,
    in_parts,
)
from firmware_interface.emulated.device import EmulatedDevice, Imperfection, Service, require_rate
from firmware_interface.emulated.wearable import Body, Channel
from firmware_interface.samples import Packet

SCALE_UV = {True: 4.0, False: 64.0}
"""µV a count, with 12 bits and with 8; a real one's is not known."""
_SAMPLES = {True: 8, False: 16}
_NOT_SUPPORTED = 1


class EmulatedGForce(EmulatedDevice):
    """One armband.

    Args:
        body: what it is worn on; eight channels of muscle.
        flaws: how it falls short.
        seed: of delays and losses.
        start_ns: host time at which it is switched on.
        fine: whether it offers 12 bits.
        payload_max: bytes of a notification; what is longer leaves in parts.
    """

    SERVICES: ClassVar[Sequence[Service]] = (
        Service(SERVICE, {COMMAND: "write notify", NOTIFICATION: "notify"}, advertised=True),
    )

    def __init__(
        self,
        body: Body,
        flaws: Imperfection,
        seed: int,
        start_ns: int = 0,
        *,
        fine: bool = True,
        payload_max: int = 244,
    ) -> None:
        true_hz = flaws.true_hz(RATE_HZ)
        require_rate(body.settings.rate_hz, true_hz)
        bits, samples = (12, _SAMPLES[True]) if fine else (8, _SAMPLES[False])
        emg = Channel("emg", CHANNELS, true_hz, SCALE_UV[fine], body.emg_uv, start_ns, longest=samples, bits=bits)
        super().__init__("gForcePro+ 5A5A", GForce("", fine=fine), (emg,), flaws, seed, start_ns)
        self._middle = 1 << (bits - 1)
        self._fine, self._payload_max = fine, payload_max

    def read(self, characteristic: str) -> bytes:  # noqa: ARG002 - nothing can be read
        """Nothing."""
        return b""

    def write(self, characteristic: str, data: bytes) -> None:  # noqa: ARG002 - there is but one
        """A command, which is answered."""
        known = data in (COARSE, ON, OFF) or (data == FINE and self._fine)
        if data == ON:
            self._begin("emg")
        elif data == OFF:
            self.stop()
        self._reply(COMMAND, bytes((0 if known else _NOT_SUPPORTED,)) + data[:1])

    def _wire(self, packet: Packet) -> Iterable[tuple[str, bytes]]:
        centred = Packet("emg", packet.counts.astype(np.int32) + self._middle)
        _, payload = self.codec.encode(centred)
        return [(NOTIFICATION, part) for part in in_parts(payload, self._payload_max)]
