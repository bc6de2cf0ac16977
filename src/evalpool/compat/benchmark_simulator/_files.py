"""The files of a run as mfhpo-simulator names and shapes them, made of those that the core keeps below them.

::

    mfhpo-simulator-info/<save_dir_name>/
      results.json             objective columns, cumtime, worker_index, ...
      sampled_time.json        before_sample, after_sample, worker_index
      simulated_cumtime.json   as in the core
      state_cache.json         as in the core
      timenow.json             as in the core, and in release 1.2.1
      evalpool/                the core's own: the log, and its files at the end

The core's are in a directory of their own, for a column has another name here.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from typing import Any

from evalpool.compat.benchmark_simulator._constants import _SharedDataFileNames as Files

__all__ = ["begin", "log_size", "publish", "read"]

LOG = "completions.jsonl"
SAME = (Files.worker_cumtime.value, Files.state_cache.value, "timenow.json")


def begin(directory: str) -> None:
    """The files exist from the start; those of a run that has begun stay as they are."""
    os.makedirs(directory, exist_ok=True)
    for name in (Files.result.value, Files.sampled_time.value, *SAME):
        with contextlib.suppress(FileExistsError), open(os.path.join(directory, name), "x") as file:
            file.write("{}")


def log_size(core: str) -> int:
    """How much has happened in the run whose directory in the core is this; 0 before its begin."""
    try:
        return os.path.getsize(os.path.join(core, LOG))
    except FileNotFoundError:
        return 0


def publish(directory: str, core: str, contents: dict[str, dict[str, Any]]) -> None:
    """Write all files. Costs what there is to write.

    Args:
        directory: where to.
        core: the directory that the core keeps.
        contents: of the core's files, by name.
    """
    results = dict(contents["results.json"])
    results["worker_index"] = results.pop("index")  # the name of later releases
    samples = contents["timenow.json"]
    workers = _workers_of_decisions(os.path.join(core, LOG))[: len(samples["before_sample"])]
    _replace(directory, Files.result.value, results)
    _replace(directory, Files.sampled_time.value, {**samples, "worker_index": workers})
    for name in SAME:
        _replace(directory, name, contents[name])


def read(path: str) -> dict[str, list[Any]]:
    with open(path, encoding="utf-8") as file:
        content: dict[str, list[Any]] = json.load(file)
    return content


def _workers_of_decisions(log: str) -> list[int]:
    """In the order in which the evaluations were asked for; the core's file of decisions does not name workers."""
    workers: dict[int, int] = {}
    with open(log, encoding="utf-8") as file:
        for text in file:
            if text.endswith("\n"):
                line = json.loads(text)
                for decided in (line, *line.get("not_reported", ())):
                    if "job" in decided:
                        workers[decided["job"]] = decided["worker"]
    return [worker for _, worker in sorted(workers.items())]


def _replace(directory: str, name: str, content: dict[str, Any]) -> None:
    """Who reads the file sees the old content or the new. Nothing comes to be where files are being removed."""
    path = os.path.join(directory, name)
    handle, new = tempfile.mkstemp(dir=os.path.dirname(directory), prefix=".evalpool-")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump(content, file)
    os.chmod(new, 0o644)
    if os.path.exists(path):
        os.replace(new, path)
    else:
        os.unlink(new)
