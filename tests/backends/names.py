"""The names that an evaluator and its parts use, which an engine's own attributes may have, too."""

from __future__ import annotations

import functools
from typing import Any

from evalpool import Evaluator
from evalpool.storage import MemoryStorage

__all__ = ["names_of_evaluators"]


@functools.cache
def names_of_evaluators() -> frozenset[str]:
    """All that is an attribute of an evaluator, or of any part that it holds, and no name that Python itself uses."""
    found: set[str] = set()
    for method, storage in ("serial", None), ("thread", MemoryStorage()), ("process", None):
        with Evaluator.create(lambda job: 1.0, method, {"storage": storage, "num_workers": 1}) as evaluator:
            evaluator.submit([{}])
            evaluator.gather(timeout=60)  # now it has all its parts
            found |= _names(evaluator)
    return frozenset(name for name in found if not name.startswith("__"))


def _names(evaluator: Any) -> set[str]:
    names: set[str] = set()
    parts, seen = [evaluator], []
    while parts:
        part = parts.pop()
        if not type(part).__module__.startswith("evalpool.") or any(part is each for each in seen):
            continue
        seen.append(part)
        names.update(dir(part))
        parts += getattr(part, "__dict__", {}).values()
    return names
