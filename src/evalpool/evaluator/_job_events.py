"""Makes the events that a storage keeps of a job."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from evalpool.jobs._options import NO_OPTIONS
from evalpool.outcomes import FailureKind
from evalpool.storage._events import Event

if TYPE_CHECKING:
    from evalpool.evaluator._open_search import OpenSearch
    from evalpool.evaluator._timeline import Times
    from evalpool.jobs._job import Job
    from evalpool.outcomes import Worker

__all__ = ["JobEvents"]


class JobEvents:
    """Makes the events of a search's jobs; it has no state. Any thread.

    Args:
        search: the search of the jobs.
        times: gives the timestamps and further facts of jobs.
    """

    def __init__(self, search: OpenSearch, times: Times) -> None:
        self._search_id, self._owner = search.search_id, search.owner
        self._has_objectives = search.job_type == "hpo"
        self._times = times

    def created(self, job: Job[Any]) -> Event:
        """Return the event: the job was submitted."""
        data = {"args": job.args, "submit": job._submitted, "owner": self._owner}
        if job.options is not NO_OPTIONS:
            data["options"] = job.options.chosen()
        return Event("created", self._search_id, job.number, data)

    def started(self, job: Job[Any], start: float | None, attempt: int, worker: Worker | None = None) -> Event:
        """Return the event: an attempt has begun, `start` seconds after the search, or at an unknown time."""
        data = self._of_an_attempt(job, {"start": start, "attempt": attempt})
        if worker is not None:
            data["worker"], data["host"], data["pid"] = worker
        return Event("started", self._search_id, job.number, data)

    def recorded(self, job: Job[Any], budget: float, objective: Any) -> Event:
        """Return the event: the run-function has recorded an intermediate result."""
        data = {"budget": budget, "objective": objective, "attempt": job.attempts}
        return Event("recorded", self._search_id, job.number, self._of_an_attempt(job, data))

    def _of_an_attempt(self, job: Job[Any], data: dict[str, Any]) -> dict[str, Any]:
        if job._errors:
            data["owner"] = self._owner  # needed for a retried job; see `storage/_fold.py`
        return data

    def outcome(self, job: Job[Any]) -> Event:
        """Return the event: the job has ended; or it is ready again, if it is left to be resumed."""
        outcome = job._outcome
        assert outcome is not None
        if outcome.kind is FailureKind.SUSPENDED:
            return Event("queued", self._search_id, job.number, {"attempt": job.attempts + 1, "owner": self._owner})
        times = self._times.timestamps(job)
        data: dict[str, Any] = {
            "status": outcome.status.value,
            "objective": outcome.objective if self._has_objectives else None,
            "output": job.output,
            "attempts": job.attempts,
            "timestamp_start": times["timestamp_start"],
            "timestamp_end": times["timestamp_end"],
        }
        if outcome.stopped_early is not None:
            data["stopped_early"] = outcome.stopped_early
        if outcome.kind is not None:
            data["kind"] = outcome.kind.value
            data["error"] = outcome.error
            data["objective"] = outcome.objective
        metadata = outcome.metadata
        if (facts := self._times.facts(job)) is not None:
            metadata = {**(metadata or {}), **facts}
        if metadata:
            data["metadata"] = metadata
        if job._errors:
            data["attempt_errors"] = list(job._errors)
            data["owner"] = self._owner
        if outcome.worker is not None:
            data["worker"], data["host"], data["pid"] = outcome.worker
        return Event("finished", self._search_id, job.number, data)

    def gathered(self, job: Job[Any]) -> Event:
        """Return the event: the job was gathered; its end was recorded before."""
        return Event("gathered", self._search_id, job.number, {"timestamp_gather": job._gathered})

    def ended_and_gathered(self, job: Job[Any]) -> Event:
        """Return one event for both: the job has ended and was gathered."""
        event = self.outcome(job)
        event.data["timestamp_gather"] = job._gathered
        return event
