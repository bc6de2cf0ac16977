"""What an engine is: a `Backend`, which runs attempts at jobs and reports them to the `Port` that it is given."""

from __future__ import annotations

import abc
import contextlib
import functools
from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from evalpool.evaluator._attempt import Attempt
    from evalpool.evaluator._evaluator import Evaluator
    from evalpool.evaluator._port import Port, Turn
    from evalpool.storage import Sharing, Storage

__all__ = ["Backend", "disposed_if_it_fails"]


class Backend(abc.ABC):
    """An engine that runs jobs for one evaluator. Only `run` must be implemented; every attribute is the engine's own.

    The order is: the constructor, with the evaluator's arguments that are the engine's own; `open`, before the storage
    is opened; `start`, with the first submission; then `run` and what stops jobs, from several threads at the same
    time; at the end `shutdown`, if it was started, and `dispose`, always. The evaluator holds no lock in a call.
    """

    workers_are: str = "threads"
    """Where jobs run: ``"threads"`` of this process, ``"processes"`` of this host, a ``"cluster"``, or any ``"hosts"``.
    A storage must reach them."""

    jobs_are_isolated: bool = False
    """A job that ends its process ends neither the evaluator nor other jobs."""

    waits: bool = False
    """The thread that waits for jobs does the work, in `wait`; an `agather` then waits in a thread of its own."""

    counts_workers: ClassVar[bool] = False
    """``num_workers=-1`` is not the number of usable CPUs: `open` is given -1 and says how many there are."""

    close_grace: float = 0.25
    """Seconds that `Evaluator.close` leaves to jobs which notice the request to stop."""

    @classmethod
    def evaluator_class(cls) -> type[Evaluator]:
        """The class of evaluators on this engine: ``MyEvaluator`` of a ``MyBackend``; the same at each call."""
        return _evaluator_class(cls)

    def open(self, wanted: int) -> int:
        """Find out how many workers there will be, at construction, and return that; do not start them yet.

        Args:
            wanted: the evaluator's `num_workers`.

        Returns:
            How many jobs may run at a time; 0 if this process does not search but only serves, see `serve`.
        """
        return wanted

    def serve(self) -> None:
        """Run jobs for an evaluator of another process until it is closed; called if `open` returned 0."""

    def start(self, port: Port) -> None:
        """Bring up the workers; called once, in the thread that submits first.

        An error of evalpool's own (`BackendError`, `BadArgument`) is raised by `submit`. Any other makes every job
        fail with it; one of `Port.setup`, as ``F_unpicklable``.
        """

    @abc.abstractmethod
    def run(self, attempts: list[Attempt]) -> None:
        """Begin to run these and return at once; there is a free slot for each. One thread at a time calls this.

        Each must be reported once (`Port.report`), whatever becomes of it. If this raises, those that were not
        reported end as ``F_worker_died``.
        """

    def ask_to_stop(self, attempt: Attempt) -> None:
        """Let `RunningJob.stopped` turn True; only where a worker cannot ask `Port.asked_to_stop`. Any thread."""

    def force_stop(self, attempt: Attempt) -> bool:
        """Stop by force a job that did not stop when it was asked; any thread.

        Returns:
            Whether it was stopped and has been or will be reported. False if this engine cannot: the job is given back
            at once, and its slot is free again when it is reported.
        """
        return False

    def wait(self, turn: Turn) -> bool:
        """Do the engine's work in a thread that waits for jobs, until `turn.done()` or its time is up.

        May be called before `start`. A signal's handler may raise in it at any moment, as in any code of the caller's.

        Returns:
            False if nothing can be done here: the thread sleeps until its jobs have been reported.
        """
        return False

    def told_to_end(self) -> None:
        """The program is told to end, and the jobs are left to be resumed; called in a signal's handler."""

    def after_fork(self) -> None:
        """Close what a forked child has of the workers; in the child, where no thread but this one exists."""

    def shutdown(self, now: bool) -> None:
        """Release the workers. With `now`, without waiting for what still runs."""

    def dispose(self) -> None:
        """Let go of everything, also if `open` failed or `start` was never called; may be called several times."""

    def sharing(self) -> Sharing:
        """How far a storage must be shared to be of use to the workers."""
        from evalpool.storage import Sharing

        return Sharing[self.workers_are.upper()]

    def reaches(self, storage: Storage) -> bool:
        """Can the workers use this storage?"""
        return storage.shared >= self.sharing() and not (storage.ranks_only and self.workers_are != "threads")


@functools.cache
def _evaluator_class(cls: type[Backend]) -> type[Evaluator]:
    from evalpool.evaluator._evaluator import Evaluator

    facts = {"backend_class": cls, "__doc__": cls.__doc__, "__module__": cls.__module__}
    return type(f"{cls.__name__.removesuffix('Backend')}Evaluator", (Evaluator,), facts)


@contextlib.contextmanager
def disposed_if_it_fails(backend: Backend) -> Iterator[None]:
    """Dispose of the engine, if what follows fails: nobody else would release what it has opened."""
    try:
        yield
    except BaseException:
        backend.dispose()
        raise
