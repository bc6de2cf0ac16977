"""Reads the file that says what is compared: TOML, or JSON with the same names."""

from __future__ import annotations

import argparse
import importlib
import inspect
import json
import os
from typing import TYPE_CHECKING, Any

from evalpool.cli._options import seconds
from evalpool.cli._runtimes import runtime_model
from evalpool.errors import BadArgument, MissingExtra

if TYPE_CHECKING:
    from evalpool.simulation import Distribution, WorkerModel

__all__ = ["NAMES", "read_spec"]

NAMES = (
    "searches", "benchmarks", "workers", "seeds", "budget", "max_time", "overhead", "worker_model", "retries",
    "stopper", "runtime"
)  # fmt: skip
"""What a file may say: the arguments of `evalpool.benchmarks.compare` with these names; and the runtimes of benchmarks
without any."""
NEEDED = ("searches", "benchmarks")
SHAPES = ("constant", "uniform", "exponential", "lognormal", "measured")
"""Of distributions: methods of `evalpool.simulation.Distribution`, whose arguments stand beside the shape."""


def read_spec(path: str) -> dict[str, Any]:
    """Return the arguments of `compare` that a file gives; their values are checked there.

    Raises:
        BadArgument: there is no such file, it is not TOML or JSON, or it has an unknown name or lacks a needed one;
            also if a time, a runtime or a distribution of its worker_model is wrong.
        MissingExtra: it is TOML, and this is Python 3.10 without the package tomli.
    """
    kind = os.path.splitext(path)[1].lower()
    if kind not in (".toml", ".json"):
        raise BadArgument(f"the file is {path!r}; give one that ends with .toml or .json.")
    if not os.path.isfile(path):
        raise BadArgument(f"there is no file {path!r}.")
    with open(path, "rb") as file:
        data = file.read()
    try:
        text = data.decode("utf-8")
        spec = json.loads(text) if kind == ".json" else _toml().loads(text)
    except ValueError as error:  # also that of tomllib, and of bytes that are no text
        raise BadArgument(f"{path!r} cannot be read as {kind[1:].upper()}: {error}.") from error
    if not isinstance(spec, dict):
        raise BadArgument(f"{path!r} holds {type(spec).__name__}; give an object with {', '.join(NAMES)}.")
    if unknown := [name for name in spec if name not in NAMES]:
        raise BadArgument(f"{path!r} has {', '.join(map(repr, unknown))}; known are {', '.join(NAMES)}.")
    if missing := [name for name in NEEDED if name not in spec]:
        raise BadArgument(f"{path!r} lacks {', '.join(missing)}.")
    if "worker_model" in spec:
        spec["worker_model"] = _worker_model(spec["worker_model"])
    if isinstance(spec.get("max_time"), str):
        spec["max_time"] = _seconds("max_time", spec["max_time"])
    if "runtime" in spec:
        spec["benchmarks"] = _with_runtimes(spec["benchmarks"], spec.pop("runtime"))
    return spec


def _seconds(name: str, text: str) -> float:
    try:
        return seconds(text)
    except argparse.ArgumentTypeError as error:
        raise BadArgument(f"{name}: {error}.") from None


def _with_runtimes(benchmarks: Any, given: Any) -> Any:
    """The same benchmarks, where those without runtimes have such as a text means: ``60``, or ``60,0.5``."""
    text = str(given) if type(given) in (int, float) else given
    if not isinstance(text, str):
        raise BadArgument(f'runtime is {given!r}; give seconds, or a median and a sigma as "60,0.5".')
    model = runtime_model(text, "runtime")

    def one(name: Any) -> Any:
        from evalpool.benchmarks import load

        if not isinstance(name, str):
            return name  # `compare` says what is wrong with it
        benchmark = load(name)
        if benchmark.has_runtimes:
            return name
        benchmark = benchmark.with_runtime(model)
        # By this the comparison in a storage knows it: other runtimes are another benchmark.
        benchmark.name = f"{name} with the runtime {model.median!r},{model.sigma!r}"
        return benchmark

    if isinstance(benchmarks, str):
        benchmarks = [benchmarks]
    if isinstance(benchmarks, list):
        if not all(isinstance(name, str) for name in benchmarks) or len(set(benchmarks)) < len(benchmarks):
            return benchmarks
        benchmarks = {name: name for name in benchmarks}
    return {label: one(name) for label, name in benchmarks.items()} if isinstance(benchmarks, dict) else benchmarks


def _worker_model(given: Any) -> WorkerModel:
    """The model of a table: numbers, and distributions as ``{shape = "lognormal", median = 60.0, sigma = 0.5}``."""
    from evalpool.simulation import WorkerModel

    known = list(inspect.signature(WorkerModel).parameters)
    if not isinstance(given, dict):
        raise BadArgument(f"worker_model is {given!r}; give a table with some of {', '.join(known)}.")
    if unknown := [name for name in given if name not in known]:
        raise BadArgument(f"worker_model has {unknown[0]!r} = {given[unknown[0]]!r}; known are {', '.join(known)}.")
    arguments: dict[str, Any] = {
        name: _distribution(name, value) if isinstance(value, dict) else value for name, value in given.items()
    }
    return WorkerModel(**arguments)


def _distribution(name: str, given: dict[str, Any]) -> Distribution:
    from evalpool.simulation import Distribution

    arguments = dict(given)
    shape = arguments.pop("shape", None)
    if shape not in SHAPES:
        raise BadArgument(f"{name} of worker_model has the shape {shape!r}; give one of {', '.join(SHAPES)}.")
    make = getattr(Distribution, shape)
    try:
        inspect.signature(make).bind(**arguments)
    except TypeError as error:
        names = ", ".join(inspect.signature(make).parameters)
        raise BadArgument(f"{name} of worker_model is {given!r}: {error}; a {shape} has {names}.") from None
    made: Distribution = make(**arguments)
    return made


def _toml() -> Any:
    """The reader of TOML that comes with Python 3.11, or the package that it was made from."""
    for name in ("tomllib", "tomli"):
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    raise MissingExtra("Python 3.10 does not read TOML: pip install tomli, or give the same as a .json file.")
