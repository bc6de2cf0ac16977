"""`to_json` as there: with spaces, and with the names of functions and classes."""

from __future__ import annotations

import json
import types
import uuid
from typing import Any

import evalpool

__all__ = ["to_json"]


def to_json(value: Any) -> str:
    """The value as JSON text; functions and classes by their names, hyperparameters and ids as their text.

    Raises:
        NotJSON: it holds something else that is no JSON.
    """
    return json.dumps(value, default=_plain)


def _plain(value: Any) -> Any:
    if isinstance(value, (types.FunctionType, type)):
        return f"{value.__module__}.{value.__name__}"
    if isinstance(value, uuid.UUID) or type(value).__module__.startswith(("ConfigSpace.", "deephyper.skopt.")):
        return str(value)
    return json.loads(evalpool.to_json(value))
