"""What the detector can be told, in seconds, multiples of the noise and units of the signal.

Rule: one default setting serves every device and every person; what follows from the sampling rate or the
signal is not a setting.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class DetectorSettings:
    """Settings of the twitch detector; recorded with every session."""

    false_alarms_per_min: float = 0.02
    """Crossings of the threshold that Gaussian noise alone may cause, a minute and channel."""
    twitch_max_s: float = 0.06
    """A potential that lasts longer, at a third of its peak, is a contraction or an artefact. Fasciculation
    potentials last 2.8 to 37 ms (detection.md 1.2)."""
    isolation_s: float = 0.5
    """How far around a twitch the muscle must be quiet."""
    crowd: int = 3
    """This many other potentials within `isolation_s` are a voluntary discharge, not a doublet or triplet."""
    tonic_s: float = 3.0
    """How far back slow voluntary discharges are looked for; units of a held muscle fire some times a second."""
    tonic: int = 5
    """This many other potentials within `tonic_s` are a held muscle."""
    hold_off_s: float = 0.5
    """How long after a contraction its last discharges are expected."""
    smallest_uv: float = 100.0
    """Peak-to-peak amplitude that must be visible; where noise would hide it, the channel abstains. Not applied
    where the unit is not a voltage. SPiQE's exclusion threshold (Bashford 2019, Clin Neurophysiol 130:1083)."""
    smallest_at: Mapping[str, float] = field(default_factory=dict)
    """The same for single channels, in their own unit; see `fasciwatch calibrate`."""
    contraction_at: Mapping[str, float] = field(default_factory=dict)
    """Channel -> root mean square of a firm contraction, in its unit; see `fasciwatch calibrate`."""
