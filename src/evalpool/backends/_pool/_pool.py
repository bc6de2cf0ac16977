"""Workers that run jobs elsewhere: the pool that processes, Ray's actors, MPI ranks and other launchers' workers share.

It joins three parts: a `Prefetcher` says which worker gets which job, a `Transport` carries the bytes, a `Launcher`
starts and ends the workers. Here are the locks, the thread, and who leads.

Jobs are assigned by whichever thread has them. One lock guards the assignment, never a call into the evaluator. A
second one is held while jobs are assigned, encoded and sent, so that they leave in the order in which they were
assigned.

One thread does the I/O for all workers: the caller that waits for results, if there is one, else our own (see
`_lead`). It goes from turn to turn: poll, take what came, do commands, report.
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
from evalpool._guard import Guard, describe, guarded_thread
from evalpool._interrupts import SLICE, allow_signals, defer_signals, from_a_handler
from evalpool._log import get_logger
from evalpool.backends._pool import _wire
from evalpool.backends._pool._encoding import encode, messages_for
from evalpool.backends._pool._hearing import Hearing
from evalpool.backends._pool._lead import Lead
from evalpool.backends._pool._prefetcher import Placed, PoolWorker, Prefetcher, Steal
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
"""Seconds that the end of the I/O thread may take beside the ends of workers."""
LOOK = 0.002, 0.064
"""Seconds until the pool looks for outcomes that a silent worker holds, at first and at the most: each time twice."""
MANY = 12
"""Jobs in a message from which on their outcomes are held, so that several leave together. Of fewer, as in a search
loop, the first comes back sooner, and the search goes on while the worker does the others."""
BEFORE_IT_RAN = "cancelled before it ran"


class Pool:
    """The workers of one evaluator, and the thread that does their I/O.

    Args:
        port: of the evaluator.
        launcher, transport: of its workers.
        name: of the thread.
        setup: what each worker is sent first: a message of the transport's; None if it gets that another way.

    Attributes:
        lock: guards the prefetcher, and what is told to workers.
        sending: guards the order of jobs on their way to workers; taken before `lock`, where both are.
        broken: why no worker can be had, if none can.
        reports: attempts that have ended, and how; told to the evaluator at the end of the turn.
    """

    def __init__(self, port: Port, launcher: Launcher, transport: Transport, name: str, setup: Any = None) -> None:
        self.port, self.launcher, self.transport, self.setup = port, launcher, transport, setup
        self.lock, self.sending = threading.Lock(), threading.Lock()
        self.prefetcher = Prefetcher(port.watches_starts)
        self.workers: dict[int, PoolWorker] = self.prefetcher.workers
        self.broken = ""
        self.stopping = False
        self.reports: list[tuple[Attempt, Outcome]] = []
        self.staff = Staff(self, port.num_workers)
        self.hearing = Hearing(self)
        self.shortage = Shortage(self)
        self._look_at: float | None = None  # for outcomes that workers hold; set under the lock
        self._look_after = LOOK[0]
        self._commands: deque[Callable[[], Any]] = deque()
        self._torn: set[PoolWorker] = set()  # workers with whom something went wrong
        self._guard = Guard("The thread that hears workers", self._mend, self._give_up_all)
        self._lead = Lead(transport.wake)
        self._thread = guarded_thread(name, self._guard, self._run)
        transport.open(self)
        launcher.open(self)
        _pools.add(self)
        self._thread.start()

    # From the evaluator's threads.

    def run(self, attempts: list[Attempt]) -> None:
        """Send jobs to workers with room; unpicklable ones are reported at once."""
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
        """Tell the worker that has the job; one that has not begun it gives it back."""
        with self.lock:
            worker = self.prefetcher.find(attempt)
            if worker is not None:
                stop = _wire.frame(_wire.STOP, _wire.JOB.pack(attempt.job.number, attempt.number))
                self.transport.tell(worker, stop)
                self._tell_steal(Steal(worker, attempt.place, attempt.place))

    def force_stop(self, attempt: Attempt) -> bool:
        """Stop the job that runs by force, if this engine can. One that waits behind another is just given up."""
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
        """As `force_stop`, by whoever does the I/O."""
        self.transport.drain(worker)
        with self.lock:
            waits = self.prefetcher.forget(attempt)
        if waits:
            self.report(attempt, failed(FailureKind.CANCELLED, BEFORE_IT_RAN))
        elif self.launcher.kills:
            self.staff.kill_at(worker, attempt)
        elif worker.head() is attempt:
            self.launcher.force_stop(worker, attempt)

    def expect_nothing_of(self, worker: PoolWorker) -> None:
        """Under the lock: its job does not stop and cannot be stopped."""
        for steal in self.prefetcher.expect_nothing_of(worker, monotonic()):
            self._tell_steal(steal)
        self.transport.wake()

    def wait(self, turn: Turn) -> bool:
        """Do the I/O in this thread until the jobs are there for which it waits; False if another thread does it."""
        with defer_signals():  # what has been read from a worker is nowhere else
            if self.stopping or not self._lead.take():
                return False
            watcher, watchers = self._wake_leader, turn.watchers
            try:
                while True:
                    watchers.append(watcher)  # while this thread may sleep: what it reads itself wakes nobody
                    try:
                        if turn.done() or self.stopping:
                            break
                        rest = turn.rest()
                        if rest == 0.0:
                            break
                        with allow_signals():
                            events = self.transport.poll(self._rest(SLICE if rest is None else min(SLICE, rest)))
                    except OSError as error:
                        if from_a_handler(error) or not self._guard.caught(error):
                            raise
                        continue
                    finally:
                        watchers.remove(watcher)
                    self._turn(events)
            finally:
                self._lead.give_back_if_leading()
        return True

    def _wake_leader(self) -> None:
        """A job ended by other means than a worker's word: the caller that leads does not see that by itself."""
        if self._lead.leader != threading.get_ident():
            self.transport.wake()

    def shutdown(self) -> None:
        """End all workers and the I/O thread; busy workers are killed at once."""
        if not self.stopping:
            self.command(self.staff.begin_to_stop)
        # A handler of a signal may close the evaluator while its thread leads: then there is nobody else to do it.
        self._lead.give_back_if_leading()
        if self._thread is not threading.current_thread():
            self._thread.join(STOP_WITHIN + self.launcher.exit_timeout)

    def command(self, action: Callable[[], Any]) -> None:
        """Have something done by whoever does the I/O. Any thread."""
        self._commands.append(action)
        self.transport.wake()

    # Jobs on their way.

    def _message_of(self, attempt: Attempt) -> Any:
        """Of one that was encoded before."""
        source = attempt.source
        return source if type(source) is tuple else self.transport.message_of(source)

    def _send(self, assign: Callable[..., Any], placed: list[Placed]) -> None:
        """Assign jobs, encode them and send them; no lock is held."""
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
            self._torn.update(sends)  # how much of it they have been sent is not known
            self.command(partial(self._guard.caught, error))
            raise
        for attempt, facts in begun:
            self.port.started(attempt, facts)

    def _expect_held(self, sends: dict[PoolWorker, list[Any]], now: float) -> list[PoolWorker]:
        """Under the lock: those of these workers that may hold outcomes; somebody looks for them after a while."""
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
        """Take what silent workers hold: a job that was thought to be short takes long."""
        if self._look_at is None or (now := monotonic()) < self._look_at:
            return
        with self.lock:
            holding = [worker for worker in self.workers.values() if worker.may_hold()]
            self._look_after = min(2 * self._look_after, LOOK[1])
            self._look_at = now + self._look_after if holding else None
        for worker in holding:
            self.transport.look(worker)

    def _place_unassigned(self) -> None:
        """Give jobs that wait here to workers that have room by now."""
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

    def _see_to_returned(self) -> None:
        """Jobs that came back from a worker: those that were to stop have done so."""
        with self.lock:
            stopped = [each for each in self.prefetcher.take_returned() if self.port.asked_to_stop(each)]
            stopped = [each for each in stopped if self.prefetcher.forget(each)]
        self.reports += [(each, failed(FailureKind.CANCELLED, BEFORE_IT_RAN)) for each in stopped]

    def _tell_steal(self, steal: Steal) -> None:
        """Under the lock."""
        self.transport.tell(steal.worker, _wire.frame(_wire.STEAL_BACK, _wire.RANGE.pack(steal.low, steal.high)))

    # Whoever does the I/O.

    def _run(self) -> bool:
        """The I/O thread, from its first to its last act."""
        self.command(self.staff.start_all)
        self._serve()
        last = (
            self._lead.give_up,  # a caller may have come to wait just now: it sees that the pool has stopped
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
                logger.exception("The end of %s's workers did not go as it should.", self.port.name)
        return False

    def _serve(self) -> None:
        """Be the I/O thread until the end: whenever no caller leads."""
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
        """How long to wait at the most: until `timeout`, or the next look at the balance or for what workers hold."""
        for when in (self.prefetcher.balance_at, self._look_at):
            if when is not None:
                rest = max(0.0, when - monotonic())
                timeout = rest if timeout is None else min(rest, timeout)
        return timeout

    def _turn(self, events: Any) -> None:
        """Take what came, and do what follows on it."""
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
            except BaseException as error:  # noqa: BLE001  ours; the caller that leads could do nothing about it
                if not self.went_wrong(None, error):
                    return

    def _do_commands(self) -> None:
        for _ in range(len(self._commands)):  # what they command in turn waits for the next turn
            self._commands.popleft()()

    def report(self, attempt: Attempt, outcome: Outcome) -> None:
        """An attempt has ended."""
        self.reports.append((attempt, outcome))

    def _tell_evaluator(self) -> None:
        """Report what was read in this turn, in one go: one lock and one look for the next jobs."""
        prefetcher, port = self.prefetcher, self.port
        if prefetcher.returned:
            self._see_to_returned()
        if prefetcher.unassigned:  # they were dispatched before those that a report lets follow
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
            self._see_to_returned()
        if prefetcher.unassigned:
            self._place_unassigned()
        if self.reports:  # nothing may happen for long that would begin another turn
            self._tell_evaluator()

    # When something goes wrong.

    def went_wrong(self, worker: PoolWorker | None, error: BaseException) -> bool:
        """Whoever does the I/O met an error of our own, with this worker if it is known; returns whether to go on.

        What is no `Exception` is the caller's where a caller leads (an interrupt that was not deferred).
        """
        if worker is not None:
            self._torn.add(worker)
        go_on = self._guard.caught(error)
        if not isinstance(error, Exception) and threading.current_thread() is not self._thread:
            raise error
        return go_on

    def _mend(self, error: BaseException) -> None:
        """Make whole what an error has torn: the workers concerned, the queues, the slots, jobs that are nowhere."""
        torn, self._torn = self._torn, set()
        for worker in torn:
            if self.workers.get(worker.index) is worker:
                self.staff.discard(worker, f"evalpool could not go on with this worker.\n{describe(error)}")
        with self.lock:
            self.prefetcher.rebuild()
            capacity = self.prefetcher.capacity()
        if self.broken:
            capacity += self.port.num_workers
        self.port.lost(self._has, capacity, error)
        self.transport.wake()  # what is to be reported now waits for no worker's word

    def _has(self) -> set[int]:
        """The numbers of the jobs that are somewhere here."""
        with self.lock:
            return self.prefetcher.numbers().union(attempt.job.number for attempt, _ in self.reports)

    def _give_up_all(self, error: BaseException) -> None:
        """This cannot go on: all jobs end with the reason, now and from now on."""
        self.broken = f"evalpool cannot go on with these workers.\n{describe(error)}"
        with self.lock:
            self.prefetcher.clear()
            self.reports = []
        self.port.lost(set, self.port.num_workers, error)

    def after_fork(self) -> None:
        """In a forked child of this process: give up everything, without ending any of it."""
        self.launcher.close_in_fork()
        self.transport.close_in_fork()


def _after_fork() -> None:
    for pool in list(_pools):
        pool.after_fork()


at_fork(Order.ENGINES, _after_fork)
