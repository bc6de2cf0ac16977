"""Which worker has which jobs: assigned, prefetched, stolen back. Without threads, locks, clocks and I/O.

Several jobs are in flight per worker, so that it never waits for us, and more the shorter they are: as many
as fill `PREFETCH` seconds by the longest recent duration. A job that was prefetched by a worker which then turns out
to be busy for long is stolen back and given to an idle one. Blame stays with one job: a worker runs its jobs in
the order in which they were sent, so the first in flight is the one that runs.

Jobs that take less time than to wake a process are not spread over all workers: the one that was heard last is given a
few of them at a time, and finds the next ones before it falls asleep. If one of them takes long after all, those behind
it are stolen back.

Each method says in what it returns what is to be sent or told; `now` is the time in seconds of one monotonic clock. Its
owner calls it under one lock (`_pool`).
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from typing import Any, NamedTuple

from evalpool.outcomes import Outcome, Worker

__all__ = ["Placed", "PoolWorker", "Prefetcher", "Steal"]

LEAST_IN_FLIGHT = 2
"""One runs, one waits in the worker: measured 1.6 to 2.6 times the rate of one alone; a third adds little."""
MOST_IN_FLIGHT = 256
PREFETCH = 0.002
"""Seconds of work that may be in flight per worker."""
WAKE = 40e-6
"""Seconds of work that a worker is given of short jobs before another one gets the next: as long as it takes to wake
that, on both sides. In a search loop with jobs of no duration it takes a third of the time of all processes."""
OVERHEAD = 5e-6
"""Seconds that a job takes beside its run-function, at the least."""
UNRESPONSIVE_AFTER = 0.25
"""Seconds without an answer to a steal after which a worker is called unresponsive."""
STUCK_AFTER = 0.02
"""A worker busy with one job for so long prefetches one job and no more."""
STEAL_AFTER = 0.002
"""From a worker busy with one job for so long, the jobs behind it are stolen back for idle workers."""


class PoolWorker:
    """One worker of a pool and the jobs it has.

    Attributes:
        index: its place among the workers, from 0.
        facts: its name, host and process id, as a job's metadata says them.
        elsewhere: it is on another host, with a clock of its own.
        handle: by what its launcher knows it.
        link: by what its transport reaches it; None: not yet.
        in_flight: the attempts it has been sent, by job number, in the order of sending.
        ready: it has started up.
        ending: its connection has ended, and its launcher does not know yet how.
        short_until: of the jobs that were sent before this place, it may hold outcomes (`_held`).
        last_frame, refused: where the jobs of the frame that was sent last begin; of the first that reached nobody.
    """

    __slots__ = (
        "asked",
        "elsewhere",
        "ending",
        "facts",
        "handle",
        "held",
        "idle",
        "in_flight",
        "index",
        "last_frame",
        "link",
        "places",
        "ready",
        "refused",
        "refused_steal",
        "short_until",
        "since",
        "stealing",
        "unresponsive",
        "with_room",
    )

    def __init__(self, index: int, facts: Worker, now: float, elsewhere: bool = False) -> None:
        self.index = index
        self.facts = facts
        self.elsewhere = elsewhere
        self.handle: Any = None
        self.link: Any = None
        self.ready = self.ending = False
        self.held = False  # it is about to go, and is sent nothing more
        self.with_room = False  # it stands in the queue of workers with room
        self.idle = False  # it stands in the queue of workers without a job
        self.stealing = False  # an answer to a steal is due
        self.unresponsive = False  # it has not answered for long
        self.asked = (0, 0, 0.0)  # for which range, and when
        self.in_flight: dict[int, Any] = {}
        self.places = 0  # jobs sent so far
        self.short_until = 0
        self.last_frame, self.refused = 0, math.inf
        self.since = now  # when its first job in flight began, as far as seen from here
        self.refused_steal = 0.0  # when it last had nothing to give back

    def head(self) -> Any:
        """The attempt that runs; None if there is none."""
        return next(iter(self.in_flight.values()), None)

    def may_hold(self) -> bool:
        """May it have outcomes that it has not sent? Not if it has begun the last of its short jobs, or a later one."""
        head = self.head()
        return head is not None and head.place < self.short_until


class Steal(NamedTuple):
    """A request to a worker: give back the jobs of these places that have not begun."""

    worker: Any
    low: int
    high: int


Placed = tuple[Any, Any]
"""An attempt, and what is to be sent of it."""


class Prefetcher:
    """The jobs in flight of one pool.

    Attributes:
        watched: somebody asks when jobs begin; may turn True later.
        workers: by index.
        unassigned: by job number: those without a worker that has room, and what is to be sent; None if that is to be
            made anew.
        slots: the change of the pool's slots since `take_slots`.
        balance_at: when `balance` has something to look at again; None: not by the clock alone.
        returned: attempts that became unassigned again since somebody last looked; each may have to stop.
        waits_for_answer: all jobs behind one that does not stop are wanted back, and there is no answer yet.
    """

    def __init__(self, watched: bool = False) -> None:
        self.workers: dict[int, Any] = {}
        self.unassigned: dict[int, Placed] = {}
        self.returned: list[Any] = []
        self.slots = 0
        self.balance_at: float | None = None
        self.waits_for_answer = False
        self.window = LEAST_IN_FLIGHT
        self.share = 1  # jobs that one worker is given before it is another one's turn
        self._awake: Any = None  # the worker that was heard last
        self.idle: deque[Any] = deque()  # workers without a job, and some that had none and have one now
        self._with_room: deque[Any] = deque()
        self._duration = 0.0  # of recent jobs: rises at once, falls slowly
        self._recent = 0.0  # the same, for `share`: falls faster, since one that is too large wakes workers for nothing
        self.watched = watched

    # Workers come and go.

    def add(self, worker: PoolWorker) -> None:
        """There is a worker; it takes jobs after `start_up`."""
        self.workers[worker.index] = worker

    def start_up(self, worker: PoolWorker) -> None:
        """A worker is ready for jobs."""
        if not worker.ready:
            worker.ready = True
            self.slots += self.window
            self._offer(worker)

    def hold(self, worker: PoolWorker) -> None:
        """A worker is about to go: it is sent nothing more."""
        self._take_from_queues(worker)
        worker.held = True

    def remove(self, worker: PoolWorker) -> list[Any]:
        """A worker is gone; returns the attempts it had, the one that ran first."""
        del self.workers[worker.index]
        self._take_from_queues(worker)
        if worker.ready:
            self.slots -= self.window
        return self.empty(worker)

    def empty(self, worker: PoolWorker) -> list[Any]:
        """What a worker has been sent is in doubt; returns the attempts it had, the one that ran first."""
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
        """Is there a worker that takes jobs?"""
        return any(worker.ready for worker in self.workers.values())

    # Slots.

    def capacity(self) -> int:
        """The slots that all workers have together."""
        return self.window * sum(bool(worker.ready) for worker in self.workers.values())

    def take_slots(self) -> int:
        """The change of slots since the last call."""
        change, self.slots = self.slots, 0
        return change

    # Assignment.

    def assign(self, jobs: Iterable[Placed], now: float, sends: dict[Any, list[Any]]) -> list[tuple[Any, Worker]]:
        """Give jobs to idle workers first, then evenly; those without a worker become unassigned.

        Args:
            sends: gets, by worker, what it is to be sent, in this order.

        Returns:
            The attempts that begin at once, and where; empty if nobody asks.
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
        """The worker that is given the next job, and how many until it is another one's turn; None: all are full.

        A job is put behind another one only if no worker is idle, or if they are shorter than it takes to wake one.
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
        """How many more jobs a worker takes. One that is busy with a long job prefetches one and no more."""
        if not worker.ready or worker.unresponsive:
            return 0
        count = len(worker.in_flight)
        if count and now - worker.since >= STUCK_AFTER:
            return LEAST_IN_FLIGHT - count
        return self.window - count

    def _first_idle(self) -> Any:
        """A worker without a job, or None."""
        idle = self.idle
        while idle and idle[0].in_flight:
            idle.popleft().idle = False
        return idle[0] if idle else None

    def _offer(self, worker: PoolWorker) -> None:
        """A worker has room again."""
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
        """Would `assign` find a worker for a job?"""
        with_room = self._with_room
        while with_room and self._room(with_room[0], now) <= 0:
            with_room.popleft().with_room = False
        return bool(with_room) or self._first_idle() is not None

    def assign_again(self, jobs: Iterable[Placed], now: float, sends: dict[Any, list[Any]]) -> list[tuple[Any, Worker]]:
        """As `assign`, those of these jobs that are unassigned; the others have been forgotten meanwhile."""
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
        """Attempts that have not begun wait for another worker."""
        for attempt in attempts:
            self.unassigned[attempt.job.number] = attempt, None
            self.returned.append(attempt)

    def take_returned(self) -> list[Any]:
        """`returned`, which is empty then."""
        returned, self.returned = self.returned, []
        return returned

    # Ends.

    def end(
        self, worker: PoolWorker, ended: list[tuple[int, int, Outcome]], longest: float, now: float
    ) -> tuple[list[tuple[Any, Outcome]], Any]:
        """Jobs have ended.

        Args:
            ended: job number, attempt and outcome of each, in the order of their ends.
            longest: seconds that the longest took.

        Returns:
            Attempts with their outcomes, without those that were not the worker's any more; and the attempt that begins
            now, None if there is none or nobody asks.
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
        # In steps of two, so that it does not change at every turn.
        if wanted >= 2 * self.window or 2 * wanted <= self.window:
            ready = sum(worker.ready for worker in self.workers.values())
            self.slots += (wanted - self.window) * ready
            self.window = wanted
            for worker in self.workers.values():
                self._offer(worker)

    def find(self, attempt: Any) -> Any:
        """The worker that has an attempt; None if none has."""
        number = attempt.job.number
        for worker in self.workers.values():
            if worker.in_flight.get(number) is attempt:
                return worker
        return None

    def forget(self, attempt: Any) -> bool:
        """Forget an attempt that does not run: unassigned, or behind another one in a worker that does not answer.

        A late outcome finds nobody who waits for it. False if it is not here, or runs.
        """
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
        """Of the jobs that are somewhere here."""
        return {number for worker in self.workers.values() for number in worker.in_flight}.union(self.unassigned)

    # Stealing back.

    def give_back(self, worker: PoolWorker, low: int, high: int, now: float) -> None:
        """A worker has answered: the jobs of this range it had not begun. It is empty if low > high."""
        self.balance_at = None  # it was for those that do not answer; the next look at the balance says when anew
        worker.stealing = worker.unresponsive = False
        if low > high:
            worker.refused_steal = now  # it has begun them; ask again only after a while
        else:
            self._take_back(worker, low, high)
        self._offer(worker)

    def _take_back(self, worker: PoolWorker, low: int, high: int) -> None:
        attempts = [each for each in worker.in_flight.values() if low <= each.place <= high]
        for attempt in attempts:
            del worker.in_flight[attempt.job.number]
        self.unassign(attempts)

    def balance(self, now: float) -> list[Steal]:
        """What is to be stolen back: jobs that wait behind a long one while another worker is idle."""
        if self.balance_at is not None and now < self.balance_at:
            return []
        self.balance_at = None
        for worker in self.workers.values():
            if worker.stealing:
                self._take_from_unresponsive(worker, now)
        self.waits_for_answer = self.waits_for_answer and any(each.stealing for each in self.workers.values())
        return [] if self._first_idle() is None else self._steal_for_the_idle(now)

    def is_calm(self) -> bool:
        """Has `balance` nothing to do, whatever the time? Then it need not be called, and `balance_at` is None."""
        if self.idle or self.waits_for_answer:
            return False
        self.balance_at = None  # it is over: a moment that has passed would let nobody rest
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

    def expect_nothing_of(self, worker: PoolWorker, now: float) -> list[Steal]:
        """Its job does not stop and cannot be stopped. Jobs behind it go elsewhere, also if all others are busy, and
        until it says something nothing more is sent there."""
        worker.unresponsive = True
        waiting = len(worker.in_flight) - 1
        steals = [self._steal(worker, waiting, now)] if waiting > 0 and not worker.stealing else []
        self.waits_for_answer = worker.stealing
        return steals

    def _take_from_unresponsive(self, worker: PoolWorker, now: float) -> None:
        """A worker that has not answered, and has said nothing else for long, is in C code that holds its GIL.

        It runs its first job in flight and will see the steal before it begins another one: those behind can be had.
        """
        low, high, when = worker.asked
        silent_since = max(when, worker.since)
        if now - silent_since < UNRESPONSIVE_AFTER:
            self._look_again_at(silent_since + UNRESPONSIVE_AFTER)
            return
        head = worker.head()
        self._take_back(worker, low if head is None else max(low, head.place + 1), high)
        worker.stealing, worker.unresponsive = False, True

    # When something went wrong.

    def rebuild(self) -> None:
        """Make the queues anew from what the workers have; `capacity` says the slots."""
        self.balance_at = self._awake = None
        self._with_room.clear()
        self.idle.clear()
        self.slots = 0
        for worker in self.workers.values():
            worker.with_room = worker.idle = worker.stealing = False
            self._offer(worker)

    def clear(self) -> None:
        """All jobs are given up."""
        self.unassigned.clear()
        for worker in self.workers.values():
            worker.in_flight.clear()
