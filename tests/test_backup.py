"""Backups: consistent while it is written, whole or not there, and the way back."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from monitor.alerts import said
from monitor.alerts.engine import Said, Verb
from monitor.backup import backed_up, restored
from monitor.database import DamagedError, StoreError
from monitor.diary import read_diary
from monitor.doctor import _data_verified
from monitor.raw import Raw, RawArchive
from monitor.store import DATABASE, Archive, DeadLetter, Delivered, Store
from tests.test_cli import objects, say
from tests.test_raw import ALL, DAY, NOON, seconds, write
from tests.test_store import TWITCH, kept, numbered, opened, same_number_of_twitches_everywhere, writer  # noqa: F401


@pytest.fixture
def folder(tmp_path):
    with opened(tmp_path / "data") as (store, device):
        store.write([(device, TWITCH)], 1)
    raw = Raw(tmp_path / "data", ALL)
    write(raw, seconds(NOON, 3))
    write(raw, seconds(NOON + DAY, 3))
    raw.close()
    return tmp_path / "data"


def raw_of(folder):
    return [block.counts.tobytes() for block in RawArchive(folder).window(1, "emg", 0, 1 << 62).blocks]


def test_there_and_back(folder, tmp_path) -> None:
    assert list(backed_up(folder, tmp_path / "copy")) == [
        DATABASE,
        "raw/2024-10-04.sqlite",
        "raw/2024-10-05.sqlite",
    ]
    list(restored(tmp_path / "copy", tmp_path / "back"))
    assert kept(tmp_path / "back") == kept(tmp_path / "copy") == kept(folder) != []
    assert raw_of(tmp_path / "back") == raw_of(folder) != []
    Store.open(tmp_path / "back").close(2)  # it can be written on
    assert (tmp_path / "back" / DATABASE).stat().st_mode & 0o077 == 0


def test_what_people_wrote_comes_along(folder, tmp_path, capfd) -> None:
    assert say(capfd, "trigger", "add", "caffeine", "--data", folder)[0] == 0
    said.say(folder, Said(0, 7, "no_data.x", Verb.ACKNOWLEDGE))
    assert {"diary.sqlite", "said.sqlite"} < set(backed_up(folder, tmp_path / "copy"))
    list(restored(tmp_path / "copy", tmp_path / "back"))
    assert read_diary(tmp_path / "back") == read_diary(folder) != []
    assert said.said_after(tmp_path / "back", 0) == said.said_after(folder, 0) != []
    (tmp_path / "back" / DATABASE).unlink()
    with pytest.raises(StoreError, match="holds data already"):
        list(restored(tmp_path / "copy", tmp_path / "back"))


def test_other_data_is_not_written_over(folder, tmp_path) -> None:
    """Another person's, what went on from a backup, a diary alone. What is no data is left alone."""
    (tmp_path / "diary").mkdir()
    (tmp_path / "diary" / "diary.sqlite").touch()
    list(backed_up(folder, tmp_path / "newer"))
    for name, now_ns in (("other", 7), ("newer", 1 << 61)):
        store = Store.open(tmp_path / name)
        store.begin(now_ns=now_ns, version="", settings={})
        store.close(now_ns)
    for name, words in (("other", "other data than"), ("newer", "newer data than"), ("diary", "is no backup")):
        before = contents(tmp_path / name)
        with pytest.raises(StoreError, match=words):
            list(backed_up(folder, tmp_path / name))
        assert contents(tmp_path / name) == before
    (tmp_path / "holiday").mkdir()
    (tmp_path / "holiday" / "photo.jpg").touch()
    assert DATABASE in list(backed_up(folder, tmp_path / "holiday"))


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.suffix == ".sqlite"}


def test_only_what_changed_is_copied_again(folder, tmp_path) -> None:
    list(backed_up(folder, tmp_path / "copy"))
    raw = Raw(folder, ALL)
    write(raw, seconds(NOON + DAY + 10**10, 3))
    assert list(backed_up(folder, tmp_path / "copy")) == [DATABASE, "raw/2024-10-05.sqlite"]
    raw.close()
    assert raw_of(tmp_path / "copy") == raw_of(folder)


def test_while_it_is_written(tmp_path, writer) -> None:  # noqa: F811 - pytest's way
    """A moment between two commits."""
    writer(tmp_path / "data", 0)
    for n in range(5):
        list(backed_up(tmp_path / "data", tmp_path / f"copy {n}"))
        with Archive.open(tmp_path / f"copy {n}") as archive:
            assert same_number_of_twitches_everywhere(archive) > 0


def test_nothing_is_overwritten(folder, tmp_path) -> None:
    with pytest.raises(StoreError, match="holds data already"):
        list(restored(folder, folder))
    with pytest.raises(StoreError, match="no backup in"):
        list(restored(tmp_path / "nowhere", tmp_path / "back"))
    with pytest.raises(StoreError, match="is the data itself"):
        list(backed_up(folder, folder))


def test_a_damaged_store_replaces_no_good_copy(folder, tmp_path) -> None:
    with opened(folder) as (store, device):
        for n in range(200):
            store.write(numbered(device, n), n)
    list(backed_up(folder, tmp_path / "copy"))
    before = kept(tmp_path / "copy")
    path = folder / DATABASE
    with path.open("r+b") as file:
        for page in range(3, path.stat().st_size // 4096, 2):
            file.seek(page * 4096)
            file.write(b"\xa5" * 4096)
    with pytest.raises(DamagedError):
        list(backed_up(folder, tmp_path / "copy"))
    assert kept(tmp_path / "copy") == before
    with pytest.raises(DamagedError):
        _data_verified(folder)


def test_the_doctor_reads_every_block(folder) -> None:
    assert _data_verified(folder) == "whole: the store, and 2 of 2 days of raw signal"
    with closing(sqlite3.connect(RawArchive(folder).days()[-1])) as connection, connection:
        connection.execute("UPDATE block SET data = zeroblob(9) WHERE rowid = 1")
    with pytest.raises(StoreError, match="1 blocks do not match"):
        _data_verified(folder)


def test_a_damaged_block_comes_along_and_is_said(folder, tmp_path) -> None:
    with closing(sqlite3.connect(RawArchive(folder).days()[-1])) as connection, connection:
        connection.execute("UPDATE block SET data = zeroblob(9) WHERE rowid = 1")
    list(backed_up(folder, tmp_path / "copy"))
    told = list(restored(tmp_path / "copy", tmp_path / "back"))
    assert any("1 blocks that were damaged before" in words for words in told)


# ---- The commands ----


def test_the_commands(folder, tmp_path, capfd) -> None:
    copy, back = tmp_path / "copy", tmp_path / "back"
    code, _, err = say(capfd, "backup", copy, "--data", folder)
    assert code == 0
    assert f"copied {DATABASE}" in err
    code, _, err = say(capfd, "restore", copy, "--data", back)
    assert code == 0
    assert "was verified" in err
    assert kept(back) == kept(folder)
    code, _, err = say(capfd, "restore", copy, "--data", back)
    assert code == 1
    assert "holds data already. Move it away" in err
    code, out, err = say(capfd, "sinks", "--data", back)
    assert (code, out) == (0, "")
    assert "nothing was sent anywhere yet" in err


def test_sinks_are_listed_with_what_they_refused(folder, capfd) -> None:
    with opened(folder) as (store, _):
        store.write([(0, Delivered("influxdb x y", 1)), (0, DeadLetter("influxdb x y", 1, "400: no"))], 2)
    (fields,) = objects(say(capfd, "sinks", "--data", folder, "--json")[1])
    assert fields.pop("waiting") >= 0
    expected = {"type": "sink", "name": "influxdb x y", "seq": 1, "refused": 1, "last_refusal": "400: no"}
    assert fields == expected
    assert "400: no" in say(capfd, "sinks", "--data", folder)[1]
