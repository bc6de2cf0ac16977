"""A benchmark: a run-function with a space, a fidelity and runtimes, used where both are."""

from __future__ import annotations

import math
import pickle
from typing import Any

import pytest

from evalpool import (
    Evaluator,
    OptunaOptimizer,
    RandomSearch,
    RunningJob,
    SerialEvaluator,
    optimize,
    simulate,
    simulated,
)
from evalpool.benchmarks import Benchmark, CurvePoint, Fidelity, RuntimeModel
from evalpool.errors import BadArgument
from evalpool.search import Stopper

SPACE = {"x": (0, 9)}


def train(job: RunningJob) -> dict[str, Any]:
    return {"loss": float(job["x"]), "size": 100 - job["x"], "train_time": 60.0 * job.get("epochs", 1)}


def losses(**more: Any) -> Benchmark:
    settings = {"objectives": "loss", "maximize": False, "runtime": "train_time", **more}
    return Benchmark("losses", SPACE, train, **settings)


def test_what_a_suite_calls_by_its_own_names_becomes_an_objective_and_a_runtime() -> None:
    assert losses()({"x": 3}) == {"loss": 3.0, "size": 97, "train_time": 60.0, "objective": -3.0, "runtime": 60.0}
    assert losses(maximize=True)({"x": 3})["objective"] == 3.0
    assert losses(objectives=("loss", "size"), maximize=(False, True))({"x": 3})["objective"] == (-3.0, 97)


def test_runtimes_in_another_unit_become_seconds() -> None:
    assert losses(runtime_unit="min")({"x": 1})["runtime"] == 3600.0
    assert losses(runtime=lambda job, result: 2.0, runtime_unit="h")({"x": 1})["runtime"] == 7200.0


@pytest.mark.parametrize(
    ("name", "unit"),
    [("train_minutes", "min"), ("time_ms", "ms"), ("hours", "h"), ("cost [h]", "h"), ("Time (min)", "min")],
)
def test_a_name_that_says_another_unit_than_seconds_is_refused_until_the_unit_is_given(name: str, unit: str) -> None:
    with pytest.raises(BadArgument, match=f"which says '{unit}'.*runtime_unit='{unit}'"):
        losses(runtime=name)
    losses(runtime=name, runtime_unit=unit)
    losses(runtime=name, runtime_unit="s")


@pytest.mark.parametrize("name", ["train_time", "runtime_s", "time_sec", "atoms", "admin"])
def test_other_names_are_seconds(name: str) -> None:
    assert losses(runtime=name).has_runtimes


def test_an_unknown_unit_is_refused_with_the_known_ones() -> None:
    with pytest.raises(BadArgument, match="'fortnights'; give one of 'ns', 'us', 'ms', 's', 'min', 'h', 'd'"):
        losses(runtime_unit="fortnights")


def test_it_is_run_function_and_space_of_every_way_to_search() -> None:
    benchmark = losses()
    with Evaluator.create(benchmark, "thread", {"num_workers": 2}) as evaluator:
        jobs = optimize(evaluator, RandomSearch(benchmark, seed=0), max_evals=5)
    assert all(job.objective == -job.args["x"] for job in jobs)
    assert jobs[0].output["train_time"] == 60.0
    with simulated(SerialEvaluator)(benchmark, num_workers=2) as evaluator:
        optimize(evaluator, OptunaOptimizer(None, benchmark), max_evals=4)
        assert evaluator.now == 120.0
    assert simulate(RandomSearch(benchmark, seed=0), benchmark, num_workers=2, max_evals=4).makespan == 120.0


def test_without_runtimes_simulated_time_refuses_it_before_the_first_job() -> None:
    benchmark = losses(runtime=None)
    for start in (
        lambda: simulate(RandomSearch(benchmark), benchmark, max_evals=1),
        lambda: simulate(RandomSearch(benchmark), benchmark, max_evals=1, evaluator="serial"),
        lambda: simulated(SerialEvaluator)(benchmark),
    ):
        with pytest.raises(BadArgument, match=r"'losses'.*does not know how long a job takes.*RuntimeModel"):
            start()
    assert simulate(RandomSearch(benchmark), benchmark, max_evals=2, runtime="train_time").makespan == 120.0
    given = benchmark.with_runtime(RuntimeModel.constant(5.0))
    assert simulate(RandomSearch(given), given, max_evals=2).makespan == 10.0
    assert not benchmark.has_runtimes
    with Evaluator.create(benchmark, "serial") as evaluator:  # in real time it may run
        assert len(optimize(evaluator, RandomSearch(benchmark), max_evals=1)) == 1


def test_a_fidelity_that_is_not_proposed_is_the_highest() -> None:
    benchmark = losses(fidelity=Fidelity("epochs", 1, 27))
    assert benchmark({"x": 1})["runtime"] == 27 * 60.0
    assert benchmark({"x": 1, "epochs": 3})["runtime"] == 180.0


def test_a_configuration_of_the_callers_is_not_changed() -> None:
    configuration = {"x": 1}
    losses(fidelity=Fidelity("epochs", 1, 27))(configuration)
    assert configuration == {"x": 1}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (0, "'epochs' is 0; give a whole number from 1 to 27"),
        (28, "'epochs' is 28"),
        (2.5, "'epochs' is 2.5"),
        ("3", "'epochs' is '3' of type str"),
        (True, "'epochs' is True of type bool"),
    ],
)
def test_a_fidelity_out_of_range_fails_the_job_and_says_the_range(value: Any, message: str) -> None:
    benchmark = losses(fidelity=Fidelity("epochs", 1, 27))
    with pytest.raises(BadArgument, match=message):
        benchmark({"x": 1, "epochs": value})
    with Evaluator.create(benchmark, "serial") as evaluator:
        evaluator.submit([{"x": 1, "epochs": value}])
        (job,) = evaluator.gather()
    assert message in job.error


def test_levels_are_the_only_fidelities() -> None:
    epochs = Fidelity("epochs", 1, 27, levels=(27, 1, 9))
    assert [epochs.check(9.0), epochs.share(9)] == [9, 1 / 3]
    with pytest.raises(BadArgument, match="'epochs' is 3; give one of 1, 9, 27"):
        epochs.check(3)
    assert pickle.loads(pickle.dumps(epochs)) == epochs
    assert Fidelity("share", 0.1, 1.0).integer is False


def test_a_fidelity_that_was_computed_is_the_level_that_it_means() -> None:
    share = Fidelity("share", 0.1, 0.3, levels=(0.1, 0.2, 0.3))
    assert [share.check(value) for value in (0.1, 0.1 * 3, 0.3 - 0.1)] == [0.1, 0.3, 0.2]
    for wrong in (0.1000001, 0.4, math.inf, math.nan, 10**400):
        with pytest.raises(BadArgument, match=r"'share' is .*; give one of 0\.1, 0\.2, 0\.3"):
            share.check(wrong)


@pytest.mark.parametrize(
    "arguments",
    [
        ("", 1, 2),
        ("epochs", 0, 2),
        ("epochs", 3, 2),
        ("epochs", 1, 2.5, True),
        ("epochs", 1, 9, None, (1, 27)),
        ("epochs", 1, 9, None, (1, 1.5)),
        ("epochs", 1, 9, None, "19"),
        ("epochs", 1.0, 9.5, None, (float("nan"),)),
        ("e", "1", 2),
    ],
)
def test_a_fidelity_with_wrong_bounds_is_refused(arguments: Any) -> None:
    with pytest.raises(BadArgument):
        Fidelity(*arguments)


def test_what_run_forgets_is_named() -> None:
    with pytest.raises(BadArgument, match="returned 'loss', 'size', 'train_time', without the objective 'accuracy'"):
        losses(objectives="accuracy")({"x": 1})
    with pytest.raises(BadArgument, match="without the runtime 'seconds'"):
        losses(runtime="seconds")({"x": 1})


def test_a_failure_keeps_the_time_that_it_took() -> None:
    benchmark = Benchmark("fails", SPACE, lambda job: {"objective": "F_oom", "s": 7.0}, runtime="s")
    result = simulate(RandomSearch(benchmark, seed=0), benchmark, max_evals=2)
    assert (result.objectives, result.makespan) == (["F_oom", "F_oom"], 14.0)


def test_a_run_function_that_returns_a_number_needs_no_names() -> None:
    benchmark = Benchmark("plain", SPACE, lambda job: job["x"], runtime=RuntimeModel.constant(3.0), maximize=False)
    assert benchmark({"x": 2}) == {"objective": -2, "runtime": 3.0}


@pytest.mark.parametrize("method", ["thread", "process"])
@pytest.mark.slow
def test_a_search_has_one_digest_on_every_backend(method: str) -> None:
    benchmark = losses(runtime=RuntimeModel.lognormal(60.0, 0.5, seed=3).times("x", lambda x: 1 + x))
    alone = simulate(RandomSearch(benchmark, seed=0), benchmark, num_workers=4, max_evals=30, seed=1)
    elsewhere = simulate(
        RandomSearch(benchmark, seed=0), benchmark, num_workers=4, max_evals=30, seed=1, evaluator=method
    )
    assert alone.trace_digest() == elsewhere.trace_digest()
    assert alone.objectives == elsewhere.objectives


# Curves.


def rising(job: RunningJob) -> Any:
    for epoch in (1, 3, 9, 27):
        yield epoch, 1.0 / epoch + job["x"], 10.0 * epoch


def curved() -> Benchmark:
    return Benchmark(
        "curved",
        SPACE,
        lambda job: {"loss": 1.0 / job["epochs"] + job["x"], "s": 10.0 * job["epochs"]},
        objectives="loss",
        maximize=False,
        runtime="s",
        fidelity=Fidelity("epochs", 1, 27, levels=(1, 3, 9, 27)),
        curve=rising,
    )


class StopsAt(Stopper):
    def __init__(self, budget: float) -> None:
        self.budget, self.seen = budget, []
        self.objective = None

    def observe(self, budget: float, objective: Any) -> None:
        self.objective = objective
        self.seen.append((budget, objective))

    def stop(self) -> bool:
        return self.seen[-1][0] >= self.budget


def test_the_points_of_a_curve_up_to_the_fidelity_are_recorded() -> None:
    stopper = StopsAt(100)
    job = RunningJob(parameters={"x": 0, "epochs": 9}, stopper=stopper)
    assert curved()(job)["objective"] == -1 / 9
    assert stopper.seen == [(1, -1.0), (3, -1 / 3), (9, -1 / 9)]
    assert curved().curve({"x": 0, "epochs": 3}) == [CurvePoint(1, 1.0, 10.0), CurvePoint(3, 1 / 3, 30.0)]
    assert losses().curve({"x": 0}) == []


def test_a_stopped_job_returns_the_point_at_which_it_ended_and_its_time() -> None:
    told = curved()(RunningJob(parameters={"x": 0}, stopper=StopsAt(3)))
    assert told == {"loss": 1 / 3, "epochs": 3, "s": 30.0, "objective": -1 / 3, "runtime": 30.0}


@pytest.mark.parametrize(
    ("curve", "message"),
    [
        (None, "is None of type NoneType"),
        ([(1, 0.5, 10.0), (1,)], r"has \(1,\) as point 2"),
        ([{"epochs": 1, "loss": 0.5}], "has the budget 'epochs' at point 1;"),
        ([(9, 0.5, 90.0), (3, 0.4, 30.0)], "has the budget 3 at point 2, after 9"),
        ([(math.nan, 0.5, 90.0)], "has the budget nan at point 1;"),
        ([(1, (0.5, 0.6), 10.0)], r"has \(0.5, 0.6\) as the objective at 1, for \('loss',\)"),
    ],
)
def test_a_learning_curve_that_is_none_fails_the_job_and_says_which_point(curve: Any, message: str) -> None:
    benchmark = losses(curve=lambda job: curve, fidelity=Fidelity("epochs", 1, 27))
    with pytest.raises(BadArgument, match=f"The learning curve of the benchmark .* {message}"):
        benchmark(RunningJob(parameters={"x": 1}, stopper=StopsAt(100)))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": ""}, "name of a benchmark"),
        ({"space": {"x": 3}}, r"space\['x'\]"),
        ({"run": 3}, "run of 'b' is 3"),
        ({"objectives": ()}, "objectives of 'b'"),
        ({"objectives": ("a", "a")}, "objectives of 'b'"),
        ({"objectives": None}, "objectives of 'b' are None"),
        ({"maximize": (True, False)}, "maximize of 'b'"),
        ({"maximize": None}, "maximize of 'b' is None"),
        ({"metadata": ["best"]}, r"metadata of 'b' is \['best'\]; give a dict"),
        ({"fidelity": "epochs"}, "fidelity of 'b'"),
        ({"fidelity": Fidelity("x", 1, 2)}, "space of 'b' has the fidelity 'x'"),
        ({"runtime": 60.0}, "runtime of 'b' is 60.0"),
        ({"runtime": RuntimeModel(1.0), "runtime_unit": "h"}, "in seconds; leave runtime_unit out"),
        ({"curve": "yes"}, "curve of 'b'"),
    ],
)
def test_wrong_arguments_are_refused_with_their_values(settings: dict[str, Any], message: str) -> None:
    arguments: dict[str, Any] = {"name": "b", "space": SPACE, "run": train, **settings}
    with pytest.raises(BadArgument, match=message):
        Benchmark(**arguments)


def test_a_coroutine_function_and_something_that_is_no_configuration_are_refused() -> None:
    async def run(job: RunningJob) -> float:
        return 1.0

    with pytest.raises(BadArgument, match="coroutine function"):
        Benchmark("b", SPACE, run)
    with pytest.raises(BadArgument, match=r"not 3 of type int"):
        losses()(3)  # type: ignore[arg-type]


def test_a_space_of_configspace_is_taken_as_it_is() -> None:
    config_space = pytest.importorskip("ConfigSpace")
    space = config_space.ConfigurationSpace({"x": (0, 9)}, seed=0)
    benchmark = Benchmark("c", space, lambda job: job["x"], runtime=RuntimeModel.constant(1.0))
    assert simulate(RandomSearch(benchmark, seed=0), benchmark, max_evals=3).makespan == 3.0
