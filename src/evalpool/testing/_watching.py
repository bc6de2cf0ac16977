"""Tests of what is beside jobs: callbacks, storages, lent resources, evaluators within evaluators."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from typing import Any

import pytest

from evalpool.callbacks import Callback
from evalpool.errors import BadArgument
from evalpool.evaluator import queued
from evalpool.outcomes import JobStatus
from evalpool.testing._bench import Bench
from evalpool.worker import RunningJob

__all__ = ["Watching"]

Make = Callable[..., Any]


def double(job: RunningJob) -> Any:
    return 2 * job["x"]


class Listener(Callback):
    """Records each call of a hook, its job, and its thread."""

    def __init__(self) -> None:
        self.heard: list[tuple[Any, ...]] = []
        self.threads: set[threading.Thread] = set()

    def note(self, *what: Any) -> None:
        self.heard.append(what)
        self.threads.add(threading.current_thread())

    def on_launch(self, job: Any) -> None:
        self.note("launch", job.number)

    def on_start(self, job: Any) -> None:
        self.note("start", job.number)

    def on_record(self, job: Any, budget: float, objective: Any) -> None:
        self.note("record", job.number, budget, objective)

    def on_done(self, job: Any) -> None:
        self.note("done", job.number, job.objective)

    def on_gather(self, local_jobs: Any, other_jobs: Any) -> None:
        self.note("gather", [job.number for job in local_jobs], len(other_jobs))

    def on_close(self) -> None:
        self.note("close")


class Raising(Callback):
    def on_launch(self, job: Any) -> None:
        raise RuntimeError("a callback's own fault")

    on_done = on_launch

    def on_gather(self, local_jobs: Any, other_jobs: Any) -> None:
        raise RuntimeError("a callback's own fault")


class Watching(Bench):
    def test_hooks_come_in_order_in_the_callers_thread(self, make: Make) -> None:
        listener = Listener()
        evaluator = make(double, num_workers=1, callbacks=[listener])
        evaluator.submit([{"x": 1}, {"x": 2}])
        gathered = evaluator.gather("ALL")
        numbers = [job.number for job in gathered]
        evaluator.close()
        without_starts = [heard for heard in listener.heard if heard[0] != "start"]
        assert without_starts == [
            ("launch", 0),
            ("launch", 1),
            *[("done", number, 2 * (number + 1)) for number in numbers],
            ("gather", numbers, 0),
            ("close",),
        ]
        assert listener.threads == {threading.current_thread()}

    def test_starts_and_records_are_heard_at_the_next_call(self, make: Make) -> None:
        def run(job: RunningJob) -> float:
            job.record(1, 0.25)
            job.record(2, 0.5)
            return 1.0

        listener = Listener()
        evaluator = make(run, callbacks=[listener])
        evaluator.submit([{}])
        evaluator.gather()
        evaluator.gather()
        assert ("start", 0) in listener.heard
        assert [heard for heard in listener.heard if heard[0] == "record"] == [
            ("record", 0, 1, 0.25),
            ("record", 0, 2, 0.5),
        ]
        assert listener.threads == {threading.current_thread()}

    def test_recorded_values_are_in_the_storage_of_an_evaluator_that_was_given_none(self, make: Make) -> None:
        def run(job: RunningJob) -> float:
            for budget in range(3):
                job.record(budget, job["x"] + 0.25 * budget)
            return 1.0

        evaluator = make(run)
        evaluator.submit([{"x": x} for x in range(2)])
        evaluator.gather()
        assert [record.recorded for record in evaluator.results()] == [
            [(budget, x + 0.25 * budget) for budget in range(3)] for x in range(2)
        ]

    def test_a_callback_that_raises_is_logged_with_its_name_and_stops_nobody(
        self, make: Make, caplog: pytest.LogCaptureFixture
    ) -> None:
        listener = Listener()
        evaluator = make(double, callbacks=[Raising(), listener])
        evaluator.submit([{"x": 1}])
        assert [job.objective for job in evaluator.gather()] == [2]
        assert ("done", 0, 2) in listener.heard
        assert "Raising.on_done raised" in caplog.text

    def test_a_callback_may_submit_and_gather(self, make: Make) -> None:
        class Chain(Callback):
            def on_done(self, job: Any) -> None:
                if job.args["x"] < 3:
                    evaluator.submit([{"x": job.args["x"] + 1}])

        evaluator = make(double, callbacks=[Chain()])
        evaluator.submit([{"x": 0}])
        found = []
        while jobs := evaluator.gather("ALL"):
            found += [job.objective for job in jobs]
        assert found == [0, 2, 4, 6]

    def test_cancelled_jobs_are_heard_at_close(self, make: Make) -> None:
        listener = Listener()
        evaluator = make(double, num_workers=1, callbacks=[listener])
        jobs = evaluator.submit([{"x": n} for n in range(5)])
        evaluator.cancel(jobs)
        evaluator.close()
        assert {heard[1] for heard in listener.heard if heard[0] == "done"} == {0, 1, 2, 3, 4}
        assert listener.heard[-1] == ("close",)
        assert listener.heard[-2][0] == "gather"

    def test_every_job_has_its_record_in_the_storage(self, make: Make) -> None:
        evaluator = make(double)
        evaluator.submit([{"x": 1}, {"x": 2}])
        evaluator.gather()
        storage, search = evaluator.storage, evaluator.search_id
        assert storage.load_all_job_ids(search) == [f"{search}.0", f"{search}.1"]
        record = storage.load_job(f"{search}.1")
        assert record["status"] is JobStatus.DONE
        assert record["in"]["args"] == {"x": 2}
        assert record["out"] == {"objective": 4}
        full = storage.load_record(f"{search}.1")
        assert full.timestamp_gather >= full.timestamp_end >= full.timestamp_start >= full.timestamp_submit
        assert full.worker

    @pytest.mark.parametrize(
        ("argument", "value", "said"),
        [
            ("num_workers", 0, "0"),
            ("num_workers", -2, "-2"),
            ("num_workers", "4", "'4'"),
            ("num_workers", 1.5, "1.5"),
            ("num_workers", True, "True"),
            ("callbacks", [3], "3"),
            ("callbacks", [Listener], "Listener()"),
            ("storage", "memory", "'memory'"),
            ("search_id", "77", "77"),
            ("run_function_kwargs", [1], r"\[1\]"),
            ("job_timeout", -1, "-1"),
            ("retries", -1, "-1"),
            ("retries", {"rased": 1}, "rased"),
            ("on_error", "explode", "explode"),
            ("seed", -1, "-1"),
            ("job_type", "chore", "chore"),
            ("stopper", 3, "observe"),
        ],
    )
    def test_wrong_arguments_are_refused_at_construction(
        self, make: Make, argument: str, value: Any, said: str
    ) -> None:
        with pytest.raises(ValueError, match=said):
            make(double, **{argument: value})
        with pytest.raises(TypeError):
            make(double, no_such_argument=1)
        with pytest.raises(BadArgument, match="cannot be called"):
            make(3)

    # Lent resources.

    def make_queued(self, run_function: Any, **kwargs: Any) -> Any:
        return queued(self.evaluator_class)(run_function, **{**self.evaluator_kwargs(), **kwargs})

    def test_a_resource_is_lent_to_one_job_at_a_time_and_comes_back(self) -> None:
        def run(job: RunningJob, dequed: list[Any]) -> Any:
            if job["x"] % 5 == 3:
                raise ValueError
            return {"objective": 1.0, "metadata": {"lent": list(dequed)}}

        with self.make_queued(run, num_workers=4, queue=["a", "b", "c"], queue_pop_per_task=1) as evaluator:
            assert type(evaluator).__name__ == f"Queued{self.evaluator_class.__name__}"
            jobs = evaluator.submit([{"x": n} for n in range(20)])
            assert len(evaluator.gather()) == 20
        spans = []
        for job in jobs:
            assert job.metadata["dequed"] in {"a", "b", "c"}
            if job.args["x"] % 5 != 3:
                assert job.metadata["lent"] == [job.metadata["dequed"]]
            spans.append((job.metadata["dequed"], job.metadata["timestamp_start"], job.metadata["timestamp_end"]))
        spans.sort()
        for (one, _, end), (other, start, _) in itertools.pairwise(spans):
            assert one != other or start >= end

    def test_with_one_worker_resources_rotate(self) -> None:
        def run(job: RunningJob, dequed: list[Any]) -> Any:
            return dequed[0]

        with self.make_queued(run, num_workers=1, queue=[0, 1]) as evaluator:
            jobs = evaluator.submit([{"x": n} for n in range(6)])
            evaluator.gather()
            assert [job.objective for job in jobs] == [0, 1, 0, 1, 0, 1]

    def test_resources_come_back_from_cancelled_jobs(self) -> None:
        def run(job: RunningJob, dequed: list[Any]) -> Any:
            return float(len(dequed))

        with self.make_queued(run, num_workers=2, queue=[0, 1, 2, 3], queue_pop_per_task=2) as evaluator:
            evaluator.cancel(evaluator.submit([{"x": n} for n in range(100)]))
            evaluator.gather()
            evaluator.submit([{"x": n} for n in range(10)])
            assert [job.objective for job in evaluator.gather()] == [2.0] * 10

    def test_a_queue_too_short_for_any_job_is_refused(self) -> None:
        with pytest.raises(BadArgument, match="no job could ever start"):
            self.make_queued(double, queue=[1], queue_pop_per_task=2)
        with pytest.raises(BadArgument, match="list of resources"):
            self.make_queued(double, queue="ab")

    # Evaluators within evaluators.

    @pytest.mark.slow
    def test_a_run_function_may_use_an_evaluator_itself(self, make: Make) -> None:
        def run(job: RunningJob) -> Any:
            from evalpool.evaluator import Evaluator

            with Evaluator.create(lambda inner: inner["y"] + 1, "thread") as evaluator:
                evaluator.submit([{"y": job["x"]}])
                return evaluator.gather()[0].objective

        evaluator = make(run, num_workers=2)
        evaluator.submit([{"x": n} for n in range(4)])
        assert sorted(job.objective for job in evaluator.gather()) == [1, 2, 3, 4]
