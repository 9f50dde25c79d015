"""Conditioning: baseline and mains off, twitches untouched. Causal, stateful, vectorised over channels and frames.

Rules:

* Works on whole frames of about `FRAME_S`: 10 cycles of 50 Hz and 12 of 60 Hz, so that neither leaks into the
  other. The result does not depend on how many frames come at once.
* Mains is *subtracted*, not notched: one phasor a harmonic, averaged over seconds, cannot ring on a twitch. What
  a twitch could put into the average is clipped off before.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.signal import butter, lfilter, sosfilt_zi

from firmware_interface.samples import Sensor

Signal = NDArray[np.float64]
"""Shape (channels, samples)."""

FRAME_S = 0.2


def frame_length(rate_hz: float) -> int:
    """Samples in a frame; even, so that a frame is two ticks."""
    return 2 * round(FRAME_S * rate_hz / 2)


_HIGH_PASS_HZ = {Sensor.EMG: 20.0, Sensor.ECG: 20.0, Sensor.ACC: 4.0}
"""EMG: De Luca 2010, J Biomech 43:1573. Acceleration: gravity, breathing and posture lie below."""
_LOW_PASS_HZ = {Sensor.EMG: 400.0, Sensor.ECG: 400.0, Sensor.ACC: 40.0}
_ORDER = 2


class BandPass:
    """Butterworth low-pass, where the rate leaves anything above the band, and high-pass.

    Args:
        sensor: whose band it is.
        rate_hz: samples a second.
        factor: of the thinning that comes next; its alias is kept out.
    """

    def __init__(self, sensor: Sensor, rate_hz: float, factor: int = 1) -> None:
        low_hz, high_hz = _HIGH_PASS_HZ[sensor], _LOW_PASS_HZ[sensor]
        above = high_hz < 0.4 * rate_hz
        order = _ORDER if factor == 1 else 2 * _ORDER
        self._low = _Filter(butter(order, high_hz, fs=rate_hz, output="sos")) if above else None
        self._high = _Filter(butter(_ORDER, low_hz, "highpass", fs=rate_hz, output="sos"))

    def feed(self, x: Signal) -> tuple[Signal, Signal]:
        """Filter the next samples: what is in the band, and what is below it.

        The first samples ever are taken as the level that was there before.
        """
        low = self._low.feed(x) if self._low else x
        band = self._high.feed(low)
        return band, low - band

    def reset(self) -> None:
        """Forget what came before a gap."""
        for stage in (self._low, self._high):
            if stage:
                stage.memory = None


class _Filter:
    """Second-order sections with their memory, a row a channel."""

    def __init__(self, sos: Signal) -> None:
        self._sos = sos
        self.memory: Signal | None = None

    def feed(self, x: Signal) -> Signal:
        if self.memory is None:
            self.memory = sosfilt_zi(self._sos)[:, None, :] * x[None, :, :1]
        for section, memory in zip(self._sos, self.memory, strict=True):  # sosfilt takes twice as long for one
            x, memory[:] = lfilter(section[:3], section[3:], x, axis=1, zi=memory)
        return x


_ORDER_AR = 6
_LEARN_FRAMES = 50
"""Frames of rest that the noise model averages over: 10 s."""
_KNOWN_FRAMES = 5
"""Frames of rest from which the model is used."""
_RIDGE = 1e-3
"""Share of white noise in the model, so that a pure line cannot make the filter ring."""


class Whitener:
    """Makes noise white, per channel, by an autoregressive model learned at rest (Yule and Walker).

    Skin noise rises towards low frequencies and carries remnants of mains; a potential is broad. In the
    whitened signal each frequency counts by how quiet it is, which is what a matched filter does with its noise.
    """

    LEAD = _ORDER_AR
    """Samples before a frame that its whitening needs."""

    def __init__(self, channels: int) -> None:
        self._lags = np.zeros((channels, _ORDER_AR + 1))
        self._learned = np.zeros(channels, int)
        self._filter = np.zeros((channels, _ORDER_AR + 1))  # that of the newest sample last
        self._filter[:, -1] = 1.0

    @property
    def noise(self) -> NDArray[np.float64]:
        """Standard deviation of the noise before whitening, shape (channels,); NaN before any was heard."""
        return np.where(self._learned > 0, np.sqrt(self._lags[:, 0]), np.nan)

    def feed(self, y: Signal) -> Signal:
        """Whiten the samples after the first `_ORDER_AR`, which are what came before."""
        return np.array([np.correlate(row, taps, "valid") for row, taps in zip(y, self._filter, strict=True)])

    def learn(self, y: Signal, rest: NDArray[np.bool_]) -> None:
        """Take the frames of noise in which a channel is at `rest`, shape (channels, frames), into the model.

        `y` as in `feed`.
        """
        channels, frames = rest.shape
        count = rest.sum(axis=1)
        if not count.any():
            return
        shifted = [
            y[:, _ORDER_AR - lag : y.shape[1] - lag].reshape(channels, frames, -1) for lag in range(_ORDER_AR + 1)
        ]
        lags = np.stack([np.einsum("cfs,cfs->cf", shifted[0], other) for other in shifted], axis=2)
        mean = (lags * rest[:, :, None]).sum(axis=1) / (np.maximum(count, 1) * shifted[0].shape[2])[:, None]
        self._learned += count
        weight = count / np.maximum(np.minimum(self._learned, _LEARN_FRAMES), 1)
        self._lags += weight[:, None] * (mean - self._lags)
        self._renew()

    def _renew(self) -> None:
        known = np.flatnonzero((self._learned >= _KNOWN_FRAMES) & (self._lags[:, 0] > 0))
        lags = self._lags[known]
        matrix = lags[:, _LAG_OF] + lags[:, :1, None] * _RIDGES
        self._filter[known, -2::-1] = -np.linalg.solve(matrix, lags[:, 1:, None])[:, :, 0]


_RIDGES = _RIDGE * np.eye(_ORDER_AR)
_LAG_OF = np.abs(np.subtract.outer(np.arange(_ORDER_AR), np.arange(_ORDER_AR)))

_MAINS_HZ = (50.0, 60.0)
_HARMONICS_MAX = 9
_AVERAGE_S = 0.6
"""Time constant of a phasor: mains amplitude changes no faster when nobody moves."""
_FREQUENCY_AVERAGE_S = 1.0
_TUNE_FRAMES = 5
_TUNE_STEP_HZ = 0.03
"""The basis is made anew when the tracked frequency has moved by this much."""
_TRUSTED = 0.9
"""The frequency is followed where the fundamental stands this far out of the noise."""
_SIGNIFICANCE = 4.0
"""A phasor is believed where its power passes this many times that of averaged noise."""
_CLIP = 5.0
"""In units of the mean magnitude: a sine peaks at 1.6 times its own, Gaussian noise at 4 or so. A twitch is cut
off here, so that the average does not learn it."""
_SETTLED_S = 1.8


class MainsCanceller:
    """Subtracts mains at 50 or 60 Hz, whichever is there, with its harmonics.

    Each frame is projected on the harmonics by least squares; projections are averaged with the rotation
    that the tracked frequency asks for, and the average, shrunk by its own uncertainty, is subtracted.

    Args:
        rate_hz: samples a second; may be off by a per cent, which only moves the apparent mains frequency.
        channels: number of channels.
    """

    def __init__(self, rate_hz: float, channels: int) -> None:
        self._length = frame_length(rate_hz)
        self._frame_s = self._length / rate_hz
        self._time_s = (np.arange(self._length) - (self._length - 1) / 2) / rate_hz
        lines = [hz for hz in _MAINS_HZ if 2.2 * hz < rate_hz]
        orders = [np.arange(1, min(_HARMONICS_MAX, int(0.48 * rate_hz / hz)) + 1) for hz in lines]
        self._nominal_hz = np.array(lines)
        self._order = np.concatenate(orders) if orders else np.zeros(0)
        self._line = np.repeat(np.arange(len(lines)), [len(order) for order in orders])
        self._first = np.flatnonzero(self._order == 1)
        self._usual_turn = np.exp(2j * np.pi * self._frame_s * self._nominal_hz)
        self._turning = np.zeros(len(lines), complex)  # averaged rotation a frame of the fundamentals
        self._tuned_hz = self._nominal_hz.copy()
        shape = (channels, len(self._order))
        self._spread, self._gain = np.zeros(shape), np.zeros(shape)
        since = (_TUNE_FRAMES + 1, *shape)  # the last tuning, after one more
        self._heard, self._averages = np.zeros(since, complex), np.zeros(since, complex)
        self._frames = self._fresh = 0
        self.powers = np.zeros((channels, 0))
        """Mean square of what was subtracted from each of the frames last fed, shape (channels, frames)."""
        self._make_basis()

    def feed(self, y: Signal) -> Signal:
        """Clean whole frames, shape (channels, frames * frame length)."""
        self.powers = np.zeros((len(y), y.shape[1] // self._length))
        if not len(self._order) or not y.size:
            return y
        clean = y.copy()
        frames = clean.reshape(len(y), -1, self._length).transpose(1, 0, 2)  # products of one shape: the same bits
        done = 0
        while done < len(frames):
            stop = min(done + self._until_tuning, len(frames))
            part = frames[done:stop]
            part -= self._mains(part, self.powers[:, done:stop])
            done = stop
            if self._until_tuning == _TUNE_FRAMES or self._frames < _TUNE_FRAMES:
                self._tune()
        return clean

    @property
    def settled(self) -> bool:
        """Whether the average has had time to find mains, if there is any."""
        return self._frames * self._frame_s > _SETTLED_S

    def reset(self) -> None:
        """A gap: phases are unknown, the frequency is kept."""
        self._frames = self._fresh = 0
        self._gain[:] = 0
        self._averages[0] = 0

    @property
    def _until_tuning(self) -> int:
        """Frames; at first each is tuned to, as there is nothing better yet."""
        return 1 if self._frames < _TUNE_FRAMES else _TUNE_FRAMES - self._frames % _TUNE_FRAMES

    def _mains(self, frames: Signal, powers: Signal) -> Signal | float:
        """What is mains in the frames, shape (frames, channels, samples); writes how much that is."""
        level = _CLIP * np.abs(frames).mean(axis=2, keepdims=True)
        clipped = np.maximum(frames, -level)
        heard = np.minimum(clipped, level, out=clipped) @ self._project
        mains = (self._gain * self._averaged(heard.view(complex))).view(float)
        if not self._gain.any():
            return 0.0
        powers[:] = np.einsum("fcp,fcp->cf", mains, mains) / 2
        return np.asarray(mains @ self._synthesis)

    def _averaged(self, heard: NDArray[np.complex128]) -> NDArray[np.complex128]:
        """Take the phasors of some frames into the average; return it as it was after each."""
        least, heard_so_far = self._frame_s / _AVERAGE_S, self._frames + 1
        weights = np.array([max(1 / (heard_so_far + i), least) for i in range(len(heard))])
        before, fresh = self._averages[self._fresh], slice(self._fresh + 1, self._fresh + 1 + len(heard))
        self._heard[fresh] = heard
        averages: NDArray[np.complex128] = np.multiply(weights[:, None, None], heard, out=self._averages[fresh])
        for average, turn in zip(averages, np.multiply.outer(1 - weights, self._rotation), strict=True):
            before = np.add(average, before * turn, out=average)
        self._fresh += len(heard)
        self._frames += len(heard)
        return averages

    def _tune(self) -> None:
        """Judge what is mains by the frames since the last time, and follow its frequency."""
        fresh = self._fresh
        weight = max(1 / self._frames, self._frame_s / _AVERAGE_S)
        errors = self._heard[1 : fresh + 1] - self._averages[:fresh] * self._rotation
        share = max(1 / max(self._frames - 1, 1), min(fresh * weight, 1.0))
        self._spread += share * (_power(errors).mean(axis=0) - self._spread)
        strength = _power(self._averages[fresh])
        doubt = _SIGNIFICANCE * weight / (2 - weight) * self._spread
        gain = np.maximum(1 - doubt / np.maximum(strength, 1e-30), 0) * (self._frames > 2)
        self._follow_frequency(gain)
        powers = np.add.reduceat(gain * gain * strength, self._first, axis=1).sum(axis=0)
        self._gain = gain * (self._line == powers.argmax())
        for since in (self._heard, self._averages):
            since[0] = since[fresh]
        self._fresh = 0

    def _follow_frequency(self, gain: Signal) -> None:
        """By the turn of the fundamentals from frame to frame."""
        begin = 0 if self._frames > self._fresh else 1
        heard = self._heard[begin : self._fresh + 1][:, :, self._first]
        if len(heard) < 2:
            return
        turn = (heard[1:] * heard[:-1].conj()).sum(axis=1).mean(axis=0)
        share = max(1 / (self._frames - 1), min((len(heard) - 1) * self._frame_s / _FREQUENCY_AVERAGE_S, 1.0))
        self._turning += share * (turn - self._turning)
        ahead = np.angle(self._turning * self._usual_turn.conj())
        hz = self._nominal_hz + ahead / (2 * np.pi * self._frame_s)
        trusted = gain[:, self._first].max(axis=0) > _TRUSTED
        if (trusted & (np.abs(hz - self._tuned_hz) > _TUNE_STEP_HZ)).any():
            self._tuned_hz = np.where(trusted, hz, self._nominal_hz)
            self._make_basis()

    def _make_basis(self) -> None:
        hz = self._tuned_hz[self._line] * self._order
        self._rotation = np.exp(2j * np.pi * self._frame_s * hz)
        angle = 2 * np.pi * self._time_s[:, None] * hz
        basis = np.exp(-1j * angle).view(float)  # cosine and minus sine, so that a product is a phasor
        self._project = np.ascontiguousarray(np.linalg.pinv(basis).T) if basis.size else basis
        self._synthesis = np.ascontiguousarray(basis.T)


def _power(phasors: NDArray[np.complex128]) -> Signal:
    return np.asarray(phasors.real**2 + phasors.imag**2)
