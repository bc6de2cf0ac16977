"""A pool of workers that run jobs elsewhere: child processes, actors of Ray, MPI ranks, or workers of other launchers.

It joins three parts: a `Prefetcher` decides which worker gets which job, a `Transport` carries the bytes, a `Launcher`
starts and ends the workers. This module has the locks, the I/O thread, and the loop of the thread that leads.

The thread that has a job assigns it. One lock guards the assignment; it is never held during a call of the evaluator. A
second lock is held while jobs are assigned, encoded and sent, so that they are sent in the order in which they were
assigned.

One thread does the I/O for all workers: a caller that waits for results, if there is one, or else the pool's I/O thread
(see `_lead`). It works in turns: poll, read frames, do commands, report.
"""

from __future__ import annotations

import threading
import weakref
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from evalpool._clock import monotonic
from evalpool._fork import Order, at_fork
from evalpool._guard import Guard, guarded_thread
from evalpool._interrupts import SLICE, allow_signals, defer_signals, from_a_handler
from evalpool._log import get_logger
from evalpool.backends._pool import _wire
from evalpool.backends._pool._encoding import encode, messages_for
from evalpool.backends._pool._hearing import Hearing
from evalpool.backends._pool._lead import Lead
from evalpool.backends._pool._pool_worker import PoolWorker
from evalpool.backends._pool._prefetcher import Placed, Prefetcher, Steal
from evalpool.backends._pool._recovery import Recovery
from evalpool.backends._pool._shortage import Shortage
from evalpool.backends._pool._staff import Staff
from evalpool.outcomes import FailureKind, Outcome, failed
from evalpool.worker._pickling import unpicklable

if TYPE_CHECKING:
    from evalpool.backends._pool._launcher import Launcher
    from evalpool.backends._pool._transport import Transport
    from evalpool.evaluator._attempt import Attempt
    from evalpool.evaluator._port import Port, Turn

__all__ = ["Pool"]

logger = get_logger()

_pools: weakref.WeakSet[Pool] = weakref.WeakSet()

STOP_WITHIN = 10.0
"""Seconds that the end of the I/O thread may take, beside the time for the ends of workers."""
LOOK = 0.002, 0.064
"""Seconds until the pool reads outcomes that a silent worker holds, the first and the longest wait: each is twice the
one before."""
MANY = 12
"""The least number of jobs in one message whose outcomes a worker holds, to send several together. With fewer jobs, as
in a search loop, the first outcome is sent at once, and the search continues while the worker runs the others."""
BEFORE_IT_RAN = "cancelled before it ran"


class Pool:
    """The workers of one evaluator, and the thread that does their I/O.

    Args:
        port: the evaluator's port.
        launcher, transport: start the workers, and carry frames to them and back.
        name: the name of the I/O thread.
        setup: returns the message of the transport that each worker is sent first; None if workers are set up in
            another way. It is called while the first worker starts.

    Attributes:
        lock: guards the prefetcher, and the small frames that `tell` sends.
        sending: guards the order in which jobs are sent to workers; taken before `lock` if both are needed.
        broken: why there can be no workers; empty as long as there can.
        reports: attempts that have ended, with their outcomes; reported to the evaluator at the end of the turn.
    """

    def __init__(
        self, port: Port, launcher: Launcher, transport: Transport, name: str, setup: Callable[[], Any] | None = None
    ) -> None:
        self.port, self.launcher, self.transport = port, launcher, transport
        self.setup: Any = None
        self.lock, self.sending = threading.Lock(), threading.Lock()
        self.prefetcher = Prefetcher(port.watches_starts)
        self.workers: dict[int, PoolWorker] = self.prefetcher.workers
        self.broken = ""
        self.stopping = False
        self.reports: list[tuple[Attempt, Outcome]] = []
        self.staff = Staff(self, port.num_workers)
        self.hearing = Hearing(self)
        self.shortage = Shortage(self)
        self._look_at: float | None = None  # when to read outcomes that workers hold; set under the lock
        self._look_after = LOOK[0]
        self._leader_polls = False  # whether the caller that leads is inside `poll`, where signal handlers are called
        self._interludes = 0  # how often such a handler has waited for jobs or closed the evaluator
        self._commands: deque[Callable[[], Any]] = deque()
        self._recovery = Recovery(self)
        self._guard = Guard("The thread that does the I/O of workers", self._recovery.recover, self._recovery.fail_all)
        self._lead = Lead(transport.wake)
        self._thread = guarded_thread(name, self._guard, self._run)
        transport.open(self)
        launcher.open(self)
        _pools.add(self)
        try:
            # The first result waits for the first worker, so that one starts before all that can be done meanwhile.
            with defer_signals():  # an interrupt would leave a process that nobody knows
                self.staff.start_first()
                self._thread.start()
            self._lead.open()
            if setup is not None:
                self.setup = setup()
            self.command(self.staff.start_others)
        except BaseException:
            if self._thread.is_alive():
                self.shutdown()
            else:
                self.staff.begin_to_stop()
                self._close()
            raise

    # Called by the evaluator's threads.

    def run(self, attempts: list[Attempt]) -> None:
        """Send jobs to workers that have room. A job that cannot be pickled is reported at once."""
        if self.broken:
            self.port.report([(each, failed(FailureKind.WORKER_DIED, self.broken)) for each in attempts])
            return
        if self.port.watches_starts:  # from the first job with a time limit on
            self.prefetcher.watched = True
        placed: list[Placed] = []
        for attempt in attempts:
            try:
                attempt.source = source = encode(attempt)
                placed.append((attempt, source if type(source) is tuple else self.transport.message_of(source)))
            except BaseException as error:  # a configuration's own code may raise anything
                if from_a_handler(error):
                    raise
                self.port.report([(attempt, failed(FailureKind.UNPICKLABLE, unpicklable(error)))])
        self._send(self.prefetcher.assign, placed)

    def ask_to_stop(self, attempt: Attempt) -> None:
        """Ask the worker that has the job to stop it, or to give it back if it has not begun it."""
        with self.lock:
            worker = self.prefetcher.find(attempt)
            if worker is not None:
                stop = _wire.frame(_wire.STOP, _wire.JOB.pack(attempt.job.number, attempt.number))
                self.transport.tell(worker, stop)
                self._tell_steal(Steal(worker, attempt.place, attempt.place))

    def force_stop(self, attempt: Attempt) -> bool:
        """Stop a running job by force, if this engine can. A job that waits behind another one ends at once."""
        with self.lock:
            worker = self.prefetcher.find(attempt)
            if worker is not None and worker.may_hold():  # then it is not known which one runs
                self.command(partial(self._look_and_stop, worker, attempt))
                return True
            if not self.prefetcher.forget(attempt):
                worker = self.prefetcher.find(attempt)
                if worker is None:
                    return False
                if not self.launcher.kills:
                    return self.launcher.force_stop(worker, attempt)
                self.command(partial(self.staff.kill_at, worker, attempt))
                return True
        self.port.report([(attempt, failed(FailureKind.CANCELLED, BEFORE_IT_RAN))])
        return True

    def _look_and_stop(self, worker: PoolWorker, attempt: Attempt) -> None:
        """Do what `force_stop` does, in the thread that does the I/O, once the held outcomes were read."""
        self.transport.drain(worker)
        with self.lock:
            waits = self.prefetcher.forget(attempt)
        if waits:
            self.report(attempt, failed(FailureKind.CANCELLED, BEFORE_IT_RAN))
        elif self.launcher.kills:
            self.staff.kill_at(worker, attempt)
        elif worker.head() is attempt:
            self.launcher.force_stop(worker, attempt)

    def mark_unresponsive(self, worker: PoolWorker) -> None:
        """Note that the worker's job does not stop and cannot be stopped. Called under the lock."""
        for steal in self.prefetcher.mark_unresponsive(worker, monotonic()):
            self._tell_steal(steal)
        self.transport.wake()

    def wait(self, turn: Turn) -> bool:
        """Do the I/O in this thread until the jobs that it waits for have ended. False if another thread does it."""
        with defer_signals():  # an interrupt would lose what was just read from a worker
            # A signal handler may wait for jobs, too. If it was called in `poll` below, this thread leads already.
            nested = self._leader_polls and self._lead.is_here()
            if self.stopping or not (nested or self._lead.take()):
                return False
            self._interludes += nested
            interludes, watcher, watchers = self._interludes, self._wake_leader, turn.watchers
            try:
                while True:
                    watchers.append(watcher)  # only while this thread may sleep, so that its own reports wake nobody
                    try:
                        if turn.done() or self.stopping:
                            break
                        if self._interludes != interludes:
                            interludes = self._interludes
                            if not self._lead.is_here():  # the evaluator is being closed
                                return False
                        rest = turn.rest()
                        if rest == 0.0:
                            break
                        self._leader_polls = True
                        with allow_signals():
                            events = self.transport.poll(self._rest(SLICE if rest is None else min(SLICE, rest)))
                    except Exception as error:
                        if from_a_handler(error):
                            raise
                        # After an interlude the transport may be closed.
                        if self._interludes == interludes and not self._guard.caught(error):
                            raise
                        continue
                    finally:
                        self._leader_polls = nested
                        watchers.remove(watcher)
                    if self._interludes == interludes:  # else a handler may have read what `poll` has found
                        self._turn(events)
            finally:
                if not nested:
                    self._lead.give_back_if_leading()
        return True

    def begin_to_close(self) -> None:
        """Let the I/O thread read while this thread closes the evaluator, in a signal handler, if this thread leads."""
        if self._lead.is_here():
            self._interludes += 1
            self._lead.give_back()

    def _wake_leader(self) -> None:
        """Wake the caller that leads when a job has ended in another way than by a frame of a worker."""
        if self._lead.leader != threading.get_ident():
            self.transport.wake()

    def shutdown(self) -> None:
        """End all workers and the I/O thread; busy workers are killed at once."""
        if not self.stopping:
            self.command(self.staff.begin_to_stop)
        if self._thread is not threading.current_thread():
            self._thread.join(STOP_WITHIN + self.launcher.exit_timeout)

    def command(self, action: Callable[[], Any]) -> None:
        """Let the thread that does the I/O do something. Any thread."""
        self._commands.append(action)
        self.transport.wake()

    # Sending jobs.

    def _message_of(self, attempt: Attempt) -> Any:
        """Return the message for an attempt that was encoded before."""
        source = attempt.source
        return source if type(source) is tuple else self.transport.message_of(source)

    def _send(self, assign: Callable[..., Any], placed: list[Placed]) -> None:
        """Assign jobs, encode them and send them. Called without a lock."""
        sends: dict[PoolWorker, list[Any]] = {}
        short: list[PoolWorker] = []
        try:
            with self.sending:
                with self.lock:
                    now = monotonic()
                    begun = assign(placed, now, sends)
                    if len(placed) >= MANY and self.prefetcher.share > 1 and not self.prefetcher.watched:
                        short = self._expect_held(sends, now)
                for worker, messages in sends.items():
                    frames = messages_for(messages, _wire.SHORT_JOBS if worker in short else _wire.JOBS)
                    for each in frames:
                        refused = self.transport.send(worker, each)
                    last = worker.places - (len(messages) if len(frames) == 1 else 1)
                    if not refused:
                        worker.last_frame = last
                    else:
                        worker.refused = min(worker.refused, last)
                        begun = [each for each in begun if each[1] is not worker.facts]
        except BaseException as error:
            self._recovery.uncertain.update(sends)  # it is not known how much of it was sent
            self.command(partial(self._guard.caught, error))
            raise
        for attempt, facts in begun:
            self.port.started(attempt, facts)

    def _expect_held(self, sends: dict[PoolWorker, list[Any]], now: float) -> list[PoolWorker]:
        """Return those workers that may hold outcomes, and plan to read what they hold. Called under the lock."""
        can_hold = self.transport.can_hold
        short = [worker for worker, messages in sends.items() if len(messages) >= MANY and can_hold(worker)]
        if short:
            for worker in short:
                worker.short_until = worker.places
            self._look_after = LOOK[0]
            nobody_looks = self._look_at is None
            self._look_at = now + LOOK[0] if self._look_at is None else min(self._look_at, now + LOOK[0])
            if nobody_looks and self._lead.is_elsewhere():  # now: who begins to lead after this sees when to look
                self.transport.wake()
        return short

    def _look(self) -> None:
        """Read the outcomes that silent workers hold, since one of their short jobs may take long."""
        if self._look_at is None or (now := monotonic()) < self._look_at:
            return
        with self.lock:
            holding = [worker for worker in self.workers.values() if worker.may_hold()]
            self._look_after = min(2 * self._look_after, LOOK[1])
            self._look_at = now + self._look_after if holding else None
        for worker in holding:
            self.transport.look(worker)

    def _place_unassigned(self) -> None:
        """Send jobs without a worker to workers that have room now."""
        prefetcher = self.prefetcher
        with self.lock:
            if not (self.broken or prefetcher.has_room(monotonic())):
                return
            waiting = list(prefetcher.unassigned.values())
            if self.broken:
                prefetcher.unassigned.clear()
        if self.broken:
            self.port.report([(attempt, failed(FailureKind.WORKER_DIED, self.broken)) for attempt, _ in waiting])
            return
        placed = [(attempt, self._message_of(attempt) if message is None else message) for attempt, message in waiting]
        self._send(prefetcher.assign_again, placed)

    def _cancel_returned(self) -> None:
        """End those of the jobs that workers gave back which were asked to stop."""
        with self.lock:
            stopped = [each for each in self.prefetcher.take_returned() if self.port.asked_to_stop(each)]
            stopped = [each for each in stopped if self.prefetcher.forget(each)]
        self.reports += [(each, failed(FailureKind.CANCELLED, BEFORE_IT_RAN)) for each in stopped]

    def _tell_steal(self, steal: Steal) -> None:
        """Send a request to steal back. Called under the lock."""
        self.transport.tell(steal.worker, _wire.frame(_wire.STEAL_BACK, _wire.RANGE.pack(steal.low, steal.high)))

    # Called by the thread that does the I/O.

    def _run(self) -> bool:
        """Do all that the I/O thread does, from its beginning to its end."""
        self._serve()
        self._close()
        return False

    def _close(self) -> None:
        """Wait for the ends of all workers, and close everything."""
        last = (
            self._lead.give_up,  # a caller that has just begun to wait then sees that the pool has stopped
            self.staff.end_all,
            self.launcher.close,
            self._do_commands,
            self._lead.close,
            self.transport.close,
        )
        for act in last:
            try:
                act()
            except BaseException:
                logger.exception("An error came up while the workers of %s were ended.", self.port.name)

    def _serve(self) -> None:
        """Do the I/O whenever no caller leads, until the pool stops."""
        lead = self._lead
        self.shortage.begin()
        while not self.stopping:
            try:
                lead.follow()
                while not (self.stopping or lead.wanted):
                    self._turn(self.transport.poll(self._rest(None)))
                if not self.stopping:
                    lead.hand_over()
            except BaseException as error:  # noqa: BLE001  this thread has no caller
                if not self._guard.caught(error):
                    self.stopping = True
                    lead.give_up()

    def _rest(self, timeout: float | None) -> float | None:
        """Return how many seconds to wait at most: `timeout`, or until `_balance` or `_look` has something to do."""
        for when in (self.prefetcher.balance_at, self._look_at):
            if when is not None:
                rest = max(0.0, when - monotonic())
                timeout = rest if timeout is None else min(rest, timeout)
        return timeout

    def _turn(self, events: Any) -> None:
        """Read the frames that came, do commands, and report."""
        self.transport.handle(events)
        while True:
            try:
                if self._commands:
                    self._do_commands()
                if self._look_at is not None:
                    self._look()
                self._tell_evaluator()
                if not self.prefetcher.is_calm():
                    self._balance()
                return
            except BaseException as error:  # noqa: BLE001  a fault of evalpool, which the leading caller cannot handle
                if not self.went_wrong(None, error):
                    return

    def _do_commands(self) -> None:
        for _ in range(len(self._commands)):  # commands that these commands add wait for the next turn
            self._commands.popleft()()

    def report(self, attempt: Attempt, outcome: Outcome) -> None:
        """Note that an attempt has ended; it is reported at the end of the turn."""
        self.reports.append((attempt, outcome))

    def _tell_evaluator(self) -> None:
        """Report all outcomes of this turn together, so that the evaluator takes its lock and finds jobs only once."""
        prefetcher, port = self.prefetcher, self.port
        if prefetcher.returned:
            self._cancel_returned()
        if prefetcher.unassigned:  # first, since they were dispatched before the jobs that follow a report
            self._place_unassigned()
        if prefetcher.slots:
            port.add_slots(prefetcher.take_slots())
        if self.reports:
            reports, self.reports = self.reports, []
            port.report(reports)
        if prefetcher.unassigned:
            self._place_unassigned()

    def _balance(self) -> None:
        """Steal back jobs that wait behind a long one while another worker is idle."""
        prefetcher, now = self.prefetcher, monotonic()
        if prefetcher.balance_at is not None and now < prefetcher.balance_at:
            return
        for worker in [each for each in self.workers.values() if each.stealing]:
            self.transport.drain(worker)  # this process may have stood still: what it has not read is no silence
        with self.lock:
            for steal in prefetcher.balance(now):
                self._tell_steal(steal)
        if prefetcher.returned:
            self._cancel_returned()
        if prefetcher.unassigned:
            self._place_unassigned()
        if self.reports:  # now, since the next turn may begin much later
            self._tell_evaluator()

    # After an error of evalpool itself.

    def went_wrong(self, worker: PoolWorker | None, error: BaseException) -> bool:
        """Handle an unexpected error in the thread that does the I/O. Return whether the I/O continues.

        If a caller leads, an error that is no `Exception` (an interrupt that was not deferred) is raised to it.

        Args:
            worker: the worker that the error concerns; None if it is not known.
        """
        if worker is not None:
            self._recovery.uncertain.add(worker)
        go_on = self._guard.caught(error)
        if not isinstance(error, Exception) and threading.current_thread() is not self._thread:
            raise error
        return go_on

    def after_fork(self) -> None:
        """In a forked child: close this process's copies of everything, without ending the parent's workers."""
        self.launcher.close_in_fork()
        self.transport.close_in_fork()


def _after_fork() -> None:
    for pool in list(_pools):
        pool.after_fork()


at_fork(Order.ENGINES, _after_fork)
