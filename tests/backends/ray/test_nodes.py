"""Several nodes: those that join and leave, die, or have another evalpool."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evalpool import BadArgument, FailureKind, RayEvaluator, RunningJob, queued
from evalpool.testing._bench import BOUND, wait_until


def double(job: RunningJob) -> float:
    return 2.0 * job["x"]


def where(job: RunningJob) -> Any:
    import ray

    if job.get("hang"):
        Path(job["hang"], f"{job.id}.{job.attempt}").write_text(str(os.getpid()))
        threading.Event().wait(BOUND)
    return {"objective": 1.0, "metadata": {"node": ray.get_runtime_context().get_node_id()}}


def started(directory: Path, count: int) -> dict[str, int]:
    """The pids of the jobs that hang, by job and attempt."""
    wait_until(lambda: len([p for p in directory.iterdir() if p.read_text()]) >= count)
    return {path.name: int(path.read_text()) for path in directory.iterdir()}


@pytest.mark.slow
def test_a_killed_worker_costs_its_job_alone_and_nothing_runs_twice(nodes: Any, tmp_path: Path) -> None:
    with RayEvaluator(where, num_workers=2) as evaluator:
        assert evaluator.submit([{}]) == evaluator.gather()
        jobs = evaluator.submit([{"hang": str(tmp_path)}, *[{} for _ in range(20)]])
        (pid,) = started(tmp_path, 1).values()
        os.kill(pid, signal.SIGKILL)
        evaluator.gather()
        assert [job.objective for job in jobs] == ["F_worker_died", *[1.0] * 20]
        assert [job.attempts for job in jobs] == [1] * 21
        assert str(pid) in jobs[0].error
        assert "died unexpectedly" in jobs[0].error
        assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.slow
def test_workers_follow_the_nodes_and_a_node_that_dies_costs_one_job(nodes: Any, tmp_path: Path) -> None:
    import ray

    with RayEvaluator(where, retries=0) as evaluator:
        assert evaluator.num_workers == 2
        assert evaluator.submit([{}]) == evaluator.gather()
        third = nodes.add_node(num_cpus=1, object_store_memory=100_000_000)
        wait_until(lambda: evaluator.num_workers == 3)
        jobs = evaluator.submit([{"hang": str(tmp_path)} for _ in range(3)])
        hanging = started(tmp_path, 3)  # so there is a worker on each
        nodes.remove_node(third, allow_graceful=False)
        (lost,) = evaluator.gather("BATCH", size=1)
        assert lost.kind is FailureKind.WORKER_DIED
        assert f"{lost.id}.1" in hanging
        wait_until(lambda: evaluator.num_workers == 2)
        evaluator.cancel(jobs)
        assert {job.objective for job in evaluator.gather()} == {"F_CANCELLED"}
        evaluator.submit([{} for _ in range(6)])
        alive = {node["NodeID"] for node in ray.nodes() if node["Alive"]}
        assert {job.metadata["node"] for job in evaluator.gather()} <= alive


@pytest.mark.slow
def test_a_cluster_that_has_no_room_yet_is_waited_for_where_the_number_of_workers_is_given(
    nodes: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So it is where a cluster starts nodes when they are asked for."""
    monkeypatch.setattr("evalpool.backends._pool._shortage.NO_WORKER_FOR", 0.2)
    with RayEvaluator(double, num_workers=1, resources_per_task={"later": 1}) as evaluator:
        evaluator.submit([{"x": 1}])
        wait_until(lambda: "No node of the cluster is large enough" in caplog.text)
        later = nodes.add_node(num_cpus=1, resources={"later": 1}, object_store_memory=100_000_000)
        assert [job.objective for job in evaluator.gather()] == [2.0]
    nodes.remove_node(later)


@pytest.mark.slow
def test_another_evalpool_on_the_worker_is_named_with_ours(nodes: Any, tmp_path: Path) -> None:
    from evalpool._version import __version__

    other = tmp_path / "evalpool"
    other.mkdir()
    (other / "__init__.py").touch()
    (other / "_version.py").write_text('__version__ = "0.0.1"')
    with RayEvaluator(
        double, num_workers=1, ray_kwargs={"runtime_env": {"env_vars": {"PYTHONPATH": str(tmp_path)}}}
    ) as evaluator:
        evaluator.submit([{"x": 1}])
        (job,) = evaluator.gather()
    assert job.objective == "F_worker_died"
    assert f"evalpool {__version__}" in job.error
    assert "evalpool 0.0.1" in job.error


def test_resources_that_no_node_has_are_refused_with_what_there_is(nodes: Any) -> None:
    with pytest.raises(BadArgument, match=r"2 CPU.*1 CPU; 1 CPU"):
        RayEvaluator(double, num_cpus_per_task=2)
    with pytest.raises(BadArgument, match=r"1 licence.*give num_workers"):
        RayEvaluator(double, resources_per_task={"licence": 1})
    with pytest.raises(BadArgument, match=r"1048576.0 MiB of memory; there are .* MiB of memory; "):
        RayEvaluator(double, memory_per_task=2**40)
    with pytest.raises(BadArgument, match="num_cpus is 7"):
        RayEvaluator(double, num_cpus=7)
    with pytest.raises(BadArgument, match="uses the Ray cluster at"):
        RayEvaluator(double, address="10.0.0.1:6379")
    with pytest.raises(BadArgument, match="dashboard_port"):
        RayEvaluator(double, ray_kwargs={"dashboard_port": 1})


@pytest.mark.slow
def test_resources_are_lent_and_come_back_when_a_job_is_killed(nodes: Any) -> None:
    def run(job: RunningJob, dequed: list[str]) -> float:
        if job["hang"]:
            threading.Event().wait(BOUND)
        return float(dequed[0])

    with queued(RayEvaluator)(run, num_workers=2, queue=["7"], job_timeout=0.5) as evaluator:
        jobs = evaluator.submit([{"hang": n == 0} for n in range(3)])
        evaluator.gather()
        assert [job.objective for job in jobs] == ["F_timeout", 7.0, 7.0]


@pytest.mark.slow
@pytest.mark.parametrize("near", [True, False])
def test_large_arrays_are_shared_and_what_a_caller_changes_is_seen(
    nodes: Any, near: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(job: RunningJob, table: Any) -> Any:
        job["array"] += 0.0  # its own copy
        return {
            "objective": float(job["array"][0] + table[0]),
            "metadata": {"writable": table.flags.writeable},
            "array": job["array"],
        }

    if not near:  # as with workers of other hosts, to whom no memory can be passed
        monkeypatch.setattr("evalpool.backends._ray._reach.can_lend", lambda: False)

    array, table = np.ones(200_000), np.full(200_000, 10.0)
    with RayEvaluator(run, num_workers=2, run_function_kwargs={"table": table}) as evaluator:
        first = evaluator.submit([{"array": array} for _ in range(6)])
        evaluator.gather()
        array[0] = 5.0
        (second,) = evaluator.submit([{"array": array}])
        evaluator.gather()
        assert {job.objective for job in first} == {11.0}
        assert second.objective == 15.0
        assert (second.output["array"] == array).all()
        assert not first[0].metadata["writable"]  # it is the object store's, for all workers of the host
