"""Calls a run-function for one job after another in this thread: `Task.call` for searches of a million short jobs.

What costs the time of a short job there is not its call, but the running job that is made for it, and the outcome. Here
one running job serves all jobs whose run-function kept no reference to it, and a value that needs no outcome is given
back as it is.
"""

from __future__ import annotations

import functools
import sys
import types
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from evalpool._fork import begin_generation, generation
from evalpool.worker._call import PLAIN, is_interrupt, raised, run_to_completion
from evalpool.worker._forked import end_of_child
from evalpool.worker._results import standardise
from evalpool.worker._running_job import RunningJob, current_job

if TYPE_CHECKING:
    from evalpool.outcomes import Worker
    from evalpool.worker._call import Task
    from evalpool.worker._running_job import JobChannel

__all__ = ["caller"]

NUMBERS = frozenset({float, int})


def may_be_awaited(value: Any) -> bool:
    return type(value) is types.CoroutineType or hasattr(value, "__await__")


def caller(task: Task, channel: JobChannel, worker: Worker | None) -> Callable[[int, dict[str, Any]], Any]:
    """Return a function that evaluates a job in this thread, given its number and its configuration.

    It returns what the run-function returned, if that is a dict, a float or an int, and the run-function said nothing
    else about its job; such a value becomes an outcome by `standardise`. Else it returns the `Outcome`, as `Task.call`
    does, but without real times.
    """
    function: Any = functools.partial(task.run_function, **task.kwargs) if task.kwargs else task.run_function
    search, job_type, passes_on = task.search, task.job_type, task.lets_interrupts_through
    set_current, reset_current, references = current_job.set, current_job.reset, sys.getrefcount
    own_seed = task.seed
    job: Any = None
    unshared = 0

    def call(number: int, configuration: dict[str, Any]) -> Any:
        nonlocal job, unshared
        if job is None or references(job) != unshared:
            job = RunningJob._in_worker(search, number, 1, configuration.copy(), channel, own_seed)
            # Counted by the same expression, because it depends on the interpreter which references are counted.
            unshared = references(job)
        else:
            job._number, job.parameters, job._seed = number, configuration.copy(), own_seed
            job._storage = job._stopper = job._metadata = job._record = None
            job._told = False
        before = set_current((search, number))
        here = generation[0] or begin_generation()
        try:
            value = function(job)
            if type(value) is not dict and type(value) not in PLAIN and may_be_awaited(value):
                value = run_to_completion(value)
            if generation[0] != here:
                end_of_child(None)
        except BaseException as exception:
            if generation[0] != here:
                end_of_child(exception)
            if passes_on and is_interrupt(exception):
                raise
            return raised(exception, job._metadata, 0.0, 0.0, worker)
        finally:
            reset_current(before)
        if job._metadata is None and not job._told and (type(value) is dict or type(value) in NUMBERS):
            return value
        outcome = standardise(value, job_type, job._metadata, 0.0, 0.0, worker)
        return outcome._replace(stopped_early=True) if job._told else outcome

    return call
