"""How well each family's samples are accounted for: `python -m benchmarks.accounting [MINUTES]`, ten by default.

Each emulated device is talked to as over a radio, but without one, at 0 and 3 % loss, with waits of up to 30 ms
and a clock 200 ppm off. Said of each stream: samples sent, lost, said to be missing, and by how much times are off
once 250 notifications came: of the half and of 19 in 20.
"""

import sys
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from firmware_interface.codecs import Codec, Conversation, Hear, Read, Write
from firmware_interface.codecs.bangle import Bangle
from firmware_interface.codecs.bitalino import BITalino
from firmware_interface.codecs.gforce import GForce
from firmware_interface.codecs.metamotion import MetaMotion
from firmware_interface.codecs.muse import ELECTRODES, Muse
from firmware_interface.codecs.myo import Myo
from firmware_interface.codecs.npg_lite import NpgLite
from firmware_interface.codecs.thingy52 import Thingy52
from firmware_interface.codecs.witmotion import WitMotion
from firmware_interface.codecs.xsens_dot import XsensDot
from firmware_interface.decoder import Decoder
from firmware_interface.emulated.bangle import EmulatedBangle
from firmware_interface.emulated.bitalino import EmulatedBITalino
from firmware_interface.emulated.device import EmulatedDevice, Imperfection
from firmware_interface.emulated.gforce import SCALE_UV as GFORCE_UV
from firmware_interface.emulated.gforce import EmulatedGForce
from firmware_interface.emulated.metamotion import EmulatedMetaMotion
from firmware_interface.emulated.muse import EmulatedMuse
from firmware_interface.emulated.myo import SCALE_UV as MYO_UV
from firmware_interface.emulated.myo import EmulatedMyo
from firmware_interface.emulated.npg_lite import EmulatedNpgLite
from firmware_interface.emulated.thingy52 import EmulatedThingy52
from firmware_interface.emulated.witmotion import EmulatedWitMotion
from firmware_interface.emulated.xsens_dot import EmulatedXsensDot
from firmware_interface.samples import Gap, Notification, SampleBlock
from tests.over_bleak import LOSSY, PERFECT, UTC_NS, CountingBody, Heard
from tests.test_bitalino import STEP_UV as BITALINO_UV
from tests.test_xsens_dot import STEP as XSENS_STEP

_SECOND = 1_000_000_000
_STEP_NS = _SECOND // 4
_SETTLED = 250


@dataclass(frozen=True)
class Case:
    """A family, a body that it measures truly, and what a count of the pattern comes out as."""

    family: type[Codec]
    body: Callable[[], CountingBody]
    device: Callable[[CountingBody, Imperfection, int], EmulatedDevice]
    streams: dict[str, float]
    middle: float = 0.0
    reach: int = 100


def acceleration(rate_hz: float, scale: float) -> Callable[[], CountingBody]:
    return lambda: CountingBody(acc_rate_hz=rate_hz, acc=scale)


MUSE_UV = 0.48828125 / 4
CASES = (
    Case(
        Myo,
        lambda: CountingBody(200.0, 50.0, width=8, acc=1 / 2048),
        EmulatedMyo,
        {"emg": 1 / MYO_UV, "acc": 1 / 2048},
    ),
    Case(NpgLite, lambda: CountingBody(500.0, width=3, emg=2.0), EmulatedNpgLite, {"emg": 1.0}),
    Case(
        Muse,
        lambda: CountingBody(256.0, 52.0, emg=MUSE_UV, acc=0.0000610352),
        EmulatedMuse,
        {next(iter(ELECTRODES.values())): MUSE_UV, "acc": 0.0000610352},
    ),
    Case(MetaMotion, acceleration(100.0, 1 / 8192), EmulatedMetaMotion, {"acc": 1 / 8192}),
    Case(WitMotion, acceleration(100.0, 16 / 32768), EmulatedWitMotion, {"acc": 16 / 32768}),
    Case(GForce, lambda: CountingBody(500.0, width=8), EmulatedGForce, {"emg": 1 / GFORCE_UV[True]}, 2048.0),
    Case(
        BITalino,
        lambda: CountingBody(1000.0, width=4, emg=BITALINO_UV),
        EmulatedBITalino,
        {"emg": BITALINO_UV},
        reach=400,
    ),
    Case(Bangle, acceleration(100.0, 1 / 4096), EmulatedBangle, {"acc": 1 / 4096}),
    Case(Thingy52, acceleration(100.0, 1 / 1024), EmulatedThingy52, {"acc": 1 / 1024}),
    Case(XsensDot, acceleration(60.0, 1 / 2048), EmulatedXsensDot, {"acc": XSENS_STEP}),
)


class Talk:
    """A device without a radio."""

    def __init__(self, device: EmulatedDevice) -> None:
        self.device = device
        self.now_ns = 0
        self.said: deque[Notification] = deque()

    def advance(self) -> list[Notification]:
        self.now_ns += _STEP_NS
        return self.device.advance(self.now_ns)

    def hold(self, conversation: Conversation) -> object:
        """What comes of it."""
        answer = None
        while True:
            try:
                step = conversation.send(answer)
            except StopIteration as end:
                return end.value
            answer = self.perform(step)

    def perform(self, step: Read | Write | Hear) -> bytes:
        if isinstance(step, Read):
            return self.device.read(step.characteristic)
        if isinstance(step, Write):
            self.device.write(step.characteristic, step.data)
            return b""
        while True:
            for heard in self.advance():
                if heard.characteristic == step.characteristic and heard.data.startswith(step.prefix):
                    return heard.data


def listen(case: Case, flaws: Imperfection, seconds: float) -> Heard:
    talk = Talk(case.device(case.body(), flaws, 1))
    codec = talk.hold(case.family.introduce(talk.device.name))
    talk.hold(codec.start())
    heard = Heard(talk.device, codec, Decoder(codec, UTC_NS), [])
    while talk.now_ns < seconds * _SECOND:
        for notification in talk.advance():
            heard.items += heard.decoder.feed(notification)
            heard.notifications += 1
            if heard.notifications == _SETTLED:
                heard.settled_ns = max(heard.settled_ns, notification.arrival_ns)
    return heard


def rows(case: Case, flaws: Imperfection, seconds: float) -> Iterator[tuple[object, ...]]:
    heard = listen(case, flaws, seconds)
    for stream, scale in case.streams.items():
        items = heard.of(stream)
        blocks = [item for item in items if isinstance(item, SampleBlock)]
        gaps = [item for item in items if isinstance(item, Gap)]
        indices = [block.first + heard.offset(block, scale, case.reach, case.middle) for block in blocks]
        lost = indices[-1] + blocks[-1].length - indices[0] - sum(block.length for block in blocks)
        true_ns = np.array([heard.device.time_ns(stream, index) for index in indices])
        errors_ms = np.abs(np.array([block.start_ns - UTC_NS for block in blocks]) - true_ns) * 1e-6
        half, most = np.quantile(errors_ms[true_ns > heard.settled_ns], [0.5, 0.95])
        missing = sum(gap.missing for gap in gaps)
        sure = "counted" if all(gap.exact for gap in gaps) else "estimated"  # without a gap, nobody can tell
        sent = heard.device.sent[stream]
        yield (
            case.family.FAMILY,
            stream,
            f"{flaws.loss:.0%}",
            sent,
            lost,
            missing,
            sure,
            (missing - lost) / sent,
            half,
            most,
        )


def main(minutes: float) -> None:
    print("family, stream, loss: sent, lost, said to be missing; off by; times off by (half, 19 in 20)")
    for case in CASES:
        for flaws in (PERFECT, LOSSY):
            for family, stream, loss, sent, lost, missing, sure, off, half, most in rows(
                case, flaws, 60 * minutes
            ):
                print(
                    f"{family}, {stream}, {loss}: {sent}, {lost}, {missing} {sure}; {off:+.2%}; "
                    f"{half:.1f}, {most:.1f} ms",
                    flush=True,
                )


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 10.0)
