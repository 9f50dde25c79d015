"""The encoder of the reference firmware, compiled, against the Python codec, byte for byte."""

import ctypes
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from firmware_interface.codecs import Device
from firmware_interface.codecs.open_profile import (
    CONTROL,
    DATA,
    INFO,
    SERVICE,
    STATUS,
    Flag,
    Opcode,
    OpenProfile,
    Request,
    Result,
    Tag,
    describe,
)
from firmware_interface.emulated.wearable import Wearable, WearableSettings
from firmware_interface.samples import Packet, Sensor, Status, Stream, Unit
from tests.test_wearable import CountingBody

LIBRARY = Path(__file__).parents[1] / "firmware_interface/firmware/OpenProfile"
HEADER = LIBRARY / "src/open_profile.h"
WARNINGS = ["-Wall", "-Wextra", "-Wconversion", "-Wno-sign-conversion", "-Werror"]
pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")
SIZE = 4096


class Header(ctypes.Structure):
    _fields_ = (
        ("stream", ctypes.c_uint8),
        ("flags", ctypes.c_uint8),
        ("sequence", ctypes.c_uint16),
        ("index", ctypes.c_uint32),
        ("device_us", ctypes.c_uint32),
    )


@pytest.fixture(scope="session")
def c(tmp_path_factory):
    library = tmp_path_factory.mktemp("firmware") / "open_profile.so"
    flags = ["-std=c99", "-pedantic", "-O1", "-shared", "-fPIC", "-DOP_API="]
    subprocess.run(["gcc", *flags, *WARNINGS, "-x", "c", HEADER, "-o", library], check=True)
    loaded = ctypes.CDLL(str(library))
    for name in ("op_info_begin", "op_info_text", "op_info_stream", "op_info_channel", "op_reply", "op_data"):
        getattr(loaded, name).restype = ctypes.c_size_t
    loaded.op_data_delta.restype = loaded.op_status.restype = ctypes.c_size_t
    loaded.op_test_signal.restype = ctypes.c_int16
    return loaded


def size_t(value):
    return ctypes.c_size_t(value)


def written(call, *arguments, size=SIZE):
    out = (ctypes.c_uint8 * SIZE)(*b"\xee" * SIZE)
    length = call(out, size_t(size), *arguments)
    assert bytes(out[size:]) == b"\xee" * (SIZE - size)
    return bytes(out[:length])


TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), min_size=1, max_size=12)
FLOAT = st.floats(width=32, allow_nan=False, allow_infinity=False)
SENSORS = {Sensor.EMG: 1, Sensor.ACC: 2, Sensor.ECG: 3}
UNITS = {u: n for n, u in enumerate((Unit.COUNT, Unit.MICROVOLT, Unit.MILLIVOLT, Unit.G))}
STREAMS = st.builds(
    Stream,
    name=TEXT,
    sensor=st.sampled_from(list(SENSORS)),
    unit=st.sampled_from(list(UNITS)),
    scale=FLOAT.filter(bool),
    rate_hz=st.floats(1, 1e5, width=32),
    channels=st.lists(TEXT, min_size=1, max_size=4, unique=True).map(tuple),
)
DEVICES = st.builds(
    Device,
    name=TEXT,
    serial=TEXT,
    firmware=TEXT,
    streams=st.lists(STREAMS, min_size=1, max_size=3, unique_by=lambda stream: stream.name).map(tuple),
)


@given(DEVICES)
def test_info(c, device):
    out = (ctypes.c_uint8 * SIZE)()
    length = c.op_info_begin(out, size_t(SIZE))
    texts = ((Tag.NAME, device.name), (Tag.SERIAL, device.serial), (Tag.FIRMWARE, device.firmware))
    for tag, text in texts:
        length = c.op_info_text(out, size_t(length), size_t(SIZE), int(tag), text.encode())
    for number, stream in enumerate(device.streams):
        kind = number, SENSORS[stream.sensor], UNITS[stream.unit], len(stream.channels)
        scales = ctypes.c_float(stream.rate_hz), ctypes.c_float(stream.scale)
        length = c.op_info_stream(out, size_t(length), size_t(SIZE), *kind, *scales, stream.name.encode())
        for channel, label in enumerate(stream.channels):
            length = c.op_info_channel(out, size_t(length), size_t(SIZE), number, channel, label.encode())
    assert bytes(out[:length]) == describe(device)
    assert OpenProfile(bytes(out[:length])).device == device
    assert c.op_info_text(out, size_t(length), size_t(length + 2), int(Tag.NAME), b"x") == 0
    assert c.op_info_text(out, size_t(0), size_t(SIZE), int(Tag.NAME), b"x") == 0


INT16 = st.one_of(st.integers(-32768, 32767), st.integers(-9, 9), st.sampled_from((-32768, 32767)))
SHAPES = st.tuples(st.integers(1, 5), st.integers(1, 300))
PACKETS = st.builds(
    Packet,
    stream=st.just("s"),
    counts=st.tuples(st.integers(1, 5), st.integers(1, 300)).flatmap(
        lambda shape: arrays(np.int16, shape, elements=INT16)
    ),
    sequence=st.integers(0, (1 << 16) - 1),
    index=st.integers(0, (1 << 32) - 1),
    device_ns=st.integers(0, (1 << 32) - 1).map(lambda us: us * 1000),
    overrun=st.booleans(),
    lead_off_changed=st.booleans(),
    clipped=st.booleans(),
)


@given(PACKETS, st.booleans())
def test_data(c, packet, delta):
    channels, count = packet.counts.shape
    stream = Stream("s", Sensor.EMG, Unit.COUNT, 1.0, 1000.0, tuple(map(str, range(channels))))
    codec = OpenProfile(describe(Device("", "", "", (stream,))))
    flags = Flag.OVERRUN * packet.overrun | Flag.LEAD_OFF_CHANGED * packet.lead_off_changed
    flags |= Flag.CLIPPED * packet.clipped
    header = Header(0, flags, packet.sequence, packet.index, packet.device_ns // 1000)
    interleaved = np.ascontiguousarray(packet.counts.T)
    samples = interleaved.ctypes.data_as(ctypes.POINTER(ctypes.c_int16))
    write = c.op_data_delta if delta else c.op_data
    arguments = ctypes.byref(header), samples, size_t(channels), size_t(count)
    expected = codec.encode(packet, delta=delta)[1]
    assert written(write, *arguments) == expected
    assert written(write, *arguments, size=len(expected)) == expected
    assert written(write, *arguments, size=len(expected) - 1) == b""


@given(
    st.integers(0, 100) | st.none(),
    st.lists(st.booleans(), max_size=32),
    st.integers(0, 65535),
    st.integers(0, 65535),
    st.integers(-127, 127) | st.none(),
)
def test_status(c, battery, lead_off, overruns, drops, celsius):
    stream = Stream("s", Sensor.EMG, Unit.COUNT, 1.0, 1000.0, ("FDI",))
    codec = OpenProfile(describe(Device("", "", "", (stream,))))
    temperature = None if celsius is None else float(celsius)
    expected = codec.encode(Status(battery, tuple(lead_off), overruns, drops, temperature))[1]
    bits = ctypes.c_uint32(sum(off << n for n, off in enumerate(lead_off)))
    numbers = overruns, drops, ctypes.c_int8(-128 if celsius is None else celsius)
    assert written(c.op_status, 255 if battery is None else battery, bits, *numbers) == expected


@given(
    st.integers(0, 127),
    st.integers(0, 255),
    st.sampled_from(Result),
    st.dictionaries(st.integers(0, 15), st.integers(0, (1 << 32) - 1)),
)
def test_reply(c, opcode, reference, result, first):
    expected = Request(opcode, reference, b"").reply(result, first)
    streams = (ctypes.c_uint8 * len(first))(*first)
    indices = (ctypes.c_uint32 * len(first))(*first.values())
    assert written(c.op_reply, opcode, reference, int(result), streams, indices, size_t(len(first))) == expected


def test_the_test_signal_is_that_of_the_emulated_wearable(c):
    wearable = Wearable(WearableSettings(jitter_s=0), CountingBody(), 1)
    wearable.handle(bytes((Opcode.TEST_SIGNAL, 1, 1)))
    wearable.handle(OpenProfile.START[0].data)
    items = [item for each in wearable.advance(3 * 10**9) for item in wearable.codec.decode(each)]
    packets = [item for item in items if isinstance(item, Packet) and item.stream == "emg"]
    wave = np.concatenate([packet.counts[0] for packet in packets])
    first = packets[0].index
    assert wave.tolist() == [c.op_test_signal(first + n, 1000) for n in range(wave.size)]


def test_names_on_the_wire():
    text = HEADER.read_text()
    for name, uuid in (
        ("SERVICE", SERVICE),
        ("INFO", INFO),
        ("CONTROL", CONTROL),
        ("DATA", DATA),
        ("STATUS", STATUS),
    ):
        assert f'#define OP_{name} "{uuid}"' in text


@pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")
@pytest.mark.parametrize("sketch", sorted((LIBRARY / "examples").glob("*/*.ino")), ids=lambda path: path.stem)
def test_sketches_compile_against_a_sketch_of_arduino(sketch):
    """Which proves that they are C++ and call what they mean to call. That they run, only a board can show."""
    assert sketch.stem == sketch.parent.name, "Arduino wants it so"
    include = [f"-I{LIBRARY / 'src'}", f"-I{Path(__file__).parent / 'arduino'}"]
    flags = ["-std=gnu++14", "-fsyntax-only", "-Wall", "-Wextra", "-Wno-unused-function", "-Werror"]
    arduino = ["-include", "Arduino.h", "-x", "c++"]
    subprocess.run(["g++", *flags, *include, *arduino, sketch], check=True)
