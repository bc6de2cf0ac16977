"""What other clients finished is given once each, however often one looks and whatever the storage raises."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from evalpool.callbacks import Callback
from evalpool.errors import StorageUnavailable
from evalpool.evaluator._back_off import LONGEST, BackOff
from evalpool.evaluator._foreign_jobs import ForeignJobs, job_of
from evalpool.evaluator._hook_queue import HookQueue
from evalpool.evaluator._open_search import OpenSearch
from evalpool.jobs._job import Job
from evalpool.storage import Event, MemoryStorage, NullStorage, Storage


class Failing(MemoryStorage):
    """Cannot be read for as long as it is told to."""

    fails = False
    reads = 0

    def read(self, after: Any) -> Any:
        self.reads += 1
        if self.fails:
            raise StorageUnavailable("away")
        return super().read(after)


class Counting(Callback):
    def __init__(self) -> None:
        self.others: list[Any] = []

    def on_done_other(self, job: Any) -> None:
        self.others.append(job.id)


class User:
    """Whose end closes a storage that was given by its URL."""


def open_search(storage: Storage | str | None, search_id: str | None = None) -> OpenSearch:
    return OpenSearch(
        storage, search_id, job_type="hpo", seed=3, seed_given=False, check=lambda storage: None, user=User()
    )


class Followed:
    """A search that others work on, too."""

    def __init__(self, storage: Storage | None = None, ours: tuple[int, ...] = ()) -> None:
        self.storage = Failing() if storage is None else storage
        self.search = open_search(self.storage)
        self.callback = Counting()
        self.hooks = HookQueue([self.callback])
        self.back_off = BackOff()
        self.jobs = ForeignJobs(self.search, self.hooks, self.back_off, lambda record: record.number in ours)

    def finish(self, number: int, owner: str = "another", objective: float = 0.0) -> None:
        search = self.search.search_id
        self.storage.append([
            Event("created", search, number, {"args": {"x": number}, "submit": 0.5, "owner": owner}),
            Event("finished", search, number, {"status": "DONE", "objective": objective, "attempts": 1}),
        ])  # fmt: skip

    def look(self, at_once: bool = False) -> list[Job[Any]]:
        """What one more look finds."""
        self.jobs.look(at_once)
        return self.jobs.take_news()


def numbers(jobs: list[Any]) -> list[int]:
    return [job.number for job in jobs]


def test_each_job_of_another_is_found_once_and_taken_once() -> None:
    followed = Followed()
    followed.finish(0)
    followed.finish(1, owner=followed.search.owner)
    followed.finish(2)
    assert numbers(followed.look()) == [0, 2]
    assert numbers(followed.look()) == []
    followed.finish(3)
    assert numbers(followed.look(at_once=True)) == [3]
    assert numbers(followed.jobs.take()) == [0, 2, 3]
    assert numbers(followed.jobs.take()) == []
    followed.hooks.deliver()
    assert followed.callback.others == ["0.0", "0.2", "0.3"]


def test_a_job_that_our_own_gather_gives_back_is_no_news() -> None:
    followed = Followed(ours=(1,))
    followed.finish(0)
    followed.finish(1)
    assert numbers(followed.look()) == [0]


def test_a_storage_that_fails_is_told_of_once_and_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    followed = Followed()
    storage = followed.storage
    assert isinstance(storage, Failing)
    assert followed.look() == []
    storage.fails = True
    with caplog.at_level(logging.WARNING, logger="evalpool"):
        for _ in range(3):
            assert followed.look() == []
    told = [record.getMessage() for record in caplog.records]
    assert told == ["The jobs that other clients finished cannot be read for now: away"]

    followed.back_off.back_off(began=-1e9)  # as after a long wait for a server
    reads = storage.reads
    assert followed.look() == []
    assert storage.reads == reads
    with pytest.raises(StorageUnavailable):
        followed.jobs.look(at_once=True)

    storage.fails = False
    followed.finish(0)
    assert numbers(followed.look(at_once=True)) == [0]


def test_whoever_says_when_it_is_time_is_asked_before_each_look() -> None:
    followed = Followed()
    due = False
    followed.jobs.is_due = lambda: due
    followed.finish(0)
    assert followed.look(at_once=True) == []
    due = True
    assert numbers(followed.look()) == [0]


@pytest.mark.parametrize("storage", [None, NullStorage()])
def test_where_nobody_else_can_write_nothing_is_read(storage: Storage | None, monkeypatch: Any) -> None:
    search = open_search(storage)
    monkeypatch.setattr(search.storage, "read", None)
    jobs = ForeignJobs(search, HookQueue([]), BackOff(), lambda record: False)
    jobs.look()
    jobs.look(at_once=True)
    assert jobs.take_news() == jobs.take() == []


def test_a_forked_child_gives_nothing() -> None:
    followed = Followed()
    followed.finish(0)
    followed.jobs.look()
    followed.jobs.forget()
    assert followed.jobs.take() == []


def test_a_job_of_a_record_has_its_facts_and_the_seed_of_its_search() -> None:
    followed = Followed()
    followed.finish(4, objective=0.0)
    (record,) = followed.storage.results(followed.search.search_id)
    job = job_of(record, followed.search)
    assert (job.id, job.args, job.objective, job.attempts) == ("0.4", {"x": 4}, 0.0, 1)
    assert job.metadata["timestamp_submit"] == 0.5
    assert job.metadata["timestamp_gather"] is None
    assert job._search_seed() == 3


def test_a_storage_is_left_alone_for_ten_times_as_long_as_it_took_to_fail() -> None:
    from evalpool._clock import monotonic

    back_off = BackOff()
    assert not back_off.backing_off()
    back_off.back_off(began=monotonic())  # it failed at once
    back_off.back_off(began=monotonic() - 1000.0)
    assert back_off.backing_off()
    assert back_off._until <= monotonic() + LONGEST
    back_off.end()
    assert not back_off.backing_off()


class TestOpenSearch:
    def test_a_search_that_goes_on_has_the_seed_that_it_began_with(self) -> None:
        storage = MemoryStorage()
        first = open_search(storage)
        assert first.begun
        storage.store_search_value(first.search_id, "seed", 11)
        second = open_search(storage, "latest")
        assert (second.search_id, second.begun, second.seed) == (first.search_id, False, 11)
        assert second.owner != first.owner

    def test_one_without_a_storage_has_its_own_and_nobody_else_writes_there(self) -> None:
        search = open_search(None)
        assert search.own is search.storage
        assert not search.others_write
        assert not search.needs_json

    def test_a_storage_by_its_url_is_closed_and_opened_again(self, tmp_path: Any) -> None:
        user = User()
        url = f"sqlite:///{tmp_path}/results.db"
        search = OpenSearch(url, None, job_type="task", seed=3, seed_given=True, check=lambda storage: None, user=user)
        assert search.others_write
        assert search.needs_json
        first = search.storage
        search.leave()
        with pytest.raises(StorageUnavailable):
            first.load_all_search_ids()
        search.look_again(user)
        assert search.storage.load_search_value(search.search_id, "job_type") == "task"
        search.storage.close()

    def test_workers_that_cannot_reach_the_storage_are_told_before_the_search_begins(self) -> None:
        storage = MemoryStorage()

        def check(storage: Storage) -> None:
            raise ValueError("out of reach")

        with pytest.raises(ValueError, match="out of reach"):
            OpenSearch(storage, None, job_type="hpo", seed=3, seed_given=False, check=check, user=User())
        assert storage.load_all_search_ids() == []
