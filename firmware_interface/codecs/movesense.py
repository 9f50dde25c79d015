"""Movesense, by its GATT SensorData Protocol (GSP): acceleration, IMU and ECG.

Sources: movesense.com, "GATT SensorData Protocol"; sokolmarek/movesense-commander 216f762, `docs/gsp-protocol.md`
and its captures of a Movesense Flash (August 2026), which say what the specification leaves open.

Rules of the wire:

* Little endian. A request is a code, a reference that the host chooses, and its arguments; answers and data carry
  the reference. What comes of different requests may interleave.
* Data of a measurement is a time in ms and then arrays that fill the packet: all values of one sensor, then of the
  next. Nothing says how many. There is no counter: what is missing is counted by the times.
* One request at a time, and never one to /Info, which is not answered: a request without an answer occupies a slot
  of the sensor, and when none is left it answers 429 to everything until it is restarted, over all links.
* A packet that is too long for the link comes in two: DATA, DATA_PART2. Nothing in the first tells that it is one;
  so a stream's first packets are kept back until the third has shown what they are.

Choices, each made here and nowhere else:

* The time is taken as that of the first sample of its packet [inferred].
* A second part belongs to the first if it comes within half the time that the packet spans; else one of each was
  lost between them, and both are given up.
* The rate of acceleration is the highest offered up to 208 Hz (above, samples are dropped). Its range cannot be
  set by this protocol.
* ECG is taken where there is one, as the reference for contamination, at 200 Hz, from the path that ends in /mV:
  it is in microvolts despite its name, and half as long as the other.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import ClassVar, Self

import numpy as np

from firmware_interface.codecs import Conversation, Counter, Device, Hear, Offer, Write
from firmware_interface.errors import PacketError
from firmware_interface.samples import Counts, Notification, Packet, Sensor, Status, Stream, Unit

SERVICE = "34802252-7185-4d5d-b431-630e7050e8f0"
COMMAND, NOTIFICATION = (f"3480000{n}-7185-4d5d-b431-630e7050e8f0" for n in (1, 2))

ACC_RATE_MAX_HZ, ECG_RATE_MAX_HZ = 208, 200
_AXES = "x", "y", "z"
_TIME = struct.Struct("<I")  # ms
_MS_NS = 1_000_000
_DONE = 200
_BUSY = 429
_REFERENCE = 0x10
"""Of the first subscription; those of the others follow."""
_ALONE = 3
"""So many first parts in a row without a second are whole packets."""
_SUBSCRIPTIONS_MAX = 3
"""What the sensor's own software allows."""
_PATH = re.compile(r"/Meas/(Acc|Gyro|Magn|IMU6|IMU9|ECG)/([1-9]\d{0,3})(/mV)?")


class Request(IntEnum):
    """First byte of a command."""

    HELLO = 0
    SUBSCRIBE = 1
    UNSUBSCRIBE = 2
    GET = 4


class Response(IntEnum):
    """First byte of a notification."""

    ANSWER = 1
    DATA = 2
    DATA_PART2 = 3


@dataclass(frozen=True, slots=True)
class Measurement:
    """What a path gives: streams of equal length, one after the other, in one type of number."""

    path: str
    streams: tuple[Stream, ...]
    dtype: str

    @classmethod
    def at(cls, path: str) -> Measurement:
        """Raises ValueError where the path is none that we read."""
        parts = _PATH.fullmatch(path)
        if not parts:
            raise ValueError(f"{path} is no measurement that this program reads")
        kind, rate_hz, converted = parts[1], float(parts[2]), bool(parts[3])
        acc = Stream("acc", Sensor.ACC, Unit.METRE_PER_SECOND_SQUARED, 1.0, rate_hz, _AXES)
        gyro = Stream("gyro", Sensor.GYRO, Unit.DEGREE_PER_SECOND, 1.0, rate_hz, _AXES)
        mag = Stream("mag", Sensor.MAG, Unit.MICROTESLA, 1.0, rate_hz, _AXES)
        ecg = Stream("ecg", Sensor.ECG, Unit.MICROVOLT, 1.0 if converted else _ECG_UV, rate_hz, ("ECG",))
        streams = {
            "Acc": (acc,),
            "Gyro": (gyro,),
            "Magn": (mag,),
            "IMU6": (acc, gyro),
            "IMU9": (acc, gyro, mag),
            "ECG": (ecg,),
        }[kind]
        return cls(path, streams, "<f4" if kind != "ECG" else "<i2" if converted else "<i4")

    @property
    def unit(self) -> int:
        """Bytes of one sample of all streams."""
        return np.dtype(self.dtype).itemsize * sum(len(stream.channels) for stream in self.streams)

    def samples(self, length: int) -> int:
        """In a payload of so many bytes; 0 where they do not fill it."""
        count, rest = divmod(length - _TIME.size, self.unit)
        return count if count > 0 and not rest else 0


_ECG_UV = 0.381469726563


class Movesense:
    """A Movesense sensor.

    Args:
        name: as it advertises.
        serial: of the sensor.
        firmware: name and version of its application.
        paths: measurements to subscribe to, 1 to 3.
        battery_percent: as it said, to be told with the first packet.
    """

    FAMILY: ClassVar[str] = "Movesense"
    OFFERS: ClassVar[tuple[Offer, ...]] = (
        Offer(Sensor.ACC, Unit.METRE_PER_SECOND_SQUARED, (13, 26, 52, 104, 208, 416, 833, 1666)),
        Offer(Sensor.GYRO, Unit.DEGREE_PER_SECOND, (13, 26, 52, 104, 208, 416, 833, 1666)),
        Offer(Sensor.MAG, Unit.MICROTESLA, (13, 26, 52, 104, 208, 416, 833, 1666)),
        Offer(Sensor.ECG, Unit.MICROVOLT, (125, 128, 200, 250, 256, 500, 512)),
    )
    ADVICE: ClassVar[str] = (
        "Wear it, for contact between its studs switches it on; remove it from this computer's paired devices"
    )
    NOTIFY: ClassVar[tuple[str, ...]] = (NOTIFICATION,)
    SAMPLES: ClassVar[str] = NOTIFICATION
    STOP: ClassVar[tuple[Write, ...]] = tuple(
        Write(COMMAND, bytes((Request.UNSUBSCRIBE, _REFERENCE + n))) for n in range(_SUBSCRIPTIONS_MAX)
    )
    START_GRACE_S: ClassVar[float] = 5.0

    def __init__(
        self, name: str, serial: str, firmware: str, paths: Sequence[str], battery_percent: int | None = None
    ) -> None:
        self.counter = Counter(0, 0, (1 << 32) * _MS_NS)
        measurements = [Measurement.at(path) for path in paths[:_SUBSCRIPTIONS_MAX]]
        self.device = Device(name, serial, firmware, tuple(s for each in measurements for s in each.streams))
        self._subscriptions = {_REFERENCE + n: _Subscription(each) for n, each in enumerate(measurements)}
        self._battery_percent = battery_percent

    @classmethod
    def recognises(cls, services: Collection[str], name: str | None) -> bool:
        """By the name: there is no room for the service beside it."""
        return SERVICE in services or (name or "").startswith("Movesense")

    @classmethod
    def introduce(cls, name: str) -> Conversation[Self]:
        """Who it is, and what it measures how fast."""
        serial, _, _, application, version = yield from _hello()
        battery = yield from _get("/System/Energy/Level")
        acc = yield from _get("/Meas/Acc/Info")
        ecg = yield from _get("/Meas/ECG/Info")
        paths = []
        if rates := _rates(acc):
            paths.append(f"/Meas/Acc/{_choose(rates, ACC_RATE_MAX_HZ)}")
        if rates := _rates(ecg):
            paths.append(f"/Meas/ECG/{_choose(rates, ECG_RATE_MAX_HZ)}/mV")
        if not paths:
            raise PacketError(f"{name or 'the sensor'} offers neither acceleration nor ECG")
        return cls(name, serial, f"{application} {version}".strip(), paths, battery[0] if battery else None)

    def start(self) -> Conversation[None]:
        """One subscription after the other."""
        for reference, subscription in self._subscriptions.items():
            path = subscription.measurement.path
            status, _ = yield from _request(Request.SUBSCRIBE, reference, path.encode() + b"\0")
            if status != _DONE:
                raise PacketError(f"the sensor answers {status} to a subscription to {path}")

    def decode(self, notification: Notification) -> tuple[Packet | Status, ...]:
        """Read one notification; answers, and data that was not asked for, give nothing."""
        data = notification.data
        if notification.characteristic != NOTIFICATION:
            return ()
        if len(data) < 2:
            raise PacketError(f"notification of {len(data)} bytes, needs 2")
        kind, reference, payload = data[0], data[1], data[2:]
        if kind not in set(Response):
            raise PacketError(f"notification of kind {kind}, which this program does not know")
        subscription = self._subscriptions.get(reference)
        if subscription is None or kind == Response.ANSWER:
            return ()
        take = subscription.take if kind == Response.DATA else subscription.complete
        return self._told(take(payload, notification.arrival_ns))

    def encode(self, item: Packet | Status) -> tuple[str, bytes]:
        """The payload for a Packet of the first stream of a path; those of its other streams are zero."""
        if isinstance(item, Status):
            raise ValueError("a Movesense says nothing of itself unasked")
        reference, subscription = next(
            (r, s) for r, s in self._subscriptions.items() if s.measurement.streams[0].name == item.stream
        )
        return NOTIFICATION, write_data(reference, subscription.measurement, item.device_ns or 0, (item.counts,))

    def _told(self, packets: tuple[Packet, ...]) -> tuple[Packet | Status, ...]:
        if self._battery_percent is None or not packets:
            return packets
        status = Status(battery_percent=min(self._battery_percent, 100))
        self._battery_percent = None
        return (status, *packets)


def write_data(reference: int, measurement: Measurement, device_ns: int, arrays: Sequence[Counts]) -> bytes:
    """A whole DATA notification. Streams without an array are zero."""
    length = arrays[0].shape[1]
    given = [*arrays, *(np.zeros((len(s.channels), length)) for s in measurement.streams[len(arrays) :])]
    values = b"".join(each.T.astype(measurement.dtype).tobytes() for each in given)
    return bytes((Response.DATA, reference)) + _TIME.pack(device_ns // _MS_NS % (1 << 32)) + values


def write_answer(reference: int, status: int, data: bytes = b"") -> bytes:
    """What answers any request but HELLO."""
    return bytes((Response.ANSWER, reference)) + struct.pack("<H", status) + data


class _Subscription:
    """One measurement, put together again where it comes in two parts."""

    def __init__(self, measurement: Measurement) -> None:
        self.measurement = measurement
        self._alone = 0
        self._kept: list[tuple[bytes, int]] = []

    def take(self, payload: bytes, arrival_ns: int) -> tuple[Packet, ...]:
        """A packet, or the first part of one."""
        self._alone += 1
        self._kept.append((payload, arrival_ns))
        if self._alone < _ALONE:
            return ()
        whole, self._kept = self._kept, []
        return tuple(packet for each, at_ns in whole for packet in self._read(each, at_ns))

    def complete(self, payload: bytes, arrival_ns: int) -> tuple[Packet, ...]:
        """The second part."""
        kept, self._kept, self._alone = self._kept, [], 0
        if not kept:
            raise PacketError("second part of a packet whose first part did not come")
        first, began_ns = kept[-1]
        whole = first + payload
        span_s = self.measurement.samples(len(whole)) / self.measurement.streams[0].rate_hz
        if span_s and arrival_ns - began_ns > span_s * 1e9 / 2:
            raise PacketError("second part of a packet whose first part did not come before it")
        return self._read(whole, began_ns)

    def _read(self, payload: bytes, began_ns: int) -> tuple[Packet, ...]:
        samples = self.measurement.samples(len(payload))
        if not samples:
            raise PacketError(f"{len(payload)} bytes of {self.measurement.path} hold no whole number of samples")
        device_ns = _TIME.unpack_from(payload)[0] * _MS_NS
        values = np.frombuffer(payload, self.measurement.dtype, offset=_TIME.size)
        if not np.isfinite(values).all():
            raise PacketError(f"numbers of {self.measurement.path} that are none")
        packets = []
        position = 0
        for stream in self.measurement.streams:
            size = samples * len(stream.channels)
            counts = values[position : position + size].reshape(samples, -1).T
            packets.append(Packet(stream.name, counts, device_ns=device_ns, began_ns=began_ns))
            position += size
        return tuple(packets)


def _request(request: Request, reference: int, argument: bytes) -> Conversation[tuple[int, bytes]]:
    """Status and data."""
    yield Write(COMMAND, bytes((request, reference)) + argument)
    answer = yield Hear(NOTIFICATION, bytes((Response.ANSWER, reference)))
    if len(answer) < 4:
        raise PacketError(f"answer of {len(answer)} bytes to {request.name}")
    status = int.from_bytes(answer[2:4], "little")
    if status == _BUSY:
        raise PacketError("the sensor has no free request slot; take its battery out and put it back")
    return status, answer[4:]


def _get(path: str) -> Conversation[bytes]:
    """What it answers; nothing where it refuses."""
    status, data = yield from _request(Request.GET, Request.GET, path.encode() + b"\0")
    return data if status == _DONE else b""


def _hello() -> Conversation[tuple[str, ...]]:
    """Serial, product, address, application and its version; the only answer without a status."""
    yield Write(COMMAND, bytes((Request.HELLO, Request.HELLO)))
    answer = yield Hear(NOTIFICATION, bytes((Response.ANSWER, Request.HELLO)))
    words = [word.decode("utf-8", "replace") for word in answer[3:].split(b"\0")]
    return tuple((*words, *[""] * 5)[:5])


def _rates(info: bytes) -> tuple[int, ...]:
    """The list that an Info begins with: how many, and as many numbers of 16 bits."""
    count = info[0] if info else 0
    if len(info) < 1 + 2 * count and info:
        raise PacketError(f"rates {info.hex()} are cut short")
    rates = struct.unpack_from(f"<{count}H", info, 1) if count else ()
    return tuple(rate for rate in rates if 1 <= rate <= 9999)


def _choose(rates: Collection[int], most: int) -> int:
    return max((rate for rate in rates if rate <= most), default=min(rates))
