"""The ask-and-tell loop: what it asks, what it tells, and when it ends."""

from __future__ import annotations

import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evalpool.backends import SerialEvaluator, ThreadPoolEvaluator
from evalpool.callbacks import Callback, CSVLoggerCallback, SearchEarlyStopping
from evalpool.errors import BadArgument, JobError
from evalpool.evaluator import Job, RandomSearch, optimize
from evalpool.jobs import Submission
from evalpool.models import FailureKind, JobStatus
from evalpool.storage import MemoryStorage
from evalpool.tables._tables import read_table

pause = threading.Event()  # never set: to wait for a moment between two looks


class Asking:
    """An optimiser that proposes 0, 1, 2, ... and remembers what happened, in order."""

    def __init__(self) -> None:
        self.events: list[tuple[str, Any]] = []
        self.count = 0

    def ask(self) -> dict[str, Any]:
        self.count += 1
        self.events.append(("ask", self.count - 1))
        return {"i": self.count - 1}

    def tell(self, job: Job[Any]) -> None:
        self.events.append(("tell", job.args["i"]))

    @property
    def told(self) -> list[int]:
        return [i for what, i in self.events if what == "tell"]


def run(job: Any) -> float:
    return float(job["i"])


def wait_until(condition: Callable[[], bool]) -> None:
    for _ in range(30_000):
        if condition():
            return
        pause.wait(0.001)
    raise AssertionError("it did not happen within half a minute")


def interrupt_main_thread_in_its_wait() -> None:
    main = threading.main_thread().ident or 0
    # Some looks in a row, for a signal that comes between Python's last check and the system call is not
    # seen before the call returns.
    wait_until(
        lambda: all(sys._current_frames()[main].f_code.co_name == "wait" and not pause.wait(0.005) for _ in range(5))
    )
    signal.pthread_kill(main, signal.SIGINT)


@pytest.fixture(params=[SerialEvaluator, ThreadPoolEvaluator], ids=["serial", "thread"])
def backend(request: pytest.FixtureRequest) -> Any:
    return request.param


# How many, and in which order.


@pytest.mark.parametrize("max_evals", [1, 2, 3, 10])
@pytest.mark.parametrize("num_workers", [1, 2, 4])
def test_it_makes_exactly_max_evals_evaluations(backend: Any, num_workers: int, max_evals: int) -> None:
    optimizer = Asking()
    with backend(run, num_workers=num_workers) as evaluator:
        jobs = optimize(evaluator, optimizer, max_evals=max_evals)
        assert evaluator.num_jobs_submitted == max_evals
        assert evaluator.close() == []
    assert sorted(job.args["i"] for job in jobs) == list(range(max_evals))
    assert [job.args["i"] for job in jobs] == optimizer.told


def test_one_worker_is_told_each_result_before_the_next_proposal() -> None:
    optimizer = Asking()
    with SerialEvaluator(run) as evaluator:
        optimize(evaluator, optimizer, max_evals=3)
    assert optimizer.events == [(what, i) for i in range(3) for what in ("ask", "tell")]


def test_all_workers_are_busy_at_the_same_time() -> None:
    meeting = threading.Barrier(3)

    def meet(job: Any) -> float:
        meeting.wait(30)
        return 1.0

    with ThreadPoolEvaluator(meet, num_workers=3) as evaluator:
        assert len(optimize(evaluator, Asking(), max_evals=6)) == 6


def test_no_more_jobs_are_out_than_there_are_workers() -> None:
    optimizer = Asking()
    with ThreadPoolEvaluator(run, num_workers=2) as evaluator:
        optimize(evaluator, optimizer, max_evals=10)
    out = [sum(1 if what == "ask" else -1 for what, _ in optimizer.events[:n]) for n in range(21)]
    assert max(out) == 2


def test_max_pending_lets_more_jobs_wait() -> None:
    optimizer = Asking()
    with SerialEvaluator(run) as evaluator:
        optimize(evaluator, optimizer, max_evals=6, max_pending=3)
    assert optimizer.events[:2] == [("ask", 0), ("ask", 1)]


def test_a_result_that_arrives_while_the_optimiser_thinks_is_told_before_the_next_proposal() -> None:
    launched: list[Job[Any]] = []

    class Remember(Callback):
        def on_launch(self, job: Job[Any]) -> None:
            launched.append(job)

    class Thinking(Asking):
        def ask(self) -> dict[str, Any]:
            if self.count == 1:  # job 0 ends while proposal 1 is made
                wait_until(lambda: launched[0].is_done)
            return super().ask()

    optimizer = Thinking()
    with ThreadPoolEvaluator(run, num_workers=3, callbacks=[Remember()]) as evaluator:
        optimize(evaluator, optimizer, max_evals=3)
    assert optimizer.events[:3] == [("ask", 0), ("ask", 1), ("tell", 0)]


def test_jobs_submitted_before_are_told_and_counted() -> None:
    optimizer = Asking()
    optimizer.count = 100
    with SerialEvaluator(run) as evaluator:
        evaluator.submit([{"i": 0}, {"i": 1}])
        jobs = optimize(evaluator, optimizer, max_evals=4)
    assert optimizer.told == [0, 1, 100, 101]
    assert len(jobs) == 4


def test_a_second_call_goes_on_with_new_evaluations() -> None:
    with SerialEvaluator(run) as evaluator:
        optimizer = Asking()
        assert len(optimize(evaluator, optimizer, max_evals=3)) == 3
        assert len(optimize(evaluator, optimizer, max_evals=2)) == 2
    assert optimizer.told == [0, 1, 2, 3, 4]


def test_results_of_another_client_are_told_and_not_counted() -> None:
    storage = MemoryStorage()
    with SerialEvaluator(run, storage=storage) as other:
        other.submit([{"i": 50}])
        other.gather()
        optimizer = Asking()
        with SerialEvaluator(run, storage=storage, search_id=other.search_id) as evaluator:
            jobs = optimize(evaluator, optimizer, max_evals=2)
    assert sorted(optimizer.told) == [0, 1, 50]
    assert [job.args["i"] for job in jobs] == [0, 1]


def test_the_cap_on_submissions_ends_the_search() -> None:
    with SerialEvaluator(run) as evaluator:
        evaluator.set_maximum_num_jobs_submitted(3)
        assert len(optimize(evaluator, Asking(), max_evals=10)) == 3


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 25), st.integers(1, 4), st.integers(1, 6), st.integers(0, 5))
def test_every_proposal_is_told_once(max_evals: int, workers: int, pending: int, before: int) -> None:
    optimizer = Asking()
    with ThreadPoolEvaluator(run, num_workers=workers) as evaluator:
        evaluator.submit([{"i": -1 - i} for i in range(before)])
        jobs = optimize(evaluator, optimizer, max_evals=max_evals, max_pending=pending)
        assert evaluator.num_jobs_submitted == max(max_evals, before)
    assert Counter(optimizer.told) == Counter(job.args["i"] for job in jobs)
    assert max(Counter(optimizer.told).values()) == 1
    assert len(jobs) == max(max_evals, before)


# Failures.


def test_failures_are_told_and_counted() -> None:
    told = []

    class Recording(Asking):
        def tell(self, job: Job[Any]) -> None:
            told.append((job.objective, job.kind))

    def fail(job: Any) -> Any:
        return "F_no" if job["i"] else 1 / 0

    with SerialEvaluator(fail) as evaluator:
        optimize(evaluator, Recording(), max_evals=2)
    assert told == [("F_ZeroDivisionError", FailureKind.RAISED), ("F_no", FailureKind.RETURNED)]


def test_a_job_that_a_callback_cancels_is_told_as_cancelled_and_counted() -> None:
    class Impatient(Callback):
        def on_launch(self, job: Job[Any]) -> None:
            if job.args["i"] == 1:
                job.cancel()

    told: dict[int, Any] = {}

    class Recording(Asking):
        def tell(self, job: Job[Any]) -> None:
            told[job.args["i"]] = job.kind

    with SerialEvaluator(run, callbacks=[Impatient()]) as evaluator:
        assert len(optimize(evaluator, Recording(), max_evals=3)) == 3
    assert told == {0: None, 1: FailureKind.CANCELLED, 2: None}


@pytest.mark.parametrize("method", ["ask", "tell"])
def test_an_optimiser_that_raises_is_heard_after_what_runs_was_cancelled(method: str) -> None:
    started = threading.Event()

    class Broken(Asking):
        def ask(self) -> dict[str, Any]:
            if method == "ask" and self.count == 2:
                assert started.wait(30)
                raise LookupError("no idea")
            return super().ask()

        def tell(self, job: Job[Any]) -> None:
            if method == "tell":
                assert started.wait(30)
                raise LookupError("too much")

    def last(job: Any) -> float:
        if job["i"] == 1:
            started.set()
            wait_until(job.stopped)
        return 1.0

    with ThreadPoolEvaluator(last, num_workers=3) as evaluator:
        with pytest.raises(LookupError):
            optimize(evaluator, Broken(), max_evals=9)
        assert evaluator.gather() == []  # nothing is left of the search
        evaluator.submit([{"i": 0}])
        assert [job.objective for job in evaluator.gather()] == [1.0]


def test_the_results_before_an_optimiser_raised_are_in_the_table(tmp_path: Any) -> None:
    class Broken(Asking):
        def ask(self) -> dict[str, Any]:
            if self.count == 2:
                raise LookupError("no idea")
            return super().ask()

    path = tmp_path / "results.csv"
    with SerialEvaluator(run, callbacks=[CSVLoggerCallback(path)]) as evaluator:
        with pytest.raises(LookupError):
            optimize(evaluator, Broken(), max_evals=9)
        assert [row["p:i"] for row in read_table(path)] == [0, 1]


def test_on_error_raise_ends_the_search_with_the_first_failure() -> None:
    with ThreadPoolEvaluator(lambda job: 1 / 0, num_workers=2, on_error="raise") as evaluator:
        with pytest.raises(JobError, match="ZeroDivisionError"):
            optimize(evaluator, Asking(), max_evals=50)
        assert evaluator.num_jobs_submitted == evaluator.num_jobs_gathered


# Ends.


def test_early_stopping_ends_the_search() -> None:
    with SerialEvaluator(lambda job: 1.0, callbacks=[SearchEarlyStopping(patience=5)]) as evaluator:
        assert len(optimize(evaluator, Asking())) == 6


def test_what_runs_when_a_callback_stops_the_search_is_cancelled_and_not_told() -> None:
    started = threading.Event()

    def run_until_stopped(job: Any) -> float:
        if job["i"] == 0:
            assert started.wait(30)
            return 1.0
        started.set()
        wait_until(job.stopped)
        return 2.0

    class StopAtOnce(Callback):
        search_stopped = False

        def on_done(self, job: Job[Any]) -> None:
            self.search_stopped = True

    optimizer = Asking()
    with ThreadPoolEvaluator(run_until_stopped, num_workers=2, callbacks=[StopAtOnce()]) as evaluator:
        jobs = optimize(evaluator, optimizer)
        assert evaluator.num_jobs_submitted == evaluator.num_jobs_gathered == 2
    assert [job.args["i"] for job in jobs] == optimizer.told == [0]


@pytest.mark.slow
def test_the_timeout_ends_the_search_and_is_lifted_afterwards() -> None:
    def forever(job: Any) -> float:
        wait_until(job.stopped)
        return 1.0

    optimizer = Asking()
    with ThreadPoolEvaluator(forever, num_workers=2) as evaluator:
        assert optimize(evaluator, optimizer, timeout=0.3) == []
        assert optimizer.told == []
        assert evaluator.timeout is None
        # Where the machine is busy, the time may be spent before the second worker is given a job.
        assert evaluator.num_jobs_gathered == evaluator.num_jobs_submitted == optimizer.count
        assert 1 <= optimizer.count <= 2


@pytest.mark.slow
def test_what_finished_before_the_timeout_is_kept() -> None:
    def run_first(job: Any) -> float:
        if job["i"] > 0:
            wait_until(job.stopped)
        return 1.0

    optimizer = Asking()
    with ThreadPoolEvaluator(run_first, num_workers=2) as evaluator:
        jobs = optimize(evaluator, optimizer, timeout=0.4)
    assert [job.args["i"] for job in jobs] == optimizer.told == [0]


def test_a_budget_of_the_evaluator_is_kept_when_it_is_the_smaller_one() -> None:
    with SerialEvaluator(run) as evaluator:
        evaluator.timeout = 50
        optimize(evaluator, Asking(), max_evals=1, timeout=100)
        assert evaluator.timeout == 50


def test_a_budget_of_the_evaluator_goes_on_after_a_shorter_search() -> None:
    with SerialEvaluator(run) as evaluator:
        evaluator.timeout = 1000
        optimize(evaluator, Asking(), max_evals=1, timeout=10)
        left = evaluator.time_left
        assert left is not None
        assert 900 < left <= 1000


def test_an_interrupt_keeps_what_was_gathered_and_stops_what_runs(tmp_path: Any) -> None:
    path = tmp_path / "results.csv"
    stopped = threading.Event()

    def interrupted(job: Any) -> float:
        if job["i"] == 3:
            interrupt_main_thread_in_its_wait()
            wait_until(job.stopped)
            stopped.set()
        return 1.0

    with ThreadPoolEvaluator(interrupted, num_workers=1, callbacks=[CSVLoggerCallback(path)]) as evaluator:
        with pytest.raises(KeyboardInterrupt):
            optimize(evaluator, Asking(), max_evals=100)
        assert [row["p:i"] for row in read_table(path)] == [0, 1, 2]
        assert stopped.wait(30)
        assert [job.status for job in evaluator.gather()] == [JobStatus.CANCELLED]


# What it refuses.


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({}, "Nothing would end this search"),
        ({"max_evals": 0}, "max_evals is 0"),
        ({"max_evals": 1.5}, "max_evals is 1.5"),
        ({"max_evals": True}, "max_evals is True"),
        ({"timeout": 0}, "timeout is 0"),
        ({"timeout": "1"}, "timeout is '1'"),
        ({"max_evals": 1, "max_pending": 0}, "max_pending is 0"),
    ],
)
def test_wrong_limits_are_refused(keywords: Any, message: str) -> None:
    with SerialEvaluator(run) as evaluator, pytest.raises(BadArgument, match=message):
        optimize(evaluator, Asking(), **keywords)


def test_a_plain_callback_is_no_end() -> None:
    with SerialEvaluator(run, callbacks=[Callback()]) as evaluator:
        with pytest.raises(BadArgument, match="Nothing would end"):
            optimize(evaluator, Asking())


def test_something_else_than_an_evaluator_is_refused() -> None:
    with pytest.raises(BadArgument, match="give an Evaluator"):
        optimize(run, Asking(), max_evals=1)  # type: ignore[arg-type]


def test_an_optimiser_that_cannot_tell_is_refused() -> None:
    class Mute:
        def ask(self) -> dict[str, Any]:
            return {}

    with SerialEvaluator(run) as evaluator:
        with pytest.raises(BadArgument, match="has no method tell"):
            optimize(evaluator, Mute(), max_evals=1)
        with pytest.raises(BadArgument, match="is the class Asking"):
            optimize(evaluator, Asking, max_evals=1)


def test_who_watches_the_storage_knows_how_much_there_will_be() -> None:
    with MemoryStorage() as storage, SerialEvaluator(run, storage=storage) as evaluator:
        optimize(evaluator, RandomSearch({"x": (0, 9)}, seed=0), max_evals=3)
        assert storage.load_search_value(evaluator.search_id, "max_evals") == 3


def test_a_proposal_may_have_options() -> None:
    class Marks:
        def __init__(self) -> None:
            self.told: list[tuple[str, ...]] = []

        def ask(self) -> Submission:
            return Submission({"x": len(self.told)}, tags=[f"round {len(self.told)}"])

        def tell(self, job: Any) -> None:
            self.told.append(job.options.tags)

    marks = Marks()
    with SerialEvaluator(lambda job: job["x"]) as evaluator:
        jobs = optimize(evaluator, marks, max_evals=3)
    assert [job.options.tags for job in jobs] == marks.told == [("round 0",), ("round 1",), ("round 2",)]
