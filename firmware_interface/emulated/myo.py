"""An emulated Myo: commands, EMG from four characteristics in turn, acceleration.

Its quirks: half a minute after it was told to send it falls asleep and is silent, unless it was told never to.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar

from firmware_interface.codecs import BATTERY, uuid
from firmware_interface.codecs.myo import (
    ACC_RATE_HZ,
    ACC_SCALE_G,
    COMMAND,
    EMG,
    EMG_SERVICE,
    FIRMWARE,
    IMU,
    IMU_SERVICE,
    INFO,
    MAY_SLEEP,
    NEVER_SLEEP,
    RATE_HZ,
    SERVICE,
    SILENCE,
    STREAM,
    Myo,
)
from firmware_interface.emulated.device import EmulatedDevice, Imperfection, Service, require_rate
from firmware_interface.emulated.wearable import Body, Channel
from firmware_interface.samples import Notification, Packet

SCALE_UV = 32.0
"""µV a count; a real one's is not known."""
_AWAKE_NS = 30_000_000_000


class EmulatedMyo(EmulatedDevice):
    """One armband.

    Args:
        body: what it is worn on; eight channels of muscle.
        flaws: how it falls short.
        seed: of delays and losses.
        start_ns: host time at which it is switched on.
    """

    SERVICES: ClassVar[Sequence[Service]] = (
        Service(SERVICE, {INFO: "read", FIRMWARE: "read", COMMAND: "write"}, advertised=True),
        Service(IMU_SERVICE, {IMU: "notify"}),
        Service(EMG_SERVICE, dict.fromkeys(EMG, "notify")),
        Service(uuid(0x180F), {BATTERY: "read notify"}),
    )

    def __init__(self, body: Body, flaws: Imperfection, seed: int, start_ns: int = 0) -> None:
        true_hz, acc_hz = flaws.true_hz(RATE_HZ), flaws.true_hz(ACC_RATE_HZ)
        require_rate(body.settings.rate_hz, true_hz)
        require_rate(body.settings.acc_rate_hz, acc_hz)
        emg = Channel("emg", 8, true_hz, SCALE_UV, body.emg_uv, start_ns, longest=2, bits=8)
        acc = Channel("acc", 3, acc_hz, ACC_SCALE_G, body.acc_g, start_ns, longest=1)
        super().__init__("My Myo", Myo("My Myo", "", ""), (emg, acc), flaws, seed, start_ns)
        self._may_sleep = True
        self._asleep_ns = 0

    def advance(self, until_ns: int) -> list[Notification]:
        """It may fall asleep meanwhile."""
        if self._may_sleep and self._active and until_ns > self._asleep_ns:
            self.stop()
        return super().advance(until_ns)

    def read(self, characteristic: str) -> bytes:
        """What it is."""
        info = bytes.fromhex("5a5a5a5a5ac4 0500 00 00 01 00 00").ljust(20, b"\0")
        return {INFO: info, FIRMWARE: bytes.fromhex("01000500b2070200")}.get(characteristic, b"\x40")

    def write(self, characteristic: str, data: bytes) -> None:  # noqa: ARG002 - there is but one
        """A command; those that it does not know do nothing."""
        if data == STREAM:
            self._asleep_ns = self._now_ns + _AWAKE_NS
            self._begin("emg")
            self._begin("acc")
        elif data == SILENCE:
            self.stop()
        elif data in (NEVER_SLEEP, MAY_SLEEP):
            self._may_sleep = data == MAY_SLEEP

    def _wire(self, packet: Packet) -> Iterable[tuple[str, bytes]]:
        return (self.codec.encode(packet),)
