"""An emulated Ganglion: commands, impedance, square wave, and packets of firmware 2 or 3.

Its quirks: it answers some commands in text, in two packets; it sends one packet of nonsense after a start; where
asked to, it overwrites one sample in 201, as the source of firmware 3 reads.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

import numpy as np

from firmware_interface.codecs import SOFTWARE, ganglion
from firmware_interface.codecs.ganglion import (
    COMMAND,
    DISCONNECT,
    NOTIFICATION,
    RATE_HZ,
    SCALE_UV,
    SERVICE,
    Ganglion,
    write_impedance,
)
from firmware_interface.emulated.device import EmulatedDevice, Imperfection, Service, require_rate
from firmware_interface.emulated.wearable import Body, Channel
from firmware_interface.samples import Counts, Packet

_CYCLE = 201
_NONSENSE = b"\xff" + bytes(19)
_TEXTS = {
    ganglion.ACCELERATION_ON: (b"\xceaccelerometer enabl", b"\xcfed\n"),
    ganglion.ACCELERATION_OFF: (b"\xceaccelerometer disab", b"\xcfled\n"),
}


class EmulatedGanglion(EmulatedDevice):
    """One board.

    Args:
        body: what it is worn on; four channels of muscle.
        flaws: how it falls short.
        seed: of delays and losses.
        start_ns: host time at which it is switched on.
        firmware: its version.
        impedance_ohm: of its four channels and the reference.
        overwriting: whether the last sample of a cycle is overwritten; of firmware 3.
    """

    SERVICES: ClassVar[Sequence[Service]] = (
        Service(SERVICE, {NOTIFICATION: "notify", COMMAND: "write", DISCONNECT: "write"}, advertised=True),
        Service("0000180a-0000-1000-8000-00805f9b34fb", {SOFTWARE: "read"}),
    )

    def __init__(
        self,
        body: Body,
        flaws: Imperfection,
        seed: int,
        start_ns: int = 0,
        *,
        firmware: str = "3.0.2",
        impedance_ohm: Sequence[int] = (12_000, 48_000, 9_000, 2_400_000, 15_000),
        overwriting: bool = False,
    ) -> None:
        true_hz = flaws.true_hz(RATE_HZ)
        require_rate(body.settings.rate_hz, true_hz)
        emg = Channel("emg", 4, true_hz, SCALE_UV, body.emg_uv, start_ns, longest=1, bits=24)
        self._emg = emg
        self._ganglion = Ganglion("Ganglion-5a5a", firmware)
        super().__init__("Ganglion-5a5a", self._ganglion, (emg,), flaws, seed, start_ns)
        self._firmware = firmware
        self._impedance_ohm = impedance_ohm
        self._overwriting = overwriting
        self._bits = 19
        self._origin = 0
        self._held: Counts | None = None

    def read(self, characteristic: str) -> bytes:  # noqa: ARG002 - there is but one
        """The version of its firmware."""
        return self._firmware.encode()

    def write(self, characteristic: str, data: bytes) -> None:
        """A command of one letter; those that it does not know do nothing."""
        if characteristic == DISCONNECT:
            self.stop()
            return
        match data:
            case ganglion.START:
                self._start()
            case ganglion.STOP:
                self.stop()
            case ganglion.ACCELERATION_ON | ganglion.ACCELERATION_OFF:
                self._bits = 18 if data == ganglion.ACCELERATION_ON else 19
            case ganglion.SQUARE_ON | ganglion.SQUARE_OFF:
                self._emg.testing = data == ganglion.SQUARE_ON
            case ganglion.IMPEDANCE_ON:
                for channel, ohm in enumerate(self._impedance_ohm):
                    self._reply(NOTIFICATION, write_impedance(channel, ohm))
        for part in _TEXTS.get(data, ()):
            self._reply(NOTIFICATION, part)

    def _start(self) -> None:
        self._reply(NOTIFICATION, _NONSENSE)
        self._begin("emg")
        self._origin, self._held = self._emg.first, None

    def _wire(self, packet: Packet) -> Iterator[tuple[str, bytes]]:
        """The converter gives single samples; they leave in pairs, of firmware 2 after a whole one."""
        index = (packet.index or 0) - self._origin
        place = index % _CYCLE
        whole = self._firmware.startswith("2")
        if self._overwriting and place == _CYCLE - 1:
            return
        if self._overwriting:
            index -= index // _CYCLE
        if whole and not place:
            self._held = None
            yield self._ganglion.encode(Packet("emg", packet.counts, index=index))
        elif self._held is None:
            self._held = packet.counts
        else:
            pair = np.concatenate((self._held, packet.counts), axis=1)
            self._held = None
            yield self._ganglion.encode(Packet("emg", pair, index=index - 1), bits=self._bits)
