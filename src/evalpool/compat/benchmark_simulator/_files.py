"""The files of a run as mfhpo-simulator names and shapes them, made of those that the core keeps below them.

::

    mfhpo-simulator-info/<save_dir_name>/
      results.json             objective columns, cumtime, worker_index, ...
      sampled_time.json        before_sample, after_sample, worker_index
      simulated_cumtime.json   as in the core
      state_cache.json         as in the core
      timenow.json             as in the core, and in release 1.2.1
      evalpool/                the core's own: the log, and its files at the end
        written.json           where the next values of each column go; whoever writes has a lock on it

The core's are in a directory of their own, for a column has another name here.

A call adds its values in place, so that it costs the same after thousands of calls: while the run goes on, there are
blanks behind the last value of each column. Where they are used up, the file is replaced by one with twice the room.
At the end, all files are replaced by those without blanks. The states that may be continued come and go, so their file
is replaced after a number of calls that grows with it.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import threading
from collections.abc import Iterator
from typing import IO, Any, NamedTuple

from evalpool.compat.benchmark_simulator._constants import _SharedDataFileNames as Files
from evalpool.simulation import ObjectiveFuncWrapper

__all__ = ["begin", "log_size", "publish", "read"]

LOG = "completions.jsonl"
WRITTEN = "written.json"
TIMENOW = "timenow.json"
SPARE = 1 << 10
"""Blanks behind a column that has no values yet."""
ENTRY = 40
"""Characters for the time of one worker: its number, and a float of up to 24 characters."""
STATES_A_CALL = 16
"""How many states are written again for each call, on average."""

Columns = dict[str, dict[str, list[Any]]]
"""File -> column -> values."""


class Written(NamedTuple):
    """What the files hold.

    Attributes:
        rows: so many completions.
        is_over: nothing will follow.
        columns: file -> column -> begin of its values, their length, and the room that they have.
        states: after how many completions the states were written, and how many.
    """

    rows: int = 0
    is_over: bool = False
    columns: dict[str, dict[str, list[int]]] = {}  # noqa: RUF012  never changed
    states: tuple[int, int] = (0, 0)


def begin(directory: str) -> None:
    """The files exist from the start; those of a run that has begun stay as they are."""
    os.makedirs(directory, exist_ok=True)
    for name in (*(file.value for file in Files), TIMENOW):
        with contextlib.suppress(FileExistsError), open(os.path.join(directory, name), "x") as file:
            file.write("{}")


def log_size(core: str) -> int:
    """How much has happened in the run whose directory in the core is this; 0 before its begin."""
    try:
        return os.path.getsize(os.path.join(core, LOG))
    except FileNotFoundError:
        return 0


def publish(directory: str, core: str, wrapper: ObjectiveFuncWrapper, *, whole: bool = False) -> None:
    """Bring the files up to date. Costs what is new.

    Args:
        directory: where they are.
        core: the directory of the run in the core.
        wrapper: of the run.
        whole: write the files anew, with decisions in the order in which they were made. Costs what there is to write.
    """
    with _locked(core) as file:
        if file is None:
            return
        written = _load(file)
        if written.is_over:
            return
        new = wrapper.completed_after(written.rows)
        added = None
        if not (whole or new.is_over):
            added = _added(directory, written, _named(new.results, new.decisions), new.states)
        if added is None:
            _store(file, Written())  # should this process be killed now, the next one writes them anew
            added = _replaced(directory, wrapper.column_files(), new.is_over)
        _store(file, added)


def read(path: str) -> dict[str, list[Any]]:
    with open(path, encoding="utf-8") as file:
        content: dict[str, list[Any]] = json.load(file)
    return content


@contextlib.contextmanager
def _locked(core: str) -> Iterator[IO[bytes] | None]:
    """The file that says what is written, while nobody else writes; None where the run's files are being removed."""
    try:
        descriptor = os.open(os.path.join(core, WRITTEN), os.O_RDWR | os.O_CREAT, 0o666)
    except FileNotFoundError:
        yield None
        return
    with open(descriptor, "r+b") as file:  # its end unlocks it
        fcntl.flock(file, fcntl.LOCK_EX)
        yield file


def _load(file: IO[bytes]) -> Written:
    try:
        return Written(*json.loads(file.read()))
    except ValueError:  # empty, before the first call; or cut off, where the disk was full
        return Written()


def _store(file: IO[bytes], written: Written) -> None:
    file.seek(0)
    file.write(json.dumps(written).encode())
    file.truncate()
    file.flush()


def _named(results: dict[str, list[Any]], decisions: dict[str, list[Any]]) -> Columns:
    """Columns of the core by the files and names of later releases."""
    results = dict(results)
    results["worker_index"] = results.pop("index")
    begins_and_ends = {key: decisions[key] for key in ("before_sample", "after_sample")}
    return {Files.result.value: results, Files.sampled_time.value: decisions, TIMENOW: begins_and_ends}


def _added(directory: str, written: Written, new: Columns, states: dict[str, list[Any]]) -> Written | None:
    """Add values in place; None, and nothing is written, where a column is new or has no room."""
    places: dict[str, dict[int, str]] = {}
    regions: dict[str, dict[str, list[int]]] = {}
    for name, columns in new.items():
        known = written.columns.get(name)
        if known is None or known.keys() != columns.keys():
            return None
        places[name], regions[name] = {}, {}
        for key, values in columns.items():
            begin, length, room = known[key]
            text = (", " if values and length else "") + json.dumps(values)[1:-1]
            if length + len(text) > room:
                return None
            places[name][begin + length] = text
            regions[name][key] = [begin, length + len(text), room]
    results = new[Files.result.value]
    ends = dict(zip(results["worker_index"], results["cumtime"], strict=True))
    places[Files.worker_cumtime.value] = {_begin_of(worker): _entry(worker, end) for worker, end in ends.items()}
    for name, texts in places.items():
        _write_at(directory, name, texts)
    rows = written.rows + len(results["cumtime"])
    since, number = written.states
    if (states or number) and (rows - since) * STATES_A_CALL >= len(states):
        _replace(directory, Files.state_cache.value, json.dumps(states))
        since, number = rows, len(states)
    return Written(rows, False, regions, (since, number))


def _replaced(directory: str, contents: dict[str, dict[str, Any]], is_over: bool) -> Written:
    """Write all files, with room for more unless the run is over."""
    ends, states = contents[Files.worker_cumtime.value], contents[Files.state_cache.value]
    columns = _named(contents["results.json"], contents[TIMENOW])
    texts = {name: json.dumps(content) for name, content in (*columns.items(), (Files.worker_cumtime.value, ends))}
    regions: dict[str, dict[str, list[int]]] = {}
    if not is_over:
        for name, content in columns.items():
            texts[name], regions[name] = _with_room(content)
        entries = [_entry(int(worker), end) for worker, end in ends.items()]
        texts[Files.worker_cumtime.value] = "{" + ",".join(entries) + "}"
    for name, text in {**texts, Files.state_cache.value: json.dumps(states)}.items():
        _replace(directory, name, text)
    rows = len(contents["results.json"]["cumtime"])
    return Written(rows, is_over, regions, (rows, len(states)))


def _with_room(columns: dict[str, list[Any]]) -> tuple[str, dict[str, list[int]]]:
    """JSON text of columns with blanks behind their values, and where these are."""
    text, regions = "", {}
    for key, values in columns.items():
        text += f"{', ' if text else '{'}{json.dumps(key)}: ["
        inside = json.dumps(values)[1:-1]
        room = 2 * len(inside) + SPARE
        regions[key] = [len(text), len(inside), room]
        text += inside.ljust(room) + "]"
    return text + "}", regions


def _entry(worker: int, end: float) -> str:
    return f'"{worker}": {json.dumps(end)}'.ljust(ENTRY)


def _begin_of(worker: int) -> int:
    return len("{") + worker * (ENTRY + len(","))


def _write_at(directory: str, name: str, texts: dict[int, str]) -> None:
    """Write into a file that is there; its readers see a column with or without a value."""
    with contextlib.suppress(FileNotFoundError):  # the program is removing them
        descriptor = os.open(os.path.join(directory, name), os.O_WRONLY)
        try:
            for place, text in texts.items():
                os.pwrite(descriptor, text.encode("ascii"), place)
        finally:
            os.close(descriptor)


def _replace(directory: str, name: str, text: str) -> None:
    """Who reads the file sees the old content or the new. Nothing comes to be where files are being removed."""
    path = os.path.join(directory, name)
    new = os.path.join(os.path.dirname(directory), f".evalpool-{os.getpid()}-{threading.get_ident()}")
    with open(new, "w", encoding="utf-8") as file:
        file.write(text)
    if os.path.exists(path):
        os.replace(new, path)
    else:
        os.unlink(new)
