"""Evaluators that lend each job resources from a queue."""

from __future__ import annotations

import collections
from collections.abc import Iterable
from typing import Any

from evalpool.compat.deephyper.evaluator._evaluator import Evaluator
from evalpool.errors import BadArgument

__all__ = ["queued"]


def queued(evaluator_class: type[Evaluator]) -> Any:
    """Make of an evaluator class one that lends each job resources; see `evalpool.queued`, which does it.

    The new class takes `queue` and `queue_pop_per_task`, and has attributes of these names. `queue` holds all
    resources, also while they are lent.
    """
    if not (isinstance(evaluator_class, type) and issubclass(evaluator_class, Evaluator)):
        raise BadArgument(
            f"queued takes an evaluator class of evalpool.compat.deephyper.evaluator; got {evaluator_class!r}."
        )

    def __init__(
        self: Any, *args: Any, queue: Iterable[Any] | None = None, queue_pop_per_task: int = 1, **kwargs: Any
    ) -> None:
        self.queue = collections.deque(() if queue is None else queue)
        self.queue_pop_per_task = queue_pop_per_task
        evaluator_class.__init__(self, *args, **kwargs)

    body = {"__init__": __init__, "__doc__": evaluator_class.__doc__, "__module__": __name__}
    return type(f"Queued{evaluator_class.__name__}", (evaluator_class,), body)
