"""Parquet, through pyarrow, which comes with the extra `cohort`.

Rule: what is written depends on its rows alone, so that a piece that is done twice gives the same file.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from firmware_interface.errors import Fault
from monitor.tables import Row, Table


class ParquetError(Fault):
    """pyarrow is missing, or a file is not what it should be."""


def _arrow() -> Any:  # noqa: ANN401 - pyarrow has no types
    try:
        import pyarrow as pa  # noqa: PLC0415 - an extra, and slow to load
        import pyarrow.parquet  # noqa: PLC0415
    except ImportError:
        raise ParquetError(
            "Parquet needs pyarrow, which is not installed", "Run: pip install 'fasciwatch[cohort]'"
        ) from None
    return pa


def _schema(pa: Any, table: Table) -> Any:  # noqa: ANN401
    kinds = {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_()}
    return pa.schema([(name, kinds[kind]) for name, kind in table.columns.items()])


def write(file: IO[bytes], table: Table, batches: Iterable[Sequence[Row]]) -> None:
    """Write rows, some at a time; memory holds one batch.

    Args:
        file: open for writing.
        table: what the rows are.
        batches: each a row group; empty ones are left out.
    """
    pa = _arrow()
    schema = _schema(pa, table)
    with pa.parquet.ParquetWriter(file, schema, compression="zstd") as writer:
        for rows in batches:
            if rows:
                columns = zip(*rows, strict=True)
                arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
                writer.write_table(pa.Table.from_arrays(arrays, schema=schema))


@contextmanager
def signal_writer(file: IO[bytes], columns: Mapping[str, str], said: Mapping[str, str]) -> Iterator[Any]:
    """A function that writes columns of numbers, some at a time.

    Args:
        file: open for writing.
        columns: name -> numpy type.
        said: what goes with the file, as its metadata.
    """
    pa = _arrow()
    schema = pa.schema([(name, pa.from_numpy_dtype(np.dtype(kind))) for name, kind in columns.items()])
    with pa.parquet.ParquetWriter(file, schema.with_metadata(dict(said)), compression="zstd") as writer:

        def put(arrays: Sequence[NDArray[Any]]) -> None:
            writer.write_table(pa.Table.from_arrays([pa.array(each) for each in arrays], schema=writer.schema))

        yield put


def read(file: IO[bytes], columns: Sequence[str]) -> dict[str, list[Any]]:
    """Columns of a file, whole.

    Raises:
        ParquetError: it is damaged.
    """
    pa = _arrow()
    try:
        found = pa.parquet.read_table(file, columns=list(columns))
    except (pa.ArrowException, OSError) as error:
        raise ParquetError(f"a table cannot be read: {error}", "Remove it and run the cohort again") from error
    return {name: found.column(name).to_pylist() for name in columns}
