"""Which motor unit: twitches of one waveform are one unit. Online, a channel each, in bounded memory.

    waveform ─ spectrum ─► nearest unit ─ fits ─► its id
                               └─ none ─► nearest seed ─ the third alike ─► a new id, else None

Rules:

* A waveform is its Fourier coefficients over `_WINDOW_S` around its centre of energy. In them a shift in time is a
  turn, so every lag of every template is one matrix product, at no sampling grid, and rates need no case.
* A template fits where the residual is what noise and `_MODEL_ERROR` of the template explain: a large twitch need
  not match to the microvolt. Amplitude may vary, and the more the longer the unit was not seen.
* A unit is what discharges repeatedly and alike: all fasciculations of one unit share one potential, as in
  template matching of high-density records (Kleine 2012; detection.md 1.1). A shape is a *seed* until it has been
  seen `_BIRTH` times. What occurs once, as two units that coincide do, stays unassigned.
* Templates follow slow drift by an exponential average. Ids are small integers of a channel, never used again.
* A channel that comes at another bandwidth is another device: its units retire.
* The result depends on the order of twitches only. `snapshot` is plain data; `restore` continues where it was.

What it cannot do: tell units apart whose potentials differ by less than noise and `_MODEL_ERROR`; undo a
superposition; know a unit again on another channel, or after electrodes were put elsewhere.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2

Floats = NDArray[np.floating[Any]]
Spectrum = NDArray[np.complex128]
UnitId = int
"""From 1, a channel each."""

_WINDOW_S = 0.040
"""Surface potentials of single units last 5 to 17 ms (PMC1779696), polyphasic ones to 37 (JNNP table 3)."""
_TAPER_S = 0.005
_BAND_HZ = 300.0
"""Above, a surface potential holds little but noise (detection.md 1.2)."""
_NOISE_BAND_HZ = 400.0
"""Conditioned noise ends here, or at half the sampling rate."""
_LAG_S = 0.003
_LAG_STEP_S = 0.00025
"""A twelfth of the shortest period; a parabola does the rest."""

_MODEL_ERROR = 0.06
"""Residual that a unit's own potential usually leaves, over its size, noise apart."""
_ERROR_MAX = 2.0
"""Its energy may be this many times as large."""
_NOISE_COLOUR = 1.2
"""Skin noise over white noise of the same deviation, where potentials have their energy: it rises to low
frequencies."""
_CHANCE = 0.002
"""Share of a unit's twitches whose noise may be too large to fit."""
_GAIN_SD = 0.10
"""Amplitude of one unit from twitch to twitch: 5 to 15 %."""
_GAIN_DRIFT = 0.30
"""Of amplitude over `_GAIN_DRIFT_S`: gels dry, skin warms."""
_GAIN_DRIFT_S = 8 * 3600.0
_GAIN_LIMIT = 3.0
"""Standard deviations of amplitude."""

_BIRTH = 3
_HALF_LIFE = 50
"""Twitches after which a template is half new: at one a minute follows drift of hours, averages noise away."""
_HALF_LIFE_S = 3600.0
"""The same in time, for units that are rare: electrodes change over hours."""
_WEIGHT_MAX = 0.3
_SIZE_WEIGHT = 0.15
"""Of one twitch in the size of a template: electrodes change sizes more, and sooner, than shapes."""
_UNITS_MAX = 12
_SEEDS_MAX = 20
_DAY_NS = 86_400_000_000_000
_SEED_NS = _DAY_NS
_UNIT_NS = 7 * _DAY_NS
"""Unseen for this long, a unit retires."""
_CROWDED_NS = _DAY_NS
"""The same where a new unit needs the room."""
_INTERVALS_MAX = 64

_WEIGHT_MIN = 1 - 0.5 ** (1 / _HALF_LIFE)
_LAGS_S = np.arange(-round(_LAG_S / _LAG_STEP_S), round(_LAG_S / _LAG_STEP_S) + 1) * _LAG_STEP_S


@dataclass(frozen=True, slots=True)
class UnitStatistics:
    """How a unit discharges."""

    unit: UnitId
    count: int
    last_ns: int
    median_interval_s: float
    """Of the last intervals; nan before there is one."""
    interval_cv: float
    """Standard deviation over mean of the last intervals: near 1 for fasciculations, .1 to .3 for voluntary
    discharge [mem]; nan before there are two."""


@dataclass(frozen=True, slots=True)
class _Cluster:
    """A unit, or a seed of one: id 0."""

    template: Spectrum
    unit: UnitId
    count: int
    last_ns: int
    intervals_s: tuple[float, ...] = ()

    def joined(self, match: _Match, at_ns: int) -> _Cluster:
        """With one more twitch: the shape is averaged for long, its size follows soon."""
        interval_s = max(at_ns - self.last_ns, 0) * 1e-9
        stale = min(1 - 0.5 ** (interval_s / _HALF_LIFE_S), _WEIGHT_MAX)
        weight, size_weight = (max(1 / (self.count + 1), least, stale) for least in (_WEIGHT_MIN, _SIZE_WEIGHT))
        shape = self.template + weight * (match.aligned / match.gain - self.template)
        return _Cluster(
            template=shape * match.gain**size_weight,
            unit=self.unit,
            count=self.count + 1,
            last_ns=max(at_ns, self.last_ns),
            intervals_s=(*self.intervals_s, interval_s)[-_INTERVALS_MAX:],
        )


@dataclass(slots=True)
class _Channel:
    bins: int
    born: int = 0
    units: list[_Cluster] = field(default_factory=list)
    seeds: list[_Cluster] = field(default_factory=list)


class MotorUnits:
    """The motor units of every channel."""

    def __init__(self) -> None:
        self._channels: dict[str, _Channel] = {}

    def feed(
        self, channel: str, waveform: NDArray[np.floating[Any]], rate_hz: float, noise: float, at_ns: int
    ) -> UnitId | None:
        """Assign one twitch to a unit of its channel; None where it belongs to none, or to none yet.

        Args:
            channel: where the twitch is largest.
            waveform: conditioned signal around it, shape (samples,), best with 15 ms before and after.
            rate_hz: samples a second.
            noise: standard deviation of the local noise, in the waveform's unit.
            at_ns: onset.
        """
        twitch = _waveform(np.asarray(waveform, float), rate_hz, noise)
        home = self._channels.get(channel)
        if home is None or home.bins != len(twitch.spectrum):
            home = self._channels[channel] = _Channel(len(twitch.spectrum), home.born if home else 0)
        _forget(home, at_ns)
        return _assign(home, twitch, at_ns)

    def statistics(self, channel: str) -> tuple[UnitStatistics, ...]:
        """The units of a channel that are still followed, oldest first."""
        home = self._channels.get(channel)
        return tuple(_statistics(unit) for unit in home.units) if home else ()

    @property
    def born(self) -> int:
        """How many units there ever were, on all channels."""
        return sum(home.born for home in self._channels.values())

    @property
    def last_ns(self) -> int:
        """Onset of the newest twitch of a unit, or of what may become one; 0 before any."""
        clusters = (cluster for home in self._channels.values() for cluster in (*home.units, *home.seeds))
        return max((cluster.last_ns for cluster in clusters), default=0)

    def snapshot(self) -> dict[str, Any]:
        """All that is known, as JSON can hold it."""
        return {
            name: {
                "bins": c.bins,
                "born": c.born,
                "units": [_plain(cluster) for cluster in c.units],
                "seeds": [_plain(cluster) for cluster in c.seeds],
            }
            for name, c in self._channels.items()
        }

    @classmethod
    def restore(cls, snapshot: Mapping[str, Any]) -> MotorUnits:
        """Continue from a snapshot."""
        units = cls()
        for name, c in snapshot.items():
            known, seeds = ([_cluster(plain) for plain in c[kind]] for kind in ("units", "seeds"))
            units._channels[name] = _Channel(c["bins"], c["born"], known, seeds)
        return units


# One waveform --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Waveform:
    """One twitch, and how exactly it can be known."""

    spectrum: Spectrum
    noise: float
    """Energy of the noise in the spectrum, unit squared seconds."""


def _waveform(samples: Floats, rate_hz: float, noise: float) -> _Waveform:
    """Fourier coefficients around the centre of energy; their squares add up to the integral of the square."""
    time_s = np.arange(len(samples)) / rate_hz
    time_s -= _centre_s(samples, time_s, noise)
    within = np.abs(time_s) < _WINDOW_S / 2
    samples, time_s = samples[within], time_s[within]
    edge = np.minimum((_WINDOW_S / 2 - np.abs(time_s)) / _TAPER_S, 1)
    bins = int(min(_BAND_HZ, 0.45 * rate_hz) * _WINDOW_S)
    turns = _turns(bins, -time_s).T
    density = noise**2 / min(rate_hz / 2, _NOISE_BAND_HZ)
    return _Waveform(
        spectrum=math.sqrt(2 / _WINDOW_S) / rate_hz * ((samples * np.sin(np.pi / 2 * edge) ** 2) @ turns),
        noise=max(_NOISE_COLOUR * density * bins, 1e-30),
    )


def _centre_s(samples: Floats, time_s: Floats, noise: float) -> float:
    """Centre of the energy above noise near the peak: unlike the peak, it does not jump from phase to phase."""
    near = np.abs(time_s - time_s[np.argmax(np.abs(samples))]) <= _WINDOW_S / 2
    energy = np.where(near, samples**2, 0.0)
    energy *= energy >= min((3 * noise) ** 2, 0.25 * float(energy.max()))
    return float(energy @ time_s) / max(float(energy.sum()), 1e-30)


def _turns(bins: int, lags_s: Floats) -> Spectrum:
    """Factors that move a spectrum to earlier times, shape (bins, lags)."""
    once = np.exp((2j * np.pi / _WINDOW_S) * lags_s)
    return np.multiply.accumulate(np.broadcast_to(once, (bins, len(lags_s))), axis=0)


# Waveform against templates ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Match:
    """The cluster that fits best, and the waveform's spectrum moved onto its template."""

    index: int
    gain: float
    aligned: Spectrum


def _nearest(clusters: Sequence[_Cluster], waveform: _Waveform, at_ns: int) -> _Match | None:
    """The best of those that fit."""
    if not clusters:
        return None
    templates = np.array([c.template for c in clusters])
    count = np.array([c.count for c in clusters])
    overlap, lag_s = _best_lag(templates, waveform.spectrum)
    size = np.maximum(_energy(templates), 1e-30)
    gain = np.maximum(overlap / size, 1e-9)
    explained = gain * gain * size
    share = np.maximum(1 / count, _WEIGHT_MIN / 2)  # of the noise of one twitch, left in the template
    noise = waveform.noise * (1 + gain * gain * share)
    error = _MODEL_ERROR**2 * explained
    residual = _energy(waveform.spectrum) - explained
    off = np.log(gain) / _gain_sd(clusters, waveform, at_ns)
    bins = len(waveform.spectrum)
    fits = (residual <= _noise_max(bins) * noise + _ERROR_MAX * error) & (np.abs(off) <= _GAIN_LIMIT)
    if not fits.any():
        return None
    best = int(np.argmin(np.where(fits, 2 * bins * residual / (noise + error) + off * off, np.inf)))
    return _Match(best, float(gain[best]), waveform.spectrum * _turns(bins, lag_s[best : best + 1])[:, 0])


def _best_lag(templates: Spectrum, spectrum: Spectrum) -> tuple[Floats, Floats]:
    """The greatest overlap of each template with the waveform over all lags, and its lag, shape (templates,)."""
    overlaps = ((templates.conj() * spectrum) @ _grid(len(spectrum))).real
    rows, at = np.arange(len(templates)), np.clip(overlaps.argmax(axis=1), 1, len(_LAGS_S) - 2)
    before, here, after = (overlaps[rows, at + step] for step in (-1, 0, 1))
    bend = np.minimum(before - 2 * here + after, -1e-30)
    step = np.clip(0.5 * (before - after) / bend, -1, 1)
    return here - 0.25 * (before - after) * step, _LAGS_S[at] + step * _LAG_STEP_S


@cache
def _grid(bins: int) -> Spectrum:
    return _turns(bins, _LAGS_S)


@cache
def _noise_max(bins: int) -> float:
    """Residual over the mean energy of noise that noise exceeds by `_CHANCE`; lag and gain took two freedoms."""
    return float(chi2.isf(_CHANCE, 2 * bins - 2)) / (2 * bins)


def _energy(spectra: Spectrum) -> Floats:
    return np.asarray((spectra.real**2 + spectra.imag**2).sum(axis=-1))


def _gain_sd(clusters: Sequence[_Cluster], waveform: _Waveform, at_ns: int) -> Floats:
    """How far the logarithm of a unit's amplitude may be from its template's."""
    unseen_s = np.array([max(at_ns - c.last_ns, 0) for c in clusters]) * 1e-9
    drift = _GAIN_DRIFT**2 * np.minimum(unseen_s / _GAIN_DRIFT_S, 1)
    noise = waveform.noise / (2 * len(waveform.spectrum)) / max(float(_energy(waveform.spectrum)), 1e-30)
    return np.asarray(np.sqrt(_GAIN_SD**2 + noise + drift))


# Life of a channel ---------------------------------------------------------------------------------------------


def _assign(home: _Channel, twitch: _Waveform, at_ns: int) -> UnitId | None:
    unit = _join(home.units, twitch, at_ns)
    if unit:
        return unit.unit
    seed = _join(home.seeds, twitch, at_ns)
    if seed is None:
        home.seeds.append(_Cluster(twitch.spectrum, 0, 1, at_ns))
        return None
    if seed.count < _BIRTH or not _make_room(home, at_ns):
        return None
    home.seeds = [c for c in home.seeds if c is not seed]
    # Now that its noise is averaged, the seed may turn out to be a unit already known.
    unit = _join(home.units, replace(twitch, spectrum=seed.template), at_ns) or _born(home, seed)
    return unit.unit


def _join(clusters: list[_Cluster], twitch: _Waveform, at_ns: int) -> _Cluster | None:
    """Add a twitch to the cluster that it belongs to; return that."""
    match = _nearest(clusters, twitch, at_ns)
    if match is None:
        return None
    clusters[match.index] = clusters[match.index].joined(match, at_ns)
    return clusters[match.index]


def _born(home: _Channel, seed: _Cluster) -> _Cluster:
    home.born += 1
    home.units.append(replace(seed, unit=home.born))
    return home.units[-1]


def _forget(home: _Channel, at_ns: int) -> None:
    """Retire what was not seen for long, and the stalest seed where there is no room for another."""
    home.units = [c for c in home.units if at_ns - c.last_ns <= _UNIT_NS]
    home.seeds = [c for c in home.seeds if at_ns - c.last_ns <= _SEED_NS]
    if len(home.seeds) >= _SEEDS_MAX:
        del home.seeds[min(range(len(home.seeds)), key=lambda i: home.seeds[i].last_ns)]


def _make_room(home: _Channel, at_ns: int) -> bool:
    """Whether one more unit can be followed, if need be in place of the one longest unseen."""
    if len(home.units) >= _UNITS_MAX:
        stalest = min(range(len(home.units)), key=lambda i: home.units[i].last_ns)
        if at_ns - home.units[stalest].last_ns > _CROWDED_NS:
            del home.units[stalest]
    return len(home.units) < _UNITS_MAX


def _statistics(unit: _Cluster) -> UnitStatistics:
    intervals = np.array(unit.intervals_s)
    median_s = float(np.median(intervals)) if len(intervals) else math.nan
    cv = float(intervals.std() / max(intervals.mean(), 1e-9)) if len(intervals) > 1 else math.nan
    return UnitStatistics(unit.unit, unit.count, unit.last_ns, median_s, cv)


# Plain data ----------------------------------------------------------------------------------------------------


def _plain(cluster: _Cluster) -> dict[str, Any]:
    template = [[z.real, z.imag] for z in cluster.template.tolist()]
    return {**asdict(cluster), "template": template, "intervals_s": list(cluster.intervals_s)}


def _cluster(plain: Mapping[str, Any]) -> _Cluster:
    template = np.array([complex(*z) for z in plain["template"]])
    return _Cluster(template, plain["unit"], plain["count"], plain["last_ns"], tuple(plain["intervals_s"]))
