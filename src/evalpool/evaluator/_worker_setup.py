"""What a worker in another process gets once: the task and the storage client, pickled."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from evalpool.evaluator import _settings
from evalpool.worker._origin import describe
from evalpool.worker._pickling import dump_whole

if TYPE_CHECKING:
    from evalpool.evaluator._open_search import OpenSearch
    from evalpool.storage import Sharing
    from evalpool.worker._call import Task

__all__ = ["WorkerSetup", "pack"]


class WorkerSetup(NamedTuple):
    """The pickles for a worker.

    Attributes:
        task: the `Task`, by value; empty if it cannot be pickled.
        storage: the storage client; None if workers cannot reach it.
        advice: the error text for a run-function that uses the storage although workers cannot reach it.
        error: why there is no task; every job ends with it.
        origin: for `evalpool.worker._origin.adopt`, before the worker unpickles anything.
    """

    task: bytes
    storage: bytes | None
    advice: str
    error: str
    origin: bytes


def pack(
    task: Task,
    search: OpenSearch,
    name: str,
    needed: Callable[[], Sharing],
    apart: Callable[[pickle.PickleBuffer], Any] | None = None,
) -> WorkerSetup:
    """Pickle what the workers of an evaluator need.

    Args:
        task: what the workers run.
        search: the workers may use its storage if they can reach it.
        name: of the evaluator's class, for messages.
        needed: returns how far a storage must be shared for the workers to reach it.
        apart: takes the task's large buffers (numpy arrays), which are then not in its pickle (PEP 574).
    """
    from evalpool.worker._by_value import dumps

    storage, advice = None, ""
    if not search.others_write:
        advice = str(_settings.unreachable(search.storage, name, needed()))
    else:
        storage = dump_whole(search.storage)
    try:
        return WorkerSetup(dumps(task, apart), storage, advice, "", describe())
    except Exception as error:  # noqa: BLE001  any object's own code may raise anything
        return WorkerSetup(b"", storage, advice, _settings.unpicklable_task(task.run_function, error), b"")
