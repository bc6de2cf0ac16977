"""Plans for workers that start late, crash and are taken away: closed forms, and the schedule of `simulate`."""

from __future__ import annotations

import itertools
import random
from typing import Any

import pytest

from evalpool import simulate
from evalpool.benchmarks import SearchTimes, plan
from evalpool.benchmarks._plan._planned_runs import Load, planned
from evalpool.benchmarks._plan._runtime_draws import RuntimeDraws
from evalpool.callbacks import Callback
from evalpool.errors import BadArgument
from evalpool.simulation import Distribution, WorkerModel

FAILING = WorkerModel(
    start_delay=Distribution.lognormal(3.0, 0.5, seed=1),
    crash=0.1,
    preempted_after=Distribution.exponential(60.0, seed=2),
    away=5.0,
)
MANY = 1000
"""Retries that are never used up here."""


def row_of(*args: Any, **kwargs: Any) -> Any:
    (row,) = plan(*args, **{"batch_sizes": (), "repeats": 1, **kwargs}).rows
    return row


def test_workers_are_not_busy_before_they_are_there() -> None:
    row = row_of(0.5, 10.0, workers=[1], max_evals=40, worker_model=WorkerModel(start_delay=20.0))
    assert row.makespan == 20 + 40 * 10.5
    assert row.utilisation == pytest.approx(400.0 / 440.0)
    assert (row.evaluations, row.lost) == (40, 0)


def load_of(model: WorkerModel, retries: int, **limits: Any) -> Load:
    limits = {"max_evals": None, "max_time": None, "searches": 1, **limits}
    return Load(
        SearchTimes(), RuntimeDraws(10.0, 0), shared=True, dispatch=0.0, worker_model=model, retries=retries, **limits
    )


def test_crashes_cost_the_time_of_the_attempts_that_they_end() -> None:
    found = planned(load_of(WorkerModel(crash=0.2), MANY, max_evals=4000), 1)
    # Before each of 4000 successes there are 0.2 / 0.8 crashes, each after half of the runtime in the mean.
    assert found.lost == pytest.approx(1000, rel=0.1)
    assert found.utilisation == pytest.approx(1 / (1 + 0.25 / 2), abs=0.01)
    once = planned(load_of(WorkerModel(crash=0.2), 0, max_evals=4000), 1)
    assert once.lost == pytest.approx(800, rel=0.1)
    assert once.evaluations == 4000 - once.lost


def test_a_worker_that_is_taken_away_loses_what_it_runs() -> None:
    # |10 10 5x|5 away|10 10 5x|5 away|...
    load = load_of(WorkerModel(preempted_after=25.0, away=5.0), MANY, max_time=3000.0)
    found = planned(load, 3)
    assert found.utilisation == pytest.approx(20.0 / 30.0)
    assert (found.evaluations, found.lost) == (3 * 200, 3 * 100)
    # Batches of two rounds: the third begins before the absence and is lost.
    batches = planned(load, 3, 6)
    assert (batches.evaluations, batches.lost) == (3 * 200, 3 * 100)


@pytest.mark.parametrize("retries", [0, 1, MANY])
@pytest.mark.parametrize("limits", [{"max_submits": 120}, {"max_time": 90.0}])
@pytest.mark.parametrize("batch_size", [None, 5, 30])
def test_a_prediction_is_the_run_of_simulate(batch_size: int | None, limits: dict[str, Any], retries: int) -> None:
    rng = random.Random(0)
    seconds = [rng.lognormvariate(1.0, 0.8) for _ in range(400)]
    most = limits.get("max_submits", 1 << 60)

    class InLine:
        def __init__(self) -> None:
            self.numbers = itertools.count()

        def ask(self) -> dict[str, Any]:
            return {"n": next(self.numbers)}

        def tell(self, job: Any) -> None:
            """Learn nothing."""

    class Quiet(Callback):
        tells_failures = True

    def cost(asked: int, told: int) -> float:
        return (0.05 + 0.002 * told) * min(batch_size or 1, most - asked)

    def run(job: Any) -> dict[str, float]:
        return {"objective": 0.0, "runtime": seconds[job["n"]]}

    for workers in (1, 7):
        real = simulate(
            InLine(), run, num_workers=workers, batch_size=batch_size, overhead=cost, seed=0, worker_model=FAILING,
            retries=retries, callbacks=[Quiet()], **limits,
        )  # fmt: skip
        numbers = itertools.chain(seconds, itertools.repeat(1.0))
        load = Load(
            SearchTimes(lambda results: 0.05 + 0.002 * results),
            RuntimeDraws(lambda rng, numbers=numbers: next(numbers), 0),
            limits.get("max_submits"), limits.get("max_time"), 1, True, 0.0, FAILING, retries,
        )  # fmt: skip
        found = planned(load, workers, batch_size)
        assert found.evaluations == len(real.objectives) - real.objectives.count("F_worker_died")
        assert found.makespan == limits.get("max_time", real.makespan)
        if not retries:
            assert found.lost == real.objectives.count("F_worker_died") > 0
        useful = [
            (row["start"], row["end"])
            for row, objective in zip(real.completions, real.objectives, strict=True)
            if objective != "F_worker_died"
        ]
        least = sum(end - start for start, end in useful) / (workers * found.makespan)
        assert least <= found.utilisation + 1e-9
        if "max_submits" in limits:  # else jobs run at the end
            assert found.utilisation == pytest.approx(least)
            assert found.utilisation == pytest.approx(real.busy_time / (workers * real.makespan))


def test_each_search_has_workers_of_its_own() -> None:
    delays = Distribution.uniform(0.0, 100.0, seed=4)
    load = load_of(WorkerModel(start_delay=delays), 0, max_evals=2, searches=2)
    own, other = (Distribution.uniform(0.0, 100.0, seed=seed).draw("start_delay", 0, 0) for seed in (4, 5))
    assert own != other
    assert planned(load, 2).makespan == max(own, other) + 10.0
    again = load.again(1, 0)
    own, other = (Distribution.uniform(0.0, 100.0, seed=seed).draw("start_delay", 0, 0) for seed in (6, 7))
    assert planned(again, 2).makespan == max(own, other) + 10.0


def test_a_plan_says_how_many_attempts_were_lost() -> None:
    found = plan(1.0, 10.0, workers=[1, 8], max_evals=80, worker_model=WorkerModel(crash=0.3), retries=3)
    first, one, *_ = str(found).splitlines()
    assert first.split()[:6] == ["workers", "evaluations", "makespan", "busy", "thinking", "lost"]
    assert one.split()[8] == str(found.rows[0].lost) != "0"
    assert found.useful_workers is not None
    alone = str(plan(1.0, 10.0, workers=[1], max_evals=80, worker_model=WorkerModel(start_delay=1.0), batch_sizes=()))
    assert alone.splitlines()[0].split()[-1] == "thinking"


@pytest.mark.slow
def test_workers_that_are_always_lost_are_of_no_use() -> None:
    model = WorkerModel(crash=1.0)
    for limits in ({"max_evals": 20}, {"max_time": 100.0}):
        found = plan(0.1, 10.0, workers=[1, 2], worker_model=model, retries=2, batch_sizes=(), **limits)  # type: ignore[arg-type]
        assert (found.useful_workers, found.limit) == (None, "workers")
        assert {(row.evaluations, row.utilisation) for row in found.rows} == {(0, 0.0)}
        assert found.advice == "No evaluation ends: each is lost with its worker."
    with pytest.raises(BadArgument, match=r"10\.0 s was lost 10,000 times, with WorkerModel\(crash=1\.0\): give fewer"):
        plan(0.1, 10.0, workers=[1], max_evals=2, worker_model=model, retries=10**9)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"worker_model": 0.1}, "worker_model is 0.1 of type float"),
        ({"worker_model": FAILING, "retries": -1}, "retries is -1"),
        ({"worker_model": FAILING, "retries": 0.5}, "retries is 0.5"),
        ({"retries": 2}, "retries is 2 without a worker_model"),
    ],
)
def test_what_a_plan_cannot_use_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(BadArgument) as caught:
        plan(0.1, 1.0, workers=[1], max_evals=10, **change)
    assert message in str(caught.value)
