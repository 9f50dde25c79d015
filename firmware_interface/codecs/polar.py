"""Polar H10, Verity Sense and OH1, by Polar's measurement service (PMD): acceleration and ECG.

Sources: Polar BLE SDK, `online_measurement.pdf` (August 2024), its unit tests and issues (reference numbers
below); polar-python for the error codes; bleak issue 1943 and Polar SDK issues 281 and 360 for bytes on the air.

Rules of the wire:

* Little endian. A request is written to Control and answered there by an indication, F0 and then the request's
  first two bytes. The indications must be switched on before the first request (issues 281, 360).
* The time of a frame is that of its *last* sample, in ns since 2000 (issues 189, 700). There is no counter: what
  is missing is counted by these times. The H10's clock jumps to 2019 when it leaves the strap.
* A compressed frame is one sample in full and blocks of differences, least significant bit first, to be summed.
  They do not wrap. A block of width 0 is read as "no change" [inferred].
* A last block that ends early is read as Polar's own software reads it: bits that did not come are zero. One of
  its test vectors is cut so; that a sensor sends such frames was not seen. A block of nothing is an error.
* STOP is sent whatever happened: an H10 that was not stopped stays on until its battery is empty (known issue 2).

Choices, each made here and nowhere else:

* Acceleration is counted in mg, as Polar's own software gives it. Type 0 compressed frames hold g once multiplied
  by the factor that the answer to START names; they are scaled and not rounded, so counts may be float32.
* The rate is the highest offered up to 208 Hz: at 416 Hz the radio loses packets (issues 467, 775). The range is
  the least that holds 4 g, for resolution.
* SDK mode is entered where offered, for without it Verity Sense gives 52 Hz. It stops Polar's own heart rate.
* ECG is taken where offered, as the reference for contamination. With both streams some H10 drop the link
  (bleakheart 12); nothing is done about it.
* Settings that do not fit one indication ("more" set) are refused: none was seen.

Bonding: an H10 refuses requests from a computer that it is not bonded with on Windows (ATT error 05, bleak 1943;
Linux and macOS pair by themselves). Hence `ADVICE`.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import ClassVar, Self

import numpy as np

from firmware_interface.codecs import (
    BATTERY,
    FIRMWARE,
    SERIAL,
    Conversation,
    Counter,
    Device,
    Hear,
    Offer,
    Read,
    Write,
    bits,
    text,
)
from firmware_interface.errors import PacketError
from firmware_interface.samples import Counts, Notification, Packet, Sensor, Status, Stream, Unit


def _uuid(short: int) -> str:
    return f"fb005c{short:02x}-02e7-f387-1cad-8acd2d8df0c8"


SERVICE, CONTROL, DATA = _uuid(0x80), _uuid(0x81), _uuid(0x82)
_NAMES = "Polar H10", "Polar Sense", "Polar OH1"
RATE_MAX_HZ = 208
RANGE_MIN_G = 4
_MG = 0.001
_HEADER = struct.Struct("<BQB")  # type, ns of the last sample, frame type
_TYPE_BITS = 0x3F
_COMPRESSED = 0x80
_REPLY = 0xF0
_FEATURES = 0x0F
_FACTOR_NONE = 1.0
_DELTA_WIDTH_MAX = 32
_BLOCK_MAX = 255  # samples; the count is one byte


class Opcode(IntEnum):
    """Requests to Control."""

    GET_SETTINGS = 1
    START = 2
    STOP = 3


class Measurement(IntEnum):
    """What is measured; also the number of its bit among the features."""

    ECG = 0
    ACC = 2
    SDK_MODE = 9


class Setting(IntEnum):
    """Entries of settings."""

    RATE = 0
    RESOLUTION = 1
    RANGE = 2
    RANGE_MILLI = 3
    CHANNELS = 4
    FACTOR = 5


class Result(IntEnum):
    """What became of a request."""

    DONE = 0
    BAD_OPCODE = 1
    BAD_MEASUREMENT = 2
    UNSUPPORTED = 3
    BAD_LENGTH = 4
    BAD_PARAMETER = 5
    ALREADY = 6
    BAD_RESOLUTION = 7
    BAD_RATE = 8
    BAD_RANGE = 9
    BAD_MTU = 10
    BAD_CHANNELS = 11
    BAD_STATE = 12
    CHARGING = 13


_SIZES = {
    Setting.RATE: 2,
    Setting.RESOLUTION: 2,
    Setting.RANGE: 2,
    Setting.RANGE_MILLI: 4,
    Setting.CHANNELS: 1,
    Setting.FACTOR: 4,
}
Settings = Mapping[Setting, tuple[int, ...]]
_STREAMS = {
    Measurement.ACC: ("acc", Sensor.ACC, Unit.G, _MG, ("x", "y", "z")),
    Measurement.ECG: ("ecg", Sensor.ECG, Unit.MICROVOLT, 1.0, ("ECG",)),
}
_NUMBERS = {name: measurement for measurement, (name, *_) in _STREAMS.items()}


class Polar:
    """A Polar sensor.

    Args:
        device: name, serial and firmware; the streams follow from `settings`.
        settings: what is to be asked for, of each measurement.
        battery_percent: as read while introducing, to be told with the first frame.
    """

    FAMILY: ClassVar[str] = "Polar H10, Verity Sense, OH1"
    OFFERS: ClassVar[tuple[Offer, ...]] = (
        Offer(Sensor.ACC, Unit.G, (25, 26, 50, 52, 100, 104, 200, 208, 416), (2, 4, 8, 16)),
        Offer(Sensor.ECG, Unit.MICROVOLT, (130,)),
    )
    ADVICE: ClassVar[str] = (
        "Wear the strap moistened, or switch the armband on until it blinks; close Polar's own applications;"
        " on Windows pair it in Settings first"
    )
    NOTIFY: ClassVar[tuple[str, ...]] = (CONTROL, BATTERY, DATA)
    SAMPLES: ClassVar[str] = DATA
    STOP: ClassVar[tuple[Write, ...]] = tuple(
        Write(CONTROL, bytes((Opcode.STOP, each))) for each in (*_STREAMS, Measurement.SDK_MODE)
    )
    START_GRACE_S: ClassVar[float] = 30.0
    """Issues 414 and 424."""

    def __init__(
        self, device: Device, settings: Mapping[Measurement, Settings], battery_percent: int | None = None
    ) -> None:
        self.counter = Counter(0, 0, 1 << 64, stamps_last=True)
        self._settings = settings
        streams = (_stream(measurement, chosen) for measurement, chosen in settings.items())
        self.device = Device(device.name, device.serial, device.firmware, tuple(streams))
        self.factors = dict.fromkeys(settings, _FACTOR_NONE)
        """As the answers to START named them."""
        self._battery_percent = battery_percent

    @classmethod
    def recognises(cls, services: Collection[str], name: str | None) -> bool:
        """By the name: the service is not advertised. Some of Polar's watches have it, too."""
        return SERVICE in services or (name or "").startswith(_NAMES)

    @classmethod
    def introduce(cls, name: str) -> Conversation[Self]:
        """Enter SDK mode where there is one, and choose among the settings."""
        features = _read_features((yield Read(CONTROL)))
        if Measurement.SDK_MODE in features:
            yield from _ask(Opcode.START, Measurement.SDK_MODE, accept=(Result.DONE, Result.ALREADY))
        settings = {}
        for measurement in (each for each in _STREAMS if each in features):
            reply = yield from _ask(Opcode.GET_SETTINGS, measurement)
            settings[measurement] = _choose(read_settings(reply.parameters))
        if not settings:
            raise PacketError(f"{name or 'the sensor'} offers neither acceleration nor ECG")
        serial, firmware = text((yield Read(SERIAL))), text((yield Read(FIRMWARE)))
        battery = yield Read(BATTERY)
        return cls(Device(name, serial, firmware, ()), settings, battery[0] if battery else None)

    def start(self) -> Conversation[None]:
        """One measurement after the other; the answers name the factors."""
        for measurement, settings in self._settings.items():
            request = write_settings(settings)
            reply = yield from _ask(Opcode.START, measurement, request, accept=(Result.DONE, Result.ALREADY))
            if (
                reply.result == Result.ALREADY
            ):  # by an earlier link, with settings and a factor that we do not know
                yield from _ask(Opcode.STOP, measurement)
                reply = yield from _ask(Opcode.START, measurement, request)
            self.factors[measurement] = _read_factor(reply.parameters)

    def decode(self, notification: Notification) -> tuple[Packet | Status, ...]:
        """Read one notification; measurements that were not asked for give nothing."""
        match notification.characteristic:
            case c if c == DATA:
                packets = tuple(self._read_frame(notification.data))
                told = () if self._battery_percent is None else (Status(min(self._battery_percent, 100)),)
                self._battery_percent = None
                return told + packets
            case c if c == BATTERY:
                return (_read_battery(notification.data),)
            case _:
                return ()

    def encode(self, item: Packet | Status, *, compressed: bool = False) -> tuple[str, bytes]:
        """The characteristic and payload for `item`; `compressed` packs sample differences."""
        if isinstance(item, Status):
            return BATTERY, bytes((item.battery_percent or 0,))
        measurement = _NUMBERS[item.stream]
        factor = self.factors[measurement]
        scaled = compressed and factor != _FACTOR_NONE
        counts = np.rint(item.counts / (factor / _MG)).astype(np.int64) if scaled else item.counts.astype(np.int64)
        kind = (0 if scaled or measurement is Measurement.ECG else 1) | _COMPRESSED * compressed
        header = _HEADER.pack(measurement, (item.device_ns or 0) % (1 << 64), kind)
        width = _width(measurement, kind)
        return DATA, header + (_pack_deltas(counts, width) if compressed else _pack(counts, width))

    def _read_frame(self, data: bytes) -> tuple[Packet, ...]:
        if len(data) < _HEADER.size:
            raise PacketError(f"PMD frame of {len(data)} bytes, its header alone has {_HEADER.size}")
        number, device_ns, kind = _HEADER.unpack_from(data)
        measurement = next((m for m in self._settings if m == number & _TYPE_BITS), None)
        if measurement is None:
            return ()
        name, *_, channels = _STREAMS[measurement]
        width, payload = _width(measurement, kind), data[_HEADER.size :]
        unpack = _unpack_deltas if kind & _COMPRESSED else _unpack
        counts: Counts = unpack(payload, len(channels), width)
        factor = self.factors[measurement]
        if kind == _COMPRESSED and factor != _FACTOR_NONE:
            counts = (counts * (factor / _MG)).astype(np.float32)
        return (Packet(name, counts, device_ns=device_ns),)


@dataclass(frozen=True, slots=True)
class _Reply:
    """What Control answers."""

    result: int
    parameters: bytes


def _ask(
    opcode: Opcode, measurement: Measurement, parameters: bytes = b"", accept: Collection[Result] = (Result.DONE,)
) -> Conversation[_Reply]:
    request = bytes((opcode, measurement))
    yield Write(CONTROL, request + parameters)
    answer = yield Hear(CONTROL, bytes((_REPLY,)) + request)
    if len(answer) < 4:
        raise PacketError(f"answer of {len(answer)} bytes to {opcode.name} of {measurement.name}")
    if answer[3] not in accept:
        known = Result(answer[3]).name if answer[3] in set(Result) else str(answer[3])
        raise PacketError(f"the sensor answers {known} to {opcode.name} of {measurement.name}")
    if answer[4:5].strip(b"\0"):
        raise PacketError(
            f"the answer to {opcode.name} of {measurement.name} goes on in another, which is not read"
        )
    return _Reply(answer[3], answer[5:])


def write_reply(opcode: int, measurement: int, result: Result, parameters: bytes = b"") -> bytes:
    """The indication that answers a request."""
    return bytes((_REPLY, opcode, measurement, result, 0)) + parameters


def write_features(features: Collection[Measurement]) -> bytes:
    """The value of Control when read."""
    return bytes((_FEATURES,)) + sum(1 << each for each in features).to_bytes(2, "little")


def _read_features(value: bytes) -> set[int]:
    if value[:1] != bytes((_FEATURES,)) or len(value) < 2:
        raise PacketError(f"the features of the sensor read {value.hex() or 'nothing'}, must begin with 0f")
    said = int.from_bytes(value[1:9], "little")
    return {bit for bit in range(64) if said >> bit & 1}


def write_settings(settings: Settings) -> bytes:
    """Each setting with its values, as START wants one of each and GET_SETTINGS gives all there are."""
    out = b""
    for setting, values in settings.items():
        out += bytes((setting, len(values)))
        out += b"".join(value.to_bytes(_SIZES[setting], "little") for value in values)
    return out


def read_settings(data: bytes) -> Settings:
    """The inverse. Raises PacketError."""
    settings = {}
    position = 0
    while position < len(data):
        head = data[position : position + 2]
        size = _SIZES[Setting(head[0])] if head[0] in set(Setting) else 0
        values = data[position + 2 : position + 2 + size * head[-1]]
        if len(head) < 2 or not head[1] or not size or len(values) < size * head[1]:
            raise PacketError(f"settings {data.hex()} cannot be read from byte {position} on")
        numbers = (values[at : at + size] for at in range(0, len(values), size))
        settings[Setting(head[0])] = tuple(int.from_bytes(number, "little") for number in numbers)
        position += 2 + len(values)
    return settings


def _choose(offered: Settings) -> Settings:
    """One value of each that START has to name."""
    if not offered.get(Setting.RATE) or min(offered[Setting.RATE]) < 1:
        raise PacketError("the sensor offers a measurement without a rate")
    rates = offered[Setting.RATE]
    chosen = {Setting.RATE: max((r for r in rates if r <= RATE_MAX_HZ), default=min(rates))}
    if resolutions := offered.get(Setting.RESOLUTION):
        chosen[Setting.RESOLUTION] = max(resolutions)
    if ranges := offered.get(Setting.RANGE):
        chosen[Setting.RANGE] = min((r for r in ranges if r >= RANGE_MIN_G), default=max(ranges))
    if channels := offered.get(Setting.CHANNELS):
        chosen[Setting.CHANNELS] = max(channels)
    return {setting: (value,) for setting, value in chosen.items()}


def _read_factor(parameters: bytes) -> float:
    """Of the answer to START; 1 where it names none."""
    values = read_settings(parameters).get(Setting.FACTOR, ())
    factor = struct.unpack("<f", values[0].to_bytes(4, "little"))[0] if values else _FACTOR_NONE
    if not 1e-9 < factor < 1e9:
        raise PacketError(f"the sensor's factor is {factor:g}")
    return float(factor)


def _stream(measurement: Measurement, settings: Settings) -> Stream:
    name, sensor, unit, scale, channels = _STREAMS[measurement]
    return Stream(name, sensor, unit, scale, float(settings[Setting.RATE][0]), channels)


def _read_battery(data: bytes) -> Status:
    if len(data) != 1 or data[0] > 100:
        raise PacketError(f"battery level {data.hex() or 'of no bytes'}, must be one byte up to 64")
    return Status(battery_percent=data[0])


def _width(measurement: Measurement, kind: int) -> int:
    """Bytes of one value in full."""
    widths = {
        (Measurement.ACC, 0): 1,
        (Measurement.ACC, 1): 2,
        (Measurement.ACC, 2): 3,
        (Measurement.ACC, _COMPRESSED): 2,
        (Measurement.ACC, _COMPRESSED | 1): 2,
        (Measurement.ECG, 0): 3,
    }
    width = widths.get((measurement, kind))
    if width is None:
        raise PacketError(f"{measurement.name} frame of type {kind:#04x}, which this program does not know")
    return width


def _unpack(payload: bytes, channels: int, width: int) -> Counts:
    if not payload or len(payload) % (width * channels):
        raise PacketError(f"{len(payload)} bytes do not fill {channels} channels of {width} bytes")
    raw = np.frombuffer(payload, np.uint8).reshape(-1, width)
    values = raw.astype(np.int32) @ (1 << 8 * np.arange(width, dtype=np.int32))
    top = np.int32(1 << (8 * width - 1))
    return np.asarray((values ^ top) - top, np.int32).reshape(-1, channels).T


def _pack(counts: Counts, width: int) -> bytes:
    return counts.T.astype("<i4").reshape(-1, 1).view(np.uint8)[:, :width].tobytes()


def _unpack_deltas(payload: bytes, channels: int, width: int) -> Counts:
    first = width * channels
    parts = [_unpack(payload[:first], channels, width).T.astype(np.int64)]
    position = first
    while position < len(payload):
        head = payload[position : position + 2]
        bit_width, count = head[0], head[-1]
        size = (bit_width * count * channels + 7) // 8
        packed = payload[position + 2 : position + 2 + size]
        if len(head) < 2 or bit_width > _DELTA_WIDTH_MAX or not count or (size and not packed):
            raise PacketError(f"block of {count} differences in {bit_width} bits at byte {position}")
        parts.append(bits.unpack(packed.ljust(size, b"\0"), bit_width, count * channels).reshape(count, channels))
        position += 2 + size
    counts = np.cumsum(np.concatenate(parts), axis=0)
    if np.abs(counts).max() > np.iinfo(np.int32).max:
        raise PacketError("differences that add up to more than 32 bits")
    return counts.T.astype(np.int32)


def _pack_deltas(counts: Counts, width: int) -> bytes:
    deltas = np.diff(counts.T, axis=0)
    out = [_pack(counts[:, :1], width)]
    for start in range(0, len(deltas), _BLOCK_MAX):
        block = deltas[start : start + _BLOCK_MAX].ravel()
        bit_width = bits.width(block)
        out.append(bytes((bit_width, len(block) // len(counts))) + bits.pack(block, bit_width))
    return b"".join(out)
