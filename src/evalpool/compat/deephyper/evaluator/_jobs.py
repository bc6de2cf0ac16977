"""The jobs of one evaluator, made at their launch and settled when they are gathered; and who hears of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import evalpool
from evalpool.callbacks import Callback
from evalpool.compat.deephyper.evaluator._job import Job
from evalpool.errors import BadArgument

if TYPE_CHECKING:
    from evalpool.compat.deephyper.evaluator._evaluator import Evaluator

__all__ = ["Jobs", "hearing"]

HOOKS = ("on_launch", "on_done", "on_done_other", "on_gather", "on_close")
"""The hooks of deephyper's callbacks."""


class Jobs:
    """Of one evaluator, in the caller's thread.

    Attributes:
        all: every job that was submitted.
        submitted, gathered: ids of those that are out, and of those that came back, others' too. A search that goes on
            from a table stores the jobs of that by hand, and adds their ids to `gathered`.
    """

    def __init__(self, evaluator: Evaluator) -> None:
        self._evaluator = evaluator
        self._out: dict[str, Job] = {}
        self._foreign: dict[str, Job] = {}
        self._settled: set[str] = set()
        self._known: set[str] = set()  # ids of jobs that were launched here, or came back
        self._num_known = 0  # how many of `gathered` are in it
        self.all: list[Job] = []
        self.submitted: list[str] = []
        self.gathered: list[str] = []
        self.is_profiled: Callable[[], bool] = lambda: False

    def launched(self, core: evalpool.Job[Any]) -> Job:
        """The job of a submission; made once."""
        job = self._out.get(core.id)
        if job is None:
            job = self._out[core.id] = self._made(core, self._evaluator.run_function)
            self.all.append(job)
            self.submitted.append(job.id)
            self._known.add(job.id)
        return job

    def cores_out(self) -> list[evalpool.Job[Any]]:
        """evalpool's jobs of those that are out."""
        return [job._evaluated for job in self._out.values() if job._evaluated is not None]

    def by_id(self, job_id: str) -> Job:
        """A job that is out."""
        return self._out[job_id]

    def settled(self, core: evalpool.Job[Any]) -> Job:
        """A job that is gathered, with its output and metadata."""
        job = self.launched(core)
        if job.id not in self._settled:
            self._settled.add(job.id)
            job._settle(core, self.is_profiled())
        return job

    def taken(self, cores: Iterable[evalpool.Job[Any]]) -> list[Job]:
        """Jobs that are given back to the caller."""
        jobs = [self.settled(core) for core in cores]
        for job in jobs:
            self._out.pop(job.id)
            self._settled.discard(job.id)
            self.submitted.remove(job.id)
            self.gathered.append(job.id)
        return jobs

    def foreign(self, cores: Iterable[evalpool.Job[Any]]) -> list[Job]:
        """Jobs that other clients finished. Those of this evaluator, before it was opened anew, are none; nor is one
        that is in the storage by hand, and has no output."""
        self._known.update(self.gathered[self._num_known :])
        self._num_known = len(self.gathered)
        found = []
        for core in cores:
            if core.id not in self._known and not _is_empty(core):
                job = self._foreign.get(core.id)
                if job is None:
                    job = self._foreign[core.id] = self._made(core, None)
                    job._settle(core, self.is_profiled())
                found.append(job)
        return found

    def taken_foreign(self, cores: Iterable[evalpool.Job[Any]]) -> list[Job]:
        """As `foreign`; they are given back to the caller."""
        jobs = self.foreign(cores)
        for job in jobs:
            self._foreign.pop(job.id)
            self.gathered.append(job.id)
        return jobs

    def _made(self, core: evalpool.Job[Any], run_function: Any) -> Job:
        evaluator = self._evaluator
        job: Job = evaluator._create_job(core.id, core.args, run_function, evaluator._storage)
        job._evaluated = core
        job.metadata["timestamp_submit"] = core.metadata.get("timestamp_submit")
        job.context.search = evaluator.search
        return job


def _is_empty(core: evalpool.Job[Any]) -> bool:
    """Has nobody submitted it or stored an output?"""
    return core.output is None and core.metadata.get("timestamp_submit") is None


class Hearing(Callback):
    """A callback of here, as evalpool calls it: it hears of the jobs of here. It may be any object with some hooks."""

    def __init__(self, callback: Any, jobs: Jobs) -> None:
        self._callback, self._jobs = callback, jobs

    def _tell(self, hook: str, *arguments: Any) -> None:
        call = getattr(self._callback, hook, None)
        if call is not None:
            call(*arguments)

    def on_launch(self, job: evalpool.Job[Any]) -> None:
        self._tell("on_launch", self._jobs.launched(job))

    def on_done(self, job: evalpool.Job[Any]) -> None:
        self._tell("on_done", self._jobs.settled(job))

    def on_done_other(self, job: evalpool.Job[Any]) -> None:
        for other in self._jobs.foreign([job]):
            self._tell("on_done_other", other)

    def on_gather(self, local_jobs: list[evalpool.Job[Any]], other_jobs: list[evalpool.Job[Any]]) -> None:
        self._tell("on_gather", [self._jobs.settled(job) for job in local_jobs], self._jobs.foreign(other_jobs))


def hearing(callback: Any, jobs: Jobs) -> Callback:
    """As `Hearing`, under the callback's own name, by which the log knows it when it raises.

    One of evalpool's own hears of evalpool's jobs, as everywhere.
    """
    if isinstance(callback, Callback):
        return callback
    if isinstance(callback, type) or not any(callable(getattr(callback, hook, None)) for hook in HOOKS):
        raise BadArgument(
            f"callbacks has {callback!r} of type {type(callback).__name__}; give objects with some of "
            f"{', '.join(HOOKS)}."
        )
    made: Callback = type(type(callback).__name__, (Hearing,), {})(callback, jobs)
    return made
