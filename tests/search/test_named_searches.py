"""Searches by name: the optimisers that the command and comparisons make."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import pytest

from evalpool import simulate
from evalpool.benchmarks import Benchmark, Fidelity, RuntimeModel, load
from evalpool.errors import BadArgument, MissingExtra
from evalpool.search._named import named_search, quiet_optuna
from services import package

SPACE: dict[str, Any] = {
    "x": (0.0, 9.0),
    "rate": (1e-4, 1.0, "log"),
    "n": (1, 8),
    "width": (4, 64, "log"),
    "kind": ["a", "b"],
}


def parabola() -> Benchmark:
    def run(job: Any) -> float:
        assert type(job["n"]) is int
        assert 1 <= job["n"] <= 8
        assert 4 <= job["width"] <= 64
        assert 1e-4 <= job["rate"] <= 1.0
        assert job["kind"] in ("a", "b")
        return float((job["x"] - 3) ** 2 + job["n"])

    return Benchmark("parabola", SPACE, run, maximize=False, runtime=RuntimeModel.lognormal(60.0, 0.5))


@pytest.mark.parametrize(
    ("name", "module"),
    [
        ("random", "numpy"),
        ("tpe", "optuna"),
        ("cmaes", "cmaes"),
        ("qmc", "optuna"),
        ("nsga2", "optuna"),
        pytest.param("skopt", "skopt", marks=pytest.mark.slow),
        pytest.param("nevergrad:TwoPointsDE", "nevergrad", marks=pytest.mark.slow),
        pytest.param("nevergrad:OnePlusOne", "nevergrad", marks=pytest.mark.slow),
    ],
)
@pytest.mark.filterwarnings("ignore:QMCSampler is experimental")
def test_each_name_is_a_search_that_its_seed_repeats(name: str, module: str) -> None:
    package(module)
    quiet_optuna()
    benchmark = parabola()
    runs = []
    for seed in (0, 0, 1):
        optimizer = named_search(name, benchmark, seed, max_evals=6, num_workers=4)
        runs.append(simulate(optimizer, benchmark, num_workers=4, max_evals=6, seed=0))
    assert runs[0].configurations == runs[1].configurations != runs[2].configurations
    assert not any(isinstance(objective, str) for objective in runs[0].objectives)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "bayes",
            r"no search 'bayes'; known are random; halving, hyperband \(benchmarks with a fidelity\); tpe, cmaes",
        ),
        ("nevergrad", "no search 'nevergrad'"),
    ],
)
def test_an_unknown_name_is_told_the_known_ones(name: str, message: str) -> None:
    with pytest.raises(BadArgument, match=message):
        named_search(name, SPACE, 0)


def test_an_optimiser_that_nevergrad_lacks_is_refused() -> None:
    package("nevergrad")
    with pytest.raises(BadArgument, match=r"nevergrad has no optimizer 'Nope'; it has .* and others"):
        named_search("nevergrad:Nope", SPACE, 0)
    with pytest.raises(BadArgument, match=r"space\['x'\] is a function"):
        named_search("nevergrad:TwoPointsDE", {"x": lambda rng: 1}, 0)


def test_a_package_that_is_missing_is_named_before_the_first_proposal(monkeypatch: pytest.MonkeyPatch) -> None:
    package("optuna")
    packages = {"cmaes": "cmaes", "gp": "torch", "skopt": "scikit-optimize", "nevergrad:CMA": "nevergrad"}
    for name, missing in packages.items():
        monkeypatch.setitem(sys.modules, {"scikit-optimize": "skopt"}.get(missing, missing), None)
        with pytest.raises(MissingExtra, match=f"needs {missing} .*pip install {missing}"):
            named_search(name, SPACE, 0)
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(MissingExtra, match=r"evalpool\[optuna\]"):
        named_search("tpe", SPACE, 0)


@pytest.mark.parametrize("space", [{"kind": ["a", "b"]}, {"kind": ["a", "b"], "x": (2.0, 2.0)}])
def test_cma_es_is_refused_for_a_space_of_choices(space: Any) -> None:
    package("cmaes")
    with pytest.raises(BadArgument, match=r"choices only.*nevergrad:CMA"):
        named_search("cmaes", space, 0)


def test_cma_es_searches_the_ranges_of_a_mixed_space_and_says_nothing_of_its_choices(
    capfd: pytest.CaptureFixture[str],
) -> None:
    package("cmaes")
    optuna = package("optuna")
    benchmark = Benchmark(
        "mixed", {"x": (-9.0, 9.0), "n": (-9, 9), "kind": ["a", "b"]}, lambda job: -(job["x"] ** 2 + job["n"] ** 2),
        runtime=RuntimeModel.constant(1.0),
    )  # fmt: skip
    quiet_optuna()
    runs = {
        name: simulate(named_search(name, benchmark, 0), benchmark, max_evals=150, seed=0)
        for name in ("cmaes", "random")
    }
    late = {name: [abs(one["x"]) for one in run.configurations[100:150]] for name, run in runs.items()}
    assert sum(late["cmaes"]) < sum(late["random"]) / 3
    assert {one["kind"] for one in runs["cmaes"].configurations[100:150]} == {"a", "b"}
    assert capfd.readouterr().err == ""
    assert optuna.logging.get_verbosity() == optuna.logging.WARNING


# Bandits: promotion over the fidelity of a benchmark.


def leveled(fidelity: Fidelity | None) -> Benchmark:
    def run(job: Any) -> float:
        return float(-job["x"])

    return Benchmark(
        "levels", {"x": (0, 99)}, run, fidelity=fidelity, runtime=RuntimeModel.constant(9.0).with_fidelity()
    )


@pytest.mark.parametrize(
    ("fidelity", "halving", "hyperband"),
    [
        (Fidelity("epochs", 1, 9), {1, 3, 9}, {1, 3, 9}),
        (Fidelity("epochs", 1, 27, levels=(1, 3, 9, 27)), {1, 3, 9}, {1, 3, 9, 27}),
        (Fidelity("epochs", 1, 16, levels=(1, 4, 16)), {1, 4, 16}, {1, 4, 16}),
        (Fidelity("share", 0.25, 1.0), {0.25, 0.75, 1.0}, {0.25, 0.75, 1.0}),
        (Fidelity("hours", 0.3, 2.7, levels=(0.3, 0.9, 2.7)), {0.3, 0.9, 2.7}, {0.3, 0.9, 2.7}),
    ],
)
def test_bandits_promote_at_values_that_the_fidelity_has(fidelity: Fidelity, halving: set[Any], hyperband: Any) -> None:
    for name, rungs in (("halving", halving), ("hyperband", hyperband)):
        benchmark = leveled(fidelity)
        result = simulate(named_search(name, benchmark, 0), benchmark, num_workers=4, max_evals=30, seed=0)
        assert {one[fidelity.name] for one in result.configurations} == rungs
        assert not any(isinstance(objective, str) for objective in result.objectives)
    first = named_search("hyperband", benchmark, 0)
    begun = {first.ask()[1][fidelity.name] for _ in range(20)}
    assert begun == hyperband  # of 20 that nothing was told about, some begin at each rung
    assert {named_search("halving", benchmark, 0).ask()[1][fidelity.name] for _ in range(20)} == {fidelity.low}


def test_bandits_say_what_a_benchmark_lacks() -> None:
    for space in (leveled(None), SPACE):
        with pytest.raises(BadArgument, match=r"'halving' .* has no fidelity\. .* nevergrad:NoisyBandit"):
            named_search("halving", space, 0)
    with pytest.raises(BadArgument, match=r"'hyperband' needs the fidelity 'epochs' at .* and there are 1, 2, 9 only"):
        named_search("hyperband", leveled(Fidelity("epochs", 1, 9, levels=(1, 2, 9))), 0)
    with pytest.raises(BadArgument, match="'halving' compares one objective, and this benchmark has 2"):
        named_search("halving", leveled(Fidelity("epochs", 1, 9)), 0, num_objectives=2)


# Each name on a table with choices, a table with floats, and BBOB.


@pytest.fixture
def one_thread_of_blas() -> Iterator[None]:
    """scikit-optimize's models use several, which on a busy machine wait for each other, each with a whole CPU."""
    with package("threadpoolctl").threadpool_limits(1):
        yield


NAMES = {"random": "numpy", "tpe": "optuna", "cmaes": "cmaes", "qmc": "optuna", "nsga2": "optuna", "skopt": "skopt",
         "halving": "numpy", "hyperband": "numpy", "nevergrad:CMA": "nevergrad", "nevergrad:TwoPointsDE": "nevergrad",
         "nevergrad:NoisyBandit": "nevergrad"}  # fmt: skip


def table_of_floats() -> Benchmark:
    rows = [
        {"x": x / 8, "y": 10.0**y, "epochs": epochs, "loss": (x - 3) ** 2 + y / epochs, "seconds": 1.0 + x + epochs}
        for x in range(9)
        for y in range(-3, 1)
        for epochs in (1, 3, 9)
    ]
    return Benchmark.from_table(
        rows, name="floats", objectives="loss", maximize=False, runtime="seconds", fidelity="epochs", lookup="nearest"
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.filterwarnings("ignore:QMCSampler is experimental", "ignore:The objective has been evaluated")
def test_each_name_searches_a_table_of_choices_one_of_floats_and_bbob(name: str, one_thread_of_blas: None) -> None:
    package(NAMES[name])
    package("ioh")
    quiet_optuna()
    bbob = load("bbob:Rastrigin?dimension=3", runtime=RuntimeModel.lognormal(60.0, 0.5, seed=1))
    lacks = {"cmaes": "digits", "halving": bbob.name, "hyperband": bbob.name}  # cmaes: choices; bandits: a fidelity
    for benchmark in (load("digits"), table_of_floats(), bbob):
        for workers in (1, 64):
            settings: dict[str, Any] = {"max_evals": workers + 6, "num_workers": workers}
            if lacks.get(name) == benchmark.name:
                with pytest.raises(BadArgument):
                    named_search(name, benchmark, 0, **settings)
                continue
            if name == "skopt":  # a fit takes it half a second
                settings["max_evals"] = 11
            optimizer = named_search(name, benchmark, 0, **settings)
            result = simulate(optimizer, benchmark, seed=0, **settings)
            assert len(result.objectives) == settings["max_evals"]
            assert not any(isinstance(objective, str) for objective in result.objectives)
