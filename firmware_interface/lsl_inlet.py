"""An inlet of the Lab Streaming Layer, through mne-lsl. No other file uses it.

Rules:

* The address is `lsl:` and the name of a stream. Its type says what it is (EMG, ECG, ACC; EEG is read as EMG),
  and its channels' units what they are in; where they differ or none is known, counts.
* Times are the sender's, corrected to the clock of this computer by LSL.
* LSL repeats what a network loses for as long as the sender keeps it. What is lost beyond shows as a leap.
"""

from __future__ import annotations

import numpy as np
from mne_lsl.lsl import StreamInlet, local_clock, resolve_streams

from firmware_interface.codecs import Device
from firmware_interface.relay import Chunk, SourceError
from firmware_interface.samples import Sensor, Stream, Unit

_FIND_S = 2.0
_WAIT_S = 0.1
_SENSORS = {"emg": Sensor.EMG, "eeg": Sensor.EMG, "exg": Sensor.EMG, "ecg": Sensor.ECG, "acc": Sensor.ACC}
_SENSORS |= {"accelerometer": Sensor.ACC, "gyroscope": Sensor.GYRO, "gyro": Sensor.GYRO}
_UNITS = {
    "uv": Unit.MICROVOLT,
    "µv": Unit.MICROVOLT,
    "microvolt": Unit.MICROVOLT,
    "microvolts": Unit.MICROVOLT,
    "mv": Unit.MILLIVOLT,
    "millivolt": Unit.MILLIVOLT,
    "millivolts": Unit.MILLIVOLT,
    "g": Unit.G,
    "m/s^2": Unit.METRE_PER_SECOND_SQUARED,
    "m/s2": Unit.METRE_PER_SECOND_SQUARED,
}


class LslInlet:
    """A stream on this network.

    Args:
        name: of the stream.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._inlet: StreamInlet | None = None

    def open(self) -> Device:
        """Find it and subscribe."""
        found = resolve_streams(timeout=_FIND_S, name=self._name)
        if not found:
            raise SourceError(f"no LSL stream {self._name!r} on this network")
        try:
            self._inlet = StreamInlet(found[0], processing_flags=["clocksync"], recover=False)
            self._inlet.open_stream(timeout=_FIND_S)
            info = self._inlet.get_sinfo(timeout=_FIND_S)
        except (RuntimeError, TimeoutError, OSError) as error:
            raise SourceError(f"LSL stream {self._name!r} cannot be opened: {_line(error)}") from error
        if info.sfreq <= 0:
            raise SourceError(f"LSL stream {self._name!r} has no rate")
        names = info.get_channel_names() or []
        labels = tuple(str(name) for name in names if name)
        if len(set(labels)) < info.n_channels:
            labels = tuple(f"channel {n + 1}" for n in range(info.n_channels))
        units = {_UNITS.get(str(unit).lower(), Unit.COUNT) for unit in info.get_channel_units() or ("",)}
        sensor = _SENSORS.get(str(info.stype).lower(), Sensor.EMG)
        unit = units.pop() if len(units) == 1 else Unit.COUNT
        stream = Stream(sensor.value, sensor, unit, 1.0, float(info.sfreq), labels)
        return Device(self._name, str(info.source_id or ""), "", (stream,))

    def read(self) -> Chunk | None:
        """What waits, or comes within a moment."""
        assert self._inlet is not None  # noqa: S101 - opened before
        try:
            values, times = self._inlet.pull_chunk(timeout=_WAIT_S)
        except (RuntimeError, TimeoutError, OSError) as error:
            raise SourceError(f"LSL stream {self._name!r} ended: {_line(error)}") from error
        if not len(times):
            return None
        last_s = float(times[-1])
        return Chunk(np.asarray(values).T, float(times[0]), last_s, float(local_clock()) - last_s)

    def close(self) -> None:
        """Unsubscribe."""
        if self._inlet is not None:
            self._inlet.close_stream()
            self._inlet = None


def _line(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__
