"""XDF (Lab Streaming Layer), through pyxdf, which is an extra.

Rules of this module:

* pyxdf must not smooth timestamps: that would hide a loss of less than a second.
* Read are numbers at a fixed rate, from streams that call themselves EMG, ECG or acceleration, or nothing.
* pyxdf says what it could not read only in its log. That becomes a note.
* The file is held in memory: pyxdf reads it whole.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from firmware_interface.samples import Timebase
from monitor.recording.channels import Claim, RecordingError, Wanted, believable, clean, group, one_line
from monitor.recording.contents import Recording, Track, merged, numbered, present, track

_OURS = re.compile(r"EMG|ExG|ECG|EKG|acc", re.IGNORECASE)
"""Types of LSL streams that can hold a muscle, a heart or a movement."""
_MOST_SAMPLES = 1e15
"""A span of more samples is a damaged timestamp, not a recording."""
_MOST_NOTES = 3
"""Lines of pyxdf's log. A damaged file repeats itself."""
_FIT_S = 10.0
"""From this length on timestamps tell the true rate better than the device's own label does."""
_MOST_DRIFT = 0.01
"""A fitted rate that differs by more is no drift of a clock: the timestamps are uneven."""


class _Source:
    """One numeric LSL stream, in the file's words.

    Raises:
        LookupError, TypeError, ValueError, AttributeError: pyxdf gave something else than it documents.
    """

    def __init__(self, raw: Mapping[str, Any]) -> None:
        info = raw["info"]
        self.name = clean(str(info["name"][0] or "unnamed"))
        self.kind = clean(str(info["type"][0] or ""))
        self.rate_hz = float(info["nominal_srate"][0])
        self.numeric = info["channel_format"][0] != "string"
        self.times_s = np.asarray(raw["time_stamps"], np.float64)
        self.numbers = np.asarray(raw["time_series"]).T if self.numeric else np.empty((0, 0))
        self.described = _described(info)

    def refusal(self) -> str:
        """Why the stream cannot be used; empty if it can."""
        if not self.numeric or not believable(self.rate_hz):
            return "holds no numbers at a fixed rate"
        if self.kind and not _OURS.search(self.kind):
            return f"type {self.kind!r} is neither EMG, ECG nor acceleration"
        if (
            self.numbers.dtype.kind not in "iuf"
            or self.numbers.ndim != 2
            or self.numbers.shape[1] != len(self.times_s)
            or len(self.times_s) == 0
        ):
            return "holds no samples"
        whole = bool(np.isfinite(self.times_s).all())
        if not whole or float(np.ptp(self.times_s)) * self.rate_hz > _MOST_SAMPLES:
            return "its timestamps are damaged"
        return ""

    def claims(self, clock: int) -> list[Claim]:
        """Its channels, with what it says of them."""
        made = []
        for i in range(len(self.numbers)):
            said = self.described[i] if i < len(self.described) else {}
            label = said.get("label") or f"{self.name} {i + 1}"
            hint = f"{said.get('type', '')} {self.kind}"
            made.append(Claim(label, said.get("unit", ""), self.rate_hz, hint, clock=clock))
        return made


def read(path: Path, wanted: Wanted) -> Recording:
    """Read the XDF file at `path`.

    Raises:
        RecordingError: it cannot be read, or pyxdf is not installed.
        OSError: it cannot be opened.
    """
    sources, notes = _load(path)
    usable = [source for source in sources if not source.refusal()]
    notes += [f"stream {s.name!r}: {s.refusal()}; left out" for s in sources if s.refusal()]
    if not usable:
        raise RecordingError(
            f"{path.name}: holds no stream of EMG or acceleration", "Record one, or check the file"
        )
    tracks, omissions = _tracks(path.name, usable, wanted)
    if not tracks:
        raise RecordingError(f"{path.name}: no sample has a number in every channel", "Check the recording")
    return Recording(
        path=path,
        streams=tuple(t.stream for t in tracks),
        duration_s=max(t.timebase.at(t.end) for t in tracks) / 1e9,
        start=None,
        notes=(*notes, *omissions),
        pieces=merged(tracks),
    )


def _load(path: Path) -> tuple[list[_Source], list[str]]:
    """All streams of the file, and what pyxdf had to say."""
    try:
        import pyxdf  # noqa: PLC0415 - an extra, needed here only
    except ImportError:
        raise RecordingError(
            f"{path.name}: XDF needs pyxdf, which is not installed", "Run: pip install 'fasciwatch[xdf]'"
        ) from None
    with _overheard() as said, np.errstate(all="ignore"):
        try:
            raws, _ = pyxdf.load_xdf(str(path), dejitter_timestamps=False)
            sources = [_Source(raw) for raw in raws]
        except Exception as error:  # pyxdf has no error of its own: a damaged file raises anything
            reason = one_line(str(error)) or type(error).__name__
            raise RecordingError(f"{path.name}: not a readable XDF file: {reason}", "Check the file") from error
    return sources, list(dict.fromkeys(said))[:_MOST_NOTES]


class _Notebook(logging.Handler):
    """Writes down warnings instead of printing them."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(one_line(record.getMessage()))


@contextmanager
def _overheard() -> Iterator[list[str]]:
    """The lines that pyxdf logs meanwhile, and that nobody else shall see."""
    logger, notebook = logging.getLogger("pyxdf"), _Notebook()
    propagated = logger.propagate
    logger.addHandler(notebook)
    logger.propagate = False
    try:
        yield notebook.lines
    finally:
        logger.propagate = propagated
        logger.removeHandler(notebook)


def _described(info: Mapping[str, Any]) -> list[dict[str, str]]:
    """What the stream says of each channel: label, unit and type, each only if it does."""
    try:
        channels = info["desc"][0]["channels"][0]["channel"]
        return [{key: str(values[0] or "") for key, values in channel.items()} for channel in channels]
    except (LookupError, TypeError, AttributeError):
        return []


def _tracks(name: str, sources: Sequence[_Source], wanted: Wanted) -> tuple[list[Track], list[str]]:
    origin_s = min(float(source.times_s[0]) for source in sources)
    rows = [(source, row) for source in sources for row in source.numbers]
    groups, notes = group(name, [c for i, s in enumerate(sources) for c in s.claims(i)], wanted)
    made = []
    for g in groups:
        source = rows[g.positions[0]][0]
        index = numbered(source.times_s, 1 / source.rate_hz)
        timebase = _timebase(index, source.times_s - origin_s, 1 / source.rate_hz)
        counts = g.counts([rows[i][1] for i in g.positions])
        made.append(track(g.stream, index, counts, timebase, exact=False))
    tracks, silent = present(groups, made)
    return tracks, notes + silent


def _timebase(index: NDArray[np.int64], times_s: NDArray[np.float64], period_s: float) -> Timebase:
    """The line through the timestamps; through the first at the nominal rate if there are few."""
    start_s = float(times_s[0])
    if times_s[-1] - times_s[0] >= _FIT_S:
        middle = float(index.mean())
        away = index - middle
        fitted_s = float(away @ times_s / (away @ away))
        if abs(fitted_s / period_s - 1) < _MOST_DRIFT:
            period_s = fitted_s
            start_s = float(times_s.mean()) - fitted_s * middle
    return Timebase(0, max(0, round(start_s * 1e9)), period_s * 1e9)
