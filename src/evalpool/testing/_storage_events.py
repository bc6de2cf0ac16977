"""Tests of the records that result from the events of an evaluator."""

from __future__ import annotations

import threading
from typing import Any

from evalpool.models import JobRecord
from evalpool.outcomes import FailureKind, JobStatus
from evalpool.storage import Event, Storage, new_owner
from evalpool.testing._kept import Kept, created, finished

__all__ = ["Events"]


class Events(Kept):
    """Tests of the events of a job, from its creation to its end."""

    def test_the_path_of_a_job_makes_its_record(self, kept: Storage) -> None:
        search_id = kept.create_new_search()
        first = kept.reserve(search_id, 2)
        owner = new_owner()
        kept.append([created(search_id, first + i, owner, x=i) for i in range(2)])
        assert kept.load_record("0.1").status is JobStatus.READY
        place: dict[str, Any] = {"worker": "process-1", "host": "node", "pid": 42}
        kept.append([Event("started", search_id, 1, {"start": 1.0, "attempt": 1, **place})])
        assert kept.load_job_status("0.1") is JobStatus.RUNNING
        kept.append([Event("recorded", search_id, 1, {"budget": 3, "objective": [0.1, 0.2]})])
        kept.append(
            [
                finished(
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
        kept.append([created(search_id, number), finished(search_id, number, 0.0)])
        assert kept.load_job("0.0")["out"] == {"objective": 0.0}
        assert kept.load_record("0.0").output == {"objective": 0.0}

    def test_a_failure_keeps_its_kind_and_error(self, kept: Storage) -> None:
        search_id = kept.create_new_search()
        kept.append([created(search_id, kept.reserve(search_id, 1))])
        kept.append(
            [
                finished(
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
        kept.append([created(search_id, kept.reserve(search_id, 1), "a")])
        follower = kept.follow(search_id, "me")
        kept.append([finished(search_id, 0, 0.5)])
        kept.append([finished(search_id, 0, 0.7, timestamp_gather=3.0)])
        record = kept.load_record("0.0")
        assert (record.objective, record.timestamp_gather) == (0.5, 3.0)
        assert len(follower.poll()) == 1

    def test_the_late_result_of_a_lost_attempt_is_ignored(self, kept: Storage) -> None:
        search_id = kept.create_new_search()
        kept.append([created(search_id, kept.reserve(search_id, 1), "dead")])
        kept.append([Event("started", search_id, 0, {"start": 0.0, "attempt": 1})])
        kept.append([Event("queued", search_id, 0, {"attempt": 2, "owner": "heir"})])
        kept.append([finished(search_id, 0, 0.1, attempts=1)])
        assert kept.load_record("0.0").status is JobStatus.READY
        kept.append([finished(search_id, 0, 0.2, attempts=2, owner="dead")])
        assert kept.load_record("0.0").status is JobStatus.READY
        kept.append([finished(search_id, 0, 0.3, attempts=2, owner="heir")])
        assert kept.load_record("0.0").objective == 0.3

    def test_events_appended_soon_are_there_after_a_flush(self, kept: Storage) -> None:
        search_id = kept.create_new_search()
        first = kept.reserve(search_id, 20)
        kept.append([created(search_id, first + i) for i in range(20)])
        for i in range(20):
            kept.append_soon([finished(search_id, first + i, float(i))])
        kept.flush()
        assert [record.objective for record in kept.records(search_id)] == [float(i) for i in range(20)]

    def test_a_reader_gets_each_event_once_and_in_order(self, kept: Storage) -> None:
        search_id = kept.create_new_search()
        kept.append([created(search_id, n) for n in range(kept.reserve(search_id, 3), 3)])
        events, cursor = kept.read(None)
        assert [event.number for event in events] == [None, 0, 1, 2]
        assert kept.read(cursor)[0] == []
        kept.append([finished(search_id, 1, 1.0)])
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
                kept.append([created(search_id, number, x=number)])
                kept.load_all_job_ids(search_id)
                taken.append(number)

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(taken) == list(range(40))
        assert [record.configuration["x"] for record in kept.records(search_id)] == list(range(40))
