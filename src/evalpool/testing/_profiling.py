"""Tests of `profile` on every backend: time, memory, and the memory limit."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from evalpool.backends import profile
from evalpool.outcomes import FailureKind, JobStatus
from evalpool.testing._bench import Bench, wait_until
from evalpool.testing._stopping import _runs
from evalpool.worker import RunningJob

__all__ = ["Profiling"]

Make = Callable[..., Any]
MB = 1_000_000


def allocate(job: RunningJob) -> Any:
    import os

    if job.get("raise"):
        raise ValueError("before allocating")
    spike = b"x" * int(job["mb"] * MB)  # written, so it is resident
    del spike
    if job.get("child"):
        import subprocess
        import sys

        code = f"spike = b'x' * {job['child'] * MB}; input()"
        child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE)
        with open(job["pids"], "w") as file:
            file.write(str(child.pid))
        child.wait()
    return {"objective": float(job["mb"]), "metadata": {"helper": os.getpid()}}


class Profiling(Bench):
    def test_time_is_measured(self, make: Make) -> None:
        @profile
        def run(job: RunningJob) -> Any:
            return job["x"] + 0.5

        evaluator = make(run, num_workers=2)
        jobs = evaluator.submit([{"x": n} for n in range(4)])
        evaluator.gather()
        assert [job.objective for job in jobs] == [0.5, 1.5, 2.5, 3.5]
        assert "memory" not in jobs[0].metadata

    def test_async_functions_are_measured(self, make: Make) -> None:
        @profile(memory=True)
        async def run(job: RunningJob) -> Any:
            return job["x"] + 0.5

        evaluator = make(run)
        (job,) = evaluator.submit([{"x": 1}])
        evaluator.gather()
        assert job.objective == 1.5
        assert job.metadata["memory"] > MB

    @pytest.mark.slow
    def test_the_peak_of_memory_holds_the_shortest_spike(self, make: Make) -> None:
        evaluator = make(profile(memory=True)(allocate), num_workers=1)
        jobs = evaluator.submit([{"mb": 0}, {"mb": 400}, {"mb": 0}])
        evaluator.gather()
        base, spike, after = (job.metadata["memory"] for job in jobs)
        assert abs(spike - base - 400 * MB) < 0.05 * 400 * MB
        assert after < base + 0.05 * 400 * MB  # each job has its own peak
        workers = {(record.host, record.pid) for record in evaluator.results()}
        assert len({job.metadata["helper"] for job in jobs}) == len(workers)  # a worker's helper is used again
        assert jobs[1].output["objective"] == 400.0

    @pytest.mark.slow
    def test_a_memory_limit_stops_one_job_and_nobody_else(self, make: Make) -> None:
        evaluator = make(profile(memory_limit=300 * MB)(allocate), num_workers=2)
        jobs = evaluator.submit([{"mb": 600 if n == 3 else 1} for n in range(8)])
        evaluator.gather()
        assert [job.objective for job in jobs if job.number != 3] == [1.0] * 7
        assert (jobs[3].objective, jobs[3].status) == ("F_memory_limit_exceeded", JobStatus.FAILED)
        assert jobs[3].kind is FailureKind.MEMORY_LIMIT
        assert jobs[3].metadata["memory"] > 300 * MB
        assert "300000000" in jobs[3].error

    @pytest.mark.slow
    def test_a_memory_limit_counts_and_stops_grandchildren(self, make: Make, tmp_path: Any) -> None:
        evaluator = make(profile(memory_limit=300 * MB, memory_tracing_interval=0.05)(allocate))
        pids = tmp_path / "pids"
        (job,) = evaluator.submit([{"mb": 1, "child": 600, "pids": str(pids)}])
        evaluator.gather()
        assert job.objective == "F_memory_limit_exceeded"
        wait_until(lambda: not _runs(int(pids.read_text())), bound=5.0)

    def test_what_the_function_raises_is_the_jobs_failure(self, make: Make) -> None:
        evaluator = make(profile(memory=True)(allocate))
        (job,) = evaluator.submit([{"mb": 0, "raise": True}])
        evaluator.gather()
        assert job.objective == "F_ValueError"
        assert "before allocating" in job.error
        assert job.metadata["memory"] > MB

    def test_a_measured_job_records_and_stops_as_any_other(self, make: Make) -> None:
        @profile(memory=True, memory_tracing_interval=0.01)
        def run(job: RunningJob) -> Any:
            pause = threading.Event()
            for epoch in range(1, 2000):
                job.record(epoch, float(epoch))
                if job.stopped():
                    break
                pause.wait(0.005)
            return {"objective": float(epoch), "metadata": {"seed": job.seed, "id": job.id}}

        from evalpool.testing._stopping import StopAfterThree

        evaluator = make(run, stopper=StopAfterThree(), seed=1)
        (job,) = evaluator.submit([{}])
        evaluator.gather()
        assert job.objective == 3.0
        assert job.metadata["seed"] == job.seed
        assert job.metadata["id"] == job.id
