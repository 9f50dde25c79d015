"""What was found as CSV and Parquet: every row, once, and the raw signal exactly."""

import csv
import json

import numpy as np
import pytest

from firmware_interface.codecs import Device
from firmware_interface.emulated.arm import ArmSettings
from firmware_interface.samples import Sensor, Stream, Unit
from monitor import parquet
from monitor.correlation.files import read_triggers
from monitor.raw import RawArchive
from monitor.simulate.lives import Person, history
from monitor.simulate.stores import entries_of, write_diary, write_life, write_signal
from monitor.store import Archive, Store
from monitor.tables import MINUTES, TWITCHES
from monitor.tally import Minute
from tests.test_cli import home, say  # noqa: F401

S = 10**9
EMG = Stream("emg", Sensor.EMG, Unit.MICROVOLT, 0.1, 500.0, ("calf",))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("life") / "data"
    life = history(Person(days=3), 4)
    write_life(folder, life, 4)
    write_diary(folder, entries_of(life.triggers), 2_000_000_000 * 10**9)
    return folder


def stored(folder):
    with Archive.open(folder) as archive:
        return (
            archive.twitches(0, 2**62),
            archive.minutes(0, 2**62),
            archive.contexts(0, 2**62),
            archive.gaps(0, 2**62),
        )


def test_csv_holds_every_row_once(home, capfd, folder, tmp_path):  # noqa: F811
    """Times are ISO 8601 in UTC; the diary's triggers can be read again."""
    code, out, _ = say(capfd, "export", "csv", tmp_path, "--data", folder, "--json")
    assert code == 0
    files = [json.loads(line)["file"].rpartition("/")[2] for line in out.splitlines()]
    assert files == [f"P01_{name}.csv" for name in ("twitches", "minutes", "contexts", "gaps", "triggers")]
    kept = stored(folder)
    for name, expected in zip(files, kept, strict=False):
        with (tmp_path / name).open(newline="") as file:
            assert len(list(csv.reader(file))) == len(expected) + 1, name
    with (tmp_path / "P01_twitches.csv").open(newline="") as file:
        first = next(csv.DictReader(file))
    assert (first["source"], first["channel"]) == ("device1", kept[0][0][1].channel)
    assert first["onset"].startswith("2026-01-0")
    assert first["onset"].endswith("Z")
    triggers, refused = read_triggers(tmp_path / "P01_triggers.csv")
    assert (len(triggers) > 5, refused) == (True, [])


def test_the_first_minute_goes_along(home, capfd, tmp_path):  # noqa: F811
    """Its device was introduced in the middle of it."""
    store = Store.open(tmp_path / "data")
    store.begin(now_ns=600 * S, version="", settings={})
    device = store.device(Device("band", "S-1", "demo", (EMG,)), "F0:5C:1A:00:00:01", 630 * S)
    store.write([(device, Minute("calf", 600 * S, 29.0, 29.0, 0))], 630 * S)
    store.close(660 * S)
    code, _, _ = say(capfd, "export", "csv", tmp_path / "out", "--data", tmp_path / "data")
    assert code == 0
    assert len((tmp_path / "out" / "P01_minutes.csv").read_text().splitlines()) == 2


def test_nobody_is_written_over_by_another(home, capfd, folder, tmp_path):  # noqa: F811
    """Without a study all are called P01."""
    write_life(tmp_path / "other", history(Person(days=1), 5), 5)
    for _ in range(2):
        assert say(capfd, "export", "csv", tmp_path / "out", "--data", folder)[0] == 0
    before = (tmp_path / "out" / "P01_twitches.csv").read_bytes()
    code, out, err = say(capfd, "export", "csv", tmp_path / "out", "--data", tmp_path / "other")
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert "another --subject" in err
    assert (tmp_path / "out" / "P01_twitches.csv").read_bytes() == before
    assert say(capfd, "export", "csv", tmp_path / "out", "--data", tmp_path / "other", "--subject", "P02")[0] == 0
    code, _, err = say(capfd, "export", "csv", tmp_path / "out", "--data", folder, "--subject", "../evil")
    assert (code, "is no pseudonym" in err) == (1, True)


def test_parquet_holds_the_same_and_the_signal(home, capfd, tmp_path):  # noqa: F811
    """Every sample that was kept with its index and time, and what its numbers mean."""
    pytest.importorskip("pyarrow")
    folder, out = tmp_path / "d", tmp_path / "out"
    arm = ArmSettings(channels=("calf",), rate_hz=250.0, twitches_per_min=40)
    write_signal(folder, arm, 2, 1_767_225_600 * 10**9, 20, [(5, 7)])
    assert say(capfd, "export", "parquet", out, "--data", folder)[0] == 0
    twitches, minutes, _, _ = stored(folder)
    for table, expected in ((TWITCHES, twitches), (MINUTES, minutes)):
        with (out / f"P01_{table.name}.parquet").open("rb") as file:
            found = parquet.read(file, list(table.columns))
        assert len(found["source"]) == len(expected)
    with (out / "P01_device1_emg_1.parquet").open("rb") as file:
        signal = parquet.read(file, ["index", "time_ns", "1 calf"])
    blocks = RawArchive(folder).window(1, "emg", 0, 2**62).blocks
    assert signal["1 calf"] == np.concatenate([block.counts[0] for block in blocks]).tolist()
    assert signal["index"] == [*range(5 * 250), *range(7 * 250, 20 * 250)]
    assert signal["time_ns"][0] == blocks[0].start_ns


def test_without_pyarrow_it_is_one_line(home, capfd, folder, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    code, _, err = say(capfd, "export", "parquet", tmp_path, "--data", folder)
    assert code == 1
    assert "pip install 'fasciwatch[cohort]'" in err
    assert not list(tmp_path.glob("*.part"))


def test_wrong_wishes_are_one_line(home, capfd, folder, tmp_path):  # noqa: F811
    """A device that is not there; nothing kept in that time."""
    code, _, err = say(capfd, "export", "edf", tmp_path, "--data", folder, "--device", "nobody")
    assert (code, len(err.splitlines())) == (1, 1)
    assert "Known here: band" in err
    code, out, err = say(capfd, "export", "edf", tmp_path, "--data", folder)
    assert (code, out, err) == (0, "", "nothing was kept in that time\n")
