"""Starts the workers of a pool, notices their ends, and replaces them.

A worker that ends is replaced. A worker that ends before it was ready counts as a failed start. After a few of these in
a row, its place is given up; if all places are given up, the pool is broken, and jobs fail instead of waiting for ever.
"""

from __future__ import annotations

import socket
import threading
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from evalpool._clock import monotonic
from evalpool._guard import describe, guarded_act
from evalpool._log import get_logger
from evalpool.backends._pool._ends import tell_of_cut
from evalpool.backends._pool._launcher import NoMoreWorkers
from evalpool.backends._pool._pool_worker import PoolWorker
from evalpool.outcomes import FailureKind, Worker, failed

if TYPE_CHECKING:
    from evalpool.backends._pool._pool import Pool

__all__ = ["Staff"]

logger = get_logger()

FAILED_STARTS = 3
"""The number of failed starts in a row after which no other one is tried."""
NEXT_START = 0.2
"""Seconds until the next attempt if the system refused to start a worker (no memory, no file descriptors)."""
KILLED_WITHIN = 2.0
"""Seconds that killed workers may take to end when the pool is closed."""


class Staff:
    """The workers of one pool. Only the thread that does the pool's I/O calls it, after `start_first`."""

    def __init__(self, pool: Pool, count: int) -> None:
        self._pool = pool
        self._launcher = pool.launcher
        self.count = count  # how many workers there should be
        self._indices: list[int] = []  # of workers that have not been started, the next one last
        self._sets_up = False  # whether workers are sent the pool's setup when they are connected
        self._failed: Counter[int] = Counter()  # failed starts in a row, by place; at 0 if all workers are alike
        self._given_up = 0  # number of places that were given up
        self._reason = ""  # why the last of them was given up, as it was logged
        self._aside: dict[PoolWorker, threading.Thread] = {}  # threads that handle the ends of workers

    def _ask(self, act: Callable[[PoolWorker], str | None], worker: PoolWorker, to: str) -> str | None:
        """Call a method of the launcher for one worker. An error is logged, and concerns no other worker.

        Returns:
            What `act` returns, or its error as a text for the job that the worker ran.
        """
        try:
            return act(worker)
        except Exception as error:  # noqa: BLE001  the launcher may be code of another package
            text = f"{type(self._launcher).__name__} could not {to} worker {worker.index}.\n{describe(error)}"
            logger.error(text)
            return text

    def _have_killed(self, worker: PoolWorker) -> str | None:
        def kill(worker: PoolWorker) -> None:
            self._launcher.kill(worker)  # whatever it returns is ignored

        if worker in self._aside:  # it has ended, and its process id may belong to another process now
            return None
        return self._ask(kill, worker, "kill")

    def _have_released(self, worker: PoolWorker) -> None:
        self._ask(self._launcher.release, worker, "release")

    def _release(self, worker: PoolWorker) -> None:
        if not self._launcher.ends_aside:
            self._have_released(worker)
        elif worker not in self._aside:  # else that thread does it
            self._do_aside(worker, self._have_released)

    def _do_aside(self, worker: PoolWorker, act: Callable[[PoolWorker], None]) -> None:
        """Do something that may wait for a worker's end, in a separate thread."""

        def act_and_leave() -> None:
            try:
                act(worker)
            finally:
                del self._aside[worker]

        title = f"The thread that handles the end of worker {worker.index}"
        self._aside[worker] = thread = guarded_act("evalpool-end", title, act_and_leave)
        try:
            thread.start()
        except RuntimeError:  # the system gives no more threads: better here, late, than never
            act_and_leave()

    # Starts.

    def start_first(self) -> None:
        """Start the first worker, in the thread that makes the pool."""
        self._indices = list(self._launcher.indices(self.count))[::-1]
        if self._indices:
            try:
                self.start(self._indices.pop())
            except BaseException:  # such as `SystemExit`; it counts as a failed start, and is not for the caller
                logger.exception("%s.start wanted to end the program.", type(self._launcher).__name__)

    def start_others(self) -> None:
        """Send the first worker the pool's setup, which is known now, and start the others."""
        self._sets_up = self._pool.setup is not None
        for worker in list(self._pool.workers.values()):
            if self._sets_up and worker.link is not None:
                self._set_up(worker)
        self._start_next(self._indices)

    def _start_next(self, indices: list[int]) -> None:
        """Start one worker, and the next one as a command, so that frames of started workers are read in between."""
        if indices:
            self.start(indices.pop())
            self._pool.command(partial(self._start_next, indices))

    def start(self, index: int) -> None:
        """Start a worker in a free place."""
        pool = self._pool
        if pool.stopping or pool.broken or index in pool.workers or len(pool.workers) >= self.count:
            return
        name = f"{self._launcher.name}-{index}"
        worker = PoolWorker(index, Worker(name, socket.gethostname(), 0), monotonic())
        with pool.lock:
            pool.prefetcher.add(worker)
        try:
            worker.handle = self._launcher.start(worker)
            if worker.link is not None:
                self.connected(worker)
        except NoMoreWorkers as error:
            self._clean_up_failed(worker)
            self.give_up(f"No {self._launcher.what} can be started:", str(error))
        except BaseException as error:  # counted as a failed start, and logged
            self._clean_up_failed(worker)
            if self._may_start_again(index, self._launcher.describe_failed_start(error)):
                pool.port.after(NEXT_START, pool.command, partial(self.start, index))
            if not isinstance(error, Exception):  # `sys.exit()` of a library, or an interrupt of who leads
                raise

    def _clean_up_failed(self, worker: PoolWorker) -> None:
        """Remove a worker that could not be started."""
        pool = self._pool
        with pool.lock:
            pool.prefetcher.remove(worker)
        if worker.handle is not None:
            self._have_killed(worker)
            self._release(worker)
        pool.transport.drop(worker)

    def connected(self, worker: PoolWorker) -> None:
        """Send a worker its setup and begin to read from it, once there is a connection."""
        pool = self._pool
        pool.transport.add(worker)
        if self._sets_up:
            self._set_up(worker)
        if self._launcher.start_timeout is not None:
            pool.port.after(self._launcher.start_timeout, self._check_start, worker)

    def _set_up(self, worker: PoolWorker) -> None:
        with self._pool.sending:
            self._pool.transport.send(worker, self._pool.setup)

    def _check_start(self, worker: PoolWorker) -> None:
        if not worker.ready:
            self._pool.command(partial(self._kill, worker))

    def started_up(self, worker: PoolWorker) -> None:
        """Note that a worker is ready for jobs."""
        pool = self._pool
        self._failed.pop(self._place_of(worker.index), None)
        with pool.lock:
            pool.prefetcher.start_up(worker)
        pool.shortage.end()

    def _place_of(self, index: int) -> int:
        return 0 if self._launcher.are_alike else index

    # Ends.

    def _kill(self, worker: PoolWorker) -> None:
        """Kill a worker. If it cannot be killed, replace it at once."""
        if self._pool.workers.get(worker.index) is worker:
            self._expect_end(worker)  # first, as whatever `kill` raises, the worker's job must end
            text = self._have_killed(worker)
            if text is not None:
                self.replace(worker, text)

    def _expect_end(self, worker: PoolWorker) -> None:
        """Abandon a worker that is killed if it does not end in time."""
        self._pool.port.after(self._launcher.end_timeout, self._pool.command, partial(self._abandon, worker))

    def _abandon(self, worker: PoolWorker) -> None:
        """Replace a worker that has not ended, although it was killed."""
        if self._pool.workers.get(worker.index) is worker:
            text = (
                f"Worker {worker.index} ({worker.facts.name}, process {worker.facts.pid} on {worker.facts.host}) did "
                f"not end within {self._launcher.end_timeout:g} s after {type(self._launcher).__name__}.kill, and is "
                "abandoned: its job may still run."
            )
            logger.error(text)
            self.replace(worker, text)

    def kill_at(self, worker: PoolWorker, attempt: Any) -> None:
        """Kill a worker if it still runs this attempt. The attempt may have ended, and the worker may run another."""
        if self._pool.workers.get(worker.index) is worker:
            self._pool.transport.drain(worker)
            if worker.head() is attempt:
                self._kill(worker)

    def ended(self, worker: PoolWorker) -> None:
        """Handle the end of a worker, or of the connection to it."""
        if worker.ending or self._pool.workers.get(worker.index) is not worker:
            return
        pool = self._pool
        pool.transport.drain(worker)
        aside = self._launcher.ends_aside
        text = None if aside else self._ask(self._launcher.conclude, worker, "handle the end of")
        if text is not None:
            self.replace(worker, text)
            return
        worker.ending = True
        pool.transport.hold(worker)
        with pool.lock:
            pool.prefetcher.hold(worker)
        if aside:
            self._do_aside(worker, self._conclude_aside)
        self._expect_end(worker)

    def _conclude_aside(self, worker: PoolWorker) -> None:
        text = self._ask(self._launcher.conclude, worker, "handle the end of")
        if text is not None:
            self._have_released(worker)
            self._pool.command(partial(self.replace, worker, text, released=True))

    def replace(self, worker: PoolWorker, text: str, released: bool = False) -> None:
        """Remove a worker that has ended, and start another one in its place.

        Its first job in flight fails with `text`: workers run jobs in the order in which they were sent, so it is the
        one that ran. The other jobs did not begin, nor did the first if the worker had not read it.
        """
        pool = self._pool
        if pool.workers.get(worker.index) is not worker:
            return
        try:
            pool.transport.look(worker)  # read the outcomes that it held; it writes no more
            begun = self._take_jobs_of(worker)
            if not released:
                self._release(worker)
            pool.transport.drop(worker)
            for attempt in begun:
                self._blame(attempt, worker, text)
        finally:
            if worker.ready or self._may_start_again(worker.index, text):
                self.start(worker.index)

    def _take_jobs_of(self, worker: PoolWorker) -> list[Any]:
        """Let others do the jobs that it had not begun; returns the attempt that it ran, if any."""
        pool = self._pool
        with pool.sending, pool.lock:  # nothing is on its way there
            unread = worker.last_frame if pool.transport.left_unread(worker) else worker.refused
            attempts = pool.prefetcher.remove(worker)
            begun = [attempt for attempt in attempts[:1] if attempt.place < unread]
            pool.prefetcher.unassign(attempts[len(begun) :])
            last = worker.ready and not pool.prefetcher.has_ready()
        if last:
            pool.shortage.begin()
        return begun

    def _blame(self, attempt: Any, worker: PoolWorker, text: str) -> None:
        kind, now = FailureKind.WORKER_DIED, monotonic()
        self._pool.report(attempt, failed(kind, text, start=worker.since, end=now, worker=worker.facts))

    def discard(self, worker: PoolWorker, text: str) -> None:
        """Fail the job of a worker with this text, and replace it, since what was sent to or by it is not known."""
        if self._launcher.kills:
            self._have_killed(worker)
            self.replace(worker, text)
            return
        with self._pool.lock:
            attempts = self._pool.prefetcher.empty(worker)
        for attempt in attempts:
            self._blame(attempt, worker, text)

    def _may_start_again(self, index: int, text: str) -> bool:
        """Count a failed start of a worker. Return whether to start it again; if not, give its place up."""
        if self._pool.stopping or self._pool.broken:
            return False
        place = self._place_of(index)
        self._failed[place] += 1
        if self._failed[place] < FAILED_STARTS:
            return True
        self._given_up += 1
        if self._launcher.are_alike or self._given_up >= self.count:
            what = self._launcher.what
            self.give_up(f"No {what} can be started; {FAILED_STARTS} attempts in a row failed.", text)
        else:
            said = f"Worker {index} was given up after {FAILED_STARTS} attempts to start it."
            logger.error("%s %s", said, self._unless_said(text))
        return False

    def _unless_said(self, text: str) -> str:
        """Return the reason, which may be a long traceback, or a sentence if it is the one that was logged last."""
        if self._reason == text:
            return "The reason is the same as before."
        self._reason = text
        return text

    def give_up(self, what: str, reason: str) -> None:
        """Log, once, that workers cannot be started, and let jobs fail instead of waiting for ever."""
        pool = self._pool
        if not pool.broken:
            pool.broken = f"{what} {reason}"
            logger.error("%s %s", what, self._unless_said(reason))
            pool.prefetcher.slots += self.count  # so that jobs are handed over, and then reported as failed

    def resize(self, count: int) -> None:
        """Use `count` workers from now on. The launcher ends those beyond this number."""
        pool = self._pool
        self.count = count
        pool.port.set_workers(max(1, count))
        for worker in list(pool.workers.values()):
            if len(pool.workers) > count and worker.link is None:  # it waits for a place that is gone now
                self._clean_up_failed(worker)
        for index in self._launcher.indices(count):
            self.start(index)

    # The end of the pool.

    def begin_to_stop(self) -> None:
        """Let the workers without a job end, and kill the others."""
        pool = self._pool
        pool.stopping = True
        for worker in list(pool.workers.values()):
            if self._is_idle(worker):
                worker.link.hang_up()
            else:
                self._have_killed(worker)

    @staticmethod
    def _is_idle(worker: PoolWorker) -> bool:
        return worker.ready and not worker.in_flight and not worker.ending and worker.link is not None

    def end_all(self) -> None:
        """Wait until all workers have ended, for a limited time."""
        pool, launcher = self._pool, self._launcher
        if not launcher.kills:
            return
        workers = list(pool.workers.values())
        for worker in launcher.wait_for_ends(list(filter(self._is_idle, workers)), launcher.exit_timeout):
            where = f" on {worker.facts.host}" if launcher.workers_are == "cluster" else ""
            tell_of_cut(f"Worker {worker.index} (process {worker.facts.pid}{where})", launcher.exit_timeout)
        for worker in workers:
            self._have_killed(worker)
        launcher.wait_for_ends([worker for worker in workers if not worker.ending], KILLED_WITHIN)
        with pool.lock:
            for worker in workers:
                pool.prefetcher.remove(worker)
        for worker in workers:
            self._release(worker)
            pool.transport.drop(worker)
        until = monotonic() + KILLED_WITHIN
        for thread in list(self._aside.values()):
            thread.join(max(0.0, until - monotonic()))
