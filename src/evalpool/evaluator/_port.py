"""What an engine may use of the evaluator: a `Port`; and, in a thread that waits for jobs, a `Turn`."""

from __future__ import annotations

import os
import pickle
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from evalpool._clock import monotonic
from evalpool._guard import describe
from evalpool._interrupts import allow_signals, defer_signals
from evalpool.evaluator._backend import Backend
from evalpool.evaluator._local_channel import LocalChannel
from evalpool.evaluator._worker_setup import WorkerSetup, pack
from evalpool.outcomes import FailureKind, Outcome, Worker, failed

if TYPE_CHECKING:
    from evalpool.evaluator._attempt import Attempt
    from evalpool.evaluator._core import Core
    from evalpool.evaluator._open_search import OpenSearch
    from evalpool.evaluator._running_attempts import RunningAttempts
    from evalpool.jobs._inbox import Inbox
    from evalpool.storage import Sharing, Storage
    from evalpool.worker._call import Task

__all__ = ["CannotStart", "Port", "Refusal", "Turn"]


class CannotStart(Exception):
    """Raised if no job can run on an engine: each job ends with this text, as a failure of this kind."""

    def __init__(self, kind: FailureKind, text: str) -> None:
        super().__init__(text)
        self.kind = kind


class Port:
    """What an engine may use of the evaluator. Every method may be called from any thread.

    Hold no lock of your own when you call one: `report` and `add_slots` hand out the next jobs before they return.

    Attributes:
        name: of the evaluator's class, for messages.
        search_id: of the search.
        task: what a worker in this process needs once; for other processes see `setup`.
        num_workers: the number of workers.
        job_timeout: seconds that each job may run; None for no limit.
        watches_starts: whether `started` must be called for each attempt; that costs a call per job. May become True
            later, so read it for each attempt.
        decides: whether there is a stopper, so that `recorded` may answer that a job shall end.
        has_deadlines: whether a running job may have to be given up. May become True later.
    """

    __slots__ = (
        "_call",
        "_channel",
        "_needed",
        "_running",
        "_search",
        "_storage",
        "_workers_changed",
        "add_slots",
        "after",
        "asked_to_stop",
        "decides",
        "has_deadlines",
        "job_timeout",
        "lost",
        "name",
        "num_workers",
        "recorded",
        "report",
        "search_id",
        "started",
        "task",
        "watches_starts",
    )

    report: Callable[[list[tuple[Attempt, Outcome]]], None]
    """Take the outcomes of attempts that have ended. Frees their slots, which may be filled before this returns."""

    started: Callable[[Attempt, Worker | None], None]
    """An attempt begins to run on a worker; its timeout counts from here."""

    recorded: Callable[..., bool]
    """``recorded(attempt, budget, objective, runtime=None)``: a running job recorded an objective at a budget; returns
    whether it shall end. `runtime` is the one that it declared, for simulated time."""

    asked_to_stop: Callable[[Attempt], bool]
    """Whether this attempt was asked to stop, or has ended as far as the evaluator is concerned."""

    add_slots: Callable[[int], None]
    """Change the number of slots, which is `num_workers` at first; the argument may be negative."""

    after: Callable[..., None]
    """Call a function after some seconds, ``after(seconds, function, *arguments)``, in the thread of timers; it must
    return at once."""

    lost: Callable[[Callable[[], set[int]], int, BaseException], bool]
    """After an error in the engine itself: end the running jobs that it does not have any more.

    ``lost(numbers, slots, error)``: `numbers` returns the numbers of the jobs that the engine has, `slots` is how many
    slots it has now."""

    def __init__(
        self,
        core: Core,
        search: OpenSearch,
        task: Task,
        attempts: RunningAttempts,
        *,
        name: str,
        num_workers: int,
        job_timeout: float | None,
        decides: bool,
        needed: Callable[[], Sharing],
        storage: Callable[[], Storage],
        after: Callable[..., None],
        workers_changed: Callable[[int], None],
    ) -> None:
        self._search, self._needed, self._storage, self._workers_changed = search, needed, storage, workers_changed
        self.name = name
        self.search_id = search.search_id
        self.task = task
        self.num_workers = num_workers
        self.job_timeout = job_timeout
        self.watches_starts = attempts.watches_starts()
        self.decides = decides
        self.has_deadlines = core.has_deadlines
        self._running = core.ledger.running
        self.report = core.report
        self.started = attempts.started
        self.recorded = attempts.recorded
        self.asked_to_stop = core.stops.asked_to_stop
        self.add_slots = core.add_slots
        self.after = after
        self.lost = core.lost
        self._call = task.call
        self._channel = LocalChannel(self)

    def evaluate(self, attempt: Attempt, worker: Worker | None = None) -> Outcome:
        """Run the run-function now, in this thread; `started` is not called.

        The job's record names `worker`, or none. Never raises, whatever the run-function does, unless
        `task.lets_interrupts_through` was set.
        """
        number = attempt.number
        job = attempt.job.number
        outcome = self._call(job, number, attempt.configuration.copy(), self._channel, attempt.extra, worker)
        if self._channel.stops:
            self._channel.forget(job, number)
        return outcome

    async def aevaluate(self, attempt: Attempt, worker: Worker | None = None) -> Outcome:
        """As `evaluate`, for an async run-function inside a running event loop."""
        number = attempt.number
        job = attempt.job.number
        outcome = await self.task.acall(job, number, attempt.configuration.copy(), self._channel, attempt.extra, worker)
        if self._channel.stops:
            self._channel.forget(job, number)
        return outcome

    def worker(self, name: str) -> Worker:
        """Return a `Worker` of this process and host, for `started` and `evaluate`."""
        return Worker(name, socket.gethostname(), os.getpid())

    def forced(self, attempt: Attempt, text: str, worker: Worker | None = None) -> Outcome:
        """Return the outcome of an attempt that was just stopped by force; it began when its start was reported."""
        job = attempt.job
        start = None if job._started is None else job._started + self._search.origin
        return failed(job._stop or FailureKind.TIMEOUT, text, start=start, end=monotonic(), worker=worker)

    def find(self, number: int, attempt: int) -> Attempt | None:
        """Return the running attempt with this job number and attempt number; None if it does not run."""
        found = self._running.get(number)
        return found if found is not None and found.number == attempt else None

    def set_workers(self, count: int) -> None:
        """Set the number of workers that `Evaluator.num_workers` shows; this does not change the slots."""
        self.num_workers = count
        self._workers_changed(count)

    def setup(self, apart: Callable[[pickle.PickleBuffer], Any] | None = None) -> WorkerSetup:
        """Return what a worker in another process needs once, pickled.

        Args:
            apart: takes the large buffers (numpy arrays) of the task, which are then not in its pickle (PEP 574).

        Raises:
            CannotStart: the run-function cannot be pickled. Do not catch it: then each job ends with the reason.
        """
        packed = self.pack(apart)
        if packed.error:
            raise CannotStart(FailureKind.UNPICKLABLE, packed.error)
        return packed

    def pack(self, apart: Callable[[pickle.PickleBuffer], Any] | None = None) -> WorkerSetup:
        """As `setup`, but if the run-function cannot be pickled, `WorkerSetup.error` says why."""
        with allow_signals():  # the task's own code may take its time
            return pack(self.task, self._search, self.name, self._needed, apart)

    @property
    def storage(self) -> Storage:
        """The evaluator's storage."""
        return self._storage()


class Refusal(Backend):
    """Replaces an engine that did not start: each attempt ends with the reason."""

    def __init__(self, port: Port, error: Exception) -> None:
        self._port = port
        if isinstance(error, CannotStart):
            self._outcome = failed(error.kind, str(error))
        else:
            self._outcome = failed(FailureKind.WORKER_DIED, f"The engine did not start.\n{describe(error)}")

    def run(self, attempts: list[Attempt]) -> None:
        self._port.report([(attempt, self._outcome) for attempt in attempts])


class Turn:
    """One wait of a caller's thread for jobs; given to an engine that works in this thread.

    Attributes:
        deadline: when the time is up, by the monotonic clock; None without a limit.
        watchers: functions that are called when a job has ended, as those of `on_wake`. An engine that adds one here
            must remove it again; so it can have it called only while this thread sleeps.
    """

    __slots__ = ("_core", "_inbox", "_size", "deadline", "wakers", "watchers")

    def __init__(self, core: Core, inbox: Inbox, size: int, deadline: float | None) -> None:
        self._core = core
        self._inbox = inbox
        self._size = size
        self.watchers = inbox.watchers
        self.deadline = deadline
        self.wakers: list[Callable[[], None]] | None = None

    def done(self) -> bool:
        """Whether the awaited jobs are done."""
        inbox = self._inbox
        size, outstanding = self._size, inbox.outstanding
        return len(inbox.done) >= (size if size < outstanding else outstanding)

    def rest(self) -> float | None:
        """Return the seconds until the time is up, at least 0.0; None without a limit."""
        return None if self.deadline is None else max(0.0, self.deadline - monotonic())

    def on_wake(self, call: Callable[[], None]) -> None:
        """Have `call` called, in any thread, when a job has ended, until this wait ends. It must return at once."""
        if self.wakers is None:
            self.wakers = []
        self.wakers.append(call)
        self._inbox.watchers.append(call)

    def until_ended(self, attempt: Attempt) -> bool:
        """Block until an attempt does not run any more; False if the time was up before."""
        core, running, number = self._core, self._core.ledger.running, attempt.job.number
        core.wakes_at_every_report = True
        with defer_signals(), core.condition:
            while running.get(number) is attempt:
                rest = self.rest()
                if rest == 0.0:
                    return False
                core.condition.wait(rest)
        return True

    def until_refilled(self) -> bool:
        """Block while another thread is about to hand jobs to the engine; False if none was, or the time was up.

        After the end of a job it has to be recorded first. So an engine that has no jobs is not out of work yet.
        """
        core = self._core
        with defer_signals(), core.condition:
            core.wakes_at_every_report = True
            waited = False
            while core.is_refilling:
                rest = self.rest()
                if rest == 0.0:
                    return False
                waited = True
                core.condition.wait(rest)
        return waited

    def end(self) -> None:
        """End the wait; called by the evaluator."""
        for call in self.wakers or ():
            if call in self._inbox.watchers:
                self._inbox.watchers.remove(call)
