"""Who works on a search together, without workers: when others' jobs are looked for, and who hears that one left."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from evalpool import BadArgument, SerialEvaluator, distributed
from evalpool.errors import StorageError
from evalpool.evaluator._membership import Membership
from evalpool.storage import SharedMemoryStorage, Storage

Distributed: Any = distributed("storage")(SerialEvaluator)


class First(Membership):
    rank = 0


@pytest.fixture
def storage() -> Iterator[Storage]:
    with SharedMemoryStorage() as storage:
        yield storage


def test_a_look_is_due_every_so_many_jobs_and_when_none_is_out() -> None:
    member = First()
    options = {"share_freq": 3, "tables_everywhere": False, "seed": 1}
    assert member.prepare(options) == {"seed": 1}
    assert options["share_freq"] == 3  # the caller's own stay as they are
    assert [member.due(gathered, 2) for gathered in range(1, 8)] == [False, False, True, False, False, True, False]
    assert member.due(7, 0)
    assert not member.due(9, 1)
    assert member.due(10, 1)


def test_one_that_cannot_be_made_takes_no_part(storage: Storage) -> None:
    with Distributed(len, storage=storage) as first:
        with pytest.raises(BadArgument, match="retries"):
            Distributed(len, storage=storage, search_id=first.search_id, retries="often")
        with pytest.raises(BadArgument, match="share_freq"):
            Distributed(len, storage=storage, search_id=first.search_id, share_freq=0)
        assert first.size == 1


def test_it_is_counted_no_more_though_its_last_records_cannot_be_written(
    storage: Storage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails() -> None:
        raise StorageError("the disk is full")

    with Distributed(len, storage=storage) as first:
        second = Distributed(len, storage=storage, search_id=first.search_id)
        assert first.size == 2
        monkeypatch.setattr(second._recorder, "write_rest", fails)
        second.close()
        assert first.size == 1
        assert "the disk is full" in caplog.text
