"""One run-function, four ways to search: random in a ConfigSpace, scikit-optimize, nevergrad, and your own.

Optimisers of other packages ask and tell in a form of their own, and minimise. An adapter translates; each runs on any
backend. Failures are told as the worst loss so far, so that a search leaves regions where nothing works.

    python examples/other_optimizers.py

Needs: pip install evalpool scikit-optimize nevergrad ConfigSpace
"""

import random
from typing import Any

import ConfigSpace
import nevergrad
import skopt

from evalpool import Evaluator, NevergradOptimizer, RandomSearch, RunningJob, SkoptOptimizer, optimize

WORKERS = 2
EVALUATIONS = 30


def run(job: RunningJob) -> float:
    """The run-function: best at x = 0.7 with five layers; some of it does not work."""
    if job["kind"] == "broken":
        raise RuntimeError("this kind does not work")
    return float(1 - (job["x"] - 0.7) ** 2 - 0.1 * abs(job["layers"] - 5))


def in_a_config_space() -> RandomSearch:
    """Conditions and forbidden combinations of the space are respected."""
    space = ConfigSpace.ConfigurationSpace({"x": (0.0, 1.0), "layers": (1, 8), "kind": ["good", "fine", "broken"]})
    space.add(ConfigSpace.ForbiddenEqualsClause(space["kind"], "broken"))
    return RandomSearch(space, seed=0)


def scikit_optimize() -> SkoptOptimizer:
    """The names of the dimensions are those of the configuration."""
    space = [
        skopt.space.Real(0.0, 1.0, name="x"),
        skopt.space.Integer(1, 8, name="layers"),
        skopt.space.Categorical(["good", "fine", "broken"], name="kind"),
    ]
    forest = skopt.learning.ExtraTreesRegressor(n_estimators=20, min_samples_leaf=3, random_state=0)
    return SkoptOptimizer(skopt.Optimizer(space, forest, n_initial_points=15, random_state=0))


def one_of_nevergrad() -> NevergradOptimizer:
    """Its keyword arguments are the configuration."""
    parameters = nevergrad.p.Instrumentation(
        x=nevergrad.p.Scalar(lower=0, upper=1),
        layers=nevergrad.p.Scalar(lower=1, upper=8).set_integer_casting(),
        kind=nevergrad.p.Choice(["good", "fine", "broken"]),
    )
    parameters.random_state.seed(0)
    optimizer = nevergrad.optimizers.TwoPointsDE(parameters, budget=EVALUATIONS, num_workers=WORKERS)
    return NevergradOptimizer(optimizer)


class HillClimber:
    """An optimiser of your own is a class with two methods."""

    def __init__(self) -> None:
        self.draw = random.Random(0)
        self.best: dict[str, Any] = {"x": 0.0, "layers": 1, "kind": "good"}
        self.height = float("-inf")

    def ask(self) -> dict[str, Any]:
        x = min(1.0, max(0.0, self.best["x"] + self.draw.gauss(0, 0.2)))
        layers = min(8, max(1, self.best["layers"] + self.draw.choice([-1, 0, 1])))
        return {"x": x, "layers": layers, "kind": self.draw.choice(["good", "fine", "broken"])}

    def tell(self, configuration: dict[str, Any], objective: float | str) -> None:
        if isinstance(objective, float) and objective > self.height:  # a failure is a text
            self.best, self.height = configuration, objective


def main() -> None:
    optimizers = {
        "random search in a ConfigSpace": in_a_config_space(),
        "scikit-optimize": scikit_optimize(),
        "nevergrad": one_of_nevergrad(),
        "hill climber": HillClimber(),
    }
    for name, optimizer in optimizers.items():
        with Evaluator.create(run, method="thread", method_kwargs={"num_workers": WORKERS}) as evaluator:
            jobs = optimize(evaluator, optimizer, max_evals=EVALUATIONS)
        done = [job for job in jobs if job.kind is None]
        best = max(done, key=lambda job: float(job.objective))
        print(f"{name}: best {best.objective:.3f} at {best.args}, {len(jobs) - len(done)} failures")


if __name__ == "__main__":
    main()
