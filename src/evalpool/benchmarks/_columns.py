"""Reads tables of any form into columns of plain values, with the name of each row for error messages."""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from evalpool._checks import is_real
from evalpool._json import plain
from evalpool.errors import BadArgument
from evalpool.tables._cells import cells_of_any_size, value_of

__all__ = ["Columns", "read_columns"]


class Columns(NamedTuple):
    """A table by columns.

    Attributes:
        values: column -> a plain value per row; None for an empty cell.
        rows: the name of each row, as ``"line 7 of grid.csv"``.
        source: the name of the table.
    """

    values: dict[str, list[Any]]
    rows: list[str]
    source: str

    def check(self, names: Iterable[str], what: str) -> None:
        """Raise `BadArgument` unless there are these columns."""
        for name in names:
            if name not in self.values:
                raise BadArgument(
                    f"{self.source} has no column {name!r} for {what}; it has {', '.join(map(repr, self.values))}."
                )

    def check_numbers(self, name: str, what: str, least: float, *, failures: bool = False) -> None:
        """Raise `BadArgument`, which names the row, unless this column has finite numbers of at least `least`.

        Args:
            failures: whether a text that begins with F is valid, too.
        """
        for value, row in zip(self.values[name], self.rows, strict=True):
            if failures and isinstance(value, str) and value.startswith("F"):
                continue
            if not is_real(value) or not math.isfinite(value) or value < least:
                wanted = f"a finite number{'' if least == -math.inf else f' of at least {least:g}'}"
                or_failure = ", or a text that begins with F for a failure" if failures else ""
                shown = "empty" if value is None else repr(value)
                raise BadArgument(f"{row}: {what} {name!r} is {shown}; it must be {wanted}{or_failure}.")


def read_columns(table: Any) -> Columns:
    """Read a `pandas.DataFrame`, the path of a CSV file, or dicts.

    Raises:
        BadArgument: it is none of these, or has no row.
    """
    if isinstance(table, (str, os.PathLike)):
        found = _of_csv(os.fspath(table))
    elif hasattr(table, "columns") and hasattr(table, "index"):
        found = _of_frame(table)
    elif isinstance(table, Iterable) and not isinstance(table, (Mapping, bytes)):
        found = _of_dicts(list(table))
    else:
        raise BadArgument(
            f"table is {table!r} of type {type(table).__name__}; give a pandas.DataFrame, the path of a CSV file, or "
            "a list with a dict for each row."
        )
    if not found.rows:
        raise BadArgument(f"{found.source} has no rows.")
    return found


def _of_csv(path: str) -> Columns:
    name = os.path.basename(path)
    try:
        with open(path, encoding="utf-8-sig", newline="") as file, cells_of_any_size():
            reader = csv.reader(file)
            header = next(reader, [])
            columns: dict[str, list[Any]] = {column: [] for column in header}
            if len(columns) < len(header):
                raise BadArgument(f"{path!r} has a column twice: {', '.join(map(repr, header))}.")
            rows = []
            for cells in reader:
                if not cells:
                    continue
                rows.append(f"line {reader.line_num} of {name}")
                if len(cells) != len(header):
                    raise BadArgument(f"{rows[-1]} has {len(cells)} cells; the first line has {len(header)}.")
                for values, cell in zip(columns.values(), cells, strict=True):
                    values.append(value_of(cell) if cell else None)
    except (FileNotFoundError, IsADirectoryError):
        raise BadArgument(f"there is no file {path!r} of a table.") from None
    except UnicodeDecodeError as error:
        raise BadArgument(f"{path!r} is not a text in UTF-8: {error}.") from None
    return Columns(columns, rows, name)


def _of_frame(frame: Any) -> Columns:
    columns: dict[str, list[Any]] = {}
    for place, name in enumerate(frame.columns):
        if str(name) in columns:
            raise BadArgument(f"The data frame has the column {str(name)!r} twice.")
        column = frame.iloc[:, place]
        empty = column.isna().tolist()
        values = column.tolist()
        columns[str(name)] = [None if gap else _scalar(value) for value, gap in zip(values, empty, strict=True)]
    return Columns(columns, [f"row {label!r}" for label in frame.index.tolist()], "the data frame")


def _of_dicts(table: list[Any]) -> Columns:
    columns: dict[str, list[Any]] = {}
    for number, row in enumerate(table):
        if not isinstance(row, Mapping):
            raise BadArgument(f"row {number} of the table is {row!r}; give a dict for each row.")
        named = {str(name): value for name, value in row.items()}
        for name in named:
            if name not in columns:
                columns[name] = [None] * number
        for name, values in columns.items():
            values.append(_scalar(named.get(name)))
    return Columns(columns, [f"row {number}" for number in range(len(table))], "the table")


def _scalar(value: Any) -> Any:
    return value if value is None or type(value) in (float, int, str, bool) else plain(value, lenient=True)
