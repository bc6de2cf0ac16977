"""Optuna's samplers under the ask-and-tell loop."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from evalpool.backends import SerialEvaluator, ThreadPoolEvaluator
from evalpool.errors import BadArgument
from evalpool.evaluator import OptunaOptimizer, optimize

SPACE = {"x": (0.0, 1.0)}


@pytest.fixture(scope="module")
def optuna() -> Iterator[Any]:
    module = pytest.importorskip("optuna")
    before = module.logging.get_verbosity()
    module.logging.set_verbosity(module.logging.WARNING)
    yield module
    module.logging.set_verbosity(before)


MIXED = {"x": (-5.0, 5.0), "n": (1, 8), "lr": (1e-4, 1.0, "log"), "kind": ["a", "b"], "layers": [[8], [8, 8]]}


def mixed(job: Any) -> Any:
    assert isinstance(job["layers"], list)
    if job["n"] == 3:
        raise ValueError("three")
    return -((job["x"] - 1) ** 2) - job["n"]


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["TPESampler", "RandomSampler", "NSGAIISampler", None])
def test_any_sampler_searches_a_mixed_space(optuna: Any, sampler: str | None) -> None:
    optimizer = OptunaOptimizer(None if sampler is None else getattr(optuna.samplers, sampler)(), MIXED)
    with ThreadPoolEvaluator(mixed, num_workers=2) as evaluator:
        jobs = optimize(evaluator, optimizer, max_evals=30)
    trials = optimizer.study.trials
    assert len(trials) == 30
    states = Counter(trial.state.name for trial in trials)
    assert states["FAIL"] == sum(job.kind is not None for job in jobs)
    assert states["COMPLETE"] == sum(job.kind is None for job in jobs)
    assert optimizer.study.best_value == max(job.objective for job in jobs if job.kind is None)


@pytest.mark.slow
def test_tpe_is_reproducible_with_one_worker(optuna: Any) -> None:
    def proposals() -> list[dict[str, Any]]:
        optimizer = OptunaOptimizer(optuna.samplers.TPESampler(seed=3), MIXED)
        with SerialEvaluator(mixed) as evaluator:
            return [job.args for job in optimize(evaluator, optimizer, max_evals=20)]

    assert proposals() == proposals()


def test_several_objectives(optuna: Any) -> None:
    optimizer = OptunaOptimizer(optuna.samplers.RandomSampler(seed=0), SPACE, num_objectives=2)
    with SerialEvaluator(lambda job: (job["x"], -job["x"])) as evaluator:
        optimize(evaluator, optimizer, max_evals=5)
    assert len(optimizer.study.best_trials) == 5


def test_another_number_of_objectives_than_the_study_has_is_an_error(optuna: Any) -> None:
    optimizer = OptunaOptimizer(optuna.samplers.RandomSampler(), SPACE)
    with SerialEvaluator(lambda job: (1, 2)) as evaluator:
        with pytest.raises(BadArgument, match="num_objectives=2"):
            optimize(evaluator, optimizer, max_evals=5)


def test_a_study_of_the_user_is_continued(optuna: Any) -> None:
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(2):
        with SerialEvaluator(lambda job: job["x"]) as evaluator:
            optimize(evaluator, OptunaOptimizer(study, SPACE), max_evals=3)
    assert [trial.state.name for trial in study.trials] == ["COMPLETE"] * 6


def test_jobs_that_were_not_asked_for_join_the_study(optuna: Any, caplog: pytest.LogCaptureFixture) -> None:
    optimizer = OptunaOptimizer(optuna.samplers.RandomSampler(seed=0), {"x": (0.0, 1.0), "l": [[1], [2]]})
    with SerialEvaluator(lambda job: job["x"] if job["x"] < 0.9 else "F_big") as evaluator:
        evaluator.submit([{"x": 0.5, "l": [2]}, {"x": 0.95, "l": [1]}, {"x": 7.0, "l": [1]}, {"x": 0.5}])
        with caplog.at_level(logging.WARNING, "evalpool"):
            jobs = optimize(evaluator, optimizer, max_evals=5)
    assert len(jobs) == 5
    states = [(trial.params["x"], trial.state.name) for trial in optimizer.study.trials[:2]]
    assert states == [(0.5, "COMPLETE"), (0.95, "FAIL")]
    assert len(optimizer.study.trials) == 3
    assert caplog.text.count("not in the space") == 2


def test_distributions_of_optuna_are_taken_as_they_are(optuna: Any) -> None:
    space = {"x": optuna.distributions.FloatDistribution(0, 1, step=0.25), "n": (1, 2)}
    optimizer = OptunaOptimizer(optuna.samplers.RandomSampler(seed=0), space)
    configs = [optimizer.ask() for _ in range(20)]
    assert {config["x"] for config in configs} <= {0, 0.25, 0.5, 0.75, 1.0}
    assert {config["n"] for config in configs} == {1, 2}


def test_wrong_arguments_of_the_adapter_are_refused(optuna: Any) -> None:
    with pytest.raises(BadArgument, match=r"direction 'MINIMIZE'|direction MINIMIZE"):
        OptunaOptimizer(optuna.create_study(), SPACE)
    with pytest.raises(BadArgument, match="study_or_sampler is 3"):
        OptunaOptimizer(3, SPACE)  # type: ignore[arg-type]
    with pytest.raises(BadArgument, match="is a function"):
        OptunaOptimizer(None, {"x": lambda rng: 1})
    with pytest.raises(BadArgument, match="give a dict with a name"):
        OptunaOptimizer(None, {})
    with pytest.raises(BadArgument, match="num_objectives is 0"):
        OptunaOptimizer(None, SPACE, num_objectives=0)


def test_a_study_itself_is_refused_with_the_name_of_the_adapter(optuna: Any) -> None:
    with SerialEvaluator(lambda job: 1.0) as evaluator:
        with pytest.raises(BadArgument, match="OptunaOptimizer"):
            optimize(evaluator, optuna.create_study(), max_evals=1)
