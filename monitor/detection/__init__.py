"""From samples to twitches: pure, causal, the same result for any cutting of the stream."""

from __future__ import annotations

from firmware_interface.samples import Sensor, Stream
from monitor.detection.acceleration import AccelerationDetector
from monitor.detection.detector import Detector
from monitor.detection.settings import DetectorSettings

TwitchDetector = Detector | AccelerationDetector


def detector_for(stream: Stream, settings: DetectorSettings) -> TwitchDetector | None:
    """The detector of a stream; None for an ECG, which holds no twitches."""
    match stream.sensor:
        case Sensor.EMG:
            return Detector(stream, settings)
        case Sensor.ACC:
            return AccelerationDetector(stream, settings)
        case _:
            return None
