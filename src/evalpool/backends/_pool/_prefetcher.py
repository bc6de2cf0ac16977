"""Keeps which worker has which jobs: assigned, prefetched, stolen back. It has no threads, locks, clocks or I/O.

Several jobs are in flight per worker, so that it never waits for the next one; the shorter the jobs, the more: as many
as fill `PREFETCH` seconds if each takes the longest recent duration. If a worker with prefetched jobs is busy with a
long one, they are stolen back and given to an idle worker. If a worker dies, only one job fails: a worker runs its jobs
in the order in which they were sent, so the first in flight is the one that ran.

Jobs that take less time than waking a process are not spread over all workers: the worker that sent something last gets
a few of them at a time, and finds the next ones before it falls asleep. If one of them takes long, those behind it are
stolen back.

The methods return what must be sent or reported. `now` is the time in seconds of one monotonic clock. The pool calls
all methods under one lock (`_pool`).
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from evalpool.backends._pool._pool_worker import PoolWorker
    from evalpool.outcomes import Outcome, Worker

__all__ = ["Placed", "Prefetcher", "Steal"]

LEAST_IN_FLIGHT = 2
"""One job runs and one waits in the worker: 1.6 to 2.6 times as many jobs per second as with one, as measured. A third
one adds little."""
MOST_IN_FLIGHT = 256
PREFETCH = 0.002
"""Seconds of work that may be in flight per worker."""
WAKE = 40e-6
"""Seconds of work in short jobs that one worker gets before another worker gets the next: as long as waking the other
one takes, in both processes. In a search loop with jobs of no duration, this saves a third of the CPU time."""
OVERHEAD = 5e-6
"""The least seconds that a job takes beside its run-function."""
UNRESPONSIVE_AFTER = 0.25
"""Seconds without an answer to a request to steal back, after which a worker counts as unresponsive."""
STUCK_AFTER = 0.02
"""Seconds that a worker runs one job, after which it prefetches only one job."""
STEAL_AFTER = 0.002
"""Seconds that a worker runs one job, after which the jobs behind it are stolen back for idle workers."""


class Steal(NamedTuple):
    """A request to a worker to give back those of the jobs with these places that it has not begun."""

    worker: Any
    low: int
    high: int


Placed = tuple[Any, Any]
"""An attempt, and the message to send for it."""


class Prefetcher:
    """The jobs in flight of one pool.

    Attributes:
        watched: whether the evaluator needs to know when jobs begin; may become True later.
        workers: the workers by index.
        unassigned: by job number, attempts for which no worker has room, and the messages for them; None if a message
            must be made again.
        slots: the change of the pool's number of slots since `take_slots`.
        balance_at: when `balance` has something to do again; None if that does not depend on the time alone.
        returned: attempts that became unassigned again since `take_returned`; some may have been asked to stop.
        waits_for_answer: whether all jobs behind one that does not stop were asked back, and there is no answer yet.
    """

    def __init__(self, watched: bool = False) -> None:
        self.workers: dict[int, Any] = {}
        self.unassigned: dict[int, Placed] = {}
        self.returned: list[Any] = []
        self.slots = 0
        self.balance_at: float | None = None
        self.waits_for_answer = False
        self.window = LEAST_IN_FLIGHT
        self.share = 1  # jobs that one worker gets before another worker gets the next
        self._awake: Any = None  # the worker that sent something last
        self.idle: deque[Any] = deque()  # workers without a job; some that got one since are removed later
        self._with_room: deque[Any] = deque()
        self._duration = 0.0  # of recent jobs: rises at once, falls slowly
        self._recent = 0.0  # the same for `share`; falls faster, since a value too large wakes workers without need
        self.watched = watched

    # Adding and removing workers.

    def add(self, worker: PoolWorker) -> None:
        """Add a worker. It gets jobs after `start_up`."""
        self.workers[worker.index] = worker

    def start_up(self, worker: PoolWorker) -> None:
        """Note that a worker is ready for jobs."""
        if not worker.ready:
            worker.ready = True
            self.slots += self.window
            self._offer(worker)

    def hold(self, worker: PoolWorker) -> None:
        """Give no more jobs to a worker that is about to end."""
        self._take_from_queues(worker)
        worker.held = True

    def remove(self, worker: PoolWorker) -> list[Any]:
        """Remove a worker that has ended. Return the attempts it had; the first one ran."""
        del self.workers[worker.index]
        self._take_from_queues(worker)
        if worker.ready:
            self.slots -= self.window
        return self.empty(worker)

    def empty(self, worker: PoolWorker) -> list[Any]:
        """Take all attempts from a worker, since what it was sent is not known. Return them; the first one ran."""
        attempts = list(worker.in_flight.values())
        worker.in_flight.clear()
        return attempts

    def _take_from_queues(self, worker: PoolWorker) -> None:
        for queue in (self._with_room, self.idle):
            if worker in queue:
                queue.remove(worker)
        worker.with_room = worker.idle = False
        if self._awake is worker:
            self._awake = None

    def has_ready(self) -> bool:
        """Whether any worker is ready for jobs."""
        return any(worker.ready for worker in self.workers.values())

    # Slots.

    def capacity(self) -> int:
        """Return the number of slots of all workers."""
        return self.window * sum(bool(worker.ready) for worker in self.workers.values())

    def take_slots(self) -> int:
        """Return the change of the number of slots since the last call."""
        change, self.slots = self.slots, 0
        return change

    # Assignment.

    def assign(self, jobs: Iterable[Placed], now: float, sends: dict[Any, list[Any]]) -> list[tuple[Any, Worker]]:
        """Give jobs to idle workers first, then evenly. Jobs for which no worker has room become unassigned.

        Args:
            sends: the messages for each worker are added to it, in order.

        Returns:
            The attempts that begin at once, with their workers; empty unless `watched`.
        """
        begun: list[tuple[Any, Worker]] = []
        left = 0
        for placed in jobs:
            attempt, message = placed
            if not left:
                worker, left = self._next(now)
                if worker is None:
                    self.unassigned[attempt.job.number] = placed
                    continue
                in_flight = worker.in_flight
                if not in_flight:
                    worker.since = now
                    if self.watched:
                        begun.append((attempt, worker.facts))
                messages = sends.setdefault(worker, [])
            attempt.place = worker.places
            worker.places += 1
            in_flight[attempt.job.number] = attempt
            messages.append(message)
            left -= 1
        return begun

    def _next(self, now: float) -> tuple[Any, int]:
        """Return the worker that gets the next job, and how many jobs it gets in a row; None if no worker has room.

        A job is put behind another one only if no worker is idle, or if the jobs are shorter than waking a worker.
        """
        share = self.share
        if share > 1:
            awake = self._awake
            if awake is not None and now - awake.since < STEAL_AFTER:
                left = min(share - len(awake.in_flight), self._room(awake, now))
                if left > 0:
                    return awake, left
        if self.idle and (idle := self._first_idle()) is not None:
            self.idle.popleft().idle = False
            return idle, min(share, self.window)
        with_room = self._with_room
        while with_room:
            worker = with_room[0]
            left = self._room(worker, now)
            if left > 0:
                with_room.rotate(-1)
                return worker, min(left, share)
            with_room.popleft().with_room = False
        return None, 0

    def _room(self, worker: PoolWorker, now: float) -> int:
        """Return how many more jobs a worker takes. If it is busy with a long job, it prefetches only one."""
        if not worker.ready or worker.unresponsive:
            return 0
        count = len(worker.in_flight)
        if count and now - worker.since >= STUCK_AFTER:
            return LEAST_IN_FLIGHT - count
        return self.window - count

    def _first_idle(self) -> Any:
        """Return a worker without a job, or None."""
        idle = self.idle
        while idle and idle[0].in_flight:
            idle.popleft().idle = False
        return idle[0] if idle else None

    def _offer(self, worker: PoolWorker) -> None:
        """Put a worker into the queues again, if it has room."""
        if not worker.ready or worker.held:
            return
        count = len(worker.in_flight)
        if not worker.with_room and count < self.window:
            worker.with_room = True
            self._with_room.append(worker)
        if not count and not worker.idle:
            worker.idle = True
            self.idle.append(worker)

    def has_room(self, now: float) -> bool:
        """Whether `assign` would find a worker for a job."""
        with_room = self._with_room
        while with_room and self._room(with_room[0], now) <= 0:
            with_room.popleft().with_room = False
        return bool(with_room) or self._first_idle() is not None

    def assign_again(self, jobs: Iterable[Placed], now: float, sends: dict[Any, list[Any]]) -> list[tuple[Any, Worker]]:
        """Assign those jobs that are still unassigned, as `assign` does; the others were forgotten meanwhile."""
        unassigned = self.unassigned
        still = []
        for placed in jobs:
            attempt = placed[0]
            known = unassigned.get(attempt.job.number)
            if known is not None and known[0] is attempt:
                del unassigned[attempt.job.number]
                still.append(placed)
        return self.assign(still, now, sends)

    def unassign(self, attempts: Iterable[Any]) -> None:
        """Let attempts that have not begun wait for another worker."""
        for attempt in attempts:
            self.unassigned[attempt.job.number] = attempt, None
            self.returned.append(attempt)

    def take_returned(self) -> list[Any]:
        """Return `returned`, and make it empty."""
        returned, self.returned = self.returned, []
        return returned

    # Ends.

    def end(
        self, worker: PoolWorker, ended: list[tuple[int, int, Outcome]], longest: float, now: float
    ) -> tuple[list[tuple[Any, Outcome]], Any]:
        """Note that jobs of a worker have ended.

        Args:
            ended: job number, attempt and outcome of each, in the order of their ends.
            longest: seconds that the longest of them took.

        Returns:
            The attempts with their outcomes, except those that the worker no longer had; and the attempt that begins
            now, None if there is none, or unless `watched`.
        """
        in_flight = worker.in_flight
        reports = []
        for number, which, outcome in ended:
            attempt = in_flight.get(number)
            if attempt is not None and attempt.number == which:
                del in_flight[number]
                reports.append((attempt, outcome))
        worker.since = now
        worker.unresponsive = False
        self._awake = worker
        begins = worker.head() if in_flight and self.watched else None
        self._learn(longest)
        self._offer(worker)
        return reports, begins

    def _learn(self, longest: float) -> None:
        """Adapt the number of jobs in flight to how long jobs take."""
        self._duration = max(longest, 0.9 * self._duration + 0.1 * longest)
        self._recent = recent = max(longest, 0.7 * self._recent)
        self.share = int(WAKE / (recent + OVERHEAD)) or 1
        wanted = min(MOST_IN_FLIGHT, LEAST_IN_FLIGHT + int(PREFETCH / (self._duration + OVERHEAD)))
        # In steps by a factor of two, so that it does not change at every turn.
        if wanted >= 2 * self.window or 2 * wanted <= self.window:
            ready = sum(worker.ready for worker in self.workers.values())
            self.slots += (wanted - self.window) * ready
            self.window = wanted
            for worker in self.workers.values():
                self._offer(worker)

    def find(self, attempt: Any) -> Any:
        """Return the worker that has an attempt; None if none has it."""
        number = attempt.job.number
        for worker in self.workers.values():
            if worker.in_flight.get(number) is attempt:
                return worker
        return None

    def forget(self, attempt: Any) -> bool:
        """Forget an attempt that does not run. A late outcome is ignored. False if it runs, or is not in this pool."""
        number = attempt.job.number
        placed = self.unassigned.get(number)
        if placed is not None and placed[0] is attempt:
            del self.unassigned[number]
            return True
        worker = self.find(attempt)
        if worker is None or worker.head() is attempt:
            return False
        del worker.in_flight[number]
        return True

    def numbers(self) -> set[int]:
        """Return the numbers of all jobs that are unassigned or in flight."""
        return {number for worker in self.workers.values() for number in worker.in_flight}.union(self.unassigned)

    # Stealing back.

    def give_back(self, worker: PoolWorker, low: int, high: int, now: float) -> None:
        """Take back the jobs of this range, which a worker has answered that it has not begun; none if low > high."""
        self.balance_at = None  # it was set for workers that do not answer; the next call of `balance` sets it again
        worker.stealing = worker.unresponsive = False
        if low > high:
            worker.refused_steal = now  # it has begun them, so ask again only after a while
        else:
            self._take_back(worker, low, high)
        self._offer(worker)

    def _take_back(self, worker: PoolWorker, low: int, high: int) -> None:
        attempts = [each for each in worker.in_flight.values() if low <= each.place <= high]
        for attempt in attempts:
            del worker.in_flight[attempt.job.number]
        self.unassign(attempts)

    def balance(self, now: float) -> list[Steal]:
        """Return the requests to steal back jobs that wait behind a long one while another worker is idle."""
        if self.balance_at is not None and now < self.balance_at:
            return []
        self.balance_at = None
        for worker in self.workers.values():
            if worker.stealing:
                self._take_from_unresponsive(worker, now)
        self.waits_for_answer = self.waits_for_answer and any(each.stealing for each in self.workers.values())
        return [] if self._first_idle() is None else self._steal_for_the_idle(now)

    def is_calm(self) -> bool:
        """Whether `balance` has nothing to do at any time. Then it need not be called, and `balance_at` is None."""
        if self.idle or self.waits_for_answer:
            return False
        self.balance_at = None  # a time in the past would make the I/O thread poll without waiting
        return True

    def _steal_for_the_idle(self, now: float) -> list[Steal]:
        """Ask for a share of the jobs behind long ones."""
        steals = []
        idle = sum(worker.ready and not worker.in_flight for worker in self.workers.values())
        for worker in self.workers.values():
            waiting = len(worker.in_flight) - 1
            if waiting < 1 or worker.stealing or not worker.ready:
                continue
            if now - max(worker.since, worker.refused_steal) < STEAL_AFTER:
                self.balance_at = now + STEAL_AFTER
                continue
            share = waiting if worker.unresponsive else max(1, waiting * idle // (idle + 1))
            steals.append(self._steal(worker, share, now))
        return steals

    def _steal(self, worker: PoolWorker, count: int, now: float) -> Steal:
        """Ask for the last `count` jobs that were sent."""
        worker.stealing = True
        places = [attempt.place for attempt in worker.in_flight.values()][-count:]
        worker.asked = places[0], places[-1], now
        self._look_again_at(now + UNRESPONSIVE_AFTER)
        return Steal(worker, places[0], places[-1])

    def _look_again_at(self, when: float) -> None:
        self.balance_at = min(self.balance_at or math.inf, when)

    def mark_unresponsive(self, worker: PoolWorker, now: float) -> list[Steal]:
        """Note that the job of a worker does not stop and cannot be stopped: it gets no more jobs until it sends
        something. Returns requests to steal back the jobs behind it, even if all other workers are busy."""
        worker.unresponsive = True
        waiting = len(worker.in_flight) - 1
        steals = [self._steal(worker, waiting, now)] if waiting > 0 and not worker.stealing else []
        self.waits_for_answer = worker.stealing
        return steals

    def _take_from_unresponsive(self, worker: PoolWorker, now: float) -> None:
        """Take back the jobs of a worker that has sent nothing for long: it runs C code that holds its GIL.

        It runs its first job in flight, and reads the request before it begins another one: the others can be taken.
        """
        low, high, when = worker.asked
        silent_since = max(when, worker.since)
        if now - silent_since < UNRESPONSIVE_AFTER:
            self._look_again_at(silent_since + UNRESPONSIVE_AFTER)
            return
        head = worker.head()
        self._take_back(worker, low if head is None else max(low, head.place + 1), high)
        worker.stealing, worker.unresponsive = False, True

    # After an error.

    def rebuild(self) -> None:
        """Make the queues again from the jobs that the workers have. `capacity` then returns the number of slots."""
        self.balance_at = self._awake = None
        self._with_room.clear()
        self.idle.clear()
        self.slots = 0
        for worker in self.workers.values():
            worker.with_room = worker.idle = worker.stealing = False
            self._offer(worker)

    def clear(self) -> None:
        """Forget all jobs."""
        self.unassigned.clear()
        for worker in self.workers.values():
            worker.in_flight.clear()
