"""Any device from a description: what to write to it, where its samples stand. See docs/describe-a-device.md.

Rules:

* A description is TOML. What is wrong with it is said with the line and the reason, and nothing is guessed.
* It can describe samples of fixed layout that begin at a fixed place. What must be computed (differences, bits
  that cross bytes, parts of packets, answers that matter) takes a codec of its own.
* Streams of one device count alike: by samples or by packets, with numbers of one size, or by a clock, or not at
  all, which makes what is missing an estimate.
"""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar, Self, TypeVar

import numpy as np

from firmware_interface.codecs import Conversation, Counter, Device, Offer, Write, say, uuid
from firmware_interface.errors import Fault, PacketError
from firmware_interface.samples import Notification, Packet, Sensor, Status, Stream, Unit

_TYPES = {
    f"{kind}{bits}{order}": np.dtype(f"{'>' if order else '<'}{kind}{bits // 8}")
    for kind, sizes in (("i", (8, 16, 32)), ("u", (8, 16, 32)), ("f", (32,)))
    for bits in sizes
    for order in ("", "be")
}
"""As a description names them -> numpy's. Little endian unless they end in "be"."""
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_SHORT = re.compile(r"[0-9a-f]{4}")
_PAYLOAD_MAX = 512
_T = TypeVar("_T")
_E = TypeVar("_E", bound=StrEnum)


class DescriptionError(Fault):
    """A description that cannot be used; names the line."""

    exit_code: ClassVar[int] = 2


@dataclass(frozen=True, slots=True)
class _Number:
    """A number in the head of a packet."""

    at: int
    dtype: np.dtype[Any]

    def read(self, data: bytes) -> int:
        if len(data) < self.at + self.dtype.itemsize:
            raise PacketError(f"packet of {len(data)} bytes, its head alone has {self.at + self.dtype.itemsize}")
        return int(np.frombuffer(data, self.dtype, 1, self.at)[0])

    def put(self, head: bytearray, value: int) -> None:
        packed = np.array([value % self.modulus], self.dtype).tobytes()
        head[self.at : self.at + len(packed)] = packed

    @property
    def modulus(self) -> int:
        return 1 << 8 * self.dtype.itemsize


@dataclass(frozen=True, slots=True)
class _Layout:
    """How one stream lies in its packets."""

    stream: Stream
    characteristic: str
    begins: bytes
    at: int
    dtype: np.dtype[Any]
    samples: int
    """In each packet; 0: as many as there are."""
    zero: int
    """The number that stands for nothing."""
    counter: _Number | None
    counts_packets: bool
    clock: _Number | None
    tick_ns: int

    def read(self, data: bytes) -> Packet:
        """Raises PacketError."""
        row = self.dtype.itemsize * len(self.stream.channels)
        body = data[self.at :][: self.samples * row or None]
        if not body or len(body) % row or (self.samples and len(body) < self.samples * row):
            raise PacketError(f"{len(body)} bytes of {self.stream.name} do not hold samples of {row}")
        values = np.frombuffer(body, self.dtype).reshape(-1, len(self.stream.channels)).T
        if self.dtype.kind == "f" and not np.isfinite(values).all():
            raise PacketError(f"numbers of {self.stream.name} that are none")
        number = self.counter.read(data) if self.counter else None
        return Packet(
            self.stream.name,
            values if self.dtype.kind == "f" else values.astype(np.int64) - self.zero,
            sequence=number if self.counts_packets else None,
            index=None if self.counts_packets else number,
            device_ns=self.clock.read(data) * self.tick_ns if self.clock else None,
        )

    def write(self, packet: Packet) -> bytes:
        """The inverse; what the description does not name is zero."""
        head = bytearray(self.begins.ljust(self.at, b"\0"))
        if self.counter:
            self.counter.put(head, (packet.sequence if self.counts_packets else packet.index) or 0)
        if self.clock:
            self.clock.put(head, (packet.device_ns or 0) // self.tick_ns)
        return bytes(head) + (packet.counts + self.zero).T.astype(self.dtype).tobytes()


class Described:
    """A device that is described; each description is a class of its own, made by `described`.

    Args:
        name: as it advertises.
    """

    FAMILY: ClassVar[str]
    OFFERS: ClassVar[tuple[Offer, ...]]
    ADVICE: ClassVar[str]
    NOTIFY: ClassVar[tuple[str, ...]]
    SAMPLES: ClassVar[str]
    STOP: ClassVar[tuple[Write, ...]]
    START_GRACE_S: ClassVar[float]
    SOURCE: ClassVar[str]
    """The description."""

    _START: ClassVar[tuple[Write, ...]]
    _NAME: ClassVar[str]
    _SERVICE: ClassVar[str]
    _BATTERY: ClassVar[str]
    _LAYOUTS: ClassVar[tuple[_Layout, ...]]
    _COUNTER: ClassVar[Counter]

    def __init__(self, name: str) -> None:
        self.counter = self._COUNTER
        self.device = Device(name or self.FAMILY, "", "", tuple(layout.stream for layout in self._LAYOUTS))

    @classmethod
    def recognises(cls, services: Collection[str], name: str | None) -> bool:
        """By what the description says, where both name and service are said by both."""
        named = bool(cls._NAME) and (name or "").startswith(cls._NAME)
        offered = bool(cls._SERVICE) and cls._SERVICE in services
        return named and (offered or not services or not cls._SERVICE) if cls._NAME else offered

    @classmethod
    def introduce(cls, name: str) -> Conversation[Self]:
        """The description says all."""
        yield from ()
        return cls(name)

    def start(self) -> Conversation[None]:
        """What the description says."""
        yield from say(*self._START)

    def decode(self, notification: Notification) -> tuple[Packet | Status, ...]:
        """Read one notification."""
        data = notification.data
        if notification.characteristic == self._BATTERY and len(data) == 1:
            return (Status(battery_percent=min(data[0], 100)),)
        here = [layout for layout in self._LAYOUTS if layout.characteristic == notification.characteristic]
        if not here:
            return ()
        read = tuple(layout.read(data) for layout in here if data.startswith(layout.begins))
        if not read:
            raise PacketError(f"packet that begins with {data[:4].hex() or 'nothing'}, which is not described")
        return read

    def encode(self, item: Packet | Status) -> tuple[str, bytes]:
        """The payload for a Packet or a battery."""
        if isinstance(item, Status):
            return self._BATTERY, bytes((item.battery_percent or 0,))
        layout = next(layout for layout in self._LAYOUTS if layout.stream.name == item.stream)
        return layout.characteristic, layout.write(item)


def described(text: str, path: str = "description") -> type[Described]:
    """The family that `text` describes.

    Raises:
        DescriptionError: it cannot be used; says in which line of `path`, and why.
    """
    try:
        table = _Table(tomllib.loads(text), text, path)
    except tomllib.TOMLDecodeError as error:
        raise DescriptionError(f"{path}: no valid TOML: {error}", "Correct that line") from error
    family = table.take("family", _name)
    name, service = table.take("name", _name, ""), table.take("service", _characteristic, "")
    if not name and not service:
        raise table.wrong("family", "neither name nor service says how to recognise it")
    layouts = tuple(_layout(each) for each in table.tables("stream"))
    battery = table.take("battery", _characteristic, "")
    attributes = {
        "FAMILY": family,
        "OFFERS": tuple(Offer(e.stream.sensor, e.stream.unit, (e.stream.rate_hz,)) for e in layouts),
        "ADVICE": table.take("advice", _name, "Switch it on"),
        "NOTIFY": tuple(dict.fromkeys([each.characteristic for each in layouts] + [battery] * bool(battery))),
        "SAMPLES": layouts[0].characteristic,
        "STOP": tuple(_write(each) for each in table.tables("stop", least=0)),
        "START_GRACE_S": table.take("start_grace_s", _positive, 3.0),
        "SOURCE": text,
        "_START": tuple(_write(each) for each in table.tables("start", least=0)),
        "_NAME": name,
        "_SERVICE": service,
        "_BATTERY": battery,
        "_LAYOUTS": layouts,
        "_COUNTER": _counter(table, layouts),
    }
    table.end()
    return type("Described", (Described,), attributes)


def _layout(table: _Table) -> _Layout:
    name = table.take("name", _name)
    channels = table.take("channels", _labels)
    stream = Stream(
        name,
        table.take("sensor", _one_of(Sensor)),
        table.take("unit", _one_of(Unit), Unit.COUNT),
        table.take("scale", _positive, 1.0),
        table.take("rate_hz", _rate),
        channels,
    )
    counter, counts_packets = _number(table, "counter"), table.take("counts", _counted, "samples") == "packets"
    clock, tick_us = _number(table, "clock"), table.take("clock_tick_us", _positive, 1.0)
    layout = _Layout(
        stream,
        table.take("from", _characteristic),
        table.take("begins", _bytes, b""),
        table.take("at", _place, 0),
        table.take("type", _type),
        table.take("samples", _place, 0),
        table.take("zero", _whole, 0),
        counter,
        counts_packets,
        clock,
        round(1000 * tick_us),
    )
    heads = [len(layout.begins), *(each.at + each.dtype.itemsize for each in (counter, clock) if each)]
    if max(heads) > layout.at:
        raise table.wrong("at", f"samples begin at byte {layout.at}, but what comes before takes {max(heads)}")
    if stream.unit is Unit.COUNT and stream.scale != 1.0:
        raise table.wrong("scale", "counts have none; say the unit that it leads to")
    table.end()
    return layout


def _number(table: _Table, key: str) -> _Number | None:
    """{ at = 0, type = "u16" }"""
    if key not in table.values:
        return None
    inner = table.inner(key)
    number = _Number(inner.take("at", _place), inner.take("type", _type))
    if number.dtype.kind != "u":
        raise inner.wrong("type", "a number that counts is u8, u16 or u32")
    inner.end()
    return number


def _counter(table: _Table, layouts: tuple[_Layout, ...]) -> Counter:
    kinds = {
        (
            each.counter.modulus if each.counter and each.counts_packets else 0,
            each.counter.modulus if each.counter and not each.counts_packets else 0,
            each.clock.modulus * each.tick_ns if each.clock else 0,
        )
        for each in layouts
    }
    if len(kinds) > 1:
        raise table.wrong("stream", "the streams of a device must count alike")
    if len({each.stream.name for each in layouts}) < len(layouts):
        raise table.wrong("stream", "two streams have one name")
    return Counter(*kinds.pop())


def _write(table: _Table) -> Write:
    write = Write(table.take("to", _characteristic), table.take("bytes", _bytes))
    table.end()
    return write


class _Table:
    """A table of a description: each key is taken once, and what is left over is not known."""

    def __init__(self, values: Mapping[str, Any], text: str, path: str, begin: int = 0) -> None:
        self.values = dict(values)
        self._text, self._path, self._begin = text, path, begin
        self._known: list[str] = []

    def take(self, key: str, check: Callable[[Any], _T], default: _T | None = None) -> _T:
        """The value of `key`; without a default it must be there. `check` raises ValueError."""
        self._known.append(key)
        if key not in self.values:
            if default is None:
                raise self.wrong("", f"{key} is missing")
            return default
        value = self.values.pop(key)
        try:
            return check(value)
        except (ValueError, TypeError) as error:
            raise self.wrong(key, f"{key} = {value!r} {error}") from error

    def tables(self, key: str, *, least: int = 1) -> list[_Table]:
        """[[key]] ..."""
        self._known.append(key)
        found = self.values.pop(key, [])
        if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
            raise self.wrong(key, f"{key} must be a list of tables, each begun by a line [[{key}]]")
        if len(found) < least:
            raise self.wrong(key, f"there is no [[{key}]]")
        heading = re.compile(rf"\s*\[\[\s*{key}\s*\]\]")
        begins = [number for number, line in enumerate(self._text.splitlines()) if heading.match(line)]
        lines = begins if len(begins) == len(found) else [self._begin] * len(found)
        return [_Table(each, self._text, self._path, line) for each, line in zip(found, lines, strict=True)]

    def inner(self, key: str) -> _Table:
        """key = { ... }"""
        self._known.append(key)
        value = self.values.pop(key)
        if not isinstance(value, dict):
            raise self.wrong(key, f"{key} = {value!r} must be a table, as in {key} = {{ at = 0, type = 'u16' }}")
        return _Table(value, self._text, self._path, self._line(key) - 1)

    def end(self) -> None:
        """Nothing may be left."""
        for key in self.values:
            raise self.wrong(key, f"unknown key {key}; known here: {', '.join(self._known)}")

    def wrong(self, key: str, reason: str) -> DescriptionError:
        """What to raise."""
        return DescriptionError(f"{self._path}, line {self._line(key)}: {reason}", "See docs/describe-a-device.md")

    def _line(self, key: str) -> int:
        """Where `key` stands, at or after the beginning of this table; else that beginning."""
        lines = self._text.splitlines()
        for number in range(self._begin, len(lines)):
            if key and re.search(rf"(^|[{{,\[])\s*{re.escape(key)}\s*[=\]]", lines[number]):
                return number + 1
        return self._begin + 1


def _name(value: object) -> str:
    if not isinstance(value, str) or not value.strip() or not value.isprintable():
        raise ValueError("must be text of one line in quotes")
    return value.strip()


def _characteristic(value: object) -> str:
    text = value.lower() if isinstance(value, str) else ""
    if _SHORT.fullmatch(text):
        return uuid(int(text, 16))
    if not _UUID.fullmatch(text):
        raise ValueError("must be a UUID: 2a19, or 0000ffe4-0000-1000-8000-00805f9a34fb")
    return text


def _bytes(value: object) -> bytes:
    try:
        return bytes.fromhex(str(value))
    except ValueError as error:
        raise ValueError('must be bytes in hexadecimal, as in "ff 0a 00"') from error


def _place(value: object) -> int:
    if type(value) is not int or not 0 <= value <= _PAYLOAD_MAX:
        raise ValueError(f"must be a whole number from 0 to {_PAYLOAD_MAX}")
    return value


def _whole(value: object) -> int:
    if type(value) is not int or abs(value) >= 1 << 31:
        raise ValueError("must be a whole number of 32 bits")
    return value


def _positive(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not (0 < value < math.inf):
        raise ValueError("must be a number above 0")
    return float(value)


def _rate(value: object) -> float:
    if not 1 <= (rate_hz := _positive(value)) <= 1e5:
        raise ValueError("must be from 1 to 100000")
    return rate_hz


def _labels(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not value or len(set(map(str, value))) < len(value):
        raise ValueError('must be a list of different labels, as in ["x", "y", "z"]')
    return tuple(_name(each) for each in value)


def _one_of(kind: type[_E]) -> Callable[[object], _E]:
    def check(value: object) -> _E:
        for each in kind:
            if each == value:
                return each
        raise ValueError(f"must be one of {', '.join(kind)}")

    return check


def _type(value: object) -> np.dtype[Any]:
    if not isinstance(value, str) or value not in _TYPES:
        raise ValueError(f"must be one of {', '.join(_TYPES)}")
    return _TYPES[value]


def _counted(value: object) -> str:
    if value not in ("samples", "packets"):
        raise ValueError('must be "samples" or "packets"')
    return str(value)
