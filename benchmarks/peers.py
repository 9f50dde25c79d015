"""Other ways to find twitches, as their authors or the literature set them: offline, over the whole record.

A peer takes one channel and gives spans in seconds. NeuroKit2 and BioSPPy take part where they can be imported.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter1d
from scipy.signal import butter, sosfiltfilt

from benchmarks.sets import Case
from firmware_interface.samples import Sensor
from monitor.score import LONGEST_S, TOLERANCE_S, Spans, match

Floats = NDArray[np.float64]
Peer = Callable[[Floats, float], Spans]

_MERGE_S = 0.015
_MAD_SIGMA = 0.6745


def band(x: Floats, rate_hz: float) -> Floats:
    """20 to 450 Hz, as far as the rate allows, without delay."""
    high_hz = min(450.0, 0.45 * rate_hz)
    return np.asarray(sosfiltfilt(butter(2, (20.0, high_hz), "bandpass", fs=rate_hz, output="sos"), x))


def teager_kaiser(y: Floats) -> Floats:
    """x[n]^2 - x[n-1] x[n+1] (Solnik 2008)."""
    out = np.zeros_like(y)
    out[1:-1] = y[1:-1] ** 2 - y[:-2] * y[2:]
    return out


def runs(above: NDArray[np.bool_], rate_hz: float, merge_s: float = _MERGE_S) -> Spans:
    """Spans of a mask, those less than `merge_s` apart joined."""
    edges = np.flatnonzero(np.diff(above, prepend=False, append=False)).reshape(-1, 2)
    if not len(edges):
        return np.empty((0, 2))
    apart = np.flatnonzero(edges[1:, 0] - edges[:-1, 1] > merge_s * rate_hz)
    first, last = np.concatenate(([0], apart + 1)), np.concatenate((apart, [-1]))
    return np.stack((edges[first, 0], edges[last, 1]), axis=1) / rate_hz


def mad(x: Floats, rate_hz: float) -> Spans:
    """Rectified signal above 5 sigma, sigma from the median of the whole record (Quian Quiroga 2004)."""
    y = np.abs(band(x, rate_hz))
    return runs(y > 5 * np.median(y) / _MAD_SIGMA, rate_hz)


def tkeo(x: Floats, rate_hz: float) -> Spans:
    """Teager-Kaiser energy, smoothed over 5 ms, above 40 robust sigma."""
    return runs(_characteristic("tkeo", x, rate_hz) > 40, rate_hz)


def neurokit(x: Floats, rate_hz: float) -> Spans:
    """NeuroKit2 `emg_process`, defaults."""
    import neurokit2 as nk  # noqa: PLC0415

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        signals, _ = nk.emg_process(x, sampling_rate=round(rate_hz))
    return runs(signals["EMG_Activity"].to_numpy() > 0.5, rate_hz, 0.0)


def biosppy(x: Floats, rate_hz: float) -> Spans:
    """BioSPPy `find_onsets`, defaults, on the signal as its own `emg` filters it: beginnings and ends in turn."""
    from biosppy.signals import emg  # noqa: PLC0415
    from biosppy.signals.tools import filter_signal  # noqa: PLC0415

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        filtered, _, _ = filter_signal(
            signal=x, ftype="butter", band="highpass", order=4, frequency=100, sampling_rate=rate_hz
        )
        (found,) = emg.find_onsets(signal=filtered, sampling_rate=rate_hz)
    return np.asarray(found[: len(found) // 2 * 2], np.float64).reshape(-1, 2) / rate_hz


@dataclass(frozen=True, slots=True)
class Rival:
    """A peer, and what it needs."""

    find: Peer
    least_hz: float = 100.0
    """Its own high-pass of 100 Hz needs more than 200."""
    cases: int = 1000
    """How many recordings of a row it gets; NeuroKit2 takes seconds for each minute."""


def available() -> dict[str, Rival]:
    """Peers by name."""
    rivals = {"MAD 5": Rival(mad), "TKEO": Rival(tkeo)}
    if find_spec("neurokit2"):
        rivals["NeuroKit2"] = Rival(neurokit, 201.0, 1)
    if find_spec("biosppy"):
        rivals["BioSPPy"] = Rival(biosppy, 201.0)
    return rivals


def _characteristic(name: str, x: Floats, rate_hz: float) -> Floats:
    """What a threshold is laid on, in robust standard deviations."""
    y = band(x, rate_hz)
    if name == "mad":
        score = np.abs(y)
        return np.asarray(score / (np.median(score) / _MAD_SIGMA))
    if name == "rms":
        score = np.sqrt(uniform_filter1d(y * y, max(round(0.010 * rate_hz), 1)))
    else:
        score = uniform_filter1d(teager_kaiser(y), max(round(0.005 * rate_hz), 1))
    middle = np.median(score)
    return np.asarray((score - middle) / (np.median(np.abs(score - middle)) / _MAD_SIGMA))


def hindsight(case: Case, false_per_min: float = 1.0) -> int:
    """How many twitches the best of MAD, RMS and Teager-Kaiser finds, its threshold chosen for this very case."""
    return max(
        _found(_characteristic(name, x, case.stream.rate_hz), case, false_per_min)
        for x in case.physical
        for name in ("mad", "rms", "tkeo")
    )


def _found(score: Floats, case: Case, false_per_min: float) -> int:
    allowed = false_per_min * case.duration_s / 60
    best = 0
    for threshold in _thresholds(score):
        spans = runs(score > threshold, case.stream.rate_hz)
        spans = spans[spans[:, 1] - spans[:, 0] <= LONGEST_S[Sensor.EMG]]
        hits = len(match(spans, case.truth.twitches, TOLERANCE_S[Sensor.EMG]))
        if len(spans) - hits > allowed:
            break
        best = max(best, hits)
    return best


def _thresholds(score: Floats) -> Iterator[float]:
    """From far above down: the first that fires too often ends the search."""
    top = float(np.sort(score)[-20])
    return iter(np.geomspace(max(top, 4.0), 2.5, 60).tolist())
