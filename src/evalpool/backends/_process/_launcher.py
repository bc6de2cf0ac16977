"""The launcher of interpreters on this machine; each is supervised, and killed with all processes that it started."""

from __future__ import annotations

import sys
from typing import ClassVar

from evalpool._checks import check_real
from evalpool._descriptors import can_read
from evalpool._guard import describe
from evalpool._interpreter import interpreter
from evalpool.backends._pool._ends import EXIT_TIMEOUT, Reaper
from evalpool.backends._pool._launcher import Launcher
from evalpool.backends._pool._pool import Pool
from evalpool.backends._pool._pool_worker import PoolWorker
from evalpool.backends._pool._sockets import SocketTransport
from evalpool.backends._pool._worker_process import WorkerProcess, spawn, wait_for_ends
from evalpool.batch._cpus import usable_cpus
from evalpool.outcomes import Worker

__all__ = ["InterpreterLauncher"]


ENDS_WITHIN = 5.0
"""Seconds that the system may take to end a killed process."""


class InterpreterLauncher(Launcher):
    """Starts fresh interpreters.

    Its workers' handles are `WorkerProcess` objects. Their standard error is passed on, and its end is kept for the
    message if the worker dies.
    """

    name: ClassVar[str] = "process"
    what: ClassVar[str] = "worker process"
    ends_aside: ClassVar[bool] = False  # what it watches is this thread's, and the system ends what is killed
    end_timeout = 30.0  # to free hundreds of gigabytes takes a while

    def __init__(self, exit_timeout: float = EXIT_TIMEOUT) -> None:
        interpreter()  # to refuse where there is none, before a job is taken
        self.exit_timeout = check_real("exit_timeout", exit_timeout, least=0)

    def open(self, pool: Pool) -> None:
        super().open(pool)
        self._pool = pool
        transport = pool.transport
        assert isinstance(transport, SocketTransport)
        self._watch, self._unwatch = transport.watch, transport.unwatch
        self._threads = max(1, usable_cpus() // pool.staff.count)
        self._reaper: Reaper | None = None

    def start(self, worker: PoolWorker) -> WorkerProcess:
        handle = spawn(self._threads)
        worker.link = handle.connection
        worker.facts = Worker(worker.facts.name, worker.facts.host, handle.pid)
        try:
            if self._reaper is None:  # only now, so that the first worker need not wait for it
                self._reaper = Reaper()
            self._reaper.watch(handle.pid)
            self._watch(handle.stderr, self._on_stderr, worker)
            if handle.exit.pidfd is not None:
                self._watch(handle.exit.pidfd, self._on_end, worker)
        except BaseException:
            handle.kill()
            self._clean_up(handle)
            raise
        return handle

    def _on_stderr(self, worker: PoolWorker, mask: int) -> None:
        if not worker.handle.read_stderr():
            self._unwatch(worker.handle.stderr)

    def _on_end(self, worker: PoolWorker, mask: int) -> None:
        self._pool.staff.ended(worker)

    def kill(self, worker: PoolWorker) -> None:
        worker.handle.kill()

    def describe_end(self, worker: PoolWorker) -> str:
        text: str = worker.handle.describe_end()
        return text

    def wait_for_ends(self, workers: list[PoolWorker], within: float) -> list[PoolWorker]:
        of = {worker.handle: worker for worker in workers}
        return [of[handle] for handle in wait_for_ends(of, within)]

    def release(self, worker: PoolWorker) -> None:
        self._clean_up(worker.handle)

    def _clean_up(self, handle: WorkerProcess) -> None:
        handle.exit.wait(ENDS_WITHIN)
        handle.kill_group()
        while handle.read_stderr() and can_read(handle.stderr):
            pass
        if self._reaper is not None:
            self._reaper.forget(handle.pid)
        self._unwatch(handle.stderr, handle.exit.pidfd, handle.connection.data, handle.connection.control)
        handle.close()

    def describe_failed_start(self, error: BaseException) -> str:
        if isinstance(error, OSError):
            return f"The system refused to start {sys.executable}: {error}"
        return f"evalpool could not start {sys.executable}.\n{describe(error)}"

    def describe_shortage(self) -> str:
        starting = [str(worker.facts.pid) for worker in list(self._pool.workers.values()) if not worker.ready]
        if not starting:
            return "The system has not been able to start a worker process yet."
        return (
            f"Workers are starting ({'process' if len(starting) == 1 else 'processes'} {', '.join(starting)}) and have "
            "not finished importing what the run-function needs. A worker that takes longer than "
            f"{self.start_timeout:g} s is ended and replaced. `py-spy dump --pid` shows what it is doing."
        )

    def close(self) -> None:
        if self._reaper is not None:
            self._reaper.close()

    def close_in_fork(self) -> None:
        if self._reaper is not None:
            self._reaper.close_in_fork()
        for worker in self._pool.workers.values():
            if worker.handle is not None:
                worker.handle.close_in_fork()
