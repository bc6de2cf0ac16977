"""Jobs that a worker prefetched, before it could run them: none waits for a job that hangs, none is lost with it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from evalpool import Evaluator, FailureKind, JobStatus, RunningJob
from faults import culprits
from faults.programs import wait_until

pytestmark = pytest.mark.slow

Make = Callable[..., Any]


def quick_or_not(job: RunningJob) -> Any:
    if not job.parameters:
        return 0.0  # as quick as can be
    if job.get("do"):
        return culprits.mostly_harmless(job)
    if job.get("ran"):
        Path(job["ran"]).touch()
    return 10.0 * job["x"]


def warm_up(evaluator: Evaluator) -> None:
    """Short jobs, so many that hundreds are prefetched from now on."""
    for _ in range(5):
        evaluator.submit([{}] * 1000)
        evaluator.gather()


@pytest.mark.parametrize("warm", [False, True])
@pytest.mark.parametrize("position", [0, 25])
def test_no_short_job_waits_for_one_that_hangs(make: Make, tmp_path: Path, position: int, warm: bool) -> None:
    evaluator = make(quick_or_not, num_workers=2)
    if warm:
        warm_up(evaluator)
    event = tmp_path / "go on"
    configurations: list[dict[str, Any]] = [{"x": n} for n in range(50)]
    configurations.insert(position, {"do": "wait for file", "file": str(event), "x": 1})
    jobs = evaluator.submit(configurations)
    hanging = jobs.pop(position)
    wait_until(lambda: all(job.is_done for job in jobs))  # nobody gathers
    assert not hanging.is_done
    later = evaluator.submit([{"x": n} for n in range(50)])
    assert len(evaluator.gather("BATCH", 100)) == 100
    assert all(job.is_done for job in later)
    for n in range(20):  # as a search does it, one after the other
        evaluator.submit([{"x": n}])
        assert [job.objective for job in evaluator.gather("BATCH", 1)] == [10.0 * n]
    event.touch()
    assert evaluator.gather() == [hanging]


def test_jobs_behind_a_hang_move_at_once(make: Make, tmp_path: Path) -> None:
    # Each of ten times some 100 jobs stand behind the hang. Taken back with a pause between, they would need 20 s.
    evaluator = make(quick_or_not, num_workers=2)
    warm_up(evaluator)
    event = tmp_path / "go on"
    evaluator.submit([{"do": "wait for file", "file": str(event)}])
    jobs: list[Any] = []
    end = time.monotonic() + 10
    for _ in range(10):
        jobs.extend(evaluator.submit([{"x": n} for n in range(200)]))
        wait_until(lambda: all(job.is_done for job in jobs), end - time.monotonic())
    assert len(evaluator.gather("BATCH", 2000)) == 2000
    event.touch()
    assert len(evaluator.gather()) == 1


def test_jobs_go_to_idle_workers_before_they_queue_up_behind_others(make: Make) -> None:
    def meet(job: RunningJob) -> float:
        # Done when all four are in it.
        folder = Path(job["folder"])
        (folder / str(job["job_id"])).touch()
        wait_until(lambda: len(list(folder.iterdir())) >= 4)
        return 1.0

    import tempfile

    evaluator = make(meet, num_workers=4)
    for _ in range(3):
        with tempfile.TemporaryDirectory() as folder:
            evaluator.submit([{"folder": folder}] * 4)
            assert len(evaluator.gather()) == 4


@pytest.mark.parametrize("warm", [False, True])
def test_what_waits_behind_a_worker_that_is_unresponsive_in_c_code_can_be_cancelled(
    make: Make, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, warm: bool
) -> None:
    evaluator = make(quick_or_not, num_workers=1)
    if warm:
        monkeypatch.setattr("evalpool.backends._pool._prefetcher.PREFETCH", 1.0)  # as many as there may be
        warm_up(evaluator)
    hog, *behind = evaluator.submit([{"do": "hog"}, *[{}] * 300])
    wait_until(lambda: "begun hog" in capfd.readouterr().out)
    behind[0].cancel()
    wait_until(lambda: behind[0].is_done)  # the worker has been told of it, and reads no more
    cancelling = threading.Thread(target=evaluator.cancel, args=(behind,), daemon=True)
    cancelling.start()
    cancelling.join(10)
    assert not cancelling.is_alive()
    assert len(evaluator.gather("BATCH", 300)) == 300
    assert {job.status for job in behind} == {JobStatus.CANCELLED}
    assert not hog.is_done
    hog.cancel()
    assert evaluator.gather() == [hog]
    evaluator.submit([{"x": 1}])
    assert [job.objective for job in evaluator.gather()] == [10.0]


@pytest.mark.parametrize("warm", [False, True])
def test_a_timeout_frees_what_waits_behind_a_worker_that_is_unresponsive_in_c_code(make: Make, warm: bool) -> None:
    evaluator = make(quick_or_not, num_workers=1, job_timeout=1.0)
    if warm:
        warm_up(evaluator)
    hog, *behind = evaluator.submit([{"do": "hog"}, *({"x": n} for n in range(300))])
    assert len(evaluator.gather()) == 301
    assert hog.kind is FailureKind.TIMEOUT
    assert [job.objective for job in behind] == [10.0 * n for n in range(300)]


def test_an_idle_worker_takes_what_waits_behind_a_worker_that_is_unresponsive_in_c_code(make: Make) -> None:
    evaluator = make(quick_or_not, num_workers=2)
    warm_up(evaluator)
    hog, *behind = evaluator.submit([{"do": "hog"}, *({"x": n} for n in range(100))])
    wait_until(lambda: all(job.is_done for job in behind), 10)
    assert not hog.is_done
    hog.cancel()
    assert len(evaluator.gather()) == 101


def test_a_crash_frees_what_waits_behind_it(make: Make) -> None:
    evaluator = make(quick_or_not, num_workers=2)
    warm_up(evaluator)
    deadly, *behind = evaluator.submit([{"do": "die"}, *({"x": n} for n in range(300))])
    assert len(evaluator.gather()) == 301
    assert deadly.kind is FailureKind.WORKER_DIED
    assert [job.objective for job in behind] == [10.0 * n for n in range(300)]
    assert {job.attempts for job in behind} == {1}


def test_a_cancelled_job_that_waits_never_runs(make: Make, tmp_path: Path) -> None:
    evaluator = make(quick_or_not, num_workers=1)
    event, ran = tmp_path / "go on", tmp_path / "ran"
    first, second, third = evaluator.submit(
        [{"do": "wait for file", "file": str(event), "x": 1}, {"x": 2, "ran": str(ran)}, {"x": 3}]
    )
    evaluator.cancel(second)
    wait_until(lambda: second.is_done)
    event.touch()
    evaluator.gather()
    assert second.status is JobStatus.CANCELLED
    assert [first.objective, third.objective] == [10.0, 30.0]
    assert not ran.exists()


def test_the_timeout_of_a_job_begins_when_it_begins(make: Make) -> None:
    # Behind four jobs of 0.4 s, prefetched together, a job of 0.4 s is not over a timeout of 1 s.
    evaluator = make(pause, num_workers=1, job_timeout=1.0)
    evaluator.submit([{"seconds": 0.0}] * 500)
    evaluator.gather()
    jobs = evaluator.submit([{"seconds": 0.4}] * 5)
    evaluator.gather()
    assert [job.objective for job in jobs] == [0.4] * 5


def pause(job: RunningJob) -> float:
    threading.Event().wait(job["seconds"])
    return float(job["seconds"])
