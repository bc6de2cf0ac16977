"""Workers that start, crash and are taken away: right times, worked out by hand, on every face and backend."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from typing import Any, ClassVar

import pytest

from evalpool import BadArgument, ProcessPoolEvaluator, Retries, SerialEvaluator, ThreadPoolEvaluator
from evalpool.errors import SimulationError
from evalpool.outcomes import FailureKind
from evalpool.simulation import Distribution, WorkerModel, simulate, simulated
from evalpool.simulation._kernel import Kernel

RUNTIMES = [4.0, 1.0, 2.0, 2.0, 3.0, 1.0, 2.0]


def train(job: Any) -> dict[str, float]:
    return {"objective": job["n"], "runtime": RUNTIMES[job["n"] % len(RUNTIMES)]}


class InLine:
    """Proposes 0, 1, 2, ... and keeps the jobs that it is told."""

    def __init__(self) -> None:
        self.number, self.told = 0, []  # type: ignore[var-annotated]

    def ask(self) -> dict[str, int]:
        self.number += 1
        return {"n": self.number - 1}

    def tell(self, job: Any) -> None:
        self.told.append(job)


class CrashesAt(WorkerModel):
    """A model whose crashes are listed: (job, attempt from 0) -> share of the runtime."""

    __slots__ = ("crashes",)

    def __init__(self, crashes: dict[tuple[int, int], float], **more: Any) -> None:
        super().__init__(**more)
        self.crashes = crashes

    def crashes_at(self, job: int, attempt: int) -> float | None:
        return self.crashes.get((job, attempt))


def rows(result: Any) -> list[tuple[Any, ...]]:
    return [(row["job"], row["worker"], row["start"], row["end"], row["status"]) for row in result.trace]


def ran(model: WorkerModel | None, count: int, workers: int = 2, **more: Any) -> tuple[list[tuple[Any, ...]], InLine]:
    optimizer = InLine()
    return rows(
        simulate(optimizer, train, num_workers=workers, max_submits=count, worker_model=model, seed=0, **more)
    ), optimizer


def test_a_worker_is_there_after_its_start_delay() -> None:
    """
    worker-0 |sss0---|      delays of 3 and 1, as drawn by worker
    worker-1 |s12-3-|
    """
    delays = Distribution.measured([3.0, 1.0], seed=0)
    assert [delays.draw("start_delay", worker, 0) for worker in (0, 1)] == [3.0, 1.0]
    found, _ = ran(WorkerModel(start_delay=delays), 4)
    # The first decision is for the worker that is there first, so job 0 is its.
    assert found == [
        (0, 1, 1.0, 5.0, "DONE"),
        (1, 0, 3.0, 4.0, "DONE"),
        (2, 0, 4.0, 6.0, "DONE"),
        (3, 1, 5.0, 7.0, "DONE"),
    ]


def test_a_worker_that_crashed_starts_again_and_its_job_has_another_attempt() -> None:
    """
    worker-0 |s0-xs02--|      job 0 (4 s) crashes after half of it
    worker-1 |s12-0---|       its next attempt goes to the worker that is idle first
    """
    model = CrashesAt({(0, 0): 0.5}, start_delay=1.0)
    found, search = ran(model, 3, retries=1)
    # Job 0 runs from 1 to 3 on worker 0, which is there again at 4. Job 2 began at 2 on worker 1 and ends at 4.
    # At 4 the end comes first: worker 1 is idle, and was so before worker 0 is there; job 0 runs again there, 4 to 8.
    assert found == [(0, 1, 4.0, 8.0, "DONE"), (1, 1, 1.0, 2.0, "DONE"), (2, 1, 2.0, 4.0, "DONE")]
    (job,) = [job for job in search.told if job.args["n"] == 0]
    assert (job.attempts, job.objective, job.metadata["virtual_submit"]) == (2, 0, 1.0)
    assert job.attempt_errors == ["[worker_died] worker 0 crashed after 2.0 s of this attempt, as worker_model says"]


def test_attempts_that_are_lost_are_no_busy_time_and_those_that_raise_are() -> None:
    def busy(model: WorkerModel | None, run: Any = train, **more: Any) -> tuple[float, float]:
        result = simulate(InLine(), run, num_workers=1, max_submits=1, worker_model=model, seed=0, **more)
        return result.makespan, result.busy_time

    # Job 0 crashes after 1 s and after 3 s, and runs 4 s at last.
    assert busy(CrashesAt({(0, 0): 0.25, (0, 1): 0.75}), retries=2) == (8.0, 4.0)
    assert busy(CrashesAt({(0, 0): 0.25, (0, 1): 0.75}), retries=1) == (4.0, 0.0)
    assert busy(CrashesAt({(0, 0): 0.25})) == (1.0, 0.0)

    tries = iter([0, 1])

    def shaky(job: Any) -> dict[str, float]:
        return {"objective": 1 / next(tries), "runtime": 4.0}

    with simulated(SerialEvaluator)(shaky, failure_runtime=3.0, retries=1) as evaluator:
        result = simulate(InLine(), None, max_submits=1, evaluator=evaluator)
    assert (result.makespan, result.busy_time) == (7.0, 7.0)


def test_a_crash_without_retries_is_a_failure_like_that_of_a_real_worker() -> None:
    found, search = ran(CrashesAt({(1, 0): 0.25}, start_delay=1.0), 3)
    assert found == [(0, 0, 1.0, 5.0, "DONE"), (1, 1, 1.0, 1.25, "FAILED"), (2, 1, 2.25, 4.25, "DONE")]
    (job,) = [job for job in search.told if job.args["n"] == 1]
    assert (job.objective, job.kind, job.status.name) == ("F_worker_died", FailureKind.WORKER_DIED, "FAILED")
    assert job.error == "worker 1 crashed after 0.25 s of this attempt, as worker_model says"
    assert [job.args["n"] for job in search.told] == [1, 2, 0]


def test_a_worker_is_taken_away_with_its_job_and_comes_back() -> None:
    """
    worker-0 |0---4x.....4--|     there for 5 s, away for 6
    worker-1 |12-3-x.....   |     job 3 ends at the moment at which its worker is taken away
    """
    model = WorkerModel(preempted_after=5.0, away=6.0)
    found, search = ran(model, 5, retries=Retries(worker_died=1))
    assert found == [
        (0, 0, 0.0, 4.0, "DONE"),
        (1, 1, 0.0, 1.0, "DONE"),
        (2, 1, 1.0, 3.0, "DONE"),
        (3, 1, 3.0, 5.0, "DONE"),
        (4, 0, 11.0, 14.0, "DONE"),
    ]
    assert search.told[-1].attempt_errors == [
        "[worker_died] worker 0 was taken away after 1.0 s of this attempt, as worker_model says"
    ]


def test_an_idle_worker_is_taken_away_too() -> None:
    """One job at 0 and one at 6: the worker is there 0 to 5, away until 8, there 8 to 13."""
    model = WorkerModel(preempted_after=5.0, away=3.0)
    with simulated(SerialEvaluator)(train, num_workers=1, worker_model=model) as evaluator:
        evaluator.submit([{"n": 1}])
        assert [job.metadata["virtual_end"] for job in evaluator.gather("ALL")] == [1.0]
        evaluator.advance(5.0)
        evaluator.submit([{"n": 2}])
        (job,) = evaluator.gather("ALL")
        assert (job.metadata["virtual_start"], job.metadata["virtual_end"]) == (8.0, 10.0)
        assert evaluator.now == 10.0


def test_a_job_whose_worker_is_taken_away_during_the_decision_waits_for_it() -> None:
    """The decision for job 0 takes 0 to 6; the worker is away from 5 to 8."""
    found, _ = ran(WorkerModel(preempted_after=5.0, away=3.0), 1, workers=1, overhead=6.0)
    assert found == [(0, 0, 8.0, 12.0, "DONE")]


def test_a_time_limit_that_comes_before_the_crash_counts() -> None:
    def limited(limit: float, share: float) -> tuple[str, float]:
        model = CrashesAt({(0, 0): share})
        with simulated(SerialEvaluator)(train, num_workers=1, worker_model=model, job_timeout=limit) as evaluator:
            evaluator.submit([{"n": 0}])
            (job,) = evaluator.gather("ALL")
        return job.objective, job.metadata["virtual_end"]

    assert limited(1.0, 0.5) == ("F_timeout", 1.0)
    assert limited(3.0, 0.5) == ("F_worker_died", 2.0)


def test_retries_tell_a_crash_from_an_exception() -> None:
    def raises(job: Any) -> dict[str, float]:
        if job.attempt == 1:
            raise ConnectionError("once")
        return {"objective": 1.0, "runtime": 4.0}

    model = CrashesAt({(0, 1): 0.5})
    optimizer = InLine()
    retries = Retries(raised=1, worker_died=1)
    result = simulate(optimizer, raises, max_submits=1, worker_model=model, retries=retries, seed=0)
    (job,) = optimizer.told
    assert (job.attempts, job.objective, result.makespan) == (3, 1.0, 6.0)
    assert [error.partition("]")[0] for error in job.attempt_errors] == ["[raised", "[worker_died"]


class StopsAt:
    """Ends jobs at a budget. Each attempt has a copy; what all of them saw is in `seen`."""

    seen: ClassVar[list[float]] = []

    def __init__(self, budget: int) -> None:
        self.budget = budget

    def observe(self, budget: float, objective: Any) -> None:
        self.seen.append(budget)

    def stop(self) -> bool:
        return self.seen[-1] >= self.budget


def test_a_stopper_sees_what_a_job_recorded_before_its_worker_crashed() -> None:
    """Points at 1, 2, 3, 4; the first attempt crashes at 2.5, the second is whole."""

    def learns(job: Any) -> dict[str, Any]:
        return {"objective": 4.0, "runtime": 4.0, "curve": [(n, float(n), float(n)) for n in (1, 2, 3, 4)]}

    def seen(budget: int) -> tuple[list[float], Any]:
        StopsAt.seen.clear()
        optimizer = InLine()
        model = CrashesAt({(0, 0): 0.625})
        simulate(optimizer, learns, max_submits=1, worker_model=model, retries=1, stopper=StopsAt(budget))
        (job,) = optimizer.told
        return list(StopsAt.seen), (job.attempts, job.objective, job.metadata["virtual_end"], len(job.attempt_errors))

    assert seen(9) == ([1, 2, 1, 2, 3, 4], (2, 4.0, 6.5, 1))
    assert seen(2) == ([1, 2], (1, 2.0, 2.0, 0))  # ended before it would have crashed


def test_a_crashed_job_leaves_no_checkpoint() -> None:
    class Steps:
        def __init__(self) -> None:
            self.told: list[Any] = []

        def ask(self) -> tuple[dict[str, int], dict[str, int]]:
            return {"c": 0}, {"epochs": 9 if self.told else 3}

        def tell(self, job: Any) -> None:
            self.told.append(job)

    def epochs(job: Any) -> dict[str, float]:
        return {"objective": 0.0, "runtime": float(job["epochs"])}

    def charged(crashes: dict[tuple[int, int], float]) -> list[tuple[float, int | None]]:
        result = simulate(
            Steps(), epochs, max_submits=2, fidel_key="epochs", continual_max_fidel=9, worker_model=CrashesAt(crashes)
        )
        return [(row["charged"], row["resumed_from"]) for row in result.trace]

    assert charged({}) == [(3.0, None), (6.0, 3)]
    assert charged({(0, 0): 0.5}) == [(1.5, None), (9.0, None)]
    assert charged({(1, 0): 0.5}) == [(3.0, None), (3.0, 3)]  # half of what it is charged


SPOT = WorkerModel(
    start_delay=Distribution.lognormal(0.5, 0.5, seed=1),
    crash=0.2,
    crash_seed=2,
    preempted_after=Distribution.exponential(9.0, seed=3),
    away=Distribution.uniform(0.5, 2.0, seed=4),
)
DIGEST = "d54ce789c0226d0685c23769a24e278d"
BACKENDS = [
    None,
    "serial",
    ThreadPoolEvaluator,
    pytest.param("process", marks=pytest.mark.slow),
]


@pytest.mark.parametrize("evaluator", BACKENDS)
def test_a_search_on_workers_that_fail_is_the_same_on_every_backend(evaluator: Any) -> None:
    optimizer = InLine()
    result = simulate(
        optimizer, train, num_workers=4, max_submits=40, worker_model=SPOT, retries=1, seed=0, evaluator=evaluator
    )
    assert result.trace_digest() == DIGEST
    attempts = [job.attempts for job in optimizer.told]
    assert (max(attempts), sum(attempts)) == (2, 51)
    assert [job.args["n"] for job in optimizer.told if job.kind] == [23]


@pytest.mark.parametrize(
    "evaluator_class", [SerialEvaluator, pytest.param(ProcessPoolEvaluator, marks=pytest.mark.slow)]
)
def test_runtimes_that_are_known_before_give_the_same_schedule(evaluator_class: Any) -> None:
    seen = []
    for before in (None, lambda configuration: RUNTIMES[configuration["n"] % len(RUNTIMES)]):
        more = {"worker_model": SPOT, "retries": 2, "runtime_before": before}
        with simulated(evaluator_class)(train, num_workers=3, **more) as evaluator:
            evaluator.submit([{"n": n} for n in range(30)])
            jobs = evaluator.gather("ALL")
            seen.append((evaluator.trace_digest(), [(job.args["n"], job.attempts, job.objective) for job in jobs]))
    assert seen[0] == seen[1]
    assert max(attempts for _, attempts, _ in seen[0][1]) > 1


def test_batches_wait_for_workers_that_come_back() -> None:
    """Two jobs of a batch, which both crash after half of their runtimes, 4 and 1."""
    found, _ = ran(CrashesAt({(0, 0): 0.5, (1, 0): 0.5}), 2, batch_size=2)
    assert found == [(0, 0, 0.0, 2.0, "FAILED"), (1, 1, 0.0, 0.5, "FAILED")]
    model = CrashesAt({(0, 0): 0.5, (1, 0): 0.5}, start_delay=3.0)
    # Both are there at 3. Job 1 crashes at 3.5; worker 1 is there again at 6.5. Job 0 crashes at 5; worker 0 is
    # there again at 8. Of jobs that are run again the first is first: job 0 from 6.5 on worker 1, job 1 from 8 on 0.
    found, _ = ran(model, 2, batch_size=2, retries=1)
    assert found == [(0, 1, 6.5, 10.5, "DONE"), (1, 0, 8.0, 9.0, "DONE")]


def test_a_limit_of_time_censors_what_waits_for_a_worker() -> None:
    model = CrashesAt({(0, 0): 0.5}, start_delay=4.0)
    optimizer = InLine()
    result = simulate(optimizer, train, num_workers=1, max_time=8.0, worker_model=model, retries=1)
    # There at 4; job 0 crashes at 6; the worker is there again at 10, which is too late.
    assert (rows(result), result.over) == ([(0, None, None, None, "CENSORED")], "max_time")
    assert optimizer.told == []


def test_a_model_without_anything_changes_nothing() -> None:
    plain, _ = ran(None, 30, workers=3)
    assert ran(WorkerModel(), 30, workers=3)[0] == plain
    digests = {
        simulate(InLine(), train, num_workers=3, max_submits=30, seed=0, worker_model=model).trace_digest()
        for model in (None, WorkerModel())
    }
    assert digests == {"c797eaa756fff9a81073a9a427c1c6a9"}


def test_an_evaluator_has_the_model_of_its_search() -> None:
    with simulated(SerialEvaluator)(train, num_workers=2, worker_model=WorkerModel(start_delay=7.0)) as evaluator:
        result = simulate(InLine(), None, max_submits=2, evaluator=evaluator)
        assert [row["start"] for row in result.trace] == [7.0, 7.0]
    with simulated(SerialEvaluator)(train, num_workers=2) as evaluator:
        with pytest.raises(BadArgument, match=r"worker_model is WorkerModel\(crash=0.5\) and None"):
            simulate(InLine(), None, max_submits=2, evaluator=evaluator, worker_model=WorkerModel(crash=0.5))
        with pytest.raises(BadArgument, match="retries are the evaluator's own"):
            simulate(InLine(), None, max_submits=2, evaluator=evaluator, retries=1)


def draws(distribution: Distribution, count: int = 4000) -> Iterator[float]:
    return (distribution.draw("worker", number, 0) for number in range(count))


def test_draws_have_the_distribution_and_the_seed_that_was_declared() -> None:
    exponential = list(draws(Distribution.exponential(60.0, seed=1)))
    assert statistics.fmean(exponential) == pytest.approx(60.0, rel=0.05)
    assert statistics.median(exponential) == pytest.approx(41.6, rel=0.07)  # 60 ln 2
    lognormal = list(draws(Distribution.lognormal(60.0, 0.5, seed=1)))
    assert statistics.median(lognormal) == pytest.approx(60.0, rel=0.03)
    uniform = list(draws(Distribution.uniform(10.0, 30.0, seed=1)))
    assert statistics.fmean(uniform) == pytest.approx(20.0, rel=0.02)
    assert all(10.0 < seconds < 30.0 for seconds in uniform)
    assert set(draws(Distribution.measured([1.0, 2.0, 4.0]))) == {1.0, 2.0, 4.0}
    assert uniform == list(draws(Distribution.uniform(10.0, 30.0, seed=1)))
    assert uniform != list(draws(Distribution.uniform(10.0, 30.0, seed=2)))
    shares = [WorkerModel(crash=0.25).crashes_at(job, 0) for job in range(4000)]
    crashed = [share for share in shares if share is not None]
    assert len(crashed) == pytest.approx(1000, rel=0.1)
    assert statistics.fmean(crashed) == pytest.approx(0.5, rel=0.05)
    assert shares != [WorkerModel(crash=0.25, crash_seed=1).crashes_at(job, 0) for job in range(4000)]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: WorkerModel(crash=1.5), "crash is 1.5; give the probability"),
        (lambda: WorkerModel(crash="often"), "crash is 'often'"),
        (lambda: WorkerModel(crash_seed=-1), "crash_seed is -1"),
        (lambda: WorkerModel(start_delay=-3.0), "start_delay is -3.0; give a finite number"),
        (lambda: WorkerModel(start_delay="soon"), "start_delay is 'soon' of type str"),
        (lambda: WorkerModel(start_delay=float("nan")), "start_delay is nan"),
        (lambda: WorkerModel(away=3.0), "away is 3.0, and preempted_after is None"),
        (lambda: WorkerModel(preempted_after=0.0), "preempted_after is 0.0; a worker that is taken away after 0 s"),
        (lambda: WorkerModel(preempted_after=Distribution.measured([1.0, 0.0])), "taken away after 0 s"),
        (lambda: Distribution.exponential(float("inf")), "mean of Distribution.exponential is inf"),
        (lambda: Distribution.uniform(3.0, 3.0), "low=3.0 and high=3.0"),
        (lambda: Distribution.lognormal(60.0, -1.0), "sigma of Distribution.lognormal is -1.0"),
        (lambda: Distribution.measured([]), "Distribution.measured got \\[\\]; give a list"),
        (lambda: Distribution.measured(3.0), "Distribution.measured got 3.0; give a list"),  # type: ignore[arg-type]
        (lambda: Distribution.measured([1.0, "x"]), r"seconds\[1\] of Distribution.measured is 'x'"),
        (lambda: Distribution.uniform(1.0, 2.0, seed="x"), "seed of a distribution is 'x'"),
        (lambda: simulate(InLine(), train, max_submits=1, worker_model=0.1), "worker_model is 0.1 of type float"),
        (lambda: simulated(SerialEvaluator)(train, worker_model={"crash": 1}), "worker_model is {'crash': 1}"),
        (lambda: simulate(InLine(), train, max_submits=1, retries=-1), "retries is -1"),
    ],
)  # fmt: skip
def test_bad_models_are_refused_with_the_value(make: Any, message: str) -> None:
    with pytest.raises(BadArgument, match=message):
        make()


@pytest.mark.parametrize("model", [{"start_delay": 1e9, "preempted_after": 1e-9}, {"preempted_after": 1e-300}])
def test_a_worker_that_is_hardly_ever_there_is_an_error_instead_of_a_hang(model: dict[str, float]) -> None:
    kernel = Kernel(1, worker_model=WorkerModel(**model))
    kernel.submit()
    kernel.advance(1.0)
    with pytest.raises(SimulationError, match="Worker 0 was taken away 100,000 times without a job"):
        kernel.step()


def test_a_model_is_equal_to_one_that_was_stored() -> None:
    assert WorkerModel.restore(SPOT.state()) == SPOT != WorkerModel(crash=0.2)
    assert "crash=0.2" in repr(SPOT)
