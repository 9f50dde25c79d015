"""What emulated devices of all families share: they sample a body, pack, and lose some of it on the way.

    body ─► Channel ─ Packet ─► the family's wire ─ delay, loss ─► Notification

Rules, as of `wearable.py`:

* Pure: no clock, no asyncio. Time is the host's, in ns, and comes in with `advance`; a write or a read takes
  effect at the time that `advance` has come to.
* The same seed, body and writes give the same notifications, however `advance` is called.
* It samples from the moment it is switched on, and sends when told to. It counts truthfully.
* A family says how it speaks (`write`, `read`, `_wire`) and nothing else.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from firmware_interface.codecs import Codec
from firmware_interface.emulated.wearable import Channel, Path
from firmware_interface.samples import Notification, Packet

_SECOND_NS = 1_000_000_000


class AttError(Exception):
    """The device refuses a read or a write, with this error of the attribute protocol."""

    def __init__(self, code: int) -> None:
        super().__init__(f"ATT error 0x{code:02X}")
        self.code = code


@dataclass(frozen=True, slots=True)
class Imperfection:
    """How a device and its radio fall short. By default as good as they come."""

    true_rate_ratio: float = 1.0
    """True sampling rates over nominal ones."""
    clock_skew_ppm: float = 0.0
    """How fast the device's clock runs; sensors sample by an oscillator of their own."""
    jitter_s: float = 0.030
    loss: float = 0.0
    loss_burst: float = 4.0
    overtaken: float = 0.0

    def true_hz(self, nominal_hz: float) -> float:
        """The rate at which a body has to be sampled."""
        return nominal_hz * self.true_rate_ratio


@dataclass(frozen=True, slots=True)
class Service:
    """What a device offers: characteristic -> its properties, of "read", "write" or "write-without-response",
    "notify", "indicate"."""

    uuid: str
    characteristics: dict[str, str]
    advertised: bool = False


class EmulatedDevice(ABC):
    """One device of a family.

    Args:
        name: as it advertises.
        codec: what encodes for it.
        channels: its converters, one a stream.
        flaws: how it falls short.
        seed: of delays and losses.
        start_ns: host time at which it is switched on.
    """

    SERVICES: ClassVar[Sequence[Service]]

    def __init__(
        self, name: str, codec: Codec, channels: Iterable[Channel], flaws: Imperfection, seed: int, start_ns: int
    ) -> None:
        self.name = name
        self.codec = codec
        self._channels = {channel.name: channel for channel in channels}
        self._flaws = flaws
        self._path = Path(flaws, seed)
        self._on_ns = self._now_ns = start_ns
        self._active: set[str] = set()
        self.sent = dict.fromkeys(self._channels, 0)
        """Samples in packets, lost ones included."""

    def advance(self, until_ns: int) -> list[Notification]:
        """What arrives up to `until_ns`, since the last call."""
        while (channel := self._next_due()) and channel.due_ns <= until_ns:
            self._send(channel)
        for name, each in self._channels.items():
            if name not in self._active:
                each.skip(until_ns)
        self._now_ns = until_ns
        return self._path.arrived(until_ns)

    def stop(self) -> None:
        """Send no more; go on sampling. The end of a link does this too."""
        self._active.clear()

    def time_ns(self, stream: str, index: int) -> int:
        """The true host time at which a sample was taken, counted since it was switched on."""
        return self._channels[stream].time_ns(index)

    def device_ns(self, at_ns: int) -> int:
        """What the device's clock shows at a host time."""
        return round((at_ns - self._on_ns) * (1 + self._flaws.clock_skew_ppm * 1e-6))

    @abstractmethod
    def read(self, characteristic: str) -> bytes:
        """Raises AttError."""

    @abstractmethod
    def write(self, characteristic: str, data: bytes) -> None:
        """Raises AttError."""

    @abstractmethod
    def _wire(self, packet: Packet) -> Iterable[tuple[str, bytes]]:
        """Each is lost on its own. `device_ns` is of the first sample, in the device's whole microseconds."""

    def _begin(self, stream: str, *, delta: bool = False) -> None:
        """Send the samples that are taken from now on."""
        self._active.add(stream)
        self._channels[stream].start(self._now_ns, delta=delta)

    def _reply(self, characteristic: str, data: bytes) -> None:
        """As all that leaves the device, it waits for the next connection event; it is not lost."""
        self._path.send(characteristic, data, self._now_ns)

    def _next_due(self) -> Channel | None:
        return min((self._channels[name] for name in sorted(self._active)), key=lambda c: c.due_ns, default=None)

    def _send(self, channel: Channel) -> None:
        due_ns = channel.due_ns
        packet = channel.take(lambda at_ns: self.device_ns(at_ns) // 1000)
        self.sent[channel.name] += packet.counts.shape[1]
        for characteristic, payload in self._wire(packet):
            if not self._path.loses():
                self._path.send(characteristic, payload, due_ns)


def require_rate(sampled_hz: float, needed_hz: float) -> None:
    """Raises ValueError where a body is not sampled as the device truly samples."""
    if not np.isclose(sampled_hz, needed_hz, rtol=1e-9, atol=0):
        raise ValueError(f"a body sampled at {sampled_hz} Hz on a device that samples at {needed_hz} Hz")
