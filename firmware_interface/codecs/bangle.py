"""Bangle.js 2: acceleration at 100 Hz, by a script that it is given over Nordic UART and runs.

Sources: Espruino, "Bangle.js Data Streaming" (how a script is sent); espruino/BangleApps, `accelrec/app.js`
(registers of the accelerometer for 100 Hz).

Rules of the wire:

* The script sends packets of the open profile (docs/open-profile.md), ten samples each, with its sample index and
  the watch's time: every loss is told.
* Nordic UART is a stream, and the watch's console writes to it too. So each packet stands in a frame: FA 5C, its
  length, the packet, the sum of its bytes. What is not in a frame is passed over.

Choices, each made here and nowhere else:

* The script takes nothing down that the watch shows. STOP starts the watch's clock anew, which ends the script and
  sets the accelerometer back.
* Its service is everybody's Nordic UART, so the name decides. Puck.js and the first Bangle.js have another
  accelerometer, and are not read.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import ClassVar, Self

from firmware_interface.codecs import Conversation, Counter, Device, Offer, Write, open_profile, say
from firmware_interface.codecs.open_profile import OpenProfile, describe
from firmware_interface.errors import PacketError
from firmware_interface.samples import Notification, Packet, Sensor, Started, Status, Stream, Unit

SERVICE, RECEIVE, SEND = (f"6e40000{n}-b5a3-f393-e0a9-e50e24dcca9e" for n in (1, 2, 3))
"""As the watch sees it: it receives what we write, and sends what we hear."""

RATE_HZ, SCALE_G = 100.0, 1 / 4096
SAMPLES = 10
_MAGIC = b"\xfa\x5c"
_CHUNK = 20
"""Bytes of a write that any link takes."""
_SCRIPT = """
if (1) {
  Bangle.accelWr(0x18, 0b01110100);
  Bangle.accelWr(0x1B, 0x03 | 0x40);
  Bangle.accelWr(0x18, 0b11110100);
  Bangle.setPollInterval(10);
  let size = 12 + 6 * 10, frame = new Uint8Array(size + 4), view = new DataView(frame.buffer, 3, size);
  let index = 0, held = 0;
  frame.set([0xFA, 0x5C, size, 0x10]);
  Bangle.on("accel", a => {
    if (!held) {
      view.setUint16(2, index / 10, 1);
      view.setUint32(4, index, 1);
      view.setUint32(8, (getTime() * 1E6) % 4294967296, 1);
    }
    [a.x, a.y, a.z].forEach((g, axis) =>
      view.setInt16(12 + 6 * held + 2 * axis, Math.max(-32768, Math.min(32767, Math.round(4096 * g))), 1));
    index++;
    if (++held < 10) return;
    held = 0;
    frame[size + 3] = frame.slice(3, size + 3).reduce((sum, byte) => sum + byte);
    Bluetooth.write(frame);
  });
}
"""


def _line(script: str) -> bytes:
    """As the console takes it: what was being typed cleared, not echoed, in one line."""
    return b"\x03\x10" + "".join(each.strip() for each in script.splitlines()).encode() + b"\n"


START, STOP = _line(_SCRIPT), _line("load()")


def _typed(line: bytes) -> tuple[Write, ...]:
    return tuple(Write(RECEIVE, line[at : at + _CHUNK]) for at in range(0, len(line), _CHUNK))


class Bangle:
    """A Bangle.js 2.

    Args:
        name: as it advertises.
    """

    FAMILY: ClassVar[str] = "Bangle.js 2"
    OFFERS: ClassVar[tuple[Offer, ...]] = (Offer(Sensor.ACC, Unit.G, (RATE_HZ,), (8.0,)),)
    ADVICE: ClassVar[str] = "Make it programmable in its Bluetooth settings; close the Web IDE and Gadgetbridge"
    NOTIFY: ClassVar[tuple[str, ...]] = (SEND,)
    SAMPLES: ClassVar[str] = SEND
    STOP: ClassVar[tuple[Write, ...]] = _typed(STOP)
    START_GRACE_S: ClassVar[float] = 5.0

    def __init__(self, name: str) -> None:
        acc = Stream("acc", Sensor.ACC, Unit.G, SCALE_G, RATE_HZ, ("x", "y", "z"))
        self._profile = OpenProfile(describe(Device(name, "", "", (acc,))))
        self.counter: Counter = self._profile.counter
        self.device = self._profile.device
        self._cut = b""

    @classmethod
    def recognises(cls, services: Collection[str], name: str | None) -> bool:  # noqa: ARG003 - everybody's
        """By the name."""
        return (name or "").startswith("Bangle.js")

    @classmethod
    def introduce(cls, name: str) -> Conversation[Self]:
        """Its name is all that is needed."""
        yield from ()
        return cls(name)

    def start(self) -> Conversation[None]:
        """The script, as if it were typed."""
        yield from say(*_typed(START))

    def decode(self, notification: Notification) -> tuple[Packet | Started | Status, ...]:
        """Read one notification: the frames that are whole with it."""
        if notification.characteristic != SEND:
            return ()
        packets = [Notification(open_profile.DATA, each, 0) for each in self._frames(notification.data)]
        return tuple(item for each in packets for item in self._profile.decode(each))

    def encode(self, item: Packet | Status) -> tuple[str, bytes]:
        """The frame for a Packet."""
        if isinstance(item, Status):
            raise ValueError("the script says nothing of the watch")
        _, packet = self._profile.encode(item)
        return SEND, _MAGIC + bytes((len(packet),)) + packet + bytes((sum(packet) % 256,))

    def _frames(self, data: bytes) -> list[bytes]:
        """What is in them; a frame that is cut waits for the rest. Raises PacketError where none is sound and one
        is damaged: it was cut by a loss, and what follows it is looked through."""
        data, self._cut = self._cut + data, b""
        packets, damaged = [], 0
        at = data.find(_MAGIC)
        while at >= 0:
            begin, end = at + 3, at + 3 + int.from_bytes(data[at + 2 : at + 3], "big")
            if end >= len(data):
                self._cut = data[at:]
                break
            sound = sum(data[begin:end]) % 256 == data[end]
            damaged += not sound
            packets += [data[begin:end]] * sound
            at = data.find(_MAGIC, end + 1 if sound else begin)
        else:
            self._cut = _MAGIC[:1] if data.endswith(_MAGIC[:1]) else b""
        if damaged and not packets:
            raise PacketError(f"{damaged} frames whose sum is wrong")
        return packets
