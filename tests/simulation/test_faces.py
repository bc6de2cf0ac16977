"""The three faces of simulated time tell the same of one search, under a declared overhead.

The searches are those that `benchmarks/bench_validation.py` compares with runs that sleep.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from evalpool import ThreadPoolEvaluator

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def validation() -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        spec = importlib.util.spec_from_file_location("bench_validation", BENCHMARKS / "bench_validation.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        patch.setitem(sys.modules, "bench_validation", module)
        spec.loader.exec_module(module)
        yield module


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("overhead", [0.0, 0.5, 8.0])
def test_random_search_goes_the_same_by_each_face(validation: Any, seed: int, overhead: float) -> None:
    assert validation.faces_agree(validation.random_search, seed, 4, 60, overhead)
    assert validation.one_by_one_agrees(validation.random_search, seed, 4, 60, overhead)


@pytest.mark.parametrize("seed", range(3))
def test_tpe_goes_the_same_by_each_face(validation: Any, seed: int) -> None:
    pytest.importorskip("optuna")
    assert validation.faces_agree(validation.tpe, seed, 8, 40, 0.5)
    assert validation.one_by_one_agrees(validation.tpe, seed, 8, 40, 0.5)


def test_noise_is_the_same_wherever_a_configuration_is_evaluated(validation: Any) -> None:
    problem = validation.Hartmann(noisy=True)
    found = [
        face(validation.random_search(1), problem, 8, 60)
        for face in (validation.by_decorator, validation.by_simulate, validation.by_wrapper)
    ]
    assert found[0] == found[1] == found[2]


def test_a_run_that_sleeps_ends_as_the_simulated_one_says(validation: Any) -> None:
    # One worker: no order that a busy machine could change.
    simulated = validation.by_simulate(validation.random_search(0), validation.Hartmann(False), 1, 10)
    sleeping = validation.by_sleeping(
        ThreadPoolEvaluator, validation.random_search(0), validation.Hartmann(False, 1 / 1000), 1, 10
    )
    assert validation.losses(sleeping) == validation.losses(simulated)
    assert sleeping[-1].end >= simulated[-1].end
