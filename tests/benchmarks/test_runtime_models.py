"""Runtimes by a formula: the same in every process, whatever the order."""

from __future__ import annotations

import math
import pickle
import statistics
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from evalpool.benchmarks import Benchmark, Fidelity, RuntimeModel
from evalpool.errors import BadArgument


def test_a_constant_is_one() -> None:
    assert {RuntimeModel.constant(60).seconds({"x": x}, share=0.1) for x in range(5)} == {60.0}


def test_lognormal_runtimes_have_the_median_and_the_spread_that_were_asked_for() -> None:
    model = RuntimeModel.lognormal(60.0, 0.5, seed=1)
    logs = [math.log(model.seconds({"x": x})) for x in range(4000)]
    assert statistics.fmean(logs) == pytest.approx(math.log(60.0), abs=0.04)
    assert statistics.stdev(logs) == pytest.approx(0.5, abs=0.03)


def test_equal_configurations_take_equally_long_and_other_seeds_take_another_time() -> None:
    model = RuntimeModel.lognormal(60.0, 0.5, seed=1)
    one = model.seconds({"x": 1, "y": 0.5})
    assert one == model.seconds({"y": np.float64(0.5), "x": np.int64(1)})
    assert one == pickle.loads(pickle.dumps(model)).seconds({"x": 1, "y": 0.5})
    assert one != model.seconds({"x": 1, "y": 0.25})
    assert one != RuntimeModel.lognormal(60.0, 0.5, seed=2).seconds({"x": 1, "y": 0.5})


@pytest.mark.slow
def test_another_interpreter_draws_the_same() -> None:
    code = "from evalpool.benchmarks import RuntimeModel as M; print(repr(M.lognormal(60, .5, 1).seconds({'k': 'a'})))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60).stdout
    assert float(out) == RuntimeModel.lognormal(60, 0.5, 1).seconds({"k": "a"})


def test_runtimes_may_depend_on_parameters() -> None:
    by_layers = RuntimeModel.parameter("layers", {1: 60.0, 2: 100.0})
    assert by_layers.seconds({"layers": 2}) == 100.0
    assert by_layers.times("width", lambda width: width / 10).seconds({"layers": 1, "width": 5}) == 30.0
    assert by_layers.seconds({"layers": 1}) == 60.0  # `times` has made another model
    with pytest.raises(BadArgument, match=r"needs the parameter 'layers', with a value of \[1, 2\].*\{'layers': 3\}"):
        by_layers.seconds({"layers": 3})
    with pytest.raises(BadArgument, match=r"needs the parameter 'width', and the configuration is \{\}"):
        RuntimeModel.parameter("width", float).seconds({})


@pytest.mark.parametrize(
    ("factor", "value", "message"),
    [
        ({1: 60.0}, [1], r"needs the parameter 'x', with a value of \[1\]"),
        (lambda x: None, 1, "factor for 'x' = 1 is None of type NoneType; give a number"),
        (lambda x: "long", 1, "factor for 'x' = 1 is 'long' of type str"),
    ],
)
def test_a_factor_that_is_no_number_is_named(factor: Any, value: Any, message: str) -> None:
    with pytest.raises(BadArgument, match=message):
        RuntimeModel.parameter("x", factor).seconds({"x": value})


def test_an_error_of_a_function_of_the_user_is_not_taken_for_a_missing_parameter() -> None:
    with pytest.raises(KeyError, match="large"):
        RuntimeModel.parameter("size", lambda size: {"small": 1.0}[size]).seconds({"size": "large"})


def test_runtimes_grow_with_the_fidelity_beside_a_fixed_part() -> None:
    assert RuntimeModel.constant(100.0).with_fidelity().seconds({}, share=0.25) == 25.0
    assert RuntimeModel.constant(100.0).with_fidelity(fixed=0.2).seconds({}, share=0.25) == pytest.approx(40.0)


def test_the_fidelity_does_not_draw_another_factor() -> None:
    model = RuntimeModel.lognormal(60.0, 0.5).with_fidelity()
    benchmark = Benchmark("b", {"x": (0, 9)}, lambda job: 1.0, runtime=model, fidelity=Fidelity("epochs", 1, 8))
    assert benchmark({"x": 3, "epochs": 4})["runtime"] == benchmark({"x": 3})["runtime"] / 2


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RuntimeModel.constant(-1), "seconds of a runtime model is -1"),
        (lambda: RuntimeModel.constant(math.inf), "seconds of a runtime model is inf"),
        (lambda: RuntimeModel.lognormal(60, -0.5), "sigma of a runtime model"),
        (lambda: RuntimeModel.lognormal(60, 0.5, seed=-1), "seed of a runtime model"),
        (lambda: RuntimeModel.parameter("x", 3), "factor of 'x' is 3"),  # type: ignore[arg-type]
        (lambda: RuntimeModel.constant(1).with_fidelity(2.0), "fixed is 2.0"),
    ],
)
def test_wrong_arguments_are_refused(make: Any, message: str) -> None:
    with pytest.raises(BadArgument, match=message):
        make()
