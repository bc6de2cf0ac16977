"""What each worker of another process is set up with: the task and the way to the storage, pickled once."""

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
    """Pickles for a worker.

    Attributes:
        task: the `Task`, by value; empty if it cannot be pickled.
        storage: the storage client; None if workers cannot reach it.
        advice: then, what to tell a run-function that asks for it.
        error: why there is no task; every job ends with it.
        origin: for `evalpool.worker._origin.adopt`, before anything is unpickled there.
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
        task: what they run.
        search: whose storage they may use, if they reach it.
        name: of the evaluator's class, for messages.
        needed: returns how far a storage must be shared for them to reach it.
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
