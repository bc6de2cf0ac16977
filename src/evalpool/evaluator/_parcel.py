"""What is sent once to each worker of another process: the task and the way to the storage, pickled."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from evalpool.evaluator import _settings

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
    """

    task: bytes
    storage: bytes | None
    advice: str
    error: str


def pack(evaluator: Evaluator, apart: Callable[[pickle.PickleBuffer], Any] | None = None) -> Parcel:
    """Pickle what the workers of `evaluator` need.

    Args:
        evaluator: whose workers.
        apart: takes the task's large buffers (numpy arrays), which are then not in its pickle (PEP 574).
    """
    import cloudpickle

    storage, advice = None, ""
    if evaluator._own_storage is not None or not evaluator._storage.keeps:
        advice = str(_settings.unreachable(evaluator._storage, type(evaluator).__name__, evaluator._needed_sharing()))
    else:
        storage = pickle.dumps(evaluator._storage)
    try:
        return Parcel(cloudpickle.dumps(evaluator._task(), 5, buffer_callback=apart), storage, advice, "")
    except Exception as error:  # noqa: BLE001  any object's own code may raise anything
        return Parcel(b"", storage, advice, _settings.unpicklable_task(evaluator._run_function, error))
