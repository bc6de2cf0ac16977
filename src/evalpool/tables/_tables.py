"""The columns of a table of jobs: which there are, in which order, and how a value becomes a cell.

One row per job, for CSV files, data frames and plots alike::

    p:<name> ...  |  objective            |  job_id  |  job_status  |  m:<key> ...
                  |  objective_0 ... k-1  |          |              |
                  |  o:  or  o:<key> ...  |          |              |
    configuration    result                  number     text           metadata without "_..."

Of what evalpool itself knows, ``m:stopped_early`` is there where there is a stopper, ``m:error``, the last line of the
error, from the first failure on, and ``m:priority``, ``m:job_timeout`` and ``m:tags`` where a job has another than the
default; a run-function's own metadata of these names stand in their place.

The result is one column for a search with one objective, k columns for k objectives; for general tasks one
column per key of a returned dict, or ``o:``. A job without a result fills every result column with its
text (``F_ValueError``), also those columns that are discovered later.

A file of a million rows must cost the millionth row what the first did: `TableWriter` appends in one
``write`` as long as the columns stay, and rewrites the file, atomically, when there are new ones.
"""

from __future__ import annotations

import contextlib
import csv
import errno
import io
import json
import os
import re
import sys
import weakref
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from evalpool._files import Taken, WriterLock, remove_drafts, replacing
from evalpool._json import plain
from evalpool.errors import BadArgument
from evalpool.jobs._options import NO_OPTIONS
from evalpool.outcomes import last_line

if TYPE_CHECKING:
    from evalpool.jobs._job import Job
    from evalpool.models import JobRecord

__all__ = [
    "Columns", "Row", "TableWriter", "check_path", "read_table", "replace_file", "row_of", "table_of", "value_of",
    "write_table",
]  # fmt: skip

ALWAYS = ("timestamp_submit", "timestamp_start", "timestamp_end", "timestamp_gather", "worker")
"""Metadata that has a column even where no job has a value."""


class Row(NamedTuple):
    """One job, sorted into the groups of columns.

    Attributes:
        configuration: with ``p:`` before each name.
        result: column -> value; None if the job has no result.
        failure: the text that stands for the result; None if there is one.
        number: n of the job's id.
        status: the name of its `JobStatus`.
        metadata: with ``m:`` before each key.
    """

    configuration: dict[str, Any]
    result: dict[str, Any] | None
    failure: str | None
    number: int
    status: str
    metadata: dict[str, Any]


def row_of(job: Job[Any] | JobRecord, job_type: str | None = None) -> Row:
    """Sort what is known about a job into columns; costs what the job holds.

    Args:
        job: a job or the record of one.
        job_type: ``"hpo"`` or ``"task"``; None takes what the job says, ``"hpo"`` for a record.
    """
    known: Any = job
    args: dict[str, Any] | None = getattr(known, "args", None)
    if args is None:
        args, metadata = known.configuration, _metadata_of_record(known)
        stopped_early = known.stopped_early if "stopped_early" in known.model_fields_set else None
    else:
        metadata, outcome = known.metadata, known._outcome
        stopped_early = None if outcome is None else outcome.stopped_early
    facts: dict[str, Any] = {}
    if stopped_early is not None:
        facts["stopped_early"] = stopped_early
    if known.kind is not None and (reason := last_line(known.error)):
        facts["error"] = reason
    options = known.options
    if options is not NO_OPTIONS:
        facts.update(options.chosen())
    if facts:
        metadata = {**facts, **metadata}
    task = (job_type or getattr(known, "job_type", "hpo")) == "task"
    result, failure = _result(known, task)
    return Row(
        {f"p:{key}": value for key, value in args.items()},
        result,
        failure,
        known.number,
        known.status.name,
        {f"m:{key}": value for key, value in metadata.items() if not key.startswith("_")},
    )


def _result(job: Any, task: bool) -> tuple[dict[str, Any] | None, str | None]:
    objective = job.objective
    if job.kind is not None:
        return None, str(objective)
    if not task:
        # A job that still runs has no objective yet: its cells stay empty.
        if isinstance(objective, (tuple, list)):
            return {f"objective_{i}": value for i, value in enumerate(objective)}, None
        return {"objective": objective}, None
    output = job.output if job.output is not None else objective
    if isinstance(output, dict):
        return {f"o:{key}": value for key, value in output.items()}, None
    return {"o:": output}, None


def _metadata_of_record(record: Any) -> dict[str, Any]:
    metadata = dict(record.metadata)
    for name in (*ALWAYS, "host", "pid"):
        value = getattr(record, name)
        if value is not None:
            metadata[name] = value
    return metadata


class Columns:
    """The columns of a table, learned from its rows."""

    def __init__(self) -> None:
        self._configuration: dict[str, None] = {}
        self._result: dict[str, None] = {}
        self._metadata: dict[str, None] = dict.fromkeys(f"m:{name}" for name in ALWAYS)
        self._task = False
        self.names: tuple[str, ...] = ()
        """In their order in the table; empty before the first row."""

    def learn(self, row: Row, task: bool = False) -> bool:
        """Add the columns of `row`; return whether the table's columns changed."""
        known = True
        # A failure says nothing about how many objectives there are: it has one column until a result does.
        groups = ((row.configuration, self._configuration), (row.result or {}, self._result))
        for given, columns in (*groups, (row.metadata, self._metadata)):
            if not given.keys() <= columns.keys():
                columns.update(dict.fromkeys(given))
                known = False
        if known and self.names:
            return False
        self._task = task
        names = (*self._configuration, *self.results, "job_id", "job_status", *self._metadata)
        changed, self.names = names != self.names, names
        return changed

    @property
    def results(self) -> tuple[str, ...]:
        """The columns of the result; numbered objectives in order, and not beside a single one."""
        if not self._result:
            return ("o:",) if self._task else ("objective",)
        if self._task:
            return tuple(self._result)
        numbered = [name for name in self._result if name != "objective"]
        return tuple(sorted(numbered, key=lambda name: int(name[10:]))) or ("objective",)

    def values(self, row: Row) -> dict[str, Any]:
        """Column -> value for one row that was learned; a column it says nothing about is missing."""
        if row.result is None:
            result = dict.fromkeys(self.results, row.failure)
        elif "objective" in row.result and "objective_0" in self._result:
            result = {"objective_0": row.result["objective"]}  # one number in a search with several objectives
        else:
            result = row.result
        return {
            **row.configuration,
            **result,
            "job_id": row.number,
            "job_status": row.status,
            **row.metadata,
        }


def _is_task(job: Any, job_type: str | None) -> bool:
    return (job_type or getattr(job, "job_type", "hpo")) == "task"


def table_of(
    jobs: Iterable[Job[Any] | JobRecord], job_type: str | None = None
) -> tuple[tuple[str, ...], list[dict[str, Any]]]:
    """Return the columns and one dict of values per job; a dict lacks the columns it says nothing about."""
    columns, rows = Columns(), []
    for job in jobs:
        row = row_of(job, job_type)
        columns.learn(row, _is_task(job, job_type))
        rows.append(row)
    return columns.names, [columns.values(row) for row in rows]


def write_table(
    path: str | os.PathLike[str], jobs: Iterable[Job[Any] | JobRecord], job_type: str | None = None
) -> Path:
    """Write all jobs to the CSV file `path`, atomically; return its absolute path.

    Raises:
        BadArgument: the directory is missing or not writable, or somebody is writing the file.
        OSError: the disk is full or failing; what stood in `path` before is still there.
    """
    target = check_path(path)
    names, rows = table_of(jobs, job_type)
    lines = (_line(cell(row.get(name)) for name in names) for row in rows)
    guard = WriterLock(str(target))
    _take(guard, target)
    try:
        replace_file(target, _line(names), lines)
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

    The file is whole after every `append`. A file that stands at `path` at the first append is kept beside
    it as ``<path>.old``. Not for several threads at once; a file has one writer: in this program from `open` or the
    first `append` on, and of all programs from `open` on, until `close`.

    Args:
        path: the file; its directory must exist.

    Raises:
        BadArgument: the directory is missing or not writable.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = check_path(path)
        self._columns = Columns()
        self._waiting: list[Row] = []
        self._begun = False
        self._stale = False  # the columns changed since the file's header was written
        self._rows = 0  # how many of the file's rows are certain
        self._certain = True  # no write was interrupted
        self._taken: tuple[weakref.ref[Any] | None, int] = (None, 0)  # the first of the last jobs, and how many
        self._guard = WriterLock(str(self.path))
        self._opened = False

    def open(self) -> None:
        """Be the file's only writer from now on.

        Raises:
            BadArgument: there is another one; the message names it.
        """
        _take(self._guard, self.path)
        self._opened = True

    def close(self) -> None:
        """Let another one write the file. Idempotent."""
        self._guard.release()
        self._opened = False

    def append(self, jobs: Iterable[Job[Any] | JobRecord], job_type: str | None = None) -> None:
        """Add one row per job; constant cost per row unless there are new columns.

        A call that was interrupted may be made again with the same jobs: each then has one row.

        Raises:
            BadArgument: somebody else writes the file.
            OSError: the disk is full or failing. The file holds what it held before, and the rows are
                written by the next call that can.
        """
        jobs = list(jobs)
        first, n = self._taken
        if jobs and not (first is not None and first() is jobs[0] and n == len(jobs)):
            rows = []
            for job in jobs:
                row = row_of(job, job_type)
                self._stale |= self._columns.learn(row, _is_task(job, job_type))
                rows.append(row)
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
        lines = []
        for row in self._waiting:
            values = self._columns.values(row)
            lines.append(_line(cell(values.get(name)) for name in names))
        # Who was interrupted does not know whether the rows are in the file, so the next one writes it anew.
        appends = self._certain and not self._stale
        self._certain = False
        if appends:
            try:
                _append(self.path, "".join(lines))
            except OSError as error:
                if error.errno not in (errno.ENOENT, errno.ELOOP):  # it is as it was
                    self._certain = True
                    raise
                appends, self._rows = False, 0  # somebody removed it, or put a link in its place: begin again
        if not appends:
            replace_file(self.path, _line(names), islice(self._old_lines(), self._rows), lines)
        self._rows, self._waiting, self._stale, self._certain = self._rows + len(lines), [], False, True

    def _old_lines(self) -> Iterator[str]:
        """The rows in the file, under the present columns."""
        names, results = self._columns.names, self._columns.results
        if not self.path.exists():
            return
        with open(self.path, encoding="utf-8", newline="") as file, _cells_of_any_size():
            reader = csv.DictReader(file)
            # All result columns of a row without a result hold the same text, so the first one tells.
            first = next((name for name in reader.fieldnames or () if name.startswith(("objective", "o:"))), "")
            for values in reader:
                if first and _is_failure(values, first):
                    values.update(dict.fromkeys(results, values[first]))
                elif first == "objective" and results[0] == "objective_0":
                    values["objective_0"] = values["objective"]
                yield _line(values.get(name) or "" for name in names)


def _is_failure(values: Mapping[str, str], column: str) -> bool:
    if column.startswith("objective"):
        return values[column].startswith("F")
    return values["job_status"] in ("FAILED", "CANCELLED")


# Files.


def check_path(path: str | os.PathLike[str]) -> Path:
    """Return the absolute path of a file that is about to be written; symbolic links resolved."""
    try:
        target = Path(path).expanduser().resolve()
    except TypeError:
        raise BadArgument(f"path is {path!r} of type {type(path).__name__}; give a file name.") from None
    directory = target.parent
    if not directory.is_dir():
        raise BadArgument(f"No directory {str(directory)!r} for {str(path)!r}; make it first.")
    if target.is_dir():
        raise BadArgument(f"{str(path)!r} is a directory; give a file in it, such as {str(target / 'results.csv')!r}.")
    if target.exists() and not target.is_file():
        raise BadArgument(f"{str(path)!r} is no regular file; give another name.")
    if not os.access(directory, os.W_OK):
        raise BadArgument(f"The directory {str(directory)!r} is not writable; choose another for {target.name!r}.")
    return target


def _append(path: Path, text: str) -> None:
    """Add `text` in one write, or leave the file as it was; FileNotFoundError if there is none."""
    data = text.encode("utf-8", "backslashreplace")
    # Not by a file object, which costs more than the write itself.
    file = os.open(path, os.O_WRONLY | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0))
    size = os.lseek(file, 0, os.SEEK_END)
    try:
        written = 0
        while written < len(data):  # a disk that fills up takes a part first, and raises then
            written += os.write(file, data[written:])
    except BaseException:
        os.ftruncate(file, size)
        raise
    finally:
        os.close(file)


def replace_file(path: Path, header: str, *parts: Iterable[str]) -> None:
    """Write header and lines to a new file and put it in the place of `path` in one step."""
    with replacing(path, sync=True) as raw:
        file = io.TextIOWrapper(raw, encoding="utf-8", errors="backslashreplace", newline="")
        file.write(header)
        for lines in parts:
            file.writelines(lines)
        file.flush()
        file.detach()


# Cells.

_DANGEROUS = tuple("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")
"""With these a spreadsheet runs a text: OWASP, "CSV Injection". The last four are full width."""

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\Z")
_QUOTED = re.compile(r'[",\r\n]')


def cell(value: Any) -> str:
    """The text that stands for a value; never raises, whatever a user's object does.

    Numbers are written so that they read back exactly; lists and dicts as JSON; None as nothing.
    """
    kind = type(value)
    if kind is float:
        return repr(value)
    if kind is str:
        return _escape(value)
    if value is None:
        return ""
    if kind is bool:
        return "True" if value else "False"
    try:
        if kind is int:
            return str(value)  # in here, for Python refuses to print more than 4 300 digits
        bare = plain(value, lenient=True)
        if type(bare) in (float, int, str, bool):
            return cell(bare)
        return _escape(json.dumps(bare))
    except Exception:  # noqa: BLE001  one odd value must not cost the table
        return f"<{kind.__qualname__}>"


def _escape(text: str) -> str:
    """Put an apostrophe before a text that a spreadsheet would run; `_unescape` takes it away.

    A text that has apostrophes before such a beginning gets one more, so that each reads back as it was.
    """
    if "\0" in text:
        text = text.replace("\0", "\\x00")  # csv readers refuse the whole file for it
    return "'" + text if _would_run(text) else text


def _unescape(text: str) -> str:
    return text[1:] if text.startswith("'") and _would_run(text) else text


def _would_run(text: str) -> bool:
    bare = text.lstrip("'")
    return bare.startswith(_DANGEROUS) and not _NUMBER.match(bare)


def _line(cells: Iterable[str]) -> str:
    # Not csv.writer: before Python 3.13 it leaves a lone carriage return unquoted, and readers stumble.
    return ",".join(['"' + text.replace('"', '""') + '"' if _QUOTED.search(text) else text for text in cells]) + "\n"


def read_table(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """Read a table that evalpool wrote, without pandas: one dict per row, empty cells left out.

    Numbers, booleans and escaped texts are what they were; a list or dict is its JSON text.

    Raises:
        BadArgument: no such file, or not a table of jobs.
    """
    try:
        with open(path, encoding="utf-8", newline="") as file, _cells_of_any_size():
            reader = csv.DictReader(file)
            if "job_id" not in (reader.fieldnames or ()):
                raise BadArgument(f"{os.fspath(path)!r} has no column job_id: it is no table of jobs.")
            return [
                {name: value_of(text) for name, text in row.items() if name and text not in (None, "")}
                for row in reader
            ]
    except FileNotFoundError:
        raise BadArgument(f"No file {os.fspath(path)!r}.") from None


def value_of(text: str) -> Any:
    """What the text of a cell stands for: a number, a boolean, or a text."""
    if text in ("True", "False"):
        return text == "True"
    if len(text) < 400 and _NUMBER.match(text):
        return float(text) if any(mark in text for mark in ".eE") else int(text)
    if text in ("nan", "inf", "-inf"):
        return float(text)
    return _unescape(text)


@contextlib.contextmanager
def _cells_of_any_size() -> Iterator[None]:
    """Lift csv's limit of 131 072 characters a cell, which is the process's, for a moment."""
    before = csv.field_size_limit(sys.maxsize)
    try:
        yield
    finally:
        csv.field_size_limit(before)
