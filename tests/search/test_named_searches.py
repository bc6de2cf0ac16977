"""Searches by name: the optimisers that the command and comparisons make."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from evalpool import RandomSearch, simulate
from evalpool.benchmarks import Benchmark, RuntimeModel
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


def test_a_function_of_a_file_is_a_search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "mysearch-1.py").write_text("from evalpool import RandomSearch as make\n")
    optimizer = named_search(f"{tmp_path}/mysearch-1.py:make", SPACE, 3)
    assert optimizer.ask() == RandomSearch(SPACE, 3).ask()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("bayes", "no search 'bayes'; known are random; tpe, cmaes"),
        ("nevergrad", "no search 'nevergrad'"),
        ("no-such.py:make", "no file 'no-such.py'"),
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


def test_cma_es_is_refused_for_a_space_of_choices(monkeypatch: pytest.MonkeyPatch) -> None:
    package("optuna")
    monkeypatch.setitem(sys.modules, "cmaes", sys)  # whatever stands for the package, which is not asked for anything
    with pytest.raises(BadArgument, match="choices only"):
        named_search("cmaes", {"kind": ["a", "b"]}, 0)
