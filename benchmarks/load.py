"""CPU that one wearable costs: decode, detect and tally, without radio and store.

    python -m benchmarks.load [--minutes 10]

An emulated wearable of 8 channels at 500 Hz, 1 % loss. Prints CPU seconds a monitored hour.
"""

from __future__ import annotations

import argparse
import time

from firmware_interface.decoder import Decoder
from firmware_interface.emulated.arm import Arm, ArmSettings
from firmware_interface.emulated.wearable import Wearable, WearableSettings
from firmware_interface.samples import Notification, SampleBlock, Sensor
from monitor.detection.detector import Detector
from monitor.tally import tally


def main() -> None:
    """Make the notifications first, then time what is done with them."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--minutes", type=float, default=10.0)
    minutes = options.parse_args().minutes
    arm = Arm(ArmSettings(rate_hz=500.0), seed=1)
    wearable = Wearable(WearableSettings(rate_hz=500.0, loss=0.01), arm, seed=1)
    wearable.handle(wearable.codec.START[0].data)
    notifications = wearable.advance(round(minutes * 60e9))
    start_s = time.process_time()
    _listen(wearable, notifications)
    cpu_s = (time.process_time() - start_s) * 60 / minutes
    print(f"{cpu_s:.1f} CPU seconds a monitored hour: {cpu_s / 36:.2f} % of one core")


def _listen(wearable: Wearable, notifications: list[Notification]) -> None:
    decoder = Decoder(wearable.codec)
    emg = next(stream for stream in wearable.device.streams if stream.sensor is Sensor.EMG)
    detector = Detector(emg)
    for notification in notifications:
        for item in decoder.feed(notification):
            if isinstance(item, SampleBlock) and item.stream == emg:
                tally(emg.channels, detector.feed(item))


if __name__ == "__main__":
    main()
