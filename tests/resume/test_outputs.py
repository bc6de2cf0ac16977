"""Results for other tools, from an evaluator and from a storage: frames, CSV and Parquet files."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from evalpool import Evaluator, RunningJob
from evalpool.errors import BadArgument, UnknownSearch
from evalpool.models import JobRecord
from evalpool.outcomes import FailureKind, JobStatus
from evalpool.storage import MemoryStorage, NullStorage, Storage
from evalpool.tables._tables import read_table
from services import package


def late_and_failing(job: RunningJob) -> Any:
    """Two objectives, a column that comes late, failures of three kinds."""
    if job["x"] == 0:
        raise ValueError("zero")
    if job["x"] == 1:
        return "F_diverged"
    if job["x"] == 2:
        return None
    if job["x"] == 5:
        job.metadata["late"] = {"epochs": 7}
    return {"objective": (job["x"], -0.5 * job["x"]), "curve": [1, 2]}


@pytest.fixture
def filled(durable: Storage) -> Storage:
    """Two searches: one of objectives, and then one of general tasks."""
    with Evaluator.create(late_and_failing, "thread", {"storage": durable}) as evaluator:
        evaluator.submit([{"x": x} if x < 4 else {"x": x, "y": "=1+1"} for x in range(6)])
        evaluator.gather()
    settings = {"storage": durable, "job_type": "task"}
    with Evaluator.create(lambda job: {"mean": job["x"] / 2, "n": 3}, "thread", settings) as evaluator:
        evaluator.submit([{"x": x} for x in range(3)])
        evaluator.gather()
    return durable


@pytest.mark.slow
def test_results_are_records_of_the_latest_search_or_of_the_one_that_is_named(filled: Storage) -> None:
    latest = filled.results()
    assert [record.output for record in latest] == [{"mean": x / 2, "n": 3} for x in range(3)]
    records = filled.results("0")
    assert all(isinstance(record, JobRecord) for record in records)
    assert [record.kind for record in records] == [
        FailureKind.RAISED,
        FailureKind.RETURNED,
        FailureKind.INVALID_OUTPUT,
        None,
        None,
        None,
    ]
    assert "ValueError: zero" in (records[0].error or "")
    assert records[5].objective == (5, -2.5)
    assert records[5].output == {"objective": (5, -2.5), "curve": [1, 2]}
    assert records[5].metadata["late"] == {"epochs": 7}
    with pytest.raises(UnknownSearch, match="'7'"):
        filled.results("7")


@pytest.mark.slow
def test_a_frame_has_a_row_per_job_late_columns_and_failures_in_every_objective(filled: Storage) -> None:
    frame = filled.to_dataframe("0")
    assert list(frame.columns[:6]) == ["p:x", "p:y", "objective_0", "objective_1", "job_id", "job_status"]
    assert list(frame["job_id"]) == list(range(6))
    assert list(frame["job_status"]) == ["FAILED", "DONE", "FAILED", "DONE", "DONE", "DONE"]
    failures = ["F_ValueError", "F_diverged", "F_invalid_output"]
    assert list(frame["objective_0"]) == [*failures, 3, 4, 5]
    assert list(frame["objective_1"]) == [*failures, -1.5, -2.0, -2.5]
    assert frame["p:y"][5] == "=1+1"  # escaped in files only
    assert frame["m:late"][5] == {"epochs": 7}
    assert frame["m:late"].isna().sum() == 5
    for name in ("submit", "start", "end", "gather"):
        assert frame[f"m:timestamp_{name}"].notna().all()
    assert (frame["m:timestamp_start"] <= frame["m:timestamp_end"]).all()


@pytest.mark.slow
def test_a_frame_of_general_tasks_has_a_column_for_each_key(filled: Storage) -> None:
    frame = filled.to_dataframe()
    assert list(frame.columns[:4]) == ["p:x", "o:mean", "o:n", "job_id"]
    assert list(frame["o:mean"]) == [0.0, 0.5, 1.0]
    assert list(filled.to_dataframe("1", job_type="hpo").columns[:2]) == ["p:x", "objective"]
    assert list(filled.to_dataframe("0", job_type="task").columns[:4]) == ["p:x", "p:y", "o:objective", "o:curve"]


@pytest.mark.slow
def test_a_csv_file_from_a_storage_reads_back(filled: Storage, tmp_path: Path) -> None:
    path = filled.to_csv(tmp_path / "results.csv", "0")
    assert path == tmp_path / "results.csv"
    rows = read_table(path)
    assert [row["objective_1"] for row in rows] == ["F_ValueError", "F_diverged", "F_invalid_output", -1.5, -2.0, -2.5]
    assert [row.get("p:y") for row in rows] == [None] * 4 + ["=1+1"] * 2
    assert json.loads(rows[5]["m:late"]) == {"epochs": 7}
    assert "'=1+1" in path.read_text()
    filled.to_csv(path)  # the latest, in its place
    assert [row["o:n"] for row in read_table(path)] == [3, 3, 3]
    assert sorted(entry.name for entry in tmp_path.iterdir() if entry.is_file() and ".csv" in entry.name) == [
        "results.csv"
    ]


@pytest.fixture
def parquet() -> Any:
    """pyarrow's reader of Parquet files; not in every installation."""
    return package("pyarrow.parquet")


@pytest.mark.slow
def test_a_parquet_file_has_the_same_columns_and_text_where_failures_and_numbers_meet(
    parquet: Any, filled: Storage, tmp_path: Path
) -> None:
    path = filled.to_parquet(tmp_path / "results.parquet", "0")
    table = parquet.read_table(path)
    frame = filled.to_dataframe("0")
    assert table.column_names == list(frame.columns)
    assert table["objective_0"].to_pylist() == ["F_ValueError", "F_diverged", "F_invalid_output", "3", "4", "5"]
    assert table["p:x"].to_pylist() == list(range(6))
    assert table["m:timestamp_end"].to_pylist() == list(frame["m:timestamp_end"])
    assert json.loads(table["m:late"].to_pylist()[5]) == {"epochs": 7}
    filled.to_parquet(path)
    assert parquet.read_table(path)["o:mean"].to_pylist() == [0.0, 0.5, 1.0]
    assert not [entry for entry in tmp_path.iterdir() if entry.name.startswith(".results")]


def test_a_parquet_file_without_pyarrow_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    from evalpool.errors import MissingExtra

    for name in ("pyarrow", "pyarrow.parquet", "fastparquet"):
        monkeypatch.setitem(sys.modules, name, None)
    with Evaluator.create(lambda job: 1.0) as evaluator:
        evaluator.submit([{"x": 1}])
        evaluator.gather()
        with pytest.raises(MissingExtra, match=r"evalpool\[pandas\]"):
            evaluator.to_parquet(tmp_path / "results.parquet")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_an_evaluator_gives_what_its_storage_gives(shared: Storage, tmp_path: Path) -> None:
    with Evaluator.create(late_and_failing, "thread", {"storage": shared}) as evaluator:
        evaluator.submit([{"x": x} for x in range(3, 6)])
        evaluator.gather()
        shared.flush()
        assert evaluator.results() == shared.results()
        assert evaluator.to_dataframe().equals(shared.to_dataframe())
        own, theirs = evaluator.to_csv(tmp_path / "own.csv"), shared.to_csv(tmp_path / "theirs.csv")
        assert own.read_text() == theirs.read_text()


def test_jobs_that_have_not_ended_have_rows_with_empty_cells() -> None:
    storage = MemoryStorage()
    with Evaluator.create(lambda job: 1.0, "serial", {"storage": storage}) as evaluator:
        evaluator.submit([{"x": 1}])
        frame = storage.to_dataframe()
        assert list(frame["job_status"]) == [JobStatus.READY.name]
        assert frame["objective"].isna().all()


def test_a_storage_without_results_says_so(tmp_path: Path) -> None:
    with pytest.raises(BadArgument, match="NullStorage keeps no results"):
        NullStorage().results()
    with pytest.raises(BadArgument, match="NullStorage keeps no results"):
        NullStorage().to_csv(tmp_path / "results.csv")
    storage = MemoryStorage()
    with pytest.raises(UnknownSearch, match="holds no search yet"):
        storage.to_dataframe()
    storage.create_new_search()
    assert storage.results() == []
    assert len(storage.to_dataframe()) == 0
    assert storage.to_csv(tmp_path / "empty.csv").exists()
    with pytest.raises(BadArgument, match="job_type is 'tasks'"):
        storage.to_dataframe(job_type="tasks")
    with pytest.raises(BadArgument, match="No directory"):
        storage.to_csv(tmp_path / "missing" / "results.csv")


def test_jobs_kept_by_hand_are_results_as_well() -> None:
    storage = MemoryStorage()
    search_id = storage.create_new_search()
    job_id = storage.create_new_job(search_id)
    storage.store_job_in(job_id, args={"x": 1})
    storage.store_job_out(job_id, {"objective": 0.25})
    storage.store_job_metadata(job_id, "host", "there")
    storage.store_job_status(job_id, "DONE")
    frame = storage.to_dataframe()
    assert list(frame["p:x"]) == [1]
    assert list(frame["objective"]) == [0.25]
    assert list(frame["m:host"]) == ["there"]


def test_values_of_every_kind_go_into_a_parquet_file(parquet: Any, tmp_path: Path) -> None:
    values: list[Any] = [1, 2.5, "text", None, True, [1, "a"], {}, {"a": {}}, {"b": [1]}, [], math.nan, 10**30]
    storage = MemoryStorage()
    with Evaluator.create(lambda job: job["v"], "serial", {"storage": storage, "job_type": "task"}) as evaluator:
        evaluator.submit([{"v": value} for value in values])
        evaluator.gather()
        path = evaluator.to_parquet(tmp_path / "values.parquet")
    assert len(parquet.read_table(path)) == len(values)
