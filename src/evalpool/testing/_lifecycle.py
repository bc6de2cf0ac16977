"""Tests of the life of jobs: each is submitted, run and gathered exactly once."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from evalpool.errors import BadArgument, EvaluatorClosed, MaximumJobsSpawnReached
from evalpool.jobs import Job
from evalpool.outcomes import JobStatus
from evalpool.testing._bench import BOUND, Bench, wait_until
from evalpool.worker import RunningJob

__all__ = ["LifeCycle"]

Make = Callable[..., Any]


def double(job: RunningJob) -> Any:
    return 2 * job["x"]


def until_stopped(job: RunningJob) -> float:
    end = time.monotonic() + BOUND
    while not job.stopped() and time.monotonic() < end:
        threading.Event().wait(0.01)
    return 1.0


class LifeCycle(Bench):
    def test_every_job_is_gathered_exactly_once(self, make: Make) -> None:
        evaluator = make(double, num_workers=2)
        configurations = [{"x": n} for n in range(50)]
        submitted = evaluator.submit(configurations)
        gathered = evaluator.gather("ALL")
        assert [job.id for job in submitted] == [f"{evaluator.search_id}.{n}" for n in range(50)]
        assert sorted(job.number for job in gathered) == list(range(50))
        assert all(job.objective == 2 * job.args["x"] for job in gathered)
        assert all(job.status is JobStatus.DONE and job.is_done and job.error is None for job in gathered)
        assert evaluator.gather("ALL") == []
        assert evaluator.num_jobs_submitted == evaluator.num_jobs_gathered == 50

    def test_the_callers_dict_is_never_changed_nor_shared(self, make: Make) -> None:
        def run(job: RunningJob) -> float:
            job["x"] = -1
            job["nested"].append(4)
            return 0.0

        configuration = {"x": 1, "nested": [1, 2, 3]}
        evaluator = make(run)
        (job,) = evaluator.submit([configuration])
        configuration["x"] = 5
        evaluator.gather()
        assert configuration == {"x": 5, "nested": [1, 2, 3]}
        assert job.args["x"] == 1

    def test_a_job_unpacks_into_its_configuration_and_objective(self, make: Make) -> None:
        evaluator = make(double)
        evaluator.submit([{"x": 4}])
        (job,) = evaluator.gather()
        configuration, objective = job
        assert (configuration, objective) == ({"x": 4}, 8) == (job[0], job[1])
        assert job.output == {"objective": 8}
        assert "DONE" in repr(job)
        assert job.id in repr(job)

    def test_a_batch_waits_for_its_size_and_returns_all_that_is_done(self, make: Make) -> None:
        evaluator = make(double, num_workers=2)
        evaluator.submit([{"x": n} for n in range(10)])
        first = evaluator.gather("BATCH", size=3)
        assert len(first) >= 3
        rest = evaluator.gather("ALL")
        assert {job.number for job in first} | {job.number for job in rest} == set(range(10))
        assert len(first) + len(rest) == 10

    def test_a_batch_above_what_is_outstanding_is_reduced_with_a_warning(self, make: Make) -> None:
        evaluator = make(double)
        evaluator.submit([{"x": 1}])
        with pytest.warns(UserWarning, match="1 are outstanding"):
            assert len(evaluator.gather("BATCH", size=5)) == 1
        assert evaluator.gather("BATCH", size=5) == []

    def test_gather_can_wait_for_a_bounded_time(self, make: Make) -> None:
        if not self.in_background:
            pytest.skip("this engine runs jobs in the caller's thread, which is the only one")
        evaluator = make(until_stopped)
        (job,) = evaluator.submit([{}])
        assert evaluator.gather("ALL", timeout=0.05) == []
        assert job.cancel()
        assert evaluator.gather("ALL") == [job]

    @pytest.mark.parametrize("then", ["gathers", "closes"])
    def test_a_signal_handler_gathers_or_closes_while_gather_waits(self, make: Make, then: str) -> None:
        if not self.in_background:
            pytest.skip("this engine runs jobs in the caller's thread, which is the only one")
        evaluator = make(until_stopped, num_workers=1)
        first, second = evaluator.submit([{}, {}])
        taken: list[Job[Any]] = []

        def handler(number: int, frame: object) -> None:
            if then == "closes":
                taken.extend(evaluator.close())
            else:
                first.cancel()
                taken.extend(evaluator.gather("BATCH", 1))
                second.cancel()

        before = signal.signal(signal.SIGUSR1, handler)
        try:
            timer = threading.Timer(0.1, signal.pthread_kill, (threading.main_thread().ident, signal.SIGUSR1))
            timer.start()
            rest = evaluator.gather()
            timer.join()
        finally:
            signal.signal(signal.SIGUSR1, before)
        assert [taken, rest] == ([[first, second], []] if then == "closes" else [[first], [second]])

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [(("SOME",), "'SOME'"), (("BATCH", 0), "size is 0"), (("BATCH", 1.5), "1.5"), (("ALL", 1, -1), "-1")],
    )
    def test_a_wrong_gather_loses_nothing(self, make: Make, arguments: tuple[Any, ...], said: str) -> None:
        evaluator = make(double)
        evaluator.submit([{"x": 1}])
        with pytest.raises(ValueError, match=said):
            evaluator.gather(*arguments)
        assert [job.objective for job in evaluator.gather()] == [2]

    @pytest.mark.parametrize("wrong", [3, [3], [{"x": 1}, None], [{1: 2}], {"x": 1}, "x"])
    def test_a_wrong_configuration_is_refused_before_anything_is_taken(self, make: Make, wrong: Any) -> None:
        evaluator = make(double)
        evaluator.submit([{"x": 1}])
        with pytest.raises(BadArgument):
            evaluator.submit(wrong)
        assert evaluator.num_jobs_submitted == 1
        assert [job.objective for job in evaluator.gather()] == [2]

    def test_a_free_slot_is_refilled_while_the_search_does_something_else(self, make: Make) -> None:
        if not self.in_background:
            pytest.skip("this engine runs jobs in the caller's thread only")
        evaluator = make(double, num_workers=1)
        jobs = evaluator.submit([{"x": n} for n in range(6)])
        wait_until(lambda: all(job.is_done for job in jobs))  # without a call of gather
        assert len(evaluator.gather()) == 6

    def test_a_waiting_gather_uses_no_cpu(self, make: Make) -> None:
        if not self.in_background:
            pytest.skip("this engine runs jobs in the caller's thread")

        def run(job: RunningJob) -> float:
            threading.Event().wait(job["seconds"])
            return 1.0

        evaluator = make(run)
        evaluator.submit([{"seconds": 0.0}])
        evaluator.gather()  # now the workers have started
        evaluator.submit([{"seconds": 0.5}])
        used = time.process_time()
        evaluator.gather()
        assert time.process_time() - used < 0.1  # a busy wait would take 0.5: a budget of CPU, not of time

    def test_as_completed_feeds_lazily_and_leaves_other_jobs_alone(self, make: Make) -> None:
        taken = []

        def configurations() -> Iterator[dict[str, int]]:
            for n in range(1_000_000):
                taken.append(n)
                yield {"x": n}

        evaluator = make(double, num_workers=2)
        (other,) = evaluator.submit([{"x": 1000}])
        stream = evaluator.as_completed(configurations(), max_pending=3)
        found = [next(stream).args["x"] for _ in range(10)]
        stream.close()
        assert len(set(found)) == 10
        assert len(taken) <= 10 + 2 * 3
        assert evaluator.gather() == [other]

    def test_as_completed_ends_with_its_configurations(self, make: Make) -> None:
        evaluator = make(double, num_workers=2)
        found = sorted(job.objective for job in evaluator.as_completed({"x": n} for n in range(7)))
        assert found == [0, 2, 4, 6, 8, 10, 12]

    def test_agather_lets_the_event_loop_go_on(self, make: Make) -> None:
        evaluator = make(double, num_workers=2)

        async def search() -> list[Any]:
            evaluator.submit([{"x": n} for n in range(5)])
            first, _ = await asyncio.gather(evaluator.agather("BATCH", size=2), asyncio.sleep(0))
            return [*first, *await evaluator.agather("ALL")]

        assert sorted(job.objective for job in asyncio.run(search())) == [0, 2, 4, 6, 8]

    def test_the_plain_calls_work_inside_a_running_event_loop(self, make: Make) -> None:
        async def run(job: RunningJob) -> Any:
            await asyncio.sleep(0)
            return job["x"]

        async def cell() -> list[Any]:  # as in a notebook
            evaluator = make(run, num_workers=2)
            evaluator.submit([{"x": n} for n in range(4)])
            objectives = [job.objective for job in evaluator.gather("ALL")]
            evaluator.close()
            return objectives

        assert sorted(asyncio.run(cell())) == [0, 1, 2, 3]

    def test_async_run_functions_are_awaited(self, make: Make) -> None:
        async def run(job: RunningJob) -> Any:
            await asyncio.sleep(0.001)
            if job["x"] == 2:
                raise ValueError("two")
            return job["x"]

        evaluator = make(run, num_workers=3)
        evaluator.submit([{"x": n} for n in range(6)])
        objectives = {job.number: job.objective for job in evaluator.gather()}
        assert objectives == {0: 0, 1: 1, 2: "F_ValueError", 3: 3, 4: 4, 5: 5}

    def test_the_running_job_is_a_mapping_over_the_configuration(self, make: Make) -> None:
        def run(job: RunningJob, power: int) -> dict[str, Any]:
            job["y"] = job["x"] ** power
            facts = {
                "id": job.id, "number": job["job_id"], "keys": sorted(job), "get": job.get("absent", 7), "y": job["y"],
                "parameters": dict(job.parameters), "status": job.status.value, "attempt": job.attempt,
            }  # fmt: skip
            job.metadata["seen"] = True
            return {"objective": 1.0, "metadata": facts}

        evaluator = make(run, run_function_kwargs={"power": 2})
        (job,) = evaluator.submit([{"x": 3}])
        evaluator.gather()
        assert job.metadata["id"] == job.id
        assert job.metadata["number"] == 0
        assert job.metadata["keys"] == ["x", "y"]
        assert job.metadata["get"] == 7
        assert job.metadata["y"] == 9
        assert job.metadata["status"] == "RUNNING"
        assert job.metadata["attempt"] == 1
        assert job.metadata["seen"] is True

    def test_seeds_depend_on_the_evaluators_seed_and_the_number_alone(self, make: Make) -> None:
        def run(job: RunningJob) -> Any:
            return job.seed

        seeds = []
        for workers in (1, 3):
            evaluator = make(run, num_workers=workers, seed=42)
            jobs = evaluator.submit([{"x": n} for n in range(8)])
            evaluator.gather()
            assert [job.objective for job in jobs] == [job.seed for job in jobs]
            seeds.append([job.seed for job in jobs])
        assert seeds[0] == seeds[1]
        assert len(set(seeds[0])) == 8
        # From numpy's SeedSequence(42, spawn_key=(n,)), so they are the same on every backend and in every version.
        assert seeds[0][:2] == [2684470948, 4091952314]

    def test_timestamps_are_in_order_on_one_clock(self, make: Make) -> None:
        evaluator = make(double, num_workers=2)
        evaluator.submit([{"x": 0}])
        evaluator.gather()
        evaluator.submit([{"x": n} for n in range(5)])
        for job in evaluator.gather():
            facts = job.metadata
            times = [facts[f"timestamp_{what}"] for what in ("submit", "start", "end", "gather")]
            assert times == sorted(times)
            assert times[0] > 0
            assert facts["worker"]
            assert facts["host"]
            assert facts["pid"] > 0

    def test_the_cap_on_submissions_takes_all_or_nothing(self, make: Make) -> None:
        evaluator = make(double)
        evaluator.set_maximum_num_jobs_submitted(3)
        evaluator.submit([{"x": 1}, {"x": 2}])
        with pytest.raises(MaximumJobsSpawnReached, match="3"):
            evaluator.submit([{"x": 3}, {"x": 4}])
        assert evaluator.num_jobs_submitted == 2
        evaluator.submit([{"x": 5}])
        assert [job.args["x"] for job in sorted(evaluator.gather(), key=lambda job: job.number)] == [1, 2, 5]

    def test_general_tasks_may_return_anything(self, make: Make) -> None:
        def run(job: RunningJob) -> Any:
            return {"text": "ok", "x": job["x"]} if job["x"] else None

        evaluator = make(run, job_type="task")
        jobs = evaluator.submit([{"x": 0}, {"x": 1}])
        evaluator.gather()
        assert [job.output for job in jobs] == [None, {"text": "ok", "x": 1}]
        assert all(job.status is JobStatus.DONE for job in jobs)

    def test_submit_and_gather_from_four_threads_at_once(self, make: Make) -> None:
        evaluator = make(double, num_workers=2)
        gathered: list[Any] = []
        failures: list[BaseException] = []

        def search(first: int) -> None:
            try:
                for n in range(first, first + 25):
                    evaluator.submit([{"x": n}])
                    gathered.extend(evaluator.gather("BATCH", size=1))
            except BaseException as error:  # noqa: BLE001  reported by the test below
                failures.append(error)

        threads = [threading.Thread(target=search, args=(100 * n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(BOUND)
            assert not thread.is_alive()
        gathered.extend(evaluator.gather("ALL"))
        assert failures == []
        assert sorted(job.number for job in gathered) == list(range(100))

    def test_a_closed_evaluator_takes_nothing_and_closes_once(self, make: Make) -> None:
        with make(double) as evaluator:
            evaluator.submit([{"x": 1}])
            evaluator.gather()
        assert evaluator.close() == []
        with pytest.raises(EvaluatorClosed, match="closed"):
            evaluator.submit([{"x": 1}])
        with pytest.raises(RuntimeError):
            evaluator.submit([{"x": 1}])
        assert evaluator.gather() == []

    def test_what_finished_before_close_is_not_lost(self, make: Make) -> None:
        evaluator = make(double)
        jobs = evaluator.submit([{"x": 1}])
        if self.in_background:
            wait_until(lambda: jobs[0].is_done)
            assert evaluator.close() == []
            assert evaluator.gather() == jobs
            assert jobs[0].objective == 2
        else:
            assert evaluator.close() == jobs
            assert jobs[0].objective == "F_CANCELLED"
