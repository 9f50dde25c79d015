"""Throw anything at every codec: `python -m benchmarks.fuzz [N [FAMILY]]`, N payloads each, a million by default.

Half of them are random bytes of any length up to that of a notification; half are what a device would send, with
bits flipped, bytes cut out, put in and repeated. Nothing but values or a PacketError may come of them. Then
payloads that can go on are made 8 and 64 times as long: the time must grow no faster than the length.
"""

import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress

import numpy as np

from firmware_interface.codecs import (
    BATTERY,
    Codec,
    Device,
    bangle,
    bitalino,
    ganglion,
    gforce,
    metamotion,
    movesense,
    muse,
    myo,
    npg_lite,
    open_profile,
    polar,
    thingy52,
    umyo,
    witmotion,
    xsens_dot,
)
from firmware_interface.codecs.described import described
from firmware_interface.codecs.polar import Measurement, Setting
from firmware_interface.errors import PacketError
from firmware_interface.samples import Notification, Packet, Sensor, Status, Stream, Unit

PAYLOAD_MAX = 244
SLACK = 3.0
"""How much more time a byte may take in a payload that is 8 times as long: caches, and a loaded machine."""
Samples = list[tuple[str, bytes]]
ENDLESS = {
    "open profile": (open_profile.DATA, "10080000000000000000000001000100", "010103"),
    "Polar": (polar.DATA, "02000000000000000081010002000300", "010107"),
    "Polar, in full": (polar.DATA, "00000000000000000000", "ff7f80"),
    "uMyo": (umyo.TELEMETRY, "02", "0000"),
    "Ganglion, firmware 2": (ganglion.NOTIFICATION, "ca", "31"),
    "Ganglion, firmware 3": (ganglion.NOTIFICATION, "01", "31"),
    "Movesense": (movesense.NOTIFICATION, "021000000000", "0000803f" * 9),
    "NPG Lite": (npg_lite.DATA, "", "00000000000000"),
    "WitMotion": (witmotion.NOTIFICATION, "", "5561" + "00" * 18),
    "gForce": (gforce.NOTIFICATION, "08", "0001" * 8),
    "gForce, in parts": (gforce.NOTIFICATION, "ff01", "00"),
    "BITalino": (bitalino.FRAMES, "", "".join(f"00208000080{n}" for n in "00")),
    "Bangle.js": (bangle.SEND, "", "fa5c01"),
    "described": ("0000ff01-0000-1000-8000-00805f9b34fb", "a50000", "0102" * 2),
}
"""Characteristic, beginning and what may follow it any number of times."""


def counts(width: int, length: int) -> np.ndarray:
    return (np.arange(width * length).reshape(width, length) * 37 % 2001 - 1000).astype(np.int32)


def open_board() -> tuple[Codec, Samples]:
    emg = Stream("emg", Sensor.EMG, Unit.MICROVOLT, 0.5, 1000.0, ("a", "b"))
    codec = open_profile.OpenProfile(open_profile.describe(Device("", "", "", (emg,))))
    packet = Packet("emg", counts(2, 50), 1, 2, 3000)
    status = codec.encode(Status(50, (False, True)))
    reply = (open_profile.CONTROL, bytes.fromhex("81010000a00f0000"))
    return codec, [codec.encode(packet), codec.encode(packet, delta=True), status, reply]


def polar_sensor() -> tuple[Codec, Samples]:
    chosen = {Measurement.ACC: {Setting.RATE: (208,)}, Measurement.ECG: {Setting.RATE: (130,)}}
    codec = polar.Polar(Device("Polar", "", "", ()), chosen)
    codec.factors[Measurement.ACC] = 2.44e-4
    acc, ecg = Packet("acc", counts(3, 36), device_ns=10**18), Packet("ecg", counts(1, 73), device_ns=10**18)
    compressed = codec.encode(acc, compressed=True)
    return codec, [codec.encode(acc), compressed, codec.encode(ecg), codec.encode(Status(50))]


def umyo_armband() -> tuple[Codec, Samples]:
    codec, packet = umyo.UMyo("uMyo"), Packet("emg", counts(1, 24), index=5)
    return codec, [codec.encode(packet), codec.encode(packet, format_byte=True), (umyo.TELEMETRY, bytes(26))]


def ganglion_board(firmware: str) -> tuple[Codec, Samples]:
    codec = ganglion.Ganglion("Ganglion-0000", firmware)
    first = codec.encode(Packet("emg", counts(4, 2 - firmware.startswith("2")), index=0))
    second = codec.encode(Packet("emg", counts(4, 2), index=2 - firmware.startswith("2")), bits=18)
    return codec, [first, second, (ganglion.NOTIFICATION, ganglion.write_impedance(1, 1207))]


def movesense_sensor() -> tuple[Codec, Samples]:
    paths = "/Meas/IMU9/52", "/Meas/ECG/200/mV", "/Meas/ECG/200"
    codec = movesense.Movesense("Movesense", "", "", paths)
    acc, ecg = Packet("acc", counts(3, 4), device_ns=10**9), Packet("ecg", counts(1, 16), device_ns=10**9)
    part = (movesense.NOTIFICATION, b"\3" + codec.encode(acc)[1][1:80])
    return codec, [codec.encode(acc), codec.encode(ecg), part]


def read_back(codec: Codec, *items: Packet | Status, beside: Samples | None = None) -> tuple[Codec, Samples]:
    return codec, [*(codec.encode(item) for item in items), *(beside or [])]


def thalmic_myo() -> tuple[Codec, Samples]:
    emg, acc = Packet("emg", counts(8, 2) // 8, index=4), Packet("acc", counts(3, 1))
    return read_back(myo.Myo("Myo", "", ""), emg, acc, Status(50))


def headband() -> tuple[Codec, Samples]:
    emg, acc = Packet("AF7", counts(1, 12), 7), Packet("acc", counts(3, 3), 7)
    return read_back(muse.Muse("Muse"), emg, acc, Status(50))


def gforce_armband() -> tuple[Codec, Samples]:
    codec = gforce.GForce("gForce")
    characteristic, payload = codec.encode(Packet("emg", counts(8, 8) + 2048))
    return codec, [(characteristic, part) for part in (payload, *gforce.in_parts(payload, 60))]


def described_device() -> tuple[Codec, Samples]:
    family = described(DESCRIPTION)
    return read_back(family("x"), Packet("emg", counts(2, 9), index=7), beside=[(BATTERY, b"\x40")])


DESCRIPTION = """
family = "x"
name = "x"
[[stream]]
name = "emg"
sensor = "emg"
rate_hz = 500
channels = ["a", "b"]
from = "ff01"
begins = "a5"
at = 3
type = "i16"
counter = { at = 1, type = "u16" }
"""
ACC = Packet("acc", counts(3, 1))


CASES: dict[str, Callable[[], tuple[Codec, Samples]]] = {
    "open profile": open_board,
    "Polar": polar_sensor,
    "uMyo": umyo_armband,
    "Ganglion, firmware 2": lambda: ganglion_board("2.0.1"),
    "Ganglion, firmware 3": lambda: ganglion_board("3.0.2"),
    "Movesense": movesense_sensor,
    "Myo": thalmic_myo,
    "NPG Lite": lambda: read_back(npg_lite.NpgLite("NPG-3CH"), Packet("emg", counts(3, 10), index=5), Status(50)),
    "Muse": headband,
    "MetaMotion": lambda: read_back(
        metamotion.MetaMotion("", "", ""), ACC, Packet("acc", counts(3, 3)), Status(50)
    ),
    "WitMotion": lambda: read_back(witmotion.WitMotion(""), ACC, Packet("acc", counts(3, 4))),
    "gForce": gforce_armband,
    "BITalino": lambda: read_back(bitalino.BITalino(""), Packet("emg", counts(4, 20) // 2, index=5)),
    "Bangle.js": lambda: read_back(bangle.Bangle("Bangle.js"), Packet("acc", counts(3, 10), 1, 10, 10**9)),
    "Thingy:52": lambda: read_back(thingy52.Thingy52(""), ACC, Status(50)),
    "Xsens DOT": lambda: read_back(xsens_dot.XsensDot(""), Packet("acc", counts(3, 1), device_ns=10**9)),
    "described": described_device,
}


def mutated(rng: random.Random, data: bytes) -> bytes:
    damaged = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        at = rng.randint(0, len(damaged))
        match rng.randint(0, 3):
            case 0 if damaged:
                damaged[at % len(damaged)] ^= 1 << rng.randint(0, 7)
            case 1:
                del damaged[at : at + rng.randint(1, 8)]
            case 2:
                damaged[at:at] = rng.randbytes(rng.randint(1, 8))
            case _:
                damaged[at:at] = damaged[:at][-rng.randint(1, 32) :]
    return bytes(damaged)


def payloads(rng: random.Random, samples: Samples, number: int) -> Iterator[tuple[str, bytes]]:
    for turn in range(number):
        characteristic, data = rng.choice(samples)
        yield characteristic, mutated(rng, data) if turn % 2 else rng.randbytes(rng.randint(0, PAYLOAD_MAX))


def fuzz(codec: Codec, samples: Samples, number: int, rng: random.Random) -> Counter[str]:
    """How many gave what. Anything but values and PacketError is raised."""
    outcomes: Counter[str] = Counter()
    for turn, (characteristic, data) in enumerate(payloads(rng, samples, number)):
        try:
            items = codec.decode(Notification(characteristic, data, turn * 10_000_000))
        except PacketError:
            outcomes["PacketError"] += 1
        else:
            outcomes["values" if items else "nothing"] += 1
    return outcomes


def growth(name: str) -> float:
    """The largest factor by which a byte takes longer in a payload 8 times as long."""
    codec, _ = CASES[name if name in CASES else name.rpartition(", ")[0]]()
    characteristic, head, unit = ENDLESS[name]
    costs = []
    for length in (512, 8 * 512, 64 * 512):
        data = bytes.fromhex(head) + bytes.fromhex(unit) * (2 * length // len(unit))
        costs.append(min(_seconds(codec, characteristic, data) for _ in range(3)) / length)
    return max(costs[1] / costs[0], costs[2] / costs[1])


def _seconds(codec: Codec, characteristic: str, data: bytes) -> float:
    begin = time.thread_time()
    with suppress(PacketError):
        codec.decode(Notification(characteristic, data, 0))
    return time.thread_time() - begin


def main(number: int, seed: int, only: str = "") -> bool:
    if only not in ("", *CASES):
        sys.exit(f"{only} is none of {', '.join(CASES)}")
    print(f"{number} payloads each, seed {seed}")
    for name, make in CASES.items():
        if only not in ("", name):
            continue
        begin = time.thread_time()
        outcomes = fuzz(*make(), number, random.Random(seed))
        spent = time.thread_time() - begin
        told = ", ".join(f"{outcomes[each]} {each}" for each in ("values", "nothing", "PacketError"))
        print(f"{name:21} {told}; {spent:.1f} s, {1e6 * spent / number:.1f} us each")
    factors = {name: growth(name) for name in ENDLESS}
    print("a byte in a payload 8 x as long: " + ", ".join(f"{name} x {f:.2f}" for name, f in factors.items()))
    linear = max(factors.values()) < SLACK
    print("time is linear" if linear else "TIME IS NOT LINEAR")
    return linear


if __name__ == "__main__":
    many, family = (*sys.argv[1:], "", "")[:2]
    sys.exit(not main(int(float(many or 1e6)), random.randrange(1 << 32), family))
