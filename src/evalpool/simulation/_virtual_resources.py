"""Lends resources to jobs in virtual time: from their virtual start to their virtual end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from evalpool.worker._call import SEED_NUMBER

if TYPE_CHECKING:
    from evalpool.evaluator._timeline import EvaluatorAccess
    from evalpool.jobs._job import Job

__all__ = ["VirtualResources"]


class VirtualResources:
    """Lends the resources of an evaluator, if it has any. They are called under the core's lock, as in real time."""

    def attach(self, access: EvaluatorAccess) -> None:
        """Connect to the evaluator that has the resources."""
        self._resources, self._lock = access.resources, access.core.lock

    def acquire(self, job: Job[Any]) -> dict[str, Any] | None:
        """Lend resources to a job that is about to start, as keyword arguments; None if it must wait."""
        if self._resources is None:
            return {}
        with self._lock:
            return self._resources.acquire(job)

    def release(self, job: Job[Any]) -> None:
        """Take back the resources of a job that has ended in virtual time."""
        if self._resources is not None:
            with self._lock:
                self._resources.release(job)

    def describe(self, job: Job[Any]) -> dict[str, Any]:
        """Return what a job's metadata says of its resources."""
        lent = {name: value for name, value in (job._extra or {}).items() if name != SEED_NUMBER}
        return self._resources.describe(lent) if lent and self._resources is not None else {}
