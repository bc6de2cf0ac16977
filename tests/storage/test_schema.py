"""Stores of schema 1, as the evalpool before schema 2 wrote them (`schema1/`), and what schema 2 has beyond."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from evalpool import Evaluator, JobOptions, JobStatus, Submission
from evalpool.storage import JournalStorage, MemoryStorage, SQLiteStorage, Storage
from evalpool.storage._events import SCHEMA_VERSION, Event

FIXTURES = Path(__file__).parent / "schema1"
KINDS = {"sqlite": ("store.db", SQLiteStorage), "journal": ("journal", JournalStorage)}
OPTIONS = JobOptions(priority=2, job_timeout=60.0, tags=("warm", "b"))


def run(job: Any) -> float:
    return float(job["x"])


@pytest.fixture(params=KINDS)
def old(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """Opens a copy of a store of schema 1: five jobs that ended, and two that wait and whose owner is gone."""
    name, kind = KINDS[request.param]
    if request.param == "sqlite":
        shutil.copy(FIXTURES / name, tmp_path / name)
    else:
        shutil.copytree(FIXTURES / name, tmp_path / name, symlinks=True)
    return lambda: kind(tmp_path / name)


@pytest.fixture(params=["memory", "sqlite", "journal"])
def new(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """Opens a store of today; one in memory is the same each time."""
    memory = MemoryStorage()
    name, kind = KINDS.get(request.param, ("", None))
    return lambda: memory if kind is None else kind(tmp_path / name)


def _schemas(storage: Storage, search_id: str = "0") -> list[int]:
    return [
        event.data["schema"]
        for event in storage.read(None)[0]
        if event.kind == "search"
        if event.search_id == search_id
    ]


def test_a_store_of_schema_1_is_read(old: Any) -> None:
    with old() as storage:
        records = storage.results()
    assert [record.objective for record in records] == [0.0, 1.5, 3.0, "F_ValueError", 6.0, None, None]
    assert [record.configuration for record in records[:2]] == [{"x": 0, "name": "aé"}, {"x": 1, "name": "aé"}]
    assert [record.status.name for record in records] == ["DONE"] * 3 + ["FAILED", "DONE", "READY", "READY"]
    assert records[4].metadata == {"note": "n4"}
    assert records[4].recorded == [(1, 2.0)]
    assert all(record.options == JobOptions() for record in records)


def test_a_store_of_schema_1_is_exported_as_it_was(old: Any, tmp_path: Path) -> None:
    with old() as storage:
        storage.to_csv(tmp_path / "out.csv")
    header, *rows = (tmp_path / "out.csv").read_text().splitlines()
    assert header == (
        "p:x,p:name,objective,job_id,job_status,m:timestamp_submit,m:timestamp_start,m:timestamp_end,"
        "m:timestamp_gather,m:worker,m:note,m:host,m:pid,m:error"
    )
    assert len(rows) == 7
    assert rows[1].startswith("1,aé,1.5,1,DONE,")


def test_a_store_of_schema_1_is_continued_and_stays_readable(old: Any, tmp_path: Path) -> None:
    for turn in range(2):
        with (
            old() as storage,
            Evaluator.create(run, "thread", {"storage": storage, "search_id": "latest"}) as evaluator,
        ):
            assert evaluator.resume() == (2 if turn == 0 else 0)
            evaluator.submit([Submission({"x": 20 + turn}, priority=2, job_timeout=60, tags=["warm", "b"])])
            evaluator.gather("ALL")
    with old() as storage:
        records = storage.results()
        # Who knows only schema 1 would leave the new jobs out, so it must be told, once.
        assert _schemas(storage) == [1, SCHEMA_VERSION]
    assert [record.objective for record in records[4:]] == [6.0, 10.0, 11.0, 20.0, 21.0]
    assert [record.options for record in records[4:]] == [JobOptions()] * 3 + [OPTIONS] * 2


def test_a_new_search_in_a_store_of_schema_1_is_of_schema_2(old: Any) -> None:
    with old() as storage, Evaluator.create(run, "serial", {"storage": storage}) as evaluator:
        evaluator.submit([{"x": 1}])
        evaluator.gather()
        assert evaluator.search_id == "1"
        assert (_schemas(storage), _schemas(storage, "1")) == ([1], [SCHEMA_VERSION])


def test_options_are_kept_and_those_of_a_plain_dict_cost_nothing(new: Any) -> None:
    with new() as storage:
        with Evaluator.create(run, "thread", {"storage": storage}) as evaluator:
            evaluator.submit(
                [{"x": 0}, Submission({"x": 1}, 2, 60, ["warm", "b"]), Submission({"x": 2}, job_timeout=0)]
            )
            evaluator.gather("ALL")
        created = [event.data for event in storage.read(None)[0] if event.kind == "created"]
    assert [data.get("options") for data in created] == [
        None, {"priority": 2, "job_timeout": 60.0, "tags": ["warm", "b"]}, {"job_timeout": 0.0}
    ]  # fmt: skip
    with new() as storage:
        options = [record.options for record in storage.results()]
    assert options == [JobOptions(), OPTIONS, JobOptions(job_timeout=0.0)]


def test_fields_and_options_of_a_later_version_are_kept_and_the_rest_counts(new: Any) -> None:
    with new() as storage:
        search = storage.create_new_search()
        given = {"priority": 1, "ranks": 4, "tags": ["a"]}
        storage.append(
            [
                Event(
                    "created", search, storage.reserve(search, 1), {"args": {"x": 1}, "options": given, "colour": "red"}
                ),
                Event("finished", search, 0, {"status": "DONE", "objective": 3.0, "energy": 12}),
            ]
        )
    with new() as storage:
        (record,) = storage.results()
        created, finished = storage.read(None)[0][1:]
    assert (record.status, record.objective) == (JobStatus.DONE, 3.0)
    assert record.options == JobOptions(priority=1, tags=("a",))
    assert (created.data["options"], created.data["colour"], finished.data["energy"]) == (given, "red", 12)


@pytest.mark.parametrize(
    "options", [5, [], {"priority": "high"}, {"priority": 2**60}, {"job_timeout": -1.0}, {"tags": "a"}]
)
def test_options_of_another_form_are_no_record(options: Any, tmp_path: Path) -> None:
    with SQLiteStorage(tmp_path / "store.db") as storage:
        search = storage.create_new_search()
        storage.append([Event("created", search, number, {"args": {"x": number}}) for number in range(2)])
    import json
    import sqlite3

    db = sqlite3.connect(tmp_path / "store.db")
    text = json.dumps({"args": {"x": 1}, "options": options})
    db.execute("UPDATE events SET data = ? WHERE kind = 'created' AND number = 1", (text,))
    db.commit()
    db.close()
    with SQLiteStorage(tmp_path / "store.db") as storage:
        assert [record.number for record in storage.results()] == [0]


def test_other_clients_and_resumed_runs_see_the_options(new: Any) -> None:
    with new() as storage:
        with Evaluator.create(run, "thread", {"storage": storage}) as one:
            with Evaluator.create(run, "thread", {"storage": storage, "search_id": one.search_id}) as other:
                one.submit([Submission({"x": 1}, 2, 60, ["warm", "b"])])
                one.gather("ALL")
                (job,) = other.gather_other_jobs_done()
            assert job.options == OPTIONS
            assert one.best()[0].options == OPTIONS
        with Evaluator.create(run, "thread", {"storage": storage, "search_id": "latest"}) as again:
            again.resume()
            (restored,) = again.gather("ALL")
            assert restored.options == OPTIONS


@pytest.mark.parametrize("kind", KINDS)
def test_a_job_that_is_taken_up_again_keeps_its_options(kind: str, tmp_path: Path) -> None:
    name, opened = KINDS[kind]
    with opened(tmp_path / name) as storage:
        evaluator = Evaluator.create(run, "serial", {"storage": storage})
        evaluator.submit([Submission({"x": 1}, 2, 60, ["warm", "b"]), {"x": 2}])
        evaluator.suspend()
        with Evaluator.create(run, "thread", {"storage": storage, "search_id": "latest"}) as again:
            assert again.resume() == 2
            jobs = sorted(again.gather("ALL"), key=lambda job: job.number)
        assert [job.options for job in jobs] == [OPTIONS, JobOptions()]
        assert [record.options for record in storage.results()] == [OPTIONS, JobOptions()]
