"""The life cycle of an evaluator against a model, in whatever order its methods are called."""

from __future__ import annotations

import threading
import warnings
from collections import Counter
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
)

from evalpool import Evaluator, EvaluatorClosed, JobStatus, MaximumJobsSpawnReached
from evalpool.callbacks import Callback
from evalpool.models import FINAL, TRANSITIONS

KINDS = ("good", "raising", "invalid", "cooperative")


def run(job: Any) -> Any:
    if job["kind"] == "raising":
        raise ValueError(job["x"])
    if job["kind"] == "invalid":
        return None
    if job["kind"] == "cooperative":
        pause = threading.Event()
        for _ in range(5):
            if job.stopped():
                break
            pause.wait(0.002)
    return float(job["x"])


EXPECTED = {"raising": "F_ValueError", "invalid": "F_invalid_output"}


class Heard(Callback):
    def __init__(self) -> None:
        self.launched: Counter[int] = Counter()
        self.done: Counter[int] = Counter()
        self.closed = 0

    def on_launch(self, job: Any) -> None:
        self.launched[job.number] += 1

    def on_done(self, job: Any) -> None:
        assert job.is_done
        self.done[job.number] += 1

    def on_close(self) -> None:
        self.closed += 1


class LifeCycle(RuleBasedStateMachine):
    """The model: which numbers were submitted, which were given back, and the last status seen of each."""

    method: ClassVar[str]
    jobs: Bundle[Any] = Bundle("jobs")

    @initialize(workers=st.integers(1, 3))
    def create(self, workers: int) -> None:
        self.heard = Heard()
        self.evaluator = Evaluator.create(run, self.method, {"num_workers": workers, "callbacks": [self.heard]})
        self.submitted: dict[int, Any] = {}
        self.given_back: dict[int, Any] = {}
        self.seen: dict[int, JobStatus] = {}
        self.cancelled: set[int] = set()
        self.cap: int | None = None
        self.closed = False

    def teardown(self) -> None:
        if hasattr(self, "evaluator"):
            self.take(self.evaluator.close(), JobStatus.CANCELLED)
            self.take(self.evaluator.gather("ALL"))
            assert set(self.given_back) == set(self.submitted)
            assert self.heard.launched == self.heard.done == Counter(list(self.submitted))
            assert self.heard.closed == 1

    def take(self, jobs: list[Any], status: JobStatus | None = None) -> None:
        """Jobs were given back by the evaluator."""
        for job in jobs:
            assert self.submitted[job.number] is job
            assert job.number not in self.given_back, f"{job!r} was given back twice"
            assert job.is_done
            assert status is None or job.status is status
            self.given_back[job.number] = job
            if job.status is JobStatus.CANCELLED:
                assert job.number in self.cancelled or self.closed or status is JobStatus.CANCELLED
                assert job.objective == "F_CANCELLED"
            else:
                assert job.objective == EXPECTED.get(job.args["kind"], float(job.args["x"]))

    def note(self, job: Any) -> Any:
        self.submitted[job.number] = job
        return job

    @rule(target=jobs, kinds=st.lists(st.sampled_from(KINDS), max_size=6))
    def submit(self, kinds: list[str]) -> Any:
        first = len(self.submitted)
        configurations = [{"kind": kind, "x": first + n} for n, kind in enumerate(kinds)]
        if self.closed:
            with pytest.raises(EvaluatorClosed):
                self.evaluator.submit(configurations)
            return multiple()
        if self.cap is not None and kinds and first + len(kinds) > self.cap:
            with pytest.raises(MaximumJobsSpawnReached, match=str(self.cap)):
                self.evaluator.submit(configurations)
            return multiple()
        jobs = self.evaluator.submit(configurations)
        assert [job.id for job in jobs] == [f"{self.evaluator.search_id}.{first + n}" for n in range(len(kinds))]
        return multiple(*map(self.note, jobs))

    def outstanding(self) -> int:
        return len(self.submitted) - len(self.given_back)

    @rule(size=st.integers(1, 8))
    def gather_a_batch(self, size: int) -> None:
        outstanding = self.outstanding()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that the size is reduced
            jobs = self.evaluator.gather("BATCH", size)
        assert len(jobs) >= min(size, outstanding)
        self.take(jobs)

    @rule()
    def gather_all(self) -> None:
        outstanding = self.outstanding()
        jobs = self.evaluator.gather("ALL")
        assert len(jobs) == outstanding
        self.take(jobs)

    @rule(timeout=st.sampled_from([0, 0.002]))
    def look_without_waiting_long(self, timeout: float) -> None:
        self.take(self.evaluator.gather("ALL", timeout=timeout))

    @rule(some=st.lists(consumes(jobs), max_size=3))
    def cancel(self, some: list[Any]) -> None:
        unfinished = {job.number for job in some if not job.is_done}
        self.cancelled |= unfinished
        assert self.evaluator.cancel(some) <= len(unfinished)

    @rule(job=jobs)
    def cancel_one(self, job: Any) -> None:
        self.cancelled.add(job.number)
        was_done = job.is_done
        assert not (job.cancel() and was_done)

    @rule(more=st.none() | st.integers(0, 8))
    def set_cap(self, more: int | None) -> None:
        self.cap = None if more is None else len(self.submitted) + more
        self.evaluator.set_maximum_num_jobs_submitted(self.cap)

    @rule(timeout=st.sampled_from([None, 1000.0]))
    def set_time_budget(self, timeout: float | None) -> None:
        self.evaluator.timeout = timeout
        left = self.evaluator.time_left
        assert left is None if timeout is None else 0 < left <= timeout

    @precondition(lambda self: not self.closed and self.cap is None)
    @rule(
        kinds=st.lists(st.sampled_from(KINDS), max_size=6),
        pending=st.none() | st.integers(1, 4),
        stop=st.integers(0, 7),
    )
    def iterate(self, kinds: list[str], pending: int | None, stop: int) -> None:
        first = len(self.submitted)
        configurations = ({"kind": kind, "x": first + n} for n, kind in enumerate(kinds))
        stream = self.evaluator.as_completed(configurations, pending)
        taken = []
        for job in stream:
            taken.append(job)
            if len(taken) > stop:
                break
        stream.close()
        for job in taken:
            self.note(job)
        self.take(taken)
        # What it had out when it was closed is cancelled and nobody's; nothing is out when it came to its end.
        rest = set(range(first, self.evaluator.num_jobs_submitted)) - set(self.submitted)
        assert len(taken) > stop or not rest
        assert len(rest) <= (pending or 2 * self.evaluator.num_workers)
        self.submitted.update(dict.fromkeys(rest))
        self.given_back.update(dict.fromkeys(rest))

    @rule()
    def close(self) -> None:
        expected = {n for n, job in self.submitted.items() if n not in self.given_back and not job.is_done}
        jobs = self.evaluator.close()
        if self.closed:
            assert jobs == []
        assert {job.number for job in jobs} <= expected
        self.closed = True
        self.take(jobs, JobStatus.CANCELLED)

    @invariant()
    def statuses_only_move_as_they_may(self) -> None:
        for number, job in self.submitted.items():
            if job is None:
                continue
            before = self.seen.get(number, JobStatus.READY)
            was_done, now, is_done = job.is_done, job.status, job.is_done  # it may end between these
            assert now is before or now in _reachable(before), (job, before)
            self.seen[number] = now
            assert was_done <= (now in FINAL) <= is_done

    @invariant()
    def the_counters_are_right(self) -> None:
        if not hasattr(self, "evaluator"):
            return
        assert self.evaluator.num_jobs_submitted == len(self.submitted)
        assert self.evaluator.num_jobs_gathered == len(self.given_back)
        assert set(self.submitted) == set(range(len(self.submitted)))
        assert set(self.heard.done) <= set(self.submitted)
        assert all(count == 1 for count in self.heard.done.values())
        assert set(self.given_back) <= set(self.heard.done)


def _reachable(status: JobStatus) -> set[JobStatus]:
    """All statuses that a job may have come to meanwhile."""
    found: set[JobStatus] = set()
    todo = [status]
    while todo:
        for following in TRANSITIONS[todo.pop()] - found:
            found.add(following)
            todo.append(following)
    return found


def machine(name: str, examples: int, steps: int) -> Any:
    """The test case of one backend."""
    case = type(name.capitalize(), (LifeCycle,), {"method": name}).TestCase
    checks = [HealthCheck.too_slow, HealthCheck.data_too_large]
    case.settings = settings(
        max_examples=examples, stateful_step_count=steps, deadline=None, suppress_health_check=checks
    )
    return pytest.mark.slow(case)


TestSerial = machine("serial", 60, 30)
TestThread = machine("thread", 60, 30)
TestProcess = machine("process", 12, 30)
