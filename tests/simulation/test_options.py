"""Priority and time limit of single jobs in simulated time, against schedules that were computed here."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evalpool import (
    BadArgument,
    Evaluator,
    JobOptions,
    ProcessPoolEvaluator,
    SerialEvaluator,
    Submission,
    ThreadPoolEvaluator,
    simulate,
    simulated,
)
from evalpool.simulation import ObjectiveFuncWrapper
from evalpool.simulation._kernel import NOTHING, RETRIED, Kernel


class Given(NamedTuple):
    runtime: int
    priority: int
    limit: int | None

    @property
    def lasts(self) -> int:
        return self.runtime if not self.limit else min(self.runtime, self.limit)

    def submission(self, number: int) -> Submission:
        return Submission({"n": number, "runtime": self.runtime}, self.priority, self.limit)


def schedule(waves: list[tuple[int, list[Given]]], workers: int) -> list[tuple[int, int, int, str]]:
    """Worker, start, end and status of each job, second by second: nothing here is of the kernel's kind.

    At each second first what ends then ends, in the order of submission, and frees its worker, which takes of all jobs
    that wait the one of the highest priority, of equals the first submitted. Then a wave is submitted.
    """
    jobs = [job for _, wave in waves for job in wave]
    rows: dict[int, tuple[int, int, int, str]] = {}
    idle, running, waiting = list(range(workers)), dict[int, int](), list[int]()
    left = list(waves)

    def fill(now: int) -> None:
        while idle and waiting:
            number = min(waiting, key=lambda one: (-jobs[one].priority, one))
            waiting.remove(number)
            worker = idle.pop(0)
            job = jobs[number]
            status = "DONE" if job.lasts == job.runtime else "FAILED"
            rows[number] = (worker, now, now + job.lasts, status)
            running[number] = now + job.lasts

    now, submitted = 0, 0
    while left or waiting or running:
        for number in sorted(number for number, end in running.items() if end == now):
            del running[number]
            idle.append(rows[number][0])
            fill(now)
        if left and left[0][0] == now:
            _, wave = left.pop(0)
            waiting.extend(range(submitted, submitted + len(wave)))
            submitted += len(wave)
            fill(now)
        now += 1
    return [rows[number] for number in range(len(jobs))]


def run(job: Any) -> dict[str, Any]:
    return {"objective": job["n"], "runtime": job["runtime"]}


def as_rows(trace: list[dict[str, Any]]) -> list[tuple[int, int, int, str]]:
    return [(row["worker"], row["start"], row["end"], row["status"]) for row in trace]


JOBS = st.builds(Given, st.integers(1, 6), st.integers(-2, 2), st.sampled_from([None, None, 0, 3]))
WAVES = st.lists(st.tuples(st.integers(1, 5), st.lists(JOBS, min_size=1, max_size=6)), min_size=1, max_size=4)


def at_times(waves: list[tuple[int, list[Given]]]) -> list[tuple[int, list[Given]]]:
    """Return the waves by their times: the first at 0, each other one its given seconds after the one before."""
    times: list[tuple[int, list[Given]]] = []
    now = 0
    for index, (gap, wave) in enumerate(waves):
        now += gap if index else 0
        times.append((now, wave))
    return times


def simulated_waves(evaluator: Any, waves: list[tuple[int, list[Given]]]) -> list[tuple[int, int, int, str]]:
    numbers = iter(range(1000))
    for time, wave in waves:
        evaluator.advance(time - evaluator.now)
        evaluator.submit([job.submission(next(numbers)) for job in wave])
    evaluator.gather("ALL")
    return as_rows(evaluator.trace())


@settings(max_examples=60, deadline=None)
@given(waves=WAVES.map(at_times), workers=st.integers(1, 3))
def test_jobs_start_by_priority_and_end_at_their_own_limit(waves: list[Any], workers: int) -> None:
    with simulated(SerialEvaluator)(run, num_workers=workers) as evaluator:
        assert simulated_waves(evaluator, waves) == schedule(waves, workers)


def test_the_schedule_is_the_same_on_threads() -> None:
    waves = [(0, [Given(4, 0, None), Given(2, 0, None), Given(3, -1, 2), Given(1, 1, None)]), (3, [Given(2, 2, None)])]
    with simulated(ThreadPoolEvaluator)(run, num_workers=2, real_workers=2) as evaluator:
        rows = simulated_waves(evaluator, waves)
    # worker-0: |3|1-|2-|     job 2 may run for two seconds only; job 4 comes at 3, when worker 0
    # worker-1: |0---|4-|     has just taken job 2
    assert rows == schedule(waves, 2)
    assert rows == [(1, 0, 4, "DONE"), (0, 1, 3, "DONE"), (0, 3, 5, "FAILED"), (0, 0, 1, "DONE"), (1, 4, 6, "DONE")]


class Batches:
    """Proposes these jobs."""

    def __init__(self, jobs: list[Given]) -> None:
        self._jobs: Iterator[tuple[int, Given]] = enumerate(jobs)
        self.told: list[tuple[int, JobOptions, Any]] = []

    def ask(self) -> Submission:
        number, job = next(self._jobs)
        return job.submission(number)

    def tell(self, job: Any) -> None:
        self.told.append((job.args["n"], job.options, job.kind and job.kind.value))


@settings(max_examples=30, deadline=None)
@given(jobs=st.lists(JOBS, min_size=6, max_size=12), workers=st.integers(1, 3))
def test_the_jobs_of_a_batch_start_by_priority(jobs: list[Given], workers: int) -> None:
    size = 6
    jobs = jobs[: len(jobs) // size * size]
    expected: list[tuple[int, int, int, str]] = []
    begin, idle = 0, workers
    batches = [jobs[first : first + size] for first in range(0, len(jobs), size)]
    if len(batches) > 1 and workers > 1:
        batches = batches[:1]  # which worker became idle first is told apart by the waves above
    for batch in batches:
        rows = schedule([(0, batch)], idle)
        expected += [(worker, start + begin, end + begin, status) for worker, start, end, status in rows]
        begin = max(end for _, _, end, _ in expected)
    count = len(expected)
    for evaluator in (None, SerialEvaluator):
        asked = Batches(jobs)
        result = simulate(asked, run, num_workers=workers, max_submits=count, batch_size=size, evaluator=evaluator)
        assert as_rows(result.trace) == expected
        assert [told[0] for told in asked.told] == sorted(range(count), key=lambda n: (expected[n][2], n))


@pytest.mark.parametrize("evaluator", [None, SerialEvaluator])
@pytest.mark.parametrize("overhead", ["none", 0.5])
def test_a_search_gives_its_jobs_limits(evaluator: Any, overhead: Any) -> None:
    jobs = [Given(4, 0, 2), Given(4, 0, None), Given(2, 0, 2), Given(3, 5, 0)]
    asked = Batches(jobs)
    result = simulate(asked, run, num_workers=1, max_submits=4, overhead=overhead, evaluator=evaluator)
    assert [row["charged"] for row in result.trace] == [2.0, 4.0, 2.0, 3.0]
    assert [row["status"] for row in result.trace] == ["FAILED", "DONE", "DONE", "DONE"]
    assert asked.told == [
        (0, JobOptions(0, 2.0), "timeout"),
        (1, JobOptions(), None),
        (2, JobOptions(0, 2.0), None),
        (3, JobOptions(5, 0.0), None),
    ]
    assert result.objectives == ["F_timeout", 1, 2, 3]


def test_a_jobs_limit_stands_in_the_place_of_the_evaluators() -> None:
    with simulated(SerialEvaluator)(run, num_workers=1, job_timeout=5) as evaluator:
        jobs = evaluator.submit(
            [
                {"n": 0, "runtime": 9},
                Submission({"n": 1, "runtime": 9}, job_timeout=0),
                Submission({"n": 2, "runtime": 9}, job_timeout=7),
            ]
        )
        evaluator.gather("ALL")
    assert [job.metadata["charged_runtime"] for job in jobs] == [5.0, 9.0, 7.0]
    assert "its limit is 7.0 s" in jobs[2].error


def lasts_really(job: Any) -> dict[str, Any]:
    threading.Event().wait(0.3)
    return {"objective": 1, "runtime": 0.01}


@pytest.mark.slow
@pytest.mark.parametrize("backend", [SerialEvaluator, ThreadPoolEvaluator, ProcessPoolEvaluator])
def test_a_limit_in_virtual_seconds_ends_no_job_in_real_time(backend: type[Evaluator]) -> None:
    with simulated(backend)(lasts_really, num_workers=1) as evaluator:
        (job,) = evaluator.submit([Submission({"n": 0}, job_timeout=0.02)])
        evaluator.gather("ALL")
    assert (job.objective, job.kind) == (1, None)


def test_a_kernel_is_restored_with_its_priorities_and_limits() -> None:
    options = [JobOptions(), JobOptions(-1), JobOptions(2), JobOptions(2, 1.0), JobOptions(0, 0.0)]

    def begun() -> Kernel:
        kernel = Kernel(1, job_timeout=4.0)
        kernel.submit()
        assert kernel.startable() == 0
        kernel.start()
        for one in options:
            kernel.submit(options=one)
        return kernel

    def ended(kernel: Kernel) -> list[tuple[int, float]]:
        found = []
        kernel.finish(0, 1.0)
        while (job := kernel.step()) != NOTHING:
            found.append((job, kernel.clock))
            if (next_one := kernel.startable()) != NOTHING:
                kernel.start()
                kernel.finish(next_one, 5.0)
        return found

    kernel = begun()
    again = Kernel.restore(json.loads(json.dumps(kernel.state())))
    assert ended(again) == ended(kernel) == [(0, 1.0), (3, 5.0), (4, 6.0), (1, 10.0), (5, 15.0), (2, 19.0)]


def test_a_job_that_is_run_again_keeps_its_priority() -> None:
    kernel = Kernel(1)
    first = kernel.submit(options=JobOptions(1))
    second, third = kernel.submit(), kernel.submit(options=JobOptions(1))
    started = []
    for _ in range(4):
        started.append(kernel.startable())
        kernel.start()
        kernel.finish(started[-1], 1.0, failed=True, retry=len(started) == 1)
        kernel.step()
    assert started == [first, first, third, second]


@pytest.mark.parametrize("priority", [0, 3, -3])
def test_a_job_that_is_run_again_goes_before_its_equals_and_behind_the_higher(priority: int) -> None:
    kernel = Kernel(1)
    options = JobOptions(priority)
    again = [kernel.submit(options=options), kernel.submit(options=options)]
    others = [kernel.submit(options=options), kernel.submit(options=JobOptions(priority + 1))]
    started = []
    for _ in range(6):
        started.append(kernel.startable())
        kernel.start()
        kernel.finish(started[-1], 1.0, failed=True, retry=started[-1] in again and started.count(started[-1]) == 1)
        kernel = Kernel.restore(json.loads(json.dumps(kernel.state())))
        kernel.step()
    # Of two that are run again, the one that was submitted first goes first; each is before what never ran.
    assert started == [others[1], again[0], again[0], again[1], again[1], others[0]]


def test_a_job_that_is_to_run_alone_starts_when_nothing_else_runs_or_waits_also_again() -> None:
    """Three virtual workers: while one of them has it, the others are idle."""
    kernel = Kernel(3)
    alone = [kernel.submit(alone=True), kernel.submit(alone=True)]
    others = [kernel.submit() for _ in range(4)]
    runtimes = dict(zip(others, (1.0, 4.0, 2.0, 2.0), strict=True))
    events: list[tuple[str, int, float]] = []
    retried = False
    while True:
        kernel = Kernel.restore(json.loads(json.dumps(kernel.state())))
        while (job := kernel.startable()) != NOTHING:
            kernel.start()
            again = job == alone[0] and not retried
            retried = retried or again
            kernel.finish(job, runtimes.get(job, 5.0), failed=again, retry=again)
            events.append(("start", job, kernel.clock))
            if again:
                others.append(kernel.submit())  # comes while it runs: waits, and goes before it is run again
                runtimes[others[-1]] = 3.0
        if (job := kernel.step()) == NOTHING:
            break
        events.append(("end", kernel.marked if job == RETRIED else job, kernel.clock))
    first, second, third, fourth, late = others
    assert events == [
        ("start", first, 0.0), ("start", second, 0.0), ("start", third, 0.0),
        ("end", first, 1.0), ("start", fourth, 1.0), ("end", third, 2.0), ("end", fourth, 3.0), ("end", second, 4.0),
        ("start", alone[0], 4.0), ("end", alone[0], 9.0), ("start", late, 9.0), ("end", late, 12.0),
        ("start", alone[0], 12.0), ("end", alone[0], 17.0), ("start", alone[1], 17.0), ("end", alone[1], 22.0),
    ]  # fmt: skip


def test_options_are_refused_where_they_would_count_for_nothing(tmp_path: Any) -> None:
    class Asks:
        def ask(self) -> Any:
            return Submission({"n": 1}, priority=2), None

        def tell(self, eval_config: Any, results: Any, *, fidels: Any, config_id: Any) -> None:
            """Nothing is learned."""

    def objective(eval_config: Any, fidels: Any = None, seed: Any = None) -> dict[str, float]:
        return {"loss": 0.0, "runtime": 1.0}

    wrapper = ObjectiveFuncWrapper(
        objective, ask_and_tell=True, n_workers=1, n_evals=2, n_actual_evals_in_opt=4, tmp_dir=str(tmp_path)
    )
    with pytest.raises(BadArgument, match=r"Submission with \{'priority': 2\}.*use evalpool.simulate"):
        wrapper.simulate(Asks())
