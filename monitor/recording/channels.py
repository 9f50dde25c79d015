"""What a file says of its channels, and the streams that they form.

Rules of this module:

* Channels of the same rate, unit, sensor and clock are one stream, in the order of the file.
* Labels stay as in the file, made unique, because a twitch is reported under its channel's label.
* A channel in a unit that we cannot use is left out with a note. If none is left, that is an error.
* A unit that the person names is for the channels that could be in it. If there is none, that is an error.
* Integers stay the file's own integers where one factor turns all of a stream's channels into its unit.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from firmware_interface.errors import Fault
from firmware_interface.samples import Counts, Sensor, Stream, Unit


class RecordingError(Fault):
    """A file that cannot be read as a recording."""


RATES_HZ = (0.1, 1e6)
"""What can be a sampling rate: nothing that we detect is sampled more slowly, nothing sold more quickly."""

_NO_OFFSET = 1e-6
"""Counts. A calibration offset below this is the rounding of the 8 characters that a header has for it."""

_UNITS: dict[str, tuple[Unit, float]] = {
    "uv": (Unit.MICROVOLT, 1.0),
    "microvolt": (Unit.MICROVOLT, 1.0),
    "microvolts": (Unit.MICROVOLT, 1.0),
    "mv": (Unit.MILLIVOLT, 1.0),
    "millivolt": (Unit.MILLIVOLT, 1.0),
    "millivolts": (Unit.MILLIVOLT, 1.0),
    "v": (Unit.MILLIVOLT, 1000.0),
    "volt": (Unit.MILLIVOLT, 1000.0),
    "volts": (Unit.MILLIVOLT, 1000.0),
    "g": (Unit.G, 1.0),
    "mg": (Unit.G, 0.001),
    "m/s^2": (Unit.METRE_PER_SECOND_SQUARED, 1.0),
    "m/s2": (Unit.METRE_PER_SECOND_SQUARED, 1.0),
    "": (Unit.COUNT, 1.0),
    "count": (Unit.COUNT, 1.0),
    "counts": (Unit.COUNT, 1.0),
}
"""The file's spelling, folded by `_folded` -> our unit and the factor to it."""

_ACCELERATION = frozenset({Unit.G, Unit.METRE_PER_SECOND_SQUARED})
_VOLTAGE = frozenset({Unit.MICROVOLT, Unit.MILLIVOLT})
_ACC = re.compile(r"(?<![a-z])acc(el[a-z]*|[ _-]?[xyz])?(?![a-z])", re.IGNORECASE)
_ECG = re.compile(r"ECG|EKG", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Claim:
    """One channel in the words of its file."""

    label: str
    dimension: str
    """The unit as written."""
    rate_hz: float
    hint: str = ""
    """What else the file says about the kind of sensor."""
    gain: float = 1.0
    """Written unit per number stored."""
    offset: float = 0.0
    """Added to the number stored before `gain`."""
    clock: int = 0
    """Channels with different clocks are sampled apart: never one stream."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the person says about the file, which outweighs what the file says."""

    unit: Unit | None = None
    sensor: Sensor | None = None


@dataclass(frozen=True, slots=True)
class _Channel:
    """One channel in our words."""

    position: int
    label: str
    rate_hz: float
    unit: Unit
    sensor: Sensor
    gain: float
    offset: float
    clock: int


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """A stream, and how its counts come from the numbers in the file."""

    stream: Stream
    positions: tuple[int, ...]
    """Where its channels are among the claims."""
    calibration: NDArray[np.float64] | None
    """Shape (2, channels, 1): gain and offset of each channel; `None` where `stream.scale` says all."""

    def counts(self, numbers: Sequence[NDArray[Any]]) -> Counts:
        """The counts of a block from the numbers of the stream's channels, each of shape (samples,)."""
        stacked = np.stack(numbers)
        if self.calibration is None:
            return stacked
        gain, offset = self.calibration
        return np.asarray((stacked + offset) * gain)


def clean(text: str) -> str:
    """`text` without what would disturb a terminal or a topic: padding and control characters."""
    return "".join(c if c.isprintable() else "?" for c in text.strip(" \t\x00"))


def shown(value: object) -> str:
    """`value` for a message: quoted, on one line, short."""
    text = repr(value)
    return text if len(text) <= 40 else text[:36] + "..." + text[-1]


def one_line(text: str) -> str:
    """What a library said, on one line and not a long one."""
    return " ".join(text.split())[:200]


def decoded(raw: bytes) -> str:
    """Text from a file that does not say how it is encoded: UTF-8 if it is that, else Latin-1."""
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def believable(rate_hz: float) -> bool:
    """Whether `rate_hz` can be a sampling rate."""
    return RATES_HZ[0] <= rate_hz <= RATES_HZ[1]


def group(name: str, claims: Sequence[Claim], wanted: Wanted) -> tuple[tuple[Group, ...], list[str]]:
    """The streams that the channels of the file `name` form, and a note on each channel left out.

    Raises:
        RecordingError: no channel can be used, or none can be in the unit that the person names.
    """
    if not claims:
        raise RecordingError(f"{name}: holds no channel", "Export it again with its signals")
    labels = _unique([claim.label for claim in claims])
    readable = [_channel(i, labels[i], claim, wanted) for i, claim in enumerate(claims)]
    channels = [channel for channel in readable if channel is not None]
    if not channels and wanted.unit is not None:
        renamed = [replace(claim, dimension=wanted.unit) for claim in claims]
        readable = [_channel(i, labels[i], claim, wanted) for i, claim in enumerate(renamed)]
        channels = [channel for channel in readable if channel is not None]
    faults = [f"{labels[i]!r}: {_fault(claims[i])}" for i, c in enumerate(readable) if c is None]
    if not channels:
        raise RecordingError(f"{name}: channel {faults[0]}", _remedy(claims))
    if wanted.unit is not None and all(channel.unit is not wanted.unit for channel in channels):
        said = ", ".join(sorted({channel.unit for channel in channels}))
        raise RecordingError(
            f"{name}: its channels are in {said}, which cannot be {wanted.unit}", "Leave out --unit"
        )
    return tuple(_groups(channels)), [f"channel {fault}; left out" for fault in faults]


def _remedy(claims: Iterable[Claim]) -> str:
    if any(believable(claim.rate_hz) for claim in claims):
        return f"Name the unit of its numbers with --unit ({', '.join(Unit)})"
    return "Correct the sampling rate in the file's header"


def _fault(claim: Claim) -> str:
    if not believable(claim.rate_hz):
        return f"{claim.rate_hz:g} Hz is no sampling rate between {RATES_HZ[0]:g} and {RATES_HZ[1]:g}"
    return f"unit {shown(claim.dimension)} is not one that can be read"


def _folded(dimension: str) -> str:
    """Both characters for micro, and upper and lower case, become one; a raised 2 becomes 2."""
    return unicodedata.normalize("NFKC", dimension).strip().casefold().replace("μ", "u")


def _channel(position: int, label: str, claim: Claim, wanted: Wanted) -> _Channel | None:
    known = _UNITS.get(_folded(claim.dimension))
    if known is None or not believable(claim.rate_hz):
        return None
    unit, factor = known
    if wanted.unit is not None and _same_quantity(unit, wanted.unit):
        unit, factor = wanted.unit, 1.0
    sensor = _sensor(unit, f"{claim.label} {claim.hint}", wanted.sensor)
    gain = claim.gain * factor
    return _Channel(position, label, claim.rate_hz, unit, sensor, gain, claim.offset, claim.clock)


def _same_quantity(unit: Unit, other: Unit) -> bool:
    """Whether numbers in `unit` could be in `other`: counts can be anything."""
    return Unit.COUNT in (unit, other) or any({unit, other} <= kind for kind in (_VOLTAGE, _ACCELERATION))


def _sensor(unit: Unit, words: str, wanted: Sensor | None) -> Sensor:
    if unit in _ACCELERATION:
        return Sensor.ACC
    if wanted is not None:
        return wanted
    if _ECG.search(words):
        return Sensor.ECG
    return Sensor.ACC if _ACC.search(words) else Sensor.EMG


def _unique(labels: Iterable[str]) -> list[str]:
    """Labels in which the second "EMG" is "EMG 2", and the third that has no name "channel 3"."""
    given = [clean(label) or f"channel {i}" for i, label in enumerate(labels, 1)]
    taken = set(given)
    seen: set[str] = set()
    unique = []
    for label in given:
        chosen, n = label, 1
        while chosen in seen or (n > 1 and chosen in taken):
            n += 1
            chosen = f"{label} {n}"
        seen.add(chosen)
        unique.append(chosen)
    return unique


def _groups(channels: Iterable[_Channel]) -> Iterable[Group]:
    alike: dict[tuple[float, Unit, Sensor, int], list[_Channel]] = {}
    for channel in channels:
        key = (channel.rate_hz, channel.unit, channel.sensor, channel.clock)
        alike.setdefault(key, []).append(channel)
    counted: dict[Sensor, int] = {}
    for (rate_hz, unit, sensor, _), members in alike.items():
        counted[sensor] = counted.get(sensor, 0) + 1
        name = sensor.value if counted[sensor] == 1 else f"{sensor.value}{counted[sensor]}"
        scale = _common_scale(members)
        yield Group(
            Stream(name, sensor, unit, scale or 1.0, rate_hz, tuple(c.label for c in members)),
            tuple(c.position for c in members),
            None if scale else _calibration(members),
        )


def _common_scale(members: Sequence[_Channel]) -> float | None:
    """The one positive factor that calibrates all of `members`, if there is one."""
    gain = members[0].gain
    common = gain > 0 and all(c.gain == gain and math.fabs(c.offset) < _NO_OFFSET for c in members)
    return gain if common else None


def _calibration(members: Sequence[_Channel]) -> NDArray[np.float64]:
    pairs = np.array([[c.gain for c in members], [c.offset for c in members]])
    return pairs[:, :, np.newaxis]
