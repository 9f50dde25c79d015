"""Recordings in batch on one core: beside reading and one filter, and beside NeuroKit2 and BioSPPy, in one run.

    python -m benchmarks.batch [--minutes 10] [--repeat 3] [--json FILE]

The file is EDF, 8 channels at 1 kHz of the emulated arm. The floor is reading it and one `sosfilt` of
`butter(4, 20 to 400 Hz)` over all channels. Ratios hold on any machine. NeuroKit2 (`emg_process`) and BioSPPy
(`find_onsets`) take part where they are installed: pip install neurokit2 biosppy. They get channels one by one,
already read; NeuroKit2 a minute of one. Each time is CPU seconds, the least of the repeats, on one thread.
"""

from __future__ import annotations

import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")  # read when numpy is loaded

import argparse  # noqa: E402
import json  # noqa: E402
import tempfile  # noqa: E402
import time  # noqa: E402
from collections.abc import Callable  # noqa: E402
from pathlib import Path  # noqa: E402

import numpy as np  # noqa: E402
from edfio import Edf, EdfSignal  # noqa: E402
from scipy.signal import butter, sosfilt  # noqa: E402

from benchmarks import peers  # noqa: E402
from firmware_interface.emulated.arm import Arm, ArmSettings  # noqa: E402
from firmware_interface.samples import Gap  # noqa: E402
from monitor.detection.settings import DetectorSettings  # noqa: E402
from monitor.recording import read  # noqa: E402
from monitor.replay import replay  # noqa: E402

RATE_HZ = 1000
FLOOR_MOST, NEUROKIT_LEAST = 6.0, 20.0


def main() -> None:
    """Print hours of signal a second and ratios; write JSON if asked."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--minutes", type=float, default=10.0)
    options.add_argument("--repeat", type=int, default=3)
    options.add_argument("--json", type=Path)
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "arm.edf"
        x = written(path, chosen.minutes)
        spent_s = {
            "read": least(lambda: loaded(path), chosen.repeat),
            "floor": least(lambda: filtered(path), chosen.repeat),
            "fasciwatch": least(lambda: replay(read(path), DetectorSettings()), chosen.repeat),
        }
    for name, rival in peers.available().items():
        part = x[:1, : 60 * RATE_HZ] if rival.cases == 1 else x
        once = least(lambda f=rival.find, p=part: [f(row, float(RATE_HZ)) for row in p], 1)
        spent_s[name] = once * x.size / part.size
    hours = chosen.minutes / 60
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores; 8 channels at {RATE_HZ} Hz")
    print("| what | hours of signal a second | times the floor | times fasciwatch |\n|---|---|---|---|")
    for name, seconds in spent_s.items():
        ratios = f"{seconds / spent_s['floor']:.2f} | {seconds / spent_s['fasciwatch']:.2f}"
        print(f"| {name} | {hours / seconds:.3f} | {ratios} |")
    over = spent_s["fasciwatch"] / spent_s["floor"]
    print(f"{'ok  ' if over <= FLOOR_MOST else 'FAIL'} {over:.1f} times the floor, target {FLOOR_MOST:g} at most")
    if "NeuroKit2" in spent_s:
        faster = spent_s["NeuroKit2"] / spent_s["fasciwatch"]
        verdict = "ok  " if faster >= NEUROKIT_LEAST else "FAIL"
        print(f"{verdict} {faster:.0f} times faster than NeuroKit2, target {NEUROKIT_LEAST:g} at least")
    if chosen.json:
        chosen.json.write_text(json.dumps({"minutes": chosen.minutes, **spent_s}, indent=1) + "\n")


def written(path: Path, minutes: float) -> np.ndarray:
    """Write the file; its samples in microvolts."""
    arm = Arm(ArmSettings(rate_hz=float(RATE_HZ)), 1)
    x = np.clip(arm.emg_uv(round(60 * minutes * RATE_HZ)), -3276.8, 3276.7)
    names = arm.settings.channels
    signals = [
        EdfSignal(row, RATE_HZ, label=name, physical_dimension="uV", physical_range=(-3276.8, 3276.7))
        for name, row in zip(names, x, strict=True)
    ]
    Edf(signals, data_record_duration=1).write(path)
    return x


def loaded(path: Path) -> list[np.ndarray]:
    """Every sample, in microvolts."""
    return [piece.physical for piece in read(path).blocks() if not isinstance(piece, Gap)]


def filtered(path: Path) -> None:
    """Reading, and the yard-stick."""
    sos = butter(4, (20.0, 400.0), "bandpass", fs=float(RATE_HZ), output="sos")
    sosfilt(sos, np.concatenate(loaded(path), axis=1), axis=1)


def least(work: Callable[[], object], repeat: int) -> float:
    """CPU seconds of the fastest of some runs."""
    times = []
    for _ in range(repeat):
        begin = time.process_time()
        work()
        times.append(time.process_time() - begin)
    return min(times)


if __name__ == "__main__":
    main()
