"""Several threads, tasks and evaluators at once: no deadlock, and every job comes back exactly once."""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from evalpool import Evaluator, EvaluatorClosed, Job, JobStatus, SerialEvaluator, ThreadPoolEvaluator
from evalpool.backends import Attempt
from evalpool.backends._thread import ThreadBackend
from evalpool.callbacks import Callback
from evalpool.storage import SQLiteStorage

Make = Callable[..., Any]
BOUND = 60.0


@pytest.fixture
def make() -> Iterator[Make]:
    """Make an evaluator by its method's name; closed when the test ends."""
    made: list[Evaluator] = []

    def make(run_function: Any, method: str, **kwargs: Any) -> Evaluator:
        made.append(Evaluator.create(run_function, method, kwargs))
        return made[-1]

    yield make
    for evaluator in made:
        evaluator.close()


class Heard(Callback):
    """Counts how often each job was heard of."""

    def __init__(self) -> None:
        self.launched: Counter[int] = Counter()
        self.done: Counter[int] = Counter()
        self._lock = threading.Lock()

    def on_launch(self, job: Any) -> None:
        with self._lock:
            self.launched[job.number] += 1

    def on_done(self, job: Any) -> None:
        with self._lock:
            self.done[job.number] += 1


def run(job: Any) -> float:
    if job.get("wait"):
        pause = threading.Event()
        for _ in range(2000):
            if job.stopped():
                break
            pause.wait(0.005)
    return float(job["x"])


def at_once(*actions: Callable[[], Any]) -> None:
    """Run actions in threads that begin together; what one raises, this raises."""
    barrier = threading.Barrier(len(actions))
    failures: list[BaseException] = []

    def perform(action: Callable[[], Any]) -> None:
        barrier.wait(BOUND)
        try:
            action()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=perform, args=(action,), daemon=True) for action in actions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(BOUND)
        assert not thread.is_alive(), "a deadlock"
    if failures:
        raise failures[0]


@pytest.mark.slow
@pytest.mark.parametrize("method", ["serial", "thread", "process"])
def test_submit_gather_and_cancel_from_four_threads_at_once(make: Make, method: str) -> None:
    heard = Heard()
    evaluator = make(run, method, num_workers=2, callbacks=[heard])
    submitted: list[Any] = []
    gathered: list[Any] = []

    def search(seed: int) -> None:
        rng = random.Random(seed)
        for n in range(40):
            jobs = evaluator.submit([{"x": n} for _ in range(rng.randint(1, 4))])
            submitted.extend(jobs)
            if rng.random() < 0.3:
                evaluator.cancel(rng.sample(jobs, rng.randint(1, len(jobs))))
            if rng.random() < 0.7:
                gathered.extend(evaluator.gather("BATCH", 1, timeout=rng.choice([None, 0, 0.001])))

    at_once(*(lambda seed=seed: search(seed) for seed in range(4)))
    gathered += evaluator.gather("ALL")
    assert sorted(job.number for job in gathered) == sorted(job.number for job in submitted)
    assert {job.number for job in gathered} == set(range(len(submitted)))
    assert heard.launched == heard.done == Counter(range(len(submitted)))
    assert evaluator.num_jobs_submitted == evaluator.num_jobs_gathered == len(submitted)
    assert all(job.objective == float(job.args["x"]) for job in gathered if job.status is JobStatus.DONE)
    assert {job.status for job in gathered} <= {JobStatus.DONE, JobStatus.CANCELLED}


@pytest.mark.slow
@pytest.mark.parametrize("pause", [0.0, 0.01, 0.03])
@pytest.mark.parametrize("method", ["serial", "thread", "process"])
def test_closing_while_others_submit_and_gather_gives_each_job_once(make: Make, method: str, pause: float) -> None:
    heard = Heard()
    evaluator = make(run, method, num_workers=2, callbacks=[heard])
    submitted: list[Any] = []
    given_back: list[Any] = []
    begun = threading.Event()

    def submit() -> None:
        with contextlib.suppress(EvaluatorClosed):
            for n in range(1_000_000):
                submitted.extend(evaluator.submit([{"x": n}, {"x": n}]))
                begun.set()

    def gather() -> None:
        begun.wait(BOUND)
        while jobs := evaluator.gather("ALL", timeout=0.2):
            given_back.extend(jobs)

    def close() -> None:
        begun.wait(BOUND)
        threading.Event().wait(pause)
        given_back.extend(evaluator.close())

    at_once(submit, gather, close)
    given_back += evaluator.gather("ALL")
    numbers = Counter(job.number for job in given_back)
    assert numbers == Counter(job.number for job in submitted)
    assert all(job.is_done for job in submitted)
    assert heard.done == numbers


@pytest.mark.slow
@pytest.mark.parametrize("method", ["thread", "process"])
def test_closing_wakes_all_who_wait(make: Make, method: str) -> None:
    evaluator = make(run, method, num_workers=1)
    jobs = evaluator.submit([{"x": 1, "wait": True}, {"x": 2, "wait": True}])
    given_back: list[Any] = []

    def gather() -> None:
        given_back.extend(evaluator.gather("ALL"))

    def iterate() -> None:
        with pytest.raises(EvaluatorClosed):
            given_back.extend(evaluator.as_completed(({"x": n, "wait": True} for n in range(100)), max_pending=2))

    def close() -> None:
        threading.Event().wait(0.2)
        given_back.extend(evaluator.close())

    at_once(gather, gather, iterate, close)
    assert set(jobs) <= set(given_back)
    assert len(given_back) == len(set(given_back))


@pytest.mark.slow
@pytest.mark.parametrize("method", ["serial", "thread", "process"])
def test_closing_from_four_threads_returns_each_job_once(make: Make, method: str) -> None:
    heard = Heard()
    evaluator = make(run, method, num_workers=2, callbacks=[heard])
    jobs = evaluator.submit([{"x": n} for n in range(300)])
    returned: list[Any] = []
    at_once(*[lambda: returned.extend(evaluator.close())] * 4)
    returned += evaluator.gather()
    assert sorted(job.number for job in returned) == sorted(job.number for job in jobs)
    assert heard.done == Counter(range(300))


@pytest.mark.slow
@pytest.mark.parametrize("method", ["thread", "process"])
def test_gathers_of_different_sizes_wait_side_by_side(make: Make, method: str) -> None:
    evaluator = make(run, method, num_workers=2)
    found: dict[int, list[Any]] = {1: [], 5: [], 20: []}

    def wait_for(size: int) -> None:
        while sum(map(len, found.values())) < 200:
            found[size] += evaluator.gather("BATCH", size, timeout=0.05)

    warnings.simplefilter("ignore")  # that a size was reduced; the filters are restored after each test

    def submit() -> None:
        for n in range(200):
            evaluator.submit([{"x": n}])

    at_once(submit, *(lambda size=size: wait_for(size) for size in found))
    assert sorted(job.number for jobs in found.values() for job in jobs) == list(range(200))


@pytest.mark.parametrize("method", ["serial", "thread", "process"])
def test_async_tasks_share_an_evaluator(make: Make, method: str) -> None:
    evaluator = make(run, method, num_workers=2)

    async def search() -> list[Any]:
        found: list[Any] = []

        async def one(first: int) -> None:
            for n in range(first, first + 10):
                evaluator.submit([{"x": n}])
                found.extend(await evaluator.agather("BATCH", 1))

        await asyncio.wait_for(asyncio.gather(*(one(100 * task) for task in range(4))), BOUND)
        found.extend(await evaluator.agather("ALL"))
        return found

    found = asyncio.run(search())
    assert sorted(job.number for job in found) == list(range(40))
    assert sorted(job.objective for job in found) == sorted(float(100 * t + n) for t in range(4) for n in range(10))


@pytest.mark.parametrize("method", ["thread", "process"])
def test_an_async_gather_that_is_cancelled_takes_nothing_along(make: Make, method: str) -> None:
    evaluator = make(run, method)
    (job,) = evaluator.submit([{"x": 1, "wait": True}])

    async def search() -> None:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(evaluator.agather("ALL"), 0.05)
        assert await evaluator.agather("ALL", timeout=0.01) == []
        job.cancel()
        assert await asyncio.wait_for(evaluator.agather("ALL"), BOUND) == [job]

    asyncio.run(search())


@pytest.mark.parametrize("method", ["thread", "process"])
def test_threads_and_tasks_wait_for_the_same_jobs(make: Make, method: str) -> None:
    evaluator = make(run, method, num_workers=2)
    found: list[Any] = []
    ended = threading.Event()

    def in_a_thread() -> None:
        while not ended.is_set():
            found.extend(evaluator.gather("BATCH", 1, timeout=0.01))

    async def in_a_task() -> None:
        for n in range(50):
            evaluator.submit([{"x": n}])
            found.extend(await evaluator.agather("BATCH", 1, timeout=0.01))
        ended.set()

    at_once(in_a_thread, lambda: asyncio.run(in_a_task()))
    found += evaluator.gather("ALL")
    assert sorted(job.number for job in found) == list(range(50))


@pytest.mark.parametrize("method", ["serial", "thread", "process"])
def test_callbacks_may_submit_gather_and_cancel(make: Make, method: str) -> None:
    class Busy(Heard):
        def __init__(self) -> None:
            super().__init__()
            self.found: list[Any] = []

        def on_done(self, job: Any) -> None:
            super().on_done(job)
            if job.args["x"] < 5:
                more = evaluator.submit([{"x": job.args["x"] + 1}, {"x": 9}])
                evaluator.cancel(more[1])
                self.found.extend(evaluator.gather("BATCH", 1, timeout=0.01))

    busy = Busy()
    evaluator = make(run, method, num_workers=2, callbacks=[busy])
    evaluator.submit([{"x": 0}])
    found = []
    while jobs := evaluator.gather("ALL"):
        found += jobs
    found += busy.found
    assert sorted(job.number for job in found) == list(range(evaluator.num_jobs_submitted))
    assert busy.done == Counter(range(evaluator.num_jobs_submitted))
    assert evaluator.num_jobs_submitted >= 11


@pytest.mark.parametrize("method", ["thread", "process"])
def test_a_callback_may_close_its_evaluator(make: Make, method: str) -> None:
    class Enough(Callback):
        def on_done(self, job: Any) -> None:
            unfinished.extend(evaluator.close())

    unfinished: list[Any] = []
    evaluator = make(run, method, num_workers=1, callbacks=[Enough()])
    jobs = evaluator.submit([{"x": 1}, {"x": 2, "wait": True}, {"x": 3}])
    found = evaluator.gather("BATCH", 1) + evaluator.gather()
    assert sorted(job.number for job in found + unfinished) == [0, 1, 2]
    assert jobs[0].objective == 1.0


def nested(job: Any) -> float:
    inner = "thread" if job["inner"] == "thread" else job["inner"]
    with Evaluator.create(lambda job: 2.0 * job["y"], inner, {"num_workers": 2}) as evaluator:
        evaluator.submit([{"y": job["x"] + n} for n in range(5)])
        return sum(found.objective for found in evaluator.gather())


@pytest.mark.slow
@pytest.mark.parametrize("inner", ["serial", "thread", "process"])
@pytest.mark.parametrize("outer", ["serial", "thread", "process"])
def test_a_run_function_may_have_an_evaluator_of_its_own(make: Make, outer: str, inner: str) -> None:
    evaluator = make(nested, outer, num_workers=2)
    evaluator.submit([{"x": n, "inner": inner} for n in range(4)])
    jobs = sorted(evaluator.gather(), key=lambda job: job.number)
    assert [job.error for job in jobs] == [None] * 4
    assert [job.objective for job in jobs] == [2.0 * (5 * n + 10) for n in range(4)]


@pytest.mark.slow
def test_killing_a_job_ends_the_evaluator_within(make: Make) -> None:
    def outer(job: Any) -> float:
        evaluator = Evaluator.create(lambda job: threading.Event().wait(60), "process", {"num_workers": 2})
        evaluator.submit([{}, {}])
        evaluator.gather()
        return 1.0

    evaluator = make(outer, "process", num_workers=1, job_timeout=1.5)
    evaluator.submit([{}])
    assert [job.objective for job in evaluator.gather()] == ["F_timeout"]  # and nothing of it is left behind


@pytest.mark.parametrize("way", ["gather", "agather"])
def test_jobs_behind_those_whose_dispatch_was_interrupted_run_at_the_next_gather(way: str) -> None:
    class Interrupted(ThreadBackend):
        def run(self, attempts: list[Attempt]) -> None:
            if attempts[0].job.number == 0:
                raise KeyboardInterrupt
            super().run(attempts)

    class OnInterrupted(ThreadPoolEvaluator):
        backend_class = Interrupted

    with OnInterrupted(run, num_workers=1) as evaluator:
        with pytest.raises(KeyboardInterrupt):
            evaluator.submit([{"x": x} for x in range(4)])
        jobs = evaluator.gather("ALL") if way == "gather" else asyncio.run(evaluator.agather("ALL"))
    assert [job.status for job in sorted(jobs, key=lambda job: job.number)] == [
        JobStatus.CANCELLED, *[JobStatus.DONE] * 3
    ]  # fmt: skip


def test_a_gather_waits_for_jobs_that_are_handed_over_after_a_slow_record(tmp_path: Path) -> None:
    returned = threading.Event()
    with (
        SQLiteStorage(tmp_path / "results.db") as storage,
        SerialEvaluator(lambda job: job["x"], storage=storage, job_timeout=60) as evaluator,
    ):
        core = evaluator._core
        record = core.record
        assert record is not None

        def slow(jobs: list[Job[Any]]) -> None:
            returned.wait(0.1)  # only a gather that returns too early ends it
            record(jobs)

        core.record = slow
        evaluator.submit([{"x": x} for x in range(3)])
        jobs = evaluator.gather("ALL")
        returned.set()
    assert [job.objective for job in jobs] == [0, 1, 2]
