"""The prefetcher alone, in time that the test tells: no thread, no process, no socket.

Its workers are pretended: a fake transport puts what is sent into their queues, and a fake launcher lets them start and
die. A pretended worker runs its jobs in the order in which they came, and gives back those that have not begun.
"""

from __future__ import annotations

from collections import deque
from typing import Any, NamedTuple

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from evalpool.backends._pool import _prefetcher
from evalpool.backends._pool._pool_worker import PoolWorker
from evalpool.backends._pool._prefetcher import LEAST_IN_FLIGHT, MOST_IN_FLIGHT, Prefetcher
from evalpool.outcomes import JobStatus, Outcome, Worker

DONE = Outcome(JobStatus.DONE, 1.0)


class Numbered(NamedTuple):
    number: int


class Attempt:
    """As the prefetcher sees one."""

    def __init__(self, number: int) -> None:
        self.job = Numbered(number)
        self.number = 1
        self.place = 0


class Pretended:
    """A worker: the jobs that it was sent and has not begun, by place, and the one that it runs."""

    def __init__(self, worker: PoolWorker) -> None:
        self.worker = worker
        self.waiting: deque[tuple[int, Attempt]] = deque()
        self.places = 0
        self.running: Attempt | None = None
        self.since = 0.0
        self.asked: deque[tuple[int, int]] = deque()  # steals that it has not read yet

    def receive(self, messages: list[Attempt]) -> None:
        for message in messages:
            assert message.place == self.places, "jobs come in the order in which they were assigned"
            self.waiting.append((self.places, message))
            self.places += 1

    def begin(self, now: float) -> Attempt | None:
        """Begin the next job, as a worker does that first looks for steals."""
        if self.running is None and self.waiting:
            self.running, self.since = self.waiting.popleft()[1], now
        return self.running

    def give_back(self) -> tuple[int, int]:
        """Answer the oldest steal: which jobs it does not begin."""
        low, high = self.asked.popleft()
        low = max(low, self.places - len(self.waiting))
        self.waiting = deque(each for each in self.waiting if not low <= each[0] <= high)
        return low, high


class World:
    """A prefetcher with its pretended workers, launcher and transport."""

    def __init__(self, workers: int = 2, watched: bool = False) -> None:
        self.now = 100.0
        self.prefetcher = Prefetcher(watched)
        self.workers: dict[int, Pretended] = {}
        self.slots = 0
        self.count = 0
        self.begun: list[tuple[Any, Worker]] = []
        self.ended: list[int] = []
        for index in range(workers):
            self.launch(index)
            self.start_up(index)

    # The launcher.

    def launch(self, index: int) -> None:
        worker = PoolWorker(index, Worker(f"pretended-{index}", "", index), self.now)
        self.prefetcher.add(worker)
        self.workers[index] = Pretended(worker)

    def start_up(self, index: int) -> None:
        self.prefetcher.start_up(self.workers[index].worker)
        self.tell_owner()

    def die(self, index: int) -> list[int]:
        """A worker dies and its place stays empty; the numbers of the jobs that it is to blame for."""
        attempts = self.prefetcher.remove(self.workers.pop(index).worker)
        self.prefetcher.unassign(attempts[1:])
        self.ended += [attempt.job.number for attempt in attempts[:1]]
        return [attempt.job.number for attempt in attempts[:1]]

    # The transport.

    def send(self, sends: dict[Any, list[Any]]) -> None:
        for worker, messages in sends.items():
            self.workers[worker.index].receive(messages)

    def tell(self, steals: list[Any]) -> None:
        for steal in steals:
            self.workers[steal.worker.index].asked.append((steal.low, steal.high))

    # The owner.

    def submit(self, count: int) -> list[Attempt]:
        attempts = [Attempt(number) for number in range(self.count, self.count + count)]
        self.count += count
        sends: dict[Any, list[Any]] = {}
        self.begun += self.prefetcher.assign([(attempt, attempt) for attempt in attempts], self.now, sends)
        self.send(sends)
        return attempts

    def tell_owner(self) -> None:
        self.slots += self.prefetcher.take_slots()
        if self.prefetcher.unassigned and self.prefetcher.has_room(self.now):
            sends: dict[Any, list[Any]] = {}
            waiting = [(attempt, attempt) for attempt, _ in self.prefetcher.unassigned.values()]
            self.begun += self.prefetcher.assign_again(waiting, self.now, sends)
            self.send(sends)

    # Workers.

    def end(self, index: int, seconds: float = 0.0) -> int | None:
        """End the job that runs, after `seconds`; return its number."""
        pretended = self.workers[index]
        attempt = pretended.begin(self.now)
        if attempt is None:
            return None
        self.now += seconds
        pretended.running = None
        ended = [(attempt.job.number, attempt.number, DONE)]
        reports, _ = self.prefetcher.end(pretended.worker, ended, seconds, self.now)
        self.ended += [each.job.number for each, _ in reports]
        self.tell_owner()
        return attempt.job.number if reports else None

    def answer(self, index: int) -> None:
        pretended = self.workers[index]
        low, high = pretended.give_back()
        self.prefetcher.give_back(pretended.worker, low, high, self.now)
        self.tell_owner()

    def balance(self) -> None:
        self.tell(self.prefetcher.balance(self.now))
        self.tell_owner()

    def has(self, index: int) -> list[int]:
        return list(self.workers[index].worker.in_flight)


def widen(world: World) -> None:
    """Jobs of no duration, until as many as there may be are in flight."""
    while world.prefetcher.window < MOST_IN_FLIGHT:
        world.submit(1)
        for index in world.workers:
            world.end(index)


def test_jobs_go_to_idle_workers_first_and_then_evenly() -> None:
    world = World(3)
    world.submit(5)
    assert [world.has(index) for index in range(3)] == [[0, 3], [1, 4], [2]]


def test_what_no_worker_has_room_for_waits_and_goes_to_the_first_that_has() -> None:
    world = World(2)
    world.submit(2 * LEAST_IN_FLIGHT + 1)
    assert list(world.prefetcher.unassigned) == [4]
    world.end(1, 1.0)
    assert world.has(1) == [3, 4]
    assert not world.prefetcher.unassigned


def test_the_shorter_jobs_are_the_more_are_in_flight() -> None:
    world = World(2)
    assert world.slots == 2 * LEAST_IN_FLIGHT
    widen(world)
    assert world.slots == 2 * MOST_IN_FLIGHT
    world.submit(1)
    world.end(0, 1.0) if world.has(0) else world.end(1, 1.0)
    assert world.slots == 2 * LEAST_IN_FLIGHT


def test_jobs_that_are_shorter_than_it_takes_to_wake_a_worker_go_to_the_one_that_is_awake() -> None:
    world = World(3)
    world.submit(1)
    world.end(0)
    share = world.prefetcher.share
    assert share > 2
    world.submit(2 * share + 1)
    assert [len(world.has(index)) for index in (0, 1, 2)] == [share, share, 1], "a few to each, who was heard first"
    world.end(2)
    world.submit(2)
    assert len(world.has(2)) == 2
    world.end(1)
    world.submit(2)
    assert len(world.has(1)) == share, "it gets one more, and then it is another one's turn"
    assert len(world.has(2)) == 3 or len(world.has(0)) == share + 1


def test_jobs_as_long_as_it_takes_to_wake_a_worker_go_to_idle_ones() -> None:
    world = World(3)
    world.submit(1)
    world.end(0, _prefetcher.WAKE)
    assert world.prefetcher.share == 1
    world.submit(3)
    assert sorted(len(world.has(index)) for index in range(3)) == [1, 1, 1]


def test_a_long_job_among_short_ones_holds_up_nothing_while_a_worker_is_idle() -> None:
    world = World(2)
    world.submit(1)
    world.end(0)
    world.submit(3)
    assert [len(world.has(index)) for index in (0, 1)] == [3, 0]
    world.workers[0].begin(world.now)  # and goes on
    world.balance()
    world.now += 2 * _prefetcher.STEAL_AFTER
    world.submit(1)
    assert world.has(1) == [4], "nothing is put behind it any more"
    world.end(1)
    world.balance()
    world.answer(0)
    assert world.has(0) == [1, 2]
    assert world.has(1) == [3]


def test_a_worker_that_is_gone_or_about_to_go_is_not_the_one_that_is_awake() -> None:
    world = World(3)
    world.submit(1)
    world.end(0)
    world.prefetcher.hold(world.workers[0].worker)
    world.submit(1)
    assert world.has(0) == []
    world.end(1)
    world.die(1)
    world.submit(1)
    assert world.has(2) == [2]


def test_jobs_behind_a_long_one_go_to_the_worker_that_is_idle() -> None:
    world = World(2)
    world.submit(4)  # 0 and 2 in the first, 1 and 3 in the second
    world.end(1)
    world.end(1)
    world.balance()
    assert not world.workers[0].asked, "not at once: the job may be a short one"
    world.now += 2 * _prefetcher.STEAL_AFTER
    world.workers[0].begin(world.now)
    world.balance()
    world.answer(0)
    assert world.has(0) == [0]
    assert world.has(1) == [2]


def test_a_worker_that_has_begun_all_is_asked_again_only_after_a_while() -> None:
    world = World(2)
    world.submit(3)
    world.end(1)
    world.now += 2 * _prefetcher.STEAL_AFTER
    world.balance()
    assert world.workers[0].asked
    world.end(0)  # it begins the next one before it reads that this one is wanted back
    world.workers[0].begin(world.now)
    world.answer(0)
    assert world.has(0) == [2]
    world.submit(3)
    world.end(1)
    world.balance()
    assert not world.workers[0].asked


def test_jobs_behind_one_that_does_not_answer_are_taken_without_an_answer() -> None:
    world = World(2)
    world.submit(4)
    world.workers[0].begin(world.now)
    world.end(1)
    world.end(1)
    world.now += 2 * _prefetcher.STEAL_AFTER
    world.balance()
    assert world.prefetcher.balance_at == pytest.approx(world.now + _prefetcher.UNRESPONSIVE_AFTER)
    world.now += 2 * _prefetcher.UNRESPONSIVE_AFTER
    world.balance()
    assert world.has(0) == [0]
    assert world.has(1) == [2]
    assert world.workers[0].worker.unresponsive
    world.submit(5)
    assert world.has(0) == [0], "nothing more is sent there"
    world.answer(0)  # in the end it reads that it was asked
    assert not world.workers[0].worker.unresponsive
    assert world.end(0) == 0
    assert world.workers[0].running is None
    assert 2 in world.has(1)


def test_jobs_are_taken_from_a_worker_that_fell_silent_after_it_was_asked() -> None:
    world = World(4)
    world.prefetcher.window = 4
    world.submit(16)
    for index in (1, 2, 3):
        for _ in range(4):
            world.end(index, 1.0)
    world.balance()
    assert world.workers[0].asked == deque([(2, 3)])
    world.end(0)  # short jobs: it has not heard yet that it was asked
    world.end(0)
    world.workers[0].begin(world.now)  # this one hangs, and is among those that were asked for
    assert world.has(0) == [8, 12]
    world.balance()
    world.now += 1.01 * _prefetcher.UNRESPONSIVE_AFTER
    world.balance()
    assert world.has(0) == [8], "what runs stays, what waits behind it goes"
    assert world.workers[0].worker.unresponsive
    assert world.prefetcher.balance_at is None or world.prefetcher.balance_at > world.now


def test_the_first_in_flight_is_to_blame_and_the_others_go_elsewhere() -> None:
    world = World(2)
    world.submit(4)
    assert world.die(0) == [0]
    assert list(world.prefetcher.unassigned) == [2]
    assert [attempt.job.number for attempt in world.prefetcher.take_returned()] == [2]
    world.end(1, 1.0)
    assert world.has(1) == [3, 2]


def test_a_job_that_runs_is_not_forgotten_and_one_that_waits_is() -> None:
    world = World(1)
    runs, waits, unassigned = world.submit(3)
    assert not world.prefetcher.forget(runs)
    assert world.prefetcher.forget(waits)
    assert world.prefetcher.forget(unassigned)
    assert not world.prefetcher.forget(waits)
    assert world.prefetcher.numbers() == {0}


def test_a_late_outcome_of_another_attempt_is_nobodys() -> None:
    world = World(1)
    (attempt,) = world.submit(1)
    attempt.number = 2
    worker = world.workers[0].worker
    reports, _ = world.prefetcher.end(worker, [(0, 1, DONE)], 0.0, world.now)
    assert not reports
    reports, _ = world.prefetcher.end(worker, [(0, 2, DONE)], 0.0, world.now)
    assert reports == [(attempt, DONE)]


def test_starts_are_said_where_somebody_asks() -> None:
    world = World(1, watched=True)
    first, second = world.submit(2)
    assert world.begun == [(first, world.workers[0].worker.facts)]
    reports, begins = world.prefetcher.end(world.workers[0].worker, [(0, 1, DONE)], 1.0, world.now)
    assert reports == [(first, DONE)]
    assert begins is second


def test_a_worker_that_is_about_to_go_is_sent_nothing_more() -> None:
    world = World(2)
    world.prefetcher.hold(world.workers[0].worker)
    world.submit(3)
    assert world.has(0) == []
    assert world.has(1) == [0, 1]
    assert list(world.prefetcher.unassigned) == [2]


def test_after_an_error_the_queues_are_made_anew_from_what_workers_have() -> None:
    world = World(2)
    world.submit(3)
    world.prefetcher.idle.clear()
    world.prefetcher._with_room.clear()
    world.prefetcher.rebuild()
    assert world.prefetcher.capacity() == 2 * LEAST_IN_FLIGHT
    world.end(1)
    world.submit(2)
    assert world.prefetcher.numbers() == {0, 2, 3, 4}
    assert not world.prefetcher.unassigned


class Jobs(RuleBasedStateMachine):
    """Whatever workers do, and in whatever order: each job is in one place, and each is reported once."""

    @property
    def indices(self) -> list[int]:
        return sorted(self.world.workers)

    def __init__(self) -> None:
        super().__init__()
        self.world = World(3)
        self.forgotten: set[int] = set()

    def worker(self, choice: int) -> int:
        return self.indices[choice % len(self.indices)]

    @rule(count=st.integers(1, 8))
    def submit(self, count: int) -> None:
        self.world.submit(count)

    @precondition(lambda self: self.world.workers)
    @rule(choice=st.integers(0, 3))
    def begin(self, choice: int) -> None:
        self.world.workers[self.worker(choice)].begin(self.world.now)

    @precondition(lambda self: self.world.workers)
    @rule(choice=st.integers(0, 3), seconds=st.sampled_from([0.0, 0.0001, 0.01, 1.0]))
    def end(self, choice: int, seconds: float) -> None:
        index = self.worker(choice)
        first = next(iter(self.world.has(index)), None)
        runs = self.world.workers[index].begin(self.world.now)
        ended = self.world.end(index, seconds)
        if runs is not None and runs.job.number not in self.forgotten:
            assert ended == runs.job.number == first, "the first in flight is the one that runs"

    @precondition(lambda self: self.world.workers)
    @rule(choice=st.integers(0, 3))
    def answer(self, choice: int) -> None:
        index = self.worker(choice)
        if self.world.workers[index].asked:
            self.world.answer(index)

    @rule(seconds=st.sampled_from([0.0, 0.003, 0.05, 0.3]))
    def balance(self, seconds: float) -> None:
        self.world.now += seconds
        # A worker that looks for steals between two jobs has read them if it began a job after they were sent.
        for pretended in self.world.workers.values():
            if pretended.asked and pretended.running is None:
                self.world.answer(pretended.worker.index)
        self.world.balance()

    @precondition(lambda self: self.world.workers)
    @rule(choice=st.integers(0, 3))
    def mark_unresponsive(self, choice: int) -> None:
        worker = self.world.workers[self.worker(choice)]
        if worker.begin(self.world.now) is not None:
            self.world.tell(self.world.prefetcher.mark_unresponsive(worker.worker, self.world.now))

    @precondition(lambda self: self.world.workers)
    @rule(choice=st.integers(0, 3))
    def die(self, choice: int) -> None:
        index = self.worker(choice)
        runs = self.world.workers[index].begin(self.world.now)
        blamed = self.world.die(index)
        self.world.tell_owner()
        if runs is not None and runs.job.number not in self.forgotten:
            assert blamed == [runs.job.number]

    @precondition(lambda self: len(self.world.workers) < 4)
    @rule()
    def start(self) -> None:
        index = next(index for index in range(4) if index not in self.world.workers)
        self.world.launch(index)
        self.world.start_up(index)

    @rule(choice=st.integers(0, 30))
    def forget(self, choice: int) -> None:
        prefetcher = self.world.prefetcher
        numbers = sorted(prefetcher.numbers())
        if numbers:
            attempt = self.attempt(numbers[choice % len(numbers)])
            if prefetcher.forget(attempt):
                self.forgotten.add(attempt.job.number)

    def attempt(self, number: int) -> Any:
        prefetcher = self.world.prefetcher
        places = [worker.in_flight for worker in prefetcher.workers.values()]
        found = [place[number] for place in places if number in place]
        return (found or [prefetcher.unassigned[number][0]])[0]

    @rule()
    def rebuild(self) -> None:
        self.world.prefetcher.rebuild()
        self.world.slots = self.world.prefetcher.capacity()

    @invariant()
    def each_job_is_in_one_place(self) -> None:
        prefetcher = self.world.prefetcher
        places = [number for worker in prefetcher.workers.values() for number in worker.in_flight]
        places += prefetcher.unassigned
        places += self.world.ended
        places += self.forgotten
        assert sorted(places) == list(range(self.world.count))

    @invariant()
    def slots_add_up(self) -> None:
        prefetcher = self.world.prefetcher
        assert self.world.slots + prefetcher.slots == prefetcher.capacity()

    @invariant()
    def a_worker_is_sent_what_it_is_thought_to_have(self) -> None:
        for pretended in self.world.workers.values():
            has = [attempt.job.number for _, attempt in pretended.waiting]
            has += [pretended.running.job.number] if pretended.running is not None else []
            assert set(pretended.worker.in_flight) <= set(has)

    def teardown(self) -> None:
        """In the end all jobs are done, if there is a worker and it goes on."""
        world = self.world
        if not world.workers:
            self.start()
        for _ in range(3 * world.count + 20):
            world.now += 0.3
            for index in self.indices:
                while world.workers[index].asked:
                    world.answer(index)
                world.end(index)
            world.balance()
        assert not world.prefetcher.numbers()
        assert sorted([*world.ended, *self.forgotten]) == list(range(world.count))


TestJobs = pytest.mark.slow(Jobs.TestCase)
TestJobs.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
