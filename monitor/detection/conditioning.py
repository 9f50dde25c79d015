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
from scipy.signal import butter, sosfilt, sosfilt_zi

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
    """Butterworth band-pass in second-order sections; only a high-pass where the rate leaves no upper edge."""

    def __init__(self, sensor: Sensor, rate_hz: float) -> None:
        low_hz, high_hz = _HIGH_PASS_HZ[sensor], _LOW_PASS_HZ[sensor]
        if high_hz < 0.4 * rate_hz:
            self._sos = butter(_ORDER, (low_hz, high_hz), "bandpass", fs=rate_hz, output="sos")
        else:
            self._sos = butter(_ORDER, low_hz, "highpass", fs=rate_hz, output="sos")
        self._memory: Signal | None = None

    def feed(self, x: Signal) -> Signal:
        """Filter the next samples; the first ever are taken as the level that was there before."""
        if self._memory is None:
            self._memory = sosfilt_zi(self._sos)[:, None, :] * x[None, :, :1]
        y, self._memory = sosfilt(self._sos, x, axis=1, zi=self._memory)
        return np.asarray(y)

    def reset(self) -> None:
        """Forget what came before a gap."""
        self._memory = None


_ORDER_AR = 6
_LEARN_FRAMES = 50
"""Frames of rest that the noise model averages over: 10 s."""
_RENEW_FRAMES = 5
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
        self._filter = np.zeros((channels, _ORDER_AR + 1))
        self._filter[:, 0] = 1.0
        self._frames = 0

    @property
    def noise(self) -> NDArray[np.float64]:
        """Standard deviation of the noise before whitening, shape (channels,); NaN before any was heard."""
        return np.where(self._learned > 0, np.sqrt(self._lags[:, 0]), np.nan)

    def feed(self, y: Signal) -> Signal:
        """Whiten the samples after the first `_ORDER_AR`, which are what came before."""
        length = y.shape[1] - _ORDER_AR
        white = y[:, _ORDER_AR:].copy()
        for lag in range(1, _ORDER_AR + 1):
            white += self._filter[:, lag, None] * y[:, _ORDER_AR - lag : _ORDER_AR - lag + length]
        return white

    def learn(self, y: Signal, rest: NDArray[np.bool_]) -> None:
        """Take a frame of noise into the model where the channel is at `rest`; `y` as in `feed`."""
        length = y.shape[1] - _ORDER_AR
        now = y[:, _ORDER_AR:]
        self._learned += rest
        weight = np.where(rest, 1 / np.clip(self._learned, 1, _LEARN_FRAMES), 0.0)
        for lag in range(_ORDER_AR + 1):
            product = (now * y[:, _ORDER_AR - lag : _ORDER_AR - lag + length]).mean(axis=1)
            self._lags[:, lag] += weight * (product - self._lags[:, lag])
        self._frames += 1
        if self._frames % _RENEW_FRAMES == 0:
            self._renew()

    def _renew(self) -> None:
        known = np.flatnonzero(self._learned >= _RENEW_FRAMES)
        lags = self._lags[known]
        steps = np.abs(np.subtract.outer(np.arange(_ORDER_AR), np.arange(_ORDER_AR)))
        matrix = lags[:, steps] + _RIDGE * lags[:, :1, None] * np.eye(_ORDER_AR)
        sound = lags[:, 0] > 0
        self._filter[known[sound], 1:] = -np.linalg.solve(matrix[sound], lags[sound, 1:, None])[:, :, 0]


_MAINS_HZ = (50.0, 60.0)
_HARMONICS_MAX = 9
_AVERAGE_S = 0.6
"""Time constant of a phasor: mains amplitude changes no faster when nobody moves."""
_FREQUENCY_AVERAGE_S = 1.0
_FREQUENCY_STEP_HZ = 0.03
"""The basis is made anew when the tracked frequency has moved by this much."""
_TRUSTED = 0.9
"""The frequency is followed where the fundamental stands this far out of the noise."""
_SIGNIFICANCE = 4.0
"""A phasor is believed where its power passes this many times that of averaged noise."""
_CLIP = 5.0
"""In units of the mean magnitude: a sine peaks at 1.6 times its own, Gaussian noise at 4 or so. A twitch is cut
off here, so that the average does not learn it."""


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
        self._lines = [_Line(hz, rate_hz, self._length, channels) for hz in _MAINS_HZ if 2.2 * hz < rate_hz]

    def feed(self, y: Signal) -> Signal:
        """Clean whole frames, shape (channels, frames * frame length)."""
        if not self._lines:
            return y
        out = y.copy()
        for start in range(0, y.shape[1], self._length):
            frame = out[:, start : start + self._length]
            for line in self._lines:
                line.feed(frame)
            strongest = max(self._lines, key=lambda line: float(line.powers.sum()))
            if strongest.powers.any():
                frame -= strongest.wave()
        return out

    @property
    def power(self) -> NDArray[np.float64]:
        """Mean square of the mains that was last subtracted, shape (channels,)."""
        return max((line.powers for line in self._lines), key=lambda powers: powers.sum(), default=np.zeros(1))

    @property
    def settled(self) -> bool:
        """Whether the average has had time to find mains, if there is any."""
        return all(line.settled for line in self._lines)

    def reset(self) -> None:
        """A gap: phases are unknown, the frequency is kept."""
        for line in self._lines:
            line.reset()


class _Line:
    """One mains frequency and its harmonics: phasors at the middle of the frame, shape (channels, harmonics)."""

    def __init__(self, hz: float, rate_hz: float, length: int, channels: int) -> None:
        self._nominal_hz = hz
        self._frame_s = length / rate_hz
        self._harmonics = np.arange(1, min(_HARMONICS_MAX, int(0.48 * rate_hz / hz)) + 1)
        self._time_s = (np.arange(length) - (length - 1) / 2) / rate_hz
        self._turning = 0j  # averaged rotation a frame of the fundamental, over all channels
        self._phasor = np.zeros((channels, len(self._harmonics)), complex)
        self._last = self._phasor.copy()
        self._spread = np.zeros(self._phasor.shape)
        self._gain = np.zeros(self._phasor.shape)
        self._frames = 0
        self.powers = np.zeros(channels)
        self._tune(hz)

    def feed(self, frame: Signal) -> None:
        """Take one frame into the average: how it differs from what was expected, without what no mains does."""
        expected = self._phasor * np.exp(2j * np.pi * self._hz * self._frame_s * self._harmonics)
        rest = frame - ((self._gain * expected) @ self._synthesis).real
        level = _CLIP * np.abs(rest).mean(axis=1, keepdims=True)
        error = np.clip(rest, -level, level) @ self._project - (1 - self._gain) * expected
        self._track(expected + error)
        weight = max(1 / (self._frames + 1), self._frame_s / _AVERAGE_S)
        self._phasor = expected + weight * error
        self._spread += max(1 / max(self._frames, 1), weight) * (np.abs(error) ** 2 - self._spread)
        strength = np.abs(self._phasor) ** 2
        doubt = _SIGNIFICANCE * weight / (2 - weight) * self._spread
        self._gain = np.clip(1 - doubt / np.maximum(strength, 1e-30), 0, 1) * (self._frames > 1)
        self.powers = (self._gain * strength).sum(axis=1) / 2
        self._frames += 1

    def wave(self) -> Signal:
        """The mains in the frame that was taken last, shape (channels, samples)."""
        return np.asarray(((self._gain * self._phasor) @ self._synthesis).real)

    def reset(self) -> None:
        self._frames = 0
        self.powers[:] = 0
        self._gain[:] = 0
        self._phasor[:] = 0

    @property
    def settled(self) -> bool:
        return self._frames * self._frame_s > 3 * _AVERAGE_S

    def _track(self, now: NDArray[np.complex128]) -> None:
        """Follow the frequency by the turn of the fundamental from frame to frame."""
        if self._frames:
            turn = complex((now[:, 0] * self._last[:, 0].conj()).sum())
            self._turning += max(1 / self._frames, self._frame_s / _FREQUENCY_AVERAGE_S) * (turn - self._turning)
            nominal = self._nominal_hz * self._frame_s
            off = np.angle(self._turning * np.exp(-2j * np.pi * nominal)) / (2 * np.pi)
            self._hz = self._nominal_hz + float(off) / self._frame_s
            if self._gain[:, 0].max() > _TRUSTED and abs(self._hz - self._tuned_hz) > _FREQUENCY_STEP_HZ:
                self._tune(self._hz)
        self._last = now

    def _tune(self, hz: float) -> None:
        self._hz = self._tuned_hz = hz
        angle = 2 * np.pi * hz * self._time_s[:, None] * self._harmonics
        basis = np.concatenate((np.cos(angle), -np.sin(angle)), axis=1)
        inverse = np.linalg.pinv(basis).T
        count = len(self._harmonics)
        self._project = inverse[:, :count] + 1j * inverse[:, count:]
        self._synthesis = np.exp(1j * angle).T.copy()
