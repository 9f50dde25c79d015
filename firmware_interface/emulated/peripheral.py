"""Emulated wearables on the virtual radio, in real time: what `fasciwatch demo` and the tests listen to.

Rules:

* `WornWearable` behaves as a board with the open profile would: Info, Control, Data, Status and Time; silent until
  START. `WornDevice` is a device of any other family, which says itself how it behaves.
* The end of a link ends the sending, not the sampling: indices run on.
* What can befall a device can be done to these, by their methods.
"""

from __future__ import annotations

import asyncio
import struct
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from types import TracebackType
from typing import Self

from firmware_interface.codecs import open_profile
from firmware_interface.codecs.open_profile import Opcode
from firmware_interface.emulated.device import AttError, EmulatedDevice
from firmware_interface.emulated.wearable import Wearable
from firmware_interface.errors import PacketError
from firmware_interface.samples import Notification
from firmware_interface.virtual_radio import Characteristic, Peripheral, RefusedError, Service, VirtualRadio

_TICK_S = 0.01
"""Less than a connection interval."""
_INVALID_LENGTH = 0x0D
"""ATT error."""
_GARBAGE = b"\xff" * 20
"""No version of the open profile begins like this."""


class _Worn(ABC):
    """Something within reach of a virtual radio, while the context is open."""

    def __init__(self, radio: VirtualRadio, name: str, address: str) -> None:
        self._radio = radio
        self._name = name
        self.address = address
        self._stalled = False

    async def __aenter__(self) -> Self:
        self._peripheral = await self._radio.add_peripheral(self._name, self.address, self._services())
        self._task = asyncio.create_task(self._run(), name=f"emulated wearable {self._name}")
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

    def stall(self) -> None:
        """The firmware hangs: the link stands and nothing is sent, until it is started again."""
        self._stalled = True

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(_TICK_S)
            if not self._peripheral.connected:
                self._stop()
                self._stalled = False
            for each in self._due(time.monotonic_ns()):
                if not self._stalled:
                    await self._peripheral.notify(each.characteristic, each.data)

    @abstractmethod
    def _services(self) -> Sequence[Service]: ...

    @abstractmethod
    def _due(self, now_ns: int) -> Sequence[Notification]: ...

    @abstractmethod
    def _stop(self) -> None: ...


class WornDevice(_Worn):
    """An emulated device of any family.

    Args:
        radio: the air it shares.
        device: made at the present `time.monotonic_ns()`.
        address: its Bluetooth address.
    """

    def __init__(self, radio: VirtualRadio, device: EmulatedDevice, address: str) -> None:
        super().__init__(radio, device.name, address)
        self._device = device

    def _services(self) -> Sequence[Service]:
        return services(self._device)

    def _due(self, now_ns: int) -> Sequence[Notification]:
        return self._device.advance(now_ns)

    def _stop(self) -> None:
        self._device.stop()


class WornWearable(_Worn):
    """A board with the open profile.

    Args:
        radio: the air it shares.
        wearable: made at the present `time.monotonic_ns()`.
        address: its Bluetooth address.
    """

    def __init__(self, radio: VirtualRadio, wearable: Wearable, address: str) -> None:
        super().__init__(radio, wearable.device.name, address)
        self._wearable = wearable
        self._replies: deque[Notification] = deque()
        self._tick_us = 0

    async def power_cycle(self) -> None:
        """The battery was changed: the link is gone, and every count begins at zero."""
        self._wearable.power_cycle()
        await self._peripheral.disconnect()

    async def send_garbage(self) -> None:
        """A Data payload that nobody can read."""
        await self._peripheral.notify(open_profile.DATA, _GARBAGE)

    def _due(self, now_ns: int) -> Sequence[Notification]:
        replies = tuple(self._replies)
        self._replies.clear()
        return [*replies, *self._wearable.advance(now_ns)]

    def _stop(self) -> None:
        self._wearable.stop()

    def _services(self) -> Sequence[Service]:
        characteristics = (
            Characteristic(open_profile.INFO, read=lambda: self._wearable.info),
            Characteristic(open_profile.CONTROL, write=self._on_control, indicate=True),
            Characteristic(open_profile.DATA, notify=True),
            Characteristic(open_profile.STATUS, notify=True),
            Characteristic(open_profile.TIME, read=self._read_time, write=self._on_time),
        )
        return (Service(open_profile.SERVICE, characteristics),)

    def _on_control(self, request: bytes) -> None:
        try:
            self._replies.append(Notification(open_profile.CONTROL, self._wearable.handle(request), 0))
        except PacketError as error:
            raise RefusedError(_INVALID_LENGTH) from error
        if request[0] == Opcode.START:
            self._stalled = False

    def _on_time(self, _: bytes) -> None:
        """Whatever the host writes, the clock at that moment can be read back."""
        self._tick_us = self._wearable.device_us(time.monotonic_ns())

    def _read_time(self) -> bytes:
        return struct.pack("<I", self._tick_us % (1 << 32))


def services(device: EmulatedDevice) -> list[Service]:
    """What the device offers, answered by it."""
    return [
        Service(
            each.uuid, tuple(_characteristic(device, *c) for c in each.characteristics.items()), each.advertised
        )
        for each in device.SERVICES
    ]


def _characteristic(device: EmulatedDevice, uuid: str, properties: str) -> Characteristic:
    @contextmanager
    def refusing() -> Iterator[None]:
        try:
            yield
        except AttError as error:
            raise RefusedError(error.code) from error

    return Characteristic(
        uuid,
        read=refusing()(partial(device.read, uuid)) if "read" in properties else None,
        write=refusing()(partial(device.write, uuid)) if "write" in properties else None,
        notify="notify" in properties,
        indicate="indicate" in properties,
        unanswered="write-without-response" in properties,
    )
