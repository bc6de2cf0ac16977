"""Results for other tools: data frames and Parquet files, from what storages keep."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalpool._tables import check_path, table_of
from evalpool.errors import MissingExtra

if TYPE_CHECKING:
    from evalpool.models import JobRecord

__all__ = ["frame_of", "write_parquet"]


def frame_of(records: Iterable[JobRecord], job_type: str | None = None) -> Any:
    """A `pandas.DataFrame` with the columns of the tables; one row per job, in the order of their numbers.

    Raises:
        MissingExtra: pandas is not installed.
    """
    try:
        import pandas
    except ImportError as error:
        raise MissingExtra('Data frames need pandas: pip install "evalpool[pandas]".') from error
    columns, rows = table_of(records, job_type)
    return pandas.DataFrame(rows, columns=list(columns))


def write_parquet(path: str | os.PathLike[str], records: Iterable[JobRecord], job_type: str | None = None) -> Path:
    """Write the table to a Parquet file, atomically. A column of numbers and failures is written as text.

    Raises:
        MissingExtra: pandas or pyarrow is not installed.
        BadArgument: the directory is missing or not writable.
    """
    frame = frame_of(records, job_type)
    target = check_path(path)
    for name in frame.columns:
        kinds = {type(value) for value in frame[name] if value is not None and value == value}
        if len(kinds) > 1 and not kinds <= {int, float}:
            frame[name] = [None if value is None or value != value else str(value) for value in frame[name]]
    beside = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        frame.to_parquet(beside)
        os.replace(beside, target)
    except ImportError as error:
        raise MissingExtra('Parquet files need pyarrow: pip install "evalpool[pandas]".') from error
    finally:
        beside.unlink(missing_ok=True)
    return target
