"""What every storage must do, as a pytest class that anyone can bind to theirs.

::

    from evalpool.testing import StorageContract

    class TestMyStorage(StorageContract):
        @pytest.fixture
        def storage(self):
            with MyStorage() as storage:
                yield storage

What a client does not promise (`Storage.shared`) is skipped with the reason. One that keeps nothing
(`Storage.keeps`) is bound to `CountingContract`.
"""

from __future__ import annotations

import enum
import math
import pickle
import threading
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pydantic
import pytest

from evalpool.errors import (
    BadArgument,
    MaximumJobsSpawnReached,
    NotJSON,
    NotShareable,
    UnknownJob,
    UnknownSearch,
    UnknownValue,
)
from evalpool.models import JobRecord
from evalpool.outcomes import FailureKind, JobStatus
from evalpool.storage import Event, Sharing, Storage, new_owner

__all__ = ["CountingContract", "StorageContract"]


class _Optimiser(pydantic.BaseModel):
    name: str
    rate: float


class _Colour(enum.Enum):
    RED = "red"


def _created(search_id: str, number: int, owner: str | None = None, **args: Any) -> Event:
    return Event("created", search_id, number, {"args": args, "kwargs": {}, "submit": 0.5, "owner": owner})


def _finished(search_id: str, number: int, objective: Any, **more: Any) -> Event:
    data = {"status": "DONE", "objective": objective, "attempts": 1, **more}
    return Event("finished", search_id, number, data)


class CountingContract:
    """What holds even for a storage that keeps nothing (`Storage.keeps`). Override the fixture `storage`."""

    @pytest.fixture
    def storage(self) -> Iterator[Storage]:
        """A new, empty storage."""
        raise NotImplementedError("override the fixture `storage`")

    def test_searches_are_numbered_from_zero(self, storage: Storage) -> None:
        assert [storage.create_new_search() for _ in range(3)] == ["0", "1", "2"]
        assert storage.load_all_search_ids() == ["0", "1", "2"]
        assert storage.latest_search() == "2"

    def test_ten_searches_come_in_the_order_of_their_numbers(self, storage: Storage) -> None:
        ids = [storage.create_new_search() for _ in range(11)]
        assert storage.load_all_search_ids() == ids
        assert storage.latest_search() == "10"

    def test_an_empty_storage_has_no_latest_search(self, storage: Storage) -> None:
        assert storage.load_all_search_ids() == []
        with pytest.raises(UnknownSearch, match="no search"):
            storage.latest_search()

    def test_a_search_keeps_its_start(self, storage: Storage) -> None:
        search_id = storage.create_new_search(start=1_700_000_000.25)
        assert storage.search_start(search_id) == 1_700_000_000.25

    def test_an_unknown_search_is_named_with_those_that_exist(self, storage: Storage) -> None:
        storage.create_new_search()
        for use in (
            storage.load_search,
            storage.load_all_job_ids,
            storage.records,
            storage.search_start,
            storage.create_new_job,
            lambda search_id: storage.reserve(search_id, 1),
            lambda search_id: storage.follow(search_id, "me"),
        ):
            with pytest.raises(UnknownSearch, match=r"'7'.*'0'"):
                use("7")
        with pytest.raises(KeyError):
            storage.load_search("7")

    def test_an_unknown_job_is_named(self, storage: Storage) -> None:
        storage.create_new_search()
        for job_id in ("0.5", "3.0", "nonsense", "0.-1", "0.", ".0"):
            with pytest.raises(UnknownJob, match=job_id.replace(".", r"\.")):
                storage.load_job(job_id)
            with pytest.raises(KeyError):
                storage.store_job_out(job_id, 1)

    def test_appending_nothing_is_allowed(self, storage: Storage) -> None:
        storage.append([])
        storage.append_soon([])
        storage.flush()

    def test_reserved_numbers_are_consecutive(self, storage: Storage) -> None:
        search_id = storage.create_new_search()
        assert [storage.reserve(search_id, n) for n in (1, 3, 0, 2)] == [0, 1, 4, 4]
        assert storage.reserve(search_id, 1) == 6

    def test_the_cap_takes_all_or_nothing(self, storage: Storage) -> None:
        search_id = storage.create_new_search()
        assert storage.reserve(search_id, 3, cap=5) == 0
        with pytest.raises(MaximumJobsSpawnReached, match="1 too many"):
            storage.reserve(search_id, 3, cap=5)
        assert storage.reserve(search_id, 2, cap=5) == 3
        with pytest.raises(MaximumJobsSpawnReached):
            storage.reserve(search_id, 1, cap=5)
        assert storage.reserve(search_id, 1) == 5

    @pytest.mark.parametrize("n", [-1, 1.5, "2"])
    def test_numbers_that_are_no_count_are_refused(self, storage: Storage, n: Any) -> None:
        search_id = storage.create_new_search()
        with pytest.raises(BadArgument):
            storage.reserve(search_id, n)

    def test_a_client_that_is_not_shared_refuses_to_be_pickled_with_advice(self, storage: Storage) -> None:
        if storage.shared >= Sharing.PROCESSES:
            pytest.skip(f"{type(storage).__name__} is shared between processes")
        with pytest.raises(NotShareable, match="Use "):
            pickle.dumps(storage)

    def test_close_can_be_called_twice(self, storage: Storage) -> None:
        storage.close()
        storage.close()


class StorageContract(CountingContract):
    """The contract of `evalpool.storage.Storage`. Override the fixture `storage`."""

    @pytest.fixture
    def kept(self, storage: Storage) -> Storage:
        """The storage, whose word is that what it is given can be loaded."""
        assert storage.keeps
        return storage

    @pytest.fixture
    def peer(self, kept: Storage) -> Iterator[Storage]:
        """A second client of the same log, as a worker process would have it."""
        if kept.shared < Sharing.PROCESSES:
            pytest.skip(f"{type(kept).__name__} is shared by threads only")
        with pickle.loads(pickle.dumps(kept)) as peer:
            yield peer

    def test_search_values_are_replaced_by_later_ones(self, kept: Storage) -> None:
        search_id = kept.create_new_search()
        kept.store_search_value(search_id, "best", {"x": 1})
        kept.store_search_value(search_id, "best", (1, 2.5))
        assert kept.load_search_value(search_id, "best") == [1, 2.5]
        with pytest.raises(UnknownValue, match=r"'worst'.*'best'"):
            kept.load_search_value(search_id, "worst")

    def test_jobs_are_numbered_per_search(self, kept: Storage) -> None:
        first, second = kept.create_new_search(), kept.create_new_search()
        assert [kept.create_new_job(first) for _ in range(2)] == ["0.0", "0.1"]
        assert kept.create_new_job(second) == "1.0"
        assert kept.load_all_job_ids(first) == ["0.0", "0.1"]
        assert list(kept.load_search(second)) == ["1.0"]

    def test_a_job_kept_by_hand_comes_back(self, kept: Storage) -> None:
        job_id = kept.create_new_job(kept.create_new_search())
        kept.store_job_in(job_id, {"x": 1.5, "layers": (8, 4)}, {"verbose": True})
        kept.store_job_status(job_id, JobStatus.RUNNING)
        assert kept.load_job_status(job_id) is JobStatus.RUNNING
        kept.store_job_metadata(job_id, "gpu", 3)
        kept.store_job_metadata(job_id, "gpu", 4)
        kept.store_job_out(job_id, {"objective": 0.25, "note": "ok"})
        kept.store_job_status(job_id, "DONE")

        expected = {
            "status": JobStatus.DONE,
            "in": {"args": {"x": 1.5, "layers": [8, 4]}, "kwargs": {"verbose": True}},
            "out": {"objective": 0.25, "note": "ok"},
            "metadata": {"gpu": 4},
        }
        assert kept.load_job(job_id) == expected
        assert kept.load_search("0") == {job_id: expected}
        assert kept.load_jobs([job_id]) == {job_id: expected}
        record = kept.load_record(job_id)
        assert (record.status, record.objective, record.metadata) == (JobStatus.DONE, 0.25, {"gpu": 4})

    def test_a_new_job_is_ready_and_empty(self, kept: Storage) -> None:
        job_id = kept.create_new_job(kept.create_new_search())
        job = kept.load_job(job_id)
        assert job["status"] is JobStatus.READY
        assert job["out"] is None
        assert job["metadata"] == {}
        assert kept.load_record(job_id).configuration == {}

    @pytest.mark.parametrize("out", [0.0, 0, "", "F_error", [1, 2], {"a": None}, True])
    def test_an_output_comes_back_as_it_was_stored(self, kept: Storage, out: Any) -> None:
        job_id = kept.create_new_job(kept.create_new_search())
        kept.store_job_out(job_id, out)
        assert kept.load_job(job_id)["out"] == out
        assert kept.load_out_from_all_jobs("0") == [out]

    def test_metadata_and_outputs_of_all_jobs_skip_those_without(self, kept: Storage) -> None:
        search_id = kept.create_new_search()
        jobs = [kept.create_new_job(search_id) for _ in range(3)]
        kept.store_job_metadata(jobs[0], "memory", 0)
        kept.store_job_metadata(jobs[2], "memory", 7)
        kept.store_job_out(jobs[1], 0.0)
        assert kept.load_metadata_from_all_jobs(search_id, "memory") == [0, 7]
        assert kept.load_out_from_all_jobs(search_id) == [0.0]

    def test_a_final_status_stays(self, kept: Storage) -> None:
        job_id = kept.create_new_job(kept.create_new_search())
        kept.store_job_status(job_id, JobStatus.CANCELLED)
        kept.store_job_status(job_id, JobStatus.RUNNING)
        kept.store_job_status(job_id, JobStatus.DONE)
        assert kept.load_job_status(job_id) is JobStatus.CANCELLED

    def test_a_job_that_is_made_ready_again_is_in_its_next_attempt(self, kept: Storage) -> None:
        job_id = kept.create_new_job(kept.create_new_search())
        kept.store_job_status(job_id, JobStatus.RUNNING)
        kept.store_job_status(job_id, JobStatus.READY)
        assert kept.load_job_status(job_id) is JobStatus.READY
        assert kept.load_record(job_id).attempts == 1

    def test_an_unknown_status_is_refused_with_those_there_are(self, kept: Storage) -> None:
        job_id = kept.create_new_job(kept.create_new_search())
        with pytest.raises(BadArgument, match=r"'done'.*DONE"):
            kept.store_job_status(job_id, "done")

    def test_numpy_pydantic_enum_path_and_set_become_json(self, kept: Storage) -> None:
        job_id = kept.create_new_job(kept.create_new_search())
        kept.store_job_out(
            job_id,
            {
                "scalar": np.float32(0.5),
                "count": np.int64(3),
                "flag": np.bool_(True),
                "text": np.str_("a"),
                "array": np.arange(4).reshape(2, 2),
                "model": _Optimiser(name="adam", rate=0.1),
                "colour": _Colour.RED,
                "path": PurePosixPath("/data"),
                "set": {2, 1},
            },
        )
        assert kept.load_job(job_id)["out"] == {
            "scalar": 0.5,
            "count": 3,
            "flag": True,
            "text": "a",
            "array": [[0, 1], [2, 3]],
            "model": {"name": "adam", "rate": 0.1},
            "colour": "red",
            "path": "/data",
            "set": [1, 2],
        }

    def test_nan_and_infinity_come_back_as_floats(self, kept: Storage) -> None:
        job_id = kept.create_new_job(kept.create_new_search())
        kept.store_job_out(job_id, {"losses": [math.inf, -math.inf, math.nan], "array": np.array([math.nan, 1])})
        out = kept.load_job(job_id)["out"]
        assert out["losses"][:2] == [math.inf, -math.inf]
        assert math.isnan(out["losses"][2])
        assert math.isnan(out["array"][0])

    @pytest.mark.parametrize("text", ["é 漢字 😀", "\x00\n\"'\\", "\ud800 lone", "x" * 100_000])
    def test_any_text_comes_back(self, kept: Storage, text: str) -> None:
        job_id = kept.create_new_job(kept.create_new_search())
        kept.store_job_metadata(job_id, text, text)
        kept.store_job_out(job_id, text)
        job = kept.load_job(job_id)
        assert (job["out"], job["metadata"]) == (text, {text: text})

    def test_what_is_not_json_is_refused_with_its_place_and_nothing_is_kept(self, kept: Storage) -> None:
        search_id = kept.create_new_search()
        job_id = kept.create_new_job(search_id)
        with pytest.raises(NotJSON, match=r"out\.model\.weights\[1\] is of type object"):
            kept.store_job_out(job_id, {"model": {"weights": [1.0, object()]}})
        with pytest.raises(NotJSON, match=r"metadata\.z is of type complex"):
            kept.store_job_metadata(job_id, "z", 1j)
        with pytest.raises(NotJSON, match=r"args has the key 3"):
            kept.store_job_in(job_id, {3: "x"})
        with pytest.raises(TypeError):
            kept.store_search_value(search_id, "f", print)
        job = kept.load_job(job_id)
        assert (job["out"], job["metadata"]) == (None, {})

    def test_what_was_loaded_is_a_copy(self, kept: Storage) -> None:
        job_id = kept.create_new_job(kept.create_new_search())
        given = {"objective": 1.0, "history": [1, 2]}
        kept.store_job_out(job_id, given)
        given["history"].append(3)  # type: ignore[attr-defined]
        kept.load_job(job_id)["out"]["history"].append(4)
        kept.load_record(job_id).output["history"].append(5)
        assert kept.load_job(job_id)["out"] == {"objective": 1.0, "history": [1, 2]}

    def test_the_path_of_a_job_makes_its_record(self, kept: Storage) -> None:
        search_id = kept.create_new_search()
        first = kept.reserve(search_id, 2)
        owner = new_owner()
        kept.append([_created(search_id, first + i, owner, x=i) for i in range(2)])
        assert kept.load_record("0.1").status is JobStatus.READY
        place: dict[str, Any] = {"worker": "process-1", "host": "node", "pid": 42}
        kept.append([Event("started", search_id, 1, {"start": 1.0, "attempt": 1, **place})])
        assert kept.load_job_status("0.1") is JobStatus.RUNNING
        kept.append([Event("recorded", search_id, 1, {"budget": 3, "objective": [0.1, 0.2]})])
        kept.append(
            [
                _finished(
                    search_id,
                    1,
                    (0.5, 0.0),
                    output={"objective": (0.5, 0.0), "note": "x"},
                    metadata={"memory": 12},
                    timestamp_start=1.0,
                    timestamp_end=2.0,
                    owner=owner,
                    **place,
                )
            ]
        )
        kept.append([Event("gathered", search_id, 1, {"timestamp_gather": 2.5})])

        assert kept.load_record("0.1") == JobRecord(
            job_id="0.1",
            search_id="0",
            number=1,
            status=JobStatus.DONE,
            configuration={"x": 1},
            objective=(0.5, 0.0),
            output={"objective": (0.5, 0.0), "note": "x"},
            metadata={"memory": 12},
            recorded=[(3, (0.1, 0.2))],
            attempts=1,
            timestamp_submit=0.5,
            timestamp_start=1.0,
            timestamp_end=2.0,
            timestamp_gather=2.5,
            owner=owner,
            **place,
        )
        job = kept.load_job("0.1")
        assert job["out"] == {"objective": (0.5, 0.0), "note": "x"}
        assert job["metadata"]["timestamp_gather"] == 2.5
        assert [record.number for record in kept.records(search_id)] == [0, 1]

    def test_an_output_left_out_is_the_objective_alone(self, kept: Storage) -> None:
        search_id = kept.create_new_search()
        number = kept.reserve(search_id, 1)
        kept.append([_created(search_id, number), _finished(search_id, number, 0.0)])
        assert kept.load_job("0.0")["out"] == {"objective": 0.0}
        assert kept.load_record("0.0").output == {"objective": 0.0}

    def test_a_failure_keeps_its_kind_and_error(self, kept: Storage) -> None:
        search_id = kept.create_new_search()
        kept.append([_created(search_id, kept.reserve(search_id, 1))])
        kept.append(
            [
                _finished(
                    search_id,
                    0,
                    "F_ValueError",
                    status="FAILED",
                    kind="raised",
                    error="Traceback ...",
                    attempts=2,
                    attempt_errors=["Traceback 1"],
                )
            ]
        )
        record = kept.load_record("0.0")
        assert (record.status, record.kind) == (JobStatus.FAILED, FailureKind.RAISED)
        assert (record.attempts, record.attempt_errors) == (2, ["Traceback 1"])

    def test_an_end_told_twice_counts_once(self, kept: Storage) -> None:
        search_id = kept.create_new_search()
        kept.append([_created(search_id, kept.reserve(search_id, 1), "a")])
        follower = kept.follow(search_id, "me")
        kept.append([_finished(search_id, 0, 0.5)])
        kept.append([_finished(search_id, 0, 0.7, timestamp_gather=3.0)])
        record = kept.load_record("0.0")
        assert (record.objective, record.timestamp_gather) == (0.5, 3.0)
        assert len(follower.poll()) == 1

    def test_the_late_result_of_a_lost_attempt_is_ignored(self, kept: Storage) -> None:
        search_id = kept.create_new_search()
        kept.append([_created(search_id, kept.reserve(search_id, 1), "dead")])
        kept.append([Event("started", search_id, 0, {"start": 0.0, "attempt": 1})])
        kept.append([Event("queued", search_id, 0, {"attempt": 2, "owner": "heir"})])
        kept.append([_finished(search_id, 0, 0.1, attempts=1)])
        assert kept.load_record("0.0").status is JobStatus.READY
        kept.append([_finished(search_id, 0, 0.2, attempts=2, owner="dead")])
        assert kept.load_record("0.0").status is JobStatus.READY
        kept.append([_finished(search_id, 0, 0.3, attempts=2, owner="heir")])
        assert kept.load_record("0.0").objective == 0.3

    def test_events_appended_soon_are_there_after_a_flush(self, kept: Storage) -> None:
        search_id = kept.create_new_search()
        first = kept.reserve(search_id, 20)
        kept.append([_created(search_id, first + i) for i in range(20)])
        for i in range(20):
            kept.append_soon([_finished(search_id, first + i, float(i))])
        kept.flush()
        assert [record.objective for record in kept.records(search_id)] == [float(i) for i in range(20)]

    def test_a_reader_gets_each_event_once_and_in_order(self, kept: Storage) -> None:
        search_id = kept.create_new_search()
        kept.append([_created(search_id, n) for n in range(kept.reserve(search_id, 3), 3)])
        events, cursor = kept.read(None)
        assert [event.number for event in events] == [None, 0, 1, 2]
        assert kept.read(cursor)[0] == []
        kept.append([_finished(search_id, 1, 1.0)])
        events, cursor = kept.read(cursor)
        assert [(event.kind, event.number) for event in events] == [("finished", 1)]
        assert kept.read(cursor)[0] == []

    def test_threads_never_get_the_same_number_and_lose_no_event(self, kept: Storage) -> None:
        search_id = kept.create_new_search()
        start = threading.Barrier(4)
        taken: list[int] = []

        def work() -> None:
            start.wait()
            for _ in range(10):
                number = kept.reserve(search_id, 1)
                kept.append([_created(search_id, number, x=number)])
                kept.load_all_job_ids(search_id)
                taken.append(number)

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(taken) == list(range(40))
        assert [record.configuration["x"] for record in kept.records(search_id)] == list(range(40))

    def test_a_follower_gets_what_others_finished_once_zero_included(self, kept: Storage) -> None:
        search_id = kept.create_new_search()
        kept.append([_created(search_id, n, "me" if n == 0 else "other") for n in range(kept.reserve(search_id, 3), 3)])
        kept.append([_finished(search_id, 0, 1.0), _finished(search_id, 2, 0.0)])
        follower = kept.follow(search_id, "me")
        assert [(record.number, record.objective) for record in follower.poll()] == [(2, 0.0)]
        assert follower.poll() == []
        kept.append([_finished(search_id, 1, "F_x", status="FAILED")])
        assert [record.number for record in follower.poll()] == [1]
        assert follower.poll() == []

    def test_the_jobs_of_a_living_owner_are_not_lost(self, kept: Storage) -> None:
        search_id = kept.create_new_search()
        owner = new_owner()
        kept.lease(search_id, owner, ttl=3600)
        kept.append([_created(search_id, kept.reserve(search_id, 1), owner)])
        assert kept.claim_lost(search_id, new_owner()) == []

    def test_unfinished_jobs_of_an_expired_owner_become_ours_once(self, kept: Storage) -> None:
        search_id = kept.create_new_search()
        gone, heir, late = new_owner(), new_owner(), new_owner()
        kept.lease(search_id, gone, ttl=3600)
        for owner in (heir, late):
            kept.lease(search_id, owner, ttl=3600)
        kept.append([_created(search_id, n, gone, x=n) for n in range(kept.reserve(search_id, 3), 3)])
        kept.append([Event("started", search_id, 1, {"start": 0.0, "attempt": 1})])
        kept.append([_finished(search_id, 2, 1.0)])
        kept.renew(search_id, gone, ttl=0)

        claimed = kept.claim_lost(search_id, heir)

        assert [(record.number, record.configuration) for record in claimed] == [(0, {"x": 0}), (1, {"x": 1})]
        assert {record.owner for record in claimed} == {heir}
        assert {record.attempts for record in claimed} == {1}
        assert kept.claim_lost(search_id, late) == []
        kept.append([_finished(search_id, 0, 0.5, attempts=2, owner=heir)])
        assert kept.load_record("0.0").objective == 0.5

    def test_a_pickled_client_sees_and_adds(self, kept: Storage, peer: Storage) -> None:
        search_id = kept.create_new_search()
        job_id = peer.create_new_job(search_id)
        kept.store_job_in(job_id, {"x": 1})
        peer.store_job_out(job_id, 0.0)
        assert kept.load_job(job_id) == peer.load_job(job_id)
        assert kept.load_job(job_id)["out"] == 0.0
        assert [kept.create_new_job(search_id), peer.create_new_job(search_id)] == ["0.1", "0.2"]
        assert [kept.create_new_search(), peer.create_new_search()] == ["1", "2"]

    def test_the_cap_is_exact_over_clients(self, kept: Storage, peer: Storage) -> None:
        search_id = kept.create_new_search()
        assert kept.reserve(search_id, 2, cap=3) == 0
        with pytest.raises(MaximumJobsSpawnReached):
            peer.reserve(search_id, 2, cap=3)
        assert peer.reserve(search_id, 1, cap=3) == 2

    def test_of_two_claimants_each_job_goes_to_one(self, kept: Storage, peer: Storage) -> None:
        search_id = kept.create_new_search()
        kept.append([_created(search_id, n, "gone") for n in range(kept.reserve(search_id, 20), 20)])
        owners = [new_owner(), new_owner()]
        for owner in owners:
            kept.lease(search_id, owner, ttl=3600)
        start = threading.Barrier(2)
        claimed: dict[str, list[int]] = {}

        def claim(storage: Storage, owner: str) -> None:
            start.wait()
            claimed[owner] = [record.number for record in storage.claim_lost(search_id, owner)]

        threads = [threading.Thread(target=claim, args=pair) for pair in zip((kept, peer), owners, strict=True)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(claimed[owners[0]] + claimed[owners[1]]) == list(range(20))
        for record in peer.records(search_id):
            assert record.number in claimed[record.owner or ""]
