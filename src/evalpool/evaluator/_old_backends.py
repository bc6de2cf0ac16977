"""Supports backends that are subclasses of `Evaluator`, the form before `Backend`; for one release.

A class that defines one of the old hooks gets `OldForm` as a base, which has the hooks' defaults and the services that
hooks may call. Its engine is an `OldBackend`, which calls the hooks. No other file supports the old form.
"""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

from evalpool._log import get_logger
from evalpool.evaluator._attempt import Attempt
from evalpool.evaluator._backend import Backend
from evalpool.evaluator._evaluator import Evaluator
from evalpool.evaluator._settings import check_keywords
from evalpool.outcomes import FailureKind, Outcome, Worker, failed
from evalpool.worker._call import Task

if TYPE_CHECKING:
    from evalpool.evaluator._port import Port, Turn
    from evalpool.evaluator._scheduler import Resources
    from evalpool.evaluator._worker_setup import WorkerSetup
    from evalpool.jobs._inbox import Inbox
    from evalpool.jobs._job import Job
    from evalpool.storage import Sharing, Storage

__all__ = ["OldBackend", "OldForm", "adapt", "pack"]

logger = get_logger()


def adapt(cls: type[Evaluator]) -> None:
    """Make a class of the old form work."""
    if issubclass(cls, OldForm):
        return
    if cls.__module__.partition(".")[0] != "evalpool":
        warnings.warn(
            f"{cls.__module__}.{cls.__qualname__} is a backend written as a subclass of Evaluator. The next release of "
            "evalpool will not accept that. Derive the engine from evalpool.backends.Backend and name it as the "
            'backend_class of an Evaluator; see "An engine of the old form" in docs/writing-a-backend.md.',
            DeprecationWarning,
            stacklevel=3,
        )
    bases = tuple(OldForm if base is Evaluator else base for base in cls.__bases__)
    cls.__bases__ = bases if OldForm in bases else (*bases, OldForm)


class OldForm(Evaluator):
    """The hooks of the old form with their defaults, and the methods of the evaluator that hooks could call."""

    _is_old_form = True
    _workers_are: ClassVar[str] = "threads"
    _jobs_are_isolated = False

    def _make_backend(self, own: dict[str, Any]) -> Backend:
        if own:
            check_keywords(type(self), own)
        inner = None if self.backend_class is None else super()._make_backend(own)
        return OldBackend(self, inner)

    def _lent_resources(self) -> Resources | None:
        if self._resources is None and type(self)._acquire is not OldForm._acquire:
            return _HookResources(self)
        return super()._lent_resources()

    def _start_backend(self) -> None:
        self._backend.start(self._port)  # `submit` raises what this raises

    @property
    def _close_grace(self) -> float:
        return 0.25

    # The hooks.

    def _needed_sharing(self) -> Sharing:
        from evalpool.storage import Sharing

        return self._old.inner.sharing() if self._old.inner is not None else Sharing[self._workers_are.upper()]

    def _start(self) -> None:
        if self._old.inner is not None:
            self._old.inner.start(self._port)

    def _dispatch(self, job: Job[Any]) -> None:
        if self._old.inner is None:
            raise NotImplementedError(f"{type(self).__name__} cannot run a job: it must define _dispatch.")
        self._old.inner.run([self._running[job.number]])

    def _dispatch_all(self, jobs: list[Job[Any]]) -> None:
        for job in jobs:
            try:
                self._dispatch(job)
            except Exception as error:
                logger.exception("Job %s could not be dispatched.", job.id)
                kind = FailureKind.WORKER_DIED
                self._report(job, failed(kind, f"{type(self).__name__} could not dispatch the job: {error!r}"))

    def _ask_to_stop(self, job: Job[Any]) -> None:
        if self._old.inner is not None and (attempt := self._running.get(job.number)) is not None:
            self._old.inner.ask_to_stop(attempt)

    def _interrupt(self, job: Job[Any]) -> bool:
        attempt = self._running.get(job.number)
        return self._old.inner is not None and attempt is not None and self._old.inner.force_stop(attempt)

    def _stop(self, now: bool) -> None:
        if self._old.inner is not None:
            self._old.inner.shutdown(now)

    def _wait(self, inbox: Inbox, size: int, deadline: float | None) -> None:
        if self._old.inner is None:
            self._core.wait(inbox, size, deadline)
        else:
            self._waiting.wait_with(self._old.inner.wait, inbox, size, deadline)

    async def _await(self, inbox: Inbox, size: int, deadline: float | None) -> None:
        raise NotImplementedError  # never called: `agather` calls `_wait` in another thread

    def _acquire(self, job: Job[Any]) -> dict[str, Any] | None:
        return {}

    def _release(self, job: Job[Any]) -> None:
        """Nothing was lent."""

    def _describe_extra(self, extra: dict[str, Any]) -> dict[str, Any]:
        return {}

    @property
    def _old(self) -> OldBackend:
        backend = self._backend
        assert isinstance(backend, OldBackend)
        return backend

    # What the hooks may call.

    @property
    def _watches_starts(self) -> bool:
        return self._attempts.watches_starts()

    def _task(self) -> Task:
        return _CopyingTask.of(self._make_task())

    def _report(self, job: Job[Any], outcome: Outcome, attempt: int | None = None) -> None:
        self._report_all([(job, outcome)], attempt)

    def _report_all(self, reports: list[tuple[Job[Any], Outcome]], attempt: int | None = None) -> None:
        found = [(self._attempt_of(job, attempt), outcome) for job, outcome in reports]
        self._core.report([(each, outcome) for each, outcome in found if each is not None])

    def _attempt_of(self, job: Job[Any], number: int | None) -> Attempt | None:
        """Return the running or disowned attempt of a job; with `number`, only that attempt."""
        attempt = self._running.get(job.number)
        if attempt is not None and attempt.job is job and number in (None, attempt.number):
            return attempt
        with self._core.lock:
            disowned = self._core.ledger.disowned
            return next((each for each in disowned if each.job is job and number in (None, each.number)), None)

    def _started(self, job: Job[Any], worker: Worker | None = None) -> None:
        attempt = self._running.get(job.number)
        if attempt is not None:
            self._attempts.started(attempt, worker)

    def _recorded(self, number: int, attempt: int, budget: float, objective: Any, runtime: Any = None) -> bool:
        found = self._port.find(number, attempt)
        return found is None or self._attempts.recorded(found, budget, objective, runtime)

    def _asked_to_stop(self, number: int, attempt: int) -> bool:
        found = self._port.find(number, attempt)
        return found is None or self._stops.asked_to_stop(found)

    def _set_slots(self, change: int) -> None:
        with self._core.lock:
            self._core.ledger.add_slots(change)

    def _pump(self) -> None:
        self._core.pump()

    def _end_lost(self, has: Callable[[], set[int]], capacity: int, error: BaseException) -> None:
        self._core.lost(has, capacity, error)

    @property
    def _running(self) -> dict[int, Attempt]:
        return self._core.ledger.running

    @property
    def _condition(self) -> Any:
        return self._core.condition

    @property
    def _has_deadlines(self) -> bool:
        return self._core.has_deadlines


def pack(evaluator: Evaluator, apart: Callable[[pickle.PickleBuffer], Any] | None = None) -> WorkerSetup:
    """As `Port.pack`, in the form that old backends call."""
    return evaluator._port.pack(apart)


class _HookResources:
    """The resources that an evaluator of the old form lends by its own methods."""

    def __init__(self, evaluator: OldForm) -> None:
        self.acquire = evaluator._acquire
        self.release = evaluator._release
        self.describe = evaluator._describe_extra


class OldBackend(Backend):
    """The engine of an evaluator of the old form: calls its hooks.

    Args:
        evaluator: has the hooks.
        inner: the evaluator's `backend_class`, if it has one and overrides old hooks as well.
    """

    def __init__(self, evaluator: OldForm, inner: Backend | None) -> None:
        self._evaluator = evaluator
        self.inner = inner
        cls = type(evaluator)
        self.waits = cls._await is not OldForm._await or (inner is not None and inner.waits)

    @property
    def workers_are(self) -> str:  # type: ignore[override]
        """As the old form or the engine within says."""
        return self._evaluator._workers_are if self.inner is None else self.inner.workers_are

    @property
    def jobs_are_isolated(self) -> bool:  # type: ignore[override]
        """As the old form or the engine within says."""
        return self._evaluator._jobs_are_isolated if self.inner is None else self.inner.jobs_are_isolated

    @property
    def close_grace(self) -> float:  # type: ignore[override]
        """As the old form or the engine within says."""
        return self._evaluator._close_grace if self.inner is None else self.inner.close_grace

    def open(self, wanted: int) -> int:
        return wanted if self.inner is None else self.inner.open(wanted)

    def start(self, port: Port) -> None:
        self._evaluator._start()

    def run(self, attempts: list[Attempt]) -> None:
        self._evaluator._dispatch_all([attempt.job for attempt in attempts])

    def ask_to_stop(self, attempt: Attempt) -> None:
        self._evaluator._ask_to_stop(attempt.job)

    def force_stop(self, attempt: Attempt) -> bool:
        return self._evaluator._interrupt(attempt.job)

    def wait(self, turn: Turn) -> bool:
        self._evaluator._wait(turn._inbox, turn._size, turn.deadline)
        return True

    def told_to_end(self) -> None:
        if self.inner is not None:
            self.inner.told_to_end()

    def after_fork(self) -> None:
        if self.inner is not None:
            self.inner.after_fork()

    def begin_to_close(self) -> None:
        if self.inner is not None:
            self.inner.begin_to_close()

    def shutdown(self, now: bool) -> None:
        self._evaluator._stop(now)

    def dispose(self) -> None:
        if self.inner is not None:
            self.inner.dispose()

    def sharing(self) -> Sharing:
        return self._evaluator._needed_sharing()

    def reaches(self, storage: Storage) -> bool:
        if self.inner is not None:
            return self.inner.reaches(storage)
        return super().reaches(storage)


class _CopyingTask(Task):
    """A task to whose calls an engine gives `job.args` itself, which is the caller's. Pickled, it is a plain `Task`."""

    __slots__ = ()

    @classmethod
    def of(cls, task: Task) -> _CopyingTask:
        return cls(task.run_function, task.kwargs, task.search, task.job_type, task.base_seed)

    def call(self, number: int, attempt: int, configuration: dict[str, Any], *rest: Any, **named: Any) -> Any:
        return super().call(number, attempt, dict(configuration), *rest, **named)

    async def acall(
        self, number: int, attempt: int, configuration: dict[str, Any], *rest: Any, **named: Any
    ) -> Outcome:
        return await super().acall(number, attempt, dict(configuration), *rest, **named)
