"""Tests of what run-functions return and raise, and of those that crash their worker."""

from __future__ import annotations

import math
from collections.abc import Callable
from signal import Signals
from typing import Any

import numpy as np
import pytest

from evalpool.errors import JobError
from evalpool.models import Retries
from evalpool.outcomes import FailureKind, JobStatus
from evalpool.testing._bench import Bench
from evalpool.worker import RunningJob

__all__ = ["Results"]

Make = Callable[..., Any]

GOOD: list[tuple[str, Callable[[], Any], Any]] = [
    ("an int", lambda: 3, 3),
    ("a float", lambda: -1.5, -1.5),
    ("a numpy scalar", lambda: np.float32(0.5), 0.5),
    ("a numpy int", lambda: np.int64(7), 7),
    ("a 0-d array", lambda: np.array(2.5), 2.5),
    ("a tuple", lambda: (1, 2.0), (1, 2.0)),
    ("a list", lambda: [1, 2], (1, 2)),
    ("a 1-d array", lambda: np.array([0.5, 1.5]), (0.5, 1.5)),
    ("a failure", lambda: "F_out_of_memory", "F_out_of_memory"),
    ("a dict", lambda: {"objective": 1.0, "metadata": {"a": 1}, "extra": "kept"}, 1.0),
    ("a dict with an array", lambda: {"objective": np.array([1.0, 2.0])}, (1.0, 2.0)),
    ("the form of profile", lambda: {"output": 4.0, "metadata": {"memory": 10}}, 4.0),
    ("profile around a dict", lambda: {"output": {"objective": 4.0}, "metadata": {}}, 4.0),
]

BAD: list[tuple[str, Callable[[], Any], str]] = [
    ("None", lambda: None, "None"),
    ("NaN", lambda: math.nan, "finite"),
    ("infinity", lambda: -math.inf, "finite"),
    ("complex", lambda: 1j, "complex"),
    ("text without F", lambda: "oops", "begins with 'F'"),
    ("dict without objective", lambda: {"loss": 1}, "objective"),
    ("NaN in a tuple", lambda: (1.0, math.nan), "position 1"),
    ("None in a list", lambda: [None], "position 0"),
    ("an empty tuple", lambda: (), "empty"),
    ("a 2-d array", lambda: np.zeros((2, 2)), "shape"),
    ("an array of NaN", lambda: np.array([np.nan]), "finite"),
    ("a very long array", lambda: np.zeros(1_000_000), "1000000"),
    ("metadata that is no dict", lambda: {"objective": 1, "metadata": 3}, "metadata"),
    ("a function", lambda: len, "builtin"),
    ("bytes", lambda: b"x" * 10_000_000, "bytes"),
]


class Unprintable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("cannot be printed")

    __repr__ = __str__


class Unloadable:
    """Can be pickled, but cannot be unpickled."""

    def __reduce__(self) -> Any:
        return _refuse, ()


def _refuse() -> None:
    raise ValueError("cannot be unpickled")


class Refusing:
    """Raises the given error when it is pickled."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __reduce__(self) -> Any:
        raise self.error


def _recurse(n: int) -> int:
    return _recurse(n + 1) + 1


def raise_something(job: RunningJob) -> Any:
    kind = job["raise"]
    if kind == "unpicklable":
        error = ValueError("holds a lock")
        error.lock = __import__("threading").Lock()  # type: ignore[attr-defined]
        raise error
    if kind == "recursion":
        return _recurse(0)
    if kind is not None:
        raise {"value": ValueError("the message"), "exit": SystemExit(3), "interrupt": KeyboardInterrupt(),
               "memory": MemoryError(), "unprintable": Unprintable(), "generator": GeneratorExit()}[kind]  # fmt: skip
    return 1.0


class Results(Bench):
    def test_every_valid_form_has_its_objective(self, make: Make) -> None:
        forms = [form for _, form, _ in GOOD]
        evaluator = make(lambda job: forms[job["n"]](), num_workers=2)
        jobs = evaluator.submit([{"n": n} for n in range(len(GOOD))])
        evaluator.gather()
        for job, (name, _, objective) in zip(jobs, GOOD, strict=True):
            assert job.objective == objective, name
            assert job.status is JobStatus.DONE, name
            assert job.output["objective"] == objective, name
            assert type(job.objective) in (int, float, tuple, str), name
        assert jobs[9].metadata["a"] == 1
        assert jobs[9].output == {"objective": 1.0, "extra": "kept"}
        assert jobs[8].kind is FailureKind.RETURNED

    def test_every_invalid_form_fails_its_own_job_and_says_why(self, make: Make) -> None:
        forms = [form for _, form, _ in BAD]
        evaluator = make(lambda job: 1.0 if job["n"] < 0 else forms[job["n"]](), num_workers=2)
        jobs = evaluator.submit([{"n": n} for n in range(len(BAD))] + [{"n": -1}])
        evaluator.gather()
        for job, (name, _, said) in zip(jobs, BAD, strict=False):
            assert (job.objective, job.status) == ("F_invalid_output", JobStatus.FAILED), name
            assert job.kind is FailureKind.INVALID_OUTPUT, name
            assert said in job.error, (name, job.error)
            assert len(job.error) < 2_000, name
        assert jobs[-1].objective == 1.0

    def test_what_is_returned_beside_an_invalid_objective_is_kept(self, make: Make) -> None:
        evaluator = make(lambda job: {"objective": math.nan, "runtime": 2.0, "metadata": {"n": 1}}, num_workers=1)
        (job,) = evaluator.submit([{}])
        evaluator.gather()
        assert job.kind is FailureKind.INVALID_OUTPUT
        assert job.output == {"objective": "F_invalid_output", "runtime": 2.0}
        assert job.metadata["n"] == 1

    def test_a_result_object_is_neither_changed_nor_shared(self, make: Make) -> None:
        returned = {"objective": [1, 2], "metadata": {"n": 0}}
        evaluator = make(lambda job: returned, num_workers=1)
        jobs = evaluator.submit([{}, {}])
        evaluator.gather()
        jobs[0].metadata["n"] = 5
        jobs[0].output["new"] = 1
        assert jobs[1].metadata["n"] == 0
        assert jobs[1].output == {"objective": (1, 2)}
        assert returned == {"objective": [1, 2], "metadata": {"n": 0}}

    @pytest.mark.parametrize(
        ("kind", "name"),
        [
            ("value", "ValueError"),
            ("exit", "SystemExit"),
            ("interrupt", "KeyboardInterrupt"),
            ("memory", "MemoryError"),
            ("recursion", "RecursionError"),
            ("unpicklable", "ValueError"),
            ("unprintable", "Unprintable"),
            ("generator", "GeneratorExit"),
        ],
    )
    def test_an_exception_fails_its_own_job_with_its_traceback(self, make: Make, kind: str, name: str) -> None:
        evaluator = make(raise_something, num_workers=2)
        jobs = evaluator.submit([{"raise": kind if n == 3 else None} for n in range(10)])
        gathered = evaluator.gather()
        assert len(gathered) == 10
        for job in jobs:
            if job.number == 3:
                assert (job.objective, job.status, job.kind) == (f"F_{name}", JobStatus.FAILED, FailureKind.RAISED)
                assert name in job.error
                assert "raise_something" in job.error
            else:
                assert job.objective == 1.0
        assert evaluator.gather() == []  # the exception does not come up again in a later gather

    def test_on_error_raise_raises_after_everything_is_recorded(self, make: Make) -> None:
        evaluator = make(raise_something, on_error="raise")
        jobs = evaluator.submit([{"raise": None}, {"raise": "value"}, {"raise": None}])
        with pytest.raises(JobError, match="the message") as caught:
            evaluator.gather("ALL")
        assert caught.value.job is jobs[1]
        assert len(caught.value.jobs) == 3
        record = evaluator.storage.load_job(jobs[2].id)
        assert record["status"] is JobStatus.DONE
        assert evaluator.gather() == []

    def test_a_job_that_raises_is_retried_and_its_errors_are_kept(self, make: Make) -> None:
        def run(job: RunningJob) -> Any:
            if job.attempt <= job["fails"]:
                raise ValueError(f"attempt {job.attempt}")
            return float(job.attempt)

        evaluator = make(run, retries=2)
        jobs = evaluator.submit([{"fails": n} for n in range(4)])
        evaluator.gather()
        assert [job.objective for job in jobs] == [1.0, 2.0, 3.0, "F_ValueError"]
        assert [job.attempts for job in jobs] == [1, 2, 3, 3]
        assert ["attempt 1" in error for error in jobs[2].attempt_errors] == [True, False]
        record = evaluator.storage.load_record(jobs[2].id)
        assert record.attempts == 3
        assert len(record.attempt_errors) == 2

    def test_retries_tell_the_infrastructure_from_the_run_function(self, make: Make) -> None:
        evaluator = make(raise_something, retries=Retries(worker_died=5, raised=0))
        (job,) = evaluator.submit([{"raise": "value"}])
        evaluator.gather()
        assert job.attempts == 1

    def test_an_unpicklable_configuration_fails_its_own_job(self, make: Make) -> None:
        if not self.pickles:
            pytest.skip("nothing is pickled")
        evaluator = make(lambda job: 1.0, num_workers=2)
        lock = __import__("threading").Lock()
        jobs = evaluator.submit([{"x": 1}, {"x": lock}, {"x": Unloadable()}, {"x": 4}, {"x": lambda: 3}])
        evaluator.gather()
        assert [job.objective for job in jobs] == [1.0, "F_unpicklable", "F_unpicklable", 1.0, 1.0]
        assert "lock" in jobs[1].error
        assert "cannot be unpickled" in jobs[2].error

    def test_a_configuration_whose_own_code_raises_anything_fails_its_own_job(self, make: Make) -> None:
        if not self.pickles:
            pytest.skip("nothing is pickled")
        evaluator = make(lambda job: 1.0, num_workers=2)
        errors = RuntimeError("no copy of me"), SystemExit(3), Unprintable()
        jobs = evaluator.submit([{"x": 1}, *({"x": Refusing(error)} for error in errors), {"x": 4}])
        evaluator.gather()
        assert [job.objective for job in jobs] == [1.0, *["F_unpicklable"] * 3, 1.0]
        assert "no copy of me" in jobs[1].error

    def test_an_unpicklable_result_fails_its_own_job(self, make: Make) -> None:
        if not self.pickles:
            pytest.skip("nothing is pickled")

        def run(job: RunningJob) -> Any:
            import threading

            thing = {0: 1, 1: threading.Lock(), 2: Unloadable()}[job["n"]]
            return {"objective": 1.0, "thing": thing}

        evaluator = make(run, num_workers=2)
        jobs = evaluator.submit([{"n": n} for n in range(3)])
        evaluator.gather()
        assert [job.objective for job in jobs] == [1.0, "F_unpicklable", "F_unpicklable"]
        assert "lock" in jobs[1].error
        assert "cannot be unpickled" in jobs[2].error

    def test_unpicklable_keyword_arguments_fail_every_job(self, make: Make) -> None:
        if not self.pickles:
            pytest.skip("nothing is pickled")
        lock = __import__("threading").Lock()
        evaluator = make(lambda job, lock: 1.0, run_function_kwargs={"lock": lock})
        evaluator.submit([{}, {}])
        jobs = evaluator.gather()
        assert [job.objective for job in jobs] == ["F_unpicklable"] * 2
        assert "lock" in jobs[0].error
        assert "inside the run-function" in jobs[0].error

    @pytest.mark.slow
    def test_large_arrays_travel_both_ways_unharmed(self, make: Make) -> None:
        def run(job: RunningJob) -> Any:
            array = job["array"]
            array += 1  # whether it is a copy or not, the next job must not see the change
            return {"objective": float(array.sum()), "array": array}

        evaluator = make(run, num_workers=2)
        array = np.arange(300_000, dtype=float)
        jobs = evaluator.submit([{"array": array.copy()} for _ in range(4)])
        evaluator.gather()
        for job in jobs:
            assert job.objective == float((array + 1).sum())
            np.testing.assert_array_equal(job.output["array"], array + 1)

    @pytest.mark.slow
    def test_a_result_of_500_mb_arrives(self, make: Make) -> None:
        def run(job: RunningJob) -> Any:
            return {"objective": 1.0, "large": np.zeros(500_000_000 if job["large"] else 1, dtype=np.uint8)}

        evaluator = make(run, num_workers=2)
        jobs = evaluator.submit([{"large": n == 1} for n in range(4)])
        evaluator.gather()
        assert [job.objective for job in jobs] == [1.0] * 4
        assert [job.output["large"].nbytes for job in jobs] == [1, 500_000_000, 1, 1]

    @pytest.mark.slow
    @pytest.mark.parametrize("how", ["exit", "SIGKILL", "SIGABRT", "segfault", "SIGTERM"])
    def test_a_worker_that_dies_costs_one_job_and_says_how_it_died(self, make: Make, how: str) -> None:
        if not self.survives_crashes:
            pytest.skip("documented: a crash takes this engine down")
        evaluator = make(crash, num_workers=2)
        jobs = evaluator.submit([{"how": how if n == 37 else None} for n in range(100)])
        assert len(evaluator.gather()) == 100
        for job in jobs:
            if job.number == 37:
                assert (job.objective, job.kind) == ("F_worker_died", FailureKind.WORKER_DIED)
                assert not self.tells_exit_status or any(each in job.error for each in status_texts(how)), job.error
                assert "last words" in job.error or not self.keeps_stderr
                assert job.metadata["pid"] > 0
            else:
                assert job.objective == 1.0

    @pytest.mark.slow
    def test_twenty_crashes_in_a_hundred_cost_twenty_jobs(self, make: Make) -> None:
        if not self.survives_crashes:
            pytest.skip("documented: a crash takes this engine down")
        evaluator = make(crash, num_workers=2)
        jobs = evaluator.submit([{"how": "exit" if n % 5 == 0 else None} for n in range(100)])
        evaluator.gather()
        assert [job.objective == 1.0 for job in jobs] == [n % 5 != 0 for n in range(100)]

    @pytest.mark.slow
    def test_a_job_that_keeps_killing_workers_is_given_up_alone(self, make: Make) -> None:
        if not self.survives_crashes:
            pytest.skip("documented: a crash takes this engine down")
        evaluator = make(crash, num_workers=2, retries=Retries(worker_died=3, raised=0))
        jobs = evaluator.submit([{"how": "exit" if n == 1 else None} for n in range(10)])
        evaluator.gather()
        assert [job.attempts for job in jobs] == [1, 4, *[1] * 8]
        if self.tells_exit_status:
            assert all("exit code 7" in error for error in jobs[1].attempt_errors)
        assert jobs[1].objective == "F_worker_died"


def status_texts(how: str) -> tuple[str, ...]:
    """Return what may be in the error of a job that ended by `crash`: a signal's name, or its number as exit code."""
    if how == "exit":
        return ("exit code 7",)
    name = {"segfault": "SIGSEGV"}.get(how, how)
    return name, f"exit code {-Signals[name].value}"


def crash(job: RunningJob) -> Any:
    how = job["how"]
    if how is None:
        return 1.0
    import os
    import signal
    import sys

    sys.stderr.write("last words\n")
    if how == "exit":
        os._exit(7)
    if how == "segfault":
        import ctypes

        ctypes.string_at(0)
    os.kill(os.getpid(), getattr(signal, how))
    signal.pause()  # the signal may take a moment to arrive
    return 0.0
