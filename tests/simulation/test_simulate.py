"""`simulate`: an optimiser, a run-function, virtual workers. Runtimes are dyadic fractions."""

from __future__ import annotations

import math
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import evalpool
from evalpool import (
    BadArgument,
    Evaluator,
    ExecutorEvaluator,
    Job,
    OptunaOptimizer,
    ProcessPoolEvaluator,
    RandomSearch,
    RunningJob,
    SerialEvaluator,
    SimulationError,
    ThreadPoolEvaluator,
    queued,
    simulate,
    simulated,
)
from evalpool.callbacks import Callback
from evalpool.jobs._seeds import job_seed
from evalpool.storage import MemoryStorage, SQLiteStorage, storage_from_url

from .oracle import Planned
from .searches import Listed, Table, runs


def run(job: RunningJob) -> Any:
    if job.get("raise"):
        raise ValueError("as asked")
    return {"objective": float(job["x"]), "runtime": job["r"], "metadata": {"seed": job.seed}}


class Told:
    """Proposes in line; is told in one of the forms."""

    def __init__(self, *proposals: Any) -> None:
        self.proposals = list(proposals)
        self.told: list[Any] = []

    def ask(self) -> Any:
        return self.proposals.pop(0)


class TellsJob(Told):
    def tell(self, job: Job) -> None:
        self.told.append(job)


class TellsObjective(Told):
    def tell(self, configuration: dict[str, Any], objective: Any) -> None:
        self.told.append((configuration, objective))


class TellsResults(Told):
    def tell(self, eval_config: Any, results: Any, *, fidels: Any = None, config_id: Any = None) -> None:
        self.told.append((eval_config, results, fidels, config_id))


def of(*runtimes: float) -> list[dict[str, Any]]:
    return [{"x": number, "r": runtime} for number, runtime in enumerate(runtimes)]


def ends(result: Any) -> list[tuple[int, float]]:
    return [(row["job"], row["end"]) for row in result.completions]


WAYS = [None, "serial", ThreadPoolEvaluator, simulated(SerialEvaluator)]


class TestSchedule:
    def test_results_are_told_before_the_decision_that_they_precede(self) -> None:
        # worker-0: |0 4----------|
        # worker-1: |1 1-|2 1-|3 2---|
        optimizer = TellsObjective(*of(4.0, 1.0, 1.0, 2.0, 1.0))
        result = simulate(optimizer, run, num_workers=2, max_submits=4)
        assert ends(result) == [(1, 1.0), (2, 2.0), (0, 4.0), (3, 4.0)]
        assert [row["told_before"] for row in result.trace] == [[], [], [1], [2]]
        assert result.trace[3] == {
            "job": 3, "worker": 1, "ask_start": 2.0, "start": 2.0, "end": 4.0, "status": "DONE", "charged": 2.0,
            "resumed_from": None, "told_before": [2],
        }  # fmt: skip
        assert (result.makespan, result.over, result.not_reported) == (4.0, "max_submits", [])
        assert optimizer.told[0] == ({"x": 1, "r": 1.0}, 1.0)

    @pytest.mark.parametrize("overhead", [0.5, lambda asked, told: 0.5])
    def test_with_one_search_thread_decisions_wait_for_each_other(self, overhead: Any) -> None:
        # decisions: |0|1| |2|
        # worker-0:    |0 1-|  |2 1-|
        # worker-1:      |1 4----------|
        result = simulate(TellsJob(*of(1.0, 4.0, 1.0)), run, num_workers=2, max_submits=3, overhead=overhead)
        assert [row["ask_start"] for row in result.trace] == [0.0, 0.5, 1.5]
        assert [row["start"] for row in result.trace] == [0.5, 1.0, 2.0]
        result = simulate(
            TellsJob(*of(1.0, 4.0, 1.0)), run, num_workers=2, max_submits=3, overhead=overhead, sampling="parallel"
        )
        assert [row["start"] for row in result.trace] == [0.5, 0.5, 2.0]

    def test_an_overhead_may_grow_with_what_is_known(self) -> None:
        seen = []

        def overhead(asked: int, told: int) -> float:
            seen.append((asked, told))
            return 0.25 * told

        result = simulate(TellsJob(*of(1.0, 1.0, 1.0)), run, max_evals=3, overhead=overhead)
        assert seen == [(0, 0), (1, 1), (2, 2)]
        assert [row["start"] for row in result.trace] == [0.0, 1.25, 2.75]

    @pytest.mark.parametrize(
        ("limit", "statuses", "not_reported"),
        [
            ({"max_time": 4.0}, ["DONE", "DONE", "DONE", "CENSORED"], [3]),
            ({"max_evals": 2}, ["DROPPED", "DONE", "DONE", "DROPPED"][:3], [0]),
            ({"max_submits": 3}, ["DONE", "DONE", "DONE"], []),
        ],
    )
    def test_limits_are_exact(self, limit: Any, statuses: list[str], not_reported: list[int]) -> None:
        result = simulate(TellsJob(*of(4.0, 1.0, 1.0, 3.0, 1.0)), run, num_workers=2, **limit)
        assert [row["status"] for row in result.trace] == statuses
        assert result.not_reported == not_reported
        assert result.over == next(iter(limit))

    def test_a_failure_occupies_its_worker_and_counts(self) -> None:
        def fails(job: RunningJob) -> Any:
            return {"objective": "F_oom", "metadata": {"runtime": 2.0}} if job["x"] == 0 else run(job)

        optimizer = TellsResults(*of(1.0, 1.0))
        result = simulate(optimizer, fails, max_evals=2)
        assert ends(result) == [(0, 2.0), (1, 3.0)]
        assert [row["status"] for row in result.trace] == ["FAILED", "DONE"]
        assert result.objectives == ["F_oom", 1.0]
        assert optimizer.told[0][1] == {"objective": "F_oom", "runtime": 2.0}

    @pytest.mark.parametrize("way", WAYS)
    @pytest.mark.parametrize("wrong", [None, -1.0, float("nan"), float("inf"), "3", True])
    def test_a_wrong_runtime_is_that_jobs_failure(self, wrong: Any, way: Any) -> None:
        optimizer = TellsJob({"x": 0, "r": wrong}, *of(1.0))
        result = simulate(optimizer, run, max_evals=2, evaluator=way)
        assert ends(result) == [(0, 0.0), (1, 1.0)]
        assert optimizer.told[0].objective == "F_invalid_output"
        assert repr(wrong) in optimizer.told[0].error
        assert optimizer.told[0].kind is evalpool.FailureKind.INVALID_OUTPUT

    @pytest.mark.parametrize("way", WAYS)
    @pytest.mark.parametrize("wrong", [{"objective": math.nan}, {"objective": None}, {"loss": 0.5}])
    def test_an_invalid_objective_takes_the_time_that_was_returned(self, wrong: Any, way: Any) -> None:
        def diverges(job: RunningJob) -> Any:
            return {**wrong, "runtime": 2.0} if job["x"] == 0 else run(job)

        optimizer = TellsJob(*of(1.0, 1.0))
        result = simulate(optimizer, diverges, max_evals=2, evaluator=way)
        assert ends(result) == [(0, 2.0), (1, 3.0)]
        assert optimizer.told[0].kind is evalpool.FailureKind.INVALID_OUTPUT
        assert optimizer.told[0].output["runtime"] == 2.0

    @pytest.mark.parametrize("way", WAYS)
    def test_a_run_function_that_raises_fails_its_job(self, way: Any) -> None:
        optimizer = TellsJob({"raise": True}, *of(1.0))
        result = simulate(optimizer, run, max_evals=2, evaluator=way)
        assert result.objectives == ["F_ValueError", 0.0]
        assert "as asked" in optimizer.told[0].error

    @pytest.mark.parametrize("way", WAYS)
    def test_a_run_function_may_be_async(self, way: Any) -> None:
        async def later(job: RunningJob) -> Any:
            return run(job)

        result = simulate(TellsJob(*of(4.0, 1.0, 1.0)), later, num_workers=2, max_submits=3, evaluator=way)
        assert ends(result) == [(1, 1.0), (2, 2.0), (0, 4.0)]

    def test_an_interrupt_ends_the_search(self) -> None:
        def interrupted(job: RunningJob) -> Any:
            signal.raise_signal(signal.SIGINT)

        for way in (None, "serial"):
            with pytest.raises(KeyboardInterrupt):
                simulate(TellsJob(*of(1.0)), interrupted, max_evals=1, evaluator=way)

    def test_the_runtime_may_stand_elsewhere(self) -> None:
        def other(job: RunningJob) -> Any:
            return {"objective": 1.0, "hours": job["r"]}

        assert simulate(TellsJob(*of(2.0)), other, max_evals=1, runtime="hours").makespan == 2.0
        for way in WAYS:
            optimizer = TellsJob(*of(2.0, 1.0))
            result = simulate(
                optimizer, other, max_evals=2, evaluator=way, runtime=lambda job, output: output["hours"] + job["x"]
                if isinstance(job, dict) else output["hours"] + job.args["x"] + len(job.metadata) * 0,
            )  # fmt: skip
            assert ends(result) == [(0, 2.0), (1, 4.0)]
            assert optimizer.told[1].metadata["virtual_end"] == 4.0

    def test_a_runtime_function_that_raises_fails_its_job(self) -> None:
        for way in WAYS:
            optimizer = TellsJob(*of(2.0))
            simulate(optimizer, run, max_evals=1, evaluator=way, runtime=lambda job, output: output["no such"])
            assert "KeyError: 'no such'" in optimizer.told[0].error

    def test_jobs_that_take_no_time_do_not_move_the_clock(self) -> None:
        result = simulate(TellsJob(*of(0.0, 0.0, 1.0)), run, max_evals=3)
        assert ends(result) == [(0, 0.0), (1, 0.0), (2, 1.0)]

    def test_a_search_that_can_never_end_says_so(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("evalpool.simulation._search.STANDSTILL", 50)
        endless = RandomSearch({"x": (0.0, 1.0), "r": [0.0]}, seed=0)
        with pytest.raises(SimulationError, match="max_time will never be reached"):
            simulate(endless, run, max_time=1.0)
        for told in (lambda configuration, objective: None, lambda eval_config, results, fidels, config_id: None):
            endless = SimpleNamespace(ask=lambda: {"x": 0.5, "r": 0.0}, tell=told)
            with pytest.raises(SimulationError, match=r"50 jobs in a row took no virtual time, at 0.0 s"):
                simulate(endless, run, max_time=1.0)

    def test_what_the_optimiser_raises_passes_through(self) -> None:
        with pytest.raises(IndexError):
            simulate(TellsJob(*of(1.0)), run, max_evals=2)


class TestOptimisers:
    def test_a_job_is_what_an_evaluator_gives_back(self) -> None:
        given = []
        for way in (None, "serial"):
            optimizer = TellsJob(*of(1.0, 2.0))
            simulate(optimizer, run, max_evals=2, evaluator=way, seed=3)
            job = optimizer.told[1]
            assert (job.number, job.args, job.objective, job.seed) == (1, {"x": 1, "r": 2.0}, 1.0, job_seed(3, 1))
            assert job.status is evalpool.JobStatus.DONE
            assert job.is_done
            assert job.attempts == 1
            metadata = job.metadata
            given.append({key: metadata[key] for key in metadata if key not in ("host", "pid")})
        assert given[0] == given[1]
        assert given[0]["virtual_end"] == given[0]["timestamp_gather"] == 3.0

    def test_fidelities_are_merged_for_the_run_function_and_told_apart(self) -> None:
        seen = []

        def look(job: RunningJob) -> Any:
            seen.append(dict(job))
            return {"objective": 1.0, "loss": 2.0, "runtime": 1.0}

        optimizer = TellsResults(({"x": 1}, {"epochs": 3}, 7), ({"x": 2}, None), {"x": 3})
        result = simulate(optimizer, look, max_evals=3)
        assert seen == [{"x": 1, "epochs": 3}, {"x": 2}, {"x": 3}] == result.configurations
        results = {"objective": 1.0, "loss": 2.0, "runtime": 1.0}
        assert optimizer.told == [
            ({"x": 1}, results, {"epochs": 3}, 7), ({"x": 2}, results, None, None), ({"x": 3}, results, None, None),
        ]  # fmt: skip

    def test_a_continued_job_is_charged_the_difference_and_has_the_first_ones_seed(self) -> None:
        def epochs(job: RunningJob) -> Any:
            return {"objective": 1.0, "runtime": 2.0 * job["epochs"], "metadata": {"seed": job.seed}}

        proposals = [({"x": 1}, {"epochs": 3}), ({"x": 2}, {"epochs": 3}), ({"x": 1}, {"epochs": 9})]
        for way in WAYS:
            for shape in (TellsResults, TellsJob):
                optimizer = shape(*proposals)
                result = simulate(
                    optimizer, epochs, max_evals=3, continual_max_fidel=9, fidel_key="epochs", evaluator=way
                )
                assert [row["charged"] for row in result.trace] == [6.0, 6.0, 12.0]
                assert [row["resumed_from"] for row in result.trace] == [None, None, 3]
                if shape is TellsResults:
                    assert [told[1]["runtime"] for told in optimizer.told] == [6.0, 6.0, 12.0]
                else:
                    seeds = [job.metadata["seed"] for job in optimizer.told]
                    assert seeds[0] == seeds[2] != seeds[1]
                    assert optimizer.told[2].metadata["resumed_fidelity"] == 3

    def test_an_optimiser_may_go_on_to_use_its_dict(self) -> None:
        class Reuses(TellsJob):
            def ask(self) -> Any:
                self.told_as = getattr(self, "told_as", {})
                self.told_as["n"] = len(self.told)
                return self.told_as

        result = simulate(Reuses(), Table([Planned(1.0)] * 3), max_evals=3)
        assert result.configurations == [{"n": 0}, {"n": 1}, {"n": 2}]

    @pytest.mark.slow
    @pytest.mark.parametrize("way", [None, "serial"])
    def test_optuna_learns_of_failures_too(self, way: Any) -> None:
        optuna = pytest.importorskip("optuna")

        def shaky(job: RunningJob) -> Any:
            failed = {"objective": "F_oom", "metadata": {"runtime": 2.0}}
            return failed if job["x"] > 0.9 else {"objective": -((job["x"] - 0.3) ** 2), "runtime": 1 + job["x"]}

        optimizer = OptunaOptimizer(optuna.samplers.TPESampler(seed=0), {"x": (0.0, 1.0)})
        result = simulate(optimizer, shaky, num_workers=4, max_evals=40, overhead=0.125, evaluator=way)
        states = [trial.state.name for trial in optimizer.study.trials]
        assert states.count("FAIL") == sum(isinstance(value, str) for value in result.objectives) > 0
        assert states.count("COMPLETE") == 40 - states.count("FAIL")
        assert max(value for value in result.objectives if isinstance(value, float)) > -0.01

    def test_random_search_is_the_same_for_a_seed(self) -> None:
        def digest() -> str:
            search = RandomSearch({"x": (0.0, 1.0), "r": (0.0, 9.0)}, seed=4)
            return simulate(search, run, num_workers=3, max_evals=30).trace_digest()

        assert digest() == digest()


class JobColumns(Callback):
    def __init__(self, limit: int = 1000) -> None:
        self.seen: list[tuple[Any, ...]] = []
        self.limit = limit
        self.done = 0

    search_stopped = False

    def on_launch(self, job: Any) -> None:
        self.seen.append(("launch", job.number, job.metadata["timestamp_submit"]))

    def on_start(self, job: Any) -> None:
        self.seen.append(("start", job.number))

    def on_done(self, job: Any) -> None:
        self.seen.append(("done", job.number, job.status.value, job.metadata["timestamp_end"]))
        self.done += 1
        self.search_stopped = self.done >= self.limit


class TestEvaluators:
    @pytest.mark.parametrize("way", [None, "serial", ThreadPoolEvaluator])
    def test_callbacks_see_virtual_times(self, way: Any) -> None:
        diary = JobColumns()
        simulate(
            TellsJob(*of(4.0, 1.0)), run, num_workers=2, max_evals=1, overhead=0.5, evaluator=way, callbacks=[diary]
        )
        assert [seen for seen in diary.seen if seen[0] != "start"] == [
            ("launch", 0, 0.5), ("launch", 1, 1.0), ("done", 1, "DONE", 2.0), ("done", 0, "CANCELLED", 2.0),
        ]  # fmt: skip
        assert ("start", 1) in diary.seen

    def test_a_callback_ends_the_search(self) -> None:
        result = simulate(TellsJob(*of(1.0, 1.0, 1.0, 1.0)), run, callbacks=[JobColumns(limit=2)])
        assert (ends(result), result.over) == ([(0, 1.0), (1, 2.0)], "search_stopped")

    @pytest.mark.parametrize("durable", [False, pytest.param(True, marks=pytest.mark.slow)])
    def test_a_storage_keeps_virtual_times(self, durable: bool, tmp_path: Any) -> None:
        storage: Any = SQLiteStorage(tmp_path / "runs.db") if durable else MemoryStorage()
        simulate(TellsJob(*of(8.0, 1.0, 2.0, 1.0)), run, num_workers=2, max_evals=2, overhead=0.5, storage=storage)
        (search,) = storage.load_all_search_ids()
        records = storage.results(search)
        assert [record.status.value for record in records] == ["CANCELLED", "DONE", "DONE"]
        times = [(r.timestamp_submit, r.timestamp_start, r.timestamp_end) for r in records]
        assert times[1:] == [(1.0, 1.0, 2.0), (2.5, 2.5, 4.5)]
        assert times[0] == (0.5, 0.5, 4.5)
        assert [record.metadata["virtual_worker"] for record in records] == [0, 1, 1]

    def test_an_evaluator_in_simulated_time_stays_open(self) -> None:
        diary = JobColumns()
        with simulated(ThreadPoolEvaluator)(run, num_workers=2, real_workers=2, seed=5, callbacks=[diary]) as evaluator:
            result = simulate(TellsJob(*of(4.0, 1.0)), run, max_evals=1, evaluator=evaluator)
            assert [row["status"] for row in result.trace] == ["DROPPED", "DONE"]
            with pytest.raises(BadArgument, match="has had jobs already"):
                simulate(TellsJob(), run, max_evals=1, evaluator=evaluator)
            assert evaluator.now == 1.0
            (left,) = evaluator.close()
            assert left.objective == "F_CANCELLED"
        assert diary.seen[-1] == ("done", 0, "CANCELLED", 1.0)
        assert [row["status"] for row in result.trace] == ["DROPPED", "DONE"], "the result stays as it was"

    def test_jobs_are_evaluated_at_the_same_time_where_no_decision_must_know_their_ends(self) -> None:
        together = threading.Barrier(2, timeout=30)

        def meet(job: RunningJob) -> Any:
            together.wait()
            return run(job)

        for settings in ({"tell": "warmup"}, {"tell": "fill"}, {"batch_size": 2}):
            with simulated(ThreadPoolEvaluator)(meet, num_workers=2, real_workers=2) as evaluator:
                result = simulate(TellsJob(*of(2.0, 1.0)), meet, max_submits=2, evaluator=evaluator, **settings)
            assert ends(result) == [(1, 1.0), (0, 2.0)]

    def test_runtimes_that_are_known_before_spare_what_is_never_released(self) -> None:
        evaluated = []

        def note(job: RunningJob) -> float:
            evaluated.append(job["x"])
            return 1.0

        with simulated(SerialEvaluator)(note, num_workers=2, runtime_before=lambda c: c["r"]) as evaluator:
            result = simulate(TellsJob(*of(4.0, 1.0, 1.0)), None, max_evals=2, evaluator=evaluator)
        assert ends(result) == [(1, 1.0), (2, 2.0)]
        assert evaluated == [1, 2]

    def test_retries_go_on_at_once_on_their_worker(self) -> None:
        tries: list[int] = []

        def shaky(job: RunningJob) -> Any:
            job.metadata["runtime"] = 1.0
            tries.append(job["x"])
            if job["x"] == 0 and tries.count(0) == 1:
                raise OSError("once")
            return 1.0

        with simulated(SerialEvaluator)(shaky, num_workers=2, retries=1) as evaluator:
            result = simulate(TellsJob(*of(0, 0)), shaky, max_submits=2, evaluator=evaluator)
        assert ends(result) == [(1, 1.0), (0, 2.0)]
        assert result.objectives == [1.0, 1.0]

    def test_resources_are_lent_for_the_virtual_time_of_a_job(self) -> None:
        def which(job: RunningJob, dequed: list[Any]) -> Any:
            return {"objective": float(dequed[0]), "runtime": job["r"]}

        Queued = queued(SerialEvaluator)
        with simulated(Queued)(which, num_workers=2, queue=[10, 11]) as evaluator:
            result = simulate(TellsJob(*of(4.0, 1.0, 1.0)), which, max_submits=3, evaluator=evaluator)
        assert result.objectives == [11.0, 11.0, 10.0]
        with simulated(Queued)(which, num_workers=2, queue=[10]) as evaluator:
            with pytest.raises(SimulationError, match="no resource to lend"):
                simulate(TellsJob(*of(4.0, 1.0, 1.0)), which, max_submits=3, tell="warmup", evaluator=evaluator)

    @pytest.mark.slow
    @pytest.mark.parametrize("settings", [{}, {"tell": "warmup"}, {"sampling": "parallel"}, {"batch_size": 5}])
    def test_every_backend_gives_the_same_trace(self, settings: Any) -> None:
        plans = [Planned((7 * n % 13) / 4, failed=n % 11 == 5) for n in range(60)]
        settings = {"num_workers": 6, "max_evals": 40, "overhead": 0.125, **settings}
        alone, _ = runs(plans, **settings)
        for way in ("serial", "thread", ProcessPoolEvaluator):
            other, _ = runs(plans, evaluator=way, **settings)
            assert other.trace == alone.trace
            assert other.objectives == alone.objectives
        with (
            ThreadPoolExecutor(2) as pool,
            simulated(ExecutorEvaluator)(Table(plans), executor=pool, num_workers=6, seed=1) as evaluator,
        ):
            other = simulate(Listed(plans), None, evaluator=evaluator, **{**settings, "num_workers": None})
            assert other.trace == alone.trace
        with simulated(ProcessPoolEvaluator)(Table(plans), num_workers=6, real_workers=1, seed=1) as evaluator:
            other = simulate(Listed(plans), None, evaluator=evaluator, **{**settings, "num_workers": None})
            assert other.trace_digest() == alone.trace_digest()


class TestMeasured:
    @pytest.mark.parametrize("way", [None, "serial"])
    def test_what_the_optimiser_takes_to_learn_and_to_decide_is_charged(self, way: Any) -> None:
        class Slow(TellsJob):
            def tell(self, job: Job) -> None:
                threading.Event().wait(0.02)

            def ask(self) -> Any:
                threading.Event().wait(0.01)
                return super().ask()

        result = simulate(Slow(*of(1.0, 1.0)), run, max_evals=2, overhead="measured", evaluator=way)
        first, second = result.trace
        assert first["start"] == result.measured_overhead[0] >= 0.01
        assert second["start"] - second["ask_start"] >= 0.029
        assert second["ask_start"] == first["end"]

    def test_it_is_kept_whatever_is_charged(self) -> None:
        result = simulate(TellsJob(*of(1.0, 1.0)), run, max_evals=2)
        assert len(result.measured_overhead) == 2
        assert min(result.measured_overhead) > 0

    def test_cpu_time_leaves_out_what_the_search_waits_for(self) -> None:
        class Sleeps(TellsJob):
            def ask(self) -> Any:
                threading.Event().wait(0.25)
                return super().ask()

        result = simulate(Sleeps(*of(1.0)), run, max_evals=1, overhead="cpu")
        assert 0 < result.trace[0]["start"] < 0.25 <= result.measured_overhead[0]


class TestResult:
    def test_a_data_frame_has_the_trace_the_objectives_and_the_configurations(self) -> None:
        pytest.importorskip("pandas")
        frame = simulate(TellsJob(*of(4.0, 1.0, 1.0)), run, num_workers=2, max_evals=2).to_dataframe()
        assert list(frame.columns[:3]) == ["job", "worker", "ask_start"]
        assert frame["objective"].tolist()[1:] == [1.0, 2.0]
        assert frame["objective"].isna().tolist() == [True, False, False]
        assert frame["p:r"].tolist() == [4.0, 1.0, 1.0]

    def test_several_objectives_have_a_column_each_and_a_failure_fills_them(self) -> None:
        pytest.importorskip("pandas")

        def two(job: RunningJob) -> Any:
            objective = "F_x" if job["x"] == 1 else (1.0, 2.0)
            return {"objective": objective, "metadata": {"runtime": 1.0}}

        frame = simulate(TellsJob(*of(1.0, 1.0)), two, max_evals=2).to_dataframe()
        assert frame[["objective_0", "objective_1"]].to_numpy().tolist() == [[1.0, 2.0], ["F_x", "F_x"]]

    def test_it_says_what_it_is(self) -> None:
        result = simulate(TellsJob(*of(1.0)), run, max_evals=1)
        assert repr(result) == "SimulationResult(1 of 1 jobs reported, makespan=1.0, over='max_evals')"


class TestBadInput:
    @pytest.mark.parametrize(
        ("settings", "text"),
        [
            ({}, "Nothing would end"),
            ({"max_time": float("inf")}, "Nothing would end"),
            ({"max_evals": 0}, "max_evals is 0"),
            ({"max_evals": 2.5}, "max_evals is 2.5"),
            ({"max_submits": True}, "max_submits is True"),
            ({"max_time": 0.0}, "max_time is 0.0"),
            ({"max_time": -1.0}, "max_time is -1.0"),
            ({"max_time": "3"}, "max_time is '3'"),
            ({"max_evals": 5, "max_submits": 4}, "can never be reached with max_submits=4"),
            ({"num_workers": 0}, "num_workers is 0"),
            ({"num_workers": "4"}, "num_workers is '4'"),
            ({"overhead": -0.5}, "overhead is -0.5"),
            ({"overhead": "some"}, "overhead is 'some'"),
            ({"overhead": None}, "overhead is None"),
            ({"overhead": lambda asked, told: -1.0}, "overhead of a decision is -1.0"),
            ({"overhead": lambda asked, told: float("nan")}, "overhead of a decision is nan"),
            ({"overhead": lambda asked, told: "x"}, "overhead of a decision is 'x'"),
            ({"overhead": lambda asked, told: -1.0, "batch_size": 2}, "overhead of a decision is -1.0"),
            ({"sampling": "both"}, "sampling is 'both'"),
            ({"tell": "never"}, "tell is 'never'"),
            ({"batch_size": 0}, "batch_size is 0"),
            ({"batch_size": 2, "sampling": "parallel"}, "contradicts sampling='parallel'"),
            ({"batch_size": 2, "tell": "fill"}, "contradicts"),
            ({"continual_max_fidel": 9}, "needs both"),
            ({"fidel_key": "epochs"}, "needs both"),
            ({"continual_max_fidel": 9, "fidel_key": ["epochs", "size"]}, "needs one fidelity"),
            ({"continual_max_fidel": 9.5, "fidel_key": "epochs"}, "continual_max_fidel is 9.5"),
            ({"runtime": 3}, "runtime is 3"),
            ({"seed": -1}, "seed is -1"),
            ({"seed": "x"}, "seed is 'x'"),
            ({"evaluator": "no such"}, "no such"),
            ({"evaluator": 3}, "evaluator is 3"),
            ({"evaluator": dict}, "evaluator is"),
            ({"callbacks": [3]}, "callbacks has 3"),
            ({"storage": "x"}, "storage is 'x'"),
        ],
    )
    def test_a_wrong_argument_is_named_with_its_value(self, settings: Any, text: str) -> None:
        limit = {} if settings.keys() & {"max_evals", "max_time", "max_submits"} or not settings else {"max_evals": 2}
        with pytest.raises(BadArgument) as error:
            simulate(TellsJob(*of(1.0, 1.0)), run, **limit, **settings)
        assert text in str(error.value)

    @pytest.mark.parametrize("function", [None, 3])
    def test_a_run_function_is_a_function(self, function: Any) -> None:
        with pytest.raises(BadArgument, match="run_function is"):
            simulate(TellsJob(), function, max_evals=1)

    @pytest.mark.parametrize("way", WAYS)
    @pytest.mark.parametrize(
        ("proposals", "text"),
        [
            ([3], "must return a dict"),
            ([({"x": 1}, 3)], "returned fidels 3"),
            ([{3: 1}], "3"),
        ],
    )
    def test_a_proposal_is_a_configuration(self, proposals: Any, text: str, way: Any) -> None:
        with pytest.raises(BadArgument, match=text):
            simulate(TellsJob(*proposals), run, max_evals=1, evaluator=way)

    def test_what_is_no_proposal_is_said_of_the_optimiser_also_if_its_tell_takes_anything(self) -> None:
        class Careless:
            def ask(self) -> None: ...

            def tell(self, *anything: Any) -> None: ...

        with pytest.raises(BadArgument, match=r"^Careless\.ask\(\) returned None"):
            simulate(Careless(), run, max_evals=1)

    @pytest.mark.parametrize("way", WAYS)
    @pytest.mark.parametrize(
        ("proposals", "text"),
        [
            ([({"x": 1}, {"epochs": 2.0})], "must be integer"),
            ([({"x": 1}, {"epochs": -1})], "must be non-negative"),
            ([({"x": 1}, {"epochs": True})], "must be integer"),
            ([({"x": 1}, {"epochs": 1, "size": 2})], "uses one fidelity"),
            ([({"x": 1}, {"size": 2})], "uses one fidelity"),
            ([{"x": 1}], "lacks the fidelity 'epochs'"),
            ([({"x": 1}, {"epochs": 1}, 7), ({"x": 2}, {"epochs": 2}, 7)], "config_id 7 stood for"),
        ],
    )
    def test_continuation_goes_by_one_whole_number(self, proposals: Any, text: str, way: Any) -> None:
        with pytest.raises(BadArgument, match=text):
            simulate(
                TellsJob(*proposals),
                lambda job: {"objective": 1.0, "runtime": 1.0},
                max_evals=len(proposals),
                continual_max_fidel=9,
                fidel_key="epochs",
                evaluator=way,
            )

    @pytest.mark.parametrize("way", WAYS)
    def test_a_config_id_stands_for_one_configuration(self, way: Any) -> None:
        proposals = [({"x": 1, "r": 1.0}, None, 7), ({"x": 2, "r": 1.0}, None, 7)]
        with pytest.raises(BadArgument, match=r"config_id 7 stood for.*'x': 1.*'x': 2"):
            simulate(TellsJob(*proposals), run, max_evals=2, evaluator=way)

    def test_an_evaluator_in_real_time_is_refused(self) -> None:
        with Evaluator.create(run, "thread") as evaluator, pytest.raises(BadArgument, match="in real time"):
            simulate(TellsJob(), run, max_evals=1, evaluator=evaluator)

    @pytest.mark.parametrize(
        ("settings", "text"),
        [
            ({"num_workers": 3}, "num_workers is 3 and 2"),
            ({"seed": 3}, "seed is 3 and 1"),
            ({"runtime": "hours"}, "runtime is 'hours' and 'runtime'"),
            ({"callbacks": []}, "evaluator's own"),
            ({"storage": MemoryStorage()}, "evaluator's own"),
        ],
    )
    def test_what_an_evaluator_says_is_not_said_twice(self, settings: Any, text: str) -> None:
        with simulated(SerialEvaluator)(run, num_workers=2, seed=1) as evaluator:
            with pytest.raises(BadArgument, match=text):
                simulate(TellsJob(), run, max_evals=1, evaluator=evaluator, **settings)
            with pytest.raises(BadArgument, match="run_function is"):
                simulate(TellsJob(), lambda job: 1.0, max_evals=1, evaluator=evaluator)
            evaluator.timeout = 3.0
            with pytest.raises(BadArgument, match="give simulate max_time"):
                simulate(TellsJob(), run, max_evals=1, evaluator=evaluator)

    def test_a_job_of_a_search_without_storage_is_told_to_give_one(self) -> None:
        optimizer = TellsJob(*of(1.0))
        simulate(optimizer, lambda job: job.storage, max_evals=1)
        assert "storage=MemoryStorage()" in optimizer.told[0].error


def test_a_storage_given_by_its_url_keeps_the_simulated_jobs(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/runs.db"
    simulate(TellsJob(*of(8.0, 1.0, 2.0, 1.0)), run, num_workers=2, max_evals=2, storage=url)
    with storage_from_url(url) as storage:
        assert [record.objective for record in storage.results()][1:] == [1.0, 2.0]
