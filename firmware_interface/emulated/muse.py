"""An emulated Muse: commands, four electrodes that are lost each on its own, acceleration, telemetry.

Its quirks: it answers each command in words, and sends nothing before a preset was chosen.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from functools import partial
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from firmware_interface.codecs.muse import (
    ACC,
    ACC_RATE_HZ,
    ACC_SAMPLES,
    ACC_SCALE_G,
    CONTROL,
    ELECTRODES,
    EMG_SAMPLES,
    HALT,
    PRESET,
    RATE_HZ,
    RESUME,
    SCALE_UV,
    SERVICE,
    TELEMETRY,
    Muse,
)
from firmware_interface.emulated.device import EmulatedDevice, Imperfection, Service, require_rate
from firmware_interface.emulated.wearable import Body, Channel, Draw
from firmware_interface.samples import Packet, Status


class EmulatedMuse(EmulatedDevice):
    """One headband.

    Args:
        body: what it is worn on; one channel of muscle for each electrode, or one for all.
        flaws: how it falls short.
        seed: of delays and losses.
        start_ns: host time at which it is switched on.
    """

    SERVICES: ClassVar[Sequence[Service]] = (
        Service(
            SERVICE,
            {CONTROL: "write-without-response notify"} | dict.fromkeys((*ELECTRODES, ACC, TELEMETRY), "notify"),
            advertised=True,
        ),
    )

    def __init__(self, body: Body, flaws: Imperfection, seed: int, start_ns: int = 0) -> None:
        true_hz, acc_hz = flaws.true_hz(RATE_HZ), flaws.true_hz(ACC_RATE_HZ)
        require_rate(body.settings.rate_hz, true_hz)
        require_rate(body.settings.acc_rate_hz, acc_hz)
        draws = zip(ELECTRODES.values(), _apart(body, len(ELECTRODES)), strict=True)
        channels = [
            Channel(name, 1, true_hz, SCALE_UV, draw, start_ns, longest=EMG_SAMPLES, bits=12)
            for name, draw in draws
        ]
        channels.append(Channel("acc", 3, acc_hz, ACC_SCALE_G, body.acc_g, start_ns, longest=ACC_SAMPLES))
        super().__init__("Muse-5A5A", Muse("Muse-5A5A"), channels, flaws, seed, start_ns)
        self._preset = False

    def read(self, characteristic: str) -> bytes:  # noqa: ARG002 - nothing can be read
        """Nothing."""
        return b""

    def write(self, characteristic: str, data: bytes) -> None:  # noqa: ARG002 - there is but one
        """A command."""
        if data == PRESET.data:
            self._preset = True
        elif data == HALT.data:
            self.stop()
        elif data == RESUME.data and self._preset:
            for name in self._channels:
                self._begin(name)
            self._reply(*self.codec.encode(Status(battery_percent=91)))
        self._reply(CONTROL, b'{"rc":0}')

    def _wire(self, packet: Packet) -> Iterable[tuple[str, bytes]]:
        return (self.codec.encode(packet),)


def _apart(body: Body, number: int) -> list[Draw]:
    """One source for each electrode; the body is asked once for all of them."""
    waiting: list[deque[NDArray[np.float64]]] = [deque() for _ in range(number)]

    def draw(electrode: int, samples: int) -> NDArray[np.float64]:
        if not waiting[electrode]:
            rows = body.emg_uv(samples)
            for each, queue in enumerate(waiting):
                queue.append(rows[[each % len(rows)]])
        return waiting[electrode].popleft()

    return [partial(draw, electrode) for electrode in range(number)]
