"""What holds for every storage that outlives its process, beside the contract and the kills."""

import logging
import math
import pickle

import pytest

from evalpool import Evaluator, RunningJob
from evalpool.errors import BadArgument, NotJSON
from evalpool.models import FailureKind, JobRecord, JobStatus
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
            Event("finished", search_id, 0, {"attempts": "many", "z": 1j}),
            Event("finished", search_id, 0, {"status": "EXPLODED"}),
            Event("exploded", search_id, 0, {}),
            _created(search_id, 1),
        ]
    )
    durable.flush()
    assert durable.load_all_job_ids(search_id) == ["0.0", "0.1"]
    assert sum(record.levelno == logging.ERROR for record in caplog.records) == 3


def test_an_outcome_of_a_later_version_is_read_with_its_kind_and_without_its_unknown_fields(durable: Storage) -> None:
    search_id = durable.create_new_search()
    durable.append(
        [Event("created", search_id, n, {"args": {}, "priority": 3}) for n in range(durable.reserve("0", 2), 2)]
    )
    preempted = {"status": "FAILED", "kind": "preempted", "objective": "F_preempted", "error": "node 7", "cost": [1]}
    durable.append([Event("finished", search_id, 0, preempted)])
    durable.append_soon([Event("finished", search_id, 1, preempted)])
    with pickle.loads(pickle.dumps(durable)) as reader:
        durable.flush()
        for record in reader.results(search_id):
            assert (record.status, record.objective, record.error) == (JobStatus.FAILED, "F_preempted", "node 7")
            assert record.kind == FailureKind("preempted") != FailureKind.RAISED
            assert record.kind.value == "preempted"
            assert JobRecord.model_validate_json(record.model_dump_json()).kind == record.kind


def test_of_a_batch_with_a_value_that_is_not_json_nothing_is_written(durable: Storage) -> None:
    search_id = durable.create_new_search()
    with pytest.raises(NotJSON, match=r"created\.args\.f is of type builtin"):
        durable.append([_created(search_id, 0), Event("created", search_id, 1, {"args": {"f": len}})])
    assert durable.load_all_job_ids(search_id) == []


def _nested(depth: int) -> object:
    value: object = 0
    for _ in range(depth):
        value = [value]
    return value


LOOP: list[object] = []
LOOP.append(LOOP)
CANNOT_BE_STORED = {
    "too many digits": 10**5000,
    "too deep": _nested(500),
    "a loop": LOOP,
    "loops": {"x": 1, "y": [LOOP, LOOP]},
    "keys that are tuples": {(1, 2): 3},
    "keys that are numbers": {1: 2},
    "a function": len,
    "a complex number": 1j,
    "bytes": b"x",
}


@pytest.mark.parametrize("name", CANNOT_BE_STORED)
def test_a_configuration_that_cannot_be_stored_is_refused_and_takes_no_neighbour_along(
    durable: Storage, name: str
) -> None:
    with Evaluator.create(lambda job: job["x"], "thread", {"storage": durable}) as evaluator:
        evaluator.submit([{"x": 1}])
        with pytest.raises(NotJSON):
            evaluator.submit([{"x": 2}, {"x": CANNOT_BE_STORED[name]}, {"x": 3}])
        evaluator.submit([{"x": 4}])
        assert sorted(job.objective for job in evaluator.gather()) == [1, 4]
        with pickle.loads(pickle.dumps(durable)) as reader:
            assert [(record.job_id, record.objective) for record in reader.results()] == [("0.0", 1), ("0.1", 4)]


def test_the_oddest_configurations_and_results_come_back(durable: Storage, caplog: pytest.LogCaptureFixture) -> None:
    odd = [10**400, -(10**4299), "\ud800", "\x00\u2028", {"\udfff": math.nan}, _nested(98), 2**64, -0.0, math.inf]

    def run(job: RunningJob) -> dict[str, object]:
        return {"objective": 10 ** (400 + job["n"]), "echo": job["x"]}

    with Evaluator.create(run, "thread", {"storage": durable}) as evaluator:
        evaluator.submit([{"n": n, "x": value} for n, value in enumerate(odd)])
        evaluator.gather()
        with pickle.loads(pickle.dumps(durable)) as reader:
            records = reader.results()
    assert [repr(record.configuration["x"]) for record in records] == [repr(value) for value in odd]
    assert [repr(record.output["echo"]) for record in records] == [repr(value) for value in odd]
    assert [record.objective for record in records] == [10 ** (400 + n) for n in range(len(odd))]
    assert caplog.records == []


def test_an_event_that_has_no_form_of_ours_is_refused_before_it_is_written(durable: Storage) -> None:
    search_id = durable.create_new_search()
    for kind, data in (("finished", {"pid": "three"}), ("lease", {"owner": "me"}), ("queued", {"attempt": 0})):
        with pytest.raises(BadArgument, match=f"an event '{kind}' cannot have this data"):
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
