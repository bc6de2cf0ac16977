"""Evaluators of a program's own, which say by a coroutine how one job is executed.

::

    evalpool's SerialEvaluator ──► Executing(running job) ──► evaluator.execute(job) ──► its output

On the event loop of an evaluator of evalpool's that interleaves coroutines; so time limits, storages and the rest are
those of all evaluators.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from evalpool.compat.deephyper.evaluator._job import HPOJob, Job
from evalpool.compat.deephyper.evaluator._running_job import as_objective

if TYPE_CHECKING:
    import evalpool
    from evalpool.compat.deephyper.evaluator._evaluator import Evaluator

__all__ = ["Executing"]


class Executing:
    """The run-function of evalpool's evaluator beneath one with an `execute` of its own."""

    def __init__(self, evaluator: Evaluator) -> None:
        self._evaluator = evaluator

    async def __call__(self, core: evalpool.RunningJob, **lent: Any) -> Any:
        evaluator = self._evaluator
        loop = asyncio.get_running_loop()
        if evaluator.loop is not loop or evaluator.sem is None:
            evaluator.loop, evaluator.sem = loop, asyncio.Semaphore(evaluator.num_workers)
        if lent:
            evaluator.run_function_kwargs.update(lent)
        job = evaluator._jobs.by_id(core.id)
        job._running = core
        done = await evaluator.execute(job)
        if not isinstance(done, Job):
            raise TypeError(
                f"{type(evaluator).__name__}.execute returned {done!r} of type {type(done).__name__}; it returns the "
                "job, after job.set_output(value)."
            )
        core.metadata.update(done.metadata)
        return as_objective(done.output) if isinstance(done, HPOJob) else done.output
