"""Whose jobs are run again: those of an owner that is gone, never those of one that lives."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from evalpool import Evaluator, Job, RunningJob, ThreadPoolEvaluator
from evalpool.outcomes import JobStatus
from evalpool.storage import Storage, storage_from_url
from resume.processes import program

pytestmark = pytest.mark.slow


def run(job: RunningJob) -> dict[str, Any]:
    job.record(1, "of the heir")
    return {"objective": 2.0, "by": "heir"}


def heir(storage: Storage) -> Evaluator:
    return Evaluator.create(run, "thread", {"num_workers": 2, "storage": storage, "search_id": "latest"})


def test_the_jobs_of_a_living_owner_are_left_to_it_and_those_of_a_killed_one_run_again(url: str) -> None:
    with program("hold", url) as owner:
        owner.expect("owner")
        with storage_from_url(url) as storage, heir(storage) as evaluator:
            assert evaluator.resume() == 0  # it lives
            owner.stop()
            assert evaluator.resume() == 0  # it hangs, and its lease has not expired
            assert evaluator.gather() == []

            owner.kill()

            assert evaluator.resume() == 3  # at once: its process has provably ended
            jobs = sorted(evaluator.gather(), key=lambda job: job.number)
            assert [(job.number, job.objective, job.status) for job in jobs] == [
                (n, 2.0, JobStatus.DONE) for n in range(3)
            ]
            assert [job.attempts for job in jobs] == [2, 2, 2]
            assert all("had ended" in job.attempt_errors[0] for job in jobs[:2])
            assert "it waited when its evaluator had ended" in jobs[2].attempt_errors[0]
            assert not any("restored" in job.metadata for job in jobs)
            assert evaluator.resume() == 0
            assert evaluator.gather() == []


@pytest.mark.parametrize("retries", [0, 1])
def test_the_late_result_of_a_lost_attempt_is_ignored(url: str, retries: int) -> None:
    """Also when the owner was at its own second attempt."""
    with program("hold", url, retries) as owner:
        name = owner.expect("owner")
        owner.stop()
        with storage_from_url(url) as storage:
            search = storage.latest_search()
            storage.renew(search, name, ttl=0)  # as if it had hung for longer than its lease
            with heir(storage) as evaluator:
                assert evaluator.resume() == 3
                assert {job.objective for job in evaluator.gather()} == {2.0}

                owner.go_on()
                owner.tell("release")
                owner.skip_to("done")  # it has written what it had to say
                assert evaluator.gather() == []

                records = storage.results(search)
                assert [record.number for record in records] == [0, 1, 2]
                # Those that ran at the owner's had as many attempts before as it allowed; the last one waited.
                assert [record.attempts for record in records] == [2 + retries, 2 + retries, 2]
                for record in records:
                    assert record.status is JobStatus.DONE
                    assert record.output == {"objective": 2.0, "by": "heir"}
                    assert record.recorded == [(1.0, "of the heir")]
                    assert record.owner == evaluator._search.owner
                assert evaluator.gather_other_jobs_done() == []


def test_a_job_taken_over_and_cancelled_before_it_ran_again_is_cancelled_for_everyone(url: str) -> None:
    with program("hold", url) as owner:
        owner.expect("owner")
        owner.kill()
    with storage_from_url(url) as storage:
        evaluator = heir(storage)
        evaluator._core.add_slots(-2)  # nothing runs: all three wait
        assert evaluator.resume() == 3
        assert len(evaluator.close()) == 3
        assert {record.status for record in storage.results()} == {JobStatus.CANCELLED}
        with heir(storage) as third:
            assert third.resume() == 0


def test_of_two_heirs_each_job_goes_to_one(url: str) -> None:
    with program("hold", url) as owner:
        owner.expect("owner")
        owner.kill()
    with storage_from_url(url) as storage, storage_from_url(url) as other_storage:
        with heir(storage) as first, heir(other_storage) as second:
            assert first.resume() == 3
            assert second.resume() == 0
            own = {job.id for job in first.gather()}
            storage.flush()
            # Restored, if they had ended when the second asked.
            seen = [job.id for job in (*second.gather(), *second.gather_other_jobs_done())]
    assert sorted(seen) == sorted(own)
    assert len(own) == 3


def test_a_closed_evaluator_leaves_nothing_to_wait_for(durable: Storage) -> None:
    """Its jobs are cancelled, its lease is given up, and what had finished is restored."""
    with Evaluator.create(run, "serial", {"storage": durable, "num_workers": 1}) as first:
        first.submit([{"x": x} for x in range(3)])
        first.gather("BATCH", 1)
    with heir(durable) as second:
        assert second.resume() == 0
        assert [job.metadata["restored"] for job in second.gather()] == [True]
        (job,) = second.submit([{"x": 3}])
        assert job.number == 3


def test_what_was_restored_once_is_not_restored_again(durable: Storage) -> None:
    with Evaluator.create(run, "thread", {"storage": durable}) as first:
        first.submit([{"x": 0}])
        first.gather()
    with heir(durable) as second:
        second.resume()
        assert [job.number for job in second.gather()] == [0]
        second.submit([{"x": 1}])
        assert [job.number for job in second.gather()] == [1]
        assert second.resume() == 0
        assert second.gather() == []
        assert second.gather_other_jobs_done() == []


def test_what_a_living_client_finished_before_is_restored_and_what_it_finishes_later_is_news(durable: Storage) -> None:
    with Evaluator.create(run, "thread", {"storage": durable}) as first:
        first.submit([{"x": 0}])
        first.gather()
        with heir(durable) as second:
            second.resume()
            first.submit([{"x": 1}])
            first.gather()
            assert [job.number for job in second.gather()] == [0]
            assert [job.number for job in second.gather_other_jobs_done()] == [1]
            assert second.gather_other_jobs_done() == []


def test_restored_and_foreign_jobs_have_their_seeds_and_their_facts(durable: Storage) -> None:
    def seeded(job: RunningJob) -> tuple[float, int]:
        job.metadata["note"] = "kept"
        return 0.0, job.seed

    with Evaluator.create(seeded, "thread", {"storage": durable, "seed": 5}) as first:
        first.submit([{"x": 0}, {"x": 1}])
        before = {job.number: job for job in first.gather()}
    with Evaluator.create(seeded, "thread", {"storage": durable, "search_id": "latest"}) as second:
        assert second.seed == 5
        second.resume()
        for job in second.gather():
            old = before[job.number]
            assert job.objective == (0.0, job.seed) == old.objective
            assert job.seed == old.seed
            assert job.args == old.args
            assert job.metadata == {**old.metadata, "restored": True}
            assert job.worker == old.worker
            assert tuple(job) == tuple(old)


def test_resume_of_a_new_search_does_nothing(durable: Storage) -> None:
    with Evaluator.create(run, "thread", {"storage": durable}) as evaluator:
        evaluator.submit([{"x": 0}])
        assert evaluator.resume() == 0
        assert len(evaluator.gather()) == 1


def test_an_unknown_search_is_refused_at_construction(durable: Storage) -> None:
    from evalpool.errors import UnknownSearch

    with pytest.raises(UnknownSearch, match="holds no search yet"):
        heir(durable)
    durable.create_new_search()
    with pytest.raises(UnknownSearch, match=r"no search '7'.*it holds '0'"):
        Evaluator.create(run, "thread", {"storage": durable, "search_id": "7"})


class _SlowThreads(ThreadPoolEvaluator):
    """Its threads come late to hand over outcomes, as threads may."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.go = threading.Event()
        super().__init__(*args, **kwargs)
        self._record_now, self._core.record = self._core.record, self._record_late

    def _record_late(self, jobs: list[Job[Any]]) -> None:
        self.go.wait(60)
        assert self._record_now is not None
        self._record_now(jobs)


def test_what_gather_returned_is_committed_even_before_the_thread_that_saw_it_has_told(url: str) -> None:
    with storage_from_url(url) as storage, storage_from_url(url) as reader:
        with _SlowThreads(run, storage=storage, num_workers=2) as evaluator:
            evaluator.submit([{"x": 0}, {"x": 1}])
            evaluator.gather("BATCH", 2)
            records = reader.results()
            assert [(record.status, record.objective) for record in records] == [(JobStatus.DONE, 2.0)] * 2
            evaluator.go.set()
        events, _ = storage.read(None)
        assert sum(event.kind == "finished" for event in events) == 2
        assert not evaluator._recorder.unrecorded
