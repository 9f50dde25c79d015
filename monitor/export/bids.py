"""One person's signal in the layout of BIDS 1.11, datatype emg.

    dataset_description.json  README  participants.tsv
    sub-P01/ses-20261122/emg/sub-P01_ses-20261122_task-rest_run-01_emg.edf    and .json, _channels.tsv, _events.tsv
    sub-P01/sub-P01_scans.tsv

Rules of this module:

* What the standard asks for and nobody knows (where exactly an electrode sat) is said to be unknown: "n/a",
  never made up.
* Exporting a second person into the same folder adds to it; the same person again replaces that person, once all
  is written. What is not ours in that person's folder is never removed: it is refused.
* A session is a day of UTC, a run is a file; several devices are several acquisitions.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import monitor
from firmware_interface.samples import Sensor, Unit
from monitor.export import edf
from monitor.export.edf import Form, Written
from monitor.export.source import ExportError, Source, new_file
from monitor.store import KnownDevice

_VERSION: Final = "1.11.1"
_TYPES = {Sensor.EMG: "EMG", Sensor.ECG: "ECG", Sensor.ACC: "ACCEL", Sensor.GYRO: "GYRO", Sensor.MAG: "MAGN"}
_UNITS = {Unit.COUNT: "n/a", Unit.MICROVOLT: "uV", Unit.DEGREE_PER_SECOND: "deg/s"}
_README = """\
Surface EMG of twitches (fasciculations), recorded with wearables by fasciwatch.

Not a medical device; detection is not validated on fasciculations of patients. Times are UTC. VALID is 1 where
samples were received; elsewhere the last value is held. Events are what fasciwatch found, and what was logged.
"""


@dataclass(frozen=True, slots=True)
class Study:
    """What the folder says of itself and of the person."""

    name: str = "fasciwatch export"
    group: str = "n/a"


def export(
    source: Source,
    form: Form,
    folder: Path,
    study: Study,
    told: Callable[[str], None],
    heard: Callable[[float], None],
) -> Iterator[Path]:
    """Write one person, and give each file once all are whole.

    Raises:
        ExportError: the subject's name cannot be one in BIDS, or a file cannot be written.
    """
    if not re.fullmatch(r"[A-Za-z0-9]+", source.subject):
        raise ExportError(
            f"{source.subject!r} is no name for a subject in BIDS", "Use letters and digits: --subject P01"
        )
    files(folder, source.subject)
    person, fresh = folder / f"sub-{source.subject}", folder / f".sub-{source.subject}.part"
    shutil.rmtree(fresh, ignore_errors=True)
    runs: dict[tuple[str, str], int] = {}

    def named(device: KnownDevice, start_ns: int, _: int) -> Path:
        day = datetime.fromtimestamp(start_ns // 10**9, UTC).strftime("%Y%m%d")
        acquisition = "" if len(source.devices) == 1 else f"_acq-device{device.id}"
        run = runs[day, acquisition] = runs.get((day, acquisition), 0) + 1
        stem = f"sub-{source.subject}_ses-{day}_task-rest{acquisition}_run-{run:02d}_emg.{form.name.lower()}"
        return fresh / f"ses-{day}" / "emg" / stem

    scans: list[tuple[str, ...]] = []
    try:
        for written in edf.export(source, form, named, told, heard):
            if not any(stream.sensor is Sensor.EMG for stream in written.streams):
                told(f"{written.path.name}: holds no EMG, which BIDS-EMG asks for; left out")
                written.path.unlink()
                continue
            _describe(written)
            moment = datetime.fromtimestamp(written.start_ns * 1e-9, UTC).replace(tzinfo=None)
            name = written.path.relative_to(fresh).as_posix()
            scans.append((name, f"{moment.isoformat(timespec='microseconds')}Z"))
        if scans:
            _write_tsv(fresh / f"sub-{source.subject}_scans.tsv", ("filename", "acq_time"), scans)
            shutil.rmtree(person, ignore_errors=True)
            fresh.rename(person)
            _write_dataset(folder, source.subject, study)
            yield from files(folder, source.subject)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def files(folder: Path, subject: str) -> list[Path]:
    """What an export of a person left.

    Raises:
        ExportError: something else is in their place.
    """
    person = folder / f"sub-{subject}"
    ours = re.compile(rf"(ses-\d{{8}}/emg/sub-{subject}_ses-[^/]*|sub-{subject}_scans\.tsv)")
    found = sorted(path for path in person.rglob("*") if not path.is_dir())
    for path in found:
        if not ours.fullmatch(path.relative_to(person).as_posix()):
            raise ExportError(f"{path} is no export", "Name another folder, or another --subject")
    return found


def _describe(written: Written) -> None:
    """What stands beside a recording."""
    stem = written.path.with_suffix("").name.removesuffix("_emg")
    folder = written.path.parent
    emg = [stream for stream in written.streams if stream.sensor is Sensor.EMG]
    _write_json(
        folder / f"{stem}_emg.json",
        {
            "TaskName": "rest",
            "TaskDescription": "Everyday life with a wearable; rest is where the events do not say otherwise",
            "EMGPlacementScheme": "Other",
            "EMGPlacementSchemeDescription": "By the wearer, over the belly of the muscle that the channel names",
            "EMGReference": "n/a",
            "SamplingFrequency": emg[0].rate_hz,
            "PowerLineFrequency": "n/a",
            "RecordingType": "continuous",
            "SoftwareFilters": "n/a",
            "EMGChannelCount": sum(len(stream.channels) for stream in emg),
            "RecordingDuration": written.duration_s,
            "SoftwareVersions": f"fasciwatch {monitor.__version__}",
        },
    )
    rows = []
    for label, stream, channel in edf.file_labels(written):
        if stream is None:
            rows.append((label, "MISC", "n/a", "n/a", "n/a", "1: received, 0: not, the last value held"))
        else:
            unit = _UNITS.get(stream.unit, str(stream.unit))
            muscle = channel if stream.sensor is Sensor.EMG else "n/a"
            rows.append((label, _TYPES[stream.sensor], unit, f"{stream.rate_hz:g}", muscle, channel))
    titles = ("name", "type", "units", "sampling_frequency", "target_muscle", "description")
    _write_tsv(folder / f"{stem}_channels.tsv", titles, rows)
    events = [
        (f"{onset_s:.6f}", f"{duration_s:.6f}", text.split(" ", 1)[0], text.split(" ", 1)[-1])
        for text, onset_s, duration_s in sorted(written.notes, key=lambda note: note[1])
    ]
    _write_tsv(folder / f"{stem}_events.tsv", ("onset", "duration", "trial_type", "value"), events)
    _write_json(
        folder / f"{stem}_events.json",
        {
            "trial_type": {
                "Description": "What it was",
                "Levels": {
                    "twitch": "An involuntary muscle response that fasciwatch found",
                    "trigger": "What the person logged",
                    "gap": "Samples that were not received",
                },
            },
            "value": {"Description": "The channel of a twitch, the trigger and its dose, the reason of a gap"},
        },
    )


def _write_dataset(folder: Path, subject: str, study: Study) -> None:
    described = folder / "dataset_description.json"
    if not described.exists():
        _write_json(
            described,
            {
                "Name": study.name,
                "BIDSVersion": _VERSION,
                "DatasetType": "raw",
                "GeneratedBy": [{"Name": "fasciwatch", "Version": monitor.__version__}],
            },
        )
        with new_file(folder / "README") as file:
            file.write(_README.encode())
        _write_json(folder / "participants.json", {"group": {"Description": "Of the study; n/a outside of one"}})
    _write_participant(folder / "participants.tsv", f"sub-{subject}", study.group)


def _write_participant(path: Path, person: str, group: str) -> None:
    """The row of a person; other rows, and columns that others have added, stay."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    except (OSError, UnicodeDecodeError) as error:
        raise ExportError(f"{path}: cannot be read", "Mend or remove it") from error
    titles, *rows = [line.split("\t") for line in lines if line] or [["participant_id", "group"]]
    before = next((row for row in rows if row[0] == person), [])
    row = dict(zip(titles, before, strict=False)) | {"participant_id": person, "group": group}
    others = [row for row in rows if row[0] != person]
    _write_tsv(path, titles, sorted([*others, [row.get(title, "n/a") for title in titles]]))


def _write_json(path: Path, fields: dict[str, object]) -> None:
    with new_file(path) as file:
        file.write(json.dumps(fields, indent=2, ensure_ascii=False).encode() + b"\n")


def _write_tsv(path: Path, titles: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    def cell(text: str) -> str:
        return " ".join(text.split()) or "n/a"

    lines = ["\t".join(titles), *("\t".join(cell(each) for each in row) for row in rows)]
    with new_file(path) as file:
        file.write("\n".join(lines).encode() + b"\n")
