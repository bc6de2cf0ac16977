"""Optimisers, pruners and spaces of other packages: their interfaces by stand-ins, and the packages themselves.

The stand-ins have what we use of an interface and nothing else, so that they say what we rely on. That the packages
have it, too, is the second half of this file.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from evalpool.backends import ProcessPoolEvaluator, SerialEvaluator, ThreadPoolEvaluator
from evalpool.errors import BadArgument
from evalpool.evaluator import NevergradOptimizer, OptunaOptimizer, RandomSearch, SkoptOptimizer, optimize
from evalpool.search import CARPSOptimizer
from evalpool.search._proposals import Proposals
from evalpool.simulation import simulate, simulated


def package(name: str) -> Any:
    """An optional package: its absence skips here, and fails in continuous integration."""
    if os.environ.get("CI"):
        return __import__(name)
    return pytest.importorskip(name)


def paraboloid(job: Any) -> Any:
    """Best at x = 0.5, n = 3; fails for one kind."""
    if job["kind"] == "bad":
        raise ValueError("bad")
    return -((job["x"] - 0.5) ** 2) - (job["n"] - 3) ** 2


# Lists, as scikit-optimize.


class Lists:
    """``ask() -> list``, ``tell(list, loss)``, minimising."""

    def __init__(self, points: list[list[Any]]) -> None:
        self.points = iter(points)
        self.told: list[tuple[list[Any], float]] = []

    def ask(self) -> list[Any]:
        return next(self.points)

    def tell(self, x: list[Any], y: float) -> None:
        self.told.append((x, y))


class Repeating(Lists):
    """Proposes the same as long as it is told nothing, but several different ones at once."""

    def ask(self, n_points: int | None = None) -> list[Any]:
        return [[number] for number in range(n_points)] if n_points else [0]


def test_a_list_becomes_a_configuration_and_an_objective_a_loss() -> None:
    lists = Lists([[0.5, 3], [0.0, 3]])
    with SerialEvaluator(lambda job: -job["x"] * job["n"]) as evaluator:
        jobs = optimize(evaluator, SkoptOptimizer(lists, ["x", "n"]), max_evals=2)
    assert [job.args for job in jobs] == [{"x": 0.5, "n": 3}, {"x": 0.0, "n": 3}]
    assert lists.told == [([0.5, 3], 1.5), ([0.0, 3], 0.0)]


def test_a_failure_is_told_as_the_worst_loss_so_far_once_there_is_one() -> None:
    lists = Lists([[1], [2], [3], [4], [5]])
    outcomes = {1: "F_a", 2: 7.0, 3: "F_b", 4: -3.0, 5: "F_c"}
    with SerialEvaluator(lambda job: outcomes[job["x"]]) as evaluator:
        optimize(evaluator, SkoptOptimizer(lists, ["x"]), max_evals=5)
    assert lists.told == [([2], -7.0), ([1], -7.0), ([3], -7.0), ([4], 3.0), ([5], 3.0)]


def test_what_is_being_evaluated_is_not_proposed_again() -> None:
    optimizer = SkoptOptimizer(Repeating([]), ["x"])
    assert [optimizer.ask() for _ in range(3)] == [{"x": 0}, {"x": 1}, {"x": 2}]


def test_few_points_are_asked_for_at_once_as_long_as_one_of_them_is_new() -> None:
    asked: list[int] = []

    class Counting(Repeating):
        def ask(self, n_points: int | None = None) -> list[Any]:
            asked.extend([n_points] if n_points else [])
            return super().ask(n_points)

    optimizer = SkoptOptimizer(Counting([]), ["x"])
    assert [optimizer.ask()["x"] for _ in range(6)] == [0, 1, 2, 3, 4, 5]
    assert asked == [2, 2, 4, 4, 4, 8, 8]  # for 1; for 2; for 3; for 4; for 5
    asked.clear()
    constant = SkoptOptimizer(Counting([]), ["x"])
    constant.optimizer.ask = lambda n_points=None: [[0]] * n_points if n_points else [0]
    assert [constant.ask()["x"] for _ in range(3)] == [0, 0, 0]


def test_jobs_that_were_not_asked_for_are_told_if_they_fit(caplog: pytest.LogCaptureFixture) -> None:
    lists = Lists([[1]])
    with SerialEvaluator(lambda job: 1.0) as evaluator:
        evaluator.submit([{"x": 9}, {"y": 9}])
        with caplog.at_level(logging.WARNING, "evalpool"):
            optimize(evaluator, SkoptOptimizer(lists, ["x"]), max_evals=3)
    assert lists.told == [([9], -1.0), ([1], -1.0)]
    assert "is not told to Lists: KeyError('x')" in caplog.text


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SkoptOptimizer(Lists([])), "names is None"),
        (lambda: SkoptOptimizer(Lists([]), "xy"), "names is 'xy'"),
        (lambda: SkoptOptimizer(Lists, ["x"]), "give an object"),
        (lambda: SkoptOptimizer(3, ["x"]), "give an object with ask and tell"),
        (lambda: SkoptOptimizer(Lists([[1, 2]]), ["x"]).ask(), "a list of 1 values, for x"),
        (lambda: CARPSOptimizer(Lists([])), "give one of carps.optimizers, made for a task"),
        (lambda: NevergradOptimizer(Lists([[1]])).ask(), "must return a candidate"),
        (lambda: NevergradOptimizer(Lists([]), "x"), "names is 'x'"),
        (lambda: NevergradOptimizer(Candidates([Candidate((1, 2), {})])).ask(), "2 positional arguments"),
    ],
)
def test_what_does_not_fit_an_adapter_is_refused(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(BadArgument, match=message):
        make()


def test_several_objectives_are_too_many_for_lists() -> None:
    with SerialEvaluator(lambda job: (1, 2)) as evaluator:
        with pytest.raises(BadArgument, match="2 objectives; SkoptOptimizer takes one"):
            optimize(evaluator, SkoptOptimizer(Lists([[1]]), ["x"]), max_evals=1)


@pytest.mark.parametrize(
    ("optimizer", "message"),
    [
        (lambda: Lists([[1]]), r"SkoptOptimizer\(optimizer\)"),
        (lambda: Candidates([Candidate((), {"x": 1})]), "NevergradOptimizer"),
    ],
)
def test_the_loop_names_the_adapter_for_an_optimiser_without_one(optimizer: Any, message: str) -> None:
    with SerialEvaluator(lambda job: 1.0) as evaluator:
        with pytest.raises(BadArgument, match=message):
            optimize(evaluator, optimizer(), max_evals=1)


# Candidates, as nevergrad.


class Candidate:
    def __init__(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.args, self.kwargs = args, kwargs
        self.value = (args, kwargs)

    def spawn_child(self, new_value: Any) -> Candidate:
        return Candidate(*new_value)


class Candidates:
    """``ask() -> candidate``, ``tell(candidate, loss)``, minimising."""

    def __init__(self, candidates: list[Candidate]) -> None:
        self.candidates = iter(candidates)
        self.parametrization = candidates[0] if candidates else None
        self.told: list[tuple[Candidate, Any]] = []

    def ask(self) -> Candidate:
        return next(self.candidates)

    def tell(self, candidate: Candidate, loss: Any) -> None:
        self.told.append((candidate, loss))


def test_a_candidate_becomes_a_configuration_and_gets_its_own_loss() -> None:
    first, second = Candidate(("a",), {"x": 2}), Candidate(("b",), {"x": 3})
    optimizer = Candidates([first, second])
    with SerialEvaluator(lambda job: job["x"]) as evaluator:
        jobs = optimize(evaluator, NevergradOptimizer(optimizer, ["kind"]), max_evals=2)
    assert [job.args for job in jobs] == [{"kind": "a", "x": 2}, {"kind": "b", "x": 3}]
    assert optimizer.told == [(first, -2.0), (second, -3.0)]


def test_equal_candidates_are_told_in_the_order_in_which_they_were_proposed() -> None:
    twins = [Candidate((), {"x": 2}), Candidate((), {"x": 2})]
    optimizer = Candidates(twins)
    with SerialEvaluator(lambda job: job["x"]) as evaluator:
        optimize(evaluator, NevergradOptimizer(optimizer), max_evals=2, max_pending=2)
    assert [candidate for candidate, _ in optimizer.told] == twins


def test_several_objectives_are_several_losses() -> None:
    optimizer = Candidates([Candidate((), {"x": x}) for x in (1, 2, 3)])
    with SerialEvaluator(lambda job: "F_no" if job["x"] == 3 else (job["x"], -job["x"])) as evaluator:
        optimize(evaluator, NevergradOptimizer(optimizer), max_evals=3)
    assert [loss for _, loss in optimizer.told] == [[-1, 1], [-2, 2], [-1, 2]]


def test_a_candidate_is_made_for_a_job_that_was_not_asked_for() -> None:
    optimizer = Candidates([Candidate(("a",), {"x": 1})])
    with SerialEvaluator(lambda job: job["x"]) as evaluator:
        evaluator.submit([{"kind": "b", "x": 5}])
        optimize(evaluator, NevergradOptimizer(optimizer, ["kind"]), max_evals=1)
    ((candidate, loss),) = optimizer.told
    assert (candidate.args, candidate.kwargs, loss) == (("b",), {"x": 5}, -5.0)


def test_proposals_are_taken_once_from_any_thread() -> None:
    proposals: Proposals[int] = Proposals()
    for number in range(200):
        proposals.put({"x": number % 5, "y": 1}, number)
    taken: list[int] = []

    def take() -> None:
        for number in range(50):
            found = proposals.take({"y": 1, "x": number % 5})
            assert found is not None
            taken.append(found)

    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == list(range(200))
    assert proposals.take({"x": 0, "y": 1}) is None
    assert proposals.outstanding() == []


# The packages themselves.


def skopt_optimizer(space: list[Any], n_initial_points: int) -> Any:
    """With a model that takes milliseconds."""
    skopt = package("skopt")
    forest = skopt.learning.RandomForestRegressor(n_estimators=5, random_state=0)
    return skopt.Optimizer(
        space, forest, n_initial_points=n_initial_points, random_state=0, acq_func="EI",
        acq_optimizer_kwargs={"n_points": 100},
    )  # fmt: skip


@pytest.mark.slow
def test_scikit_optimize_finds_the_best_past_failures() -> None:
    skopt = package("skopt")
    space = [
        skopt.space.Real(0.0, 1.0, name="x"),
        skopt.space.Integer(1, 5, name="n"),
        skopt.space.Categorical(["good", "bad"], name="kind"),
    ]
    inner = skopt_optimizer(space, 10)
    # One worker: what it proposes does not depend on which of two results comes first.
    with ThreadPoolEvaluator(paraboloid, num_workers=1) as evaluator:
        jobs = optimize(evaluator, SkoptOptimizer(inner), max_evals=14)
    assert len(inner.yi) == 14
    assert min(inner.yi) == -max(job.objective for job in jobs if job.kind is None)
    assert any(job.kind is not None for job in jobs)
    assert all(type(job.args["n"]) is int and type(job.args["kind"]) is str for job in jobs)
    assert max(job.objective for job in jobs if job.kind is None) > -1.1


@pytest.mark.slow
def test_scikit_optimize_fills_several_workers_with_different_points() -> None:
    inner = skopt_optimizer([(0.0, 1.0)], 2)
    optimizer = SkoptOptimizer(inner, ["x"])
    with SerialEvaluator(lambda job: job["x"]) as evaluator:
        optimize(evaluator, optimizer, max_evals=3)
    points = [optimizer.ask()["x"] for _ in range(4)]
    assert len(set(points)) == 4


@pytest.mark.slow
@pytest.mark.parametrize("name", ["TwoPointsDE", "OnePlusOne", "RandomSearch"])
def test_nevergrad_searches_with_instrumented_arguments(name: str) -> None:
    ng = package("nevergrad")
    parameters = ng.p.Instrumentation(
        ng.p.Choice(["good", "bad"]),
        x=ng.p.Scalar(lower=0, upper=1),
        n=ng.p.Scalar(lower=1, upper=5).set_integer_casting(),
    )
    inner = ng.optimizers.registry[name](parametrization=parameters, budget=40, num_workers=2)
    inner.parametrization.random_state.seed(0)
    with ThreadPoolEvaluator(paraboloid, num_workers=2) as evaluator:
        evaluator.submit([{"kind": "good", "x": 0.25, "n": 1}])  # of a run before
        jobs = optimize(evaluator, NevergradOptimizer(inner, ["kind"]), max_evals=40)
    assert inner.num_tell == 40
    assert inner.num_tell_not_asked == 1
    assert max(job.objective for job in jobs if job.kind is None) > -1.1


@pytest.mark.slow
def test_nevergrad_searches_in_dicts_and_arrays() -> None:
    ng = package("nevergrad")
    inner = ng.optimizers.OnePlusOne(parametrization=ng.p.Dict(x=ng.p.Scalar(), y=ng.p.Array(shape=(2,))), budget=10)
    with SerialEvaluator(lambda job: -sum(abs(y) for y in job["y"]) - abs(job["x"])) as evaluator:
        jobs = optimize(evaluator, NevergradOptimizer(inner), max_evals=10)
    assert all(isinstance(job.args["y"], list) and job.kind is None for job in jobs)
    inner = ng.optimizers.OnePlusOne(parametrization=3, budget=10)
    result = simulate(
        NevergradOptimizer(inner, ["x"]), lambda job: {"objective": -abs(job["x"][0]), "runtime": 1.0}, max_evals=5
    )
    assert inner.num_tell == 5
    assert result.makespan == 5.0


@pytest.fixture
def conditional_space() -> Any:
    cs = package("ConfigSpace")
    space = cs.ConfigurationSpace(seed=1)
    space.add(
        cs.Float("lr", (1e-4, 1.0), log=True),
        cs.Integer("layers", (1, 4)),
        cs.Categorical("optimizer", ["adam", "sgd"]),
        cs.Float("momentum", (0.0, 0.9)),
    )
    space.add(cs.EqualsCondition(space["momentum"], space["optimizer"], "sgd"))
    space.add(
        cs.ForbiddenAndConjunction(
            cs.ForbiddenEqualsClause(space["optimizer"], "adam"), cs.ForbiddenEqualsClause(space["layers"], 1)
        )
    )
    return space


def test_random_search_keeps_conditions_and_forbidden_combinations(conditional_space: Any) -> None:
    search = RandomSearch(conditional_space, seed=0)
    drawn = [search.ask() for _ in range(200)]
    assert all(("momentum" in one) == (one["optimizer"] == "sgd") for one in drawn)
    assert not any(one["optimizer"] == "adam" and one["layers"] == 1 for one in drawn)
    assert {type(one["layers"]) for one in drawn} == {int}
    assert {type(one["lr"]) for one in drawn} == {float}
    assert {type(one["optimizer"]) for one in drawn} == {str}


def test_random_search_in_such_a_space_is_reproducible_and_leaves_it_alone(conditional_space: Any) -> None:
    before = conditional_space.random.get_state()[1].tolist()
    one, same, other = (RandomSearch(conditional_space, seed=seed) for seed in (3, 3, 4))
    drawn = [[search.ask() for _ in range(20)] for search in (one, same, other)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert conditional_space.random.get_state()[1].tolist() == before


def test_random_search_in_such_a_space_goes_on_where_it_was(conditional_space: Any) -> None:
    first = RandomSearch(conditional_space, seed=5)
    everything = [first.ask() for _ in range(6)]
    with SerialEvaluator(lambda job: 1.0) as evaluator:
        evaluator.submit(everything[:3])
        resumed = RandomSearch(conditional_space, seed=5)
        for job in evaluator.gather():
            resumed.tell(job)
    assert [resumed.ask() for _ in range(3)] == everything[3:]


# Optuna's pruners.


@pytest.fixture(scope="module")
def optuna() -> Iterator[Any]:
    module = package("optuna")
    before = module.logging.get_verbosity()
    module.logging.set_verbosity(module.logging.WARNING)
    yield module
    module.logging.set_verbosity(before)


def learn(job: Any) -> Any:
    """Ten steps towards the limit x; a step takes a second of virtual time."""
    for step in range(1, 11):
        job.record(step, job["x"] * (1 - 0.5**step))
        if job.stopped():
            break
    return {"objective": job.objective, "runtime": float(step)}


EVALUATORS: list[Any] = [
    pytest.param(lambda **kw: SerialEvaluator(learn, **kw), id="serial"),
    pytest.param(lambda **kw: ThreadPoolEvaluator(learn, num_workers=2, **kw), id="thread"),
    pytest.param(lambda **kw: ProcessPoolEvaluator(learn, num_workers=2, **kw), id="process", marks=pytest.mark.slow),
    pytest.param(lambda **kw: simulated(SerialEvaluator)(learn, num_workers=4, **kw), id="simulated"),
    pytest.param(
        lambda **kw: simulated(ProcessPoolEvaluator)(learn, num_workers=4, real_workers=2, **kw),
        id="simulated-process", marks=pytest.mark.slow,
    ),
]  # fmt: skip


@pytest.mark.parametrize("make", EVALUATORS)
def test_a_pruner_ends_jobs_on_every_engine(optuna: Any, make: Callable[..., Any]) -> None:
    study = optuna.create_study(
        direction="maximize",
        sampler=optuna.samplers.RandomSampler(seed=0),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=2, n_warmup_steps=1),
    )
    optimizer = OptunaOptimizer(study, {"x": (0.0, 1.0)})
    with make(stopper=optimizer.stopper) as evaluator:
        jobs = optimize(evaluator, optimizer, max_evals=25)
    states = [trial.state.name for trial in study.trials]
    assert set(states) == {"COMPLETE", "PRUNED"}
    by_x = {job.args["x"]: job for job in jobs}
    for trial in study.trials:
        objective = by_x[trial.params["x"]].objective
        assert trial.value == objective
        steps = sorted(trial.intermediate_values)
        assert steps == list(range(1, len(steps) + 1))
        assert trial.intermediate_values[steps[-1]] == objective
        assert (len(steps) == 10) or trial.state.name == "PRUNED"
    assert sum(len(trial.intermediate_values) for trial in study.trials) < 250


def test_simulated_pruning_is_the_same_on_every_run(optuna: Any) -> None:
    def states() -> list[tuple[str, int]]:
        study = optuna.create_study(
            direction="maximize",
            sampler=optuna.samplers.TPESampler(seed=1),
            pruner=optuna.pruners.SuccessiveHalvingPruner(),
        )
        optimizer = OptunaOptimizer(study, {"x": (0.0, 1.0)})
        with simulated(SerialEvaluator)(learn, num_workers=4, stopper=optimizer.stopper, seed=0) as evaluator:
            optimize(evaluator, optimizer, max_evals=20)
        return [(trial.state.name, len(trial.intermediate_values)) for trial in study.trials]

    first = states()
    assert any(state == "PRUNED" for state, _ in first)
    assert states() == first


class Always:
    """Made a pruner of Optuna's by `eager`: prunes from a step on."""

    def __init__(self, step: int = 0) -> None:
        self.step = step

    def prune(self, study: Any, trial: Any) -> bool:
        return trial.last_step is not None and trial.last_step >= self.step


def eager(optuna: Any, step: int) -> Any:
    return type("Eager", (Always, optuna.pruners.BasePruner), {})(step)


def test_a_job_that_ignores_the_advice_is_complete(optuna: Any) -> None:
    def stubborn(job: Any) -> float:
        for step in (1, 2, 3):
            job.record(step, 0.1 * step)
        return 1.0

    study = optuna.create_study(direction="maximize", pruner=eager(optuna, 2))
    optimizer = OptunaOptimizer(study, {"x": (0.0, 1.0)})
    with SerialEvaluator(stubborn, stopper=optimizer.stopper) as evaluator:
        optimize(evaluator, optimizer, max_evals=1)
    (trial,) = study.trials
    assert (trial.state.name, trial.value) == ("COMPLETE", 1.0)
    assert trial.intermediate_values == {1: 0.1, 2: 0.2}


def test_a_job_that_fails_after_the_advice_is_a_failed_trial(optuna: Any) -> None:
    def fails(job: Any) -> float:
        job.record(1, 0.5)
        raise ValueError

    study = optuna.create_study(direction="maximize", pruner=eager(optuna, 1))
    optimizer = OptunaOptimizer(study, {"x": (0.0, 1.0)})
    with SerialEvaluator(fails, stopper=optimizer.stopper) as evaluator:
        optimize(evaluator, optimizer, max_evals=2)
    assert [trial.state.name for trial in study.trials] == ["FAIL", "FAIL"]


def test_a_job_that_is_run_again_goes_on_with_its_trial(optuna: Any) -> None:
    def unlucky(job: Any) -> float:
        for step in range(1, 4 if job.attempt == 1 else 6):
            job.record(step, float(step))
        if job.attempt == 1:
            raise ConnectionError("once")
        return 9.0

    study = optuna.create_study(direction="maximize", pruner=optuna.pruners.NopPruner())
    optimizer = OptunaOptimizer(study, {"x": (0.0, 1.0)})
    with ThreadPoolEvaluator(unlucky, num_workers=2, retries=1, stopper=optimizer.stopper) as evaluator:
        optimize(evaluator, optimizer, max_evals=4)
    for trial in study.trials:
        assert (trial.state.name, trial.value) == ("COMPLETE", 9.0)
        assert trial.intermediate_values == {step: float(step) for step in range(1, 6)}


def test_records_that_optuna_cannot_take_are_left_out(optuna: Any) -> None:
    def odd(job: Any) -> float:
        for budget, objective in [(0.5, 0.1), (0.75, 0.2), (-1, 0.3), (2, float("nan")), (2, "no"), (3, 0.4)]:
            job.record(budget, objective)
        return 0.9

    study = optuna.create_study(direction="maximize", pruner=optuna.pruners.NopPruner())
    optimizer = OptunaOptimizer(study, {"x": (0.0, 1.0)})
    with SerialEvaluator(odd, stopper=optimizer.stopper) as evaluator:
        optimize(evaluator, optimizer, max_evals=1)
    (trial,) = study.trials
    assert trial.intermediate_values == {0: 0.1, 3: 0.4}


def test_a_job_that_was_not_asked_for_joins_with_its_intermediate_values(optuna: Any) -> None:
    study = optuna.create_study(direction="maximize", pruner=eager(optuna, 0))
    optimizer = OptunaOptimizer(study, {"x": (0.0, 1.0)})
    with SerialEvaluator(learn, stopper=optimizer.stopper) as evaluator:
        evaluator.submit([{"x": 0.5}])
        optimize(evaluator, optimizer, max_evals=1)
    (trial,) = study.trials
    assert trial.state.name == "COMPLETE"
    assert sorted(trial.intermediate_values) == list(range(1, 11))


def test_a_second_evaluator_with_the_same_optimizer_prunes_its_own_jobs(optuna: Any) -> None:
    study = optuna.create_study(direction="maximize", pruner=eager(optuna, 3))
    optimizer = OptunaOptimizer(study, {"x": (0.0, 1.0)})
    for _ in range(2):  # job numbers begin at 0 in each
        with SerialEvaluator(learn, stopper=optimizer.stopper) as evaluator:
            optimize(evaluator, optimizer, max_evals=3)
    assert [trial.state.name for trial in study.trials] == ["PRUNED"] * 6
    assert all(sorted(trial.intermediate_values) == [1, 2, 3] for trial in study.trials)


def test_several_objectives_are_not_pruned(optuna: Any) -> None:
    optimizer = OptunaOptimizer(None, {"x": (0.0, 1.0)}, num_objectives=2)
    with pytest.raises(BadArgument, match="2 objectives, and Optuna prunes with one only"):
        _ = optimizer.stopper
