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
import threading
from typing import Any

from evalpool.compat.benchmark_simulator._constants import _SharedDataFileNames as Files

__all__ = ["begin", "log_size", "publish", "read"]

LOG = "completions.jsonl"
SAME = (Files.worker_cumtime.value, Files.state_cache.value)


def begin(directory: str) -> None:
    """The files exist from the start; those of a run that has begun stay as they are."""
    os.makedirs(directory, exist_ok=True)
    for name in (Files.result.value, Files.sampled_time.value, "timenow.json", *SAME):
        with contextlib.suppress(FileExistsError), open(os.path.join(directory, name), "x") as file:
            file.write("{}")


def log_size(core: str) -> int:
    """How much has happened in the run whose directory in the core is this; 0 before its begin."""
    try:
        return os.path.getsize(os.path.join(core, LOG))
    except FileNotFoundError:
        return 0


def publish(directory: str, contents: dict[str, dict[str, Any]]) -> None:
    """Write all files. Costs what there is to write.

    Args:
        directory: where to.
        contents: of the core's files, by name.
    """
    results = dict(contents["results.json"])
    results["worker_index"] = results.pop("index")  # the name of later releases
    decisions = contents["timenow.json"]
    _replace(directory, Files.result.value, results)
    _replace(directory, Files.sampled_time.value, decisions)
    _replace(directory, "timenow.json", {key: decisions[key] for key in ("before_sample", "after_sample")})
    for name in SAME:
        _replace(directory, name, contents[name])


def read(path: str) -> dict[str, list[Any]]:
    with open(path, encoding="utf-8") as file:
        content: dict[str, list[Any]] = json.load(file)
    return content


def _replace(directory: str, name: str, content: dict[str, Any]) -> None:
    """Who reads the file sees the old content or the new. Nothing comes to be where files are being removed."""
    path = os.path.join(directory, name)
    new = os.path.join(os.path.dirname(directory), f".evalpool-{os.getpid()}-{threading.get_ident()}")
    with open(new, "w", encoding="utf-8") as file:
        file.write(json.dumps(content))
    if os.path.exists(path):
        os.replace(new, path)
    else:
        os.unlink(new)
