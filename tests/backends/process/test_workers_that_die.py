"""Workers killed, stopped or kept from starting by somebody else than their job."""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from evalpool import Evaluator, FailureKind
from faults import culprits
from faults.programs import GONE, Program, assert_gone, wait_until, workers_of

pytestmark = pytest.mark.slow

Make = Callable[..., Any]
Start = Callable[..., Program]


def settle(evaluator: Evaluator, count: int) -> list[psutil.Process]:
    """Wait until all workers are up and idle; returns them."""
    seen: set[int] = set()
    while len(seen) < count:
        evaluator.submit([{"x": 1, "pause": 0.05}] * count)
        seen |= {job.metadata["pid"] for job in evaluator.gather()}
    return workers_of()


def paused(job: Any) -> Any:
    threading.Event().wait(job.get("pause", 0.0))
    return culprits.mostly_harmless(job)


def objectives(evaluator: Evaluator) -> list[Any]:
    return [job.objective for job in sorted(evaluator.gather(), key=lambda job: job.number)]


def test_an_idle_worker_that_is_killed_costs_nothing(make: Make) -> None:
    evaluator = make(paused, num_workers=2)
    old = settle(evaluator, 2)
    for process in old:
        process.kill()
    assert_gone(old, GONE)
    wait_until(lambda: len(workers_of()) == 2)
    evaluator.submit([{"x": n} for n in range(50)])
    assert objectives(evaluator) == [10.0 * n for n in range(50)]


def test_a_job_that_is_sent_to_an_idle_worker_as_it_dies_runs_elsewhere(make: Make) -> None:
    evaluator = make(paused, num_workers=1)
    for count in range(1, 11):
        settle(evaluator, 1)[0].kill()
        evaluator.submit([{"x": n} for n in range(count)])
        assert objectives(evaluator) == [10.0 * n for n in range(count)]


def test_workers_that_are_killed_while_they_start_cost_nothing(
    make: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # The module of the run-function is slow to import in the first workers; each says that it has come to that.
    module = tmp_path / "slow_to_import.py"
    quick = "def run(job):\n    return 10.0 * job['x']\n"
    module.write_text(quick)
    monkeypatch.syspath_prepend(str(tmp_path))
    run = importlib.import_module("slow_to_import").run
    module.write_text(
        f"import os, threading\nopen({str(tmp_path)!r} + f'/{{os.getpid()}}', 'w').close()\nthreading.Event().wait(60)"
    )
    evaluator = make(run, num_workers=4)
    evaluator.submit([{"x": n} for n in range(20)])

    def all_import() -> bool:
        return sum((tmp_path / str(process.pid)).exists() for process in workers_of()) == 4

    wait_until(all_import)
    victims = workers_of()
    for process in victims:
        process.kill()
    assert_gone(victims)
    wait_until(all_import)
    (tmp_path / "quick").write_text(quick)
    (tmp_path / "quick").replace(module)
    for process in workers_of():
        process.kill()
    assert objectives(evaluator) == [10.0 * n for n in range(20)]


def test_all_workers_killed_at_once_cost_only_the_jobs_they_ran(make: Make, capfd: pytest.CaptureFixture[str]) -> None:
    evaluator = make(culprits.mostly_harmless, num_workers=3)
    jobs = evaluator.submit([*[{"do": "hang"}] * 3, *({"x": n} for n in range(60))])
    begun = ""
    while begun.count("begun hang") < 3:
        begun += capfd.readouterr().out
    for process in workers_of():
        process.kill()
    assert len(evaluator.gather()) == 63
    assert [job.kind for job in jobs[:3]] == [FailureKind.WORKER_DIED] * 3
    assert all("SIGKILL" in job.error for job in jobs[:3])
    assert [job.objective for job in jobs[3:]] == [10.0 * n for n in range(60)]


def test_kills_in_the_midst_of_short_jobs_cost_at_most_one_job_each(make: Make) -> None:
    evaluator = make(culprits.mostly_harmless, num_workers=2)
    jobs = evaluator.submit([{"x": 1}] * 200)
    done, kills = evaluator.gather("BATCH", 50), 0
    while len(done) < len(jobs):
        if kills < 10:
            for process in workers_of()[:1]:
                process.kill()
                kills += 1
            jobs += evaluator.submit([{"x": 1}] * 200)
        done += evaluator.gather("BATCH", min(100, len(jobs) - len(done)))
    assert sorted(job.number for job in done) == list(range(len(jobs)))
    died = [job for job in jobs if job.kind is FailureKind.WORKER_DIED]
    assert len(died) <= kills
    assert {job.objective for job in jobs if job.kind is None} == {10.0}
    assert {job.kind for job in jobs} <= {None, FailureKind.WORKER_DIED}


def test_a_reaper_that_is_killed_does_no_harm(make: Make) -> None:
    evaluator = make(culprits.mostly_harmless, num_workers=1)
    evaluator.submit([{"x": 1}])
    evaluator.gather()
    shells = [child for child in psutil.Process().children() if child.name() in ("sh", "dash", "bash")]
    assert shells
    for shell in shells:
        shell.kill()
    evaluator.submit([{"x": 1}, {"do": "die"}, {"x": 2}])  # a new worker is to be watched, too
    assert objectives(evaluator) == [10.0, "F_worker_died", 20.0]
    assert evaluator.close() == []


def test_a_stopped_worker_is_killed_at_the_jobs_timeout_and_replaced(make: Make) -> None:
    evaluator = make(culprits.mostly_harmless, num_workers=2, job_timeout=1.0)
    jobs = evaluator.submit([{"do": "stop itself"}, *({"x": n} for n in range(1, 20))])
    evaluator.gather()
    assert jobs[0].kind is FailureKind.TIMEOUT
    assert [job.objective for job in jobs[1:]] == [10.0 * n for n in range(1, 20)]


def test_a_worker_stopped_while_idle_is_killed_at_its_next_jobs_timeout(make: Make) -> None:
    evaluator = make(paused, num_workers=1, job_timeout=1.0)
    (process,) = settle(evaluator, 1)
    process.suspend()
    evaluator.submit([{"x": 1}, {"x": 2}])
    assert objectives(evaluator) == ["F_timeout", 20.0]
    assert_gone([process])


def test_closing_ends_a_stopped_worker(make: Make) -> None:
    evaluator = make(paused, num_workers=1)
    (process,) = settle(evaluator, 1)
    process.suspend()
    evaluator.close()
    assert_gone([process])


# Workers that cannot start.


def fails_every_job(evaluator: Evaluator, said: str) -> None:
    """No worker can start: jobs fail and say why, also those submitted later; nothing waits."""
    for count in (5, 3):
        jobs = evaluator.submit([{"x": n} for n in range(count)])
        wait_until(lambda jobs=jobs: all(job.is_done for job in jobs))
        assert len(evaluator.gather()) == count
        assert {job.kind for job in jobs} == {FailureKind.WORKER_DIED}
        assert all(said in job.error for job in jobs)
    assert evaluator.close() == []
    assert workers_of() == []


def test_jobs_fail_with_the_reason_where_the_interpreter_cannot_start(
    make: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PYTHONHOME", str(tmp_path))
    fails_every_job(make(culprits.mostly_harmless, num_workers=2), "encodings")


def test_jobs_fail_with_the_reason_where_a_site_customisation_exits(
    make: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "sitecustomize.py").write_text("import os; os.write(2, b'not today'); os._exit(5)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    fails_every_job(make(culprits.mostly_harmless, num_workers=2), "not today")


@pytest.mark.parametrize("executable", ["no such file", "not executable"])
def test_jobs_fail_with_the_reason_where_there_is_no_interpreter(
    make: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, executable: str
) -> None:
    path = tmp_path / "python"
    if executable == "not executable":
        path.write_text("")
    monkeypatch.setattr(sys, "executable", str(path))
    fails_every_job(make(culprits.mostly_harmless, num_workers=2), str(path))


def test_jobs_fail_where_evalpool_itself_cannot_be_imported(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", ["/nowhere"])
    evaluator = make(culprits.mostly_harmless, num_workers=1)
    jobs = evaluator.submit([{"x": 1}])
    wait_until(lambda: jobs[0].is_done)
    monkeypatch.undo()
    assert jobs[0].kind is FailureKind.WORKER_DIED
    assert "ModuleNotFoundError" in jobs[0].error
    evaluator.close()


def test_a_run_function_whose_module_the_worker_lacks_says_so(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    import types

    module = types.ModuleType("only_here")
    exec("def run(job):\n    return 1.0", vars(module))
    monkeypatch.setitem(sys.modules, "only_here", module)
    module.run.__module__ = "only_here"
    evaluator = make(module.run, num_workers=2)
    evaluator.submit([{}] * 4)
    jobs = evaluator.gather()
    assert {job.kind for job in jobs} == {FailureKind.UNPICKLABLE}
    assert all("No module named 'only_here'" in job.error for job in jobs)


def test_one_worker_that_cannot_start_again_does_not_stop_the_others(program: Start) -> None:
    search = program(
        """
        def run(job):
            if job.get("do") == "break":
                os._exit(1)
            if job.get("do") == "hold":
                while not os.path.exists("go on"):
                    threading.Event().wait(0.01)
            return float(os.getpid())

        with Evaluator.create(run, "process", {"num_workers": 2}) as evaluator:
            evaluator.submit([{"do": "hold"}] * 2)
            open("go on", "w").close()
            evaluator.gather()
            os.remove("go on")
            holding = evaluator.submit([{"do": "hold"}])
            real, sys.executable = sys.executable, "/nowhere/python"
            broken = evaluator.submit([{"do": "break"}])
            evaluator.gather("BATCH", 1)
            assert broken[0].objective == "F_worker_died"
            open("go on", "w").close()
            jobs = evaluator.submit([{}] * 20)
            say("gathered", len(evaluator.gather("ALL", timeout=20)))
            say("right", sum(isinstance(job.objective, float) for job in jobs))
        """
    )
    assert search.expect("gathered") == "21"
    assert search.expect("right") == "20"
    assert search.wait() == 0


def test_too_many_open_files_fail_jobs_and_hang_nothing(program: Start) -> None:
    search = program(
        """
        import resource

        evaluator = Evaluator.create(culprits.mostly_harmless, "process", {"num_workers": 8})
        used = max(map(int, os.listdir("/proc/self/fd")))
        resource.setrlimit(resource.RLIMIT_NOFILE, (used + 12, used + 12))
        try:
            evaluator.submit([{"x": 1}] * 3)
        except OSError as error:
            say("refused", error)
        else:
            jobs = evaluator.gather("ALL", timeout=20)
            say("gathered", len(jobs), {job.objective for job in jobs})
        evaluator.close()
        say("closed")
        """
    )
    search.expect("gathered 3")
    search.expect("closed")
    assert search.wait() == 0


def test_a_signal_for_the_workers_is_the_jobs_death_alone(make: Make) -> None:
    evaluator = make(paused, num_workers=1)
    (process,) = settle(evaluator, 1)
    with contextlib.suppress(psutil.NoSuchProcess):
        process.send_signal(signal.SIGINT)  # as from `kill -INT`: Python raises it in the main thread
    evaluator.submit([{"x": n} for n in range(5)])
    results = objectives(evaluator)
    assert [r for r in results if not isinstance(r, str)] == [
        10.0 * n for n, r in enumerate(results) if not isinstance(r, str)
    ]
    assert sum(isinstance(r, str) for r in results) <= 1
