"""What an engine is: a `Backend`, which runs attempts at jobs and reports them to the `Port` that it is given."""

from __future__ import annotations

import abc
import contextlib
import functools
from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

from evalpool.errors import BadArgument

if TYPE_CHECKING:
    from evalpool.evaluator._attempt import Attempt
    from evalpool.evaluator._evaluator import Evaluator
    from evalpool.evaluator._port import Port, Turn
    from evalpool.storage import Sharing, Storage

__all__ = ["Backend", "disposed_if_it_fails", "refuse_hidden_methods"]


class Backend(abc.ABC):
    """An engine that runs jobs for one evaluator. Only `run` must be implemented.

    It is an object of its own, so its attributes collide with no name of the evaluator; only the names of the methods
    below are taken.

    The order of calls is: the constructor, with those arguments of the evaluator that belong to the engine; `open`,
    before the storage is opened; `start`, with the first submission; then `run` and the methods that stop jobs, from
    several threads at the same time; at the end `shutdown`, if it was started, and `dispose`, always. The evaluator
    holds no lock during a call.
    """

    workers_are: str = "threads"
    """Where jobs run: ``"threads"`` of this process, ``"processes"`` of this host, a ``"cluster"``, or any ``"hosts"``.
    A storage must reach them."""

    jobs_are_isolated: bool = False
    """A job that ends its process ends neither the evaluator nor other jobs."""

    waits: bool = False
    """The thread that waits for jobs does the work, in `wait`; `agather` then waits in a separate thread."""

    counts_workers: ClassVar[bool] = False
    """``num_workers=-1`` is not the number of usable CPUs: `open` is given -1 and says how many there are."""

    close_grace: float = 0.25
    """Seconds that `Evaluator.close` waits for jobs which notice the request to stop."""

    @classmethod
    def evaluator_class(cls) -> type[Evaluator]:
        """Return the class of evaluators on this engine: ``MyEvaluator`` for ``MyBackend``; the same at each call."""
        return _evaluator_class(cls)

    def open(self, wanted: int) -> int:
        """Find out, at construction, how many workers there will be; do not start them yet.

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

        If this raises an error of evalpool's own (`BackendError`, `BadArgument`), `submit` raises it. Any other error
        makes every job fail with its text; an error of `Port.setup` makes them fail as ``F_unpicklable``.
        """

    @abc.abstractmethod
    def run(self, attempts: list[Attempt]) -> None:
        """Begin to run these attempts and return at once; each has a free slot. One thread at a time calls this.

        Each must be reported once (`Port.report`), however it ends. If this raises, those that were not reported end
        as ``F_worker_died``.
        """

    def ask_to_stop(self, attempt: Attempt) -> None:
        """Make `RunningJob.stopped` True. Needed only where a worker cannot ask `Port.asked_to_stop`. Any thread."""

    def force_stop(self, attempt: Attempt) -> bool:
        """Stop by force a job that did not stop when it was asked; any thread.

        Returns:
            Whether it was stopped and has been or will be reported. False if this engine cannot stop it: then the job
            gets its outcome at once, and its slot is free again when the attempt is reported.
        """
        return False

    def wait(self, turn: Turn) -> bool:
        """Do the engine's work in a thread that waits for jobs, until `turn.done()` is true or its time is up.

        It may be called before `start`. A signal handler may raise in it at any moment, as in the caller's own code.

        Returns:
            False if there is nothing to do in this thread: it then sleeps until its jobs have been reported.
        """
        return False

    def told_to_end(self) -> None:
        """Hear that the program is about to end; its jobs are left to be resumed. Called in a signal handler."""

    def begin_to_close(self) -> None:
        """Hear that the evaluator is being closed: this thread now waits at most `close_grace` seconds for its jobs.

        A signal handler may close the evaluator in a thread that is inside `wait`, which then does no more work.
        """

    def after_fork(self) -> None:
        """Close what a forked child inherited of the workers. Called in the child, which has only this thread."""

    def shutdown(self, now: bool) -> None:
        """Release the workers. With `now`, without waiting for what still runs."""

    def dispose(self) -> None:
        """Release everything, also if `open` failed or `start` was never called; may be called several times."""

    def sharing(self) -> Sharing:
        """Return how far a storage must be shared for the workers to reach it."""
        from evalpool.storage import Sharing

        return Sharing[self.workers_are.upper()]

    def reaches(self, storage: Storage) -> bool:
        """Whether the workers can use this storage."""
        return storage.shared >= self.sharing() and not (storage.ranks_only and self.workers_are != "threads")


@functools.cache
def _evaluator_class(cls: type[Backend]) -> type[Evaluator]:
    from evalpool.evaluator._evaluator import Evaluator

    facts = {"backend_class": cls, "__doc__": cls.__doc__, "__module__": cls.__module__}
    return type(f"{cls.__name__.removesuffix('Backend')}Evaluator", (Evaluator,), facts)


def refuse_hidden_methods(engine: object, base: type) -> None:
    """Raise `BadArgument` if an attribute of an engine is in the place of a method of `base` that evalpool calls."""
    for name in dir(base):
        if not name.startswith("_") and callable(getattr(base, name)) and not callable(own := getattr(engine, name)):
            raise BadArgument(
                f"{type(engine).__name__} has an attribute {name!r} of its own, {own!r}, where {base.__name__} has a "
                "method, which evalpool calls. Give the attribute another name."
            )


@contextlib.contextmanager
def disposed_if_it_fails(backend: Backend) -> Iterator[None]:
    """Dispose of the engine if the block fails: nothing else would release what the engine has opened."""
    try:
        yield
    except BaseException:
        backend.dispose()
        raise
