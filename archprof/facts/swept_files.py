"""Sweeps in files: CSV by Python alone, Parquet by pyarrow. Read by the names of the columns, written whole."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from archprof import files
from archprof.errors import ArchprofError, UsageError
from archprof.facts.swept import COLUMNS, SweptFileError, SweptRow, column_types, read_row
from archprof.wording import guard_formula, read_guarded

SWEPT_SUFFIXES = (".parquet", ".csv")

MOST_BYTES = 2**28
"""Of a sweep, which is read whole: some 300,000 rows."""

MOST_INT64 = 2**63 - 1

MOST_CELLS = 2**25

csv.field_size_limit(2**27)


def is_swept_path(name: object) -> bool:
    """Whether a name is that of a file which a sweep is written to."""
    return isinstance(name, str | Path) and Path(name).suffix in SWEPT_SUFFIXES


def check_swept_path(path: str | Path) -> Path:
    """The path, if a sweep can be written there.

    Raises:
        UsageError: its suffix is another.
        ArchprofError: it cannot be written, or what writes it is not installed.
    """
    if not is_swept_path(path):
        raise UsageError(
            f"The suffix of {path} names no format of a sweep.", f"Suffixes: {', '.join(SWEPT_SUFFIXES)}.",
            "Tables to read are printed: --format md",
        )  # fmt: skip
    if Path(path).suffix == ".parquet":
        import_pyarrow()
    return files.check_writable(path)


def import_pyarrow() -> Any:
    """pyarrow with its Parquet; `ArchprofError` says how to get it."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise ArchprofError(
            f"Parquet needs pyarrow, which cannot be imported: {error}.", "A .csv file needs nothing more.",
            "Try: pip install 'archprof[sweep]'",
        ) from error  # fmt: skip
    return pyarrow


def read_swept(path: str | Path) -> list[SweptRow]:
    """The rows of a file, each key once.

    Raises:
        SweptFileError: it holds no sweep, or a value that no sweep has.
        ArchprofError: it cannot be read.
    """
    records = (_read_parquet if Path(path).suffix == ".parquet" else _read_csv)(Path(path))
    rows: dict[str, SweptRow] = {}
    for number, record in enumerate(records, 1):
        try:
            row = read_row(record)
        except SweptFileError as error:
            raise SweptFileError(f"Row {number} of {path} cannot be read: {error.given}.") from None
        rows.setdefault(row.key, row)
    return list(rows.values())


def _read_csv(path: Path) -> list[dict[str, Any]]:
    lines = csv.DictReader(io.StringIO(files.read_text(path, MOST_BYTES), newline=""), strict=True)
    try:
        _check_columns(path, lines.fieldnames or ())
        records = list(lines)
    except csv.Error as error:
        raise SweptFileError(f"{path} cannot be read as CSV: {error}.") from error
    for number, record in enumerate(records, 1):
        if None in record or None in record.values():
            raise SweptFileError(f"Row {number} of {path} has more or fewer fields than the head.")
    return [{name: read_guarded(cell) for name, cell in record.items()} for record in records]


def _read_parquet(path: Path) -> list[dict[str, Any]]:
    pyarrow = import_pyarrow()
    try:
        files.refuse_pipe(path)
        with path.open("rb") as file:
            stored = pyarrow.parquet.ParquetFile(file)
            _check_size(path, stored.metadata)
            table = stored.read()
        _check_columns(path, table.column_names)
        return [dict(record) for record in table.to_pylist()]  # of which texts are decoded only now
    except (OSError, ValueError, pyarrow.ArrowException) as error:
        words = str(error).partition("\n")[0]
        raise SweptFileError(f"{path} cannot be read as Parquet: {words.rstrip('.')}.") from error


def _check_size(path: Path, metadata: Any) -> None:
    """Raise what is too large to be read, also where a few bytes stand for very many cells."""
    large = sum(metadata.row_group(at).total_byte_size for at in range(metadata.num_row_groups)) > MOST_BYTES
    if large or metadata.num_rows * metadata.num_columns > MOST_CELLS:
        raise SweptFileError(f"{path} has more than {MOST_BYTES >> 20} MiB or {MOST_CELLS:,} cells.")


def _check_columns(path: Path, names: Sequence[str]) -> None:
    lacking = [name for name in ("model", "batch", "mode", "status", "key") if name not in names]
    if lacking:
        raise SweptFileError(
            f"{path} holds no sweep: it has no column {lacking[0]}.", "archprof sweep … -o writes one.",
            "As an output, name another file.",
        )  # fmt: skip


def write_swept(path: str | Path, rows: Iterable[SweptRow]) -> None:
    """Write the rows, whole or not at all; `ArchprofError` if it cannot be."""
    records = [_make_writable(row.to_record()) for row in rows]
    names = list(dict.fromkeys([*COLUMNS, *(name for record in records for name in record)]))
    render = _render_parquet if Path(path).suffix == ".parquet" else _render_csv
    files.write_whole(path, render(names, records))


def _make_writable(record: Mapping[str, Any]) -> dict[str, Any]:
    """Texts that UTF-8 has no bytes for are spelled out."""
    return {
        name: value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value
        for name, value in record.items()
    }


def _render_csv(names: Sequence[str], records: Sequence[Mapping[str, Any]]) -> str:
    out = io.StringIO()
    plain, quoted = (csv.writer(out, lineterminator="\n", quoting=way) for way in (csv.QUOTE_MINIMAL, csv.QUOTE_ALL))
    plain.writerow(names)
    for record in records:
        values = [record.get(name) for name in names]
        cells = [str(value).lower() if isinstance(value, bool) else _guard(value) for value in values]
        returns = any(isinstance(cell, str) and "\r" in cell for cell in cells)  # which csv does not quote by itself
        (quoted if returns else plain).writerow(cells)
    return out.getvalue()


def _guard(value: Any) -> Any:
    return guard_formula(value) if isinstance(value, str) else value


def _render_parquet(names: Sequence[str], records: Sequence[Mapping[str, Any]]) -> bytes:
    pyarrow = import_pyarrow()
    columns = {name: [record.get(name) for record in records] for name in names}
    types = column_types()
    arrays = {
        name: pyarrow.array(values, _choose_type(pyarrow, types[name][0], values) if name in types else None)
        for name, values in columns.items()
    }
    out = pyarrow.BufferOutputStream()
    pyarrow.parquet.write_table(pyarrow.table(arrays), out)
    return bytes(out.getvalue())


def _choose_type(pyarrow: Any, kind: type, values: Sequence[Any]) -> Any:
    """The column's type; a count that 64 bits cannot hold takes 38 digits."""
    if kind is int:
        large = any(value is not None and abs(value) > MOST_INT64 for value in values)
        return pyarrow.decimal128(38, 0) if large else pyarrow.int64()
    return {float: pyarrow.float64(), bool: pyarrow.bool_(), str: pyarrow.string()}[kind]
