"""Reads tables of any form into columns of plain values, with the name of each row for error messages."""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from evalpool._checks import as_float, decimal_float, is_number, is_real, is_whole
from evalpool._json import plain
from evalpool._text import brief
from evalpool.errors import BadArgument
from evalpool.tables._cells import cells_of_any_size, value_of

__all__ = ["Columns", "is_frame", "read_columns"]

INDEX_NAMES = ("", "Unnamed: 0")
"""What the default index of a data frame is called in a CSV file, and by `pandas.read_csv`."""


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

    def make_keys(self, names: Iterable[str], what: str) -> None:
        """Make NaN in these columns an empty cell. A list, or a number beyond floats, is a `BadArgument`."""
        for name in names:
            values = self.values[name]
            for place, value in enumerate(values):
                if isinstance(value, (list, dict)):
                    raise BadArgument(
                        f"{self.rows[place]}: {what} {name!r} is {value!r}; give a number, a text, True or False in "
                        "each cell: a column for each item, or a text of them."
                    )
                if isinstance(value, float) and math.isnan(value):
                    values[place] = None
                elif isinstance(value, int) and math.isinf(as_float(value)):
                    raise BadArgument(
                        f"{self.rows[place]}: {what} {name!r} is {_shown(value)}; give a number up to 1e308, or a text."
                    )

    def check_numbers(self, name: str, what: str, least: float, *, failures: bool = False) -> None:
        """Raise `BadArgument`, which names the row, unless this column has finite numbers of at least `least`.

        Args:
            failures: whether a text that begins with F is valid, too.
        """
        for value, row in zip(self.values[name], self.rows, strict=True):
            if failures and isinstance(value, str) and value.startswith("F"):
                continue
            if not is_number(value) or value < least:
                wanted = f"a finite number{'' if least == -math.inf else f' of at least {least:g}'}"
                or_failure = ", or a text that begins with F for a failure" if failures else ""
                shown = "empty" if value is None else _shown(value)
                raise BadArgument(f"{row}: {what} {name!r} is {shown}; it must be {wanted}{or_failure}.")


def _shown(value: Any) -> str:
    return brief(value) if is_real(value) and not is_number(value) else repr(value)


def is_frame(table: Any) -> bool:
    """Whether it is a `pandas.DataFrame`, which is not imported for this."""
    return hasattr(table, "columns") and hasattr(table, "index")


def read_columns(table: Any) -> Columns:
    """Read a `pandas.DataFrame`, the path of a CSV file, or dicts.

    Named levels of a data frame's index are columns. The default index, as `to_csv` writes it, is not: a first column
    without a name that counts the rows from 0.

    Raises:
        BadArgument: it is none of these, has no row, or has another column without a name.
    """
    if isinstance(table, (str, os.PathLike)):
        found = _of_csv(os.fspath(table))
    elif is_frame(table):
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
    first = next(iter(found.values), None)
    if first in INDEX_NAMES and found.values[first] == list(range(len(found.rows))):
        del found.values[first]
    for nameless in INDEX_NAMES:
        if nameless in found.values:
            raise BadArgument(
                f"{found.source} has a column without a name, of {found.values[nameless][0]!r} and others, which does "
                "not count the rows from 0; name it, or write the table by to_csv(path, index=False)."
            )
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
    index = [(name, frame.index.get_level_values(place)) for place, name in enumerate(frame.index.names)]
    named = [(name, level) for name, level in index if name is not None]
    for name, column in (*named, *((name, frame.iloc[:, place]) for place, name in enumerate(frame.columns))):
        if str(name) in columns:
            what = " or level of its index" if named else ""
            raise BadArgument(f"The data frame has the column{what} {str(name)!r} twice.")
        columns[str(name)] = _values_of(column)
    return Columns(columns, [f"row {label!r}" for label in frame.index.tolist()], "the data frame")


def _values_of(column: Any) -> list[Any]:
    """The plain values of a column of a data frame, or of a level of its index."""
    empty, values = column.isna().tolist(), column.tolist()
    dtype = getattr(column.dtype, "numpy_dtype", column.dtype)
    if getattr(dtype, "kind", "") == "f" and dtype.itemsize < 8:  # tolist() made 0.10000000149011612 of 0.1
        values = [value if gap else dtype.type(value) for value, gap in zip(values, empty, strict=True)]
    return [None if gap else _scalar(value) for value, gap in zip(values, empty, strict=True)]


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
    if value is None or type(value) in (float, int, str, bool):
        return value
    return decimal_float(value) if is_real(value) and not is_whole(value) else plain(value, lenient=True)
