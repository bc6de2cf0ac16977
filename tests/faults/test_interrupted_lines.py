"""A Ctrl-C before any line of what reads, records and writes leaves the storage client and the table whole."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from evalpool import Evaluator
from evalpool.storage import Storage, storage_from_url
from evalpool.storage._fold import JobState, SearchState, State
from evalpool.storage._follow import Follower
from evalpool.storage._journal_files import JournalReader
from evalpool.storage._sqlite_file import SQLiteFile
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


def test_what_others_finished_is_given_once_wherever_an_interrupt_strikes(url: str) -> None:
    """Between what is read and what is folded, between what is folded and what is given."""
    with storage_from_url(url) as mine, storage_from_url(url) as theirs:
        search = mine.create_new_search()
        options = {"search_id": search, "num_workers": 2}
        functions = [
            type(mine).read, Storage._sync, Storage._search, State.apply, SearchState.apply_job, JobState.apply,
            Follower.look, Follower.take, Evaluator._look_for_others, Evaluator.gather_other_jobs_done,
            SQLiteFile.query, JournalReader.read,
        ]  # fmt: skip
        with (
            Evaluator.create(lambda job: 1.0, "thread", {"storage": mine, **options}) as me,
            Evaluator.create(lambda job: 2.0, "thread", {"storage": theirs, **options}) as other,
        ):
            which, given, submitted, struck = 0, [], [], True
            while struck:
                submitted += [job.id for job in other.submit([{"x": which}])]
                other.gather()
                with interrupt_at(which, *functions) as line, contextlib.suppress(KeyboardInterrupt):
                    given += [job.id for job in me.gather_other_jobs_done()]
                given += [job.id for job in me.gather_other_jobs_done()]
                assert given == submitted, line.struck
                struck = line.struck is not None
                which += 1
            assert which > 30
            assert [record.job_id for record in mine.results()] == submitted
            assert all(len(record.recorded) == 0 for record in mine.results())
