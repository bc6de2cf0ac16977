"""More workers than there is room for: they wait, say for whom, and are dismissed without a message."""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import Any

import pytest

from evalpool import BadArgument, RayEvaluator, RunningJob
from evalpool.testing._bench import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("fresh_cluster")]


def double(job: RunningJob) -> float:
    return 2.0 * job["x"]


def test_an_evaluator_without_a_worker_says_once_what_it_needs_and_who_has_it(
    cluster: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("evalpool.backends._pool._shortage.NO_WORKER_FOR", 0.2)

    class Hog:
        def ready(self) -> bool:
            return True

    hog = cluster.remote(Hog).options(num_cpus=2).remote()
    assert cluster.get(hog.ready.remote())
    with RayEvaluator(double, num_workers=1, num_cpus_per_task=4) as first:
        first.submit([{"x": 1}])
        assert [job.objective for job in first.gather()] == [2.0]
        caplog.clear()
        with RayEvaluator(double, num_workers=2) as second:
            second.submit([{"x": 2}])
            wait_until(lambda: "has had no worker" in caplog.text)
            (warning,) = [record for record in caplog.records if "has had no worker" in record.message]
            assert warning.levelno == logging.WARNING
            assert "needs 1 CPU; the cluster has 6 CPU, and 0 CPU of that are free" in warning.message
            assert f"1 workers of RayEvaluator of search {first.search_id} in this program, 4 CPU each" in caplog.text
            assert "1 actor Hog of this program" in warning.message
            first.close()
            assert [job.objective for job in second.gather()] == [4.0]
    cluster.kill(hog)


def test_what_no_actor_uses_is_said_to_be_used_otherwise(
    cluster: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("evalpool.backends._pool._shortage.NO_WORKER_FOR", 0.2)

    def hold(until: Path) -> None:
        while not until.exists():
            threading.Event().wait(0.05)

    task = cluster.remote(hold).options(num_cpus=6).remote(tmp_path / "go")
    wait_until(lambda: cluster.available_resources().get("CPU", 0.0) == 0.0)
    with RayEvaluator(double, num_workers=1) as evaluator:
        evaluator.submit([{"x": 1}])
        wait_until(
            lambda: "No actor uses the rest: Ray tasks or placement groups do, or Ray has kept it" in caplog.text
        )
        (tmp_path / "go").touch()
        cluster.get(task)
        assert [job.objective for job in evaluator.gather()] == [2.0]


@pytest.mark.parametrize("memory", [{"memory_per_task": 2**27}, {"resources_per_task": {"memory": 2**27}}])
def test_memory_is_set_aside_for_each_worker(cluster: Any, memory: dict[str, Any]) -> None:
    def held(job: RunningJob) -> float:
        import ray

        return ray.get_runtime_context().get_assigned_resources()["memory"]

    with RayEvaluator(held, num_workers=1, num_cpus_per_task=0, **memory) as evaluator:
        evaluator.submit([{}])
        assert [job.objective for job in evaluator.gather()] == [2**27]


def test_a_close_while_workers_wait_for_room_says_nothing_of_failure(
    cluster: Any, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    for budget in (None, 0.1):
        with RayEvaluator(double, num_workers=6, num_cpus_per_task=4) as evaluator:
            evaluator.timeout = budget
            evaluator.submit([{"x": 1}])
            (job,) = evaluator.gather()
            assert job.objective == (2.0 if budget is None else "F_CANCELLED")
    assert [record.message for record in caplog.records if record.levelno >= logging.ERROR] == []
    assert " E " not in capfd.readouterr().err


def test_what_ray_gives_to_no_worker_is_refused_with_its_reason(cluster: Any) -> None:
    with pytest.raises(BadArgument, match=r"0\.0001"):
        RayEvaluator(double, num_workers=1, resources_per_task={"licence": 0.00001})
