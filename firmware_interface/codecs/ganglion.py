"""OpenBCI Ganglion: four channels of EMG at 200 Hz, firmware 2 and 3.

Sources: OpenBCI_Ganglion_Library b6058e6 (firmware 3.0.2), OpenBCI_NodeJS_Utilities 33168c6, BrainFlow 9097190,
and the values in their tests; one packet of firmware 2 captured on the air.

Rules of the wire:

* Big endian bit strings of 8 values: two samples of four channels, or in firmware 2 their negative differences
  from the sample before. In place of its least significant bit each value has its sign.
* The first byte says what follows, and is the packet counter: 0 to 200 wrap once a second. It tells every loss
  that is shorter than that; longer ones are told from the time that passed.
* Firmware 2 sends a whole sample once in a cycle, as packet 0. After a loss its differences mean nothing up to
  there: these packets are given up, and show as missing.

Choices, each made here and nowhere else:

* Firmware 2: public drivers disagree on a value's sign. Here its last bit decides (the NodeJS driver), which
  BrainFlow takes from the first; the two differ by one count unless the difference overflows, and then only this
  one is right. Firmware 3: two's complement, and the last bit is passed over: its values cannot overflow.
* 19 bits, not 18 and acceleration: an axis comes in one packet of ten, in steps of 16 mg, which shows no twitch.
  18 bits are read, too; acceleration is passed over, so nothing rests on the axes, on which drivers disagree.
* Firmware 3 packs its samples 0 to 200 in pairs and overwrites the last [inferred from its source]. So one sample
  in 201 is missing without a sign; the stream is taken as 199 Hz without a gap, which the decoder's clock finds.
* Impedance (packets 201 to 205; the stream stands still meanwhile) is contact, and the synthetic square wave the
  self-test: `examine`. Above 1 MΩ an electrode is taken as off, a skin electrode having some 10 to 100 kΩ; no
  source gives a limit, nor the levels of the wave: two on each channel, and nothing between them, will do.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import ClassVar, Self

import numpy as np

from firmware_interface.codecs import (
    SOFTWARE,
    Conversation,
    Counter,
    Device,
    Examination,
    Hear,
    Offer,
    Read,
    Write,
    say,
    text,
    uuid,
)
from firmware_interface.errors import PacketError
from firmware_interface.samples import Counts, Notification, Packet, Sensor, Status, Stream, Unit

SERVICE = uuid(0xFE84)
NOTIFICATION, COMMAND, DISCONNECT = (f"2d30c08{n}-f39f-4ce6-923f-3484ea480596" for n in (2, 3, 4))

RATE_HZ = 200.0
SCALE_UV = 1.2e6 / (8388607 * 1.5 * 51)
_LENGTH = 20
_CHANNELS = 4
_PER_PACKET = 2
_CYCLE = 100
"""Packets of differences, or of firmware 3, until the counter wraps."""
_IMPEDANCE = 201
"""Of the first channel; those of the others, and of the reference, follow."""
_TEXT = 206, 207
_FIRST_OF_ALL = 255
"""Seen as the first packet after a start; empty."""
_LEAD_OFF_OHM = 1_000_000
_BETWEEN = 0.02
"""Of the height of the square wave."""


def _command(*letters: bytes) -> tuple[Write, ...]:
    return tuple(Write(COMMAND, letter) for letter in letters)


START, STOP = b"b", b"s"
ACCELERATION_ON, ACCELERATION_OFF = b"n", b"N"
IMPEDANCE_ON, IMPEDANCE_OFF = b"z", b"Z"
SQUARE_ON, SQUARE_OFF = b"[", b"]"


class Ganglion:
    """A Ganglion board.

    Args:
        name: as it advertises.
        firmware: its version; what begins with 2 is read as firmware 2.
    """

    FAMILY: ClassVar[str] = "OpenBCI Ganglion"
    OFFERS: ClassVar[tuple[Offer, ...]] = (Offer(Sensor.EMG, Unit.MICROVOLT, (RATE_HZ,), (15686.0,)),)
    ADVICE: ClassVar[str] = (
        "Switch it on; its blue light blinks while it waits. If it shines, switch it off and on"
    )
    NOTIFY: ClassVar[tuple[str, ...]] = (NOTIFICATION,)
    SAMPLES: ClassVar[str] = NOTIFICATION
    STOP: ClassVar[tuple[Write, ...]] = _command(STOP)
    START_GRACE_S: ClassVar[float] = 3.0

    def __init__(self, name: str, firmware: str) -> None:
        self._deltas = firmware.startswith("2")
        self.counter = Counter(0, _PER_PACKET * _CYCLE + self._deltas, 0)
        channels = tuple(f"channel {n + 1}" for n in range(_CHANNELS))
        emg = Stream("emg", Sensor.EMG, Unit.MICROVOLT, SCALE_UV, RATE_HZ, channels)
        self.device = Device(name, name.removeprefix("Ganglion-"), firmware, (emg,))
        self._ohm: dict[int, int] = {}
        self._heard, self._said = _Chain(), _Chain()

    @classmethod
    def recognises(cls, services: Collection[str], name: str | None) -> bool:
        """By the service, which is that of its radio module (some advertise as "Simblee"), or the name."""
        return SERVICE in services or (name or "").startswith("Ganglion")

    @classmethod
    def introduce(cls, name: str) -> Conversation[Self]:
        """The firmware says how it packs."""
        return cls(name, text((yield Read(SOFTWARE))) or "3")

    def start(self) -> Conversation[None]:
        """19 bits."""
        yield from say(*_command(ACCELERATION_OFF, START))

    def examine(self) -> Conversation[Examination]:
        """The impedance of each channel, then two seconds of the square wave."""
        self._ohm.clear()
        yield from say(*_command(STOP, IMPEDANCE_ON))
        contact: list[Packet | Status] = []
        for channel in range(_CHANNELS):
            contact += yield from self._listen(bytes((_IMPEDANCE + channel,)))
        yield from say(*_command(IMPEDANCE_OFF, SQUARE_ON, ACCELERATION_OFF, START))
        signal: list[Packet | Status] = []
        for _ in range(2 * _CYCLE):
            signal += yield from self._listen()
        yield from say(*_command(STOP, SQUARE_OFF))
        passed, found = _judge_square([said.counts for said in signal if isinstance(said, Packet)])
        told = next((said for said in contact if isinstance(said, Status)), Status())
        return Examination(passed, found, told.impedance_ohm, told.lead_off)

    def _listen(self, prefix: bytes = b"") -> Conversation[tuple[Packet | Status, ...]]:
        heard = yield Hear(NOTIFICATION, prefix)
        return self.decode(Notification(NOTIFICATION, heard, 0))

    def decode(self, notification: Notification) -> tuple[Packet | Status, ...]:
        """Read one notification; text gives nothing."""
        data = notification.data
        if notification.characteristic != NOTIFICATION:
            return ()
        if not data:
            raise PacketError("packet of no bytes")
        match data[0]:
            case number if number < _IMPEDANCE:
                return self._read_samples(number, data[1:])
            case number if number < _TEXT[0]:
                return self._read_impedance(number - _IMPEDANCE, data[1:])
            case number if number in (*_TEXT, _FIRST_OF_ALL):
                return ()
        raise PacketError(f"packet {data[0]}, which this program does not know")

    def encode(self, item: Packet | Status, *, bits: int = 19) -> tuple[str, bytes]:
        """The payload for two samples, in 18 or 19 bits; of firmware 2 for one where `index` begins a cycle. For a
        Status, the impedance of its first channel."""
        if isinstance(item, Status):
            return NOTIFICATION, write_impedance(0, item.impedance_ohm[0])
        index = (item.index or 0) % self.counter.index_modulus
        if self._deltas and not index:
            self._said.begin(item.counts[:, 0])
            whole = b"".join(int(value).to_bytes(3, "big", signed=True) for value in item.counts[:, 0])
            return NOTIFICATION, (b"\0" + whole).ljust(_LENGTH, b"\0")
        number = self._deltas + (index - self._deltas) // _PER_PACKET + _CYCLE * (bits == 19)
        if self._deltas:
            values = self._said.differences(item.counts, bits)
        else:
            values = item.counts.astype(np.int64) >> (24 - bits)
        packed = 0
        for value in values.T.ravel().tolist():
            packed = packed << bits | (value % (1 << bits) & ~1 | (value < 0))
        payload = (packed << (-8 * bits) % 8).to_bytes(bits, "big")
        return NOTIFICATION, (bytes((number,)) + payload).ljust(_LENGTH, b"\0")

    def _read_samples(self, number: int, payload: bytes) -> tuple[Packet, ...]:
        if len(payload) != _LENGTH - 1:
            raise PacketError(f"packet {number} of {len(payload) + 1} bytes, must be {_LENGTH}")
        if not self._deltas:
            return self._read_absolute(number, payload)
        place = (number - 1) % _CYCLE + 1 if number else 0
        if not number:
            whole = [int.from_bytes(payload[at : at + 3], "big", signed=True) for at in range(0, 3 * _CHANNELS, 3)]
            counts: Counts | None = self._heard.begin(np.array(whole))
        else:
            values = _unpack(payload, 19 if number > _CYCLE else 18)
            counts = self._heard.follow(place, np.where(values & 1, values - (2 << _top(number)), values))
        return () if counts is None else (Packet("emg", counts, index=max(_PER_PACKET * place - 1, 0)),)

    def _read_absolute(self, number: int, payload: bytes) -> tuple[Packet, ...]:
        if number >= 2 * _CYCLE:
            raise PacketError(f"packet {number}, which firmware 3 does not send")
        bits = 19 if number >= _CYCLE else 18
        values = _unpack(payload, bits)
        signed = values - ((values >> (bits - 1)) << bits)
        counts = (signed & ~1) << (24 - bits)
        return (Packet("emg", counts.astype(np.int32), index=_PER_PACKET * (number % _CYCLE)),)

    def _read_impedance(self, channel: int, payload: bytes) -> tuple[Status, ...]:
        """In ohms, as text that ends with Z; what follows it is left over from before."""
        digits, end, _ = payload.partition(b"Z")
        if not end or not digits.isdigit() or len(digits) > 9:
            raise PacketError(f"impedance {payload[:10].hex()} of channel {channel + 1}")
        self._ohm[channel] = int(digits)
        if channel >= _CHANNELS or not self._ohm.keys() >= set(range(_CHANNELS)):
            return ()
        ohm = tuple(self._ohm[each] for each in range(_CHANNELS))
        return (Status(lead_off=tuple(each > _LEAD_OFF_OHM for each in ohm), impedance_ohm=ohm),)


def _judge_square(heard: list[Counts]) -> tuple[bool, str]:
    """Whether each channel has two levels; differences of firmware 2 may be off by a count at each edge."""
    if not heard:
        return False, "nothing came of the test signal"
    counts = np.concatenate(heard, axis=1)
    low, high = counts.min(axis=1, keepdims=True), counts.max(axis=1, keepdims=True)
    off = np.minimum(counts - low, high - counts) / np.maximum(high - low, 1)
    bad = np.flatnonzero((off.max(axis=1) > _BETWEEN) | (high == low)[:, 0]) + 1
    if bad.size:
        return False, f"the test signal is no square wave on channel {', '.join(map(str, bad))}"
    return True, f"{counts.shape[1]} samples of the test signal came as they should on {_CHANNELS} channels"


def write_impedance(channel: int, ohm: int) -> bytes:
    """The packet that tells it; channel 4 is the reference."""
    return bytes((_IMPEDANCE + channel,)) + b"%dZ" % ohm


class _Chain:
    """Where the differences of firmware 2 lead, on either side."""

    def __init__(self) -> None:
        self._last: Counts | None = None
        self._place = 0

    def begin(self, counts: Counts) -> Counts:
        """A whole sample."""
        self._last, self._place = counts.astype(np.int64), 0
        return counts.astype(np.int32)[:, None]

    def follow(self, place: int, differences: Counts) -> Counts | None:
        """The two samples of packet `place`; None where one before it is missing."""
        if self._last is None or place != self._place + 1:
            self._last = None
            return None
        counts: Counts = self._last[:, None] - np.cumsum(differences, axis=1)
        self._last, self._place = counts[:, -1], place
        return counts.astype(np.int32)

    def differences(self, counts: Counts, bits: int) -> Counts:
        """What brings a reader as near to `counts` as the sign in place of the last bit lets it."""
        assert self._last is not None  # noqa: S101 - a board begins with a whole sample
        limit = (1 << bits) - 2
        out = []
        for column in counts.T.astype(np.int64):
            value = np.clip(self._last - column, -limit, limit)
            value = np.where(value < 0, value | 1, value & ~1)
            self._last = self._last - value
            out.append(value)
        return np.array(out).T


def _top(number: int) -> int:
    """Of firmware 2: the highest bit of a difference."""
    return 18 if number > _CYCLE else 17


def _unpack(payload: bytes, bits: int) -> Counts:
    """Two samples of four channels, as they are: shape (channels, samples), not negative."""
    row = int.from_bytes(payload[:bits], "big") >> (-8 * bits) % 8
    values = [row >> bits * place & (1 << bits) - 1 for place in reversed(range(_CHANNELS * _PER_PACKET))]
    return np.array(values, np.int64).reshape(_PER_PACKET, _CHANNELS).T
