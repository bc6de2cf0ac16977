"""What the plots show; how they look was looked at."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")

from matplotlib import pyplot  # noqa: E402

from evalpool._tables import write_table  # noqa: E402
from evalpool.analysis import plot_objective_over_time, plot_worker_utilization  # noqa: E402
from evalpool.backends import SerialEvaluator  # noqa: E402
from evalpool.errors import BadArgument  # noqa: E402
from evalpool.models import FailureKind, JobRecord, JobStatus  # noqa: E402

pytestmark = pytest.mark.slow  # a figure takes longer than a quarter of a second


@pytest.fixture(autouse=True)
def close_figures() -> Iterator[None]:
    yield
    pyplot.close("all")


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


def test_several_objectives_have_a_colour_each() -> None:
    ax = plot_objective_over_time([job(0, (1.0, 5.0), 0, 1), job(1, (2.0, 4.0), 1, 2)])
    assert labels(ax) == ["objective_0", "objective_1"]
    assert len({tuple(map(float, points.get_facecolor()[0])) for points in ax.collections}) == 2


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
    assert sorted(labels(ax)) == ["done", "failed"]


def test_workers_stand_in_natural_order() -> None:
    ax = plot_worker_utilization([job(i, 1.0, 0, 1, f"w-{i}") for i in (10, 9, 1)])
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["w-1", "w-9", "w-10"]


def test_many_workers_are_counted_instead_of_named() -> None:
    ax = plot_worker_utilization([job(i, 1.0, 0, 1, f"w-{i}") for i in range(50)])
    assert ax.get_ylabel() == "50 workers"


@pytest.mark.parametrize("plot", [plot_objective_over_time, plot_worker_utilization])
class TestBoth:
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

    def test_what_is_no_source_is_refused(self, plot: Any, tmp_path: Path) -> None:
        with pytest.raises(BadArgument, match="source is of type int"):
            plot(3)
        with pytest.raises(BadArgument, match="source is of type list"):
            plot([3])
        with pytest.raises(BadArgument, match="No file"):
            plot(tmp_path / "no.csv")


def test_importing_the_plots_imports_no_matplotlib() -> None:
    code = "import sys, evalpool.analysis._plots; print('matplotlib' in sys.modules, 'pandas' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "False False\n"
