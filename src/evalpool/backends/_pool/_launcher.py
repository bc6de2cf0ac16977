"""What a pool needs of an engine: start a worker, kill it, say how it ended."""

from __future__ import annotations

import abc
from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, ClassVar

from evalpool._guard import describe
from evalpool.backends._pool._child import Child, child
from evalpool.backends._pool._ends import EXIT_TIMEOUT, kill_tree
from evalpool.backends._pool._sockets import wait_for_hang_up
from evalpool.batch._cpus import usable_cpus

if TYPE_CHECKING:
    from evalpool.backends._pool._pool import Pool
    from evalpool.backends._pool._prefetcher import PoolWorker

__all__ = ["Launcher", "NoMoreWorkers"]


class NoMoreWorkers(Exception):
    """No worker can be started any more, and trying again is pointless."""


class Launcher(abc.ABC):
    """Starts the workers of a pool, kills them, and says how they ended. All else is the pool's.

    `start`, `kill` and `describe_end` must be implemented. Each is given a worker, which has an ``index`` from 0, the
    ``handle`` that `start` returned for it, ``facts`` (its name, host and process id), and ``in_flight``, its jobs.
    `start` and `kill` are called by one thread at a time, without locks, and should not take long: nothing is heard of
    workers meanwhile. `describe_end` and `release` have a thread of the worker's own, and may wait for its end.

    Attributes:
        name: of its workers: ``name-0`` and so on.
        what: a worker, as messages call it.
        workers_are: what a storage must reach: ``"processes"`` of this host, or a ``"cluster"``.
        exit_timeout: seconds that workers may take to end by themselves when the evaluator is closed.
        start_timeout: seconds that they may take to start; None for any time.
        end_timeout: seconds that one may take to end after it was killed; then it is abandoned, and replaced.
        ends_aside: the end of each worker has a thread of its own. False where nothing is waited for.
        are_alike: where one cannot start, none can.
        kills: a job is stopped by force by killing its worker, which is then replaced.
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

    _pool: Pool

    def open(self, pool: Pool) -> None:
        """Called once, before the first worker is started."""
        self._pool = pool

    def indices(self, count: int) -> Iterable[int]:
        """By what so many workers are told apart."""
        return range(count)

    @abc.abstractmethod
    def start(self, worker: PoolWorker) -> Any:
        """Begin to start a worker, and return a handle for it. What it raises is a start that failed; there are three.

        A process of this host that inherits open files is started as `child` says.
        """

    @abc.abstractmethod
    def kill(self, worker: PoolWorker) -> None:
        """End a worker at once, with all that it has started; it may have ended. Return when that is on its way.

        One that still has not ended after `end_timeout` is given up: its jobs end, and its connection is closed.
        """

    @abc.abstractmethod
    def describe_end(self, worker: PoolWorker) -> str:
        """How a worker ended, as a sentence; it stands in the failure of the job that it ran."""

    def child(self, worker: PoolWorker) -> AbstractContextManager[Child]:
        """How to start this worker as a process of this host: a command, its environment, files that it inherits.

        ::

            with self.child(worker) as child:
                return subprocess.Popen(child.command, env=child.environment, pass_fds=child.files,
                                        start_new_session=True)

        In a session of its own, Ctrl-C in a terminal is for the search.
        """
        return child(worker, max(1, usable_cpus() // self._pool.staff.count))

    @staticmethod
    def kill_tree(pid: int) -> None:
        """Kill a process of this host, its group and all its descendants; nobody may have waited for its end yet."""
        kill_tree(pid)

    @classmethod
    def evaluator_class(cls) -> Any:
        """The class of evaluators with such workers; what an entry point of ``evalpool.launchers`` stands for."""
        from evalpool.backends._pool._evaluator import pool_evaluator

        return pool_evaluator(cls)

    # What an engine may replace.

    def conclude(self, worker: PoolWorker) -> str | None:
        """The connection to a worker has ended: see to its end and return how it ended.

        None where that is not known yet: then the launcher calls ``pool.staff.bury(worker, text)`` when it is.
        """
        self.kill(worker)  # it may have closed its connection only
        text: Any = self.describe_end(worker)
        if isinstance(text, str):
            return text
        return f"The {self.what} ended. {type(self).__name__}.describe_end returned {text!r} instead of a sentence."

    def force_stop(self, worker: PoolWorker, attempt: Any) -> bool:
        """Stop by force the job that runs, where `kills` is False; can it be done? Under the pool's lock."""
        return False

    def release(self, worker: PoolWorker) -> None:
        """A worker has ended, or was given up: close what `start` has opened for it. Called once for each."""

    def wait_for_ends(self, workers: list[PoolWorker], within: float) -> list[PoolWorker]:
        """Wait, at most so many seconds, until workers that were dismissed have ended. Returns those that have not."""
        return wait_for_hang_up(workers, within)

    def describe_failed_start(self, error: Exception) -> str:
        """What `start` raised, as a sentence for the log and for the jobs that nobody can run."""
        return f"{type(self).__name__} could not start a worker.\n{describe(error)}"

    def describe_shortage(self) -> str:
        """Why no worker takes jobs, as far as can be seen: what is missing, and who has it. In any thread."""
        return "They have been started, and have not said that they are ready."

    def close(self) -> None:
        """All workers have ended."""

    def close_in_fork(self) -> None:
        """In a forked child of this process: give up everything, without ending any of it."""
