"""Tables of jobs as CSV files: writing one at once, writing one row by row, and reading one.

The millionth row must cost no more than the first: `TableWriter` appends with one ``write`` as long as the columns
stay the same, and rewrites the file, atomically, when there are new ones.
"""

from __future__ import annotations

import contextlib
import csv
import os
import weakref
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalpool._files import Taken, WriterLock, remove_drafts
from evalpool.errors import BadArgument
from evalpool.tables._cells import cells_of_any_size, line_of, line_of_values, value_of
from evalpool.tables._paths import GONE, append_text, check_path, replace_file
from evalpool.tables._rows import Columns, Row, Shape, is_task, row_of, table_of

if TYPE_CHECKING:
    from evalpool.jobs._job import Job
    from evalpool.models import JobRecord

__all__ = ["TableWriter", "read_table", "write_table"]


def write_table(
    path: str | os.PathLike[str], jobs: Iterable[Job[Any] | JobRecord], job_type: str | None = None
) -> Path:
    """Write all jobs to the CSV file `path`, atomically; return its absolute path.

    Raises:
        BadArgument: the directory is missing or not writable, or another writer is writing the file.
        OSError: the disk is full or failing; the old file at `path` is unchanged.
    """
    target = check_path(path)
    names, rows = table_of(jobs, job_type)
    lines = (line_of_values(map(row.get, names)) for row in rows)
    guard = WriterLock(str(target))
    _take(guard, target)
    try:
        replace_file(target, line_of(names), lines)
    finally:
        guard.release()
    return target


def _take(guard: WriterLock, path: Path) -> None:
    try:
        guard.take()
    except Taken as error:
        raise BadArgument(
            f"{str(path)!r} is being written by {error}: two writers would mix their rows. Give another file name, or "
            "close the first writer (its evaluator) before."
        ) from None


class TableWriter:
    """Appends rows of jobs to a CSV file.

    The file is complete after every `append`. A file that is already at `path` at the first append is kept as
    ``<path>.old``. Not for several threads at once. A file has one writer until `close`: in this program from `open` or
    the first `append` on, among all programs from `open` on.

    Args:
        path: the file; its directory must exist.

    Raises:
        BadArgument: the directory is missing or not writable.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = check_path(path)
        self._columns = Columns()
        self._waiting: list[tuple[Row, Shape]] = []
        self._begun = False
        self._header: tuple[str, ...] = ()  # the columns in the file
        self._rows = 0  # how many of the file's rows are certain
        self._size = 0  # its bytes after the last write
        self._certain = True  # no write was interrupted
        self._taken: tuple[weakref.ref[Any] | None, int] = (None, 0)  # first and number of jobs of the last `append`
        self._guard = WriterLock(str(self.path))
        self._opened = False

    @property
    def written(self) -> int:
        """How many rows the file has."""
        return self._rows

    @property
    def missing(self) -> int:
        """How many rows could not be written to the file yet."""
        return len(self._waiting)

    def open(self) -> None:
        """Become the file's only writer.

        Raises:
            BadArgument: there is another writer; the message names it.
        """
        _take(self._guard, self.path)
        self._opened = True

    def close(self) -> None:
        """Allow other writers to write the file. Idempotent."""
        self._guard.release()
        self._opened = False

    def append(self, jobs: Iterable[Job[Any] | JobRecord], job_type: str | None = None) -> None:
        """Add one row per job; constant cost per row unless there are new columns.

        A call that was interrupted may be made again with the same jobs: each then has one row.

        Raises:
            BadArgument: another writer writes the file.
            OSError: the disk is full or failing. The file is unchanged, and the next call that succeeds writes the
                rows.
        """
        jobs = list(jobs)
        first, n = self._taken
        if jobs and not (first is not None and first() is jobs[0] and n == len(jobs)):
            rows = []
            for job in jobs:
                row = row_of(job, job_type)
                rows.append((row, self._columns.learn(row, is_task(job, job_type))))
            self._waiting, self._taken = [*self._waiting, *rows], (weakref.ref(jobs[0]), len(jobs))
        if self._waiting:
            _take(self._guard, self.path)
            try:
                self._write()
            finally:
                if not self._opened:
                    self._guard.rest()

    def _write(self) -> None:
        if not self._begun:
            remove_drafts(self.path)
            with contextlib.suppress(FileNotFoundError):
                if self.path.stat().st_size:
                    os.replace(self.path, f"{self.path}.old")
            self._begun = True
        names = self._columns.names
        lines = [line_of_values(self._columns.cells(row, shape)) for row, shape in self._waiting]
        # After an interrupt it is unknown whether the rows are in the file, so the next call writes it anew.
        appends = self._certain and self._header == names
        self._certain = False
        size = None
        if appends:
            try:
                size = append_text(self.path, "".join(lines), self._size)
            except OSError as error:
                if error.errno not in GONE:
                    self._certain = True  # the file is unchanged
                    raise
        kept = self._rows
        if size is None:
            # Also if the file is gone: its directory may be gone for a while only, and come back with it.
            old = _Counted(islice(self._old_lines(), self._rows))
            replace_file(self.path, line_of(names), old, lines)
            kept, size = old.count, os.stat(self.path).st_size
        self._header = names
        self._rows, self._size, self._waiting, self._certain = kept + len(lines), size, [], True

    def _old_lines(self) -> Iterator[str]:
        """The rows in the file, under the present columns."""
        names, results = self._columns.names, self._columns.results
        try:
            opened = open(self.path, encoding="utf-8", errors="replace", newline="", opener=_itself)  # noqa: SIM115
        except OSError as error:
            if error.errno in GONE:
                return
            raise
        with opened as file, cells_of_any_size():
            reader = csv.DictReader(file)
            # All result columns of a row without a result hold the same text, so the first one is enough.
            first = next((name for name in reader.fieldnames or () if name.startswith(("objective", "o:"))), "")
            for values in reader:
                if first and _is_failure(values, first):
                    values.update(dict.fromkeys(results, values[first]))
                elif first == "objective" and results[0] == "objective_0":
                    values["objective_0"] = values["objective"]
                yield line_of(values.get(name) or "" for name in names)


def _itself(path: str, flags: int) -> int:
    """Open a file, and not the one that somebody's link in its place points to, nor wait for the writer of a pipe."""
    return os.open(path, flags | os.O_NONBLOCK | getattr(os, "O_NOFOLLOW", 0))


class _Counted:
    """Lines that are counted as they are taken."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._lines = lines
        self.count = 0

    def __iter__(self) -> Iterator[str]:
        for line in self._lines:
            self.count += 1
            yield line


def _is_failure(values: Mapping[str, str], column: str) -> bool:
    if column.startswith("objective"):
        return values[column].startswith("F")
    return values["job_status"] in ("FAILED", "CANCELLED")


def read_table(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """Read a table that evalpool wrote, without pandas: one dict per row, empty cells left out.

    Numbers, booleans and escaped texts have their original values; a list or dict is its JSON text.

    Raises:
        BadArgument: there is no such file, or it is not a table of jobs.
    """
    try:
        with open(path, encoding="utf-8", newline="") as file, cells_of_any_size():
            reader = csv.DictReader(file)
            if "job_id" not in (reader.fieldnames or ()):
                raise BadArgument(f"{os.fspath(path)!r} has no column job_id: it is not a table of jobs.")
            return [
                {name: value_of(text) for name, text in row.items() if name and text not in (None, "")}
                for row in reader
            ]
    except FileNotFoundError:
        raise BadArgument(f"There is no file {os.fspath(path)!r}.") from None
