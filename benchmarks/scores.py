"""Which characteristic function finds most: each one's recall where its threshold, chosen in hindsight, lets one
false event a minute pass.

    python -m benchmarks.scores [--minutes 5] [--seeds 4]

Real shapes planted in real (even seeds) and synthetic rest noise, conditioned as in the product. No judgement, no
causality: this ranks scores, and says nothing of the detector.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import numpy as np
from scipy.linalg import solve_toeplitz
from scipy.signal import butter, find_peaks, lfilter, sosfilt

from benchmarks import sets
from benchmarks.sets import Case, Floats
from firmware_interface.samples import Sensor
from monitor.detection.conditioning import BandPass, MainsCanceller, frame_length

SIZES_UV = {1000: (15, 20, 25), 500: (15, 20, 25), 250: (20, 25, 30)}
WINDOWS_S = (0.004, 0.008, 0.016, 0.024)
LOW_PASS_HZ = 200.0
ORDER = 6
AROUND_S = 0.06
APART_S = 0.05
SETTLE_S = 2.0


def main() -> None:
    """Print a line for each rate and score, best first."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--minutes", type=float, default=5.0, help="of each recording")
    options.add_argument("--seeds", type=int, default=4)
    chosen = options.parse_args()
    for rate_hz, sizes_uv in SIZES_UV.items():
        recalls: dict[str, list[float]] = {}
        for size_uv in sizes_uv:
            found: dict[str, list[float]] = {}
            for seed in range(chosen.seeds):
                case = sets.planted(rate_hz, size_uv, seed, 60 * chosen.minutes)
                for name, score, window in scores(conditioned(case), rate_hz):
                    found.setdefault(name, []).append(recall(score, window, case))
            for name, values in found.items():
                recalls.setdefault(name, []).append(float(np.mean(values)))
        print(f"{rate_hz} Hz, recall at {', '.join(map(str, sizes_uv))} µV")
        for name, values in sorted(recalls.items(), key=lambda item: -sum(item[1])):
            print(f"    {name:24s} {'  '.join(f'{value:.2f}' for value in values)}")


def conditioned(case: Case) -> Floats:
    """The one channel as the detector sees it, shape (samples,)."""
    rate_hz, length = case.stream.rate_hz, frame_length(case.stream.rate_hz)
    y, _ = BandPass(Sensor.EMG, rate_hz).feed(case.physical)
    return np.asarray(MainsCanceller(rate_hz, 1).feed(y[:, : y.shape[1] // length * length])[0])


def scores(y: Floats, rate_hz: int) -> Iterator[tuple[str, Floats, int]]:
    """Name, score and its window in samples."""
    white = lfilter(whitener(y, rate_hz // 10), 1.0, y)
    filtered = {"plain": y, "whitened": white}
    if rate_hz > 2 * LOW_PASS_HZ:
        filtered["whitened, low-passed"] = sosfilt(butter(2, LOW_PASS_HZ, fs=rate_hz, output="sos"), white)
    for name, x in filtered.items():
        for window_s in WINDOWS_S:
            window = max(round(window_s * rate_hz), 1)
            yield f"{name}, {window_s * 1e3:g} ms", mean_square(x, window), window
    teager = np.abs(y[1:-1] ** 2 - y[:-2] * y[2:])
    yield "Teager-Kaiser", np.pad(teager, 1), 1


def whitener(y: Floats, tick: int) -> Floats:
    """Of the quiet ticks (Yule and Walker)."""
    energy = (y[: len(y) // tick * tick].reshape(-1, tick) ** 2).mean(axis=1)
    quiet = np.repeat(energy < 2 * np.quantile(energy, 0.25), tick)
    lags = []
    for lag in range(ORDER + 1):
        both = quiet[lag:] & quiet[: len(quiet) - lag]
        lags.append(float((y[lag : len(quiet)] * y[: len(quiet) - lag])[both].mean()))
    return np.concatenate(([1.0], -solve_toeplitz(lags[:ORDER], lags[1:])))


def mean_square(x: Floats, window: int) -> Floats:
    """Over the window that ends at each sample."""
    total = np.cumsum(np.concatenate((np.zeros(window), x * x)))
    return (total[window:] - total[:-window]) / window


def recall(score: Floats, window: int, case: Case, false_per_min: float = 1.0) -> float:
    """Share of the twitches whose peak is above what one false peak a minute exceeds."""
    rate_hz = case.stream.rate_hz
    outside = np.ones(len(score), bool)
    outside[: round(SETTLE_S * rate_hz)] = False
    peaks = []
    for start_s, stop_s in case.truth.twitches:
        peaks.append(score[round(start_s * rate_hz) : round(stop_s * rate_hz) + window].max())
        outside[round((start_s - AROUND_S) * rate_hz) : round((stop_s + AROUND_S) * rate_hz) + window] = False
    noise = np.where(outside, score, 0.0)
    crests = np.sort(noise[find_peaks(noise, distance=round(APART_S * rate_hz))[0]])[::-1]
    allowed = int(false_per_min * outside.sum() / rate_hz / 60)
    return float((np.array(peaks) > crests[allowed]).mean())


if __name__ == "__main__":
    main()
