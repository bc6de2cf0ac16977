"""A Ctrl-C before any line of what reads, records and writes leaves the storage client and the table whole."""

from __future__ import annotations

import contextlib
import csv
import pickle
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from evalpool import Evaluator, Job
from evalpool.callbacks import Callback, CSVLoggerCallback
from evalpool.evaluator._core import Core
from evalpool.evaluator._foreign_jobs import ForeignJobs
from evalpool.evaluator._hook_queue import HookQueue
from evalpool.evaluator._numbers import Numbers
from evalpool.evaluator._storage_recorder import StorageRecorder
from evalpool.evaluator._submission import Submissions
from evalpool.storage import SharedMemoryStorage, Storage, storage_from_url
from evalpool.storage._fold import JobState, SearchState, State
from evalpool.storage._follow import Follower
from evalpool.storage._hub import Link
from evalpool.storage._journal_files import JournalReader
from evalpool.storage._sqlite_file import SQLiteFile
from evalpool.tables import _paths, _rows
from evalpool.tables._tables import TableWriter
from faults.lines import interrupt_at
from storage.redis_server import RedisServer

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with RedisServer.running() as server:
        yield server


@pytest.fixture(params=["sqlite", "journal", "redis"])
def url(request: pytest.FixtureRequest, tmp_path: Path, redis: RedisServer) -> str:
    if request.param == "redis":
        redis.empty()
        return f"redis+{redis.url}"
    return f"{request.param}:///{tmp_path}/store"


class ToldOfOthers(Callback):
    """Notes the jobs of other clients that the hooks name."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.gathered: list[str] = []

    def on_done_other(self, job: Job[Any]) -> None:
        self.done.append(job.id)

    def on_gather(self, local_jobs: list[Job[Any]], other_jobs: list[Job[Any]]) -> None:
        self.gathered += [job.id for job in other_jobs]


def test_what_others_finished_is_given_once_wherever_an_interrupt_strikes(url: str) -> None:
    """Between what is read and what is folded, between what is folded and what is given."""
    with storage_from_url(url) as mine, storage_from_url(url) as theirs:
        search = mine.create_new_search()
        options = {"search_id": search, "num_workers": 2}
        told = ToldOfOthers()
        functions = [
            type(mine).read, Storage._sync, Storage._search, State.apply, State.apply_with_own, State._apply,
            SearchState.apply_job, JobState.apply,
            Follower.look, Follower.take, ForeignJobs.look, ForeignJobs.take_news, ForeignJobs.take, HookQueue.add_each,
            Evaluator.gather_other_jobs_done,
            SQLiteFile.events, JournalReader.read,
        ]  # fmt: skip
        with (
            Evaluator.create(lambda job: 1.0, "thread", {"storage": mine, "callbacks": [told], **options}) as me,
            Evaluator.create(lambda job: 2.0, "thread", {"storage": theirs, **options}) as other,
        ):
            which, given, submitted, struck = 0, [], [], True
            while struck:
                submitted += [job.id for job in other.submit([{"x": which}])]
                other.gather()
                with (
                    interrupt_at(which, *functions, strike=lambda: signal.raise_signal(signal.SIGINT)) as line,
                    contextlib.suppress(KeyboardInterrupt),
                ):
                    given += [job.id for job in me.gather_other_jobs_done()]
                given += [job.id for job in me.gather_other_jobs_done()]
                assert given == submitted, line.struck
                assert told.done == told.gathered == submitted, line.struck
                struck = line.struck is not None
                which += 1
            assert which > 30
            assert [record.job_id for record in mine.results()] == submitted
            assert all(len(record.recorded) == 0 for record in mine.results())


@pytest.mark.parametrize("kind", ["own", "sqlite", "journal"])
def test_a_submission_is_taken_whole_or_not_at_all_wherever_an_interrupt_strikes(kind: str, tmp_path: Path) -> None:
    """What is taken is gathered, recorded and in the table, once; the rest has neither a record nor a number."""
    url = f"{kind}:///{tmp_path}/store"
    with contextlib.ExitStack() as stack:
        storage = None if kind == "own" else stack.enter_context(storage_from_url(url))
        table = tmp_path / "table.csv"
        options = {"storage": storage, "num_workers": 2, "callbacks": [CSVLoggerCallback(table)]}
        evaluator = stack.enter_context(Evaluator.create(lambda job: float(job["x"]), "thread", options))
        functions = [
            Submissions.submit, Submissions._enter, StorageRecorder.created, StorageRecorder.created_again,
            Numbers.take, Core.accept,
        ]  # fmt: skip
        gathered: list[Job[Any]] = []
        which, struck = 0, True
        while struck:
            with interrupt_at(which, *functions) as line, contextlib.suppress(KeyboardInterrupt):
                evaluator.submit([{"x": which}, {"x": which}])
            struck = line.struck is not None
            which += 1
            new = evaluator.gather()
            assert len(new) in (0, 2), line.struck
            gathered += new
        assert which > 20
        assert 4 <= len(gathered) < 2 * which
        assert sorted(job.number for job in gathered) == list(range(len(gathered)))
        assert evaluator.num_jobs_submitted == evaluator.num_jobs_gathered == len(gathered)
        assert {(r.job_id, r.status.name, r.objective) for r in evaluator.results()} == {
            (job.id, "DONE", job.objective) for job in gathered
        }
        assert len(evaluator.results()) == len(gathered)
        assert [int(row["job_id"]) for row in read_rows(table)] == [job.number for job in gathered]


def read_rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # a file, opened as it is interrupted
@pytest.mark.parametrize("name", ["x", "new"])
def test_a_table_has_each_row_once_wherever_an_interrupt_strikes(name: str, tmp_path: Path) -> None:
    """Also where a row brings a new column, for which the file is written anew."""
    functions = [
        CSVLoggerCallback.on_gather, TableWriter.append, TableWriter._write, TableWriter._old_lines,
        _paths.append_text, _paths.replace_file, _rows.row_of,
    ]  # fmt: skip
    which, struck = 0, True
    while struck:
        path = tmp_path / f"{which}.csv"
        with Evaluator.create(lambda job: 1.0, "serial", {"callbacks": [CSVLoggerCallback(path)]}) as evaluator:
            evaluator.submit([{"x": 0}, {"x": 1}])
            evaluator.gather()
            evaluator.submit([{name: 2}])
            with interrupt_at(which, *functions) as line, contextlib.suppress(KeyboardInterrupt):
                evaluator.gather()
            struck = line.struck is not None
            evaluator.submit([{"x": 3}])
            evaluator.gather()
            assert [int(row["job_id"]) for row in read_rows(path)] == [0, 1, 2, 3], line.struck
        which += 1
    assert which > 20


def test_each_answer_belongs_to_its_request_wherever_an_interrupt_strikes() -> None:
    """An interrupt between a request and its answer leaves no answer that the next request would take for its own."""
    with SharedMemoryStorage() as storage:
        search = storage.create_new_search()
        with pickle.loads(pickle.dumps(storage)) as client:
            which, struck = 0, True
            while struck:
                with interrupt_at(which, Link.ask, Link._exchange) as line, contextlib.suppress(KeyboardInterrupt):
                    client.store_search_value(search, "which", which)
                assert client.load_all_search_ids() == [search], line.struck
                client.store_search_value(search, "which", -which)
                assert client.load_search_value(search, "which") == -which, line.struck
                struck = line.struck is not None
                which += 1
            assert which > 5
