"""Bangle.js 2: bytes to values and back, its script run, and the emulated watch through bleak."""

import json
import shutil
import subprocess
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from firmware_interface.codecs.bangle import RATE_HZ, SCALE_G, SEND, SERVICE, START, STOP, Bangle
from firmware_interface.emulated.bangle import EmulatedBangle
from firmware_interface.errors import PacketError
from firmware_interface.samples import Notification, Packet, Status
from tests.over_bleak import LOSSY, PERFECT, CountingBody, listen

WATCH = """
let wrote = [], hear, at = 4294.967;
const Bangle = { accelWr() {}, setPollInterval(ms) { if (ms != 10) throw ms; }, on(what, f) { hear = f; } };
const Bluetooth = { write(frame) { wrote.push(Buffer.from(frame).toString("hex")); } };
const getTime = () => at;
SCRIPT
for (let n = 0; n < 25; n++) { hear({ x: n / 100, y: -n / 100, z: n ? 1 : 99 }); at += 0.01; }
console.log(JSON.stringify(wrote));
"""


def feed(codec, data):
    return codec.decode(Notification(SEND, bytes(data), 0))


def watch():
    return Bangle("Bangle.js 5a5a")


def body():
    return CountingBody(acc_rate_hz=RATE_HZ, acc=SCALE_G)


# Vectors of our own: the script is ours, too.


def test_golden_frame():
    """The open profile in a frame: index 10, 1 ms, 1 g."""
    packet = "1000 0100 0a000000 e8030000" + "0010 00f0 0000"
    total = sum(bytes.fromhex(packet)) % 256
    (read,) = feed(watch(), b"=1\r\n>" + bytes.fromhex("fa5c12" + packet) + bytes((total,)) + b"\r\n")
    assert read.counts.tolist() == [[4096], [-4096], [0]]
    assert (read.sequence, read.index, read.device_ns) == (1, 10, 1_000_000)


def test_the_script_sends_what_is_read():
    """Run as the watch would run it; the last five samples wait."""
    if (node := shutil.which("node")) is None:
        pytest.skip("no node: apt install nodejs")
    script = START.removeprefix(b"\x03\x10").decode()
    done = subprocess.run(
        [node, "-e", WATCH.replace("SCRIPT", script)], capture_output=True, text=True, check=True, timeout=30
    )
    codec = watch()
    first, second = [packet for frame in json.loads(done.stdout) for packet in feed(codec, bytes.fromhex(frame))]
    assert first.counts[0].tolist() == [round(4096 * n / 100) for n in range(10)]
    assert first.counts[2].tolist() == [32767] + [4096] * 9
    assert [p.index for p in (first, second)] == [0, 10]
    assert [p.sequence for p in (first, second)] == [0, 1]
    assert (second.device_ns - first.device_ns) % (1000 << 32) == pytest.approx(100_000_000, abs=2000)


def test_the_script_is_one_line_without_comments():
    """The console takes lines; a comment would swallow the rest."""
    assert START.count(b"\n") == 1
    assert b"//" not in START
    assert STOP == b"\x03\x10load()\n"


def test_a_damaged_frame_says_so_and_the_next_is_read():
    codec = watch()
    _, frame = codec.encode(Packet("acc", np.zeros((3, 10), int), 1, 10, 0))
    with pytest.raises(PacketError, match="sum"):
        feed(codec, frame[:30] + b"\1" + frame[31:])
    assert len(feed(codec, frame)) == 1


def test_what_the_console_says_gives_nothing():
    assert feed(watch(), b"Uncaught ReferenceError\r\n>") == ()


def test_it_says_nothing_of_itself():
    with pytest.raises(ValueError, match="nothing"):
        watch().encode(Status())


def test_recognised_by_name_alone():
    assert Bangle.recognises((), "Bangle.js 5a5a")
    assert not Bangle.recognises((SERVICE,), "Puck.js 1234")
    assert not Bangle.recognises((SERVICE,), None)


@given(
    st.integers(1, 30).flatmap(lambda n: arrays(np.int16, (3, n))),
    st.integers(0, (1 << 32) - 1),
    st.lists(st.integers(0, 200)),
)
def test_round_trip_however_it_is_cut(counts, index, cuts):
    codec = watch()
    _, frame = codec.encode(Packet("acc", counts, index % 65536, index, 1000 * index))
    edges = [0, *sorted(cut for cut in cuts if cut < len(frame)), len(frame)]
    (read,) = [packet for a, b in pairwise(edges) for packet in feed(codec, frame[a:b])]
    np.testing.assert_array_equal(read.counts, counts)
    assert (read.sequence, read.index, read.device_ns) == (index % 65536, index, 1000 * index)


@given(st.lists(st.binary(max_size=60) | st.binary(max_size=30).map(lambda b: b"\xfa\x5c" + b), max_size=8))
def test_any_payload_gives_values_or_a_packet_error(payloads):
    codec = watch()
    for data in payloads:
        try:
            items = feed(codec, data)
        except PacketError:
            continue
        assert all(item.counts.shape[0] == 3 for item in items)


# The emulated watch, through bleak.


@pytest.mark.parametrize("flaws", [PERFECT, LOSSY], ids=["whole", "lossy"])
async def test_twenty_seconds(flaws):
    heard = await listen(EmulatedBangle(body(), flaws, 1), Bangle, 20)
    assert bool(heard.assert_account("acc", SCALE_G, 1e-9, 2)) == bool(flaws.loss)


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("flaws", [PERFECT, LOSSY], ids=["whole", "lossy"])
async def test_ten_minutes(flaws):
    heard = await listen(EmulatedBangle(body(), flaws, 2), Bangle, 600)
    heard.assert_account("acc", SCALE_G, 1e-9, 2.5)
