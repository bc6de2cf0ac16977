"""What is gathered is recorded and told once, in order, wherever an interrupt strikes; without a thread or a sleep."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from evalpool import JobError
from evalpool._interrupts import defer_signals, install, uninstall
from evalpool.callbacks import Callback
from evalpool.evaluator._back_off import BackOff
from evalpool.evaluator._core import Core
from evalpool.evaluator._first_failures import FirstFailures
from evalpool.evaluator._foreign_jobs import ForeignJobs
from evalpool.evaluator._gathering import Gathering, raise_first_failure
from evalpool.evaluator._hook_queue import HookQueue
from evalpool.evaluator._job_events import JobEvents
from evalpool.evaluator._ledger import JobLedger
from evalpool.evaluator._open_search import OpenSearch
from evalpool.evaluator._recorder import recorder_for
from evalpool.evaluator._timeline import RealTime
from evalpool.jobs._job import Job
from evalpool.outcomes import FailureKind, JobStatus, Outcome, failed
from evalpool.storage import Event, MemoryStorage
from faults.lines import interrupt_at


class Store(MemoryStorage):
    """Raises what it is told to, once."""

    raises: BaseException | None = None

    def __init__(self, durable: bool = False) -> None:
        super().__init__()
        self.durable = durable

    def append(self, events: Sequence[Event]) -> None:
        error, self.raises = self.raises, None
        if error is not None:
            raise error
        super().append(events)

    def append_soon(self, events: Sequence[Event]) -> None:
        super().append(events)


class Told(Callback):
    """Notes what it is told, and what the storage has of it by then."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.heard: list[Any] = []

    def on_record(self, job: Any, budget: float, objective: Any) -> None:
        self.heard.append(("record", job.number))

    def on_done(self, job: Any) -> None:
        assert self.world.is_recorded(job)
        self.heard.append(("done", job.number))

    def on_done_other(self, job: Any) -> None:
        self.heard.append(("other", job.number))

    def on_gather(self, jobs: list[Any], other_jobs: list[Any]) -> None:
        self.heard.append(("gather", numbers(jobs), numbers(other_jobs)))


class Claims:
    """As `Fence`, of which the test says who claims what.

    Attributes:
        others: numbers of jobs that another has claimed, as is seen in the next looks.
        lasts: does the lease? If not, it is renewed at the next look.
    """

    def __init__(self) -> None:
        self.claimed: dict[int, Job[Any]] = {}
        self.taken_up: set[int] = set()
        self.seen: tuple[Any, int] = (None, 0)
        self.was_needed = False
        self.lasts = True
        self.others: set[int] = set()

    def holds(self) -> bool:
        return self.lasts

    def keep_ours(self, jobs: list[Job[Any]]) -> None:
        self.lasts = True
        for job in list(jobs):
            if job.number in self.others:
                jobs.remove(job)
                job._gathered = None
                self.was_needed = True

    def hold_back(self, jobs: list[Job[Any]]) -> None:
        raise AssertionError("the lease lasts")

    def keep_start(self) -> None:
        raise AssertionError("nothing was lost")


class User:
    """Whose end closes a storage that was given by its URL."""


class World:
    """A gathering with its parts, and jobs that have ended."""

    def __init__(self, storage: Store | None = None, search_id: str | None = None) -> None:
        search = self.search = OpenSearch(
            storage, search_id, job_type="hpo", seed=3, seed_given=True, check=lambda storage: None, user=User()
        )
        self.core = Core(JobLedger(4), None, name="Evaluator")
        self.seed, self._times = 3, RealTime(search.origin, lambda extra: {})  # as the evaluator of the jobs
        self.told = Told(self)
        self.hooks = HookQueue([self.told])
        self.fence = Claims()
        back_off = BackOff()
        self.recorder = recorder_for(search, JobEvents(search, self._times), back_off, self.fence, lambda jobs: jobs)
        self.foreign_jobs = ForeignJobs(search, self.hooks, back_off, lambda record: False)
        self.gathering = Gathering(
            search, self.core, self._times, recorder=self.recorder, fence=self.fence,  # type: ignore[arg-type]
            hooks=self.hooks, foreign_jobs=self.foreign_jobs, first_failures=FirstFailures([]),
        )  # fmt: skip

    def jobs(self, count: int, outcome: Outcome | None = None) -> list[Job[Any]]:
        """Jobs that have ended, and were not gathered."""
        jobs = [
            Job(self, None, self.search.search_id, number, {"x": number}, "hpo", 0.5)  # type: ignore[arg-type]
            for number in range(count)
        ]
        self.recorder.created(jobs)
        for job in jobs:
            job.attempts = 1
            self.core.deliver(job, outcome or Outcome(JobStatus.DONE, float(job.number)))
            if self.recorder.unrecorded is not None:
                self.recorder.unrecorded.add(job.number)
        return jobs

    def conclude(self, jobs: list[Job[Any]]) -> None:
        with defer_signals():
            self.gathering.conclude(jobs)

    def another_finishes(self, number: int) -> None:
        self.search.storage.append([
            Event("created", self.search.search_id, number, {"args": {}, "submit": 0.5, "owner": "another"}),
            Event("finished", self.search.search_id, number, {"status": "DONE", "objective": 7.0, "attempts": 1}),
        ])  # fmt: skip

    def is_recorded(self, job: Job[Any]) -> bool:
        records = {record.number: record for record in self.search.storage.results(self.search.search_id)}
        return job.number in records and records[job.number].timestamp_gather is not None


def numbers(jobs: list[Any]) -> list[int]:
    return [job.number for job in jobs]


@pytest.fixture(params=["own", "memory", "durable"])
def world(request: pytest.FixtureRequest) -> World:
    return World({"own": None, "memory": Store(), "durable": Store(durable=True)}[request.param])


@pytest.fixture
def handlers() -> Iterator[None]:
    """A Ctrl-C is noted where signals are deferred, as while an evaluator is open."""
    assert install()
    yield
    uninstall()


def test_what_ran_is_told_first_then_each_job_once_it_is_recorded_then_all(world: World) -> None:
    jobs = world.jobs(2)
    world.hooks.notice("on_record", jobs[0], 1.0, 0.5)
    world.conclude(jobs)
    assert world.told.heard == [("record", 0), ("done", 0), ("done", 1), ("gather", [0, 1], [])]


def test_jobs_that_are_given_back_again_are_neither_recorded_nor_told_again(world: World) -> None:
    jobs = world.jobs(2)
    world.conclude(jobs[:1])
    gathered = jobs[0]._gathered
    world.conclude(jobs)
    assert jobs[0]._gathered == gathered
    assert world.told.heard == [("done", 0), ("gather", [0], []), ("done", 1), ("gather", [1], [])]


def test_a_gather_of_nothing_is_told_to_nobody(world: World) -> None:
    world.conclude([])
    assert world.told.heard == []


def test_what_others_finished_comes_between_ours_and_the_gather() -> None:
    world = World(Store())
    jobs = world.jobs(1)
    world.another_finishes(9)
    world.conclude(jobs)
    assert world.told.heard == [("done", 0), ("other", 9), ("gather", [0], [9])]


@pytest.mark.parametrize("durable", [False, True])
def test_a_record_that_is_interrupted_is_made_by_the_next_gather(durable: bool) -> None:
    world = World(storage := Store(durable))
    jobs = world.jobs(2)
    storage.raises = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        world.conclude(jobs)
    assert [job._gathered for job in jobs] == [None, None]
    assert world.told.heard == []
    world.conclude(jobs)
    assert world.told.heard == [("done", 0), ("done", 1), ("gather", [0, 1], [])]


def test_wherever_an_interrupt_strikes_each_job_is_recorded_and_told_once(handlers: None) -> None:
    for kind in (None, False, True):
        which, struck = 0, True
        while struck:
            world = World(None if kind is None else Store(kind))
            jobs = world.jobs(2)
            if kind is not None:
                world.another_finishes(9)
            functions = (Gathering.conclude, Gathering._record, ForeignJobs.look, ForeignJobs.take_news)
            with (
                interrupt_at(which, *functions, strike=lambda: signal.raise_signal(signal.SIGINT)) as line,
                contextlib.suppress(KeyboardInterrupt),
            ):
                world.conclude(jobs)
            world.conclude(jobs)  # they were put back
            heard = world.told.heard
            assert heard[:2] == [("done", 0), ("done", 1)], line.struck
            assert [each[1] for each in heard if each[0] == "gather" and each[1]] == [[0, 1]], line.struck
            others = [] if kind is None else [9]
            assert [each[1] for each in heard if each[0] == "other"] == others, line.struck
            assert [number for each in heard if each[0] == "gather" for number in each[2]] == others, line.struck
            assert all(map(world.is_recorded, jobs)), line.struck
            struck = line.struck is not None
            which += 1
        assert which > 15


def test_a_job_that_another_claimed_is_not_ours_to_tell() -> None:
    world = World(Store(durable=True))
    jobs = world.jobs(3)
    world.fence.others = {1}
    world.conclude(jobs)
    assert numbers(jobs) == [0, 2]
    assert world.told.heard == [("done", 0), ("done", 2), ("gather", [0, 2], [])]


def test_where_the_lease_ended_amidst_the_record_claims_are_looked_for_before_anything_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World(Store(durable=True))
    jobs = world.jobs(3)
    gathered = world.recorder.gathered

    def held_up(own: list[Job[Any]]) -> None:
        world.fence.lasts = False
        world.fence.others = {2}
        gathered(own)

    monkeypatch.setattr(world.recorder, "gathered", held_up)
    world.conclude(jobs)
    assert numbers(jobs) == [0, 1]
    assert world.told.heard == [("done", 0), ("done", 1), ("gather", [0, 1], [])]


def test_of_jobs_that_are_left_to_be_resumed_no_callback_hears() -> None:
    world = World(Store(durable=True))
    world.core.suspends = True
    jobs = world.jobs(2, failed(FailureKind.WORKER_DIED, "killed"))
    assert [job.kind for job in jobs] == [FailureKind.SUSPENDED] * 2
    world.conclude(jobs)
    assert world.told.heard == []
    assert not any(map(world.is_recorded, jobs))


@pytest.mark.parametrize("gathered_before", [False, True])
def test_of_restored_jobs_those_are_recorded_that_nobody_had_gathered(gathered_before: bool) -> None:
    storage = Store(durable=True)
    first = World(storage)
    (job,) = first.jobs(1)
    first.recorder.outcomes([job])
    if gathered_before:
        first.conclude([job])
    later = World(storage, first.search.search_id)
    restored: Job[Any] = Job(None, None, first.search.search_id, 0, {"x": 0}, "hpo", 0.5)
    restored._history = {"timestamp_gather": job._gathered}
    later.core.deliver(restored, Outcome(JobStatus.DONE, 0.0))
    before = len(storage.read(None)[0])
    later.conclude([restored])
    assert later.told.heard[:1] == [("done", 0)]
    assert len(storage.read(None)[0]) - before == (0 if gathered_before else 1)
    assert later.is_recorded(restored)


def test_the_first_failure_is_raised_but_not_that_of_another_run() -> None:
    world = World()
    jobs = world.jobs(3, failed(FailureKind.RAISED, "no"))
    jobs[0]._history = {"restored": True}
    with pytest.raises(JobError, match=rf"Job {jobs[1].id} failed") as raised:
        raise_first_failure(jobs)
    assert raised.value.jobs == jobs
    raise_first_failure(jobs[:1])
