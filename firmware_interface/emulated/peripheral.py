"""An emulated wearable on the virtual radio, in real time: what `fasciwatch demo` and the tests listen to.

Rules:

* It behaves as a board with the open profile would: Info, Control, Data, Status and Time; silent until START.
* The end of a link ends the sending, not the sampling: indices run on.
* What can befall a board can be done to this one, by the methods of `WornWearable`.
"""

from __future__ import annotations

import asyncio
import struct
import time
from collections import deque
from types import TracebackType
from typing import Self

from firmware_interface.codecs import open_profile
from firmware_interface.codecs.open_profile import Opcode
from firmware_interface.emulated.wearable import Wearable
from firmware_interface.errors import PacketError
from firmware_interface.virtual_radio import Characteristic, Peripheral, RefusedError, Service, VirtualRadio

_TICK_S = 0.01
"""Less than a connection interval."""
_INVALID_LENGTH = 0x0D
"""ATT error."""
_GARBAGE = b"\xff" * 20
"""No version of the open profile begins like this."""


class WornWearable:
    """A wearable within reach of a virtual radio, while the context is open.

    Args:
        radio: the air it shares.
        wearable: made at the present `time.monotonic_ns()`.
        address: its Bluetooth address.
    """

    def __init__(self, radio: VirtualRadio, wearable: Wearable, address: str) -> None:
        self._radio = radio
        self._wearable = wearable
        self.address = address
        self._replies: deque[bytes] = deque()
        self._stalled = False
        self._tick_us = 0

    async def __aenter__(self) -> Self:
        name = self._wearable.device.name
        self._peripheral = await self._radio.add_peripheral(name, self.address, [self._service()])
        self._task = asyncio.create_task(self._run(), name=f"emulated wearable {name}")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._task.cancel()
        await asyncio.wait((self._task,))
        await self._peripheral.vanish()
        if not self._task.cancelled():
            self._task.result()

    @property
    def peripheral(self) -> Peripheral:
        """Its radio: to disconnect, refuse, vanish and appear."""
        return self._peripheral

    async def vanish(self, seconds: float) -> None:
        """Out of reach, then back."""
        await self._peripheral.vanish()
        await asyncio.sleep(seconds)
        await self._peripheral.appear()

    async def power_cycle(self) -> None:
        """The battery was changed: the link is gone, and every count begins at zero."""
        self._wearable.power_cycle()
        await self._peripheral.disconnect()

    def stall(self) -> None:
        """The firmware hangs: the link stands and nothing is sent, until the next START."""
        self._stalled = True

    async def send_garbage(self) -> None:
        """A Data payload that nobody can read."""
        await self._peripheral.notify(open_profile.DATA, _GARBAGE)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(_TICK_S)
            if not self._peripheral.connected:
                self._wearable.stop()
            await self._send(time.monotonic_ns())

    async def _send(self, now_ns: int) -> None:
        replies = [(open_profile.CONTROL, reply) for reply in self._replies]
        self._replies.clear()
        arrived = [(each.characteristic, each.data) for each in self._wearable.advance(now_ns)]
        for characteristic, payload in () if self._stalled else (*replies, *arrived):
            await self._peripheral.notify(characteristic, payload)

    def _service(self) -> Service:
        characteristics = (
            Characteristic(open_profile.INFO, read=lambda: self._wearable.info),
            Characteristic(open_profile.CONTROL, write=self._on_control, indicate=True),
            Characteristic(open_profile.DATA, notify=True),
            Characteristic(open_profile.STATUS, notify=True),
            Characteristic(open_profile.TIME, read=self._read_time, write=self._on_time),
        )
        return Service(open_profile.SERVICE, characteristics)

    def _on_control(self, request: bytes) -> None:
        try:
            self._replies.append(self._wearable.handle(request))
        except PacketError as error:
            raise RefusedError(_INVALID_LENGTH) from error
        if request[0] == Opcode.START:
            self._stalled = False

    def _on_time(self, _: bytes) -> None:
        """Whatever the host writes, the clock at that moment can be read back."""
        self._tick_us = self._wearable.device_us(time.monotonic_ns())

    def _read_time(self) -> bytes:
        return struct.pack("<I", self._tick_us % (1 << 32))
