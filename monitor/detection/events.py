"""What detection says: twitches, and the times in which it could not or should not speak.

Amplitudes are in the stream's unit, measured on the conditioned signal. Times are ns since 1970 UTC for live
data and ns from the start for a recording.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from firmware_interface.samples import Unit


class State(StrEnum):
    """What a channel is doing where it is not simply at rest and analysable."""

    VOLUNTARY = "voluntary"
    """The muscle is being used: discharges are not twitches."""
    ARTEFACT = "artefact"
    """Movement, cable, saturation: not muscle."""
    BAD_CONTACT = "bad_contact"
    """The electrode does not see the muscle; twitches of interest could not be seen."""
    GAP = "gap"
    """Nothing was received."""


@dataclass(frozen=True, slots=True, eq=False)
class Twitch:
    """One involuntary muscle response."""

    channel: str
    """Where it is largest."""
    onset_ns: int
    duration_s: float
    peak: float
    """Largest absolute deflection."""
    peak_to_peak: float
    unit: Unit
    snr: float
    """`peak` over the standard deviation of the local noise."""
    confidence: float
    """0 to 1."""
    amplitudes: tuple[tuple[str, float], ...]
    """(channel, peak to peak), largest first."""
    waveform: NDArray[np.float32]
    """Conditioned signal around the event on `channel`, shape (samples,)."""
    waveform_start_s: float
    """Time of the waveform's first sample, seconds relative to the onset (negative)."""
    rate_hz: float
    """Samples a second of the waveform."""
    phases: int | None
    """Baseline crossings plus one, as in clinical EMG: see `shape.py`. None for acceleration, as the next two."""
    turns: int | None
    """Reversals of direction that exceed noise."""
    median_hz: float | None
    """Half of the power is below."""
    motor_unit: int | None
    """Which of the channel's units it is by its shape; None where it fits none, or none yet."""
    follows_s: float | None
    """Time since the twitch before on this channel, where that is at most 0.11 s: a doublet or multiplet."""


@dataclass(frozen=True, slots=True)
class Context:
    """A stretch of one channel in which twitches are not counted."""

    state: State
    channel: str
    onset_ns: int
    duration_s: float


@dataclass(frozen=True, slots=True)
class Analysed:
    """A stretch of the stream that is now final: no twitch or context in it will still be said."""

    start_ns: int
    end_ns: int
    observed_s: float
    """How much of it was received."""
    analysable_s: tuple[float, ...]
    """How much of that a twitch would have been reported in, a number a channel."""
    moving: bool = False
    """Whether the wearer moved; only an accelerometer knows."""


Event = Twitch | Context | Analysed
