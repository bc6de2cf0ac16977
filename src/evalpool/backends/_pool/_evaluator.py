"""The evaluators whose workers are a pool's, whatever launches them."""

from __future__ import annotations

import inspect
import pickle
from typing import Any, ClassVar

from evalpool._patched import refuse_if_patched
from evalpool.backends._pool import _lend, _wire
from evalpool.backends._pool._encoding import Pickled
from evalpool.backends._pool._launcher import Launcher
from evalpool.backends._pool._logs import levels
from evalpool.backends._pool._pool import Pool
from evalpool.backends._pool._sockets import SocketTransport
from evalpool.batch._deadline import heard_by_the_search
from evalpool.evaluator._attempt import Attempt
from evalpool.evaluator._old_backends import OldForm
from evalpool.evaluator._parcel import pack
from evalpool.jobs._inbox import Inbox
from evalpool.jobs._job import Job
from evalpool.outcomes import FailureKind, failed

__all__ = ["LaunchedEvaluator", "PoolEvaluator", "pool_evaluator"]


class PoolEvaluator(OldForm):
    """An engine implements `_start`: it sets `_pool`, or calls `_refuse_all`."""

    def __init__(self, run_function: Any, **kwargs: Any) -> None:
        refuse_if_patched(type(self).__name__)
        super().__init__(run_function, **kwargs)
        self._pool: Pool | None = None
        self._unpicklable = ""
        self._set_slots(-self._num_workers)  # workers bring theirs when they are up

    def _refuse_all(self, reason: str) -> None:
        """The run-function cannot go to any worker: each job ends with this reason."""
        self._unpicklable = reason
        self._set_slots(self._num_workers)

    def _dispatch(self, job: Job[Any]) -> None:
        self._dispatch_all([job])

    def _dispatch_all(self, jobs: list[Job[Any]]) -> None:
        if self._pool is not None:
            running = self._core.ledger.running
            self._pool.run([running[job.number] for job in jobs])
            return
        for job in jobs:
            self._report(job, failed(FailureKind.UNPICKLABLE, self._unpicklable))

    def _wait(self, inbox: Inbox, size: int, deadline: float | None) -> None:
        if self._pool is None or not self._pool.wait(inbox, size, deadline):
            super()._wait(inbox, size, deadline)

    def _ask_to_stop(self, job: Job[Any]) -> None:
        attempt = self._attempt_at(job)
        if self._pool is not None and attempt is not None:
            self._pool.ask_to_stop(attempt)

    def _interrupt(self, job: Job[Any]) -> bool:
        attempt = self._attempt_at(job)
        return self._pool is not None and attempt is not None and self._pool.force_stop(attempt)

    def _attempt_at(self, job: Job[Any]) -> Attempt | None:
        """The attempt at this job that the pool has, if it has one."""
        if self._pool is None:
            return None
        with self._pool.lock:
            attempt: Attempt | None = self._pool.prefetcher.attempt_at(job)
            return attempt

    def _stop(self, now: bool) -> None:
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown()


class LaunchedEvaluator(PoolEvaluator):
    """Its workers are processes that a `Launcher` starts, each spoken to over sockets.

    The run-function travels by value, once per worker. A worker that dies costs only the job it ran and is replaced;
    a job over its timeout is killed with its worker. A run-function or keyword arguments that cannot be pickled make
    each job an ``F_unpicklable``.

    Args:
        run_function: as for every evaluator.
        **kwargs: those of the launcher's own class; all else as for every evaluator.
    """

    _workers_are: ClassVar[str] = "processes"
    _jobs_are_isolated = True
    launcher_class: ClassVar[type[Launcher]]
    _thread_name: ClassVar[str] = "evalpool-pool-io"

    def __init__(self, run_function: Any, **kwargs: Any) -> None:
        own = inspect.signature(self.launcher_class).parameters
        self._launcher = self.launcher_class(**{name: kwargs.pop(name) for name in own if name in kwargs})
        super().__init__(run_function, **kwargs)

    def _start(self) -> None:
        large: list[pickle.PickleBuffer] = []
        parcel = pack(self, large.append)
        if parcel.error:
            self._refuse_all(parcel.error)
            return
        setup = {
            "origin": parcel.origin,
            "task": parcel.task,
            "buffers": large,
            "storage": parcel.storage,
            "advice": parcel.advice,
            "decides": self._stopper is not None,
            "lends": True,
            "levels": levels(),
            "signals": heard_by_the_search(),
        }
        transport = SocketTransport()
        message = transport.message_of(Pickled(_wire.SETUP, (-1, 0), *_wire.dump(setup)))
        if not isinstance(message, _lend.Lent):
            # Workers that are replaced later get the run-function as it was when the evaluator was made.
            message = [bytes(piece) for piece in message]
        self._pool = Pool(self._port, self._launcher, transport, self._thread_name, message)


def pool_evaluator(launcher_class: type[Launcher]) -> type[LaunchedEvaluator]:
    """The class of evaluators whose workers are started by launchers of this class, whose arguments they take, too."""

    class Launched(LaunchedEvaluator):
        def __init__(self, run_function: Any, **kwargs: Any) -> None:
            super().__init__(run_function, **kwargs)

    own = [each.replace(kind=each.KEYWORD_ONLY) for each in inspect.signature(launcher_class).parameters.values()]
    first, *rest = inspect.signature(Launched.__init__).parameters.values()
    parameters = [first, rest[0], *own, rest[-1]]
    Launched.__init__.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    Launched.launcher_class = launcher_class
    Launched._workers_are = launcher_class.workers_are
    Launched.__doc__ = launcher_class.__doc__ or LaunchedEvaluator.__doc__
    Launched.__module__ = launcher_class.__module__
    Launched.__name__ = Launched.__qualname__ = f"{launcher_class.__name__.removesuffix('Launcher')}PoolEvaluator"
    return Launched
