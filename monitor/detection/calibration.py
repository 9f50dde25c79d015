"""What a minute of rest and a firm contraction tell of a person's channels.

Rule: optional. Without it the defaults hold; with it a channel abstains as soon as it is worse than it was at
rest, and a contraction is known by its level, too.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from firmware_interface.errors import Fault
from firmware_interface.samples import SampleBlock, Sensor, Stream
from monitor.detection.conditioning import BandPass
from monitor.detection.detector import VISIBLE, Detector

_MARGIN = 1.5
"""Noise may grow by half before a channel abstains."""
_REST_MIN_S, _CONTRACTION_MIN_S = 20.0, 1.0


class CalibrationError(Fault):
    """The recording does not hold what a calibration needs."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """Of one channel, in the stream's unit."""

    channel: str
    noise: float
    """Standard deviation at rest."""
    smallest: float
    """Peak to peak, of the smallest twitch that is to be visible."""
    contraction: float
    """Root mean square of the contraction."""


def calibrate(
    stream: Stream, rest: Iterable[SampleBlock], contraction: Iterable[SampleBlock]
) -> list[Calibration]:
    """Measure the channels of an EMG stream.

    Raises:
        CalibrationError: too little of either, or a contraction that does not stand out.
    """
    if stream.sensor is not Sensor.EMG:
        raise CalibrationError(f"{stream.name} is no EMG", "Calibrate EMG channels")
    detector, resting_s = Detector(stream), 0.0
    for block in rest:
        detector.feed(block)
        resting_s += block.length / stream.rate_hz
    blocks = [block.physical for block in contraction]
    contracted = np.concatenate(blocks, axis=1) if blocks else np.empty((len(stream.channels), 0))
    if resting_s < _REST_MIN_S or contracted.shape[1] < _CONTRACTION_MIN_S * stream.rate_hz:
        raise CalibrationError(
            f"{resting_s:.0f} s of rest and {contracted.shape[1] / stream.rate_hz:.1f} s of contraction",
            f"Record {_REST_MIN_S:g} s of rest and {_CONTRACTION_MIN_S:g} s of contraction at least",
        )
    band, _ = BandPass(stream.sensor, stream.rate_hz).feed(contracted)
    level = np.sqrt((band * band).mean(axis=1))
    measured = zip(stream.channels, detector.noise.tolist(), level.tolist(), strict=True)
    return [_calibrated(*values) for values in measured]


def _calibrated(channel: str, noise: float, contraction: float) -> Calibration:
    smallest = _MARGIN * VISIBLE * noise
    if not contraction > smallest:
        raise CalibrationError(
            f"{channel}: the contraction, {contraction:.3g}, does not stand out of the rest, {noise:.3g}",
            "Contract the muscle under the electrode, and check its contact",
        )
    return Calibration(channel, noise, smallest, contraction)
