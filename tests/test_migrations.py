"""The schema grows by whole steps, and from every earlier step to the same end."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from monitor.database import transaction
from monitor.migrations import MIGRATIONS, Migration, applied, migrate
from monitor.store import DATABASE, Archive, Store

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
