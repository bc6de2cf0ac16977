"""Lending resources to jobs: GPU ids, nodes, licences."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from evalpool._checks import check_number
from evalpool.errors import BadArgument
from evalpool.evaluator._evaluator import Evaluator
from evalpool.jobs._job import Job

__all__ = ["queued"]

if TYPE_CHECKING:

    class QueuedEvaluator(Evaluator):
        """The classes that `queued` makes, for type checkers."""

        def __init__(
            self, run_function: Callable[..., Any], *, queue: Iterable[Any], queue_pop_per_task: int = 1, **kwargs: Any
        ) -> None: ...


def queued(evaluator_class: type[Evaluator]) -> type[QueuedEvaluator]:
    """Make an evaluator class that lends each job resources from a queue.

    The new class, ``Queued<Evaluator>``, takes two more arguments: ``queue``, a list of resources of any type, and
    ``queue_pop_per_task=1``, how many each job borrows. The run-function receives them as the keyword argument
    ``dequed``, a list; the job's metadata holds them as text, joined by commas. A resource is lent to one job at a
    time. However the job ends, the resource returns to the end of the queue. Jobs wait while there are too few.

    >>> from evalpool import SerialEvaluator
    >>> with queued(SerialEvaluator)(lambda job, dequed: dequed[0], queue=[7, 8]) as evaluator:
    ...     _ = evaluator.submit([{"x": 1}, {"x": 2}, {"x": 3}])
    ...     [job.objective for job in evaluator.gather()]
    [7, 8, 7]

    Raises:
        BadArgument: not an evaluator class, or one that already lends from a queue; at construction, a queue shorter
            than `queue_pop_per_task`.
    """
    if not (isinstance(evaluator_class, type) and issubclass(evaluator_class, Evaluator)):
        raise BadArgument(f"queued takes an evaluator class, such as ThreadPoolEvaluator; got {evaluator_class!r}.")
    if getattr(evaluator_class, "_is_queued", False):
        raise BadArgument(f"{evaluator_class.__name__} lends from a queue already. Give one queue of what jobs need.")

    def __init__(
        self: Any,
        run_function: Any,
        *,
        queue: Iterable[Any] = (),
        queue_pop_per_task: int = 1,
        **kwargs: Any,
    ) -> None:
        self._resources = ResourceQueue(queue, queue_pop_per_task)
        evaluator_class.__init__(self, run_function, **kwargs)

    name = f"Queued{evaluator_class.__name__}"
    doc = f"A `{evaluator_class.__name__}` that lends each job resources; see `evalpool.queued`."
    body = {"__init__": __init__, "__doc__": doc, "__module__": __name__, "_is_queued": True}
    made: Any = type(name, (evaluator_class,), body)
    return made  # type: ignore[no-any-return]


class ResourceQueue:
    """Resources that are lent to jobs in turn, for `queued`."""

    def __init__(self, queue: Iterable[Any], each: int) -> None:
        self._free = _check_queue(queue)
        self._each = check_number("queue_pop_per_task", each, 1)
        if len(self._free) < self._each:
            raise BadArgument(
                f"queue has {len(self._free)} resources and queue_pop_per_task is {self._each}: no job could ever "
                "start. Give a longer queue."
            )

    def acquire(self, job: Job[Any]) -> dict[str, Any] | None:
        """Return the resources for one job, as its keyword argument ``dequed``; None while there are too few."""
        if len(self._free) < self._each:
            return None
        return {"dequed": [self._free.popleft() for _ in range(self._each)]}

    def release(self, job: Job[Any]) -> None:
        """Put a job's resources at the end of the queue."""
        if job._extra is not None:
            self._free.extend(job._extra["dequed"])

    def describe(self, extra: dict[str, Any]) -> dict[str, Any]:
        """Return the resources as text, joined by commas."""
        return {"dequed": ",".join(str(resource) for resource in extra["dequed"])}


def _check_queue(queue: Any) -> deque[Any]:
    if isinstance(queue, (str, bytes, dict)) or not isinstance(queue, Iterable):
        raise BadArgument(f"queue is {queue!r} of type {type(queue).__name__}; give a list of resources: queue=[0, 1].")
    return deque(queue)
