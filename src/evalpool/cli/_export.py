"""The jobs of a search as a file for other tools, in the form that its name says."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from evalpool._json import to_json
from evalpool.errors import BadArgument
from evalpool.tables._frames import check_parquet, write_parquet
from evalpool.tables._paths import check_path, replace_file
from evalpool.tables._tables import write_table

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


def export(storage: Storage, search_id: str, path: str, tags: Sequence[str] = ()) -> None:
    """Write the jobs of a search that have these tags, atomically, in the form that the name of the file says."""
    kind = os.path.splitext(path)[1].lower()
    if kind == ".jsonl":
        replace_file(check_path(path), "", lines(storage, search_id, tags))
        return
    records, job_type = storage._table(search_id, None)
    write = write_table if kind == ".csv" else write_parquet
    write(path, (record for record in records if record.options.is_tagged(tags)), job_type)


def lines(storage: Storage, search_id: str, tags: Sequence[str] = ()) -> Iterator[str]:
    """Each job that has these tags as a line of JSON."""
    for record in storage.results(search_id):
        if record.options.is_tagged(tags):
            yield to_json(record.model_dump()) + "\n"
