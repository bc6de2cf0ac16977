"""What jobs are lent while they run in virtual time: from their virtual start to their virtual end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from evalpool.worker._call import SEED_NUMBER

if TYPE_CHECKING:
    from evalpool.evaluator._timeline import Underneath
    from evalpool.jobs._job import Job

__all__ = ["VirtualResources"]


class VirtualResources:
    """Lends the resources of an evaluator, if it has any; they are used under the core's lock, as in real time."""

    def attach(self, underneath: Underneath) -> None:
        """The resources are this one's."""
        self._resources, self._lock = underneath.resources, underneath.core.lock

    def acquire(self, job: Job[Any]) -> dict[str, Any] | None:
        """What a job that is to start is lent, as keyword arguments; None if it must wait for it."""
        if self._resources is None:
            return {}
        with self._lock:
            return self._resources.acquire(job)

    def release(self, job: Job[Any]) -> None:
        """A job has ended in virtual time: what it was lent comes back."""
        if self._resources is not None:
            with self._lock:
                self._resources.release(job)

    def describe(self, job: Job[Any]) -> dict[str, Any]:
        """What the metadata of a job says of it."""
        lent = {name: value for name, value in (job._extra or {}).items() if name != SEED_NUMBER}
        return self._resources.describe(lent) if lent and self._resources is not None else {}
