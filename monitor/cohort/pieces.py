"""One member of a cohort, piece by piece, to tables that stay.

    batches ─► Listener ─► rows ─► Parquet   then the snapshot   then the mark

Rules:

* After each piece the tables of what became final in it are written, then the detector as it is, then the mark
  that names both. Whoever comes after a crash goes on at the mark. The tables of a piece have its number in
  their names, so that a piece that is done again overwrites what was half done.
* A minute, a day's quality and a day's motor units are written once, when they are final: until then they
  travel in the snapshot. So nothing depends on where pieces end.
* Whatever a file does to us is an outcome, one line, and no end of the run; what happens to the place of
  results is the end of it.
* A data folder with raw signal is detected again, device by device; of one without, what it found is taken.
"""

from __future__ import annotations

import json
import pickle
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import monitor
from firmware_interface.errors import Fault
from firmware_interface.samples import Stream
from monitor import parquet
from monitor.cohort.members import Member
from monitor.cohort.storage import Place, StorageError
from monitor.detection.events import Analysed, Context, Event, State, Twitch
from monitor.detection.settings import DetectorSettings
from monitor.raw import FOLDER as RAW
from monitor.raw import RawArchive
from monitor.recording import Recording, RecordingError, days, read
from monitor.replay import Listener, listener
from monitor.store import Archive
from monitor.tables import MINUTES, TWITCHES, Row, Table, minute_row, twitch_row
from monitor.tally import MINUTE_NS, Minute

BATCH_S: Final = 10.0
UNKNOWN_DAY: Final = "unknown"
_DAY_NS: Final = 86400 * 10**9

UNITS: Final = Table(
    "units",
    {
        "source": str,
        "channel": str,
        "motor_unit": int,
        "twitches": int,
        "peak_to_peak": float,
        "unit": str,
        "doublets": int,
    },
)
QUALITY: Final = Table(
    "quality",
    {
        "source": str,
        "channel": str,
        "observed_s": float,
        "analysable_s": float,
        "voluntary_s": float,
        "artefact_s": float,
        "bad_contact_s": float,
        "gap_s": float,
        "twitches": int,
    },
)
_STATES: Final = (State.VOLUNTARY, State.ARTEFACT, State.BAD_CONTACT, State.GAP)


@dataclass(frozen=True, slots=True)
class Job:
    """What a worker is given."""

    member: Member
    place: Place
    out: Place
    settings: DetectorSettings
    piece_s: float
    version: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a member."""

    name: str
    state: str
    """done, already, broken, or stopped: where the place of results failed."""
    pieces: int = 0
    """Done now."""
    signal_s: float = 0.0
    cpu_s: float = 0.0
    writing_s: float = 0.0
    """Of the CPU time, what tables, snapshots and marks took."""
    message: str = ""
    remedy: str = ""


Told = Callable[[str, float], None]
"""(member, share of it that is done)."""


def work(job: Job, told: Told = lambda _name, _share: None) -> Outcome:
    """Detect in a member, from where it was left."""
    if job.version != monitor.__version__:
        versions = f"this worker has fasciwatch {monitor.__version__}, the run {job.version}"
        return Outcome(job.member.name, "stopped", message=versions, remedy="Install the same everywhere")
    begun_s = time.process_time()
    shelf = _Shelf(job)
    try:
        done = shelf.mark()
        if done.complete:
            return Outcome(job.member.name, "already")
        with job.place.here(job.member.files, job.member.name) as path:
            for course in _courses(job, path):
                done = _followed(course, shelf, done, told)
        shelf.complete(done)
    except StorageError as error:
        return Outcome(job.member.name, "stopped", message=str(error.args[0]), remedy=error.remedy)
    except Fault as fault:
        return Outcome(job.member.name, "broken", message=str(fault.args[0]), remedy=fault.remedy)
    except UnicodeEncodeError:
        return Outcome(
            job.member.name, "broken", message=f"{job.member.name}: its name is not UTF-8", remedy="Rename it"
        )
    except MemoryError:
        return Outcome(job.member.name, "broken", message=f"{job.member.name}: more than memory holds")
    except Exception as error:  # noqa: BLE001 - one file must not end the run of all
        said = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        return Outcome(job.member.name, "broken", message=f"{job.member.name}: {said}", remedy="Report it, please")
    cpu_s = time.process_time() - begun_s
    return Outcome(job.member.name, "done", shelf.pieces, shelf.signal_s, cpu_s, shelf.writing_s)


# Courses: what is detected in one after the other ---------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Course:
    """A recording of a member, or what its store had found."""

    number: int
    source: str
    recording: Recording | None
    archive: Path | None = None
    """The data folder, where there is no raw signal of the device."""
    device_id: int = 0


def _courses(job: Job, path: Path) -> Iterator[_Course]:
    """In an order that does not change."""
    member = job.member
    if not member.is_store:
        yield _Course(0, member.name, read(path))
        return
    with closing(Archive.open(path)) as archive:
        known = [each.id for each in archive.devices()]
    held = {each.device_id for each in RawArchive(path).holdings()} if (path / RAW).is_dir() else set()
    for number, device_id in enumerate(known):
        source = f"{member.name}#device{device_id}"
        recording = days.opened(path, device_id) if device_id in held else None
        yield _Course(number, source, recording, path, device_id)


def _followed(course: _Course, shelf: _Shelf, done: _Mark, told: Told) -> _Mark:
    """The course to its end, from where it was left."""
    if done.course > course.number:
        return done
    if course.recording is None:
        return shelf.keep_stored(course, done)
    return _detected(course, course.recording, shelf, done, told)


def _detected(course: _Course, recording: Recording, shelf: _Shelf, done: _Mark, told: Told) -> _Mark:
    start_ns = (
        None if recording.start is None else round(recording.start.replace(tzinfo=UTC).timestamp() * 1e6) * 1000
    )
    ears, ledger = shelf.snapshot(done) or (
        listener(recording, shelf.job.settings),
        Ledger(course.source, start_ns),
    )
    piece_ns = shelf.job.piece_s * 1e9
    ends_ns = piece_ns * (1 + done.reached_ns // piece_ns)
    batches = done.batches
    for batch in recording.batches(BATCH_S, skip=batches):
        batches += 1
        for piece in batch:
            ledger.note(piece.stream, ears.feed(piece))
        reached_ns = max((piece.end_ns for piece in batch), default=0)
        if reached_ns >= ends_ns:
            done = shelf.keep(
                ledger.final(), _Mark(course.number, done.piece + 1, batches, reached_ns), (ears, ledger)
            )
            ends_ns = piece_ns * (1 + reached_ns // piece_ns)
            told(shelf.job.member.name, min(reached_ns * 1e-9 / max(recording.duration_s, 1e-9), 1.0))
    for stream, events in ears.finish():
        ledger.note(stream, events)
    shelf.signal_s += recording.duration_s
    return shelf.keep(ledger.rest(), _Mark(course.number + 1, done.piece + 1), None)


# Rows, until they are final -------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Minute:
    site: str
    observed_s: float = 0.0
    analysable_s: float = 0.0
    twitches: int = 0


@dataclass(slots=True)
class _Quality:
    observed_s: float = 0.0
    analysable_s: float = 0.0
    spent_s: dict[State, float] = field(default_factory=lambda: dict.fromkeys(_STATES, 0.0))
    twitches: int = 0


@dataclass(slots=True)
class _Unit:
    twitches: int = 0
    peak_to_peak: float = 0.0
    unit: str = ""
    doublets: int = 0


Rows = dict[tuple[str, str], list[Row]]
"""(table, day) -> rows."""


class Ledger:
    """What a recording yielded and is not written yet; it travels with the detector.

    Args:
        source: what to call the recording.
        start_ns: when it began, UTC; `None` where nobody knows, and times are from its start.
    """

    def __init__(self, source: str, start_ns: int | None) -> None:
        self._source, self._start_ns = source, start_ns
        self._twitches: list[Twitch] = []
        self._minutes: dict[tuple[str, str, int], _Minute] = {}
        self._fronts: dict[str, int] = {}
        self._quality: dict[tuple[str, str], _Quality] = {}
        self._units: dict[tuple[str, str, int | None], _Unit] = {}

    def note(self, stream: Stream, events: Sequence[Event]) -> None:
        """Take what was said of a stream, in order."""
        for event in events:
            match event:
                case Analysed():
                    self._note_analysed(stream, event)
                case Twitch():
                    self._note_twitch(stream, event)
                case Context():
                    self._quality_of(event.onset_ns, event.channel).spent_s[event.state] += event.duration_s

    def final(self) -> Rows:
        """What will not change, no more to be told."""
        front = {name: front - front % MINUTE_NS for name, front in self._fronts.items()}
        return self._taken(lambda stream, start_ns: start_ns < front.get(stream, 0))

    def rest(self) -> Rows:
        """The recording has ended: everything."""
        rows = self._taken(lambda _stream, _start_ns: True)
        for (day, channel), had in sorted(self._quality.items()):
            times = had.observed_s, had.analysable_s, *had.spent_s.values()
            rows[QUALITY.name, day].append((self._source, channel, *times, had.twitches))
        for (day, channel, number), unit in sorted(self._units.items(), key=lambda item: str(item[0])):
            mean = unit.peak_to_peak / unit.twitches
            rows[UNITS.name, day].append(
                (self._source, channel, number, unit.twitches, mean, unit.unit, unit.doublets)
            )
        return rows

    def _note_analysed(self, stream: Stream, event: Analysed) -> None:
        start_ns = self._utc(event.start_ns)
        self._fronts[stream.name] = self._utc(event.end_ns)
        for channel, analysable_s in zip(stream.channels, event.analysable_s, strict=True):
            for had in (
                self._minute_of(stream, channel, start_ns),
                self._quality_of(event.start_ns, channel),
            ):
                had.observed_s += event.observed_s
                had.analysable_s += analysable_s

    def _note_twitch(self, stream: Stream, event: Twitch) -> None:
        self._twitches.append(event)
        self._minute_of(stream, event.channel, self._utc(event.onset_ns)).twitches += 1
        self._quality_of(event.onset_ns, event.channel).twitches += 1
        key = self._day(event.onset_ns), event.channel, event.motor_unit
        unit = self._units.setdefault(key, _Unit())
        unit.twitches += 1
        unit.peak_to_peak += event.peak_to_peak
        unit.unit = str(event.unit)
        unit.doublets += event.follows_s is not None

    def _minute_of(self, stream: Stream, channel: str, utc_ns: int) -> _Minute:
        key = stream.name, channel, utc_ns - utc_ns % MINUTE_NS
        return self._minutes.setdefault(key, _Minute(stream.site(channel)))

    def _quality_of(self, time_ns: int, channel: str) -> _Quality:
        return self._quality.setdefault((self._day(time_ns), channel), _Quality())

    def _taken(self, is_final: Callable[[str, int], bool]) -> Rows:
        rows: Rows = defaultdict(list)
        for event in sorted(self._twitches, key=lambda each: (each.onset_ns, each.channel)):
            row = twitch_row(self._source, event)
            moved = (*row[:2], self._utc(event.onset_ns), *row[3:])
            rows[TWITCHES.name, self._day(event.onset_ns)].append(moved)
        self._twitches.clear()
        for key in sorted(key for key in self._minutes if is_final(key[0], key[2])):
            _, channel, start_ns = key
            had = self._minutes.pop(key)
            minute = Minute(channel, start_ns, had.observed_s, had.analysable_s, had.twitches)
            row = minute_row(self._source, minute, had.site)
            rows[MINUTES.name, _date(start_ns, self._start_ns)].append(row)
        return rows

    def _utc(self, time_ns: int) -> int:
        return time_ns + (self._start_ns or 0)

    def _day(self, time_ns: int) -> str:
        return _date(self._utc(time_ns), self._start_ns)


def _date(utc_ns: int, start_ns: int | None) -> str:
    return UNKNOWN_DAY if start_ns is None else datetime.fromtimestamp(utc_ns // 10**9, UTC).strftime("%Y-%m-%d")


# Where results are ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Mark:
    """How far a member has come."""

    course: int = 0
    piece: int = 0
    batches: int = 0
    """Of the course."""
    reached_ns: int = 0
    complete: bool = False
    version: str = ""
    """Of the member."""
    snapshot: str = ""


@dataclass(slots=True)
class _Shelf:
    """The files of a member among the results."""

    job: Job
    pieces: int = 0
    signal_s: float = 0.0
    writing_s: float = 0.0
    _tables: dict[str, Table] = field(
        default_factory=lambda: {table.name: table for table in (TWITCHES, MINUTES, UNITS, QUALITY)}
    )

    @property
    def _stem(self) -> str:
        return f"marks/subject={self.job.member.subject}/{self.job.member.id}"

    def mark(self) -> _Mark:
        """How far the member has come; a file that has changed since is begun anew, and its tables go."""
        text = self.job.out.read(f"{self._stem}.json")
        if text is None:
            return _Mark()
        try:
            found = _Mark(**json.loads(text))
        except (ValueError, TypeError):
            found = _Mark()
        if found.version == self.job.member.version:
            return found
        self._forget()
        return _Mark()

    def snapshot(self, done: _Mark) -> tuple[Listener, Ledger] | None:
        """The detector as a piece left it."""
        if not done.snapshot:
            return None
        raw = self.job.out.read(done.snapshot)
        if raw is None:
            raise RecordingError(f"{self.job.member.name}: its snapshot is gone", "Remove its mark, and run again")
        ears, ledger = pickle.loads(raw)  # noqa: S301 - our own results: see the head of the package
        return ears, ledger

    def keep(self, rows: Rows, mark: _Mark, state: tuple[Listener, Ledger] | None) -> _Mark:
        """Write what a piece yielded; it is done once this returns."""
        begun_s = time.process_time()
        for (name, day), found in sorted(rows.items()):
            path = (
                f"{name}/subject={self.job.member.subject}/day={day}/{self.job.member.id}-{mark.piece:05d}.parquet"
            )
            with self.job.out.new(path) as file:
                parquet.write(file, self._tables[name], [found])
        snapshot = ""
        if state is not None:
            snapshot = f"{self._stem}-{mark.piece:05d}.pickle"
            with self.job.out.new(snapshot) as file:
                pickle.dump(state, file, pickle.HIGHEST_PROTOCOL)
        marked = replace(mark, version=self.job.member.version, snapshot=snapshot)
        self._write(marked)
        self._drop_older(mark.piece)
        self.pieces += 1
        self.writing_s += time.process_time() - begun_s
        return marked

    def complete(self, done: _Mark) -> None:
        """Nothing is left to do."""
        self._write(replace(done, complete=True, version=self.job.member.version, snapshot=""))

    def keep_stored(self, course: _Course, done: _Mark) -> _Mark:
        """What the store of a device had found, as it is."""
        if course.archive is None:
            return done
        rows: Rows = defaultdict(list)
        with closing(Archive.open(course.archive)) as archive:
            for _, twitch in archive.twitches(0, 2**62, course.device_id):
                row = twitch_row(course.source, twitch)
                rows[TWITCHES.name, _date(twitch.onset_ns, 0)].append(row)
            site = next(known.device.site for known in archive.devices() if known.id == course.device_id)
            for _, minute in archive.minutes(0, 2**62, course.device_id):
                row = minute_row(course.source, minute, site(minute.channel))
                rows[MINUTES.name, _date(minute.start_ns, 0)].append(row)
        return self.keep(rows, _Mark(course.number + 1, done.piece + 1), None)

    def _write(self, mark: _Mark) -> None:
        with self.job.out.new(f"{self._stem}.json") as file:
            file.write(json.dumps(asdict(mark)).encode())

    def _drop_older(self, piece: int) -> None:
        if piece > 1:
            self.job.out.remove([f"{self._stem}-{piece - 1:05d}.pickle"])

    def _forget(self) -> None:
        """Remove all that there is of a member."""
        subject, ours = self.job.member.subject, f"{self.job.member.id}-"
        folders: Iterable[str] = (*self._tables, "marks")
        gone = [
            stored.name
            for folder in folders
            for stored in self.job.out.files(f"{folder}/subject={subject}")
            if Path(stored.name).name.startswith((ours, f"{self.job.member.id}.json"))
        ]
        self.job.out.remove(gone)
