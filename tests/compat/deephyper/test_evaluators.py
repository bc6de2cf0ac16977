"""Programs that use `deephyper.evaluator` directly, with its import changed."""

from __future__ import annotations

import asyncio
import csv
import inspect
import time
from collections import deque
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import evalpool
from evalpool.compat.deephyper.evaluator import (
    EVALUATORS,
    Evaluator,
    HPOJob,
    Job,
    JobStatus,
    LokyEvaluator,
    MaximumJobsSpawnReached,
    ProcessPoolEvaluator,
    RayEvaluator,
    RunningJob,
    SerialEvaluator,
    ThreadPoolEvaluator,
    profile,
    queued,
)
from evalpool.compat.deephyper.evaluator.callback import (
    Callback,
    CSVLoggerCallback,
    LoggerCallback,
    SearchEarlyStopping,
    TqdmCallback,
)
from evalpool.compat.deephyper.evaluator.storage import MemoryStorage, NullStorage, SharedMemoryStorage
from evalpool.errors import BadArgument, UnknownMethod

LOCAL = ["serial", "thread", pytest.param("process", marks=pytest.mark.slow)]


def x_of(job: Any, y: int = 0) -> Any:
    return job["x"] + y


async def later(job: Any) -> Any:
    await asyncio.sleep(0)
    return job["x"]


def until_told(job: Any) -> Any:
    if job["x"] == 0:
        return 0.0
    while job.status is JobStatus.RUNNING:
        time.sleep(0.01)
    assert job.status is JobStatus.CANCELLING
    return {"objective": job["x"], "metadata": {"seen": True}}


def evaluated(run: Any, method: str, xs: Any = (1, 2, 3), **kwargs: Any) -> list[Any]:
    with Evaluator.create(run, method=method, method_kwargs=kwargs) as evaluator:
        evaluator.submit([{"x": x} for x in xs])
        return sorted(evaluator.gather("ALL"), key=lambda job: job.id)


@pytest.mark.parametrize("method", LOCAL)
def test_the_output_is_what_the_function_returned(method: str) -> None:
    values = [2, {"y": 1}, None, "hello", (1, 2), [3.5], {"objective": 1, "z": 2}]
    jobs = evaluated(lambda job: values[job["x"]], method, range(len(values)))
    assert [job.output for job in jobs] == values
    assert [type(job) for job in jobs] == [Job] * len(values)
    (job,) = evaluated(lambda job: np.arange(job["x"]), method, [3])
    assert np.array_equal(job.output, np.arange(3))


def test_the_table_of_a_search_has_the_columns_of_there(tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    values = ["F_first", (1.0, 2.0), (3.0, 4.0)]
    evaluator = Evaluator.create(lambda job: values[job["x"]], "thread", {"callbacks": [CSVLoggerCallback(str(path))]})
    evaluator._job_class = HPOJob
    for x in range(3):
        evaluator.submit([{"x": x}])
        evaluator.gather("ALL")
    evaluator.close()
    header, *rows = path.read_text().splitlines()
    assert header == "p:x,objective_0,objective_1,job_id,job_status,m:timestamp_submit,m:timestamp_gather"
    assert [row.split(",")[:5] for row in rows] == [
        ["0", "F_first", "F_first", "0", "DONE"], ["1", "1.0", "2.0", "1", "DONE"], ["2", "3.0", "4.0", "2", "DONE"]
    ]  # fmt: skip
    with pytest.raises(BadArgument, match=r"is missing\. Make it first|make it first"):
        CSVLoggerCallback(str(tmp_path / "no" / "results.csv"))


@pytest.mark.parametrize("method", LOCAL)
def test_the_table_of_tasks_has_output_columns(method: str, tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    evaluated(lambda job: {"y": job["x"]}, method, callbacks=[CSVLoggerCallback(str(path))])
    with path.open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["job_id", "job_status", "p:x", "o:y", "m:timestamp_submit", "m:timestamp_gather"]
    assert sorted(row["o:y"] for row in rows) == ["1", "2", "3"]
    assert sorted(row["p:x"] for row in rows) == ["1", "2", "3"]


@pytest.mark.parametrize("method", LOCAL)
def test_of_jobs_of_a_search_the_output_holds_an_objective(method: str) -> None:
    values = [1, (1, 2), "F_mine", {"objective": 3, "more": 4, "metadata": {"m": 5}}, float("nan")]
    evaluator = Evaluator.create(lambda job: values[job["x"]], method=method)
    evaluator._job_class = HPOJob
    evaluator.submit([{"x": x} for x in range(len(values))])
    jobs = sorted(evaluator.gather("ALL"), key=lambda job: job.id)
    evaluator.close()
    assert [job.objective for job in jobs] == [1.0, (1, 2), "F_mine", 3, "F"]
    assert type(jobs[0].objective) is float
    assert jobs[3].output == {"objective": 3, "more": 4}
    assert jobs[3].metadata["m"] == 5
    config, objective = jobs[0]
    assert (config, objective) == ({"x": 0}, 1.0)
    assert all(type(job) is HPOJob and job.status is JobStatus.DONE for job in jobs)


def test_a_function_that_raises_is_a_failed_job_and_the_others_go_on() -> None:
    jobs = evaluated(lambda job: 1 / job["x"], "thread", [0, 1])
    assert [job.output for job in jobs] == ["F_ZeroDivisionError", 1.0]
    assert [job.status for job in jobs] == [JobStatus.DONE] * 2
    assert "division" in jobs[0].error


@pytest.mark.slow
@pytest.mark.parametrize("method", LOCAL)
def test_metadata_of_a_run_function_may_have_names_that_evalpool_uses(method: str) -> None:
    own = {"num": 1, "pid": "mine", "host": 3, "timestamp_start": 4.0}
    storage = SharedMemoryStorage()
    evaluator = Evaluator.create(lambda job: {"objective": 2, "metadata": own}, method, {"storage": storage})
    evaluator._job_class = HPOJob
    evaluator.submit([{}])
    (job,) = evaluator.gather("ALL")
    assert list(job.metadata) == ["timestamp_submit", *own, "timestamp_gather"]
    assert own.items() <= job.metadata.items()
    record = storage.load_job(job.id)
    assert (record["out"], own.items() <= record["metadata"].items()) == (2, True)
    evaluator.close()
    storage.close()


def test_metadata_have_the_keys_of_there() -> None:
    (job,) = evaluated(lambda job: {"output": 1, "metadata": {"mine": 2}}, "thread", [0])
    assert set(job.metadata) == {"timestamp_submit", "timestamp_gather", "mine"}
    (job,) = evaluated(profile(x_of), "thread", [0])
    assert set(job.metadata) == {"timestamp_submit", "timestamp_start", "timestamp_end", "timestamp_gather"}


@pytest.mark.parametrize("method", LOCAL)
def test_close_ends_what_runs_and_a_later_submit_works_again(method: str) -> None:
    evaluator = Evaluator.create(until_told, method=method)
    assert evaluator.submit([{"x": 1}]) == evaluator.jobs
    closed = evaluator.close()
    assert [(job.id, job.status) for job in closed] == [("0.0", JobStatus.CANCELLED)]
    evaluator.run_function = x_of
    evaluator.submit([{"x": 5}])
    (job,) = evaluator.gather("ALL")
    assert (job.id, job.output) == ("0.1", 5)
    assert evaluator.close() == []
    assert evaluator.gather("ALL") == []
    assert [job.id for job in evaluator.jobs] == ["0.0", "0.1"]


def test_what_had_finished_at_the_close_is_gathered_afterwards() -> None:
    evaluator = Evaluator.create(x_of, method="thread")
    (job,) = evaluator.submit([{"x": 5}])
    while job.status is not JobStatus.DONE:
        time.sleep(0.001)
    assert evaluator.close() == []
    assert [job.output for job in evaluator.gather("BATCH", 1)] == [5]
    assert evaluator.job_id_gathered == ["0.0"]


def test_gather_returns_a_list_or_a_pair_where_others_finished_something() -> None:
    storage = MemoryStorage()
    one = Evaluator.create(x_of, "serial", {"storage": storage})
    other = Evaluator.create(x_of, "serial", {"storage": storage, "search_id": one._search_id})
    heard: list[Any] = []

    class Hearing(Callback):
        def on_done_other(self, job: Any) -> None:
            heard.append(job.output)

        def on_gather(self, local: list[Any], others: list[Any]) -> None:
            heard.append((len(local), len(others)))

    other._callbacks.append(Hearing())
    one.submit([{"x": 0}])
    assert isinstance(one.gather("ALL"), list)
    one.close()
    other.submit([{"x": 7}])
    local, others = other.gather("ALL")
    assert [job.output for job in local] == [7]
    assert [(job.output, job.args, type(job)) for job in others] == [(0, {"x": 0}, Job)]
    assert heard == [0, (1, 1)]
    assert isinstance(other.gather("ALL"), list)
    other.close()
    other.submit([{"x": 8}])
    assert [job.output for job in other.gather("ALL")] == [8], "jobs of before the close are no others'"
    other.close()


def test_arguments_by_position_and_names_that_programs_set_and_read() -> None:
    heard: list[Any] = []

    class Duck:
        def on_launch(self, job: Any) -> None:
            heard.append((job.id, job.status))

    evaluator = ThreadPoolEvaluator(x_of, 2, [Duck()], {"y": 1})
    assert (evaluator.num_workers, evaluator.to_json()) == (2, {"type": "ThreadPoolEvaluator", "num_workers": 2})
    evaluator.submit(args_list=[{"x": 1}, {"x": 2}])
    assert evaluator.num_jobs_submitted == 2
    evaluator.run_function_kwargs = {"y": 10}
    with pytest.raises(BadArgument, match=r"kwargs of the evaluator changed while 2 jobs are out.*Gather them first"):
        evaluator.submit([{"x": 1}])
    assert sorted(job.output for job in evaluator.gather("ALL")) == [2, 3]
    evaluator.submit([{"x": 1}])
    evaluator.run_function_kwargs["y"] = 10
    assert [job.output for job in evaluator.gather("ALL")] == [11]
    evaluator.run_function_kwargs["y"] = 20
    evaluator.submit([{"x": 1}])
    assert [job.output for job in evaluator.gather("ALL")] == [21]
    assert (evaluator.num_jobs_submitted, evaluator.num_jobs_gathered, len(evaluator.jobs)) == (4, 4, 4)
    assert [job.context.search for job in evaluator.jobs] == [None] * 4
    evaluator.close()
    assert heard == [(f"0.{n}", JobStatus.READY) for n in range(4)]


def test_every_method_of_there_is_known_and_another_one_lists_them() -> None:
    assert list(EVALUATORS) == ["mpicomm", "process", "ray", "serial", "thread", "loky"]
    with pytest.raises(UnknownMethod, match="'threads'; give one of mpicomm, process, ray, serial, thread, loky"):
        Evaluator.create(x_of, method="threads")
    assert issubclass(UnknownMethod, ValueError)


@pytest.mark.parametrize(
    "wrong",
    [
        {"num_workers": 0}, {"run_function_kwargs": 3}, {"callbacks": [3]}, {"callbacks": LoggerCallback()},
        {"search_id": "9"}, {"storage": 3}, {"run_function": 3},
    ],
)  # fmt: skip
def test_wrong_arguments_are_refused_at_construction(wrong: Any) -> None:
    with pytest.raises((ValueError, TypeError)):
        ThreadPoolEvaluator(**{"run_function": x_of, **wrong})


def test_wrong_settings_are_refused_with_their_values() -> None:
    with Evaluator.create(x_of, "thread") as evaluator:
        for timeout in ("x", 0, -1):
            with pytest.raises(BadArgument, match=f"timeout is {timeout!r}; give the seconds"):
                evaluator.timeout = timeout
        with pytest.raises(BadArgument, match="maximum_num_jobs_submitted is 'a'; give a whole number"):
            evaluator.set_maximum_num_jobs_submitted("a")
        evaluator.run_function = 3
        with pytest.raises(BadArgument, match="run_function is 3 of type int"):
            evaluator.submit([{"x": 1}])
        assert evaluator.jobs == []


@pytest.mark.slow
def test_loky_takes_local_functions() -> None:
    factor = 3
    with LokyEvaluator(lambda job: factor * job["x"], 2) as evaluator:
        evaluator.submit([{"x": 2}])
        assert [job.output for job in evaluator.gather("ALL")] == [6]


def test_a_coroutine_function_runs_on_serial_and_thread() -> None:
    assert [job.output for job in evaluated(later, "serial", num_workers=3)] == [1, 2, 3]
    assert [job.output for job in evaluated(later, "thread")] == [1, 2, 3]


@pytest.mark.parametrize("method", LOCAL)
def test_a_queue_lends_resources(method: str) -> None:
    def lent(job: Any, dequed: list[int]) -> int:
        return dequed[0]

    async def alent(job: Any, dequed: list[int]) -> int:
        return dequed[0]

    run = alent if method == "serial" else lent
    cls = {"serial": SerialEvaluator, "thread": ThreadPoolEvaluator, "process": ProcessPoolEvaluator}[method]
    with queued(cls)(run, 1, queue=[7, 8], queue_pop_per_task=1) as evaluator:
        assert type(evaluator).__name__ == f"Queued{cls.__name__}"
        assert (evaluator.queue, evaluator.queue_pop_per_task) == (deque([7, 8]), 1)
        evaluator.submit([{"x": n} for n in range(3)])
        jobs = evaluator.gather("ALL")
        assert [job.output for job in jobs] == [7, 8, 7]
        assert [job.metadata["dequed"] for job in jobs] == ["7", "8", "7"]


@pytest.mark.parametrize("memory", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_coroutine_function_is_profiled(memory: bool) -> None:
    @profile(memory=memory)
    async def run(job: Any) -> Any:
        await asyncio.sleep(0)
        return {"y": job["x"]}

    (job,) = evaluated(run, "serial", [4])
    assert job.output == {"y": 4}
    assert {"timestamp_start", "timestamp_end"} <= set(job.metadata)
    assert ("memory" in job.metadata) is memory


def test_a_dict_with_metadata_is_taken_apart_without_a_search_too() -> None:
    (job,) = evaluated(lambda job: {"objective": 1, "metadata": {"m": 2}}, "thread", [4])
    assert (job.output, job.metadata["m"]) == (None, 2)
    (job,) = evaluated(lambda job: {"output": 1, "metadata": {"m": 2}, "z": 3}, "thread", [4])
    assert (job.output, job.metadata["m"]) == (1, 2)


@pytest.mark.parametrize("method", LOCAL)
@pytest.mark.slow
def test_several_objectives_with_a_failure_come_back_as_they_were_returned(method: str) -> None:
    returned: list[Any] = [("F_a", "F_b"), ("F_b", 1.0), {"objective": ["F_a", 2], "metadata": {"m": 1}}, (1.0, 2.0)]
    evaluator = Evaluator.create(lambda job: returned[job["x"]], method)
    evaluator._job_class = HPOJob
    evaluator.submit([{"x": x} for x in range(4)])
    jobs = sorted(evaluator.gather("ALL"), key=lambda job: job.id)
    assert [job.objective for job in jobs] == [("F_a", "F_b"), ("F_b", 1.0), ["F_a", 2], (1.0, 2.0)]
    assert [job.metadata.get("m") for job in jobs] == [None, None, 1, None]
    assert all("returned" not in key for job in jobs for key in job.metadata)
    evaluator.close()


@pytest.mark.slow
@pytest.mark.parametrize("method", LOCAL)
def test_profile_takes_register_and_measures_memory(method: str) -> None:
    @profile(memory=True, register=False)
    def run(job: Any) -> Any:
        assert isinstance(job, RunningJob)
        return {"objective": job["x"], "metadata": {"mine": job["job_id"]}}

    jobs = evaluated(run, method, [4, 5])
    assert [job.output for job in jobs] == [{"objective": x, "metadata": {"mine": n}} for n, x in enumerate((4, 5))]
    assert all(job.metadata["memory"] > 1e6 for job in jobs)


def test_a_profiled_function_may_be_called_by_hand() -> None:
    result = profile(x_of)(RunningJob(parameters={"x": 1}), y=2)
    assert result["output"] == 3
    assert set(result["metadata"]) == {"timestamp_start", "timestamp_end"}
    assert profile(lambda a, b: a + b)(1, b=2)["output"] == 3
    assert asyncio.run(profile(later)({"x": 4}))["output"] == 4


@pytest.mark.parametrize("method", ["serial", "thread", pytest.param("process", marks=pytest.mark.slow)])
def test_a_value_returned_after_seeing_cancelling_is_kept(method: str) -> None:
    evaluator = Evaluator.create(until_told, method=method)
    evaluator._job_class = HPOJob
    evaluator.submit([{"x": 0}])
    evaluator.gather("ALL")  # the worker is there
    evaluator.timeout = 0.2
    evaluator.submit([{"x": 3}])
    assert evaluator.time_left <= 0.2
    (job,) = evaluator.gather("ALL")
    assert (job.status, job.objective, job.metadata["seen"]) == (JobStatus.CANCELLED, 3, True)
    assert set(job.metadata) == {"timestamp_submit", "timestamp_gather", "seen"}
    assert evaluator.time_left <= 0
    evaluator.close()


@pytest.mark.parametrize("method", ["serial", "thread", pytest.param("process", marks=pytest.mark.slow)])
def test_a_value_returned_in_time_is_kept_though_the_function_did_not_look(method: str) -> None:
    async def on_loop(job: Any) -> Any:
        await asyncio.sleep(job["x"])
        return job["x"]

    def elsewhere(job: Any) -> Any:
        time.sleep(job["x"])
        return job["x"]

    evaluator = Evaluator.create(on_loop if method == "serial" else elsewhere, method=method)
    evaluator._job_class = HPOJob
    evaluator.submit([{"x": 0}])
    evaluator.gather("ALL")  # the worker is there
    evaluator.timeout = 0.5
    evaluator.submit([{"x": 1.0}])
    (job,) = evaluator.gather("ALL")
    assert (job.status, job.objective) == (JobStatus.CANCELLED, 1.0)
    evaluator.close()


def test_a_coroutine_sees_cancelling_too() -> None:
    async def run(job: Any) -> Any:
        while job.status is not JobStatus.CANCELLING:
            await asyncio.sleep(0.01)
        return {"y": 1}

    evaluator = Evaluator.create(run, method="serial", method_kwargs={"num_workers": 2})
    evaluator.timeout = 0.1
    evaluator.submit([{"x": 1}, {"x": 2}])
    assert [(job.status, job.output) for job in evaluator.gather("ALL")] == [(JobStatus.CANCELLED, {"y": 1})] * 2
    evaluator.close()


def test_the_maximum_counts_from_the_call_on_and_what_fits_is_taken() -> None:
    with Evaluator.create(x_of, method="serial") as evaluator:
        evaluator.submit([{"x": 0}] * 3)
        evaluator.gather("ALL")
        evaluator.set_maximum_num_jobs_submitted(4)
        assert (evaluator.num_jobs_submitted, evaluator.num_jobs_gathered) == (0, 0)
        evaluator.submit([{"x": 1}])
        with pytest.raises(MaximumJobsSpawnReached):
            evaluator.submit([{"x": x} for x in range(2, 7)])
        assert sorted(job.output for job in evaluator.gather("ALL")) == [1, 2, 3, 4]
        assert evaluator.num_jobs_submitted == 4
        with pytest.raises(RuntimeError):
            evaluator.submit([{"x": 9}])
        evaluator.set_maximum_num_jobs_submitted(1)
        evaluator.submit([{"x": 9}])
        assert [job.output for job in evaluator.gather("ALL")] == [9]


def test_jobs_of_others_count_until_they_have_ended() -> None:
    storage = MemoryStorage()
    one = Evaluator.create(x_of, "serial", {"storage": storage})
    other = Evaluator.create(x_of, "serial", {"storage": storage, "search_id": one._search_id})
    one.submit([{"x": 1}, {"x": 2}])
    other.submit([{"x": 3}])
    assert (one.num_jobs_submitted, other.num_jobs_submitted, other.num_jobs_gathered) == (3, 3, 0)
    other.gather("ALL")
    assert other.gather("ALL") == []
    one.gather("ALL")
    local, others = other.gather("ALL")
    assert (local, sorted(job.output for job in others)) == ([], [1, 2])
    assert other.num_jobs_submitted == other.num_jobs_gathered == 3
    assert other.gather("ALL") == [], "others' jobs come back once"
    one.close()
    other.close()


def test_the_maximum_is_exact_over_two_clients() -> None:
    storage = MemoryStorage()
    one = Evaluator.create(x_of, "serial", {"storage": storage})
    other = Evaluator.create(x_of, "serial", {"storage": storage, "search_id": one._search_id})
    one.set_maximum_num_jobs_submitted(3)
    other.set_maximum_num_jobs_submitted(3)
    one.submit([{"x": 1}] * 2)
    with pytest.raises(MaximumJobsSpawnReached):
        other.submit([{"x": 1}] * 2)
    assert storage.load_all_job_ids("0") == ["0.0", "0.1", "0.2"]
    one.close()
    other.close()


def test_jobs_take_attributes() -> None:
    (job,) = evaluated(x_of, "serial", [1])
    job.pareto_efficient = True
    assert job.pareto_efficient
    with evalpool.SerialEvaluator(x_of) as evaluator:
        (core,) = evaluator.submit([{"x": 1}])
        core.pareto_efficient = True
        assert evaluator.gather()[0].pareto_efficient


def test_a_job_made_by_hand_has_an_output_and_a_status() -> None:
    storage = MemoryStorage().connect()
    search = storage.create_new_search()
    job = HPOJob(storage.create_new_job(search), {"x": [1]}, None, storage)
    assert job.status is JobStatus.READY
    job.set_output({"objective": 3, "metadata": {"m": 1}})
    job.status = JobStatus.DONE
    assert (job.objective, job.metadata, job.status, storage.load_job_status(job.id)) == (
        3,
        {"m": 1},
        JobStatus.DONE,
        2,
    )
    config, objective = job
    assert (config, objective) == ({"x": [1]}, 3)
    assert "READY" in repr(HPOJob("0.0", {}, None, None)), "without a storage it waits, too"
    running = job.create_running_job(None)
    assert (running["x"], running.id, running.status) == ([1], job.id, JobStatus.DONE)
    plain = Job("0.1", {}, None, storage)
    plain.set_output({"output": 2, "metadata": {"m": 3}})
    assert (plain.output, plain.metadata) == (2, {"m": 3})
    with pytest.raises(TypeError, match="NoneType"):
        HPOJob.standardize_output(None)
    with pytest.raises(ValueError, match="without 'objective'"):
        HPOJob.standardize_output({"y": 1})


def test_a_running_job_made_by_hand_has_a_storage_of_its_own() -> None:
    job = RunningJob(id="test", parameters={"x": 1})
    assert (job.id, job["job_id"], job["x"], job.status) == ("0.0", 0, 1, JobStatus.READY)
    assert job.storage.load_all_job_ids("0") == ["0.0"]
    assert job.stopper is None
    assert not job.stopped()
    job.record(1, 0.5)
    assert job.objective == 0.5
    with pytest.raises(KeyError, match="job_id"):
        job["job_id"] = 3


def test_a_class_with_an_execute_of_its_own() -> None:
    class Mine(Evaluator):
        def __init__(self, run_function: Any, num_workers: int = 1, **kwargs: Any) -> None:
            super().__init__(run_function, num_workers, **kwargs)
            self.at_once = self.most = 0

        async def execute(self, job: Any) -> Any:
            async with self.sem:
                job.status = JobStatus.RUNNING
                self.at_once += 1
                self.most = max(self.most, self.at_once)
                await asyncio.sleep(0)
                running = job.create_running_job(self._stopper)
                output = await self.loop.run_in_executor(
                    None, lambda: job.run_function(running, **self.run_function_kwargs)
                )
                self.at_once -= 1
            job.set_output(output)
            return job

    with Mine(x_of, 2, run_function_kwargs={"y": 5}) as evaluator:
        evaluator.submit([{"x": x} for x in range(4)])
        jobs = evaluator.gather("ALL")
        assert sorted(job.output for job in jobs) == [5, 6, 7, 8]
        assert {job.status for job in jobs} == {JobStatus.DONE}
        assert evaluator.most == 2
        evaluator._job_class = HPOJob
        evaluator.submit([{"x": 1}])
        assert [job.objective for job in evaluator.gather("ALL")] == [6.0]
    with queued(Mine)(lambda job, dequed, y=0: dequed, 1, queue=[3]) as evaluator:
        evaluator.submit([{"x": 0}])
        assert [job.output for job in evaluator.gather("ALL")] == [[3]]


def test_a_class_may_do_something_before_and_after_one_of_here() -> None:
    class Doubling(ThreadPoolEvaluator):
        async def execute(self, job: Any) -> Any:
            job = await super().execute(job)
            job.output *= 2
            return job

    with Doubling(x_of, 2) as evaluator:
        evaluator.submit([{"x": 4}])
        assert [job.output for job in evaluator.gather("ALL")] == [8]


def test_an_execute_that_returns_no_job_is_told() -> None:
    class Mine(Evaluator):
        async def execute(self, job: Any) -> Any:
            return 3

    with Mine(x_of) as evaluator:
        evaluator.submit([{"x": 4}])
        (job,) = evaluator.gather("ALL")
    assert "Mine.execute returned 3 of type int; it returns the job" in job.error
    with pytest.raises(TypeError, match="abstract"):
        Evaluator(x_of)  # type: ignore[abstract]


def test_the_logger_prints_as_there(capsys: pytest.CaptureFixture[str]) -> None:
    values = [1, 3, "F_mine", 2]
    evaluator = Evaluator.create(lambda job: values[job["x"]], "serial", {"callbacks": [LoggerCallback()]})
    evaluator._job_class = HPOJob
    evaluator.submit([{"x": x} for x in range(4)])
    evaluator.gather("ALL")
    evaluator.close()
    assert capsys.readouterr().out.splitlines() == [
        "[00001] -- Maximum Objective: 1.00000 -- Last Objective: 1.00000",
        "[00002] -- Maximum Objective: 3.00000 -- Last Objective: 3.00000",
        "[00003] -- Last Failure: F_mine",
        "[00004] -- Maximum Objective: 3.00000 -- Last Objective: 2.00000",
    ]


def test_early_stopping_takes_a_function_and_a_threshold(capsys: pytest.CaptureFixture[str]) -> None:
    stopping = SearchEarlyStopping(patience=2, objective_func=lambda job: -job.args["x"], threshold=-3)
    other = SearchEarlyStopping(patience=2, threshold=50.0, verbose=0)
    evaluator = Evaluator.create(x_of, "serial", {"callbacks": [stopping, other, TqdmCallback("bar")]})
    evaluator._job_class = HPOJob
    stopped = []
    for x in (9, 2, 3, 4, 5):
        evaluator.submit([{"x": x}])
        evaluator.gather("ALL")
        stopped.append((stopping.search_stopped, other.search_stopped))
    evaluator.close()
    assert stopped == [(False, False)] * 3 + [(True, False)] * 2
    out, err = capsys.readouterr()
    assert out.splitlines()[0] == "Objective has improved from -9.00000 -> -2.00000"
    assert "did not improve for the last 2 evaluations!" in out
    assert "bar" in err


def test_a_callback_that_raises_is_logged_by_its_name(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Callback):
        def on_done(self, job: Any) -> None:
            raise ValueError

        on_close = on_done  # type: ignore[assignment]

    (job,) = evaluated(x_of, "serial", [1], callbacks=[Broken()])
    assert job.output == 1
    assert "Broken.on_done raised; the search goes on." in caplog.text
    assert "Broken.on_close raised; the search goes on." in caplog.text


def test_callbacks_of_evalpools_own_hear_evalpools_jobs() -> None:
    heard: list[Any] = []

    class Core(evalpool.callbacks.Callback):
        def on_done(self, job: Any) -> None:
            heard.append(type(job))

        def on_close(self) -> None:
            heard.append("closed")

    evaluated(x_of, "serial", [1], callbacks=[Core()])
    assert evalpool.Job in heard


@pytest.mark.slow
def test_processes_work_with_the_storages_of_here() -> None:
    def run(job: Any) -> Any:
        job.storage.store_job_metadata(job.id, "here", job["x"])
        return job.storage.load_job(job.id)["in"]["args"]

    storage = SharedMemoryStorage()
    (job,) = evaluated(run, "process", [4], storage=storage)
    assert job.output == ({"x": 4},)
    assert storage.load_job(job.id)["metadata"]["here"] == 4
    storage.close()
    (job,) = evaluated(lambda job: type(job["x"]).__name__, "process", [object()], storage=NullStorage())
    assert job.output == "object"


def test_a_storage_of_evalpools_own_is_taken() -> None:
    storage = evalpool.storage.MemoryStorage()
    evaluated(x_of, "serial", [4], storage=storage)
    assert [record.output for record in storage.results()] == [4]


def test_ray_takes_the_arguments_of_there() -> None:
    names = list(inspect.signature(RayEvaluator).parameters)
    assert names[:2] == ["run_function", "callbacks"]
    assert {"password", "include_dashboard", "ray_kwargs", "num_cpus_per_task"} <= set(names)
