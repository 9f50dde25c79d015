"""A recording in pieces: the same as whole, to the bit, whatever happens between two of them."""

import os
import pickle
import shutil
import sys
from contextlib import closing
from dataclasses import replace
from datetime import date, time
from itertools import pairwise

import numpy as np
import pytest
from edfio import Edf, EdfSignal

from firmware_interface.emulated.arm import Arm, ArmSettings
from firmware_interface.samples import SampleBlock, Sensor, Stream, Timebase, Unit
from monitor import __version__, parquet
from monitor.cohort import pieces
from monitor.cohort.effects import summarise
from monitor.cohort.members import members
from monitor.cohort.pieces import Job, work
from monitor.cohort.storage import Place
from monitor.detection.settings import DetectorSettings
from monitor.replay import Listener
from monitor.simulate.lives import Person, history
from monitor.simulate.stores import write_life
from tests.test_collector import SmallDisk

pytest.importorskip("pyarrow")
pytest.importorskip("fsspec")

TABLES = {
    "twitches": list(pieces.TWITCHES.columns),
    "minutes": list(pieces.MINUTES.columns),
    "units": list(pieces.UNITS.columns),
    "quality": list(pieces.QUALITY.columns),
}
HOUR = 3600.0
RATE = 250


def recording(path, seconds=40, seed=5):
    """An arm with its accelerometer, from just before midnight."""
    arm = Arm(
        ArmSettings(channels=("calf",), rate_hz=RATE, acc_rate_hz=50.0, visible=True, twitches_per_min=40), seed
    )
    scale = 0.1
    emg = np.clip(np.rint(arm.emg_uv(seconds * RATE) / scale), -32768, 32767).astype(np.int16)
    acc = np.clip(np.rint(arm.acc_g(seconds * 50) / 0.0001), -32768, 32767).astype(np.int16)
    made = [
        EdfSignal.from_digital(row, RATE, label="calf", physical_dimension="uV", physical_range=(-3276.8, 3276.7))
        for row in emg
    ]
    made += [
        EdfSignal.from_digital(row, 50, label=axis, physical_dimension="g", physical_range=(-3.2768, 3.2767))
        for axis, row in zip("xyz", acc, strict=True)
    ]
    file = Edf(made, data_record_duration=1)
    file.startdate, file.starttime = date(2026, 1, 1), time(23, 59, 45)
    path.parent.mkdir(parents=True, exist_ok=True)
    file.write(path)
    return path


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cohort")
    recording(folder / "sub-P01" / "a.edf")
    return folder


def job(folder, out, piece_s=HOUR, name=None):
    found, _ = members(Place(str(folder)))
    member = next(m for m in found if name in (None, m.name))
    return Job(member, Place(str(folder)), Place(str(out)), DetectorSettings(), piece_s, __version__)


def tables(out):
    """Every row of every table with its day, in an order of its own."""
    rows = {}
    for name, columns in TABLES.items():
        rows[name] = []
        for path in sorted(out.glob(f"{name}/subject=*/day=*/*.parquet")):
            with path.open("rb") as file:
                found = parquet.read(file, columns)
            day = path.parent.name
            rows[name] += [(day, *row) for row in zip(*(found[c] for c in columns), strict=True)]
        rows[name].sort(key=str)
    return rows


@pytest.fixture(scope="module")
def whole(cohort, tmp_path_factory):
    out = tmp_path_factory.mktemp("whole")
    outcome = work(job(cohort, out))
    assert (outcome.state, outcome.pieces) == ("done", 1), outcome
    return tables(out)


def test_what_is_found_is_there(whole):
    """Twitches of both sensors, minutes of both days, units and quality."""
    assert {row[2] for row in whole["twitches"]} >= {"calf", "x"}
    assert {row[0] for row in whole["minutes"]} == {"day=2026-01-01", "day=2026-01-02"}
    assert sum(row[4] for row in whole["minutes"] if row[2] == "calf") == pytest.approx(40)
    assert sum(row[-2] for row in whole["minutes"]) == len(whole["twitches"]) > 10
    assert {(row[2], row[-1]) for row in whole["minutes"]} == {
        ("calf", "calf"), ("x", "acceleration"), ("y", "acceleration"), ("z", "acceleration"),
    }  # fmt: skip
    assert sum(row[-1] for row in whole["quality"]) == len(whole["twitches"])
    assert sum(row[4] for row in whole["units"]) == len(whole["twitches"])


def test_the_axes_of_an_accelerometer_are_one_site_of_a_person(cohort, tmp_path):
    """Seen as long as the muscle, with the twitches of all of them."""
    assert work(job(cohort, tmp_path)).state == "done"
    _, (subject,) = members(Place(str(cohort)))
    said = {each.site: each for each in summarise(subject, Place(str(cohort)), Place(str(tmp_path)), None).people}
    assert set(said) == {"calf", "acceleration"}
    assert said["acceleration"].hours == pytest.approx(said["calf"].hours, abs=10 / 3600)
    on_axes = [row for row in tables(tmp_path)["twitches"] if row[2] in "xyz"]
    assert said["acceleration"].twitches == len(on_axes) > 0


def people_of(folder, out):
    _, (subject,) = members(Place(str(folder)))
    said = summarise(subject, Place(str(folder)), Place(str(out)), None)
    return {each.site: each for each in said.people}, said.message


def test_recordings_of_the_same_time_are_all_counted(tmp_path):
    """Their dates may be all the same, or none; that they cannot be related to a log is said."""
    for name in "abc":
        recording(tmp_path / "in/sub-P01" / f"{name}.edf", seconds=400)
    (tmp_path / "in/sub-P01/triggers.csv").write_text("occurred_at,kind\n2026-01-01T23:59:50Z,caffeine\nxx,tea\n")
    found, _ = members(Place(str(tmp_path / "in")))
    for member in found:
        assert work(job(tmp_path / "in", tmp_path / "out", name=member.name)).state == "done"
    said, message = people_of(tmp_path / "in", tmp_path / "out")
    assert said["calf"].hours == pytest.approx(3 * 400 / 3600, rel=0.2)
    assert said["calf"].twitches == len([r for r in tables(tmp_path / "out")["twitches"] if r[2] == "calf"])
    assert "recordings are of the same time" in message
    assert "triggers.csv, line 3" in message


def test_a_recording_that_is_gone_counts_no_more(cohort, tmp_path):
    """And one whose table is damaged is made anew."""
    shutil.copytree(cohort, tmp_path / "in")
    assert work(job(tmp_path / "in", tmp_path / "out")).state == "done"
    before, _ = people_of(tmp_path / "in", tmp_path / "out")
    (tmp_path / "in/sub-P01/a.edf").rename(tmp_path / "in/sub-P01/b.edf")
    assert work(job(tmp_path / "in", tmp_path / "out")).state == "done"
    assert people_of(tmp_path / "in", tmp_path / "out") == (before, "")
    table = next((tmp_path / "out").glob("minutes/subject=P01/day=*/b*.parquet"))
    table.write_bytes(table.read_bytes()[:50])
    said, message = people_of(tmp_path / "in", tmp_path / "out")
    assert (said, message.endswith("Run the same again: it is made anew")) == ({}, True)
    assert work(job(tmp_path / "in", tmp_path / "out")).state == "done"
    assert people_of(tmp_path / "in", tmp_path / "out") == (before, "")


@pytest.mark.parametrize("piece_s", [10.0, 20.0])
def test_pieces_are_the_same_as_the_whole(cohort, whole, tmp_path, piece_s):
    """EMG and acceleration, every column of every table."""
    outcome = work(job(cohort, tmp_path, piece_s))
    assert outcome.pieces >= 2
    assert tables(tmp_path) == whole


def test_a_piece_that_is_done_is_not_done_again(cohort, whole, tmp_path):
    """After a crash among the tables, or before the mark, it goes on and is the same."""
    for point in (4, 8):
        out = tmp_path / str(point)
        crashing = replace(job(cohort, out, 10.0), out=_Crashing(str(out), point))
        with pytest.raises(KeyboardInterrupt):
            work(crashing)
        before = {path: path.read_bytes() for path in out.rglob("*.parquet")}
        marked = len(list(out.glob("marks/*/*.json")))
        outcome = work(job(cohort, out, 10.0))
        assert outcome.state == "done"
        assert outcome.pieces < 5 or not marked
        assert tables(out) == whole
        for path, content in before.items():
            assert path.read_bytes() == content
    assert work(job(cohort, out)).state == "already"
    assert not list(out.rglob("*.pickle"))


class _Crashing(Place):
    """A place at which the process dies at the nth file that is written."""

    __slots__ = ("left",)

    def __init__(self, url, left):
        super().__init__(url)
        object.__setattr__(self, "left", left)

    def new(self, name):
        object.__setattr__(self, "left", self.left - 1)
        if self.left <= 0:
            raise KeyboardInterrupt
        return super().new(name)


def test_a_file_that_changed_is_begun_anew(tmp_path):
    """What was made of it before is gone."""
    folder, out = tmp_path / "in", tmp_path / "out"
    recording(folder / "sub-P01" / "a.edf", 20, seed=1)
    assert work(job(folder, out, 10.0)).state == "done"
    recording(folder / "sub-P01" / "a.edf", 12, seed=2)
    assert work(job(folder, out, 10.0)).state == "done"
    assert sum(row[4] for row in tables(out)["minutes"] if row[2] == "calf") == pytest.approx(12)


@pytest.mark.parametrize("content", [b"", b"0" + b" " * 700, b"\x00" * 5000])
def test_a_broken_file_is_an_outcome(tmp_path, content):
    """One line, with what to do."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "b.edf").write_bytes(content)
    outcome = work(job(tmp_path / "in", tmp_path / "out"))
    assert outcome.state == "broken"
    assert "b.edf" in outcome.message
    assert "\n" not in outcome.message
    assert outcome.remedy


@pytest.mark.skipif(sys.platform != "linux", reason="names are any bytes on Linux alone")
def test_a_file_whose_name_is_no_text_is_to_be_renamed(tmp_path):
    recording(tmp_path / "in" / "a.edf").rename(tmp_path / "in" / os.fsdecode(b"a\xff.edf"))
    outcome = work(job(tmp_path / "in", tmp_path / "out"))
    assert (outcome.state, outcome.remedy) == ("broken", "Rename it")
    assert "its name is not UTF-8" in outcome.message


def test_a_full_disk_stops_the_run_and_leaves_what_was_done(cohort, whole, tmp_path):
    """Then, with room, it goes on and is the same."""
    with closing(SmallDisk(tmp_path / "disk")) as disk:
        disk.fill()
        out = disk.path / "out"
        outcome = work(job(cohort, out, 10.0))
        assert outcome.state == "stopped"
        assert "\n" not in outcome.message
        disk.free()
        assert work(job(cohort, out)).state == "done"
        assert tables(out) == whole


def test_a_store_without_raw_signal_gives_what_it_found(tmp_path):
    """Its twitches and minutes, as they are."""
    life = history(Person(days=2), 3)
    records = write_life(tmp_path / "in" / "sub-P07", life, 3)
    outcome = work(job(tmp_path / "in", tmp_path / "out"))
    assert outcome.state == "done"
    found = tables(tmp_path / "out")
    assert len(found["minutes"]) == sum(type(each).__name__ == "Minute" for _, each in records)
    assert len(found["twitches"]) == sum(type(each).__name__ == "Twitch" for _, each in records)
    assert {row[1] for row in found["minutes"]} == {"sub-P07#device1"}


def test_a_worker_of_another_version_does_nothing(cohort, tmp_path):
    """Results are of one version."""
    outcome = work(replace(job(cohort, tmp_path), version="0.0.0"))
    assert outcome.state == "stopped"
    assert "0.0.0" in outcome.message


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("sensor", [Sensor.EMG, Sensor.ACC])
def test_a_day_cut_by_the_hour_is_the_same_as_the_whole(sensor):
    """24 hours of each sensor; the detector is pickled and thrown away each hour."""
    rate_hz, minutes = (250.0 if sensor is Sensor.EMG else 100.0), 20
    arm = Arm(ArmSettings(channels=("calf", "FDI"), rate_hz=rate_hz, acc_rate_hz=rate_hz, visible=True), 7)
    length = round(minutes * 60 * rate_hz)
    values = arm.emg_uv(length) / 0.1 if sensor is Sensor.EMG else arm.acc_g(length) / 0.0001
    unit, scale = (Unit.MICROVOLT, 0.1) if sensor is Sensor.EMG else (Unit.G, 0.0001)
    counts = np.rint(values).astype(np.int16)
    stream = Stream("s", sensor, unit, scale, rate_hz, tuple(f"c{n}" for n in range(len(counts))))
    base = Timebase(0, 0, 1e9 / rate_hz)

    def listen(cut):
        ears, said = Listener((stream,), DetectorSettings()), []
        for repeat in range(24 * 60 // minutes):
            noise = np.rint(np.random.default_rng(repeat).normal(0, 3, counts.shape)).astype(np.int16)
            for start, stop in pairwise([*range(0, length, round(10 * rate_hz)), length]):
                part = counts[:, start:stop] + noise[:, start:stop]
                said += ears.feed(SampleBlock(stream, repeat * length + start, base, part))
            if cut and repeat % (60 // minutes) == 0:
                ears = pickle.loads(pickle.dumps(ears))
        said += [event for _, events in ears.finish() for event in events]
        return [repr(event) for event in said]

    uncut = listen(cut=False)
    assert len(uncut) > 24 * 3600 / 0.2 / 10
    assert listen(cut=True) == uncut
