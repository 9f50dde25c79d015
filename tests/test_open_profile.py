"""The open profile: bytes to values and back, and docs/open-profile.md word for word.

Literals here are on purpose: renumbering a tag, a flag or a field must fail.
"""

import re
import struct
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from firmware_interface.codecs import Device, open_profile
from firmware_interface.codecs.open_profile import Opcode, OpenProfile, Request, Result, describe
from firmware_interface.errors import PacketError
from firmware_interface.samples import Notification, Packet, Sensor, Started, Status, Stream, Unit

BASE = "-7a3d-4b1e-9d2f-6c8e51a0b7d4"
SERVICE, INFO, CONTROL, DATA, STATUS, TIME = (f"fa5c000{n}{BASE}" for n in range(1, 7))
PAGE = (Path(__file__).parents[1] / "docs" / "open-profile.md").read_text(encoding="utf-8")

EMG = Stream("emg", Sensor.EMG, Unit.MICROVOLT, 0.5, 1000.0, ("FDI", "APB"))
ACC = Stream("acc", Sensor.ACC, Unit.G, 1 / 4096, 100.0, ("x", "y", "z"))
TWIG = Device("Twig", "0017", "1.0", (EMG, ACC))
COUNTS = np.array([[100, 103, 98], [-7, -7, -5]], np.int16)

SENSORS = Sensor.EMG, Sensor.ACC, Sensor.ECG
UNITS = Unit.COUNT, Unit.MICROVOLT, Unit.MILLIVOLT, Unit.G, Unit.METRE_PER_SECOND_SQUARED
Item = Packet | Started | Status

INT16 = st.integers(-(1 << 15), (1 << 15) - 1) | st.sampled_from([-(1 << 15), -1, 0, 1, (1 << 15) - 1])
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


def examples() -> dict[str, bytes]:
    """The fenced blocks of the page: hex up to two spaces, then words."""
    blocks = re.findall(r"^```hex (\S+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    return {
        name: b"".join(bytes.fromhex(line.split("  ")[0]) for line in text.splitlines()) for name, text in blocks
    }


EXAMPLES = examples()
BOARD = OpenProfile(describe(TWIG))


def decode(characteristic: str, data: bytes, board: OpenProfile = BOARD) -> tuple[Item, ...]:
    return board.decode(Notification(characteristic, data, 0))


def same(a: Packet, b: Packet) -> bool:
    def fields(p: Packet) -> tuple[object, ...]:
        flags = p.overrun, p.lead_off_changed, p.clipped
        return p.stream, p.counts.shape, p.counts.tolist(), p.sequence, p.index, p.device_ns, flags

    return fields(a) == fields(b)


def board_with(channels: int) -> OpenProfile:
    labels = tuple(f"c{n}" for n in range(channels))
    stream = Stream("s", Sensor.EMG, Unit.COUNT, 1.0, 1000.0, labels)
    return OpenProfile(describe(Device("", "", "", (stream,))))


@st.composite
def packets(draw: st.DrawFn) -> Packet:
    """Any packet, with differences as narrow or wide as they come."""
    shape = draw(array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=9) | st.just((2, 600)))
    elements = draw(st.sampled_from([st.integers(-1, 0), st.integers(-100, 99), INT16]))
    counts = draw(arrays(np.int16, shape, elements=elements))
    flag = st.booleans()
    return Packet(
        "s",
        counts,
        sequence=draw(st.integers(0, 0xFFFF)),
        index=draw(st.integers(0, 0xFFFFFFFF)),
        device_ns=draw(st.integers(0, 0xFFFFFFFF)) * 1000,
        overrun=draw(flag),
        lead_off_changed=draw(flag),
        clipped=draw(flag),
    )


@st.composite
def devices(draw: st.DrawFn) -> Device:
    """Any device that Info can hold."""
    name = TEXT.filter(bool)
    rate, scale = st.floats(1, 1e5, width=32), st.floats(-1e9, 1e9, width=32).filter(bool)
    streams = tuple(
        Stream(
            label,
            draw(st.sampled_from(SENSORS)),
            draw(st.sampled_from(UNITS)),
            draw(scale),
            draw(rate),
            tuple(draw(st.lists(name, min_size=1, max_size=4, unique=True))),
        )
        for label in draw(st.lists(name, min_size=1, max_size=16, unique=True))
    )
    return Device(draw(TEXT), draw(TEXT), draw(TEXT), streams)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A valid payload with bytes changed, cut off, put in or repeated."""
    data = bytearray(draw(st.sampled_from(list(EXAMPLES.values()))))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        new = draw(st.binary(max_size=3))
        data[at : at + draw(st.integers(0, 3))] = new
    return bytes(data) * draw(st.sampled_from([1, 1, 2]))


# The page and the code say the same.


def test_page_names_every_uuid() -> None:
    """What a firmware author copies is what we look for."""
    assert (open_profile.SERVICE, open_profile.INFO) == (SERVICE, INFO)
    assert OpenProfile.NOTIFY == (CONTROL, STATUS, DATA)
    for uuid in (SERVICE, INFO, CONTROL, DATA, STATUS, TIME):
        assert f"`{uuid}`" in PAGE


def test_page_examples_are_complete() -> None:
    """Every example below is read; a new one must be too."""
    names = "info start start-reply stop stop-reply data delta status time-write time-read"
    assert list(EXAMPLES) == names.split()


def test_page_info() -> None:
    """The worked example is the device that the page describes, both ways."""
    assert OpenProfile(EXAMPLES["info"]).device == TWIG
    assert describe(TWIG) == EXAMPLES["info"]


@pytest.mark.parametrize(("example", "delta"), [("data", False), ("delta", True)])
def test_page_data(example: str, delta: bool) -> None:
    """Both packings of the three samples, both ways."""
    packet = Packet("emg", COUNTS, sequence=65535, index=4000, device_ns=4_000_000_000)
    (read,) = decode(DATA, EXAMPLES[example])
    assert isinstance(read, Packet)
    assert same(read, packet)
    assert BOARD.encode(packet, delta=delta) == (DATA, EXAMPLES[example])


def test_page_status() -> None:
    """The worked example, both ways."""
    status = Status(battery_percent=87, lead_off=(False, True), overruns=3, drops=1, temperature_c=31.0)
    assert decode(STATUS, EXAMPLES["status"]) == (status,)
    assert BOARD.encode(status) == (STATUS, EXAMPLES["status"])


def test_page_control() -> None:
    """Requests as this host sends them, replies as a board gives them."""
    (start,), (stop,) = OpenProfile.START, OpenProfile.STOP
    assert (start.characteristic, start.data) == (CONTROL, EXAMPLES["start"])
    assert (stop.characteristic, stop.data) == (CONTROL, EXAMPLES["stop"])
    assert Request.read(start.data).reply(Result.DONE, {0: 4000, 1: 400}) == EXAMPLES["start-reply"]
    assert Request.read(stop.data).reply(Result.DONE) == EXAMPLES["stop-reply"]
    assert decode(CONTROL, EXAMPLES["start-reply"]) == (Started("emg", 4000), Started("acc", 400))
    assert decode(CONTROL, EXAMPLES["stop-reply"]) == ()


def test_page_time() -> None:
    """2026-09-21 14:13:20 UTC; the board's clock went from 4 s to 5 s."""
    assert struct.unpack("<Q", EXAMPLES["time-write"]) == (1_790_000_000_000_000,)
    assert struct.unpack("<QQQ", EXAMPLES["time-read"]) == (1_790_000_000_000_000, 4_000_000, 5_000_000)


# Golden vectors of our own.


@pytest.mark.parametrize(
    ("code", "sensor"), [(1, Sensor.EMG), (2, Sensor.ACC), (3, Sensor.ECG)], ids=["emg", "acc", "ecg"]
)
def test_golden_sensors(code: int, sensor: Sensor) -> None:
    """A sensor keeps its number."""
    info = bytes.fromhex(f"01 10 0c 00 {code:02x} 00 01 0000fa43 0000803f")
    stream = Stream("stream 0", sensor, Unit.COUNT, 1.0, 500.0, ("stream 0 1",))
    assert OpenProfile(info).device.streams == (stream,)


@pytest.mark.parametrize(("code", "unit"), list(enumerate(["count", "uV", "mV", "g", "m/s^2"])))
def test_golden_units(code: int, unit: str) -> None:
    """A unit keeps its number."""
    info = bytes.fromhex(f"01 10 0c 00 01 {code:02x} 01 0000fa43 0000803f")
    assert OpenProfile(info).device.streams[0].unit == unit


@pytest.mark.parametrize(("bit", "flag"), [(0x01, "overrun"), (0x02, "lead_off_changed"), (0x04, "clipped")])
def test_golden_flags(bit: int, flag: str) -> None:
    """A flag keeps its bit; bits that mean nothing yet change nothing."""
    (packet,) = decode(DATA, bytes((0x10, bit | 0xF0)) + bytes(10) + b"\1\0\2\0")
    assert isinstance(packet, Packet)
    assert [name for name in ("overrun", "lead_off_changed", "clipped") if getattr(packet, name)] == [flag]


def test_golden_header() -> None:
    """Each field in its place, at its largest."""
    (packet,) = decode(DATA, bytes.fromhex("11 00 0201 06050403 feffffff 0080 ff7f 0000"))
    assert isinstance(packet, Packet)
    expected = Packet("acc", np.array([[-32768], [32767], [0]]), 0x0102, 0x03040506, 0xFFFFFFFE * 1000)
    assert same(packet, expected)


def test_golden_delta_across_blocks_and_wrap() -> None:
    """16-bit differences wrap modulo 2**16; a second block goes on from the first."""
    header = bytes.fromhex("10 08 0000 00000000 00000000")
    data = header + bytes.fromhex("ff7f 0080  10 01 0100 ffff  01 01 03")
    (packet,) = decode(DATA, data)
    assert isinstance(packet, Packet)
    assert packet.counts.tolist() == [[32767, -32768, 32767], [-32768, 32767, 32766]]


@pytest.mark.parametrize(
    ("data", "status"),
    [
        ("01 ff 00000000 0000 0000 80", Status(None, (False, False))),
        ("01 00 ffffffff ffff ffff 7f", Status(0, (True, True), 65535, 65535, 127.0)),
        ("01 c8 00000000 0000 0000 81 2a2a", Status(100, (False, False), 0, 0, -127.0)),
    ],
    ids=["unknown", "extremes", "newer and longer"],
)
def test_golden_status(data: str, status: Status) -> None:
    """What is not known is None; what is too much is passed over."""
    assert decode(STATUS, bytes.fromhex(data)) == (status,)


def test_golden_control() -> None:
    """Opcodes and results keep their numbers."""
    assert list(Opcode) == [1, 2, 3]
    assert [(result.name, int(result)) for result in Result] == [
        ("DONE", 0), ("UNKNOWN_OPCODE", 1), ("BAD_ARGUMENT", 2), ("BUSY", 3),
    ]  # fmt: skip
    assert Request.read(b"\x09\x2a").reply(Result.UNKNOWN_OPCODE) == b"\x89\x2a\x01"


# Round trips.


@given(packets(), st.booleans())
def test_packet_round_trip(packet: Packet, delta: bool) -> None:
    """What a board packs, a host unpacks, either way of packing, any channels, any width."""
    board = board_with(len(packet.counts))
    characteristic, data = board.encode(packet, delta=delta)
    (read,) = decode(characteristic, data, board)
    assert isinstance(read, Packet)
    assert same(read, packet)


@given(st.integers(1, 16), st.integers(1, 5))
def test_delta_is_as_narrow_as_it_can_be(width: int, channels: int) -> None:
    """Differences at both ends of each width are packed in that width, and come back."""
    ends = [-(1 << (width - 1)), (1 << (width - 1)) - 1]
    column = np.cumsum([0, *ends, *reversed(ends)]).astype(np.int16)
    packet = Packet("s", np.tile(column, (channels, 1)), 0, 0, 0)
    board = board_with(channels)
    _, data = board.encode(packet, delta=True)
    assert data[12 + 2 * channels] == width
    (read,) = decode(DATA, data, board)
    assert isinstance(read, Packet)
    assert same(read, packet)


@given(devices())
def test_info_round_trip(device: Device) -> None:
    """Whatever a device says of itself arrives."""
    assert OpenProfile(describe(device)).device == device


@given(
    st.none() | st.integers(0, 100),
    st.tuples(st.booleans(), st.booleans()),
    st.integers(0, 65535),
    st.integers(0, 65535),
    st.none() | st.integers(-127, 127).map(float),
)
def test_status_round_trip(
    battery: int | None, lead_off: tuple[bool, bool], overruns: int, drops: int, celsius: float | None
) -> None:
    """Every value that Status can hold."""
    status = Status(battery, lead_off, overruns, drops, celsius)
    assert decode(*BOARD.encode(status)) == (status,)


@given(st.dictionaries(st.integers(0, 15), st.integers(0, 0xFFFFFFFF)))
def test_start_reply_round_trip(first: dict[int, int]) -> None:
    """Streams that Info does not name are passed over."""
    names = {0: "emg", 1: "acc"}
    reply = Request.read(b"\1\1\xff").reply(Result.DONE, first)
    known = {names[number]: index for number, index in first.items() if number in names}
    assert decode(CONTROL, reply) == tuple(Started(name, index) for name, index in known.items())


# Whatever a radio may bring.


@given(st.sampled_from([DATA, STATUS, CONTROL, TIME, "unknown"]), st.binary(max_size=300) | damaged())
def test_any_payload_gives_values_or_a_packet_error(characteristic: str, data: bytes) -> None:
    """Nothing else, ever; and what is read as samples has the shape of its stream."""
    try:
        items = decode(characteristic, data)
    except PacketError:
        return
    widths = {"emg": 2, "acc": 3}
    for item in items:
        if isinstance(item, Packet):
            assert item.counts.shape[0] == widths[item.stream]
            assert item.counts.shape[1] >= 1


@given(st.binary(max_size=300).map(lambda rest: b"\1" + rest) | st.binary(max_size=300) | damaged())
def test_any_info_gives_a_device_or_a_packet_error(info: bytes) -> None:
    """And a device that is read has streams that can be told apart."""
    try:
        device = OpenProfile(info).device
    except PacketError:
        return
    assert len({stream.name for stream in device.streams}) == len(device.streams) >= 1
    for stream in device.streams:
        assert len(set(stream.channels)) == len(stream.channels) >= 1


@given(st.binary(max_size=5))
def test_any_request_is_read_or_refused(data: bytes) -> None:
    """A board can reply to all that have an opcode and a reference."""
    try:
        request = Request.read(data)
    except PacketError:
        assert len(data) < 2
        return
    assert request.reply(Result.BUSY) == bytes((data[0] | 0x80, data[1], 3))


def cuts(data: bytes) -> Iterator[bytes]:
    return (data[:length] for length in range(len(data)))


@pytest.mark.parametrize(("characteristic", "example"), [(DATA, "delta"), (STATUS, "status")])
def test_every_cut_is_safe(characteristic: str, example: str) -> None:
    """A payload that ends early is an error, or is whole without what was cut off: never made up."""
    for data in cuts(EXAMPLES[example]):
        try:
            items = decode(characteristic, data)
        except PacketError:
            continue
        assert len(data) == 16, "the first sample alone"
        assert [item.counts.tolist() for item in items if isinstance(item, Packet)] == [[[100], [-7]]]


@pytest.mark.parametrize(
    ("characteristic", "data", "words"),
    [
        (DATA, "20 00 0000 00000000 00000000 0100 0100", "version 2"),
        (DATA, "00 00 0000 00000000 00000000 0100 0100", "version 0"),
        (DATA, "12 00 0000 00000000 00000000 0100 0100", "stream 2"),
        (DATA, "10 00 0000 00000000 00000000", "0 bytes"),
        (DATA, "10 00 0000 00000000 00000000 0100", "2 channels"),
        (DATA, "10 08 0000 00000000 00000000 0100 0100 04", "cut short"),
        (DATA, "10 08 0000 00000000 00000000 0100 0100 0001", "0 bits"),
        (DATA, "10 08 0000 00000000 00000000 0100 0100 1101 ffffffffff", "17 bits"),
        (DATA, "10 08 0000 00000000 00000000 0100 0100 0400", "0 samples"),
        (DATA, "10 08 0000 00000000 00000000 0100 0100 0402 00", "2 samples"),
        (STATUS, "02 00 00000000 0000 0000 00", "version 2"),
        (STATUS, "01 00 00000000 0000 0000", "10 bytes"),
        (CONTROL, "81 01", "2 bytes"),
        (CONTROL, "81 01 00 00", "1 bytes"),
    ],
)
def test_malformed_payload_says_why(characteristic: str, data: str, words: str) -> None:
    """One line, with the value that did it."""
    with pytest.raises(PacketError, match=words) as caught:
        decode(characteristic, bytes.fromhex(data))
    assert "\n" not in str(caught.value)


STREAM_0 = "10 0c 00 01 00 01 0000fa43 0000803f"


@pytest.mark.parametrize(
    ("info", "words"),
    [
        ("", "empty"),
        ("02" + STREAM_0, "version 2"),
        ("01", "no stream"),
        ("01 01", "cut short"),
        ("01 01 05 41", "cut short"),
        ("01 10 0b 00 01 00 01 0000fa43 000080", "11 bytes"),
        ("01 10 0c 00 09 00 01 0000fa43 0000803f", "sensor 9"),
        ("01 10 0c 00 01 09 01 0000fa43 0000803f", "unit 9"),
        ("01 10 0c 00 01 00 00 0000fa43 0000803f", "0 channels"),
        ("01 10 0c 00 01 00 01 00000000 0000803f", "0 Hz"),
        ("01 10 0c 00 01 00 01 0000c07f 0000803f", "nan Hz"),
        ("01 10 0c 00 01 00 01 0000807f 0000803f", "inf Hz"),
        ("01 10 0c 00 01 00 01 01000000 0000803f", "e-45 Hz"),
        ("01 10 0c 00 01 00 01 0000fa43 00000000", "scale 0"),
        ("01 10 0c 00 01 00 01 0000fa43 0000c07f", "scale nan"),
        ("01 10 0c 10 01 00 01 0000fa43 0000803f", "above 15"),
        ("01" + STREAM_0 + STREAM_0, "twice"),
        ("01" + STREAM_0 + "10 0d 00 01 00 01 0000fa43 0000803f 41", "twice"),
        ("01 10 0c 00 01 00 02 0000fa43 0000803f 11 03 00 00 41 11 03 00 01 41", "one label"),
    ],
)
def test_malformed_info_says_why(info: str, words: str) -> None:
    """One line, with the value that did it."""
    with pytest.raises(PacketError, match=words):
        OpenProfile(bytes.fromhex(info))


def test_unknown_tags_are_passed_over() -> None:
    """A board may be newer than its host; and entries come in any order."""
    info = EXAMPLES["info"]
    entries = [b"\x77\x03abc", b"\x04\x00", b"\xff\x01\xff"]
    position = 1
    while position < len(info):
        end = position + 2 + info[position + 1]
        entries.append(info[position:end])
        position = end
    backwards = [*reversed([e for e in entries if e[0] != 0x10]), *(e for e in entries if e[0] == 0x10)]
    assert OpenProfile(info[:1] + b"".join(backwards)).device == TWIG


def test_text_that_is_not_utf8_is_kept_readable() -> None:
    """A damaged name is no reason to lose the samples."""
    device = OpenProfile(bytes.fromhex("01 01 02 41ff" + STREAM_0)).device
    assert device.name == "A\ufffd"


def test_recognised_by_service_alone() -> None:
    """Names are anyone's."""
    assert OpenProfile.recognises([SERVICE, "180f"], None)
    assert not OpenProfile.recognises(["180f"], "Twig")


def test_unpacked_samples_cannot_be_changed_from_outside() -> None:
    """The payload may be a buffer that the radio writes to again; `bytes` is a copy."""
    (packet,) = decode(DATA, EXAMPLES["data"])
    assert isinstance(packet, Packet)
    assert not packet.counts.flags.writeable


def _seconds(characteristic: str, data: bytes) -> float:
    """The fastest of five, which is the one that nothing else disturbed."""

    def once() -> float:
        begin = time.perf_counter()
        decode(characteristic, data)
        return time.perf_counter() - begin

    return min(once() for _ in range(5))


def test_time_is_linear() -> None:
    """The worst payload there is, all one-sample blocks: eight times as long takes no 64 times as long."""
    first, block = EXAMPLES["delta"][:16], bytes.fromhex("01 01 03")
    times = [_seconds(DATA, first + block * blocks) for blocks in (250, 2000, 16000)]
    assert all(after < 24 * before for before, after in pairwise(times))


def test_info_time_is_linear() -> None:
    """As above: labels of channels that no stream has."""
    label = bytes.fromhex("11 03 0f 00 41")

    def seconds(labels: int) -> float:
        info = EXAMPLES["info"] + label * labels
        begin = time.perf_counter()
        OpenProfile(info)
        return time.perf_counter() - begin

    few, many = (min(seconds(labels) for _ in range(5)) for labels in (1000, 8000))
    assert many < 24 * few
