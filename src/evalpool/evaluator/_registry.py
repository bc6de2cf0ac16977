"""Backends by name, imported when first asked for."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from evalpool.errors import BadArgument, UnknownMethod

if TYPE_CHECKING:
    from evalpool.evaluator._evaluator import Evaluator

__all__ = ["EVALUATORS", "Registry"]

GROUP = "evalpool.backends"
"""The entry-point group by which other packages add backends."""


class Registry(Mapping[str, "type[Evaluator]"]):
    """Method name -> evaluator class. Looking one up imports its module; listing the names imports nothing."""

    def __init__(self, known: dict[str, str]) -> None:
        self._known = known

    def _names(self) -> dict[str, str]:
        from importlib.metadata import entry_points

        found = {point.name: point.value for point in entry_points(group=GROUP)}
        return {**found, **self._known}

    def __getitem__(self, name: str) -> type[Evaluator]:
        target = self._known.get(name) if isinstance(name, str) else None
        if target is None:
            names = self._names()
            if name not in names:
                raise UnknownMethod(f"There is no evaluator method {name!r}; known are {', '.join(sorted(names))}.")
            target = names[name]
        module, _, attribute = target.partition(":")
        from evalpool.evaluator._evaluator import Evaluator

        cls = getattr(importlib.import_module(module), attribute)
        if not (isinstance(cls, type) and issubclass(cls, Evaluator)):
            raise BadArgument(f"The entry point {name!r} names {target}, which is no subclass of Evaluator.")
        return cls

    def __contains__(self, name: object) -> bool:
        return name in self._known or name in self._names()

    def __iter__(self) -> Iterator[str]:
        return iter(self._names())

    def __len__(self) -> int:
        return len(self._names())

    def __repr__(self) -> str:
        return f"EVALUATORS({', '.join(sorted(self))})"


EVALUATORS: Mapping[str, type[Evaluator]] = Registry(
    {
        "serial": "evalpool.backends._serial:SerialEvaluator",
        "thread": "evalpool.backends._thread:ThreadPoolEvaluator",
        "process": "evalpool.backends._process:ProcessPoolEvaluator",
        "loky": "evalpool.backends._process:ProcessPoolEvaluator",
        "mpicomm": "evalpool.backends._mpi:MPICommEvaluator",
        "mpi": "evalpool.backends._mpi:MPICommEvaluator",
        "executor": "evalpool.backends._executor:ExecutorEvaluator",
        "ray": "evalpool.backends._ray:RayEvaluator",
    }
)
"""The known backends, by method name."""
