"""Results for other tools: data frames and Parquet files, from what storages keep."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterable
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalpool._files import replacing
from evalpool._json import to_json
from evalpool.errors import MissingExtra
from evalpool.tables._paths import check_path
from evalpool.tables._rows import table_of

if TYPE_CHECKING:
    from evalpool.models import JobRecord

__all__ = ["check_parquet", "frame_of", "write_parquet"]


def check_parquet() -> None:
    """Raise `MissingExtra` unless Parquet files can be written here; before anything expensive is done."""
    for package in ("pandas", "pyarrow"):
        try:
            importlib.import_module(package)
        except ImportError as error:
            raise MissingExtra.of(f"Parquet files need {package}", "pandas") from error


def frame_of(records: Iterable[JobRecord], job_type: str | None = None) -> Any:
    """A `pandas.DataFrame` with the columns of the tables; one row per job, in the order of their numbers.

    Raises:
        MissingExtra: pandas is not installed.
    """
    try:
        import pandas
    except ImportError as error:
        raise MissingExtra.of("Data frames need pandas", "pandas") from error
    columns, rows = table_of(records, job_type)
    # pandas keeps text as UTF-8, too, if pyarrow is there.
    values = [[_encodable(row.get(name)) for name in columns] for row in rows]
    names = _unlike(map(_encodable, columns))
    if not any(map(_is_beyond_floats, chain.from_iterable(values))):
        return pandas.DataFrame(values, columns=names)
    # pandas before version 3 makes floats of a column with gaps, and raises if a number is too large.
    frame = pandas.DataFrame(values, columns=names, dtype=object)
    for name, column in zip(names, zip(*values, strict=True), strict=True):
        if not any(map(_is_beyond_floats, column)):
            frame[name] = pandas.DataFrame([[value] for value in column])[0]
    return frame


def _is_beyond_floats(value: Any) -> bool:
    return type(value) is int and value.bit_length() > 1023


def write_parquet(path: str | os.PathLike[str], records: Iterable[JobRecord], job_type: str | None = None) -> Path:
    """Write the table to a Parquet file, atomically. A column of numbers and failures is written as text.

    Raises:
        MissingExtra: pandas or pyarrow is not installed.
        BadArgument: the directory is missing or not writable.
    """
    check_parquet()
    target = check_path(path)
    frame = frame_of(records, job_type)
    for name in frame.columns:
        values = [None if value is None or value != value else value for value in frame[name]]
        kinds = {type(value) for value in values if value is not None}
        if kinds & {dict, list, tuple}:  # as in the CSV files: containers are JSON
            frame[name] = [value if value is None or type(value) is str else to_json(value) for value in values]
        elif (len(kinds) > 1 and not kinds <= {int, float}) or any(
            type(value) is int and abs(value) >> 63 for value in values
        ):
            frame[name] = [None if value is None else str(value) for value in values]
    with replacing(target) as file:
        frame.to_parquet(file)
    return target


def _encodable(value: Any) -> Any:
    """A value as in the CSV files: halves of surrogate pairs, as in file names that are not UTF-8, become escapes."""
    if type(value) is not str or value.isascii():
        return value
    return value.encode("utf-8", "backslashreplace").decode("utf-8")


def _unlike(names: Iterable[str]) -> list[str]:
    """The names, made different from each other."""
    known: dict[str, None] = {}
    for name in names:
        while name in known:
            name += "_"
        known[name] = None
    return list(known)
