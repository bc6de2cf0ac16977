"""``evalpool export``: the results as a file for other tools."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from evalpool._json import to_json
from evalpool.cli._stores import open_to_read, search_of
from evalpool.errors import BadArgument
from evalpool.tables._frames import check_parquet
from evalpool.tables._tables import check_path, replace_file

if TYPE_CHECKING:
    from evalpool.storage import Storage

__all__ = ["KINDS", "check_out", "export", "main"]

KINDS = (".csv", ".parquet", ".jsonl")


def main(arguments: argparse.Namespace) -> int:
    if arguments.out != "-":
        check_out(arguments.out)
    with open_to_read(arguments.store) as storage:
        search_id = search_of(storage, arguments.search_id)
        if arguments.out == "-":
            sys.stdout.writelines(_lines(storage, search_id))
        else:
            export(storage, search_id, arguments.out)
    return 0


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
        replace_file(check_path(path), "", _lines(storage, search_id))


def _lines(storage: Storage, search_id: str) -> Iterator[str]:
    for record in storage.results(search_id):
        yield to_json(record.model_dump()) + "\n"
