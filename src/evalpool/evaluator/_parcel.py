"""What is sent once to each worker of another process: the task and the way to the storage, pickled."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from evalpool.evaluator import _settings
from evalpool.worker._origin import describe
from evalpool.worker._pickling import dump_whole

if TYPE_CHECKING:
    from evalpool.evaluator._evaluator import Evaluator

__all__ = ["Parcel", "pack"]


class Parcel(NamedTuple):
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


def pack(evaluator: Evaluator, apart: Callable[[pickle.PickleBuffer], Any] | None = None) -> Parcel:
    """Pickle what the workers of `evaluator` need.

    Args:
        evaluator: whose workers.
        apart: takes the task's large buffers (numpy arrays), which are then not in its pickle (PEP 574).
    """
    from evalpool.worker._by_value import dumps

    storage, advice = None, ""
    if not evaluator._search.others_write:
        advice = str(
            _settings.unreachable(evaluator._search.storage, type(evaluator).__name__, evaluator._backend.sharing())
        )
    else:
        storage = dump_whole(evaluator._search.storage)
    try:
        return Parcel(dumps(evaluator._make_task(), apart), storage, advice, "", describe())
    except Exception as error:  # noqa: BLE001  any object's own code may raise anything
        return Parcel(b"", storage, advice, _settings.unpicklable_task(evaluator._run_function, error), b"")
