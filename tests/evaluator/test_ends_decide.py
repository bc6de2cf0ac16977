"""What a job ends as follows from its own start and end, whenever its result is read and whenever a timer fires."""

from __future__ import annotations

import time
from typing import Any

import pytest

from evalpool import Job, JobStatus, ProcessPoolEvaluator, ThreadPoolEvaluator
from evalpool.backends import Attempt, Backend, Port
from evalpool.evaluator import Evaluator
from evalpool.outcomes import FailureKind, Outcome, Worker


class Hand(Backend):
    """An engine whose outcomes come when the test says so, as of workers whom nobody could hear for a while."""

    workers_are = "processes"

    def start(self, port: Port) -> None:
        self.port = port
        self.attempts: dict[Job[Any], Attempt] = {}

    def run(self, attempts: list[Attempt]) -> None:
        for attempt in attempts:
            self.attempts[attempt.job] = attempt
            self.port.started(attempt, None)


class ByHand(Evaluator):
    """The evaluator on it."""

    backend_class = Hand
    _backend: Hand

    def attempt(self, job: Job[Any]) -> Attempt:
        return self._backend.attempts[job]

    def report(self, job: Job[Any], outcome: Outcome) -> None:
        self._backend.port.report([(self.attempt(job), outcome)])

    def ended(self, job: Job[Any], start: float, end: float, host: str | None = None) -> None:
        worker = None if host is None else Worker("far-0", host, 1)
        self.report(job, Outcome(JobStatus.DONE, 7.0, start=start, end=end, worker=worker))


def one_job(evaluator: ByHand) -> Job[Any]:
    return evaluator.submit([{"x": 0}])[0]


@pytest.mark.parametrize(
    ("duration", "objective"), [(0.9, 7.0), (30.0, 7.0), (30.1, "F_timeout")], ids=["early", "in time", "over"]
)
@pytest.mark.parametrize("fired", [False, True])
def test_a_jobs_own_duration_decides_whether_it_timed_out(duration: float, objective: Any, fired: bool) -> None:
    with ByHand(lambda job: 0, job_timeout=30.0) as evaluator:
        job = one_job(evaluator)
        if fired:
            evaluator._stops.stop(evaluator.attempt(job), FailureKind.TIMEOUT)
            assert job.status is JobStatus.CANCELLING
        evaluator.ended(job, 100.0, 100.0 + duration)
        assert [job.objective for job in evaluator.gather()] == [objective]


def test_a_job_that_had_ended_when_it_was_cancelled_keeps_its_result() -> None:
    with ByHand(lambda job: 0, num_workers=2) as evaluator:
        done, running = evaluator.submit([{"x": 0}, {"x": 1}])
        ended = time.monotonic()
        evaluator.cancel([done, running])
        evaluator.ended(done, ended - 1.0, ended)
        evaluator.ended(running, ended - 1.0, time.monotonic())
        assert {job.number: job.status for job in evaluator.gather()} == {
            0: JobStatus.DONE,
            1: JobStatus.CANCELLED,
        }
        assert done.kind is None
        assert running.kind is FailureKind.CANCELLED


def test_a_job_elsewhere_is_judged_by_its_duration() -> None:
    with ByHand(lambda job: 0, num_workers=2, job_timeout=1000.0) as evaluator:
        short, long = evaluator.submit([{"x": 0}, {"x": 1}])
        started = time.monotonic()
        evaluator.cancel([short, long])
        # Read much later, and so on our clock they end late.
        evaluator.ended(short, started + 50.0, started + 50.0, host="another host")
        evaluator.ended(long, started + 10.0, started + 50.0, host="another host")
        evaluator.gather()
        assert (short.status, long.status) == (JobStatus.DONE, JobStatus.CANCELLED)


@pytest.mark.parametrize("fired", [False, True])
def test_the_time_budget_goes_by_when_a_job_ended(fired: bool) -> None:
    with ByHand(lambda job: 0, num_workers=2) as evaluator:
        evaluator.timeout = 1000.0
        within, over = evaluator.submit([{"x": 0}, {"x": 1}])
        end = evaluator._stops.budget_end
        if fired:
            evaluator._stops.end_all(FailureKind.CANCELLED, "", end)
            within._asked = over._asked = end
        evaluator.ended(within, end - 5.0, end)
        evaluator.ended(over, end - 5.0, end + 0.1)
        evaluator.gather()
        assert (within.status, over.status) == (JobStatus.DONE, JobStatus.CANCELLED)


def test_a_worker_that_died_of_the_stop_is_the_stops_outcome() -> None:
    with ByHand(lambda job: 0, job_timeout=30.0) as evaluator:
        job = one_job(evaluator)
        evaluator._stops.stop(evaluator.attempt(job), FailureKind.TIMEOUT)
        now = time.monotonic()
        dead = Outcome(JobStatus.FAILED, "F_worker_died", kind=FailureKind.WORKER_DIED, start=now, end=now)
        evaluator.report(job, dead)
        assert [job.objective for job in evaluator.gather()] == ["F_timeout"]


def hold_the_gil(seconds: float) -> None:
    """As C code that does not release it."""
    end = time.monotonic() + seconds
    step = 5_000_000
    while time.monotonic() < end:
        began = time.monotonic()
        sum(range(step))
        step = max(1, int(step * (end - time.monotonic()) / (time.monotonic() - began)))


@pytest.mark.slow
@pytest.mark.parametrize("method", [ProcessPoolEvaluator, ThreadPoolEvaluator])
def test_a_search_that_holds_the_gil_times_out_no_job_that_ended_in_time(method: type[Evaluator]) -> None:
    def run(job: Any) -> float:
        time.sleep(0.1)
        return 1.0

    with method(run, num_workers=1, job_timeout=0.5) as evaluator:
        evaluator.submit([{"x": 0}])
        evaluator.gather()
        jobs = evaluator.submit([{"x": x} for x in range(2)])
        hold_the_gil(1.2)
        assert [job.objective for job in evaluator.gather()] == [1.0, 1.0]
        assert [job.attempts for job in jobs] == [1, 1]


with pytest.warns(DeprecationWarning, match="old form"):

    class Licences(ThreadPoolEvaluator):
        """Lends a licence, by a server that fails at the first request and at the first return."""

        asked = returned = 0

        def _acquire(self, job: Job[Any]) -> dict[str, Any] | None:
            self.asked += 1
            if self.asked == 1:
                raise ConnectionError("licence server away")
            return {}

        def _release(self, job: Job[Any]) -> None:
            self.returned += 1
            if self.returned == 1:
                raise ConnectionError("licence server away again")

        def _describe_extra(self, extra: dict[str, Any]) -> dict[str, Any]:
            raise ValueError("not described")


@pytest.mark.parametrize("retries", [0, 1])
def test_hooks_of_a_decorator_that_raise_cost_at_most_their_job(retries: int) -> None:
    with Licences(lambda job: 1.0, num_workers=1, retries=retries) as evaluator:
        jobs = evaluator.submit([{"x": x} for x in range(3)])
        assert len(evaluator.gather("ALL", timeout=20)) == 3
        first = jobs[0]
        if retries:
            assert first.objective == 1.0
            assert "licence server away" in first.attempt_errors[0]
        else:
            assert first.objective == "F_worker_died"
            assert first.error is not None
            assert "ConnectionError: licence server away" in first.error
        assert [job.objective for job in jobs[1:]] == [1.0, 1.0]
        assert evaluator.num_jobs_gathered == 3
