"""The jobs of a search as a file for other tools, in the form that its name says."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

from evalpool._json import to_json
from evalpool.errors import BadArgument
from evalpool.tables._frames import check_parquet
from evalpool.tables._paths import check_path, replace_file

if TYPE_CHECKING:
    from evalpool.storage import Storage

__all__ = ["KINDS", "check_out", "export", "lines"]

KINDS = (".csv", ".parquet", ".jsonl")


def check_out(path: str) -> None:
    """Raise `BadArgument` unless results can be written there; before anything expensive is done."""
    if os.path.splitext(path)[1].lower() not in KINDS:
        raise BadArgument(f"--out is {path!r}; give a file that ends with {', '.join(KINDS)}.")
    check_path(path)
    if path.lower().endswith(".parquet"):
        check_parquet()


def export(storage: Storage, search_id: str, path: str) -> None:
    """Write all jobs of a search, atomically, in the form that the name of the file says."""
    kind = os.path.splitext(path)[1].lower()
    if kind == ".csv":
        storage.to_csv(path, search_id)
    elif kind == ".parquet":
        storage.to_parquet(path, search_id)
    else:
        replace_file(check_path(path), "", lines(storage, search_id))


def lines(storage: Storage, search_id: str) -> Iterator[str]:
    """Each job as a line of JSON."""
    for record in storage.results(search_id):
        yield to_json(record.model_dump()) + "\n"
