"""What holds for every storage that outlives its process, beside the contract and the kills."""

import logging

import pytest

from evalpool.errors import BadArgument, NotJSON
from evalpool.storage import Event, Storage


def _created(search_id: str, number: int) -> Event:
    return Event("created", search_id, number, {"args": {"x": number}, "owner": "me"})


def test_an_outcome_appended_soon_that_is_not_json_is_kept_as_its_repr_with_a_warning(
    durable: Storage, caplog: pytest.LogCaptureFixture
) -> None:
    search_id = durable.create_new_search()
    number = durable.reserve(search_id, 1)
    durable.append([_created(search_id, number)])
    durable.append_soon([Event("finished", search_id, number, {"status": "DONE", "output": {"model": 1j}})])
    durable.flush()
    assert durable.load_job("0.0")["out"] == {"model": "1j"}
    [warning] = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert "job 0.0: finished.output.model is of type complex" in warning.getMessage()


def test_an_event_appended_soon_that_has_no_form_of_ours_costs_no_other(
    durable: Storage, caplog: pytest.LogCaptureFixture
) -> None:
    search_id = durable.create_new_search()
    durable.append_soon(
        [
            _created(search_id, 0),
            Event("finished", search_id, 0, {"colour": "red", "z": 1j}),
            Event("finished", search_id, 0, {"status": "EXPLODED"}),
            Event("exploded", search_id, 0, {}),
            _created(search_id, 1),
        ]
    )
    durable.flush()
    assert durable.load_all_job_ids(search_id) == ["0.0", "0.1"]
    assert sum(record.levelno == logging.ERROR for record in caplog.records) == 3


def test_of_a_batch_with_a_value_that_is_not_json_nothing_is_written(durable: Storage) -> None:
    search_id = durable.create_new_search()
    with pytest.raises(NotJSON, match=r"created\.args\.f is of type builtin"):
        durable.append([_created(search_id, 0), Event("created", search_id, 1, {"args": {"f": len}})])
    assert durable.load_all_job_ids(search_id) == []


def test_an_event_that_has_no_form_of_ours_is_refused_before_it_is_written(durable: Storage) -> None:
    search_id = durable.create_new_search()
    for kind, data in (("finished", {"pid": "three"}), ("lease", {"owner": "me"}), ("queued", {"attempt": 0})):
        with pytest.raises(BadArgument, match=f"an event '{kind}' cannot hold this"):
            durable.append([Event(kind, search_id, 0, data)])
    assert len(durable.read(None)[0]) == 1


def test_a_job_whose_end_is_read_before_its_beginning_is_followed_once_it_is_known(durable: Storage) -> None:
    search_id = durable.create_new_search()
    follower = durable.follow(search_id, "another")
    durable.append([Event("finished", search_id, 0, {"objective": 0.0})])
    assert follower.poll() == []
    assert durable.load_all_job_ids(search_id) == []
    durable.append([_created(search_id, 0)])
    assert [record.number for record in follower.poll()] == [0]
    assert follower.poll() == []


def test_numbers_of_a_search_that_is_not_counted_are_refused(durable: Storage) -> None:
    durable.append([Event("value", "7", None, {"k": 1})])
    with pytest.raises(KeyError, match="'7'"):
        durable.reserve("7", 1)
