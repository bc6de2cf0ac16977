"""The directory of a simulated run: an append-only log, and the column files that are made from it.

::

    mfhpo-simulator-info/<save_dir_name>/
      completions.jsonl        the settings; one line per completion, written when it is released; the end
      results.json             objective columns, cumtime, index[, configuration, fidelities, seed[, prev_fidel]]
                               [, actual_cumtime]
      simulated_cumtime.json   worker -> seconds of virtual time
      state_cache.json         configuration -> [runtime, cumtime, fidelity, seed] of each checkpoint
      timenow.json             before_sample, after_sample

Only the log is written during the run; the cost of a line does not grow with the log. The other files have the names
and shapes of mfhpo-simulator 1.2.1. They can be made from the log at any time, so nothing is lost if a coordinator
dies.
"""

from __future__ import annotations

import itertools
import json
import os
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from evalpool._files import replacing
from evalpool._json import from_json, to_json
from evalpool.errors import CorruptRecord, SimulationError
from evalpool.storage._codec import loads

__all__ = [
    "DIRECTORY",
    "RESULTS",
    "SAMPLES",
    "CompletionLog",
    "LogColumns",
    "LogReader",
    "Progress",
    "column_files",
    "completion",
    "how_it_ended",
    "publish",
    "read_columns",
    "write_atomically",
]

DIRECTORY = "mfhpo-simulator-info"
LOG = "completions.jsonl"
RESULTS = "results.json"
SAMPLES = "timenow.json"
FORMAT = 1
BLOCK = 128
"""Lines that are parsed at a time: fewer objects than make Python's garbage collector run for each block."""


def completion(
    *,
    job: int,
    worker: int,
    before: float,
    after: float,
    end: float,
    charged: float,
    wall: float,
    seed: int,
    failed: bool,
    text: bytes,
    actual: float | None = None,
    resumed: int | None = None,
    left: tuple[str, int, float] | None = None,
) -> bytes:
    """Return the line of one completion. It is formatted without a JSON library, because all callers wait meanwhile.

    Args:
        job, worker: their numbers.
        before, after: begin and end of its decision, in virtual seconds.
        end, charged: of its execution, in virtual seconds.
        wall: real seconds that its decision took.
        seed: the seed that it ran with.
        failed: whether it is a failure.
        text: what its caller reported: JSON, the inside of an object.
        actual: real seconds since the start of the run, if these are kept.
        resumed: the job whose checkpoint it continued, if any.
        left: the configuration's key, fidelity and total of the checkpoint that it leaves, if any.
    """
    line = (
        f'{{"job":{job},"worker":{worker},"before":{before!r},"after":{after!r},"end":{end!r},"charged":{charged!r},'
        f'"wall":{wall!r},"seed":{seed},"status":"{"FAILED" if failed else "DONE"}",'
    )
    if actual is not None:
        line += f'"actual":{actual!r},'
    if resumed is not None:
        line += f'"resumed":{resumed},'
    if left is not None:
        line += f'"left":{to_json(left)},'
    return line.encode() + text + b"}"


class CompletionLog:
    """Appends lines to the log, each with one write. Not thread-safe."""

    def __init__(self, directory: str, *, new: bool) -> None:
        flags = os.O_WRONLY | os.O_APPEND | (os.O_CREAT | os.O_EXCL if new else 0)
        self._file = os.open(os.path.join(directory, LOG), flags, 0o666)

    def write(self, line: bytes) -> None:
        """Append a line, given without its newline. Raises `OSError`, for example if the disk is full."""
        line += b"\n"
        written = os.write(self._file, line)
        while written < len(line):
            written += os.write(self._file, line[written:])

    def begin(self, settings: dict[str, Any], seed: int) -> None:
        header = {"format": FORMAT, "settings": settings, "seed": seed}
        self.write(to_json(header).encode())

    def end(self, reason: str, not_reported: list[dict[str, Any]], directory: str) -> None:
        """Write the end of the log. The column files are written before the log says that the run has ended.

        Args:
            reason: which limit ended the run.
            not_reported: jobs that had begun and were not completed.
            directory: of the run.
        """
        self.write(to_json({"not_reported": not_reported}).encode())
        publish(directory)
        self.write(to_json({"over": reason}).encode())

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


class Progress(NamedTuple):
    """What has been completed since some completion.

    Attributes:
        results: their columns in ``results.json``.
        decisions: the begin, end and worker of the decision of each.
        states: the content of ``state_cache.json`` as it is now; not to be changed.
        is_over: has the run ended?
    """

    results: dict[str, list[Any]]
    decisions: dict[str, list[Any]]
    states: dict[str, list[list[Any]]]
    is_over: bool


class LogColumns:
    """The contents of the log, as columns.

    Args:
        header: the first line of the log.

    Attributes:
        settings: of the run, as JSON.
        seed: the seeds of jobs derive from it.
        over: which limit ended the run; None if it has not ended.
    """

    def __init__(self, header: dict[str, Any]) -> None:
        if "settings" not in header:
            raise CorruptRecord(_NO_HEADER)
        self.settings: dict[str, Any] = header["settings"]
        self.seed: int = header["seed"]
        self.over: str | None = None
        self.results: dict[str, list[Any]] = {key: [] for key in (*self.settings["obj_keys"], "cumtime", "index")}
        if self.settings["store_config"]:
            self.results["seed"] = []
            if self.settings["continual_max_fidel"] is not None:
                self.results["prev_fidel"] = []
        if self.settings["store_actual_cumtime"]:
            self.results["actual_cumtime"] = []
        self._ended = dict.fromkeys(range(self.settings["n_workers"]), 0.0)
        self._obj_keys, self._runtime_key = self.settings["obj_keys"], self.settings["runtime_key"]
        self._more = list(self.results)[len(self._obj_keys) + 2 :]
        self._keeps_more = bool(self._more)
        self.states: dict[str, list[list[Any]]] = {}
        self._left_by: dict[int, tuple[str, list[Any]]] = {}
        self._samples: list[tuple[int, float, float, int]] = []

    def add(self, lines: Iterable[dict[str, Any]]) -> None:
        """Take the lines that follow."""
        for line in lines:
            if "over" in line:
                self.over = line["over"]
            elif "not_reported" in line:
                for job in line["not_reported"]:
                    self._samples.append((job["job"], job["before"], job["after"], job["worker"]))
                    self._resumed(job.get("resumed"))
            else:
                self._completed(line)

    @property
    def cumtimes(self) -> dict[str, float]:
        """The end of each worker's last completed evaluation."""
        return {str(worker): end for worker, end in self._ended.items()}

    @property
    def samples(self) -> dict[str, list[Any]]:
        """The begin, end and worker of each decision, in the order of submission."""
        return _decisions(sorted(self._samples))

    def after(self, number: int) -> Progress:
        """What was completed after the first `number` completions."""
        results = {key: values[number:] for key, values in self.results.items()}
        samples = self._samples[number : len(self.results["cumtime"])]  # behind them are those of no completion
        return Progress(results, _decisions(samples), self.states, self.over is not None)

    def _completed(self, line: dict[str, Any]) -> None:
        end, worker, values, results = line["end"], line["worker"], line["values"], self.results
        self._samples.append((line["job"], line["before"], line["after"], worker))
        self._ended[worker] = end
        results["cumtime"].append(end)
        results["index"].append(worker)
        failed = isinstance(values, str)
        for position, key in enumerate(self._obj_keys):
            if failed:
                value = values  # a failure fills every objective column with its text
            elif key == self._runtime_key:
                value = line["charged"]
            else:
                value = values[position]
            results[key].append(value)
        continued = self._resumed(line.get("resumed"))
        if self._keeps_more:
            self._keep_more(line, continued)
        if "left" in line:
            key, fidelity, total = line["left"]
            state = [total, end, fidelity, line["seed"]]
            self.states.setdefault(key, []).append(state)
            self._left_by[line["job"]] = (key, state)

    def _keep_more(self, line: dict[str, Any], continued: int) -> None:
        more: dict[str, Any] = {}
        if self.settings["store_config"]:
            more = {**line.get("config", {}), **(line.get("fidels") or {}), "seed": line["seed"]}
            if self.settings["continual_max_fidel"] is not None:
                more["prev_fidel"] = continued
        if self.settings["store_actual_cumtime"]:
            more["actual_cumtime"] = line["actual"]
        for key in more:
            if key not in self.results:  # earlier completions do not have it
                self._more.append(key)
                self.results[key] = [None] * (len(self.results["cumtime"]) - 1)
        for key in self._more:
            self.results[key].append(more.get(key))

    def _resumed(self, job: int | None) -> int:
        """Remove the checkpoint that this job left, because another job resumed it. Return its fidelity, or 0."""
        left = self._left_by.pop(job, None) if job is not None else None
        if left is None:
            return 0
        key, state = left
        self.states[key].remove(state)
        if not self.states[key]:
            del self.states[key]
        fidelity: int = state[2]
        return fidelity


def _decisions(samples: list[tuple[int, float, float, int]]) -> dict[str, list[Any]]:
    return {
        "before_sample": [before for _, before, _, _ in samples],
        "after_sample": [after for _, _, after, _ in samples],
        "worker_index": [worker for *_, worker in samples],
    }


_NO_HEADER = f"The log {LOG} has no first line with the settings of the run."


class LogReader:
    """Reads a log that grows; each time only what is new. Thread-safe; a copy in another process reads it anew."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._size = self._number = 0  # bytes and lines that have been read
        self._columns: LogColumns | None = None
        self._lock = threading.Lock()

    def after(self, number: int) -> Progress:
        """What was completed after the first `number` completions. Raises what `columns` does."""
        with self._lock:
            return self._read().after(number)

    def columns(self) -> LogColumns:
        """The whole log, as far as it has been written.

        Raises:
            SimulationError: there is no log.
            CorruptRecord: the file is not a valid log.
        """
        with self._lock:
            return self._read()

    def _read(self) -> LogColumns:
        path = Path(self._directory, LOG)
        try:
            file = path.open("rb")
        except FileNotFoundError:
            raise SimulationError(f"No run has begun in {self._directory}: it has no {LOG}.") from None
        with file:
            file.seek(self._size)
            is_complete = True
            while is_complete and (lines := list(itertools.islice(file, BLOCK))):
                is_complete = lines[-1].endswith(b"\n")
                if not is_complete:
                    lines.pop()  # it is being written, or its writer died
                self._take(lines, path)
        if self._columns is None:
            raise CorruptRecord(_NO_HEADER)
        return self._columns

    def _take(self, lines: list[bytes], path: Path) -> None:
        values = _values(lines, self._number, path)
        if self._columns is None and values:
            self._columns = LogColumns(values.pop(0))
        if self._columns is not None:
            self._columns.add(values)
        self._number += len(lines)
        self._size += sum(map(len, lines))

    def __reduce__(self) -> tuple[Any, ...]:
        return LogReader, (self._directory,)


def read_columns(directory: str) -> LogColumns:
    """Read the log, as far as it has been written. Costs its size. Raises what `LogReader.columns` does."""
    return LogReader(directory).columns()


def _values(lines: list[bytes], number: int, path: Path) -> list[dict[str, Any]]:
    try:
        values: list[Any] = loads(b"[" + b",".join(lines) + b"]")  # many at once, for speed
    except ValueError:
        values = []
    if len(values) == len(lines) and all(isinstance(value, dict) for value in values):
        return values
    for line in lines:
        number += 1
        try:
            sound = isinstance(from_json(line), dict)
        except ValueError:
            sound = False
        if not sound:
            raise CorruptRecord(f"Line {number} of {path} is not a valid record: {line[:80]!r}.")
    raise CorruptRecord(f"{path} is not a valid log of a simulated run.")


def how_it_ended(directory: str) -> str | None:
    """Return which limit ended the run; None if it has not ended. Reads only the last line of the log."""
    try:
        with open(os.path.join(directory, LOG), "rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 256))
            last = file.read().splitlines(keepends=True)[-1:]
    except FileNotFoundError:
        return None
    if not last or not last[0].startswith(b'{"over":') or not last[0].endswith(b"\n"):
        return None
    over: str = from_json(last[0])["over"]
    return over


def column_files(directory: str) -> dict[str, dict[str, Any]]:
    """Return the content of the four column files by name, from the log as far as it has been written.

    Of each decision it has the worker, too, which the file does not name.
    """
    columns = read_columns(directory)
    return {
        "simulated_cumtime.json": columns.cumtimes,
        "state_cache.json": columns.states,
        SAMPLES: columns.samples,
        RESULTS: columns.results,
    }


def publish(directory: str) -> None:
    """Write the four column files from the log, each atomically."""
    contents = column_files(directory)
    del contents[SAMPLES]["worker_index"]
    for name, content in contents.items():
        # NaN is written as Python and ujson do, because the programs that read these files expect that.
        write_atomically(os.path.join(directory, name), json.dumps(content).encode())


def write_atomically(path: str, content: bytes, mode: int = 0o666) -> None:
    """Replace a file's content; a reader sees either the old or the new one. Permissions as those of `open`."""
    with replacing(path, mode) as file:
        file.write(content)
