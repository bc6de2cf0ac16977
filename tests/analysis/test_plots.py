"""What the plots show; how they look was looked at."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")

from matplotlib import pyplot  # noqa: E402

from evalpool.analysis import (  # noqa: E402
    performance_of_searches,
    plot_hypervolume_over_time,
    plot_objective_over_evaluations,
    plot_objective_over_time,
    plot_parallel_coordinates,
    plot_pareto_front,
    plot_performance_over_time,
    plot_worker_utilization,
)
from evalpool.backends import SerialEvaluator  # noqa: E402
from evalpool.errors import BadArgument  # noqa: E402
from evalpool.evaluator import RandomSearch  # noqa: E402
from evalpool.models import FailureKind, JobRecord, JobStatus  # noqa: E402
from evalpool.simulation import simulate, simulated  # noqa: E402
from evalpool.storage import Event, MemoryStorage, NullStorage, SQLiteStorage  # noqa: E402
from evalpool.tables._tables import write_table  # noqa: E402

pytestmark = pytest.mark.slow  # a figure takes longer than a quarter of a second


def job(number: int, objective: Any, start: float, end: float, worker: str = "w-0", **facts: Any) -> JobRecord:
    known: dict[str, Any] = {"status": JobStatus.DONE, **facts}
    return JobRecord(
        job_id=f"0.{number}",
        search_id="0",
        number=number,
        objective=objective,
        timestamp_start=start,
        timestamp_end=end,
        worker=worker,
        **known,
    )


# w-0: |0 ok--4|4 F-5|5 ok----8|
# w-1: |0 ok-2|       |5 ok-7|
JOBS = [
    job(1, 0.5, 0, 2, "w-1"),
    job(0, 0.3, 0, 4),
    job(2, "F_ValueError", 4, 5, status=JobStatus.FAILED, kind=FailureKind.RAISED),
    job(3, 0.9, 5, 7, "w-1"),
    job(4, 0.7, 5, 8),
]
CANCELLED = JobRecord(
    job_id="0.5",
    search_id="0",
    number=5,
    objective="F_CANCELLED",
    status=JobStatus.CANCELLED,
    kind=FailureKind.CANCELLED,
)


TWO = [job(0, (1.0, 5.0), 0, 1), job(1, (3.0, 2.0), 1, 2), job(2, (2.0, 1.0), 1, 3)]
CONFIGURED = [
    job(0, 0.3, 0, 1, configuration={"kind": "a", "lr": 1e-4, "n": 2, "same": 1, "off": 0.5}),
    job(1, 0.5, 0, 2, configuration={"kind": "b", "lr": 1e-1, "n": 3, "same": 1, "off": 0.1}),
    job(2, 0.9, 0, 3, configuration={"kind": "a", "lr": 1e-3, "n": 4, "same": 1}),
    job(3, 0.1, 0, 4, configuration={"kind": "b", "lr": 1e-3, "n": 3, "same": 1, "off": 0.3}),
    job(4, "F_oom", 0, 5, status=JobStatus.FAILED, configuration={"kind": "b", "lr": 1e-5, "n": 1, "same": 1}),
]


@pytest.fixture(params=["records", "csv"])
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    jobs = [*JOBS, CANCELLED]
    return jobs if request.param == "records" else write_table(tmp_path / "t.csv", jobs)


def labels(ax: Any) -> list[str]:
    return [text.get_text() for text in ax.get_legend().get_texts()]


def test_the_best_so_far_rises_when_results_arrive(source: Any) -> None:
    ax = plot_objective_over_time(source)
    best = next(line for line in ax.lines if "best" in str(line.get_label()))
    assert best.get_xdata().tolist() == [2, 4, 7, 8, 8]
    assert best.get_ydata().tolist() == [0.5, 0.5, 0.9, 0.9, 0.9]
    assert labels(ax) == ["evaluation", "best so far: 0.9", "failure (1)"]


def test_failures_are_marked_where_they_happened(source: Any) -> None:
    ax = plot_objective_over_time(source)
    failures = next(line for line in ax.lines if "failure" in str(line.get_label()))
    assert list(failures.get_xdata()) == [5]


def test_several_objectives_have_a_panel_each() -> None:
    ax = plot_objective_over_time([*TWO, job(9, "F_oom", 5, 6, status=JobStatus.FAILED, kind=FailureKind.RAISED)])
    assert [panel.get_ylabel() for panel in ax.child_axes] == ["objective_0", "objective_1"]
    assert [labels(panel)[1:] for panel in ax.child_axes] == [
        ["best so far: 3", "failure (1)"],
        ["best so far: 5", "failure (1)"],
    ]
    assert len({tuple(map(float, panel.collections[0].get_facecolor()[0])) for panel in ax.child_axes}) == 2


def test_over_evaluations_failures_count_and_the_order_is_that_of_their_ends(source: Any) -> None:
    ax = plot_objective_over_evaluations(source)
    best = next(line for line in ax.lines if "best" in str(line.get_label()))
    assert best.get_xdata().tolist() == [1, 2, 4, 5, 5]
    assert best.get_ydata().tolist() == [0.5, 0.5, 0.9, 0.9, 0.9]
    failures = next(line for line in ax.lines if "failure" in str(line.get_label()))
    assert list(failures.get_xdata()) == [3]


def test_the_front_is_what_no_other_evaluation_dominates() -> None:
    failed = job(9, "F_oom", 5, 6, status=JobStatus.FAILED, kind=FailureKind.RAISED)
    ax = plot_pareto_front([*TWO, failed])
    assert labels(ax) == ["dominated (1)", "not dominated (2)", "failure (1, not shown)"]
    front = ax.collections[1].get_offsets().tolist()
    assert front == [[1.0, 5.0], [3.0, 2.0]]
    assert ax.get_xlabel().startswith("objective_0")


def test_the_hypervolume_grows_when_results_arrive() -> None:
    ax = plot_hypervolume_over_time(TWO, reference=(0, 0))
    (line,) = ax.lines
    assert list(line.get_xdata()) == [0, 1, 2, 3, 3]
    assert list(line.get_ydata()) == [0, 5, 9, 9, 9]
    worst = plot_hypervolume_over_time(TWO)
    assert worst.get_ylabel() == "hypervolume above (1, 1)"


@pytest.mark.parametrize("plot", [plot_pareto_front, plot_hypervolume_over_time])
def test_a_search_with_one_objective_has_no_front(plot: Any) -> None:
    with pytest.raises(BadArgument, match="has 1 objectives"):
        plot(JOBS)


@pytest.mark.parametrize("plot", [plot_pareto_front, plot_hypervolume_over_time])
def test_a_front_of_nothing_is_drawn(plot: Any, tmp_path: Path) -> None:
    for jobs in ([], [CANCELLED], [JOBS[2]]):
        plot(jobs).figure.savefig(tmp_path / "plot.png")


def test_arguments_that_do_not_fit_the_search_are_refused() -> None:
    with pytest.raises(BadArgument, match="give 2 numbers"):
        plot_hypervolume_over_time(TWO, reference=(0, 0, 0))
    with pytest.raises(BadArgument, match="parameters has 'z'; the search has kind, lr, n, off"):
        plot_parallel_coordinates(CONFIGURED, parameters=["z"])
    with pytest.raises(BadArgument, match="objective is 1; the search has objective"):
        plot_parallel_coordinates(CONFIGURED, objective=1)
    with pytest.raises(BadArgument, match="objective is 3; run 0 has objective"):
        performance_of_searches([JOBS], objective=3)


def test_parallel_coordinates_have_an_axis_per_hyperparameter_that_varies() -> None:
    ax = plot_parallel_coordinates(CONFIGURED)
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["kind", "lr (log)", "n", "off", "objective"]
    done, failed = ax.collections[:2]
    assert len(done.get_paths()) == 4
    # kind b, the smallest lr, n = 1; off is not set; no objective
    ((kind, lr, n, off, objective),) = [path.vertices[:, 1].tolist() for path in failed.get_paths()]
    assert (kind, lr, n) == (0.75, 0, 0)
    assert off == objective < 0
    texts = [text.get_text() for text in ax.texts]
    assert {"a", "b", "failure (1)", "not set"} <= set(texts)


def axes_of(values: list[Any]) -> tuple[str, list[str]]:
    """The title of the axis of a hyperparameter with these values, and the texts beside it."""
    ax = plot_parallel_coordinates(
        [job(i, 1.0, 0, i + 1, configuration={"x": value}) for i, value in enumerate(values)]
    )
    return ax.get_xticklabels()[0].get_text(), [text.get_text() for text in ax.texts if text.xy[0] == 0]


def test_numbers_that_are_spread_evenly_have_a_linear_axis_however_small_the_smallest() -> None:
    assert axes_of([0.0001, *(i / 20 for i in range(1, 20))]) == ("x", ["0.0001", "0.95", "0.2", "0.4", "0.6", "0.8"])


def test_numbers_that_span_orders_of_magnitude_have_a_logarithmic_axis_with_its_decades() -> None:
    assert axes_of([10.0**-i for i in range(5)]) == ("x (log)", ["0.0001", "1", "0.001", "0.01", "0.1"])


def test_of_many_texts_only_some_are_written_and_long_ones_are_cut() -> None:
    title, texts = axes_of([f"a-very-long-name-{i}" for i in range(30)])
    assert title == "x"
    assert len(texts) == 8
    assert texts[0] == "a-very-long-n…"


def test_lists_and_mixed_values_are_choices() -> None:
    assert axes_of([[1, 2], [1], None, "a", 3]) == ("x", ["3", "[1, 2]", "[1]", "a", "not set"])


def test_parallel_coordinates_show_what_is_asked_for() -> None:
    ax = plot_parallel_coordinates(CONFIGURED, parameters=["n", "same"])
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["n", "same", "objective"]


def test_runs_that_were_kept_are_put_on_a_common_grid() -> None:
    later = [job(0, 0.2, 0, 2), job(1, "F_x", 2, 4, status=JobStatus.FAILED), job(2, 0.8, 4, 8)]
    curves = performance_of_searches([JOBS, later], n_points=4)
    assert curves.time.tolist() == [2, 4, 6, 8]
    assert curves.best.tolist() == [[0.5, 0.5, 0.5, 0.9], [0.2, 0.2, 0.2, 0.8]]
    assert performance_of_searches(JOBS, n_points=4).best.shape == (1, 4)
    ax = plot_performance_over_time({"random": [JOBS, later], "one": JOBS})
    assert labels(ax) == ["random", "one"]
    assert ax.get_ylabel() == "best so far, mean and standard error"


class TestSources:
    """The same plot from everything that holds a search."""

    @staticmethod
    def best(source: Any) -> list[float]:
        ax = plot_objective_over_evaluations(source)
        return [float(y) for y in next(line for line in ax.lines if "best" in str(line.get_label())).get_ydata()]

    def test_a_storage_an_evaluator_jobs_records_and_a_file(self, tmp_path: Path) -> None:
        storage = MemoryStorage()
        with SerialEvaluator(lambda job: job["x"], storage=storage) as evaluator:
            evaluator.submit([{"x": 1}, {"x": 3}, {"x": 2}])
            jobs = evaluator.gather()
            sources = [evaluator, storage, jobs, iter(jobs), storage.results("0"), evaluator.to_csv(tmp_path / "t.csv")]
        assert [self.best(source) for source in sources] == [[1, 3, 3, 3]] * 6

    def test_an_evaluator_without_a_storage_and_one_that_keeps_nothing(self) -> None:
        with SerialEvaluator(lambda job: job["x"]) as evaluator:
            evaluator.submit([{"x": 1}, {"x": 3}])
            evaluator.gather()
            assert self.best(evaluator) == [1, 3, 3]
        with pytest.raises(BadArgument, match="NullStorage keeps no results"):
            plot_objective_over_time(NullStorage())

    def test_a_simulated_search(self) -> None:
        def run(job: Any) -> Any:
            return "F_four" if job["x"] == 4 else {"objective": job["x"], "runtime": 60.0 * job["x"]}

        result = simulate(RandomSearch({"x": [1, 2, 3, 4]}, seed=0), run, num_workers=3, max_evals=12)
        assert self.best(result)[-1] == 3
        ax = plot_worker_utilization(result)
        assert [tick.get_text() for tick in ax.get_yticklabels()] == ["virtual-0", "virtual-1", "virtual-2"]
        assert ax.get_xlabel().endswith("[minutes]")

    def test_a_database_is_not_read_as_a_table(self, tmp_path: Path) -> None:
        path = tmp_path / "runs.db"
        with SQLiteStorage(path) as storage:
            storage.create_new_search()
        with pytest.raises(BadArgument, match="open a storage first"):
            plot_objective_over_time(path)


def test_virtual_workers_have_a_line_each() -> None:
    with simulated(SerialEvaluator)(lambda job: {"objective": 1, "runtime": 2.0}, num_workers=3) as evaluator:
        evaluator.submit([{}] * 6)
        evaluator.gather()
        ax = plot_worker_utilization(evaluator)
    assert len(ax.get_yticklabels()) == 3
    assert ax.child_axes[0].get_title(loc="left") == "workers busy: 100 % on average"


def test_long_searches_are_shown_in_hours() -> None:
    ax = plot_objective_over_time([job(0, 1.0, 0, 7200), job(1, 2.0, 7200, 36000)])
    assert ax.get_xlabel().endswith("[hours]")
    assert max(ax.lines[0].get_xdata()) == 10


def test_each_worker_has_a_line_of_bars_and_the_share_stands_above(source: Any) -> None:
    ax = plot_worker_utilization(source)
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["w-0", "w-1"]
    assert sum(len(bars.get_paths()) for bars in ax.collections) == 5
    (strip,) = ax.child_axes
    assert strip.get_title(loc="left") == "workers busy: 75 % on average"  # 12 of 16 seconds
    assert labels(ax) == ["done (4)", "failed (1)"]


def test_workers_stand_in_natural_order() -> None:
    ax = plot_worker_utilization([job(i, 1.0, 0, 1, f"w-{i}") for i in (10, 9, 1)])
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["w-1", "w-9", "w-10"]


def test_many_workers_are_counted_instead_of_named() -> None:
    ax = plot_worker_utilization([job(i, 1.0, 0, 1, f"w-{i}") for i in range(50)])
    assert ax.get_ylabel() == "50 workers"


@pytest.mark.parametrize(
    "plot",
    [plot_objective_over_time, plot_objective_over_evaluations, plot_worker_utilization, plot_parallel_coordinates],
)
class TestAll:
    def test_it_draws_into_the_axes_that_it_is_given(self, plot: Any) -> None:
        _, ax = pyplot.subplots()
        assert plot(JOBS, ax=ax) is ax

    def test_it_takes_the_jobs_of_an_evaluator(self, plot: Any, tmp_path: Path) -> None:
        with SerialEvaluator(lambda job: job["x"]) as evaluator:
            evaluator.submit([{"x": 1}, {"x": 2}])
            jobs = evaluator.gather()
        plot(jobs).figure.savefig(tmp_path / "plot.png")
        assert (tmp_path / "plot.png").stat().st_size > 5000

    def test_without_jobs_it_is_empty(self, plot: Any, tmp_path: Path) -> None:
        plot([]).figure.savefig(tmp_path / "plot.png")
        plot([CANCELLED]).figure.savefig(tmp_path / "plot.png")

    def test_a_search_of_nothing_but_failures_is_drawn(self, plot: Any, tmp_path: Path) -> None:
        plot([JOBS[2]]).figure.savefig(tmp_path / "plot.png")

    def test_a_long_search_with_many_workers_is_drawn(self, plot: Any) -> None:
        plot([job(i, float(i % 7), i, i + 1, f"w-{i % 40}", configuration={"x": i}) for i in range(1200)])

    def test_what_is_no_source_is_refused(self, plot: Any, tmp_path: Path) -> None:
        with pytest.raises(BadArgument, match="source is of type int"):
            plot(3)
        with pytest.raises(BadArgument, match="source is of type list"):
            plot([3])
        with pytest.raises(BadArgument, match="no file"):
            plot(tmp_path / "no.csv")


def test_importing_the_plots_imports_no_matplotlib() -> None:
    code = "import sys; from evalpool.analysis import *; print('matplotlib' in sys.modules, 'pandas' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "False False\n"


def test_a_search_that_is_minimised_is_drawn_so() -> None:
    storage = MemoryStorage()
    search = storage.create_new_search()
    storage.store_search_value(search, "minimize", True)
    for number, value in enumerate((3.0, 1.0, 2.0)):
        storage.append([Event("created", search, number, {"args": {"x": number}})])
        result = {"status": "DONE", "objective": value, "timestamp_start": float(number), "timestamp_end": number + 1.0}
        storage.append([Event("finished", search, number, result)])
    assert "best so far: 1" in plot_objective_over_time(storage).get_legend_handles_labels()[1]
    assert "best so far: 3" in plot_objective_over_time(storage, minimize=False).get_legend_handles_labels()[1]
    assert performance_of_searches(storage, n_points=3).best[0].tolist() == [3.0, 1.0, 1.0]


class TestStoppedEarlyAndMinimised:
    """Jobs that a stopper ended, and searches whose objectives are to be small, in the plots of their kinds."""

    PAIRS = (*TWO, job(3, (9.0, 9.0), 1, 2, stopped_early=True), job(4, (0.5, 0.5), 1, 2, stopped_early=True))

    def test_partial_objectives_are_on_no_front(self) -> None:
        ax = plot_pareto_front(self.PAIRS)
        assert labels(ax) == ["dominated (1)", "not dominated (2)", "stopped early (2, not shown)"]
        assert ax.collections[1].get_offsets().tolist() == [[1.0, 5.0], [3.0, 2.0]]

    def test_the_front_of_what_is_minimised_holds_the_small_ones(self) -> None:
        ax = plot_pareto_front(self.PAIRS, minimize=True)
        assert ax.collections[1].get_offsets().tolist() == [[1.0, 5.0], [2.0, 1.0]]

    def test_partial_objectives_add_no_hypervolume(self) -> None:
        ax = plot_hypervolume_over_time(self.PAIRS, reference=(0, 0))
        assert list(ax.lines[0].get_ydata()) == [0, 5, 9, 9, 9]

    def test_the_hypervolume_of_what_is_minimised_lies_below_the_reference(self) -> None:
        ax = plot_hypervolume_over_time(self.PAIRS, reference=(4, 6), minimize=True)
        # (1, 5): 3 x 1; with (3, 2), one wide and three more high: 6; with (2, 1), two wide and four more high: 11.
        assert list(ax.lines[0].get_ydata()) == [0, 3, 6, 11, 11]
        assert ax.get_ylabel() == "hypervolume below (4, 6)"

    def test_parallel_coordinates_draw_partial_ones_apart_and_the_best_in_front(self) -> None:
        partial = job(5, 0.99, 0, 5, stopped_early=True, configuration={"kind": "a", "lr": 1e-2, "n": 2, "same": 1})
        drawn = {}
        for minimize in (False, True):
            ax = plot_parallel_coordinates([*CONFIGURED, partial], minimize=minimize)
            lines = {each.get_label(): each for each in ax.collections if hasattr(each, "get_segments")}
            assert len(lines["stopped early"].get_segments()) == 1
            (done,) = [each for each in lines.values() if len(each.get_segments()) == 4]
            drawn[minimize] = [float(segment[-1][1]) for segment in done.get_segments()]
        assert drawn[False] == sorted(drawn[False])
        assert drawn[True] == sorted(drawn[True], reverse=True)
