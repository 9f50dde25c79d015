"""A cohort on one worker and on two: time, CPU, memory, and what a piece costs beside its detection.

    python -m benchmarks.scale [--recordings 1 10 100] [--minutes 5] [--json FILE]

Copies of one EDF of the emulated arm (8 channels, 500 Hz), in pieces of a minute, on workers of this computer.
Memory is the resident size of the largest worker when all is done, as Linux tells it. Time is without the start
of the workers. CPU is that of the tasks. The overhead of a piece is what its tables, snapshot and mark take;
the scheduler's is what remains of the time of one worker, a recording. On a busy machine only the CPU and the
memory mean anything.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from functools import partial
from pathlib import Path

from edfio import Edf, EdfSignal

import monitor
from firmware_interface.emulated.arm import Arm, ArmSettings
from monitor.cohort import cluster, pieces
from monitor.cohort.cluster import Workers
from monitor.cohort.members import members
from monitor.cohort.pieces import Job, Outcome
from monitor.cohort.storage import Place
from monitor.detection.settings import DetectorSettings

RATE_HZ = 500
PIECE_S = 60.0


def main() -> None:
    """Print a table; write JSON if asked."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--recordings", type=int, nargs="+", default=[1, 10, 100])
    options.add_argument("--minutes", type=float, default=5.0)
    options.add_argument("--json", type=Path)
    chosen = options.parse_args()
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    print("| recordings | workers | s | CPU s | MB a worker | writing, ms a piece | scheduler, ms a recording |")
    print("|---|---|---|---|---|---|---|")
    kept = []
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "in"
        first = written(place / "P0000.edf", chosen.minutes)
        for count in chosen.recordings:
            for number in range(1, count):
                copy = place / f"P{number:04d}.edf"
                if not copy.exists():
                    os.link(first, copy)
            for workers in (1, 2):
                row = measured(place, Path(folder) / f"out-{count}-{workers}", workers)
                kept.append(row)
                print("| " + " | ".join(f"{value:.4g}" for value in row.values()) + " |", flush=True)
    if chosen.json:
        chosen.json.write_text(json.dumps(kept, indent=1) + "\n")


def measured(place: Path, out: Path, workers: int) -> dict[str, float]:
    """One run."""
    found, _ = members(Place(str(place)))
    settings = DetectorSettings()
    with cluster.joined(Workers(number=workers)) as client:
        for module in ("monitor.cohort.run", "pyarrow.parquet"):  # what a worker loads once
            client.run(partial(__import__, module))
        before = sum(client.run(cpu_s).values())
        begun = time.perf_counter()
        jobs = [Job(m, Place(str(place)), Place(str(out)), settings, PIECE_S, monitor.__version__) for m in found]
        outcomes = [result for _, result in cluster.spread(client, pieces.work, jobs)]
        passed = time.perf_counter() - begun
        spent = sum(client.run(cpu_s).values()) - before
        memory = max(client.run(resident_mb).values())
    done = [each for each in outcomes if isinstance(each, Outcome) and each.state == "done"]
    assert len(done) == len(found), outcomes
    tasks = sum(each.cpu_s for each in done)
    writing = sum(each.writing_s for each in done)
    return {
        "recordings": len(found),
        "workers": workers,
        "s": passed,
        "cpu_s": spent,
        "mb": memory,
        "writing_ms_a_piece": 1e3 * writing / sum(each.pieces for each in done),
        "scheduler_ms_a_recording": 1e3 * (spent - tasks) / len(found),
    }


def cpu_s() -> float:
    """Of the process so far."""
    return time.process_time()


def resident_mb() -> float:
    """Of the process now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def written(path: Path, minutes: float) -> Path:
    """An EDF of the arm."""
    arm = Arm(ArmSettings(rate_hz=float(RATE_HZ)), 1)
    x = arm.emg_uv(round(60 * minutes * RATE_HZ)).clip(-3276.8, 3276.7)
    signals = [
        EdfSignal(row, RATE_HZ, label=name, physical_dimension="uV", physical_range=(-3276.8, 3276.7))
        for name, row in zip(arm.settings.channels, x, strict=True)
    ]
    path.parent.mkdir(parents=True)
    Edf(signals, data_record_duration=1).write(path)
    return path


if __name__ == "__main__":
    main()
