"""Searches by name, for the command and for comparisons: ``"random"``, ``"tpe"``, ``"nevergrad:TwoPointsDE"``.

Each is made for a space with its package's own settings; only the seed is given. For other settings make the optimiser
yourself, in a function of a file: ``search.py:make``, which is called in ``evalpool.benchmarks._searches``.
"""

from __future__ import annotations

import importlib
from typing import Any

from evalpool.errors import BadArgument, MissingExtra
from evalpool.search._random_search import Choice, Range, read_space
from evalpool.search._spaces import space_of

__all__ = ["ADVICE", "SAMPLERS", "named_search", "quiet_optuna"]

SAMPLERS = {
    "tpe": "TPESampler",
    "cmaes": "CmaEsSampler",
    "gp": "GPSampler",
    "qmc": "QMCSampler",
    "nsga2": "NSGAIISampler",
}
"""Our name of a sampler of Optuna -> its class."""
BESIDES = {"cmaes": "cmaes", "gp": "torch"}
"""Samplers that need another package. Optuna says so only after the first proposals."""
BANDITS = ("halving", "hyperband")
"""Promotion over the fidelity of a benchmark, from one first rung, or from each."""

ADVICE = (
    f"random; {', '.join(BANDITS)} (benchmarks with a fidelity); {', '.join(SAMPLERS)} (Optuna); skopt "
    "(scikit-optimize); nevergrad:NAME, such as nevergrad:TwoPointsDE; or path/to/file.py:function, called with "
    "(space, seed)"
)
"""The names, for help and errors."""


def named_search(
    name: str, space: Any, seed: int, *, num_objectives: int = 1, max_evals: int | None = None, num_workers: int = 1
) -> Any:
    """Return a new optimiser that maximises.

    Args:
        name: one of `ADVICE`, but for the function of a file.
        space: as that of `RandomSearch`, or a benchmark, which those of `BANDITS` need for its fidelity.
        seed: the same seed gives the same proposals for the same results.
        num_objectives: of the evaluations.
        max_evals: for optimisers that plan with it (nevergrad's); None if it is not known.
        num_workers: how many proposals are evaluated at a time.

    Raises:
        BadArgument: there is no such search, or it cannot search this space.
        MissingExtra: its package is not installed.
    """
    fidelity = getattr(space, "fidelity", None)
    space = space_of(space)
    kind, _, rest = name.partition(":")
    if name == "random":
        from evalpool.search._random_search import RandomSearch

        return RandomSearch(space, seed)
    if name in BANDITS:
        return _of_promotion(name, space, fidelity, seed, num_objectives)
    if name in SAMPLERS:
        return _of_optuna(name, space, seed, num_objectives)
    if name == "skopt":
        return _of_skopt(space, seed)
    if kind == "nevergrad" and rest:
        return _of_nevergrad(rest, space, seed, max_evals, num_workers)
    raise BadArgument(f"There is no search {name!r}; known are {ADVICE}.")


def quiet_optuna() -> None:
    """Let Optuna log warnings only, not a line for each study; nothing if it is not installed."""
    try:
        import optuna
    except ImportError:
        return
    optuna.logging.set_verbosity(optuna.logging.WARNING)


def _of_promotion(name: str, space: Any, fidelity: Any, seed: int, num_objectives: int) -> Any:
    """Successive halving whose rungs are values of the fidelity; from each rung on, for Hyperband."""
    from evalpool.search._halving import SuccessiveHalving
    from evalpool.search._rungs import place_of

    if fidelity is None:
        raise BadArgument(
            f"The search {name!r} evaluates at low fidelities first, and this benchmark has no fidelity. A bandit "
            "without one is nevergrad:NoisyBandit; or name a benchmark with a fidelity, such as digits."
        )
    if num_objectives > 1:
        raise BadArgument(f"The search {name!r} compares one objective, and this benchmark has {num_objectives}.")

    levels = fidelity.levels or (fidelity.low, fidelity.high)

    def made(factor: float, brackets: int) -> SuccessiveHalving:
        search = SuccessiveHalving(
            space, fidelity.name, levels[0], levels[-1], reduction_factor=factor, brackets=brackets, seed=seed
        )
        # 3 * 0.1 is not 0.3, the value that a table has.
        places = [place_of(rung, levels) for rung in search.rungs]
        search.rungs = [rung if at is None else levels[at] for at, rung in zip(places, search.rungs, strict=True)]
        return search

    def fits(factor: float) -> bool:
        return fidelity.levels is None or set(made(factor, 1).rungs) <= set(levels)

    factor = 3.0
    if not fits(factor):
        factor = levels[1] / levels[0]
        if not fits(factor):
            raise BadArgument(
                f"The search {name!r} needs the fidelity {fidelity.name!r} at low, 3 * low, 9 * low and so on, or at "
                f"powers of another factor, and there are {', '.join(map(repr, levels))} only. Make the search in a "
                "function of a file: SuccessiveHalving(space, fidelity, low, high, reduction_factor=...)."
            )
    return made(factor, 1 if name == "halving" else len(made(factor, 1).rungs))


def _of_optuna(name: str, space: Any, seed: int, num_objectives: int) -> Any:
    from evalpool.search._optuna import OptunaOptimizer

    try:
        import optuna
    except ImportError as error:
        raise MissingExtra.of(f"The search {name!r} needs Optuna", "optuna") from error
    if name in BESIDES:
        _package(BESIDES[name], BESIDES[name])
    settings: dict[str, Any] = {}
    if name == "cmaes":
        # Optuna draws choices at random, and would say so for each of them in each trial.
        settings["warn_independent_sampling"] = False
        dimensions = read_space(space).values() if isinstance(space, dict) else ()
        if dimensions and not any(isinstance(one, Range) and one.low < one.high for one in dimensions):
            raise BadArgument(
                "CMA-ES searches ranges, and this space has choices only, which Optuna would draw at random. "
                "nevergrad:CMA searches choices, too."
            )
    sampler = getattr(optuna.samplers, SAMPLERS[name])(seed=seed, **settings)
    return OptunaOptimizer(sampler, space, num_objectives=num_objectives)


def _of_skopt(space: Any, seed: int) -> Any:
    from evalpool.search._minimizers import SkoptOptimizer

    return SkoptOptimizer(_package("skopt", "scikit-optimize").Optimizer(skopt_dimensions(space), random_state=seed))


def skopt_dimensions(space: Any) -> list[Any]:
    """Return the dimensions of scikit-optimize, with their names, that a space of ranges and choices is."""
    skopt = _package("skopt", "scikit-optimize")
    dimensions = []
    for name, one in _dimensions(space).items():
        if isinstance(one, Choice):
            dimensions.append(skopt.space.Categorical(one.values, name=name))
        else:
            kind, prior = (
                skopt.space.Integer if one.whole else skopt.space.Real,
                "log-uniform" if one.log else "uniform",
            )
            dimensions.append(kind(one.low, one.high, prior=prior, name=name))
    return dimensions


def _of_nevergrad(name: str, space: Any, seed: int, max_evals: int | None, num_workers: int) -> Any:
    from evalpool.search._minimizers import NevergradOptimizer

    nevergrad = _package("nevergrad", "nevergrad")
    registry = nevergrad.optimizers.registry
    if name not in registry:
        raise BadArgument(f"nevergrad has no optimizer {name!r}; it has {', '.join(sorted(registry)[:20])} and others.")
    parameters = nevergrad.p.Dict(**{key: _parameter(nevergrad.p, one) for key, one in _dimensions(space).items()})
    parameters.random_state.seed(seed)
    return NevergradOptimizer(registry[name](parameters, budget=max_evals, num_workers=num_workers))


def _parameter(p: Any, one: Range | Choice) -> Any:
    if isinstance(one, Choice):
        return p.Choice(one.values)
    scalar = p.Log(lower=one.low, upper=one.high) if one.log else p.Scalar(lower=one.low, upper=one.high)
    return scalar.set_integer_casting() if one.whole else scalar


def _dimensions(space: Any) -> dict[str, Range | Choice]:
    if not isinstance(space, dict):
        raise BadArgument(f"This search needs a space as a dict of ranges and choices, not {type(space).__name__}.")
    found: dict[str, Range | Choice] = {}
    for name, one in read_space(space).items():
        if not isinstance(one, (Range, Choice)):
            raise BadArgument(f"space[{name!r}] is a function; this search needs a range or choices.")
        found[name] = one
    return found


def _package(module: str, distribution: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtra(f"This search needs {distribution} ({error}): pip install {distribution}.") from error
