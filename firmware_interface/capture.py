"""Captures: what came over the radio, in a file, as it came. A bug report is a capture.

    fasciwatch capture 1\n  (length, crc32, zlib: entries of one second)  (length, crc32, zlib: ...)  ...

Rules:

* The file is whole after every `write`, which is called once a second: one block more, and synced. A block that
  was cut short, by a kill or a full disk, is passed over; what comes before it is read.
* Blocks are complete in themselves. Compression makes the characteristic, in full in each entry, cost little.
* What is kept is what the decoder was given: payloads, when they came, what interrupted them, and what the device
  said of itself. So `pieces` gives what the decoder gave then, sample by sample and nanosecond by nanosecond.
* Arrival times are of the clock that counts sleep. UTC is in the entries that anchor it.
"""

from __future__ import annotations

import json
import os
import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from pathlib import Path
from typing import TypeVar

from firmware_interface.codecs import Codec, Conversation
from firmware_interface.codecs.families import family_kept_as
from firmware_interface.decoder import Decoder
from firmware_interface.errors import Fault, PacketError
from firmware_interface.samples import Gap, GapReason, Notification, SampleBlock, Status, Stream

_T = TypeVar("_T")

SUFFIX = ".fasciwatch"
_MAGIC = b"fasciwatch capture 1\n"
_BLOCK = struct.Struct("<II")  # length of the compressed entries, their crc32
_ENTRY = struct.Struct("<BBqI")  # kind, device, ns, length of the body
_BLOCK_MAX = 1 << 26
"""Bytes of entries. All that a radio carries in a second is below a hundredth of it; a bound for damaged files."""


class CaptureError(Fault):
    """A capture cannot be written, or is none."""


class _Kind(IntEnum):
    INTRODUCED = 1
    NOTIFICATION = 2
    INTERRUPTED = 3
    ANCHORED = 4
    ENDED = 5


@dataclass(frozen=True, slots=True)
class Introduced:
    """A link is up."""

    address: str
    family: str
    """Its name, or its description."""
    answers: tuple[bytes, ...]
    """What the device said, in the order in which its codec asked: what it is, then at its start."""
    advertised: str
    name: str
    """As it was called."""
    sites: Mapping[str, str]
    """Channel label -> where it was worn."""
    utc_offset_ns: int
    """UTC minus the arrival clock."""
    anew: bool
    """Whether it was taken for another device than before, or is the first."""


@dataclass(frozen=True, slots=True)
class Anchored:
    """UTC is another one from now on."""

    utc_offset_ns: int
    reason: GapReason


@dataclass(frozen=True, slots=True)
class Ended:
    """No more of this device."""


What = Introduced | Notification | GapReason | Anchored | Ended
"""A GapReason: the link or the queue was interrupted."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that happened to one device."""

    device: int
    at_ns: int
    what: What


class Writer:
    """A capture that grows.

    Args:
        path: a file that does not exist yet.

    Raises:
        CaptureError: it cannot be made.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._waiting: list[Entry] = []
        try:
            self._file = path.open("xb")
            self._append(_MAGIC)
        except OSError as error:
            raise _cannot_write(path, error) from error

    def add(self, entry: Entry) -> None:
        """Have it written with the next that are taken."""
        self._waiting.append(entry)

    def take(self) -> list[Entry]:
        """What was added since the last call, for `write`."""
        entries, self._waiting = self._waiting, []
        return entries

    def write(self, entries: Sequence[Entry]) -> None:
        """Write and sync. May be called in another thread than `add` and `take`, by one at a time.

        Raises:
            CaptureError: it could not be written; what was written before is whole.
        """
        try:
            if entries:
                self._append(block(entries))
        except OSError as error:
            raise _cannot_write(self._path, error) from error

    def close(self) -> None:
        """Let the file go."""
        self._file.close()

    def _append(self, data: bytes) -> None:
        self._file.write(data)
        self._file.flush()
        os.fsync(self._file.fileno())


def _cannot_write(path: Path, error: OSError) -> CaptureError:
    if isinstance(error, FileExistsError):
        return CaptureError(f"{path} is there already", "Name another file")
    return CaptureError(f"{path} cannot be written: {error.strerror}", "Free some space, or name another file")


@dataclass(frozen=True, slots=True)
class Captured:
    """One device of a capture, as it was met: its streams, named apart from those of the others."""

    name: str
    streams: tuple[Stream, ...]


@dataclass(frozen=True, slots=True)
class Capture:
    """A capture that was opened."""

    path: Path
    devices: tuple[Captured, ...]
    """In the order in which they were met; one that came back with other streams is another."""
    start_ns: int
    """UTC of the first entry."""
    end_ns: int
    unreadable: int
    """Bytes at the end that are no whole block."""

    def pieces(self) -> Iterator[SampleBlock | Gap]:
        """What the decoders gave while it was captured, in that order. Times are UTC."""
        devices, readers = iter(self.devices), dict[int, _Reader]()
        for entry in _entries(self.path.read_bytes()):
            if isinstance(entry.what, Introduced) and entry.what.anew:
                readers[entry.device] = _Reader(entry.what, next(devices))
            elif isinstance(entry.what, Ended):
                yield from readers.pop(entry.device).end(entry.at_ns)
            elif entry.device in readers:
                yield from readers[entry.device].take(entry)


def read(path: Path) -> Capture:
    """Open the capture at `path`.

    Raises:
        OSError: it cannot be read.
        CaptureError: it is no capture, or holds a device that this program does not know.
    """
    data = path.read_bytes()
    if not data.startswith(_MAGIC):
        raise CaptureError(f"{path.name} is no capture of version 1", "Give a file that `fasciwatch record` wrote")
    offsets, devices, last_ns = dict[int, int](), list[Captured](), 0
    start_ns: int | None = None
    for entry in _entries(data):
        if isinstance(entry.what, Introduced | Anchored):
            offsets[entry.device] = entry.what.utc_offset_ns
        if isinstance(entry.what, Introduced) and entry.what.anew:
            devices.append(_captured(entry.what, devices))
        utc_ns = entry.at_ns + offsets.get(entry.device, 0)
        start_ns, last_ns = utc_ns if start_ns is None else start_ns, max(last_ns, utc_ns)
    if start_ns is None:
        raise CaptureError(f"{path.name} holds nothing", "Record again, with the device in reach")
    return Capture(path, tuple(devices), start_ns, last_ns, len(data) - _whole(data))


class _Reader:
    """One device, decoded again."""

    def __init__(self, said: Introduced, device: Captured) -> None:
        self._decoder = Decoder(_codec(said), said.utc_offset_ns, device.streams)

    def take(self, entry: Entry) -> Iterator[SampleBlock | Gap]:
        match entry.what:
            case Introduced() as said:
                self._decoder.resume(_codec(said))
            case Notification() as notification:
                yield from (i for i in self._decoder.feed(notification) if not isinstance(i, Status))
            case GapReason() as reason:
                self._decoder.interrupt(reason)
            case Anchored() as anchor:
                self._decoder.anchor(anchor.utc_offset_ns, anchor.reason)
            case Ended():
                """The capture's to handle."""

    def end(self, at_ns: int) -> list[Gap]:
        return self._decoder.close(at_ns)


def _codec(said: Introduced) -> Codec:
    try:
        return _made_again(family_kept_as(said.family), said)
    except KeyError as error:
        raise CaptureError(
            f"it holds a device of the family {said.family!r}, which this program does not know",
            "Install a newer fasciwatch",
        ) from error
    except (PacketError, TypeError) as error:
        raise CaptureError(f"what {said.name} said of itself cannot be read: {error}", "Record again") from error


def _made_again(family: type[Codec], said: Introduced) -> Codec:
    """The codec, told again what it was told."""
    answers = iter(said.answers)
    codec = _told(family.introduce(said.advertised), answers)
    _told(codec.start(), answers)
    return codec


def _told(conversation: Conversation[_T], answers: Iterator[bytes]) -> _T:
    try:
        next(conversation)
        while True:
            conversation.send(next(answers, b""))
    except StopIteration as end:
        result: _T = end.value
        return result


def _captured(said: Introduced, before: Sequence[Captured]) -> Captured:
    """With names of streams and labels of channels that tell it from the others."""
    taken = {stream.name for device in before for stream in device.streams}
    others = {c for device in before if device.name != said.name for s in device.streams for c in s.channels}
    streams = (_worn(stream, said, others) for stream in _codec(said).device.streams)
    return Captured(said.name, tuple(replace(s, name=_apart(s.name, said.name, taken)) for s in streams))


def _worn(stream: Stream, said: Introduced, others: set[str]) -> Stream:
    labels = (said.sites.get(label, label) for label in stream.channels)
    return replace(stream, channels=tuple(f"{said.name} {c}" if c in others else c for c in labels))


def _apart(stream: str, device: str, taken: set[str]) -> str:
    names = (f"{device} {stream} {n}" for n in range(2, len(taken) + 3))
    return next(name for name in (stream, f"{device} {stream}", *names) if name not in taken)


# Bytes ----------------------------------------------------------------------------------------------------------


def block(entries: Sequence[Entry]) -> bytes:
    """The entries as one block of the file."""
    packed = zlib.compress(b"".join(_packed(entry) for entry in entries))
    return _BLOCK.pack(len(packed), zlib.crc32(packed)) + packed


def _packed(entry: Entry) -> bytes:
    kind, body = _body(entry.what)
    return _ENTRY.pack(kind, entry.device, entry.at_ns, len(body)) + body


def _body(what: What) -> tuple[_Kind, bytes]:
    match what:
        case Introduced():
            return _Kind.INTRODUCED, _dump(
                address=what.address,
                family=what.family,
                answers=[answer.hex() for answer in what.answers],
                advertised=what.advertised,
                name=what.name,
                sites=dict(what.sites),
                utc_offset_ns=what.utc_offset_ns,
                anew=what.anew,
            )
        case Notification():
            return _Kind.NOTIFICATION, what.characteristic.encode() + b"\0" + what.data
        case GapReason():
            return _Kind.INTERRUPTED, what.encode()
        case Anchored():
            return _Kind.ANCHORED, _dump(utc_offset_ns=what.utc_offset_ns, reason=what.reason)
        case Ended():
            return _Kind.ENDED, b""


def _dump(**fields: object) -> bytes:
    return json.dumps(fields, ensure_ascii=False).encode()


def _blocks(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Each whole block: where it ends, and its entries."""
    position = len(_MAGIC)
    while position + _BLOCK.size <= len(data):
        length, crc = _BLOCK.unpack_from(data, position)
        position += _BLOCK.size + length
        packed = data[position - length : position]
        if len(packed) < length or zlib.crc32(packed) != crc:
            return
        unpacker = zlib.decompressobj()
        try:
            unpacked = unpacker.decompress(packed, _BLOCK_MAX)
        except zlib.error:
            return
        yield position, unpacked


def _whole(data: bytes) -> int:
    return max((end for end, _ in _blocks(data)), default=len(_MAGIC))


def _entries(data: bytes) -> Iterator[Entry]:
    for _, unpacked in _blocks(data):
        position = 0
        while position + _ENTRY.size <= len(unpacked):
            kind, device, at_ns, length = _ENTRY.unpack_from(unpacked, position)
            position += _ENTRY.size + length
            yield Entry(device, at_ns, _what(kind, unpacked[position - length : position], at_ns))


def _what(kind: int, body: bytes, at_ns: int) -> What:
    try:
        match kind:
            case _Kind.INTRODUCED:
                fields = json.loads(body)
                answers = tuple(bytes.fromhex(answer) for answer in fields.pop("answers"))
                return Introduced(answers=answers, **fields)
            case _Kind.NOTIFICATION:
                characteristic, _, data = body.partition(b"\0")
                return Notification(characteristic.decode(), data, at_ns)
            case _Kind.INTERRUPTED:
                return GapReason(body.decode())
            case _Kind.ANCHORED:
                fields = json.loads(body)
                return Anchored(fields["utc_offset_ns"], GapReason(fields["reason"]))
            case _Kind.ENDED:
                return Ended()
    except (ValueError, TypeError, KeyError) as error:
        raise CaptureError(f"an entry of the capture cannot be read: {error}", "Record again") from error
    raise CaptureError(f"the capture has an entry of kind {kind}", "Install a newer fasciwatch")
