"""What a twitch looks like, in the measures of clinical EMG. Pure: one conditioned waveform in, numbers out.

Rules:

* Levels follow the noise, as fixed ones (20 to 100 µV in needle EMG) would be blind or mislead on the skin. So
  the counts of a twitch near the noise are lower bounds.
* Measured on the band-limited curve through the samples, `_FINE_HZ` points a second: at 200 Hz the samples
  themselves miss peaks and crossings. That does not bring back what the device never held.

Definitions are those of motor unit potentials in needle EMG: duration, phases and turns as in the AAEM glossary
of terms [mem], polyphasic from five phases on [mem]; turns after Willison 1964 [mem]; median frequency after
Stulen and De Luca 1981 [mem]. Sizes to be expected: detection.md 1.2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.signal import find_peaks, firwin, upfirdn

Floats = NDArray[np.floating[Any]]

_FINE_HZ = 4000.0
_LEVEL = 3.0
"""Noise deviations that a deflection must exceed to be one."""
_BASELINE = 1.0
"""Noise deviations below which the potential has left from, or returned to, the baseline."""
_LEVEL_MAX = 0.5
"""The level in units of the peak, so that any waveform has a deflection."""
_QUIET_S = 0.006
"""Silence that ends a potential: longer than the lull between phases, shorter than the shortest doublet."""
_TURN = 4.5
"""Noise deviations by which the course must reverse: the difference of two independent noises exceeds this about
once in 700. In needle EMG it is 100 µV."""
_BAND_HZ = (20.0, 400.0)
_SPECTRUM_S = 0.25
"""Zero-padded to this length, the spectrum has points each 4 Hz."""


@dataclass(frozen=True, slots=True)
class Shape:
    """Measures of one twitch."""

    onset_s: float
    """From the waveform's first sample to where the potential leaves the baseline."""
    duration_s: float
    """From there to its last return to the baseline."""
    peak_to_peak: float
    """From the highest to the lowest point between."""
    phases: int
    """Baseline crossings between deflections, plus one; polyphasic is more than four."""
    turns: int
    """Reversals of direction by more than noise, the peaks of all phases included."""
    median_hz: float
    """Half of the power is below."""


def measure(waveform: NDArray[np.floating[Any]], rate_hz: float, noise: float) -> Shape:
    """Measure one twitch.

    Args:
        waveform: conditioned signal around it, shape (samples,), with some baseline before and after.
        rate_hz: samples a second.
        noise: standard deviation of the local noise, in the waveform's unit.
    """
    factor = max(math.ceil(_FINE_HZ / rate_hz), 1)
    taps = _between_samples(factor)
    late = len(taps) // 2
    fine = upfirdn(taps, np.asarray(waveform, float), factor)[late : late + factor * len(waveform)]
    fine_hz = factor * rate_hz
    level = min(_LEVEL * noise, _LEVEL_MAX * float(np.abs(fine).max()))
    first, last = _extent(fine, level, fine_hz)
    potential = fine[first:last]
    return Shape(
        onset_s=first / fine_hz,
        duration_s=(last - first) / fine_hz,
        peak_to_peak=float(np.ptp(potential)),
        phases=_phases(potential, level),
        turns=_turns(potential, level * _TURN / _LEVEL),
        median_hz=_median_hz(potential, fine_hz, min(_BAND_HZ[1], 0.5 * rate_hz)),
    )


@cache
def _between_samples(factor: int) -> Floats:
    """Interpolator over ten samples to each side, as `resample_poly` would design it anew each time."""
    taps = firwin(20 * factor + 1, 1 / factor, window=("kaiser", 5.0)) if factor > 1 else [1.0]
    return factor * np.asarray(taps)


def _extent(x: Floats, level: float, rate_hz: float) -> tuple[int, int]:
    """First point of the potential around the greatest deflection, and the one after its last.

    Deflections without `_QUIET_S` between them are one potential; from its outermost deflections it reaches to
    where the curve is back in the noise.
    """
    size = np.abs(x)
    beyond = np.flatnonzero(size >= level)
    ends = np.flatnonzero(np.diff(beyond) > _QUIET_S * rate_hz)
    group = int(np.searchsorted(beyond[ends], int(size.argmax())))
    first = int(beyond[0 if group == 0 else ends[group - 1] + 1])
    last = int(beyond[-1 if group == len(ends) else ends[group]])
    quiet = size <= level * _BASELINE / _LEVEL
    before, after = np.flatnonzero(quiet[:first]), np.flatnonzero(quiet[last:])
    return (int(before[-1]) + 1 if len(before) else 0), last + (int(after[0]) if len(after) else len(x) - last)


def _phases(potential: Floats, level: float) -> int:
    """Runs of deflections of one sign; what stays within the level is baseline."""
    signs = np.sign(potential[np.abs(potential) >= level])
    return int(np.count_nonzero(np.diff(signs))) + 1


def _turns(potential: Floats, reversal: float) -> int:
    """Peaks and troughs that stand out by a reversal on both sides; the baseline lies at both ends."""
    framed = np.concatenate(([0.0], potential, [0.0]))
    return sum(len(find_peaks(side, prominence=reversal)[0]) for side in (framed, -framed))


def _median_hz(potential: Floats, rate_hz: float, top_hz: float) -> float:
    """Median of the power spectrum under a Hann window a third longer than the potential, 20 Hz and up."""
    margin = len(potential) // 6
    window = np.hanning(len(potential) + 2 * margin + 2)[margin + 1 : margin + 1 + len(potential)]
    points = max(round(_SPECTRUM_S * rate_hz), len(potential))
    first, last = math.ceil(_BAND_HZ[0] * points / rate_hz), math.floor(top_hz * points / rate_hz)
    share = np.cumsum(np.abs(np.fft.rfft(potential * window, points)[first : last + 1]) ** 2)
    return float(np.interp(0.5 * share[-1], share, np.arange(first, last + 1) * (rate_hz / points)))
