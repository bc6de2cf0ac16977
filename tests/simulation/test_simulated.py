"""The decorator: jobs in the order of virtual time, the same on every backend.

Runtimes are dyadic fractions, so that sums are exact.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from evalpool import (
    BadArgument,
    Evaluator,
    ExecutorEvaluator,
    FailureKind,
    JobStatus,
    MPICommEvaluator,
    ProcessPoolEvaluator,
    RayEvaluator,
    RunningJob,
    SerialEvaluator,
    Submission,
    ThreadPoolEvaluator,
    optimize,
    queued,
)
from evalpool.simulation import SimulatedEvaluator, simulated
from evalpool.storage import MemoryStorage

BACKENDS = [SerialEvaluator, ThreadPoolEvaluator, ProcessPoolEvaluator]


def run(job: RunningJob) -> Any:
    if job.get("fail") == "raise":
        raise ValueError("as asked")
    if job.get("fail") == "text":
        return {"objective": "F_oom", "metadata": {"runtime": job["r"]}}
    return {"objective": float(job["job_id"]), "runtime": job["r"], "metadata": {"seed": job.seed}}


def ends(jobs: list[Any]) -> list[tuple[int, float]]:
    return [(job.number, job.metadata["virtual_end"]) for job in jobs]


def with_runtimes(*runtimes: float) -> list[dict[str, Any]]:
    return [{"r": runtime} for runtime in runtimes]


class TestOrder:
    def test_jobs_come_in_the_order_of_their_virtual_ends(self) -> None:
        # worker-0: |0---------4|
        # worker-1: |1-1|2-1|3--2|4|5----3|
        with simulated(SerialEvaluator)(run, num_workers=2) as evaluator:
            evaluator.submit(with_runtimes(4.0, 1.0, 1.0, 2.0, 0.0, 3.0))
            assert ends(evaluator.gather("BATCH", 1)) == [(1, 1.0)]
            assert ends(evaluator.gather("BATCH", 1)) == [(2, 2.0)]
            assert ends(evaluator.gather("BATCH", 1)) == [(0, 4.0), (3, 4.0), (4, 4.0)]  # ties come together
            assert evaluator.now == 4.0
            (last,) = evaluator.gather("ALL")
            assert last.metadata["virtual_worker"] == 1
            assert evaluator.now == 7.0

    def test_what_ended_while_the_search_was_thinking_comes_at_once(self) -> None:
        with simulated(SerialEvaluator)(run, num_workers=2) as evaluator:
            evaluator.submit(with_runtimes(1.0, 2.0, 8.0))
            evaluator.advance(4.0)
            assert ends(evaluator.gather("BATCH", 1)) == [(0, 1.0), (1, 2.0)]
            assert evaluator.now == 4.0
            (fresh,) = evaluator.submit(with_runtimes(1.0))
            evaluator.gather("ALL")
            assert fresh.metadata["virtual_submit"] == fresh.metadata["virtual_start"] == 4.0

    @pytest.mark.parametrize("wrong", [-1.0, float("nan"), "x", None])
    def test_time_goes_forward(self, wrong: Any) -> None:
        with simulated(SerialEvaluator)(run) as evaluator, pytest.raises(BadArgument, match="forward"):
            evaluator.advance(wrong)

    def test_facts_and_timestamps_are_virtual(self) -> None:
        with simulated(SerialEvaluator)(run, num_workers=1) as evaluator:
            evaluator.submit(with_runtimes(2.0, 0.5))
            job = evaluator.gather("ALL")[1]
            assert job.metadata["timestamp_start"] == 2.0
            assert job.metadata["timestamp_end"] == job.metadata["timestamp_gather"] == 2.5
            assert job.metadata["charged_runtime"] == 0.5
            assert job.metadata["resumed_fidelity"] is None
            record = evaluator.results()[1]
            assert (record.timestamp_start, record.timestamp_end) == (2.0, 2.5)
            assert record.metadata["virtual_worker"] == 0


@pytest.mark.slow
def test_the_trace_is_the_same_bit_for_bit_on_every_backend_and_under_load() -> None:
    configurations = [{"r": ((7 * n) % 16) / 8, "fail": {3: "raise", 5: "text"}.get(n % 11)} for n in range(60)]
    stop = threading.Event()
    noise = threading.Thread(target=lambda: [sum(range(1000)) for _ in iter(stop.is_set, True)])
    noise.start()
    try:
        digests, orders = set(), set()
        for backend in BACKENDS:
            for real_workers in (1, 4):
                with simulated(backend)(run, num_workers=5, real_workers=real_workers, seed=1) as evaluator:
                    order = []
                    evaluator.submit(configurations[:20])
                    for configuration in configurations[20:]:
                        order += ends(evaluator.gather("BATCH", 1))
                        evaluator.advance(0.125)
                        evaluator.submit([configuration])
                    order += ends(evaluator.gather("ALL"))
                    digests.add(evaluator.trace_digest())
                    orders.add(tuple(order))
    finally:
        stop.set()
        noise.join()
    assert len(digests) == len(orders) == 1
    assert sorted(number for number, _ in orders.pop()) == list(range(60))


class TestFailuresAndLimits:
    def test_a_failure_occupies_its_worker_for_its_runtime(self) -> None:
        with simulated(SerialEvaluator)(run, num_workers=1, failure_runtime=0.25) as evaluator:
            evaluator.submit([{"r": 2.0, "fail": "text"}, {"r": 1.0, "fail": "raise"}, {"r": 1.0}])
            jobs = evaluator.gather("ALL")
            assert ends(jobs) == [(0, 2.0), (1, 2.25), (2, 3.25)]
            assert [job.objective for job in jobs] == ["F_oom", "F_ValueError", 2.0]

    @pytest.mark.parametrize("runtime", [-1.0, float("nan"), float("inf"), "long", None])
    def test_an_impossible_runtime_is_that_jobs_failure(self, runtime: Any) -> None:
        with simulated(SerialEvaluator)(run, num_workers=1) as evaluator:
            evaluator.submit([{"r": runtime}, {"r": 1.0}])
            jobs = evaluator.gather("ALL")
            assert jobs[0].kind is FailureKind.INVALID_OUTPUT
            assert "runtime" in jobs[0].error
            assert ends(jobs) == [(0, 0.0), (1, 1.0)]

    def test_a_job_over_its_timeout_ends_at_exactly_that_time(self) -> None:
        with simulated(SerialEvaluator)(run, num_workers=1, job_timeout=1.5) as evaluator:
            evaluator.submit(with_runtimes(1.5, 4.0, 1.0))
            jobs = evaluator.gather("ALL")
            assert [job.objective for job in jobs] == [0.0, "F_timeout", 2.0]
            assert ends(jobs) == [(0, 1.5), (1, 3.0), (2, 4.0)]

    def test_a_spent_budget_cancels_what_ends_later(self) -> None:
        with simulated(SerialEvaluator)(run, num_workers=2) as evaluator:
            evaluator.timeout = 2.0
            evaluator.submit(with_runtimes(2.0, 3.0, 1.0))
            jobs = evaluator.gather("ALL")
            assert {job.number: job.objective for job in jobs} == {0: 0.0, 1: "F_CANCELLED", 2: "F_CANCELLED"}
            assert evaluator.now == 2.0
            assert evaluator.time_left == 0.0

    def test_retries_take_their_time(self) -> None:
        def fails_once(job: RunningJob) -> Any:
            if job.attempt == 1:
                raise ValueError
            return {"objective": 1.0, "runtime": 1.0}

        with simulated(SerialEvaluator)(fails_once, num_workers=1, retries=1, failure_runtime=0.5) as evaluator:
            evaluator.submit([{}])
            (job,) = evaluator.gather("ALL")
            assert (job.objective, job.attempts, evaluator.now) == (1.0, 2, 1.5)

    def test_cancel_frees_the_virtual_worker_now(self) -> None:
        with simulated(SerialEvaluator)(run, num_workers=1) as evaluator:
            jobs = evaluator.submit(with_runtimes(8.0, 1.0))
            evaluator.advance(0.5)
            assert jobs[0].cancel()
            assert {job.number: job.status for job in evaluator.gather("ALL")} == {
                0: JobStatus.CANCELLED,
                1: JobStatus.DONE,
            }
            assert evaluator.now == 1.5


class TestTogetherWithOthers:
    @pytest.mark.parametrize("inside_out", [False, True])
    def test_a_resource_is_lent_for_the_virtual_duration(self, inside_out: bool) -> None:
        def lent(job: RunningJob, dequed: list[str]) -> Any:
            return {"objective": 1.0, "runtime": 1.0, "metadata": {"lent": dequed[0]}}

        cls = simulated(queued(SerialEvaluator)) if inside_out else queued(simulated(SerialEvaluator))
        with cls(lent, num_workers=4, queue=["a", "b"]) as evaluator:
            evaluator.submit([{} for _ in range(5)])
            jobs = evaluator.gather("ALL")
            assert [(job.metadata["lent"], job.metadata["virtual_start"]) for job in jobs] == [
                ("a", 0.0), ("b", 0.0), ("a", 1.0), ("b", 1.0), ("a", 2.0),
            ]  # fmt: skip
            assert jobs[0].metadata["dequed"] == "a"

    @pytest.mark.parametrize("backend", [SerialEvaluator, pytest.param(ProcessPoolEvaluator, marks=pytest.mark.slow)])
    def test_a_stopped_job_frees_its_worker_at_the_virtual_time_of_its_record(self, backend: Any) -> None:
        from evalpool.testing._stopping import StopAfterThree

        def epochs(job: RunningJob) -> Any:
            for epoch in range(1, 9):
                job.record(epoch, float(epoch))
                if job.stopped():
                    break
            return {"objective": float(epoch), "runtime": 8.0}

        with simulated(backend)(epochs, num_workers=1, stopper=StopAfterThree()) as evaluator:
            evaluator.submit([{}, {}])
            jobs = evaluator.gather("ALL")
            assert [job.objective for job in jobs] == [3.0, 3.0]
            assert ends(jobs) == [(0, 3.0), (1, 6.0)]
            assert all(job.status is JobStatus.DONE and job.attempts == 1 for job in jobs)

    def test_runtimes_known_before_spare_what_is_never_reached(self) -> None:
        evaluated = []

        def table(job: RunningJob) -> float:
            evaluated.append(job["job_id"])
            return float(job["r"])

        cls = simulated(SerialEvaluator)
        with cls(table, num_workers=4, runtime_before=lambda configuration: configuration["r"]) as evaluator:
            evaluator.submit(with_runtimes(4.0, 1.0, 2.0, 8.0))
            assert ends(evaluator.gather("BATCH", 2)) == [(1, 1.0), (2, 2.0)]
        assert evaluated == [1, 2]

    def test_continuation_charges_the_difference_and_keeps_the_seed(self) -> None:
        def epochs(job: RunningJob) -> Any:
            return {"objective": 1.0, "runtime": 1.5 * job["epochs"], "metadata": {"seed": job.seed}}

        cls = simulated(SerialEvaluator)
        with cls(epochs, num_workers=1, continual_max_fidel=9, fidel_key="epochs", seed=3) as evaluator:
            jobs = []
            for epochs_wanted in (1, 3, 9, 3):
                evaluator.submit([{"x": 0.5, "epochs": epochs_wanted}])
                jobs += evaluator.gather("ALL")
            assert [job.metadata["charged_runtime"] for job in jobs] == [1.5, 3.0, 9.0, 4.5]
            assert [job.metadata["resumed_fidelity"] for job in jobs] == [None, 1, 3, None]
            seeds = [job.metadata["seed"] for job in jobs]
            assert seeds[0] == seeds[1] == seeds[2] == jobs[2].seed != seeds[3]
            with pytest.raises(BadArgument, match=r"1\.5"):
                evaluator.submit([{"x": 0.5, "epochs": 1.5}])

    def test_optimize_runs_on_virtual_time(self) -> None:
        class Counter:
            def __init__(self) -> None:
                self.asked = 0
                self.told: list[int] = []

            def ask(self) -> dict[str, Any]:
                self.asked += 1
                return {"r": float(self.asked % 3)}

            def tell(self, job: Any) -> None:
                self.told.append(job.number)

        counter = Counter()
        with simulated(SerialEvaluator)(run, num_workers=3, storage=MemoryStorage()) as evaluator:
            assert len(optimize(evaluator, counter, max_evals=20)) == 20
            assert sorted(counter.told) == list(range(20))
            assert [row["status"] for row in evaluator.trace()] == ["DONE"] * 20


def test_what_cannot_be_simulated_is_refused() -> None:
    with pytest.raises(BadArgument, match="simulated already"):
        simulated(simulated(SerialEvaluator))
    with pytest.raises(BadArgument, match="evaluator class"):
        simulated(Evaluator.create)  # type: ignore[type-var]
    with pytest.raises(BadArgument, match="fidel_key"):
        simulated(SerialEvaluator)(run, continual_max_fidel=9)  # type: ignore[call-arg]
    with pytest.raises(BadArgument, match="key of the output"):
        simulated(SerialEvaluator)(run, runtime=3)  # type: ignore[call-arg]
    with pytest.raises(BadArgument, match="real_workers is 0"):
        simulated(ThreadPoolEvaluator)(run, num_workers=2, real_workers=0)


@pytest.mark.parametrize(
    "cls",
    [SerialEvaluator, ThreadPoolEvaluator, ProcessPoolEvaluator, ExecutorEvaluator, MPICommEvaluator, RayEvaluator],
)
def test_no_name_of_simulated_time_hides_one_of_a_backend(cls: type[Evaluator]) -> None:
    # Its methods come before the backend's: one of the same name that is no hook would be called in the other's place.
    own = set(vars(SimulatedEvaluator)) - set(dir(Evaluator))
    assert own & set(dir(cls)) == set()


def test_a_pool_of_threads_evaluates_in_simulated_time() -> None:
    with (
        ThreadPoolExecutor(2) as pool,
        simulated(ExecutorEvaluator)(run, executor=pool, num_workers=2) as evaluator,
    ):
        evaluator.submit(with_runtimes(4.0, 1.0, 1.0))
        assert ends(evaluator.gather("ALL")) == [(1, 1.0), (2, 2.0), (0, 4.0)]


def test_a_job_that_was_cancelled_in_the_queue_holds_up_nobody_of_its_priority() -> None:
    with simulated(SerialEvaluator)(lambda job: {"objective": 0, "runtime": 1.0}, num_workers=1) as evaluator:
        evaluator.submit([{"x": 0}])
        first, second = evaluator.submit([Submission({"x": n}, priority=1) for n in (1, 2)])
        assert evaluator.cancel(first) == 1
        assert [job.number for job in evaluator.gather("ALL")] == [1, 0, 2]
        assert second.metadata["virtual_start"] == 1.0
