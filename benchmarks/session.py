"""An emulated session against its truth: recall, precision, and the account of samples.

    python -m benchmarks.session [--minutes 10] [--seeds 3]

The wearable is heard as from the radio (loss, 30 ms of jitter, 50 ppm of skew), decoded and analysed; no radio
and no clock, so ten minutes take seconds. Recall is over true twitches at rest, in contact, received, and at
least 15 noise sigmas peak to peak; a report counts as true when it overlaps any true twitch within 10 ms.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, dataclass

import numpy as np

from firmware_interface.codecs.open_profile import CONTROL, Opcode
from firmware_interface.decoder import Decoder
from firmware_interface.emulated.arm import Arm, ArmSettings, Discharge, Interval, IntervalKind
from firmware_interface.emulated.wearable import Wearable, WearableSettings
from firmware_interface.samples import Gap, Notification, SampleBlock, Sensor, Started
from monitor.detection.detector import Detector
from monitor.detection.events import Analysed, Event, Twitch

TOLERANCE_S = 0.010
VISIBLE_SIGMA = 15.0
_STEP_NS = 200_000_000


@dataclass(frozen=True, slots=True)
class Session:
    """What an emulated session yielded."""

    loss: float
    sought: int
    """True twitches that must be found."""
    found: int
    reported: int
    true: int
    """Reports that are a true twitch."""
    sent: int
    received: int
    missing: int
    analysable_share: float

    @property
    def recall(self) -> float:
        return self.found / max(self.sought, 1)

    @property
    def precision(self) -> float:
        return self.true / max(self.reported, 1)


def run(minutes: float, loss: float, seed: int, arm_settings: ArmSettings | None = None) -> Session:
    """Emulate, hear, decode and analyse a session."""
    arm = Arm(arm_settings or ArmSettings(), seed)
    wearable = Wearable(WearableSettings(loss=loss, clock_skew_ppm=50.0), arm, seed)
    decoder = Decoder(wearable.codec)
    emg = next(stream for stream in wearable.device.streams if stream.sensor is Sensor.EMG)
    detector = Detector(emg)
    reply = Notification(CONTROL, wearable.handle(bytes((Opcode.START, 1, 0xFF))), 0)
    first = next(item.index for item in wearable.codec.decode(reply) if isinstance(item, Started))
    decoder.feed(reply)
    events: list[Event] = []
    heard = np.zeros(round(minutes * 60 * emg.rate_hz) + 10_000, bool)
    missing = received = 0
    for until_ns in range(_STEP_NS, round(minutes * 60e9), _STEP_NS):
        for notification in wearable.advance(until_ns):
            for item in decoder.feed(notification):
                if isinstance(item, SampleBlock) and item.stream == emg:
                    received += item.length
                    heard[item.first : item.first + item.length] = True
                    events += detector.feed(item)
                elif isinstance(item, Gap) and item.stream == emg:
                    missing += item.missing
    events += detector.finish()
    last = int(np.flatnonzero(heard)[-1]) + 1
    discharges, intervals = arm.truth()
    return _judged(
        events, discharges, intervals, arm.settings, heard[:last], (loss, last - first, received, missing)
    )


def _judged(
    events: list[Event],
    discharges: tuple[Discharge, ...],
    intervals: tuple[Interval, ...],
    settings: ArmSettings,
    heard: np.ndarray,
    account: tuple[float, int, int, int],
) -> Session:
    twitches = [event for event in events if isinstance(event, Twitch)]
    spans = np.array([(t.onset_ns * 1e-9, t.onset_ns * 1e-9 + t.duration_s) for t in twitches]).reshape(-1, 2)
    sought = [d for d in discharges if _must_be_found(d, intervals, settings, heard)]
    accounts = [event for event in events if isinstance(event, Analysed)]
    observed = sum(a.observed_s for a in accounts) * len(settings.channels)
    loss, sent, received, missing = account
    return Session(
        loss=loss,
        sought=len(sought),
        found=sum(bool(_overlapping(d, spans).any()) for d in sought),
        reported=len(twitches),
        true=int(sum((_overlapping(d, spans) for d in discharges), np.zeros(len(spans), int)).astype(bool).sum()),
        sent=sent,
        received=received,
        missing=missing,
        analysable_share=sum(sum(a.analysable_s) for a in accounts) / max(observed, 1e-9),
    )


def _must_be_found(
    d: Discharge, intervals: tuple[Interval, ...], settings: ArmSettings, heard: np.ndarray
) -> bool:
    first, last = (round(t * settings.rate_hz) for t in (d.onset_s, d.onset_s + d.duration_s))
    if last >= len(heard) or not heard[first:last].all():
        return False
    channel = int(np.argmax(d.peak_to_peak_uv))
    if d.peak_to_peak_uv[channel] < VISIBLE_SIGMA * settings.noise_uv:
        return False
    return not any(
        i.onset_s <= d.onset_s + d.duration_s
        and d.onset_s <= i.onset_s + i.duration_s
        and (i.kind is not IntervalKind.LIFT_OFF or i.channel == channel)
        for i in intervals
        if i.kind in (IntervalKind.VOLUNTARY, IntervalKind.LIFT_OFF)
    )


def _overlapping(d: Discharge, spans: np.ndarray) -> np.ndarray:
    return (spans[:, 0] <= d.onset_s + d.duration_s + TOLERANCE_S) & (spans[:, 1] >= d.onset_s - TOLERANCE_S)


def main() -> None:
    """Print a table and one JSON object a line."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--minutes", type=float, default=10.0)
    options.add_argument("--seeds", type=int, default=3)
    chosen = options.parse_args()
    print("loss   recall  precision  sought  reported  received + missing = sent  analysable")
    for loss in (0.0, 0.01, 0.05):
        for seed in range(1, chosen.seeds + 1):
            s = run(chosen.minutes, loss, seed)
            account = f"{s.received} + {s.missing} {'=' if s.received + s.missing == s.sent else '≠'} {s.sent}"
            figures = f"{loss:4.0%}   {s.recall:.3f}   {s.precision:.3f}      {s.sought:4d}    {s.reported:4d}"
            print(f"{figures}   {account}     {s.analysable_share:.3f}")
            print(json.dumps({**asdict(s), "recall": s.recall, "precision": s.precision, "seed": seed}))


if __name__ == "__main__":
    main()
