"""A job as the caller sees it: one evaluation of one configuration, from submission to result."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from evalpool.jobs._options import NO_OPTIONS, JobOptions
from evalpool.outcomes import FINAL, FailureKind, JobStatus, Outcome, Worker, last_line

if TYPE_CHECKING:
    from evalpool.jobs._inbox import Inbox

__all__ = ["HPOJob", "Job", "PastJob"]

OutputT = TypeVar("OutputT")


class Owner(Protocol):
    """What a job uses of the evaluator that it belongs to."""

    @property
    def seed(self) -> int: ...

    def cancel(self, jobs: Iterable[Job[Any]]) -> int: ...

    @property
    def _times(self) -> JobTimes: ...


class JobTimes(Protocol):
    """The times of jobs, from the evaluator: see `evalpool.evaluator._timeline`."""

    def facts(self, job: Job[Any]) -> dict[str, Any] | None: ...

    def timestamps(self, job: Job[Any]) -> dict[str, float | None]: ...


class Job(Generic[OutputT]):
    """One evaluation of one configuration.

    Made by `Evaluator.submit`, returned by `Evaluator.gather`. It unpacks as ``(args, objective)``.
    Reading is safe from any thread. Callers may set attributes of their own, ``job.generation = 3``; these stay
    with the object and in its pickles, and are in no storage.

    Attributes:
        number: the n of the id ``"<search>.<n>"``; counted from 0 in each search, over all clients.
        args: the configuration; a copy of what was submitted.
        options: the options of its `Submission`: `priority`, `job_timeout`, `tags`.
    """

    __slots__ = (
        "__dict__", "__weakref__", "_asked", "_errors", "_evaluator", "_extra", "_gathered", "_history", "_inbox",
        "_metadata",
        "_outcome", "_search", "_seed_number", "_started", "_status", "_stop", "_stopper", "_submitted",
        "_virtual", "args", "attempts", "job_type", "number",
    )  # fmt: skip

    # On the class, because most jobs have none. A job with options has them in its `__dict__`, which is pickled.
    options: JobOptions = NO_OPTIONS

    def __init__(
        self,
        evaluator: Owner | None,
        inbox: Inbox | None,
        search: str,
        number: int,
        args: dict[str, Any],
        job_type: str,
        submitted: float,
    ) -> None:
        self._evaluator = evaluator
        self._inbox = inbox
        self._search = search
        self.number = number
        self.args = args
        self.job_type = job_type
        self._submitted = submitted
        self._status = JobStatus.READY
        self._outcome: Outcome | None = None
        self._metadata: dict[str, Any] | None = None
        self._gathered: float | None = None
        self.attempts = 0
        self._errors: list[str] | None = None  # of the attempts before the last
        self._extra: dict[str, Any] | None = None  # keyword arguments of this job alone: lent resources
        self._stop: FailureKind | None = None  # why it was asked to stop
        self._asked: float  # when it was asked to stop, by `_clock.monotonic`; set with `_stop`
        self._started: float | None = None  # as the evaluator saw it, on its clock
        self._stopper: Any = None
        self._seed_number: int | None = None  # number of the job that it continues, whose seed it has
        self._virtual: dict[str, Any] | None = None  # its times and worker, if time is simulated
        self._history: dict[str, Any] | None = None  # metadata of a restored or foreign job

    @property
    def id(self) -> str:
        """``"<search>.<n>"``."""
        return f"{self._search}.{self.number}"

    @property
    def status(self) -> JobStatus:
        """The status of the job; final as soon as its outcome is known, before it is gathered."""
        return self._status

    @property
    def is_done(self) -> bool:
        """Whether the job has an outcome, of any kind."""
        return self._status in FINAL

    @property
    def objective(self) -> Any:
        """A number, a tuple of numbers, or a text that begins with F; None as long as there is no outcome."""
        return None if self._outcome is None else self._outcome.objective

    @property
    def output(self) -> OutputT | dict[str, Any] | None:
        """``{"objective": ...}`` with the other keys of the run-function's dict; for general tasks the value itself."""
        outcome = self._outcome
        if outcome is None:
            return None
        if self.job_type == "task":
            value: OutputT = outcome.objective
            return value
        return outcome.output if outcome.output is not None else {"objective": outcome.objective}

    @property
    def metadata(self) -> dict[str, Any]:
        """The run-function's own metadata, the four timestamps, worker, host and pid.

        ``timestamp_submit``, ``_start``, ``_end`` and ``_gather`` are seconds since the search's start.
        """
        if self._metadata is None:
            evaluator, outcome = self._evaluator, self._outcome
            metadata: dict[str, Any] = dict(self._history or ())
            if outcome is not None and outcome.metadata:
                metadata.update(outcome.metadata)
            if evaluator is not None:
                metadata.update(evaluator._times.facts(self) or {})
                metadata.update(evaluator._times.timestamps(self))
            worker = self.worker
            if worker is not None:
                metadata["worker"], metadata["host"], metadata["pid"] = worker
            if outcome is None:
                return metadata
            self._metadata = metadata
        if self._gathered is not None and self._metadata.get("timestamp_gather") is None:
            self._metadata["timestamp_gather"] = self._gathered
        return self._metadata

    @property
    def own_metadata(self) -> dict[str, Any]:
        """A copy of what the run-function gave as metadata. In `metadata`, evalpool's replace some of these."""
        outcome = self._outcome
        return {} if outcome is None else dict(outcome.metadata or ())

    @property
    def worker(self) -> Worker | None:
        """Where the run-function executed; None if it did not."""
        return None if self._outcome is None else self._outcome.worker

    @property
    def error(self) -> str | None:
        """The traceback or the reason as text; None if the job did not fail."""
        return None if self._outcome is None else self._outcome.error

    @property
    def kind(self) -> FailureKind | None:
        """Why there is no objective; None if there is one."""
        return None if self._outcome is None else self._outcome.kind

    @property
    def stopped_early(self) -> bool:
        """Whether a stopper ended it before it was complete, so that its objective is a partial one."""
        return self._outcome is not None and bool(self._outcome.stopped_early)

    @property
    def attempt_errors(self) -> list[str]:
        """The errors of the attempts before the last."""
        return list(self._errors or ())

    @property
    def seed(self) -> int:
        """This job's seed, 0 <= seed < 2**32; see `RunningJob.seed`."""
        from evalpool.jobs._seeds import job_seed

        number = self.number if self._seed_number is None else self._seed_number
        return job_seed(self._search_seed(), number)

    def _search_seed(self) -> int:
        return 0 if self._evaluator is None else self._evaluator.seed

    def cancel(self) -> bool:
        """Cancel this job; False if it has an outcome already. See `Evaluator.cancel`."""
        if self._evaluator is None:
            return False
        return self._evaluator.cancel([self]) > 0

    def __getitem__(self, index: int) -> Any:
        return (dict(self.args), self.objective)[index]

    def __iter__(self) -> Iterator[Any]:
        return iter((dict(self.args), self.objective))

    def __len__(self) -> int:
        return 2

    def __repr__(self) -> str:
        return f"Job(id={self.id!r}, status={self._status.value}, args={self.args!r}{self._result()})"

    def _result(self) -> str:
        """The objective or the reason of the failure, for `repr`."""
        outcome = self._outcome
        if outcome is None:
            return ""
        if outcome.kind is None:
            early = ", stopped_early=True" if outcome.stopped_early else ""
            return f", objective={outcome.objective!r}{early}"
        reason = last_line(outcome.error)
        return f", objective={outcome.objective!r}" + (f", error={reason!r}" if reason else "")

    def __reduce__(self) -> tuple[Any, ...]:
        # Without its evaluator: a job is pickled to send it to other ranks or to store it in a file.
        state = (
            dict(self.metadata),
            self._status,
            self._outcome,
            self._gathered,
            self.attempts,
            self._errors,
            self._search_seed(),
            self._seed_number,
        )
        facts = self._search, self.number, self.args, self.job_type, self._submitted, state
        return (_restore, facts, self.__dict__) if self.__dict__ else (_restore, facts)


class PastJob(Job[Any]):
    """A job without its evaluator: unpickled, of another client, or of an earlier run. It has its search's seed."""

    __slots__ = ("_base_seed",)

    _base_seed: int

    def _search_seed(self) -> int:
        return self._base_seed


HPOJob = Job
"""Another name of `Job`, which deephyper uses."""


def _restore(
    search: str, number: int, args: dict[str, Any], job_type: str, submitted: float, state: tuple[Any, ...]
) -> Job[Any]:
    job = PastJob(None, None, search, number, args, job_type, submitted)
    job._history, job._status, job._outcome, job._gathered, job.attempts, job._errors, *seed = state
    job._base_seed, job._seed_number = seed
    return job
