"""What a pool needs of an engine: start a worker, kill it, say how it ended."""

from __future__ import annotations

import abc
from collections.abc import Iterable
from contextlib import AbstractContextManager
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from evalpool._guard import describe
from evalpool.backends._pool._child import Child, child
from evalpool.backends._pool._ends import EXIT_TIMEOUT, kill_tree
from evalpool.backends._pool._sockets import wait_for_hang_up
from evalpool.batch._cpus import usable_cpus

if TYPE_CHECKING:
    from evalpool.backends._pool._pool import Pool
    from evalpool.backends._pool._pool_worker import PoolWorker

__all__ = ["Launcher", "NoMoreWorkers"]


class NoMoreWorkers(Exception):
    """No worker can be started any more, and further tries would fail, too."""


class Launcher(abc.ABC):
    """Starts the workers of a pool, kills them, and says how they ended. The pool does everything else.

    `start`, `kill` and `describe_end` must be implemented. Each gets a worker, which has an ``index`` from 0, the
    ``handle`` that `start` returned for it, ``facts`` (its name, host and process id), and ``in_flight``, its jobs.
    `start` and `kill` are called by one thread at a time, without locks, and should not take long, because messages of
    workers are not read meanwhile. `describe_end` and `release` are called in a separate thread for each worker, and
    may wait for its end.

    Attributes:
        name: of its workers: ``name-0`` and so on.
        what: the word for a worker in messages.
        workers_are: what a storage must reach: ``"processes"`` of this host, or a ``"cluster"``.
        exit_timeout: seconds that workers may take to end by themselves when the evaluator is closed.
        start_timeout: seconds that they may take to start; None for any time.
        end_timeout: seconds that a worker may take to end after it was killed; then it is abandoned and replaced.
        ends_aside: whether each worker's end is handled in a separate thread. False if nothing is waited for.
        are_alike: whether no worker can start if one cannot.
        kills: whether a job is stopped by force by killing its worker, which is then replaced.
    """

    name: ClassVar[str] = "worker"
    what: ClassVar[str] = "worker"
    workers_are: ClassVar[str] = "processes"
    are_alike: ClassVar[bool] = False
    kills: ClassVar[bool] = True
    ends_aside: ClassVar[bool] = True
    exit_timeout: float = EXIT_TIMEOUT
    start_timeout: float | None = 300.0
    end_timeout: float = 5.0

    def open(self, pool: Pool) -> None:
        """Prepare; called once, before the first worker is started."""
        self.__pool = pool  # no name that a launcher of somebody else has

    def indices(self, count: int) -> Iterable[int]:
        """Return the indices of `count` workers."""
        return range(count)

    @abc.abstractmethod
    def start(self, worker: PoolWorker) -> Any:
        """Begin to start a worker, and return a handle for it. If it raises, the start has failed; it is tried three
        times.

        To start a process of this host that inherits open files, use `child`.
        """

    @abc.abstractmethod
    def kill(self, worker: PoolWorker) -> None:
        """End a worker at once, with all processes that it has started; it may have ended. Do not wait for its end.

        A worker that has not ended after `end_timeout` is abandoned: its jobs end, and its connection is closed.
        """

    @abc.abstractmethod
    def describe_end(self, worker: PoolWorker) -> str:
        """Return how a worker ended, as a sentence, for the failure of the job that it ran."""

    def child(self, worker: PoolWorker) -> AbstractContextManager[Child]:
        """Return what is needed to start this worker as a process of this host: command, environment, inherited files.

        ::

            with self.child(worker) as child:
                return subprocess.Popen(child.command, env=child.environment, pass_fds=child.files,
                                        start_new_session=True)

        With a new session, a Ctrl-C in the terminal reaches only the search.
        """
        return child(worker, max(1, usable_cpus() // self.__pool.staff.count))

    @staticmethod
    def kill_tree(pid: int) -> None:
        """Kill a process of this host, its group and all its descendants. It must not have been waited for yet."""
        kill_tree(pid)

    def has_ended(self, worker: PoolWorker, text: str) -> None:
        """Tell the pool how a worker ended, if `conclude` returned None. In any thread."""
        self.__pool.command(partial(self.__pool.staff.replace, worker, text))

    @classmethod
    def evaluator_class(cls) -> Any:
        """Return the class of evaluators with such workers, which an entry point of ``evalpool.launchers`` gives."""
        from evalpool.backends._pool._evaluator import pool_evaluator

        return pool_evaluator(cls)

    # Methods that an engine may override.

    def conclude(self, worker: PoolWorker) -> str | None:
        """After the connection to a worker has closed: make sure that the worker ends, and return how it ended.

        None if that is not known yet: then the launcher calls `has_ended` later. If it does not within `end_timeout`,
        the worker is abandoned.
        """
        self.kill(worker)  # perhaps it has only closed its connection
        text: Any = self.describe_end(worker)
        if isinstance(text, str):
            return text
        return f"The {self.what} ended. {type(self).__name__}.describe_end returned {text!r} instead of a sentence."

    def force_stop(self, worker: PoolWorker, attempt: Any) -> bool:
        """Stop the running job by force, if `kills` is False; whether that is possible. Under the pool's lock."""
        return False

    def release(self, worker: PoolWorker) -> None:
        """Close what `start` has opened for a worker that has ended or was abandoned. Called once per worker."""

    def wait_for_ends(self, workers: list[PoolWorker], within: float) -> list[PoolWorker]:
        """Wait, at most `within` seconds, until dismissed workers have ended; return those that have not."""
        return wait_for_hang_up(workers, within)

    def describe_failed_start(self, error: BaseException) -> str:
        """Return a sentence about an error of `start`, for the log and for jobs that no worker can run."""
        return f"{type(self).__name__} could not start a worker.\n{describe(error)}"

    def describe_shortage(self) -> str:
        """Return why no worker takes jobs, as far as it is known: what is missing, and what uses it. In any thread."""
        return "They have been started, and have not reported that they are ready."

    def close(self) -> None:
        """Release everything; called when all workers have ended."""

    def close_in_fork(self) -> None:
        """In a forked child: close our copies of everything, without ending any worker."""
