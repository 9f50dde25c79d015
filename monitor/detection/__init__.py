"""From samples to twitches: pure, causal, the same result for any cutting of the stream."""

from __future__ import annotations

from firmware_interface.samples import Sensor, Stream
from monitor.detection.acceleration import AccelerationDetector
from monitor.detection.detector import Detector
from monitor.detection.motor_units import MotorUnits
from monitor.detection.settings import DetectorSettings

EMG_RATE_MIN_HZ = 100.0
"""Below, nothing of a potential is left above the high-pass."""
ACC_RATE_MIN_HZ = 49.0
"""Below, a visible twitch has too few samples."""
TwitchDetector = Detector | AccelerationDetector


def detector_for(
    stream: Stream, settings: DetectorSettings, units: MotorUnits | None = None
) -> TwitchDetector | None:
    """The detector of a stream; None for an ECG, which holds no twitches, and where too few samples are taken.

    `units` are the motor units that are known from before.
    """
    match stream.sensor:
        case Sensor.EMG if stream.rate_hz >= EMG_RATE_MIN_HZ:
            return Detector(stream, settings, units)
        case Sensor.ACC if stream.rate_hz >= ACC_RATE_MIN_HZ:
            return AccelerationDetector(stream, settings)
        case _:
            return None


def heart_listener(stream: Stream, settings: DetectorSettings) -> Detector | None:
    """What finds the beats in an ECG for those who must know them; its twitches are none."""
    fit = stream.sensor is Sensor.ECG and stream.rate_hz >= EMG_RATE_MIN_HZ
    return Detector(stream, settings) if fit else None
