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
        """What type checkers know of the classes that `queued` makes."""

        def __init__(
            self, run_function: Callable[..., Any], *, queue: Iterable[Any], queue_pop_per_task: int = 1, **kwargs: Any
        ) -> None: ...


def queued(evaluator_class: type[Evaluator]) -> type[QueuedEvaluator]:
    """Make of an evaluator class one that lends each job resources from a queue.

    The new class, ``Queued<Evaluator>``, takes two more arguments: ``queue``, a list of resources of any type, and
    ``queue_pop_per_task=1``, how many each job borrows. The run-function receives them as the keyword argument
    ``dequed``, a list; the job's metadata holds them as text, joined by commas. A resource is never lent twice, and
    comes back whatever becomes of the job, at the end of the queue; jobs wait while there are too few.

    >>> from evalpool import SerialEvaluator
    >>> with queued(SerialEvaluator)(lambda job, dequed: dequed[0], queue=[7, 8]) as evaluator:
    ...     _ = evaluator.submit([{"x": 1}, {"x": 2}, {"x": 3}])
    ...     [job.objective for job in evaluator.gather()]
    [7, 8, 7]

    Raises:
        BadArgument: no evaluator class; at construction, a queue shorter than `queue_pop_per_task`.
    """
    if not (isinstance(evaluator_class, type) and issubclass(evaluator_class, Evaluator)):
        raise BadArgument(f"queued takes an evaluator class, such as ThreadPoolEvaluator; got {evaluator_class!r}.")

    def __init__(
        self: Any,
        run_function: Any,
        *,
        queue: Iterable[Any],
        queue_pop_per_task: int = 1,
        **kwargs: Any,
    ) -> None:
        self._resources = _check_queue(queue)
        self._pop = check_number("queue_pop_per_task", queue_pop_per_task, 1)
        if len(self._resources) < self._pop:
            raise BadArgument(
                f"queue has {len(self._resources)} resources and queue_pop_per_task is {self._pop}: no job could ever "
                "start. Give a longer queue."
            )
        evaluator_class.__init__(self, run_function, **kwargs)

    def _acquire(self: Any, job: Job[Any]) -> dict[str, Any] | None:
        if len(self._resources) < self._pop:
            return None
        return {"dequed": [self._resources.popleft() for _ in range(self._pop)]}

    def _release(self: Any, job: Job[Any]) -> None:
        if job._extra is not None:
            self._resources.extend(job._extra["dequed"])

    def _describe_extra(self: Any, extra: dict[str, Any]) -> dict[str, Any]:
        return {"dequed": ",".join(str(resource) for resource in extra["dequed"])}

    name = f"Queued{evaluator_class.__name__}"
    hooks = (__init__, _acquire, _release, _describe_extra)
    body: dict[str, Any] = {hook.__name__: hook for hook in hooks}
    doc = f"A `{evaluator_class.__name__}` that lends each job resources; see `evalpool.queued`."
    made: Any = type(name, (evaluator_class,), {**body, "__doc__": doc, "__module__": __name__})
    return made  # type: ignore[no-any-return]


def _check_queue(queue: Any) -> deque[Any]:
    if isinstance(queue, (str, bytes, dict)) or not isinstance(queue, Iterable):
        raise BadArgument(f"queue is {queue!r} of type {type(queue).__name__}; give a list of resources: queue=[0, 1].")
    return deque(queue)
