"""Learning curves in simulated time: when the points come, what stoppers do with them, and what stopped jobs return."""

from __future__ import annotations

import contextlib
import hashlib
import math
import random
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evalpool import (
    Evaluator,
    ExecutorEvaluator,
    ProcessPoolEvaluator,
    RunningJob,
    SerialEvaluator,
    ThreadPoolEvaluator,
    simulate,
    simulated,
)
from evalpool.benchmarks import Benchmark, CurvePoint, Fidelity, RuntimeModel
from evalpool.callbacks import Callback
from evalpool.errors import BadArgument
from evalpool.outcomes import FailureKind
from evalpool.search import HyperbandStopper, MedianStopper, Stopper, SuccessiveHalvingStopper
from evalpool.simulation import WorkerModel
from evalpool.simulation._checkpoints import Checkpoint
from evalpool.simulation._curves import Point, place
from evalpool.simulation._kernel import Kernel

from .oracle import Trained, train

EPOCHS = 9


class StopsAt(Stopper):
    """Ends each job that reaches a budget; of some jobs, if numbers are given."""

    def __init__(self, budget: float, numbers: Any = None) -> None:
        self.budget, self.numbers = budget, numbers
        self.heard: list[tuple[int, float, Any]] = []

    def for_job(self, number: int, configuration: dict[str, Any]) -> Any:
        return _One(self, number)

    def observe(self, budget: float, objective: Any) -> None:
        raise AssertionError("each job has its own")

    def stop(self) -> bool:
        raise AssertionError("each job has its own")


class _One:
    def __init__(self, shared: StopsAt, number: int) -> None:
        self.shared, self.number, self.objective, self.stopped = shared, number, None, False

    def observe(self, budget: float, objective: Any) -> None:
        self.objective = objective
        self.shared.heard.append((self.number, budget, objective))
        concerned = self.shared.numbers is None or self.number in self.shared.numbers
        self.stopped = concerned and budget >= self.shared.budget

    def stop(self) -> bool:
        return self.stopped


def recorded(job: RunningJob) -> dict[str, Any]:
    """Declares the runtime of each step: the first takes ten seconds, each further one a second."""
    for epoch in range(1, job.get("epochs", EPOCHS) + 1):
        job.record(epoch, epoch / 10, 9.0 + epoch)
        if job.stopped():
            break
    return {"objective": epoch / 10, "runtime": 9.0 + epoch}


def returned(job: RunningJob) -> dict[str, Any]:
    """The same, returned as a curve."""
    curve = [(epoch, epoch / 10, 9.0 + epoch) for epoch in range(1, job.get("epochs", EPOCHS) + 1)]
    return {"objective": curve[-1][1], "runtime": curve[-1][2], "curve": curve}


def as_benchmark(minutes: bool = False) -> Benchmark:
    """The same as a benchmark."""
    unit = 60.0 if minutes else 1.0
    return Benchmark(
        "steps",
        {"x": [0]},
        lambda job: {"loss": -job["epochs"] / 10, "time": (9.0 + job["epochs"]) / unit},
        runtime="time",
        runtime_unit="min" if minutes else None,
        objectives="loss",
        maximize=False,
        fidelity=Fidelity("epochs", 1, EPOCHS),
        curve=lambda job: (CurvePoint(epoch, -epoch / 10, (9.0 + epoch) / unit) for epoch in range(1, EPOCHS + 1)),
    )


def ends(jobs: list[Any]) -> list[tuple[int, float]]:
    return [(job.number, job.metadata["virtual_end"]) for job in jobs]


# When points come.


def times(points: list[Point], start: float, charged: float, total: float, resumed: Any = None) -> list[float]:
    return [placed.time for placed in place(points, start, charged, total, resumed)]


def test_points_come_at_their_declared_runtimes_or_at_their_share_of_the_budget() -> None:
    declared = [Point(1, 0.1, 10.0), Point(2, 0.2, 11.0), Point(4, 0.3, 12.0)]
    assert times(declared, 100.0, 20.0, 20.0) == [110.0, 111.0, 112.0]
    assert times([Point(1, 0.1), Point(2, 0.2), Point(4, 0.3)], 100.0, 20.0, 20.0) == [105.0, 110.0, 120.0]
    assert times([Point("a", 0.1), Point("b", 0.2)], 100.0, 20.0, 20.0) == [110.0, 120.0]


def test_a_point_is_never_before_the_last_one_nor_after_the_end() -> None:
    noisy = [Point(1, 0.1, 3.0), Point(2, 0.2, 2.0), Point(3, 0.3, 99.0)]
    assert times(noisy, 0.0, 4.0, 4.0) == [3.0, 3.0, 4.0]


def test_a_job_that_is_ended_at_its_time_limit_has_the_points_that_it_reached() -> None:
    declared = [Point(1, 0.1, 3.0), Point(2, 0.2, 5.0), Point(3, 0.3, 6.0)]
    assert times(declared, 1.0, 5.0, 9.0) == [4.0, 6.0]
    assert times([Point(epoch, 0.1) for epoch in range(1, 10)], 0.0, 4.5, 9.0) == [1.0, 2.0, 3.0, 4.0]


def test_a_continued_job_makes_only_the_points_beyond_those_of_the_job_that_it_continues() -> None:
    checkpoint = Checkpoint(3, 12.0, 50.0, 0, None)
    declared = [Point(epoch, 0.1, 9.0 + epoch) for epoch in range(1, 10)]
    placed = place(declared, 100.0, 6.0, 18.0, checkpoint)
    assert [(one.time, one.number) for one in placed] == [(100.0 + n, n + 3) for n in range(1, 7)]
    even = [Point(epoch, 0.1) for epoch in range(1, 10)]
    assert times(even, 100.0, 12.0, 18.0, Checkpoint(3, 6.0, 50.0, 0, None)) == [102.0 + 2 * n for n in range(6)]


@pytest.mark.parametrize(
    ("backend", "run"),
    [
        (SerialEvaluator, recorded),
        (SerialEvaluator, returned),
        (ThreadPoolEvaluator, recorded),
        (ThreadPoolEvaluator, returned),
        pytest.param(ProcessPoolEvaluator, recorded, marks=pytest.mark.slow),
        pytest.param(ProcessPoolEvaluator, returned, marks=pytest.mark.slow),
        pytest.param(ExecutorEvaluator, recorded, marks=pytest.mark.slow),
    ],
)
def test_a_stopped_job_frees_its_worker_at_the_exact_time_of_its_point_on_every_backend(
    backend: type[Evaluator], run: Callable[..., Any]
) -> None:
    with contextlib.ExitStack() as stack:
        settings_: dict[str, Any] = {"num_workers": 2, "real_workers": 2, "stopper": StopsAt(3, {0, 2})}
        if backend is ExecutorEvaluator:
            settings_["executor"] = stack.enter_context(ProcessPoolExecutor(2, get_context("spawn")))
        evaluator = stack.enter_context(simulated(backend)(run, **settings_))
        evaluator.submit([{} for _ in range(4)])
        jobs = evaluator.gather("ALL")
        assert ends(jobs) == [(0, 12.0), (1, 18.0), (2, 24.0), (3, 36.0)]
        assert [job.objective for job in jobs] == [0.3, 0.9, 0.3, 0.9]
        assert [job.stopped_early for job in jobs] == [True, False, True, False]
        assert [job.output["runtime"] for job in jobs] == [12.0, 18.0, 12.0, 18.0]
        assert [job.metadata["charged_runtime"] for job in jobs] == [12.0, 18.0, 12.0, 18.0]
        assert [job.attempts for job in jobs] == [1] * 4
        assert evaluator.trace_digest() == "df54b3904b2b7429de73f70cf6bb33e3"


def test_a_curve_of_a_benchmark_comes_at_its_own_times_in_its_own_unit() -> None:
    for benchmark in (as_benchmark(), as_benchmark(minutes=True)):
        stopper = StopsAt(3)
        with simulated(SerialEvaluator)(benchmark, stopper=stopper) as evaluator:
            evaluator.submit([{"x": 0}, {"x": 0, "epochs": 2}])
            jobs = evaluator.gather("ALL")
        assert [round(end, 9) for _, end in ends(jobs)] == [12.0, 23.0]
        assert [(job.objective, job.stopped_early) for job in jobs] == [(0.3, True), (0.2, False)]
        assert stopper.heard == [(0, 1, 0.1), (0, 2, 0.2), (0, 3, 0.3), (1, 1, 0.1), (1, 2, 0.2)]


def test_a_runtime_model_gives_the_times_of_a_curve() -> None:
    benchmark = as_benchmark().with_runtime(RuntimeModel.constant(90.0).with_fidelity(fixed=0.1))
    with simulated(SerialEvaluator)(benchmark, stopper=StopsAt(3)) as evaluator:
        evaluator.submit([{"x": 0}])
        (job,) = evaluator.gather("ALL")
    assert job.metadata["virtual_end"] == pytest.approx(9.0 + 81.0 * 3 / 9)
    assert job.output["runtime"] == job.metadata["virtual_end"]


def test_without_declared_times_a_returned_curve_comes_at_the_shares_of_its_budget() -> None:
    def pairs(job: RunningJob) -> dict[str, Any]:
        return {"objective": 1.0, "runtime": 8.0, "curve": [(1, 0.1), (2, 0.2), (4, 1.0)]}

    with simulated(SerialEvaluator)(pairs, stopper=StopsAt(2)) as evaluator:
        evaluator.submit([{}])
        (job,) = evaluator.gather("ALL")
    assert job.metadata["virtual_end"] == job.output["runtime"] == 4.0
    assert (job.objective, job.output["curve"]) == (0.2, [(1, 0.1), (2, 0.2)])


@pytest.mark.parametrize("form", [np.array, lambda curve: [np.array(point) for point in curve], tuple])
def test_a_curve_may_be_an_array(form: Callable[[Any], Any]) -> None:
    def run(job: RunningJob) -> dict[str, Any]:
        return {"objective": 1.0, "runtime": 8.0, "curve": form([(1, 0.1, 2.0), (2, 0.2, 5.0), (4, 1.0, 8.0)])}

    with simulated(SerialEvaluator)(run, stopper=StopsAt(2)) as evaluator:
        evaluator.submit([{}])
        (job,) = evaluator.gather("ALL")
    assert (job.metadata["virtual_end"], job.objective, len(job.output["curve"])) == (5.0, 0.2, 2)


def test_a_last_point_before_the_end_stops_what_comes_after_it() -> None:
    """A training whose last hours are a test of the whole network."""

    def tested(job: RunningJob) -> dict[str, Any]:
        job.record(1, 0.5, 2.0)
        return {"objective": 0.25 if job.stopped() else 0.5, "runtime": 10.0}

    with simulated(SerialEvaluator)(tested, stopper=StopsAt(1, {0})) as evaluator:
        evaluator.submit([{}, {}])
        jobs = evaluator.gather("ALL")
    assert ends(jobs) == [(0, 2.0), (1, 12.0)]
    assert [(job.objective, job.stopped_early) for job in jobs] == [(0.25, True), (0.5, False)]


def test_callbacks_hear_a_returned_curve_and_a_search_without_any_listener_does_not_read_it() -> None:
    class Listener(Callback):
        def __init__(self) -> None:
            self.heard: list[tuple[float, Any]] = []

        def on_record(self, job: Any, budget: float, objective: Any) -> None:
            self.heard.append((budget, objective))

    listener = Listener()
    with simulated(SerialEvaluator)(returned, callbacks=[listener]) as evaluator:
        evaluator.submit([{"epochs": 2}])
        evaluator.gather("ALL")
    assert listener.heard == [(1, 0.1), (2, 0.2)]

    def other_data(job: RunningJob) -> dict[str, Any]:
        return {"objective": 1.0, "runtime": 1.0, "curve": "brachistochrone"}

    for settings_, objective in (({}, 1.0), ({"stopper": StopsAt(1)}, "F_invalid_output"), (
        {"stopper": StopsAt(1), "curve": None}, 1.0
    )):  # fmt: skip
        with simulated(SerialEvaluator)(other_data, **settings_) as evaluator:
            evaluator.submit([{}])
            (job,) = evaluator.gather("ALL")
        assert job.objective == objective
        assert objective == 1.0 or "'brachistochrone' of type str; a learning curve is a list of points" in job.error


@pytest.mark.parametrize(
    ("curve", "message"),
    [
        ([(1, 0.5, 1.0), 0.7], r"'curve' has 0\.7 at position 2"),
        ([(1, 0.5, 1.0), (2, 0.7)], "result 2 of 2, at the budget 2, has no runtime, and others have one"),
        ([(1, 0.5, math.nan)], "result 1 of 1, at the budget 1: .*nan"),
        ([(1, 0.5, -1.0)], r"at the budget 1: .*-1\.0"),
        ([(1, 0.5, "soon")], "at the budget 1: .*'soon'"),
    ],
)
def test_wrong_curves_fail_their_job_with_the_point(curve: Any, message: str) -> None:
    def run(job: RunningJob) -> dict[str, Any]:
        return {"objective": 1.0, "runtime": 2.0, "curve": curve}

    with simulated(SerialEvaluator)(run, stopper=StopsAt(99)) as evaluator:
        evaluator.submit([{}])
        (job,) = evaluator.gather("ALL")
    assert job.kind is FailureKind.INVALID_OUTPUT
    assert job.metadata["charged_runtime"] == 2.0
    with pytest.raises(AssertionError, match=message):
        raise AssertionError(job.error)


def test_a_job_that_is_run_again_after_a_failure_is_judged_by_its_new_records() -> None:
    def flaky(job: RunningJob) -> dict[str, Any]:
        for epoch in range(1, 6):
            job.record(epoch, float(epoch), float(epoch))
            if job.stopped():
                break
            if epoch == 3 and job.attempt == 1:
                raise ConnectionError
        return {"objective": float(epoch), "runtime": float(epoch)}

    with simulated(SerialEvaluator)(flaky, stopper=StopsAt(4), retries=1, failure_runtime=3.0) as evaluator:
        evaluator.submit([{}])
        (job,) = evaluator.gather("ALL")
    assert (job.objective, job.attempts, job.stopped_early) == (4.0, 2, True)
    assert job.metadata["virtual_end"] == 3.0 + 4.0


def test_a_stopped_job_over_its_time_limit_is_a_success() -> None:
    for run in (recorded, returned):
        with simulated(SerialEvaluator)(run, stopper=StopsAt(3, {0}), job_timeout=15.0) as evaluator:
            evaluator.submit([{}, {}])
            jobs = evaluator.gather("ALL")
        assert [job.objective for job in jobs] == [0.3, "F_timeout"]
        assert ends(jobs) == [(0, 12.0), (1, 27.0)]
        with simulated(SerialEvaluator)(run, stopper=StopsAt(3), job_timeout=12.0) as evaluator:  # to the second
            evaluator.submit([{}])
            assert [(job.objective, job.stopped_early) for job in evaluator.gather("ALL")] == [(0.3, True)]


def test_a_promoted_job_continues_at_the_higher_fidelity_and_shows_what_is_new() -> None:
    stopper = StopsAt(8)
    with simulated(SerialEvaluator)(
        recorded, num_workers=1, continual_max_fidel=EPOCHS, fidel_key="epochs", stopper=stopper
    ) as evaluator:
        evaluator.submit([{"x": 1, "epochs": 3}, {"x": 1, "epochs": 6}, {"x": 1, "epochs": 9}, {"x": 1, "epochs": 9}])
        jobs = evaluator.gather("ALL")
    # 12 s, 3 s more, 2 s more until it is stopped at 8 epochs; it leaves nothing to continue, so the last begins anew
    assert ends(jobs) == [(0, 12.0), (1, 15.0), (2, 17.0), (3, 34.0)]
    assert [job.metadata["resumed_fidelity"] for job in jobs] == [None, 3, 6, None]
    assert [budget for number, budget, _ in stopper.heard if number == 1] == [4, 5, 6]
    assert [budget for number, budget, _ in stopper.heard if number == 2] == [7, 8]
    assert [job.objective for job in jobs] == [0.3, 0.6, 0.8, 0.8]


def test_a_stopper_needs_records_and_runtimes_known_before_have_none() -> None:
    with pytest.raises(BadArgument, match="leave runtime_before out"):
        simulated(SerialEvaluator)(recorded, runtime_before=lambda configuration: 1.0, stopper=StopsAt(1))
    with pytest.raises(BadArgument, match=r"curve is 3; give the key of the output"):
        simulate(InLine(), recorded, max_submits=1, curve=3)  # type: ignore[arg-type]
    with simulated(SerialEvaluator)(recorded) as evaluator, pytest.raises(BadArgument, match="stopper and retries are"):
        simulate(InLine(), None, max_submits=1, evaluator=evaluator, stopper=StopsAt(1))


def test_the_kernel_ends_a_job_at_its_mark_if_the_clock_has_passed_it() -> None:
    kernel = Kernel(2, tell="fill")
    assert kernel.poll() == -1
    first = kernel.ask(0.0)
    kernel.finish(first, 9.0)
    kernel.mark(first, 2.0)
    assert kernel.poll() == -1
    second = kernel.ask(5.0)
    kernel.finish(second, 1.0)
    assert (kernel.poll(), kernel.marked) == (-4, first)
    kernel.stop(first, "DONE", 2.0)
    assert [kernel.poll() for _ in range(2)] == [first, -1]
    assert (kernel.trace()[first].end, kernel.trace()[first].charged) == (2.0, 2.0)


# By the rules, written a second time.

quarters = st.integers(0, 40).map(lambda number: number / 4)


@st.composite
def trainings(draw: Any, keys: bool) -> Trained:
    steps = sorted(draw(st.lists(quarters, max_size=5)))
    total = (steps[-1] if steps else 0.0) + draw(quarters)
    points = [(number, seconds) for number, seconds in enumerate(steps, 1)]
    if not keys:
        return Trained(total, points)
    return Trained(total, points, draw(st.sampled_from("ab")), max(1, len(points)))


def whimsical(salt: int) -> Callable[[int, float], bool]:
    """A rule whose answer depends on everything that it was asked before, in that order."""
    hashed = hashlib.blake2b(str(salt).encode())

    def stops(number: int, budget: float) -> bool:
        hashed.update(f"{number} {budget}".encode())
        return hashed.digest()[0] < 64

    return stops


class Whimsical:
    def __init__(self, stops: Callable[[int, float], bool], number: int = -1) -> None:
        self.stops, self.number, self.objective, self.stopped = stops, number, None, False

    def for_job(self, number: int, configuration: dict[str, Any]) -> Whimsical:
        return Whimsical(self.stops, number)

    def observe(self, budget: float, objective: Any) -> None:
        self.objective = objective
        self.stopped = self.stops(self.number, budget)

    def stop(self) -> bool:
        return self.stopped


@settings(deadline=None, max_examples=150)
@given(st.data(), st.integers(1, 4), st.integers(0, 1000), st.booleans(), st.booleans())
def test_stopped_jobs_have_the_schedule_of_the_rules(
    data: Any, workers: int, salt: int, continues: bool, records: bool
) -> None:
    plans = data.draw(st.lists(trainings(continues), min_size=1, max_size=8))
    rows = train(plans, workers, whimsical(salt), 4 if continues else None)

    def run(job: RunningJob) -> dict[str, Any]:
        plan = plans[job["n"]] if "n" in job else plans[int(job.id.rpartition(".")[2])]
        curve = [(budget, 0.5, seconds) for budget, seconds in plan.points]
        result = {"objective": 1.0, "runtime": plan.total}
        if not records:
            return {**result, "curve": curve}
        for point in curve:
            job.record(*point)
            if job.stopped():
                break
        return result

    settings_: dict[str, Any] = {"continual_max_fidel": 4, "fidel_key": "epochs"} if continues else {}
    with simulated(SerialEvaluator)(
        run, num_workers=workers, stopper=Whimsical(whimsical(salt)), **settings_
    ) as evaluator:
        configurations = [{"n": n} for n in range(len(plans))]
        if continues:
            configurations = [{"key": plan.key, "epochs": plan.fidelity} for plan in plans]
        evaluator.submit(configurations)
        evaluator.gather("ALL")
        found = [(row["worker"], row["start"], row["end"], row["resumed"]) for row in evaluator.trace()]
        recorded_ = [record.recorded for record in evaluator.results()]
    assert found == [(row.worker, row.start, row.end, row.resumed) for row in rows]
    assert [[budget for budget, _ in points] for points in recorded_] == [
        [budget for budget, _ in row.shown] for row in rows
    ]


class InLine:
    """Proposes configurations in line, with their fidelities if there are any."""

    def __init__(self, fidelities: list[int] | None = None, keys: str = "") -> None:
        self.number, self.fidelities, self.keys = -1, fidelities, keys

    def ask(self) -> Any:
        self.number += 1
        if self.fidelities is None:
            return {"n": self.number}
        return {"key": self.keys[self.number]}, {"epochs": self.fidelities[self.number]}

    def tell(self, job: Any) -> None:
        pass


WAYS: dict[str, Any] = {
    "workers": st.integers(1, 4),
    "way": st.sampled_from(
        [(sampling, tell, None) for sampling in ("serial", "parallel") for tell in ("asap", "warmup", "fill")]
        + [("serial", "asap", 1), ("serial", "asap", 3)]
    ),
    "thinking": st.lists(quarters, min_size=8, max_size=8),
}


def decide(search: InLine, run: Any, jobs: int, workers: int, way: Any, thinking: list[float], **more: Any) -> Any:
    sampling, tell, batch = way
    return simulate(
        search, run, num_workers=workers, max_submits=jobs, sampling=sampling, tell=tell, batch_size=batch,
        overhead=lambda asked, told: thinking[asked % 8], **more,
    )  # fmt: skip


@settings(deadline=None, max_examples=100)
@given(
    plans=st.lists(trainings(False), min_size=1, max_size=8),
    last=st.integers(1, 3),
    model=st.sampled_from([None, WorkerModel(preempted_after=5, away=2, start_delay=1)]),
    **WAYS,
)
def test_a_stopped_job_is_like_a_shorter_one_for_every_way_to_decide(
    plans: list[Trained], last: int, model: WorkerModel | None, workers: int, way: Any, thinking: list[float]
) -> None:
    more: dict[str, Any] = {"worker_model": model, "retries": 0 if model is None else 2}

    def whole(job: RunningJob) -> dict[str, Any]:
        plan = plans[job["n"]]
        return {"objective": 1.0, "runtime": plan.total, "curve": [(b, 0.5, seconds) for b, seconds in plan.points]}

    def short(job: RunningJob) -> dict[str, Any]:
        plan = plans[job["n"]]
        return {"objective": 1.0, "runtime": plan.points[last - 1][1] if len(plan.points) >= last else plan.total}

    stopper = StopsAt(last)
    found = decide(InLine(), whole, len(plans), workers, way, thinking, stopper=stopper, **more)
    wanted = decide(InLine(), short, len(plans), workers, way, thinking, **more)
    assert found.trace_digest() == wanted.trace_digest()
    assert [row["job"] for row in found.completions] == [row["job"] for row in wanted.completions]
    if model is not None:
        return  # attempts that were lost showed points, too
    heard = [
        (row["start"] + seconds, number, budget)
        for number, (plan, row) in enumerate(zip(plans, found.trace, strict=True))
        for budget, seconds in plan.points[:last]
    ]
    assert [(number, budget) for number, budget, _ in stopper.heard] == [one[1:] for one in sorted(heard)]


@settings(deadline=None, max_examples=150)
@given(
    jobs=st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from([2, 4, 6]), st.booleans()), min_size=1, max_size=8),
    steps=st.lists(st.integers(1, 12).map(lambda number: number / 4), min_size=6, max_size=6),
    **WAYS,
)
def test_a_stopped_job_leaves_nothing_to_continue_for_every_way_to_decide(
    jobs: list[tuple[str, int, bool]], steps: list[float], workers: int, way: Any, thinking: list[float]
) -> None:
    """It is like a job that fails when it is stopped. Each is stopped, if it is, after its last epoch but one."""
    fidelities = [fidelity for _, fidelity, _ in jobs]
    stopped = {number for number, (_, _, stops) in enumerate(jobs) if stops}

    def whole(job: RunningJob) -> dict[str, Any]:
        curve = [(epoch, 0.5, sum(steps[:epoch])) for epoch in range(1, job["epochs"] + 1)]
        return {"objective": 1.0, "runtime": curve[-1][2], "curve": curve}

    def short(job: RunningJob) -> dict[str, Any]:
        if int(job.id.rpartition(".")[2]) not in stopped:
            return {"objective": 1.0, "runtime": sum(steps[: job["epochs"]])}
        return {"objective": "F_stopped", "metadata": {"runtime": sum(steps[: job["epochs"] - 1])}}

    class Stops(StopsAt):
        def for_job(self, number: int, configuration: dict[str, Any]) -> Any:
            return _One(StopsAt(configuration["epochs"] - 1, stopped), number)

    def schedule(run: Any, **more: Any) -> Any:
        search = InLine(fidelities, "".join(key for key, _, _ in jobs))
        result = decide(
            search, run, len(jobs), workers, way, thinking, fidel_key="epochs", continual_max_fidel=6, **more
        )
        return [(row["worker"], row["start"], row["end"], row["charged"], row["resumed_from"]) for row in result.trace]

    assert schedule(whole, stopper=Stops(0)) == schedule(short)


# The same decisions as in real time.


class Conductor:
    """Lets run-functions in threads go on in the order of the times that they declare, whatever the machine does.

    So jobs really run in parallel, with real stoppers, and each step seems to take its time exactly.
    """

    def __init__(self, workers: int, jobs: int) -> None:
        self._workers, self._left = workers, jobs
        self._changed = threading.Condition()
        self._waiting: dict[int, float] = {}
        self.now = 0.0

    def until(self, time: float, number: int) -> None:
        """Return when it is this job's turn: each worker waits, and its time is the earliest."""
        with self._changed:
            self._waiting[number] = time
            self._changed.notify_all()
            assert self._changed.wait_for(lambda: self._is_turn_of(number), timeout=60)
            del self._waiting[number]
            self.now = time

    def _is_turn_of(self, number: int) -> bool:
        waiting = self._waiting
        return len(waiting) == min(self._workers, self._left) and min(waiting, key=lambda n: (waiting[n], n)) == number

    def end(self) -> None:
        with self._changed:
            self._left -= 1
            self._changed.notify_all()


STOPPERS: dict[str, Callable[[], Any]] = {
    "median": lambda: MedianStopper(EPOCHS, min_steps=2),
    "halving": lambda: SuccessiveHalvingStopper(EPOCHS),
    "hyperband": lambda: HyperbandStopper(EPOCHS),
}


def noisy_curves(seed: int, jobs: int) -> list[list[tuple[int, float, float]]]:
    rng = random.Random(seed)
    curves = []
    for _ in range(jobs):
        quality, step, seconds = rng.random(), rng.lognormvariate(0, 1), 0.0
        curve = []
        for epoch in range(1, EPOCHS + 1):
            seconds += step * rng.uniform(0.5, 1.5)
            curve.append((epoch, quality * (1 - 0.7**epoch) + rng.gauss(0, 0.02), seconds))
        curves.append(curve)
    return curves


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("stopper", STOPPERS.values(), ids=STOPPERS)
def test_a_stopper_decides_on_a_curve_as_it_does_in_real_time(stopper: Callable[[], Any], seed: int) -> None:
    """The same jobs are stopped, at the same steps and times, with the same results."""
    workers, jobs = 4, 24
    curves, conductor = noisy_curves(seed, jobs), Conductor(workers, jobs)

    def steps(job: RunningJob) -> dict[str, Any]:
        began = conductor.now
        for epoch, objective, seconds in curves[job["n"]]:
            conductor.until(began + seconds, job["n"])
            job.record(epoch, objective)
            if job.stopped():
                break
        end = conductor.now
        conductor.end()
        return {"objective": objective, "metadata": {"epochs": epoch, "end": end}}

    def tabular(job: RunningJob) -> dict[str, Any]:
        curve = curves[job["n"]]
        return {"objective": curve[-1][1], "runtime": curve[-1][2], "curve": curve}

    configurations = [{"n": n} for n in range(jobs)]
    with ThreadPoolEvaluator(steps, num_workers=workers, stopper=stopper()) as evaluator:
        evaluator.submit(configurations)
        real = sorted(evaluator.gather("ALL"), key=lambda job: job.number)
    with simulated(SerialEvaluator)(tabular, num_workers=workers, stopper=stopper()) as virtual:
        virtual.submit(configurations)
        exact = sorted(virtual.gather("ALL"), key=lambda job: job.number)
    assert [(job.objective, job.metadata["epochs"], job.stopped_early, job.metadata["end"]) for job in real] == [
        (job.objective, len(job.output["curve"]), job.stopped_early, job.metadata["virtual_end"]) for job in exact
    ]
    assert 0 < sum(job.stopped_early for job in exact) < jobs
