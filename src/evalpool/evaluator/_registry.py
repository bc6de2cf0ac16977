"""Backends by name, imported when first asked for."""

from __future__ import annotations

from evalpool._registry import Registry
from evalpool.evaluator._evaluator import Evaluator

__all__ = ["EVALUATORS"]

EVALUATORS: Registry[type[Evaluator]] = Registry(
    "backends", "evaluator method", lambda: Evaluator, makers=("launchers", "evaluator_class")
)
"""The known backends, by method name. Other packages add theirs by the entry-point groups ``evalpool.backends``, for
`Backend` or `Evaluator` classes, and ``evalpool.launchers``."""
