"""The schema grows by whole steps, and from every earlier step to the same end."""

from __future__ import annotations

import gzip
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from monitor.database import transaction
from monitor.migrations import MIGRATIONS, Migration, applied, migrate
from monitor.outbox import Outbox
from monitor.store import DATABASE, Archive, Store
from tests.test_store import CONTEXT, EVER, GAP, NOW, S

FIRST = MIGRATIONS[:1]
STEP = Migration("extra", "CREATE TABLE extra (x INTEGER) STRICT; INSERT INTO extra VALUES (1);")


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        yield connection


def schema(connection: sqlite3.Connection) -> list[tuple[str, ...]]:
    return connection.execute("SELECT type, name, sql FROM sqlite_schema ORDER BY name").fetchall()


def fresh_schema() -> list[tuple[str, ...]]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        migrate(connection)
        return schema(connection)


@pytest.mark.parametrize("earlier", range(len(MIGRATIONS) + 1))
def test_every_earlier_schema_comes_to_the_same_end(earlier: int, tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / DATABASE, isolation_level=None)) as connection:
        migrate(connection, MIGRATIONS[:earlier])
        assert len(applied(connection)) == earlier
    Store.open(tmp_path).close(0)
    with closing(sqlite3.connect(tmp_path / DATABASE)) as connection:
        assert applied(connection) == tuple(step.name for step in MIGRATIONS)
        assert schema(connection) == fresh_schema()
    with Archive.open(tmp_path) as archive:
        assert archive.sessions() == []


def test_nothing_runs_twice(connection: sqlite3.Connection) -> None:
    for _ in range(2):
        migrate(connection, (*FIRST, STEP))
    assert connection.execute("SELECT count(*) FROM extra").fetchall() == [(1,)]
    assert applied(connection) == (FIRST[0].name, "extra")


@pytest.mark.parametrize(
    "broken",
    [
        Migration("extra", STEP.sql + "INSERT INTO nowhere VALUES (1);"),
        Migration(FIRST[0].name, STEP.sql),  # all of it runs, but the row that says so cannot be kept
    ],
)
def test_a_step_that_fails_leaves_nothing(connection: sqlite3.Connection, broken: Migration) -> None:
    migrate(connection, FIRST)
    before = schema(connection)
    with pytest.raises(sqlite3.Error):
        migrate(connection, (*FIRST, broken))
    assert not connection.in_transaction
    assert schema(connection) == before
    assert applied(connection) == (FIRST[0].name,)
    migrate(connection, (*FIRST, STEP))
    assert applied(connection) == (FIRST[0].name, "extra")


def test_every_table_is_strict(connection: sqlite3.Connection) -> None:
    migrate(connection)
    tables = connection.execute("SELECT name, strict FROM pragma_table_list WHERE type = 'table'").fetchall()
    lax = {name for name, strict in tables if not strict and not name.startswith("sqlite_")}
    assert len(tables) > 8
    assert not lax


def test_names_are_for_ever_and_can_stand_in_sql() -> None:
    names = [step.name for step in MIGRATIONS]
    assert names == sorted(set(names))
    assert not any("'" in name for name in names)


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_transaction_is_all_or_nothing(connection: sqlite3.Connection, error: type[BaseException]) -> None:
    def insert(value: int, then: type[BaseException] | None) -> None:
        with transaction(connection):
            connection.execute("INSERT INTO t VALUES (?)", (value,))
            if then:
                raise then

    connection.execute("CREATE TABLE t (x)")
    insert(1, None)
    with pytest.raises(error):
        insert(2, error)
    assert not connection.in_transaction
    assert connection.execute("SELECT x FROM t").fetchall() == [(1,)]


# Each was written by the program of its time: `Store` at the last commit with that schema, three twitches, a
# context, a gap, a minute, a status and, from 0003 on, a link.
OLD = sorted((Path(__file__).parent / "schemas").glob("*.sqlite.gz"))


@pytest.mark.parametrize("old", OLD, ids=lambda path: path.name[:4])
def test_what_an_old_program_wrote_is_all_there_and_goes_out(old: Path, tmp_path: Path) -> None:
    (tmp_path / DATABASE).write_bytes(gzip.decompress(old.read_bytes()))
    with closing(sqlite3.connect(tmp_path / DATABASE)) as connection:
        assert len(applied(connection)) == int(old.name[:4])
    Store.open(tmp_path).close(0)
    with closing(sqlite3.connect(tmp_path / DATABASE)) as connection:
        assert schema(connection) == fresh_schema()
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    with Archive.open(tmp_path) as archive:
        (session,) = archive.sessions()
        assert session.settings == {"crowd": 3}
        assert [twitch.onset_ns for _, twitch in archive.twitches(*EVER)] == [NOW, NOW + S, NOW + 2 * S]
        assert [context for _, context in archive.contexts(*EVER)] == [CONTEXT]
        assert [gap for _, gap in archive.gaps(*EVER)] == [GAP]
        (_, minute), *_ = archive.minutes(*EVER)
        assert (minute.observed_s, minute.analysable_s, minute.twitches) == (60.0, 58.5, 3)
        assert archive.health(*EVER)[0].status.battery_percent == 77
        assert len(archive.links(*EVER)) == (old.name >= "0003")
    letters = Outbox(tmp_path, "laptop").after(0)
    kinds = Counter(type(letter.contents).__name__ for letter in letters)
    expected = {"Twitch": 3, "Context": 1, "Gap": 1, "Minute": 1, "Health": 1}
    assert kinds == expected | ({"Linked": 1} if old.name >= "0003" else {})


def test_every_released_schema_is_tried() -> None:
    assert [path.name[:4] for path in OLD] == [step.name[:4] for step in MIGRATIONS[:-1]]
