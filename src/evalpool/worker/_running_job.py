"""`RunningJob`, which a run-function receives: a mapping over its configuration, with a channel to the evaluator."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from contextvars import ContextVar
from typing import Any, Protocol

from evalpool.outcomes import JobStatus

__all__ = ["JobChannel", "RunningJob", "current_job", "introduce"]

_new: Any = object.__new__

current_job: ContextVar[tuple[str, int] | None] = ContextVar("evalpool_job", default=None)
"""The (search, number) of the job that runs in this thread, or in this task of an event loop; else None."""


UNNUMBERED = -1
"""The number of a running job that was made by hand, with an id that has no number."""


def introduce(stopper: Any, job: RunningJob) -> None:
    """Set a stopper's `job`, if it has one that is None: stoppers of deephyper share data by its `id` and `storage`."""
    if getattr(stopper, "job", False) is None:
        stopper.job = job


class JobChannel(Protocol):
    """The connection of running jobs to their evaluator; one per worker. Called in the run-function's thread."""

    def record(self, number: int, attempt: int, budget: float, objective: Any, runtime: Any = None) -> None:
        """Tell the evaluator an intermediate result of this attempt of job `number`."""

    def stopped(self, number: int, attempt: int) -> bool:
        """Whether this attempt of job `number` shall stop, because a stopper or the evaluator wants it."""

    def must_end(self, number: int, attempt: int) -> bool:
        """Whether the evaluator requests this attempt to stop (cancel, time limit, close); then force will follow."""

    def storage(self) -> Any:
        """Return the storage client of this worker."""


class RunningJob(MutableMapping[str, Any]):
    """One evaluation as its run-function sees it.

    A mutable mapping over its own copy of the configuration: ``job["x"]``, ``job.get("y", 0)``. ``job["job_id"]`` is
    the number of the job, unless the configuration has a key of that name.

    For tests and debugging you can make one by hand, without an evaluator:

    >>> job = RunningJob(parameters={"x": 2})
    >>> job["x"] + 1
    3

    Args:
        id: ``"<search>.<n>"``; with any other text, the job's number is 0.
        parameters: the configuration; it is copied.
        storage: a storage client, or None.
        stopper: an object with ``observe(budget, objective)``, ``stop()`` and ``objective``; only for jobs made by
            hand:
            an evaluator keeps the stopper in its own process. If it has an attribute `job` that is None, that is set
            to this job.
        seed: what `seed` returns; derived only from `id` if None.
    """

    __slots__ = (
        "_attempt",
        "_channel",
        "_metadata",
        "_number",
        "_record",
        "_search",
        "_seed",
        "_stopper",
        "_storage",
        "_told",
        "parameters",
    )  # fmt: skip

    def __init__(
        self,
        id: str | None = None,
        parameters: dict[str, Any] | None = None,
        storage: Any = None,
        stopper: Any = None,
        seed: int | None = None,
    ) -> None:
        search, _, number = ("0.0" if id is None else id).rpartition(".")
        is_numbered = bool(search) and number.isascii() and number.isdigit()
        self._search, self._number = (search, int(number)) if is_numbered else (str(id), UNNUMBERED)
        self.parameters = dict(parameters or {})
        self._storage = storage
        self.stopper = stopper
        self._seed: int | tuple[int] = (0,) if seed is None else seed  # a tuple: the seed to derive it from
        self._channel: JobChannel | None = None
        self._metadata: dict[str, Any] | None = None
        self._record: tuple[float, Any] | None = None
        self._attempt = 1
        self._told = False  # whether the last `stopped` returned True, with no `record` since

    @staticmethod
    def _in_worker(
        search: str,
        number: int,
        attempt: int,
        parameters: dict[str, Any],
        channel: JobChannel,
        seed: tuple[int],
    ) -> RunningJob:
        """As `__init__`, from what a worker receives; made for every job, so it parses and copies nothing."""
        job: RunningJob = _new(RunningJob)
        job._search, job._number, job._attempt = search, number, attempt
        job.parameters = parameters
        job._channel = channel
        job._storage = job._stopper = job._metadata = job._record = None
        job._told = False
        job._seed = seed
        return job

    def _identity(self) -> tuple[str, int, int, int | tuple[int]]:
        """Return what `_known_as` needs to represent the same job in another process."""
        return self._search, self._number, self._attempt, self._seed

    def _known_as(self, search: str, number: int, attempt: int, seed: int | tuple[int]) -> RunningJob:
        """Return this job under the identity of another one; it records and asks through this one."""
        stand_in = RunningJob.__new__(RunningJob)
        stand_in.parameters, stand_in._metadata = self.parameters, self.metadata
        stand_in._storage = stand_in._stopper = stand_in._record = None
        stand_in._search, stand_in._number, stand_in._attempt, stand_in._seed = search, number, attempt, seed
        stand_in._told = False
        stand_in._channel = None if self._channel is None else _Renamed(self, self._channel)
        return stand_in

    # The mapping.

    def __getitem__(self, key: str) -> Any:
        try:
            return self.parameters[key]
        except KeyError:
            if key == "job_id":
                return max(self._number, 0)
            raise

    def __setitem__(self, key: str, value: Any) -> None:
        self.parameters[key] = value

    def __delitem__(self, key: str) -> None:
        del self.parameters[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.parameters)

    def __len__(self) -> int:
        return len(self.parameters)

    def __contains__(self, key: object) -> bool:
        return key in self.parameters or key == "job_id"

    def __repr__(self) -> str:
        return f"RunningJob(id={self.id!r}, status={self.status.value}, parameters={self.parameters!r})"

    def copy(self) -> dict[str, Any]:
        """Return a plain dict of the configuration."""
        return dict(self.parameters)

    # The job.

    @property
    def id(self) -> str:
        """``"<search>.<n>"``; for a job made by hand, the given id."""
        return self._search if self._number == UNNUMBERED else f"{self._search}.{self._number}"

    @property
    def attempt(self) -> int:
        """The number of the attempt: 1 at the first run, one more at each retry."""
        return self._attempt

    @property
    def status(self) -> JobStatus:
        """RUNNING, or CANCELLING once the job was asked to stop."""
        return JobStatus.CANCELLING if self.stopped() else JobStatus.RUNNING

    @property
    def seed(self) -> int:
        """This job's seed, 0 <= seed < 2**32; it depends only on the evaluator's seed and the job's number."""
        if not isinstance(self._seed, int):
            from evalpool.jobs._seeds import job_seed

            self._seed = job_seed(self._seed[0], max(self._number, 0))
        return self._seed

    def _inherit_seed(self, number: int) -> None:
        """Take the seed of another job, which this one continues."""
        if not isinstance(self._seed, int):
            from evalpool.jobs._seeds import job_seed

            self._seed = job_seed(self._seed[0], number)

    @property
    def metadata(self) -> dict[str, Any]:
        """Facts to keep in the job's record, in addition to metadata that the run-function returns."""
        if self._metadata is None:
            self._metadata = {}
        return self._metadata

    @property
    def storage(self) -> Any:
        """The evaluator's storage, as this worker reaches it.

        Raises:
            NotShareable: this process cannot reach the storage; the message names storages that can be shared.
        """
        if self._storage is None and self._channel is not None:
            self._storage = self._channel.storage()
        return self._storage

    @storage.setter
    def storage(self, storage: Any) -> None:
        self._storage = storage

    @property
    def stopper(self) -> Any:
        """The stopper that was given by hand, or None; see `RunningJob`."""
        return self._stopper

    @stopper.setter
    def stopper(self, stopper: Any) -> None:
        self._stopper = stopper
        introduce(stopper, self)

    # The channel.

    def record(self, budget: float, objective: Any, runtime: float | None = None) -> None:
        """Tell the evaluator an intermediate result: `objective` after `budget` (epochs, samples, seconds).

        Args:
            runtime: for simulated time, the runtime from the beginning of the training to this result, in the unit of
                the runtime that the run-function returns; None: the share that `budget` has in that. In real time the
                result comes when it is recorded.
        """
        self._record = (budget, objective)
        self._told = False  # it goes on
        if self._stopper is not None:
            self._stopper.observe(budget, objective)
        if self._channel is not None:
            times = () if runtime is None else (runtime,)
            self._channel.record(self._number, self._attempt, budget, objective, *times)

    def stopped(self) -> bool:
        """Whether this job should end now: because of a stopper, a cancel, a timeout or the end of the budget."""
        told = self._stopper is not None and bool(self._stopper.stop())
        if not told and self._channel is not None:
            told = self._channel.stopped(self._number, self._attempt)
        self._told = told
        return told

    @property
    def objective(self) -> Any:
        """The stopper's view of the objective, else the last one recorded, else None."""
        if self._stopper is not None:
            return self._stopper.objective
        return self._record[1] if self._record is not None else None


class _Renamed:
    """A channel for a job that is represented by another running job, with another number."""

    __slots__ = ("_channel", "_job")

    def __init__(self, job: RunningJob, channel: JobChannel) -> None:
        self._job, self._channel = job, channel

    def record(self, number: int, attempt: int, budget: float, objective: Any, runtime: Any = None) -> None:
        self._job.record(budget, objective, runtime)

    def stopped(self, number: int, attempt: int) -> bool:
        return self._job.stopped()

    def must_end(self, number: int, attempt: int) -> bool:
        return self._channel.must_end(self._job._number, self._job._attempt)

    def storage(self) -> Any:
        return self._channel.storage()
