"""The evaluator of evalpool's beneath one of here: opened with the settings of the moment, and opened again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import evalpool
from evalpool._clock import monotonic
from evalpool.compat.deephyper.evaluator._jobs import Jobs, hearing
from evalpool.compat.deephyper.evaluator._running_job import adapted, as_objective, as_task
from evalpool.compat.deephyper.evaluator._sent import what_workers_get
from evalpool.errors import BadArgument

if TYPE_CHECKING:
    from evalpool.storage import Storage

__all__ = ["GRACE", "Beneath", "Settings", "Staying"]

GRACE = 2.0
"""Seconds that a job which was asked to stop has to return its value. deephyper waits as long as it takes. Here a
run-function that looks for CANCELLING once a second is served, and one that never looks cannot hold up the search."""


class Settings(NamedTuple):
    """What programs may set on an evaluator at any time, and evalpool takes at construction."""

    run_function: Any
    kwargs: dict[str, Any]
    num_workers: int | None
    callbacks: tuple[Any, ...]
    stopper: Any
    is_hpo: bool
    queue: tuple[tuple[Any, ...], int] | None
    custom: Any

    def changed(self, other: Settings) -> list[str]:
        """The names of those that are not the same objects in both."""
        return [name for name, mine, its in zip(self._fields, self, other, strict=True) if not _same(mine, its)]


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, dict):  # not by ==, which arrays answer with an array
        return one.keys() == other.keys() and all(one[key] is other[key] for key in one)
    return one is other or (isinstance(one, (tuple, int)) and one == other) or type(one).__name__ == "Executing"


class Beneath:
    """One evaluator of evalpool's at a time, all on the same search.

    Args:
        cls: of the evaluator.
        options: its own arguments.

    Attributes:
        evaluator: the one that is open; None before the first and after `close`.
    """

    def __init__(self, cls: Any, jobs: Jobs, storage: Storage, search_id: str, options: dict[str, Any]) -> None:
        self._class, self._jobs, self._storage, self._search_id = cls, jobs, storage, search_id
        self._options = options
        self.evaluator: Any = None
        self._settings: Settings | None = None
        self._cap: int | None = None
        self._budget: tuple[float, float] | None = None  # seconds, and since when
        self._sent: bytes | None = None  # what workers got that no job has gone to yet

    def open_and_start(self, settings: Settings) -> None:
        """Make the evaluator, and let its workers start now, so that they import while the program does."""
        self.open(settings)
        self._sent = what_workers_get(settings.run_function, settings.kwargs)
        if self._sent is not None:
            self.evaluator.submit([])

    def open(self, settings: Settings) -> None:
        """Make the evaluator."""
        cls, options = self._class, dict(self._options)
        if settings.queue is not None:
            cls = evalpool.queued(cls)
            options["queue"], options["queue_pop_per_task"] = settings.queue
        convert = as_objective if settings.is_hpo else as_task
        shown = settings.stopper if hasattr(settings.stopper, "observed_objectives") else None
        num_workers = {} if settings.num_workers is None else {"num_workers": settings.num_workers}
        self.evaluator = cls(
            settings.custom or adapted(settings.run_function, convert, shown, settings.stopper is not None),
            callbacks=[hearing(callback, self._jobs) for callback in settings.callbacks],
            run_function_kwargs={} if settings.custom else settings.kwargs,
            storage=self._storage,
            search_id=self._search_id,
            job_type="hpo" if settings.is_hpo else "task",
            stopper=settings.stopper,
            grace=GRACE,
            **num_workers,
            **options,
        )
        if settings.is_hpo and self._settings is not None and not self._settings.is_hpo and self._storage.keeps:
            self._storage.store_search_value(self._search_id, "job_type", "hpo")  # what is in its records from now on
        self._settings = settings
        self.evaluator.set_maximum_num_jobs_submitted(self._cap)
        if self._budget is not None:
            seconds, since = self._budget
            self.evaluator.timeout = max(seconds - (monotonic() - since), 1e-6)

    def ready(self, settings: Settings, num_out: int) -> Any:
        """The evaluator, with these settings.

        Args:
            num_out: how many jobs are out.

        Raises:
            BadArgument: a setting has changed while jobs are out.
        """
        if self.evaluator is not None and self._settings is not None:
            changed = settings.changed(self._settings)
            if not changed:
                return self.evaluator
            if num_out:
                raise BadArgument(
                    f"{', '.join(changed)} of the evaluator changed while {num_out} jobs are out, which have the "
                    "settings of before. Gather them first."
                )
            self._reopen(changed)
        if self.evaluator is None:
            self.open(settings)
        return self.evaluator

    def for_jobs(self, settings: Settings, num_out: int) -> Any:
        """As `ready`, before a submission; workers that have what the program has changed since are replaced."""
        sent, self._sent = self._sent, None
        if sent is not None and sent != what_workers_get(settings.run_function, settings.kwargs):
            self._reopen([])
        return self.ready(settings, num_out)

    def _reopen(self, changed: list[str]) -> None:
        self.evaluator.close()
        self.evaluator = self._sent = None

    def close(self) -> tuple[list[Any], list[Any]]:
        """End the evaluator; returns the jobs that it cancelled, and those that had finished and were not gathered."""
        evaluator, self.evaluator, self._budget, self._sent = self.evaluator, None, None, None
        if evaluator is None:
            return [], []
        cancelled = evaluator.close()
        return cancelled, evaluator.gather("ALL")

    def end(self) -> None:
        """The program has left the evaluator."""

    def set_cap(self, cap: int | None) -> None:
        """Of the numbers of jobs in the search; None: no cap."""
        self._cap = cap
        if self.evaluator is not None:
            self.evaluator.set_maximum_num_jobs_submitted(cap)

    def set_budget(self, seconds: float | None) -> None:
        """Begin a time budget, or lift it."""
        self._budget = None if seconds is None else (seconds, monotonic())
        if self.evaluator is not None:
            self.evaluator.timeout = seconds


class Staying(Beneath):
    """On ranks of MPI, which serve one evaluator and then go on with their program: it stays open until the end."""

    def _reopen(self, changed: list[str]) -> None:
        raise BadArgument(
            f"{', '.join(changed)} of the evaluator changed after its first jobs, and the ranks of MPI serve it as it "
            "was. Make another evaluator, in another `with`."
        )

    def close(self) -> tuple[list[Any], list[Any]]:
        self._budget = None
        if self.evaluator is None:
            return [], []
        self.evaluator.timeout = None
        self.evaluator.cancel(self._jobs.cores_out())
        ended = self.evaluator.gather("ALL")
        cancelled = [job for job in ended if job.status is evalpool.JobStatus.CANCELLED]
        return cancelled, [job for job in ended if job.status is not evalpool.JobStatus.CANCELLED]

    def end(self) -> None:
        if self.evaluator is not None:
            self.evaluator.close()
