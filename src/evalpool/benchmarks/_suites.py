"""Benchmarks by name: ``load("hpobench:phoneme")``.

A suite is a family of benchmarks, and an adapter to the package that has them. evalpool's own are in `adapters`, one
file each, and import their packages when a benchmark is loaded. Other packages add theirs by the entry-point group
``evalpool.benchmarks``; a file of yours needs no registration.
"""

from __future__ import annotations

import abc
import importlib
import inspect
import os
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any
from urllib.parse import parse_qsl

from evalpool._functions import load_function, naming
from evalpool._registry import Registry
from evalpool.benchmarks._benchmark import Benchmark
from evalpool.errors import BadArgument, MissingExtra
from evalpool.tables._cells import value_of

__all__ = ["SUITES", "Suite", "import_package", "load"]


MOST = 30
"""How many names an error lists at most; of more, a few that are like the wrong one."""


class Suite(abc.ABC):
    """A family of benchmarks. An adapter to another package implements two methods.

    >>> class Parabolas(Suite):
    ...     def problems(self):
    ...         return ["flat", "steep"]
    ...     def load(self, problem, steps=10):
    ...         factor = {"flat": 1, "steep": 100}[problem]
    ...         run = lambda job: {"objective": -factor * job["x"] ** 2, "runtime": 60.0}
    ...         return Benchmark(f"parabolas:{problem}", {"x": (-steps, steps)}, run, runtime="runtime")
    >>> Parabolas().load("steep")({"x": 1})["objective"]
    -100
    """

    @abc.abstractmethod
    def problems(self) -> Iterable[str]:
        """Return the names of the benchmarks; a name may stand for more, as by its options."""

    def has(self, problem: str) -> bool:
        """Whether there is this benchmark; a suite overrides it if it has more than it lists."""
        return problem in self.problems()

    @abc.abstractmethod
    def load(self, problem: str, *args: Any, **options: Any) -> Benchmark:
        """Return a benchmark.

        Args:
            problem: for which `has` is true.
            args, options: as the adapter declares them, by their names.

        Raises:
            MissingExtra: the package is not installed.
            BadArgument: an option has a wrong value.
        """


SUITES: Registry[type[Suite]] = Registry("benchmarks", "benchmark suite", lambda: Suite)
"""The known suites, by name. Other packages add theirs by the entry-point group ``evalpool.benchmarks``."""


def import_package(module: str, distribution: str, extra: str | None = None) -> Any:
    """Import the package that an adapter needs.

    Args:
        module: its name in Python.
        distribution: its name for pip.
        extra: that of evalpool which has it; None for a package that is installed by itself.

    Raises:
        MissingExtra: it cannot be imported; the message says what to install.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        need = f"This benchmark needs {distribution} ({error})"
        if extra is not None:
            raise MissingExtra.of(need, extra) from error
        raise MissingExtra(f"{need}: pip install {distribution}.") from error


def load(name: str, *, runtime: Any = None, **options: Any) -> Benchmark:
    """Return the benchmark of this name.

    ==============================  ========================================================================
    ``"hpobench:phoneme"``          a suite and one of its problems; ``list(SUITES)`` names the suites, and
                                    ``SUITES["hpobench"]().problems()`` its problems
    ``"digits"``                    a suite with one problem
    ``"bbob:Sphere?dimension=5"``   with options, which can be given as arguments, too
    ``"results/grid.csv"``          a table; options are those of `Benchmark.from_table`, several names with commas
    ``"mine.py:benchmark"``         a `Benchmark` in a file, a function that returns one, or a `Suite`
    ==============================  ========================================================================

    Args:
        name: of the benchmark.
        runtime: a `RuntimeModel`, for a benchmark without runtimes or instead of its own; for a table also the name of
            their column.
        options: of the suite, or of `Benchmark.from_table`.

    Raises:
        UnknownMethod: there is no such suite; the message lists the known ones.
        BadArgument: there is no such problem or file, or an option has a wrong name or value.
        MissingExtra: the package of the suite is not installed.
    """
    if not isinstance(name, str) or not name:
        raise BadArgument(f"The name of a benchmark is {name!r}; give a text such as 'hpobench:phoneme'.")
    place, _, query = name.partition("?")
    options = {**_query(name, query), **options}
    if place.lower().endswith(".csv"):
        if runtime is not None:
            options["runtime"] = runtime
        for several in ("objectives", "maximize", "parameters", "repetition"):
            if isinstance(options.get(several), str) and "," in options[several]:
                options[several] = [value_of(text) for text in options[several].split(",")]
        return _checked(name, _call(name, Benchmark.from_table, place, **options))
    path = place.rpartition(":")[0]
    with naming(f"The benchmark {name!r}"):
        benchmark = _of_file(name, place, options) if path.endswith(".py") else _of_suite(name, place, options)
    return benchmark if runtime is None else benchmark.with_runtime(runtime)


def _of_suite(name: str, place: str, options: dict[str, Any]) -> Benchmark:
    word, _, problem = place.partition(":")
    if os.path.exists(place):
        raise BadArgument(f"{place!r} is a file that is neither a table in .csv nor 'file.py:name'.")
    return _of(SUITES[word](), name, word, problem, options)


def _of(suite: Suite, name: str, word: str, problem: str, options: dict[str, Any]) -> Benchmark:
    known = list(suite.problems())
    if not problem and len(known) == 1:
        problem = known[0]
    if not problem or not suite.has(problem):
        near = get_close_matches(problem, known, n=5, cutoff=0.3) if len(known) > MOST else known
        more = f", and others ({len(known)} in all)" if len(known) > MOST else ""
        raise BadArgument(f"{word!r} has no problem {problem!r}; it has {', '.join(near) or 'its own'}{more}.")
    return _checked(name, _call(name, suite.load, problem, **options))


def _of_file(name: str, place: str, options: dict[str, Any]) -> Benchmark:
    """The benchmark that ``path/to/file.py:name`` names; behind a suite's name, ``Suite.problem``."""
    found: Any = load_function(place)
    if isinstance(found, Benchmark):
        if options:
            raise BadArgument(f"{name!r} is a benchmark, which takes no options; got {', '.join(options)}.")
        return found
    if isinstance(found, type) and issubclass(found, Suite):
        return _of(found(), name, place, str(options.pop("problem", "")), options)
    return _checked(name, _call(name, found, **options))


def _checked(name: str, benchmark: Any) -> Benchmark:
    if not isinstance(benchmark, Benchmark):
        raise BadArgument(f"{name!r} is {benchmark!r} of type {type(benchmark).__name__}, not a Benchmark.")
    return benchmark


def _query(name: str, query: str) -> dict[str, Any]:
    """The options behind the question mark of a name."""
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=True) if query else []
    except ValueError:
        raise BadArgument(f"{name!r} has {query!r} behind the question mark; give option=value&option=value.") from None
    options = {key: value_of(value) for key, value in pairs}
    if len(options) < len(pairs):
        names = [key for key, _ in pairs]
        twice = next(key for key in names if names.count(key) > 1)
        raise BadArgument(f"{name!r} has the option {twice!r} twice; give it once.")
    return options


def _call(name: str, function: Any, *arguments: Any, **options: Any) -> Any:
    """Call a function whose options the user names; a wrong name is said to be one."""
    parameters = list(inspect.signature(function).parameters.values())
    own = [one for one in parameters if one.kind not in (one.POSITIONAL_ONLY, one.VAR_POSITIONAL, one.VAR_KEYWORD)]
    own = own[len(arguments) :]
    known = {one.name: one.default for one in own}
    if not any(one.kind is one.VAR_KEYWORD for one in parameters):
        for option in options:
            if option not in known:
                raise BadArgument(f"{name!r} has no option {option!r}; it has {', '.join(known) or 'none'}.")
    if missing := [one for one, default in known.items() if default is inspect.Parameter.empty and one not in options]:
        raise BadArgument(
            f"{name!r} needs {', '.join(map(repr, missing))}: give {'&'.join(f'{one}=...' for one in missing)} behind "
            "the question mark, or name a Benchmark or a Suite."
        )
    for option, value in options.items():
        if isinstance(known.get(option), bool) and not isinstance(value, (bool, list, tuple)):
            raise BadArgument(f"The option {option!r} of {name!r} is {value!r}; give True or False.")
    return function(*arguments, **options)
