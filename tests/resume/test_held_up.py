"""An owner that stood still for longer than its lease (SIGSTOP, a laptop's lid) gives back what the storage holds."""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from evalpool import Evaluator, RunningJob
from evalpool.outcomes import FailureKind, JobStatus
from evalpool.storage import Storage, new_owner, storage_from_url
from resume.processes import BOUND, Program, program

pytestmark = pytest.mark.slow

ROUNDS = 14
"""Steps between a search and its storage; the last of them are those of its close."""


def run(job: RunningJob) -> float:
    return 100.0 + job["x"]


def heir(storage: Storage, run_function: Any = run) -> Evaluator:
    settings = {"num_workers": 2, "storage": storage, "search_id": "latest"}
    return Evaluator.create(run_function, "thread", settings)


def until(condition: Any) -> None:
    pause, end = threading.Event(), time.monotonic() + BOUND
    while not condition():
        assert time.monotonic() < end, f"did not happen in {BOUND} s"
        pause.wait(0.01)


def wait_until_stopped(owner: Program) -> None:
    os.waitid(os.P_PID, owner.process.pid, os.WSTOPPED | os.WNOWAIT)


def leases(storage: Storage) -> dict[str, float]:
    with storage._fold_lock:
        return dict(storage._search(storage.latest_search()).leases)


def leases_have_ended(storage: Storage) -> bool:
    return all(expires < time.time() for expires in leases(storage).values())


def kept(storage: Storage) -> dict[int, list[Any]]:
    return {
        record.number: [record.number, record.objective, record.status.name, record.attempts]
        for record in storage.results()
    }


def test_wherever_an_owner_stands_still_it_gives_back_each_job_once_and_as_the_storage_has_it(url: str) -> None:
    stopped = taken_over = 0
    with program("stand_still", url, ROUNDS) as owner, storage_from_url(url) as storage:
        for n in range(ROUNDS):
            line = owner.line()
            if line == "stops":
                stopped += 1
                wait_until_stopped(owner)
                until(lambda: leases_have_ended(storage))
                with heir(storage) as evaluator:
                    taken_over += evaluator.resume()
                    evaluator.gather()
                owner.go_on()
                line = owner.line()
            word, _, facts = line.partition(" ")
            assert word == "round", line
            jobs, others = json.loads(facts)
            assert sorted(jobs) == list(kept(storage).values()), f"stopped at step {n}"
            assert [job[0] for job in sorted(jobs)] == [0, 1, 2, 3]
            assert all(job[2] == "DONE" for job in jobs)
            assert others == []
            owner.tell("next")
    assert stopped > ROUNDS / 2
    assert taken_over


@pytest.mark.parametrize("method", ["thread", "process"])
def test_jobs_that_were_claimed_are_stopped_and_their_claimants_results_waited_for(
    method: str, durable: Storage, url: str
) -> None:
    go_on = threading.Event()

    def slow(job: RunningJob) -> float:
        assert go_on.wait(BOUND)
        return run(job)

    with program("owner", url, method) as owner:
        name = owner.skip_to("gathers")
        until(lambda: sum(record.status is JobStatus.RUNNING for record in durable.results()) == 2)
        owner.stop()
        with heir(durable, slow) as evaluator:
            until(lambda: evaluator.resume() == 4)
            stopped_at = time.time()
            owner.go_on()
            until(lambda: leases(durable)[name] > stopped_at)  # it has looked while they still run at the heir
            go_on.set()
            evaluator.gather()
            assert sorted(json.loads(owner.skip_to("gathered"))) == [[x, 100.0 + x, 2] for x in range(4)]
        assert owner.skip_to("last") == "4 F_CANCELLED []"


def test_an_owner_whose_jobs_nobody_claimed_goes_on_and_has_lost_nothing(url: str) -> None:
    with program("owner", url, "thread") as owner, storage_from_url(url) as storage:
        owner.skip_to("gathers")
        for _ in range(3):
            until(lambda: not leases_have_ended(storage))
            owner.stop()
            until(lambda: leases_have_ended(storage))
            owner.go_on()
        until(lambda: not leases_have_ended(storage))
        with heir(storage) as evaluator:
            assert evaluator.resume() == 0
        assert [record.attempts for record in storage.results()] == [1, 1, 0, 0]


def test_jobs_whose_claimant_is_gone_are_taken_back(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/results.db"
    with program("owner", url, "thread") as owner, storage_from_url(url) as storage:
        name = owner.skip_to("gathers")
        until(lambda: sum(record.status is JobStatus.RUNNING for record in storage.results()) == 2)
        owner.stop()
        claimant = new_owner()
        storage.lease("0", claimant, BOUND)
        until(lambda: len(storage.claim_lost("0", claimant)) == 4)
        stopped_at = time.time()
        owner.go_on()
        until(lambda: leases(storage)[name] > stopped_at)
        storage.lease("0", claimant, 0)
        jobs = json.loads(owner.skip_to("gathered"))
        assert sorted(jobs) == [[float(x), float(x), 3] for x in range(4)]
        assert sorted(jobs) == [[record.number, record.objective, record.attempts] for record in storage.results()[:4]]
        assert owner.skip_to("last") == "4 F_CANCELLED []"


def test_claimed_jobs_that_nobody_waits_for_any_more_are_left_to_their_claimant(durable: Storage) -> None:
    def wait(job: RunningJob) -> float:
        while not job.stopped():
            threading.Event().wait(0.005)
        return 0.0

    with Evaluator.create(wait, "thread", {"storage": durable}) as evaluator:
        jobs = evaluator.submit([{"x": x} for x in range(3)])
        claimant = new_owner()
        durable.lease("0", claimant, BOUND)
        durable.lease("0", evaluator._search.owner, 0)  # as if it had ended
        assert len(durable.claim_lost("0", claimant)) == 3
        evaluator._fence.check()

        assert evaluator.cancel(jobs[2]) == 1
        assert evaluator.gather("BATCH", 1) == [jobs[2]]
        left = evaluator.close()
        left += evaluator.gather()  # the one that ran, if it stopped before the evaluator was closed

        assert sorted(left, key=lambda job: job.number) == jobs[:2]
        assert {(job.status, job.kind) for job in jobs} == {(JobStatus.CANCELLED, FailureKind.SUSPENDED)}
    assert {(record.status, record.owner) for record in durable.results()} == {(JobStatus.READY, claimant)}
