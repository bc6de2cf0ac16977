"""What an engine may use of the evaluator: a `Port`; and a `Turn`, in a thread that waits for jobs."""

from __future__ import annotations

import os
import pickle
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from evalpool._clock import monotonic
from evalpool._guard import describe
from evalpool._interrupts import defer_signals
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
    """No job can run on this engine; each ends with this text, as a failure of this kind."""

    def __init__(self, kind: FailureKind, text: str) -> None:
        super().__init__(text)
        self.kind = kind


class Port:
    """What an engine may use of the evaluator. Every method may be called from any thread.

    Hold no lock of your own when you call one: `report` and `add_slots` hand out the next jobs before they return.

    Attributes:
        name: of the evaluator's class, for messages.
        search_id: of the search.
        task: what a worker needs once, where it shares this process's memory; elsewhere see `setup`.
        num_workers: how many workers there shall be.
        job_timeout: seconds that each job may run; None for no limit.
        watches_starts: `started` must be called for each attempt. It costs a call per job, so only if this is set. May
            turn True later, so read it anew for each attempt.
        decides: there is a stopper, so `recorded` may answer that a job shall end.
        has_deadlines: a job may have to be given up while it runs. May turn True later.
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

    recorded: Callable[[Attempt, float, Any], bool]
    """A running job recorded an objective at a budget; returns whether it shall end."""

    asked_to_stop: Callable[[Attempt], bool]
    """Was this attempt asked to stop, or has it ended for the evaluator?"""

    add_slots: Callable[[int], None]
    """There are so many slots more, or fewer; at the beginning there are `num_workers`."""

    after: Callable[..., None]
    """Call a function after some seconds, ``after(seconds, function, *arguments)``, in the thread of timers; it must
    return at once."""

    lost: Callable[[Callable[[], set[int]], int, BaseException], None]
    """After an error of the engine's own: end what runs and is not among its jobs.

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
        """Run the run-function here and now, in this process and thread; `started` is not called.

        The record names `worker` as the one that ran it, or none.
        Never raises, whatever the run-function does, unless `task.lets_interrupts_through` was set.
        """
        number = attempt.number
        job = attempt.job.number
        outcome = self._call(job, number, attempt.configuration, self._channel, attempt.extra, worker)
        if self._channel.stops:
            self._channel.forget(job, number)
        return outcome

    async def aevaluate(self, attempt: Attempt, worker: Worker | None = None) -> Outcome:
        """As `evaluate`, of an async run-function inside a running event loop."""
        number = attempt.number
        job = attempt.job.number
        outcome = await self.task.acall(job, number, attempt.configuration, self._channel, attempt.extra, worker)
        if self._channel.stops:
            self._channel.forget(job, number)
        return outcome

    def worker(self, name: str) -> Worker:
        """A worker of this process and host, for `started` and `evaluate`."""
        return Worker(name, socket.gethostname(), os.getpid())

    def forced(self, attempt: Attempt, text: str, worker: Worker | None = None) -> Outcome:
        """The outcome of an attempt that was stopped by force just now, from when it was seen to start."""
        job = attempt.job
        start = None if job._started is None else job._started + self._search.origin
        return failed(job._stop or FailureKind.TIMEOUT, text, start=start, end=monotonic(), worker=worker)

    def find(self, number: int, attempt: int) -> Attempt | None:
        """The attempt that runs, from its job's number and its own; None if it does not run (any more)."""
        found = self._running.get(number)
        return found if found is not None and found.number == attempt else None

    def set_workers(self, count: int) -> None:
        """There are now so many workers, as `Evaluator.num_workers` tells; slots are not changed by this."""
        self.num_workers = count
        self._workers_changed(count)

    def setup(self, apart: Callable[[pickle.PickleBuffer], Any] | None = None) -> WorkerSetup:
        """What each worker of another process needs once, pickled.

        Args:
            apart: takes the large buffers (numpy arrays) of the task, which are then not in its pickle (PEP 574).

        Raises:
            CannotStart: the run-function cannot be pickled; let it pass, and each job ends so.
        """
        packed = self.pack(apart)
        if packed.error:
            raise CannotStart(FailureKind.UNPICKLABLE, packed.error)
        return packed

    def pack(self, apart: Callable[[pickle.PickleBuffer], Any] | None = None) -> WorkerSetup:
        """As `setup`, but a run-function that cannot be pickled is told in `WorkerSetup.error`."""
        return pack(self.task, self._search, self.name, self._needed, apart)

    @property
    def storage(self) -> Storage:
        """The evaluator's storage."""
        return self._storage()


class Refusal(Backend):
    """Takes the place of an engine that did not start: each attempt ends with the reason."""

    def __init__(self, port: Port, error: Exception) -> None:
        self._port = port
        if isinstance(error, CannotStart):
            self._outcome = failed(error.kind, str(error))
        else:
            self._outcome = failed(FailureKind.WORKER_DIED, f"The engine did not start.\n{describe(error)}")

    def run(self, attempts: list[Attempt]) -> None:
        self._port.report([(attempt, self._outcome) for attempt in attempts])


class Turn:
    """One wait of a caller's thread for jobs, as an engine sees it that works in this thread.

    Attributes:
        deadline: when its time is up, by the monotonic clock; None if it waits as long as it takes.
        watchers: functions that are called when a job ended, as by `on_wake`; who adds one here takes it away again,
            and so is called only while this thread sleeps.
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
        """Are the jobs there for which it waits?"""
        inbox = self._inbox
        size, outstanding = self._size, inbox.outstanding
        return len(inbox.done) >= (size if size < outstanding else outstanding)

    def rest(self) -> float | None:
        """Seconds until its time is up, 0.0 if it is; None if there is no limit."""
        return None if self.deadline is None else max(0.0, self.deadline - monotonic())

    def on_wake(self, call: Callable[[], None]) -> None:
        """Have `call` called when a job ended, by whichever thread, until this wait ends; it must return at once."""
        if self.wakers is None:
            self.wakers = []
        self.wakers.append(call)
        self._inbox.watchers.append(call)

    def until_ended(self, attempt: Attempt) -> bool:
        """Block until an attempt runs no more; False if the time was up before."""
        core, running, number = self._core, self._core.ledger.running, attempt.job.number
        core.wakes_at_every_report = True
        with defer_signals(), core.condition:
            while running.get(number) is attempt:
                rest = self.rest()
                if rest == 0.0:
                    return False
                core.condition.wait(rest)
        return True

    def end(self) -> None:
        """The wait is over; called by the evaluator."""
        for call in self.wakers or ():
            if call in self._inbox.watchers:
                self._inbox.watchers.remove(call)
