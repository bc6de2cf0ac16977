"""Plans: closed forms, the schedule of `simulate`, runtimes of every kind, and searches that are measured."""

from __future__ import annotations

import dataclasses
import itertools
import math
import random
import re
from pathlib import Path
from typing import Any

import pytest

from evalpool import RandomSearch, SerialEvaluator, ThreadPoolEvaluator, simulate
from evalpool.analysis import plot_plan
from evalpool.benchmarks import (
    Benchmark,
    RuntimeModel,
    SearchTimes,
    load,
    measured_dispatch,
    plan,
    recorded_runtimes,
)
from evalpool.benchmarks._plan._planned_runs import Load, planned
from evalpool.benchmarks._plan._published import adbo
from evalpool.benchmarks._plan._runtime_draws import RuntimeDraws
from evalpool.benchmarks._plan._search_times import MeasuredCost
from evalpool.callbacks import CSVLoggerCallback
from evalpool.errors import BadArgument
from evalpool.search import SuccessiveHalving
from evalpool.simulation import Distribution
from evalpool.storage import MemoryStorage


class InLine:
    def __init__(self) -> None:
        self.numbers = itertools.count()
        self.told: list[int] = []

    def ask(self) -> dict[str, Any]:
        return {"n": next(self.numbers)}

    def tell(self, job: Any) -> None:
        self.told.append(job.args["n"])


def row_of(*args: Any, **kwargs: Any) -> Any:
    (row,) = plan(*args, **{"batch_sizes": (), **kwargs}).rows
    return row


def test_one_worker_waits_for_each_decision() -> None:
    row = row_of(0.5, 10.0, workers=[1], max_evals=40)
    assert row.makespan == 40 * 10.5
    assert row.utilisation == pytest.approx(10.0 / 10.5)
    assert row.thinking == pytest.approx(0.5 / 10.5)


def test_a_search_feeds_as_many_workers_as_decisions_fit_into_a_runtime() -> None:
    found = plan(1.0, 10.0, workers=[11, 1000], max_time=10_000.0, batch_sizes=(), repeats=1)
    assert found.rows[0].utilisation == pytest.approx(10.0 / 11.0, abs=2e-3)
    assert found.rows[1].utilisation == pytest.approx(10.0 / 1000.0, abs=1e-3)
    assert found.useful_workers == math.ceil(0.95 * 11)
    assert found.limit == "search"


def test_few_evaluations_limit_the_workers() -> None:
    found = plan(0.0, 10.0, workers=[1], max_evals=12)
    assert (found.useful_workers, found.limit) == (12, "evaluations")


def test_more_workers_always_help_a_search_that_takes_no_time() -> None:
    assert plan(0.0, 3600.0, workers=[1], max_time=36_000.0, batch_sizes=()).useful_workers is None


def test_a_time_shorter_than_all_runtimes_leaves_no_evaluation() -> None:
    found = plan(0.0, 20.0, workers=[2], max_time=10.0)
    assert (found.rows[0].evaluations, found.rows[0].utilisation) == (0, 1.0)
    assert (found.useful_workers, found.limit) == (None, "time")
    assert found.advice == "No evaluation ends within the time."


def test_one_number_of_workers_and_one_size_of_batches_need_no_list() -> None:
    assert plan(0.0, 10.0, workers=2, max_evals=8, batch_sizes=4) == plan(
        0.0, 10.0, workers=[2], max_evals=8, batch_sizes=[4]
    )


def test_failures_of_a_benchmark_take_their_runtimes() -> None:
    rows = [{"x": x, "loss": "F_oom" if x % 2 else 1.0, "minutes": 1.0} for x in range(10)]
    failing = Benchmark.from_table(rows, objectives="loss", maximize=False, runtime="minutes", runtime_unit="min")
    assert row_of(0.0, failing, workers=[1], max_evals=10).makespan == 600.0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lr,minutes\n0.1,3\n", "no column 'runtime' with seconds; it has 'lr', 'minutes'"),
        ("lr,runtime\n0.1,3\n0.2,\n", "line 3 of mine.csv: the runtime 'runtime' is empty"),
        ("lr,runtime\n0.1,-3\n", "line 2 of mine.csv: the runtime 'runtime' is -3"),
    ],
)
def test_a_table_of_anyone_is_read_or_says_what_it_lacks(tmp_path: Path, text: str, message: str) -> None:
    table = tmp_path / "mine.csv"
    table.write_text("lr,runtime\n0.1,3\n0.2,4.5\n", encoding="utf-8")
    assert recorded_runtimes(table) == [3.0, 4.5]
    table.write_text(text, encoding="utf-8")
    with pytest.raises(BadArgument) as caught:
        recorded_runtimes(str(table))
    assert message in str(caught.value)


def test_jobs_that_run_at_the_end_count_up_to_it() -> None:
    row = row_of(0.0, 10.0, workers=[2], max_time=25.0, repeats=2)
    assert (row.evaluations, row.makespan, row.utilisation) == (4, 25.0, 1.0)


@pytest.mark.parametrize("workers", [1, 3, 16])
def test_a_prediction_is_the_run_of_simulate(workers: int) -> None:
    rng = random.Random(0)
    seconds = [rng.lognormvariate(1.0, 0.8) for _ in range(200)]

    def cost(results: int) -> float:
        return 0.05 + 0.002 * results

    def draws() -> Any:
        numbers = iter(seconds)
        return lambda rng: next(numbers)

    def run(job: Any) -> dict[str, float]:
        return {"objective": 0.0, "runtime": seconds[job["n"]]}

    real = simulate(
        InLine(), run, num_workers=workers, max_submits=200, overhead=lambda asked, told: cost(told), seed=0
    )
    exact = Load(SearchTimes(cost), RuntimeDraws(draws(), 0), 200, None, 1, True, 0.0)
    found = planned(exact, workers)
    assert found.makespan == real.makespan
    assert found.utilisation == pytest.approx(real.busy_time / (workers * real.makespan))


def test_a_batch_is_decided_at_once_and_ends_with_its_longest_job() -> None:
    # Batches of 4, 4 and 2 proposals on 2 workers: 1 + 0.25 a further proposal + 0.5 for each result of the last batch.
    times = SearchTimes(ask=1.0, tell=0.5, ask_more=0.25)
    (row,) = plan(times, 10.0, workers=[2], max_evals=10, batch_sizes=[4]).rows
    assert row.batch_makespan == (1.75 + 20) + (1.75 + 2 + 20) + (1.25 + 2 + 10)
    assert row.batch_utilisation == pytest.approx(100.0 / (2 * row.batch_makespan))
    assert row.batch_evaluations == 10


def test_the_best_batch_is_the_smallest_that_is_about_as_fast() -> None:
    # Constant runtimes: a barrier costs nothing, so that each multiple of the workers is as good.
    (row,) = plan(0.0, 10.0, workers=[8], max_evals=800).rows
    assert (row.batch_size, row.batch_utilisation) == (8, 1.0)
    # A decision costs as much for one proposal as for many: larger batches pay.
    (row,) = plan(SearchTimes(ask=100.0, ask_more=0.0), 10.0, workers=[8], max_evals=1600).rows
    assert row.batch_size == 128


def test_searches_share_workers_evaluations_and_results() -> None:
    times = SearchTimes(tell=1.0)
    together = row_of(times, 10.0, workers=[2], max_evals=4, searches=2)
    apart = row_of(times, 10.0, workers=[2], max_evals=4, searches=2, shared=False)
    assert (together.makespan, apart.makespan) == (10 + 2 + 10, 10 + 1 + 10)
    assert together.evaluations == 4
    many = plan(1.0, 10.0, workers=[100], searches=10, max_time=3_000.0, batch_sizes=(), repeats=1)
    assert many.rows[0].utilisation > 0.9
    assert many.useful_workers == pytest.approx(10 * 0.95 * 11, abs=6)


def test_dispatch_is_added_to_each_proposal() -> None:
    assert row_of(0.25, 10.0, workers=[1], max_evals=4, dispatch=0.25).makespan == 42.0


def test_the_same_seed_gives_the_same_plan_and_another_gives_another() -> None:
    plans = [
        plan(0.1, RuntimeModel.lognormal(10.0, 0.5), workers=[4], max_evals=50, seed=seed, repeats=2)
        for seed in (1, 1, 2)
    ]
    assert plans[0] == plans[1] != plans[2]


def test_runtimes_are_taken_from_what_is_given(tmp_path: Path) -> None:
    def run(job: Any) -> float:
        return 0.0

    table = tmp_path / "results.csv"
    storage = MemoryStorage()
    with ThreadPoolEvaluator(run, num_workers=2, storage=storage, callbacks=[CSVLoggerCallback(table)]) as evaluator:
        evaluator.submit([{"n": n} for n in range(20)])
        jobs = evaluator.gather("ALL")
    expected = sorted(job.metadata["timestamp_end"] - job.metadata["timestamp_start"] for job in jobs)
    for source in (jobs, storage, storage.results(evaluator.search_id), table, str(table)):
        assert sorted(recorded_runtimes(source)) == pytest.approx(expected)
        assert plan(0.0, source, workers=[1], max_evals=20).rows[0].makespan == pytest.approx(sum(expected))
    digits = load("digits")
    for runtimes in (digits, [1, 2.5], lambda rng: rng.expovariate(1.0), RuntimeModel.lognormal(1.0, 0.5)):
        assert row_of(0.0, runtimes, workers=[1], max_evals=10).utilisation == 1.0
    assert row_of(0.0, [1, 3], workers=[1], max_evals=10).makespan == 20.0


@pytest.mark.parametrize("store", ["results.db", "journal"])
def test_runtimes_are_those_of_a_store_at_a_path(store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    url = f"{'sqlite' if store == 'results.db' else 'journal'}:///{store}"
    with SerialEvaluator(lambda job: 0.0, storage=url) as evaluator:
        evaluator.submit([{"n": n} for n in range(5)])
        evaluator.gather("ALL")
    expected = recorded_runtimes(url)
    assert len(expected) == 5
    assert recorded_runtimes(store) == recorded_runtimes(Path(store)) == expected
    assert row_of(0.0, store, workers=[1], max_evals=5).makespan == pytest.approx(sum(expected))


def test_runtimes_are_those_of_a_data_frame(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    assert row_of(0.0, pandas.DataFrame({"runtime": [1, 3.5]}), workers=[1], max_evals=4).makespan == 9.0
    with pytest.raises(BadArgument, match=r"the data frame is no table of jobs, .* it has 'minutes'\. Rename"):
        plan(0.0, pandas.DataFrame({"minutes": [1, 3.5]}), max_evals=4)
    with SerialEvaluator(lambda job: 0.0) as evaluator:
        evaluator.submit([{"n": n} for n in range(5)])
        jobs = evaluator.gather("ALL")
        frame = evaluator.storage.to_dataframe(evaluator.search_id)
    assert recorded_runtimes(frame) == recorded_runtimes(jobs)


def test_runtimes_are_drawn_from_a_distribution() -> None:
    assert row_of(0.0, Distribution.constant(2.0), workers=[1], max_evals=4).makespan == 8.0
    found = plan(0.0, Distribution.lognormal(60.0, 0.5, seed=1), workers=[1], max_evals=1000, batch_sizes=(), repeats=1)
    assert found.runtime == pytest.approx(60.0 * math.exp(0.125), rel=0.05)
    draws = [Distribution.lognormal(60.0, 0.5, seed=1).draw("runtime", 0, number) for number in range(1000)]
    assert found.rows[0].makespan == pytest.approx(sum(draws))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"max_evals": None}, "max_evals is None and max_time is None; give one of them"),
        ({"max_time": 5.0}, "max_evals is 10 and max_time is 5.0; give one of them"),
        ({"max_evals": None, "max_time": math.inf}, "max_time is inf; give seconds"),
        ({"workers": []}, "workers is []"),
        ({"workers": [0]}, "workers is 0"),
        ({"workers": None}, "workers is None; give whole numbers of at least 1"),
        ({"workers": [2], "searches": 3}, "workers is 2"),
        ({"times": -1.0}, "ask of a search is -1.0; give a finite number"),
        ({"times": lambda results: math.nan}, "ask of a search that knows 0 results is nan"),
        ({"times": SearchTimes(1.0, lambda results: -0.5)}, "tell of a search that knows 1 results is -0.5"),
        ({"times": lambda results: "1.0"}, "ask of a search that knows 0 results is '1.0'"),
        ({"runtimes": -1.0}, "Of job 0 of a plan, the runtime is -1.0"),
        ({"runtimes": []}, "Of 0 jobs none has a start and an end"),
        ({"runtimes": object()}, "give seconds, a RuntimeModel, a Benchmark"),
        ({"runtimes": Benchmark("bare", {"x": (0, 9)}, lambda job: 1.0)}, "has no runtimes"),
        ({"runtimes": "none.csv"}, "there is no file 'none.csv'"),
        ({"batch_sizes": 0}, "batch_sizes is 0"),
        ({"batch_sizes": [0]}, "batch_sizes is 0"),
        ({"dispatch": -0.1}, "dispatch is -0.1"),
        ({"dispatch": "carrier pigeon"}, "carrier pigeon"),
        ({"repeats": 0}, "repeats is 0"),
    ],
)
def test_wrong_arguments_are_named_with_their_values(change: dict[str, Any], message: str) -> None:
    arguments = {"times": 0.1, "runtimes": 1.0, "workers": [1], "max_evals": 10, **change}
    with pytest.raises(BadArgument) as caught:
        plan(arguments.pop("times"), arguments.pop("runtimes"), **arguments)
    assert message in str(caught.value)


@pytest.mark.slow
def test_evaluations_of_no_time_in_a_limited_time_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evalpool.benchmarks._plan._planned_runs.MOST_EVALUATIONS", 1000)
    with pytest.raises(BadArgument, match="give max_evals instead"):
        plan(0.0, 0.0, workers=[1], max_time=1.0)


def test_measured_times_are_interpolated_and_go_on_with_their_growth() -> None:
    cubic = MeasuredCost([1e-6 * n**3 for n in range(400)])
    assert cubic(0) == 0.0
    assert cubic(200) == pytest.approx(8.0, rel=0.02)
    assert cubic.power == pytest.approx(3.0, abs=0.1)
    assert cubic(4000) == pytest.approx(64_000, rel=0.2)
    assert MeasuredCost([5.0] + [0.1] * 50)(10_000) == pytest.approx(0.1)
    assert MeasuredCost([2.0])(7) == 2.0


def test_a_search_is_measured_by_asking_and_telling_it() -> None:
    search = InLine()
    times = SearchTimes.measured(search, lambda job: 1.0, 25)
    assert search.told == list(range(25))
    assert times.ask.measured == times.tell.measured == 25  # type: ignore[union-attr]
    assert plan(times, 1.0, workers=[1], max_evals=25, batch_sizes=()).extrapolated is False
    assert plan(times, 1.0, workers=[1], max_evals=26, batch_sizes=()).extrapolated is True


def test_a_search_with_the_other_forms_of_tell_is_measured_too() -> None:
    class ByValue(InLine):
        def tell(self, configuration: Any, objective: Any) -> None:  # type: ignore[override]
            self.told.append(objective)

    search = ByValue()
    SearchTimes.measured(search, lambda job: 2 * job["n"], 5)
    assert search.told == [0, 2, 4, 6, 8]
    digits = load("digits")
    assert SearchTimes.measured(RandomSearch(digits, 0), digits, 5).ask(3) > 0.0  # type: ignore[operator]


def test_a_measured_search_brings_the_runtimes_of_what_it_proposes() -> None:
    digits = load("digits")
    times = SearchTimes.measured(SuccessiveHalving(digits.space, "epochs", 1, 27, seed=0), digits, 100)
    search = SuccessiveHalving(digits.space, "epochs", 1, 27, seed=0)
    real = simulate(search, digits, num_workers=1, max_evals=100, seed=0)
    assert sum(times.runtimes) == pytest.approx(real.makespan, rel=0.2)  # repetitions are chosen by the jobs' seeds
    own = dataclasses.replace(times, ask=0.0, tell=0.0)
    assert row_of(own, workers=[1], max_evals=100).makespan == pytest.approx(sum(times.runtimes))
    assert row_of(own, digits, workers=[1], max_evals=100).makespan > 3 * sum(times.runtimes)
    with pytest.raises(BadArgument, match="runtimes is None"):
        plan(0.5, max_evals=10)


def test_dispatch_is_measured_on_real_workers() -> None:
    assert 0.0 < measured_dispatch("thread", jobs=20) < 60.0


@pytest.mark.slow
def test_dispatch_to_processes_is_measured() -> None:
    found = plan(0.0, 1.0, workers=[1], max_evals=2, dispatch="process")
    assert found.dispatch > 0.0
    assert found.rows[0].makespan == pytest.approx(2 + 2 * found.dispatch)


@pytest.mark.slow
def test_the_published_experiment_is_over_95_percent_if_each_worker_searches() -> None:
    found = {(row.searches, row.ask): row.run for row in adbo()}
    assert {run.workers for run in found.values()} == {1920}
    assert all(found[1920, ask].utilisation > 0.95 for ask in (0.0, 1.0, 3.0))
    assert found[1920, 3.0].utilisation == pytest.approx(60 / 63, abs=0.002)
    assert found[1, 0.1].utilisation == pytest.approx(60 / (0.1 * 1920), abs=0.01)


def test_a_plan_is_printed_as_a_table_with_its_advice() -> None:
    found = plan(1.0, 10.0, workers=[1, 8], max_evals=80)
    first, one, eight, advice = str(found).splitlines()
    titles = ["workers", "evaluations", "makespan", "busy", "thinking", "batch", "batch makespan", "batch busy"]
    assert re.split("  +", first) == titles
    assert one.split()[:6] == ["1", "80", "880.0", "s", "90.9", "%"]
    assert eight.split()[0] == "8"
    assert advice == f"More than {found.useful_workers} workers hardly help: the search cannot feed more."
    assert "More than 1 worker hardly help" in str(plan(1.0, 0.0, workers=[1], max_evals=80))
    alone = str(plan(1.0, 10.0, workers=[1], max_evals=80, batch_sizes=()))
    assert alone.splitlines()[0].split()[-1] == "thinking"


def test_a_plan_is_a_data_frame_and_a_picture() -> None:
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("matplotlib")
    from matplotlib.figure import Figure

    found = plan(1.0, 10.0, workers=[8, 1], max_evals=80)
    frame = found.to_dataframe()
    assert isinstance(frame, pandas.DataFrame)
    assert frame["workers"].tolist() == [8, 1]
    ax = plot_plan(found, Figure().add_subplot())
    busy, batches, thinking, useful = ax.lines
    assert list(busy.get_xdata()) == [1, 8]
    assert list(busy.get_ydata()) == [100 * row.utilisation for row in sorted(found.rows)]
    assert len(batches.get_xdata()) == len(thinking.get_xdata()) == 2
    assert useful.get_xdata()[0] == found.useful_workers
