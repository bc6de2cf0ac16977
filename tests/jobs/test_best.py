"""The best of some jobs, what a job says of itself, and attributes of the caller's own."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalpool import Evaluator, JobRecord, best
from evalpool.analysis._rows import read_rows
from evalpool.errors import BadArgument, StorageUnavailable
from evalpool.storage import NullStorage, SQLiteStorage


def invert(job: Any) -> float:
    return float(1 / job["x"])


def evaluated(function: Any, xs: Any, **settings: Any) -> Any:
    with Evaluator.create(function, "serial", settings) as evaluator:
        evaluator.submit([{"x": x} for x in xs])
        return evaluator, evaluator.gather()


def test_a_failure_among_the_jobs_does_not_hide_the_best() -> None:
    evaluator, jobs = evaluated(invert, range(5))
    assert [job.args["x"] for job in evaluator.best(3)] == [1, 2, 3]
    assert evaluator.best()[0] is jobs[1]
    assert best(jobs, 99) == [jobs[1], jobs[2], jobs[3], jobs[4]]
    assert best(jobs, minimize=True) == [jobs[4]]


def test_where_all_failed_there_is_no_best() -> None:
    evaluator, jobs = evaluated(invert, [0, 0])
    assert evaluator.best() == best(jobs) == best([]) == []


def test_of_several_objectives_the_whole_front_is_best() -> None:
    points = [(1, 5), (3, 3), (2, 2), (5, 1), (3, 3), (0, 5)]
    _, jobs = evaluated(lambda job: points[job["x"]], range(len(points)))
    assert [job.number for job in best(jobs)] == [3, 1, 4, 0]
    assert [job.number for job in best(jobs, minimize=True)] == [5, 2, 3]


@given(st.lists(st.one_of(st.integers(), st.floats(allow_nan=False), st.just(10**400)), max_size=8), st.integers(1, 9))
def test_records_are_sorted_as_python_sorts_their_objectives(objectives: list[Any], n: int) -> None:
    records = [
        JobRecord(job_id=f"0.{number}", search_id="0", number=number, objective=objective)
        for number, objective in enumerate(objectives)
    ]
    found = [record.objective for record in best(records, n)]
    assert found == sorted(objectives, reverse=True)[:n]


def test_the_best_of_a_search_that_is_kept_has_what_earlier_runs_found(tmp_path: Path) -> None:
    with SQLiteStorage(tmp_path / "runs.db") as storage:
        evaluated(invert, [1, 4], storage=storage)
        evaluator, _ = evaluated(invert, [2], storage=storage, search_id="latest")
        assert [(job.id, job.objective) for job in evaluator.best(2)] == [("0.0", 1.0), ("0.2", 0.5)]


def test_a_storage_may_be_given_by_its_url(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/runs.db"
    evaluator, _ = evaluated(invert, [1, 4], storage=url)
    assert len(evaluator.results()) == 2
    evaluator, _ = evaluated(invert, [2], storage=url, search_id="latest")
    assert [job.id for job in evaluator.best(2)] == ["0.0", "0.2"]
    assert [row["objective"] for row in read_rows(url)] == [1.0, 0.25, 0.5]
    with pytest.raises(BadArgument, match="sqlite:///"):
        evaluated(invert, [1], storage="runs.db")


@pytest.mark.parametrize("kind", ["sqlite", "journal", "memory"])
def test_a_storage_that_was_given_by_its_url_is_closed_with_the_evaluator_and_read_after_it(
    kind: str, tmp_path: Path
) -> None:
    url = "memory://" if kind == "memory" else f"{kind}:///{tmp_path}/runs"
    with Evaluator.create(invert, "thread", {"storage": url}) as evaluator:
        client = evaluator.storage
        evaluator.submit([{"x": 1}, {"x": 2}])
    if kind != "memory":
        with pytest.raises(StorageUnavailable):
            client.create_new_search()
    evaluator.gather()
    assert len(evaluator.results()) == 2
    assert evaluator.to_csv(tmp_path / "table.csv").read_text().count("\n") == 3
    assert evaluator.storage is evaluator.storage


@pytest.mark.parametrize("n", [0, -1, True, 1.5, "2", None])
def test_a_wrong_number_is_refused(n: Any) -> None:
    with pytest.raises(BadArgument, match="n is"):
        best([], n)


def test_what_is_no_job_is_refused() -> None:
    with pytest.raises(BadArgument, match="not a job"):
        best([{"objective": 1}])
    with pytest.raises(BadArgument, match="gather"):
        best(3)  # type: ignore[arg-type]
    evaluator, _ = evaluated(invert, [1], storage=NullStorage())
    with pytest.raises(BadArgument, match="keeps no results"):
        evaluator.best()


def test_a_job_shows_its_objective_or_its_reason() -> None:
    _, jobs = evaluated(invert, [2, 0])
    assert repr(jobs[0]) == "Job(id='0.0', status=DONE, args={'x': 2}, objective=0.5)"
    assert repr(jobs[1]).endswith("objective='F_ZeroDivisionError', error='ZeroDivisionError: division by zero')")


def test_a_job_takes_attributes_of_the_callers_own() -> None:
    _, (job,) = evaluated(invert, [2])
    job.pareto_efficient = True
    assert pickle.loads(pickle.dumps(job)).pareto_efficient
    other = copy.copy(job)
    other.pareto_efficient = False
    assert job.pareto_efficient
