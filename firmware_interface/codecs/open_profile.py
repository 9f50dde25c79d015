"""The open profile: a GATT service that any hobbyist board can offer. Specified in docs/open-profile.md.

Rules of the wire:

* Little endian throughout. Samples are signed 16 bit.
* A data packet names its first sample three times: by packet sequence (what the radio lost), by sample index
  (how many samples are missing, whoever lost them) and by device clock in microseconds (when).
* A sequence that is continuous while the index jumps means that the device itself lost samples.
* A device describes itself in Info; a host must not assume a rate, a scale or a channel count.
* A tag, a flag bit or a status byte that this version does not know is passed over, so that a device may be
  newer than its host. A version that it does not know is a `PacketError`.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import ClassVar, Self

import numpy as np

from firmware_interface.codecs import Conversation, Counter, Device, Offer, Read, Write, bits, say
from firmware_interface.errors import PacketError
from firmware_interface.samples import Counts, Notification, Packet, Sensor, Started, Status, Stream, Unit


def _uuid(short: int) -> str:
    return f"fa5c{short:04x}-7a3d-4b1e-9d2f-6c8e51a0b7d4"


SERVICE = _uuid(0x0001)
INFO = _uuid(0x0002)
CONTROL = _uuid(0x0003)
DATA = _uuid(0x0004)
STATUS = _uuid(0x0005)
TIME = _uuid(0x0006)

VERSION = 1
_HEADER = struct.Struct("<BBHII")  # version << 4 | stream, flags, sequence, index, device µs
_STATUS = struct.Struct("<BBIHHb")  # version, battery %, lead-off bits, overruns, drops, °C
_STREAM = struct.Struct("<BBBBff")  # stream, sensor, unit, channels, rate Hz, scale
_FIRST_INDEX = struct.Struct("<BI")  # stream, index; repeated in the reply to START
_BATTERY_UNKNOWN, _TEMPERATURE_UNKNOWN = 255, -128
_DELTA_BLOCK_MAX = 255  # samples; the count is one byte
_SENSORS = {1: Sensor.EMG, 2: Sensor.ACC, 3: Sensor.ECG}
_UNITS = {
    0: Unit.COUNT,
    1: Unit.MICROVOLT,
    2: Unit.MILLIVOLT,
    3: Unit.G,
    4: Unit.METRE_PER_SECOND_SQUARED,
}


class Tag(IntEnum):
    """Entries of Info."""

    NAME = 0x01
    SERIAL = 0x02
    FIRMWARE = 0x03
    STREAM = 0x10
    CHANNEL = 0x11


class Opcode(IntEnum):
    """Requests to Control; a reply carries the opcode with the top bit set."""

    START = 0x01
    STOP = 0x02
    TEST_SIGNAL = 0x03


class Result(IntEnum):
    """The third byte of a reply from Control."""

    DONE = 0
    UNKNOWN_OPCODE = 1
    BAD_ARGUMENT = 2
    BUSY = 3


class Flag(IntEnum):
    """The second byte of a data packet."""

    OVERRUN = 0x01
    LEAD_OFF_CHANGED = 0x02
    CLIPPED = 0x04
    DELTA = 0x08


@dataclass(frozen=True, slots=True)
class Request:
    """A write to Control, as the device reads it."""

    opcode: int
    reference: int
    argument: bytes

    @classmethod
    def read(cls, data: bytes) -> Request:
        """Raises PacketError where `data` is too short."""
        if len(data) < 2:
            raise PacketError(f"control request of {len(data)} bytes, needs 2")
        return cls(data[0], data[1], data[2:])

    def reply(self, result: Result, first_index: Mapping[int, int] | None = None) -> bytes:
        """The indication that answers this request.

        Args:
            result: what became of it.
            first_index: for START, the index of the first sample that each stream will send, by its number,
                so that a host knows of the packets that were lost before the first one it received.
        """
        starts = (_FIRST_INDEX.pack(number, index) for number, index in (first_index or {}).items())
        return bytes((self.opcode & 0x7F | 0x80, self.reference, result)) + b"".join(starts)


class OpenProfile:
    """A board that speaks the open profile.

    Args:
        info: the value of the Info characteristic.

    Raises:
        PacketError: `info` cannot be read.
    """

    FAMILY: ClassVar[str] = "open profile"
    OFFERS: ClassVar[tuple[Offer, ...]] = (
        Offer(Sensor.EMG, Unit.MICROVOLT),
        Offer(Sensor.ACC, Unit.G),
        Offer(Sensor.ECG, Unit.MICROVOLT),
    )
    ADVICE: ClassVar[str] = "Switch the board on"
    NOTIFY: ClassVar[tuple[str, ...]] = (CONTROL, STATUS, DATA)
    SAMPLES: ClassVar[str] = DATA
    START: ClassVar[tuple[Write, ...]] = (Write(CONTROL, bytes((Opcode.START, 1, 0xFF))),)
    STOP: ClassVar[tuple[Write, ...]] = (Write(CONTROL, bytes((Opcode.STOP, 2))),)
    START_GRACE_S: ClassVar[float] = 2.0

    def __init__(self, info: bytes) -> None:
        self.counter = Counter(1 << 16, 1 << 32, (1 << 32) * 1000)
        self._streams = dict(_read_streams(info))
        self._ids = {stream.name: number for number, stream in self._streams.items()}
        texts = {tag: value.decode("utf-8", "replace") for tag, value in _entries(info) if tag <= Tag.FIRMWARE}
        self.device = Device(
            name=texts.get(Tag.NAME, ""),
            serial=texts.get(Tag.SERIAL, ""),
            firmware=texts.get(Tag.FIRMWARE, ""),
            streams=tuple(self._streams.values()),
        )

    @classmethod
    def recognises(cls, services: Collection[str], name: str | None) -> bool:  # noqa: ARG003 - other families'
        """Whether the service is advertised; the name says nothing."""
        return SERVICE in services

    @classmethod
    def introduce(cls, name: str) -> Conversation[Self]:  # noqa: ARG003 - Info says it
        """Info says all."""
        return cls((yield Read(INFO)))

    def start(self) -> Conversation[None]:
        """Every stream."""
        yield from say(*self.START)

    def decode(self, notification: Notification) -> tuple[Packet | Started | Status, ...]:
        """Read one notification; what is unknown gives nothing."""
        match notification.characteristic:
            case c if c == DATA:
                return (self._read_data(notification.data),)
            case c if c == STATUS:
                return (self._read_status(notification.data),)
            case c if c == CONTROL:
                return tuple(self._read_reply(notification.data))
            case _:
                return ()

    def encode(self, item: Packet | Status, *, delta: bool = False) -> tuple[str, bytes]:
        """The characteristic and payload for `item`; `delta` packs sample differences."""
        if isinstance(item, Status):
            return STATUS, _write_status(item)
        return DATA, self._write_data(item, delta=delta)

    def _read_data(self, data: bytes) -> Packet:
        if len(data) < _HEADER.size:
            raise PacketError(f"data packet of {len(data)} bytes, its header alone has {_HEADER.size}")
        head, flags, sequence, index, device_us = _HEADER.unpack_from(data)
        _require_version(head >> 4)
        stream = self._streams.get(head & 0x0F)
        if stream is None:
            raise PacketError(f"data packet for stream {head & 0x0F}, which Info does not name")
        payload = data[_HEADER.size :]
        unpack = _unpack_deltas if flags & Flag.DELTA else _unpack_int16
        return Packet(
            stream=stream.name,
            counts=unpack(payload, len(stream.channels)),
            sequence=sequence,
            index=index,
            device_ns=device_us * 1000,
            overrun=bool(flags & Flag.OVERRUN),
            lead_off_changed=bool(flags & Flag.LEAD_OFF_CHANGED),
            clipped=bool(flags & Flag.CLIPPED),
        )

    def _write_data(self, packet: Packet, *, delta: bool) -> bytes:
        flags = (
            Flag.OVERRUN * packet.overrun
            | Flag.LEAD_OFF_CHANGED * packet.lead_off_changed
            | Flag.CLIPPED * packet.clipped
            | Flag.DELTA * delta
        )
        header = _HEADER.pack(
            VERSION << 4 | self._ids[packet.stream],
            flags,
            (packet.sequence or 0) % (1 << 16),
            (packet.index or 0) % (1 << 32),
            (packet.device_ns or 0) // 1000 % (1 << 32),
        )
        counts = packet.counts.astype("<i2")
        return header + (_pack_deltas(counts) if delta else counts.T.tobytes())

    def _read_reply(self, data: bytes) -> Iterator[Started]:
        if len(data) < 3:
            raise PacketError(f"control reply of {len(data)} bytes, needs 3")
        if data[0] != Opcode.START | 0x80 or data[2] != Result.DONE:
            return
        if len(data[3:]) % _FIRST_INDEX.size:
            raise PacketError(f"reply to START with {len(data) - 3} bytes of indices, cut short")
        for number, index in _FIRST_INDEX.iter_unpack(data[3:]):
            if number in self._streams:
                yield Started(self._streams[number].name, index)

    def _read_status(self, data: bytes) -> Status:
        if len(data) < _STATUS.size:
            raise PacketError(f"status of {len(data)} bytes, needs {_STATUS.size}")
        version, battery, lead_off, overruns, drops, celsius = _STATUS.unpack_from(data)
        _require_version(version)
        channels = len(self.device.streams[0].channels)
        return Status(
            battery_percent=None if battery == _BATTERY_UNKNOWN else min(battery, 100),
            lead_off=tuple(bool(lead_off >> channel & 1) for channel in range(channels)),
            overruns=overruns,
            drops=drops,
            temperature_c=None if celsius == _TEMPERATURE_UNKNOWN else float(celsius),
        )


def describe(device: Device) -> bytes:
    """The Info value of `device`: what a board with these streams would let a host read."""
    sensors = {sensor: code for code, sensor in _SENSORS.items()}
    units = {unit: code for code, unit in _UNITS.items()}
    entries = [(Tag.NAME, device.name.encode()), (Tag.SERIAL, device.serial.encode())]
    entries.append((Tag.FIRMWARE, device.firmware.encode()))
    for number, stream in enumerate(device.streams):
        kind = sensors[stream.sensor], units[stream.unit], len(stream.channels)
        numbers = _STREAM.pack(number, *kind, stream.rate_hz, stream.scale)
        entries.append((Tag.STREAM, numbers + stream.name.encode()))
        for channel, label in enumerate(stream.channels):
            entries.append((Tag.CHANNEL, bytes((number, channel)) + label.encode()))
    return bytes((VERSION,)) + b"".join(bytes((tag, len(value))) + value for tag, value in entries)


def _require_version(version: int) -> None:
    if version != VERSION:
        raise PacketError(f"open profile version {version}, this program reads {VERSION}")


def _entries(info: bytes) -> Iterator[tuple[int, bytes]]:
    if not info:
        raise PacketError("Info is empty")
    _require_version(info[0])
    position = 1
    while position < len(info):
        header = info[position : position + 2]
        value = info[position + 2 : position + 2 + header[-1]]
        if len(header) < 2 or len(value) < header[1]:
            raise PacketError(f"Info is cut short at byte {position}")
        yield header[0], value
        position += 2 + header[1]


def _read_streams(info: bytes) -> Iterator[tuple[int, Stream]]:
    entries = list(_entries(info))
    labels = {v[:2]: v[2:].decode("utf-8", "replace") for tag, v in entries if tag == Tag.CHANNEL}
    seen: set[int | str] = set()
    for value in (value for tag, value in entries if tag == Tag.STREAM):
        number, stream = _read_stream(value, labels)
        if number in seen or stream.name in seen or number > 0x0F:
            raise PacketError(f"Info names stream {number} {stream.name!r} twice or above 15")
        seen |= {number, stream.name}
        yield number, stream
    if not seen:
        raise PacketError("Info names no stream")


def _read_stream(value: bytes, labels: dict[bytes, str]) -> tuple[int, Stream]:
    if len(value) < _STREAM.size:
        raise PacketError(f"Info has a stream entry of {len(value)} bytes, needs {_STREAM.size}")
    number, sensor, unit, channels, rate_hz, scale = _STREAM.unpack_from(value)
    if sensor not in _SENSORS or unit not in _UNITS:
        raise PacketError(f"Info has sensor {sensor} in unit {unit}, which this program does not know")
    if not (channels and 1 <= rate_hz <= 1e5 and math.isfinite(scale) and scale):
        raise PacketError(f"Info has a stream of {channels} channels at {rate_hz:g} Hz with scale {scale:g}")
    name = value[_STREAM.size :].decode("utf-8", "replace") or f"stream {number}"
    sites = tuple(labels.get(bytes((number, c))) or f"{name} {c + 1}" for c in range(channels))
    if len(set(sites)) < channels:
        raise PacketError(f"Info gives two channels of stream {number} one label")
    return number, Stream(name, _SENSORS[sensor], _UNITS[unit], scale, rate_hz, sites)


def _write_status(status: Status) -> bytes:
    celsius, battery = status.temperature_c, status.battery_percent
    return _STATUS.pack(
        VERSION,
        _BATTERY_UNKNOWN if battery is None else battery,
        sum(1 << channel for channel, off in enumerate(status.lead_off) if off),
        status.overruns % (1 << 16),
        status.drops % (1 << 16),
        _TEMPERATURE_UNKNOWN if celsius is None else round(celsius),
    )


def _unpack_int16(payload: bytes, channels: int) -> Counts:
    if not payload or len(payload) % (2 * channels):
        raise PacketError(f"{len(payload)} bytes of samples do not fill {channels} channels of 16 bits")
    return np.frombuffer(payload, "<i2").reshape(-1, channels).T


def _unpack_deltas(payload: bytes, channels: int) -> Counts:
    """First sample in full, then blocks of (bit width, count, differences), differences modulo 2**16."""
    first = 2 * channels
    if len(payload) < first:
        raise PacketError(f"{len(payload)} bytes of samples, the first of {channels} channels needs {first}")
    parts = [np.frombuffer(payload[:first], "<i2").reshape(1, channels)]
    position = first
    while position < len(payload):
        if position + 2 > len(payload):
            raise PacketError(f"delta block is cut short at byte {position}")
        width, count = payload[position], payload[position + 1]
        size = (width * count * channels + 7) // 8
        packed = payload[position + 2 : position + 2 + size]
        if not 1 <= width <= 16 or not count or len(packed) < size:
            raise PacketError(f"delta block of {count} samples in {width} bits at byte {position}")
        parts.append(bits.unpack(packed, width, count * channels).reshape(count, channels))
        position += 2 + size
    return np.cumsum(np.concatenate(parts), axis=0, dtype=np.int16).T


def _pack_deltas(counts: Counts) -> bytes:
    deltas = np.diff(counts.T, axis=0)  # wraps modulo 2**16, as the sum on the other side does
    out = [counts[:, 0].tobytes()]
    for start in range(0, len(deltas), _DELTA_BLOCK_MAX):
        block = deltas[start : start + _DELTA_BLOCK_MAX].astype(np.int64).ravel()
        width = bits.width(block)
        out.append(bytes((width, len(block) // len(counts))) + bits.pack(block, width))
    return b"".join(out)
