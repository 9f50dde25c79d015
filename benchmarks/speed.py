"""What the detector costs, against one filter over the same samples in the same run.

    python -m benchmarks.speed [--minutes 5] [--repeat 3] [--hours 24] [--json FILE]

The yard-stick is one stateful `sosfilt` of `butter(4, band)` (four sections) over 8 channels at 1 kHz. Ratios hold
on any machine; seconds do not. Everything runs on one thread. Each time is the least of the repeats.
"""

from __future__ import annotations

import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")  # read when numpy is loaded

import argparse  # noqa: E402
import json  # noqa: E402
import resource  # noqa: E402
import time  # noqa: E402
from collections.abc import Callable, Iterator  # noqa: E402
from itertools import pairwise  # noqa: E402
from pathlib import Path  # noqa: E402

import numpy as np  # noqa: E402
from scipy.signal import butter, sosfilt  # noqa: E402

from benchmarks import peers  # noqa: E402
from benchmarks.sets import emg_stream  # noqa: E402
from firmware_interface.emulated.arm import Arm, ArmSettings  # noqa: E402
from firmware_interface.samples import SampleBlock, Stream, Timebase  # noqa: E402
from monitor.detection.detector import Detector  # noqa: E402

CHANNELS = 8
PIECE_S = 0.05
BAND_HZ = (20.0, 400.0)
STREAMING_MOST, BATCH_MOST = 4.0, 6.0


def main() -> None:
    """Print ratios; write JSON if asked."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--minutes", type=float, default=5.0, help="of signal")
    options.add_argument("--repeat", type=int, default=3)
    options.add_argument("--hours", type=float, default=0.0, help="simulated, to watch memory; 0 leaves it out")
    options.add_argument("--json", type=Path, help="write everything to this file")
    chosen = options.parse_args()
    results = ratios(chosen.minutes, chosen.repeat)
    results["cpu_s_per_hour_8ch_500hz"] = hourly(chosen.minutes, chosen.repeat)
    print(f"one monitored hour, 8 channels at 500 Hz: {results['cpu_s_per_hour_8ch_500hz']:.2f} CPU s")
    if chosen.hours:
        results |= memory(chosen.hours)
    if chosen.json:
        chosen.json.write_text(json.dumps(results, indent=1) + "\n")


def ratios(minutes: float, repeat: int) -> dict[str, float]:
    """The cost of each method over that of the filter, streaming and batch."""
    stream, x = _signal(minutes, 1000.0)
    piece, whole = round(PIECE_S * stream.rate_hz), x.shape[1]
    streaming_s, batch_s = (_least(lambda n=n: _filter(x, n), repeat) for n in (piece, whole))
    results = {"sosfilt_streaming_s": streaming_s, "sosfilt_batch_s": batch_s}
    for name, samples, base_s, most in (
        ("streaming", piece, streaming_s, STREAMING_MOST),
        ("batch", whole, batch_s, BATCH_MOST),
    ):
        spent_s = _least(lambda n=samples: _detect(stream, x, n), repeat)
        results[f"ours_{name}_ratio"] = spent_s / base_s
        verdict = "ok  " if spent_s <= most * base_s else "FAIL"
        print(
            f"{verdict} ours {name:10s} {spent_s / base_s:7.2f} times sosfilt, target at most {most:g}"
            f" ({60 * minutes / spent_s:,.0f} times real time)"
        )
    for name, rival in peers.available().items():
        if rival.cases == 1:  # NeuroKit2: a minute of one channel says enough
            part = x[:1, : round(60 * stream.rate_hz)]
            spent_s = (
                _least(lambda f=rival.find, p=part: [f(c, stream.rate_hz) for c in p], 1) * x.size / part.size
            )
        else:
            spent_s = _least(lambda f=rival.find: [f(c, stream.rate_hz) for c in x], 1)
        results[f"{name}_batch_ratio"] = spent_s / batch_s
        print(f"     {name:15s} {spent_s / batch_s:7.2f} times sosfilt, batch")
    return results


def hourly(minutes: float, repeat: int) -> float:
    """CPU seconds that one device of 8 channels at 500 Hz costs an hour, streaming."""
    stream, x = _signal(minutes, 500.0)
    return _least(lambda: _detect(stream, x, round(PIECE_S * stream.rate_hz)), repeat) * 60 / minutes


def memory(hours: float) -> dict[str, float]:
    """Memory of the process, MB, after the first simulated hour and at its highest after the last."""
    stream, x = _signal(10.0, 500.0)
    detector, base = Detector(stream), Timebase(0, 0, 1e9 / stream.rate_hz)
    step, first = round(0.2 * stream.rate_hz), 0
    early = 0.0
    while first < hours * 3600 * stream.rate_hz:
        for start in range(0, x.shape[1], step):
            piece = x[:, start : start + step]
            detector.feed(SampleBlock(stream, first, base, piece))
            first += piece.shape[1]
        if not early and first >= min(hours / 4, 1.0) * 3600 * stream.rate_hz:
            early = _resident_mb()
    late = _resident_mb()
    print(f"memory after {min(hours / 4, 1.0):.2g} h {early:.1f} MB, after {hours:g} h {late:.1f} MB")
    return {"memory_early_mb": early, "memory_late_mb": late}


def _resident_mb() -> float:
    """Resident memory now; where the system does not say, its maximum so far."""
    status = Path("/proc/self/statm")
    if status.exists():
        return int(status.read_text().split()[1]) * resource.getpagesize() / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def _signal(minutes: float, rate_hz: float) -> tuple[Stream, np.ndarray]:
    arm = Arm(ArmSettings(rate_hz=rate_hz), 1)
    stream = emg_stream(rate_hz, CHANNELS)
    return stream, arm.emg_uv(round(60 * minutes * rate_hz))


def _cuts(length: int, samples: int) -> Iterator[tuple[int, int]]:
    return pairwise([*range(0, length, samples), length])


def _filter(x: np.ndarray, samples: int) -> None:
    sos = butter(4, BAND_HZ, "bandpass", fs=1000.0, output="sos")
    state = np.zeros((len(sos), len(x), 2))
    for start, stop in _cuts(x.shape[1], samples):
        _, state = sosfilt(sos, x[:, start:stop], axis=1, zi=state)


def _detect(stream: Stream, x: np.ndarray, samples: int) -> None:
    detector, base = Detector(stream), Timebase(0, 0, 1e9 / stream.rate_hz)
    for start, stop in _cuts(x.shape[1], samples):
        detector.feed(SampleBlock(stream, start, base, x[:, start:stop]))
    detector.finish()


def _least(work: Callable[[], object], repeat: int) -> float:
    """CPU seconds of the fastest of some runs."""
    times = []
    for _ in range(repeat):
        begin = time.process_time()
        work()
        times.append(time.process_time() - begin)
    return min(times)


if __name__ == "__main__":
    main()
