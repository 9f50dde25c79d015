"""How well the detector does against a person's own marks.

    marks (CSV or EDF+ annotations) ─► Truth ─┐
                                              ├─ score ─► Score, one a sensor
    recording ─ replay ─► twitches, contexts ─┘

Rules:

* A report is a true twitch when their intervals overlap within a tolerance; one report a twitch. A second report
  of one twitch is a false positive. As many pairs as possible are made, with the least sum of onset errors.
* A report that is longer than a twitch can be is no report of a twitch: neither right nor wrong.
* Recall stands twice: over all true twitches, and over those in analysable time. Abstaining shows beside it.
* Where the truth has quiet windows, false positives count only inside them.
* All is pure but the reading of the two files. Times are seconds from the recording's start.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from firmware_interface.errors import Fault
from firmware_interface.samples import Sensor, Stream
from monitor.detection.events import Context, State, Twitch
from monitor.detection.settings import DetectorSettings
from monitor.recording import Recording
from monitor.recording.edf import read_annotations
from monitor.replay import replay

Spans = NDArray[np.float64]
"""Intervals, shape (n, 2): first and last time, seconds."""
Pairs = NDArray[np.int64]
"""Shape (n, 2): index of a report, index of the true twitch that it is."""

TOLERANCE_S = {Sensor.EMG: 0.010, Sensor.ECG: 0.010, Sensor.ACC: 0.050}
LONGEST_S = {Sensor.EMG: 0.250, Sensor.ECG: 0.250, Sensor.ACC: 0.500}
_Z = 1.959964
"""Of a two-sided 95 % interval."""
_KINDS = {"twitch": "twitch", "fasciculation": "twitch", "voluntary": "voluntary", "contraction": "voluntary"}
_COLUMNS = ("kind", "onset_s", "duration_s")


class TruthError(Fault):
    """Marks that cannot be read; the person's to mend."""


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """What a person marked."""

    twitches: Spans
    voluntary: Spans
    quiet: Spans
    """Windows in which false positives count; none: everywhere."""


@dataclass(frozen=True, slots=True)
class Score:
    """How reports compare with the truth, for one sensor of a recording.

    A site is an EMG channel; the axes of an accelerometer are one site. Minutes are summed over sites.
    """

    sensor: Sensor
    sites: int
    recorded_min: float
    """Received, and inside the quiet windows if there are any."""
    analysable_min: float
    """Of these, without any context that the detector reported."""
    twitches: int
    found: int
    twitches_analysable: int
    """True twitches that no context touches, on one site at least."""
    found_analysable: int
    reported: int
    false_positives: int
    bursts: int
    """Voluntary intervals of the truth."""
    bursts_hit: int
    """In which a report lies that is no true twitch."""
    voluntary_share: float | None
    """Of the voluntary time, on average over sites, that was reported as voluntary."""
    onset_bias_s: float | None
    """Median of reported minus true onset."""
    onset_spread_s: float | None
    """Interquartile range of the same."""

    @property
    def analysable_share(self) -> float | None:
        return _ratio(self.analysable_min, self.recorded_min)

    @property
    def recall(self) -> float | None:
        """Over all true twitches."""
        return _ratio(self.found, self.twitches)

    @property
    def recall_analysable(self) -> float | None:
        """Over the true twitches in analysable time."""
        return _ratio(self.found_analysable, self.twitches_analysable)

    @property
    def false_per_min(self) -> float | None:
        """A recorded minute and site."""
        return _ratio(self.false_positives, self.recorded_min)

    @property
    def false_per_analysable_min(self) -> float | None:
        """All false positives, wherever they lie, an analysable minute and site."""
        return _ratio(self.false_positives, self.analysable_min)

    def fields(self) -> dict[str, object]:
        """Everything as JSON can hold it."""
        return {
            "sensor": str(self.sensor),
            "sites": self.sites,
            "recorded_min": self.recorded_min,
            "analysable_share": self.analysable_share,
            "twitches": self.twitches,
            "found": self.found,
            "recall": self.recall,
            "recall_95": wilson(self.found, self.twitches),
            "twitches_analysable": self.twitches_analysable,
            "recall_analysable": self.recall_analysable,
            "recall_analysable_95": wilson(self.found_analysable, self.twitches_analysable),
            "reported": self.reported,
            "false_positives": self.false_positives,
            "false_per_min": self.false_per_min,
            "false_per_analysable_min": self.false_per_analysable_min,
            "bursts": self.bursts,
            "bursts_hit": self.bursts_hit,
            "voluntary_share": self.voluntary_share,
            "onset_bias_s": self.onset_bias_s,
            "onset_spread_s": self.onset_spread_s,
        }

    def rows(self) -> list[tuple[str, str]]:
        """The same for a person, a name and a value each."""
        rows = [
            ("recorded", f"{self.recorded_min:.2f} min at {self.sites} site{'s' * (self.sites != 1)}"),
            ("analysable", _percent(self.analysable_share)),
            ("recall", _counted(self.found, self.twitches)),
            ("recall in analysable time", _counted(self.found_analysable, self.twitches_analysable)),
            ("false positives", f"{self.false_positives} of {self.reported} reports"),
            ("  a recorded minute", _number(self.false_per_min, "{:.2f}")),
            ("  an analysable minute", _number(self.false_per_analysable_min, "{:.2f}")),
        ]
        if self.bursts:
            rows.append(("contractions called twitches", _counted(self.bursts_hit, self.bursts)))
            rows.append(("contraction time so reported", _percent(self.voluntary_share)))
        if self.onset_bias_s is not None and self.onset_spread_s is not None:
            bias, spread = 1000 * self.onset_bias_s, 1000 * self.onset_spread_s
            rows.append(("onset", f"{bias:+.1f} ms (median), spread {spread:.1f} ms"))
        return rows


# Marks ----------------------------------------------------------------------------------------------------------


def read_truth(path: Path) -> Truth:
    """Marks from a CSV file with at least the columns kind, onset_s and duration_s.

    Kinds are twitch (or fasciculation), voluntary (or contraction) and quiet; others are passed over.

    Raises:
        TruthError: the file cannot be read as marks.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise TruthError(f"{path}: {error.strerror or error}", "Check the path") from error
    except UnicodeDecodeError as error:
        raise TruthError(f"{path.name}: is no text in UTF-8", "Export the marks as CSV again") from error
    lines = text.splitlines()
    delimiter = max(",;\t", key=lines[0].count) if lines else ","
    rows = csv.reader(lines, delimiter=delimiter)
    names = [name.strip().lower() for name in next(rows, [])]
    if not set(_COLUMNS) <= set(names):
        given = ", ".join(names)[:60] or "nothing"
        raise TruthError(
            f"{path.name}: begins with {given!r}, not with the names of columns",
            f"Begin with a row {','.join(_COLUMNS)}",
        )
    columns = [names.index(name) for name in _COLUMNS]
    return truth_of(_mark(path.name, rows.line_num, row, columns) for row in rows if any(row))


def marked(recording: Recording) -> Truth:
    """Marks from the recording's own EDF+ annotations.

    Raises:
        TruthError: it has none that name a twitch, a contraction or a quiet time.
    """
    is_edf = recording.path.suffix.lower() in (".edf", ".bdf")
    truth = truth_of(read_annotations(recording.path) if is_edf else ())
    if not sum(len(spans) for spans in (truth.twitches, truth.voluntary, truth.quiet)):
        raise TruthError(
            f"{recording.path.name}: no annotation says twitch, voluntary or quiet", "Give the marks with --truth"
        )
    return truth


def truth_of(marks: Iterable[tuple[str, float, float]]) -> Truth:
    """Truth from (kind, onset, duration), both in seconds."""
    spans: dict[str, list[tuple[float, float]]] = {"twitch": [], "voluntary": [], "quiet": []}
    for kind, onset_s, duration_s in marks:
        known = kind.strip().lower()
        spans.get(_KINDS.get(known, known), []).append((onset_s, onset_s + duration_s))
    return Truth(*(_spans(sorted(spans[kind])) for kind in ("twitch", "voluntary", "quiet")))


def _mark(name: str, line: int, row: Sequence[str], columns: Sequence[int]) -> tuple[str, float, float]:
    kind, *fields = (row[i] if i < len(row) else "" for i in columns)
    try:
        onset_s, duration_s = map(float, fields)
    except ValueError:
        onset_s = duration_s = math.nan
    if not (0 <= onset_s < math.inf and 0 <= duration_s < math.inf):
        raise TruthError(
            f"{name}: line {line} has {fields[0]!r} and {fields[1]!r} for onset and duration in seconds",
            "Give two numbers, 0 or more, with a decimal point",
        )
    return kind, onset_s, duration_s


# Scores ---------------------------------------------------------------------------------------------------------


def scored(recording: Recording, truth: Truth, settings: DetectorSettings) -> list[Score]:
    """Detect in `recording` and compare with `truth`: a score for each sensor that was analysed.

    Raises:
        RecordingError: none of its channels can be analysed, or the file was changed meanwhile.
    """
    result = replay(recording, settings)
    analysed = {summary.channel for summary in result.summaries}
    return [
        score(_of(result.events, streams), truth, recording.duration_s, streams)
        for streams in _by_sensor(s for s in recording.streams if analysed.issuperset(s.channels))
    ]


def score(events: Iterable[Twitch | Context], truth: Truth, duration_s: float, streams: Sequence[Stream]) -> Score:
    """Compare what was reported of `streams`, all of one sensor, with the truth.

    Args:
        events: twitches and contexts, gaps among them; times are ns from the recording's start.
        truth: what a person marked, seconds from the same start.
        duration_s: length of the recording.
        streams: which channels there are.
    """
    events = list(events)
    twitches = [(e.onset_ns * 1e-9, e.duration_s) for e in events if isinstance(e, Twitch)]
    reports = _spans(sorted((onset_s, onset_s + lasting_s) for onset_s, lasting_s in twitches))
    contexts = [e for e in events if isinstance(e, Context)]
    return compare(reports, contexts, truth, duration_s, streams)


def compare(
    reports: Spans, contexts: Sequence[Context], truth: Truth, duration_s: float, streams: Sequence[Stream]
) -> Score:
    """The same, for reports in order of onset that anyone made."""
    sensor = streams[0].sensor
    reports = reports[reports[:, 1] - reports[:, 0] <= LONGEST_S[sensor]]
    sites = sites_of(streams)
    counted = _merged(truth.quiet) if len(truth.quiet) else _spans([(0.0, duration_s)])
    gaps = [_of_site(contexts, site, (State.GAP,)) for site in sites]
    barred = [_of_site(contexts, site, tuple(State)) for site in sites]
    pairs = match(reports, truth.twitches, TOLERANCE_S[sensor])
    found = np.zeros(len(truth.twitches), bool)
    found[pairs[:, 1]] = True
    visible = ~np.all([_touched(truth.twitches, spans) for spans in barred], axis=0)
    others = np.delete(reports, pairs[:, 0], axis=0)
    errors = reports[pairs[:, 0], 0] - truth.twitches[pairs[:, 1], 0]
    quartiles = np.percentile(errors, (25, 50, 75)).tolist() if len(errors) else None
    return Score(
        sensor=sensor,
        sites=len(sites),
        recorded_min=sum(_length(_without(counted, spans)) for spans in gaps) / 60,
        analysable_min=sum(_length(_without(counted, spans)) for spans in barred) / 60,
        twitches=len(found),
        found=int(found.sum()),
        twitches_analysable=int(visible.sum()),
        found_analysable=int((found & visible).sum()),
        reported=len(reports),
        false_positives=int(_inside(others[:, 0], counted).sum()),
        bursts=len(truth.voluntary),
        bursts_hit=sum(bool(((others[:, 0] >= a) & (others[:, 0] < b)).any()) for a, b in truth.voluntary),
        voluntary_share=_voluntary_share(contexts, sites, truth.voluntary),
        onset_bias_s=quartiles[1] if quartiles else None,
        onset_spread_s=quartiles[2] - quartiles[0] if quartiles else None,
    )


def match(reports: Spans, twitches: Spans, tolerance_s: float) -> Pairs:
    """Pair reports with true twitches, one to one: as many as can be, then with the least onset errors.

    Args:
        reports: sorted by onset.
        twitches: sorted by onset.
        tolerance_s: how far apart two intervals may lie and still overlap.
    """
    near = _near(reports, twitches, tolerance_s)
    if not len(near):
        return near
    count = len(reports)
    edges = coo_array((np.ones(len(near)), (near[:, 0], count + near[:, 1])), shape=(count + len(twitches),) * 2)
    _, labels = connected_components(edges, directed=False)
    order = np.argsort(labels[near[:, 0]], kind="stable")
    groups = np.split(near[order], np.flatnonzero(np.diff(labels[near[order, 0]])) + 1)
    return np.concatenate([_assigned(group, reports, twitches) for group in groups])


def wilson(hits: int, trials: int) -> tuple[float, float] | None:
    """Wilson's 95 % interval of a share; None without trials."""
    if not trials:
        return None
    share, square = hits / trials, _Z**2 / trials
    middle = (share + square / 2) / (1 + square)
    half = _Z / (1 + square) * math.sqrt(share * (1 - share) / trials + square / (4 * trials))
    return max(middle - half, 0.0), min(middle + half, 1.0)


def sites_of(streams: Sequence[Stream]) -> list[tuple[str, ...]]:
    """The channels of each site: one channel, or the axes of an accelerometer."""
    if streams[0].sensor is Sensor.ACC:
        return [stream.channels for stream in streams]
    return [(channel,) for stream in streams for channel in stream.channels]


def _near(reports: Spans, twitches: Spans, tolerance_s: float) -> Pairs:
    """All pairs that overlap."""
    latest = np.maximum.accumulate(twitches[:, 1]) if len(twitches) else np.empty(0)
    first = np.searchsorted(latest, reports[:, 0] - tolerance_s)
    last = np.searchsorted(twitches[:, 0], reports[:, 1] + tolerance_s, side="right")
    pairs = [
        (i, j)
        for i, (a, b) in enumerate(zip(first.tolist(), last.tolist(), strict=True))
        for j in range(a, b)
        if twitches[j, 1] >= reports[i, 0] - tolerance_s
    ]
    return np.array(pairs, np.int64).reshape(-1, 2)


def _assigned(near: Pairs, reports: Spans, twitches: Spans) -> Pairs:
    """The best pairs among those of one connected group."""
    rows, row = np.unique(near[:, 0], return_inverse=True)
    columns, column = np.unique(near[:, 1], return_inverse=True)
    error = np.abs(reports[near[:, 0], 0] - twitches[near[:, 1], 0])
    never = (error.max() + 1) * (len(near) + 1)
    cost = np.full((len(rows), len(columns)), never)
    cost[row, column] = error
    chosen = np.stack(linear_sum_assignment(cost), axis=1)
    chosen = chosen[cost[chosen[:, 0], chosen[:, 1]] < never]
    return np.stack((rows[chosen[:, 0]], columns[chosen[:, 1]]), axis=1)


def _by_sensor(streams: Iterable[Stream]) -> list[list[Stream]]:
    groups: dict[Sensor, list[Stream]] = {}
    for stream in streams:
        groups.setdefault(stream.sensor, []).append(stream)
    return list(groups.values())


def _of(events: Iterable[Twitch | Context], streams: Sequence[Stream]) -> list[Twitch | Context]:
    labels = {channel for stream in streams for channel in stream.channels}
    return [event for event in events if event.channel in labels]


def _of_site(contexts: Iterable[Context], site: tuple[str, ...], states: tuple[State, ...]) -> Spans:
    times = [
        (c.onset_ns * 1e-9, c.onset_ns * 1e-9 + c.duration_s)
        for c in contexts
        if c.channel in site and c.state in states
    ]
    return _merged(_spans(sorted(times)))


def _voluntary_share(contexts: Sequence[Context], sites: list[tuple[str, ...]], voluntary: Spans) -> float | None:
    meant = _merged(voluntary)
    if not len(meant):
        return None
    said = [_of_site(contexts, site, (State.VOLUNTARY,)) for site in sites]
    missed = sum(_length(_without(meant, spans)) for spans in said)
    return 1 - missed / (_length(meant) * len(sites))


# Intervals ------------------------------------------------------------------------------------------------------


def _spans(pairs: Iterable[tuple[float, float]]) -> Spans:
    return np.array(list(pairs), np.float64).reshape(-1, 2)


def _merged(spans: Spans) -> Spans:
    """The union of sorted spans, without overlaps."""
    if not len(spans):
        return spans
    latest = np.maximum.accumulate(spans[:, 1])
    breaks = np.flatnonzero(spans[1:, 0] > latest[:-1])
    starts = spans[np.concatenate(([0], breaks + 1)), 0]
    return np.stack((starts, latest[np.concatenate((breaks, [-1]))]), axis=1)


def _without(spans: Spans, holes: Spans) -> Spans:
    """What is left of merged spans outside merged holes."""
    starts = np.concatenate(([-np.inf], holes[:, 1]))
    stops = np.concatenate((holes[:, 0], [np.inf]))
    first = np.searchsorted(stops, spans[:, 0], side="right")
    last = np.searchsorted(starts, spans[:, 1])
    parts = [
        (max(a, float(starts[i])), min(b, float(stops[i])))
        for (a, b), f, e in zip(spans.tolist(), first.tolist(), last.tolist(), strict=True)
        for i in range(f, e)
    ]
    return _spans(parts)


def _length(spans: Spans) -> float:
    return float(np.diff(spans, axis=1).sum())


def _touched(spans: Spans, merged: Spans) -> NDArray[np.bool_]:
    """Whether each span overlaps any of the merged ones."""
    if not len(merged):
        return np.zeros(len(spans), bool)
    after = np.searchsorted(merged[:, 1], spans[:, 0], side="right")
    starts = np.append(merged[:, 0], np.inf)
    return np.asarray(starts[after] < np.maximum(spans[:, 1], np.nextafter(spans[:, 0], np.inf)))


def _inside(times: NDArray[np.float64], merged: Spans) -> NDArray[np.bool_]:
    return _touched(np.stack((times, times), axis=1), merged)


# Words ----------------------------------------------------------------------------------------------------------


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else form.format(value)


def _percent(value: float | None) -> str:
    return _number(value, "{:.1%}")


def _counted(hits: int, trials: int) -> str:
    interval = wilson(hits, trials)
    if interval is None:
        return "-"
    return f"{hits} of {trials}: {hits / trials:.1%} (95 % interval {interval[0]:.1%} to {interval[1]:.1%})"
