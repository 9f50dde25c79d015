"""The detector against truth and against its peers: the table of docs/detection.md.

    python -m benchmarks.detection [--quick] [--only ROW] [--json FILE] [--no-peers]

One default setting for every row. Ours hears each recording in pieces of 50 ms, as live; peers get it whole.
False positives are a minute and channel, recorded and analysable. `share` is the analysable part of the time.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np

from benchmarks import peers, sets
from benchmarks.sets import DATA, RATE_HZ, Case
from monitor.detection import detector_for
from monitor.detection.events import Context, Event, State, Twitch
from monitor.detection.settings import DetectorSettings
from monitor.score import LONGEST_S, TOLERANCE_S, Score, compare, match, wilson

PIECE_S = 0.05
BINS = 10


@dataclass(slots=True)
class Tally:
    """Scores of one method on the recordings of a row, summed."""

    recorded_min: float = 0.0
    analysable_min: float = 0.0
    twitches: int = 0
    found: int = 0
    twitches_analysable: int = 0
    found_analysable: int = 0
    false: int = 0
    bursts: int = 0
    bursts_hit: int = 0
    voluntary_min: float = 0.0
    voluntary_said_min: float = 0.0
    errors_s: list[float] = field(default_factory=list)
    latencies_s: list[float] = field(default_factory=list)
    confidences: list[tuple[float, bool]] = field(default_factory=list)
    """What a report claimed, and whether it was right."""
    seconds: float = 0.0
    """Of computing."""

    def add(self, score: Score, case: Case) -> None:
        self.recorded_min += score.recorded_min
        self.analysable_min += score.analysable_min
        self.twitches += score.twitches
        self.found += score.found
        self.twitches_analysable += score.twitches_analysable
        self.found_analysable += score.found_analysable
        self.false += score.false_positives
        self.bursts += score.bursts
        self.bursts_hit += score.bursts_hit
        if score.voluntary_share is not None:
            meant_min = float(np.diff(case.truth.voluntary, axis=1).sum()) / 60
            self.voluntary_min += meant_min
            self.voluntary_said_min += meant_min * score.voluntary_share

    @property
    def recall(self) -> float:
        """In analysable time, as the targets count it."""
        return self.found_analysable / max(self.twitches_analysable, 1)

    @property
    def share(self) -> float:
        return self.analysable_min / max(self.recorded_min, 1e-9)

    @property
    def false_per_min(self) -> float:
        return self.false / max(self.recorded_min, 1e-9)

    @property
    def false_per_analysable_min(self) -> float:
        return self.false / max(self.analysable_min, 1e-9)

    @property
    def voluntary_share(self) -> float:
        return self.voluntary_said_min / max(self.voluntary_min, 1e-9)

    @property
    def bias_s(self) -> float:
        return float(np.median(self.errors_s)) if self.errors_s else 0.0

    def fields(self) -> dict[str, object]:
        """As JSON can hold it."""
        spread_s = float(np.subtract(*np.percentile(self.errors_s, (75, 25)))) if self.errors_s else None
        latencies = np.percentile(self.latencies_s, (50, 99)).tolist() if self.latencies_s else None
        out = {k: v for k, v in asdict(self).items() if not isinstance(v, list)}
        return {
            **out,
            "recall": self.found / self.twitches if self.twitches else None,
            "recall_95": wilson(self.found, self.twitches),
            "recall_analysable": self.recall if self.twitches_analysable else None,
            "recall_analysable_95": wilson(self.found_analysable, self.twitches_analysable),
            "false_per_min": self.false_per_min,
            "false_per_analysable_min": self.false_per_analysable_min,
            "analysable_share": self.share,
            "voluntary_share": self.voluntary_share if self.voluntary_min else None,
            "onset_bias_s": self.bias_s if self.errors_s else None,
            "onset_spread_s": spread_s,
            "latency_p50_p99_s": latencies,
        }


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    name: str
    cases: Callable[[bool], Iterable[Case]]
    """Of the quick run or the whole."""
    target: str
    met: Callable[[Tally], bool]
    compared: bool = True
    """Whether peers take part."""
    hindsight: bool = False


# Hearing --------------------------------------------------------------------------------------------------------


def heard(case: Case, piece_s: float = PIECE_S) -> tuple[list[Event], list[float]]:
    """What the detector says of a recording, and the seconds of signal from each onset to its report."""
    detector = detector_for(case.stream, DetectorSettings())
    assert detector is not None
    step = max(round(piece_s * case.stream.rate_hz), 1)
    events: list[Event] = []
    latencies: list[float] = []
    for block in case.blocks(step):
        said = detector.feed(block)
        latencies += [(block.end_ns - e.onset_ns) * 1e-9 for e in said if isinstance(e, Twitch)]
        events += said
    events += detector.finish()
    return events + _gaps(case), latencies


def _gaps(case: Case) -> list[Event]:
    """What `replay` adds: a context for each gap."""
    period_s = 1 / case.stream.rate_hz
    runs = case.runs()
    edges = [(a[1], b[0]) for a, b in pairwise(runs)]
    return [
        Context(State.GAP, label, round(first * period_s * 1e9), (stop - first) * period_s)
        for first, stop in edges
        for label in case.stream.channels
    ]


def judge(case: Case, tally: Tally) -> None:
    """Add what ours makes of a recording."""
    begin = time.process_time()
    events, latencies = heard(case)
    tally.seconds += time.process_time() - begin
    tally.latencies_s += latencies
    sensor = case.stream.sensor
    twitches = [e for e in events if isinstance(e, Twitch) and e.duration_s <= LONGEST_S[sensor]]
    twitches.sort(key=lambda e: (e.onset_ns, e.duration_s))
    times = ((e.onset_ns * 1e-9, e.duration_s) for e in twitches)
    reports = np.array([(a, a + d) for a, d in times]).reshape(-1, 2)
    contexts = [e for e in events if isinstance(e, Context)]
    tally.add(compare(reports, contexts, case.truth, case.duration_s, [case.stream]), case)
    pairs = match(reports, case.truth.twitches, TOLERANCE_S[sensor])
    tally.errors_s += (reports[pairs[:, 0], 0] - case.truth.twitches[pairs[:, 1], 0]).tolist()
    right = np.isin(np.arange(len(reports)), pairs[:, 0])
    counted = right | _counted(reports[:, 0], case)
    said = zip(twitches, right.tolist(), counted.tolist(), strict=True)
    tally.confidences += [(e.confidence, good) for e, good, counts in said if counts]


def _counted(times: np.ndarray, case: Case) -> np.ndarray:
    quiet = case.truth.quiet
    return np.array([not len(quiet) or bool(((quiet[:, 0] <= t) & (t < quiet[:, 1])).any()) for t in times], bool)


def judge_peer(case: Case, peer: peers.Peer, tally: Tally) -> None:
    """Add what a peer makes of a recording, channel by channel."""
    begin = time.process_time()
    spans = np.concatenate([peer(x, case.stream.rate_hz) for x in case.physical])
    tally.seconds += time.process_time() - begin
    spans = spans[np.lexsort((spans[:, 1], spans[:, 0]))]
    tally.add(compare(spans, [], case.truth, case.duration_s, [case.stream]), case)
    longest = spans[:, 1] - spans[:, 0] <= LONGEST_S[case.stream.sensor]
    pairs = match(spans[longest], case.truth.twitches, TOLERANCE_S[case.stream.sensor])
    tally.errors_s += (spans[longest][pairs[:, 0], 0] - case.truth.twitches[pairs[:, 1], 0]).tolist()


# Rows -----------------------------------------------------------------------------------------------------------


def _seeds(quick: bool, whole: int) -> range:
    return range(1 if quick else whole)


def _minutes(quick: bool) -> float:
    return 60.0 if quick else 300.0


def _evoked(rate_hz: int, least: int) -> Row:
    return Row(
        f"evoked {rate_hz} Hz",
        lambda _: [sets.recorded(DATA / f"evoked_rest_{rate_hz}hz.edf")],
        f">= {least} of 30, <= 1 false, bias <= 2 ms",
        lambda t: t.found >= least and t.false <= 1 and abs(t.bias_s) <= 0.002 and t.share >= 0.95,
    )


def _planted(rate_hz: int, size_uv: float, least: float) -> Row:
    return Row(
        f"planted {rate_hz} Hz {size_uv:g} µV",
        lambda quick: (sets.planted(rate_hz, size_uv, seed, _minutes(quick)) for seed in _seeds(quick, 4)),
        f">= {least:.2f}, <= 1 a minute",
        lambda t: t.recall >= least and t.false_per_min <= 1 and t.share >= 0.95,
        hindsight=True,
    )


def _myo_planted(sigmas: float, least: float) -> Row:
    def cases(quick: bool) -> Iterable[Case]:
        for seed, rest in enumerate(sets.myo("rest", 1 if quick else 30)):
            yield from sets.myo_planted(rest, sigmas, seed)

    return Row(
        f"planted Myo {sigmas:g} sigma",
        cases,
        f">= {least:.2f}, <= 0.5 a minute",
        lambda t: t.recall >= least and t.false_per_min <= 0.5 and t.share >= 0.95,
        hindsight=True,
    )


def _contaminated(
    name: str, cases: Callable[[int, int, float], Case], share: float, rate_hz: int = RATE_HZ, seeds: int = 2
) -> Row:
    return Row(
        f"40 µV {rate_hz} Hz {name}",
        lambda quick: (cases(seed, rate_hz, _minutes(quick)) for seed in _seeds(quick, seeds)),
        f">= 0.90, <= 2 a minute, share >= {share:.2f}",
        lambda t: t.recall >= 0.90 and t.false_per_analysable_min <= 2 and t.share >= share,
    )


def _spoilt(name: str, spoil: sets.Contaminate, share: float, rate_hz: int = RATE_HZ) -> Row:
    return _contaminated(name, lambda seed, rate, s: sets.contaminated(spoil, seed, rate, s), share, rate_hz)


def _voluntary(name: str, cases: Callable[[bool], Iterable[Case]]) -> Row:
    return Row(
        name,
        cases,
        ">= 0.85, <= 1 a minute, <= 1 burst in 11",
        lambda t: t.recall >= 0.85 and t.false_per_min <= 1 and t.bursts_hit <= t.bursts / 11,
    )


def _acceleration(size_mg: int, least: float) -> Row:
    return Row(
        f"acceleration planted {size_mg} mg",
        lambda _: [sets.recorded(DATA / f"wrist_acc_planted_{size_mg}mg.edf")],
        f">= {least:.2f}, <= 1 a minute",
        lambda t: t.found / max(t.twitches, 1) >= least and t.false_per_min <= 1,
        compared=False,
    )


def _myo(kind: str, most: float, share: float) -> Row:
    return Row(
        f"Myo {kind}",
        lambda quick: sets.myo(kind, 2 if quick else 30),
        f"<= {most:g} a channel-minute",
        lambda t: t.false_per_min <= most and t.share >= share,
    )


def rows(quick: bool = False) -> list[Row]:
    """The table; the quick one leaves out contamination at lower rates."""
    table = [_evoked(1000, 29), _evoked(500, 29), _evoked(250, 25)]
    sizes = {
        1000: ((15, 0.20), (20, 0.70), (25, 0.95), (40, 0.99)),
        500: ((15, 0.20), (20, 0.75), (25, 0.95), (40, 0.99)),
        250: ((20, 0.35), (25, 0.75), (30, 0.95), (40, 0.99)),
    }
    table += [_planted(rate, size, least) for rate, cells in sizes.items() for size, least in cells]
    table += [_myo_planted(40, 0.55), _myo_planted(80, 0.85)]
    table += [
        _voluntary(
            "mixed, reaction task",
            lambda quick: (sets.bursts(seed, 60.0 if quick else 120.0) for seed in _seeds(quick, 8)),
        ),
        _voluntary(
            "mixed, emulated arm", lambda quick: (sets.arm_mixed(s, _minutes(quick)) for s in _seeds(quick, 8))
        ),
        Row(
            "voluntary throughout",
            lambda quick: (sets.low_force(s, 60.0 if quick else 120.0) for s in _seeds(quick, 8)),
            "<= 5 a minute, >= 0.95 voluntary",
            lambda t: t.false_per_min <= 5 and t.voluntary_share >= 0.95,
        ),
    ]
    table += [_spoilt(f"ECG {size} µV", sets.ecg(size), 0.85) for size in (50, 100, 300)]
    for hz in (50.03, 60.0):
        table += [_spoilt(f"mains {size} µV {hz:g} Hz", sets.mains(size, hz), 0.95) for size in (5, 20)]
    table += [_spoilt(f"mains 20 µV {hz} ±0.2 Hz", sets.mains(20, hz, 0.2), 0.95) for hz in (50, 60)]
    table += [
        _contaminated("noise x3 blocks", sets.noise_blocks, 0.475),
        _spoilt("movement 6/min 2 mV", sets.movement(6, 2000), 0.95),
        _spoilt("pops 6/min 2 mV", sets.movement(6, 2000, 0.0005), 0.95),
        _spoilt("baseline 2 mV wandering", sets.offset(2000), 0.95),
        _contaminated("dropouts 5 %", sets.dropouts, 0.90),
        _contaminated("lift-off", sets.lift_off, 0.0),
    ]
    for rate_hz in () if quick else (500, 250):
        table += [
            _spoilt("ECG 100 µV", sets.ecg(100), 0.85, rate_hz),
            _spoilt("mains 20 µV 50.03 Hz", sets.mains(20, 50.03), 0.95, rate_hz),
            _spoilt("movement 6/min 2 mV", sets.movement(6, 2000), 0.95, rate_hz),
            _contaminated("noise x3 blocks", sets.noise_blocks, 0.475, rate_hz),
        ]
    table += [_myo("rest", 0.5, 0.95), _myo("gesture", 0.2, 0.0)]
    table += [_acceleration(size, least) for size, least in ((20, 0.25), (40, 0.85), (80, 0.97))]
    table.append(
        Row(
            "walking, turning",
            lambda quick: (sets.walking(seed, duration_s=_minutes(quick)) for seed in _seeds(quick, 6)),
            "<= 0.3 a minute",
            lambda t: t.false_per_min <= 0.3,
            compared=False,
        )
    )
    return table


# Chunks and confidence ------------------------------------------------------------------------------------------


def chunk_failures(quick: bool) -> list[str]:
    """Where the cutting of a stream shows in what is said of it; should be empty."""
    seconds = 10.0 if quick else 60.0
    spoilt = sets.contaminated(sets.mains(5, 50.03), 0, RATE_HZ, seconds)
    cases = [spoilt, sets.dropouts(1, 500, seconds), sets.walking(0, duration_s=seconds), *sets.myo("gesture", 1)]
    failures = []
    for case in cases:
        whole = [_fingerprint(e) for e in heard(case, 10.0)[0]]
        for samples in (1, 7, 64, 333, 1000, 10_000):
            pieces = [_fingerprint(e) for e in heard(case, samples / case.stream.rate_hz)[0]]
            if sorted(pieces) != sorted(whole):
                failures.append(f"{case.name} at {case.stream.rate_hz:g} Hz in pieces of {samples}")
    return failures


def _fingerprint(event: Event) -> str:
    wave = event.waveform.tobytes().hex() if isinstance(event, Twitch) else ""
    return f"{event!r}{wave}"


def reliability(confidences: list[tuple[float, bool]]) -> tuple[float, list[tuple[float, float, int]]]:
    """Expected calibration error, and for each tenth: mean confidence, share that was right, reports."""
    said = np.array(confidences, np.float64).reshape(-1, 2)
    place = np.minimum((said[:, 0] * BINS).astype(int), BINS - 1)
    curve = []
    for i in range(BINS):
        part = said[place == i]
        if len(part):
            curve.append((float(part[:, 0].mean()), float(part[:, 1].mean()), len(part)))
    error = sum(abs(claim - share) * count for claim, share, count in curve) / max(len(said), 1)
    return float(error), curve


# Table ----------------------------------------------------------------------------------------------------------


def measured(row: Row, quick: bool, with_peers: bool) -> tuple[Tally, dict[str, Tally], tuple[int, int] | None]:
    """Ours, each peer, and (found, twitches) of the best threshold in hindsight."""
    ours = Tally()
    rivals = peers.available() if with_peers and row.compared else {}
    tallies = {name: Tally() for name in rivals}
    best = [0, 0]
    for number, case in enumerate(row.cases(quick)):
        judge(case, ours)
        for name, rival in rivals.items():
            if case.stream.rate_hz >= rival.least_hz and number < rival.cases:
                judge_peer(case, rival.find, tallies[name])
        if rivals and row.hindsight:
            best[0] += peers.hindsight(case)
            best[1] += len(case.truth.twitches)
    told = {name: tally for name, tally in tallies.items() if tally.recorded_min}
    return ours, told, (best[0], best[1]) if best[1] else None


def _brief(t: Tally) -> str:
    recall = f"{t.found / t.twitches:.2f} " if t.twitches else ""
    hit = f" {t.bursts_hit}/{t.bursts}" if t.bursts else ""
    return f"{recall}@{t.false_per_min:.1f}{hit}"


def _ours(t: Tally) -> str:
    interval = wilson(t.found_analysable, t.twitches_analysable)
    recall = f"{t.recall:.3f} [{interval[0]:.2f}-{interval[1]:.2f}] " if interval else ""
    voluntary = f" bursts {t.bursts_hit}/{t.bursts} voluntary {t.voluntary_share:.2f}" if t.bursts else ""
    onset = f" bias {1000 * t.bias_s:+.1f} ms" if t.errors_s else ""
    return f"{recall}@{t.false_per_min:.2f}/{t.false_per_analysable_min:.2f} share {t.share:.3f}{voluntary}{onset}"


def main() -> None:
    """Print the table; write JSON if asked."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--quick", action="store_true", help="a minute of each, in less than a minute")
    options.add_argument("--only", default="", help="rows whose name contains this")
    options.add_argument("--json", type=Path, help="write everything to this file")
    options.add_argument("--no-peers", action="store_true", help="ours alone")
    chosen = options.parse_args()
    if not DATA.is_dir():
        print(f"{DATA} is absent: nothing can be measured, even planted twitches are cut from there")
        return
    results: list[dict[str, object]] = []
    pooled = Tally()
    for row in rows(chosen.quick):
        if chosen.only not in row.name:
            continue
        try:
            ours, rivals, best = measured(row, chosen.quick, not chosen.no_peers)
        except Exception as error:  # noqa: BLE001 - a row that breaks must not hide the others
            print(f"FAIL {row.name:32s} broke: {error!r}", flush=True)
            results.append({"row": row.name, "target": row.target, "met": False, "broke": repr(error)})
            continue
        met = row.met(ours)
        print(f"{'ok  ' if met else 'FAIL'} {row.name:32s} {_ours(ours)}   target {row.target}", flush=True)
        others = [f"{name} {_brief(t)}" for name, t in rivals.items()]
        others += [f"best in hindsight {best[0] / best[1]:.2f}"] if best else []
        if others:
            print(f"       {' | '.join(others)}", flush=True)
        pooled.latencies_s += ours.latencies_s
        pooled.confidences += ours.confidences
        results.append(
            {
                "row": row.name,
                "target": row.target,
                "met": met,
                "ours": ours.fields(),
                "peers": {name: t.fields() for name, t in rivals.items()},
                "hindsight": best,
            }
        )
    summary = _summary(pooled, chunk_failures(chosen.quick) if chosen.only in "chunks" else None)
    if chosen.json:
        chosen.json.write_text(json.dumps({"rows": results, **summary}, indent=1) + "\n")


def _summary(pooled: Tally, failures: list[str] | None) -> dict[str, object]:
    error, curve = reliability(pooled.confidences)
    print("\nconfidence   claimed  right  reports")
    for claim, share, count in curve:
        print(f"             {claim:.2f}     {share:.2f}   {count}")
    print(f"expected calibration error {error:.3f}")
    p50, p99 = np.percentile(pooled.latencies_s, (50, 99)).tolist() if pooled.latencies_s else (None, None)
    if p50 is not None:
        print(f"latency, onset to emission: p50 {p50:.3f} s, p99 {p99:.3f} s")
    if failures is not None:
        print("identical for any chunking" if not failures else "\n".join(["chunking SHOWS:", *failures]))
    return {"calibration_error": error, "reliability": curve, "latency_p50_p99_s": (p50, p99), "chunks": failures}


if __name__ == "__main__":
    main()
